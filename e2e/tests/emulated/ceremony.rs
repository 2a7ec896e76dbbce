//! The whole story with images: ceremony, policy, start, chain, attestation, verification, upgrade. The emulated module signs nothing, so
//! its documents are judged by the development KMS's verifier and by the same crate that `nitro verify` judges with.
use super::MACHINE;
use anyhow::{Context, Result, bail, ensure};
use e2e::enclave::{CEREMONY_ROLE, Enclave, EnclaveChain, Machine, Plaintext, said};
use e2e::{Chain, ChainSpec, EnclaveRig, Line, Sandbox, Transport};
use evidence::{Evidence, Expected, Statement, judge};
use image::Measurements;
use std::collections::BTreeMap;
use std::fs;
use std::sync::PoisonError;

const CHAIN: &str = "image-ceremony";
const ROLE: &str = "arn:aws:iam::111122223333:role/validator";
const RANDOM: &str =
    r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:GenerateRandom", "Resource": "*"}]}"#;

#[test]
fn a_key_of_the_ceremony_image_signs_a_chain_in_the_signers_image_and_both_prove_it() -> Result<()> {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    Sandbox::run("emulated-ceremony", |sandbox| {
        let mut enclave = Enclave::prepare_emulated(sandbox, "tmkms", Vec::new(), Machine::ceremony()?)?;
        let ([arn, _], names) = enclave.keys_for_ceremony()?;
        enclave.policy = names;
        enclave.start_kms_proxy()?;
        enclave.start_enclave()?;
        let of_ceremony = enclave.image()?.measured.clone();
        fs::write(enclave.folder().join("ceremony.json"), of_ceremony.to_json())?;
        let ceremony = ["--ceremony-measurements", "ceremony.json", "--ceremony-role", CEREMONY_ROLE];
        enclave.put_policy_of(&arn, &ceremony)?;
        enclave.kms().set_iam(CEREMONY_ROLE, RANDOM)?;
        let options = ["--chain-id", CHAIN, "--key", &arn, "--out", "made", "--nonce", "two people watched"];
        let output = enclave.keygen_at(&enclave.cid(), &options)?;
        ensure!(output.status.success(), "keygen failed: {}", said(&output));
        ensure!(said(&output).contains("NOT CHECKED"), "nobody gave measurements: {}", said(&output));
        let made = proven(&enclave, "made/attestation.json", &of_ceremony, "two people watched")?;
        let Statement::Ceremony(made) = made else { bail!("{made:?} is no ceremony's") };
        ensure!((made.origin.as_str(), made.key_arn.as_str()) == ("generated", arn.as_str()), "{made:?}");

        // The signer's image, which names the key; from now on KMS knows only that.
        enclave.machine()?.program = Machine::built()?.program;
        let (sealed, public) = enclave.sealed_by_ceremony("made")?;
        let spec =
            ChainSpec { public_key: Some(public), id: CHAIN.to_owned(), ..ChainSpec::new(Line::V038, Transport::Unix) };
        let chain = Chain::prepare(sandbox, "chain", spec)?;
        let read = |name: &str| fs::read_to_string(enclave.folder().join("made").join(name));
        let (lines, policy) = (read("tmkms-lines.toml")?, read("policy-lines.toml")?);
        let entry = EnclaveChain::new(CHAIN, chain.signer_addr());
        enclave.add_chain(EnclaveChain { key: Plaintext::Nobodys(sealed, lines), ..entry })?;
        enclave.write_config()?;
        enclave.policy = policy;
        enclave.start_parent()?;
        let first = serve(&mut enclave, &arn, "signer.json")?;
        ensure!(first.pcr0 != of_ceremony.pcr0, "both images measure alike");
        let mut rig = EnclaveRig { chain, enclave };
        rig.chain.start()?;
        rig.grow(8)?;
        attest(&rig.enclave, "first.json", "a delegator's nonce")?;
        let said = proven(&rig.enclave, "first.json", &first, "a delegator's nonce")?;
        let Statement::Signer(signer) = said else { bail!("{said:?} is no signer's") };
        ensure!(signer.chains.len() == 1 && signer.chains[0].public_key == made.public_key, "{signer:?}");

        // An upgrade: another measurement; the state goes on, the old one proves nothing any more.
        rig.enclave.policy += "# the second image\n";
        let second = serve(&mut rig.enclave, &arn, "second.json")?;
        rig.signs_again(super::BACK)?;
        attest(&rig.enclave, "second.json.evidence", "after the upgrade")?;
        let old = proven(&rig.enclave, "second.json.evidence", &first, "after the upgrade");
        ensure!(format!("{old:?}").contains("PCR0: expected") && format!("{old:?}").contains(&second.pcr0), "{old:?}");
        proven(&rig.enclave, "second.json.evidence", &second, "after the upgrade")?;
        let height = rig.chain.height()?;
        e2e::say(&format!(
            "height {height}; ceremony PCR0 {:.12}…, first image {:.12}…, second {:.12}…",
            of_ceremony.pcr0, first.pcr0, second.pcr0
        ));
        rig.expect_clean()
    })
}

