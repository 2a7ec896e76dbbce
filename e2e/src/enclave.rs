//! The signer in an enclave, and everything around it as an operator would have it: `nitro persist`, a `nitro proxy` for each node and one for
//! KMS, a KMS that checks attestations. The enclave is a process (`sim-enclave`) or, emulated, the image in QEMU's nitro-enclave machine.
//! Where a real one has vsock, there are Unix sockets in Firecracker's convention.
mod ceremony;
mod config;
mod emulated;
mod policy;

pub use ceremony::{ADMIN, CEREMONY_ROLE, Ceremony, broken_ceremony};
pub use emulated::{Built, Layout, Machine};
pub use policy::key_policy;

use crate::emulator::Emulator;
use crate::signer::{Key, binary};
use crate::tamper::Tamper;
use crate::{Process, Sandbox, http, until};
use anyhow::{Context, Result, bail, ensure};
use config::write_chain;
use emulated::Emulated;
use image::Measurements;
use policy::open_policy;
use serde_json::Value;
use sim::kms::{DEFAULT_REGION as REGION, Server, Settings};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// How long a push may take from the command's start to its end, failures included.
const PUSH_LIMIT: Duration = Duration::from_secs(40);
/// How long an emulated enclave may take to its control port, on a machine that does much else.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// The root of the development KMS, beside the measured policy.
const KMS_ROOT: &str = "kms-root.pem";
/// The account, the role of the parent and its credentials. TEST CREDENTIALS.
const ACCOUNT: &str = "111122223333";
const ROLE: &str = "arn:aws:iam::111122223333:role/validator";
/// TEST CREDENTIALS, with [`SECRET_KEY`].
pub const ACCESS_KEY: &str = "AKIATESTVALIDATOR000";
/// TEST SECRET: a canary, too: it may appear nowhere but in memory of who pushes and of the enclave.
pub const SECRET_KEY: &str = "TESTSECRETcanary/validator/0000000000000";
/// The vsock ports of the arrangement.
const STATE_PORT: u32 = 555;
const FIRST_NODE_PORT: u32 = 100;
const KMS_PROXY_PORT: u32 = 800;

/// What was encrypted under KMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plaintext {
    /// Base64 of the raw key, as `softsign keygen` writes it.
    Base64,
    /// A node's `priv_validator_key.json`.
    Json(PathBuf),
    /// Nobody has it: a ceremony made it, and wrote these lines for `tmkms.toml`.
    Nobodys(Sealed, String),
}

/// A chain whose validator's key lives in the enclave.
#[derive(Clone, Debug)]
pub struct EnclaveChain {
    /// The chain id.
    pub id: String,
    /// Where its nodes wait for their signer: `unix://…` or `tcp://…`.
    pub nodes: Vec<String>,
    /// What is encrypted.
    pub key: Plaintext,
}

impl EnclaveChain {
    /// A chain with a key of its own.
    #[must_use]
    pub fn new(id: &str, node: &str) -> Self {
        Self { id: id.to_owned(), nodes: vec![node.to_owned()], key: Plaintext::Base64 }
    }

    /// With the key that a chain was made with.
    #[must_use]
    pub fn with_key(mut self, key: Key) -> Self {
        self.key = match key {
            Key::Generated => Plaintext::Base64,
            Key::File(path) => Plaintext::Json(path),
        };
        self
    }
}

/// What KMS and the operator have made for a chain.
struct Made {
    chain: EnclaveChain,
    arn: String,
    ciphertext: String,
    context: BTreeMap<String, String>,
    /// The SecretConnection's identity, released by KMS, too.
    identity: String,
}

/// A key as it stands in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The KMS key.
    pub arn: String,
    /// What KMS decrypts.
    pub ciphertext: Vec<u8>,
    /// What it is bound to.
    pub context: BTreeMap<String, String>,
}

/// An enclave and its parent.
pub struct Enclave {
    sandbox: Sandbox,
    name: String,
    folder: PathBuf,
    /// None only while it is restarted.
    kms: Option<Server>,
    made: Vec<Made>,
    /// `sim-enclave`, where the enclave is a process.
    pub enclave: Option<Process>,
    /// The machine and its images, where the enclave is emulated.
    emulated: Option<Emulated>,
    /// `nitro persist`.
    pub persist: Option<Process>,
    /// `nitro proxy` to KMS.
    pub kms_proxy: Option<Process>,
    /// `nitro proxy` of each node, in their order.
    pub proxies: Vec<Process>,
    /// `nitro metrics`, if it was started, and its port.
    metrics: Option<(Process, u16)>,
    /// Those in the middle, by the channel that they are in; none unless asked for.
    tampers: BTreeMap<&'static str, Tamper>,
    /// Further lines of the measured policy.
    pub policy: String,
    /// What the keys' policies allow, once it is known.
    pcr0: Option<String>,
}

