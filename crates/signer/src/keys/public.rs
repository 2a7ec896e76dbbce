//! Public keys, and every form in which the field's tools show them.
use base64ct::{Base64, Encoding};
use ripemd::Ripemd160;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// What amino put in front of an ed25519 public key: the type's prefix and the length 32.
const AMINO_ED25519: [u8; 5] = [0x16, 0x24, 0xDE, 0x64, 0x20];
/// The same for secp256k1 and the length 33.
const AMINO_SECP256K1: [u8; 5] = [0xEB, 0x5A, 0xE9, 0x87, 0x21];

/// The algorithm of a consensus key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032): what nearly every chain uses.
    #[default]
    Ed25519,
    /// ECDSA over secp256k1 with SHA-256, low S.
    Secp256k1,
}

impl Algorithm {
    /// The name that CometBFT uses for it (`crypto/ed25519`, `crypto/secp256k1`: `KeyType`), and the setting's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Secp256k1 => "secp256k1",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "ed25519" => Ok(Self::Ed25519),
            "secp256k1" => Ok(Self::Secp256k1),
            _ => Err(UnknownName { what: "algorithm", expected: "\"ed25519\" or \"secp256k1\"", got: name.into() }),
        }
    }
}

/// A setting's value that names nothing we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    pub(super) what: &'static str,
    pub(super) expected: &'static str,
    pub(super) got: Box<str>,
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown {}: expected {}, got {:?}", self.what, self.expected, self.got)
    }
}

impl std::error::Error for UnknownName {}

/// A human-readable prefix that bech32 does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPrefix {
    prefix: Box<str>,
}

impl fmt::Display for InvalidPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid bech32 prefix: expected 1 to 83 printable ASCII characters of one case, got {:?}; correct `consensus_key_prefix`",
            self.prefix
        )
    }
}

impl std::error::Error for InvalidPrefix {}

/// A CometBFT address: what a validator set names its members by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; 20]);

impl Address {
    /// The 20 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl fmt::Display for Address {
    /// Upper-case hexadecimal, as CometBFT's `HexBytes` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

fn write_hex(f: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
}

/// A public key, as bytes that were derived from a secret of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PublicKey {
    /// The compressed point (RFC 8032).
    Ed25519([u8; 32]),
    /// The compressed point (SEC 1): 02 or 03, then x.
    Secp256k1([u8; 33]),
}

