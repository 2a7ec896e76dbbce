//! `tmkms nitro status`: how an enclave fares, as it says itself.
use super::asking::{self, EnclaveOption};
use crate::failure::{Exit, Failure};
use clap::Args;
use std::io::{self, Write};
use wire::control::{Answer, ChainStatus, ChosenBy, CredentialsStatus, MachineStatus, Phase, Request, Status as Page};

const EXAMPLES: &str = "\
What the enclave says of itself is as trustworthy as the way it comes: over vsock from a machine that you trust. A measurement that \
counts is the one that KMS checked before it released a key.

A thing that is \"substitutable\" was chosen by whoever pushed the configuration; \"fixed by the image\" is what the measured \
policy in the image fixes. Exits with 0 only if the enclave serves and every chain is healthy.

Examples:
  tmkms nitro status -i 16
  tmkms nitro status -i 16 --json | jq .phase";

/// Show how the enclave fares
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Status {
    #[command(flatten)]
    enclave: EnclaveOption,
    /// Print the JSON as the enclave gives it
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let page = match self.enclave.ask(&Request::Status, None)? {
            Answer::Status(page) => page,
            Answer::Failed(failure) => return Err(asking::failed(&failure)),
            _ => return Err(asking::unexpected()),
        };
        if self.json {
            let text = serde_json::to_string_pretty(&page);
            let text = text.map_err(|error| Failure::new(Exit::Runtime, error.to_string(), ""))?;
            writeln!(out, "{}", asking::plain_json(&text))?;
        } else {
            write_page(&page, out)?;
        }
        out.flush()?;
        Failure::all(sick(&page)).map_or(Ok(()), Err)
    }
}

/// What keeps the enclave from being well.
fn sick(page: &Page) -> Vec<Failure> {
    // A ceremony image has nothing to serve: it waits for orders.
    if page.ceremony && page.phase == Phase::Waiting {
        return Vec::new();
    }
    if page.phase != Phase::Serving {
        return vec![match &page.failure {
            Some(failure) => asking::failed(failure),
            None => {
                let help =
                    "push a configuration: `tmkms nitro push-config -c FILE -i CID`, and see `tmkms nitro logs -i CID`";
                Failure::new(
                    Exit::Runtime,
                    format!("the enclave does not serve: it is {}", asking::phase(page.phase)),
                    help,
                )
            }
        }];
    }
    let sick = page.chains.iter().filter(|chain| !is_healthy(chain));
    let say = |chain: &ChainStatus| {
        let message = format!("chain {}: {}", asking::plain(&chain.id), asking::plain(&chain.detail));
        Failure::new(
            Exit::Runtime,
            message,
            "look at the node and at `tmkms nitro proxy`, and at `tmkms nitro logs -i CID`",
        )
    };
    sick.map(say).collect()
}

fn is_healthy(chain: &ChainStatus) -> bool {
    matches!(chain.state.as_str(), "signing" | "waiting")
}

fn write_page(page: &Page, out: &mut dyn Write) -> io::Result<()> {
    let commit = if page.commit.is_empty() { String::new() } else { format!(" ({})", asking::plain(&page.commit)) };
    let up = duration(page.uptime_seconds);
    writeln!(out, "enclave: tmkms {}{commit}, up for {up}", asking::plain(&page.version))?;
    writeln!(out, "phase          {} for {}", asking::phase(page.phase), duration(page.phase_seconds))?;
    if page.ceremony {
        writeln!(out, "image          a ceremony image: it makes keys, and signs nothing")?;
    }
    if let Some(failure) = &page.failure {
        writeln!(
            out,
            "last failure   {}, {}: {}",
            asking::phase(failure.phase),
            asking::plain(&failure.code),
            lines(&failure.reason)
        )?;
        if !failure.remedy.is_empty() {
            writeln!(out, "               help: {}", lines(&failure.remedy))?;
        }
    }
    if page.debug {
        writeln!(
            out,
            "DEBUG MODE     its console and memory can be read, and it measures as zeros: no key that matters belongs in it"
        )?;
    }
    for (index, value) in &page.pcrs {
        writeln!(out, "{:<14} {}", format!("PCR{index}"), asking::plain(value))?;
    }
    if let Some(machine) = &page.machine {
        write_machine(machine, out)?;
    }
    let policy = match (page.has_policy, &page.failure) {
        (true, Some(failure)) if failure.phase == Phase::Broken && failure.code == "policy" => {
            "in the image, measured, and not understood: nothing is served"
        }
        (true, _) => "in the image, measured",
        (false, _) => "none: the parent chooses everything",
    };
    writeln!(out, "policy         {policy}")?;
    for choice in &page.choices {
        let by = match choice.by {
            ChosenBy::Image => "fixed by the image",
            ChosenBy::Parent => "substitutable: chosen by the parent",
        };
        writeln!(out, "  {}: {} ({by})", asking::plain(&choice.what), asking::plain(&choice.value))?;
    }
    if let Some(digest) = &page.config_sha256 {
        writeln!(out, "configuration  SHA-256 {}", asking::plain(digest))?;
    }
    if let Some(credentials) = &page.credentials {
        writeln!(out, "credentials    {}", describe(credentials))?;
    }
    page.chains.iter().try_for_each(|chain| write_chain(chain, out))?;
    if page.log_lines_dropped > 0 {
        writeln!(out, "log            {} lines were lost before anybody read them", page.log_lines_dropped)?;
    }
    Ok(())
}