/// Boots the signer's image, lets its measurement alone have the key, and pushes.
fn serve(enclave: &mut Enclave, arn: &str, name: &str) -> Result<Measurements> {
    enclave.start_enclave()?;
    let measured = enclave.image()?.measured.clone();
    fs::write(enclave.folder().join(name), measured.to_json())?;
    enclave.put_policy_of(arn, &["--measurements", name, "--role", ROLE])?;
    enclave.push()?;
    Ok(measured)
}

fn attest(enclave: &Enclave, file: &str, nonce: &str) -> Result<()> {
    enclave.command(&["nitro", "attest", "-i", &enclave.cid(), "--nonce", nonce, "--out", file]).map(drop)
}

/// What evidence says, if it is proven by these measurements and that nonce.
fn proven(enclave: &Enclave, file: &str, measured: &Measurements, nonce: &str) -> Result<Statement> {
    let evidence = Evidence::parse(&fs::read(enclave.folder().join(file))?)?;
    let facts = sim::kms::unsigned_facts(&evidence.document).map_err(anyhow::Error::msg)?;
    let register = |(name, hex): (&str, &str)| -> Result<(u8, Vec<u8>)> {
        let index = name.strip_prefix("PCR").context("no register")?.parse()?;
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
        Ok((index, bytes.collect::<Result<_, _>>()?))
    };
    let pcrs: BTreeMap<_, _> = measured.registers().map(register).collect::<Result<_>>()?;
    let (nonce, kms) = (Some(nonce.as_bytes().to_vec()), Some(enclave.kms_name()?));
    let expected = Expected { pcrs, nonce, kms, ..Expected::default() };
    let problems: Vec<_> = judge(&facts, &evidence.statement, &expected).iter().map(ToString::to_string).collect();
    ensure!(problems.is_empty(), "not proven: {}", problems.join("; "));
    Ok(evidence.statement)
}

/// Words that only code that sends a key out has. In the signer's program there is none of them, and in the ceremony's there is each.
#[test]
fn the_signers_program_cannot_encrypt_under_kms() -> Result<()> {
    let words =
        ["GenerateRandom", "GenerateDataKey", "CiphertextBlob is missing", "tmkms key ceremony: secret, version 1"];
    let holds = |machine: &Machine, word: &str| -> Result<bool> {
        let program = fs::read(&machine.program)?;
        Ok(program.windows(word.len()).any(|window| window == word.as_bytes()))
    };
    let (signer, ceremony) = (Machine::built()?, Machine::ceremony()?);
    for word in words {
        ensure!(holds(&ceremony, word)?, "{word:?} is not in the ceremony's program: the test tells nothing");
        ensure!(!holds(&signer, word)?, "{word:?} is in the signer's program");
    }
    Ok(())
}
