//! What is released contains nothing simulated: neither as a dependency nor behind a feature.
#![allow(clippy::unwrap_used)]
use std::process::Command;

#[test]
fn nothing_that_is_released_depends_on_the_simulator() {
    for package in ["tmkms", "enclave", "host", "signer", "store", "attest", "wire"] {
        let output = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--all-features",
                "--edges",
                "normal,build",
                "--prefix",
                "none",
                "--package",
                package,
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let tree = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && tree.starts_with(package), "{}", String::from_utf8_lossy(&output.stderr));
        let simulated: Vec<&str> = tree.lines().filter(|line| line.starts_with("sim v")).collect();
        assert_eq!(simulated, Vec::<&str>::new(), "{package}");
    }
}
