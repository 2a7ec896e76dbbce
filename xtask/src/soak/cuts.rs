//! `cargo xtask soak --only cuts`: real power cuts of a guest in which this signer, FilePV and tmkms sign side by side; see docs/power-cuts.md.
use crate::bench::build_tmkms;
use crate::{guest, nodes, step};
use anyhow::{Context, Result};
use e2e::guest::Filesystem::{Ext4, Xfs};
use e2e::guest::Tools;
use e2e::guest::cuts::{Kind, PowerCuts, table};
use e2e::{Line, Sandbox};
use std::time::{Duration, Instant};

/// Everybody, each on a disk of its own, under the same cuts.
const PLAN: [(Kind, e2e::guest::Filesystem); 9] = [
    (Kind::Start, Ext4),
    (Kind::Start, Xfs),
    (Kind::Persist, Ext4),
    (Kind::Persist, Xfs),
    (Kind::FilePv, Ext4),
    (Kind::FilePv, Xfs),
    (Kind::Tmkms, Ext4),
    (Kind::Tmkms, Xfs),
    (Kind::FilePvSync, Ext4),
];
/// How often the table is shown meanwhile.
const EVERY: u32 = 25;

/// When it is over.
pub enum Until {
    Time(Duration),
    Count(u32),
}

impl Until {
    fn is_over(&self, begun: Instant, cuts: u32) -> bool {
        match self {
            Self::Time(time) => begun.elapsed() >= *time,
            Self::Count(count) => cuts >= *count,
        }
    }
}

pub fn run(until: &Until, seed: u64) -> Result<()> {
    step::run("build the guest's relay", step::cargo().args(["build", "--release", "--package", "e2e", "--bins"]))?;
    nodes::ensure(&[Line::V038])?;
    guest::ensure()?;
    build_tmkms()?;
    println!("\n==> power cuts with --seed {seed}: Linux {} in {}", Tools::find()?.release, guest::qemu_version()?);
    Sandbox::run("soak-cuts", |sandbox| {
        let mut cuts = PowerCuts::prepare(sandbox, &PLAN, seed)?;
        let ended = go_on(&mut cuts, until);
        println!("{}\n\n{}", cuts, table(&cuts.tallies()));
        ended.with_context(|| format!("after {} cuts with --seed {seed}", cuts.cuts))
    })
}

fn go_on(cuts: &mut PowerCuts, until: &Until) -> Result<()> {
    let begun = Instant::now();
    while !until.is_over(begun, cuts.cuts) {
        cuts.cut()?;
        cuts.expect_no_conflict()?;
        println!("cut {}: all were back {:.1} s after power", cuts.cuts, cuts.last_start.as_secs_f64());
        if cuts.cuts.is_multiple_of(EVERY) {
            println!("{}", table(&cuts.tallies()));
        }
    }
    cuts.last()?;
    cuts.expect_no_conflict()
}
