//! Power cuts: signers in a guest sign for clients outside, the guest is killed, its disks lose what was not flushed, it is started again, and
//! every signer is asked for another block at the last position whose signature its client holds.
mod kind;
mod subject;
mod tally;

pub use kind::{Kind, TMKMS_PEER, tmkms_peer};
pub use tally::{Tally, table};

use super::{Chance, Cut, Guest, GuestSpec, Loss, Relay};
use crate::signer::{binary, built};
use crate::{Line, Sandbox, until};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use subject::Subject;

use super::Filesystem;

/// From power to the first signature, on a machine that does much else.
const RETURN_LIMIT: Duration = Duration::from_secs(150);
/// As [`RETURN_LIMIT`] for a peer, which is counted as lost and does not end the run.
const PEER_LIMIT: Duration = Duration::from_secs(75);
/// How long is signed at least and at most before a cut.
const SIGNING_MS: (u64, u64) = (300, 2000);
/// The guest's TCP port of the first persist.
const FIRST_STATE_PORT: u16 = 555;

/// Who is under test, by what it runs and what its disk is formatted with; each has a disk of its own, for one signer's flush would save its
/// neighbour's writes.
pub type Plan = Vec<(Kind, Filesystem)>;

/// A guest full of signers, and a client for each.
pub struct PowerCuts {
    guest: Guest,
    subjects: Vec<Subject>,
    _relays: Vec<Relay>,
    chance: Chance,
    reseed: Vec<String>,
    /// How long the last start took, from power to the first signature of every signer.
    pub last_start: Duration,
    /// What the disks kept and lost over all cuts.
    pub disks: Cut,
    /// How many cuts there were.
    pub cuts: u32,
    power: AtomicBool,
    signing: AtomicUsize,
}

impl PowerCuts {
    /// Makes disks, keys, states and clients; the guest has no power yet.
    ///
    /// # Errors
    /// When a program is missing.
    pub fn prepare(sandbox: &Sandbox, plan: &[(Kind, Filesystem)], seed: u64) -> Result<Self> {
        ensure!(!plan.is_empty(), "nobody to cut the power of");
        let mut subjects = Vec::new();
        let mut state_port = FIRST_STATE_PORT;
        for (kind, filesystem) in plan {
            subjects.push(Subject::prepare(sandbox, *kind, *filesystem, state_port)?);
            state_port += u16::from(*kind == Kind::Persist);
        }
        let guest = Guest::prepare(sandbox, "guest", spec(&subjects)?)?;
        let relays = subjects.iter().filter_map(Subject::relay).collect::<Result<_>>()?;
        Ok(Self {
            guest,
            subjects,
            _relays: relays,
            chance: Chance::new(seed),
            reseed: Vec::new(),
            last_start: Duration::ZERO,
            disks: Cut::default(),
            cuts: 0,
            power: AtomicBool::new(false),
            signing: AtomicUsize::new(0),
        })
    }

    /// Power on, every signer is asked and signs, and after a random while the power is cut. The question about the cut is asked at the next start:
    /// the last call is [`PowerCuts::last`].
    ///
    /// # Errors
    /// When one of ours does not come back by itself or does not sign; a conflict is counted, see [`PowerCuts::tallies`].
    pub fn cut(&mut self) -> Result<()> {
        let (least, most) = SIGNING_MS;
        let pause = Duration::from_millis(least + self.chance.below(most - least));
        self.power_on(Some(pause))?;
        self.cuts += 1;
        for subject in &self.subjects {
            let loss = Loss::draw(&mut self.chance);
            let cut = subject.disk.cut(loss, &mut self.chance)?;
            self.disks.kept += cut.kept;
            self.disks.lost += cut.lost;
        }
        Ok(())
    }

    /// Power on once more, to ask about the last cut.
    ///
    /// # Errors
    /// As [`PowerCuts::cut`].
    pub fn last(&mut self) -> Result<()> {
        self.power_on(None)
    }

    /// What came of it, by signer.
    #[must_use]
    pub fn tallies(&self) -> Vec<Tally> {
        self.subjects.iter().map(Subject::tally).collect()
    }

