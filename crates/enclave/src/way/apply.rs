//! Applying: what a recovered configuration changes is begun, and what it ends is ended, at once.
use super::{Checked, Enclave, Fixed, Recovered, Released};
use crate::board::{Applied, ShownChain};
use crate::plan::{ChainPlan, IdentitySource};
use crate::records::Opened;
use crate::trouble::{failure, of_chain};
use guard::{Height, Identity, Position, Record};
use signer::keys::{ConsensusKey, IdentityKey};
use signer::{ConnectionSettings, Service, Timing, Validator, ValidatorSettings};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::control::{Failure, Phase, Serving};

/// How long votes in progress may take to be answered where sessions end. A node itself waits 5 s.
const FINISH_LIMIT: Duration = Duration::from_secs(5);

/// A chain whose sessions run, or are held until all can begin.
pub(crate) struct ServedChain {
    pub(crate) plan: ChainPlan,
    pub(crate) validator: Arc<Validator>,
    services: Vec<Service>,
}

/// What is made while the old is still served.
#[derive(Default)]
struct Next {
    begun: Vec<ServedChain>,
    serving: Serving,
}

impl Enclave {
    /// Begins what is new, held; then ends what goes, and lets the new go on. Only the first part can fail, and
    /// then everything is as it was.
    pub(crate) fn apply(&mut self, recovered: Recovered) -> Result<Serving, Failure> {
        let Recovered { released, mut stores } = recovered;
        let Released { checked, mut keys, identities } = released;
        let Checked { pushed, plan, choices } = checked;
        let mut next = Next::default();
        for chain in &plan.chains {
            let begun = match self.served(&chain.id) {
                Some(served) if served.plan == *chain => {
                    next.serving.unchanged.push(chain.id.to_string());
                    continue;
                }
                Some(_) => &mut next.serving.changed,
                None => &mut next.serving.added,
            };
            begun.push(chain.id.to_string());
            match self.hold(chain, keys.remove(&chain.id), &identities, &mut stores) {
                Ok(served) => next.begun.push(served),
                Err(failure) => {
                    self.give_up(next.begun);
                    // Nobody serves what was recovered for it.
                    self.let_go();
                    return Err(failure);
                }
            }
        }
        // From here on nothing fails.
        next.serving.removed = self.end_changed(&plan.chains, &next.begun);
        self.begin(next.begun, &plan.chains);
        self.let_go();
        self.keep_identities(identities);
        self.token.rule(&pushed.token);
        next.serving.credentials_refreshed = pushed.credentials.is_some();
        self.keep_credentials(pushed.credentials);
        self.config_sha256 = Some(pushed.config_sha256.clone());
        if let Some(level) = plan.log_level.filter(|_| !self.verbose) {
            log::set_max_level(level);
        }
        let shown = |chain: &ServedChain| ShownChain {
            validator: Arc::clone(&chain.validator),
            state_port: chain.plan.state_port,
        };
        self.board.applied(Applied {
            config_sha256: Some(pushed.config_sha256),
            choices,
            chains: self.chains.iter().map(shown).collect(),
            unhealthy_after: Some(plan.unhealthy_after),
        });
        Ok(next.serving)
    }

    /// Whoever pushed the same configuration again brings new credentials, if anything.
    pub(crate) fn refresh(&mut self, pushed: super::Pushed) -> Serving {
        let unchanged = self.chains.iter().map(|chain| chain.plan.id.to_string()).collect();
        let credentials_refreshed = pushed.credentials.is_some();
        self.keep_credentials(pushed.credentials);
        self.board.confirmed();
        Serving { unchanged, credentials_refreshed, ..Serving::default() }
    }

    fn keep_credentials(&mut self, credentials: Option<Arc<wire::control::Credentials>>) {
        if let Some(credentials) = credentials {
            self.board.credentials(&credentials);
            self.credentials = Some(credentials);
        }
    }

    /// One chain with its threads, which wait.
    fn hold(
        &mut self,
        chain: &ChainPlan,
        key: Option<ConsensusKey>,
        identities: &[(IdentitySource, Arc<IdentityKey>)],
        stores: &mut HashMap<Identity, Opened>,
    ) -> Result<ServedChain, Failure> {
        let validator = match key {
            Some(key) => self.validator(chain, key, stores)?,
            None => {
                self.served(&chain.id).map(|served| served.validator.with_extensions(chain.extensions)).ok_or_else(
                    || of_chain(&chain.id, failure(Phase::Serving, "internal", "a chain without a key: a bug", "")),
                )?
            }
        };
        let mut served = ServedChain { plan: chain.without_credentials(), validator, services: Vec::new() };
        for (timing, connections) in connections(chain, &served.validator, identities) {
            match Service::hold(Some(&self.parent), connections, timing) {
                Ok(service) => served.services.push(service),
                Err(error) => {
                    self.give_up(vec![served]);
                    let remedy = "give the enclave more memory, or fewer chains";
                    return Err(of_chain(&chain.id, failure(Phase::Serving, "threads", error.to_string(), remedy)));
                }
            }
        }
        Ok(served)
    }

