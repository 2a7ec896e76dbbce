//! The records of what was signed, where `nitro persist` keeps them. Looked at without a lock: persist is not disturbed.
use super::Case;
use super::chains;
use super::clock::now_ms;
use super::finding::{Finding, Say};
use crate::commands::nitro::asking::plain;
use crate::commands::nitro::status::duration;
use crate::config::{Chain, Config};
use crate::filesystem;
use crate::state::{failure_on, look_at, meaning, shell_word};
use base64ct::{Base64, Encoding};
use guard::{ChainId, Identity};
use host::persist::Places;
use rustix::fs::{FsWord, statfs};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use store::file::slot::{Held, Owner};
use store::{Problem, StateError};
use wire::control::{ChainStatus, Status};

/// Where the guide and the units have them.
pub(super) const USUAL_PLACE: &str = "/var/lib/tmkms/states";
/// The layers of a container (linux/magic.h, OVERLAYFS_SUPER_MAGIC).
const OVERLAY: FsWord = 0x794c_7630;
/// A chain that signs writes every few seconds.
const OLD_MS: i64 = 5 * 60 * 1000;

/// A file, and what stands in it as far as it can be read.
struct Seen {
    path: PathBuf,
    held: Option<Held>,
    problem: Option<Problem>,
}

pub(super) fn examine(case: &Case, config: Option<&Config>, status: Option<&Status>, say: Say<'_>) {
    let usual = [PathBuf::from(USUAL_PLACE)];
    let is_named = !case.states.is_empty();
    let places = if is_named { &case.states[..] } else { &usual[..] };
    let (there, missing): (Vec<PathBuf>, Vec<PathBuf>) = places.iter().cloned().partition(|place| place.exists());
    for place in &missing {
        let found = format!("{}: expected a file or a folder of states, got nothing that can be seen", place.display());
        say(if is_named {
            Finding::error(
                "folder",
                found,
                "name the -s of `tmkms nitro persist`, and run this as the user that runs it",
            )
        } else {
            Finding::skipped("folder", format!("there is no {USUAL_PLACE}"), "name the -s of `tmkms nitro persist`")
        });
    }
    if there.is_empty() {
        return;
    }
    folders(&there, say);
    let seen = look(&there, say);
    let Some(config) = config else {
        say(Finding::skipped("record", "without a configuration it is not known whose they should be", ""));
        return;
    };
    for chain in &config.chains {
        let served = status.and_then(|status| status.chains.iter().find(|served| served.id == chain.id.as_str()));
        of_chain(&seen, &there, chain, served, say);
    }
    for Seen { path, held, .. } in &seen {
        if let Some(held) = held
            && !config.chains.iter().any(|chain| chain.id == held.owner.chain_id)
        {
            let found = format!("{}: of {}, which is not in the configuration", path.display(), held.owner);
            say(Finding::note(
                "record",
                found,
                "leave it if another enclave needs it; a state is never thrown away while its key lives",
            ));
        }
    }
}

fn folders(places: &[PathBuf], say: Say<'_>) {
    let warnings = filesystem::warnings_of(places);
    let is_well = warnings.is_empty();
    warnings.into_iter().for_each(|warning| say(Finding::warning("folder", warning.message, warning.help)));
    for place in places {
        if statfs(place).is_ok_and(|found| found.f_type == OVERLAY) {
            let found =
                format!("{} is on an overlay, the layer of a container: it ends with the container", place.display());
            say(Finding::warning("folder", found, "keep states on a volume of their own, on a local disk"));
        } else if is_well {
            let mode = place.metadata().map(|found| found.permissions().mode() & 0o7777).unwrap_or_default();
            say(Finding::ok(
                "folder",
                format!("{}: mode {mode:04o}, on no file system that is known to lose records", place.display()),
            ));
        }
    }
}

/// Every state file; what is surely something else's is left out, as persist does.
fn look(places: &[PathBuf], say: Say<'_>) -> Vec<Seen> {
    let mut all = Vec::new();
    for path in Places::new(places.to_vec()).files() {
        let is_named_so = path.to_string_lossy().ends_with("_priv_validator_state.json");
        match look_at(&path, None) {
            Ok((_, Some(Problem::Foreign { .. }))) if !is_named_so && !places.contains(&path) => {}
            Ok((seen, problem)) => {
                let best =
                    seen.held().or_else(|| seen.slots.iter().flatten().max_by_key(|held| held.record.position()));
                all.push(Seen { held: best.cloned(), path, problem });
            }
            Err(error) => all.push(Seen { path, held: None, problem: Some(error.problem) }),
        }
    }
    // Whose they are is not known: persist opens nothing as long as they are there.
    for Seen { path, problem, .. } in all.iter_mut().filter(|seen| seen.held.is_none()) {
        let problem = problem.take().unwrap_or(Problem::Empty);
        let found = StateError { path: path.clone(), problem }.to_string();
        say(Finding::error(
            "record",
            found,
            "as long as it is there `nitro persist` opens nothing, for it may be any key's: do what it says, or move it away \
             only if you know that it is none of yours",
        ));
    }
    all
}

/// The key that should stand in the file: the one that the enclave holds, or the one that the configuration expects.
fn key_of(chain: &Chain, served: Option<&ChainStatus>) -> Option<String> {
    let served = served.and_then(|served| Base64::decode_vec(&served.public_key).ok());
    let expected = || chain.key.kms()?.public_key.map(|key| key.as_bytes().to_vec());
    let public_key = served.or_else(expected)?;
    Some(Owner::of(&Identity { chain_id: chain.id.clone(), public_key: public_key.into() }).pub_key)
}

