//! The rule on the real binary, asked by CometBFT's own client: conflicts at once, kill -9 under load, and state that was put back.
use anyhow::{Context, Result, ensure};
use e2e::vote::{PRECOMMIT, Timestamp};
use e2e::{Answer, Client, Line, Observer, Proposal, Sandbox, Signer, SignerSpec, Transport, Vote};
use std::fs;
use std::time::{Duration, Instant};

const CHAIN: &str = "conflict-chain";
const SOON: Duration = Duration::from_secs(20);

/// A signer with `count` connections of one key, each to a client of its own.
fn signer_with_clients(
    sandbox: &Sandbox,
    line: Line,
    transport: Transport,
    count: usize,
) -> Result<(Signer, Vec<Client>)> {
    let mut clients = (0..count)
        .map(|index| Client::listen(sandbox, &format!("client{index}"), line, transport, CHAIN))
        .collect::<Result<Vec<_>>>()?;
    let mut spec = SignerSpec::one(CHAIN, clients[0].addr());
    spec.chains[0].connections = clients.iter().map(|client| client.addr().to_owned()).collect();
    let mut signer = Signer::prepare(sandbox, "signer", &spec)?;
    signer.start()?;
    clients.iter_mut().try_for_each(|client| client.connected(SOON))?;
    Ok((signer, clients))
}

#[test]
fn the_rule_holds_for_every_kind_of_message_as_cometbfts_client_sees_it() -> Result<()> {
    Sandbox::run("rule", |sandbox| {
        let observer = Observer::new();
        let (signer, mut clients) = signer_with_clients(sandbox, Line::V038, Transport::Tcp, 1)?;
        let client = &mut clients[0];
        let proposal = Proposal::new(10, 1);
        client.proposal(&proposal, &observer)?.signed()?;
        ensure!(client.proposal(&Proposal::new(10, 2), &observer)?.refused()?.contains("conflicting proposal at 10/0"));
        let first = client.vote(&Vote::prevote(10, 1), &observer)?.signed()?;
        ensure!(client.vote(&Vote::prevote(10, 2), &observer)?.refused()?.contains("conflicting prevote at 10/0"));
        ensure!(client.proposal(&proposal, &observer)?.refused()?.contains("step regression"));

        // A repeat with another timestamp gets the recorded bytes and timestamp.
        let later = Vote { timestamp: Timestamp { seconds: 2_000_000_000, nanos: 1 }, ..Vote::prevote(10, 1) };
        let repeat = client.vote(&later, &observer)?.signed()?;
        ensure!(repeat.signature == first.signature && repeat.timestamp_changed, "{first:?} {repeat:?}");

        // Another block in another step of the same round is a locked validator's right.
        let precommit = client.vote(&Vote::precommit(10, 2), &observer)?.signed()?;
        ensure!(!precommit.extension_signature.is_empty(), "a precommit for a block without an extension signature");
        let nil = Vote { block_id: None, round: 1, ..Vote::new(PRECOMMIT, 10, 0) };
        let nil = client.vote(&nil, &observer)?.signed()?;
        ensure!(nil.extension_signature.is_empty(), "a nil precommit with an extension signature");
        ensure!(client.vote(&Vote::prevote(10, 1), &observer)?.refused()?.contains("round regression"));
        ensure!(client.vote(&Vote::prevote(9, 1), &observer)?.refused()?.contains("height regression"));
        client.ping()?;

        let metrics = signer.metrics()?;
        let refusals = |reason| metrics.sum("tmkms_refusals_total", &[("reason", reason)]);
        ensure!(refusals("conflict") == 2.0 && refusals("step_regression") == 1.0, "the metrics miscount refusals");
        ensure!(refusals("round_regression") == 1.0 && refusals("height_regression") == 1.0);
        ensure!(metrics.sum("tmkms_signatures_total", &[]) == 5.0, "the metrics miscount signatures");
        Ok(())
    })
}

#[test]
fn of_two_different_votes_asked_at_once_over_two_connections_exactly_one_is_signed() -> Result<()> {
    Sandbox::run("two-at-once", |sandbox| {
        let observer = Observer::new();
        let (mut signer, mut clients) = signer_with_clients(sandbox, Line::V038, Transport::Unix, 2)?;
        let mut winners = [0; 2];
        for height in 1..=400 {
            for (index, client) in clients.iter_mut().enumerate() {
                client.begin_vote(&Vote::precommit(height, u8::try_from(index)? + 1))?;
            }
            let answers = clients.iter_mut().map(|client| client.finish(&observer)).collect::<Result<Vec<_>>>()?;
            let signed: Vec<bool> = answers.iter().map(|answer| matches!(answer, Answer::Signed(_))).collect();
            ensure!(signed.iter().filter(|signed| **signed).count() == 1, "at height {height}: {answers:?}");
            winners[usize::from(signed[1])] += 1;
            let loser = answers.into_iter().nth(usize::from(signed[0])).context("no second answer")?.refused()?;
            ensure!(loser.contains(&format!("conflicting precommit at {height}/0/precommit")), "{loser}");
        }
        ensure!(observer.positions() == 400);
        signer.process()?.wait_for_log("refused:", SOON)?;
        e2e::say(&format!("winners per connection: {winners:?}"));
        Ok(())
    })
}

