//! `push-config --watch`: an enclave that comes back gets its configuration again, and nothing else is pushed.
use crate::enclave::{CONFIG, World, failure, status, until};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use wire::control::{Answer, Phase, Received, Request, Serving, Status};

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "CANARYSECRET")];

/// An enclave that waits until it was pushed to.
fn life() -> impl Fn(&Received) -> Vec<Answer> + Send + Sync + 'static {
    let is_pushed = AtomicBool::new(false);
    move |received| match received.request {
        Request::Push(_) => {
            is_pushed.store(true, SeqCst);
            vec![Answer::Serving(Serving::default())]
        }
        _ => {
            let phase = if is_pushed.load(SeqCst) { Phase::Serving } else { Phase::Waiting };
            vec![Answer::Status(Box::new(status(phase)))]
        }
    }
}

fn watch(world: &World, environment: &[(&str, &str)]) -> Child {
    world.command(&["push-config", "--watch"]).envs(environment.iter().copied()).spawn().unwrap()
}

/// Ends it, and gives its log.
fn end(child: Child) -> String {
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    assert!(!log.contains("CANARY"), "{log}");
    log
}

#[test]
fn an_enclave_that_comes_back_is_pushed_to_again() {
    let world = World::new();
    let child = watch(&world, &KEYS);
    let first = world.enclave(life());
    until("first push", || first.pushed().len() == 1);
    drop(first);
    let _ = std::fs::remove_file(world.base());
    std::thread::sleep(std::time::Duration::from_secs(3));
    let second = world.enclave(life());
    until("push to the second life", || second.pushed().len() == 1);
    // It is served, so it is left alone.
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(second.pushed().len(), 1);
    let log = end(child);
    for part in
        ["watching enclave unix:", "cannot reach enclave", "answers again", "serving", "stopped; the enclave goes on"]
    {
        assert!(log.contains(part), "{part:?} in {log}");
    }
}

#[test]
fn a_push_that_fails_is_tried_again() {
    let world = World::new();
    let attempts = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&attempts);
    let alive = life();
    let enclave = world.enclave(move |received| {
        let is_push = matches!(received.request, Request::Push(_));
        if is_push && count.fetch_add(1, SeqCst) == 0 {
            return vec![Answer::Failed(failure("kms-no-route", "no proxy", "start it"))];
        }
        alive(received)
    });
    let child = watch(&world, &KEYS);
    until("second attempt", || enclave.pushed().len() == 2);
    let log = end(child);
    assert!(
        log.contains("the enclave, releasing: chain test-1: no proxy; start it") && log.contains("trying again in 2 s"),
        "{log}"
    );
}

#[test]
fn the_file_is_read_again_at_sighup_alone_and_a_wrong_one_is_not_pushed() {
    let world = World::new();
    let enclave = world.enclave(life());
    let child = watch(&world, &KEYS);
    until("first push", || enclave.pushed().len() == 1);
    std::fs::write(world.file("tmkms.toml"), "wrong").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let changed = CONFIG.replace("500 ", "501 ");
    std::fs::write(world.file("tmkms.toml"), &changed).unwrap();
    assert_eq!(enclave.pushed().len(), 1);
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    until("second push", || enclave.pushed().len() == 2);
    assert_eq!(enclave.pushed()[1].config, changed);
    let log = end(child);
    assert!(log.contains("the file is wrong, and was not pushed; the last one stays"), "{log}");
}

#[test]
fn an_enclave_that_serves_somebody_elses_configuration_gets_ours() {
    let world = World::new();
    let foreign = Arc::new(AtomicBool::new(true));
    let (is_foreign, own) = (Arc::clone(&foreign), own_digest(&world));
    let enclave = world.enclave(move |received| {
        if matches!(received.request, Request::Push(_)) {
            is_foreign.store(false, SeqCst);
            return vec![Answer::Serving(Serving::default())];
        }
        let digest = if is_foreign.load(SeqCst) { "ab".repeat(32) } else { own.clone() };
        vec![Answer::Status(Box::new(Status { config_sha256: Some(digest), ..status(Phase::Serving) }))]
    });
    // The first push is due anyway.
    let child = watch(&world, &KEYS);
    until("first push", || enclave.pushed().len() == 1);
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(enclave.pushed().len(), 1, "our own digest is known");
    let log = end(child);
    assert!(
        log.contains(&format!("serves another configuration than tmkms.toml: expected SHA-256 {}", own_digest(&world))),
        "{log}"
    );
}

#[test]
fn a_configuration_that_somebody_replaced_is_left_alone_until_sighup() {
    let world = World::new();
    let foreign = Arc::new(AtomicBool::new(false));
    let (is_foreign, own) = (Arc::clone(&foreign), own_digest(&world));
    let alive = life();
    let enclave = world.enclave(move |received| {
        let mut answers = alive(received);
        if let Some(Answer::Status(status)) = answers.first_mut()
            && status.phase == Phase::Serving
        {
            let digest = if is_foreign.load(SeqCst) { "ab".repeat(32) } else { own.clone() };
            status.config_sha256 = Some(digest);
        }
        answers
    });
    let child = watch(&world, &KEYS);
    until("first push", || enclave.pushed().len() == 1);
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(enclave.pushed().len(), 1);
    foreign.store(true, SeqCst);
    // A chain may have been taken out of it, whose key signs elsewhere by now.
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert_eq!(enclave.pushed().len(), 1);
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    until("second push", || enclave.pushed().len() == 2);
    let log = end(child);
    let before = log.split("SIGHUP").next().unwrap_or_default();
    assert_eq!(before.matches("somebody else pushed another configuration").count(), 1, "{log}");
}

#[test]
fn an_enclave_that_cannot_tell_its_status_is_pushed_to_all_the_same() {
    let world = World::new();
    let enclave = world.enclave(|received| match received.request {
        Request::Push(_) => vec![Answer::Serving(Serving::default())],
        _ => Vec::new(),
    });
    let child = watch(&world, &KEYS);
    until("push", || enclave.pushed().len() == 1);
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(enclave.pushed().len(), 1, "no storm of pushes");
    let log = end(child);
    assert!(log.contains("hung up before it answered") && log.contains("serving"), "{log}");
}

/// The SHA-256 of the configuration's file, by another program than ours.
fn own_digest(world: &World) -> String {
    let output = std::process::Command::new("sha256sum").arg(world.file("tmkms.toml")).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn credentials_are_replaced_before_they_expire() {
    let world = World::new();
    let enclave = world.enclave(life());
    // Credentials for a minute: the shortest pause is a minute, so this shows that there is one and not a storm.
    let at = std::time::SystemTime::now() + std::time::Duration::from_secs(62);
    let seconds = at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let stamp = std::process::Command::new("date")
        .args(["-u", &format!("-d@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"])
        .output()
        .unwrap();
    let stamp = String::from_utf8(stamp.stdout).unwrap();
    let expiry = [KEYS[0], KEYS[1], ("AWS_SESSION_TOKEN", "CANARYTOKEN"), ("AWS_CREDENTIAL_EXPIRATION", stamp.trim())];
    let child = watch(&world, &expiry);
    until("first push", || enclave.pushed().len() == 1);
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(enclave.pushed().len(), 1, "no storm of pushes");
    end(child);
}
