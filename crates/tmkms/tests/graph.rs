//! What a release is made of: no simulated part of AWS, no async runtime, and an enclave that has nothing of the host's.
#![allow(clippy::unwrap_used)] // A test may fail where a signer may not.
use std::collections::BTreeSet;
use std::process::Command;

/// The crates of a build of `tmkms`, by name, build scripts' and macros' included only if `edges` says so.
fn tree(features: &[&str], edges: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--package", "tmkms", "--prefix", "none", "--edges", edges])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What the image is built with.
const ENCLAVE: [&str; 3] = ["--no-default-features", "--features", "nitro-enclave,softsign"];

#[test]
fn no_release_contains_a_simulated_part_an_async_runtime_or_openssl() {
    for features in [&["--all-features"][..], &ENCLAVE[..]] {
        let crates = tree(features, "normal,build");
        assert!(crates.contains("guard") && crates.contains("enclave"), "{crates:?}");
        for absent in ["sim", "tokio", "async-std", "smol", "openssl", "openssl-sys", "rsa", "reqwest", "hyper"] {
            assert!(!crates.contains(absent), "{absent} is in the release built with {features:?}");
        }
    }
}

/// What sends a key out of an enclave is in the ceremony image, and in nothing that signs or that an operator runs.
#[test]
fn no_build_but_the_ceremony_s_can_encrypt_under_kms() {
    for features in [&ENCLAVE[..], &[]] {
        assert!(
            !tree(features, "normal,build").contains("ceremony"),
            "the build with {features:?} has a ceremony's code"
        );
    }
    let ceremony = tree(&["--no-default-features", "--features", "nitro-ceremony,softsign"], "normal");
    assert!(ceremony.contains("ceremony") && !ceremony.contains("host"));
}

#[test]
fn the_enclave_s_build_has_nothing_of_the_hosts() {
    let crates = tree(&ENCLAVE, "normal,no-proc-macro");
    for absent in ["host", "attest", "x509-cert", "clap_complete", "clap_mangen"] {
        assert!(!crates.contains(absent), "{absent} is in the enclave's build");
    }
    println!("{} crates in the enclave's build: {crates:?}", crates.len());
    // A bound, so that growth is a decision: docs/adr names what each is for.
    assert!(crates.len() <= 140, "{} crates in the enclave's build", crates.len());
}
