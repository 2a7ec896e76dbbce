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
        ("[kms]\nkey_arns = [\"alias/x\"]", "describe-key"),
        ("[kms]\nencryption_context = { a = \"{chain\" }", "{chain}"),
        ("[kms]\nencryption_context = { a = \"{Chain}\" }", "{role}"),
        ("[control]\ntoken_sha256 = \"ab\"", "64 hexadecimal"),
        ("[control]\ntoken = \"ab\"", "token_sha256"),
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
    assert!(!format!("{:?}", policy("")).contains("Some("), "an empty policy fixes nothing");
}

#[test]
fn only_a_name_that_is_not_there_is_no_policy() {
    let folder = std::env::temp_dir().join(format!("tmkms-policy-name-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("policy.toml");
    assert_eq!(Policy::load(&path, false).unwrap(), None);
    assert!(Policy::load(&path, true).is_err());
    // A link that leads nowhere, one that leads to itself, a folder.
    for target in ["/nowhere/policy.toml", "policy.toml"] {
        std::os::unix::fs::symlink(target, &path).unwrap();
        let error = Policy::load(&path, false).unwrap_err().to_string();
        assert!(error.contains("policy.toml"), "{target}: {error}");
        std::fs::remove_file(&path).unwrap();
    }
    std::fs::create_dir(&path).unwrap();
    assert!(Policy::load(&path, false).is_err());
    std::fs::remove_dir(&path).unwrap();
    // One that leads to a policy is read.
    std::fs::write(folder.join("other.toml"), "[debug]\nallowed = false").unwrap();
    std::os::unix::fs::symlink("other.toml", &path).unwrap();
    assert_eq!(Policy::load(&path, false).unwrap(), Some(policy("[debug]\nallowed = false")));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_contradicts_the_policy_is_refused_with_both_values() {
    let (one_arn, two_arns) =
        (format!("[kms]\nkey_arns = [\"{ARN}\"]"), format!("[kms]\nkey_arns = [\"{ARN}\", \"{ARN}2\"]"));
    for (policy_text, config, expected, got) in [
        ("[chains]\nallowed = [\"b-1\", \"c-1\"]", "a-1 1 5555 5000", "b-1 or c-1", "a-1"),
        ("[chains]\nallowed = []", "a-1 1 5555 5000", "nothing", "a-1"),
        ("[kms]\nregions = [\"us-east-1\"]", "a-1 1 5555 5000", "us-east-1", "eu-west-1"),
        (&two_arns, "a-1 1 5555 5000", &format!("{ARN} or {ARN}2"), "none"),
        (&one_arn, "a-1 1 5555 5000 arn=z", ARN, "z"),
        ("[kms]\naccounts = [\"444455556666\"]", &format!("a-1 1 5555 5000 arn={ARN}"), "444455556666", ARN),
        ("[kms]\naccounts = [\"444455556666\"]", "a-1 1 5555 5000", "444455556666", "none"),
        (&one_arn, &format!("a-1 1 5555 5000 arn={ARN}\nb-1 2 5555 5001 arn=y"), ARN, "y"),
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
    for what in ["policy", "KMS key of a-1", "chains", "debug"] {
        assert_eq!(by(&world, what), Some(ChosenBy::Image), "{what}");
    }
    // persist and its files are the parent's, whatever a policy says.
    for what in ["public key of a-1", "state", "nodes of a-1", "control token", "encryption context of a-1"] {
        assert_eq!(by(&world, what), Some(ChosenBy::Parent), "{what}");
    }
}

#[test]
fn a_key_is_the_images_only_where_the_parent_can_name_no_other() {
    let text = format!("[kms]\nkey_arns = [\"{ARN}\", \"{ARN}2\"]\nencryption_context = {{ for = \"{{chain}}\" }}");
    let world = World::with(crate::world::Module::default(), Some(&text));
    world.push(&format!("a-1 1 5555 5000 secret=8 arn={ARN}")).failure();
    let text = "[kms]\naccounts = [\"111122223333\"]\nencryption_context = { for = \"{chain}\" }";
    let world = World::with(crate::world::Module::default(), Some(text));
    world.push(&format!("a-1 1 5555 5000 arn={ARN}")).serving();
    let choices = world.status().choices;
    let of = |what: &str| choices.iter().find(|choice| choice.what == what).unwrap();
    let key = of("KMS key of a-1");
    assert_eq!(key.by, ChosenBy::Parent);
    assert!(key.value.contains(ARN) && key.value.contains("account 111122223333"), "{}", key.value);
    let context = of("encryption context of a-1");
    assert_eq!((context.value.as_str(), context.by), ("for = \"a-1\"", ChosenBy::Image));
}

#[test]
fn a_policys_context_binds_ciphertexts_to_their_chain_and_role() {
    let policy = policy("[kms]\nencryption_context = { use = \"{role} of {chain}\", app = \"tmkms\" }");
    let mut plan = parse("a-1 1 5555 5000 secret=8\nb-1 2 5555 5001").unwrap();
    policy.bind(&mut plan).unwrap();
    let of = |key: &enclave::plan::KmsKey| key.encryption_context["use"].clone();
    let Some(enclave::plan::IdentitySource::Kms(identity)) = &plan.chains[0].validators[0].identity else { panic!() };
    assert_eq!(
        [of(&plan.chains[0].key), of(identity), of(&plan.chains[1].key)],
        ["consensus of a-1", "identity of a-1", "consensus of b-1"]
    );
    plan.chains[0].key.encryption_context.insert("use".to_owned(), "consensus of b-1".to_owned());
    let violations = policy.bind(&mut plan).unwrap_err();
    assert!(violations[0].to_string().contains("consensus of a-1"), "{}", violations[0]);
}

#[test]
fn a_pinned_token_is_the_only_one_that_configures_the_enclave() {
    // hashlib.sha256(bytes([1])*32).hexdigest()
    let digest = "72cd6e8422c407fb6d098690f1130b7ded7ec2f7f5e1d30bd9d521f015363793";
    let text = format!("[control]\ntoken_sha256 = \"{digest}\"");
    let world = World::with(crate::world::Module::default(), Some(&text));
    let failure = world.push_with("a-1 1 5555 5000", 2).failure();
    assert_eq!(failure.code, "token");
    assert!(failure.reason.contains("measured policy") && failure.remedy.contains("token_sha256"), "{failure:?}");
    let logs = wire::control::Request::Logs { from: 0, follow: false };
    let answers = format!("{:?}", world.ask(&logs, Some(&crate::world::token(2))));
    assert!(answers.contains("\"token\""), "a refused push reads no log: {answers}");
    world.push_with("a-1 1 5555 5000", 1).serving();
}

#[test]
fn a_consensus_key_that_the_policy_names_is_no_identity() {
    // 08…08 is what the played KMS releases as number 8.
    let secret = signer::keys::IdentityKey::from_secret(&[8; 32]).ok().unwrap();
    let text = format!("[chains]\npublic_keys = {{ \"z-1\" = \"{}\" }}", secret.public_key().base64());
    let world = World::with(crate::world::Module::default(), Some(&text));
    let failure = world.push("a-1 1 5555 5000 secret=8").failure();
    assert_eq!(failure.code, "key");
    assert!(failure.reason.contains("z-1"), "{failure}");
    world.push("a-1 1 5555 5000 secret=9").serving();
}
