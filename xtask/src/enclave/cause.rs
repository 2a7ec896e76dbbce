//! Why a step could not end, from what its programs said: the few reasons that have a remedy.
use std::path::Path;

/// What holds for every step.
pub const CONTINUES: &str = "what is done is kept: run the command again to go on";

/// A phrase that programs say, the reason, and what to do.
const CAUSES: [(&str, &str); 16] = [
    ("No space left on device", "the disk is full: make room"),
    ("Disk quota exceeded", "the disk quota is used up: make room"),
    ("Temporary failure resolving", "there is no network, or no name service"),
    ("Temporary failure in name resolution", "there is no network, or no name service"),
    ("Could not resolve", "there is no network, or no name service"),
    ("failed to lookup address", "there is no network, or no name service"),
    ("Network is unreachable", "there is no network"),
    ("Connection refused", "the package server cannot be reached"),
    ("Connection timed out", "the package server cannot be reached"),
    ("Failed to establish a new connection", "the package server cannot be reached"),
    (
        "404  Not Found",
        "the file is gone from the mirror: it was replaced by a newer one; run the command again, which asks for the lists anew",
    ),
    ("Unable to locate package", "the package is gone from this release's lists"),
    ("Unable to find a source package", "this release's lists have no such source package"),
    ("No matching distribution found", "the package is gone from PyPI, or PyPI cannot be reached"),
    ("Permission denied", "this user may not: run it as root, or let sudo do it"),
    ("Killed signal terminated program", "the compiler was killed: too little memory"),
];

/// The reason in what was said, as the end of a sentence; nothing if it is none of those that we know.
pub fn of(said: &str) -> String {
    let known = CAUSES.iter().find(|(phrase, _)| said.contains(phrase));
    known.map_or_else(String::new, |(_, reason)| format!(": {reason}"))
}

/// cargo's words go to the terminal; the reasons that can be seen otherwise.
pub fn of_cargo(folder: &Path) -> String {
    let full = rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < 64 << 20);
    let reason = if full { "the disk is full: make room" } else { "what went wrong stands above" };
    format!("vhost-device-vsock was not built: {reason}; {CONTINUES}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_reasons_are_told_and_unknown_ones_are_not_made_up() {
        let full = "cc1: error writing to x.o: No space left on device\n";
        assert_eq!(of(full), ": the disk is full: make room");
        let offline = "W: Failed to fetch http://x  Temporary failure resolving 'x'";
        assert_eq!(of(offline), ": there is no network, or no name service");
        assert!(
            of("E: Failed to fetch http://x/y.tar.xz  404  Not Found [IP: 192.0.2.1 80]")
                .contains("gone from the mirror")
        );
        assert_eq!(of("error: expected ';' before '}'"), "");
    }
}
