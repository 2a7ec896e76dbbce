//! `tmkms keys`: the public halves of the keys, in every form that the field's tools ask for.
use crate::cli::ConfigOption;
use crate::config::{Chain, PublicKeyFormat};
use crate::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use signer::keys::PublicKey;
use std::io::Write;

/// Show the public keys
#[derive(Debug, Subcommand)]
pub enum Keys {
    Show(Show),
}

const EXAMPLES: &str = "\
The line `comet` is what `cometbft show-validator` (or `tendermint show-validator`) prints, and `cosmos` what a \
create-validator transaction takes as its public key. The secret half is never shown.

Examples:
  tmkms keys show
  tmkms keys show -c /etc/tmkms/tmkms.toml --chain-id cosmoshub-4
  tmkms keys show --json | jq -r '.[0].cosmos'";

/// Show address and public key of each chain's key
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Show {
    #[command(flatten)]
    config: ConfigOption,
    /// Show this chain alone
    #[arg(long, value_name = "ID")]
    chain_id: Option<String>,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

impl Keys {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Show(show) => show.run(out),
        }
    }
}

impl Show {
    fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let config = self.config.load_for_host("the enclave knows their public halves: `tmkms nitro status -i CID`")?;
        let chains = super::select(&config, self.chain_id.as_deref())?;
        let mut shown = Vec::new();
        let mut failures = Vec::new();
        for chain in chains {
            match shown_keys(chain) {
                Ok(keys) => shown.extend(keys),
                Err(failure) => failures.push(failure),
            }
        }
        if self.json {
            writeln!(out, "{:#}", Value::Array(shown))?;
        } else {
            shown.iter().try_for_each(|key| write_key(key, out))?;
        }
        Failure::all(failures).map_or(Ok(()), Err)
    }
}

fn shown_keys(chain: &Chain) -> Result<Vec<Value>, Failure> {
    let mut shown = vec![shown_key(chain, "consensus", crate::keys::of_chain(chain)?.public_key())?];
    for key in &chain.account_keys {
        shown.push(shown_key(chain, "account", crate::keys::read(key)?.public_key())?);
    }
    Ok(shown)
}

fn shown_key(chain: &Chain, kind: &str, key: &PublicKey) -> Result<Value, Failure> {
    let mut object = json!({
        "chain_id": chain.id.as_str(),
        "type": kind,
        "algorithm": key.algorithm().name(),
        "address": key.address().to_string(),
        "hex": key.hex(),
        "base64": key.base64(),
        "comet": key.comet_json(),
        "cosmos": key.cosmos_json(),
    });
    if let PublicKeyFormat::Bech32 { account_prefix, consensus_prefix } = &chain.key_format {
        let prefix = if kind == "account" { account_prefix } else { consensus_prefix };
        add_bech32(&mut object, key, prefix)?;
    }
    Ok(object)
}

/// The key under the prefix, and its address under the prefix less its `pub`, as the Cosmos SDK names them.
fn add_bech32(object: &mut Value, key: &PublicKey, prefix: &str) -> Result<(), Failure> {
    let wrong = |error: signer::keys::InvalidPrefix| Failure::new(Exit::Configuration, error.to_string(), "");
    object["bech32"] = key.amino_bech32(prefix).map_err(wrong)?.into();
    if let Some(prefix) = prefix.strip_suffix("pub").filter(|prefix| !prefix.is_empty()) {
        object["bech32_address"] = key.address_bech32(prefix).map_err(wrong)?.into();
    }
    Ok(())
}

fn write_key(key: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
    writeln!(out, "chain {} ({} key, {})", text("chain_id"), text("type"), text("algorithm"))?;
    for name in ["address", "hex", "base64", "bech32", "bech32_address", "comet", "cosmos"] {
        if key[name].is_string() {
            writeln!(out, "  {:<15} {}", name.replace('_', " "), text(name))?;
        }
    }
    Ok(())
}
