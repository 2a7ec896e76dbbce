//! Whatever a peer sends, the signer answers or hangs up, stays small, does not panic, and signs for the next honest connection.
use anyhow::{Context, Result, ensure};
use e2e::vote::{Timestamp, hex, varint};
use e2e::{BlockId, Line, PlainNode, RawPeer, Sandbox, Signer, SignerSpec, Transport, Vote};
use serde_json::Value;
use std::time::Duration;

const CHAIN: &str = "malformed-chain";
const SOON: Duration = Duration::from_secs(20);
/// The signer drops a peer that is silent, or slower with one request, after 15 s.
const AFTER_SILENCE: Duration = Duration::from_secs(25);
/// Resident memory that one chain's signer may ever take, requests of 1 MiB included.
const MAX_RESIDENT_BYTES: u64 = 48 << 20;

/// A signer whose one node is a peer that we control byte by byte.
struct Bench {
    signer: Signer,
    peer: RawPeer,
    height: i64,
}

impl Bench {
    fn run(name: &str, transport: Transport, body: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        Sandbox::run(&format!("{name}-{transport}"), |sandbox| {
            let peer = RawPeer::listen(sandbox, "peer", Line::V038, transport)?;
            let mut signer = Signer::prepare(sandbox, "signer", &SignerSpec::one(CHAIN, peer.addr()))?;
            signer.start()?;
            let mut bench = Self { signer, peer, height: 0 };
            bench.accept()?;
            bench.signs_for_an_honest_request()?;
            body(&mut bench)?;
            bench.is_well()
        })
    }

    fn accept(&mut self) -> Result<()> {
        self.peer.accept(true, SOON)
    }

    fn signs_for_an_honest_request(&mut self) -> Result<()> {
        self.height += 1;
        let answer = self.peer.request(&Vote::prevote(self.height, 1).request(CHAIN))?;
        let is_signed = answer["type"] == "signed_vote_response" && answer["error"].is_null();
        ensure!(is_signed, "an honest request was not signed: {answer}");
        Ok(())
    }

    fn signs_for_the_next_connection(&mut self) -> Result<()> {
        self.accept()?;
        self.signs_for_an_honest_request()
    }

    fn is_well(&mut self) -> Result<()> {
        let process = self.signer.process()?;
        process.check()?;
        ensure!(!process.log_text().contains("panicked"), "the signer panicked");
        let peak = process.peak_resident_bytes()?;
        ensure!(peak <= MAX_RESIDENT_BYTES, "{} KiB were resident", peak / 1024);
        Ok(())
    }
}

fn refused_votes() -> Vec<(&'static str, Vec<u8>)> {
    let vote = |change: fn(&mut Vote)| {
        let mut vote = Vote::precommit(1_000, 1);
        change(&mut vote);
        vote.request(CHAIN)
    };
    let time =
        |seconds, nanos| Vote { timestamp: Timestamp { seconds, nanos }, ..Vote::prevote(1_000, 1) }.request(CHAIN);
    vec![
        ("type 0", vote(|vote| vote.kind = 0)),
        ("unknown type 3", vote(|vote| vote.kind = 3)),
        ("a proposal's type 32", vote(|vote| vote.kind = 32)),
        ("a negative type", vote(|vote| vote.kind = -1)),
        ("height 0", vote(|vote| vote.height = 0)),
        ("a negative height", vote(|vote| vote.height = -1)),
        ("the lowest height", vote(|vote| vote.height = i64::MIN)),
        ("a negative round", vote(|vote| vote.round = -1)),
        ("a 20-byte hash", vote(|vote| vote.block_id = Some(BlockId { hash: hex(&[1; 20]), ..BlockId::of(1) }))),
        ("a 33-byte hash", vote(|vote| vote.block_id = Some(BlockId { hash: hex(&[1; 33]), ..BlockId::of(1) }))),
        (
            "a 20-byte part set hash",
            vote(|vote| vote.block_id = Some(BlockId { parts_hash: hex(&[1; 20]), ..BlockId::of(1) })),
        ),
        ("a block without parts", vote(|vote| vote.block_id = Some(BlockId { parts_total: 0, ..BlockId::of(1) }))),
        ("parts without a block", vote(|vote| vote.block_id = Some(BlockId { hash: String::new(), ..BlockId::of(1) }))),
        ("nanoseconds over a second", time(1, 1_000_000_000)),
        ("negative nanoseconds", time(1, -1)),
        ("a time after the year 9999", time(253_402_300_800, 0)),
        ("a time before the year 1", time(-62_135_596_801, 0)),
        ("no chain id", Vote::prevote(1_000, 1).request("")),
        ("a chain id of 51 bytes", Vote::prevote(1_000, 1).request(&"x".repeat(51))),
        ("another chain", Vote::prevote(1_000, 1).request("another-chain")),
        ("an extension on a prevote", Vote { extension: hex(b"e"), ..Vote::prevote(1_000, 1) }.request(CHAIN)),
    ]
}

