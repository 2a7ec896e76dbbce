//! The state files that a configuration names: what is wrong with one, and the command that mends it.
use crate::config::Chain;
use crate::failure::{Exit, Failure};
use guard::{ChainId, Height, Position, Record};
use rustix::fs::{Access, access};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use store::file::{Inspection, inspect, slot::Owner};
use store::{Problem, StateError};

/// The options that name a chain of a configuration, as they have to be typed.
pub(crate) fn options(chain: &Chain, config: &Path) -> String {
    format!("-c {} --chain-id {}", shell_word(&config.display().to_string()), shell_word(chain.id.as_str()))
}

/// A word as a shell takes it back: in single quotes where it has to be.
pub(crate) fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A state's trouble as a command's, with the commands as they have to be typed.
pub(crate) fn failure(chain: &Chain, config: &Path, error: &StateError) -> Failure {
    failure_on(&chain.id, &options(chain, config), error)
}

/// The same for any state; `on` are the options that name it.
pub(crate) fn failure_on(chain_id: &ChainId, on: &str, error: &StateError) -> Failure {
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
        Problem::Foreign { format: Some(format) } => import_in_place(&error.path, format.name(), on),
        Problem::Foreign { format: None } => format!(
            "check the chain's state_file; if this was this key's state, move it away and run `tmkms state init {on} --height H` \
             with H at or above the chain's height"
        ),
        _ => String::new(),
    };
    let message = match &error.problem {
        // The general remedies of the store's texts are the help's, with the names put in.
        Problem::Missing => format!(
            "chain {}: the state file {} is missing, and starting never makes one",
            chain_id,
            error.path.display()
        ),
        Problem::Foreign { format: Some(format) } => {
            format!("chain {}: {} is not a state file of this program, but {format}", chain_id, error.path.display())
        }
        Problem::Foreign { format: None } => {
            format!("chain {}: {} is not a state file of this program", chain_id, error.path.display())
        }
        _ => format!("chain {chain_id}: {error}"),
    };
    Failure::new(Exit::State, message, help)
}

/// Another signer's state stands where ours belongs: the ordinary case where its configuration is used on. Ours takes
/// its name, so that the other signer, started by mistake, cannot read it and stops.
fn import_in_place(path: &Path, format: &str, on: &str) -> String {
    let old = path.display().to_string();
    let (old, kept) = (shell_word(&old), shell_word(&format!("{old}.{format}")));
    format!(
        "stop that signer for good, then run `mv {old} {kept}` and `tmkms state import {on} --from {format} {kept}`"
    )
}

/// For each chain, whether its state file is an earlier chain's under another name: a link, or another way of writing
/// the path. The configuration alone cannot tell.
pub(crate) fn shared(chains: &[Chain]) -> Vec<Option<Failure>> {
    let mut seen: HashMap<(u64, u64), &Chain> = HashMap::new();
    let earlier = chains.iter().map(|chain| {
        let found = chain.state_path().metadata().ok()?;
        match seen.entry((found.dev(), found.ino())) {
            Entry::Occupied(other) => Some(shared_by(other.get(), chain)),
            Entry::Vacant(place) => {
                place.insert(chain);
                None
            }
        }
    });
    earlier.collect()
}

fn shared_by(other: &Chain, chain: &Chain) -> Failure {
    let [first, second] = [other, chain].map(|chain| chain.state_path().display());
    let message = format!(
        "chain {}: the state file {second} is the same file as {first}, which is that of {}",
        chain.id, other.id
    );
    Failure::new(Exit::State, message, "give each chain a state_file of its own")
}

/// What a record without bytes at that position says. One of a height as a whole is not shown with its largest round.
pub(crate) fn up_to(position: Position) -> String {
    match position {
        _ if position == Position::end_of(Height::ZERO) => "the key has never signed".to_owned(),
        Position { height, .. } if position == Position::end_of(height) => {
            format!("nothing at or below height {height} will be signed")
        }
        _ => format!("nothing at or below {position} will be signed"),
    }
}

/// What a record says, in words.
pub(crate) fn meaning(record: &Record) -> String {
    match record.statement() {
        Some(_) => format!("last signed {}", record.position()),
        None => up_to(record.position()),
    }
}

/// Looks at a chain's state without a lock, and says why it would not open for that owner.
pub(crate) fn look(chain: &Chain, owner: Option<&Owner>) -> Result<(Inspection, Option<Problem>), StateError> {
    look_at(chain.state_path(), owner)
}

/// The same for a file that no configuration has to name.
pub(crate) fn look_at(path: &Path, owner: Option<&Owner>) -> Result<(Inspection, Option<Problem>), StateError> {
    let mut seen = inspect(path)?;
    let problem = loose_mode(path).or_else(|| seen.problem.take());
    let problem = problem.or_else(|| foreign_owner(&seen, owner)).or_else(|| unwritable(path));
    Ok((seen, problem))
}

/// A copy may be read whatever its mode, but a state is not opened that others may write.
fn loose_mode(path: &Path) -> Option<Problem> {
    let mode = path.metadata().ok()?.permissions().mode() & 0o7777;
    (mode & 0o077 != 0).then_some(Problem::LooseMode { mode })
}

/// A signer opens its state for writing; whether that is permitted can be asked without doing it.
fn unwritable(path: &Path) -> Option<Problem> {
    let error = io::Error::from(access(path, Access::READ_OK | Access::WRITE_OK).err()?);
    let doing = "opening it for writing";
    Some(match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => Problem::ReadOnly { doing, error },
        io::ErrorKind::PermissionDenied => Problem::PermissionDenied { doing, error },
        _ => Problem::Io { doing, error },
    })
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

#[cfg(test)]
mod tests {
    use super::shell_word;

    #[test]
    fn a_path_is_shown_as_a_shell_takes_it_back() {
        assert_eq!(shell_word("/etc/tmkms/tmkms.toml"), "/etc/tmkms/tmkms.toml");
        assert_eq!(shell_word("my kms/tmkms.toml"), "'my kms/tmkms.toml'");
        assert_eq!(shell_word("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(shell_word(""), "''");
    }
}
