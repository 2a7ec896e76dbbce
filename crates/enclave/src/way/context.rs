//! What a ciphertext was made for stands in its encryption context, which KMS holds it to: so it is used for that and nothing else.
//!
//! A ceremony binds each key to `chain`, `purpose` and `public_key`. The parent may name another context, and KMS then decrypts nothing; if it
//! names the right one, everything that is in it is checked here. Contexts of other makers may mean something else by these names, except
//! where `purpose` names the other role.
use crate::plan::{Plan, Role};
use crate::policy::public_key;
use crate::trouble::{failure, of_chain};
use wire::control::{Failure, Phase};

/// Refuses keys that were made for another use, and pins the public keys that contexts name.
pub(super) fn bind(plan: &mut Plan) -> Result<(), Failure> {
    for (chain, role, key) in plan.kms_keys_mut() {
        let refuse = |name: &str, expected: &str, got: &str| {
            let reason = format!(
                "encryption_context of the {} of {chain}: {name}: expected {expected}, got {got}: that ciphertext was made for something else",
                role.name()
            );
            let remedy = "take the lines of tmkms.toml that the ceremony wrote for this key, unchanged";
            Err(of_chain(chain, failure(Phase::Checking, "config", reason, remedy)))
        };
        let context = &key.encryption_context;
        let purpose = context.get("purpose").map(String::as_str);
        if let Some(other) = purpose.and_then(Role::named).filter(|named| *named != role) {
            return refuse("purpose", role.of_context(), other.of_context());
        }
        let Some(bound) = context.get("public_key") else { continue };
        if let Some(other) = context.get("chain").filter(|bound| *bound != chain.as_str()) {
            return refuse("chain", chain.as_str(), other);
        }
        let Some(public) = public_key(bound, key.algorithm) else {
            return refuse("public_key", &format!("a key of {}", key.algorithm.name()), bound);
        };
        match key.public_key {
            Some(pinned) if pinned != public => return refuse("public_key", &pinned.base64(), bound),
            _ => key.public_key = Some(public),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{ChainPlan, KmsKey};
    use guard::ChainId;
    use signer::SignExtensions;
    use signer::keys::{Algorithm, PublicKey};
    use std::sync::Arc;
    use std::time::Duration;
    use zeroize::Zeroizing;

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn bound(pairs: &[(&str, &str)], pinned: Option<PublicKey>) -> Result<Option<PublicKey>, String> {
        let key = KmsKey {
            ciphertext: Arc::new(Zeroizing::new(vec![1])),
            region: "eu-west-1".to_owned(),
            algorithm: Algorithm::Ed25519,
            key_arn: None,
            encryption_context: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            public_key: pinned,
            credentials: None,
        };
        let chain = ChainPlan {
            id: ChainId::try_from("a-1").unwrap(),
            key,
            state_port: 1,
            validators: Vec::new(),
            max_height: None,
            extensions: SignExtensions::default(),
        };
        let mut plan = Plan {
            chains: vec![chain],
            kms_proxy_port: 1,
            allow_debug: false,
            log_level: None,
            unhealthy_after: Duration::ZERO,
        };
        bind(&mut plan).map(|()| plan.chains[0].key.public_key).map_err(|failure| failure.reason)
    }

    #[test]
    fn a_key_of_a_ceremony_is_used_for_what_it_was_made_and_its_public_key_is_pinned() {
        let of = PublicKey::Ed25519([1; 32]);
        let made = [("chain", "a-1"), ("purpose", "consensus"), ("public_key", KEY)];
        assert_eq!(bound(&made, None), Ok(Some(of)));
        assert_eq!(bound(&made, Some(of)), Ok(Some(of)));
        let text = bound(&made, Some(PublicKey::Ed25519([2; 32]))).unwrap_err();
        assert!(text.contains("public_key: expected AgIC") && text.contains(KEY), "{text}");
        let text = bound(&[("chain", "b-1"), ("public_key", KEY)], None).unwrap_err();
        assert!(text.contains("chain: expected a-1, got b-1"), "{text}");
        let text = bound(&[("purpose", "identity")], None).unwrap_err();
        assert!(text.contains("purpose: expected consensus, got identity"), "{text}");
        let text = bound(&[("public_key", "AAAA")], None).unwrap_err();
        assert!(text.contains("expected a key of ed25519, got AAAA"), "{text}");
    }

    #[test]
    fn contexts_of_others_mean_what_they_mean() {
        for pairs in [&[][..], &[("chain", "of islands")], &[("purpose", "validator")], &[("purpose", "consensus")]] {
            assert_eq!(bound(pairs, None), Ok(None), "{pairs:?}");
        }
    }
}
