//! `tmkms init`: a new folder with a configuration, an identity key, and places for secrets and state.
use crate::config::FILE_NAME;
use crate::config::nearest;
use crate::failure::{Exit, Failure};
use crate::networks::{NETWORKS, Network, find};
use crate::state::shell_word;
use clap::Args;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The identity key's file, as tmkms names it.
const IDENTITY_KEY: &str = "secrets/kms-identity.key";

/// The port of the first node in the template; each further chain gets the next.
const FIRST_PORT: usize = 26_659;

const EXAMPLES: &str = "\
Networks: agoric, akash, axelar, celestia, core, cosmoshub, dydx, injective, irishub, juno, kava, osmosis, secret, \
sentinelhub, stargaze, stride. For any other chain, take one of them and edit the file.

Nothing that exists is overwritten: a folder that has a tmkms.toml already is refused, and an identity key is kept.

Examples:
  tmkms init ./kms
  tmkms init -n cosmoshub,osmosis /etc/tmkms";

/// Make a folder with a configuration, an identity key, and places for secrets and state
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Init {
    /// The chains to configure, separated by commas
    #[arg(short, long, value_delimiter = ',', default_value = "cosmoshub", value_name = "NETWORKS", value_parser = network)]
    networks: Vec<&'static Network>,
    /// The folder
    path: PathBuf,
}

fn network(name: &str) -> Result<&'static Network, String> {
    find(name).ok_or_else(|| {
        let names = NETWORKS.iter().map(|network| network.name);
        match nearest(name, names.clone()) {
            Some(near) => format!("no such network; did you mean {near:?}?"),
            None => format!("no such network; known are {}", names.collect::<Vec<_>>().join(", ")),
        }
    })
}

impl Init {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        self.refuse_repeats()?;
        let file = self.path.join(FILE_NAME);
        if file.symlink_metadata().is_ok() {
            let help = "name another folder, or edit that file; `tmkms config check` checks it";
            return Err(Failure::new(Exit::Runtime, format!("{} exists already", file.display()), help));
        }
        for folder in [self.path.clone(), self.path.join("state"), self.path.join("secrets")] {
            make_folder(&folder)?;
        }
        close_to_others(&self.path.join("secrets"))?;
        let identity = self.path.join(IDENTITY_KEY);
        let is_new = identity.symlink_metadata().is_err();
        if is_new {
            super::softsign::write_new_key(&identity, signer::keys::Algorithm::Ed25519)?;
        }
        write_new(&file, &configuration(&self.networks))?;
        writeln!(out, "wrote {}", file.display())?;
        writeln!(
            out,
            "{} {}",
            if is_new { "made the identity key" } else { "kept the identity key" },
            identity.display()
        )?;
        self.next_steps(&file, out)
    }

    /// Two sections of one chain would be refused by every other command.
    fn refuse_repeats(&self) -> Result<(), Failure> {
        let ids: Vec<_> = self.networks.iter().map(|network| network.chain_id).collect();
        for (index, Network { name, chain_id, .. }) in self.networks.iter().enumerate() {
            if ids[..index].contains(chain_id) {
                let message = format!("--networks: {name} ({chain_id}) is named twice");
                return Err(Failure::new(Exit::Usage, message, "name each network once"));
            }
        }
        Ok(())
    }

    fn next_steps(&self, file: &Path, out: &mut dyn Write) -> Result<(), Failure> {
        let file = shell_word(&file.display().to_string());
        writeln!(
            out,
            "\nnext:\n  edit the `addr` of each [[validator]] in {file} (with unix://, remove its `secret_key`)"
        )?;
        for Network { title, chain_id, .. } in &self.networks {
            let key = self.path.join(format!("secrets/{chain_id}-consensus.key"));
            let key = shell_word(&key.display().to_string());
            writeln!(out, "{title}, a key that has signed before:")?;
            writeln!(out, "  tmkms softsign import priv_validator_key.json {key}")?;
            writeln!(
                out,
                "  tmkms state import -c {file} --chain-id {chain_id} --from filepv priv_validator_state.json"
            )?;
            writeln!(out, "{title}, a new validator:")?;
            writeln!(out, "  tmkms softsign keygen -t consensus {key}")?;
            writeln!(out, "  tmkms state init -c {file} --chain-id {chain_id} --new-validator")?;
        }
        writeln!(out, "then:\n  tmkms config check -c {file}\n  tmkms start -c {file}")?;
        Ok(())
    }
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    let help = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "name a folder that this user may make and write to, or run as one who may"
        }
        _ => "",
    };
    Failure::new(Exit::Runtime, format!("cannot {what} {}: {error}", path.display()), help)
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| cannot("make the folder", path, &error))
}

fn close_to_others(path: &Path) -> Result<(), Failure> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .map_err(|error| cannot("set the permissions of", path, &error))
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| cannot("write", path, &error))
}

/// The text of a configuration for those chains.
fn configuration(networks: &[&Network]) -> String {
    let mut text = String::from(
        "# Configuration of tmkms. Every key is explained in docs/configuration.md; `tmkms config check` checks this file.\n\
         # Relative paths are relative to this file.\n",
    );
    for (index, network) in networks.iter().enumerate() {
        text.push_str(&section(network, FIRST_PORT + 10 * index));
    }
    text.push_str(
        "\n# Prometheus metrics, /healthz and what `tmkms status` shows.\n#[metrics]\n#listen = \"127.0.0.1:26661\"\n",
    );
    text
}

fn section(network: &Network, port: usize) -> String {
    let Network { name, title, chain_id, account_prefix, consensus_prefix } = network;
    let note = match *name {
        "celestia" => {
            "# Celestia's nodes also ask for signatures over raw bytes; this version refuses those, and signs the votes.\n"
        }
        _ => "",
    };
    format!(
        "\n## {title}\n{note}\n\
         [[chain]]\n\
         id = \"{chain_id}\"\n\
         key_format = {{ type = \"bech32\", account_key_prefix = \"{account_prefix}\", consensus_key_prefix = \
         \"{consensus_prefix}\" }}\n\
         state_file = \"state/{chain_id}-consensus.json\"\n\n\
         [[providers.softsign]]\n\
         chain_ids = [\"{chain_id}\"]\n\
         key_type = \"consensus\"\n\
         path = \"secrets/{chain_id}-consensus.key\"\n\n\
         # One [[validator]] for each node that may ask for signatures. The node's config.toml has the same address as\n\
         # priv_validator_laddr. On one machine a Unix socket is simpler and faster: addr = \"unix:///path/to/socket\",\n\
         # without secret_key.\n\
         [[validator]]\n\
         chain_id = \"{chain_id}\"\n\
         addr = \"tcp://127.0.0.1:{port}\"\n\
         secret_key = \"{IDENTITY_KEY}\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_of_all_networks_at_once_has_no_fault() {
        let all: Vec<_> = NETWORKS.iter().collect();
        let config = crate::config::parse(&configuration(&all), Path::new("/kms/tmkms.toml")).unwrap();
        assert_eq!(config.chains.len(), NETWORKS.len());
        assert_eq!(config.warnings, []);
    }

    #[test]
    fn the_help_names_every_network() {
        for network in &NETWORKS {
            assert!(EXAMPLES.contains(network.name), "{}", network.name);
        }
    }
}
