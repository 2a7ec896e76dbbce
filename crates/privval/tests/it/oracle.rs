//! Differential test: thousands of random messages through the Go code of every line and through this crate.
//!
//! Run with `TMKMS_ORACLE=.cache/nodes cargo test --release -p privval --test it oracle -- --ignored --nocapture`;
//! e2e/go builds the harness of each line into that folder. `TMKMS_ORACLE_SEED` and `TMKMS_ORACLE_CASES` (messages
//! per line) repeat or lengthen a run.
use crate::quirks::{Quirk, quirks};
use crate::random::{Random, message_of};
use crate::tree::{fields, hex, inner, to_hex, undelimited};
use privval::{CheckedProposal, CheckedVote, DecodeError, InvalidRequest, Request};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const DEFAULT_CASES: usize = 20_000;

#[test]
#[ignore = "needs the Go harness of each line; set TMKMS_ORACLE to the folder that has <line>/harness"]
fn every_line_of_cometbft_reads_and_signs_as_we_do() {
    let folder = std::env::var_os("TMKMS_ORACLE").expect("TMKMS_ORACLE: expected the folder with <line>/harness");
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seed = number("TMKMS_ORACLE_SEED")
        .unwrap_or_else(|| std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0));
    let cases = number("TMKMS_ORACLE_CASES").map_or(DEFAULT_CASES, |cases| usize::try_from(cases).unwrap());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let harnesses = harnesses(&workspace.join(folder));
    for (line, harness) in harnesses {
        println!("{line}: {cases} messages, TMKMS_ORACLE_SEED={seed}");
        let mut random = Random(seed);
        let messages: Vec<_> = (0..cases).map(|at| message_of(&mut random, at % 4)).collect();
        let tally = compare_all(&line, &harness, &messages);
        for (outcome, count) in &tally {
            println!("  {count:>7} {outcome}");
        }
        let signed = tally.get("same sign bytes").copied().unwrap_or_default();
        assert!(signed * 5 > cases, "{line}: only {signed} of {cases} messages were signed by both");
    }
}

fn harnesses(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("TMKMS_ORACLE: {}: {error}", folder.display()))
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path().join("harness")))
        .filter(|(_, harness)| harness.is_file())
        .collect();
    found.sort();
    assert!(!found.is_empty(), "TMKMS_ORACLE: no <line>/harness in {}", folder.display());
    found
}

/// Counts of each outcome. Any difference that is not on purpose panics with the message.
fn compare_all(line: &str, harness: &Path, messages: &[Vec<u8>]) -> BTreeMap<String, usize> {
    let mut child = Oracle::start(harness);
    let mut questions = BufWriter::new(child.0.stdin.take().unwrap());
    let answers = BufReader::new(child.0.stdout.take().unwrap());
    let mut tally = BTreeMap::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for message in messages {
                // If the oracle is gone, its missing answers say so.
                let _ = writeln!(questions, r#"{{"kind":"message","hex":"{}"}}"#, to_hex(message));
            }
        });
        let mut lines = answers.lines();
        for message in messages {
            let go: Value = serde_json::from_str(&lines.next().expect("an answer to each message").unwrap()).unwrap();
            let case = Case { line, go: &go, message, quirks: quirks(message) };
            *tally.entry(case.compare()).or_default() += 1;
        }
    });
    tally
}

struct Oracle(Child);

impl Oracle {
    fn start(harness: &Path) -> Self {
        let mut command = Command::new(harness);
        command.arg("oracle").stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", harness.display())))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One message, what Go made of it, and what may be read differently in it.
struct Case<'a> {
    line: &'a str,
    go: &'a Value,
    message: &'a [u8],
    quirks: BTreeSet<Quirk>,
}

impl Case<'_> {
    fn fail(&self, what: &str, ours: &dyn std::fmt::Debug) -> ! {
        let (line, message) = (self.line, to_hex(self.message));
        panic!("{line}: {what}\nmessage: {message}\nquirks: {:?}\nours: {ours:?}\nGo: {:#}", self.quirks, self.go)
    }

    fn has(&self, any_of: &[Quirk]) -> Option<Quirk> {
        any_of.iter().copied().find(|quirk| self.quirks.contains(quirk))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.go.get(name).and_then(Value::as_str)
    }

    fn is_v1(&self) -> bool {
        self.line.starts_with("v1")
    }

    fn has_extensions(&self) -> bool {
        !["v0.34", "v0.37"].iter().any(|old| self.line.starts_with(old))
    }

    fn compare(&self) -> String {
        if self.go.get("harness_error").is_some() || self.text("panic_in") == Some("decode") {
            self.fail("the oracle itself failed", &());
        }
        match (Request::decode(self.message), self.text("decode_error")) {
            (Err(_), Some(_)) => "both cannot decode".to_owned(),
            (Err(error), None) => self.only_go_decodes(&error),
            (Ok(request), Some(error)) => self.only_we_decode(&request, error),
            (Ok(request), None) => self.both_decode(request),
        }
    }