impl Enclave {
    /// Makes the folder, KMS with a key for each chain, the keys' ciphertexts and the state; nothing runs yet but KMS.
    ///
    /// # Errors
    /// When a command fails.
    pub fn prepare(sandbox: &Sandbox, name: &str, chains: Vec<EnclaveChain>) -> Result<Self> {
        let folder = sandbox.dir().join(name);
        fs::create_dir_all(folder.join("state"))?;
        fs::create_dir_all(folder.join("secrets"))?;
        fs::set_permissions(folder.join("secrets"), fs::Permissions::from_mode(0o700))?;
        let kms = Some(start_kms(&folder, 0)?);
        let mut enclave = Self {
            sandbox: sandbox.clone(),
            name: name.to_owned(),
            folder,
            kms,
            made: Vec::new(),
            enclave: None,
            emulated: None,
            persist: None,
            kms_proxy: None,
            proxies: Vec::new(),
            metrics: None,
            tampers: BTreeMap::new(),
            policy: String::new(),
            pcr0: None,
        };
        for chain in chains {
            enclave.add_chain(chain)?;
        }
        enclave.write_config()?;
        Ok(enclave)
    }

    /// The same with an enclave that is an image in the emulator.
    ///
    /// # Errors
    /// As [`Enclave::prepare`].
    pub fn prepare_emulated(
        sandbox: &Sandbox,
        name: &str,
        chains: Vec<EnclaveChain>,
        machine: Machine,
    ) -> Result<Self> {
        let mut enclave = Self::prepare(sandbox, name, chains)?;
        enclave.emulated = Some(Emulated::new(machine));
        Ok(enclave)
    }

    /// Makes key, ciphertexts and state of one more chain. The configuration is written separately.
    ///
    /// # Errors
    /// When a command fails.
    pub fn add_chain(&mut self, chain: EnclaveChain) -> Result<()> {
        let arn = match &chain.key {
            Plaintext::Nobodys(sealed, _) => sealed.arn.clone(),
            _ => self.kms().create_key(&open_policy())?,
        };
        let identity = self.keygen(&format!("secrets/{}-identity.key", chain.id))?;
        let seal = |plaintext: &[u8], purpose: &str| -> Result<String> {
            let context = [("chain", chain.id.as_str()), ("purpose", purpose)];
            Ok(base64(&self.kms().encrypt(&arn, plaintext, &context)?))
        };
        let context = [("chain", chain.id.as_str()), ("purpose", "consensus")];
        let context = context.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let (ciphertext, context) = match &chain.key {
            Plaintext::Json(path) => (seal(&fs::read(path)?, "consensus")?, context),
            Plaintext::Base64 => (seal(&self.keygen(&format!("secrets/{}.key", chain.id))?, "consensus")?, context),
            Plaintext::Nobodys(sealed, _) => (base64(&sealed.ciphertext), sealed.context.clone()),
        };
        let identity = seal(&identity, "identity")?;
        self.init_state(&chain.id)?;
        self.made.push(Made { chain, arn, ciphertext, context, identity });
        Ok(())
    }

    fn init_state(&self, chain_id: &str) -> Result<()> {
        self.command(&["state", "init", "--file", "state", "--chain-id", chain_id, "--new-validator"]).map(drop)
    }

    fn keygen(&self, file: &str) -> Result<Vec<u8>> {
        self.command(&["softsign", "keygen", "-t", "consensus", file])?;
        Ok(fs::read(self.folder.join(file))?)
    }

    /// The configuration of all chains, as an operator would write it.
    #[must_use]
    pub fn config_text(&self) -> String {
        let mut text = format!("[nitro]\nkms_proxy_port = {KMS_PROXY_PORT}\n\n");
        let mut port = FIRST_NODE_PORT;
        for made in &self.made {
            write_chain(&mut text, made, &mut port);
        }
        text
    }

    /// Points a chain at other nodes. Their proxies are started with the parent.
    pub fn set_nodes(&mut self, chain: usize, nodes: &[&str]) {
        self.made[chain].chain.nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
    }

