//! The image's figures: from the power to the first signature and how that splits, the emulation's own vsock round trip, size and memory.
use super::many::Node;
use super::report::{BootPart, EmulatedFigures, at_quantile};
use crate::{image as image_build, step};
use anyhow::{Context, Result, anyhow, ensure};
use e2e::emulator::EmulatorSpec;
use e2e::enclave::Machine;
use e2e::{Emulator, Enclave, EnclaveChain, Sandbox};
use image::Parts;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// The size of what goes to and fro: about that of a vote and of a record.
const ECHO_BYTES: usize = 200;
/// `vsock-echo`'s port of the parent.
const ECHO_PORT: u32 = 7;
const TARGET: &str = "x86_64-unknown-linux-gnu";

pub fn run(sandbox: &Sandbox, boots: u32, round_trips: u32, build: bool) -> Result<EmulatedFigures> {
    println!("==> {boots} boots of the image to a first signature, and {round_trips} vsock round trips");
    let (round_trip_p50_us, round_trip_p99_us) = echo(sandbox, round_trips)?;
    let node = Node::listen(sandbox, "boot")?;
    let chains = vec![EnclaveChain::new("boot", &node.address())];
    let mut enclave = Enclave::prepare_emulated(sandbox, "boot", chains, Machine::built()?)?;
    enclave.start_parent()?;
    let build_from_nothing_s = build.then(|| image_build::seconds_from_nothing(sandbox.dir())).transpose()?;
    let build_again_s = image_build::seconds_again(sandbox.dir())?;
    // The first boot makes the image, too, and is not counted.
    enclave.start_enclave()?;
    let (mut totals, mut parts, mut height) = (vec![], BTreeMap::<BootPart, Vec<u64>>::new(), 0);
    let mut memory = Memory::default();
    for _ in 0..boots {
        let (total, log) = boot(&mut enclave, &node, &mut height)?;
        totals.push(total);
        let status = enclave.status()?;
        let kernel = status["machine"]["kernel_ms"].as_u64().context("the status does not tell the kernel's time")?;
        for (part, micros) in split(total, kernel * 1000, &log)? {
            parts.entry(part).or_default().push(micros);
        }
        memory = Memory::of(&status)?;
    }
    totals.sort_unstable();
    let millis = |sorted: &[u64], quantile| at_quantile(sorted, quantile) as f64 / 1000.0;
    let median = |(part, mut micros): (BootPart, Vec<u64>)| {
        micros.sort_unstable();
        (part, millis(&micros, 0.5))
    };
    Ok(EmulatedFigures {
        boots,
        boot_p50_ms: millis(&totals, 0.5),
        boot_max_ms: millis(&totals, 1.0),
        split_ms: parts.into_iter().map(median).collect(),
        build_again_s,
        build_from_nothing_s,
        image_bytes: std::fs::metadata(&enclave.image()?.eif)?.len(),
        machine_mib: enclave.machine()?.memory_mib,
        memory_used_bytes: memory.used,
        program_bytes: memory.program,
        round_trip_p50_us,
        round_trip_p99_us,
    })
}

/// What the status says of the enclave's memory.
#[derive(Clone, Copy, Default)]
struct Memory {
    used: u64,
    program: u64,
}

impl Memory {
    fn of(status: &Value) -> Result<Self> {
        let number = |name: &str| {
            let machine = &status["machine"];
            machine[name].as_u64().with_context(|| format!("no {name} in the status' machine {machine}"))
        };
        let used = number("memory_total_bytes")?.saturating_sub(number("memory_available_bytes")?);
        Ok(Self { used, program: number("resident_bytes")? })
    }
}

/// Cuts the power, boots, pushes as soon as the enclave answers, and asks for a vote as soon as it dials. Microseconds from QEMU's start to
/// the vote's answer, and the enclave's log.
fn boot(enclave: &mut Enclave, node: &Node, height: &mut i64) -> Result<(u64, String)> {
    enclave.kill_enclave();
    // What the power cut left to the parent's processes is done.
    thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    enclave.start_enclave()?;
    let shared = &*enclave;
    let total = thread::scope(|scope| -> Result<u64> {
        let push = scope.spawn(|| shared.push());
        let mut asker = node.accept()?;
        asker.height = *height;
        asker.vote()?;
        *height = asker.height;
        let micros = u64::try_from(begun.elapsed().as_micros())?;
        push.join().map_err(|_| anyhow!("the push panicked"))??;
        Ok(micros)
    })?;
    let log = enclave.command(&["nitro", "logs", "-i", &enclave.cid()])?;
    Ok((total, log))
}

/// Where the time went, from the enclave's own log; what it cannot know, before its kernel ran, is the rest.
fn split(total: u64, kernel: u64, log: &str) -> Result<Vec<(BootPart, u64)>> {
    let (init, ready) = (at(log, "starts in an enclave")?, at(log, "self-checks passed")?);
    let (checking, releasing) = (at(log, "checking: ")?, at(log, "releasing: ")?);
    let (recovering, serving) = (at(log, "recovering: ")?, at(log, "serving: ")?);
    let session = at(log, "session with")?;
    let rsa = number_after(log, "answers was made in ")?;
    let released = log.lines().filter(|line| line.contains("attested in "));
    let (mut attest, mut kms) = (0, 0);
    for line in released {
        attest += number_after(line, "attested in ")?;
        kms += number_after(line, "KMS answered after ")?;
    }
    let between = |from: u64, to: u64| to.saturating_sub(from);
    let mut parts = vec![
        (BootPart::Kernel, kernel),
        (BootPart::Init, between(init, ready)),
        (BootPart::RsaKey, rsa),
        (BootPart::Waiting, between(ready + rsa, checking)),
        (BootPart::Checking, between(checking, releasing)),
        (BootPart::Attest, attest),
        (BootPart::Kms, kms),
        (BootPart::Records, between(recovering, serving)),
        (BootPart::Dial, between(serving, session)),
    ];
    let told: u64 = parts.iter().map(|(_, micros)| micros).sum();
    parts.push((BootPart::Rest, total.saturating_sub(told)));
    Ok(parts)
}

