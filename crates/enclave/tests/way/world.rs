//! An enclave in this process, with everything around it played: security module, KMS, records, nodes, and a parent
//! that pushes.
use crate::node_wire::{self as node, Sum};
use enclave::log_ring::LogRing;
use enclave::nsm::{AttestationRequest, Description, Nsm, NsmError};
use enclave::plan::{ChainPlan, IdentitySource, KmsKey, Plan, ValidatorPlan};
use enclave::records::{Opened, ProvenBy, Records};
use enclave::release::{Kms, Withheld};
use enclave::{Broken, Ending, Options, run_with};
use guard::{ChainId, Committed, Height, Identity, Record, Store, StoreError, Trouble};
use signer::keys::Algorithm;
use signer::{Build, Endpoint, SignExtensions};
use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use wire::control::{Answer, Credentials, Failure, Push, Request, Serving, Status};
use wire::endpoint::{Enclave, Parent};
use wire::hello::{self, Channel, Side};
use wire::token::Token;
use zeroize::Zeroizing;

/// Nothing in these tests takes longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What may be seen nowhere.
pub const CANARIES: [&str; 3] = ["CANARYSECRETACCESSKEY", "CANARYSESSIONTOKEN", "CANARYCIPHERTEXT"];

pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("enclave-way-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A security module.
pub struct Module {
    pub pcr0: [u8; 48],
    pub randomness: bool,
    /// How many draws succeed.
    pub draws: AtomicU32,
    /// Where what it was asked to attest to is kept; without it, it refuses.
    pub attested: Option<Attested>,
}

/// The fields of the last document that was asked for: public key, nonce, user data.
pub type Attested = Arc<Mutex<[Option<Vec<u8>>; 3]>>;

impl Default for Module {
    fn default() -> Self {
        Self { pcr0: [0xab; 48], randomness: true, draws: AtomicU32::new(u32::MAX), attested: None }
    }
}

impl Nsm for Module {
    fn describe(&self) -> Result<Description, NsmError> {
        Ok(Description { module_id: "i-0-enc0".to_owned(), max_pcrs: 32, digest: "SHA384".to_owned() })
    }

    fn attest(&self, request: &AttestationRequest<'_>) -> Result<Vec<u8>, NsmError> {
        let refused = || NsmError::Refused("InvalidOperation".to_owned());
        let fields = [request.public_key, request.nonce, request.user_data].map(|field| field.map(<[u8]>::to_vec));
        *self.attested.as_ref().ok_or_else(refused)?.lock().unwrap() = fields;
        Ok(b"a document".to_vec())
    }

    fn pcrs(&self) -> Result<BTreeMap<u8, Vec<u8>>, NsmError> {
        Ok(BTreeMap::from([(0, self.pcr0.to_vec()), (1, vec![0; 48])]))
    }

    fn random(&self, buffer: &mut [u8]) -> Result<(), NsmError> {
        if self.draws.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.draws.store(0, Ordering::Relaxed);
            return Err(NsmError::Refused("InternalError".to_owned()));
        }
        if self.randomness {
            getrandom::fill(buffer).unwrap();
        }
        Ok(())
    }
}

/// A KMS: what is released is a raw key whose first byte is the ciphertext's last.
#[derive(Default)]
pub struct KmsState {
    pub withheld: HashMap<u8, Withheld>,
    pub released: Vec<u8>,
    pub batches: usize,
    pub delay: Duration,
    pub credentials: Vec<String>,
}

struct FakeKms(Arc<Mutex<KmsState>>);

impl Kms for FakeKms {
    fn prepare(&mut self) {}

    fn release(&mut self, _: u32, key: &KmsKey, credentials: &Credentials) -> Result<Zeroizing<Vec<u8>>, Withheld> {
        let number = *key.ciphertext.last().unwrap();
        let delay = self.0.lock().unwrap().delay;
        thread::sleep(delay);
        let mut state = self.0.lock().unwrap();
        state.credentials.push(credentials.source.clone());
        if let Some(withheld) = state.withheld.get(&number) {
            return Err(withheld.clone());
        }
        state.released.push(number);
        Ok(Zeroizing::new(vec![number; 32]))
    }