    /// The KMS key of a chain.
    ///
    /// # Errors
    /// When there is no such chain.
    pub fn key_arn(&self, chain: usize) -> Result<&str> {
        Ok(&self.made.get(chain).context("no such chain")?.arn)
    }

    /// What the parent has of a chain's consensus key: everything but a plaintext.
    ///
    /// # Errors
    /// When there is no such chain.
    pub fn sealed_key(&self, chain: usize) -> Result<Sealed> {
        let Made { arn, ciphertext, context, .. } = self.made.get(chain).context("no such chain")?;
        Ok(Sealed { arn: arn.clone(), ciphertext: unbase64(ciphertext)?, context: context.clone() })
    }

    /// The public key of a chain whose key was made here, as `harness testnet --pubkey` takes it: `ed25519:BASE64`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn public_key(&self, chain_id: &str) -> Result<String> {
        let config = format!(
            "[[chain]]\nid = \"{chain_id}\"\nkey_format = {{ type = \"hex\" }}\n\n\
             [[providers.softsign]]\nchain_ids = [\"{chain_id}\"]\nkey_type = \"consensus\"\npath = \"secrets/{chain_id}.key\"\n"
        );
        fs::write(self.folder.join("host.toml"), config)?;
        let text = self.command(&["keys", "show", "-c", "host.toml", "--json"])?;
        let shown: Value = serde_json::from_str(&text).context("`tmkms keys show --json` printed no JSON")?;
        let key = shown.as_array().and_then(|keys| keys.first()).unwrap_or(&shown);
        let text = |field: &str| key[field].as_str().with_context(|| format!("no {field} in {key}"));
        Ok(format!("{}:{}", text("algorithm")?, text("base64")?))
    }

    /// Every process that runs, with what it is.
    pub fn processes(&mut self) -> Vec<(&'static str, &mut Process)> {
        let fixed =
            [("enclave", &mut self.enclave), ("persist", &mut self.persist), ("kms proxy", &mut self.kms_proxy)];
        let mut all: Vec<_> = fixed.into_iter().filter_map(|(name, one)| Some((name, one.as_mut()?))).collect();
        if let Some(emulator) = self.emulated.as_mut().and_then(|emulated| emulated.emulator.as_mut()) {
            all.insert(0, ("vsock", &mut emulator.vsock));
            all.insert(0, ("enclave", &mut emulator.machine));
        }
        all.extend(self.proxies.iter_mut().map(|proxy| ("node proxy", proxy)));
        all.extend(self.metrics.iter_mut().map(|(metrics, _)| ("metrics", metrics)));
        all
    }

    /// Writes `tmkms.toml`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_config(&self) -> Result<()> {
        fs::write(self.config_file(), self.config_text()).context("cannot write tmkms.toml")?;
        fs::set_permissions(self.config_file(), fs::Permissions::from_mode(0o600)).context("cannot chmod tmkms.toml")
    }

    /// `tmkms.toml`.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("tmkms.toml")
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The base path of what stands for vsock.
    #[must_use]
    pub fn vsock(&self) -> PathBuf {
        self.folder.join(self.emulated.as_ref().map_or("v".to_owned(), |emulated| emulated.machine.cid.to_string()))
    }

    /// What plays the parent's vsock port: the Unix socket where the parent listens.
    #[must_use]
    pub fn parent_port(&self, port: u32) -> PathBuf {
        PathBuf::from(format!("{}_{port}", self.vsock().display()))
    }

    /// Where the KMS proxy listens.
    #[must_use]
    pub fn kms_proxy_socket(&self) -> PathBuf {
        self.parent_port(KMS_PROXY_PORT)
    }

    /// The parent's ports that something listens on: persist's, the KMS proxy's and the first node's.
    #[must_use]
    pub const fn parent_ports() -> [u32; 3] {
        [STATE_PORT, KMS_PROXY_PORT, FIRST_NODE_PORT]
    }

    /// The emulator, where the enclave is emulated and was started.
    ///
    /// # Errors
    /// When it is not.
    pub fn emulator(&mut self) -> Result<&mut Emulator> {
        let emulated = self.emulated.as_mut().context("this enclave is a process")?;
        emulated.emulator.as_mut().context("the emulator was not started")
    }

    /// The machine that the next start makes an image for and boots.
    ///
    /// # Errors
    /// When the enclave is a process.
    pub fn machine(&mut self) -> Result<&mut Machine> {
        Ok(&mut self.emulated.as_mut().context("this enclave is a process")?.machine)
    }

    /// The image that was booted last.
    ///
    /// # Errors
    /// When the enclave is a process or was not started.
    pub fn image(&self) -> Result<&Built> {
        let emulated = self.emulated.as_ref().context("this enclave is a process")?;
        emulated.image.as_ref().context("no image was booted")
    }

    /// What runs the enclave: `sim-enclave`, or QEMU.
    ///
    /// # Errors
    /// When it was not started.
    pub fn process(&mut self) -> Result<&mut Process> {
        if self.emulated.is_some() {
            return Ok(&mut self.emulator()?.machine);
        }
        self.enclave.as_mut().context("the enclave was not started")
    }

    /// The power of the enclave is cut, whatever it is.
    pub fn kill_enclave(&mut self) {
        self.enclave = None;
        if let Some(emulated) = &mut self.emulated {
            emulated.emulator = None;
        }
    }

    /// The KMS.
    ///
    /// # Panics
    /// Never: it is away only inside [`Enclave::restart_kms`].
    #[must_use]
    #[expect(clippy::expect_used, reason = "it is put back before anyone can look")]
    pub fn kms(&self) -> &Server {
        self.kms.as_ref().expect("a KMS")
    }

    /// Ends KMS with all its connections, does something meanwhile, and starts it again on its port.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart_kms(&mut self, pause: Duration) -> Result<()> {
        let port = self.kms().address().port();
        self.kms = None;
        std::thread::sleep(pause);
        let again = start_kms(&self.folder, port);
        self.kms = Some(again.or_else(|_| start_kms(&self.folder, 0))?);
        self.trust_nsm()?;
        if self.kms().address().port() == port { Ok(()) } else { self.start_kms_proxy() }
    }

    /// Lets KMS believe the documents of this enclave's security module; QEMU's are not signed.
    fn trust_nsm(&self) -> Result<()> {
        if self.emulated.is_some() {
            self.kms().accept_unsigned_documents();
            return Ok(());
        }
        self.kms().trust_nsm_root(&sim::nsm::TestRoot::load_certificate(&self.folder.join("nsm"))?);
        Ok(())
    }

    /// What `-i` says.
    #[must_use]
    pub fn cid(&self) -> String {
        match &self.emulated {
            None => format!("unix:{}", self.vsock().display()),
            Some(emulated) => format!("{}@{}", emulated.machine.cid, self.folder.display()),
        }
    }

    /// Puts someone in the middle of every channel: "control", "state", "kms" and "node" (the first). To be called before
    /// anything is started.
    ///
    /// # Errors
    /// When one cannot listen.
    pub fn tamper(&mut self) -> Result<()> {
        ensure!(self.emulated.is_none(), "nobody can be in the middle of an emulated enclave's vsock");
        let (inner, outer) = (self.folder.join("v"), self.folder.join("w"));
        let beside = |base: &Path, port: u32| PathBuf::from(format!("{}_{port}", base.display()));
        for (name, port) in [("state", STATE_PORT), ("kms", KMS_PROXY_PORT), ("node", FIRST_NODE_PORT)] {
            self.tampers.insert(name, Tamper::start(&beside(&inner, port), &beside(&outer, port))?);
        }
        self.tampers.insert("control", Tamper::start(&outer, &inner)?);
        Ok(())
    }

    /// Who is in the middle of that channel.
    ///
    /// # Errors
    /// When nobody is.
    pub fn in_the_middle(&self, channel: &str) -> Result<&Tamper> {
        self.tampers.get(channel).with_context(|| format!("nobody is in the middle of {channel}"))
    }

    /// The base path as the parent's processes see it.
    fn parent_side(&self) -> String {
        if self.tampers.is_empty() { self.cid() } else { format!("unix:{}", self.folder.join("w").display()) }
    }

    fn tool(&self) -> Result<Command> {
        let mut command = Command::new(binary()?);
        command.current_dir(&self.folder).env("NO_COLOR", "1").env_remove("TMKMS_CONFIG_FILE");
        command.env("TMKMS_TOKEN_FILE", self.folder.join("secrets/control-token"));
        // Only who pushes has credentials, see `try_push_to`.
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        command.env("AWS_EC2_METADATA_DISABLED", "true").env_remove("AWS_SESSION_TOKEN").env_remove("AWS_PROFILE");
        Ok(command)
    }

    /// Starts KMS' proxy, persist and every node's proxy.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start_parent(&mut self) -> Result<()> {
        self.start_kms_proxy()?;
        self.start_persist()?;
        let nodes = self.made.iter().map(|made| made.chain.nodes.len()).sum();
        self.proxies = (0..nodes).map(|index| self.new_proxy(index)).collect::<Result<_>>()?;
        Ok(())
    }

    /// `nitro proxy` to KMS.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_kms_proxy(&mut self) -> Result<()> {
        let target = self.kms().address().to_string();
        self.kms_proxy = None;
        self.kms_proxy = Some(self.helper("kms-proxy", &["proxy", "-p", &KMS_PROXY_PORT.to_string(), "-t", &target])?);
        Ok(())
    }

    /// `nitro persist` on the folder `state`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_persist(&mut self) -> Result<()> {
        self.persist = None;
        self.persist = Some(self.helper("persist", &["persist", "-s", "state", "-p", &STATE_PORT.to_string()])?);
        Ok(())
    }

    /// `nitro proxy` of the node at `index`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_proxy(&mut self, index: usize) -> Result<()> {
        self.proxies[index].kill();
        self.proxies[index] = self.new_proxy(index)?;
        Ok(())
    }

    fn new_proxy(&self, index: usize) -> Result<Process> {
        let node = self.made.iter().flat_map(|made| &made.chain.nodes).nth(index).context("no such node")?;
        let (flag, target) = match node.split_once("://") {
            Some(("unix", path)) => ("-u", path),
            Some((_, address)) => ("-t", address),
            None => bail!("{node} is no address"),
        };
        let port = FIRST_NODE_PORT + u32::try_from(index)?;
        self.helper(&format!("proxy-{index}"), &["proxy", "-p", &port.to_string(), flag, target])
    }

    fn helper(&self, name: &str, arguments: &[&str]) -> Result<Process> {
        let mut command = self.tool()?;
        command.arg("nitro").args(arguments).args(["-i", &self.parent_side()]);
        Process::spawn(&self.sandbox, &format!("{}-{name}", self.name), command)
    }

    /// Starts the enclave, waits until it waits for a configuration, and lets the keys' policies name its measurement unless
    /// they name one already.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn start_enclave(&mut self) -> Result<()> {
        self.kill_enclave();
        let policy = self.write_policy()?;
        let status = if self.emulated.is_some() {
            self.boot(&policy)?
        } else {
            let (enclave, status) = self.new_enclave("enclave", &self.cid(), &self.parent_side())?;
            self.enclave = Some(enclave);
            status
        };
        if self.pcr0.is_none() {
            let pcr0 = status["pcrs"]["0"].as_str().context("no PCR0 in the status")?.to_owned();
            self.trust_nsm()?;
            self.allow(&pcr0)?;
        }
        Ok(())
    }

    /// The measured policy: the development KMS, by the root beside it, and what a test adds.
    fn write_policy(&self) -> Result<PathBuf> {
        fs::copy(self.kms().ca_pem_path(), self.folder.join(KMS_ROOT))?;
        let policy = self.folder.join("policy.toml");
        let endpoint = format!("[kms.endpoint]\nhost = \"localhost\"\nregion = \"{REGION}\"\nroot = \"{KMS_ROOT}\"\n");
        fs::write(&policy, endpoint + &self.policy)?;
        Ok(policy)
    }

    /// Makes the image, boots it, and waits for its status, whose measurements have to be those that our own crate computes.
    fn boot(&mut self, policy: &Path) -> Result<Value> {
        let asked_at = self.parent_side();
        let emulated = self.emulated.as_mut().context("this enclave is a process")?;
        let built = emulated.build(policy)?;
        let spec = emulated.spec(&built, &self.folder);
        emulated.image = Some(built.clone());
        emulated.emulator = Some(Emulator::start(&self.sandbox, &format!("{}-enclave", self.name), &spec)?);
        // The enclave speaks first: what is sent before its driver is there can stop the emulation's vsock for good, once in some hundred boots.
        self.emulator()?.heartbeat(BOOT_LIMIT)?;
        let status = until("the emulated enclave's status", BOOT_LIMIT, || {
            self.emulator()?.check()?;
            Ok(self.status_of(&asked_at).ok())
        })?;
        let Measurements { pcr0, pcr1, pcr2, .. } = &built.measured;
        for (number, expected) in [("0", pcr0), ("1", pcr1), ("2", pcr2)] {
            let shown = &status["pcrs"][number];
            ensure!(shown == expected.as_str(), "PCR{number}: the status shows {shown}, the image measures {expected}");
        }
        Ok(status)
    }

    fn new_enclave(&self, name: &str, parent: &str, asked_at: &str) -> Result<(Process, Value)> {
        self.new_process("start", "policy.toml", (name, parent, asked_at))
    }

    /// An enclave as a process: as which, under which policy, and how it is reached.
    fn new_process(
        &self,
        what: &str,
        policy: &str,
        (name, parent, asked_at): (&str, &str, &str),
    ) -> Result<(Process, Value)> {
        let mut command = Command::new(crate::signer::built("sim-enclave")?);
        command.current_dir(&self.folder).env("NO_COLOR", "1");
        command.args([what, "-v", "--policy", policy, "--nsm-dir", "nsm", "--parent", parent]);
        let mut enclave = Process::spawn(&self.sandbox, &format!("{}-{name}", self.name), command)?;
        let status = until("the enclave's status", Duration::from_secs(15), || {
            enclave.check()?;
            Ok(self.status_of(asked_at).ok())
        })?;
        Ok((enclave, status))
    }

    /// A second enclave of the same image on the same parent: the same KMS, the same state, but the node at `index`. Gives
    /// what `-i` says for it.
    ///
    /// # Errors
    /// When it does not get to where it waits for a configuration.
    pub fn twin(&self, index: usize) -> Result<(Process, String)> {
        ensure!(self.emulated.is_none(), "an emulated enclave has no twin");
        let base = self.folder.join("x");
        let node = FIRST_NODE_PORT + u32::try_from(index)?;
        for (port, of) in [(STATE_PORT, STATE_PORT), (KMS_PROXY_PORT, KMS_PROXY_PORT), (node, node)] {
            let link = self.folder.join(format!("x_{port}"));
            std::os::unix::fs::symlink(self.folder.join(format!("v_{of}")), link)?;
        }
        let cid = format!("unix:{}", base.display());
        let (process, _) = self.new_enclave("twin", &cid, &cid)?;
        Ok((process, cid))
    }

    /// The state file of a chain.
    #[must_use]
    pub fn state_file(&self, chain_id: &str) -> PathBuf {
        self.folder.join(format!("state/{chain_id}_priv_validator_state.json"))
    }

    /// What may appear nowhere: keys, ciphertexts, credentials, the control token, each in the forms it could leak in.
    ///
    /// # Errors
    /// When a key file cannot be read.
    pub fn canaries(&self) -> Result<Vec<(String, Vec<u8>)>> {
        use base64ct::Encoding;
        let mut canaries = vec![("the credentials' secret".to_owned(), SECRET_KEY.as_bytes().to_vec())];
        for made in &self.made {
            let id = &made.chain.id;
            canaries.push((format!("the ciphertext of {id}"), made.ciphertext.as_bytes().to_vec()));
            for name in [format!("{id}.key"), format!("{id}-identity.key")] {
                let Ok(text) = fs::read_to_string(self.folder.join("secrets").join(&name)) else { continue };
                let raw =
                    base64ct::Base64::decode_vec(text.trim()).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
                let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
                canaries.push((format!("{name} in base64"), text.trim().as_bytes().to_vec()));
                canaries.push((format!("{name} in hexadecimal"), hex.to_uppercase().into_bytes()));
                canaries.push((format!("{name} in hexadecimal"), hex.into_bytes()));
                canaries.push((format!("{name}, raw"), raw));
            }
        }
        let token = fs::read_to_string(self.folder.join("secrets/control-token"))?;
        canaries.push(("the control token".to_owned(), token.trim().as_bytes().to_vec()));
        Ok(canaries)
    }

    /// Lets the keys be released to that measurement only.
    ///
    /// # Errors
    /// When KMS refuses the policy.
    pub fn allow(&mut self, pcr0: &str) -> Result<()> {
        for made in &self.made {
            self.kms().put_policy(&made.arn, &key_policy(pcr0))?;
        }
        self.pcr0 = Some(pcr0.to_owned());
        Ok(())
    }

    /// `nitro push-config`, to its end.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn push(&self) -> Result<String> {
        let output = self.try_push(&[])?;
        let said = said(&output);
        ensure!(output.status.success(), "push-config failed ({}):\n{said}", output.status);
        Ok(said)
    }

    /// The same, for pushes that are meant to fail.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn try_push(&self, environment: &[(&str, &str)]) -> Result<Output> {
        self.try_push_to(&self.parent_side(), environment)
    }

    /// The same to another enclave of this parent, see [`Enclave::twin`].
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn try_push_to(&self, enclave: &str, environment: &[(&str, &str)]) -> Result<Output> {
        let limit = PUSH_LIMIT.as_secs().to_string();
        let tool = self.tool()?;
        let mut command = Command::new("timeout");
        command.arg(limit).arg(tool.get_program()).args(["nitro", "push-config", "-c"]).arg(self.config_file());
        command.args(["-i", enclave]).current_dir(&self.folder).stdin(Stdio::null());
        for (name, value) in tool.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.envs(environment.iter().copied());
        command.output().context("cannot run push-config")
    }

    /// Starts `nitro push-config --watch`, which pushes whenever the enclave has no configuration.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn watch(&self) -> Result<Process> {
        let mut command = self.tool()?;
        command.args(["nitro", "push-config", "-c"]).arg(self.config_file()).args([
            "-i",
            &self.parent_side(),
            "--watch",
        ]);
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        Process::spawn(&self.sandbox, &format!("{}-watch", self.name), command)
    }

    /// Starts `nitro logs --follow`; what it reads goes to its log.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn follow_log(&self) -> Result<Process> {
        self.helper("follow", &["logs", "--follow"])
    }

    /// Everything from nothing to sessions.
    ///
    /// # Errors
    /// When a part fails.
    pub fn start(&mut self) -> Result<()> {
        self.start_parent()?;
        self.start_enclave()?;
        self.push().map(drop)
    }

    /// `nitro status --json`.
    ///
    /// # Errors
    /// When the enclave does not answer.
    pub fn status(&self) -> Result<Value> {
        self.status_of(&self.parent_side())
    }

    /// The same of another enclave of this parent.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn status_of(&self, enclave: &str) -> Result<Value> {
        let mut command = self.tool()?;
        command.args(["nitro", "status", "--json", "-i", enclave]).stdin(Stdio::null());
        let output = command.output()?;
        serde_json::from_slice(&output.stdout).with_context(|| format!("no status: {}", said(&output)))
    }

    /// Starts `nitro metrics` on a port of the sandbox.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_metrics(&mut self) -> Result<()> {
        let port = self.sandbox.port()?;
        let listen = format!("127.0.0.1:{port}");
        self.metrics = Some((self.helper("metrics", &["metrics", "--listen", &listen])?, port));
        until("the relayed metrics", Duration::from_secs(10), || Ok(self.page("/metrics").ok())).map(drop)
    }

    /// A page of `nitro metrics`.
    ///
    /// # Errors
    /// When it was not started or does not answer with 200.
    pub fn page(&self, path: &str) -> Result<String> {
        let (_, port) = self.metrics.as_ref().context("no metrics were started")?;
        let (status, body) = http::get(*port, path)?;
        ensure!(status == 200, "{path}: {status} {body}");
        Ok(body)
    }

    /// Runs `tmkms` in the folder and gives back what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let output = self.tool()?.args(arguments).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "tmkms {} failed: {}", arguments.join(" "), said(&output));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Every log of every process of this arrangement.
    #[must_use]
    pub fn logs(&self) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        let prefix = format!("{}-", self.name);
        for entry in fs::read_dir(self.sandbox.dir()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&prefix) && name.ends_with(".log") {
                found.push((name, fs::read(entry.path()).unwrap_or_default()));
            }
        }
        found
    }
}

fn start_kms(folder: &Path, port: u16) -> Result<Server> {
    let kms = Server::start(&Settings { port, ..Settings::new(folder.join("kms")) })?;
    kms.add_principal(ACCESS_KEY, SECRET_KEY, None, ROLE, None);
    Ok(kms)
}

/// What a command said on both streams.
#[must_use]
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn base64(bytes: &[u8]) -> String {
    use base64ct::Encoding;
    base64ct::Base64::encode_string(bytes)
}

fn unbase64(text: &str) -> Result<Vec<u8>> {
    use base64ct::Encoding;
    base64ct::Base64::decode_vec(text).map_err(|error| anyhow::anyhow!("{text:?} is no base64: {error}"))
}
