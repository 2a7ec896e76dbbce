//! The running signer: it connects, answers, is seen from outside, keeps its state for itself, and ends cleanly.
#![allow(clippy::unwrap_used)] // A test may fail where a signer may not.
#[path = "start/files.rs"]
mod files;
#[path = "start/log.rs"]
mod log;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_tmkms");
const LIMIT: Duration = Duration::from_secs(20);
/// TEST KEY: 32 bytes of the letter k, in base64.
const TEST_KEY: &str = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";

/// A folder with a configuration, a key and a state for one chain, and the node's side of its socket.
struct House {
    folder: PathBuf,
    node: UnixListener,
}

impl House {
    /// A free port is the kernel's to choose; the signer's log says which it was.
    fn new(extra: &str) -> Self {
        Self::with_metrics("listen = \"127.0.0.1:0\"", extra)
    }

    fn listening(address: &str) -> Self {
        Self::with_metrics(&format!("listen = \"{address}\""), "")
    }

    /// `metrics` is what stands in that section.
    fn with_metrics(metrics: &str, extra: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let folder = std::env::temp_dir().join(format!("tmkms-start-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let node = UnixListener::bind(folder.join("node.sock")).unwrap();
        let config = format!(
            "[[chain]]\nid = \"test-1\"\nkey_format = {{ type = \"hex\" }}\nstate_file = \"state.json\"\n\
             [[providers.softsign]]\nchain_ids = [\"test-1\"]\npath = \"consensus.key\"\n\
             [metrics]\n{metrics}\n\
             [[validator]]\nchain_id = \"test-1\"\naddr = \"unix://node.sock\"\n{extra}\n"
        );
        std::fs::write(folder.join("tmkms.toml"), config).unwrap();
        std::fs::write(folder.join("consensus.key"), TEST_KEY).unwrap();
        let house = Self { folder, node };
        assert!(Command::new("chmod").arg("600").arg(house.folder.join("consensus.key")).status().unwrap().success());
        assert!(house.run(&["state", "init", "--new-validator"]).status.success());
        house
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).env("TMKMS_CONFIG_FILE", self.folder.join("tmkms.toml")).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn start(&self) -> Signer {
        let log = std::fs::File::create(self.folder.join("log")).unwrap();
        let child = self.command(&["start", "-v"]).stderr(log).stdout(Stdio::null()).spawn().unwrap();
        let mut signer = Signer { child, metrics: ([127, 0, 0, 1], 0).into() };
        signer.metrics = self.metrics_in_log();
        signer
    }

    fn metrics_in_log(&self) -> SocketAddr {
        let until = Instant::now() + LIMIT;
        loop {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap();
            let address = log.split("metrics on http://").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
            if let Some(address) = address {
                return address;
            }
            assert!(Instant::now() < until, "no metrics: {log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn accept(&self) -> UnixStream {
        let (stream, _) = self.node.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A running signer, which never outlives its test.
struct Signer {
    child: Child,
    metrics: SocketAddr,
}

impl Signer {
    fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.metrics).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        // What was not read of a refused request may come back as a reset after the answer.
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn exit_code(&mut self) -> i32 {
        let until = Instant::now() + LIMIT;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().expect("it ended by a signal");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it did not end within {LIMIT:?}");
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A ping and its answer, from privval.md's table: the shortest proof that the session lives.
fn ping(stream: &mut UnixStream) {
    stream.write_all(&[0x02, 0x3a, 0x00]).unwrap();
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0x02, 0x42, 0x00]);
}

/// Asks for a nil prevote: the message of CometBFT's `privval/types.proto`, byte by byte. Gives the answer.
fn ask_prevote(stream: &mut UnixStream, height: u8) -> Vec<u8> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
    let mut vote = vec![0x08, 1, 0x10, height, 0x2a, 2, 0x08, 1, 0x32, 20];
    vote.extend([1; 20]);
    let inner = [&[0x0a, length(&vote)], &vote[..], &[0x12, 6], b"test-1"].concat();
    let frame = [&[length(&inner) + 2, 0x1a, length(&inner)], &inner[..]].concat();
    stream.write_all(&frame).unwrap();
    let mut answer = [0; 512];
    // The system may interrupt a read that has a limit.
    let read = (0..100).find_map(|_| stream.read(&mut answer).ok()).unwrap();
    answer[..read].to_vec()
}

/// Has a nil prevote signed.
fn prevote(stream: &mut UnixStream, height: u8) {
    let answer = ask_prevote(stream, height);
    // SignedVoteResponse: field 1 is the vote, field 2 an error.
    assert_eq!((answer[1], answer[3]), (0x22, 0x0a), "{:?}", String::from_utf8_lossy(&answer));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_running_signer_is_seen_from_outside_and_ends_cleanly_at_a_signal() {
    let house = House::new("");
    for signal in ["-TERM", "-INT"] {
        let mut signer = house.start();
        let mut node = house.accept();
        ping(&mut node);
        assert!(signer.get("/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(signer.get("/metrics").contains("test-1"));
        assert!(signer.get("/status").contains("\"chain_id\":\"test-1\""));
        let address = signer.metrics.to_string();
        let status = house.run(&["status", "--address", &address]);
        assert_eq!((status.status.code(), text(&status.stderr)), (Some(0), String::new()));
        assert!(text(&status.stdout).contains("connected, not yet asked for a signature"), "{}", text(&status.stdout));
        let json = house.run(&["status", "--json", "--address", &address]);
        assert!(text(&json.stdout).starts_with('{'));
        signer.signal(signal);
        assert_eq!(signer.exit_code(), 0);
        assert_eq!(node.read(&mut [0]).unwrap(), 0, "the session ends with a clean end of stream");
        let log = std::fs::read_to_string(house.folder.join("log")).unwrap();
        assert!(!log.contains(TEST_KEY) && !log.contains(" WARN  session"), "{log}");
        let stopping = format!("SIG{}: stopping, votes in progress are answered first", &signal[1..]);
        assert_eq!(log.matches(&stopping).count(), 1, "{log}");
        // A connection's thread may have a last word at debug level behind it.
        assert_eq!(log.lines().filter(|line| line.ends_with(" stopped")).count(), 1, "{log}");
    }
}

/// Waits until `/healthz` fails, and gives its reason; `tmkms status` must say the same and exit with 1.
fn sick(house: &House, signer: &Signer) -> String {
    let until = Instant::now() + LIMIT;
    let answer = loop {
        let answer = signer.get("/healthz");
        if !answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
        assert!(Instant::now() < until, "it stays healthy: {answer}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    let status = house.run(&["status", "--address", &signer.metrics.to_string()]);
    assert_eq!(status.status.code(), Some(1));
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let reason = body.strip_prefix("test-1: ").unwrap().trim_end().to_owned();
    // Between the two questions a second may have passed, so the number is left out.
    let tail = reason.split(" s, ").last().unwrap();
    let error = text(&status.stderr);
    assert!(error.starts_with("error: chain test-1: ") && error.contains(tail), "{error} against {reason}");
    let is_stopped = reason.starts_with("nothing is signed: ");
    assert!(error.contains(if is_stopped { "do what the reason says" } else { "look at the node" }), "{error}");
    reason
}

#[test]
fn health_fails_when_votes_stop_though_the_node_is_connected() {
    let house = House::with_metrics("listen = \"127.0.0.1:0\"\nunhealthy_after = 3", "");
    let signer = house.start();
    let mut node = house.accept();
    prevote(&mut node, 7);
    assert!(signer.get("/healthz").starts_with("HTTP/1.1 200"));
    let reason = sick(&house, &signer);
    assert!(reason.starts_with("no signature for ") && reason.ends_with(" s, 1 of 1 nodes connected"), "{reason}");
    assert!(signer.get("/status").contains("\"state\":\"stalled\""));
    ping(&mut node);
    prevote(&mut node, 8);
    assert!(signer.get("/healthz").starts_with("HTTP/1.1 200"), "a vote heals it");
}

#[test]
fn health_fails_when_no_node_was_ever_connected() {
    let house = House::with_metrics("listen = \"127.0.0.1:0\"\nunhealthy_after = 3", "");
    // The socket stays, but nobody listens on it any more.
    let socket = house.folder.join("node.sock");
    std::fs::remove_file(&socket).unwrap();
    drop(UnixListener::bind(&socket).unwrap());
    let signer = house.start();
    assert!(signer.get("/healthz").starts_with("HTTP/1.1 200"), "it has some seconds to find its node");
    assert_eq!(sick(&house, &signer), "no node is connected, and none asked for a signature since the start");
    assert!(signer.get("/status").contains("\"state\":\"unconnected\""));
}

#[test]
fn a_state_in_use_is_for_one_process() {
    let house = House::new("");
    let _signer = house.start();
    ping(&mut house.accept());
    for (arguments, expected) in [
        (&["start"][..], "in use by"),
        (&["state", "export", "--to", "filepv", "out.json"], "in use by"),
        (&["state", "repair", "--height", "5"], "in use by"),
    ] {
        let output = house.run(arguments);
        assert_eq!(output.status.code(), Some(4), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{arguments:?}: {}", text(&output.stderr));
    }
    for arguments in [&["state", "show"][..], &["config", "check"]] {
        assert_eq!(house.run(arguments).status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn without_reconnect_it_ends_with_its_last_session() {
    let house = House::new("reconnect = false");
    let mut signer = house.start();
    ping(&mut house.accept());
    assert_eq!(signer.exit_code(), 0);
}

#[test]
fn with_reconnect_it_comes_back() {
    let house = House::new("");
    let _signer = house.start();
    for _ in 0..3 {
        ping(&mut house.accept());
    }
}

#[test]
fn a_timeout_below_the_pings_of_a_node_ends_no_session() {
    let house = House::new("timeout = 1");
    let _signer = house.start();
    let mut node = house.accept();
    for _ in 0..2 {
        // A node's own interval.
        std::thread::sleep(Duration::from_millis(3_333));
        ping(&mut node);
    }
    let log = std::fs::read_to_string(house.folder.join("log")).unwrap();
    assert!(log.contains("`timeout` in [[validator]]: 1 s is for connecting alone"), "{log}");
}

#[test]
fn status_says_that_nobody_answers() {
    let house = House::listening("127.0.0.1:1");
    let output = house.run(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: cannot ask the signer at 127.0.0.1:1: "));
}

#[test]
fn status_says_that_someone_else_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let house = House::listening(&listener.local_addr().unwrap().to_string());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello");
    });
    let output = house.run(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is no tmkms of this version"), "{}", text(&output.stderr));
}

#[test]
fn a_taken_metrics_port_is_an_error_and_not_a_silent_lack() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let house = House::listening(&other.local_addr().unwrap().to_string());
    let output = house.run(&["start"]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("cannot serve the metrics on") && error.contains("free the port"), "{error}");
}

#[test]
fn a_metrics_address_of_another_host_is_not_taken_for_a_taken_port() {
    // For documentation (RFC 5737): no host has it.
    let house = House::listening("192.0.2.1:26661");
    let output = house.run(&["start"]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("no network interface of this host has the address 192.0.2.1"), "{error}");
    assert!(error.contains("such as 127.0.0.1:26661") && !error.contains("free the port"), "{error}");
}

#[test]
fn hostile_metrics_clients_cost_nothing() {
    let house = House::new("");
    let signer = house.start();
    let mut node = house.accept();
    ping(&mut node);
    for (request, expected) in [
        ("GET /other HTTP/1.1\r\n\r\n", "HTTP/1.1 404"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405"),
        ("\r\n\r\n", "HTTP/1.1 405"),
        ("GET /status\n\n", "HTTP/1.1 200"),
        (&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(10_000)), "HTTP/1.1 400"),
    ] {
        let answer = signer.ask(request);
        assert!(answer.starts_with(expected) || (request.len() > 8_192 && answer.is_empty()), "{expected}: {answer}");
    }
    // More idle clients than are served: the surplus is hung up on at once, and votes go on meanwhile.
    let mut idle: Vec<_> = (0..40).map(|_| TcpStream::connect(signer.metrics).unwrap()).collect();
    let surplus = idle.last_mut().unwrap();
    surplus.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(surplus.read(&mut [0]).unwrap_or(0), 0);
    ping(&mut node);
    drop(idle);
    let until = Instant::now() + LIMIT;
    while !signer.get("/healthz").starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < until, "the listener did not come back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_log_is_json_where_it_is_asked_for() {
    let house = House::new("[log]\nformat = \"json\"\nlevel = \"debug\"");
    let mut signer = house.start();
    ping(&mut house.accept());
    signer.signal("-TERM");
    assert_eq!(signer.exit_code(), 0);
    let log = std::fs::read_to_string(Path::new(&house.folder).join("log")).unwrap();
    assert!(log.lines().count() >= 3);
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["time"].is_string() && line["level"].is_string() && line["message"].is_string());
    }
}
