//! Golden vectors made by each line's own Go code (e2e/go, `harness vectors`): e2e/vectors/*.json.
use crate::rules::{check_proposal, check_vote};
use crate::tree::{BlockId, Proposal, Vote, bytes, delimited, encode, fields, hex, inner, message, undelimited};
use privval::answers::{self, PublicKeyRef};
use privval::{InvalidRequest, Request};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;

/// Votes and proposals that Go signs (or dies on) and that are no honest node's requests: part of the vector's name,
/// and the name of the refusal. Everything that is not listed must pass and match Go's sign bytes.
const REFUSED: [(&str, &str); 15] = [
    ("height and round zero", "height"),
    ("negative height and round", "height"),
    ("hash without parts", "block_id_incomplete"),
    ("parts without hash", "block_id_incomplete"),
    ("total without hashes", "block_id_incomplete"),
    // After "parts hash", which contains it.
    ("parts hash of 20 bytes", "parts_hash"),
    ("hash of 20 bytes", "block_hash"),
    ("chain id of 200 bytes", "chain_id_too_long"),
    ("empty chain id", "chain_id_empty"),
    ("without chain id", "chain_id_empty"),
    ("no type", "type"),
    ("type proposal", "type"),
    ("proposal, type prevote", "type"),
    ("proposal, nil block", "proposal_without_block"),
    ("proposal, tmkms's example", "proposal_without_block"),
];

fn refusal_of(vector: &Value) -> Option<&'static str> {
    let name = vector["name"].as_str().unwrap();
    let pol_round = name.strip_prefix("proposal, pol_round ").map(|pol| pol.parse::<i64>().unwrap());
    // Its round is 5.
    if pol_round.is_some_and(|pol| !(-1..5).contains(&pol)) {
        return Some("pol_round");
    }
    REFUSED.iter().find(|(part, _)| name.contains(part)).map(|(_, refusal)| *refusal)
}

/// Every line's file, by its line.
fn files() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/vectors");
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    assert!(!paths.is_empty(), "no golden vectors: expected {}/*.json", folder.display());
    let read = |path| serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap();
    paths.iter().map(read).map(|file| (file["line"].as_str().unwrap().to_owned(), file)).collect()
}

fn list<'a>(file: &'a Value, name: &str) -> &'a [Value] {
    file[name].as_array().unwrap_or_else(|| panic!("no list {name}"))
}

fn int(value: &Value, name: &str) -> i64 {
    value[name].as_i64().unwrap_or_else(|| panic!("no number {name}: {value}"))
}

fn int32(value: &Value, name: &str) -> i32 {
    int(value, name).try_into().unwrap()
}

fn blob(value: &Value, name: &str) -> Vec<u8> {
    hex(value[name].as_str().unwrap_or_else(|| panic!("no bytes {name}: {value}")))
}

fn block_id(value: &Value) -> Option<BlockId> {
    let block_id = value.get("block_id").filter(|block_id| !block_id.is_null())?;
    let total = int(block_id, "parts_total").try_into().unwrap();
    Some(BlockId { hash: blob(block_id, "hash"), total, parts_hash: blob(block_id, "parts_hash") })
}

fn timestamp(value: &Value) -> Option<(i64, i64)> {
    Some((int(&value["timestamp"], "seconds"), int(&value["timestamp"], "nanos")))
}

fn vote_of(value: &Value) -> Vote {
    Vote {
        kind: int32(value, "type"),
        height: int(value, "height"),
        round: int32(value, "round"),
        block_id: block_id(value),
        timestamp: timestamp(value),
        address: blob(value, "validator_address"),
        index: int32(value, "validator_index"),
        signature: blob(value, "signature"),
        extension: blob(value, "extension"),
        extension_signature: blob(value, "extension_signature"),
    }
}

fn proposal_of(value: &Value) -> Proposal {
    Proposal {
        kind: int32(value, "type"),
        height: int(value, "height"),
        round: int32(value, "round"),
        pol_round: int32(value, "pol_round"),
        block_id: block_id(value),
        timestamp: timestamp(value),
        signature: blob(value, "signature"),
    }
}

/// Compares with Go's sign bytes, or with the refusal that the list names.
fn assert_signed_as_in_go(line: &str, vector: &Value, ours: Result<Vec<u8>, InvalidRequest>) -> bool {
    let name = &vector["name"];
    match (ours, refusal_of(vector)) {
        (Ok(sign_bytes), None) => assert_eq!(sign_bytes, blob(vector, "sign_bytes"), "{line}: {name}"),
        (Err(invalid), Some(refusal)) => {
            assert_eq!(invalid.name(), refusal, "{line}: {name}");
            return false;
        }
        (ours, expected) => panic!("{line}: {name}: expected refusal {expected:?}, got {ours:?}"),
    }
    true
}

