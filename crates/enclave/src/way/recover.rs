//! Recovering: the signing record of each key that has none in this life is opened and read on the parent.
use super::{Enclave, Fixed, Released};
use crate::desk::Pusher;
use crate::plan::ChainPlan;
use crate::records::{Opened, ProvenBy};
use crate::trouble::{ending, failure, of_chain};
use guard::{ChainId, Identity, Record, Store, StoreError};
use signer::keys::PublicKey;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use wire::control::{Failure, Phase};

/// How long trouble of a record that may pass is waited for: a persist that is just being started.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

/// A configuration of which everything is here: it can be applied at once.
pub(crate) struct Recovered {
    pub(crate) released: Released,
    /// The records of keys that this life has no guard for.
    pub(crate) stores: HashMap<Identity, Opened>,
}

impl Enclave {
    /// Opens and reads the records. Guards are made only when everything is here, so that nothing of a push that fails is
    /// left in this life.
    pub(crate) fn recover(&mut self, released: Released, pusher: &Pusher) -> Result<Recovered, Failure> {
        let plan = &released.checked.plan;
        let new: Vec<_> = plan
            .chains
            .iter()
            .filter(|chain| self.served(&chain.id).is_none_or(|served| served.plan != **chain))
            .collect();
        let mut stores = HashMap::new();
        for (index, chain) in new.iter().enumerate() {
            if self.desk.is_ending() {
                return Err(ending(Phase::Recovering));
            }
            let Some(identity) = self.identity(chain, &released) else { continue };
            if let Some(fixed) = self.guards.get(&identity) {
                unchanged(chain, *fixed)?;
                continue;
            }
            let detail = format!("record {} of {}, chain {}", index + 1, new.len(), chain.id);
            pusher.progress(Phase::Recovering, detail);
            self.make_room(chain, &identity);
            let token =
                ProvenBy { pushed: Arc::clone(&released.checked.pushed.token), ruling: Arc::clone(&self.token) };
            let mut opened = self.records.of(identity.clone(), chain.state_port, token);
            let record = read(&mut *opened.store).map_err(|error| unreadable(chain, &error))?;
            own_chain(&record, &chain.id)?;
            stores.insert(identity, opened);
        }
        Ok(Recovered { released, stores })
    }

    /// A key that is replaced may hold a file that is nobody's yet, and that is meant for its successor. If it votes before
    /// this push is applied, its guard opens the record again, and whoever comes first has it.
    fn make_room(&self, chain: &ChainPlan, identity: &Identity) {
        let replaced = self.let_go.iter().filter(|(known, _)| known.chain_id == chain.id && *known != identity);
        replaced.for_each(|(_, let_go)| let_go());
    }

    fn identity(&self, chain: &ChainPlan, released: &Released) -> Option<Identity> {
        let public: &PublicKey = match released.keys.get(&chain.id) {
            Some(key) => key.public_key(),
            None => self.served(&chain.id)?.validator.public_key(),
        };
        Some(Identity { chain_id: chain.id.clone(), public_key: public.as_bytes().into() })
    }
}

/// A guard lives as long as the process, with what it was made of.
fn unchanged(chain: &ChainPlan, fixed: Fixed) -> Result<(), Failure> {
    let asked = Fixed { max_height: chain.max_height, state_port: chain.state_port };
    if fixed == asked {
        return Ok(());
    }
    let number = |height: Option<guard::Height>| height.map_or_else(|| "none".to_owned(), |height| height.to_string());
    let reason = if fixed.max_height == asked.max_height {
        format!("state_vsock_port: expected {}, got {}", fixed.state_port, asked.state_port)
    } else {
        format!("max_height: expected {}, got {}", number(fixed.max_height), number(asked.max_height))
    };
    let reason = format!("chain {}: {reason}: this needs a restart of the enclave", chain.id);
    let remedy = "the signing record of a key keeps its settings while the enclave lives: undo the change, or restart the enclave";
    Err(of_chain(&chain.id, failure(Phase::Recovering, "restart", reason, remedy)))
}

fn read(store: &mut dyn Store) -> Result<Record, StoreError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match store.recover() {
            Err(error) if error.trouble.may_pass() && Instant::now() < until => thread::sleep(PAUSE),
            other => return other,
        }
    }
}

fn unreadable(chain: &ChainPlan, error: &StoreError) -> Failure {
    let reason = format!("chain {}: the state on the parent's port {}: {error}", chain.id, chain.state_port);
    of_chain(&chain.id, failure(Phase::Recovering, "state", reason, ""))
}

/// The guard would refuse it at the first vote; this says it before anything is applied.
fn own_chain(record: &Record, chain: &ChainId) -> Result<(), Failure> {
    match record.statement().map(guard::Statement::chain_id) {
        Some(found) if found != chain.as_str() => {
            let reason = format!("chain {chain}: the state is of another chain: expected {chain}, got {found:?}");
            Err(of_chain(chain, failure(Phase::Recovering, "state", reason, "check state_vsock_port and persist's -s")))
        }
        _ => Ok(()),
    }
}
