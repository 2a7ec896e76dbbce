//! Statuses with one thing wrong, and what is said of them.
use super::super::finding::tests::said;
use super::super::tests::{Folder, case, status};
use super::*;
use crate::measurements::Register;
use wire::control::{Choice, ConnectionStatus, Failure};

fn of_basis(status: &Status, basis: &Basis) -> String {
    let folder = Folder::new();
    let case = case(&folder);
    said(|say| {
        judge(status, &case, basis, say);
        chains::judge(status, &case, basis.config(), say);
    })
}

fn of(status: &Status) -> String {
    of_basis(status, &Basis::default())
}

fn machine() -> MachineStatus {
    MachineStatus {
        module_id: "i-1234-enc5678".to_owned(),
        signs_documents: Some(true),
        memory_total_bytes: 111 << 20,
        memory_available_bytes: 96 << 20,
        ..MachineStatus::default()
    }
}

#[test]
fn a_serving_enclave_is_well_in_every_line() {
    let image = Register(vec![0xab; 48]);
    let basis = Basis { images: vec![("m.json".to_owned(), image)], ..Basis::default() };
    let text = of_basis(&Status { machine: Some(machine()), ..status(Phase::Serving) }, &basis);
    let expected = format!(
        "ok phase: serving for 5 s\nok debug mode: off\nok PCR0: {}, as in m.json\nok measured policy: in the image\n\
         ok choices: nothing is the parent's to choose but records and nodes, which always are\n\
         ok module: i-1234-enc5678 signs its documents\nok memory: 96 MiB of 111 MiB are free\n\
         ok log: nobody missed a line of it\nok chain: test-1: signing, last 0.4 s ago\n\
         ok connections: test-1: 0 of 0 nodes connected\n",
        "ab".repeat(48)
    );
    assert_eq!(text, expected);
}

#[test]
fn another_image_is_an_error_that_warns_of_taking_the_running_one() {
    let basis = |byte: u8| Basis { images: vec![("m.json".to_owned(), Register(vec![byte; 48]))], ..Basis::default() };
    let text = of_basis(&status(Phase::Serving), &basis(0xcd));
    let (other, running) = ("cd".repeat(48), "ab".repeat(48));
    assert!(text.contains(&format!("error PCR0: another image runs: expected {other}, got {running}\n")), "{text}");
    assert!(text.contains("do not put the running measurement into the key's policy"), "{text}");
    // Without measurements nothing is compared, and the remedy is not to copy them from the enclave.
    let text = of(&status(Phase::Serving));
    assert!(text.contains(&format!("skipped PCR0: {running}: there is nothing to compare it with")), "{text}");
    assert!(text.contains("never take the measurement of a running enclave for it"), "{text}");
    let none = Status { pcrs: Default::default(), ..status(Phase::Serving) };
    assert!(of(&none).contains("error PCR0: expected a measurement, got none"));
    let debug = Status { pcrs: Default::default(), debug: true, ..status(Phase::Serving) };
    let text = of_basis(&debug, &basis(0xab));
    assert!(text.contains("error debug mode: ") && text.contains("skipped PCR0: in debug mode it is zeros"), "{text}");
}

#[test]
fn each_phase_but_serving_is_told_with_what_to_do() {
    for (phase, expected) in [
        (Phase::Starting, "warning phase: expected serving, got starting for 5 s"),
        (Phase::Waiting, "error phase: expected serving, got waiting for 5 s: nothing is signed"),
        (Phase::Checking, "warning phase: expected serving, got checking"),
        (Phase::Releasing, "warning phase: expected serving, got releasing"),
        (Phase::Recovering, "warning phase: expected serving, got recovering"),
        (Phase::Broken, "error phase: expected serving, got broken"),
    ] {
        let text = of(&status(phase));
        assert!(text.contains(expected), "{text}");
    }
    let text = of(&status(Phase::Waiting));
    assert!(text.contains("`tmkms nitro push-config -c ") && text.contains(" -i unix:"), "{text}");
    assert!(
        of(&Status { ceremony: true, ..status(Phase::Waiting) })
            .contains("error image: expected the signer, got a ceremony image")
    );
}

