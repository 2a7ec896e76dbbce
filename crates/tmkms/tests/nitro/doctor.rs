//! `doctor`: a whole arrangement that is well, one that is sick in every part, and nodes that answer as they should not.
use crate::enclave::{Said, World, failure, status};
use crate::rpc::{self, Node};
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::control::{
    Answer, Attested, ChainStatus, Choice, ChosenBy, ConnectionStatus, CredentialsStatus, MachineStatus, Phase,
    Received, Request, Status,
};
use wire::endpoint::{Enclave, Listener};

const KEY: &str = "SiXGZAofcrnJdTOClO9RttHDMVi7bsumn7w/taM8nc4=";
const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/419bf6c0";
const AWS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "CANARYSECRET")];

/// A folder of states, not in /tmp, which may be in memory.
struct States(PathBuf);

impl States {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("doctor-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self(path)
    }
}

impl Drop for States {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A configuration with ports that are the parent's alone, and with the KMS key.
fn config() -> String {
    crate::enclave::CONFIG
        .replace("state_vsock_port = 5555", "state_vsock_port = 555")
        .replace("aws_region", &format!("kms_key_arn = \"{ARN}\"\naws_region"))
}

fn serving() -> Status {
    let by = |what: &str, value: &str, by| Choice { what: what.to_owned(), value: value.to_owned(), by };
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        has_policy: true,
        choices: vec![
            by("state", "the parent's persist", ChosenBy::Parent),
            by("region", "eu-west-1", ChosenBy::Image),
        ],
        config_sha256: Some(Sha256::digest(config()).iter().map(|byte| format!("{byte:02x}")).collect()),
        credentials: Some(CredentialsStatus { source: "the environment".to_owned(), expires_in_seconds: Some(7_000) }),
        chains: vec![ChainStatus {
            id: "test-1".to_owned(),
            public_key: KEY.to_owned(),
            algorithm: "ed25519".to_owned(),
            address: "AB".repeat(20),
            state_port: 555,
            position: Some("12/0/precommit".to_owned()),
            state: "signing".to_owned(),
            detail: "signing, last 0.4 s ago".to_owned(),
            connections: vec![ConnectionStatus { address: "vsock://500".to_owned(), up: true }],
        }],
        machine: Some(MachineStatus {
            module_id: "i-1234-enc5678".to_owned(),
            signs_documents: Some(true),
            clock_ahead_ms: Some(-12),
            memory_total_bytes: 111 << 20,
            memory_available_bytes: 96 << 20,
            ..MachineStatus::default()
        }),
        ..status(Phase::Serving)
    }
}

/// An enclave's answers: its status, and a document with the module's time.
fn answers(received: &Received, status: &Status, module_ahead_ms: i64) -> Vec<Answer> {
    match &received.request {
        Request::Attest { nonce } => {
            let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
            let document = Base64::encode_string(&document(nonce, u64::try_from(now + module_ahead_ms).unwrap()));
            vec![Answer::Attested(Box::new(Attested { statement: String::new(), document }))]
        }
        _ => vec![Answer::Status(Box::new(status.clone()))],
    }
}

/// A well-formed attestation document with a signature of zeros: doctor reads a time from it, and proves nothing by it.
fn document(nonce: &[u8], timestamp_ms: u64) -> Vec<u8> {
    let head = |kind: u8, length: usize| [&[kind | 0x19][..], &u16::try_from(length).unwrap().to_be_bytes()].concat();
    let text = |text: &str| [head(0x60, text.len()), text.as_bytes().to_vec()].concat();
    let bytes = |bytes: &[u8]| [head(0x40, bytes.len()), bytes.to_vec()].concat();
    let fields = [
        [text("module_id"), text("i-1234-enc5678")].concat(),
        [text("digest"), text("SHA384")].concat(),
        [text("timestamp"), [&[0x1b][..], &timestamp_ms.to_be_bytes()].concat()].concat(),
        [text("pcrs"), vec![0xa1, 0x00], bytes(&[0xab; 48])].concat(),
        [text("certificate"), bytes(&[1])].concat(),
        [text("cabundle"), vec![0x81], bytes(&[1])].concat(),
        [text("nonce"), bytes(nonce)].concat(),
    ];
    let payload = [vec![0xa7], fields.concat()].concat();
    [vec![0x84, 0x44, 0xa1, 0x01, 0x38, 0x22, 0xa0], bytes(&payload), bytes(&[0; 96])].concat()
}