#[test]
fn votes_are_signed_as_in_go_or_refused_by_a_named_rule() {
    for (line, file) in files() {
        let votes = list(&file, "votes");
        let signed = votes.iter().filter(|vector| {
            let request = vote_of(&vector["vote"]).request(vector["chain_id"].as_str().unwrap(), false);
            assert_signed_as_in_go(&line, vector, check_vote(&request).map(|vote| vote.sign_bytes()))
        });
        let signed = signed.count();
        assert!(signed >= 20 && signed < votes.len(), "{line}: {signed} of {}", votes.len());
    }
}

#[test]
fn proposals_are_signed_as_in_go_or_refused_by_a_named_rule() {
    for (line, file) in files() {
        let proposals = list(&file, "proposals");
        let signed = proposals.iter().filter(|vector| {
            let request = proposal_of(&vector["proposal"]).request(vector["chain_id"].as_str().unwrap());
            assert_signed_as_in_go(&line, vector, check_proposal(&request).map(|proposal| proposal.sign_bytes()))
        });
        let signed = signed.count();
        assert!(signed >= 10 && signed < proposals.len(), "{line}: {signed} of {}", proposals.len());
    }
}

#[test]
fn extensions_are_signed_as_in_go() {
    let mut compared = 0;
    for (line, file) in files() {
        for vector in list(&file, "extensions") {
            let length = usize::try_from(int(vector, "extension_length")).unwrap();
            let extension = match vector.get("extension_byte") {
                Some(_) => blob(vector, "extension_byte").repeat(length),
                None => blob(vector, "extension"),
            };
            assert_eq!(extension.len(), length);
            let (height, round) = (int(vector, "height"), int32(vector, "round"));
            let chain_id = vector["chain_id"].as_str().unwrap();
            let ours = check_vote(&Vote { height, round, extension, ..Vote::default() }.request(chain_id, false));
            let ours = ours.map(|vote| vote.extension_sign_bytes().expect("of a precommit for a block"));
            assert_eq!(ours.is_ok(), refusal_of(vector).is_none(), "{line}: {}", vector["name"]);
            if let Ok(ours) = &ours {
                // The long ones are in the file by their hash only.
                assert_eq!(Sha256::digest(ours).as_slice(), blob(vector, "sign_bytes_sha256"), "{line}");
                assert!(ours.len() > length);
            }
            if vector.get("sign_bytes").is_some() {
                assert_signed_as_in_go(&line, vector, ours.clone());
            }
            compared += usize::from(ours.is_ok());
        }
    }
    assert!(compared >= 10, "{compared} extensions compared");
}

/// The message of that name, if the line has it.
fn named<'a>(file: &'a Value, name: &str) -> Option<&'a Value> {
    list(file, "messages").iter().find(|vector| vector["name"] == name)
}

#[test]
fn every_request_is_read_as_go_reads_it() {
    for (line, file) in files() {
        let mut seen = 0;
        for vector in list(&file, "messages") {
            let (bytes, decoded) = (blob(vector, "hex"), &vector["decoded"]);
            let chain_id = decoded["chain_id"].as_str().unwrap_or_default();
            let ours = Request::decode(&bytes);
            seen += 1;
            match (decoded["type"].as_str().unwrap(), ours) {
                ("ping_request", Ok(Request::Ping)) => {}
                ("pub_key_request", Ok(Request::PubKey { chain_id: ours })) => assert_eq!(ours, chain_id),
                ("sign_vote_request", Ok(Request::SignVote(vote))) => {
                    assert_eq!(vote.chain_id(), chain_id);
                    match vote.check() {
                        Ok(vote) => assert_eq!(vote.sign_bytes(), blob(decoded, "sign_bytes"), "{line}"),
                        Err(invalid) => assert_eq!((invalid.name(), chain_id), ("chain_id_empty", ""), "{line}"),
                    }
                }
                ("sign_proposal_request", Ok(Request::SignProposal(proposal))) => {
                    assert_eq!(proposal.chain_id(), chain_id);
                    assert_eq!(proposal.check().unwrap().sign_bytes(), blob(decoded, "sign_bytes"), "{line}");
                }
                (_, Ok(Request::Raw { tag: 9 })) => assert_eq!(fields(&bytes)[0].0, 9),
                (response, Err(error)) => {
                    seen -= 1;
                    assert_eq!(error.name(), "response", "{line}: {response}");
                    assert!(response.ends_with("_response"), "{line}: {response}: {error}");
                }
                (other, ours) => panic!("{line}: {other} is read as {ours:?}"),
            }
        }
        assert!(seen >= 7, "{line}: {seen} requests");
    }
}

