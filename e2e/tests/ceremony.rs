//! A key that nobody has seen: made in a ceremony enclave, released to the signer's image alone, signing a real chain, proven to anyone.
use anyhow::{Context, Result, ensure};
use e2e::enclave::{CEREMONY_ROLE, Ceremony, Enclave, EnclaveChain, Plaintext, broken_ceremony, said};
use e2e::{Chain, ChainSpec, EnclaveRig, Line, Sandbox, Transport};
use sim::kms::Fault;
use std::fs;

const CHAIN: &str = "ceremony-chain";
const ROLE: &str = "arn:aws:iam::111122223333:role/validator";

/// What the ceremony's role needs of IAM, as `nitro policy --explain` says it.
const RANDOM: &str =
    r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:GenerateRandom", "Resource": "*"}]}"#;

fn root() -> String {
    format!("nsm/{}", sim::nsm::ROOT_CERTIFICATE_FILE)
}

/// An enclave's arrangement without chains, and a ceremony whose KMS key allows it to work.
fn with_ceremony(name: &str, body: impl FnOnce(&Sandbox, Enclave, Ceremony) -> Result<()>) -> Result<()> {
    Sandbox::run(name, |sandbox| {
        let enclave = Enclave::prepare(sandbox, "tmkms", Vec::new())?;
        let ceremony = enclave.start_ceremony("")?;
        let role = ["--ceremony-measurements", "ceremony.json", "--ceremony-role", CEREMONY_ROLE];
        enclave.put_policy_of(&ceremony.arn, &role)?;
        enclave.put_policy_of(&ceremony.second, &role)?;
        enclave.kms().set_iam(CEREMONY_ROLE, RANDOM)?;
        body(sandbox, enclave, ceremony)
    })
}

/// `nitro keygen` into a folder, checked at once.
fn keygen(enclave: &Enclave, ceremony: &Ceremony, folder: &str, more: &[&str]) -> Result<String> {
    let options =
        ["--chain-id", CHAIN, "--key", &ceremony.arn, "--out", folder, "--measurements", "ceremony.json", "--root"];
    let (root, kms) = (root(), enclave.kms_name()?);
    let output = enclave.keygen_in(ceremony, &[&options[..], &[root.as_str(), "--kms", &kms], more].concat())?;
    ensure!(output.status.success(), "keygen failed: {}", said(&output));
    Ok(said(&output))
}

/// Why a ceremony of these options makes nothing.
fn refused(enclave: &Enclave, ceremony: &Ceremony, options: &[&str]) -> Result<String> {
    let output = enclave.keygen_in(ceremony, options)?;
    let text = said(&output);
    ensure!(!output.status.success(), "{options:?} made a key: {text}");
    ensure!(!enclave.folder().join("refused").exists(), "{options:?} left a folder: {text}");
    let parts = fs::read_dir(enclave.folder())?.filter_map(Result::ok).map(|entry| entry.file_name());
    let parts: Vec<_> = parts.filter(|name| name.to_string_lossy().contains(".parts-")).collect();
    ensure!(parts.is_empty(), "{options:?} left {parts:?}");
    Ok(text)
}

