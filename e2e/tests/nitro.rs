//! A validator's key lives in an (emulated) enclave, and its chain goes on through everything that happens around it.
use anyhow::{Context, Result, ensure};
use e2e::enclave::{Enclave, EnclaveChain, said};
use e2e::tamper::Mode;
use e2e::{Answer, ChainSpec, Client, EnclaveRig, Line, Observer, Sandbox, Transport, Vote, until};
use serde_json::Value;
use sim::kms::Fault;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

fn with_rig(name: &str, spec: ChainSpec, body: impl FnOnce(&mut EnclaveRig) -> Result<()>) -> Result<()> {
    Sandbox::run(name, |sandbox| {
        let mut rig = EnclaveRig::start(sandbox, spec)?;
        rig.grow(3)?;
        body(&mut rig)?;
        let height = rig.grow(5)?;
        let signed = rig.chain.signed_heights(2, height - 1)?.len();
        ensure!(signed > 0, "not one commit of {height} bears the validator's signature");
        e2e::say(&format!("{name}: height {height}, signature in {signed} commits"));
        rig.expect_clean()
    })
}

fn one(transport: Transport) -> ChainSpec {
    ChainSpec::new(Line::V038, transport)
}

fn failure(status: &Value) -> String {
    status["failure"].to_string()
}

#[test]
fn four_validators_of_v038_over_unix_with_one_key_in_the_enclave_make_blocks() -> Result<()> {
    with_rig("enclave-v038", ChainSpec { validators: 4, ..one(Transport::Unix) }, |rig| {
        let height = rig.grow(20)?;
        let signed = rig.chain.signed_heights(3, height - 1)?.len() as u64;
        ensure!(signed * 10 >= (height - 3) * 9, "only {signed} of {} commits bear its signature", height - 3);
        Ok(())
    })
}

#[test]
fn four_validators_of_v040_over_tcp_with_a_secret_connection_that_ends_in_the_enclave_make_blocks() -> Result<()> {
    let spec = ChainSpec { validators: 4, ..ChainSpec::new(Line::V040, Transport::Tcp) };
    with_rig("enclave-v040", spec, |rig| {
        let height = rig.grow(20)?;
        let signed = rig.chain.signed_heights(3, height - 1)?.len() as u64;
        ensure!(signed * 10 >= (height - 3) * 9, "only {signed} of {} commits bear its signature", height - 3);
        Ok(())
    })
}

#[test]
fn every_process_killed_and_restarted_one_after_another_and_the_chain_goes_on() -> Result<()> {
    with_rig("enclave-kills", one(Transport::Unix), |rig| {
        let step = |name: &str| e2e::say(&format!("killed and restarted: {name}"));
        for pause in [0, 400] {
            let wait = || sleep(Duration::from_millis(pause));
            rig.enclave.persist.as_mut().context("no persist")?.kill();
            wait();
            rig.enclave.start_persist()?;
            rig.grow(3)?;
            step("persist");
            rig.enclave.proxies[0].kill();
            wait();
            rig.enclave.start_proxy(0)?;
            rig.grow(3)?;
            step("the node's proxy");
            rig.enclave.kms_proxy.as_mut().context("no KMS proxy")?.kill();
            wait();
            rig.enclave.start_kms_proxy()?;
            rig.grow(3)?;
            step("the KMS proxy");
            rig.enclave.restart_kms(Duration::from_millis(pause))?;
            rig.enclave.push()?;
            rig.grow(3)?;
            step("KMS");
            rig.chain.node(0).kill();
            wait();
            rig.chain.node(0).start()?;
            rig.grow(3)?;
            step("the node");
            rig.enclave.enclave.as_mut().context("no enclave")?.kill();
            wait();
            rig.enclave.start_enclave()?;
            rig.enclave.push()?;
            rig.grow(3)?;
            step("the enclave");
        }
        Ok(())
    })
}

#[test]
fn the_same_configuration_pushed_again_refreshes_credentials_and_disturbs_nothing() -> Result<()> {
    with_rig("enclave-again", one(Transport::Tcp), |rig| {
        let connects = |rig: &EnclaveRig| -> Result<String> {
            let status = rig.enclave.status()?;
            Ok(status["chains"][0]["connections"].to_string())
        };
        let before = connects(rig)?;
        let decrypts = rig.enclave.kms().requests().len();
        rig.enclave.push()?;
        ensure!(connects(rig)? == before, "the connections changed: {before} and {}", connects(rig)?);
        ensure!(rig.enclave.kms().requests().len() == decrypts, "keys were released again");
        Ok(())
    })
}

