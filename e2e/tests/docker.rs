//! The Docker way: the image that the Dockerfile makes, and the enclave that it is under an init that is not ours.
use anyhow::{Context, Result, ensure};
use e2e::docker::{COMMAND_IN_EMULATOR, DockerImage, Files, layout};
use e2e::enclave::{Built, Machine};
use e2e::signer::binary;
use e2e::{ChainSpec, Emulator, EmulatorSpec, EnclaveRig, Line, Sandbox, Transport, until};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a boot may take on a machine that does much else.
const BOOT: Duration = Duration::from_secs(60);

/// One at a time: a processor is emulated.
static MACHINE: Mutex<()> = Mutex::new(());

/// What the Dockerfile says.
const COMMAND: [&str; 3] = ["/tmkms", "nitro", "start"];

const POLICY: &str = "[chains]\nallowed = [\"docker-1\"]\n\n[debug]\nallowed = false\n";

fn operators_files() -> Files {
    // TEST DATA: the second one is there to be found, nobody reads it.
    Files::from([("policy.toml".to_owned(), POLICY.into()), ("identity/node.key".to_owned(), "not a key\n".into())])
}

fn program() -> Result<Vec<u8>> {
    let path = Machine::built()?.program;
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// An image with that command and files, booted with the stand-in for AWS's init.
fn with_booted(
    name: &str,
    more: &[&str],
    files: &Files,
    body: impl FnOnce(&mut Emulator, &Built) -> Result<()>,
) -> Result<()> {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Instant::now();
    Sandbox::run(name, |sandbox| {
        let machine = Machine::built()?;
        let command = [&COMMAND_IN_EMULATOR[..], more].concat();
        let image = DockerImage::build(sandbox, "image", &command, &fs::read(&machine.program)?, files)?;
        let built = machine.write(image.ramdisks()?, sandbox.dir().join("docker.eif"))?;
        let spec = EmulatorSpec::new(built.eif.clone(), sandbox.dir().join("vm"));
        let mut emulator = Emulator::start(sandbox, "enclave", &spec)?;
        body(&mut emulator, &built)?;
        e2e::say(&format!("{name}: {:.0} s", begun.elapsed().as_secs_f64()));
        Ok(())
    })
}

/// What `tmkms nitro status` says, as soon as the enclave answers on that port.
fn status(emulator: &mut Emulator, port: &str) -> Result<Value> {
    let endpoint = emulator.endpoint();
    until("the enclave's status", BOOT, || {
        emulator.check()?;
        let output =
            Command::new(binary()?).args(["nitro", "status", "--json", "-i", &endpoint, "-p", port]).output()?;
        Ok(serde_json::from_slice(&output.stdout).ok())
    })
}

#[test]
fn the_image_that_the_dockerfile_makes_holds_the_program_the_operator_s_files_and_nothing_else() -> Result<()> {
    Sandbox::run("docker-image", |sandbox| {
        let (program, files) = (program()?, operators_files());
        let image = DockerImage::build(sandbox, "one", &COMMAND, &program, &files)?;
        let names: Vec<_> = image.root.keys().map(String::as_str).collect();
        ensure!(names == ["identity", "identity/node.key", "policy.toml", "tmkms"], "{names:?}");
        // Permissions and bytes, too.
        ensure!(image.root == image::docker_rootfs(&program, &files)?, "not what it should be:\n{}", image.listing);
        ensure!(
            image.cmd == COMMAND && image.env == ["PATH=/"] && image.entrypoint.is_empty(),
            "{:?}",
            (image.cmd, image.env)
        );
        // LinuxKit puts owners and times into the ramdisk, and so into the measurements.
        for line in image.listing.lines().filter(|line| !line.ends_with(" ./") && !line.ends_with(" /")) {
            ensure!(line.contains(" 0/0 ") && line.contains(" 1970-01-01 00:00:00 "), "{line}");
        }
        let again = DockerImage::build(sandbox, "two", &COMMAND, &program, &files)?;
        ensure!(again.root == image.root, "a second build of the same has other files");
        let bare = DockerImage::build(sandbox, "bare", &COMMAND, &program, &Files::new())?;
        ensure!(bare.root.keys().eq(["tmkms"]), "without files of an operator:\n{}", bare.listing);
        Ok(())
    })
}

#[test]
fn under_an_init_that_is_not_ours_it_reads_the_policy_beside_it_and_measures_as_computed() -> Result<()> {
    with_booted("docker-boot", &[], &operators_files(), |emulator, built| {
        // The stand-in sends it, before there is a child.
        emulator.heartbeat(BOOT)?;
        let status = status(emulator, "5050")?;
        for (index, measured) in [("0", &built.measured.pcr0), ("1", &built.measured.pcr1), ("2", &built.measured.pcr2)]
        {
            ensure!(status["pcrs"][index] == measured.as_str(), "PCR{index}: {} and {measured}", status["pcrs"][index]);
        }
        ensure!(status["has_policy"] == true, "/policy.toml was not read: {status}");
        let machine = &status["machine"];
        ensure!(
            machine["is_init"] == false && machine["heartbeat"].is_null(),
            "it does an init's work under another one: {machine}"
        );
        ensure!(machine["random_source"] == "nsm-hwrng", "{machine}");
        let console = emulator.console();
        ensure!(!console.contains("docker-init: the child"), "{console}");
        Ok(())
    })
}

#[test]
fn another_command_gives_it_another_port_and_no_policy_is_none() -> Result<()> {
    with_booted("docker-command", &["-p", "6000", "-v"], &Files::new(), |emulator, _| {
        let status = status(emulator, "6000")?;
        ensure!(status["has_policy"] == false, "{status}");
        let arguments = ["nitro", "status", "-i", &emulator.endpoint(), "-p", "5050"].map(str::to_owned);
        let output = Command::new(binary()?).args(arguments).output()?;
        ensure!(!output.status.success() && output.stdout.is_empty(), "it listens on the default port as well");
        Ok(())
    })
}

#[test]
fn when_it_ends_the_enclave_ends_and_the_console_has_the_reason() -> Result<()> {
    with_booted("docker-end", &["--policy", "/missing.toml"], &Files::new(), |emulator, _| {
        emulator.heartbeat(BOOT)?;
        emulator.wait(BOOT)?;
        let console = emulator.console();
        for expected in ["/missing.toml", "docker-init: the child ended with exit status"] {
            ensure!(console.contains(expected), "{expected} is not on the console:\n{console}");
        }
        Ok(())
    })
}

#[test]
fn a_chain_whose_key_is_released_to_the_docker_made_image_makes_blocks() -> Result<()> {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Instant::now();
    Sandbox::run("docker-chain", |sandbox| {
        let spec = ChainSpec::new(Line::V038, Transport::Unix);
        let machine = Machine { layout: Some(layout(sandbox, "image")), ..Machine::built()? };
        let mut rig = EnclaveRig::start_emulated(sandbox, spec, &[], machine, |_| Ok(()))?;
        let height = rig.grow(5)?;
        let signed = rig.chain.signed_heights(2, height - 1)?.len();
        ensure!(signed > 0, "not one commit of {height} bears the validator's signature");
        e2e::say(&format!("docker-chain: {height} blocks, {:.0} s", begun.elapsed().as_secs_f64()));
        rig.expect_clean()
    })
}
