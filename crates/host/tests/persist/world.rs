//! A folder with a state, a token and a server; enclaves with real guards that reach it.
use guard::{ChainId, Guard, Height, Identity, Position, Record, Statement, Step};
use host::persist::{Options, Persist, Places, TokenFile};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use store::remote::CONNECT_LIMIT;
use store::{FileStore, RemoteStore};
use wire::endpoint::{Enclave, Listener, Parent};
use wire::token::Token;

pub const CHAIN: &str = "persist-1";
pub const PORT: u32 = 5555;
pub const TOKEN: [u8; 32] = [42; 32];

pub fn identity() -> Identity {
    identity_of(CHAIN, 7)
}

pub fn identity_of(chain: &str, key: u8) -> Identity {
    Identity { chain_id: ChainId::try_from(chain).unwrap(), public_key: Box::from([key; 32]) }
}

pub fn floor(height: i64) -> Record {
    Record::floor(0, Position::end_of(Height::try_from(height).unwrap()))
}

/// A precommit for a block (0 is nil) at a height.
pub fn vote(height: u64, block: u8) -> Statement {
    vote_on(CHAIN, height, 0, Step::Precommit, block, 1)
}

pub fn vote_on(chain: &str, height: u64, round: u64, step: Step, block: u8, seconds: u8) -> Statement {
    let mut body = vec![0x08, u8::try_from(step as u32).unwrap() - 1, 0x11];
    body.extend(height.to_le_bytes());
    if round > 0 {
        body.push(0x19);
        body.extend(round.to_le_bytes());
    }
    if block > 0 {
        let parts = [&[0x08, 1, 0x12, 32][..], &[block; 32]].concat();
        let id = [&[0x0a, 32][..], &[block; 32], &[0x12, u8::try_from(parts.len()).unwrap()], &parts].concat();
        body.extend([0x22, u8::try_from(id.len()).unwrap()]);
        body.extend(id);
    }
    body.extend([0x2a, 2, 0x08, seconds]);
    body.extend([0x32, u8::try_from(chain.len()).unwrap()]);
    body.extend(chain.as_bytes());
    assert!(body.len() < 0x4000);
    let mut out = Vec::new();
    if body.len() > 0x7f {
        out.push(u8::try_from(body.len() & 0x7f).unwrap() | 0x80);
        out.push(u8::try_from(body.len() >> 7).unwrap());
    } else {
        out.push(u8::try_from(body.len()).unwrap());
    }
    out.extend(body);
    Statement::parse(&out).unwrap()
}

/// A folder of its own, removed at the end.
pub struct World {
    pub folder: PathBuf,
}

impl World {
    /// Empty but for the token.
    pub fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("p-{}-{}", std::process::id(), NUMBER.fetch_add(1, SeqCst));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(folder.join("states")).unwrap();
        let world = Self { folder };
        world.write_token(&TOKEN);
        world
    }

    /// With the state of [`identity`], at height 0.
    pub fn with_state() -> Self {
        let world = Self::new();
        FileStore::create(&world.state(), &identity(), &Record::never_signed()).unwrap();
        world
    }

    pub fn write_token(&self, token: &[u8; 32]) {
        let path = self.token().path().to_owned();
        let text: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(&path, format!("{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn token(&self) -> TokenFile {
        TokenFile::new(self.folder.join("token"))
    }

    pub fn state(&self) -> PathBuf {
        self.folder.join("states/state.json")
    }

    pub fn base(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Serves the state file.
    pub fn persist(&self) -> Persist {
        self.persist_at("u", vec![self.state()])
    }

    pub fn persist_at(&self, base: &str, places: Vec<PathBuf>) -> Persist {
        // Enough for a connection's end to be noticed; two enclaves that run against each other need not wait longer.
        let options = Options { hand_over: Duration::from_millis(20), ..Options::new("0.0.0-test") };
        let listener = Listener::on_parent(Some(&Enclave::Unix { base: self.base(base) }), PORT).unwrap();
        Persist::start(listener, Places::new(places), self.token(), options).unwrap()
    }

    /// An enclave of that life, which connects to the server itself.
    pub fn enclave(&self, life: u8) -> Guard<RemoteStore> {
        Guard::new(identity(), self.store("u", life, &identity(), &TOKEN))
    }

    /// An enclave that connects to whatever listens at another base.
    pub fn enclave_by(&self, base: &str, life: u8) -> Guard<RemoteStore> {
        Guard::new(identity(), self.store(base, life, &identity(), &TOKEN))
    }

    pub fn store(&self, base: &str, life: u8, identity: &Identity, token: &[u8; 32]) -> RemoteStore {
        let parent = Parent::Unix { base: self.base(base) };
        RemoteStore::new(
            identity.clone(),
            Box::new(move || parent.connect(PORT, CONNECT_LIMIT)),
            Arc::new(Token::new(token)),
            [life; 16],
            "0.0.0-test",
            Box::new(nonce),
        )
    }
}

fn nonce() -> std::io::Result<[u8; 32]> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).unwrap();
    Ok(nonce)
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub fn end(persist: Persist) {
    persist.stop();
    persist.wait();
}
