//! A secret of three sources, of which one good one suffices.
use crate::operations::GenerateRandom;
use crate::order::Order;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use enclave::ceremony::{Room, refused};
use enclave::kms::Recipient;
use signer::keys::{Algorithm, ConsensusKey};
use wire::control::{Credentials, Failure};
use zeroize::Zeroizing;

/// How many bytes each source gives.
const BYTES: usize = 32;
/// The domain of the extraction.
const SALT: &[u8] = b"tmkms key ceremony: secret, version 1";
/// Of 2^256 values some 2^128 are no scalar of secp256k1: a second try is not to be expected, a fourth is a bug.
const TRIES: u8 = 4;

/// HKDF-SHA-256 (RFC 5869) over KMS's, the security module's and the kernel's bytes, in this order and of fixed lengths.
///
/// Whoever knows or chooses one or two of them knows nothing of the secret: each is asked for anew, by itself, and the last of them, the
/// kernel's, is drawn when the others are here.
pub(crate) fn secret(
    room: &Room,
    order: &Order,
    credentials: &Credentials,
    recipient: &Recipient,
) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let broken = |what: String| refused("randomness", what, "terminate this enclave; no key was made");
    let wanted = GenerateRandom { region: order.region, recipient };
    let of_kms = room.ask(order.kms_proxy_port, credentials, &wanted)?;
    let of_kms: Zeroizing<[u8; BYTES]> = Zeroizing::new(
        of_kms[..]
            .try_into()
            .map_err(|_| broken(format!("KMS gave {} random bytes, expected {BYTES}", of_kms.len())))?,
    );
    let mut of_module = Zeroizing::new([0; BYTES]);
    room.nsm().random(&mut of_module[..]).map_err(|error| broken(format!("the security module: {error}")))?;
    let mut of_kernel = Zeroizing::new([0; BYTES]);
    getrandom::fill(&mut of_kernel[..]).map_err(|error| broken(format!("the kernel: {error}")))?;
    mixed([&of_kms, &of_module, &of_kernel], order).map_err(broken)
}

fn mixed(sources: [&[u8; BYTES]; 3], order: &Order) -> Result<Zeroizing<[u8; 32]>, String> {
    // A source that is dead shows as zeros or as another's bytes.
    let is_dead = |source: &[u8; BYTES]| source.iter().all(|byte| *byte == source[0]);
    if sources.iter().any(|source| is_dead(source))
        || sources[0] == sources[1]
        || sources[1] == sources[2]
        || sources[0] == sources[2]
    {
        return Err("a source of randomness repeats itself, or another one".to_owned());
    }
    let mut input = Zeroizing::new([0; 3 * BYTES]);
    for (place, source) in input.chunks_exact_mut(BYTES).zip(sources) {
        place.copy_from_slice(source);
    }
    // This implementation zeroizes what is extracted, of which the secret follows.
    let extracted = Salt::new(HKDF_SHA256, SALT).extract(&input[..]);
    for count in 0..TRIES {
        let info = [order.role.of_context(), order.algorithm.name(), order.chain.as_str()].join("\0");
        let mut secret = Zeroizing::new([0; 32]);
        let info = [info.as_bytes(), &[0, count]];
        extracted
            .expand(&info, HKDF_SHA256)
            .and_then(|output| output.fill(&mut secret[..]))
            .map_err(|_| "HKDF gives no 32 bytes: a bug".to_owned())?;
        // Every 32 bytes are a secret of ed25519.
        if order.algorithm == Algorithm::Ed25519 || ConsensusKey::from_secret(&secret[..], order.algorithm).is_ok() {
            return Ok(secret);
        }
    }
    Err("no scalar of secp256k1 came out: a bug".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Method;
    use enclave::kms::Region;
    use enclave::plan::Role;
    use guard::ChainId;

    fn order(chain: &str, role: Role, algorithm: Algorithm) -> Order {
        Order {
            chain: ChainId::try_from(chain).unwrap(),
            role,
            algorithm,
            key_arn: String::new(),
            region: Region::find("eu-west-1").unwrap(),
            method: Method::KmsEncrypt,
            kms_proxy_port: 8000,
        }
    }

    const SOURCES: [[u8; 32]; 3] = {
        let mut sources = [[1; 32], [2; 32], [3; 32]];
        (sources[0][0], sources[1][0], sources[2][0]) = (9, 9, 9);
        sources
    };

    fn secret(sources: [[u8; 32]; 3], order: &Order) -> [u8; 32] {
        *mixed([&sources[0], &sources[1], &sources[2]], order).unwrap()
    }

    #[test]
    fn each_source_and_each_use_changes_the_secret() {
        let plain = order("a-1", Role::Consensus, Algorithm::Ed25519);
        let mut seen = vec![secret(SOURCES, &plain)];
        for index in 0..3 {
            let mut changed = SOURCES;
            changed[index][31] ^= 1;
            seen.push(secret(changed, &plain));
        }
        seen.push(secret([SOURCES[1], SOURCES[0], SOURCES[2]], &plain));
        seen.push(secret(SOURCES, &order("a-2", Role::Consensus, Algorithm::Ed25519)));
        seen.push(secret(SOURCES, &order("a-1", Role::Identity, Algorithm::Ed25519)));
        seen.push(secret(SOURCES, &order("a-1", Role::Consensus, Algorithm::Secp256k1)));
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
        // And nothing else does.
        assert_eq!(secret(SOURCES, &plain), secret(SOURCES, &plain));
    }

    #[test]
    fn a_dead_source_stops_the_ceremony() {
        let order = order("a-1", Role::Consensus, Algorithm::Ed25519);
        for (index, dead) in
            [(0, [0; 32]), (1, [0xff; 32]), (2, [7; 32]), (0, SOURCES[1]), (2, SOURCES[0]), (1, SOURCES[2])]
        {
            let mut sources = SOURCES;
            sources[index] = dead;
            assert!(mixed([&sources[0], &sources[1], &sources[2]], &order).is_err(), "{index}");
        }
    }

    /// By another implementation: Python's `hmac`, `docs/ceremony.md` has the lines.
    #[test]
    fn the_mixture_is_hkdf_of_the_three_in_their_order() {
        let secret = secret(SOURCES, &order("a-1", Role::Consensus, Algorithm::Ed25519));
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("golden_secret.txt").trim());
    }
}