#[test]
fn a_failure_is_an_error_unless_the_enclave_still_serves() {
    let failure = Failure {
        phase: Phase::Releasing,
        code: "kms-access-denied".to_owned(),
        chain: None,
        reason: "KMS denies it\u{1b}[2J".to_owned(),
        remedy: String::new(),
    };
    let text = of(&Status { failure: Some(failure.clone()), ..status(Phase::Waiting) });
    assert!(
        text.contains("error last failure: kms-access-denied: the enclave, releasing: KMS denies it\u{fffd}[2J\n"),
        "{text}"
    );
    assert!(text.contains("chapter 14, has each code"), "{text}");
    let serving = Status { failure: Some(failure), ..status(Phase::Serving) };
    assert!(of(&serving).contains("warning last failure: ") && of(&serving).contains("what was served before goes on"));
}

#[test]
fn what_the_parent_may_choose_is_noted_and_no_policy_at_all_is_warned_of() {
    let choice = |what: &str, by| Choice { what: what.to_owned(), value: "v\n".to_owned(), by };
    let choices = vec![
        choice("state", ChosenBy::Parent),
        choice("nodes of test-1", ChosenBy::Parent),
        choice("region", ChosenBy::Image),
    ];
    let text = of(&Status { choices: choices.clone(), ..status(Phase::Serving) });
    assert!(text.contains("ok choices: "), "{text}");
    let more = [choices, vec![choice("KMS key of test-1", ChosenBy::Parent); 40]].concat();
    let text = of(&Status { choices: more, ..status(Phase::Serving) });
    assert!(
        text.contains("note choices: substitutable, chosen by whoever pushed: KMS key of test-1 (v\u{fffd}); KMS"),
        "{text}"
    );
    assert!(text.contains(" and 8 more\n"), "{text}");
    let text = of(&Status { has_policy: false, ..status(Phase::Serving) });
    assert!(text.contains("warning measured policy: none in the image"), "{text}");
}

#[test]
fn a_module_that_does_not_sign_little_memory_and_lost_lines_are_told() {
    let of_machine = |machine| of(&Status { machine: Some(machine), ..status(Phase::Serving) });
    assert!(
        of_machine(MachineStatus { signs_documents: Some(false), ..machine() })
            .contains("warning module: i-1234-enc5678: expected signed")
    );
    assert!(of_machine(MachineStatus { signs_documents: None, ..machine() }).contains("warning module: "));
    let text = of_machine(MachineStatus { memory_available_bytes: (16 << 20) - 1, ..machine() });
    assert!(text.contains("warning memory: expected at least 16 MiB, got: 15 MiB of 111 MiB are free"), "{text}");
    assert!(of_machine(MachineStatus { memory_total_bytes: 0, ..machine() }).contains("skipped memory"));
    assert!(of(&status(Phase::Serving)).contains("skipped module: "));
    let lost = Status { log_lines_dropped: 3, version: "9.9.9".to_owned(), ..status(Phase::Serving) };
    assert!(
        of(&lost).contains("note log: 3 lines were lost")
            && of(&lost).contains("note version: the enclave's: expected")
    );
}

#[test]
fn a_chain_that_does_not_sign_or_is_not_served_is_an_error() {
    let with = |state: &str, up: [bool; 2]| {
        let mut status = status(Phase::Serving);
        let node = |up| ConnectionStatus { address: "vsock://500".to_owned(), up };
        (status.chains[0].state, status.chains[0].detail) = (state.to_owned(), "in words".to_owned());
        status.chains[0].connections = up.map(node).to_vec();
        of(&status)
    };
    assert!(
        with("waiting", [true, true])
            .contains("ok chain: test-1: in words\nok connections: test-1: 2 of 2 nodes connected")
    );
    for state in ["stalled", "stopped", "unconnected", "new\u{1b}"] {
        assert!(with(state, [true, true]).contains("error chain: test-1: in words\n"), "{state}");
    }
    assert!(
        with("signing", [true, false])
            .contains("warning connections: test-1: 1 of 2 nodes connected; not: vsock://500")
    );
    assert!(with("signing", [false, false]).contains("error connections: test-1: 0 of 2"));

    let config = crate::config::parse(super::super::tests::CONFIG, std::path::Path::new("tmkms.toml")).unwrap();
    let basis = Basis { config: Some((config, "00ff".to_owned())), ..Basis::default() };
    let mut status = status(Phase::Serving);
    (status.chains[0].id, status.config_sha256) = ("other-1".to_owned(), Some("11".to_owned()));
    let text = of_basis(&status, &basis);
    assert!(text.contains("error chain: test-1: expected to be served"), "{text}");
    assert!(text.contains("warning applied: another configuration is applied: expected SHA-256 00ff, of "), "{text}");
    status.config_sha256 = Some("00FF".to_owned());
    assert!(of_basis(&status, &basis).contains("ok applied: the configuration of "));
}
