//! The server: started on loopback, asked by tests, stopped without leaving a thread.
use super::attested::Documents;
use super::connection;
use super::error::Failure;
use super::faults::Faults;
use super::keys::{EncryptionContext, Keys};
use super::log::{Log, Logged};
use super::policy::{Attached, Policy};
use super::principals::{self, Principals};
use super::recipient::{Evidence, Verifier};
use super::service::Service;
use super::{clock, tls};
use anyhow::{Context as _, Result, anyhow};
use rustls::ServerConfig;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

pub const DEFAULT_REGION: &str = "eu-central-1";
/// AWS's own number for examples.
pub const DEFAULT_ACCOUNT: &str = "111122223333";
/// Connections at one time; one more is closed at once.
const MAX_CONNECTIONS: usize = 128;

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where keys, the authority, `principals.json` and `faults.json` lie. Made if it isn't there.
    pub dir: PathBuf,
    /// On 127.0.0.1; 0 takes a free one.
    pub port: u16,
    pub region: String,
    /// Twelve digits.
    pub account: String,
    /// Further names for the certificate. `localhost`, the loopback addresses and `kms.REGION.amazonaws.com` are always in it.
    pub names: Vec<String>,
    /// Tells each request on standard error.
    pub echo: bool,
}

impl Settings {
    /// In this folder, on a free port.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let (region, account) = (DEFAULT_REGION.to_owned(), DEFAULT_ACCOUNT.to_owned());
        Self { dir: dir.into(), port: 0, region, account, names: Vec::new(), echo: false }
    }
}

/// A running server. Stops when it is dropped.
pub struct Server {
    address: SocketAddr,
    dir: PathBuf,
    service: Arc<Service>,
    documents: Arc<Documents>,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// What the acceptor and the connections share.
pub struct Shared {
    pub stopping: AtomicBool,
    streams: Mutex<HashMap<u64, TcpStream>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Starts a server.
    ///
    /// # Errors
    /// The folder or the port can't be used, or a file in the folder is not what it should be.
    pub fn start(settings: &Settings) -> Result<Self> {
        let dir = settings.dir.clone();
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let principals_file = dir.join("principals.json");
        principals::check(&principals_file)?;
        let faults = Arc::new(Faults::from_file(dir.join("faults.json")));
        let documents = Arc::new(Documents::default());
        let config = tls::configure(&dir, &names(settings), Arc::clone(&faults))?;
        let service = Arc::new(Service {
            region: settings.region.clone(),
            account: settings.account.clone(),
            keys: Keys::open(&dir.join("keys"), &settings.region, &settings.account)?.into(),
            principals: Principals::from_file(principals_file),
            faults,
            verifier: Arc::clone(&documents) as Arc<dyn Verifier>,
            log: Log::new(settings.echo),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, settings.port))
            .with_context(|| format!("cannot listen on 127.0.0.1:{}", settings.port))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { stopping: AtomicBool::new(false), streams: Mutex::default() });
        let acceptor = {
            let (service, shared) = (Arc::clone(&service), Arc::clone(&shared));
            std::thread::Builder::new()
                .name("kms".into())
                .spawn(move || accept(&listener, &config, &service, &shared))?
        };
        Ok(Self { address, dir, service, documents, shared, acceptor: Some(acceptor) })
    }

