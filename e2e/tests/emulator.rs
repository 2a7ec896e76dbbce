//! The emulated enclave itself: an image without a policy is booted, measured, asked, cut off and booted again.
use anyhow::{Context, Result, ensure};
use e2e::enclave::{Built, Machine};
use e2e::{Emulator, EmulatorSpec, Sandbox, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// On a busy machine a boot takes a multiple of its two seconds.
const BOOT: Duration = Duration::from_secs(60);

const ROLE: &str = "arn:aws:iam::111122223333:role/validator";
const INSTANCE: &str = "i-0123456789abcdef0";
/// What Python's hashlib makes of the two by the recipe in AWS's user guide, "Cryptographic attestation".
const PCR3: &str = "38f5022208b475cea34e71bc56b7fc0ef03da8bba10dda1571460326e2f679b20db5257f02f29bfdbf6f64534f137fc6";
const PCR4: &str = "d6432900ac1c343cb40286898792c55e962aef0cc35c4910c0c286145b51af19e782cb21cc31a042671d7dfbd398251c";

/// One at a time: processors are emulated.
static MACHINE: Mutex<()> = Mutex::new(());

fn with_image(name: &str, body: impl FnOnce(&Sandbox, &Built, EmulatorSpec) -> Result<()>) -> Result<()> {
    with_files(name, &BTreeMap::new(), body)
}

/// The same with files beside the program.
fn with_files(
    name: &str,
    files: &BTreeMap<String, Vec<u8>>,
    body: impl FnOnce(&Sandbox, &Built, EmulatorSpec) -> Result<()>,
) -> Result<()> {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    Sandbox::run(name, |sandbox| {
        let machine = Machine::built()?;
        let program = fs::read(&machine.program)?;
        let ramdisks = vec![image::boot_ramdisk(&program)?, image::app_ramdisk(files)?];
        let built = machine.write(ramdisks, sandbox.dir().join("x.eif"))?;
        let spec = EmulatorSpec::new(built.eif.clone(), sandbox.dir().join("vm"));
        body(sandbox, &built, spec)
    })
}

/// What `tmkms nitro status` gives, asked until the enclave answers.
fn status(enclave: &mut Emulator) -> Result<Value> {
    let program = e2e::signer::binary()?;
    until("the enclave's status", BOOT, || {
        enclave.check()?;
        let mut command = Command::new(&program);
        let output = command.args(["nitro", "status", "--json", "-i", &enclave.endpoint()]).output()?;
        // An enclave that waits is not well, says the exit code; what it says of itself stands there all the same.
        Ok(serde_json::from_slice(&output.stdout).ok())
    })
}

#[test]
fn an_image_boots_and_is_measured_as_our_own_crate_and_aws_s_guide_say() -> Result<()> {
    with_image("measured", |sandbox, built, mut spec| {
        spec.role = Some(ROLE.to_owned());
        spec.instance = Some(INSTANCE.to_owned());
        let began = Instant::now();
        let mut enclave = Emulator::start(sandbox, "enclave", &spec)?;
        enclave.heartbeat(BOOT)?;
        e2e::say(&format!(
            "an image of {} KiB tells that it lives after {:.1?}",
            fs::metadata(&built.eif)?.len() >> 10,
            began.elapsed()
        ));
        let status = status(&mut enclave)?;
        ensure!(status["phase"] == "waiting", "it waits for nothing: {status:#}");
        ensure!(status["debug"] == false && status["has_policy"] == false, "{status:#}");
        let measured = &built.measured;
        let expected =
            [("0", measured.pcr0.as_str()), ("1", &measured.pcr1), ("2", &measured.pcr2), ("3", PCR3), ("4", PCR4)];
        for (index, value) in expected {
            ensure!(status["pcrs"][index] == value, "PCR{index}: expected {value}, got {}", status["pcrs"][index]);
        }
        ensure!(status["pcrs"]["8"].is_null(), "PCR8 of an image that nobody signed: {}", status["pcrs"]["8"]);
        Ok(())
    })
}

#[test]
fn after_a_power_cut_the_same_enclave_boots_in_the_same_folder() -> Result<()> {
    with_image("cut", |sandbox, built, spec| {
        let mut enclave = Emulator::start(sandbox, "enclave", &spec)?;
        enclave.heartbeat(BOOT)?;
        status(&mut enclave)?;
        // Nobody else takes its place while it runs, by whatever name its folder is called.
        let again = EmulatorSpec { folder: spec.folder.join("../vm"), ..spec };
        let error = Emulator::start(sandbox, "another", &again).err().context("two enclaves have one CID")?;
        ensure!(error.to_string().contains("CID 16 is in use"), "{error:#}");
        status(&mut enclave)?;
        enclave.kill();
        ensure!(UnixStream::connect(enclave.base()).is_err(), "a killed enclave is reached");
        enclave.restart(sandbox)?;
        enclave.heartbeat(BOOT)?;
        let status = status(&mut enclave)?;
        ensure!(status["pcrs"]["0"] == built.measured.pcr0.as_str(), "{status:#}");
        Ok(())
    })
}

#[test]
fn whoever_hangs_up_on_a_busy_enclave_ends_nobody_else_s_vsock() -> Result<()> {
    with_image("hang-up", |sandbox, _, spec| {
        let mut enclave = Emulator::start(sandbox, "enclave", &spec)?;
        enclave.heartbeat(BOOT)?;
        status(&mut enclave)?;
        let files = enclave.vsock.open_files()?;
        // Asks for a port, and is gone when the enclave accepts.
        for _ in 0..3 {
            enclave.machine.pause()?;
            let mut asked = UnixStream::connect(enclave.base())?;
            asked.write_all(b"CONNECT 5050\n")?;
            std::thread::sleep(Duration::from_millis(100));
            drop(asked);
            enclave.machine.resume()?;
            status(&mut enclave)?;
        }
        // Says nothing, or not the whole line, or something else.
        for words in [&b""[..], b"CONN", b"GET / HTTP/1.1\n\n", b"CONNECT x\n", b"CONNECT 9999\n"] {
            for _ in 0..20 {
                UnixStream::connect(enclave.base())?.write_all(words)?;
            }
            status(&mut enclave)?;
        }
        until("the sockets of those who hung up to be closed", BOOT, || {
            Ok((enclave.vsock.open_files()? <= files + 4).then_some(()))
        })?;
        enclave.check()
    })
}

#[test]
fn a_policy_that_is_not_understood_is_told_for_some_seconds_and_then_the_enclave_ends_without_having_served()
-> Result<()> {
    let files = BTreeMap::from([("policy.toml".to_owned(), b"[kmz]\n".to_vec())]);
    with_files("broken", &files, |sandbox, _, spec| {
        let mut enclave = Emulator::start(sandbox, "enclave", &spec)?;
        enclave.heartbeat(BOOT)?;
        let status = status(&mut enclave)?;
        ensure!(status["phase"] == "broken" && status["failure"]["code"] == "policy", "{status:#}");
        ensure!(status["has_policy"] == true, "a policy that is there is told as none: {status:#}");
        ensure!(status["failure"]["reason"].to_string().contains("kmz"), "{status:#}");
        let output = Command::new(e2e::signer::binary()?)
            .args(["nitro", "push-config", "-i", &enclave.endpoint(), "-c", "/dev/null"])
            .output()?;
        ensure!(!output.status.success(), "a broken enclave took a configuration");
        // QEMU ends with its machine's restart, as a real enclave does.
        let ended = enclave.wait(BOOT)?;
        ensure!(ended.success(), "{ended}");
        let console = enclave.console();
        ensure!(console.contains("kmz"), "the reason is not on the console: {console}");
        Ok(())
    })
}

/// Linux goes on without a ramdisk that it cannot unpack, and where sections begin and end is not measured: so a parent could lose the policy's on
/// the way. An image of ours always has a policy, if only an empty one.
#[test]
fn an_image_whose_policy_was_lost_on_the_way_is_not_one_without_a_policy() -> Result<()> {
    with_image("lost", |sandbox, _, spec| {
        let machine = Machine::built()?;
        let app = image::app_ramdisk(&BTreeMap::new())?;
        // In the middle of the header of its first file, which is the policy.
        let ramdisks = vec![image::boot_ramdisk(&fs::read(&machine.program)?)?, app[..64].to_vec()];
        let built = machine.write(ramdisks, sandbox.dir().join("lost.eif"))?;
        let mut enclave = Emulator::start(sandbox, "enclave", &EmulatorSpec { eif: built.eif, ..spec })?;
        enclave.heartbeat(BOOT)?;
        let status = status(&mut enclave)?;
        ensure!(status["phase"] == "broken" && status["failure"]["code"] == "policy", "{status:#}");
        ensure!(status["failure"]["reason"].to_string().contains("/policy.toml"), "{status:#}");
        Ok(())
    })
}

#[test]
fn a_damaged_image_and_too_little_memory_are_told_before_anything_runs() -> Result<()> {
    with_image("refused", |sandbox, built, mut spec| {
        let mut bytes = fs::read(&built.eif)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&built.eif, bytes)?;
        let mut enclave = Emulator::start(sandbox, "enclave", &spec)?;
        let ended = enclave.wait(BOOT)?;
        ensure!(!ended.success() && enclave.console().contains("CRC mismatch"), "{ended}: {}", enclave.console());
        spec.memory_mib = 16;
        let error = Emulator::start(sandbox, "enclave", &spec).err().context("16 MiB are enough")?;
        ensure!(error.to_string().contains("got 16 MiB, expected at least 64 MiB"), "{error:#}");
        Ok(())
    })
}
