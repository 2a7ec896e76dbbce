//! Messages of every kind, with test values that everybody can read.
#![allow(dead_code, clippy::unwrap_used)]
use guard::{ChainId, Height, Identity, Position, Record, Statement, Trouble};
use std::collections::BTreeMap;
use wire::control::{
    Answer, Attested, Ceremony, ChainStatus, Choice, ChosenBy, ConnectionStatus, Credentials, CredentialsStatus,
    Failure, KeyOrder, LogLine, Made, MetricsPage, Phase, Progress, Push, Request, Serving, Status, Task,
};
use wire::state;
use wire::token::Token;
use zeroize::Zeroizing;

pub const NONCE: [u8; 32] = [0xa5; 32];

pub fn token() -> Token {
    Token::new(&[0x5a; 32])
}

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

/// Canonical sign bytes of a vote for a block (or nil) of the chain `test-1`.
pub fn vote(kind: u8, height: u64, round: u32, hash: Option<u8>) -> Vec<u8> {
    let mut body = vec![0x08, kind, 0x11];
    body.extend(height.to_le_bytes());
    if round > 0 {
        body.push(0x19);
        body.extend(u64::from(round).to_le_bytes());
    }
    if let Some(byte) = hash {
        let mut block = vec![0x0a, 32];
        block.extend([byte; 32]);
        block.extend([0x12, 36, 0x08, 1, 0x12, 32]);
        block.extend([byte ^ 0xff; 32]);
        body.extend([0x22, u8::try_from(block.len()).unwrap()]);
        body.extend(block);
    }
    body.extend([0x2a, 5, 0x08, 0x81, 0x82, 0x83, 0x04]);
    body.extend([0x32, 6]);
    body.extend(b"test-1");
    let mut out = vec![u8::try_from(body.len()).unwrap()];
    assert!(out[0] < 0x80 || hash.is_some());
    if body.len() > 0x7f {
        out = vec![u8::try_from(body.len() & 0x7f).unwrap() | 0x80, u8::try_from(body.len() >> 7).unwrap()];
    }
    out.extend(body);
    out
}

pub fn record() -> Record {
    Record::of(7, Statement::parse(&vote(2, 12, 1, Some(3))).unwrap())
}

pub fn floor() -> Record {
    Record::floor(6, Position::end_of(Height::try_from(11).unwrap()))
}

pub fn state_requests() -> Vec<(&'static str, state::Request)> {
    let identity = Identity { chain_id: ChainId::try_from("test-1").unwrap(), public_key: [9; 32].into() };
    let commit = |previous: &Record, next| state::Request::Commit {
        previous_sequence: previous.sequence(),
        previous: state::digest(previous),
        next,
    };
    vec![
        ("state-request-open", state::Request::Open { identity, life: [4; 16] }),
        ("state-request-recover", state::Request::Recover),
        ("state-request-commit", commit(&floor(), record())),
        ("state-request-commit-floor", commit(&Record::never_signed(), floor())),
    ]
}

pub fn state_answers() -> Vec<(&'static str, state::Answer)> {
    let trouble =
        |trouble: Trouble| state::Answer::Trouble { trouble, detail: format!("{}: look at the disk", trouble.name()) };
    vec![
        ("state-answer-opened", state::Answer::Opened { epoch: 3 }),
        ("state-answer-recovered", state::Answer::Recovered { record: record() }),
        ("state-answer-recovered-floor", state::Answer::Recovered { record: floor() }),
        ("state-answer-committed", state::Answer::Committed { sequence: 7, digest: state::digest(&record()) }),
        ("state-answer-superseded", trouble(Trouble::Superseded)),
        ("state-answer-failed", trouble(Trouble::Failed)),
        ("state-answer-unknown", trouble(Trouble::Unknown)),
        ("state-answer-damaged", trouble(Trouble::Damaged)),
    ]
}

pub fn push(session: bool) -> Push {
    let credentials = Credentials {
        access_key_id: secret("AKIATESTTESTTESTTEST"),
        secret_access_key: secret("secret/of/a/test"),
        session_token: session.then(|| secret("session-of-a-test")),
        expires_at: session.then_some(1_800_000_000),
        source: "the environment".to_owned(),
    };
    Push { token: token(), config: secret("[[chain]]\nid = \"test-1\"\n"), credentials: Some(credentials) }
}

fn ceremony() -> Ceremony {
    let key = KeyOrder {
        chain_id: "test-1".to_owned(),
        purpose: "consensus".to_owned(),
        algorithm: "ed25519".to_owned(),
        key_arn: "arn:aws:kms:eu-west-1:111122223333:key/419bf6c0-cea2-4590-9b70-fe9baaee4beb".to_owned(),
        method: "kms-encrypt".to_owned(),
        kms_proxy_port: 8000,
    };
    let Push { credentials, .. } = push(true);
    Ceremony {
        task: Task::Import { key, public_key: "AAAA".to_owned() },
        nonce: b"a nonce of a test".to_vec(),
        sealed: vec![0x5e; 80],
        credentials,
    }
}

fn offer() -> Ceremony {
    Ceremony { task: Task::Offer, nonce: b"a nonce of a test".to_vec(), sealed: Vec::new(), credentials: None }
}

