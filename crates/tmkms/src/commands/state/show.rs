//! `tmkms state show`: what the state files hold, also while a signer runs.
use super::place::{self, Place};
use crate::cli::ConfigOption;
use crate::commands::select;
use crate::failure::{Exit, Failure};
use clap::Args;
use guard::{ChainId, Record};
use host::persist::Places;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use store::file::slot::Owner;
use store::file::{Inspection, inspect};
use store::{Problem, StateError};

/// A look, and what would keep the state from opening.
type Looked = (Inspection, Option<Problem>);

const EXAMPLES: &str = "\
Takes no lock and changes nothing. --file shows a file that no configuration of this host names: what `tmkms nitro persist` \
keeps for an enclave; of a folder, every state file in it. Exits with 4 if a state is missing or would not open, and shows what can still be read.

Examples:
  tmkms state show
  tmkms state show -c tmkms.toml --chain-id cosmoshub-4 --json
  tmkms state show --file /var/lib/tmkms/state.json
  tmkms state show --file /var/lib/tmkms/states --json";

/// Show the last position that was signed for each chain
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Show {
    #[command(flatten)]
    config: ConfigOption,
    /// Show this chain alone
    #[arg(long, value_name = "ID")]
    chain_id: Option<String>,
    /// Show this file, or every state file in this folder, and need no configuration
    #[arg(long, value_name = "PATH", conflicts_with = "chain_id")]
    file: Option<PathBuf>,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut failures = Vec::new();
        let mut shown = Vec::new();
        if let Some(path) = place::only(self.file.as_deref(), &self.config)? {
            for file in files_of(path)? {
                let (value, problem) = look(&file, None, crate::state::look_at(&file, None));
                shown.push(value);
                let chain_id = value_chain_id(shown.last());
                failures.extend(problem.map(|error| place::failure_at(&file, chain_id.as_ref(), &error)));
            }
            return self.write(&shown, failures, out);
        }
        let with = if self.json { " --json" } else { "" };
        let config = place::load(&self.config, "show", with, self.chain_id.as_deref())?;
        for chain in select(&config, self.chain_id.as_deref())? {
            // Without its key a state can be shown, only not held against its owner.
            let owner = Place::of_chain(chain, self.config.path()).ok().map(|place| place.owner);
            let seen = crate::state::look(chain, owner.as_ref());
            let (value, problem) = look(chain.state_path(), Some(chain.id.as_str()), seen);
            shown.push(value);
            failures.extend(problem.map(|error| crate::state::failure(chain, self.config.path(), &error)));
        }
        self.write(&shown, failures, out)
    }

    fn write(&self, shown: &[Value], failures: Vec<Failure>, out: &mut dyn Write) -> Result<(), Failure> {
        if self.json {
            writeln!(out, "{:#}", Value::from(shown))?;
        } else {
            shown.iter().try_for_each(|state| write_state(state, out))?;
        }
        Failure::all(failures).map_or(Ok(()), Err)
    }
}

/// The chain that stands in what is shown.
fn value_chain_id(shown: Option<&Value>) -> Option<ChainId> {
    ChainId::try_from(shown?["chain_id"].as_str()?).ok()
}

/// The file, or a folder's: all that are a state file of ours, or are named like one.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let is_other = |file: &PathBuf| {
        let is_named = file.to_string_lossy().ends_with("_priv_validator_state.json");
        let problem = inspect(file).ok().and_then(|seen| seen.problem);
        !is_named && matches!(problem, Some(Problem::Foreign { .. }))
    };
    let files: Vec<_> = Places::new(vec![path.to_owned()]).files().into_iter().filter(|file| !is_other(file)).collect();
    if files.is_empty() {
        let word = crate::state::shell_word(&path.display().to_string());
        let help =
            format!("`tmkms state init --file {word} --chain-id ID` makes one, with --height H or --new-validator");
        return Err(Failure::new(Exit::State, format!("there is no state file in {}", path.display()), help));
    }
    Ok(files)
}

/// What a file holds, as far as it can be read. Without a configuration the chain and the key are those that stand there.
fn look(path: &Path, chain_id: Option<&str>, seen: Result<Looked, StateError>) -> (Value, Option<StateError>) {
    let mut value = json!({ "chain_id": chain_id, "state_file": path.display().to_string() });
    let (seen, problem) = match seen {
        Ok(seen) => seen,
        Err(error) => {
            value["problem"] = error.problem.name().into();
            return (value, Some(error));
        }
    };
    let best = seen.held().or_else(|| seen.slots.iter().flatten().max_by_key(|held| held.record.position()));
    if let Some(held) = best {
        value["sequence"] = held.record.sequence().into();
        value["epoch"] = held.epoch.into();
        value["public_key"] = Some(held.owner.pub_key.as_str()).filter(|key| !key.is_empty()).into();
        if chain_id.is_none() || held.owner.is_unbound() {
            value["key"] = key_of(&held.owner).into();
        }
        if chain_id.is_none() {
            value["chain_id"] = held.owner.chain_id.as_str().into();
        }
        add_record(&mut value, &held.record);
    }
    let error = problem.map(|problem: Problem| {
        value["problem"] = problem.name().into();
        StateError { path: path.to_owned(), problem }
    });
    (value, error)
}

fn key_of(owner: &Owner) -> String {
    if owner.is_unbound() {
        return "not bound to a key yet: the key that signs first".to_owned();
    }
    owner.pub_key.clone()
}

fn add_record(value: &mut Value, record: &Record) {
    let position = record.position();
    value["height"] = position.height.get().into();
    value["round"] = position.round.get().into();
    value["step"] = position.step.name().into();
    value["signed"] = record.statement().map(|statement| statement.content().to_string()).into();
    value["meaning"] = crate::state::meaning(record).into();
}

/// The sequence counts every change of the record, the epoch every opening by a signer or a command.
fn history(sequence: &Value, epoch: &Value) -> String {
    let times = |count: &Value| match count.as_u64() {
        Some(1) => "once".to_owned(),
        _ => format!("{count} times"),
    };
    match (sequence.as_u64(), epoch.as_u64()) {
        (Some(0), Some(0)) => "new, not opened yet".to_owned(),
        (_, Some(0)) => format!("changed {}, not opened yet", times(sequence)),
        (Some(0), _) => format!("opened {}, not changed yet", times(epoch)),
        _ => format!("changed {}, opened {}", times(sequence), times(epoch)),
    }
}

fn write_state(state: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let text = |name: &str| state[name].as_str().unwrap_or_default().to_owned();
    writeln!(out, "chain {}", state["chain_id"].as_str().unwrap_or("unknown"))?;
    writeln!(out, "  file    {}", text("state_file"))?;
    if state["key"].is_string() {
        writeln!(out, "  key     {}", text("key"))?;
    }
    if state["meaning"].is_string() {
        writeln!(out, "  record  {}", text("meaning"))?;
    }
    if state["signed"].is_string() {
        writeln!(out, "  signed  {}", text("signed"))?;
    }
    if state["sequence"].is_u64() {
        writeln!(out, "  history {}", history(&state["sequence"], &state["epoch"]))?;
    }
    if state["problem"].is_string() {
        writeln!(out, "  problem {}", text("problem"))?;
    }
    Ok(())
}