#[test]
fn a_key_from_a_ceremony_signs_a_chain_and_the_evidence_of_both_proves_it() -> Result<()> {
    with_ceremony("ceremony", |sandbox, enclave, ceremony| {
        let made = keygen(&enclave, &ceremony, "made", &["--nonce", "two people watched"])?;
        ensure!(made.contains("checked: the document is genuine"), "{made}");
        let verify = |enclave: &Enclave, more: &[&str]| {
            let (root, kms) = (root(), enclave.kms_name()?);
            // Lines are wrapped for people.
            let shown = enclave.command(&[&["nitro", "verify"], more, &["--root", &root, "--kms", &kms]].concat())?;
            Ok::<_, anyhow::Error>(shown.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        let of_ceremony = ["made/attestation.json", "--measurements", "ceremony.json", "--nonce", "two people watched"];
        let shown = verify(&enclave, &[&of_ceremony[..], &["--ciphertext", "made/ciphertext.b64"]].concat())?;
        ensure!(shown.contains("was generated inside it"), "{shown}");

        // The parent exchanges the ciphertext, or the public key, after the ceremony: whoever verifies notices.
        keygen(&enclave, &ceremony, "other", &[])?;
        let swapped = verify(&enclave, &[&of_ceremony[..], &["--ciphertext", "other/ciphertext.b64"]].concat());
        ensure!(format!("{swapped:?}").contains("NOT PROVEN: the ciphertext's SHA-256"), "{swapped:?}");
        let text = fs::read_to_string(enclave.folder().join("made/attestation.json"))?;
        let (_, public) = enclave.sealed_by_ceremony("made")?;
        let (_, other) = enclave.sealed_by_ceremony("other")?;
        let key = |public: &str| public.split_once(':').map(|(_, key)| key.to_owned()).context("no key");
        fs::write(enclave.folder().join("swapped.json"), text.replace(&key(&public)?, &key(&other)?))?;
        let swapped = verify(&enclave, &["swapped.json", "--measurements", "ceremony.json"]);
        ensure!(format!("{swapped:?}").contains("does not bind this statement"), "{swapped:?}");

        drop(ceremony);
        let mut rig = serve(sandbox, enclave, "made", "ed25519")?;
        let height = rig.grow(10)?;
        let signed = rig.chain.signed_heights(2, height - 1)?.len();
        ensure!(signed > 5, "only {signed} of {height} commits bear the signature");

        // A delegator asks: which key, in which image, made where?
        let id = rig.enclave.cid();
        rig.enclave.command(&["nitro", "attest", "-i", &id, "--nonce", "a delegator's nonce", "--out", "now.json"])?;
        let evidence = ["now.json", "--measurements", "signer.json", "--nonce", "a delegator's nonce", "--pub-key"];
        let beside = ["--ceremony", "made/attestation.json", "--ceremony-measurements", "ceremony.json"];
        let shown = verify(&rig.enclave, &[&evidence[..], &[&key(&public)?], &beside].concat())?;
        ensure!(
            shown.contains("It held the consensus key of ceremony-chain") && shown.contains("was generated inside it"),
            "{shown}"
        );
        e2e::say(&format!("height {height}, {signed} commits signed with a key that nobody has seen"));
        rig.expect_clean()
    })
}

/// The ceremony is over; the signer's image names its key, the KMS key's policy that image alone, and a chain of that validator begins.
fn serve(sandbox: &Sandbox, mut enclave: Enclave, folder: &str, key_type: &'static str) -> Result<EnclaveRig> {
    let (sealed, public) = enclave.sealed_by_ceremony(folder)?;
    let spec = ChainSpec::new(Line::V038, Transport::Unix);
    let spec = ChainSpec { public_key: Some(public), id: CHAIN.to_owned(), key_type, ..spec };
    let chain = Chain::prepare(sandbox, "chain", spec)?;
    let arn = sealed.arn.clone();
    let entry = EnclaveChain::new(CHAIN, chain.signer_addr());
    let lines = fs::read_to_string(enclave.folder().join(folder).join("tmkms-lines.toml"))?;
    enclave.add_chain(EnclaveChain { key: Plaintext::Nobodys(sealed, lines), ..entry })?;
    enclave.write_config()?;
    enclave.policy = fs::read_to_string(enclave.folder().join(folder).join("policy-lines.toml"))?;
    enclave.start_parent()?;
    enclave.start_enclave()?;
    enclave.measure(&enclave.status()?, "signer.json")?;
    enclave.put_policy_of(&arn, &["--measurements", "signer.json", "--role", ROLE])?;
    enclave.push()?;
    let mut rig = EnclaveRig { chain, enclave };
    rig.chain.start()?;
    Ok(rig)
}

#[test]
fn a_key_in_an_envelope_is_opened_by_the_signer_and_signs() -> Result<()> {
    with_ceremony("ceremony-envelope", |sandbox, enclave, ceremony| {
        keygen(&enclave, &ceremony, "made", &["--method", "data-key", "--algorithm", "secp256k1"])?;
        drop(ceremony);
        let mut rig = serve(sandbox, enclave, "made", "secp256k1")?;
        let height = rig.grow(8)?;
        let signed = rig.chain.signed_heights(2, height - 1)?.len();
        ensure!(signed > 3, "only {signed} of {height} commits bear the signature");
        rig.expect_clean()
    })
}

#[test]
fn both_methods_both_algorithms_and_both_purposes_make_keys_that_open() -> Result<()> {
    with_ceremony("ceremony-kinds", |_, enclave, ceremony| {
        let kinds = [
            ("kind-a", &["--method", "data-key"][..]),
            ("kind-b", &["--algorithm", "secp256k1"]),
            ("kind-c", &["--algorithm", "secp256k1", "--method", "data-key"]),
            ("kind-d", &["--purpose", "identity"]),
            ("kind-e", &["--purpose", "identity", "--method", "data-key"]),
        ];
        let mut publics = Vec::new();
        for (folder, options) in kinds {
            keygen(&enclave, &ceremony, folder, options)?;
            let (sealed, public) = enclave.sealed_by_ceremony(folder)?;
            let is_envelope = sealed.ciphertext.starts_with(b"tmkms-e1");
            ensure!(is_envelope == options.contains(&"data-key"), "{folder}: {} bytes", sealed.ciphertext.len());
            let purpose = if options.contains(&"identity") { "identity" } else { "consensus" };
            ensure!(sealed.context.get("purpose").map(String::as_str) == Some(purpose), "{:?}", sealed.context);
            publics.push(public);
        }
        publics.sort();
        publics.dedup();
        ensure!(publics.len() == kinds.len(), "a key was made twice: {publics:?}");
        Ok(())
    })
}

#[test]
fn what_cannot_be_made_is_refused_with_the_reason_and_leaves_nothing() -> Result<()> {
    with_ceremony("ceremony-refused", |_, enclave, ceremony| {
        let arn = ceremony.arn.clone();
        let other = arn.replace("111122223333", "999922223333");
        let region = arn.replace("eu-central-1", "eu-west-1");
        let table: [(&[&str], &[&str]); 8] = [
            (&["--chain-id", CHAIN, "--key", &other], &["[kms] key_arns: expected arn:aws:kms", "999922223333"]),
            (&["--chain-id", CHAIN, "--key", &region], &["[kms] key_arns"]),
            (&["--chain-id", CHAIN, "--key", "alias/validator"], &["key"]),
            (&["--chain-id", "", "--key", &arn], &["chain id"]),
            (
                &["--chain-id", CHAIN, "--key", &arn, "--algorithm", "rsa"],
                &["expected ed25519 or secp256k1, got \"rsa\""],
            ),
            (
                &["--chain-id", CHAIN, "--key", &arn, "--algorithm", "secp256k1", "--purpose", "identity"],
                &["expected ed25519 for an identity"],
            ),
            (&["--chain-id", CHAIN, "--key", &arn, "--nonce", "short"], &["--nonce: expected 8 to 256 bytes, got 5"]),
            (&["--chain-id", CHAIN, "--key", &arn, "--kms-proxy-port", "801"], &["no route to KMS", "801"]),
        ];
        for (options, words) in table {
            let text = refused(&enclave, &ceremony, &[options, &["--out", "refused"]].concat())?;
            for word in words {
                ensure!(text.contains(word), "{options:?}: {word:?} is not in: {text}");
            }
        }
        fs::create_dir(enclave.folder().join("there"))?;
        let options = ["--chain-id", CHAIN, "--key", &arn, "--out", "there"];
        let text = refused(&enclave, &ceremony, &options)?;
        ensure!(text.contains("it is there already"), "{text}");

        // No permission: each says what is missing, and where it stands.
        let good = ["--chain-id", CHAIN, "--key", arn.as_str(), "--out", "refused"];
        enclave.kms().set_iam(
            CEREMONY_ROLE,
            r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "kms:*", "Resource": "*"}]}"#,
        )?;
        let text = refused(&enclave, &ceremony, &good)?;
        ensure!(text.contains("kms:GenerateRandom") && text.contains("IAM policy of the role"), "{text}");
        enclave.kms().set_iam(CEREMONY_ROLE, RANDOM)?;
        enclave.put_policy_of(&arn, &["--measurements", "ceremony.json", "--role", ROLE])?;
        let text = refused(&enclave, &ceremony, &good)?;
        ensure!(text.contains("\"Action\": \"kms:Encrypt\"") && text.contains("tmkms nitro policy"), "{text}");
        let role = ["--ceremony-measurements", "ceremony.json", "--ceremony-role", CEREMONY_ROLE];
        enclave.put_policy_of(&arn, &role)?;

        // KMS away or wrong in the middle: nothing is half written, and the next one is whole.
        for (operation, fault) in [
            ("GenerateRandom", Fault::CloseMidAnswer),
            ("Encrypt", Fault::GarbageBody),
            ("Encrypt", Fault::AnotherKey),
            ("Decrypt", Fault::CloseMidAnswer),
            ("Decrypt", Fault::AnotherKey),
        ] {
            enclave.kms().faults().next_of(operation, 1, fault.clone());
            let text = refused(&enclave, &ceremony, &good)?;
            e2e::say(&format!(
                "{operation}, {fault:?}: {}",
                text.lines().last().unwrap_or_default().chars().take(160).collect::<String>()
            ));
        }
        keygen(&enclave, &ceremony, "whole", &[]).map(drop)
    })
}