fn policy() -> Value {
    let image = |operator: &str| json!({ operator: { "kms:RecipientAttestation:ImageSha384": "ab".repeat(48) } });
    let role = json!({ "AWS": "arn:aws:iam::111122223333:role/validator" });
    json!({ "Version": "2012-10-17", "Statement": [
        { "Sid": "ReleaseToTheImage", "Effect": "Allow", "Principal": role, "Action": "kms:Decrypt", "Resource": "*",
          "Condition": image("StringEqualsIgnoreCase") },
        { "Sid": "ToNothingElse", "Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*",
          "Condition": image("StringNotEqualsIgnoreCase") },
        { "Sid": "NotToAnotherKey", "Effect": "Deny", "Principal": "*", "Resource": "*",
          "Action": ["kms:ReEncrypt*", "kms:CreateGrant", "kms:ReplicateKey", "kms:GenerateDataKey*"] },
    ] })
}

fn measurements(byte: &str) -> String {
    json!({ "Measurements": { "PCR0": byte.repeat(48) } }).to_string()
}

const FILES: [&str; 8] =
    ["--measurements", "m.json", "--policy", "policy.json", "--grants", "grants.json", "--key-info", "key.json"];

/// The table with each finding and remedy in one line, however they were broken, and without what this machine alone decides.
fn unbroken(said: &Said, states: &States, node: &str) -> Vec<String> {
    let text = said.out.replace(&states.0.display().to_string(), "$STATES").replace(node, "$NODE");
    // How many are skipped is this machine's, too.
    let text = text.rsplit_once(", ").unwrap().0;
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let words = line.trim_start();
        let indent = line.len() - words.len();
        let is_begin = indent <= 2 || words.starts_with("help: ");
        match lines.last_mut() {
            Some(last) if !is_begin => last.push_str(&format!(" {words}")),
            _ => lines.push(line.to_owned()),
        }
    }
    let mut group = String::new();
    let mut skips_help = false;
    lines.retain(|line| {
        if !line.starts_with(' ') {
            group = line.clone();
        }
        let is_help = line.trim_start().starts_with("help: ");
        let is_machines =
            line.starts_with(' ') && (group == "allocator" || line.contains("  kept by ")) || (is_help && skips_help);
        skips_help = is_machines;
        !is_machines
    });
    lines.iter().map(|line| columns(line)).collect()
}