#[test]
fn an_enclave_that_is_restarted_with_nobody_there_signs_again_by_the_watch() -> Result<()> {
    with_rig("enclave-watch", one(Transport::Unix), |rig| {
        let mut watch = rig.enclave.watch()?;
        for _ in 0..2 {
            rig.enclave.enclave.as_mut().context("no enclave")?.kill();
            sleep(Duration::from_secs(1));
            rig.enclave.start_enclave()?;
            rig.grow(5)?;
        }
        watch.check()?;
        ensure!(
            watch.terminate(Duration::from_secs(5))?.success(),
            "the watch does not end well: {}",
            watch.log_text()
        );
        Ok(())
    })
}

#[test]
fn a_wrong_push_is_answered_with_its_reason_and_the_chain_goes_on() -> Result<()> {
    with_rig("enclave-wrong", one(Transport::Unix), |rig| {
        let good = rig.enclave.config_text();
        let cases = [
            ("a typing mistake", good.replace("state_vsock_port", "state_vsok_port"), "state_vsok_port"),
            ("another chain", good.replace("kms_proxy_port = 800", "kms_proxy_port = 801"), ""),
            ("a crafted region", good.replace("aws_region = \"", "aws_region = \"evil.example.com/#"), "aws_region"),
        ];
        for (name, text, expected) in cases {
            fs::write(rig.enclave.config_file(), &text)?;
            let output = rig.enclave.try_push(&[])?;
            let said = said(&output);
            if expected.is_empty() {
                continue;
            }
            ensure!(!output.status.success() && said.contains(expected), "{name}: {} {said}", output.status);
            rig.grow(2)?;
        }
        rig.enclave.write_config()?;
        rig.enclave.push()?;
        Ok(())
    })
}

#[test]
fn a_ciphertext_of_another_chain_is_refused_by_its_encryption_context() -> Result<()> {
    Sandbox::run("enclave-swap", |sandbox| {
        let (a, b) = ("swap-a", "swap-b");
        let node = |name: &str| format!("unix://{}", sandbox.dir().join(name).display());
        let chains = vec![EnclaveChain::new(a, &node("a.sock")), EnclaveChain::new(b, &node("b.sock"))];
        let mut enclave = Enclave::prepare(sandbox, "tmkms", chains)?;
        enclave.start_parent()?;
        enclave.start_enclave()?;
        let swapped =
            enclave.config_text().replace(&format!("chain = \"{a}\", purpose"), &format!("chain = \"{b}\", purpose"));
        fs::write(enclave.config_file(), swapped)?;
        let said = said(&enclave.try_push(&[])?);
        ensure!(said.contains(a), "the chain is not named: {said}");
        let status = enclave.status()?;
        ensure!(status["phase"] == "waiting" && !status["failure"].is_null(), "{status}");
        enclave.write_config()?;
        enclave.push()?;
        Ok(())
    })
}

