//! Each chain that the enclave serves, or should.
use super::Case;
use super::finding::{Finding, Say};
use crate::commands::nitro::asking::plain;
use crate::config::Config;
use guard::{Height, Position, Round, Step};
use wire::control::{ChainStatus, Phase, Status};

/// How many chains of a status are looked at.
pub(super) const MOST_CHAINS: usize = 256;

pub(super) fn judge(status: &Status, case: &Case, config: Option<&Config>, say: Say<'_>) {
    for chain in status.chains.iter().take(MOST_CHAINS) {
        state(chain, case, say);
        connections(chain, say);
    }
    if status.phase != Phase::Serving {
        return;
    }
    for chain in config.into_iter().flat_map(|config| &config.chains) {
        if !status.chains.iter().any(|served| served.id == chain.id.as_str()) {
            let found = format!("{}: expected to be served, as {} has it, got none", chain.id, case.config.display());
            say(Finding::error(
                "chain",
                found,
                format!("push the file: `tmkms nitro push-config -c {} {}`", case.config_word(), case.on()),
            ));
        }
    }
}

fn state(chain: &ChainStatus, case: &Case, say: Say<'_>) {
    let found = format!("{}: {}", plain(&chain.id), plain(&chain.detail));
    let logs = format!("`tmkms nitro logs {}`", case.on());
    match chain.state.as_str() {
        "signing" | "waiting" => say(Finding::ok("chain", found)),
        "stopped" => say(Finding::error(
            "chain",
            found,
            "do what the reason says: the node cannot help, and nothing is signed until then",
        )),
        _ => {
            let help = format!("look at the node, at `tmkms nitro proxy`, and at {logs}");
            say(Finding::error("chain", found, help));
        }
    }
}

fn connections(chain: &ChainStatus, say: Say<'_>) {
    let down: Vec<String> = chain.connections.iter().filter(|node| !node.up).map(|node| plain(&node.address)).collect();
    let (all, up) = (chain.connections.len(), chain.connections.len() - down.len());
    let found = format!("{}: {up} of {all} nodes connected", plain(&chain.id));
    if down.is_empty() {
        say(Finding::ok("connections", found));
        return;
    }
    let found = format!("{found}; not: {}", down.join(", "));
    let help = "see that the node runs with its priv_validator_laddr, and that the proxy on that port leads to it (group ports)";
    say(if up == 0 {
        Finding::error("connections", found, help)
    } else {
        Finding::warning("connections", found, help)
    });
}

/// A position as the status writes it.
pub(super) fn position(text: &str) -> Option<Position> {
    let height = |text: &str| Height::try_from(text.parse::<i64>().ok()?).ok();
    if let Some(number) = text.strip_prefix("the end of height ") {
        return height(number).map(Position::end_of);
    }
    let mut parts = text.split('/');
    let (number, round, step) =
        (height(parts.next()?)?, parts.next()?.parse::<i64>().ok()?, Step::from_name(parts.next()?)?);
    let round = Round::try_from(round).ok()?;
    parts.next().is_none().then_some(Position { height: number, round, step })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_the_status_writes_it() {
        let written = |position: Position| assert_eq!(super::position(&position.to_string()), Some(position));
        let height = Height::try_from(12).unwrap();
        written(Position { height, round: Round::try_from(3).unwrap(), step: Step::Prevote });
        written(Position::end_of(height));
        for text in
            ["", "12", "12/0", "12/0/vote", "12/0/prevote/1", "-1/0/prevote", "the end of height x", "1e3/0/prevote"]
        {
            assert_eq!(super::position(text), None, "{text}");
        }
    }
}