    /// Where clients connect: `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The authority that clients have to trust (`AWS_CA_BUNDLE`).
    pub fn ca_pem_path(&self) -> PathBuf {
        tls::ca_path(&self.dir)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn region(&self) -> &str {
        &self.service.region
    }

    pub fn account(&self) -> &str {
        &self.service.account
    }

    /// Believes attestation documents whose chain begins with this certificate (DER). Without any, no document is believed.
    pub fn trust_nsm_root(&self, der: &[u8]) {
        self.documents.trust(der);
    }

    /// Believes attestation documents that this verifier believes, beside those of the trusted roots.
    pub fn trust_verifier(&self, verifier: impl Fn(&[u8], i64) -> Result<Evidence, String> + Send + Sync + 'static) {
        self.documents.also(Box::new(verifier));
    }

    /// Believes the attestation documents of QEMU's emulated Nitro Enclaves, which **nobody signed**: whoever reaches this server can claim any
    /// measurement. For development only, and never without being asked for.
    pub fn accept_unsigned_documents(&self) {
        self.documents.also(Box::new(|document, _now| super::unsigned::read(document)));
    }

    /// Makes a key with this policy, and gives its ARN.
    ///
    /// # Errors
    /// The policy is not one, or the folder can't be written.
    pub fn create_key(&self, policy: &str) -> Result<String> {
        Ok(self.service.keys_mut().create("", policy, clock::now()).map_err(|failure| told(&failure))?.arn.clone())
    }

    /// Encrypts as the operation `Encrypt` does, without asking the policy.
    ///
    /// # Errors
    /// No such key.
    pub fn encrypt(&self, arn: &str, plaintext: &[u8], context: &[(&str, &str)]) -> Result<Vec<u8>> {
        let context: EncryptionContext =
            context.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.service.keys().find(arn).and_then(|key| key.encrypt(plaintext, &context)).map_err(|failure| told(&failure))
    }

    /// Replaces a key's policy, without asking whether anyone may.
    ///
    /// # Errors
    /// No such key, or the policy is not one.
    pub fn put_policy(&self, arn: &str, policy: &str) -> Result<()> {
        let parsed = Policy::parse(policy, Attached::Key).map_err(|failure| told(&failure))?;
        let id = self.service.keys().find(arn).map_err(|failure| told(&failure))?.id.clone();
        let change = |key: &mut super::keys::Key| {
            key.policy = parsed;
            policy.clone_into(&mut key.policy_text);
        };
        self.service.keys_mut().change(&id, change).map_err(|failure| told(&failure))
    }

    /// Lets an access key call as `arn`; `expires` in seconds since 1970. IAM allows it nothing until [`Server::set_iam`].
    pub fn add_principal(&self, access_key: &str, secret: &str, token: Option<&str>, arn: &str, expires: Option<i64>) {
        self.service.principals.add(access_key, secret, token, arn, expires);
    }

    /// Forgets an access key.
    pub fn remove_principal(&self, access_key: &str) {
        self.service.principals.remove(access_key);
    }

    /// Sets the IAM policy of a principal: what needs no key (`kms:GenerateRandom`, `kms:CreateKey`), and what a key's policy leaves to the account.
    /// For sessions of an assumed role, `arn` is the role's (`arn:aws:iam::ACCOUNT:role/NAME`).
    ///
    /// # Errors
    /// The policy is not one.
    pub fn set_iam(&self, arn: &str, policy: &str) -> Result<()> {
        self.service.principals.set_iam(arn, policy)
    }

    /// The faults; set some to see how a client takes them.
    pub fn faults(&self) -> &Faults {
        &self.service.faults
    }

    /// What was asked, and how it was answered; the oldest first.
    pub fn requests(&self) -> Vec<Logged> {
        self.service.log.entries()
    }

    /// Stops: answers that are being written are finished, idle connections are closed, all threads end.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then waits for the connections.
        let _ = TcpStream::connect(self.address);
        let _ = acceptor.join();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.halt();
    }
}

fn told(failure: &Failure) -> anyhow::Error {
    anyhow!("{}: {}", failure.kind, failure.message)
}

fn names(settings: &Settings) -> Vec<String> {
    let always = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let host = format!("kms.{}.amazonaws.com", settings.region);
    always.into_iter().chain([host]).chain(settings.names.iter().cloned()).collect()
}

fn accept(listener: &TcpListener, config: &Arc<ServerConfig>, service: &Arc<Service>, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    let mut number = 0;
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        let Ok(stream) = stream else {
            // Out of descriptors, most likely: some have to be closed first.
            std::thread::sleep(std::time::Duration::from_millis(50));
            continue;
        };
        let Ok(copy) = stream.try_clone() else { continue };
        if threads.len() >= MAX_CONNECTIONS {
            continue;
        }
        number += 1;
        shared.lock().insert(number, copy);
        let (config, service, shared) = (Arc::clone(config), Arc::clone(service), Arc::clone(shared));
        let serve = move || {
            connection::serve(stream, config, &service, &shared);
            shared.lock().remove(&number);
        };
        if let Ok(thread) = std::thread::Builder::new().name(format!("kms {number}")).spawn(serve) {
            threads.push(thread);
        }
    }
    // Who waits for a request sees the end of its input; who is answering can finish.
    for stream in shared.lock().values() {
        let _ = stream.shutdown(Shutdown::Read);
    }
    for thread in threads {
        let _ = thread.join();
    }
}