impl PublicKey {
    /// The raw bytes, as CometBFT encodes them: 32 or 33.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Ed25519(bytes) => bytes,
            Self::Secp256k1(bytes) => bytes,
        }
    }

    /// The algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::Ed25519,
            Self::Secp256k1(_) => Algorithm::Secp256k1,
        }
    }

    /// CometBFT's address: the first 20 bytes of SHA-256 (`crypto/ed25519`), or for secp256k1
    /// RIPEMD-160 of SHA-256 as in Bitcoin (`crypto/secp256k1`).
    #[must_use]
    pub fn address(&self) -> Address {
        let digest = Sha256::digest(self.as_bytes());
        let mut address = [0; 20];
        match self {
            Self::Ed25519(_) => address.copy_from_slice(&digest[..20]),
            Self::Secp256k1(_) => address.copy_from_slice(&Ripemd160::digest(digest)),
        }
        Address(address)
    }

    /// Upper-case hexadecimal, as tmkms shows keys of a chain with `key_format = { type = "hex" }`.
    #[must_use]
    pub fn hex(&self) -> String {
        use fmt::Write;
        self.as_bytes().iter().fold(String::with_capacity(66), |mut text, byte| {
            let _ = write!(text, "{byte:02X}");
            text
        })
    }

    /// Standard base64 with padding.
    #[must_use]
    pub fn base64(&self) -> String {
        Base64::encode_string(self.as_bytes())
    }

    /// The amino-prefixed key in bech32: what tmkms logs and what old Cosmos tools call `cosmosvalconspub1…`.
    ///
    /// # Errors
    /// [`InvalidPrefix`]; for the `cosmosvalconspub` of the example.
    pub fn amino_bech32(&self, prefix: &str) -> Result<String, InvalidPrefix> {
        let amino = match self {
            Self::Ed25519(_) => AMINO_ED25519,
            Self::Secp256k1(_) => AMINO_SECP256K1,
        };
        bech32_text(prefix, &[&amino, self.as_bytes()].concat())
    }

    /// The address in bech32: `cosmosvalcons1…`.
    ///
    /// # Errors
    /// [`InvalidPrefix`]; for the `cosmosvalcons` of the example.
    pub fn address_bech32(&self, prefix: &str) -> Result<String, InvalidPrefix> {
        bech32_text(prefix, self.address().as_bytes())
    }

    /// Whether a signature is this key's over those bytes: of the bytes themselves with ed25519, of their SHA-256 with
    /// secp256k1. Anything that is no signature at all is not.
    #[must_use]
    pub fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => ed25519_verifies(key, bytes, signature).is_ok(),
            Self::Secp256k1(key) => secp256k1_verifies(key, bytes, signature).is_ok(),
        }
    }

    /// The type's name in CometBFT's JSON.
    #[must_use]
    pub const fn comet_type(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "tendermint/PubKeyEd25519",
            Self::Secp256k1(_) => "tendermint/PubKeySecp256k1",
        }
    }

    /// The JSON that `cometbft show-validator` prints.
    #[must_use]
    pub fn comet_json(&self) -> String {
        format!("{{\"type\":\"{}\",\"value\":\"{}\"}}", self.comet_type(), self.base64())
    }

    /// The JSON of the Cosmos SDK, as `create-validator --pubkey` takes it.
    #[must_use]
    pub fn cosmos_json(&self) -> String {
        let path = match self {
            Self::Ed25519(_) => "/cosmos.crypto.ed25519.PubKey",
            Self::Secp256k1(_) => "/cosmos.crypto.secp256k1.PubKey",
        };
        format!("{{\"@type\":\"{path}\",\"key\":\"{}\"}}", self.base64())
    }
}

impl fmt::Display for PublicKey {
    /// The algorithm and the hexadecimal bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.algorithm())?;
        write_hex(f, self.as_bytes())
    }
}

fn ed25519_verifies(key: &[u8; 32], bytes: &[u8], signature: &[u8]) -> Result<(), ed25519_dalek::SignatureError> {
    let signature = ed25519_dalek::Signature::from_slice(signature)?;
    ed25519_dalek::VerifyingKey::from_bytes(key)?.verify_strict(bytes, &signature)
}

fn secp256k1_verifies(key: &[u8; 33], bytes: &[u8], signature: &[u8]) -> Result<(), k256::ecdsa::Error> {
    let signature = k256::ecdsa::Signature::from_slice(signature)?;
    let key = k256::ecdsa::VerifyingKey::from_sec1_bytes(key)?;
    k256::ecdsa::signature::Verifier::verify(&key, bytes, &signature)
}

