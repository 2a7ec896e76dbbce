//! Every promise once more with what operators start: the image, booted in QEMU's nitro-enclave machine, with a chain on the outside.
#[path = "emulated/ceremony.rs"]
mod ceremony;
#[path = "emulated/replay.rs"]
mod replay;

use anyhow::{Context, Result, ensure};
use e2e::enclave::{Machine, said};
use e2e::flood::{Flood, Manner, Target};
use e2e::{Answer, ChainSpec, Client, EnclaveRig, Line, Observer, Sandbox, Transport, Vote};
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How soon the validator has to sign again after a fault. `push-config --watch` asks every few seconds.
const BACK: Duration = Duration::from_secs(45);
/// So many blocks are made with every signature present.
const BLOCKS: u64 = 101;

/// How long the others wait for its precommit before they go on without it, as on a chain that serves people; they do not wait once they have it.
/// The fast chains of the other tests, which wait for 75 ms, go on without a validator that a busy machine delayed.
const COMMIT_WAIT: Duration = Duration::from_secs(3);

/// One at a time: a processor is emulated, and the chains are to be fast.
static MACHINE: Mutex<()> = Mutex::new(());

fn with_rig(
    name: &str,
    transport: Transport,
    machine: Machine,
    before: impl FnOnce(&mut e2e::Enclave) -> Result<()>,
    body: impl FnOnce(&mut EnclaveRig, &mut Rival) -> Result<()>,
) -> Result<()> {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Instant::now();
    Sandbox::run(name, |sandbox| {
        let chain = ChainSpec::new(Line::V038, transport);
        let spec = ChainSpec { validators: 4, commit_wait: Some(COMMIT_WAIT), ..chain };
        let mut rival = Rival::listen(sandbox, &spec.id)?;
        let more = [rival.client.addr().to_owned()];
        let mut rig = EnclaveRig::start_emulated(sandbox, spec, &[&more[0]], machine, before)?;
        rival.client.connected(BACK)?;
        rig.signs_again(BACK)?;
        body(&mut rig, &mut rival)?;
        rival.asks(&rig)?;
        let height = rig.chain.height()?;
        e2e::say(&format!(
            "{name}: {height} blocks, {} votes for other blocks refused, {:.0} s",
            rival.refused,
            begun.elapsed().as_secs_f64()
        ));
        rig.expect_clean()
    })
}

/// A second node, which asks the same key for other blocks where the chain has been: the record outlives every fault.
struct Rival {
    client: Client,
    observer: Observer,
    refused: u64,
}

impl Rival {
    fn listen(sandbox: &Sandbox, chain_id: &str) -> Result<Self> {
        let client = Client::listen(sandbox, "rival", Line::V038, Transport::Unix, chain_id)?;
        Ok(Self { client, observer: Observer::new(), refused: 0 })
    }

    /// Asks for another block at the last two heights that the validator has signed.
    fn asks(&mut self, rig: &EnclaveRig) -> Result<()> {
        let height = i64::try_from(rig.chain.height()?)?;
        for vote in [Vote::prevote(height - 1, 0xaa), Vote::precommit(height - 1, 0xbb), Vote::precommit(height, 0xcc)]
        {
            self.refuses(&vote)?;
        }
        Ok(())
    }

    /// The client learns of a lost connection when it asks.
    fn refuses(&mut self, vote: &Vote) -> Result<()> {
        for _ in 0..3 {
            match self.client.vote(vote, &self.observer)? {
                Answer::Signed(_) => anyhow::bail!("DOUBLE SIGN: another block was signed: {vote:?}"),
                Answer::Refused(_) => {
                    self.refused += 1;
                    return Ok(());
                }
                Answer::Broken(_) => self.client.wait(BACK)?,
            }
        }
        anyhow::bail!("the second node lost its connection three times in a row")
    }
}

#[test]
fn v038_over_unix_with_the_image_and_every_fault_that_makes_sense_there() -> Result<()> {
    with_rig(
        "emulated-unix",
        Transport::Unix,
        Machine::built()?,
        |_| Ok(()),
        |rig, rival| {
            let signed = rig.every_commit_signed(BLOCKS)?;
            e2e::say(&format!("over a Unix proxy: {signed} commits in a row bear its signature"));
            let mut watch = rig.enclave.watch()?;
            let mut tell = |rig: &mut EnclaveRig, what: &str| -> Result<()> {
                let back = rig.signs_again(BACK).with_context(|| format!("after: {what}"))?;
                rival.asks(rig).with_context(|| format!("after: {what}"))?;
                e2e::say(&format!("{what}: four commits signed in a row after {:.1} s", back.as_secs_f64()));
                Ok(())
            };

            rig.enclave.emulator()?.kill();
            sleep(Duration::from_secs(1));
            rig.enclave.start_enclave()?;
            tell(rig, "the enclave's power was cut; started again, the watch pushes")?;

            for (what, time) in [("shortly", 2), ("longer than a node waits", 7)] {
                rig.enclave.emulator()?.machine.pause()?;
                sleep(Duration::from_secs(time));
                rig.enclave.emulator()?.machine.resume()?;
                tell(rig, &format!("the enclave stood still, {what}"))?;
                rig.enclave.emulator()?.vsock.pause()?;
                sleep(Duration::from_secs(time));
                rig.enclave.emulator()?.vsock.resume()?;
                tell(rig, &format!("vsock was stalled, {what}"))?;
            }

            for pause in [0, 1500] {
                rig.enclave.persist.as_mut().context("no persist")?.kill();
                sleep(Duration::from_millis(pause));
                rig.enclave.start_persist()?;
                tell(rig, "persist was killed")?;
            }

            flood(rig)?;
            tell(rig, "a flood ended")?;

            rig.enclave.emulator()?.vsock.kill();
            sleep(Duration::from_secs(1));
            ensure!(rig.enclave.status().is_err(), "an enclave without vsock has a status");
            // Its own node stands still: it waits for its signer.
            let others = rig.chain.node(1);
            let height = others.height()?;
            others.reach(height + 5, BACK).context("the other three go on without it")?;
            rig.enclave.start_enclave()?;
            tell(rig, "vsock was cut for good; the enclave was started again")?;

            watch.check()?;
            let ended = watch.terminate(Duration::from_secs(5))?;
            ensure!(ended.success(), "the watch does not end well: {}", watch.log_text());
            Ok(())
        },
    )
}