/// What the image does not allow is refused whoever orders it; and one that allows everything, or can be looked into, does not begin.
#[test]
fn the_measured_policy_and_debug_mode_decide_before_anybody_orders() -> Result<()> {
    Sandbox::run("ceremony-policy", |sandbox| {
        let enclave = Enclave::prepare(sandbox, "tmkms", Vec::new())?;
        let ceremony = enclave.start_ceremony("[chains]\nallowed = [\"other-1\"]\n")?;
        let options = ["--chain-id", CHAIN, "--key", &ceremony.arn, "--out", "refused"];
        let text = refused(&enclave, &ceremony, &options)?;
        ensure!(text.contains("[chains] allowed: expected other-1, got ceremony-chain"), "{text}");
        drop(ceremony);
        let arn = "arn:aws:kms:eu-central-1:111122223333:key/419bf6c0-cea2-4590-9b70-fe9baaee4beb";
        let named = |arn: &str, regions: &str| {
            format!("[kms]\nkey_arns = [\"{arn}\"]\naccounts = [\"111122223333\"]\nregions = [{regions}]\n")
        };
        let here = "\"eu-central-1\"";
        let token = format!("[control]\ntoken_sha256 = \"{}\"\n", "ab".repeat(32));
        let table: [(String, &[&str], &str); 6] = [
            ("# nothing is named\n".to_owned(), &[], "expected [kms] key_arns with at least one entry, got none"),
            (named(arn, ""), &[], "expected [kms] regions with at least one entry"),
            (named(arn, "\"eu-west-1\""), &[], "[kms] regions: expected eu-west-1, got eu-central-1"),
            (named(&arn.replace("key/", "key/mrk-"), here), &[], "multi-Region key"),
            (named(arn, here) + &token, &[], "token_sha256"),
            (named(arn, here), &["--debug-mode"], "debug mode"),
        ];
        // All at once: each stays readable for ten seconds.
        let folder = enclave.folder();
        std::thread::scope(|scope| {
            let run = |(index, (policy, more, words)): (usize, &(String, &[&str], &str))| -> Result<()> {
                let text = broken_ceremony(folder, &format!("broken{index}"), policy, more)?;
                ensure!(text.contains(words), "{words:?} is not in: {text}");
                Ok(())
            };
            let threads: Vec<_> = table.iter().enumerate().map(|one| scope.spawn(move || run(one))).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
        })
    })
}

