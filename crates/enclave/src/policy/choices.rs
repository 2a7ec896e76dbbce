//! Who chose what, for the status: whatever the parent chose, it can substitute.
use super::Policy;
use crate::plan::{ChainPlan, IdentitySource, KmsKey, Plan};
use signer::keys::PublicKey;
use std::collections::BTreeSet;
use wire::control::{Choice, ChosenBy};

/// The longest value that is shown, in characters; the configuration may have longer ones.
const MAX_VALUE_CHARS: usize = 512;

fn choice(what: impl Into<String>, value: &str, is_images: bool) -> Choice {
    let by = if is_images { ChosenBy::Image } else { ChosenBy::Parent };
    let mut value: String = value.chars().take(MAX_VALUE_CHARS + 1).collect();
    if value.chars().count() > MAX_VALUE_CHARS {
        value.pop();
        value.push('…');
    }
    Choice { what: what.into(), value, by }
}

/// Every choice of a plan that was bound to that policy.
pub(crate) fn choices(policy: Option<&Policy>, plan: &Plan) -> Vec<Choice> {
    let policy_is = if policy.is_some() { "in the image" } else { "none in the image: the parent chooses" };
    let has_policy = policy.is_some();
    let open = Policy::default();
    let policy = policy.unwrap_or(&open);
    let token = policy.token_sha256.map_or("that of the first push", |_| "the one with the policy's SHA-256");
    let regions: BTreeSet<_> = plan.chains.iter().map(|chain| chain.key.region.as_str()).collect();
    let region_is_fixed = is_one(policy.kms.regions.as_ref()) || policy.kms.endpoint.is_some();
    // The hosts of AWS's regions are compiled in.
    let endpoint = policy.kms.endpoint.as_ref().map_or("KMS of the region", |endpoint| &endpoint.host);
    let mut choices = vec![
        choice("policy", policy_is, has_policy),
        choice("control token", token, policy.token_sha256.is_some()),
        choice("chains", &list(plan.chains.iter().map(|chain| chain.id.as_str())), policy.chains.is_some()),
        choice("state", "the parent's persist", false),
        choice("debug", &plan.allow_debug.to_string(), policy.debug.is_some()),
        choice("region", &list(regions), region_is_fixed),
        choice("endpoint", endpoint, true),
    ];
    plan.chains.iter().for_each(|chain| of_chain(policy, chain, &mut choices));
    choices
}

fn of_chain(policy: &Policy, chain: &ChainPlan, choices: &mut Vec<Choice>) {
    let (id, key) = (&chain.id, &chain.key);
    choices.push(kms_key(policy, format!("KMS key of {id}"), key));
    choices.push(context(policy, format!("encryption context of {id}"), key));
    let public = key.public_key.as_ref().map_or_else(|| "any".to_owned(), PublicKey::base64);
    choices.push(choice(format!("public key of {id}"), &public, policy.public_keys.contains_key(id)));
    let nodes = chain.validators.iter().map(|node| node.endpoint.to_string());
    choices.push(choice(format!("nodes of {id}"), &list(nodes), false));
    let mut shown = Vec::new();
    for identity in chain.validators.iter().filter_map(|node| node.identity.as_ref()) {
        if shown.contains(&identity) {
            continue;
        }
        shown.push(identity);
        match identity {
            // What is in it is measured; that it is this one and no other is not.
            IdentitySource::File(path) => {
                choices.push(choice(format!("identity of {id}"), &format!("the image's {}", path.display()), false));
            }
            IdentitySource::Kms(key) => {
                choices.push(kms_key(policy, format!("KMS key of the identity of {id}"), key));
                choices.push(context(policy, format!("encryption context of the identity of {id}"), key));
            }
        }
    }
}

/// The image's only if there is no other that the parent could name.
fn kms_key(policy: &Policy, what: String, key: &KmsKey) -> Choice {
    let kms = &policy.kms;
    let among = match (&kms.key_arns, &kms.accounts) {
        (Some(arns), _) if arns.len() > 1 => format!(" (one of the {} that the image allows)", arns.len()),
        (None, Some(accounts)) => format!(" (account {} by the image)", list(accounts)),
        _ => String::new(),
    };
    let value = key.key_arn.as_deref().unwrap_or("any").to_owned() + &among;
    choice(what, &value, is_one(kms.key_arns.as_ref()))
}

/// The image's if all of it is.
fn context(policy: &Policy, what: String, key: &KmsKey) -> Choice {
    let pairs = &key.encryption_context;
    let value = if pairs.is_empty() {
        "none".to_owned()
    } else {
        list(pairs.iter().map(|(name, value)| format!("{name} = {value:?}")))
    };
    let is_images = !pairs.is_empty() && pairs.keys().all(|name| policy.kms.encryption_context.contains_key(name));
    choice(what, &value, is_images)
}

fn is_one(set: Option<&BTreeSet<String>>) -> bool {
    set.is_some_and(|set| set.len() == 1)
}

fn list<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<_> = values.into_iter().map(|value| value.as_ref().to_owned()).collect();
    values.join(", ")
}
