//! The enclave's own KMS client against the development KMS, with documents of the simulated security module.
#![allow(clippy::unwrap_used)]
use clap::Parser as _;
use enclave::kms::{Client, Credentials, DecryptRequest, Dial, Endpoint, KmsError, Limits, Recipient, Region};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use sim::kms::{Fault, Form, Server, Settings};
use sim::nsm::{self, Measurements, SimulatedNsm, TestRoot};
use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};
use zeroize::Zeroizing;

const ROLE: &str = "arn:aws:iam::111122223333:role/validator";
const SESSION: &str = "arn:aws:sts::111122223333:assumed-role/validator/i-0123456789abcdef0";
const TOKEN: &str = "a/session+token==";
const CONTEXT: [(&str, &str); 2] = [("chain_id", "test-1"), ("purpose", "consensus")];
const PLAINTEXT: &[u8] = b"the consensus key";

/// It takes a moment to make.
static RECIPIENT: LazyLock<Recipient> = LazyLock::new(|| Recipient::generate().unwrap());

struct Bench {
    server: Server,
    root: Arc<TestRoot>,
    dir: PathBuf,
    arn: String,
    blob: Vec<u8>,
}

fn policy(image: &str) -> String {
    let is = json!({ "kms:RecipientAttestation:ImageSha384": image });
    json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "AWS": ROLE }, "Action": "kms:Decrypt", "Resource": "*", "Condition": {
            "StringEqualsIgnoreCase": is, "StringEquals": { "kms:EncryptionContext:chain_id": "test-1" } } },
        { "Effect": "Deny", "Principal": "*", "Action": ["kms:Decrypt", "kms:GenerateDataKey*"], "Resource": "*",
          "Condition": { "StringNotEqualsIgnoreCase": is } },
    ]})
    .to_string()
}

impl Bench {
    fn start(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("sim-client-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let server = Server::start(&Settings::new(&dir)).unwrap();
        let root = Arc::new(TestRoot::generate().unwrap());
        server.trust_nsm_root(root.certificate());
        server.add_principal("ASIAEXAMPLE", "secret/key", Some(TOKEN), SESSION, None);
        let arn = server.create_key(&policy(&"AB".repeat(48))).unwrap();
        let blob = server.encrypt(&arn, PLAINTEXT, &CONTEXT).unwrap();
        Self { server, root, dir, arn, blob }
    }

    fn module(&self, pcr0: u8) -> SimulatedNsm {
        SimulatedNsm::new(Arc::clone(&self.root), Measurements::of_pcr0([pcr0; 48])).unwrap()
    }

    /// Decrypts as an enclave with this module does.
    fn release(&self, module: &SimulatedNsm, context: &[(&str, &str)]) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let region = Region::find(self.server.region()).unwrap();
        let ca = CertificateDer::from_pem_file(self.server.ca_pem_path()).unwrap();
        let endpoint = Endpoint::measured(region.host(), 8000, &[ca.to_vec()]).unwrap();
        let limits = Limits {
            attempt: Duration::from_secs(3),
            total: Duration::from_secs(4),
            first_wait: Duration::from_millis(10),
        };
        let client = Client::new(endpoint, dial(self.server.address())).with_limits(limits);
        let credentials = Credentials {
            access_key_id: "ASIAEXAMPLE".into(),
            secret_access_key: "secret/key".into(),
            session_token: Some(TOKEN.into()),
        };
        let encryption_context: BTreeMap<String, String> =
            context.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let wanted = DecryptRequest {
            region,
            ciphertext: &self.blob,
            key_arn: Some(&self.arn),
            encryption_context: &encryption_context,
        };
        client.decrypt(module, &RECIPIENT, &credentials, &wanted, SystemTime::now())
    }

    fn refused(&self, module: &SimulatedNsm) -> KmsError {
        self.release(module, &CONTEXT).expect_err("the key was released")
    }