    fn validator(
        &mut self,
        chain: &ChainPlan,
        key: ConsensusKey,
        stores: &mut HashMap<Identity, Opened>,
    ) -> Result<Arc<Validator>, Failure> {
        let settings = ValidatorSettings {
            chain_id: chain.id.clone(),
            key,
            max_height: chain.max_height,
            sign_extensions: chain.extensions,
        };
        let let_go = &mut self.let_go;
        let opened = Validator::new(settings, &mut self.keyring, &self.board.metrics, |identity| {
            let opened = stores.remove(identity).ok_or("its record was not recovered: a bug")?;
            let_go.insert(identity.clone(), opened.let_go);
            Ok::<_, &str>(opened.store)
        });
        let fail = |reason: String| of_chain(&chain.id, failure(Phase::Serving, "internal", reason, "undo the change"));
        let validator = opened.map_err(|error| fail(error.to_string()))?;
        let identity = identity_of(chain, &validator);
        self.guards.insert(identity, Fixed { max_height: chain.max_height, state_port: chain.state_port });
        // Its record was just read. Where it cannot be read again, the first vote will say so, and wait for it.
        match validator.recover() {
            Ok(record) => {
                let signed = record.as_ref().map_or_else(String::new, meaning);
                log::info!(chain = chain.id.as_str(), validator = validator.address(); "signing state recovered: {signed}");
            }
            Err(denied) => log::warn!(chain = chain.id.as_str(), validator = validator.address(); "{denied}"),
        }
        Ok(validator)
    }

    /// Threads that never began are ended, and what they counted is not shown.
    fn give_up(&self, begun: Vec<ServedChain>) {
        for chain in begun {
            chain.services.iter().for_each(|service| service.stop_handle().stop());
            match self.served(&chain.plan.id) {
                Some(old) if old.validator.address() == chain.validator.address() => self.show_connections(old),
                _ => self.board.metrics.retire(&chain.plan.id, chain.validator.address()),
            }
        }
    }

    fn show_connections(&self, chain: &ServedChain) {
        let addresses: Vec<_> = chain.plan.validators.iter().map(|node| node.endpoint.to_string()).collect();
        self.board.metrics.validator(&chain.plan.id, chain.validator.address()).keep_connections(&addresses);
    }

    /// Ends the sessions of chains that go or change, all at the same time, and drops their keys.
    fn end_changed(&mut self, plan: &[ChainPlan], begun: &[ServedChain]) -> Vec<String> {
        let chains = std::mem::take(&mut self.chains).into_iter();
        let (stay, go): (Vec<_>, Vec<_>) = chains.partition(|served| plan.contains(&served.plan));
        self.chains = stay;
        let begins_again = |old: &ServedChain| {
            begun.iter().any(|new| new.plan.id == old.plan.id && new.validator.address() == old.validator.address())
        };
        for old in go.iter().filter(|old| !begins_again(old)) {
            self.board.metrics.retire(&old.plan.id, old.validator.address());
        }
        let is_gone = |old: &&ServedChain| plan.iter().all(|chain| chain.id != old.plan.id);
        let removed = go.iter().filter(is_gone).map(|old| old.plan.id.to_string()).collect();
        finish(go);
        removed
    }

    fn begin(&mut self, begun: Vec<ServedChain>, plan: &[ChainPlan]) {
        for chain in begun {
            chain.services.iter().for_each(Service::release);
            self.show_connections(&chain);
            self.chains.push(chain);
        }
        // In the configuration's order, whatever came first.
        self.chains.sort_by_key(|served| plan.iter().position(|chain| chain.id == served.plan.id));
    }

    /// The records of keys that no chain has any more are others' to open: a right key after a wrong one, or another
    /// enclave that the chain moved to. The guards stay, and open them again when their chains return.
    fn let_go(&self) {
        let served: Vec<_> = self.chains.iter().map(|served| identity_of(&served.plan, &served.validator)).collect();
        for (_, let_go) in self.let_go.iter().filter(|(identity, _)| !served.contains(identity)) {
            let_go();
        }
    }

    fn keep_identities(&mut self, identities: Vec<(IdentitySource, Arc<IdentityKey>)>) {
        for (_, key) in &identities {
            if !self.identity_keys.contains(key.public_key()) {
                self.identity_keys.push(*key.public_key());
            }
        }
        self.identities = identities;
    }

    /// The end: votes in progress are answered, then the keys go.
    pub(crate) fn end(mut self) {
        finish(std::mem::take(&mut self.chains));
    }
}

fn identity_of(chain: &ChainPlan, validator: &Validator) -> Identity {
    Identity { chain_id: chain.id.clone(), public_key: validator.public_key().as_bytes().into() }
}

/// What a record says, in words.
fn meaning(record: &Record) -> String {
    let position = record.position();
    match record.statement() {
        Some(_) => format!("last signed {position}"),
        None if position == Position::end_of(Height::ZERO) => "the key has never signed".to_owned(),
        None => format!("nothing at or below {position} will be signed"),
    }
}

fn finish(chains: Vec<ServedChain>) {
    let services: Vec<_> = chains.into_iter().flat_map(|chain| chain.services).collect();
    services.iter().for_each(|service| service.stop_handle().stop());
    let until = Instant::now() + FINISH_LIMIT;
    for service in services {
        if !service.finish(until.saturating_duration_since(Instant::now())) {
            log::warn!("a session did not end within {} s", FINISH_LIMIT.as_secs());
        }
    }
}

/// A chain's connections, by the times that they share.
fn connections(
    chain: &ChainPlan,
    validator: &Arc<Validator>,
    identities: &[(IdentitySource, Arc<IdentityKey>)],
) -> Vec<(Timing, Vec<ConnectionSettings>)> {
    let mut grouped: Vec<(Timing, Vec<ConnectionSettings>)> = Vec::new();
    for node in &chain.validators {
        let timing = Timing::of_node(node.timeout, node.silence);
        let identity = identities.iter().find(|(source, _)| Some(source) == node.identity.as_ref());
        let settings = ConnectionSettings {
            validator: Arc::clone(validator),
            endpoint: node.endpoint.clone(),
            identity: identity.map(|(_, key)| Arc::clone(key)),
            reconnect: node.reconnect,
        };
        match grouped.iter_mut().find(|(known, _)| *known == timing) {
            Some((_, group)) => group.push(settings),
            None => grouped.push((timing, vec![settings])),
        }
    }
    grouped
}
