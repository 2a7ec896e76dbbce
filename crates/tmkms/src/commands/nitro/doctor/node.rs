//! The node, by its RPC: whether it is of the configured chain, keeps up, and knows this validator.
use super::clock::now_ms;
use super::finding::{Finding, Say};
use super::rpc::{self, Member, NodeStatus};
use super::{Case, chains};
use crate::commands::nitro::asking::plain;
use crate::commands::nitro::status::duration;
use crate::config::Config;
use guard::{Height, Position};
use std::time::Duration;
use wire::control::Status;

/// A chain that makes no block for so long stands still, or the node does.
const STILL_SECONDS: i64 = 60;
/// So many heights may pass while one is looked at, and while a validator misses a few.
const BEHIND_HEIGHTS: u64 = 100;
/// The height that is being decided, and the one after it, for status and node are asked one after the other.
const AHEAD_HEIGHTS: u64 = 2;

/// What is known of the validator on the node's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Validator {
    address: String,
    public_key: String,
    last: Option<Position>,
}

pub(super) fn examine(case: &Case, config: Option<&Config>, status: Option<&Status>, say: Say<'_>) {
    let Some(server) = &case.rpc else {
        say(Finding::skipped("reachable", "no --rpc", "name the node's RPC: --rpc http://127.0.0.1:26657"));
        return;
    };
    let node = match rpc::status(server) {
        Ok(node) => node,
        Err(problem) => {
            let help = "see that the node runs, and that --rpc is its `laddr` in [rpc] of config.toml";
            say(Finding::error("reachable", problem, help));
            return;
        }
    };
    say(Finding::ok("reachable", format!("{server}: version {}", node.version)));
    if !is_of_chain(&node, config, status, say) {
        return;
    }
    sync(&node, now_ms() / 1000, say);
    let Some(validator) = validator(&node.network, config, status) else {
        let help =
            "it is found by the address that the enclave tells once it serves, or by `public_key` in the configuration";
        say(Finding::skipped("validator", "this chain's key is not known", help));
        return;
    };
    let member = match rpc::member(server, &validator.address) {
        Ok((member, seen)) => {
            membership(&validator, member.as_ref(), seen, say);
            member
        }
        Err(problem) => {
            say(Finding::skipped("validator", problem, "see the node's log"));
            None
        }
    };
    height(&node, &validator, member.is_some(), say);
}

fn is_of_chain(node: &NodeStatus, config: Option<&Config>, status: Option<&Status>, say: Say<'_>) -> bool {
    let mut chains: Vec<String> =
        config.iter().flat_map(|config| &config.chains).map(|chain| chain.id.to_string()).collect();
    if chains.is_empty() {
        chains = status
            .iter()
            .flat_map(|status| &status.chains)
            .take(chains::MOST_CHAINS)
            .map(|chain| plain(&chain.id))
            .collect();
    }
    if chains.is_empty() {
        say(Finding::skipped(
            "network",
            format!("{}: neither configuration nor enclave name a chain", node.network),
            "",
        ));
        return true;
    }
    if chains.contains(&node.network) {
        say(Finding::ok("network", node.network.clone()));
        return true;
    }
    let found = format!("expected {}, got {}", chains.join(" or "), node.network);
    say(Finding::error("network", found, "name the node of this chain with --rpc; or correct `id` in [[chain]]"));
    false
}

fn sync(node: &NodeStatus, now: i64, say: Say<'_>) {
    if node.is_catching_up {
        let found = format!("expected a node that keeps up, got one at height {} that is catching up", node.height);
        say(Finding::warning(
            "sync",
            found,
            "wait: it asks for no signature before; if it stays so, look at its peers and its log",
        ));
        return;
    }
    let Some(age) = node.block_time.map(|time| now.saturating_sub(time)) else {
        say(Finding::skipped(
            "sync",
            format!("height {}: the time of its latest block cannot be read", node.height),
            "",
        ));
        return;
    };
    let length = duration(Duration::from_secs(age.unsigned_abs()).as_secs_f64());
    let help = "look at the node's peers and log, and whether the whole chain stands still";
    say(if age > STILL_SECONDS {
        let found = format!("height {}: expected a block within {STILL_SECONDS} s, got none for {length}", node.height);
        Finding::warning("sync", found, help)
    } else if age < -STILL_SECONDS {
        let found =
            format!("height {}: its latest block is of {length} from now, by this machine's clock", node.height);
        Finding::warning("sync", found, "see the group clock")
    } else {
        Finding::ok("sync", format!("height {}, {length} ago", node.height))
    });
}

/// As the enclave says; before it serves, as the configuration expects.
fn validator(network: &str, config: Option<&Config>, status: Option<&Status>) -> Option<Validator> {
    let served = status.and_then(|status| status.chains.iter().find(|chain| chain.id == network));
    if let Some(chain) = served {
        let last = chain.position.as_deref().and_then(chains::position);
        return Some(Validator { address: plain(&chain.address), public_key: plain(&chain.public_key), last });
    }
    let chain = config?.chains.iter().find(|chain| chain.id.as_str() == network)?;
    let key = chain.key.kms()?.public_key?;
    Some(Validator { address: key.address().to_string(), public_key: key.base64(), last: None })
}

