//! What the tests of the checks have in common: a folder, a case, a configuration, a status.
use super::Case;
use host::control_client::Target;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use wire::control::{ChainStatus, Phase, Status};
use wire::endpoint::Enclave;

pub(super) const CONFIG: &str = r#"
[[chain]]
id = "test-1"
key_format = { type = "hex" }
state_vsock_port = 555

[[providers.softsign]]
chain_ids = ["test-1"]
encrypted_key_b64 = "AQICAHhEeG1wbGUgb2YgYSBjaXBoZXJ0ZXh0LCBub3QgYSByZWFsIG9uZQ=="
aws_region = "eu-west-1"

[[validator]]
chain_id = "test-1"
addr = { port = 500 }
"#;

/// A key and its address: 32 times 7.
pub(super) const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// A folder that is gone at the end; not in /tmp, which may be in memory.
pub(super) struct Folder(pub PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let path =
            std::env::current_exe().unwrap().parent().unwrap().join(format!("doctor-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self(path)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// All of it in that folder.
pub(super) fn case(folder: &Folder) -> Case {
    let base = std::env::temp_dir().join(folder.0.file_name().unwrap());
    Case {
        config: folder.file("tmkms.toml"),
        target: Some(Target { enclave: Enclave::Unix { base }, port: 5050, software: "0" }),
        states: Vec::new(),
        measurements: Vec::new(),
        policy: None,
        grants: None,
        key_info: None,
        rpc: None,
        root: folder.0.clone(),
    }
}

/// An enclave in that phase that signs on test-1.
pub(super) fn status(phase: Phase) -> Status {
    let chain = ChainStatus {
        id: "test-1".to_owned(),
        public_key: KEY.to_owned(),
        algorithm: "ed25519".to_owned(),
        address: "AB".repeat(20),
        state_port: 555,
        position: Some("12/0/precommit".to_owned()),
        state: "signing".to_owned(),
        detail: "signing, last 0.4 s ago".to_owned(),
        connections: Vec::new(),
    };
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: String::new(),
        phase,
        phase_seconds: 5.0,
        uptime_seconds: 300.0,
        failure: None,
        pcrs: [(0, "ab".repeat(48))].into(),
        debug: false,
        has_policy: true,
        choices: Vec::new(),
        config_sha256: None,
        credentials: None,
        chains: vec![chain],
        log_lines_dropped: 0,
        ceremony: false,
        machine: None,
    }
}
