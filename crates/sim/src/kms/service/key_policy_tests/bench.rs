//! A key of a policy that `tmkms nitro policy` wrote, and somebody who does something with it.
use super::super::call::Call;
use super::super::{Keys, Log, Logged, Principals, Service, Verifier};
use crate::kms::policy::{Ask, Attached, Context, Policy, Verdict, decide};
use crate::kms::principals::Principal;
use crate::kms::recipient::Evidence;
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use base64ct::{Base64, Encoding as _};
use clap::Parser as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

const NOW: i64 = 1_800_000_000;
/// An administrator of the account, to whom IAM allows all of KMS.
pub const IAM_ADMIN: &str = "arn:aws:iam::111122223333:user/root-of-all";
const CONTEXT: [(&str, &str); 1] = [("chain", "test-1")];
pub const DENIED: &str = "with an explicit deny in a resource-based policy";

/// The registers PCR0 and PCR4 of an attestation document, each all of one byte.
pub type Document = Option<(u8, u8)>;

/// What the development KMS has of what is done here; of the rest its evaluator is asked.
const IMPLEMENTED: [&str; 10] = [
    "Decrypt",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "DescribeKey",
    "GetKeyPolicy",
    "PutKeyPolicy",
    "ListGrants",
    "DisableKey",
    "ScheduleKeyDeletion",
];

static RSA: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let der: PublicKeyX509Der = key.public_key().as_der().unwrap();
    der.as_ref().to_vec()
});

/// Takes two bytes for a document of those registers.
struct TwoBytes;

impl Verifier for TwoBytes {
    fn verify(&self, document: &[u8], now: i64) -> Result<Evidence, String> {
        let [pcr0, pcr4] = document.try_into().map_err(|_| "not two bytes".to_owned())?;
        let pcrs = BTreeMap::from([(0, vec![pcr0; 48]), (4, vec![pcr4; 48])]);
        let timestamp_millis = u64::try_from(now * 1000).unwrap();
        Ok(Evidence { pcrs, public_key: Some(RSA.clone()), timestamp_millis })
    }
}

pub struct Bench {
    pub service: Service,
    dir: PathBuf,
    policies: BTreeMap<Kind, Value>,
}

impl Bench {
    pub fn start(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("sim-key-policy-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        for byte in [0xab, 0xcd, 0xce] {
            let measurements = json!({ "Measurements": { "HashAlgorithm": "Sha384 { ... }", "PCR0": hex(byte) } });
            std::fs::write(dir.join(format!("{byte:02x}.json")), measurements.to_string()).unwrap();
        }
        let service = Service {
            region: "eu-central-1".into(),
            account: "111122223333".into(),
            keys: Keys::open(&dir.join("keys"), "eu-central-1", "111122223333").unwrap().into(),
            principals: Principals::default(),
            faults: Arc::default(),
            verifier: Arc::new(TwoBytes),
            log: Log::default(),
        };
        let everything = json!({ "Statement": { "Effect": "Allow", "Action": "kms:*", "Resource": "*" } });
        service.principals.set_iam(IAM_ADMIN, &everything.to_string()).unwrap();
        let mut bench = Self { service, dir, policies: BTreeMap::new() };
        let write = |kind: Kind| (kind, serde_json::from_str(&bench.command(kind.options())).unwrap());
        let policies = Kind::ALL.map(write).into();
        bench.policies = policies;
        bench
    }