    /// That none of ours, and no FilePV whose file system syncs, has signed a conflict or stayed away.
    ///
    /// # Errors
    /// With the figures of the first that did.
    pub fn expect_no_conflict(&self) -> Result<()> {
        let safe = |tally: &Tally| !tally.kind.is_safe() || (tally.conflicts == 0 && tally.lost == 0);
        let tallies = self.tallies();
        let unsafe_one = tallies.iter().find(|tally| !safe(tally));
        ensure!(unsafe_one.is_none(), "expected no conflict and everybody back, got {unsafe_one:?}");
        Ok(())
    }

    fn power_on(&mut self, pause: Option<Duration>) -> Result<()> {
        let begun = Instant::now();
        self.power.store(true, Ordering::SeqCst);
        self.signing.store(0, Ordering::SeqCst);
        let words: Vec<String> = self.reseed.drain(..).map(|name| format!("reseed={name}")).collect();
        self.guest.boot(&words)?;
        let (power, signing) = (&self.power, &self.signing);
        let (guest, subjects) = (&mut self.guest, &self.subjects);
        let run = std::thread::scope(|scope| {
            let workers: Vec<_> = subjects
                .iter()
                .map(|subject| scope.spawn(move || subject.serve(begun, power, signing, pause.is_some())))
                .collect();
            let waited = watch(guest, subjects, signing);
            let took = begun.elapsed();
            if let (Ok(()), Some(pause)) = (&waited, pause) {
                std::thread::sleep(pause);
            }
            power.store(false, Ordering::SeqCst);
            guest.cut();
            subjects.iter().for_each(Subject::cut);
            let ended = workers.into_iter().map(|worker| worker.join());
            let ended: Result<Vec<bool>> = ended.map(|one| one.unwrap_or_else(|_| anyhow::bail!("panicked"))).collect();
            waited.and(ended).map(|back| (back, took))
        });
        let (back, took) = run?;
        self.last_start = took;
        let gone = self.subjects.iter().zip(back).filter(|(_, back)| !back);
        self.reseed = gone.map(|(subject, _)| subject.name.clone()).collect();
        Ok(())
    }
}

impl fmt::Display for PowerCuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cut { kept, lost } = self.disks;
        write!(f, "{} power cuts; of the sectors that were not flushed {kept} were kept and {lost} lost", self.cuts)
    }
}

/// Waits until every signer signs, and tells those whose signer has ended in the guest, or will never come.
fn watch(guest: &mut Guest, subjects: &[Subject], signing: &AtomicUsize) -> Result<()> {
    guest.ready(RETURN_LIMIT)?;
    subjects.iter().for_each(|subject| subject.guest_is_ready());
    let mut ended = BTreeSet::new();
    until("every signer to sign", RETURN_LIMIT, || {
        guest.process()?.check()?;
        let console = guest.console();
        for subject in subjects.iter().filter(|subject| console.contains(&format!("guest: {} has ended", subject.name)))
        {
            subject.has_ended();
            ended.insert(&subject.name);
        }
        Ok((signing.load(Ordering::SeqCst) == subjects.len()).then_some(()))
    })
    .with_context(|| format!("ended in the guest: {ended:?}"))
}

fn spec(subjects: &[Subject]) -> Result<GuestSpec> {
    let mut programs = vec![(binary()?, "opt/tmkms".to_owned()), (Line::V038.harness()?, "opt/harness".to_owned())];
    if subjects.iter().any(|subject| subject.kind == Kind::Tmkms) {
        programs.push((tmkms_peer(), "opt/tmkms-peer".to_owned()));
    }
    let files: Vec<(PathBuf, String)> =
        subjects.iter().map(|subject| (subject.seed.clone(), format!("seed/{}", subject.name))).collect();
    if subjects.iter().any(|subject| subject.kind == Kind::Persist) {
        programs.push((built("guest-relay")?, "opt/guest-relay".to_owned()));
    }
    Ok(GuestSpec {
        memory_mib: 384,
        disks: subjects.iter().map(|subject| subject.disk.clone()).collect(),
        programs,
        files,
        script: subjects.iter().map(Subject::script).collect(),
        forwards: subjects.iter().filter_map(Subject::forward).collect(),
        ..GuestSpec::default()
    })
}
