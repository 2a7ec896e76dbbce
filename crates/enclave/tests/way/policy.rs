//! The measured policy: what it takes, what it refuses, and what the status says of it.
use crate::world::{World, parse};
use enclave::policy::Policy;
use std::path::Path;
use wire::control::ChosenBy;

const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/1";

fn policy(text: &str) -> Policy {
    Policy::parse(text, Path::new("")).unwrap()
}

#[test]
fn a_policy_with_a_mistake_is_refused_by_its_name() {
    for (text, named) in [
        ("[kms", "not TOML"),
        ("[kmss]", "kmss"),
        ("kms = 1", "kms"),
        ("[kms]\nkey_arn = []", "key_arn"),
        ("[kms]\nkey_arns = \"x\"", "key_arns"),
        ("[kms]\nregions = [1]", "regions"),
        ("[kms]\nencryption_context = { a = 1 }", "encryption_context"),
        ("[kms.endpoint]\nhost = \"localhost\"", "region"),
        ("[kms.endpoint]\nhost = \"https://x\"\nregion = \"eu-west-1\"", "host"),
        ("[kms.endpoint]\nhost = \"x\"\nregion = \"eu-west-1\"\nroot = \"/nowhere/root.pem\"", "/nowhere/root.pem"),
        ("[kms.endpoint]\nhost = \"x\"\nregion = \"eu-west-1\"\nroot_pem = \"no\"", "root_pem"),
        ("[chains]\nallowed = [\"a b\"]", "character"),
        ("[chains]\npublic_keys = { \"a-1\" = \"AAAA\" }", "32 or 33"),
        ("[state]\nbackends = [\"dynamodb\"]", "dynamodb"),
        ("[state]\nbackends = []", "backends"),
        ("[debug]\nallowed = 1", "allowed"),
        ("[debug]\nallow = true", "allow"),
    ] {
        let error = Policy::parse(text, Path::new("")).unwrap_err();
        assert!(error.contains(named), "{text}: {error}");
    }
    assert_eq!(policy(""), Policy::default());
}

#[test]
fn what_contradicts_the_policy_is_refused_with_both_values() {
    for (policy_text, config, expected, got) in [
        ("[chains]\nallowed = [\"b-1\", \"c-1\"]", "a-1 1 5555 5000", "b-1 or c-1", "a-1"),
        ("[chains]\nallowed = []", "a-1 1 5555 5000", "nothing", "a-1"),
        ("[kms]\nregions = [\"us-east-1\"]", "a-1 1 5555 5000", "us-east-1", "eu-west-1"),
        ("[kms]\nkey_arns = [\"x\", \"y\"]", "a-1 1 5555 5000", "x or y", "none"),
        ("[kms]\nkey_arns = [\"x\"]", "a-1 1 5555 5000 arn=z", "x", "z"),
        ("[kms]\naccounts = [\"444455556666\"]", &format!("a-1 1 5555 5000 arn={ARN}"), "444455556666", ARN),
        ("[kms]\naccounts = [\"444455556666\"]", "a-1 1 5555 5000", "444455556666", "none"),
        ("[kms]\nkey_arns = [\"x\"]", "a-1 1 5555 5000 arn=x\nb-1 2 5555 5001 arn=y", "x", "y"),
    ] {
        let mut plan = parse(config).unwrap();
        let violations = policy(policy_text).bind(&mut plan).unwrap_err();
        let text: String = violations.iter().map(ToString::to_string).collect();
        assert!(text.contains(expected) && text.contains(got), "{policy_text}: {text}");
    }
}

#[test]
fn what_the_policy_fixes_and_the_configuration_leaves_open_is_taken_from_it() {
    let key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let text = format!(
        "[kms]\nkey_arns = [\"{ARN}\"]\naccounts = [\"111122223333\"]\nencryption_context = {{ purpose = \"x\" }}\n\
         [chains]\npublic_keys = {{ \"a-1\" = \"{key}\" }}"
    );
    let mut plan = parse("a-1 1 5555 5000 secret=8").unwrap();
    policy(&text).bind(&mut plan).unwrap();
    let bound = &plan.chains[0].key;
    assert_eq!(bound.key_arn.as_deref(), Some(ARN));
    assert_eq!(bound.encryption_context.get("purpose").map(String::as_str), Some("x"));
    assert_eq!(bound.public_key.map(|key| key.base64()).as_deref(), Some(key));
    let Some(enclave::plan::IdentitySource::Kms(identity)) = &plan.chains[0].validators[0].identity else { panic!() };
    assert_eq!((identity.key_arn.as_deref(), identity.public_key), (Some(ARN), None));
}

#[test]
fn the_status_says_for_each_thing_who_chose_it() {
    let by = |world: &World, what: &str| {
        let choices = world.status().choices;
        choices.iter().find(|choice| choice.what == what).map(|choice| choice.by)
    };
    let world = World::new();
    world.push("a-1 1 5555 5000").serving();
    for what in ["KMS key of a-1", "public key of a-1", "region", "chains", "state", "debug"] {
        assert_eq!(by(&world, what), Some(ChosenBy::Parent), "{what}");
    }
    assert_eq!(by(&world, "endpoint"), Some(ChosenBy::Image));

    let text = format!(
        "[kms]\nkey_arns = [\"{ARN}\"]\n[chains]\nallowed = [\"a-1\"]\n[state]\nbackends = [\"persist\"]\n[debug]\nallowed = false"
    );
    let world = World::with(crate::world::Module::default(), Some(&text));
    assert!(world.status().has_policy);
    let failure = world.push("b-1 1 5555 5000").failure();
    assert_eq!((failure.code.as_str(), failure.chain.as_deref()), ("policy", Some("b-1")));
    world.push("a-1 1 5555 5000").serving();
    for what in ["KMS key of a-1", "chains", "state", "debug"] {
        assert_eq!(by(&world, what), Some(ChosenBy::Image), "{what}");
    }
    assert_eq!(by(&world, "public key of a-1"), Some(ChosenBy::Parent));
}
