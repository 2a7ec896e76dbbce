//! What a ceremony may do under a measured policy.
use super::Policy;
use crate::kms::KeyArn;
use crate::plan::Role;
use guard::ChainId;
use std::collections::BTreeMap;

impl Policy {
    /// Whether it fixes what a ceremony must not let the parent choose.
    ///
    /// # Errors
    /// What is missing.
    pub fn is_for_ceremony(&self) -> Result<(), String> {
        let kms = &self.kms;
        for (name, set) in [("key_arns", &kms.key_arns), ("accounts", &kms.accounts), ("regions", &kms.regions)] {
            if set.as_ref().is_none_or(std::collections::BTreeSet::is_empty) {
                return Err(format!("expected [kms] {name} with at least one entry, got none"));
            }
        }
        if self.token_sha256.is_some() {
            let why = "nobody proves a token to a ceremony, so it would protect nothing";
            return Err(format!("expected no [control] token_sha256, got one: {why}"));
        }
        // A list that contradicts itself would only be noticed at the first key.
        for arn in kms.key_arns.iter().flatten() {
            self.permits_key(arn)?;
            // A replica in another region has a policy of its own.
            if arn.contains(":key/mrk-") {
                return Err(format!("[kms] key_arns: expected a key of one region, got the multi-Region key {arn}"));
            }
        }
        Ok(())
    }

    /// Whether a KMS key is one to encrypt under.
    ///
    /// # Errors
    /// Which rule of the policy it breaks, with both values.
    pub fn permits_key(&self, arn: &str) -> Result<(), String> {
        let parsed = KeyArn::parse(arn).map_err(|error| error.to_string())?;
        let account = arn.split(':').nth(4).unwrap_or_default();
        let listed = |name: &str, set: &Option<std::collections::BTreeSet<String>>, got: &str| match set {
            Some(set) if !set.contains(got) => {
                let all: Vec<_> = set.iter().map(String::as_str).collect();
                Err(format!("[kms] {name}: expected {}, got {got}", all.join(" or ")))
            }
            _ => Ok(()),
        };
        listed("key_arns", &self.kms.key_arns, arn)?;
        listed("accounts", &self.kms.accounts, account)?;
        listed("regions", &self.kms.regions, parsed.region)?;
        match &self.kms.endpoint {
            Some(endpoint) if endpoint.region != parsed.region => {
                Err(format!("[kms.endpoint] region: expected {}, got {}", endpoint.region, parsed.region))
            }
            _ => Ok(()),
        }
    }

    /// Whether a key may be made for a chain.
    ///
    /// # Errors
    /// With both values.
    pub fn permits_chain(&self, chain: &ChainId) -> Result<(), String> {
        match &self.chains {
            Some(allowed) if !allowed.contains(chain) => {
                let all: Vec<_> = allowed.iter().map(ChainId::as_str).collect();
                Err(format!("[chains] allowed: expected {}, got {chain}", all.join(" or ")))
            }
            _ => Ok(()),
        }
    }

    /// The encryption context of a key: chain, purpose and public key, and what the policy demands besides.
    ///
    /// # Errors
    /// The policy demands another value for one of the three.
    pub fn context_for(
        &self,
        chain: &ChainId,
        role: Role,
        public_key: &str,
    ) -> Result<BTreeMap<String, String>, String> {
        let own = [("chain", chain.as_str()), ("purpose", role.of_context()), ("public_key", public_key)];
        let mut context: BTreeMap<_, _> = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        for (name, demanded) in &self.kms.encryption_context {
            let demanded = demanded.replace("{role}", role.of_context()).replace("{chain}", chain.as_str());
            match context.get(name) {
                Some(own) if *own != demanded => {
                    return Err(format!("[kms] encryption_context: {name}: expected {own:?}, got {demanded:?}"));
                }
                _ => drop(context.insert(name.clone(), demanded)),
            }
        }
        Ok(context)
    }

    /// The consensus key that it pins for a chain, in base64.
    #[must_use]
    pub fn public_key_of(&self, chain: &ChainId) -> Option<&String> {
        self.public_keys.get(chain)
    }

    /// Of its text, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}