/// Noise, slow and silent connections at every port of the enclave and of the parent, and readers of everything that can be read.
fn flood(rig: &mut EnclaveRig) -> Result<()> {
    let base = rig.enclave.vsock();
    let control = Target::Enclave(base.clone(), 5050);
    let mut targets = vec![control.clone(), control, Target::Enclave(base, 1)];
    targets.extend(e2e::Enclave::parent_ports().map(|port| Target::Parent(rig.enclave.parent_port(port))));
    let mut followers: Vec<_> = (0..6).map(|_| rig.enclave.follow_log()).collect::<Result<_>>()?;
    let flood = Flood::begin(&targets, &Manner::ALL);
    let from = rig.chain.height()?;
    let to = rig.grow(60)? - 1;
    let (connections, bytes) = flood.end();
    for follower in &mut followers {
        follower.kill();
    }
    let signed = rig.chain.signed_heights(from, to)?.len() as u64;
    let all = to - from + 1;
    e2e::say(&format!(
        "flooded with {connections} connections and {} KiB: {signed} of {all} commits signed",
        bytes >> 10
    ));
    ensure!(connections > 100 && bytes > 1 << 20, "{connections} connections and {bytes} bytes are no flood");
    ensure!(signed * 10 >= all * 8, "only {signed} of {all} commits bear its signature under a flood");
    rig.enclave.push().map(drop).context("a push right after the flood")
}

#[test]
fn v038_over_tcp_with_128_mib_and_kms_releases_to_this_image_alone() -> Result<()> {
    let machine = Machine::built()?.with_memory(128);
    let documents: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let recorder = Arc::clone(&documents);
    let record = move |enclave: &mut e2e::Enclave| {
        // Before any other verifier: it believes nothing and keeps what it saw.
        enclave.kms().trust_verifier(move |document, _| {
            recorder.lock().unwrap_or_else(PoisonError::into_inner).push(document.to_vec());
            Err("recorded only".to_owned())
        });
        Ok(())
    };
    with_rig("emulated-tcp", Transport::Tcp, machine, record, |rig, rival| {
        let signed = rig.every_commit_signed(BLOCKS)?;
        e2e::say(&format!(
            "over TCP, SecretConnection ends in the enclave: {signed} commits in a row bear its signature"
        ));
        let recorded = documents.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ensure!(recorded.len() >= 2, "key and identity are two requests, {} were seen", recorded.len());
        replay::a_recorded_document_opens_nothing(rig, &recorded[0])?;
        another_image_is_refused(rig)?;
        rival.client.wait(BACK)?;
        rig.signs_again(BACK)?;
        Ok(())
    })
}

/// One byte of the program, one of the policy: each is another measurement. The original is let in again.
fn another_image_is_refused(rig: &mut EnclaveRig) -> Result<()> {
    let original = rig.enclave.image()?.measured.clone();
    let program = rig.enclave.machine()?.program.clone();
    let mut bytes = fs::read(&program)?;
    // The end of an ELF file is its section headers, which nothing loads: the program is the same, and still another image.
    *bytes.last_mut().context("an empty program")? ^= 1;
    let changed = rig.enclave.folder().join("changed");
    fs::write(&changed, bytes)?;
    rig.enclave.machine()?.program = changed;
    is_refused(rig, &original.pcr0, "one changed byte in the program")?;
    let measured = rig.enclave.image()?.measured.clone();
    ensure!(measured.pcr1 != original.pcr1 && measured.pcr2 == original.pcr2, "{measured:?}");

    rig.enclave.machine()?.program = program;
    rig.enclave.policy = "# one more line\n".to_owned();
    is_refused(rig, &original.pcr0, "another policy")?;
    let measured = rig.enclave.image()?.measured.clone();
    ensure!(measured.pcr1 == original.pcr1 && measured.pcr2 != original.pcr2, "{measured:?}");

    rig.enclave.policy.clear();
    rig.enclave.start_enclave()?;
    ensure!(rig.enclave.image()?.measured == original, "the same parts measure differently");
    rig.enclave.push().map(drop)
}

fn is_refused(rig: &mut EnclaveRig, original: &str, what: &str) -> Result<()> {
    rig.enclave.start_enclave()?;
    let pcr0 = rig.enclave.image()?.measured.pcr0.clone();
    ensure!(pcr0 != original, "{what}: PCR0 is the same");
    let output = rig.enclave.try_push(&[])?;
    let said = said(&output);
    ensure!(!output.status.success(), "{what}: the key was released: {said}");
    for word in [pcr0.as_str(), "kms:RecipientAttestation:ImageSha384"] {
        ensure!(said.contains(word), "{what}: {word:?} is not in: {said}");
    }
    let last = rig.enclave.kms().requests().pop().context("KMS was not asked")?;
    ensure!(last.outcome == "AccessDeniedException" && last.pcr0.as_deref() == Some(&*pcr0), "{what}: {last:?}");
    let reason = rig.enclave.status()?["failure"]["reason"].to_string();
    e2e::say(&format!("{what}: refused, {}", reason.chars().take(150).collect::<String>()));
    Ok(())
}
