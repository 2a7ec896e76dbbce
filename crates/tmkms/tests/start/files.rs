//! Where a state lies, as far as it matters to a running signer.
use super::{House, ping, text};
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
