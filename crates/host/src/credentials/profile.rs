//! A profile of AWS's shared files: static keys, or a program that gives them.
use super::{Outcome, Secret, Trouble, Variables, exported, ini, json, process};
use std::io::{self, Read};
use std::path::Path;
use zeroize::Zeroizing;

/// The longest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

pub(super) fn ask(variables: &Variables) -> Outcome {
    let chosen = variables.get("AWS_PROFILE");
    let name = chosen.as_ref().map_or("default", |name| name.as_str());
    match Profile::read(variables, name) {
        Err(trouble) => Outcome::Failed(trouble),
        Ok(profile) if !profile.exists() => match chosen {
            None => {
                Outcome::Absent("there is no profile \"default\" in ~/.aws/credentials and ~/.aws/config".to_owned())
            }
            Some(_) => Outcome::Failed(Trouble::new(
                format!("AWS_PROFILE is {name:?}, and there is no such profile in {}", profile.files()),
                "correct AWS_PROFILE, or unset it",
            )),
        },
        Ok(profile) => profile.credentials(chosen.is_some()),
    }
}

struct Profile<'a> {
    name: &'a str,
    credentials: Secret,
    config: Secret,
    paths: [Option<std::path::PathBuf>; 2],
}

impl<'a> Profile<'a> {
    fn read(variables: &Variables, name: &'a str) -> Result<Self, Trouble> {
        let paths = [
            variables.file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
            variables.file("AWS_CONFIG_FILE", ".aws/config"),
        ];
        let [credentials, config] =
            paths.each_ref().map(|path| path.as_deref().map_or_else(|| Ok(Secret::default()), text));
        Ok(Self { name, credentials: credentials?, config: config?, paths })
    }

    fn files(&self) -> String {
        let shown: Vec<_> = self.paths.iter().flatten().map(|path| path.display().to_string()).collect();
        shown.join(" and ")
    }

    /// In `config` the sections are called `profile NAME`, but for `default`.
    fn is_in_config(&self, section: &str) -> bool {
        let rest = section.strip_prefix("profile").filter(|rest| rest.starts_with([' ', '\t'])).map(str::trim);
        rest == Some(self.name) || (self.name == "default" && section == "default")
    }

    fn exists(&self) -> bool {
        ini::has(&self.credentials, |section| section == self.name)
            || ini::has(&self.config, |section| self.is_in_config(section))
    }

    /// A setting; `credentials` comes before `config`.
    fn setting(&self, name: &str) -> Option<Secret> {
        let first = ini::value(&self.credentials, |section| section == self.name, name);
        first.or_else(|| ini::value(&self.config, |section| self.is_in_config(section), name))
    }

    fn unsupported(&self, names: &[&str]) -> Option<Trouble> {
        let name = names.iter().find(|name| self.setting(name).is_some())?;
        let reason = format!("profile {:?} has `{name}`, which is not supported here", self.name);
        Some(Trouble::new(reason, exported(self.name)))
    }

    fn credentials(&self, is_chosen: bool) -> Outcome {
        let source = format!("profile {}", self.name);
        if let Some(trouble) = self.unsupported(&["role_arn", "web_identity_token_file"]) {
            return Outcome::Failed(trouble);
        }
        match (self.setting("aws_access_key_id"), self.setting("aws_secret_access_key")) {
            (Some(id), Some(secret)) => {
                let token = self.setting("aws_session_token");
                return json::Fields { id, secret, token, expiration: None }.check(source).into();
            }
            (None, None) => {}
            _ => {
                let reason = format!("profile {:?} has one of aws_access_key_id and aws_secret_access_key", self.name);
                return Outcome::Failed(Trouble::new(reason, "write both into the profile"));
            }
        }
        if let Some(trouble) = self.unsupported(&["sso_session", "sso_start_url", "sso_account_id", "login_session"]) {
            return Outcome::Failed(trouble);
        }
        if let Some(command) = self.setting("credential_process") {
            return process::run(&command, source).into();
        }
        let reason = format!("profile {:?} has no keys", self.name);
        if is_chosen {
            Outcome::Failed(Trouble::new(reason, "write keys into it, or unset AWS_PROFILE"))
        } else {
            Outcome::Absent(reason)
        }
    }
}

/// A file's text; empty where there is none.
fn text(path: &Path) -> Result<Secret, Trouble> {
    let wrong = |reason: String| {
        Trouble::new(
            format!("{} cannot be read: {reason}", path.display()),
            "repair it, or name others with AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE",
        )
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Secret::default());
        }
        Err(error) => return Err(wrong(error.to_string())),
    };
    let length = file.metadata().map_or(0, |metadata| metadata.len().min(MAX_FILE_BYTES));
    // The place is reserved at once: a buffer that grows leaves copies of secrets behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(length).unwrap_or(0) + 64));
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        Err(wrong(format!("expected at most {MAX_FILE_BYTES} bytes, got more")))
    } else {
        Ok(text)
    }
}