#[test]
fn a_signed_vote_or_proposal_is_answered_as_go_answers_it() {
    for (line, file) in files() {
        let mut seen = 0;
        for (answer, asked) in [
            ("signed_vote_response, prevote", "sign_vote_request, prevote"),
            ("signed_vote_response, precommit", "sign_vote_request, precommit"),
            ("signed_vote_response, precommit with an extension", "sign_vote_request, precommit with an extension"),
            ("signed_proposal_response", "sign_proposal_request"),
        ] {
            for key in ["ed25519", "secp256k1"] {
                let answer = named(&file, &format!("{answer} ({key} test key, FilePV)"));
                let (Some(answer), Some(asked)) = (answer, named(&file, asked)) else { continue };
                assert_eq!(our_answer(&blob(asked, "hex"), &answer["decoded"]), blob(answer, "delimited"), "{line}");
                seen += 1;
            }
        }
        assert_eq!(seen, 6, "{line}");
    }
}

/// Our answer with Go's signatures in it.
fn our_answer(asked: &[u8], go: &Value) -> Vec<u8> {
    let time = |value| timestamp(value).map(|(seconds, nanos)| (seconds, nanos.try_into().unwrap())).unwrap();
    match go.get("vote") {
        Some(vote) => {
            let extension_signature = Some(blob(vote, "extension_signature")).filter(|signature| !signature.is_empty());
            let checked = check_vote(asked).unwrap();
            checked.answer(&blob(vote, "signature"), extension_signature.as_deref(), time(vote))
        }
        None => {
            let proposal = &go["proposal"];
            check_proposal(asked).unwrap().answer(&blob(proposal, "signature"), time(proposal))
        }
    }
}

#[test]
fn errors_and_pings_are_answered_as_go_answers_them() {
    for (line, file) in files() {
        let go = |name: &str| blob(named(&file, name).unwrap_or_else(|| panic!("{line}: no {name}")), "delimited");
        assert_eq!(answers::vote_error(1, "it's a error"), go("signed_vote_response, error"), "{line}");
        assert_eq!(answers::proposal_error(1, "it's a error"), go("signed_proposal_response, error"), "{line}");
        assert_eq!(answers::pong(), go("ping_response"), "{line}");
        // v0.34 to v0.40 write an empty key into the error, v1 has none; both read it without.
        let error = answers::pub_key_error(1, "it's a error");
        let (_, ours) = inner(undelimited(&error));
        let theirs = go("pub_key_response, error");
        let (_, theirs) = inner(undelimited(&theirs));
        assert_eq!(ours, theirs.strip_prefix(&[0x0a, 0x00]).unwrap_or(theirs), "{line}");
    }
}

#[test]
fn a_public_key_answer_holds_the_form_of_every_line() {
    for (line, file) in files() {
        for kind in ["ed25519", "secp256k1"] {
            let vector = named(&file, &format!("pub_key_response, {kind} test key")).unwrap();
            let value = blob(&vector["decoded"]["pub_key"], "value");
            let answer = match kind {
                "ed25519" => answers::pub_key(PublicKeyRef::Ed25519(value.as_slice().try_into().unwrap())),
                _ => answers::pub_key(PublicKeyRef::Secp256k1(value.as_slice().try_into().unwrap())),
            };
            let (_, ours) = inner(undelimited(&answer));
            let bytes = blob(vector, "hex");
            let (tag, theirs) = inner(&bytes);
            assert_eq!(tag, 2);
            let known: Vec<_> = fields(theirs).iter().map(|(tag, _)| *tag).collect();
            let kept = fields(ours).into_iter().filter(|(tag, _)| known.contains(tag));
            let kept: Vec<u8> = kept.flat_map(|(_, field)| field.to_vec()).collect();
            assert_eq!(kept, theirs, "{line}: {kind}");
        }
    }
}

#[test]
fn the_trees_of_these_tests_are_encoded_as_go_encodes() {
    // The tests' own writer stands on the vectors too, or it could agree with a mistake.
    for (line, file) in files() {
        let vector = named(&file, "sign_vote_request, precommit").unwrap();
        let decoded = &vector["decoded"];
        let chain_id = decoded["chain_id"].as_str().unwrap();
        let vote = vote_of(&decoded["vote"]);
        assert_eq!(vote.request(chain_id, false), blob(vector, "hex"), "{line}");
        assert_eq!(delimited(&vote.request(chain_id, false)), blob(vector, "delimited"), "{line}");
        let request = encode(&[message(3, vec![message(1, vote.fields()), bytes(2, chain_id)])]);
        assert_eq!(request, blob(vector, "hex"), "{line}");
    }
}
