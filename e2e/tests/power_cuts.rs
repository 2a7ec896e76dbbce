//! Real power cuts: a guest is killed while signers in it sign, its disks lose what was not flushed, and after the next start nobody may sign
//! something else at a position whose signature is out.
use anyhow::{Result, ensure};
use e2e::guest::Filesystem::{Ext4, Xfs};
use e2e::guest::cuts::{Kind, PowerCuts, table};
use e2e::{Sandbox, say};
use std::time::Instant;

const CUTS: u32 = 20;
/// Reproducible: the same cuts each time, as far as a machine's timing is the same.
const SEED: u64 = 5;

#[test]
fn after_a_power_cut_this_signer_refuses_the_conflict_and_filepv_signs_it_unless_its_file_system_syncs() -> Result<()> {
    Sandbox::run("power-cuts", |sandbox| {
        let begun = Instant::now();
        let plan = [
            (Kind::Start, Ext4),
            (Kind::Start, Xfs),
            (Kind::Persist, Ext4),
            (Kind::Persist, Xfs),
            (Kind::FilePv, Ext4),
            (Kind::FilePvSync, Ext4),
        ];
        let mut cuts = PowerCuts::prepare(sandbox, &plan, SEED)?;
        for cut in 1..=CUTS {
            cuts.cut()?;
            say(&format!(
                "power cut {cut} of {CUTS}: every signer was back {:.1} s after power",
                cuts.last_start.as_secs_f64()
            ));
        }
        cuts.last()?;
        let tallies = cuts.tallies();
        say(&format!("{cuts}, in {:.0} s\n{}", begun.elapsed().as_secs_f64(), table(&tallies)));
        cuts.expect_no_conflict()?;
        for tally in tallies.iter().filter(|tally| tally.kind.is_safe()) {
            ensure!(tally.refused == CUTS, "expected {CUTS} refusals, got {tally:?}");
        }
        let shown = tallies.iter().filter(|tally| tally.kind == Kind::FilePv).map(|tally| tally.conflicts).sum::<u32>();
        ensure!(shown > 0, "FilePV signed no conflict in {CUTS} cuts, so the cuts show nothing");
        Ok(())
    })
}
