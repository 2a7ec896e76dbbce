//! Key files in every form: any bytes are judged without a panic, and no error repeats what it read.
#![no_main]
use libfuzzer_sys::fuzz_target;
use signer::keys::{Algorithm, ConsensusKey, IdentityKey, KeyFormat};

fuzz_target!(|contents: &[u8]| {
    for format in [KeyFormat::Base64, KeyFormat::Json, KeyFormat::Raw] {
        for algorithm in [None, Some(Algorithm::Ed25519), Some(Algorithm::Secp256k1)] {
            let _ = ConsensusKey::decode(contents, format, algorithm);
        }
    }
    let _ = IdentityKey::decode(contents);
});
