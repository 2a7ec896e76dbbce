//! `status`, `logs` and `metrics`: what they show, and how they end.
use crate::enclave::{World, failure, status, until};
use base64ct::{Base64, Encoding};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use wire::control::{
    Answer, Attested, ChainStatus, Choice, ChosenBy, ConnectionStatus, CredentialsStatus, Failure, LogLine,
    MachineStatus, MetricsPage, Phase, Received, Request, Status,
};

fn chain(state: &str, detail: &str) -> ChainStatus {
    ChainStatus {
        id: "test-1".to_owned(),
        public_key: "SiXGZAofcrnJdTOClO9RttHDMVi7bsumn7w/taM8nc4=".to_owned(),
        algorithm: "ed25519".to_owned(),
        address: "AB".repeat(20),
        state_port: 5555,
        position: Some("12/0/precommit".to_owned()),
        state: state.to_owned(),
        detail: detail.to_owned(),
        connections: vec![ConnectionStatus { address: "vsock://5000".to_owned(), up: state == "signing" }],
    }
}

fn serving(state: &str, detail: &str) -> Status {
    let by = |what: &str, value: &str, by| Choice { what: what.to_owned(), value: value.to_owned(), by };
    Status {
        commit: "abc123".to_owned(),
        has_policy: true,
        choices: vec![by("KMS key of test-1", "arn:x", ChosenBy::Image), by("region", "eu-west-1", ChosenBy::Parent)],
        config_sha256: Some("00ff".to_owned()),
        credentials: Some(CredentialsStatus {
            source: "the instance's role r".to_owned(),
            expires_in_seconds: Some(3540),
        }),
        chains: vec![chain(state, detail)],
        log_lines_dropped: 3,
        ..status(Phase::Serving)
    }
}

fn world_with(status: Status) -> (World, crate::enclave::Enclave) {
    let world = World::new();
    let enclave = world.enclave(move |_| vec![Answer::Status(Box::new(status.clone()))]);
    (world, enclave)
}

#[test]
fn a_serving_enclave_is_shown_on_one_page() {
    let (world, _enclave) = world_with(serving("signing", "signing, last 0.4 s ago"));
    let pcr = "ab".repeat(48);
    let expected = format!(
        "enclave: tmkms 9.9.9 (abc123), up for 5 min\n\
         phase          serving for 5 s\n\
         PCR0           {pcr}\n\
         policy         in the image, measured\n  \
           KMS key of test-1: arn:x (fixed by the image)\n  \
           region: eu-west-1 (substitutable: chosen by the parent)\n\
         configuration  SHA-256 00ff\n\
         credentials    the instance's role r, expire in 59 min\n\
         chain test-1 (validator {})\n  \
           state       signing, last 0.4 s ago\n  \
           public key  SiXGZAofcrnJdTOClO9RttHDMVi7bsumn7w/taM8nc4= (ed25519)\n  \
           last signed 12/0/precommit (kept on port 5555)\n  \
           node        vsock://5000 connected\n\
         log            3 lines were lost before anybody read them\n",
        "AB".repeat(20)
    );
    world.run(&["status"]).is(0, &expected, "");
}

