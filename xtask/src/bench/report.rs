//! Figures, their ratios, a table for people and JSON for the record.
use super::peers::Peer;
use anyhow::{Context, Result};
use e2e::Transport;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// One signer on one transport: its latencies, round by round.
pub struct Figures {
    peer: Peer,
    transport: Transport,
    rounds: Vec<Vec<u64>>,
}

impl Figures {
    pub const fn new(peer: Peer, transport: Transport) -> Self {
        Self { peer, transport, rounds: vec![] }
    }

    pub fn add_round(&mut self, mut latencies_ns: Vec<u64>) {
        latencies_ns.sort_unstable();
        self.rounds.push(latencies_ns);
    }

    /// The median over the rounds of each round's quantile: one noisy round moves it little. Microseconds.
    fn micros(&self, quantile: f64) -> f64 {
        let mut of_rounds: Vec<u64> = self.rounds.iter().map(|round| at_quantile(round, quantile)).collect();
        of_rounds.sort_unstable();
        at_quantile(&of_rounds, 0.5) as f64 / 1000.0
    }
}

/// The value at a quantile of sorted numbers; 0 for none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within a slice")]
pub fn at_quantile(sorted: &[u64], quantile: f64) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * quantile).round() as usize).copied().unwrap_or(0)
}

/// Many chains in one process, beside one chain at the same pace of asking.
pub struct Many {
    pub chains: u32,
    pub votes: usize,
    pub p50_us: f64,
    pub p99_us: f64,
    pub one_chain_p50_us: f64,
    pub one_chain_p99_us: f64,
    pub resident_bytes: u64,
    pub start_to_connected_ms: f64,
}

/// From starting the process to the first answered vote, one chain. Milliseconds.
pub struct ColdStart {
    pub p50_ms: f64,
    pub max_ms: f64,
}

/// The enclave's own figures.
pub struct EnclaveFigures {
    /// From starting `push-config` to the first answered vote, with the RSA key made before.
    pub push_p50_ms: f64,
    pub push_max_ms: f64,
    /// Resident memory of the enclave's process.
    pub one_chain_bytes: u64,
    pub chains: u32,
    pub many_chains_bytes: u64,
}

/// Where the time from the power to the first signature goes, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BootPart {
    Kernel,
    Init,
    RsaKey,
    Waiting,
    Checking,
    Attest,
    Kms,
    Records,
    Dial,
    Rest,
}

impl BootPart {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Init => "init and self-checks",
            Self::RsaKey => "RSA key",
            Self::Waiting => "waiting for the configuration",
            Self::Checking => "checking it",
            Self::Attest => "attesting",
            Self::Kms => "KMS",
            Self::Records => "loading the records",
            Self::Dial => "dialling the node",
            Self::Rest => "QEMU, firmware and the first vote",
        }
    }
}

/// The image in the emulator.
pub struct EmulatedFigures {
    pub boots: u32,
    /// From QEMU's start to the first answered vote.
    pub boot_p50_ms: f64,
    pub boot_max_ms: f64,
    /// The median of each part.
    pub split_ms: Vec<(BootPart, f64)>,
    pub image_bytes: u64,
    /// Kernel and program are built, and nothing has changed.
    pub build_again_s: f64,
    /// Kernel and program from nothing, where that was asked for.
    pub build_from_nothing_s: Option<f64>,
    pub machine_mib: u32,
    /// Of the whole enclave: kernel, ramdisks and program.
    pub memory_used_bytes: u64,
    pub program_bytes: u64,
    /// The emulation's own vsock, with nothing of ours in it.
    pub round_trip_p50_us: f64,
    pub round_trip_p99_us: f64,
}

impl EmulatedFigures {
    fn print(&self) {
        let from_nothing = self.build_from_nothing_s.map_or_else(String::new, |s| format!(", {s:.0} s from nothing"));
        println!("building the image takes {:.1} s where nothing changed{from_nothing}", self.build_again_s);
        let split: Vec<_> = self.split_ms.iter().map(|(part, ms)| format!("{} {ms:.0}", part.name())).collect();
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        println!(
            "in the emulator: boot to first signature p50 {:.0} ms, slowest {:.0} ms ({} boots), of which {} ms; image {:.2} MiB; memory in use {:.1} of \
             {} MiB, the program's {:.1} MiB; a vsock round trip with nothing of ours in it p50 {:.0} µs, p99 {:.0} µs",
            self.boot_p50_ms,
            self.boot_max_ms,
            self.boots,
            split.join(", "),
            mib(self.image_bytes),
            mib(self.memory_used_bytes),
            self.machine_mib,
            mib(self.program_bytes),
            self.round_trip_p50_us,
            self.round_trip_p99_us
        );
    }