#[test]
fn what_kms_refuses_is_told_with_its_remedy_and_a_later_push_ends_well() -> Result<()> {
    Sandbox::run("enclave-kms", |sandbox| {
        let node = format!("unix://{}", sandbox.dir().join("n.sock").display());
        let mut enclave = Enclave::prepare(sandbox, "tmkms", vec![EnclaveChain::new("kms-1", &node)])?;
        enclave.start_parent()?;
        enclave.start_enclave()?;
        let pcr0 = enclave.status()?["pcrs"]["0"].as_str().context("no PCR0")?.to_owned();
        let refused = |enclave: &Enclave, what: &str, expected: &[&str]| -> Result<()> {
            let output = enclave.try_push(&[])?;
            let said = said(&output);
            ensure!(!output.status.success(), "{what}: the push ended well: {said}");
            for word in expected {
                ensure!(said.contains(word), "{what}: {word:?} is not in: {said}");
            }
            let status = enclave.status()?;
            ensure!(!status["failure"].is_null(), "{what}: no failure in the status {status}");
            e2e::say(&format!("{what}: {}", failure(&status)));
            Ok(())
        };
        enclave.allow(&"ab".repeat(48))?;
        refused(&enclave, "another measurement", &[&pcr0, "kms:RecipientAttestation:ImageSha384"])?;
        enclave.allow(&pcr0)?;
        for (what, fault, expected) in [
            ("an expired credential", Fault::ExpiredToken, "expired"),
            ("a certificate for another name", Fault::WrongCertificate, "certificate"),
            ("an answer for another key", Fault::AnotherKey, "key"),
            ("a forged answer", Fault::Forged { plaintext: "forged".to_owned() }, "key"),
            ("a plaintext beside", Fault::PlaintextBeside, "plaintext"),
            ("a garbage answer", Fault::GarbageBody, ""),
            ("a huge answer", Fault::HugeBody { bytes: 1 << 20 }, ""),
            ("a cut answer", Fault::CloseMidAnswer, ""),
            ("a skewed clock", Fault::ClockSkew { seconds: 3600 }, "clock"),
        ] {
            enclave.kms().faults().always(fault);
            refused(&enclave, what, &[expected])?;
            enclave.kms().faults().clear();
        }
        enclave.kms_proxy.as_mut().context("no KMS proxy")?.kill();
        refused(&enclave, "no KMS proxy", &["proxy", "800"])?;
        enclave.start_kms_proxy()?;
        enclave.kms().faults().next(2, Fault::Throttle);
        enclave.push()?;
        ensure!(enclave.status()?["phase"] == "serving", "{}", enclave.status()?);
        Ok(())
    })
}

#[test]
fn a_channel_that_is_cut_delayed_duplicated_or_truncated_costs_votes_and_never_a_conflict() -> Result<()> {
    Sandbox::run("enclave-tamper", |sandbox| {
        let spec = ChainSpec { validators: 4, ..one(Transport::Unix) };
        let mut rig = EnclaveRig::start_as(sandbox, spec, &[], Enclave::tamper)?;
        let modes = [Mode::Cut, Mode::Delay(Duration::from_millis(300)), Mode::Duplicate, Mode::Truncate];
        for channel in ["state", "node", "kms", "control"] {
            for mode in modes {
                let before = rig.enclave.in_the_middle(channel)?.tampered();
                rig.enclave.in_the_middle(channel)?.set(mode);
                if matches!(channel, "kms" | "control") {
                    // Whether such a push gets through is chance; that it ends is not.
                    let _ = rig.enclave.try_push(&[])?;
                } else {
                    sleep(Duration::from_secs(2));
                }
                let tampered = rig.enclave.in_the_middle(channel)?.tampered() - before;
                rig.enclave.in_the_middle(channel)?.set(Mode::Pass);
                ensure!(tampered > 0 || channel == "kms", "nothing passed {channel}, so {mode:?} was not tried");
                rig.grow(3).with_context(|| format!("after {mode:?} on {channel}"))?;
                e2e::say(&format!("{channel}, {mode:?}: {tampered} pieces"));
            }
        }
        rig.enclave.push()?;
        let height = rig.grow(10)?;
        let signed = rig.chain.signed_heights(height - 6, height - 1)?.len();
        ensure!(signed >= 4, "only {signed} of the last 6 commits bear its signature");
        rig.expect_clean()
    })
}

/// An enclave and scripted nodes that ask it, all of one chain.
fn with_clients(name: &str, count: usize, body: impl FnOnce(&mut Enclave, &mut [Client]) -> Result<()>) -> Result<()> {
    Sandbox::run(name, |sandbox| {
        let listen = |index| Client::listen(sandbox, &format!("client-{index}"), Line::V038, Transport::Unix, name);
        let mut clients: Vec<Client> = (0..count).map(listen).collect::<Result<_>>()?;
        let mut entry = EnclaveChain::new(name, clients[0].addr());
        entry.nodes = clients.iter().map(|client| client.addr().to_owned()).collect();
        let mut enclave = Enclave::prepare(sandbox, "tmkms", vec![entry])?;
        enclave.start()?;
        clients.iter_mut().try_for_each(|client| client.connected(Duration::from_secs(20)))?;
        body(&mut enclave, &mut clients)
    })
}