fn write_machine(machine: &MachineStatus, out: &mut dyn Write) -> io::Result<()> {
    let signs = match machine.signs_documents {
        Some(true) => "",
        Some(false) => ", does not sign its documents: an emulation",
        None => ", gave no document",
    };
    writeln!(out, "module         {}{signs}", asking::plain(&machine.module_id))?;
    let source = machine.random_source.as_deref().map_or_else(|| "not told by the kernel".to_owned(), asking::plain);
    writeln!(out, "randomness     {source}")?;
    if let Some(ahead) = machine.clock_ahead_ms {
        writeln!(out, "clock          {}", clock(ahead))?;
    }
    if machine.memory_total_bytes > 0 {
        let mib = |bytes: u64| bytes >> 20;
        writeln!(
            out,
            "memory         {} MiB, {} MiB of it free, {} MiB used by the signer",
            mib(machine.memory_total_bytes),
            mib(machine.memory_available_bytes),
            mib(machine.resident_bytes)
        )?;
    }
    let kernel = machine.kernel_ms.map(|ms| format!(", {ms} ms after the kernel's start")).unwrap_or_default();
    let init = if machine.is_init { "this program is the image's init" } else { "another init" };
    let heartbeat = match machine.heartbeat.as_deref() {
        None => String::new(),
        Some("answered") => ", the loader answered".to_owned(),
        Some(why) => format!(", THE LOADER DID NOT ANSWER: {}", asking::plain(why)),
    };
    writeln!(out, "started by     {init}{kernel}{heartbeat}")
}

/// The enclave's clock beside the security module's.
fn clock(ahead_ms: i64) -> String {
    match ahead_ms {
        -999..=999 => "within a second of the security module's".to_owned(),
        ahead if ahead > 0 => format!("{ahead} ms ahead of the security module's"),
        behind => format!("{} ms behind the security module's", behind.unsigned_abs()),
    }
}

fn describe(credentials: &CredentialsStatus) -> String {
    let expiry = match credentials.expires_in_seconds {
        None => "they do not expire".to_owned(),
        Some(left) if left <= 0 => format!("EXPIRED {} ago", duration(seconds(-left))),
        Some(left) => format!("expire in {}", duration(seconds(left))),
    };
    format!("{}, {expiry}", asking::plain(&credentials.source))
}

fn write_chain(chain: &ChainStatus, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "chain {} (validator {})", asking::plain(&chain.id), asking::plain(&chain.address))?;
    writeln!(out, "  state       {}", asking::plain(&chain.detail))?;
    writeln!(out, "  public key  {} ({})", asking::plain(&chain.public_key), asking::plain(&chain.algorithm))?;
    let position = chain.position.as_deref().map_or_else(|| "nothing yet".to_owned(), asking::plain);
    writeln!(out, "  last signed {position} (kept on port {})", chain.state_port)?;
    for node in &chain.connections {
        let state = if node.up { "connected" } else { "not connected" };
        writeln!(out, "  node        {} {state}", asking::plain(&node.address))?;
    }
    Ok(())
}

/// Several lines of the enclave, indented.
fn lines(text: &str) -> String {
    text.lines().map(asking::plain).collect::<Vec<_>>().join("\n               ")
}

fn seconds(whole: i64) -> f64 {
    // No lifetime is so long that it does not fit.
    i32::try_from(whole).map_or(f64::from(i32::MAX), f64::from)
}

/// Seconds as a person reads them.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}
