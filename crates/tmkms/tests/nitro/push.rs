//! What is pushed, what is shown, and what is said when it does not work.
use crate::enclave::{CONFIG, Pushed, World, failure};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;
use wire::control::{Answer, Phase, Progress, Received, Serving};

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "CANARYSECRET")];

fn progress(phase: Phase, detail: &str) -> Answer {
    Answer::Progress(Progress { phase, detail: detail.to_owned() })
}

fn good(_: &Received) -> Vec<Answer> {
    vec![
        progress(Phase::Checking, "the configuration"),
        progress(Phase::Releasing, "key 1 of 1, chain test-1"),
        Answer::Serving(Serving {
            added: vec!["test-1".to_owned()],
            unchanged: vec!["a".to_owned(), "b".to_owned()],
            credentials_refreshed: true,
            ..Serving::default()
        }),
    ]
}

fn fails_with(code: &'static str, reason: &'static str, remedy: &'static str) -> (World, crate::enclave::Enclave) {
    let world = World::new();
    let enclave = world.enclave(move |_| vec![Answer::Failed(failure(code, reason, remedy))]);
    (world, enclave)
}

#[test]
fn each_phase_is_shown_until_the_enclave_signs() {
    let world = World::new();
    let enclave = world.enclave(good);
    let said = world.run_with(&["push-config", "-c", "tmkms.toml"], &KEYS);
    said.is(
        0,
        "made the control token $FOLDER/secrets/control-token\n\
         credentials of the environment\n\
         enclave unix:$FOLDER/vm (control port 5050): tmkms 9.9.9\n\
         checking    the configuration\n\
         releasing   key 1 of 1, chain test-1\n\
         serving     added test-1; unchanged a, b; credentials refreshed\n",
        "",
    );
    let credentials = Some(("AKIDEXAMPLE".to_owned(), "the environment".to_owned()));
    assert_eq!(enclave.pushed(), [Pushed { config: CONFIG.to_owned(), credentials, is_proven: true }]);
    // The token is kept.
    let token = std::fs::read(world.file("secrets/control-token")).unwrap();
    let said = world.run_with(&["push-config"], &KEYS);
    assert!(said.code == 0 && !said.out.contains("made the control token"), "{said:?}");
    assert_eq!(std::fs::read(world.file("secrets/control-token")).unwrap(), token);
    assert!(enclave.pushed()[1].is_proven);
}

#[test]
fn a_file_with_its_own_credentials_needs_no_others() {
    let world = World::new();
    let enclave = world.enclave(good);
    let own = "aws_region = \"eu-west-1\"\ncredentials = { access_key_id = \"AKIA1\", secret_access_key = \"x\" }";
    std::fs::write(world.file("own.toml"), CONFIG.replace("aws_region = \"eu-west-1\"", own)).unwrap();
    assert_eq!(world.run(&["push-config", "-c", "own.toml"]).code, 0);
    assert_eq!(enclave.pushed()[0].credentials, None);
}

#[test]
fn the_enclaves_reason_is_told_with_its_remedy_and_an_exit_code() {
    for (code, exit) in [("config", 3), ("policy", 3), ("state", 4), ("key", 5), ("kms-access-denied", 1), ("debug", 1)]
    {
        let (world, _enclave) = fails_with(code, "it is so", "do this");
        let said = world.run_with(&["push-config"], &KEYS);
        assert_eq!(said.code, exit, "{code}: {said:?}");
        assert_eq!(said.err, "error: the enclave, releasing: chain test-1: it is so\n  help: do this\n");
    }
}

#[test]
fn another_token_is_told_with_the_way_out() {
    let (world, _enclave) = fails_with("token", "the control token of test-1's enclave is another one", "");
    world.run_with(&["push-config"], &KEYS).is(
        1,
        "made the control token $FOLDER/secrets/control-token\n\
         credentials of the environment\n\
         enclave unix:$FOLDER/vm (control port 5050): tmkms 9.9.9\n",
        "error: the enclave, releasing: the control token of test-1's enclave is another one\n  help: the enclave was pushed to \
         with another control token first: use that file (--token-file), or restart the enclave\n",
    );
}