#[test]
fn of_two_enclaves_on_one_state_only_the_first_signs_until_it_is_gone() -> Result<()> {
    with_clients("two-enclaves", 2, |enclave, clients| {
        let observer = Observer::new();
        clients[0].vote(&Vote::precommit(5, 0xaa), &observer)?.signed()?;
        let (_twin, twin) = enclave.twin(1)?;
        let refused = enclave.try_push_to(&twin, &[])?;
        let text = said(&refused);
        ensure!(!refused.status.success() && text.contains("another"), "the twin was let in: {text}");
        let status = enclave.status_of(&twin)?;
        ensure!(status["phase"] == "waiting" && !status["failure"].is_null(), "{status}");
        clients[0].vote(&Vote::precommit(6, 0xaa), &observer)?.signed()?;
        enclave.enclave.as_mut().context("no enclave")?.kill();
        // The second client's connection was the first enclave's, too; it is gone with it.
        until("the twin to take over", Duration::from_secs(30), || {
            Ok(enclave.try_push_to(&twin, &[])?.status.success().then_some(()))
        })?;
        clients[1].reconnect(Duration::from_secs(30))?;
        let refused = clients[1].vote(&Vote::precommit(6, 0xbb), &observer)?.refused()?;
        ensure!(refused.contains("conflict"), "{refused}");
        clients[1].vote(&Vote::precommit(7, 0xbb), &observer)?.signed().map(drop)
    })
}

/// What the enclave cannot know. The same is written in SECURITY.md; this test is here so that nobody promises more.
#[test]
fn a_state_rolled_back_between_two_lives_is_not_noticed_and_within_one_life_it_is() -> Result<()> {
    with_clients("rolled-back", 1, |enclave, clients| {
        let (first_life, second_life) = (Observer::new(), Observer::new());
        let client = &mut clients[0];
        client.vote(&Vote::precommit(5, 0xaa), &first_life)?.signed()?;
        let state = enclave.state_file("rolled-back");
        let old = fs::read(&state)?;
        client.vote(&Vote::precommit(6, 0xaa), &first_life)?.signed()?;

        enclave.persist.as_mut().context("no persist")?.kill();
        fs::write(&state, &old)?;
        enclave.start_persist()?;
        let refused = client.vote(&Vote::precommit(6, 0xbb), &first_life)?.refused()?;
        e2e::say(&format!("within one life: {refused}"));

        enclave.enclave.as_mut().context("no enclave")?.kill();
        enclave.persist.as_mut().context("no persist")?.kill();
        fs::write(&state, &old)?;
        enclave.start_persist()?;
        enclave.start_enclave()?;
        enclave.push()?;
        client.reconnect(Duration::from_secs(30))?;
        client.vote(&Vote::precommit(6, 0xbb), &second_life)?.signed()?;
        e2e::say("between two lives: signed again, as SECURITY.md says");
        Ok(())
    })
}

#[test]
fn an_oversize_configuration_is_refused_and_what_is_served_goes_on() -> Result<()> {
    with_clients("oversize", 1, |enclave, clients| {
        let text = enclave.config_text() + &"# blah\n".repeat(1 << 20);
        fs::write(enclave.config_file(), text)?;
        let output = enclave.try_push(&[])?;
        ensure!(!output.status.success() && said(&output).contains("bytes"), "{}", said(&output));
        clients[0].vote(&Vote::precommit(9, 0xaa), &Observer::new())?.signed().map(drop)
    })
}

#[test]
fn no_secret_is_in_a_log_a_status_a_core_dump_or_the_memory_of_the_parents_processes() -> Result<()> {
    with_clients("canaries", 1, |enclave, clients| {
        let observer = Observer::new();
        for height in 1..20 {
            clients[0].vote(&Vote::precommit(height, 0xaa), &observer)?.signed()?;
        }
        let wrong = enclave.config_text().replace("chain = \"canaries\", purpose", "chain = \"other\", purpose");
        fs::write(enclave.config_file(), wrong)?;
        let refused = enclave.try_push(&[])?;
        enclave.write_config()?;
        let mut places = enclave.logs();
        places.push(("a refused push".to_owned(), said(&refused).into_bytes()));
        places.push(("the status".to_owned(), enclave.status()?.to_string().into_bytes()));
        let logs = enclave.command(&["nitro", "logs", "-i", &enclave.cid()])?;
        ensure!(logs.lines().count() > 5, "the enclave's log is empty: {logs}");
        places.push(("nitro logs".to_owned(), logs.into_bytes()));
        let canaries = enclave.canaries()?;
        for (name, process) in enclave.processes() {
            if name != "enclave" {
                places.push((format!("the memory of {name}"), memory(process.id())?));
            }
        }
        for (place, bytes) in &places {
            for (what, canary) in &canaries {
                // persist proves with the token, so that it is in its memory.
                let may = what == "the control token" && place.starts_with("the memory");
                ensure!(may || !contains(bytes, canary), "{what} is in {place}");
            }
        }
        e2e::say(&format!("{} canaries in none of {} places", canaries.len(), places.len()));
        let id = enclave.enclave.as_ref().context("no enclave")?.id();
        let limits = fs::read_to_string(format!("/proc/{id}/limits"))?;
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).context("no limit on cores")?;
        ensure!(core.split_whitespace().nth(4) == Some("0"), "core dumps are allowed: {core}");
        Ok(())
    })
}