#[test]
fn a_ceremony_image_signs_nothing_and_a_signers_image_makes_nothing() -> Result<()> {
    with_ceremony("ceremony-roles", |_, mut enclave, mut ceremony| {
        enclave.add_chain(EnclaveChain::new("role-chain", "unix:///nowhere"))?;
        enclave.write_config()?;
        let output = enclave.try_push_to(&ceremony.cid, &[])?;
        ensure!(!output.status.success() && said(&output).contains("this is a ceremony image"), "{}", said(&output));
        let attested = enclave.command(&["nitro", "attest", "-i", &ceremony.cid]);
        ensure!(format!("{attested:?}").contains("nothing to attest to"), "{attested:?}");
        enclave.start_enclave()?;
        ceremony.cid = enclave.cid();
        let text = refused(&enclave, &ceremony, &["--chain-id", CHAIN, "--key", &ceremony.arn, "--out", "refused"])?;
        ensure!(text.contains("this is a signer's image"), "{text}");
        // Its measurement is another one: what is allowed to the one is not to the other.
        let (one, other) =
            (fs::read(enclave.folder().join("ceremony.json"))?, enclave.status()?["pcrs"]["0"].to_string());
        ensure!(!String::from_utf8_lossy(&one).contains(&other), "both images measure alike");
        Ok(())
    })
}