    /// Go is lenient in ways that no node makes use of; we answer an error.
    fn only_go_decodes(&self, error: &DecodeError) -> String {
        let allowed: &[Quirk] = match error.name() {
            "no_request" if self.go["type"].is_null() => return "no request in it, for both".to_owned(),
            "chain_id_not_utf8" => {
                // The last chain id counts; that one is Go's, unless a later request replaced it.
                let chain_id = self.text("chain_id_hex").map(hex).unwrap_or_default();
                return match std::str::from_utf8(&chain_id) {
                    Err(_) => "on purpose: chain id not UTF-8".to_owned(),
                    Ok(_) if self.has(&[Quirk::TwoRequests]).is_some() => {
                        "on purpose: an earlier chain id not UTF-8".to_owned()
                    }
                    Ok(_) => self.fail("only we see a chain id that is not UTF-8", error),
                };
            }
            "response" => &[Quirk::Response],
            "protobuf" => &[Quirk::LongVarint, Quirk::LargeKey, Quirk::Group, Quirk::NewerField],
            _ => &[],
        };
        match self.has(allowed) {
            Some(quirk) => format!("on purpose: only Go decodes {quirk:?}"),
            None => self.fail("only Go decodes it", error),
        }
    }

    /// Go checks timestamps while it decodes; here the input rules do.
    fn only_we_decode(&self, request: &Request, error: &str) -> String {
        let refused = match request.clone() {
            Request::SignVote(vote) => vote.check().err(),
            Request::SignProposal(proposal) => proposal.check().err(),
            Request::Raw { .. } => return "on purpose: raw bytes are not decoded".to_owned(),
            _ => None,
        };
        let is_time = error.contains("timestamp");
        // The rules before the timestamp's, and that one itself.
        let can_come_first = ["type", "height", "round", "timestamp"];
        let refused = refused.map(|invalid| invalid.name()).filter(|name| can_come_first.contains(name));
        match (refused, self.has(&[Quirk::TwoTimestamps, Quirk::TwoRequests])) {
            (Some(name), _) if is_time => format!("on purpose: a timestamp is refused as {name}, not undecodable"),
            (_, Some(Quirk::TwoTimestamps)) => "on purpose: only the last timestamp is decoded".to_owned(),
            _ if self.has(&[Quirk::Raw]).is_some() && self.is_v1() => {
                "on purpose: raw bytes are not decoded".to_owned()
            }
            (_, Some(_)) if is_time => "on purpose: only the last request's timestamp is checked".to_owned(),
            _ => self.fail("only we decode it", request),
        }
    }

    fn both_decode(&self, request: Request) -> String {
        match (self.text("type"), request) {
            (Some("ping_request"), Request::Ping) => "same ping".to_owned(),
            (Some("pub_key_request"), Request::PubKey { chain_id }) => {
                self.assert_chain(&chain_id);
                "same public key request".to_owned()
            }
            (Some("sign_vote_request"), Request::SignVote(vote)) => {
                self.assert_chain(vote.chain_id());
                match vote.check() {
                    Ok(vote) => self.same_vote(vote),
                    Err(invalid) => self.refused(&invalid, &self.go["vote"], true),
                }
            }
            (Some("sign_proposal_request"), Request::SignProposal(proposal)) => {
                self.assert_chain(proposal.chain_id());
                match proposal.check() {
                    Ok(proposal) => self.same_proposal(proposal),
                    Err(invalid) => self.refused(&invalid, &self.go["proposal"], false),
                }
            }
            (_, request) => match self.has(&[Quirk::Raw]) {
                Some(_) => "on purpose: raw bytes, which not every line knows".to_owned(),
                None => self.fail("another request", &request),
            },
        }
    }

    fn assert_chain(&self, ours: &str) {
        if self.text("chain_id_hex") != Some(&to_hex(ours.as_bytes())) {
            self.fail("another chain id", &ours);
        }
    }

    fn same_vote(&self, vote: CheckedVote) -> String {
        if self.text("sign_bytes") != Some(&to_hex(&vote.sign_bytes())) {
            self.fail("other sign bytes", &to_hex(&vote.sign_bytes()));
        }
        self.compare_extension(&vote);
        let (signature, extension_signature) = (self.signature("signature"), self.signature("extension_signature"));
        let answer = vote.answer(&signature, Some(&extension_signature), self.time("vote"));
        self.assert_echoed(&answer, 4);
        "same sign bytes".to_owned()
    }

    fn same_proposal(&self, proposal: CheckedProposal) -> String {
        if self.text("sign_bytes") != Some(&to_hex(&proposal.sign_bytes())) {
            self.fail("other sign bytes", &to_hex(&proposal.sign_bytes()));
        }
        let signature = self.go["proposal"]["signature"].as_str().map(hex).unwrap();
        let answer = proposal.answer(&signature, self.time("proposal"));
        self.assert_echoed(&answer, 6);
        "same sign bytes".to_owned()
    }

