//! One signer in the guest, its disk, and its client outside.
use super::kind::{self, Kind};
use super::{PEER_LIMIT, RETURN_LIMIT, Tally};
use crate::client::Signed;
use crate::guest::{Disk, Filesystem, Relay};
use crate::{Answer, BlockId, Client, Enclave, EnclaveChain, Line, Observer, Sandbox, Transport, Vote};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The blocks that are voted for, and the one of the conflict.
const BLOCK: u8 = 0xa0;
const OTHER_BLOCK: u8 = 0xb0;
/// How long one attempt waits for the signer.
const ATTEMPT: Duration = Duration::from_secs(2);

pub struct Subject {
    pub kind: Kind,
    /// The name of disk, folder and process, such as `start-ext4`.
    pub name: String,
    pub disk: Arc<Disk>,
    /// The folder that the disk starts with.
    pub seed: PathBuf,
    chain_id: String,
    port: u16,
    /// The guest's TCP port of its persist, and the port of the host's loopback that leads there.
    state_port: u16,
    forwarded: u16,
    /// The enclave of a persist, which is outside.
    enclave: Option<Mutex<Enclave>>,
    client: Mutex<Asking>,
    ended: AtomicBool,
    guest_ready: AtomicBool,
}

/// The client, and what it knows.
struct Asking {
    client: Client,
    observer: Observer,
    /// Whether the signer has been connected ever.
    met: bool,
    /// The last vote whose signature arrived.
    held: Option<Vote>,
    /// The highest height that was asked for.
    height: i64,
    tally: Tally,
}

impl Subject {
    pub fn prepare(sandbox: &Sandbox, kind: Kind, filesystem: Filesystem, state_port: u16) -> Result<Self> {
        let name = format!("{}-{filesystem}", kind.short());
        let chain_id = format!("cut-{name}");
        let client = Client::listen(sandbox, &format!("{name}-client"), Line::V038, Transport::Tcp, &chain_id)?;
        let port: u16 = client.addr().rsplit(':').next().context("no port")?.parse()?;
        let mut asking = Asking {
            client,
            observer: Observer::new(),
            met: false,
            held: None,
            height: 0,
            tally: Tally::new(kind, filesystem),
        };
        let mut enclave = None;
        let seed = match kind {
            Kind::Start => kind::seed_start(sandbox, &name, &chain_id, port)?,
            Kind::FilePv | Kind::FilePvSync => kind::seed_filepv(sandbox, &name, &chain_id)?,
            Kind::Tmkms => kind::seed_tmkms(sandbox, &name, &chain_id, &folder_in_guest(&name), port)?,
            Kind::Persist => {
                let (made, seed) = seed_persist(sandbox, &name, &chain_id, &mut asking)?;
                enclave = Some(Mutex::new(made));
                seed
            }
        };
        Ok(Self {
            kind,
            disk: Arc::new(Disk::create(sandbox, &name, filesystem)?),
            name,
            seed,
            chain_id,
            port,
            state_port,
            forwarded: sandbox.port()?,
            enclave,
            client: Mutex::new(asking),
            ended: AtomicBool::new(false),
            guest_ready: AtomicBool::new(false),
        })
    }

    /// Its part of the guest's script.
    pub fn script(&self) -> String {
        let (name, at) = (&self.name, folder_in_guest(&self.name));
        let (filesystem, options) = (self.disk.filesystem(), self.kind.mount_options());
        let command = self.kind.command(name, &at, &self.chain_id, self.port, self.state_port);
        let relay = match self.kind {
            Kind::Persist => format!("start relay /opt/guest-relay {0} /run/{name}_{0}\n", self.state_port),
            _ => String::new(),
        };
        format!(
            "disk {name} {filesystem} {at} {options}\nseed {name} {at}\ncd {at}\nstart {name} {command}\ncd /\n{relay}"
        )
    }

    /// From where the enclave looks for its state to the guest.
    pub fn relay(&self) -> Option<Result<Relay>> {
        let enclave = self.enclave.as_ref().map(lock)?;
        Some(Relay::start(&enclave.parent_port(Enclave::parent_ports()[0]), self.forwarded))
    }

    /// What QEMU is to forward for it.
    pub fn forward(&self) -> Option<(u16, u16)> {
        self.enclave.as_ref().map(|_| (self.forwarded, self.state_port))
    }

    pub fn tally(&self) -> Tally {
        lock(&self.client).tally
    }

