//! Checking: a pushed configuration against itself, the debug rule and the measured policy.
use super::{Enclave, Pushed};
use crate::kms::Region;
use crate::plan::Plan;
use crate::policy::choices;
use crate::trouble::{failure, of_chain};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use wire::control::{Choice, Failure, Phase, Push};

/// A configuration that may be applied.
pub(crate) struct Checked {
    pub(crate) pushed: Pushed,
    pub(crate) plan: Plan,
    pub(crate) choices: Vec<Choice>,
}

/// What a push is about.
pub(crate) enum Pushing {
    /// The configuration that is applied already: its credentials are the news.
    Same(Pushed),
    /// Another one.
    Other(Box<Checked>),
}

impl Enclave {
    /// Takes a push apart and checks all of it. The text is zeroized with it.
    pub(crate) fn check(&self, push: Push) -> Result<Pushing, Failure> {
        let Push { token, config, credentials } = push;
        if !self.token.admits(&token) {
            return Err(wrong_token(self.token.is_pinned()));
        }
        let config_sha256 = super::self_check::hex(&Sha256::digest(config.as_bytes()));
        let credentials = credentials.map(Arc::new);
        let pushed = Pushed { token: Arc::new(token), config_sha256, credentials };
        if self.config_sha256.as_ref() == Some(&pushed.config_sha256) {
            return Ok(Pushing::Same(pushed));
        }
        let mut plan = self.parse(&config)?;
        drop(config);
        self.check_plan(&plan)?;
        self.check_debug(&plan)?;
        self.check_policy(&mut plan)?;
        super::context::bind(&mut plan)?;
        let choices = choices(self.policy.as_ref(), &plan);
        Ok(Pushing::Other(Box::new(Checked { pushed, plan, choices })))
    }

    /// A parser that panics is a bug, but no reason to end what is served.
    fn parse(&self, config: &str) -> Result<Plan, Failure> {
        let parsed = catch_unwind(AssertUnwindSafe(|| (self.parse)(config)))
            .unwrap_or_else(|_| Err(vec!["the parser panicked on it: a bug".to_owned()]));
        parsed.map_err(|faults| {
            let remedy = "correct the configuration (`tmkms config check` shows the same) and push it again";
            failure(Phase::Checking, "config", faults.join("\n"), remedy)
        })
    }

    fn check_plan(&self, plan: &Plan) -> Result<(), Failure> {
        let wrong = |chain: &guard::ChainId, reason: String, remedy: &str| {
            Err(of_chain(chain, failure(Phase::Checking, "config", reason, remedy)))
        };
        if plan.chains.is_empty() {
            let reason = "the configuration has no chain with a key: nothing would be signed";
            return Err(failure(Phase::Checking, "config", reason, "add a [[chain]] and its [[providers.softsign]]"));
        }
        let mut seen = HashSet::new();
        for chain in &plan.chains {
            if !seen.insert(&chain.id) {
                return wrong(
                    &chain.id,
                    format!("the chain {} is configured twice", chain.id),
                    "remove one of the two",
                );
            }
            if let Some(node) =
                chain.validators.iter().find(|node| node.endpoint.is_secret() && node.identity.is_none())
            {
                let reason = format!("no identity key for {}", node.endpoint);
                return wrong(&chain.id, reason, "name one as secret_key, or as identity_key_b64");
            }
            if let Err(error) = Region::find(&chain.key.region) {
                return wrong(&chain.id, format!("aws_region: {error}"), "correct aws_region and push again");
            }
        }
        Ok(())
    }

    /// A debug-mode enclave's console can be read, and its measurements say nothing.
    fn check_debug(&self, plan: &Plan) -> Result<(), Failure> {
        if !self.debug {
            return Ok(());
        }
        let reason = "this enclave runs in debug mode: its measurements are zeros and its console can be read";
        if self.policy.as_ref().is_some_and(|policy| policy.debug == Some(false)) {
            let reason = format!("{reason}; the image's measured policy has [debug] allowed = false");
            return Err(failure(Phase::Checking, "debug", reason, "start it without --debug-mode"));
        }
        if !plan.allow_debug {
            let remedy = "start it without --debug-mode, or, for a test key only, set allow_debug = true in [nitro]";
            return Err(failure(Phase::Checking, "debug", reason, remedy));
        }
        Ok(())
    }

    fn check_policy(&self, plan: &mut Plan) -> Result<(), Failure> {
        let Some(policy) = &self.policy else { return Ok(()) };
        policy.bind(plan).map_err(|violations| {
            let reasons: Vec<_> = violations.iter().map(ToString::to_string).collect();
            let remedy = "correct the configuration, or build an image with another policy (its PCR0 will differ)";
            let chain = violations.first().and_then(|violation| violation.chain.as_ref()).map(ToString::to_string);
            Failure { chain, ..failure(Phase::Checking, "policy", reasons.join("\n"), remedy) }
        })
    }
}

pub(crate) fn wrong_token(is_pinned: bool) -> Failure {
    let (reason, remedy) = if is_pinned {
        (
            "the control token is not the one of the image's measured policy",
            "push with the --token-file whose token has the SHA-256 of [control] token_sha256",
        )
    } else {
        (
            "the control token is not the one that this enclave was first configured with",
            "push from where it was configured first (the token file is kept there), or restart the enclave",
        )
    };
    failure(Phase::Checking, "token", reason, remedy)
}