/// The time of day of the first line with that text, in microseconds.
fn at(log: &str, text: &str) -> Result<u64> {
    let line =
        log.lines().find(|line| line.contains(text)).with_context(|| format!("no {text:?} in the log:\n{log}"))?;
    let clock = line.split_once('T').and_then(|(_, rest)| rest.split_once('Z')).map(|(clock, _)| clock);
    let mut fields = clock.with_context(|| format!("no time in {line:?}"))?.split(':');
    let mut next = || fields.next().and_then(|field| field.parse::<f64>().ok()).context("no time");
    micros(next()? * 3_600e3 + next()? * 60e3 + next()? * 1e3)
}

/// The milliseconds after that text, in microseconds.
fn number_after(log: &str, text: &str) -> Result<u64> {
    let (_, rest) = log.split_once(text).with_context(|| format!("no {text:?} in the log:\n{log}"))?;
    let number = rest.split(' ').next().and_then(|word| word.parse::<f64>().ok());
    micros(number.with_context(|| format!("no number after {text:?}"))?)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "milliseconds of a day at most")]
fn micros(millis: f64) -> Result<u64> {
    ensure!((0.0..1e9).contains(&millis), "{millis} ms is no time");
    Ok((millis * 1000.0).round() as u64)
}

/// Round trips through the emulated vsock with nothing of ours in them: an image whose program sends back what comes.
fn echo(sandbox: &Sandbox, count: u32) -> Result<(f64, f64)> {
    let machine = Machine::built()?;
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let ramdisks = vec![image::boot_ramdisk(&read(&build_echo()?)?)?, image::app_ramdisk(&BTreeMap::new())?];
    let parts = Parts { kernel: read(&machine.kernel)?, cmdline: machine.cmdline.clone(), ramdisks };
    let folder = sandbox.dir().join("echo");
    std::fs::create_dir_all(&folder)?;
    let eif = folder.join("echo.eif");
    image::write(&step::root().join(".cache/tools/bin/eif"), &parts, None, &eif)?;
    let spec = EmulatorSpec::new(eif, folder);
    let listener = UnixListener::bind(spec.folder.join(format!("{}_{ECHO_PORT}", spec.cid)))?;
    let _emulator = Emulator::start(sandbox, "echo", &spec)?;
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.read_exact(&mut [0])?;
    let mut bytes = [7; ECHO_BYTES];
    let mut nanos = Vec::new();
    for turn in 0..count + super::WARMUP {
        let begun = Instant::now();
        stream.write_all(&bytes)?;
        stream.read_exact(&mut bytes)?;
        if turn >= super::WARMUP {
            nanos.push(u64::try_from(begun.elapsed().as_nanos())?);
        }
    }
    nanos.sort_unstable();
    let micros = |quantile| at_quantile(&nanos, quantile) as f64 / 1000.0;
    Ok((micros(0.5), micros(0.99)))
}

/// `vsock-echo`, static as an image's program has to be.
fn build_echo() -> Result<PathBuf> {
    let mut cargo = step::cargo();
    cargo.args(["build", "--release", "--package", "wire", "--example", "vsock-echo", "--target", TARGET]);
    cargo.env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
    step::run("build the echo", &mut cargo)?;
    Ok(step::root().join("target").join(TARGET).join("release/examples/vsock-echo"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-11-24T23:59:58.900Z INFO  tmkms 0.1.0 starts in an enclave version=\"0.1.0\"
2026-11-24T23:59:58.925Z INFO  self-checks passed, control port 5050 debug=false policy=true
2026-11-24T23:59:59.125Z INFO  an RSA key for KMS' answers was made in 200.0 ms
2026-11-24T23:59:59.175Z INFO  checking: the configuration
2026-11-24T23:59:59.180Z INFO  releasing: attesting, so that KMS releases the keys
2026-11-24T23:59:59.200Z INFO  attested in 2.5 ms, KMS answered after 11.0 ms
2026-11-24T23:59:59.220Z INFO  attested in 1.5 ms, KMS answered after 9.0 ms
2026-11-24T23:59:59.230Z INFO  recovering: the signing records
2026-11-24T23:59:59.240Z INFO  serving: 1 chains added
2026-11-24T23:59:59.243Z INFO  session with port 100
";

    #[test]
    fn a_boot_is_split_by_the_enclaves_log_and_the_rest_was_before_it() {
        let parts = split(1_500_000, 412_500, LOG).unwrap();
        let expected = [412_500, 25_000, 200_000, 50_000, 5_000, 4_000, 20_000, 10_000, 3_000, 770_500];
        assert_eq!(parts.iter().map(|(_, micros)| *micros).collect::<Vec<_>>(), expected);
        assert_eq!(parts.iter().map(|(_, micros)| micros).sum::<u64>(), 1_500_000);
    }

    #[test]
    fn a_log_that_lacks_a_step_is_no_split() {
        let error = split(1, 1, &LOG.replace("recovering", "x")).unwrap_err().to_string();
        assert!(error.contains("recovering"), "{error}");
    }
}