/// Holds lines against a file beside this one, in which `[..]` at one place of a line stands for anything.
/// `UPDATE_EXPECTED=1 cargo test …` rewrites the lines that differ; read the difference.
#[track_caller]
fn is(lines: &[String], name: &str) {
    let is_same = |expected: &str, line: &str| match expected.split_once("[..]") {
        None => expected == line,
        Some((start, end)) => line.len() >= start.len() + end.len() && line.starts_with(start) && line.ends_with(end),
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/nitro/{name}.txt"));
    let expected = fs::read_to_string(&file).unwrap_or_default();
    let expected: Vec<&str> = expected.lines().collect();
    let is_good = |(at, line): (usize, &String)| expected.get(at).is_some_and(|expected| is_same(expected, line));
    let all = lines.len() == expected.len() && lines.iter().enumerate().all(is_good);
    if std::env::var_os("UPDATE_EXPECTED").is_some() && !all {
        let kept =
            |(at, line): (usize, &String)| if is_good((at, line)) { expected[at].to_owned() } else { line.clone() };
        let lines: Vec<String> = lines.iter().enumerate().map(kept).collect();
        fs::write(&file, lines.join("\n") + "\n").unwrap();
        return;
    }
    assert!(all, "{}:\n{}", file.display(), lines.join("\n"));
}

fn healthy() -> (World, States) {
    let (world, states) = (World::new(), States::new());
    world.write("tmkms.toml", &config());
    world.write("m.json", &measurements("ab"));
    world.write("policy.json", &json!({ "Policy": policy().to_string() }).to_string());
    world.write("grants.json", r#"{"Grants": [], "Truncated": false}"#);
    let key = json!({ "KeyMetadata": { "Arn": ARN, "KeyState": "Enabled", "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyUsage": "ENCRYPT_DECRYPT", "KeyManager": "CUSTOMER", "MultiRegion": false, "Origin": "AWS_KMS" } });
    world.write("key.json", &key.to_string());
    let mut init = std::process::Command::new(env!("CARGO_BIN_EXE_tmkms"));
    init.args(["state", "init", "--chain-id", "test-1", "--public-key", KEY, "--height", "12", "--file"])
        .arg(&states.0);
    assert!(init.output().unwrap().status.success());
    (world, states)
}

fn parent(world: &World, ports: &[u32]) -> Vec<Listener> {
    let enclave = Enclave::Unix { base: world.base() };
    ports.iter().map(|port| Listener::on_parent(Some(&enclave), *port).unwrap()).collect()
}

fn doctor(world: &World, states: &States, more: &[&str]) -> Said {
    let states = states.0.to_str().unwrap();
    let line: Vec<&str> = [&["doctor", "-s", states][..], more].concat();
    world.run_with(&line, &AWS)
}

#[test]
fn an_arrangement_that_is_well_is_a_table_without_a_remedy() {
    let (world, states) = healthy();
    let _ports = parent(&world, &[555, 8000]);
    let _enclave = world.enclave(|received| answers(received, &serving(), 0));
    let address = "AB".repeat(20);
    // The validator is on the second page.
    let node = Node::start(move |path| match path {
        "/status" => rpc::ok(&rpc::status("test-1", 12, false)),
        "/validators?per_page=100&page=1" => rpc::chunked(&rpc::validators(100, None, 101)),
        "/validators?per_page=100&page=2" => rpc::ok(&rpc::validators(0, Some((&address, KEY)), 101)),
        _ => Vec::new(),
    });
    let said = doctor(&world, &states, &[&FILES[..], &["--rpc", &node.url()]].concat());
    is(&unbroken(&said, &states, &node.url()), "doctor-healthy");
    assert!(said.code == 0 && said.err.is_empty(), "{said:?}");
    assert!(!said.out.contains("CANARY") && !said.out.contains("AKID"), "{said:?}");
}

/// With one blank where there are many.
fn columns(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    format!("{}{}", " ".repeat(indent.min(4)), line.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn sick() -> Status {
    let mut sick = serving();
    sick.machine = sick.machine.map(|machine| MachineStatus {
        signs_documents: Some(false),
        clock_ahead_ms: Some(400_000),
        memory_available_bytes: 9 << 20,
        ..machine
    });
    let chain = &mut sick.chains[0];
    (chain.state, chain.detail) =
        ("stalled".to_owned(), "no signature for 90 s, 0 of 1 nodes connected\u{1b}[2J".to_owned());
    chain.connections[0].up = false;
    Status {
        version: "9.9.9".to_owned(),
        has_policy: false,
        failure: Some(failure("kms-access-denied", "KMS denies it\nfor PCR0 00", "allow it")),
        config_sha256: Some("00ff".to_owned()),
        credentials: Some(CredentialsStatus {
            source: "the instance's role r".to_owned(),
            expires_in_seconds: Some(-7),
        }),
        log_lines_dropped: 3,
        ..sick
    }
}

#[test]
fn an_arrangement_that_is_sick_in_every_part_has_a_remedy_for_each() {
    let (world, states) = healthy();
    fs::set_permissions(world.file("tmkms.toml"), fs::Permissions::from_mode(0o640)).unwrap();
    world.write("m.json", &measurements("cd"));
    let mut open = policy();
    open["Statement"].as_array_mut().unwrap().truncate(1);
    world.write("policy.json", &open.to_string());
    world.write(
        "grants.json",
        &json!({ "Grants": [{ "KeyId": ARN, "GrantId": "0c23", "GranteePrincipal": "arn:aws:iam::1:role/x",
        "Operations": ["Decrypt"], "Constraints": { "EncryptionContextSubset": { "a": "b" } } }] })
        .to_string(),
    );
    let key = fs::read_to_string(world.file("key.json")).unwrap();
    world.write(
        "key.json",
        &key.replace("Enabled", "Disabled").replace("\"MultiRegion\":false", "\"MultiRegion\":true"),
    );
    let file = states.0.join("test-1_priv_validator_state.json");
    fs::remove_file(&file).unwrap();
    let mut init = std::process::Command::new(env!("CARGO_BIN_EXE_tmkms"));
    init.args(["state", "init", "--chain-id", "test-1", "--public-key", KEY, "--height", "11", "--file"])
        .arg(&states.0);
    assert!(init.output().unwrap().status.success());
    let _enclave = world.enclave(|received| answers(received, &sick(), -10_000));
    let address = "AB".repeat(20);
    let node = Node::start(move |path| match path {
        "/status" => rpc::ok(&rpc::status("test-1", 3, false)),
        _ => rpc::ok(&rpc::validators(0, Some((&address, "another")), 1)),
    });
    let url = node.url();
    let line = [&FILES[..], &["--rpc", &url]].concat();
    let said = doctor(&world, &states, &line);
    is(&unbroken(&said, &states, &url), "doctor-sick");
    assert!(said.code == 6 && said.err.is_empty() && !said.out.contains('\u{1b}'), "{said:?}");

    let said = doctor(&world, &states, &[&line[..], &["--json"]].concat());
    let read: Value = serde_json::from_str(&said.out).unwrap();
    let rows = read["checks"].as_array().unwrap();
    let of = |group: &str, check: &str| {
        let row = rows.iter().find(|row| row["group"] == group && row["check"] == check).unwrap();
        (row["verdict"].as_str().unwrap().to_owned(), row["finding"].as_str().unwrap().to_owned())
    };
    assert_eq!(of("node", "height").0, "error");
    assert!(of("enclave", "chain").1.contains("\u{fffd}[2J"));
    let errors = rows.iter().filter(|row| row["verdict"] == "error");
    assert!(errors.clone().all(|row| !row["remedy"].as_str().unwrap().is_empty()));
    assert_eq!((read["counts"]["errors"].as_u64(), said.code), (u64::try_from(errors.count()).ok(), 6));
}

#[test]
fn warnings_alone_end_with_1_and_what_is_missing_is_skipped_with_its_reason() {
    let (world, states) = healthy();
    let _ports = parent(&world, &[555, 8000]);
    let _enclave = world.enclave(|received| match received.request {
        Request::Attest { .. } => vec![Answer::Failed(failure("module", "no document", "ask again"))],
        _ => answers(received, &Status { has_policy: false, ..serving() }, 0),
    });
    let said = doctor(&world, &states, &[]);
    assert_eq!(said.code, 1, "{said:?}");
    let lines = unbroken(&said, &states, "none");
    let skipped: Vec<&str> = lines.iter().map(String::as_str).filter(|line| line.starts_with("  skipped ")).collect();
    let expected = [
        "  skipped PCR0 abab",
        "  skipped parent the enclave attests to nothing: no document",
        "  skipped policy no --policy",
        "  skipped grants no --grants",
        "  skipped key no --key-info",
        "  skipped reachable no --rpc",
    ];
    assert!(
        skipped.len() == expected.len() && skipped.iter().zip(expected).all(|(line, start)| line.starts_with(start)),
        "{skipped:?}"
    );
    assert!(lines.iter().any(|line| line.contains(&format!("aws kms list-grants --key-id {ARN} "))), "{lines:?}");

    let usage = doctor(&world, &states, &["--rpc", "https://node:443"]);
    assert!(usage.code == 2 && usage.err.contains("expected http://HOST:PORT"), "{usage:?}");
}

/// The rows of the group node.
fn node_rows(script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Vec<String> {
    let (world, states) = healthy();
    let _enclave = world.enclave(|received| answers(received, &serving(), 0));
    let node = Node::start(script);
    let lines = unbroken(&doctor(&world, &states, &["--rpc", &node.url()]), &states, &node.url());
    lines.into_iter().skip_while(|line| line != "node").skip(1).filter(|line| !line.is_empty()).collect()
}

#[track_caller]
fn begins(rows: &[String], expected: &[&str]) {
    // The closing line and remedies are not looked at.
    let rows: Vec<_> = rows.iter().filter(|line| line.starts_with("  ") && !line.contains("help: ")).collect();
    assert!(
        rows.len() == expected.len()
            && rows.iter().zip(expected).all(|(row, start)| row.trim_start().starts_with(start)),
        "{rows:#?}"
    );
}

#[test]
fn a_node_of_another_chain_is_an_error_and_nothing_more_is_asked_of_it() {
    let rows =
        node_rows(
            |path| if path == "/status" { rpc::ok(&rpc::status("other-1\u{1b}", 12, false)) } else { Vec::new() },
        );
    begins(&rows, &["ok reachable $NODE: version 0.38.12", "error network expected test-1, got other-1\u{fffd}"]);
}

#[test]
fn a_node_that_catches_up_and_a_validator_that_is_not_bonded_are_warned_of() {
    let rows = node_rows(|path| match path {
        "/status" => rpc::ok(&rpc::status("test-1", 3, true)),
        _ => rpc::ok(&rpc::validators(7, None, 7)),
    });
    let expected = [
        "ok reachable",
        "ok network test-1",
        "warning sync expected a node that keeps up, got one at height 3",
        "warning validator ABABABABABABABABABABABABABABABABABABABAB: expected in the validator set, got none of this address among 7",
        "ok height the record is at 12/0/precommit, and the node, at 3, is not there yet",
    ];
    begins(&rows, &expected);
    let rows = node_rows(|path| match path {
        "/status" => rpc::ok(&rpc::status("test-1", 500, false)),
        _ => rpc::ok(&rpc::validators(0, Some((&"ab".repeat(20), KEY)), 1)),
    });
    assert!(
        rows.iter().any(|row| row
            .starts_with("  warning height the chain is at 500, the record at 12/0/precommit: 488 heights behind")),
        "{rows:#?}"
    );
}

#[test]
fn a_node_that_answers_garbage_half_too_much_or_nothing_is_one_error_in_bounded_time() {
    let begun = Instant::now();
    let rows = node_rows(|_| rpc::ok("<html>\u{1b}[2J</html>"));
    begins(&rows, &["error reachable $NODE/status: expected a node's JSON, got something else: "]);
    let rows = node_rows(|_| b"SSH-2.0-OpenSSH_9.2\r\n".to_vec());
    begins(&rows, &["error reachable $NODE/status: expected HTTP, got something else"]);
    let rows = node_rows(|_| ["HTTP/1.1 200 OK\r\n\r\n", &"[".repeat(5 << 20)].concat().into_bytes());
    begins(&rows, &["error reachable $NODE/status: expected an answer of at most 4194304 bytes, got a longer one"]);
    let rows = node_rows(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"jsonrpc\"".to_vec());
    begins(&rows, &["error reachable $NODE/status: expected a whole answer, got its beginning"]);
    let rows = node_rows(|_| {
        std::thread::sleep(Duration::from_secs(20));
        Vec::new()
    });
    begins(&rows, &["error reachable $NODE/status: no whole answer within 5 s"]);
    // What fails at the second question leaves what the first one said.
    let rows = node_rows(|path| match path {
        "/status" => rpc::ok(&rpc::status("test-1", 12, false)),
        _ => rpc::ok(r#"{"error": {"code": -32603, "message": "Internal error", "data": "no"}}"#),
    });
    begins(
        &rows,
        &[
            "ok reachable",
            "ok network",
            "ok sync",
            "skipped validator $NODE/validators?per_page=100&page=1: the node refuses: no",
            "ok height",
        ],
    );
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn an_enclave_that_is_gone_or_says_nonsense_stops_no_other_check() {
    let (world, states) = healthy();
    let said = doctor(&world, &states, &FILES);
    assert!(said.code == 6 && said.out.contains("cannot reach enclave unix:"), "{said:?}");
    let lines = unbroken(&said, &states, "none");
    for start in
        ["  ok record test-1: ", "  ok policy ", "  ok on the parent ", "  skipped parent there is no security module"]
    {
        assert!(lines.iter().any(|line| line.starts_with(start)), "{start}: {lines:#?}");
    }
    let _enclave = world.enclave(|_| {
        vec![Answer::Attested(Box::new(Attested { statement: "x".to_owned(), document: "x".to_owned() }))]
    });
    let said = doctor(&world, &states, &FILES);
    assert!(said.code == 6 && said.out.contains("the enclave's answer is none to what it was asked"), "{said:?}");
}