    fn finish(&mut self) {
        self.0.lock().unwrap().batches += 1;
    }
}

/// The parent's records.
#[derive(Default)]
pub struct RecordState {
    pub records: HashMap<Identity, Record>,
    /// By port.
    pub trouble: HashMap<u32, Trouble>,
    pub opened: Vec<(String, u32)>,
    pub let_go: Vec<(String, u32)>,
}

struct FakeRecords(Arc<Mutex<RecordState>>);

struct FakeStore {
    state: Arc<Mutex<RecordState>>,
    identity: Identity,
    port: u32,
}

impl FakeStore {
    fn check(&self) -> Result<(), StoreError> {
        match self.state.lock().unwrap().trouble.get(&self.port) {
            Some(trouble) => Err(StoreError { trouble: *trouble, detail: "told to fail".to_owned() }),
            None => Ok(()),
        }
    }
}

impl Store for FakeStore {
    fn recover(&mut self) -> Result<Record, StoreError> {
        self.check()?;
        let mut state = self.state.lock().unwrap();
        Ok(state.records.entry(self.identity.clone()).or_insert_with(Record::never_signed).clone())
    }

    fn commit(&mut self, _: &Record, next: &Record) -> Result<Committed, StoreError> {
        self.check()?;
        self.state.lock().unwrap().records.insert(self.identity.clone(), next.clone());
        Ok(Committed::durably(next))
    }
}

impl Records for FakeRecords {
    fn of(&self, identity: Identity, port: u32, _: ProvenBy) -> Opened {
        let name = (identity.chain_id.to_string(), port);
        self.0.lock().unwrap().opened.push(name.clone());
        let state = Arc::clone(&self.0);
        let let_go = Box::new(move || state.lock().unwrap().let_go.push(name.clone()));
        Opened { store: Box::new(FakeStore { state: Arc::clone(&self.0), identity, port }), let_go }
    }
}

/// A configuration's words, one line a chain: `ID KEY STATE_PORT NODE_PORT [max=H] [secret=KEY] [region=R] [arn=A]`;
/// `allow_debug` on a line of its own.
pub fn parse(text: &str) -> Result<Plan, Vec<String>> {
    let mut plan = Plan {
        chains: Vec::new(),
        kms_proxy_port: 8000,
        allow_debug: false,
        log_level: None,
        unhealthy_after: Duration::from_secs(60),
    };
    for line in text.lines() {
        let mut words = line.split(' ');
        match words.next().unwrap_or_default() {
            "allow_debug" => plan.allow_debug = true,
            "panic" => panic!("told to"),
            id => plan.chains.push(chain(id, words).ok_or_else(|| vec![format!("not a line: {line:?}")])?),
        }
    }
    Ok(plan)
}

fn chain<'a>(id: &str, mut words: impl Iterator<Item = &'a str>) -> Option<ChainPlan> {
    let mut key = kms_key(words.next()?.parse().ok()?);
    let state_port = words.next()?.parse().ok()?;
    let port = words.next()?.parse().ok()?;
    let (mut max_height, mut identity) = (None, None);
    for word in words {
        match word.split_once('=')? {
            ("max", height) => max_height = Some(Height::try_from(height.parse::<i64>().ok()?).ok()?),
            ("secret", number) => identity = Some(IdentitySource::Kms(kms_key(number.parse().ok()?))),
            ("region", region) => key.region = region.to_owned(),
            ("arn", arn) => key.key_arn = Some(arn.to_owned()),
            _ => return None,
        }
    }
    let endpoint = Endpoint::Vsock { port, secret: identity.is_some(), peer_id: None };
    let timeout = Duration::from_secs(15);
    let node = ValidatorPlan { endpoint, identity, reconnect: true, timeout, silence: timeout };
    Some(ChainPlan {
        id: ChainId::try_from(id).ok()?,
        key,
        state_port,
        validators: vec![node],
        max_height,
        extensions: SignExtensions::Automatic,
    })
}