    fn json(&self) -> Value {
        let split: serde_json::Map<String, Value> =
            self.split_ms.iter().map(|(part, ms)| (part.name().to_owned(), json!(ms))).collect();
        json!({"boots": self.boots, "boot_to_first_signature_p50_ms": self.boot_p50_ms,
               "boot_to_first_signature_max_ms": self.boot_max_ms, "split_p50_ms": split, "image_bytes": self.image_bytes,
               "build_again_s": self.build_again_s, "build_from_nothing_s": self.build_from_nothing_s, "machine_mib": self.machine_mib, "memory_used_bytes": self.memory_used_bytes,
               "program_resident_bytes": self.program_bytes, "vsock_round_trip_p50_us": self.round_trip_p50_us,
               "vsock_round_trip_p99_us": self.round_trip_p99_us})
    }
}

pub struct Report {
    pub latency: Vec<Figures>,
    pub many: Option<Many>,
    pub cold_start: Option<ColdStart>,
    pub enclave: Option<EnclaveFigures>,
    pub emulated: Option<EmulatedFigures>,
    /// Calls per vote by name; empty where strace is missing.
    pub system_calls: Vec<(String, f64)>,
}

impl Report {
    pub const fn new() -> Self {
        Self { latency: vec![], many: None, cold_start: None, enclave: None, emulated: None, system_calls: vec![] }
    }

    fn find(&self, peer: Peer, transport: Transport) -> Option<&Figures> {
        self.latency.iter().find(|figures| (figures.peer, figures.transport) == (peer, transport))
    }

    /// What the project promises of itself, each with the measured ratio.
    fn goals(&self) -> Vec<(&'static str, f64, f64)> {
        let ratio = |quantile, transport, to, to_transport| {
            Some(self.find(Peer::Ours, transport)?.micros(quantile) / self.find(to, to_transport)?.micros(quantile))
        };
        let (unix, tcp) = (Transport::Unix, Transport::Tcp);
        let mut goals = vec![
            ("Unix p50 / floor", ratio(0.5, unix, Peer::Floor, unix), 1.25),
            ("Unix p50 / FilePV", ratio(0.5, unix, Peer::FilePv, unix), 0.5),
            ("Unix p99 / floor", ratio(0.99, unix, Peer::Floor, unix), 2.0),
            ("TCP p50 / tmkms 0.15.0", ratio(0.5, tcp, Peer::Tmkms, tcp), 0.8),
        ];
        if let Some(many) = &self.many {
            goals.push(("many chains p99 / one chain", Some(many.p99_us / many.one_chain_p99_us), 2.0));
            goals.push(("many chains, resident MiB", Some(many.resident_bytes as f64 / 1_048_576.0), 64.0));
            goals.push(("many chains, start to all connected, s", Some(many.start_to_connected_ms / 1000.0), 2.0));
        }
        if let Some(cold) = &self.cold_start {
            goals.push(("cold start to first answer, ms", Some(cold.p50_ms), 50.0));
        }
        let in_enclave = |quantile| {
            Some(self.find(Peer::Enclave, unix)?.micros(quantile) / self.find(Peer::Ours, unix)?.micros(quantile))
        };
        goals.push(("enclave p50 / host, Unix", in_enclave(0.5), 2.0));
        if let Some(enclave) = &self.enclave {
            let mib = |bytes: u64| Some(bytes as f64 / 1_048_576.0);
            goals.push(("enclave, push to first signature, ms", Some(enclave.push_p50_ms), 300.0));
            goals.push(("enclave, one chain, resident MiB", mib(enclave.one_chain_bytes), 16.0));
            goals.push(("enclave, 64 chains, resident MiB", mib(enclave.many_chains_bytes), 32.0));
        }
        if let Some(emulated) = &self.emulated {
            let bytes = emulated.image_bytes as f64;
            goals.push(("emulated, boot to first signature, s", Some(emulated.boot_p50_ms / 1000.0), 3.0));
            goals.push(("image, MiB", Some(bytes / 1_048_576.0), 8.0));
        }
        goals.into_iter().filter_map(|(name, value, limit)| Some((name, value?, limit))).collect()
    }