fn of_chain(seen: &[Seen], places: &[PathBuf], chain: &Chain, served: Option<&ChainStatus>, say: Say<'_>) {
    let id = &chain.id;
    let key = key_of(chain, served);
    let of_chain = |file: &&Seen| file.held.as_ref().is_some_and(|held| held.owner.chain_id == *id);
    let all: Vec<&Seen> = seen.iter().filter(of_chain).collect();
    let is_mine = |file: &&&Seen| {
        let owner = file.held.as_ref().map(|held| held.owner.pub_key.as_str());
        owner.is_some_and(|owner| owner.is_empty() || key.as_deref().is_none_or(|key| key == owner))
    };
    let mine: Vec<&Seen> = all.iter().filter(is_mine).copied().collect();
    let names =
        |files: &[&Seen]| files.iter().map(|file| file.path.display().to_string()).collect::<Vec<_>>().join(", ");
    match (mine.as_slice(), all.as_slice()) {
        ([], []) => {
            let found = format!("{id}: expected its state, got no file of this chain");
            say(Finding::error("record", found, missing(id, key.as_deref(), places)));
        }
        ([], others) => {
            let found = format!(
                "{id}: expected the state of key {}, got that of another key: {}",
                key.unwrap_or_default(),
                names(others)
            );
            let help = "if this key's own file was moved, put it back; else see which key the configuration names: `tmkms config check`";
            say(Finding::error("record", found, help));
        }
        ([one], _) => record(one, id, served, say),
        (several, _) => {
            let found = format!("{id}: expected one file, got {}: {}", several.len(), names(several));
            let help = "only one can hold what was signed last, and persist opens neither: find out which (`tmkms state show \
                        --file`), and move the others away";
            say(Finding::error("record", found, help));
        }
    }
}

fn missing(id: &ChainId, key: Option<&str>, places: &[PathBuf]) -> String {
    let place = places.first().map(|place| shell_word(&place.display().to_string())).unwrap_or_default();
    let key = key.map(|key| format!(" --public-key {key}")).unwrap_or_default();
    format!(
        "if it was moved, put it back; if there is none, make one, H at or above every height that the key can have signed (with \
         --new-validator in its place only if it has never signed anywhere):\n  tmkms state init --file {place} --chain-id {}{key} --height H",
        shell_word(id.as_str())
    )
}

fn record(file: &Seen, id: &ChainId, served: Option<&ChainStatus>, say: Say<'_>) {
    let Some(held) = &file.held else { return };
    let path = &file.path;
    if let Some(problem) = &file.problem {
        let on = format!("--file {} --chain-id {}", shell_word(&path.display().to_string()), shell_word(id.as_str()));
        let found = format!("state file {}: {problem}", path.display());
        let help = help_for(problem, path, id, &on);
        say(Finding::error("record", format!("{id}: {found}"), help));
        return;
    }
    let age = age_ms(path);
    let written =
        age.map(|age| format!(", written {} ago", duration(Duration::from_millis(age.unsigned_abs()).as_secs_f64())));
    let whose = if held.owner.is_unbound() { ", bound to no key yet" } else { "" };
    let found = format!("{id}: {}, in {}{whose}{}", meaning(&held.record), path.display(), written.unwrap_or_default());
    let Some(served) = served else {
        say(Finding::ok("record", found));
        return;
    };
    let known = served.position.as_deref().and_then(chains::position);
    if let Some(signed) = known.filter(|signed| *signed > held.record.position()) {
        let found = format!("{found}: expected {signed}, which the enclave has recorded, or later");
        let help = "an older copy was put there, or persist keeps another file (-s): leave the enclave running, it alone knows what it signed; \
                    docs/operations-nitro.md, chapter 14, \"damaged, put back, exchanged\"";
        say(Finding::error("record", found, help));
    } else if served.state == "signing" && age.is_some_and(|age| age > OLD_MS) {
        let found = format!("{found}; but the enclave says: {}", plain(&served.detail));
        say(Finding::note(
            "record",
            found,
            "see whether this is the folder of persist's -s, and whether its port is the chain's state_vsock_port",
        ));
    } else {
        say(Finding::ok("record", found));
    }
}

/// The commands that mend it, as they have to be typed. Those of a problem that has none stand in its own text.
fn help_for(problem: &Problem, path: &Path, id: &ChainId, on: &str) -> String {
    let kind = |problem: Problem| failure_on(id, on, &StateError { path: path.to_owned(), problem });
    let mended = match problem {
        Problem::LooseMode { .. } => {
            return format!("check who changed it, then:\n  chmod 600 {}", shell_word(&path.display().to_string()));
        }
        Problem::WrongSize { bytes, survivor } => kind(Problem::WrongSize { bytes: *bytes, survivor: *survivor }),
        Problem::OneSlotDamaged { slot, bad, survivor } => {
            kind(Problem::OneSlotDamaged { slot: *slot, bad: *bad, survivor: *survivor })
        }
        Problem::Contradiction { held } => kind(Problem::Contradiction { held: held.clone() }),
        _ => return "docs/operations-nitro.md, chapter 14, has the whole table".to_owned(),
    };
    let command = mended.problems.into_iter().map(|problem| problem.help).collect::<Vec<_>>().join("\n");
    format!(
        "leave the enclave running, stop persist, then with H at or above the last height that this key can have signed:\n  {command}"
    )
}

/// Since when nothing was written.
fn age_ms(path: &Path) -> Option<i64> {
    let found = path.metadata().ok()?;
    let written = found.mtime().checked_mul(1000)?.checked_add(found.mtime_nsec() / 1_000_000)?;
    Some(now_ms().saturating_sub(written).max(0))
}

#[cfg(test)]
#[path = "states/tests.rs"]
mod tests;
