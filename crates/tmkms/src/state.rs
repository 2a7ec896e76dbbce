//! The state files that a configuration names: what is wrong with one, and the command that mends it.
use crate::config::Chain;
use crate::failure::{Exit, Failure};
use std::path::Path;
use store::file::{Inspection, inspect, slot::Owner};
use store::{Problem, StateError};

/// A state's trouble as a command's, with the commands as they have to be typed.
pub(crate) fn failure(chain: &Chain, config: &Path, error: &StateError) -> Failure {
    let on = format!("-c {} --chain-id {}", config.display(), chain.id);
    let help = match &error.problem {
        Problem::Missing => format!(
            "if this key has signed before, bring its state with `tmkms state import {on} --from filepv FILE`, or run `tmkms state \
             init {on} --height H` with H at or above the chain's height; only if it never has, run `tmkms state init {on} \
             --new-validator`"
        ),
        Problem::Empty
        | Problem::WrongSize { .. }
        | Problem::OneSlotDamaged { .. }
        | Problem::BothSlotsDamaged { .. }
        | Problem::Contradiction { .. } => format!("tmkms state repair {on} --height H"),
        Problem::Foreign { format: Some(_) } => format!("tmkms state import {on} --from FORMAT FILE"),
        _ => String::new(),
    };
    let message = match &error.problem {
        // The general remedy of the store's text is the help's, with the names put in.
        Problem::Missing => format!(
            "chain {}: the state file {} is missing, and starting never makes one",
            chain.id,
            error.path.display()
        ),
        _ => format!("chain {}: {error}", chain.id),
    };
    Failure::new(Exit::State, message, help)
}

/// Looks at a chain's state without a lock, and says why it would not open for that owner.
pub(crate) fn look(chain: &Chain, owner: Option<&Owner>) -> Result<(Inspection, Option<Problem>), StateError> {
    let mut seen = inspect(&chain.state_file.resolved)?;
    let problem = seen.problem.take().or_else(|| foreign_owner(&seen, owner));
    Ok((seen, problem))
}

fn foreign_owner(seen: &Inspection, owner: Option<&Owner>) -> Option<Problem> {
    let (expected, found) = (owner?.clone(), seen.held()?.owner.clone());
    if found.chain_id != expected.chain_id {
        Some(Problem::AnotherChain { expected, found })
    } else if found.pub_key != expected.pub_key {
        Some(Problem::AnotherKey { expected, found })
    } else {
        None
    }
}
