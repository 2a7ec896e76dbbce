//! The simulated module: its documents are verified like real ones, under its own root and under no other.
#![allow(clippy::unwrap_used)]
use attest::{Document, Roots, Timestamp, Untrusted, Verified};
use enclave::nsm::{AttestationRequest, Nsm, NsmError};
use sim::nsm::{Fault, LEAF_LIFETIME, Measurements, SimulatedNsm, TestRoot};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const REQUEST: AttestationRequest<'_> =
    AttestationRequest { public_key: Some(b"public key"), nonce: Some(b"nonce"), user_data: Some(b"user data") };

fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

fn module() -> (Arc<TestRoot>, SimulatedNsm) {
    let root = Arc::new(TestRoot::generate().unwrap());
    let measurements = Measurements::of_files([&b"policy"[..], b"binary"])
        .with_parent_role("arn:aws:iam::111122223333:role/test")
        .with_parent_instance("i-1234567890abcdef0");
    let nsm = SimulatedNsm::new(root.clone(), measurements).unwrap();
    (root, nsm)
}

fn judge(document: &[u8], roots: &Roots) -> Result<Verified, Untrusted> {
    Document::parse(document).unwrap().verify(roots, now())
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sim-nsm-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_document_is_believed_under_its_root_and_says_what_was_asked() {
    let (root, nsm) = module();
    let document = nsm.attest(&REQUEST).unwrap();
    let verified = judge(&document, &root.roots()).unwrap();
    assert_eq!(verified.pcrs(), nsm.measurements().pcrs());
    assert_eq!(verified.pcrs(), &nsm.pcrs().unwrap());
    assert_eq!(verified.module_id(), nsm.module_id());
    assert_eq!(
        (verified.public_key(), verified.nonce(), verified.user_data()),
        (REQUEST.public_key, REQUEST.nonce, REQUEST.user_data)
    );
    assert!(!verified.is_debug());
    assert!(now().0.abs_diff(verified.timestamp_ms() / 1000) < 60);
    let empty = judge(&nsm.attest(&AttestationRequest::default()).unwrap(), &root.roots()).unwrap();
    assert_eq!((empty.public_key(), empty.nonce(), empty.user_data()), (None, None, None));
}

#[test]
fn a_document_is_not_believed_under_the_root_of_aws_or_another_simulated_one() {
    let (root, nsm) = module();
    let document = nsm.attest(&REQUEST).unwrap();
    for roots in [Roots::aws(), TestRoot::generate().unwrap().roots()] {
        let error = Untrusted::Root { expected: roots.pinned(), got: root.roots().pinned() };
        assert_eq!(judge(&document, &roots).unwrap_err(), error);
    }
}

#[test]
fn a_document_has_the_shape_of_a_real_one() {
    let (root, nsm) = module();
    let bytes = nsm.attest(&REQUEST).unwrap();
    // An untagged array of four, {1: -35}, {}, a payload of nine fields that begin with module_id.
    assert_eq!(bytes[..8], [0x84, 0x44, 0xA1, 0x01, 0x38, 0x22, 0xA0, 0x59]);
    assert_eq!(bytes[10..21], *b"\xA9\x69module_id");
    let document = Document::parse(&bytes).unwrap();
    assert_eq!((document.cabundle().len(), document.cabundle()[0].as_slice()), (4, root.certificate()));
    assert_eq!(document.pcrs().keys().copied().collect::<Vec<_>>(), (0..16).collect::<Vec<_>>());
    assert!(document.pcrs().values().all(|value| value.len() == 48));
    let late = Timestamp(now().0 + LEAF_LIFETIME.as_secs() + 60);
    assert!(matches!(document.verify(&root.roots(), late), Err(Untrusted::Expired { .. })));
}

#[test]
fn measurements_are_derived_as_the_real_ones() {
    // From: python3 -c "import hashlib as h; d=h.sha384(b'policybinary').digest(); print(h.sha384(bytes(48)+d).hexdigest())"
    let expected = "a64ee4f074df37c64e6ae06d7a7cb9eb27383a2ae7358055b4b67b4dc788ed2a588f19a87d995b7515a557fc3afd3fe5";
    let measured = Measurements::of_files([&b"policy"[..], b"binary"]);
    assert_eq!(measured.image_sha384(), expected);
    assert_ne!(Measurements::of_files([&b"policY"[..], b"binary"]), measured);
    // From AWS's text for PCR4: SHA384(48 zero bytes ‖ "i-1234567890abcdef0").
    let instance: String = measured.with_parent_instance("i-1234567890abcdef0").pcrs()[&4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        instance,
        "08f996b5d43e047a9eb51e7f548bfee7e164fd7dc8f65541f2ac09d6545ac812719327281c401a67a10fcba87ae79ce0"
    );
}

#[test]
fn debug_mode_is_seen_in_a_document() {
    let root = Arc::new(TestRoot::generate().unwrap());
    let measurements = Measurements::of_files([&b"binary"[..]]).with_parent_role("role").in_debug_mode();
    let nsm = SimulatedNsm::new(root.clone(), measurements).unwrap();
    let verified = judge(&nsm.attest(&REQUEST).unwrap(), &root.roots()).unwrap();
    assert!(verified.is_debug());
    assert!(verified.pcrs().values().flatten().all(|byte| *byte == 0));
}

#[test]
fn each_fault_is_noticed_and_mended() {
    let (root, nsm) = module();
    let first = nsm.attest(&AttestationRequest { nonce: Some(b"first"), ..REQUEST }).unwrap();
    assert_eq!(nsm.last_document().as_ref(), Some(&first));
    let with = |fault| {
        nsm.set_fault(Some(fault));
        judge(&nsm.attest(&REQUEST).unwrap(), &root.roots())
    };
    assert_eq!(with(Fault::Replay(first)).unwrap().nonce(), Some(&b"first"[..]));
    let stale = with(Fault::StaleTimestamp(Duration::from_secs(7200))).unwrap();
    assert!(now().0 - stale.timestamp_ms() / 1000 >= 7200);
    assert!(matches!(with(Fault::ExpiredLeaf).unwrap_err(), Untrusted::Expired { place: attest::Place::Leaf, .. }));
    assert!(matches!(with(Fault::WrongRoot).unwrap_err(), Untrusted::Root { .. }));
    assert_eq!(with(Fault::BadSignature).unwrap_err(), Untrusted::DocumentSignature);
    nsm.set_fault(Some(Fault::Refuse("InvalidOperation".into())));
    assert!(matches!(nsm.attest(&REQUEST), Err(NsmError::Refused(reason)) if reason == "InvalidOperation"));
    nsm.set_fault(None);
    assert_eq!(judge(&nsm.attest(&REQUEST).unwrap(), &root.roots()).unwrap().nonce(), REQUEST.nonce);
}

#[test]
fn the_module_has_the_limits_of_the_real_one() {
    let (_, nsm) = module();
    let long = [1; 1025];
    for (request, reason) in [
        (AttestationRequest { public_key: Some(&long), ..REQUEST }, "InputTooLarge"),
        (AttestationRequest { nonce: Some(&long[..513]), ..REQUEST }, "InputTooLarge"),
        (AttestationRequest { user_data: Some(&long[..513]), ..REQUEST }, "InputTooLarge"),
        (AttestationRequest { public_key: Some(b""), ..REQUEST }, "InvalidArgument"),
    ] {
        assert!(matches!(nsm.attest(&request), Err(NsmError::Refused(got)) if got == reason));
    }
    let largest = AttestationRequest {
        public_key: Some(&long[..1024]),
        nonce: Some(&long[..512]),
        user_data: Some(&long[..512]),
    };
    Document::parse(&nsm.attest(&largest).unwrap()).unwrap();
}

#[test]
fn a_saved_root_is_the_same_root_and_its_certificate_is_enough_to_believe() {
    let folder = Folder::new("saved");
    let root = TestRoot::load_or_generate(&folder.0).unwrap();
    let again = Arc::new(TestRoot::load_or_generate(&folder.0).unwrap());
    assert_eq!(again.certificate(), root.certificate());
    let nsm = SimulatedNsm::new(again, Measurements::of_files([&b"binary"[..]])).unwrap();
    let trusted = Roots::of(&TestRoot::load_certificate(&folder.0).unwrap());
    judge(&nsm.attest(&REQUEST).unwrap(), &trusted).unwrap();
    for entry in std::fs::read_dir(&folder.0).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with("TEST-"), "{name}");
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(folder.0.join(sim::nsm::ROOT_KEY_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_missing_root_is_named() {
    let folder = Folder::new("missing");
    let Err(error) = TestRoot::load(&folder.0) else { panic!("there is no root") };
    assert!(error.to_string().contains("TEST-nsm-root.key.pem"), "{error}");
    std::fs::write(folder.0.join(sim::nsm::ROOT_CERTIFICATE_FILE), "nothing").unwrap();
    let Err(error) = TestRoot::load_certificate(&folder.0) else { panic!("there is no certificate") };
    assert!(error.to_string().contains("expected a certificate in PEM"), "{error}");
}

#[test]
fn random_bytes_are_random() {
    let (_, nsm) = module();
    let (mut one, mut two) = ([0; 32], [0; 32]);
    nsm.random(&mut one).unwrap();
    nsm.random(&mut two).unwrap();
    assert!(one != two && one != [0; 32]);
}
