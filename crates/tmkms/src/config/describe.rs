//! A checked configuration in words: what will be signed, with what, and for whom.
use super::{Chain, Config, KeyFile, LogFormat, LogLevel, LogSettings};
use signer::SignExtensions;
use signer::keys::{Algorithm, KeyFormat};
use std::fmt;

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chains.iter().try_for_each(|chain| write_chain(f, chain))?;
        if let Some(metrics) = self.metrics {
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
    writeln!(f, "  state       {}", chain.state_file.resolved.display())?;
    if chain.extensions == SignExtensions::Never {
        writeln!(f, "  extensions  never signed")?;
    }
    if let Some(height) = chain.max_height {
        writeln!(f, "  max height  {height}")?;
    }
    for validator in &chain.validators {
        let once = if validator.reconnect { "" } else { ", once" };
        writeln!(f, "  validator   {} (timeout {} s{once})", validator.endpoint, validator.timeout.as_secs())?;
    }
    Ok(())
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
