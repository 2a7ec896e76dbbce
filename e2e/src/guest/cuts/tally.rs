//! What came of the cuts, by signer.
use super::Kind;
use crate::guest::Filesystem;
use std::fmt::Write;
use std::time::Duration;

/// One signer's figures.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    /// What it is.
    pub kind: Kind,
    /// On what.
    pub filesystem: Filesystem,
    /// Votes that were signed before cuts.
    pub signatures: u64,
    /// Cuts after which it was asked for a conflicting vote at the last position whose signature its client held.
    pub asked: u32,
    /// How often it refused.
    pub refused: u32,
    /// How often it signed: a double sign each.
    pub conflicts: u32,
    /// Cuts after which it did not come back: its state was damaged.
    pub lost: u32,
    /// The longest time from power to its first new signature.
    pub slowest_return: Duration,
}

impl Tally {
    /// Nothing yet.
    #[must_use]
    pub const fn new(kind: Kind, filesystem: Filesystem) -> Self {
        Self {
            kind,
            filesystem,
            signatures: 0,
            asked: 0,
            refused: 0,
            conflicts: 0,
            lost: 0,
            slowest_return: Duration::ZERO,
        }
    }
}

/// The table in Markdown.
#[must_use]
pub fn table(tallies: &[Tally]) -> String {
    let mut out = "| signer | file system | cuts | double signs | refused | did not come back | signed before cuts |\n\
        |---|---|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for tally in tallies {
        let cuts = tally.asked + tally.lost;
        let Tally { filesystem, conflicts, refused, lost, signatures, .. } = tally;
        let _ = writeln!(
            out,
            "| {} | {filesystem} | {cuts} | {conflicts} | {refused} | {lost} | {signatures} |",
            tally.kind.name()
        );
    }
    out
}