    pub fn print(&self) {
        println!("\n{:<16} {:<5} {:>9} {:>9} {:>8}", "signer", "over", "p50 µs", "p99 µs", "rounds");
        for figures in &self.latency {
            let over = transport_name(figures.transport);
            let (p50, p99) = (figures.micros(0.5), figures.micros(0.99));
            println!("{:<16} {over:<5} {p50:>9.0} {p99:>9.0} {:>8}", figures.peer.name(), figures.rounds.len());
        }
        if let Some(many) = &self.many {
            println!(
                "\n{} chains, one vote a second each: {} votes, p50 {:.0} µs, p99 {:.0} µs (one chain: {:.0} and {:.0} µs), {:.1} MiB resident, all connected after {:.0} ms",
                many.chains,
                many.votes,
                many.p50_us,
                many.p99_us,
                many.one_chain_p50_us,
                many.one_chain_p99_us,
                many.resident_bytes as f64 / 1_048_576.0,
                many.start_to_connected_ms
            );
        }
        if let Some(cold) = &self.cold_start {
            println!("cold start to the first answer: p50 {:.1} ms, slowest {:.1} ms", cold.p50_ms, cold.max_ms);
        }
        if let Some(enclave) = &self.enclave {
            println!(
                "enclave: push to first signature p50 {:.0} ms, slowest {:.0} ms; resident {:.1} MiB with one chain, {:.1} MiB with {}",
                enclave.push_p50_ms,
                enclave.push_max_ms,
                enclave.one_chain_bytes as f64 / 1_048_576.0,
                enclave.many_chains_bytes as f64 / 1_048_576.0,
                enclave.chains
            );
        }
        if let Some(emulated) = &self.emulated {
            emulated.print();
        }
        if !self.system_calls.is_empty() {
            let calls: Vec<_> = self.system_calls.iter().map(|(name, count)| format!("{name} {count:.2}")).collect();
            println!("system calls per vote: {}", calls.join(", "));
        }
        println!("\n{:<40} {:>9} {:>7}", "goal", "measured", "limit");
        for (name, value, limit) in self.goals() {
            println!("{name:<40} {value:>9.2} {limit:>7.2}  {}", if value <= limit { "met" } else { "MISSED" });
        }
    }

    pub fn save(&self, path: &Path) -> Result<()> {
        let latency: Vec<Value> = self
            .latency
            .iter()
            .map(|f| {
                let votes: usize = f.rounds.iter().map(Vec::len).sum();
                json!({"signer": f.peer.name(), "transport": transport_name(f.transport), "rounds": f.rounds.len(),
                       "votes": votes, "p50_us": f.micros(0.5), "p99_us": f.micros(0.99)})
            })
            .collect();
        let goals: Vec<Value> = self
            .goals()
            .iter()
            .map(|(name, value, limit)| json!({"goal": name, "measured": value, "limit": limit, "met": value <= limit}))
            .collect();
        let many = self.many.as_ref().map(|m| {
            json!({"chains": m.chains, "votes": m.votes, "p50_us": m.p50_us, "p99_us": m.p99_us,
                   "one_chain_p50_us": m.one_chain_p50_us, "one_chain_p99_us": m.one_chain_p99_us,
                   "resident_bytes": m.resident_bytes, "start_to_connected_ms": m.start_to_connected_ms})
        });
        let cold = self.cold_start.as_ref().map(|c| json!({"p50_ms": c.p50_ms, "max_ms": c.max_ms}));
        let enclave = self.enclave.as_ref().map(|e| {
            json!({"push_to_first_signature_p50_ms": e.push_p50_ms, "push_to_first_signature_max_ms": e.push_max_ms,
                   "one_chain_resident_bytes": e.one_chain_bytes, "chains": e.chains,
                   "many_chains_resident_bytes": e.many_chains_bytes})
        });
        let emulated = self.emulated.as_ref().map(EmulatedFigures::json);
        let calls: serde_json::Map<String, Value> =
            self.system_calls.iter().map(|(name, count)| (name.clone(), json!(count))).collect();
        let all = json!({"machine": machine(), "latency": latency, "many_chains": many, "cold_start": cold, "enclave": enclave,
                         "emulated": emulated,
                         "system_calls_per_vote": calls, "goals": goals});
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, format!("{all:#}\n")).with_context(|| format!("cannot write {}", path.display()))?;
        println!("\nwritten to {}", path.display());
        Ok(())
    }
}

const fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Unix => "unix",
        Transport::Tcp => "tcp",
    }
}

/// What a reader needs to know about where the figures come from.
fn machine() -> Value {
    let line = |command: &str, args: &[&str]| {
        let output = Command::new(command).args(args).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).map(|l| l.trim_start_matches([' ', '\t', ':']));
    json!({
        "cpu": model,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": line("uname", &["-r"]),
        "file_system": line("stat", &["-f", "-c", "%T", "."]),
        "rustc": line("rustc", &["--version"]),
        "go": line("go", &["version"]),
        "note": "a shared, noisy virtual machine: only the ratios within one run mean anything",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_sorted_numbers() {
        let numbers: Vec<u64> = (0..=100).collect();
        assert_eq!((at_quantile(&numbers, 0.5), at_quantile(&numbers, 0.99), at_quantile(&[], 0.5)), (50, 99, 0));
    }
}
