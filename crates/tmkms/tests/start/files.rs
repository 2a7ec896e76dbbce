//! Where a state lies, as far as it matters to a running signer.
use super::{House, ask_prevote, ping, prevote, sick, text};
use std::path::PathBuf;
use std::process::Command;

/// A folder in memory, removed at the end; none where there is no such file system.
struct Volatile(PathBuf);

impl Volatile {
    fn new() -> Option<Self> {
        let kind = Command::new("stat").args(["-f", "-c", "%T", "/dev/shm"]).output().unwrap();
        if text(&kind.stdout).trim() != "tmpfs" {
            return None;
        }
        let folder = PathBuf::from(format!("/dev/shm/tmkms-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Some(Self(folder))
    }
}

impl Drop for Volatile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_state_in_memory_is_warned_of_by_the_check_and_at_the_start() {
    let Some(volatile) = Volatile::new() else {
        eprintln!("SKIPPED: a_state_in_memory_is_warned_of_by_the_check_and_at_the_start needs a tmpfs at /dev/shm");
        return;
    };
    let house = House::new("");
    let state = volatile.0.join("state.json");
    let config = house.folder.join("tmkms.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, written.replace("\"state.json\"", &format!("{state:?}"))).unwrap();
    let warning = format!("the state file {} is on tmpfs, in memory", state.display());
    // Before there is a file, and afterwards.
    assert!(text(&house.run(&["config", "check"]).stdout).contains(&format!("warning: {warning}")));
    assert!(house.run(&["state", "init", "--new-validator"]).status.success());
    let check = house.run(&["config", "check"]);
    assert_eq!(check.status.code(), Some(0), "a warning is no error");
    assert!(text(&check.stdout).contains(&format!("warning: {warning}")), "{}", text(&check.stdout));
    let _signer = house.start();
    ping(&mut house.accept());
    let log = std::fs::read_to_string(house.folder.join("log")).unwrap();
    assert!(log.contains(" WARN ") && log.contains(&warning) && log.contains("local disk (ext4, xfs)"), "{log}");
}

#[test]
fn a_state_moved_away_is_unhealthy_from_the_first_lost_vote_on_and_well_again_once_it_is_back() {
    let house = House::new("");
    let signer = house.start();
    let mut node = house.accept();
    prevote(&mut node, 7);
    let (state, away) = (house.folder.join("state.json"), house.folder.join("away"));
    std::fs::rename(&state, &away).unwrap();
    let answer = String::from_utf8_lossy(&ask_prevote(&mut node, 8)).into_owned();
    assert!(answer.contains("it was removed or moved away"), "{answer}");
    let reason = sick(&house, &signer);
    for part in
        ["nothing is signed: ", "it was removed or moved away", "put the file itself back", "state init --height H"]
    {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    let status = signer.get("/status");
    assert!(
        status.contains("\"state\":\"stopped\",\"stopped_by\":\"the signing state could not be saved: "),
        "{status}"
    );
    std::fs::rename(&away, &state).unwrap();
    prevote(&mut node, 9);
    assert!(signer.get("/healthz").starts_with("HTTP/1.1 200"));
    assert!(signer.get("/status").contains("\"state\":\"signing\",\"stopped_by\":null"));
}

#[test]
fn a_start_says_what_was_signed_last_in_the_words_of_state_show() {
    let house = House::new("");
    let mut signer = house.start();
    prevote(&mut house.accept(), 7);
    signer.signal("-TERM");
    signer.exit_code();
    let _signer = house.start();
    let log = std::fs::read_to_string(house.folder.join("log")).unwrap();
    assert!(log.contains("signing state recovered: last signed 7/0/prevote"), "{log}");
    assert!(text(&house.run(&["state", "show"]).stdout).contains("last signed 7/0/prevote"));
}