pub fn control_requests() -> Vec<(&'static str, Request)> {
    let bare = Push { credentials: None, ..push(false) };
    vec![
        ("control-request-push", Request::Push(Box::new(push(true)))),
        ("control-request-push-long-lived", Request::Push(Box::new(push(false)))),
        ("control-request-push-without-credentials", Request::Push(Box::new(bare))),
        ("control-request-status", Request::Status),
        ("control-request-logs", Request::Logs { from: 17, follow: true }),
        ("control-request-metrics", Request::Metrics),
        ("control-request-ceremony", Request::Ceremony(Box::new(ceremony()))),
        ("control-request-ceremony-offer", Request::Ceremony(Box::new(offer()))),
        ("control-request-attest", Request::Attest { nonce: b"a nonce of a test".to_vec() }),
    ]
}

fn failure() -> Failure {
    Failure {
        phase: Phase::Releasing,
        code: "kms-access-denied".to_owned(),
        chain: Some("test-1".to_owned()),
        reason: "KMS refused".to_owned(),
        remedy: "allow this PCR0".to_owned(),
    }
}

pub fn status() -> Status {
    let chain = ChainStatus {
        id: "test-1".to_owned(),
        public_key: "CQkJ".to_owned(),
        algorithm: "ed25519".to_owned(),
        address: "0909".to_owned(),
        state_port: 5555,
        position: Some("12/1/precommit".to_owned()),
        state: "signing".to_owned(),
        detail: "signing, last 0.5 s ago".to_owned(),
        connections: vec![ConnectionStatus { address: "vsock port 5000".to_owned(), up: true }],
    };
    Status {
        version: "0.1.0".to_owned(),
        commit: "abc".to_owned(),
        phase: Phase::Serving,
        phase_seconds: 1.5,
        uptime_seconds: 2.25,
        failure: Some(failure()),
        pcrs: BTreeMap::from([(0, "aa".repeat(48)), (15, "bb".repeat(48))]),
        debug: false,
        has_policy: true,
        ceremony: false,
        choices: vec![
            Choice { what: "region".to_owned(), value: "eu-central-1".to_owned(), by: ChosenBy::Parent },
            Choice { what: "chains".to_owned(), value: "test-1".to_owned(), by: ChosenBy::Image },
        ],
        config_sha256: Some("cc".repeat(32)),
        credentials: Some(CredentialsStatus { source: "profile x".to_owned(), expires_in_seconds: Some(-3) }),
        chains: vec![chain],
        log_lines_dropped: 2,
        machine: None,
    }
}

pub fn control_answers() -> Vec<(&'static str, Answer)> {
    let all = [
        Phase::Starting,
        Phase::Waiting,
        Phase::Checking,
        Phase::Releasing,
        Phase::Recovering,
        Phase::Serving,
        Phase::Broken,
    ];
    let names = [
        "control-answer-progress-starting",
        "control-answer-progress-waiting",
        "control-answer-progress-checking",
        "control-answer-progress-releasing",
        "control-answer-progress-recovering",
        "control-answer-progress-serving",
        "control-answer-progress-broken",
    ];
    let progress = |phase| Answer::Progress(Progress { phase, detail: "key 1 of 2".to_owned() });
    let serving = Serving {
        added: vec!["a-1".to_owned()],
        removed: vec!["b-1".to_owned()],
        changed: vec!["c-1".to_owned()],
        unchanged: vec!["d-1".to_owned()],
        credentials_refreshed: true,
    };
    let page = MetricsPage {
        metrics: "tmkms_up 1\n".to_owned(),
        healthy: true,
        health: "healthy\n".to_owned(),
        status: "{}".to_owned(),
    };
    let made = Made {
        ciphertext: "AQID".to_owned(),
        statement: "{\"kind\":\"tmkms key ceremony v1\"}".to_owned(),
        document: "hEShATgi".to_owned(),
    };
    let attested = Attested {
        statement: "{\"kind\":\"tmkms signer attestation v1\"}".to_owned(),
        document: "hEShATgi".to_owned(),
    };
    let mut answers: Vec<_> = names.into_iter().zip(all.map(progress)).collect();
    answers.extend([
        ("control-answer-serving", Answer::Serving(serving)),
        ("control-answer-failed", Answer::Failed(failure())),
        ("control-answer-status", Answer::Status(Box::new(status()))),
        ("control-answer-log", Answer::Log(LogLine { number: 1, text: "a line".to_owned() })),
        ("control-answer-log-end", Answer::LogEnd { dropped: 5 }),
        ("control-answer-metrics", Answer::Metrics(Box::new(page))),
        ("control-answer-made", Answer::Made(Box::new(made))),
        ("control-answer-attested", Answer::Attested(Box::new(attested))),
    ]);
    answers
}

/// Every message that is no hello, as a frame's content.
pub fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let mut frames = Vec::new();
    for (name, request) in control_requests() {
        frames.push((name, request.encode(Some(&token()), &NONCE).to_vec()));
    }
    frames.push(("control-request-status-unproven", Request::Status.encode(None, &NONCE).to_vec()));
    frames.extend(control_answers().into_iter().map(|(name, answer)| (name, answer.encode())));
    frames.extend(state_requests().into_iter().map(|(name, request)| (name, request.encode(41))));
    frames.extend(state_answers().into_iter().map(|(name, answer)| (name, answer.encode(41, &token(), &NONCE))));
    frames
}