fn bech32_text(prefix: &str, data: &[u8]) -> Result<String, InvalidPrefix> {
    let invalid = || InvalidPrefix { prefix: prefix.into() };
    let hrp = bech32::Hrp::parse(prefix).map_err(|_| invalid())?;
    bech32::encode::<bech32::Bech32>(hrp, data).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of tmkms's and tendermint-rs's own tests, made there with the Cosmos SDK in Go.
    const ED25519: PublicKey = PublicKey::Ed25519([
        0x4A, 0x25, 0xC6, 0x64, 0x0A, 0x1F, 0x72, 0xB9, 0xC9, 0x75, 0x33, 0x82, 0x94, 0xEF, 0x51, 0xB6, 0xD1, 0xC3,
        0x31, 0x58, 0xBB, 0x6E, 0xCB, 0xA6, 0x9F, 0xBC, 0x3F, 0xB5, 0xA3, 0x3C, 0x9D, 0xCE,
    ]);
    const SECP256K1: PublicKey = PublicKey::Secp256k1([
        0x02, 0xA1, 0x63, 0x3C, 0xAF, 0xCC, 0x01, 0xEB, 0xFB, 0x6D, 0x78, 0xE3, 0x9F, 0x68, 0x7A, 0x1F, 0x09, 0x95,
        0xC6, 0x2F, 0xC9, 0x5F, 0x51, 0xEA, 0xD1, 0x0A, 0x02, 0xEE, 0x0B, 0xE5, 0x51, 0xB5, 0xDC,
    ]);

    #[test]
    fn the_amino_form_is_that_of_the_cosmos_sdk() {
        assert_eq!(
            ED25519.amino_bech32("cosmosvalconspub").unwrap(),
            "cosmosvalconspub1zcjduepqfgjuveq2raetnjt4xwpffm63kmguxv2chdhvhf5lhslmtgeunh8qmf7exk"
        );
        assert_eq!(
            SECP256K1.amino_bech32("cosmospub").unwrap(),
            "cosmospub1addwnpepq2skx090esq7h7md0r3e76r6ruyet330e904r6k3pgpwuzl92x6actrt4uq"
        );
    }

    #[test]
    fn the_address_form_decodes_to_the_address() {
        for key in [ED25519, SECP256K1] {
            let text = key.address_bech32("cosmosvalcons").unwrap();
            let (hrp, bytes) = bech32::decode(&text).unwrap();
            assert_eq!(hrp.as_str(), "cosmosvalcons");
            assert_eq!(bytes, key.address().as_bytes());
        }
    }

    #[test]
    fn long_prefixes_of_real_chains_fit() {
        assert!(SECP256K1.amino_bech32("persistencevalconspub").unwrap().starts_with("persistencevalconspub1"));
    }

    #[test]
    fn a_prefix_that_bech32_does_not_allow_names_its_setting() {
        for prefix in ["", "has space", "Mixed", "höhe"] {
            let text = ED25519.amino_bech32(prefix).unwrap_err().to_string();
            assert!(text.contains("consensus_key_prefix") && text.contains(&format!("{prefix:?}")), "{text}");
        }
    }

    /// `crypto/secp256k1/secp256k1_test.go` of CometBFT (its address is in Base58Check there).
    #[test]
    fn a_secp256k1_address_is_ripemd160_of_sha256() {
        let key = base16("02950e1cdfcb133d6024109fd489f734eeb4502418e538c28481f22bce276f248c");
        let address = PublicKey::Secp256k1(key).address();
        assert_eq!(address.as_bytes(), &base16("7c2bb42a8be69791ec763e51f5a49bcd41e82237"));
        assert_eq!(address.to_string(), "7C2BB42A8BE69791EC763E51F5A49BCD41E82237");
    }

    fn base16<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
    }

    #[test]
    fn json_forms_are_those_of_cometbft_and_the_cosmos_sdk() {
        assert_eq!(
            ED25519.comet_json(),
            r#"{"type":"tendermint/PubKeyEd25519","value":"SiXGZAofcrnJdTOClO9RttHDMVi7bsumn7w/taM8nc4="}"#
        );
        assert_eq!(
            SECP256K1.cosmos_json(),
            r#"{"@type":"/cosmos.crypto.secp256k1.PubKey","key":"AqFjPK/MAev7bXjjn2h6HwmVxi/JX1Hq0QoC7gvlUbXc"}"#
        );
    }

    #[test]
    fn names_read_back() {
        for algorithm in [Algorithm::Ed25519, Algorithm::Secp256k1] {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
        }
        let error = "Ed25519".parse::<Algorithm>().unwrap_err().to_string();
        assert_eq!(error, r#"unknown algorithm: expected "ed25519" or "secp256k1", got "Ed25519""#);
    }
}
