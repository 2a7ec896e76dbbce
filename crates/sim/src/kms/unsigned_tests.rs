//! One document that QEMU wrote, and what becomes of it when anything in it is changed.
use super::*;
use crate::nsm::{Measurements, SimulatedNsm, TestRoot};
use enclave::nsm::{AttestationRequest, Nsm as _};
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

/// Captured from the emulator. Nobody signed it.
fn captured() -> Vec<u8> {
    let text = include_str!("../../tests/data/unsigned-document-of-qemu.hex");
    let hex: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn reason(document: &[u8]) -> String {
    match read(document) {
        Ok(_) => panic!("believed: {}", hex(document)),
        Err(reason) => reason,
    }
}

/// The captured document with its payload changed, written as QEMU would.
fn with<'a>(change: impl FnOnce(&mut Fields<'a>)) -> Vec<u8> {
    static CAPTURED: LazyLock<Vec<u8>> = LazyLock::new(captured);
    static PCRS: LazyLock<BTreeMap<u8, Vec<u8>>> = LazyLock::new(|| read(&CAPTURED).unwrap().pcrs);
    static BUNDLE: LazyLock<[Vec<u8>; 1]> = LazyLock::new(|| [ZEROS.to_vec()]);
    let payload = Payload::read(envelope(&CAPTURED).unwrap()).unwrap();
    let mut fields: Fields<'a> = Fields {
        module_id: payload.module_id,
        timestamp_ms: payload.timestamp_ms,
        pcrs: &PCRS,
        certificate: ZEROS,
        cabundle: &*BUNDLE,
        public_key: payload.public_key,
        user_data: payload.user_data,
        nonce: payload.nonce,
    };
    change(&mut fields);
    write(&fields.payload_bytes())
}

/// The captured document with some bytes of it replaced by as many others.
fn replaced(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut document = captured();
    assert_eq!(old.len(), new.len());
    let at = document.windows(old.len()).position(|window| window == old).unwrap();
    document[at..at + old.len()].copy_from_slice(new);
    document
}

#[test]
fn what_qemu_wrote_is_believed_with_its_measurements_and_its_key() {
    let evidence = read(&captured()).unwrap();
    assert_eq!(evidence.pcrs.len(), 16);
    // By AWS's recipe: SHA384(48 zero bytes ‖ the role's ARN), and the same of the instance's id.
    let role = "38f5022208b475cea34e71bc56b7fc0ef03da8bba10dda1571460326e2f679b20db5257f02f29bfdbf6f64534f137fc6";
    let instance = "d6432900ac1c343cb40286898792c55e962aef0cc35c4910c0c286145b51af19e782cb21cc31a042671d7dfbd398251c";
    assert_eq!((hex(&evidence.pcrs[&3]), hex(&evidence.pcrs[&4])), (role.to_owned(), instance.to_owned()));
    assert!(evidence.pcrs[&0].iter().any(|byte| *byte != 0));
    assert_eq!(evidence.pcrs[&8], [0; 48], "the image is not signed");
    assert_eq!(evidence.public_key.unwrap().len(), 294, "RSA-2048 as SubjectPublicKeyInfo");
    assert!(evidence.timestamp_millis > 1_700_000_000_000);
}

#[test]
fn registers_that_the_enclave_locked_itself_are_taken_in_their_order() {
    let mut pcrs = read(&captured()).unwrap().pcrs;
    pcrs.insert(17, vec![1; 48]);
    pcrs.insert(31, vec![2; 48]);
    let evidence = read(&with(|fields| fields.pcrs = &pcrs)).unwrap();
    assert_eq!(evidence.pcrs, pcrs);
    pcrs.insert(32, vec![0; 48]);
    assert!(reason(&with(|fields| fields.pcrs = &pcrs)).contains("PCR32 is out of place"));
    pcrs.remove(&32);
    pcrs.remove(&5);
    assert!(reason(&with(|fields| fields.pcrs = &pcrs)).contains("PCR6 is out of place"));
}

#[test]
fn anything_that_looks_signed_is_refused() {
    let mut signed = captured();
    *signed.last_mut().unwrap() = 1;
    assert!(reason(&signed).contains("the signature: expected 64 zero bytes"));
    assert!(reason(&replaced(&[0x43, 0xa1, 0x01, 0x20], &[0x43, 0xa1, 0x01, 0x21])).contains("{1: -1}"));
    assert!(reason(&with(|fields| fields.certificate = &[1; 64])).contains("certificate: expected 64 zero bytes"));
    assert!(reason(&with(|fields| fields.certificate = &[0; 63])).contains("certificate: expected 64 zero bytes"));
    let two = [ZEROS.to_vec(), ZEROS.to_vec()];
    assert!(reason(&with(|fields| fields.cabundle = &two)).contains("cabundle: expected one certificate"));
    let other = [vec![1; 64]];
    assert!(reason(&with(|fields| fields.cabundle = &other)).contains("cabundle: expected 64 zero bytes"));
}