/// A key of an operator who signs elsewhere until now: offered, sealed on its machine, sent, and then it signs.
#[test]
fn a_key_that_exists_is_taken_in_sealed_with_its_state_and_signs() -> Result<()> {
    with_ceremony("ceremony-import", |sandbox, enclave, ceremony| {
        enclave.command(&["softsign", "keygen", "-t", "consensus", "secrets/old.key"])?;
        let (root, kms) = (root(), enclave.kms_name()?);
        let offer = |name: &str| {
            enclave.command(&[
                "nitro",
                "import-key",
                "offer",
                "-i",
                &ceremony.cid,
                "--nonce",
                "of today, 77ab12",
                "--out",
                name,
            ])
        };
        let seal = |offer: &str, measurements: &str, out: &str, more: &[&str]| {
            let line = [
                "nitro",
                "import-key",
                "seal",
                "-f",
                "base64",
                "--offer",
                offer,
                "--measurements",
                measurements,
                "--root",
                &root,
                "--kms",
                &kms,
            ];
            let of = [
                "--nonce",
                "of today, 77ab12",
                "--chain-id",
                CHAIN,
                "--key",
                &ceremony.arn,
                "--out",
                out,
                "secrets/old.key",
            ];
            enclave.command(&[&line[..], &of, more].concat())
        };
        let send = |sealed: &str, out: &str| {
            let line = [
                "import-key",
                "send",
                "-i",
                &ceremony.cid,
                "--sealed",
                sealed,
                "--measurements",
                "ceremony.json",
                "--root",
                &root,
                "--kms",
                &kms,
            ];
            enclave.in_ceremony(&[&line[..], &["--out", out]].concat())
        };
        offer("offer.json")?;
        // Without a word about its state, and to another image, nothing is sealed.
        let refused = seal("offer.json", "ceremony.json", "nothing", &[]);
        ensure!(format!("{refused:?}").contains("without its state it could sign twice"), "{refused:?}");
        fs::write(
            enclave.folder().join("other.json"),
            format!("{{\"Measurements\": {{\"PCR0\": \"{}\"}}}}", "ab".repeat(48)),
        )?;
        let refused = seal("offer.json", "other.json", "nothing", &["--never-signed"]);
        ensure!(format!("{refused:?}").contains("NOT PROVEN: PCR0"), "{refused:?}");
        ensure!(!enclave.folder().join("nothing").exists(), "a refused seal left a folder");

        // The state of FilePV comes along.
        let filepv = "{\"height\": \"1234\", \"round\": 0, \"step\": 3}";
        fs::write(enclave.folder().join("priv_validator_state.json"), filepv)?;
        let shown = seal(
            "offer.json",
            "ceremony.json",
            "with-state",
            &["--state", "priv_validator_state.json", "--state-from", "filepv"],
        )?;
        ensure!(shown.contains("1234") && shown.contains("must never sign with it again"), "{shown}");
        let file = format!("with-state/{CHAIN}_priv_validator_state.json");
        let shown = enclave.command(&["state", "show", "--file", &file])?;
        ensure!(shown.contains("1234"), "{shown}");

        // What is sealed is bound to what it is to become, and to one offer.
        seal("offer.json", "ceremony.json", "sealed", &["--never-signed"])?;
        let text = fs::read_to_string(enclave.folder().join("sealed/sealed-key.json"))?;
        fs::write(enclave.folder().join("changed.json"), text.replace("\"consensus\"", "\"identity\""))?;
        let changed = send("changed.json", "refused")?;
        ensure!(!changed.status.success() && said(&changed).contains("does not open"), "{}", said(&changed));
        offer("offer2.json")?;
        let late = send("sealed/sealed-key.json", "refused")?;
        ensure!(!late.status.success() && said(&late).contains("does not open"), "{}", said(&late));
        ensure!(!enclave.folder().join("refused").exists(), "a refused import left a folder");

        offer("offer3.json")?;
        seal("offer3.json", "ceremony.json", "sealed3", &["--never-signed"])?;
        let sent = send("sealed3/sealed-key.json", "made")?;
        ensure!(sent.status.success() && said(&sent).contains("imported consensus key"), "{}", said(&sent));
        let again = send("sealed3/sealed-key.json", "refused")?;
        ensure!(!again.status.success() && said(&again).contains("there is no offer"), "{}", said(&again));
        // Nobody takes it for a key that was made there.
        let evidence = [
            "nitro",
            "verify",
            "made/attestation.json",
            "--measurements",
            "ceremony.json",
            "--root",
            &root,
            "--kms",
            &kms,
        ];
        let passed_off = enclave.command(&evidence);
        ensure!(format!("{passed_off:?}").contains("origin: expected generated, got imported"), "{passed_off:?}");
        enclave.command(&[&evidence[..], &["--origin", "imported"]].concat())?;
        let key = fs::read_to_string(enclave.folder().join("secrets/old.key"))?;
        for (name, log) in enclave.logs() {
            ensure!(!String::from_utf8_lossy(&log).contains(key.trim()), "the key is in {name}");
        }
        drop(ceremony);
        let mut rig = serve(sandbox, enclave, "made", "ed25519")?;
        let height = rig.grow(6)?;
        ensure!(!rig.chain.signed_heights(2, height - 1)?.is_empty(), "nothing was signed");
        rig.expect_clean()
    })
}