#[test]
fn the_machine_is_shown_with_what_is_unusual_about_it() {
    let machine = MachineStatus {
        is_init: true,
        heartbeat: Some("answered".to_owned()),
        random_source: Some("nsm-hwrng".to_owned()),
        module_id: "i-1234-enc5678".to_owned(),
        signs_documents: Some(true),
        clock_ahead_ms: Some(-12),
        kernel_ms: Some(640),
        memory_total_bytes: 111 << 20,
        memory_available_bytes: 96 << 20,
        resident_bytes: 8 << 20,
    };
    let told = |machine: MachineStatus| {
        let (world, _enclave) = world_with(Status { machine: Some(machine), ..serving("signing", "signing") });
        world.run(&["status"]).out
    };
    let usual = "module         i-1234-enc5678\n\
                 randomness     nsm-hwrng\n\
                 clock          within a second of the security module's\n\
                 memory         111 MiB, 96 MiB of it free, 8 MiB used by the signer\n\
                 started by     this program is the image's init, 640 ms after the kernel's start, the loader answered\n";
    let page = told(machine.clone());
    assert!(page.contains(usual), "{page}");
    let page = told(MachineStatus {
        heartbeat: Some("port 9000\u{1b}[2J".to_owned()),
        random_source: None,
        signs_documents: Some(false),
        clock_ahead_ms: Some(90_000),
        memory_total_bytes: 0,
        ..machine
    });
    for line in [
        "i-1234-enc5678, does not sign its documents: an emulation\n",
        "randomness     not told by the kernel\n",
        "clock          90000 ms ahead of the security module's\n",
        "THE LOADER DID NOT ANSWER: port 9000\u{fffd}[2J\n",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    assert!(!page.contains("memory  "), "{page}");
}

#[test]
fn a_chain_that_is_not_healthy_is_an_error_after_the_page() {
    let (world, _enclave) = world_with(serving("stalled", "no signature for 90 s, 0 of 1 nodes connected"));
    let said = world.run(&["status"]);
    assert!(said.code == 1 && said.out.contains("node        vsock://5000 not connected"), "{said:?}");
    let expected = "error: chain test-1: no signature for 90 s, 0 of 1 nodes connected\n  help: look at the node and at `tmkms nitro \
                    proxy`, and at `tmkms nitro logs -i CID`\n";
    assert_eq!(said.err, expected);
}

#[test]
fn an_enclave_that_failed_says_why_and_a_debug_one_says_so_first() {
    let page = Status {
        failure: Some(failure("kms-access-denied", "KMS denies it\nfor PCR0 00", "allow it")),
        debug: true,
        pcrs: Default::default(),
        credentials: Some(CredentialsStatus { source: "x".to_owned(), expires_in_seconds: Some(-7) }),
        ..status(Phase::Waiting)
    };
    let (world, _enclave) = world_with(page);
    world.run(&["status"]).is(
        1,
        "enclave: tmkms 9.9.9, up for 5 min\n\
         phase          waiting for 5 s\n\
         last failure   releasing, kms-access-denied: KMS denies it\n               for PCR0 00\n               help: allow it\n\
         DEBUG MODE     its console and memory can be read, and it measures as zeros: no key that matters belongs in it\n\
         policy         none: the parent chooses everything\n\
         credentials    x, EXPIRED 7 s ago\n",
        "error: the enclave, releasing: chain test-1: KMS denies it\nfor PCR0 00\n  help: allow it\n",
    );
}

#[test]
fn a_policy_that_is_not_understood_is_not_told_as_none() {
    let failure = Failure { phase: Phase::Broken, ..failure("policy", "unknown name \"kmz\"", "correct it") };
    let page = Status { failure: Some(failure), has_policy: true, ..status(Phase::Broken) };
    let (world, _enclave) = world_with(page);
    let said = world.run(&["status"]);
    assert!(
        said.out.contains("policy         in the image, measured, and not understood: nothing is served\n"),
        "{said:?}"
    );
}

#[test]
fn the_json_is_the_enclaves_whatever_the_exit_code() {
    let (world, _enclave) = world_with(status(Phase::Waiting));
    let said = world.run(&["status", "--json"]);
    let read: Status = serde_json::from_str(&said.out).unwrap();
    assert_eq!((read, said.code), (status(Phase::Waiting), 1));
    assert!(
        said.err.starts_with("error: the enclave does not serve: it is waiting\n  help: push a configuration"),
        "{said:?}"
    );
}

#[test]
fn logs_are_shown_with_what_is_lost() {
    let world = World::new();
    let line = |number: u64, text: &str| Answer::Log(LogLine { number, text: text.to_owned() });
    let _enclave = world.enclave(move |received| match received.request {
        Request::Logs { from: 0, follow: false } => {
            vec![line(5, "five"), line(6, "six\u{1b}[2J"), line(9, "nine"), Answer::LogEnd { dropped: 4 }]
        }
        Request::Logs { follow: true, .. } => vec![line(1, "one")],
        _ => Vec::new(),
    });
    let said = world.run(&["logs"]);
    assert!(said.code == 1 && said.err.contains("missing: `tmkms nitro push-config` makes it"), "{said:?}");
    std::fs::create_dir(world.file("secrets")).unwrap();
    std::fs::write(world.file("secrets/control-token"), "00".repeat(32)).unwrap();
    let only_us: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(world.file("secrets/control-token"), only_us).unwrap();
    world.run(&["logs"]).is(
        0,
        "five\nsix\u{fffd}[2J\n… 2 lines are lost …\nnine\n… 4 lines were lost before they could be read …\n",
        "",
    );
    world.run(&["logs", "-f"]).is(
        1,
        "one\n",
        "error: the enclave ended the log\n  help: see whether it still runs: `tmkms nitro status -i CID`\n",
    );
}

fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

#[test]
fn however_many_clients_ask_for_metrics_the_enclave_is_asked_once_at_a_time_and_nothing_acts_on_a_terminal() {
    let world = World::new();
    let (asked, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (Arc::clone(&asked), Arc::clone(&most));
    let _enclave = world.enclave(move |_| {
        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(100));
        now.fetch_sub(1, Ordering::SeqCst);
        let page = MetricsPage {
            metrics: "up 1\n".to_owned(),
            healthy: false,
            health: "sick\u{1b}[2J\n\u{9b}more\n".to_owned(),
            status: "{}".to_owned(),
        };
        vec![Answer::Metrics(Box::new(page))]
    });
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut child = world.command(&["metrics", "--listen", &address.to_string()]).spawn().unwrap();
    until("listener", || get(address, "/").is_some());
    let clients: Vec<_> = (0..6).map(|_| std::thread::spawn(move || get(address, "/healthz"))).collect();
    let expected = (503, "sick\u{fffd}[2J\n\u{fffd}more\n".to_owned());
    assert!(clients.into_iter().all(|client| client.join().unwrap().unwrap() == expected));
    assert_eq!(most.load(Ordering::SeqCst), 1);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn metrics_are_relayed_and_an_enclave_that_is_gone_is_503_with_the_reason() {
    let world = World::new();
    let healthy = Arc::new(AtomicBool::new(true));
    let is_healthy = Arc::clone(&healthy);
    let enclave = world.enclave(move |_| {
        let healthy = is_healthy.load(Ordering::SeqCst);
        let health = if healthy { "healthy\n" } else { "test-1: sick\n" }.to_owned();
        let page = MetricsPage { metrics: "tmkms_up 1\n".to_owned(), healthy, health, status: "{}".to_owned() };
        vec![Answer::Metrics(Box::new(page))]
    });
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut child = world.command(&["metrics", "--listen", &address.to_string()]).spawn().unwrap();
    until("listener", || get(address, "/").is_some());
    assert_eq!(get(address, "/metrics").unwrap(), (200, "tmkms_up 1\n".to_owned()));
    assert_eq!(get(address, "/status").unwrap(), (200, "{}".to_owned()));
    assert_eq!(get(address, "/healthz").unwrap(), (200, "healthy\n".to_owned()));
    healthy.store(false, Ordering::SeqCst);
    assert_eq!(get(address, "/healthz").unwrap(), (503, "test-1: sick\n".to_owned()));
    drop(enclave);
    until("loss", || get(address, "/metrics").is_some_and(|(status, _)| status == 503));
    for path in ["/metrics", "/healthz", "/status"] {
        let (status, body) = get(address, path).unwrap();
        assert!(status == 503 && body.contains("cannot reach enclave"), "{path}: {status} {body}");
    }
    let taken = world.run(&["metrics", "--listen", &address.to_string()]);
    assert!(taken.code == 1 && taken.err.contains("name another one with --listen"), "{taken:?}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_ceremony_image_that_waits_is_well_and_says_what_it_is() {
    let (world, _enclave) = world_with(Status { ceremony: true, has_policy: true, ..status(Phase::Waiting) });
    let said = world.run(&["status"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(said.out.contains("image          a ceremony image: it makes keys, and signs nothing\n"), "{}", said.out);
    let (world, _enclave) = world_with(Status { ceremony: true, ..status(Phase::Broken) });
    assert_eq!(world.run(&["status"]).code, 1);
}

/// The statement and a "document" that holds its hash and the nonce, as a module would put them there.
fn attested(statement: &str, nonce: &[u8]) -> Vec<Answer> {
    let hash = evidence::user_data("tmkms signer attestation v1", statement);
    let document = Base64::encode_string(&[b"\x84", nonce, &hash].concat());
    vec![Answer::Attested(Box::new(Attested { statement: statement.to_owned(), document }))]
}

const STATEMENT: &str = "{\"kind\":\"tmkms signer attestation v1\",\"software\":{\"version\":\"9.9.9\",\"commit\":\"\"},\
                         \"life\":\"00\",\"policy_sha256\":null,\"config_sha256\":\"11\",\"chains\":[]}";

fn nonce_of(received: &Received) -> Vec<u8> {
    match &received.request {
        Request::Attest { nonce } => nonce.clone(),
        _ => panic!("an attestation was to be asked for"),
    }
}

#[test]
fn an_attestation_is_written_into_a_new_file_and_says_how_it_is_verified() {
    let world = World::new();
    let _enclave = world.enclave(|received| attested(STATEMENT, &nonce_of(received)));
    let said = world.run(&["attest", "--nonce", "a nonce of mine", "--out", "a.json"]);
    let expected = "wrote a.json\n  nonce   a nonce of mine\n  \
                    verify  tmkms nitro verify a.json --measurements measurements.json --nonce 'a nonce of mine'\n";
    said.is(0, expected, "");
    let text = std::fs::read_to_string(world.file("a.json")).unwrap();
    assert!(
        text.contains("\"format\": \"tmkms evidence v1\"")
            && text.contains("\"kind\": \"tmkms signer attestation v1\"")
    );
    let again = world.run(&["attest", "--nonce", "a nonce of mine", "--out", "a.json"]);
    assert!(again.code == 1 && again.err.contains("cannot write a.json: File exists"), "{again:?}");
    assert!(again.err.contains("take another name"), "{again:?}");
    assert_eq!(std::fs::read_to_string(world.file("a.json")).unwrap(), text);
    // Without a name it goes to standard output, with a nonce of 32 digits.
    let said = world.run(&["attest"]);
    assert!(said.code == 0 && said.out.starts_with("{\n  \"format\""), "{said:?}");
}

#[test]
fn an_attestation_that_nobody_could_verify_is_not_handed_on() {
    let attest = |script: fn(&Received) -> Vec<Answer>, nonce: &str| {
        let world = World::new();
        let _enclave = world.enclave(script);
        let said = world.run(&["attest", "--nonce", nonce, "--out", "a.json"]);
        assert!(said.code != 0 && !world.file("a.json").exists(), "{said:?}");
        said.err
    };
    let text = attest(|_| attested(STATEMENT, b"another nonce"), "a nonce of mine");
    assert!(text.contains("does not hold the nonce"), "{text}");
    let text = attest(
        |received| attested(&STATEMENT.replace("attestation v1", "attestation v2"), &nonce_of(received)),
        "12345678",
    );
    assert!(text.contains("its statement is not one of this version") && text.contains("tmkms version"), "{text}");
    let text = attest(|received| attested(&STATEMENT.replace(",", ", "), &nonce_of(received)), "12345678");
    assert!(text.contains("in another way"), "{text}");
    let text = attest(
        |received| {
            let mut answers = attested(STATEMENT, &nonce_of(received));
            if let Answer::Attested(attested) = &mut answers[0] {
                attested.statement = attested.statement.replace("9.9.9", "9.9.8");
            }
            answers
        },
        "12345678",
    );
    assert!(text.contains("does not hold the statement's hash"), "{text}");
    let text = attest(|_| Vec::new(), "1234567");
    assert!(text.contains("--nonce: expected 8 to 256 bytes, got 7"), "{text}");
    let text =
        attest(|_| vec![Answer::Failed(failure("not-serving", "there is nothing to attest to", "push"))], "12345678");
    assert!(text.contains("nothing to attest to") && text.contains("push"), "{text}");
}
