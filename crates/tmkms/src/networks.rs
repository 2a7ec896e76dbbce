//! Well-known chains for `tmkms init`: name, chain id and the bech32 prefixes of their public keys.

/// A chain that `init` knows.
#[derive(Debug)]
pub struct Network {
    /// The name for `-n`.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// The main network's chain id.
    pub chain_id: &'static str,
    /// The prefix of account public keys.
    pub account_prefix: &'static str,
    /// The prefix of consensus public keys.
    pub consensus_prefix: &'static str,
}

const fn network(
    name: &'static str,
    title: &'static str,
    chain_id: &'static str,
    account_prefix: &'static str,
    consensus_prefix: &'static str,
) -> Network {
    Network { name, title, chain_id, account_prefix, consensus_prefix }
}

/// All of them, by name. tmkms 0.15 knows cosmoshub, irishub, sentinelhub, osmosis and core, under older ids.
pub static NETWORKS: [Network; 16] = [
    network("agoric", "Agoric", "agoric-3", "agoricpub", "agoricvalconspub"),
    network("akash", "Akash", "akashnet-2", "akashpub", "akashvalconspub"),
    network("axelar", "Axelar", "axelar-dojo-1", "axelarpub", "axelarvalconspub"),
    network("celestia", "Celestia", "celestia", "celestiapub", "celestiavalconspub"),
    network("core", "Persistence", "core-1", "persistencepub", "persistencevalconspub"),
    network("cosmoshub", "Cosmos Hub", "cosmoshub-4", "cosmospub", "cosmosvalconspub"),
    network("dydx", "dYdX", "dydx-mainnet-1", "dydxpub", "dydxvalconspub"),
    network("injective", "Injective", "injective-1", "injpub", "injvalconspub"),
    network("irishub", "IRIS Hub", "irishub-1", "iap", "icp"),
    network("juno", "Juno", "juno-1", "junopub", "junovalconspub"),
    network("kava", "Kava", "kava_2222-10", "kavapub", "kavavalconspub"),
    network("osmosis", "Osmosis", "osmosis-1", "osmopub", "osmovalconspub"),
    network("secret", "Secret Network", "secret-4", "secretpub", "secretvalconspub"),
    network("sentinelhub", "Sentinel", "sentinelhub-2", "sentpub", "sentvalconspub"),
    network("stargaze", "Stargaze", "stargaze-1", "starspub", "starsvalconspub"),
    network("stride", "Stride", "stride-1", "stridepub", "stridevalconspub"),
];

/// The network with that name or chain id.
#[must_use]
pub fn find(name: &str) -> Option<&'static Network> {
    NETWORKS.iter().find(|network| network.name == name || network.chain_id == name)
}
