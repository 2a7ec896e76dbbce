//! Who may call: access keys, the principals behind them, and what IAM allows these.
use super::error::{Answer, Failure, fail};
use super::policy::{self, Policy};
use anyhow::{Context, Result};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// An authenticated caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    /// As in AWS's messages: a user's, or a session's of an assumed role.
    pub arn: String,
}

impl Principal {
    /// The account's number, the fifth part of the ARN.
    pub fn account(&self) -> &str {
        self.arn.split(':').nth(4).unwrap_or_default()
    }

    /// What `aws:PrincipalArn` is, and what policies name: the role's ARN for a session of an assumed role.
    pub fn policy_arn(&self) -> String {
        let role = self.arn.split_once(":assumed-role/").and_then(|(_, rest)| rest.split('/').next());
        role.map_or_else(|| self.arn.clone(), |role| format!("arn:aws:iam::{}:role/{role}", self.account()))
    }
}

/// One access key. Holds secrets: no `Debug`, no `Serialize`.
pub struct Credential {
    access_key: String,
    secret: Zeroizing<String>,
    token: Option<Zeroizing<String>>,
    principal: Principal,
    expires: Option<i64>,
}

impl Credential {
    pub fn secret(&self) -> &str {
        &self.secret
    }

    pub fn principal(&self) -> Principal {
        self.principal.clone()
    }

    fn copy(&self) -> Self {
        let (secret, token, principal) = (self.secret.clone(), self.token.clone(), self.principal.clone());
        Self { access_key: self.access_key.clone(), secret, token, principal, expires: self.expires }
    }
}

/// All that may call: what tests added, and what stands in the file.
#[derive(Default)]
pub struct Principals {
    added: Mutex<Added>,
    file: Option<PathBuf>,
}

#[derive(Default)]
struct Added {
    credentials: Vec<Credential>,
    iam: BTreeMap<String, Vec<Policy>>,
}

/// `principals.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    principals: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    arn: String,
    /// Seconds since 1970.
    expires: Option<i64>,
    /// The principal's IAM policy.
    iam: Option<serde_json::Value>,
}

fn unrecognized() -> Failure {
    fail("UnrecognizedClientException", "The security token included in the request is invalid.")
}

impl Principals {
    /// Those of a file, read again at each request; and those that are added.
    pub fn from_file(file: PathBuf) -> Self {
        Self { added: Mutex::default(), file: Some(file) }
    }

    /// Adds an access key, or replaces the one of the same name. `expires` in seconds since 1970.
    pub fn add(&self, access_key: &str, secret: &str, token: Option<&str>, arn: &str, expires: Option<i64>) {
        let credential = Credential {
            access_key: access_key.to_owned(),
            secret: Zeroizing::new(secret.to_owned()),
            token: token.map(|token| Zeroizing::new(token.to_owned())),
            principal: Principal { arn: arn.to_owned() },
            expires,
        };
        let mut added = self.lock();
        added.credentials.retain(|known| known.access_key != access_key);
        added.credentials.push(credential);
    }

    /// Forgets an access key.
    pub fn remove(&self, access_key: &str) {
        self.lock().credentials.retain(|known| known.access_key != access_key);
    }

    /// Sets what IAM allows a principal (named as policies name it: a role's ARN for its sessions).
    ///
    /// # Errors
    /// The policy is not one, or has what this service doesn't support.
    pub fn set_iam(&self, arn: &str, json: &str) -> Result<()> {
        let policy =
            Policy::parse(json, policy::Attached::Identity).map_err(|failure| anyhow::anyhow!(failure.message))?;
        self.lock().iam.insert(arn.to_owned(), vec![policy]);
        Ok(())
    }

    /// The credential of an access key, if the token fits and it has not expired.
    pub fn find(&self, access_key: &str, token: Option<&str>, now: i64) -> Answer<Credential> {
        let known = self.lock().credentials.iter().find(|known| known.access_key == access_key).map(Credential::copy);
        let credential = match known {
            Some(credential) => credential,
            None => self.in_file(access_key).ok_or_else(unrecognized)?,
        };
        match (&credential.token, token) {
            (None, None) => {}
            (Some(expected), Some(token)) if verify_slices_are_equal(expected.as_bytes(), token.as_bytes()).is_ok() => {
            }
            _ => return Err(unrecognized()),
        }
        if credential.expires.is_some_and(|expires| expires <= now) {
            return Err(expired());
        }
        Ok(credential)
    }

    /// What IAM says of a principal.
    pub fn iam(&self, principal: &Principal) -> Vec<Policy> {
        let arn = principal.policy_arn();
        if let Some(policies) = self.lock().iam.get(&arn) {
            return policies.clone();
        }
        let entries = self.file.as_deref().and_then(|file| read(file).ok()).unwrap_or_default();
        entries
            .iter()
            .filter(|entry| Principal { arn: entry.arn.clone() }.policy_arn() == arn)
            .filter_map(|entry| Policy::parse(&entry.iam.as_ref()?.to_string(), policy::Attached::Identity).ok())
            .collect()
    }

    fn in_file(&self, access_key: &str) -> Option<Credential> {
        let entry = read(self.file.as_deref()?).ok()?.into_iter().find(|entry| entry.access_key_id == access_key)?;
        Some(Credential {
            access_key: entry.access_key_id,
            secret: Zeroizing::new(entry.secret_access_key),
            token: entry.session_token.map(Zeroizing::new),
            principal: Principal { arn: entry.arn },
            expires: entry.expires,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Added> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to a session token whose time is over.
pub fn expired() -> Failure {
    fail("ExpiredTokenException", "The security token included in the request is expired")
}

/// Whether the file can be read as it is.
///
/// # Errors
/// It is there and is not what it should be; names the file and what is wrong.
pub fn check(file: &Path) -> Result<()> {
    for entry in read(file)? {
        if let Some(iam) = &entry.iam {
            let parsed = Policy::parse(&iam.to_string(), policy::Attached::Identity);
            parsed
                .map_err(|failure| anyhow::anyhow!("{}: iam of {}: {}", file.display(), entry.arn, failure.message))?;
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<Entry>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    // The parser's own message could repeat a secret: only the place is told.
    let parsed: File = serde_json::from_str(&text).map_err(|error| {
        anyhow::anyhow!(
            "{}: not a list of principals (line {}, column {})",
            file.display(),
            error.line(),
            error.column()
        )
    })?;
    Ok(parsed.principals)
}
