//! Finds AWS credentials where AWS's own tools find them, in their order: the environment, a profile, a container's role, the
//! instance's role. No SDK: docs/adr/0009-credentials-without-sdk.md.
//!
//! The first source that is configured counts: if it fails, the search ends there, with its reason and with what was tried
//! before. So nobody signs with another identity than the one he configured.
mod container;
mod ini;
mod instance;
mod json;
mod process;
mod profile;
mod variables;

pub use json::seconds as seconds_of_rfc3339;
pub use variables::Variables;

use std::fmt;
use wire::control::Credentials;
use zeroize::Zeroizing;

/// What a source has.
enum Outcome {
    /// Credentials.
    Found(Credentials),
    /// It is not configured: the next one is asked.
    Absent(String),
    /// It is configured and fails.
    Failed(Trouble),
}

/// Why a source fails, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trouble {
    reason: String,
    remedy: String,
}

impl Trouble {
    fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: remedy.into() }
    }
}

impl From<Result<Credentials, Trouble>> for Outcome {
    fn from(result: Result<Credentials, Trouble>) -> Self {
        result.map_or_else(Self::Failed, Self::Found)
    }
}

/// What was tried, in order, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound {
    tried: Vec<(&'static str, String)>,
    remedy: String,
}

impl NotFound {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no AWS credentials; tried in this order:")?;
        self.tried.iter().try_for_each(|(source, reason)| write!(f, "\n  {source}: {reason}"))
    }
}

impl std::error::Error for NotFound {}

const REMEDY: &str = "give the instance a role that may use the KMS key, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                      write `credentials` beside the key in the configuration";

/// Looks for credentials in each source.
///
/// # Errors
/// [`NotFound`], which shows no value of any secret.
pub fn find(variables: &Variables) -> Result<Credentials, NotFound> {
    type Source = fn(&Variables) -> Outcome;
    let sources: [(&str, Source); 5] = [
        ("the environment", environment),
        ("the profile", profile::ask),
        ("web identity", web_identity),
        ("the container's role", container::ask),
        ("the instance's role", instance::ask),
    ];
    let mut tried = Vec::new();
    for (name, ask) in sources {
        match ask(variables) {
            Outcome::Found(credentials) => return Ok(credentials),
            Outcome::Absent(reason) => tried.push((name, reason)),
            Outcome::Failed(Trouble { reason, remedy }) => {
                tried.push((name, reason));
                return Err(NotFound { tried, remedy });
            }
        }
    }
    Err(NotFound { tried, remedy: REMEDY.to_owned() })
}

fn environment(variables: &Variables) -> Outcome {
    let [id, secret, token] =
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"].map(|name| variables.get(name));
    match (id, secret) {
        (None, None) => Outcome::Absent("AWS_ACCESS_KEY_ID is not set".to_owned()),
        (Some(id), Some(secret)) => {
            // `aws configure export-credentials --format env` sets this one, too.
            let expiration = variables.get("AWS_CREDENTIAL_EXPIRATION");
            let source = "the environment".to_owned();
            json::Fields { id, secret, token, expiration: expiration.map(|text| text.to_string()) }.check(source).into()
        }
        (id, _) => {
            let (here, missing) = match id {
                Some(_) => ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
                None => ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
            };
            Outcome::Failed(Trouble::new(format!("{here} is set, but {missing} is not"), "set both, or neither"))
        }
    }
}

fn web_identity(variables: &Variables) -> Outcome {
    match variables.get("AWS_WEB_IDENTITY_TOKEN_FILE") {
        None => Outcome::Absent("AWS_WEB_IDENTITY_TOKEN_FILE is not set".to_owned()),
        Some(_) => Outcome::Failed(Trouble::new(
            "AWS_WEB_IDENTITY_TOKEN_FILE is set, and exchanging such a token is not supported here",
            exported("default"),
        )),
    }
}

/// What to do about a kind of credentials that only AWS's own tool can make.
fn exported(profile: &str) -> String {
    format!(
        "let AWS's tool do it: write a profile with credential_process = aws configure export-credentials --profile {profile}, and \
         name it as AWS_PROFILE"
    )
}

/// A text that may be a secret, in memory that is cleared.
type Secret = Zeroizing<String>;

/// What an answer with credentials may take.
const fn bounds(time: std::time::Duration) -> crate::http::Bounds {
    crate::http::Bounds { time, bytes: 64 * 1024 }
}

#[cfg(test)]
mod tests;