fn kms_key(number: u8) -> KmsKey {
    let ciphertext = [CANARIES[2].as_bytes(), &[number]].concat();
    KmsKey {
        ciphertext: Arc::new(Zeroizing::new(ciphertext)),
        region: "eu-west-1".to_owned(),
        algorithm: Algorithm::Ed25519,
        key_arn: None,
        encryption_context: BTreeMap::new(),
        public_key: None,
        credentials: None,
    }
}

pub fn token(number: u8) -> Token {
    Token::new(&[number; 32])
}

/// How a push went.
#[derive(Debug)]
pub struct Pushed {
    pub answers: Vec<Answer>,
}

impl Pushed {
    pub fn serving(self) -> Serving {
        match self.answers.into_iter().next_back() {
            Some(Answer::Serving(serving)) => serving,
            other => panic!("not serving: {other:?}"),
        }
    }

    pub fn failure(self) -> Failure {
        match self.answers.into_iter().next_back() {
            Some(Answer::Failed(failure)) => failure,
            other => panic!("not failed: {other:?}"),
        }
    }
}

/// The enclave and its world.
pub struct World {
    pub folder: Folder,
    pub kms: Arc<Mutex<KmsState>>,
    pub records: Arc<Mutex<RecordState>>,
    pub log: Arc<LogRing>,
    ending: Ending,
    running: Option<JoinHandle<Result<(), Broken>>>,
}

impl World {
    pub fn new() -> Self {
        Self::with(Module::default(), None)
    }

    pub fn with(module: Module, policy: Option<&str>) -> Self {
        let folder = Folder::new();
        let (kms, records) = (Arc::<Mutex<KmsState>>::default(), Arc::<Mutex<RecordState>>::default());
        let (log, ending) = (Arc::new(LogRing::new()), Ending::default());
        let policy = policy.map(|text| {
            let path = folder.0.join("policy.toml");
            std::fs::write(&path, text).unwrap();
            path
        });
        let options = Options {
            booted: None,
            ceremonies: None,
            parent: Parent::Unix { base: folder.0.join("vm") },
            control_port: 5050,
            policy,
            verbose: false,
            build: Build { version: "1.2.3", commit: "abc" },
            log: Arc::clone(&log),
            more_metrics: String::new,
            ending: ending.clone(),
        };
        let (of_kms, of_records) = (FakeKms(Arc::clone(&kms)), FakeRecords(Arc::clone(&records)));
        let running = thread::spawn(move || {
            run_with(
                options,
                &(Arc::new(module) as Arc<dyn Nsm>),
                Box::new(parse),
                |_| Box::new(of_kms),
                |_| Box::new(of_records),
            )
        });
        let world = Self { folder, kms, records, log, ending, running: Some(running) };
        let until = Instant::now() + PATIENCE;
        while world.try_connect().is_none() {
            assert!(Instant::now() < until, "the control port is there");
            thread::sleep(Duration::from_millis(5));
        }
        while world.status().phase == wire::control::Phase::Starting {
            assert!(Instant::now() < until, "the self-checks end");
            thread::sleep(Duration::from_millis(5));
        }
        world
    }

