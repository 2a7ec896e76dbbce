//! Asks KMS until there is an answer or the time is over.
use super::answer::{self, Asked, Refusal};
use super::arn::KeyArn;
use super::credentials::Credentials;
use super::denied::Denied;
use super::endpoint::Endpoint;
use super::error::{KmsError, WrongRegion};
use super::operation::{Decrypt, Operation};
use super::recipient::Recipient;
use super::region::Region;
use super::request;
use super::tls::{self, Dial, Failure};
use crate::nsm::Nsm;
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use zeroize::Zeroizing;

/// What is to be decrypted, and what it must be bound to.
#[derive(Clone, Copy)]
pub struct DecryptRequest<'a> {
    /// The key's region: part of the signature. The host is the endpoint's.
    pub region: &'static Region,
    /// 1 to [`MAX_CIPHERTEXT_BYTES`](super::MAX_CIPHERTEXT_BYTES) bytes.
    pub ciphertext: &'a [u8],
    /// The pinned key: sent, and compared with the answer's.
    pub key_arn: Option<&'a str>,
    /// What the ciphertext was bound to when it was made.
    pub encryption_context: &'a BTreeMap<String, String>,
}

/// How long to try.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// One attempt, from dialling to the answer's last byte.
    pub attempt: Duration,
    /// All attempts together.
    pub total: Duration,
    /// The longest wait after the first throttled attempt; it doubles.
    pub first_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(10),
            total: Duration::from_secs(30),
            first_wait: Duration::from_millis(200),
        }
    }
}

/// The longest wait between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// A client of one KMS. One connection per call.
pub struct Client {
    endpoint: Endpoint,
    dial: Dial,
    tls: Result<Arc<ClientConfig>, rustls::Error>,
    limits: Limits,
}

impl Client {
    /// A client of that KMS; `dial` opens a stream to the parent's proxy within a time.
    #[must_use]
    pub fn new(endpoint: Endpoint, dial: Dial) -> Self {
        let tls = tls::config(endpoint.roots());
        Self { endpoint, dial, tls, limits: Limits::default() }
    }

    /// The same with other limits.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Has KMS decrypt a ciphertext for this enclave. `now` is the enclave's time, which the signature holds.
    ///
    /// # Errors
    /// See [`KmsError`]: each with its remedy.
    pub fn decrypt(
        &self,
        nsm: &dyn Nsm,
        recipient: &Recipient,
        credentials: &Credentials,
        wanted: &DecryptRequest<'_>,
        now: SystemTime,
    ) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        self.call(nsm, credentials, &Decrypt { recipient, wanted }, now)
    }

    /// Asks KMS anything, in the same way.
    ///
    /// # Errors
    /// As [`Client::decrypt`].
    pub fn call<O: Operation>(
        &self,
        nsm: &dyn Nsm,
        credentials: &Credentials,
        operation: &O,
        now: SystemTime,
    ) -> Result<O::Output, KmsError> {
        check(credentials, operation)?;
        let call = Call { client: self, nsm, credentials, operation };
        let started = Instant::now();
        let deadline = started + self.limits.total;
        let mut attempts = 0;
        let mut last = None;
        loop {
            attempts += 1;
            let error = match call.attempt(now + started.elapsed(), deadline) {
                Ok(output) => return Ok(output),
                // An attempt that the deadline cut says less than the one before it.
                Err(Attempt::Final(error)) if Instant::now() >= deadline => return Err(last.unwrap_or(error)),
                Err(Attempt::Final(error)) => return Err(error),
                Err(Attempt::Throttled) => KmsError::Throttled { attempts, waited: started.elapsed() },
                Err(Attempt::Unavailable(error)) => error,
            };
            let wait = self.wait(attempts);
            if Instant::now() + wait >= deadline {
                return Err(error);
            }
            last = Some(error);
            std::thread::sleep(wait);
        }
    }

    /// Exponential backoff with full jitter.
    fn wait(&self, attempts: u32) -> Duration {
        let longest = self.limits.first_wait.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(MAX_WAIT);
        let mut random = [0; 2];
        // Without randomness the longest wait is as good.
        let share = aws_lc_rs::rand::fill(&mut random).map_or(u16::MAX, |()| u16::from_le_bytes(random));
        longest.mul_f64(f64::from(share) / f64::from(u16::MAX))
    }
}