fn contains(bytes: &[u8], canary: &[u8]) -> bool {
    // Canaries are random: their first byte is rare enough for a simple search.
    bytes.windows(canary.len()).any(|window| window == canary)
}

/// Every readable and writable mapping of a process.
fn memory(id: u32) -> Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let maps = fs::read_to_string(format!("/proc/{id}/maps"))?;
    let file = fs::File::open(format!("/proc/{id}/mem"))?;
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let Some((Ok(start), Ok(end))) =
            range.map(|(start, end)| (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16)))
        else {
            continue;
        };
        let mut bytes = vec![0; usize::try_from(end - start)?.min(64 << 20)];
        if let Ok(read) = file.read_at(&mut bytes, start) {
            all.extend_from_slice(&bytes[..read]);
        }
    }
    ensure!(all.len() > 1 << 12, "the memory of {id} could not be read");
    Ok(all)
}

/// What a delegator asks for: attest, verify; then a second image, whose evidence is refused by the old measurements and proven by the new ones.
#[test]
fn a_serving_enclave_attests_to_its_keys_and_an_upgraded_one_to_its_new_measurement() -> Result<()> {
    with_rig("enclave-attest", one(Transport::Unix), |rig| {
        let (chain, id) = (rig.chain.spec.id.clone(), rig.enclave.cid());
        let key = rig.enclave.status()?["chains"][0]["public_key"].as_str().context("no key in the status")?.to_owned();
        let measure = |rig: &EnclaveRig, name: &str| -> Result<()> {
            let status = rig.enclave.status()?;
            let text = format!("{{\"Measurements\": {{\"PCR0\": {}}}}}", status["pcrs"]["0"]);
            Ok(fs::write(rig.enclave.folder().join(name), text)?)
        };
        let attest = |rig: &EnclaveRig, file: &str, nonce: &str| {
            rig.enclave.command(&["nitro", "attest", "-i", &id, "--nonce", nonce, "--out", file])
        };
        let verify = |rig: &EnclaveRig, file: &str, measurements: &str, nonce: &str| {
            let root = format!("nsm/{}", sim::nsm::ROOT_CERTIFICATE_FILE);
            let line = ["nitro", "verify", file, "--measurements", measurements, "--nonce", nonce, "--root", &root];
            rig.enclave.command(&[&line[..], &["--pub-key", &key, "--chain-id", &chain, "--max-age", "1m"]].concat())
        };
        measure(rig, "first.json")?;
        attest(rig, "a.json", "the first nonce")?;
        let said = verify(rig, "a.json", "first.json", "the first nonce")?;
        ensure!(
            said.contains("PROVEN, if that root") && said.contains(&format!("consensus key of {chain}: {key}")),
            "{said}"
        );
        let wrong = verify(rig, "a.json", "first.json", "another nonce");
        ensure!(format!("{wrong:?}").contains("NOT PROVEN: nonce: expected"), "{wrong:?}");
        let again = attest(rig, "a.json", "the first nonce");
        ensure!(format!("{again:?}").contains("a.json") && again.is_err(), "a file was overwritten: {again:?}");

        // A second image: another policy, so another measurement, which KMS has to be told.
        rig.enclave.policy = "# the second image\n".to_owned();
        rig.enclave.start_enclave()?;
        measure(rig, "second.json")?;
        let nothing = attest(rig, "b.json", "the second nonce");
        ensure!(format!("{nothing:?}").contains("nothing to attest to"), "{nothing:?}");
        let pcr0 = rig.enclave.status()?["pcrs"]["0"].as_str().context("no PCR0")?.to_owned();
        rig.enclave.allow(&pcr0)?;
        rig.enclave.push()?;
        attest(rig, "b.json", "the second nonce")?;
        let old = verify(rig, "b.json", "first.json", "the second nonce");
        ensure!(format!("{old:?}").contains("NOT PROVEN: PCR0: expected"), "{old:?}");
        verify(rig, "b.json", "second.json", "the second nonce").map(drop)
    })
}