#[test]
fn a_tagged_document_and_one_of_a_module_that_signs_are_refused() {
    let mut tagged = vec![0xd2];
    tagged.extend(captured());
    assert!(reason(&tagged).contains("an array of four"));
    let root = TestRoot::generate().unwrap();
    let module = SimulatedNsm::new(Arc::new(root), Measurements::of_pcr0([1; 48])).unwrap();
    let document = module.attest(&AttestationRequest::default()).unwrap();
    assert!(reason(&document).contains("{1: -1}"));
}

#[test]
fn a_digest_of_another_kind_a_zero_pcr0_and_short_registers_are_refused() {
    assert!(reason(&replaced(b"SHA384", b"SHA256")).contains("digest: expected \"SHA384\""));
    let mut pcrs = read(&captured()).unwrap().pcrs;
    pcrs.insert(0, vec![0; 48]);
    assert!(reason(&with(|fields| fields.pcrs = &pcrs)).contains("PCR0 is zero"));
    pcrs.insert(0, vec![1; 32]);
    assert!(reason(&with(|fields| fields.pcrs = &pcrs)).contains("PCR0: expected 48 bytes, got 32"));
    pcrs.clear();
    assert!(reason(&with(|fields| fields.pcrs = &pcrs)).contains("expected 16 to 32, got 0"));
}

#[test]
fn a_field_twice_or_in_anothers_place_is_refused() {
    let digest_twice = replaced(b"\x69timestamp\x1b", b"\x69module_id\x1b");
    assert!(reason(&digest_twice).contains("expected the field timestamp, got \"module_id\""));
    // Index 1 twice, 2 nowhere.
    let document = captured();
    let payload = envelope(&document).unwrap();
    let at = payload.windows(3).position(|window| window == [0x02, 0x58, 0x30]).unwrap();
    let mut twice = payload.to_vec();
    twice[at] = 1;
    assert!(reason(&write(&twice)).contains("PCR1 is out of place"));
}

#[test]
fn what_follows_is_too_long_or_is_written_otherwise_is_refused() {
    let mut trailing = captured();
    trailing.push(0);
    assert!(reason(&trailing).contains("1 bytes follow the document"));
    let document = captured();
    let mut payload = envelope(&document).unwrap().to_vec();
    payload.push(0xf6);
    assert!(reason(&write(&payload)).contains("1 bytes follow the payload"));
    assert!(reason(&vec![0; MAX_DOCUMENT_BYTES + 1]).contains("expected at most 8192 bytes, got 8193"));
    assert!(reason(&with(|fields| fields.public_key = Some(&[0; 1025]))).contains("public_key is too long"));
    assert!(reason(&with(|fields| fields.nonce = Some(&[0; 513]))).contains("nonce is too long"));
    assert!(reason(&with(|fields| fields.user_data = Some(&[0; 513]))).contains("user_data is too long"));
    // An array whose length takes two bytes where one is enough: the same fields, other bytes.
    let mut longer = vec![0x98, 4];
    longer.extend(&captured()[1..]);
    assert!(reason(&longer).contains("not written as QEMU writes them"));
}

#[test]
fn no_truncation_is_believed_and_only_values_can_be_changed() {
    let document = captured();
    for length in 0..document.len() {
        assert!(read(&document[..length]).is_err(), "{length}");
    }
    // Nobody signed it: another register is another claim, and is believed. But nothing else in it can be changed.
    let payload = Payload::read(envelope(&document).unwrap()).unwrap();
    let mut values = vec![payload.module_id.as_bytes().to_vec(), payload.timestamp_ms.to_be_bytes().to_vec()];
    values.extend(payload.pcrs.into_values().filter(|value| value.iter().any(|byte| *byte != 0)));
    values.extend([payload.public_key, payload.user_data, payload.nonce].into_iter().flatten().map(<[u8]>::to_vec));
    let place = |value: &Vec<u8>| {
        let at = document.windows(value.len()).position(|window| window == value).unwrap();
        at..at + value.len()
    };
    let mut places: Vec<_> = values.iter().map(place).collect();
    // The zero registers are equal to each other: all 48 zero bytes that follow the length of one.
    let zero: Vec<u8> = [&[0x58, 0x30][..], &[0; 48]].concat();
    let zeros = document.windows(zero.len()).enumerate().filter(|(_, window)| *window == zero);
    places.extend(zeros.map(|(at, _)| at + 2..at + 50));
    for bit in 0..document.len() * 8 {
        let mut flipped = document.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if read(&flipped).is_ok() {
            assert!(places.iter().any(|place| place.contains(&(bit / 8))), "byte {} is no value", bit / 8);
        }
    }
}
