//! Which of a configuration's chains a command is about.
use crate::config::nearest;
use crate::config::{Chain, Config};
use crate::failure::{Exit, Failure};

/// The chains that a command is about: the named one, or all.
pub(crate) fn select<'config>(config: &'config Config, chain_id: Option<&str>) -> Result<Vec<&'config Chain>, Failure> {
    let Some(wanted) = chain_id else { return Ok(config.chains.iter().collect()) };
    if let Some(chain) = config.chains.iter().find(|chain| chain.id.as_str() == wanted) {
        return Ok(vec![chain]);
    }
    let names: Vec<_> = config.chains.iter().map(|chain| chain.id.as_str()).collect();
    let help = match nearest(wanted, names.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("chains with a key are: {}", names.join(", ")),
    };
    let message = format!("--chain-id: {} has no chain {wanted:?} with a key", config.path.display());
    Err(Failure::new(Exit::Usage, message, help))
}

/// The one chain that a command is about; it must be named unless there is only one.
pub(crate) fn select_one<'config>(config: &'config Config, chain_id: Option<&str>) -> Result<&'config Chain, Failure> {
    let chains = select(config, chain_id)?;
    match chains.as_slice() {
        [chain] => Ok(chain),
        chains => {
            let names: Vec<_> = chains.iter().map(|chain| chain.id.as_str()).collect();
            let help = format!("add --chain-id ID; the chains are: {}", names.join(", "));
            let message =
                format!("--chain-id is missing: {} has {} chains with a key", config.path.display(), names.len());
            Err(Failure::new(Exit::Usage, message, help))
        }
    }
}
