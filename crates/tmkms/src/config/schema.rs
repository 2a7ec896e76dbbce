//! Every name that a `tmkms.toml` may hold, as data: what is read, and what is refused by name and why.
//!
//! The names are those of tmkms 0.15.0 (`src/config/` there), those of its descendants for enclaves, and ours.

/// What happens to a key that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// It is read.
    Read,
    /// It is refused, with a reason and a remedy.
    Refused {
        /// Why.
        reason: &'static str,
        /// What to do instead.
        help: &'static str,
    },
}

/// A key that is known in a section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Its name.
    pub(crate) name: &'static str,
    /// What happens to it.
    pub(crate) rule: Rule,
}

/// A table of the file.
#[derive(Debug)]
pub(crate) struct Section {
    /// As it is written in the file.
    pub(crate) name: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [Key],
}

impl Section {
    /// The names that are read, to be listed for an operator.
    pub(crate) fn read_names(&self) -> Vec<&'static str> {
        self.keys.iter().filter(|key| key.rule == Rule::Read).map(|key| key.name).collect()
    }
}

const fn read(name: &'static str) -> Key {
    Key { name, rule: Rule::Read }
}

const fn refused(name: &'static str, reason: &'static str, help: &'static str) -> Key {
    Key { name, rule: Rule::Refused { reason, help } }
}

const TX: &str = "transactions are not signed here (tmkms itself removed this in 0.13)";
const TX_HELP: &str = "remove the section; this signer signs votes and proposals only";
const HARDWARE_HELP: &str = "use [[providers.softsign]], or stay with tmkms for this key";

pub(crate) static ROOT: Section = Section {
    name: "the file",
    keys: &[
        read("chain"),
        read("providers"),
        read("validator"),
        read("metrics"),
        read("log"),
        read("nitro"),
        refused("transaction", TX, TX_HELP),
        refused("tx_signer", TX, TX_HELP),
    ],
};

pub(crate) static CHAIN: Section = Section {
    name: "[[chain]]",
    keys: &[
        read("id"),
        read("key_format"),
        read("sign_extensions"),
        read("state_file"),
        refused(
            "state_hook",
            "no command is run to learn a height: a height from outside says nothing about what was signed (and the hook of \
             tmkms 0.15 never reads its command's output)",
            "remove it; to raise a record by hand use `tmkms state repair --height H`",
        ),
        read("state_vsock_port"),
    ],
};

pub(crate) static CHAIN_KEY_FORMAT: Section = Section {
    name: "key_format of [[chain]]",
    keys: &[read("type"), read("account_key_prefix"), read("consensus_key_prefix")],
};

pub(crate) static VALIDATOR: Section = Section {
    name: "[[validator]]",
    keys: &[
        read("chain_id"),
        read("addr"),
        read("secret_key"),
        read("reconnect"),
        read("timeout"),
        read("max_height"),
        read("protocol_version"),
        read("secret_connection"),
        read("identity_key_b64"),
        read("aws_region"),
        read("kms_key_arn"),
        read("encryption_context"),
        read("credentials"),
    ],
};

pub(crate) static ADDRESS: Section = Section { name: "addr of [[validator]]", keys: &[read("port"), read("peer_id")] };

pub(crate) static CREDENTIALS: Section =
    Section { name: "credentials", keys: &[read("access_key_id"), read("secret_access_key"), read("session_token")] };

pub(crate) static NITRO: Section =
    Section { name: "[nitro]", keys: &[read("kms_proxy_port"), read("allow_debug"), read("log_level")] };

pub(crate) static PROVIDERS: Section = Section {
    name: "[providers]",
    keys: &[
        read("softsign"),
        refused("yubihsm", "keys in a YubiHSM are not supported in this version", HARDWARE_HELP),
        refused("ledgertm", "keys in a Ledger are not supported in this version", HARDWARE_HELP),
        refused("fortanixdsm", "keys in Fortanix DSM are not supported in this version", HARDWARE_HELP),
    ],
};

pub(crate) static SOFTSIGN: Section = Section {
    name: "[[providers.softsign]]",
    keys: &[
        read("chain_ids"),
        read("key_type"),
        read("key_format"),
        read("algorithm"),
        read("path"),
        read("encrypted_key_b64"),
        read("aws_region"),
        read("credentials"),
        read("kms_key_arn"),
        read("encryption_context"),
        read("public_key"),
        read("envelope"),
    ],
};

