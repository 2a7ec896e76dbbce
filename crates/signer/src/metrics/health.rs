//! How chains fare, in words: what the health check answers, and what a status shows.
use super::{ChainSnapshot, Snapshot, State};
use std::fmt::Write;

impl Snapshot {
    /// `healthy`, or a line for each chain that is not. It fails when votes stop, not only when the connection does.
    #[must_use]
    pub fn health(&self) -> String {
        if self.healthy {
            return "healthy\n".to_owned();
        }
        let sick = self.chains.iter().filter(|chain| !chain.state.is_healthy());
        sick.fold(String::new(), |mut text, chain| {
            let _ = writeln!(text, "{}: {}", chain.chain_id, chain.describe());
            text
        })
    }
}

impl ChainSnapshot {
    /// How it fares, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let since = self.last_signed.map_or(0.0, |last| last.seconds_ago);
        let nodes = self.connections.iter().filter(|connection| connection.up).count();
        match self.state {
            State::Signing => format!("signing, last {since:.1} s ago"),
            State::Waiting if nodes > 0 => "connected, not yet asked for a signature".to_owned(),
            State::Waiting => "starting, no node is connected yet".to_owned(),
            State::Unconnected => "no node is connected, and none asked for a signature since the start".to_owned(),
            State::Stopped => format!("nothing is signed: {}", self.stopped_by.as_deref().unwrap_or("see the log")),
            State::Stalled => {
                format!("no signature for {since:.0} s, {nodes} of {} nodes connected", self.connections.len())
            }
        }
    }
}
