//! No text makes the configuration's parser panic, and every fault has a place in the text.
#![allow(clippy::unwrap_used)] // A test may fail where a signer may not.
use proptest::prelude::*;
use std::path::Path;

const GOOD: &str = include_str!("config/accepted.txt");
const BAD: &str = include_str!("config/refused.txt");

fn check(text: &str) {
    match tmkms::config::parse(text, Path::new("kms/tmkms.toml")) {
        Ok(config) => drop(config.to_string()),
        Err(faults) => {
            assert!(!faults.list.is_empty());
            assert!(faults.list.iter().map(|fault| fault.place).is_sorted());
            for fault in &faults.list {
                let line = text.split('\n').nth(fault.place.line - 1).expect("the line exists");
                assert!(fault.place.column <= line.chars().count() + 1, "{}: {line}", fault.place);
            }
            drop(faults.to_string());
        }
    }
}

/// Lines of the files in `config/`, so that random documents are made of words that mean something.
fn lines() -> Vec<&'static str> {
    GOOD.lines().chain(BAD.lines()).filter(|line| !line.starts_with("===") && !line.starts_with("---")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC*") {
        check(&text);
    }

    #[test]
    fn any_bytes_that_are_text_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_mixture_of_lines_is_read_without_a_panic(picks in prop::collection::vec(0_usize..10_000, 0..40)) {
        let lines = lines();
        let text: Vec<_> = picks.iter().map(|pick| lines[pick % lines.len()]).collect();
        check(&text.join("\n"));
    }

    #[test]
    fn a_file_with_one_change_is_read_without_a_panic(
        at in any::<prop::sample::Index>(),
        cut in 0_usize..20,
        put in prop::sample::select(vec!["", "=", "[", "]", "{", "}", "\"", "'", "\n", ".", "#", "\u{0}", "é", "9999999999999999999", "inf", "1979-05-27"]),
    ) {
        let chars: Vec<char> = GOOD.split("---").next().unwrap().lines().skip(1).collect::<Vec<_>>().join("\n").chars().collect();
        let at = at.index(chars.len());
        let text: String =
            chars[..at].iter().copied().chain(put.chars()).chain(chars[(at + cut).min(chars.len())..].iter().copied()).collect();
        check(&text);
    }
}

/// The longest text that an enclave takes, of one line with its number in place of `#`.
fn many(line: &str) -> String {
    (0..)
        .map(|number: u32| line.replace('#', &number.to_string()))
        .scan(0, |bytes, line| {
            *bytes += line.len();
            (*bytes <= 1 << 20).then_some(line)
        })
        .collect()
}

#[test]
fn a_hostile_text_is_judged_at_once_and_in_few_words() {
    let chain = "[[chain]]\nid = \"a#\"\nkey_format = { type = \"hex\" }\n";
    let key = "[[providers.softsign]]\nchain_ids = [\"a#\"]\npath = \"k#\"\n";
    let ids = format!("{chain}[[providers.softsign]]\npath = \"k\"\nchain_ids = [{}]", many("\"b#\","));
    let id = format!("[[providers.softsign]]\nchain_ids = [\"a\"]\npath = \"{}\"", "/a".repeat(500_000));
    let long = format!("{id}\n{id}").chars().take(1 << 20).collect();
    let node = "[[validator]]\nchain_id = \"b#\"\naddr = \"unix:///#\"\n";
    let texts = [
        "[[chain]]\n",
        "a=1\n",
        "a#=1\n",
        "abcdefghijklmnopqrstuvwxyz#=1\n",
        "[a#]\n",
        "[chain.a#]\n",
        "\n",
        "]\n",
        "[[chain]]\nid = \"a#\"\n",
        chain,
        key,
        node,
    ];
    let texts = texts.map(many).into_iter().chain([
        ids,
        long,
        many("a#=1\n").replace('\n', "\u{1}"),
        many(&format!("{chain}{key}")),
        many(&format!("{chain}{node}")),
    ]);
    for text in texts {
        let start = std::time::Instant::now();
        let (head, faults) = (text.get(..40).unwrap(), tmkms::config::parse(&text, Path::new("tmkms.toml")));
        let told = faults.map_or_else(
            |faults| faults.to_string(),
            |config| config.warnings.iter().map(|w| w.message.as_str()).collect(),
        );
        let took = start.elapsed();
        println!("{head:?}: {took:?}, {} bytes", told.len());
        assert!(took < std::time::Duration::from_secs(5), "{head:?}: {took:?}");
        assert!(told.len() < 32 << 10, "{head:?}: {} bytes", told.len());
    }
    let faults = tmkms::config::parse(&many("a=1\n"), Path::new("tmkms.toml")).unwrap_err().to_string();
    assert!(faults.ends_with(": … and 262093 more"), "{}", faults.lines().last().unwrap());
}

#[test]
fn deep_nesting_is_refused_without_a_panic() {
    for (open, close) in [("[", "]"), ("{a=", "}"), ("a.", "")] {
        let text = format!("x = {}1{}", open.repeat(100_000), close.repeat(100_000));
        check(&text);
    }
    check(&format!("[{}a]", "a.".repeat(100_000)));
    check(&format!("{}a = 1", "a.".repeat(100_000)));
}