    /// What the command prints with these options beside the plain ones.
    pub fn command(&self, more: &str) -> String {
        let dir = self.dir.display();
        let line = format!(
            "tmkms nitro policy --measurements {dir}/ab.json --role arn:aws:iam::111122223333:role/validator \
             --admin arn:aws:iam::111122223333:role/break-glass {}",
            more.replace("DIR", &dir.to_string())
        );
        let mut out = Vec::new();
        tmkms::Cli::parse_from(line.split_whitespace()).run(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    pub fn policy(&self, kind: Kind) -> Value {
        self.policies[&kind].clone()
    }

    /// Makes a key of that policy and does that with it, as the development KMS decides it.
    pub fn attempt(&self, policy: &Value, deed: &Deed) -> Result<(), String> {
        if !IMPLEMENTED.contains(&deed.operation) {
            return self.decided(policy, deed);
        }
        let (arn, blob) = {
            let mut keys = self.service.keys_mut();
            let key = keys.create("", &policy.to_string(), NOW).map_err(|failure| failure.message)?;
            let context = CONTEXT.map(|(name, value)| (name.to_owned(), value.to_owned()));
            (key.arn.clone(), key.encrypt(b"the validator's key", &context.into()).map_err(|failure| failure.message)?)
        };
        let mut request = json!({ "KeyId": arn, "EncryptionContext": BTreeMap::from(CONTEXT) });
        match deed.operation {
            "Decrypt" => request["CiphertextBlob"] = b64(&blob),
            "Encrypt" => request["Plaintext"] = b64(b"a key of my own"),
            "PutKeyPolicy" => {
                let mine = everything_to(&[deed.who]);
                request["Policy"] = json!({ "Statement": mine }).to_string().into();
            }
            _ if deed.operation.starts_with("GenerateDataKey") => request["KeySpec"] = "AES_256".into(),
            _ => {}
        }
        if deed.document.is_some() {
            request["Recipient"] = recipient(deed.document);
        }
        self.call(deed.who, deed.operation, &request).map(|_| ())
    }

    pub fn call(&self, who: &str, operation: &str, json: &Value) -> Result<Value, String> {
        let principal = Principal { arn: who.into() };
        let mut logged = Logged::default();
        let service = &self.service;
        let mut call =
            Call { service, operation, json, principal, faults: &[], now: NOW, recipient: None, logged: &mut logged };
        call.run().map_err(|failure| format!("{}: {}", failure.kind, failure.message))
    }

    /// The same for operations that the development KMS does not have: what its evaluator says.
    fn decided(&self, policy: &Value, deed: &Deed) -> Result<(), String> {
        let policy = Policy::parse(&policy.to_string(), Attached::Key).map_err(|failure| failure.message)?;
        let mut context = Context::default();
        if let Some((pcr0, pcr4)) = deed.document {
            context.set("kms:RecipientAttestation:ImageSha384", hex(pcr0));
            context.set("kms:RecipientAttestation:PCR4", hex(pcr4));
        }
        let principal = Principal { arn: deed.who.into() };
        let resource = "arn:aws:kms:eu-central-1:111122223333:key/6f3a4bd1-62b1-4ba3-9fb5-2bb8a3cc0d6e";
        let action = format!("kms:{}", deed.operation);
        let ask = Ask { action: &action, resource, principal: &principal, context: &context };
        match decide(&ask, Some(&policy), &self.service.principals.iam(&principal)) {
            Verdict::Allowed => Ok(()),
            Verdict::DeniedByKey => Err(DENIED.into()),
            other => Err(format!("{other:?}")),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Which policy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    Plain,
    Upgrade,
    WithCeremony,
    OneInstance,
    /// One instance, and a ceremony that may be on another.
    Both,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Plain, Self::Upgrade, Self::WithCeremony, Self::OneInstance, Self::Both];

    pub fn options(self) -> &'static str {
        const CEREMONY: &str =
            "--ceremony-measurements DIR/ce.json --ceremony-role arn:aws:iam::111122223333:role/ceremony";
        static OPTIONS: LazyLock<[String; 2]> = LazyLock::new(|| {
            let instance = format!("--pcr4 {}", hex(4));
            [instance.clone(), format!("{CEREMONY} {instance}")]
        });
        match self {
            Self::Plain => "",
            Self::Upgrade => "--measurements DIR/cd.json",
            Self::WithCeremony => CEREMONY,
            Self::OneInstance => &OPTIONS[0],
            Self::Both => &OPTIONS[1],
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Deed {
    pub who: &'static str,
    pub operation: &'static str,
    pub document: Document,
}

pub const fn deed(who: &'static str, operation: &'static str, document: Document) -> Deed {
    Deed { who, operation, document }
}

fn hex(byte: u8) -> String {
    format!("{byte:02x}").repeat(48)
}

fn b64(bytes: &[u8]) -> Value {
    Base64::encode_string(bytes).into()
}

/// A statement that allows them all of KMS.
pub fn everything_to(arns: &[&str]) -> Value {
    json!({ "Effect": "Allow", "Principal": { "AWS": arns }, "Action": "kms:*", "Resource": "*" })
}

/// The parameter of a request, from an enclave of these registers.
pub fn recipient(document: Document) -> Value {
    let Some((pcr0, pcr4)) = document else { return Value::Null };
    json!({ "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": b64(&[pcr0, pcr4]) })
}