    /// The signer has ended in the guest.
    pub fn has_ended(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    /// The guest's script is done.
    pub fn guest_is_ready(&self) {
        self.guest_ready.store(true, Ordering::SeqCst);
    }

    /// What is outside loses its power as well.
    pub fn cut(&self) {
        if let Some(enclave) = &self.enclave {
            lock(enclave).kill_enclave();
        }
    }

    /// Everything of one time with power: come back, refuse the conflict, sign the next, and sign on until the power is cut. Whether it came
    /// back; for one of ours, not to is an error, and for a peer it is counted.
    pub fn serve(&self, begun: Instant, power: &AtomicBool, signing: &AtomicUsize, on: bool) -> Result<bool> {
        let mut asking = lock(&self.client);
        let asking = &mut *asking;
        let result = self.back(asking, power).and_then(|back| {
            if back {
                asking.question()?;
                asking.expect_signed().context("the next height")?;
                asking.tally.slowest_return = asking.tally.slowest_return.max(begun.elapsed());
            }
            Ok(back)
        });
        let back = match result {
            Ok(false) if self.kind.is_ours() => bail!("{}: it did not come back by itself", self.name),
            Err(error) if self.kind.is_ours() => return Err(error.context(self.name.clone())),
            Ok(back) => back,
            Err(error) => {
                eprintln!("{}: {error:#}", self.name);
                false
            }
        };
        asking.tally.lost += u32::from(!back && asking.held.take().is_some());
        signing.fetch_add(1, Ordering::SeqCst);
        while back && on && asking.sign_one()? {}
        ensure!(
            !(back && on && self.kind.is_ours() && power.load(Ordering::SeqCst)),
            "{} stopped signing before the power was cut",
            self.name
        );
        Ok(back)
    }

    fn back(&self, asking: &mut Asking, power: &AtomicBool) -> Result<bool> {
        self.ended.store(false, Ordering::SeqCst);
        let begun = Instant::now();
        if let Some(enclave) = &self.enclave {
            self.wake(&mut lock(enclave), begun, power)?;
        }
        // The listener takes a connection whose signer has died for a live one.
        let mut came = if asking.met { asking.client.reconnect(ATTEMPT) } else { asking.client.connected(ATTEMPT) };
        while came.is_err() {
            ensure!(power.load(Ordering::SeqCst), "the power was cut before it was back");
            if self.ended.load(Ordering::SeqCst) {
                return Ok(false);
            }
            let limit = if self.kind.is_ours() { RETURN_LIMIT } else { PEER_LIMIT };
            ensure!(begun.elapsed() < limit, "no connection for {limit:?}");
            came = if asking.met { asking.client.wait(ATTEMPT) } else { asking.client.connected(ATTEMPT) };
        }
        asking.met = true;
        Ok(true)
    }

    /// The enclave is started and configured, as the units of an enclave's parent do, until persist in the guest answers.
    fn wake(&self, enclave: &mut Enclave, begun: Instant, power: &AtomicBool) -> Result<()> {
        enclave.start_enclave()?;
        while !self.guest_ready.swap(false, Ordering::SeqCst) {
            ensure!(power.load(Ordering::SeqCst), "the power was cut before the guest was ready");
            ensure!(begun.elapsed() < RETURN_LIMIT, "the guest was not ready within {RETURN_LIMIT:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        loop {
            match enclave.push() {
                Ok(_) => return Ok(()),
                Err(error) if begun.elapsed() > RETURN_LIMIT || self.ended.load(Ordering::SeqCst) => {
                    return Err(error.context("the enclave could not be configured"));
                }
                Err(_) => ensure!(power.load(Ordering::SeqCst), "the power was cut before the enclave was configured"),
            }
        }
    }
}

impl Asking {
    /// Another block at the last position whose signature is held.
    fn question(&mut self) -> Result<()> {
        let Some(mut vote) = self.held.clone() else { return Ok(()) };
        vote.block_id = Some(BlockId::of(OTHER_BLOCK));
        // An observer of its own: a conflict is counted here.
        match self.client.vote(&vote, &Observer::new())? {
            // By the rule, and not for want of a store: that would hide what became of the record.
            Answer::Refused(why)
                if self.tally.kind.is_ours()
                    && !["conflicting ", " regression"].iter().any(|word| why.contains(word)) =>
            {
                bail!("the conflicting vote was refused for another reason: {why}")
            }
            Answer::Refused(_) => self.tally.refused += 1,
            Answer::Signed(_) => self.tally.conflicts += 1,
            Answer::Broken(error) => bail!("no answer to the conflicting vote: {error}"),
        }
        self.held = None;
        self.tally.asked += 1;
        Ok(())
    }

    /// A prevote at the next height.
    fn next(&mut self) -> Result<(Vote, Answer)> {
        self.height += 1;
        let vote = Vote::prevote(self.height, BLOCK);
        let answer = self.client.vote(&vote, &self.observer)?;
        if let Answer::Signed(Signed { .. }) = &answer {
            self.held = Some(vote.clone());
            self.tally.signatures += 1;
        }
        Ok((vote, answer))
    }

    fn expect_signed(&mut self) -> Result<()> {
        match self.next()? {
            (_, Answer::Signed(_)) => Ok(()),
            (vote, other) => bail!("expected a signature at height {}, got {other:?}", vote.height),
        }
    }

    /// Whether it was signed; a cut shows as a broken connection, and where the enclave is outside as an error for want of its state.
    fn sign_one(&mut self) -> Result<bool> {
        Ok(matches!(self.next()?.1, Answer::Signed(_)))
    }
}

/// The enclave's first life, with persist on this machine: it makes the control token and binds the state to the key.
fn seed_persist(sandbox: &Sandbox, name: &str, chain_id: &str, asking: &mut Asking) -> Result<(Enclave, PathBuf)> {
    let mut enclave = Enclave::prepare(sandbox, name, vec![EnclaveChain::new(chain_id, asking.client.addr())])?;
    enclave.start()?;
    asking.client.connected(RETURN_LIMIT)?;
    asking.met = true;
    enclave.kill_enclave();
    enclave.persist = None;
    let seed = sandbox.dir().join(format!("{name}-seed"));
    fs::create_dir_all(seed.join("state"))?;
    for entry in fs::read_dir(enclave.folder().join("state"))? {
        let entry = entry?;
        fs::copy(entry.path(), seed.join("state").join(entry.file_name()))?;
    }
    fs::copy(enclave.folder().join("secrets/control-token"), seed.join("control-token"))?;
    Ok((enclave, seed))
}

fn folder_in_guest(name: &str) -> String {
    format!("/m/{name}")
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
