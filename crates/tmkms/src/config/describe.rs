//! A checked configuration in words: what will be signed, with what, and for whom.
use super::{Chain, Config, Identity, Key, KeyFile, KmsKey, LogFormat, LogLevel, LogSettings, State, Validator};
use signer::keys::{Algorithm, KeyFormat};
use signer::{Endpoint, SignExtensions};
use std::fmt;

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chains.iter().try_for_each(|chain| write_chain(f, chain))?;
        if self.is_for_enclave() {
            writeln!(f, "in an enclave: KMS is reached through the parent's vsock port {}", self.nitro.kms_proxy_port)?;
            if self.nitro.allow_debug {
                writeln!(
                    f,
                    "debug mode is allowed: such an enclave's memory can be read, and KMS sees measurements of zeros"
                )?;
            }
        } else if let Some(metrics) = self.metrics {
            let seconds = metrics.unhealthy_after.as_secs();
            writeln!(f, "metrics on http://{}/metrics, unhealthy after {seconds} s without a vote", metrics.listen)?;
        }
        writeln!(f, "{}", self.log)?;
        for warning in &self.warnings {
            writeln!(f, "warning: {}:{}: {}", self.path.display(), warning.place, warning.message)?;
            if !warning.help.is_empty() {
                writeln!(f, "  help: {}", warning.help)?;
            }
        }
        Ok(())
    }
}

fn write_chain(f: &mut fmt::Formatter<'_>, chain: &Chain) -> fmt::Result {
    writeln!(f, "chain {}", chain.id)?;
    writeln!(f, "  key         {}", chain.key)?;
    for key in &chain.account_keys {
        writeln!(f, "  account key {key}, only shown")?;
    }
    match &chain.state {
        State::File(file) => writeln!(f, "  state       {}", file.resolved.display())?,
        State::Vsock { port } => writeln!(f, "  state       with the parent, vsock port {port}")?,
    }
    if chain.extensions == SignExtensions::Never {
        writeln!(f, "  extensions  never signed")?;
    }
    if let Some(height) = chain.max_height {
        writeln!(f, "  max height  {height}")?;
    }
    chain.validators.iter().try_for_each(|validator| write_validator(f, validator))
}

fn write_validator(f: &mut fmt::Formatter<'_>, validator: &Validator) -> fmt::Result {
    let once = if validator.reconnect { "" } else { ", once" };
    write!(f, "  validator   {} (timeout {} s{once})", validator.endpoint, validator.timeout.as_secs())?;
    match (&validator.endpoint, &validator.identity) {
        (Endpoint::Vsock { .. }, None) => writeln!(f, ", raw"),
        (Endpoint::Vsock { .. }, Some(Identity::File(file))) => {
            writeln!(f, ", secret connection, identity {}", file.resolved.display())
        }
        (_, Some(Identity::Kms(key))) => writeln!(f, ", secret connection, identity {key}"),
        _ => writeln!(f),
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.fmt(f),
            Self::Kms(key) => key.fmt(f),
        }
    }
}

/// Says nothing that is secret.
impl fmt::Display for KmsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "released by KMS in {} ({}", self.region, self.algorithm)?;
        if let Some(key) = &self.public_key {
            write!(f, ", expected {}", key.base64())?;
        }
        if let Some(arn) = &self.key_arn {
            write!(f, ", only by {arn}")?;
        }
        if !self.encryption_context.is_empty() {
            f.write_str(", with an encryption context")?;
        }
        f.write_str(if self.credentials.is_some() {
            ", credentials in the file)"
        } else {
            ", the parent's credentials)"
        })
    }
}

impl fmt::Display for LogSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.format {
            LogFormat::Text => "text",
            LogFormat::Json => "JSON",
        };
        let levels = match self.level {
            LogLevel::Error => "errors alone",
            LogLevel::Warn => "errors and warnings",
            LogLevel::Info => "errors, warnings and connections",
            LogLevel::Debug => "everything, each signature too",
        };
        write!(f, "log as {format}: {levels}")
    }
}

impl fmt::Display for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.file.resolved.display())?;
        match (self.algorithm, self.format) {
            (Some(algorithm), format) => write!(f, "{algorithm}, {format})"),
            (None, KeyFormat::Json) => write!(f, "{})", self.format),
            (None, format) => write!(f, "{}, {format})", Algorithm::default()),
        }
    }
}