#[test]
fn a_wrong_file_is_never_pushed_and_makes_no_token() {
    let world = World::new();
    let enclave = world.enclave(good);
    let bad = CONFIG.replace("500 ", "5555 ");
    let plain = CONFIG
        .replace("AQICAHhEeG1wbGUgb2YgYSBjaXBoZXJ0ZXh0LCBub3QgYSByZWFsIG9uZQ==", &"A".repeat(43))
        .replace("A\"\naws", "A=\"\naws");
    for (text, expected) in [
        (bad.as_str(), "both `state_vsock_port` and `addr` in [[validator]]"),
        (&plain, "this looks like an unencrypted key"),
        (CONFIG.split("[[validator]]").next().unwrap(), "has no [[validator]]: there is nobody to sign for"),
        ("", "no [[chain]] was found"),
    ] {
        std::fs::write(world.file("bad.toml"), text).unwrap();
        let said = world.run_with(&["push-config", "-c", "bad.toml"], &KEYS);
        assert!(said.code == 3 && said.err.contains(expected), "{said:?}");
    }
    let host = "[[chain]]\nid = \"a\"\nkey_format = { type = \"hex\" }\n[[providers.softsign]]\nchain_ids = [\"a\"]\npath = \"k\"\n\
                [[validator]]\nchain_id = \"a\"\naddr = \"unix:///n\"\n";
    std::fs::write(world.file("host.toml"), host).unwrap();
    world.run(&["push-config", "-c", "host.toml"]).is(
        3,
        "",
        "error: host.toml is for a signer on this host: no [[chain]] has state_vsock_port\n  help: sign here with `tmkms start`, or \
         see docs/configuration.md, \"In an enclave\"\n",
    );
    assert!(enclave.pushed().is_empty() && !world.file("secrets").exists());
}

#[test]
fn without_credentials_it_says_where_they_were_looked_for() {
    let world = World::new();
    let enclave = world.enclave(good);
    let said = world.run(&["push-config"]);
    assert!(
        said.code == 1 && said.err.starts_with("error: no AWS credentials; tried in this order:\n  the environment: "),
        "{said:?}"
    );
    assert!(said.err.contains("\n  help: give the instance a role"), "{said:?}");
    assert!(enclave.pushed().is_empty());
}

#[test]
fn a_file_that_others_can_read_and_a_port_that_others_can_take_are_warned_of() {
    let world = World::new();
    let _enclave = world.enclave(good);
    assert!(!world.run_with(&["push-config"], &KEYS).out.contains("warning"));
    world.write("tmkms.toml", &CONFIG.replace("500 ", "5000 "));
    std::fs::set_permissions(world.file("tmkms.toml"), PermissionsExt::from_mode(0o640)).unwrap();
    let said = world.run_with(&["push-config"], &KEYS);
    let expected = "warning: tmkms.toml:14:8: any user of the parent may listen on port 5000 while";
    assert!(said.code == 0 && said.out.contains(expected), "{said:?}");
    let expected = "others may open it: expected mode 0600, got 0640\n  help: `chmod 600` it: ";
    assert!(said.out.contains(expected), "{said:?}");
}

#[test]
fn what_the_enclave_says_does_nothing_on_a_terminal() {
    let (world, _enclave) = fails_with("config", "first\u{1b}[2J\r\nsecond\u{9b}1m", "do\u{7} this");
    let said = world.run_with(&["push-config"], &KEYS);
    assert_eq!(
        said.err,
        "error: the enclave, releasing: chain test-1: first\u{fffd}[2J\u{fffd}\nsecond\u{fffd}1m\n  help: do\u{fffd} this\n"
    );
}