fn membership(validator: &Validator, member: Option<&Member>, seen: u64, say: Say<'_>) {
    let address = &validator.address;
    let Some(member) = member else {
        let found = format!("{address}: expected in the validator set, got none of this address among {seen}");
        let help = "it is not bonded, it is jailed, or the chain has another key for it: compare `tmkms nitro status` with the chain's \
                    validator (`… query staking validator`, its consensus_pubkey)";
        say(Finding::warning("validator", found, help));
        return;
    };
    if member.public_key != validator.public_key {
        let found = format!("{address}: expected the key {}, got {}", validator.public_key, member.public_key);
        say(Finding::error(
            "validator",
            found,
            "what answers at --rpc, or in the enclave's place, is not what it should be: an address is made from its key",
        ));
        return;
    }
    say(Finding::ok("validator", format!("{address} is in the validator set, with power {}", member.power)));
}

fn height(node: &NodeStatus, validator: &Validator, is_member: bool, say: Say<'_>) {
    // A record of height 0 says that the key has never signed.
    let Some(last) = validator.last.filter(|last| last.height > Height::ZERO) else {
        say(Finding::ok(
            "height",
            format!("the chain is at {}, and this key has signed nothing here that is known", node.height),
        ));
        return;
    };
    let signed = last.height.get();
    if signed > node.height.saturating_add(AHEAD_HEIGHTS) {
        if node.is_catching_up {
            say(Finding::ok(
                "height",
                format!("the record is at {last}, and the node, at {}, is not there yet", node.height),
            ));
            return;
        }
        let found =
            format!("expected a record near the chain's height {}, got {last}: ahead of the chain", node.height);
        let help = "nothing is signed until the chain is there. Either the record is another chain's, or a node had a vote for a far-off height \
                    signed, or the chain was reset: never lower it before you know which; docs/operations.md, \"When the state is damaged, lost or put back\"";
        say(Finding::error("height", found, help));
        return;
    }
    let found = format!("the chain is at {}, the record at {last}", node.height);
    let behind = node.height.saturating_sub(signed);
    say(if behind > BEHIND_HEIGHTS && is_member && !node.is_catching_up {
        let help = "this validator is in the set and does not sign: look at the group enclave, at the node's priv_validator_laddr, and whether another \
                    signer has the key";
        Finding::warning("height", format!("{found}: {behind} heights behind"), help)
    } else {
        Finding::ok("height", found)
    });
}

#[cfg(test)]
mod tests {
    use super::super::finding::tests::said;
    use super::*;

    fn node(height: u64) -> NodeStatus {
        let (version, network) = ("0.38.12".to_owned(), "test-1".to_owned());
        NodeStatus { version, network, height, block_time: Some(1_000), is_catching_up: false }
    }

    fn validator(last: &str) -> Validator {
        Validator { address: "AB".repeat(20), public_key: "k".to_owned(), last: chains::position(last) }
    }

    #[test]
    fn a_node_that_stands_still_or_catches_up_is_warned_of() {
        let of = |node: &NodeStatus, now| said(|say| sync(node, now, say));
        assert_eq!(of(&node(7), 1_060), "ok sync: height 7, 60 s ago\n");
        assert!(
            of(&node(7), 1_061).starts_with("warning sync: height 7: expected a block within 60 s, got none for 61 s")
        );
        assert!(of(&node(7), 900).contains("by this machine's clock"));
        let catching = NodeStatus { is_catching_up: true, block_time: None, ..node(7) };
        assert!(of(&catching, 0).starts_with("warning sync: expected a node that keeps up"));
        assert!(of(&NodeStatus { block_time: None, ..node(7) }, 0).starts_with("skipped"));
    }

    #[test]
    fn a_member_must_have_the_key_that_the_enclave_holds() {
        let of = |member: Option<Member>| said(|say| membership(&validator("1/0/prevote"), member.as_ref(), 150, say));
        let member = |key: &str| Some(Member { public_key: key.to_owned(), power: 10 });
        assert!(of(member("k")).ends_with("is in the validator set, with power 10\n"));
        assert!(of(member("x")).contains("error validator: ") && of(member("x")).contains("expected the key k, got x"));
        assert!(of(None).starts_with("warning validator: ") && of(None).contains("among 150"));
    }

    #[test]
    fn a_record_ahead_of_the_chain_is_an_error_and_one_far_behind_a_warning() {
        let of = |height: u64, last: &str, is_member| {
            said(|say| super::height(&node(height), &validator(last), is_member, say))
        };
        assert_eq!(of(12, "12/0/precommit", true), "ok height: the chain is at 12, the record at 12/0/precommit\n");
        assert!(of(12, "14/0/prevote", true).starts_with("ok") && of(12, "15/0/prevote", true).starts_with("error"));
        assert!(of(12, "the end of height 900", true).contains("got the end of height 900: ahead of the chain"));
        assert!(
            of(113, "12/0/prevote", true).starts_with("warning height")
                && of(112, "12/0/prevote", true).starts_with("ok")
        );
        // Who is not in the set is not asked.
        assert!(of(113, "12/0/prevote", false).starts_with("ok"));
        let catching = NodeStatus { is_catching_up: true, ..node(12) };
        assert!(said(|say| super::height(&catching, &validator("900/0/prevote"), true, say)).starts_with("ok"));
        assert!(of(12, "", true).contains("has signed nothing"));
        assert!(
            of(500, "the end of height 0", true)
                .contains("ok height: the chain is at 500, and this key has signed nothing")
        );
    }
}