fn check<O: Operation>(credentials: &Credentials, operation: &O) -> Result<(), KmsError> {
    if let Some(what) = credentials.fault() {
        return Err(KmsError::UnusableCredentials { what });
    }
    operation.check()?;
    let Some(arn) = operation.key_arn() else { return Ok(()) };
    let key = KeyArn::parse(arn).map_err(KmsError::InvalidKeyArn)?.region.to_owned();
    let asked = operation.region().name();
    if key == asked { Ok(()) } else { Err(KmsError::WrongRegion(WrongRegion::Key { asked, key })) }
}

struct Call<'a, O> {
    client: &'a Client,
    nsm: &'a dyn Nsm,
    credentials: &'a Credentials,
    operation: &'a O,
}

enum Attempt {
    Final(KmsError),
    Throttled,
    Unavailable(KmsError),
}

impl From<KmsError> for Attempt {
    fn from(error: KmsError) -> Self {
        if matches!(error, KmsError::Unavailable { .. }) { Self::Unavailable(error) } else { Self::Final(error) }
    }
}

impl<O: Operation> Call<'_, O> {
    /// One body, with a document where the operation has one, one connection, one question.
    fn attempt(&self, time: SystemTime, deadline: Instant) -> Result<O::Output, Attempt> {
        let (endpoint, region) = (&self.client.endpoint, self.operation.region());
        let begun = Instant::now();
        let body = self.operation.body(self.nsm)?;
        let attested = begun.elapsed();
        let request = request::signed((O::NAME, region.name(), endpoint.host()), &body, self.credentials, time);
        drop(body);
        let config = self.client.tls.as_ref().map_err(|error| self.tls_error(error))?;
        let deadline = deadline.min(Instant::now() + self.client.limits.attempt);
        let response = tls::exchange(&self.client.dial, config, endpoint.host(), &request, deadline)
            .map_err(|failure| self.failure(&failure))?;
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        let (attested, answered) = (millis(attested), millis(begun.elapsed().saturating_sub(attested)));
        log::info!("attested in {attested:.1} ms, KMS answered after {answered:.1} ms");
        let asked = Asked { region, host: endpoint.host(), key_arn: self.operation.key_arn(), time };
        let body = answer::body(&response, &asked).map_err(|refusal| self.refused(refusal))?;
        Ok(self.operation.read(body, &asked)?)
    }

    fn failure(&self, failure: &Failure) -> KmsError {
        let (host, port) = (self.client.endpoint.host().to_owned(), self.client.endpoint.proxy_port());
        match failure {
            Failure::NoRoute(error) => KmsError::NoRoute { host, port, reason: reason(error) },
            Failure::Tls(error) => self.tls_error(error),
            Failure::Broken(error) => KmsError::Interrupted { host, reason: reason(error) },
            Failure::Malformed(what) => KmsError::Malformed(what),
        }
    }

    fn tls_error(&self, error: &rustls::Error) -> KmsError {
        KmsError::Tls { host: self.client.endpoint.host().to_owned(), reason: super::shown(&error.to_string(), 300) }
    }

    fn refused(&self, refusal: Refusal) -> Attempt {
        match refusal {
            Refusal::Throttled => Attempt::Throttled,
            Refusal::Denied(message) => {
                // The refusal is the news: registers that cannot be read only leave its remedy shorter.
                let pcrs = self.nsm.pcrs().unwrap_or_default();
                let denied = Denied::new::<O>(self.without_secrets(message), &pcrs, self.operation.region().name());
                Attempt::Final(KmsError::AccessDenied(Box::new(denied)))
            }
            Refusal::Other(KmsError::KeyUnusable { code, message }) => {
                Attempt::Final(KmsError::KeyUnusable { code, message: self.without_secrets(message) })
            }
            Refusal::Other(KmsError::Refused { code, message }) => {
                Attempt::Final(KmsError::Refused { code, message: self.without_secrets(message) })
            }
            Refusal::Other(error) => error.into(),
        }
    }

    /// KMS's words, unless they repeat what must not be shown.
    fn without_secrets(&self, message: String) -> String {
        if self.credentials.are_in(&message) || self.operation.is_in(&message) {
            return "(its words repeat the request and are left out)".to_owned();
        }
        message
    }
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "it hung up".to_owned(),
        std::io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => super::shown(&error.to_string(), 300),
    }
}