#[test]
fn after_each_kill_under_load_a_conflicting_vote_at_the_last_signed_position_is_refused() -> Result<()> {
    let kills = std::env::var("E2E_KILLS").map_or(Ok(200), |text| text.parse())?;
    Sandbox::run("kill-loop", |sandbox| {
        let observer = Observer::new();
        let (mut signer, mut clients) = signer_with_clients(sandbox, Line::V038, Transport::Unix, 1)?;
        let client = &mut clients[0];
        client.vote(&Vote::prevote(1, 1), &observer)?.signed()?;
        let (begun, mut acknowledged, mut unacknowledged, mut too_early) = (Instant::now(), 0_u64, 0_u64, 0);
        let (mut last, mut height) = (1, 2);
        for round in 0..kills {
            client.begin_bench(height, 0, 100_000, Duration::ZERO)?;
            // Different moments of the write, the sync and the answer.
            std::thread::sleep(Duration::from_micros(20_000 + 1_337 * (round % 41)));
            signer.kill();
            let broken = format!("{:#}", client.finish_bench(SOON).err().context("the load outlived the signer")?);
            let failed_at = broken.strip_prefix("failed_at ").and_then(|rest| rest.split(':').next());
            let signed: i64 = failed_at.context("no count")?.parse().with_context(|| broken.clone())?;
            acknowledged += u64::try_from(signed)?;
            if signed == 0 {
                // A busy machine may not come to the first vote in 20 ms.
                too_early += 1;
            } else {
                last = height + signed - 1;
            }
            signer.start()?;
            client.reconnect(SOON)?;
            let asked = client.vote(&Vote::prevote(last, 0xaa), &observer)?.refused();
            let text = asked.with_context(|| format!("kill {round}: height {last} was signed and asked again"))?;
            ensure!(text.contains("conflicting prevote") || text.contains("height regression"), "{text}");
            unacknowledged += u64::from(text.contains("regression"));
            height = height.max(last) + 2;
        }
        ensure!(too_early * 10 <= kills, "{too_early} of {kills} kills came before anything was signed");
        ensure!(!signer.process()?.log_text().contains("panicked"));
        e2e::say(&format!(
            "{kills} kills in {:.0} s: {acknowledged} votes acknowledged, every conflict refused; \
             {unacknowledged} times one more was recorded than the client had heard of, {too_early} kills came before the first vote",
            begun.elapsed().as_secs_f64()
        ));
        Ok(())
    })
}

/// How an older copy gets in the place of a live state file.
#[derive(Clone, Copy)]
enum PutBack {
    /// Other bytes in the same file.
    Overwritten,
    /// Another file under the same name.
    Renamed,
}

/// What the rule promises about an older copy (`guard.md`, "What the enclave cannot know"):
///
/// - put in place of a *live* state, it is noticed by the next commit: an error answer, nothing signed, the log names it;
/// - after a restart it **cannot** be noticed. The signer believes the copy: what lies above the copy's record is signed,
///   also where the lost record had something else. Only what conflicts with the copy's own record is refused. This
///   test shows that double sign on purpose: whoever restores old state makes one possible, and no signer with a local file
///   can know. The documents say so instead of promising otherwise.
fn put_back(how: PutBack, name: &str) -> Result<()> {
    Sandbox::run(name, |sandbox| {
        let observer = Observer::new();
        let (mut signer, mut clients) = signer_with_clients(sandbox, Line::V038, Transport::Unix, 1)?;
        let client = &mut clients[0];
        let state = signer.state_file(CHAIN);
        let copy = sandbox.dir().join("copy.json");
        client.vote(&Vote::prevote(10, 1), &observer)?.signed()?;
        fs::copy(&state, &copy)?;
        client.vote(&Vote::prevote(20, 1), &observer)?.signed()?;

        match how {
            PutBack::Overwritten => fs::write(&state, fs::read(&copy)?)?,
            PutBack::Renamed => fs::rename(&copy, &state)?,
        }
        let text = client.vote(&Vote::prevote(21, 1), &observer)?.refused()?;
        ensure!(text.contains("state"), "the error answer does not speak of the state: {text}");
        let line = signer.process()?.wait_for_log("not signed: 21/0/prevote", SOON)?;
        ensure!(line.contains("put back") || line.contains(&state.display().to_string()), "{line}");
        e2e::say(&format!("noticed: {text}"));
        // And it stays so: nothing is signed at higher positions either, while pings go on.
        client.vote(&Vote::prevote(22, 1), &observer)?.refused()?;
        client.ping()?;

        signer.kill();
        signer.start()?;
        client.reconnect(SOON)?;
        let lower = client.vote(&Vote::prevote(9, 1), &observer)?.refused()?;
        ensure!(lower.contains("height regression: last signed 10/0/prevote"), "{lower}");
        let conflict = client.vote(&Vote::prevote(10, 2), &observer)?.refused()?;
        ensure!(conflict.contains("conflicting prevote at 10/0/prevote"), "{conflict}");
        // What cannot be noticed: 20 was signed for another block in the life that was forgotten.
        let forgotten = client.vote(&Vote::prevote(20, 2), &observer);
        let error = forgotten.err().context("the observer did not see the double sign that this test provokes")?;
        ensure!(format!("{error:#}").contains("DOUBLE SIGN at 20/0"), "{error:#}");
        Ok(())
    })
}

#[test]
fn an_older_copy_written_over_a_live_state_is_noticed_by_the_next_commit_but_not_after_a_restart() -> Result<()> {
    put_back(PutBack::Overwritten, "overwritten")
}

#[test]
fn an_older_file_moved_over_a_live_state_is_noticed_by_the_next_commit_but_not_after_a_restart() -> Result<()> {
    put_back(PutBack::Renamed, "renamed")
}