    fn try_connect(&self) -> Option<UnixStream> {
        let stream = Enclave::Unix { base: self.folder.0.join("vm") }.connect(5050, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Some(stream)
    }

    /// Says hello; gives the enclave's nonce.
    pub fn connect(&self) -> (UnixStream, [u8; 32]) {
        let mut stream = self.try_connect().unwrap();
        let nonce = hello::exchange(&mut stream, Side::Parent, Channel::Control, [1; 32], "1.2.3").unwrap().nonce;
        (stream, nonce)
    }

    pub fn ask(&self, request: &Request, token: Option<&Token>) -> Vec<Answer> {
        let (mut stream, nonce) = self.connect();
        wire::frame::write(&mut stream, &request.encode(token, &nonce)).unwrap();
        read_answers(&mut stream)
    }

    pub fn push(&self, config: &str) -> Pushed {
        self.push_with(config, 1)
    }

    pub fn push_with(&self, config: &str, number: u8) -> Pushed {
        self.push_as(config, &token(number), number)
    }

    /// With a proof by one token and another one inside.
    pub fn push_as(&self, config: &str, proven_by: &Token, number: u8) -> Pushed {
        let push = Self::a_push(config, number);
        Pushed { answers: self.ask(&push, Some(proven_by)) }
    }

    pub fn a_push(config: &str, number: u8) -> Request {
        let secret = |text: &str| Zeroizing::new(text.to_owned());
        Request::Push(Box::new(Push {
            token: token(number),
            config: secret(config),
            credentials: Some(Credentials {
                access_key_id: secret("AKIDEXAMPLE"),
                secret_access_key: secret(CANARIES[0]),
                session_token: Some(secret(CANARIES[1])),
                expires_at: Some(4_000_000_000),
                source: "a test".to_owned(),
            }),
        }))
    }

    pub fn status(&self) -> Status {
        match self.ask(&Request::Status, None).pop() {
            Some(Answer::Status(status)) => *status,
            other => panic!("no status: {other:?}"),
        }
    }

    pub fn node(&self, port: u32) -> Node {
        let listener = UnixListener::bind(self.folder.0.join(format!("vm_{port}"))).unwrap();
        listener.set_nonblocking(true).unwrap();
        Node { listener }
    }

    /// Ends it, and gives how it went.
    pub fn end(&mut self) -> Result<(), Broken> {
        self.ending.end();
        self.running.take().unwrap().join().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.running.is_some() {
            let _ = self.end();
        }
    }
}

pub fn read_answers(stream: &mut UnixStream) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some(bytes) = wire::frame::read(stream, wire::frame::MAX_ANSWER_BYTES).unwrap() {
        answers.push(Answer::decode(&bytes).unwrap());
    }
    answers
}

/// Where a node's proxy listens on the parent.
pub struct Node {
    listener: UnixListener,
}

impl Node {
    pub fn accept(&self) -> Session {
        self.try_accept(PATIENCE).expect("the signer dials")
    }

    pub fn try_accept(&self, limit: Duration) -> Option<Session> {
        let until = Instant::now() + limit;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    return Some(Session { stream, frames: privval::FrameDecoder::new() });
                }
                Err(_) if Instant::now() >= until => return None,
                Err(_) => thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}

/// A connected signer.
pub struct Session {
    stream: UnixStream,
    frames: privval::FrameDecoder,
}

impl Session {
    pub fn ask(&mut self, request: Sum) -> Option<Sum> {
        self.stream.write_all(&node::delimited(request)).ok()?;
        loop {
            if let Some(message) = self.frames.next().unwrap() {
                return Some(node::decode(message));
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.frames.push(&buffer[..length]),
            }
        }
    }

    pub fn is_up(&mut self) -> bool {
        self.ask(Sum::Ping(node::Empty {})) == Some(Sum::Pong(node::Empty {}))
    }

    /// The signed vote, or the refusal.
    pub fn prevote(&mut self, chain_id: &str, height: i64, block: u8) -> Result<node::Vote, String> {
        let request = node::sign_vote(chain_id, node::vote(node::PREVOTE, height, 0, block));
        let Some(Sum::SignedVote(answer)) = self.ask(request) else { panic!("no vote's answer") };
        answer.error.map_or_else(|| Ok(answer.vote.unwrap()), |error| Err(error.description))
    }
}
