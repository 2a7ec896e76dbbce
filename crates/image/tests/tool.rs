//! Images that AWS's own crate wrote: read by our reader, measured as independent programs measure them, signed and checked.
//!
//! Needs `.cache/tools/bin/eif`, which `cargo xtask image --prepare` and `cargo xtask test` build.
#![allow(clippy::unwrap_used)]

use image::{Eif, Error, Parts, Signing, app_ramdisk, boot_ramdisk, write};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn tool() -> PathBuf {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/tools/bin/eif");
    assert!(tool.exists(), "{} is missing: `cargo xtask image --prepare` builds it", tool.display());
    tool
}

/// A folder of this test's own, which goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("image-tool-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A key on that curve and a certificate of its own, made here and now.
    fn signing(&self, name: &str, algorithm: &'static rcgen::SignatureAlgorithm) -> Signing {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let certificate = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap();
        Signing {
            certificate: self.file(&format!("{name}.pem"), &certificate.pem()),
            key: self.file(&format!("{name}.key"), &key.serialize_pem()),
        }
    }

    fn is_left_clean(&self) -> bool {
        let names = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        !names.into_iter().any(|name| name.to_string_lossy().contains(".image-"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn parts() -> Parts {
    let files = BTreeMap::from([("policy.toml".to_owned(), b"[debug]\nallowed = false\n".to_vec())]);
    Parts {
        kernel: b"a kernel".to_vec(),
        cmdline: "console=ttyS0 tmkms.port=5050".to_owned(),
        ramdisks: vec![boot_ramdisk(b"a program").unwrap(), app_ramdisk(&files).unwrap()],
    }
}

/// The values were computed by two other programs: the archives with Python's `struct`, by the kernel's
/// `buffer-format.rst`, the registers with OpenSSL:
/// `(head -c 48 /dev/zero; cat kernel cmdline ramdisks | openssl dgst -sha384 -binary) | openssl dgst -sha384`.
#[test]
fn the_image_that_aws_s_crate_writes_measures_as_openssl_measures_its_parts() {
    let folder = Folder::new("golden");
    let out = folder.0.join("golden.eif");
    let measured = write(&tool(), &parts(), None, &out).unwrap();
    assert_eq!(
        measured.pcr0,
        "9d0ef9ea7e988822d7bf8e5e4a5bb8a5b2f3c5a004ac55b37ce78d367e053540e506691c7a1070368243742a2c69a9b6"
    );
    assert_eq!(
        measured.pcr1,
        "bcfa70e12503e0bbb7d87aa5ff159506fd97f98896c301f79276ea5f2e0f5ecf00e815197a55746f3eb15195fd80e146"
    );
    assert_eq!(
        measured.pcr2,
        "98da134ffd053d2bc578304c46d758b38b247add19a2a1133833675cde7713de650e1cce8ab4d1e0691310079846be3b"
    );
    assert_eq!(measured.pcr8, None);
    assert!(folder.is_left_clean());
}

#[test]
fn an_image_has_the_same_bytes_a_second_later() {
    let folder = Folder::new("time");
    let (one, other) = (folder.0.join("one.eif"), folder.0.join("other.eif"));
    write(&tool(), &parts(), None, &one).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    write(&tool(), &parts(), None, &other).unwrap();
    assert_eq!(std::fs::read(one).unwrap(), std::fs::read(other).unwrap());
}

#[test]
fn a_signed_image_has_the_certificate_in_pcr8_and_a_signature_that_holds() {
    let folder = Folder::new("signed");
    let out = folder.0.join("signed.eif");
    let unsigned = write(&tool(), &parts(), None, &out).unwrap();
    for (name, algorithm) in [("p384", &rcgen::PKCS_ECDSA_P384_SHA384), ("p256", &rcgen::PKCS_ECDSA_P256_SHA256)] {
        let signing = folder.signing(name, algorithm);
        let signed = write(&tool(), &parts(), Some(&signing), &out).unwrap();
        assert_eq!((&signed.pcr0, &signed.pcr1, &signed.pcr2), (&unsigned.pcr0, &unsigned.pcr1, &unsigned.pcr2));
        assert!(signed.pcr8.is_some());
        let eif = Eif::read(&std::fs::read(&out).unwrap()).unwrap();
        eif.check_signature().unwrap();
        assert_eq!(eif.measurements(), signed);
    }
}

#[test]
fn a_certificate_of_another_key_makes_no_image_and_leaves_the_one_that_was_there() {
    let folder = Folder::new("mismatch");
    let out = folder.0.join("image.eif");
    std::fs::write(&out, "what was there").unwrap();
    let one = folder.signing("one", &rcgen::PKCS_ECDSA_P384_SHA384);
    let other = folder.signing("other", &rcgen::PKCS_ECDSA_P384_SHA384);
    let mixed = Signing { certificate: one.certificate, key: other.key };
    let error = write(&tool(), &parts(), Some(&mixed), &out).unwrap_err();
    assert!(error.to_string().contains("not made with the certificate's key"), "{error}");
    assert_eq!(std::fs::read(&out).unwrap(), b"what was there");
    assert!(folder.is_left_clean());
}

#[test]
fn a_key_or_a_certificate_that_is_none_is_told() {
    let folder = Folder::new("bad");
    let out = folder.0.join("image.eif");
    let good = folder.signing("good", &rcgen::PKCS_ECDSA_P384_SHA384);
    let nothing = folder.file("nothing", "nothing");
    for (certificate, key) in
        [(&good.certificate, &nothing), (&nothing, &good.key), (&good.certificate, &folder.0.join("x"))]
    {
        let signing = Signing { certificate: certificate.clone(), key: key.clone() };
        let error = write(&tool(), &parts(), Some(&signing), &out).unwrap_err();
        assert!(matches!(error, Error::Tool(_)), "{error}");
        assert!(!out.exists());
    }
}

#[test]
fn the_signature_of_another_image_does_not_hold() {
    let folder = Folder::new("moved");
    let signing = folder.signing("key", &rcgen::PKCS_ECDSA_P384_SHA384);
    let out = folder.0.join("one.eif");
    write(&tool(), &parts(), Some(&signing), &out).unwrap();
    let mut moved = std::fs::read(out).unwrap();
    let at = moved.windows(8).position(|window| window == b"a kernel").unwrap();
    moved[at..at + 8].copy_from_slice(b"A KERNEL");
    let error = Eif::read(&moved).unwrap_err().to_string();
    assert!(error.contains("checksum"), "{error}");
    let moved = with_checksum(moved);
    let error = Eif::read(&moved).unwrap().check_signature().unwrap_err().to_string();
    assert!(error.contains("expected PCR0 = "), "{error}");
}

/// CRC-32 bit by bit, over everything but itself.
fn with_checksum(mut file: Vec<u8>) -> Vec<u8> {
    let bytes = file[..544].iter().chain(&file[548..]);
    let crc = !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    });
    file[544..548].copy_from_slice(&crc.to_be_bytes());
    file
}
