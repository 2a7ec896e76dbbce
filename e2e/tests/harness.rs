//! The harness itself, with CometBFT's own signer (FilePV behind SignerServer) in the place of ours: what fails here is not the signer's fault.
use anyhow::{Context, Result, ensure};
use e2e::{Answer, Chain, ChainSpec, Client, Line, Observer, Process, Sandbox, Transport, Vote, until};
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn filepv(sandbox: &Sandbox, line: Line, addr: &str, chain_id: &str, key: Option<&std::path::Path>) -> Result<Process> {
    let mut command = Command::new(line.harness()?);
    let made = sandbox.dir().join("filepv-key.json");
    command.args(["filepv", "--dial", addr, "--chain-id", chain_id, "--key"]).arg(key.unwrap_or(&made));
    command.arg("--state").arg(sandbox.dir().join("filepv-state.json"));
    Process::spawn(sandbox, "filepv", command)
}

#[test]
fn a_chain_of_cometbfts_own_parts_grows_and_bears_signatures() -> Result<()> {
    Sandbox::run("own-parts", |sandbox| {
        let mut chain = Chain::prepare(sandbox, "chain", ChainSpec::new(Line::V038, Transport::Tcp))?;
        let e2e::signer::Key::File(key) = chain.key() else { anyhow::bail!("no key file") };
        let _signer = filepv(sandbox, Line::V038, chain.signer_addr(), &chain.spec.id, Some(&key))?;
        chain.start()?;
        let height = chain.reach(10, SOON)?;
        let signed = chain.signed_heights(2, height)?;
        ensure!(signed.len() as u64 == height - 1, "only {signed:?} of 2..={height} are signed");
        Ok(())
    })
}

#[test]
fn the_client_tells_a_signature_from_a_refusal_and_from_a_broken_connection() -> Result<()> {
    Sandbox::run("client", |sandbox| {
        let observer = Observer::new();
        let mut client = Client::listen(sandbox, "client", Line::V038, Transport::Unix, "client-chain")?;
        let mut signer = filepv(sandbox, Line::V038, client.addr(), "client-chain", None)?;
        client.connected(SOON)?;
        client.ping()?;
        let first = client.vote(&Vote::prevote(5, 1), &observer)?.signed()?;
        ensure!(first.signature.len() == 128, "{first:?}");
        let refused = client.vote(&Vote::prevote(5, 2), &observer)?.refused()?;
        ensure!(refused.contains("conflicting data"), "{refused}");
        client.bench(6, 0, 20)?;
        signer.kill();
        let broken = client.vote(&Vote::prevote(100, 1), &observer)?;
        ensure!(matches!(broken, Answer::Broken(_)), "{broken:?}");
        Ok(())
    })
}

#[test]
fn no_child_outlives_a_run_that_is_killed() -> Result<()> {
    // This test runs itself again as the victim, which starts a child and is then killed without any chance to clean up.
    const NAME: &str = "no_child_outlives_a_run_that_is_killed";
    if std::env::var_os("E2E_VICTIM").is_some() {
        let sandbox = Sandbox::new("victim")?;
        let mut command = Command::new("sleep");
        command.arg("1000");
        let child = Process::spawn(&sandbox, "sleep", command)?;
        println!("child={}", child.id());
        std::thread::sleep(Duration::from_secs(60));
        return Ok(());
    }
    Sandbox::run("killed", |sandbox| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", NAME, "--nocapture"]).env("E2E_VICTIM", "1").env("TMPDIR", sandbox.dir());
        let mut victim = Process::spawn(sandbox, "victim", command)?;
        let line = victim.wait_for_log("child=", SOON)?;
        let id = line.split("child=").nth(1).context("no id")?.trim().to_owned();
        let stat = format!("/proc/{id}/stat");
        ensure!(std::fs::read_to_string(&stat)?.contains("sleep"), "the child does not run");
        victim.kill();
        // Where nothing reaps orphans, a dead one stays as a zombie: state Z, the first field after the name.
        let dead = || std::fs::read_to_string(&stat).map_or(true, |text| text.contains(") Z "));
        until("the watchdog to kill the child", SOON, || Ok(dead().then_some(())))
    })
}
