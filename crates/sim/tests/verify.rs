//! `tmkms nitro verify` on evidence of a simulated module, and on everything that somebody might pass off as such.
#![allow(clippy::unwrap_used)]
use base64ct::{Base64, Encoding};
use clap::Parser;
use enclave::nsm::{AttestationRequest, Nsm};
use evidence::{Ceremony, ChainKey, Evidence, Signer, Software, Statement};
use serde_json::Value;
use sim::nsm::{Fault, Measurements, PCR_BYTES, ROOT_CERTIFICATE_FILE, SimulatedNsm, TestRoot};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tmkms::Cli;

const NONCE: &str = "delegator 7, 4f1c9a";
const KEY: &str = "dnmLMz2ZVQyzxRzptqAoPd7DNy8wuTkACslXxqJQskU=";

/// A module, and a folder with its root, the measurements and evidence.
struct World {
    folder: PathBuf,
    module: SimulatedNsm,
}

/// How a command ended: what it printed, and what it complained of.
type Ended = (String, Result<(), String>);

impl World {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sim-verify-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let root = Arc::new(TestRoot::load_or_generate(&folder).unwrap());
        let measured = Measurements::of_pcr0([1; PCR_BYTES]).with(1, [2; PCR_BYTES]).with(2, [3; PCR_BYTES]);
        let world = Self { folder, module: SimulatedNsm::new(root, measured).unwrap() };
        world.measurements("measurements.json", &[1, 2, 3]);
        world
    }

    fn measurements(&self, name: &str, bytes: &[u8]) {
        let pcrs = bytes.iter().enumerate();
        let pcrs: Vec<_> =
            pcrs.map(|(index, byte)| format!("\"PCR{index}\": \"{}\"", format!("{byte:02x}").repeat(48))).collect();
        let text = format!("{{\"Measurements\": {{\"HashAlgorithm\": \"Sha384 {{ ... }}\", {}}}}}", pcrs.join(", "));
        fs::write(self.folder.join(name), text).unwrap();
    }

    fn document(&self, statement: &Statement) -> Vec<u8> {
        let user_data = statement.user_data();
        let nonce = Some(NONCE.as_bytes());
        self.module.attest(&AttestationRequest { public_key: None, nonce, user_data: Some(&user_data) }).unwrap()
    }

    fn write(&self, name: &str, statement: &Statement, document: Vec<u8>) {
        let evidence = Evidence { statement: statement.clone(), document };
        fs::write(self.folder.join(name), evidence.text()).unwrap();
    }

    /// Runs `nitro verify a.json` with the root of the module.
    fn verify(&self, more: &[&str]) -> Ended {
        let root = self.folder.join(ROOT_CERTIFICATE_FILE).display().to_string();
        self.verify_with(&[&["--root", &root], more].concat())
    }

    fn verify_with(&self, more: &[&str]) -> Ended {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let (evidence, measurements) = (file("a.json"), file("measurements.json"));
        let mut line = vec!["tmkms", "nitro", "verify", &evidence, "--measurements", &measurements];
        let owned: Vec<String> =
            more.iter().map(|word| if word.ends_with(".json") { file(word) } else { (*word).to_owned() }).collect();
        line.extend(owned.iter().map(String::as_str));
        let mut out = Vec::new();
        let ended = Cli::try_parse_from(&line).unwrap().run(&mut out).map_err(|failure| {
            failure
                .problems
                .iter()
                .map(|problem| format!("{}; {}", problem.message, problem.help))
                .collect::<Vec<_>>()
                .join("\n")
        });
        (String::from_utf8(out).unwrap(), ended)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn software() -> Software {
    Software { version: "0.1.0".to_owned(), commit: String::new() }
}

fn signer() -> Statement {
    let chain = |id: &str, key: &str| ChainKey {
        chain_id: id.to_owned(),
        algorithm: "ed25519".to_owned(),
        public_key: key.to_owned(),
        address: "90721FF709A9BB2F299266DB6337835CE868B9E9".to_owned(),
    };
    Statement::Signer(Signer {
        software: software(),
        life: "ab".repeat(16),
        policy_sha256: Some("cd".repeat(32)),
        config_sha256: "ef".repeat(32),
        chains: vec![chain("cosmoshub-4", KEY), chain("osmosis-1", &"A".repeat(43))],
    })
}

fn ceremony(origin: &str, public_key: &str) -> Statement {
    Statement::Ceremony(Ceremony {
        software: software(),
        life: "12".repeat(16),
        policy_sha256: "cd".repeat(32),
        origin: origin.to_owned(),
        purpose: "consensus".to_owned(),
        chain_id: "cosmoshub-4".to_owned(),
        algorithm: "ed25519".to_owned(),
        public_key: public_key.to_owned(),
        method: "kms-encrypt".to_owned(),
        kms: "aws".to_owned(),
        key_arn: "arn:aws:kms:eu-central-1:111122223333:key/419bf6c0-cea2-4590-9b70-fe9baaee4beb".to_owned(),
        encryption_context: [("chain", "cosmoshub-4"), ("purpose", "consensus")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ciphertext_sha256: "34".repeat(32),
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn evidence_that_holds_is_told_in_words_with_what_it_does_not_prove() {
    let world = World::new();
    world.write("a.json", &signer(), world.document(&signer()));
    let (said, ended) =
        world.verify(&["--nonce", NONCE, "--pub-key", KEY, "--chain-id", "cosmoshub-4", "--max-age", "10m"]);
    assert_eq!(ended, Ok(()));
    let said = one_line(&said);
    for words in [
        "NOT AWS: ",
        "PROVEN, if that root is believed, which is not AWS's:",
        "not in debug mode, ran the image of these measurements",
        &format!(
            "It held the consensus key of cosmoshub-4: {KEY} (ed25519), validator 90721FF709A9BB2F299266DB6337835CE868B9E9."
        ),
        "It obeyed a measured policy, whose SHA-256 is cdcd",
        "The nonce is yours",
        "NOT PROVEN by this: * That no copy of the key is anywhere else.",
        "What the KMS key's policy says.",
        "Anything about a Nitro enclave: the root is not AWS's.",
    ] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    assert!(!said.contains("That it is so now"), "{said}");
    let (said, _) = world.verify(&[]);
    assert!(one_line(&said).contains("That it is so now: it was so at that time."), "{said}");
}

#[test]
fn the_json_says_the_same() {
    let world = World::new();
    world.write("a.json", &signer(), world.document(&signer()));
    let (said, ended) = world.verify(&["--json"]);
    assert_eq!(ended, Ok(()));
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (said["verdict"].as_str(), said["aws"].as_bool()),
        (Some("proven under another root than AWS's"), Some(false))
    );
    assert_eq!(said["statement"]["chains"][0]["public_key"], KEY);
    assert_eq!(said["document"]["nonce"], NONCE);
    let (said, ended) = world.verify(&["--json", "--chain-id", "other-1"]);
    assert!(ended.unwrap_err().contains("chain: expected other-1, got cosmoshub-4, osmosis-1"));
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((said["verdict"].as_str(), said["proven"].as_array().map(Vec::len)), (Some("not proven"), Some(0)));
}

/// A document that AWS signed for somebody's enclave, beside our statement: the chain to AWS's root holds, and nothing else does.
#[test]
fn a_genuine_document_of_aws_is_believed_as_such_and_proves_nothing_that_it_does_not_say() {
    let world = World::new();
    let text = fs::read_to_string("../attest/tests/data/eu-central-1-2025-01-06.b64").unwrap();
    let document = Base64::decode_vec(&text.split_whitespace().collect::<String>()).unwrap();
    world.write("a.json", &signer(), document);
    let (said, ended) = world.verify_with(&[]);
    assert!(said.contains("root          AWS Nitro Enclaves, SHA-256 641A0321A3E244EF"), "{said}");
    assert!(said.contains("made          2025-01-06T16:07:05Z"), "{said}");
    let error = ended.unwrap_err();
    assert!(error.contains("NOT PROVEN: PCR0: expected 0101") && error.contains("user_data"), "{error}");
    let (_, ended) = world.verify(&[]);
    assert!(ended.unwrap_err().contains("for a document of AWS, leave out --root"));
}

/// What somebody might pass off as evidence, and the words with which each is refused.
#[test]
fn every_forged_document_is_refused_by_its_reason() {
    let world = World::new();
    let good = world.document(&signer());
    let with = |fault: Fault| {
        world.module.set_fault(Some(fault));
        let document = world.document(&signer());
        world.module.set_fault(None);
        document
    };
    let replaced = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|window| window == from).unwrap();
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    let user_data = signer().user_data();
    let attest = |request: AttestationRequest<'_>| world.module.attest(&request).unwrap();
    let for_kms = attest(AttestationRequest {
        public_key: Some(&[0x30; 294]),
        nonce: Some(NONCE.as_bytes()),
        user_data: Some(&[7; 48]),
    });
    let says_both = attest(AttestationRequest {
        public_key: Some(&[0x30; 294]),
        nonce: Some(NONCE.as_bytes()),
        user_data: Some(&user_data),
    });
    let nonce_only = attest(AttestationRequest { nonce: Some(&user_data), ..AttestationRequest::default() });
    let other = Measurements::of_pcr0([1; PCR_BYTES]).with(1, [3; PCR_BYTES]).with(2, [2; PCR_BYTES]);
    let of = |measured: Measurements| {
        let root = Arc::new(TestRoot::load(&world.folder).unwrap());
        let module = SimulatedNsm::new(root, measured).unwrap();
        let request =
            AttestationRequest { public_key: None, nonce: Some(NONCE.as_bytes()), user_data: Some(&user_data) };
        module.attest(&request).unwrap()
    };
    let mut oversize = good.clone();
    oversize.resize(40_000, 0);
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("another root of the same name", with(Fault::WrongRoot), "begins with another root"),
        ("a leaf that had expired", with(Fault::ExpiredLeaf), "expired"),
        ("a leaf whose key is not for signing", with(Fault::WrongKeyUsage), "digitalSignature"),
        ("one bit of the signature", with(Fault::BadSignature), "not signed with the key of the leaf"),
        (
            "one bit of PCR0",
            replaced(&[1; 48], &[[1; 47].as_slice(), &[0]].concat()),
            "not signed with the key of the leaf",
        ),
        ("the nonce exchanged", replaced(NONCE.as_bytes(), &[b'x'; 19]), "not signed with the key of the leaf"),
        ("cut in the middle", good[..good.len() / 2].to_vec(), "not an attestation document"),
        ("something behind it", [good.as_slice(), &[0]].concat(), "not an attestation document"),
        ("a field twice", repacked(&good, doubled), "nonce: expected once, got twice"),
        ("a payload of indefinite length", repacked(&good, indefinite), "indefinite"),
        ("longer than any document", oversize, "not an attestation document"),
        ("PCR1 and PCR2 exchanged", of(other), "PCR1: expected 0202"),
        ("another image", of(Measurements::of_pcr0([9; PCR_BYTES])), "PCR0: expected 0101"),
        ("debug mode", of(Measurements::of_pcr0([1; PCR_BYTES]).in_debug_mode()), "debug mode"),
        ("a document for KMS", for_kms, "made for KMS"),
        ("a document for KMS that states something", says_both, "made for KMS"),
        ("the statement's hash in the nonce", nonce_only, "stated nothing"),
        (
            "a document of another statement",
            world.document(&ceremony("generated", KEY)),
            "does not bind this statement",
        ),
        ("an older document", with(Fault::StaleTimestamp(Duration::from_secs(50))), "too old: expected at most 40 s"),
    ];
    let mut shown = String::new();
    for (what, document, reason) in table {
        world.write("a.json", &signer(), document);
        let (said, ended) = world.verify(&["--nonce", NONCE, "--max-age", "40s"]);
        let error = ended.expect_err(what);
        assert!(error.contains("NOT PROVEN") || error.contains("not an attestation document"), "{what}: {error}");
        assert!(error.contains(reason), "{what}: {reason:?} is not in: {error}");
        assert!(!said.contains("\nPROVEN"), "{what}: {said}");
        let first = error.lines().next().unwrap_or_default().replace(&world.folder.display().to_string(), "");
        shown += &format!(
            "| {what} | {} |\n",
            first.split(';').next().unwrap_or_default().chars().take(150).collect::<String>()
        );
    }
    println!("{shown}");
}

/// The document with another payload, in a well-formed envelope, as no module signed it.
fn repacked(document: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut decoder = minicbor::Decoder::new(document);
    decoder.array().unwrap();
    let protected = decoder.bytes().unwrap();
    decoder.map().unwrap();
    let (payload, signature) = (decoder.bytes().unwrap(), decoder.bytes().unwrap());
    let mut payload = payload.to_vec();
    change(&mut payload);
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder
        .array(4)
        .unwrap()
        .bytes(protected)
        .unwrap()
        .map(0)
        .unwrap()
        .bytes(&payload)
        .unwrap()
        .bytes(signature)
        .unwrap();
    encoder.into_writer()
}

fn doubled(payload: &mut Vec<u8>) {
    let name = b"\x69user_data";
    let at = payload.windows(name.len()).position(|window| window == name).unwrap();
    payload.splice(at..at + name.len(), *b"\x65nonce");
}

fn indefinite(payload: &mut Vec<u8>) {
    payload[0] = 0xbf;
    payload.push(0xff);
}

#[test]
fn without_the_root_nothing_of_a_simulated_module_is_believed() {
    let world = World::new();
    world.write("a.json", &signer(), world.document(&signer()));
    let (_, ended) = world.verify_with(&[]);
    let error = ended.unwrap_err();
    assert!(error.contains("NOT PROVEN") && error.contains("641A0321A3E244EF"), "{error}");
    assert!(error.contains("no Nitro enclave of AWS made it"), "{error}");
}

#[test]
fn a_ceremony_s_evidence_beside_it_proves_where_the_key_was_made() {
    let world = World::new();
    world.write("a.json", &signer(), world.document(&signer()));
    let root = Arc::new(TestRoot::load(&world.folder).unwrap());
    let of_ceremony = SimulatedNsm::new(root, Measurements::of_pcr0([5; PCR_BYTES])).unwrap();
    let made = |statement: &Statement| {
        let user_data = statement.user_data();
        let document =
            of_ceremony.attest(&AttestationRequest { user_data: Some(&user_data), ..AttestationRequest::default() });
        world.write("c.json", statement, document.unwrap());
    };
    world.measurements("g.json", &[5]);
    let beside = ["--ceremony", "c.json", "--ceremony-measurements", "g.json"];
    let of_chain = [&beside[..], &["--chain-id", "cosmoshub-4"]].concat();
    made(&ceremony("generated", KEY));
    let (said, ended) = world.verify(&of_chain);
    assert_eq!(ended, Ok(()));
    let said = one_line(&said);
    assert!(said.contains("was generated inside it") && said.contains("ran the ceremony image"), "{said}");
    assert!(said.contains("nobody else had the key released"), "{said}");
    // Of the other key that is held nothing is known.
    assert!(said.contains("That no copy of the keys of osmosis-1 is anywhere else"), "{said}");
    // Which of the two it is about must be said.
    let (_, ended) = world.verify(&beside);
    assert!(ended.unwrap_err().contains("name the one that it is about with --chain-id or --pub-key"));
    let (_, ended) = world.verify(&[&beside[..], &["--chain-id", "osmosis-1"]].concat());
    assert!(ended.unwrap_err().contains("not the chain osmosis-1 of --chain-id"));
    let other = format!("{}=", "A".repeat(43));
    let (_, ended) = world.verify(&[&of_chain[..], &["--pub-key", &other]].concat());
    let error = ended.unwrap_err();
    assert!(error.contains("not the one of --pub-key") && error.contains("public key: expected AAAA"), "{error}");

    // A key that somebody brought is not passed off as one that was made.
    for origin in ["imported", "rewrapped"] {
        made(&ceremony(origin, KEY));
        let (_, ended) = world.verify(&of_chain);
        let error = ended.unwrap_err();
        assert!(
            error.contains(&format!("the ceremony: the key's origin: expected generated, got {origin}")),
            "{error}"
        );
        let (said, ended) = world.verify(&[&of_chain[..], &["--origin", origin]].concat());
        assert_eq!(ended, Ok(()));
        let words = if origin == "imported" { "it was made outside and imported" } else { "it was encrypted anew" };
        assert!(one_line(&said).contains(words), "{said}");
    }
    // Nor is one that another KMS than AWS's has seen.
    let Statement::Ceremony(mut elsewhere) = ceremony("generated", KEY) else { unreachable!() };
    elsewhere.kms = "kms.example.com, Amazon's roots".to_owned();
    made(&Statement::Ceremony(elsewhere));
    let (_, ended) = world.verify(&of_chain);
    assert!(ended.unwrap_err().contains("KMS: expected aws, got kms.example.com, Amazon's roots"));

    made(&ceremony("generated", &"B".repeat(43)));
    let (_, ended) = world.verify(&of_chain);
    assert!(ended.unwrap_err().contains("which the enclave does not hold"));

    world.measurements("g.json", &[6]);
    made(&ceremony("generated", KEY));
    let (_, ended) = world.verify(&of_chain);
    assert!(ended.unwrap_err().contains("the ceremony: PCR0: expected 0606"));

    world.write("c.json", &signer(), world.document(&signer()));
    world.measurements("g.json", &[1]);
    let (_, ended) = world.verify(&of_chain);
    assert!(ended.unwrap_err().contains("no ceremony's"));
}

/// What comes from a file does nothing on a terminal.
#[test]
fn nothing_of_a_file_acts_on_a_terminal() {
    let world = World::new();
    let Statement::Signer(mut hostile) = signer() else { unreachable!() };
    hostile.chains[0].chain_id = "a\u{1b}[2J\u{9b}b\u{202e}c\u{7f}".to_owned();
    let hostile = Statement::Signer(hostile);
    world.write("a.json", &hostile, world.document(&hostile));
    for more in [&[][..], &["--json"]] {
        let (said, ended) = world.verify(more);
        assert_eq!(ended, Ok(()));
        assert!(!said.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{said:?}");
    }
}

#[test]
fn files_that_are_no_evidence_and_wrong_options_are_told() {
    let world = World::new();
    let (_, ended) = world.verify(&[]);
    assert!(ended.unwrap_err().contains("No such file"));
    fs::write(world.folder.join("a.json"), "{}").unwrap();
    let (_, ended) = world.verify(&[]);
    assert!(ended.unwrap_err().contains("no evidence: missing field `format`"));
    world.write("a.json", &signer(), world.document(&signer()));
    let (_, ended) = world.verify(&["--nonce", "short"]);
    assert!(ended.unwrap_err().contains("--nonce: expected 8 to 256 bytes, got 5"));
    let (_, ended) = world.verify_with(&["--root", "measurements.json"]);
    assert!(ended.unwrap_err().contains("expected one certificate in PEM"));
    world.measurements("measurements.json", &[0]);
    let (_, ended) = world.verify(&[]);
    assert!(ended.unwrap_err().contains("zeros are what an enclave in debug mode measures"));
}