    fn struck(&self, fault: Fault) -> KmsError {
        self.server.faults().clear();
        self.server.faults().always(fault);
        let error = self.refused(&self.module(0xab));
        self.server.faults().clear();
        error
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What `nitro proxy` does: bytes both ways, and each side's end.
fn dial(address: SocketAddr) -> Dial {
    Box::new(move |time| {
        let (ours, theirs) = UnixStream::pair()?;
        let tcp = TcpStream::connect_timeout(&address, time)?;
        let (mut from, mut to) = (theirs.try_clone()?, tcp.try_clone()?);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let (mut from, mut to) = (tcp, theirs);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
        Ok(ours)
    })
}

#[test]
fn the_key_is_released_to_its_image_in_every_form_of_the_envelope() {
    let bench = Bench::start("forms");
    let module = bench.module(0xab);
    for form in [Form::Chunks, Form::Primitive, Form::Definite] {
        bench.server.faults().clear();
        bench.server.faults().always(Fault::Envelope { form });
        assert_eq!(bench.release(&module, &CONTEXT).unwrap().as_slice(), PLAINTEXT, "{form:?}");
    }
    let large = vec![7; 4096];
    let blob = bench.server.encrypt(&bench.arn, &large, &CONTEXT).unwrap();
    bench.server.faults().clear();
    let mut bench = bench;
    bench.blob = blob;
    assert_eq!(*bench.release(&module, &CONTEXT).unwrap(), large);
    let last = bench.server.requests().pop().unwrap();
    assert_eq!((last.operation.as_str(), last.outcome.as_str()), ("Decrypt", "ok"));
    assert_eq!((last.principal.as_deref(), last.pcr0), (Some(SESSION), Some("ab".repeat(48))));
    assert_eq!(last.key.as_ref(), Some(&bench.arn));
}

#[test]
fn another_image_debug_mode_and_another_context_are_refused() {
    let bench = Bench::start("refused");
    for module in [bench.module(0xac), bench.module(0)] {
        let error = bench.refused(&module);
        assert!(matches!(error, KmsError::AccessDenied(_)), "{error}");
        let last = bench.server.requests().pop().unwrap();
        assert!(last.message.contains("with an explicit deny in a resource-based policy"), "{}", last.message);
    }
    let module = bench.module(0xab);
    let error = bench.release(&module, &[("chain_id", "test-2"), ("purpose", "consensus")]).err().unwrap();
    assert!(matches!(error, KmsError::AccessDenied(_)), "{error}");
    let error = bench.release(&module, &[("chain_id", "test-1"), ("purpose", "identity")]).err().unwrap();
    assert!(matches!(error, KmsError::InvalidCiphertext), "{error}");
}

/// What `tmkms nitro policy` writes for the images with these bytes as PCR0, one while there is one, two during an upgrade.
fn written_policy(bench: &Bench, images: &[u8]) -> String {
    let mut line = format!("tmkms nitro policy --role {ROLE} --admin arn:aws:iam::111122223333:role/break-glass");
    for image in images {
        let file = bench.dir.join(format!("{image}.json"));
        let measurements = json!({ "Measurements": { "PCR0": format!("{image:02X}").repeat(48) } });
        std::fs::write(&file, measurements.to_string()).unwrap();
        line.push_str(&format!(" --measurements {}", file.display()));
    }
    let mut out = Vec::new();
    tmkms::Cli::parse_from(line.split_whitespace()).run(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_written_policy_lets_both_images_in_during_an_upgrade_and_afterwards_the_new_one_alone() {
    let bench = Bench::start("upgrade");
    let (old, new, other, debug) = (bench.module(0xab), bench.module(0xcd), bench.module(0xac), bench.module(0));
    let (old, new, others) = (&old, &new, [&other, &debug]);
    let steps: [(&[u8], &[&SimulatedNsm], &[&SimulatedNsm]); 3] =
        [(&[0xab], &[old], &[new]), (&[0xab, 0xcd], &[old, new], &[]), (&[0xcd], &[new], &[old])];
    for (images, allowed, refused) in steps {
        bench.server.put_policy(&bench.arn, &written_policy(&bench, images)).unwrap();
        for module in allowed {
            assert_eq!(bench.release(module, &CONTEXT).unwrap().as_slice(), PLAINTEXT, "{images:?}");
        }
        for module in refused.iter().chain(&others) {
            let error = bench.refused(module);
            assert!(matches!(error, KmsError::AccessDenied(_)), "{images:?}: {error}");
            let last = bench.server.requests().pop().unwrap();
            assert!(last.message.contains("with an explicit deny in a resource-based policy"), "{}", last.message);
        }
    }
}

#[test]
fn a_document_that_is_not_genuine_and_fresh_is_refused() {
    let bench = Bench::start("documents");
    let faults = [
        nsm::Fault::StaleTimestamp(Duration::from_secs(330)),
        nsm::Fault::ExpiredLeaf,
        nsm::Fault::WrongRoot,
        nsm::Fault::BadSignature,
        nsm::Fault::Replay(b"not a document".to_vec()),
    ];
    for fault in faults {
        let module = bench.module(0xab);
        module.set_fault(Some(fault.clone()));
        let error = bench.refused(&module);
        assert!(
            matches!(&error, KmsError::Refused { code, .. } if code == "ValidationException"),
            "{fault:?}: {error}"
        );
        let last = bench.server.requests().pop().unwrap();
        assert!(last.message.contains("attestation document"), "{fault:?}: {}", last.message);
        assert_eq!(last.pcr0, None, "{fault:?}");
    }
}

#[test]
fn each_fault_reaches_the_client_as_what_it_is() {
    let bench = Bench::start("faults");
    let is = |fault: Fault, expected: fn(&KmsError) -> bool| {
        let error = bench.struck(fault.clone());
        assert!(expected(&error), "{fault:?}: {error:?}");
    };
    is(Fault::Throttle, |error| matches!(error, KmsError::Throttled { attempts: 2.., .. }));
    is(Fault::ExpiredToken, |error| matches!(error, KmsError::ExpiredCredentials));
    is(Fault::CloseMidAnswer, |error| matches!(error, KmsError::Interrupted { .. }));
    is(Fault::Slow { millis: 20_000 }, |error| matches!(error, KmsError::Interrupted { .. }));
    is(Fault::AnotherKey, |error| matches!(error, KmsError::OtherKey { .. }));
    is(Fault::WrongCertificate, |error| matches!(error, KmsError::Tls { .. }));
    is(Fault::Http500, |error| matches!(error, KmsError::Unavailable { .. }));
    is(Fault::DependencyTimeout, |error| matches!(error, KmsError::Unavailable { .. }));
    is(Fault::GarbageBody, |error| matches!(error, KmsError::Malformed(_)));
    is(Fault::HugeBody { bytes: 50_000_000 }, |error| matches!(error, KmsError::Malformed(_)));
    is(Fault::PlaintextBeside, |error| matches!(error, KmsError::PlaintextInAnswer));
    for seconds in [-600, 600] {
        is(Fault::ClockSkew { seconds }, |error| matches!(error, KmsError::ClockSkew { theirs: Some(_), .. }));
    }
    // Two refusals, then the key.
    bench.server.faults().next_of("Decrypt", 2, Fault::Throttle);
    assert_eq!(bench.release(&bench.module(0xab), &CONTEXT).unwrap().as_slice(), PLAINTEXT);
}

#[test]
fn a_forged_envelope_opens_so_the_public_key_has_to_be_compared() {
    let bench = Bench::start("forged");
    bench.server.faults().next(1, Fault::Forged { plaintext: "another key".into() });
    assert_eq!(bench.release(&bench.module(0xab), &CONTEXT).unwrap().as_slice(), b"another key");
}

#[test]
fn credentials_that_are_not_known_or_over_are_told_apart() {
    let bench = Bench::start("credentials");
    let module = bench.module(0xab);
    bench.server.add_principal("ASIAEXAMPLE", "secret/key", Some(TOKEN), SESSION, Some(1));
    assert!(matches!(bench.refused(&module), KmsError::ExpiredCredentials));
    bench.server.add_principal("ASIAEXAMPLE", "secret/key", Some("another token"), SESSION, None);
    assert!(matches!(bench.refused(&module), KmsError::UnknownCredentials));
    bench.server.add_principal("ASIAEXAMPLE", "another secret", Some(TOKEN), SESSION, None);
    assert!(matches!(bench.refused(&module), KmsError::InvalidSignature));
    bench.server.remove_principal("ASIAEXAMPLE");
    assert!(matches!(bench.refused(&module), KmsError::UnknownCredentials));
}

#[test]
fn keys_and_policies_are_there_after_a_restart_under_the_same_authority() {
    let bench = Bench::start("restart");
    let authority = std::fs::read(bench.server.ca_pem_path()).unwrap();
    let other = Server::start(&Settings::new(&bench.dir)).unwrap();
    assert_eq!(std::fs::read(other.ca_pem_path()).unwrap(), authority);
    other.trust_nsm_root(bench.root.certificate());
    other.add_principal("ASIAEXAMPLE", "secret/key", Some(TOKEN), SESSION, None);
    let mut bench = bench;
    std::mem::replace(&mut bench.server, other).stop();
    assert_eq!(bench.release(&bench.module(0xab), &CONTEXT).unwrap().as_slice(), PLAINTEXT);
    assert!(matches!(bench.refused(&bench.module(1)), KmsError::AccessDenied(_)));
}

#[test]
fn a_server_stops_though_connections_are_open_and_an_answer_is_slow() {
    let bench = Bench::start("stop");
    let idle = TcpStream::connect(bench.server.address()).unwrap();
    bench.server.faults().always(Fault::Slow { millis: 600_000 });
    let address = bench.server.address();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| bench.release(&bench.module(0xab), &CONTEXT).is_err());
        let asked = Instant::now();
        while bench.server.requests().is_empty() && asked.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(bench.server.requests().len(), 1);
        assert!(waiting.join().unwrap());
    });
    let started = Instant::now();
    drop(bench);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(TcpStream::connect(address).is_err());
    drop(idle);
}