/// docs/ceremony.md and chapter 13 of docs/operations-nitro.md: the state travels, and what was signed there is refused here.
#[test]
fn a_validator_moves_to_another_parent_with_its_state_and_signs_on() -> Result<()> {
    let spec = one(Transport::Unix);
    Sandbox::run("enclave-moves", |sandbox| {
        let mut client = Client::listen(sandbox, "rival", Line::V038, Transport::Unix, &spec.id)?;
        let observer = Observer::new();
        let mut rig = EnclaveRig::start_with(sandbox, spec, &[client.addr()])?;
        client.connected(Duration::from_secs(20))?;
        rig.grow(3)?;
        let (id, file) = (rig.chain.spec.id.clone(), format!("state/{}_priv_validator_state.json", rig.chain.spec.id));
        let export = ["state", "export", "--file", &file, "--to", "ours", "moved.json"];
        let used = rig.enclave.command(&export);
        ensure!(format!("{used:?}").contains("in use"), "a live state was exported: {used:?}");
        rig.enclave.kill_enclave();
        rig.enclave.persist.as_mut().context("no persist")?.kill();
        rig.enclave.command(&export)?;
        let last = i64::try_from(rig.chain.height()?)?;
        // Another parent: nothing of the old one is there but what was brought.
        let folder = rig.enclave.folder().to_owned();
        fs::rename(folder.join("state"), folder.join("state-of-the-old-parent"))?;
        fs::create_dir(folder.join("state"))?;
        rig.enclave.command(&[
            "state",
            "import",
            "--file",
            &file,
            "--chain-id",
            &id,
            "--from",
            "ours",
            "moved.json",
        ])?;
        rig.enclave.start_persist()?;
        rig.enclave.start_enclave()?;
        rig.enclave.push()?;
        // The client learns of a lost connection when it asks.
        let vote = Vote::prevote(last, 0xaa);
        let mut answer = client.vote(&vote, &observer)?;
        for _ in 0..3 {
            if !matches!(answer, Answer::Broken(_)) {
                break;
            }
            client.wait(Duration::from_secs(20))?;
            answer = client.vote(&vote, &observer)?;
        }
        answer.refused()?;
        rig.grow(5)?;
        rig.expect_clean()
    })
}

/// docs/ceremony.md, "the state file is lost": a height above the chain's, and waiting.
#[test]
fn a_validator_whose_state_was_lost_comes_back_above_a_height_that_the_chain_has_yet_to_reach() -> Result<()> {
    with_rig("enclave-lost-state", ChainSpec { validators: 4, ..one(Transport::Unix) }, |rig| {
        rig.grow(3)?;
        rig.enclave.kill_enclave();
        rig.enclave.persist.as_mut().context("no persist")?.kill();
        let (id, folder) = (rig.chain.spec.id.clone(), rig.enclave.folder().to_owned());
        fs::rename(folder.join("state"), folder.join("lost"))?;
        fs::create_dir(folder.join("state"))?;
        rig.enclave.start_persist()?;
        rig.enclave.start_enclave()?;
        let refused = rig.enclave.try_push(&[])?;
        ensure!(!refused.status.success() && said(&refused).contains("state"), "{}", said(&refused));

        let floor = rig.chain.height()? + 25;
        let height = floor.to_string();
        rig.enclave.command(&["state", "init", "--file", "state", "--chain-id", &id, "--height", &height])?;
        rig.enclave.push()?;
        let from = rig.chain.height()?;
        until("the chain to pass the floor", Duration::from_secs(60), || {
            Ok((rig.chain.height()? > floor + 6).then_some(()))
        })?;
        let early = rig.chain.signed_heights(from + 1, floor)?;
        ensure!(early.is_empty(), "signed at {early:?}, at or below {floor}");
        let after = rig.chain.signed_heights(floor + 1, floor + 5)?;
        ensure!(!after.is_empty(), "nothing was signed above {floor}");
        Ok(())
    })
}