fn invalid_votes_are_answered(transport: Transport) -> Result<()> {
    Bench::run("votes", transport, |bench| {
        for (name, request) in refused_votes() {
            let answer = bench.peer.request(&request).with_context(|| name.to_owned())?;
            let description = answer["error"]["description"].as_str().unwrap_or_default();
            let is_refused = answer["type"] == "signed_vote_response" && !description.is_empty();
            ensure!(
                is_refused && answer["vote"]["signature"].as_str().unwrap_or_default().is_empty(),
                "{name}: {answer}"
            );
            // On the same connection.
            bench.signs_for_an_honest_request().with_context(|| format!("after {name}"))?;
        }
        Ok(())
    })
}

#[test]
fn votes_that_no_honest_node_sends_are_answered_with_an_error_and_the_session_goes_on_over_unix() -> Result<()> {
    invalid_votes_are_answered(Transport::Unix)
}

#[test]
fn votes_that_no_honest_node_sends_are_answered_with_an_error_and_the_session_goes_on_over_tcp() -> Result<()> {
    invalid_votes_are_answered(Transport::Tcp)
}

/// Undelimited messages that are no request, or not even a message.
fn broken_messages() -> Vec<(&'static str, Vec<u8>)> {
    let whole = Vote::prevote(2_000, 1).request(CHAIN);
    vec![
        ("an empty message", Vec::new()),
        ("one zero", vec![0]),
        ("no protobuf", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("an unknown message", vec![0x7a, 0x00]),
        ("an answer instead of a request", vec![0x42, 0x00]),
        ("a vote that is cut short", whole[..whole.len() / 2].to_vec()),
        ("a length past the end", vec![0x1a, 0xff, 0xff, 0x03]),
        ("groups", [0x1b; 64].to_vec()),
        ("a vote request without a vote", vec![0x1a, 0x00]),
        ("a proposal request without a proposal", vec![0x2a, 0x00]),
    ]
}

/// Bytes that are no frame.
fn broken_frames() -> Vec<(&'static str, Vec<u8>)> {
    let announced = |length: u64| {
        let mut bytes = Vec::new();
        varint(&mut bytes, length);
        bytes.extend([0; 64]);
        bytes
    };
    vec![
        ("a frame of 5 MiB", announced(5 << 20)),
        ("a frame of 2 GiB", announced(1 << 31)),
        ("a frame of 2^63 bytes", announced(1 << 63)),
        ("a length that does not end", vec![0xff; 64]),
    ]
}

fn broken_bytes(transport: Transport) -> Result<()> {
    Bench::run("bytes", transport, |bench| {
        for (name, message) in broken_messages() {
            // An error answer where the kind can be told, otherwise a hang-up: never a signature, never silence.
            match bench.peer.request(&message) {
                Ok(answer) => {
                    let is_error = answer["error"]["description"].as_str().is_some_and(|text| !text.is_empty());
                    ensure!(is_error, "{name}: {answer}");
                    bench.signs_for_an_honest_request()?;
                }
                Err(error) => {
                    ensure!(format!("{error:#}").contains("\"eof\":true"), "{name}: {error:#}");
                    bench.signs_for_the_next_connection().with_context(|| format!("after {name}"))?;
                }
            }
        }
        for (name, bytes) in broken_frames() {
            bench.peer.send(&bytes)?;
            ensure!(bench.peer.hangs_up(SOON)?, "{name}: the signer stays");
            bench.signs_for_the_next_connection().with_context(|| format!("after {name}"))?;
        }
        Ok(())
    })
}

#[test]
fn bytes_that_are_no_request_end_in_an_error_or_a_hang_up_and_the_next_connection_is_served_over_unix() -> Result<()> {
    broken_bytes(Transport::Unix)
}

#[test]
fn bytes_that_are_no_request_end_in_an_error_or_a_hang_up_and_the_next_connection_is_served_over_tcp() -> Result<()> {
    broken_bytes(Transport::Tcp)
}

#[test]
fn the_largest_honest_request_is_signed_and_a_flood_of_them_stays_within_bounds() -> Result<()> {
    Bench::run("large", Transport::Unix, |bench| {
        for _ in 0..20 {
            bench.height += 1;
            let extension = hex(&vec![5; 1 << 20]);
            let vote = Vote { extension, ..Vote::precommit(bench.height, 1) };
            let answer = bench.peer.request(&vote.request(CHAIN))?;
            ensure!(answer["error"].is_null() && answer["type"] == "signed_vote_response", "{answer}");
            // Too long an answer would desynchronise the node.
            ensure!(answer["vote"]["extension"].as_str().unwrap_or_default().is_empty());
            let signature = answer["vote"]["extension_signature"].as_str().unwrap_or_default();
            ensure!(signature.len() == 128, "an extension signature of {} digits", signature.len());
        }
        Ok(())
    })
}

#[test]
fn garbage_before_and_within_the_handshake_is_survived() -> Result<()> {
    Bench::run("handshake", Transport::Tcp, |bench| {
        let low_order = [&[0x22, 0x0a, 0x20][..], &[0; 32]].concat();
        let garbage = vec![0xa5; 5_000];
        let cases =
            [("garbage", garbage), ("a low-order point", low_order), ("one byte", vec![0x22]), ("nothing", vec![])];
        for (name, bytes) in cases {
            bench.peer.accept(false, SOON)?;
            bench.peer.send(&bytes)?;
            if bytes.len() < 35 {
                bench.peer.half_close()?;
            }
            // It may say its own key first.
            bench.peer.ok(&serde_json::json!({"op": "read_raw", "timeout_ms": 5000})).context(name)?;
            bench.signs_for_the_next_connection().with_context(|| format!("after {name} instead of a handshake"))?;
        }
        Ok(())
    })
}

#[test]
fn a_peer_that_never_speaks_and_one_that_is_half_closed_are_left_for_a_new_connection() -> Result<()> {
    Bench::run("half-open", Transport::Tcp, |bench| {
        bench.peer.half_close()?;
        bench.signs_for_the_next_connection().context("after a half-close")?;
        bench.peer.close(true)?;
        bench.signs_for_the_next_connection().context("after a reset")?;
        // In the clear and silent: the handshake never begins.
        bench.peer.accept(false, SOON)?;
        bench.peer.accept(true, AFTER_SILENCE).context("the signer waits for ever for a handshake")?;
        bench.signs_for_an_honest_request()?;
        // Silent after the handshake: a node would ping every 3.3 s.
        bench.peer.accept(true, AFTER_SILENCE).context("the signer waits for ever for a silent node")?;
        bench.signs_for_an_honest_request()
    })
}

#[test]
fn a_peer_that_sends_byte_by_byte_is_served_and_one_that_never_reads_is_dropped() -> Result<()> {
    Bench::run("slow", Transport::Unix, |bench| {
        bench.height += 1;
        let message = Vote::prevote(bench.height, 1).request(CHAIN);
        let mut frame = Vec::new();
        varint(&mut frame, message.len() as u64);
        frame.extend_from_slice(&message);
        bench.peer.send_slowly(&frame, 1, Duration::from_millis(15))?;
        let answer: Value = bench.peer.read(SOON)?;
        ensure!(answer["type"] == "signed_vote_response" && answer["error"].is_null(), "{answer}");
        // 300,000 pings whose answers nobody reads: the buffers fill, and the signer gives up after its deadline.
        let pings = serde_json::json!({"op": "send", "hex": "023a00", "repeat": 300_000, "timeout_ms": 20_000});
        let _ = bench.peer.ok(&pings);
        bench.peer.accept(true, AFTER_SILENCE).context("the signer waits for ever for a node that does not read")?;
        bench.signs_for_an_honest_request()
    })
}

/// Connections that are dropped at once are dialled ever more slowly (up to 1 s), so a thousand in a row on one would take a
/// quarter of an hour: forty connections of one key take 25 each, and an honest one beside them is served all the while.
#[test]
fn a_thousand_connections_dropped_in_a_row_cost_nothing_and_an_honest_one_is_served_meanwhile() -> Result<()> {
    const CONNECTIONS: usize = 40;
    const DROPS: usize = 25;
    Sandbox::run("thousand", |sandbox| {
        let mut honest = PlainNode::listen(sandbox, "honest")?;
        let mut droppers =
            (0..CONNECTIONS).map(|i| PlainNode::listen(sandbox, &format!("drop{i}"))).collect::<Result<Vec<_>>>()?;
        let mut spec = SignerSpec::one(CHAIN, &honest.addr());
        spec.chains[0].connections.extend(droppers.iter().map(PlainNode::addr));
        let mut signer = Signer::prepare(sandbox, "signer", &spec)?;
        signer.start()?;
        honest.accept(SOON)?;
        let before = signer.process()?.resident_bytes()?;
        let (mut drops, mut height) = (vec![0; CONNECTIONS], 0);
        while drops.iter().any(|count| *count < DROPS) {
            for (dropper, count) in droppers.iter_mut().zip(&mut drops) {
                if dropper.try_accept()? {
                    dropper.hang_up();
                    *count += 1;
                }
            }
            height += 1;
            ensure!(honest.is_signed(&Vote::prevote(height, 1).request(CHAIN))?, "not signed at height {height}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let dropped: usize = drops.iter().sum();
        ensure!(dropped >= 1_000, "only {dropped} connections were dropped");
        let mut last = droppers.pop().context("no dropper")?;
        last.accept(SOON)?;
        ensure!(
            last.is_signed(&Vote::prevote(height + 1, 1).request(CHAIN))?,
            "not signed on a connection that was dropped"
        );
        let process = signer.process()?;
        process.check()?;
        ensure!(!process.log_text().contains("panicked"), "the signer panicked");
        ensure!(process.open_files()? < CONNECTIONS + 64, "{} files are open", process.open_files()?);
        let grown = process.resident_bytes()?.saturating_sub(before);
        ensure!(grown < 4 << 20, "resident memory grew by {} KiB", grown / 1024);
        e2e::say(&format!(
            "{dropped} connections dropped, {height} votes signed meanwhile, {} KiB more memory",
            grown / 1024
        ));
        Ok(())
    })
}