pub(crate) static METRICS: Section = Section { name: "[metrics]", keys: &[read("listen"), read("unhealthy_after")] };

pub(crate) static LOG: Section = Section { name: "[log]", keys: &[read("format"), read("level")] };

/// Every section, for the tests that hold the documents against it.
#[cfg(test)]
pub(crate) static ALL: [&Section; 11] = [
    &ROOT,
    &CHAIN,
    &CHAIN_KEY_FORMAT,
    &VALIDATOR,
    &ADDRESS,
    &CREDENTIALS,
    &NITRO,
    &PROVIDERS,
    &SOFTSIGN,
    &METRICS,
    &LOG,
];

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../../../docs/configuration.md");
    const EXAMPLE: &str = include_str!("../../../../tmkms.toml.example");
    const NITRO_EXAMPLE: &str = include_str!("../../../../tmkms-nitro.toml.example");
    const ACCEPTED: &str = include_str!("../../tests/config/accepted.txt");
    const REFUSED: &str = include_str!("../../tests/config/refused.txt");

    fn keys() -> impl Iterator<Item = (&'static Section, &'static Key)> {
        ALL.iter().flat_map(|section| section.keys.iter().map(|key| (*section, key)))
    }

    /// Whether a key is written anywhere: as `key =`, in a header, or at the end of one.
    fn is_written(text: &str, key: &str) -> bool {
        text.lines().any(|line| {
            let line = line.trim_start_matches('#');
            line.contains(&format!("{key} = ")) || (line.starts_with('[') && line.contains(key))
        })
    }

    #[test]
    fn every_key_is_documented() {
        for (section, key) in keys() {
            let name = key.name;
            let forms = [format!("`{name}`"), format!("[{name}]"), format!(".{name}]")];
            assert!(forms.iter().any(|form| DOCUMENT.contains(form)), "{} {name}", section.name);
        }
    }

    #[test]
    fn every_key_that_is_read_is_in_the_example_and_in_a_test_that_accepts_it() {
        for (section, key) in keys().filter(|(_, key)| key.rule == Rule::Read) {
            let is_shown = is_written(EXAMPLE, key.name) || is_written(NITRO_EXAMPLE, key.name);
            assert!(is_shown, "{} {}", section.name, key.name);
            assert!(is_written(ACCEPTED, key.name), "{} {}", section.name, key.name);
        }
    }

    #[test]
    fn every_key_that_is_refused_is_in_a_test_that_expects_its_reason() {
        for (section, key) in keys() {
            let Rule::Refused { reason, help } = key.rule else { continue };
            let expected = format!("`{}` in {}: {reason}\n  help: {help}\n", key.name, section.name);
            assert!(REFUSED.contains(&expected), "{expected}");
        }
    }

    #[test]
    fn the_example_is_good_and_gives_no_warning() {
        let config = crate::config::parse(EXAMPLE, std::path::Path::new("/etc/tmkms/tmkms.toml")).unwrap();
        assert_eq!((config.chains.len(), config.warnings), (2, Vec::new()));
        // What stands there behind a # is good, too.
        let on: String = EXAMPLE.lines().map(|line| format!("{}\n", uncomment(line))).collect();
        let faults = crate::config::parse(&on, std::path::Path::new("/etc/tmkms/tmkms.toml")).unwrap_err();
        let messages: Vec<_> = faults.list.iter().map(|fault| fault.message.as_str()).collect();
        assert!(matches!(messages.as_slice(), [only] if only.contains("`max_height` differs")), "{messages:?}");
    }

    #[test]
    fn the_enclaves_example_is_good_and_gives_no_warning() {
        let path = std::path::Path::new("/etc/tmkms/tmkms.toml");
        let config = crate::config::parse(NITRO_EXAMPLE, path).unwrap();
        assert_eq!((config.chains.len(), config.warnings.len(), config.needs_credentials()), (2, 0, true));
        let on: String = NITRO_EXAMPLE.lines().map(|line| format!("{}\n", uncomment(line))).collect();
        let config = crate::config::parse(&on, path).unwrap();
        assert!(config.kms_keys()[0].credentials.is_some() && config.warnings.is_empty());
    }

    fn uncomment(line: &str) -> &str {
        match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with([' ', '#']) => setting,
            _ => line,
        }
    }
}
