//! A scripted enclave on a Unix socket, a folder for its parent, and the command line.
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use wire::control::{Answer, Failure, Phase, Received, Request, Status};
use wire::endpoint::{Listener, Parent, Stopper, Stream};
use wire::frame::{self, MAX_PUSH_BYTES};
use wire::hello::{self, Channel, Side};

/// The nonce of every scripted enclave.
pub const NONCE: [u8; 32] = [7; 32];

pub const CONFIG: &str = r#"
[[chain]]
id = "test-1"
key_format = { type = "hex" }
state_vsock_port = 5555

[[providers.softsign]]
chain_ids = ["test-1"]
encrypted_key_b64 = "AQICAHhEeG1wbGUgb2YgYSBjaXBoZXJ0ZXh0LCBub3QgYSByZWFsIG9uZQ=="
aws_region = "eu-west-1"

[[validator]]
chain_id = "test-1"
addr = { port = 500 }
"#;

/// A parent's folder, gone at the end.
pub struct World(pub PathBuf);

impl World {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("tmkms-nitro-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let world = Self(path);
        world.write("tmkms.toml", CONFIG);
        world
    }

    /// A configuration that only its owner can read.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
        std::fs::set_permissions(self.file(name), PermissionsExt::from_mode(0o600)).unwrap();
    }

    pub fn base(&self) -> PathBuf {
        self.0.join("vm")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tmkms"));
        command.arg("nitro").args(line).args(["-i", &format!("unix:{}", self.base().display())]);
        command.current_dir(&self.0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_clear();
        command.env("TMKMS_TOKEN_FILE", self.file("secrets/control-token")).env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    pub fn run(&self, line: &[&str]) -> Said {
        self.run_with(line, &[])
    }

    pub fn run_with(&self, line: &[&str], environment: &[(&str, &str)]) -> Said {
        Said::of(&self.command(line).envs(environment.iter().copied()).output().unwrap(), &self.0)
    }

    pub fn enclave(&self, script: impl Fn(&Received) -> Vec<Answer> + Send + Sync + 'static) -> Enclave {
        Enclave::start(&self.base(), script)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(output: &Output, folder: &Path) -> Self {
        let text =
            |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().replace(&folder.display().to_string(), "$FOLDER");
        Self { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    #[track_caller]
    pub fn is(&self, code: i32, out: &str, err: &str) {
        assert_eq!((self.code, self.out.as_str(), self.err.as_str()), (code, out, err));
    }
}

pub struct Enclave {
    stopper: Stopper,
    /// Every push: the configuration, and the access key's id and source of its credentials.
    pub pushed: Arc<Mutex<Vec<Pushed>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    pub config: String,
    pub credentials: Option<(String, String)>,
    pub is_proven: bool,
}

impl Enclave {
    fn start(base: &Path, script: impl Fn(&Received) -> Vec<Answer> + Send + Sync + 'static) -> Self {
        let listener = Listener::in_enclave(&Parent::Unix { base: base.to_owned() }, 5050).unwrap();
        let stopper = listener.stopper();
        let pushed = Arc::new(Mutex::new(Vec::new()));
        let (script, notes) = (Arc::new(script), Arc::clone(&pushed));
        thread::spawn(move || {
            while let Ok(stream) = listener.accept() {
                let (script, notes) = (Arc::clone(&script), Arc::clone(&notes));
                thread::spawn(move || serve(stream, &*script, &notes));
            }
        });
        Self { stopper, pushed }
    }

    pub fn pushed(&self) -> Vec<Pushed> {
        self.pushed.lock().unwrap().clone()
    }
}

impl Drop for Enclave {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

fn serve(mut stream: Stream, script: &dyn Fn(&Received) -> Vec<Answer>, pushed: &Mutex<Vec<Pushed>>) {
    if hello::exchange(&mut stream, Side::Enclave, Channel::Control, NONCE, "9.9.9").is_err() {
        return;
    }
    let Ok(Some(bytes)) = frame::read(&mut stream, MAX_PUSH_BYTES) else { return };
    let received = Request::decode(&bytes).unwrap();
    if let Request::Push(push) = &received.request {
        let credentials = push.credentials.as_ref().map(|one| (one.access_key_id.to_string(), one.source.clone()));
        let is_proven = push.token.verify(wire::control::REQUEST_DOMAIN, &NONCE, &received.proven, &received.proof);
        pushed.lock().unwrap().push(Pushed { config: push.config.to_string(), credentials, is_proven });
    }
    for answer in script(&received) {
        if frame::write(&mut stream, &answer.encode()).is_err() {
            return;
        }
    }
}

pub fn failure(code: &str, reason: &str, remedy: &str) -> Failure {
    Failure {
        phase: Phase::Releasing,
        code: code.to_owned(),
        chain: Some("test-1".to_owned()),
        reason: reason.to_owned(),
        remedy: remedy.to_owned(),
    }
}

/// The status of an enclave in that phase.
pub fn status(phase: Phase) -> Status {
    Status {
        version: "9.9.9".to_owned(),
        commit: String::new(),
        phase,
        phase_seconds: 5.0,
        uptime_seconds: 300.0,
        failure: None,
        pcrs: [(0, "ab".repeat(48))].into(),
        debug: false,
        has_policy: false,
        choices: Vec::new(),
        config_sha256: None,
        credentials: None,
        chains: Vec::new(),
        log_lines_dropped: 0,
        ceremony: false,
        machine: None,
    }
}

/// Waits for something, generously.
#[track_caller]
pub fn until(what: &str, is: impl Fn() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(60), "no {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
