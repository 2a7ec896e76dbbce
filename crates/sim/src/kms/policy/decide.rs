//! The decision: an explicit Deny anywhere wins; the key's policy must allow, by itself or by handing over to IAM.
use super::{Context, Effect, Policy, Statement, Who, fits};
use crate::kms::principals::Principal;

/// What is asked.
pub struct Ask<'a> {
    /// For instance `kms:Decrypt`.
    pub action: &'a str,
    /// The key's ARN, or `*` for what uses no key.
    pub resource: &'a str,
    pub principal: &'a Principal,
    /// Condition keys of the request, without the principal's.
    pub context: &'a Context,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Allowed,
    /// A Deny of the key's policy.
    DeniedByKey,
    /// A Deny of IAM.
    DeniedByIdentity,
    /// The key's policy has no Allow that fits.
    NotAllowedByKey,
    /// It hands over to IAM (or the operation uses no key), and IAM has no Allow that fits.
    NotAllowedByIdentity,
}

/// Decides. `key` is the key's policy, none for an operation without a key; `identity` is what IAM says of the caller.
pub fn decide(ask: &Ask, key: Option<&Policy>, identity: &[Policy]) -> Verdict {
    let mut context = ask.context.clone();
    context.set("aws:PrincipalArn", ask.principal.policy_arn());
    context.set("aws:PrincipalAccount", ask.principal.account());
    context.set("kms:CallerAccount", ask.principal.account());
    context.set("aws:SecureTransport", "true");
    let matching = |policy: &Policy, effect: Effect| -> Vec<Statement> {
        let fits = |statement: &&Statement| statement.effect == effect && statement.fits(ask, &context);
        policy.statements.iter().filter(fits).cloned().collect()
    };
    let names = |statement: &Statement, how: fn(&Who, &Principal) -> bool| {
        statement.principals.iter().any(|who| how(who, ask.principal))
    };
    if key.is_some_and(|key| matching(key, Effect::Deny).iter().any(|statement| names(statement, covers))) {
        return Verdict::DeniedByKey;
    }
    if identity.iter().any(|policy| !matching(policy, Effect::Deny).is_empty()) {
        return Verdict::DeniedByIdentity;
    }
    let by_identity = identity.iter().any(|policy| !matching(policy, Effect::Allow).is_empty());
    let Some(key) = key else {
        return if by_identity || is_root(ask.principal) { Verdict::Allowed } else { Verdict::NotAllowedByIdentity };
    };
    let allows = matching(key, Effect::Allow);
    let direct = allows.iter().any(|statement| names(statement, is_named));
    let handed_over = allows.iter().any(|statement| names(statement, covers));
    // Across accounts, both sides have to allow it.
    let stranger = ask.resource.split(':').nth(4).is_some_and(|owner| owner != ask.principal.account());
    match (direct, handed_over) {
        (true, _) if !stranger || by_identity => Verdict::Allowed,
        (_, true) if by_identity || (is_root(ask.principal) && !stranger) => Verdict::Allowed,
        (false, false) => Verdict::NotAllowedByKey,
        _ => Verdict::NotAllowedByIdentity,
    }
}

impl Statement {
    fn fits(&self, ask: &Ask, context: &Context) -> bool {
        let action = ask.action.to_ascii_lowercase();
        self.actions.iter().any(|pattern| fits(&pattern.to_ascii_lowercase(), &action))
            && self.resources.iter().any(|pattern| fits(pattern, ask.resource))
            && self.conditions.iter().all(|condition| condition.holds(context))
    }
}

/// The account's root user, who needs no IAM policy.
fn is_root(principal: &Principal) -> bool {
    principal.arn.ends_with(":root")
}

/// Named as itself (or as anyone).
fn is_named(who: &Who, principal: &Principal) -> bool {
    match who {
        Who::Everyone => true,
        Who::Arn(arn) => *arn == principal.arn || *arn == principal.policy_arn(),
        Who::Account(_) | Who::Service => false,
    }
}

/// Named as itself, or by the account.
fn covers(who: &Who, principal: &Principal) -> bool {
    is_named(who, principal) || matches!(who, Who::Account(account) if account == principal.account())
}
