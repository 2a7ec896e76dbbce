//! Every name that a `tmkms.toml` may hold, as data: what is read, and what is refused by name and why.
//!
//! The names are those of tmkms 0.15.0 (`src/config/` there), those that the enclave build will use, and ours.

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

const fn enclave(name: &'static str) -> Key {
    refused(name, "needs the enclave build, which this version does not have yet", "remove it to sign on this host")
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
        enclave("nitro"),
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
        enclave("state_vsock_port"),
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
        enclave("secret_connection"),
        enclave("identity_key_b64"),
        enclave("aws_region"),
    ],
};

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
        enclave("encrypted_key_b64"),
        enclave("aws_region"),
        enclave("credentials"),
        enclave("kms_key_arn"),
        enclave("encryption_context"),
        enclave("public_key"),
        enclave("envelope"),
    ],
};

pub(crate) static METRICS: Section = Section { name: "[metrics]", keys: &[read("listen"), read("unhealthy_after")] };

pub(crate) static LOG: Section = Section { name: "[log]", keys: &[read("format"), read("level")] };

/// Every section, for the tests that hold the documents against it.
#[cfg(test)]
pub(crate) static ALL: [&Section; 8] =
    [&ROOT, &CHAIN, &CHAIN_KEY_FORMAT, &VALIDATOR, &PROVIDERS, &SOFTSIGN, &METRICS, &LOG];