#[test]
fn an_enclave_that_is_not_there_is_waited_for_and_given_up() {
    let world = World::new();
    let said = world.run_with(&["push-config", "--wait", "0"], &KEYS);
    assert!(
        said.code == 1 && said.err.starts_with("error: cannot reach enclave unix:$FOLDER/vm (control port 5050): "),
        "{said:?}"
    );
    assert!(said.err.contains("  help: see that it runs (`nitro-cli describe-enclaves`)"), "{said:?}");
    let late = World::new();
    let child = late.command(&["push-config", "--wait", "60"]).envs(KEYS).spawn().unwrap();
    thread::sleep(Duration::from_millis(600));
    let enclave = late.enclave(good);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && enclave.pushed().len() == 1, "{output:?}");
}

#[test]
fn a_token_that_others_can_read_is_not_used() {
    let world = World::new();
    let enclave = world.enclave(good);
    assert_eq!(world.run_with(&["push-config"], &KEYS).code, 0);
    std::fs::set_permissions(world.file("secrets/control-token"), PermissionsExt::from_mode(0o644)).unwrap();
    let said = world.run_with(&["push-config"], &KEYS);
    assert!(said.code == 1 && said.err.contains("expected mode 0600, got 0644"), "{said:?}");
    assert_eq!(enclave.pushed().len(), 1);
}

#[test]
fn an_enclave_that_hangs_up_in_the_middle_is_told() {
    let world = World::new();
    let _enclave = world.enclave(|_| vec![progress(Phase::Releasing, "key 1 of 1\u{1b}[31m")]);
    let said = world.run_with(&["push-config"], &KEYS);
    assert_eq!(said.code, 1);
    assert!(said.out.ends_with("releasing   key 1 of 1\u{fffd}[31m\n"), "{said:?}");
    let expected = "error: enclave unix:$FOLDER/vm (control port 5050) hung up before it answered\n  help: see whether the enclave \
                    still runs: `nitro-cli describe-enclaves`, `tmkms nitro status -i CID`\n";
    assert_eq!(said.err, expected);
}

/// What listens at the enclave's place and greets with those bytes.
fn greets_with(world: &World, bytes: Vec<u8>) {
    let listener = UnixListener::bind(world.base()).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut line, mut byte) = (Vec::new(), [0]);
            while line.last() != Some(&b'\n') && stream.read(&mut byte).unwrap_or(0) == 1 {
                line.push(byte[0]);
            }
            let _ = stream.write_all(b"OK 1\n").and_then(|()| stream.write_all(&bytes));
            let _ = stream.read(&mut [0; 1024]);
        }
    });
}

#[test]
fn an_enclave_of_another_version_says_which_side_to_upgrade() {
    let world = World::new();
    greets_with(&world, [&b"tmkw\0\x63\x01"[..], &[7; 32], b"\x079.9.9-x"].concat());
    let said = world.run_with(&["push-config", "--wait", "0"], &KEYS);
    assert_eq!(said.code, 1);
    for part in ["protocol 99 (tmkms 9.9.9-x)", "upgrade the parent"] {
        assert!(said.err.contains(part), "{said:?}");
    }
}

#[test]
fn what_is_no_enclave_is_told() {
    let world = World::new();
    greets_with(&world, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    let said = world.run_with(&["push-config", "--wait", "0"], &KEYS);
    assert!(said.code == 1 && said.err.contains("what answers on this port is no tmkms"), "{said:?}");
}

#[test]
fn no_secret_is_in_any_output() {
    let world = World::new();
    let _enclave = world.enclave(good);
    let said = world.run_with(&["push-config"], &KEYS);
    let token = std::fs::read_to_string(world.file("secrets/control-token")).unwrap();
    for secret in ["CANARYSECRET", "AQICAHhE", token.trim()] {
        assert!(!format!("{said:?}").contains(secret), "{said:?}");
    }
}
