//! A simulated Nitro Secure Module: documents of the real shape, signed by a PKI of its own.
//!
//! Nothing that it signs is believed by a verifier that believes AWS's root; whoever wants to believe it is given its
//! root's certificate ([`TestRoot::load_certificate`]).
mod document;
mod error;
mod fault;
mod measurements;
mod pki;

pub use document::Fields;
pub use error::SimulationError;
pub use fault::Fault;
pub use measurements::{Measurements, PCR_BYTES};
pub use pki::{LEAF_LIFETIME, ROOT_CERTIFICATE_FILE, ROOT_KEY_FILE, TestRoot};

use attest::{MAX_NONCE_BYTES, MAX_PUBLIC_KEY_BYTES, MAX_USER_DATA_BYTES};
use enclave::nsm::{AttestationRequest, Description, Nsm, NsmError};
use pki::Chain;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Leaves are replaced this long before they end.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// A module of one enclave.
pub struct SimulatedNsm {
    root: Arc<TestRoot>,
    module_id: String,
    measurements: Measurements,
    state: Mutex<State>,
}

struct State {
    chain: Chain,
    fault: Option<Fault>,
    last: Option<Vec<u8>>,
}

impl SimulatedNsm {
    /// A module under that root, of an enclave with those measurements.
    ///
    /// # Errors
    /// No key or certificate can be made.
    pub fn new(root: Arc<TestRoot>, measurements: Measurements) -> Result<Self, SimulationError> {
        let mut id = [0; 8];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| SimulationError::Key)?;
        let module_id = format!("i-0000000000000test-enc{:016x}", u64::from_be_bytes(id));
        let chain = Chain::issue(&root, &module_id, SystemTime::now())?;
        let state = Mutex::new(State { chain, fault: None, last: None });
        Ok(Self { root, module_id, measurements, state })
    }

    /// What goes wrong from now on; `None` mends it.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// The last document that was made: what a replay replays.
    #[must_use]
    pub fn last_document(&self) -> Option<Vec<u8>> {
        self.state().last.clone()
    }

    /// The name of the module, as in its documents.
    #[must_use]
    pub fn module_id(&self) -> &str {
        &self.module_id
    }

    /// What the enclave's documents will say of it.
    #[must_use]
    pub const fn measurements(&self) -> &Measurements {
        &self.measurements
    }

    fn make(&self, state: &mut State, request: &AttestationRequest<'_>) -> Result<Vec<u8>, SimulationError> {
        let now = SystemTime::now();
        if now < state.chain.not_before || now + RENEW_BEFORE > state.chain.not_after {
            state.chain = Chain::issue(&self.root, &self.module_id, now)?;
        }
        let fault = state.fault.as_ref();
        let other = fault.map(|fault| fault.chain(&self.root, &self.module_id, now)).transpose()?.flatten();
        let chain = other.as_ref().unwrap_or(&state.chain);
        let fields = Fields {
            module_id: &self.module_id,
            timestamp_ms: milliseconds(fault.map_or(now, |fault| fault.timestamp(now))),
            pcrs: self.measurements.pcrs(),
            certificate: &chain.certificate,
            cabundle: &chain.cabundle,
            public_key: request.public_key,
            user_data: request.user_data,
            nonce: request.nonce,
        };
        let document = fields.sign(|message| chain.sign(message))?;
        Ok(fault.map_or_else(|| document.clone(), |fault| fault.spoil(&document)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Nsm for SimulatedNsm {
    fn describe(&self) -> Result<Description, NsmError> {
        Ok(Description { module_id: self.module_id.clone(), max_pcrs: 32, digest: "SHA384".to_owned() })
    }

    fn attest(&self, request: &AttestationRequest<'_>) -> Result<Vec<u8>, NsmError> {
        check(request)?;
        let mut state = self.state();
        if let Some(Fault::Refuse(reason)) = &state.fault {
            return Err(NsmError::Refused(reason.clone()));
        }
        let document = self.make(&mut state, request).map_err(|error| NsmError::Io(std::io::Error::other(error)))?;
        state.last = Some(document.clone());
        Ok(document)
    }

    fn pcrs(&self) -> Result<BTreeMap<u8, Vec<u8>>, NsmError> {
        Ok(self.measurements.pcrs().clone())
    }

    fn random(&self, buffer: &mut [u8]) -> Result<(), NsmError> {
        aws_lc_rs::rand::fill(buffer).map_err(|_| NsmError::Io(std::io::Error::other("no random bytes")))
    }
}

/// The module's own limits and its names for what oversteps them.
fn check(request: &AttestationRequest<'_>) -> Result<(), NsmError> {
    let fields = [
        (request.public_key, MAX_PUBLIC_KEY_BYTES),
        (request.user_data, MAX_USER_DATA_BYTES),
        (request.nonce, MAX_NONCE_BYTES),
    ];
    if fields.iter().any(|(field, max_bytes)| field.is_some_and(|bytes| bytes.len() > *max_bytes)) {
        return Err(NsmError::Refused("InputTooLarge".into()));
    }
    if request.public_key.is_some_and(<[u8]>::is_empty) {
        return Err(NsmError::Refused("InvalidArgument".into()));
    }
    Ok(())
}

fn milliseconds(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
