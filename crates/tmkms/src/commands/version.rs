//! `tmkms version`: which build this is.
use crate::failure::Failure;
use clap::Args;
use std::io::Write;

/// Show the version
#[derive(Debug, Args)]
pub struct Version {
    /// Show how it was built, too
    #[arg(short, long)]
    verbose: bool,
}

/// The cargo features that name parts of this build; softsign and aws-ne-sys are names that users of the original
/// description know, and change nothing.
fn features() -> String {
    let all = [
        ("host", cfg!(feature = "host")),
        ("softsign", cfg!(feature = "softsign")),
        ("nitro-enclave", cfg!(feature = "nitro-enclave")),
        ("aws-ne-sys", cfg!(feature = "aws-ne-sys")),
    ];
    let on: Vec<_> = all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect();
    if on.is_empty() { "none".to_owned() } else { on.join(", ") }
}

impl Version {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        writeln!(out, "tmkms {}", env!("CARGO_PKG_VERSION"))?;
        if self.verbose {
            writeln!(out, "target: {}-{}", std::env::consts::ARCH, std::env::consts::OS)?;
            writeln!(out, "features: {}", features())?;
            writeln!(out, "configuration: that of tmkms 0.15, see docs/configuration.md")?;
        }
        Ok(())
    }
}