    fn signature(&self, name: &str) -> Vec<u8> {
        self.go["vote"][name].as_str().map(hex).unwrap_or_default()
    }

    fn time(&self, of: &str) -> (i64, u32) {
        let time = &self.go[of]["timestamp"];
        (time["seconds"].as_i64().unwrap(), time["nanos"].as_u64().unwrap().try_into().unwrap())
    }

    fn compare_extension(&self, vote: &CheckedVote) {
        let takes = self.go["vote"]["type"] == 2 && !self.go["vote"]["block_id"].is_null();
        match vote.extension_sign_bytes() {
            Some(ours) => {
                if !takes || self.go["skip_extension_signing"] == true {
                    self.fail("an extension that is not to be signed", &to_hex(&ours));
                }
                if self.has_extensions() && self.text("extension_sign_bytes") != Some(&to_hex(&ours)) {
                    self.fail("other extension sign bytes", &to_hex(&ours));
                }
            }
            None if !takes || self.go["skip_extension_signing"] == true => {}
            // Only v1 knows the flag; it is honoured wherever it is set.
            None if !self.is_v1() && self.has(&[Quirk::SkipExtension]).is_some() => {}
            None => self.fail("no extension sign bytes", &()),
        }
    }

    /// Our answer holds the vote or proposal as Go itself would write it, as far as the line knows its fields.
    fn assert_echoed(&self, answer: &[u8], response_tag: u64) {
        let (tag, ours) = inner(undelimited(answer));
        assert_eq!(tag, response_tag);
        let (_, ours) = inner(ours);
        let request = hex(self.text("reencoded").unwrap());
        let (_, request) = inner(&request);
        let vote = fields(request).into_iter().find(|(tag, _)| *tag == 1).unwrap().1;
        let (_, theirs) = inner(vote);
        let takes_extension = self.go["vote"]["type"] == 2 && !self.go["vote"]["block_id"].is_null();
        let left_out = |tag: &u64| match tag {
            // Left out of a long answer.
            9 => answer.len() + self.signature("extension").len() > privval::MAX_ANSWER_BYTES || !self.has_extensions(),
            // Never with a vote that takes none, whatever the request had.
            10 => !takes_extension || !self.has_extensions(),
            11.. => true,
            _ => false,
        };
        let known = |vote| fields(vote).into_iter().filter(|(tag, _)| !left_out(tag)).collect::<Vec<_>>();
        if known(ours) != known(theirs) {
            self.fail("another echo", &to_hex(answer));
        }
    }

    /// The rules again, from the fields that Go read.
    fn refused(&self, ours: &InvalidRequest, asked: &Value, is_vote: bool) -> String {
        let expected = self.expected_refusal(asked, is_vote);
        let is_newer = ours.name() == "extension_misplaced" && expected.is_none() && !self.has_extensions();
        if is_newer && self.has(&[Quirk::Extension]).is_some() {
            return "on purpose: an extension that this line does not know is refused".to_owned();
        }
        if expected != Some(ours.name()) {
            self.fail(&format!("expected the refusal {expected:?}"), ours);
        }
        // What CometBFT calls valid is never refused, but for what it forgot to look at.
        let forgotten = ["chain_id_empty", "chain_id_too_long", "height", "pol_round"];
        if self.text("validate_basic") == Some("") && !forgotten.contains(&ours.name()) {
            self.fail("CometBFT calls it valid", ours);
        }
        format!("refused by rule: {}", ours.name())
    }

    fn expected_refusal(&self, asked: &Value, is_vote: bool) -> Option<&'static str> {
        if asked.is_null() {
            return Some("missing");
        }
        let number = |name: &str| asked[name].as_i64().unwrap();
        let length = |value: &Value| value.as_str().map_or(0, |text| text.len() / 2);
        let chain_id = length(&self.go["chain_id_hex"]);
        let block_id = &asked["block_id"];
        let (hash, parts_hash) = (length(&block_id["hash"]), length(&block_id["parts_hash"]));
        let incomplete = hash != 32 || parts_hash != 32 || block_id["parts_total"] == 0;
        let broken = [
            ("type", if is_vote { ![1, 2].contains(&number("type")) } else { number("type") != 32 }),
            ("height", number("height") < 1),
            ("round", number("round") < 0),
            ("chain_id_empty", chain_id == 0),
            ("chain_id_too_long", chain_id > 50),
            ("pol_round", !is_vote && !(-1..number("round")).contains(&number("pol_round"))),
            ("block_hash", ![0, 32].contains(&hash)),
            ("parts_hash", ![0, 32].contains(&parts_hash)),
            ("block_id_incomplete", !block_id.is_null() && incomplete),
            ("proposal_without_block", !is_vote && block_id.is_null()),
            ("validator_address", length(&asked["validator_address"]) > 20),
            ("extension_misplaced", length(&asked["extension"]) > 0 && (number("type") != 2 || block_id.is_null())),
        ];
        broken.into_iter().find(|(_, broken)| *broken).map(|(name, _)| name)
    }
}