#[test]
fn a_key_moves_to_another_kms_key_and_method_and_signs_on() -> Result<()> {
    with_ceremony("ceremony-rewrap", |sandbox, enclave, ceremony| {
        keygen(&enclave, &ceremony, "first", &[])?;
        let (root, kms) = (root(), enclave.kms_name()?);
        let (_, public) = enclave.sealed_by_ceremony("first")?;
        let public = public.split_once(':').map(|(_, key)| key.to_owned()).context("no key")?;
        let rewrap = |from: &str, key: &str, out: &str, more: &[&str]| {
            let line =
                ["rewrap", "-i", &ceremony.cid, "--from", from, "--pub-key", &public, "--key", key, "--out", out];
            let checked = ["--measurements", "ceremony.json", "--root", &root, "--kms", &kms];
            enclave.in_ceremony(&[&line[..], &checked, more].concat())
        };
        let moved = rewrap("first", &ceremony.second, "made", &["--method", "data-key"])?;
        ensure!(moved.status.success() && said(&moved).contains("rewrapped consensus key"), "{}", said(&moved));
        let ((old, of_old), (new, of_new)) =
            (enclave.sealed_by_ceremony("first")?, enclave.sealed_by_ceremony("made")?);
        ensure!(of_old == of_new && old.arn != new.arn && new.arn == ceremony.second, "{old:?} {new:?}");

        // Not under a key that the image does not name, and not with another public key than the folder's.
        let foreign = ceremony.second.replace("111122223333", "999922223333");
        let refused = rewrap("first", &foreign, "refused", &[])?;
        ensure!(!refused.status.success() && said(&refused).contains("[kms] key_arns"), "{}", said(&refused));
        keygen(&enclave, &ceremony, "other", &[])?;
        fs::copy(enclave.folder().join("other/ciphertext.b64"), enclave.folder().join("first/ciphertext.b64"))?;
        let swapped = rewrap("first", &ceremony.second, "refused", &[])?;
        ensure!(
            !swapped.status.success() && said(&swapped).contains("SHA-256 of the ciphertext"),
            "{}",
            said(&swapped)
        );
        let swapped = rewrap("other", &ceremony.second, "refused", &[])?;
        ensure!(!swapped.status.success() && said(&swapped).contains("public key: expected"), "{}", said(&swapped));
        // Whoever changes the folder's words as well is stopped by KMS, which holds the ciphertext to its context.
        let text = fs::read_to_string(enclave.folder().join("other/attestation.json"))?;
        let (_, of_other) = enclave.sealed_by_ceremony("other")?;
        let of_other = of_other.split_once(':').map(|(_, key)| key.to_owned()).context("no key")?;
        fs::write(enclave.folder().join("other/attestation.json"), text.replace(&of_other, &public))?;
        let swapped = rewrap("other", &ceremony.second, "refused", &[])?;
        ensure!(
            !swapped.status.success() && said(&swapped).contains("KMS cannot decrypt the ciphertext"),
            "{}",
            said(&swapped)
        );
        ensure!(!enclave.folder().join("refused").exists(), "a refused rewrap left a folder");
        drop(ceremony);
        let mut rig = serve(sandbox, enclave, "made", "ed25519")?;
        let height = rig.grow(6)?;
        ensure!(!rig.chain.signed_heights(2, height - 1)?.is_empty(), "nothing was signed");
        rig.expect_clean()
    })
}
