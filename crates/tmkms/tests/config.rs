//! The configuration as data: what is accepted and what it means, what is refused and with which words.
//!
//! `UPDATE_EXPECTED=1 cargo test …` rewrites the expectations; read the difference before you keep it.
#![allow(clippy::unwrap_used)] // A test may fail where a signer may not.
use std::path::{Path, PathBuf};

struct Case {
    name: String,
    text: String,
    expected: String,
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(name)
}

/// `=== name`, the configuration, `---`, what is expected.
fn cases(name: &str) -> Vec<Case> {
    let text = std::fs::read_to_string(file(name)).unwrap();
    let mut cases = Vec::new();
    for block in text.split("=== ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        let (text, expected) = rest.split_once("---\n").unwrap();
        let expected = format!("{}\n", expected.trim_end());
        cases.push(Case { name: name.to_owned(), text: text.to_owned(), expected });
    }
    cases
}

fn check(name: &str, outcome: impl Fn(&Case) -> String) {
    let cases = cases(name);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        let blocks: Vec<_> =
            cases.iter().map(|case| format!("=== {}\n{}---\n{}", case.name, case.text, outcome(case))).collect();
        std::fs::write(file(name), blocks.join("\n")).unwrap();
        return;
    }
    let wrong: Vec<_> =
        cases.iter().map(|case| (case, outcome(case))).filter(|(case, got)| case.expected != *got).collect();
    for (case, got) in &wrong {
        eprintln!("=== {}\nexpected:\n{}\ngot:\n{got}", case.name, case.expected);
    }
    assert!(wrong.is_empty(), "{} of {} cases differ", wrong.len(), cases.len());
}

fn parse(case: &Case) -> Result<tmkms::config::Config, tmkms::config::Faults> {
    tmkms::config::parse(&case.text, Path::new("kms/tmkms.toml"))
}

#[test]
fn what_is_accepted_means_what_is_expected() {
    check("accepted.txt", |case| match parse(case) {
        Ok(config) => config.to_string(),
        Err(faults) => panic!("{}: {faults}", case.name),
    });
}

#[test]
fn what_is_refused_says_where_why_and_what_to_do() {
    check("refused.txt", |case| match parse(case) {
        Ok(config) => panic!("{}: accepted as {config}", case.name),
        Err(faults) => format!("{faults}\n"),
    });
}

#[test]
fn faults_come_in_the_order_of_the_file() {
    for case in cases("refused.txt") {
        let places: Vec<_> = parse(&case).unwrap_err().list.iter().map(|fault| fault.place).collect();
        assert!(places.is_sorted(), "{}: {places:?}", case.name);
    }
}

#[test]
fn no_secret_of_a_configuration_is_in_its_words_or_in_its_debug_output() {
    for case in cases("accepted.txt") {
        let config = parse(&case).unwrap();
        for shown in [config.to_string(), format!("{config:?}")] {
            for secret in ["AQICAH", "ASIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI", "AQoDYXdzEJr"] {
                assert!(!shown.contains(secret), "{}: {secret}", case.name);
            }
        }
    }
}
