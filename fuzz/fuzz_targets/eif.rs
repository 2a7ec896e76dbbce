//! Enclave images and the archives in them: any bytes are read or refused without a panic, what is read can be written again, and
//! no signature holds but that of the seed, on the seed's parts.
#![no_main]
use image::{Eif, archive, difference, entries, measure};
use libfuzzer_sys::fuzz_target;

/// The seed that somebody signed.
const SIGNED: &[u8] = include_bytes!("../seeds/eif/signed");
/// Where the header's checksum lies; it is put right, or no changed file would get beyond it.
const CHECKSUM: std::ops::Range<usize> = 544..548;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(nodes) = entries(bytes) {
        archived_again(&nodes);
    }
    let Ok(eif) = Eif::read(&with_checksum(bytes)) else { return };
    let measured = eif.measurements();
    assert_eq!(measured.pcr0, measure(eif.parts()).pcr0);
    assert_eq!(difference(eif.parts(), eif.parts()), None);
    for ramdisk in &eif.parts().ramdisks {
        if let Ok(nodes) = entries(ramdisk) {
            archived_again(&nodes);
        }
    }
    if eif.signature().is_some() && eif.check_signature().is_ok() {
        let seed = Eif::read(SIGNED).expect("the signed seed");
        assert!(eif.parts() == seed.parts(), "a signature holds for parts that were never signed");
    }
});

/// A file may be in a folder that an archive does not name; the kernel drops such a file, and we write none.
fn archived_again(nodes: &std::collections::BTreeMap<String, image::Node>) {
    if let Ok(bytes) = archive(nodes) {
        assert_eq!(entries(&bytes).expect("our own archive"), *nodes);
    }
}

fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    if file.len() >= CHECKSUM.end {
        let crc = crc32(file[..CHECKSUM.start].iter().chain(&file[CHECKSUM.end..]));
        file[CHECKSUM].copy_from_slice(&crc.to_be_bytes());
    }
    file
}

fn crc32<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    !bytes.fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}
