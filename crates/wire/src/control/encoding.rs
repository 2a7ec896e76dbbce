//! The control channel's messages as bytes. Requests with secrets are binary, so that no general encoder handles a secret
//! and every buffer of it is zeroized; the others, and the answers, are JSON.
use super::{Answer, Attested, Ceremony, Credentials, Failure, LogLine, Made, Malformed, MetricsPage};
use super::{MAX_CONFIG_BYTES, MAX_CREDENTIAL_BYTES, MAX_NONCE_BYTES, MAX_SEALED_BYTES, MIN_NONCE_BYTES};
use super::{Progress, Push, REQUEST_DOMAIN, Received, Request, Serving, Status, Task};
use crate::bytes::{Input, Missing, put_string};
use crate::frame::{MAX_PUSH_BYTES, MAX_REQUEST_BYTES};
use crate::token::{Proof, Token};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const PUSH: u8 = 1;
const STATUS_REQUEST: u8 = 2;
const LOGS: u8 = 3;
const METRICS_REQUEST: u8 = 4;
const ATTEST: u8 = 5;
const CEREMONY: u8 = 6;

/// A proof's length in bytes.
const PROOF_BYTES: usize = size_of::<Proof>();

impl From<Missing> for Malformed {
    fn from(text: Missing) -> Self {
        Self(text)
    }
}

/// The body of a request for the log.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Logs {
    from: u64,
    follow: bool,
}

impl Request {
    /// As a frame for the enclave with that nonce. Without a token the proof is 32 zero bytes, which only status and
    /// metrics may have.
    ///
    /// A configuration longer than [`MAX_CONFIG_BYTES`], or a credential longer than [`MAX_CREDENTIAL_BYTES`], gives a frame
    /// that is refused by [`Request::decode`]: whoever pushes checks that first.
    #[must_use]
    pub fn encode(&self, token: Option<&Token>, enclave_nonce: &[u8; 32]) -> Zeroizing<Vec<u8>> {
        // The place is reserved at once: a buffer that grows leaves copies of secrets behind.
        let mut proven = Zeroizing::new(Vec::with_capacity(1 + self.body_bytes()));
        match self {
            Self::Push(push) => {
                proven.push(PUSH);
                put_push(&mut proven, push);
            }
            Self::Status => proven.push(STATUS_REQUEST),
            Self::Logs { from, follow } => {
                proven.push(LOGS);
                put_json(&mut proven, &Logs { from: *from, follow: *follow });
            }
            Self::Metrics => proven.push(METRICS_REQUEST),
            Self::Attest { nonce } => {
                proven.push(ATTEST);
                put_string(&mut proven, nonce);
            }
            Self::Ceremony(ceremony) => {
                proven.push(CEREMONY);
                put_ceremony(&mut proven, ceremony);
            }
        }
        let proof = token.map_or([0; PROOF_BYTES], |token| token.prove(REQUEST_DOMAIN, enclave_nonce, &proven));
        let mut frame = Zeroizing::new(Vec::with_capacity(PROOF_BYTES + proven.len()));
        frame.extend_from_slice(&proven[..1]);
        frame.extend_from_slice(&proof);
        frame.extend_from_slice(&proven[1..]);
        frame
    }

    /// At least the body's length.
    fn body_bytes(&self) -> usize {
        let push = match self {
            Self::Push(push) => push,
            Self::Attest { nonce } => return 8 + nonce.len(),
            Self::Ceremony(ceremony) => {
                let task = serde_json::to_vec(&ceremony.task).map_or(0, |json| json.len());
                return 64
                    + task
                    + ceremony.nonce.len()
                    + ceremony.sealed.len()
                    + credentials_bytes(ceremony.credentials.as_ref());
            }
            _ => return 64,
        };
        64 + push.config.len() + credentials_bytes(push.credentials.as_ref())
    }

    /// From a frame.
    ///
    /// # Errors
    /// [`Malformed`]; the text holds no byte of the frame.
    pub fn decode(frame: &[u8]) -> Result<Received, Malformed> {
        let mut input = Input::new(frame);
        let kind = input.u8("the request's kind")?;
        let most = if matches!(kind, PUSH | CEREMONY) { MAX_PUSH_BYTES } else { MAX_REQUEST_BYTES };
        if frame.len() > most {
            let text = format!("a request of {} bytes: expected at most {most} for its kind", frame.len());
            return Err(Malformed(text));
        }
        let proof = input.array("the proof")?;
        let body = input.rest();
        let request = match kind {
            PUSH => Self::Push(Box::new(push(body)?)),
            STATUS_REQUEST => empty(Self::Status, body)?,
            LOGS => {
                let Logs { from, follow } = json(body, "the request for the log")?;
                Self::Logs { from, follow }
            }
            METRICS_REQUEST => empty(Self::Metrics, body)?,
            ATTEST => Self::Attest { nonce: attest(body)? },
            CEREMONY => Self::Ceremony(Box::new(ceremony(body)?)),
            other => return Err(Malformed(format!("no request has the kind {other}"))),
        };
        let mut proven = Zeroizing::new(Vec::with_capacity(1 + body.len()));
        proven.push(kind);
        proven.extend_from_slice(body);
        Ok(Received { request, proof, proven })
    }
}

fn empty(request: Request, body: &[u8]) -> Result<Request, Malformed> {
    Input::new(body).end()?;
    Ok(request)
}

fn attest(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut input = Input::new(body);
    // A longer one is told by its length.
    let bytes = input.string(MAX_REQUEST_BYTES, "the nonce")?;
    input.end()?;
    nonce(bytes)
}

fn nonce(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let got = body.len();
    if (MIN_NONCE_BYTES..=MAX_NONCE_BYTES).contains(&got) {
        return Ok(body.to_vec());
    }
    Err(Malformed(format!("the nonce: expected {MIN_NONCE_BYTES} to {MAX_NONCE_BYTES} bytes, got {got}")))
}

fn credentials_bytes(credentials: Option<&Credentials>) -> usize {
    credentials.map_or(0, |credentials| {
        let session = credentials.session_token.as_ref().map_or(0, |token| token.len());
        64 + credentials.access_key_id.len() + credentials.secret_access_key.len() + session + credentials.source.len()
    })
}

fn put_ceremony(out: &mut Vec<u8>, ceremony: &Ceremony) {
    let task = serde_json::to_vec(&ceremony.task).unwrap_or_default();
    put_string(out, &task);
    put_string(out, &ceremony.nonce);
    put_string(out, &ceremony.sealed);
    put_credentials(out, ceremony.credentials.as_ref());
}

fn ceremony(body: &[u8]) -> Result<Ceremony, Malformed> {
    let mut input = Input::new(body);
    let task = json::<Task>(input.string(MAX_REQUEST_BYTES, "the task")?, "the task")?;
    let nonce = nonce(input.string(MAX_NONCE_BYTES, "the nonce")?)?;
    let sealed = input.string(MAX_SEALED_BYTES, "the sealed key")?.to_vec();
    let credentials = match input.flag("whether there are credentials")? {
        false => None,
        true => Some(credentials(&mut input)?),
    };
    input.end()?;
    Ok(Ceremony { task, nonce, sealed, credentials })
}

fn put_push(out: &mut Vec<u8>, push: &Push) {
    out.extend_from_slice(push.token.expose());
    put_string(out, push.config.as_bytes());
    put_credentials(out, push.credentials.as_ref());
}

fn put_credentials(out: &mut Vec<u8>, credentials: Option<&Credentials>) {
    let Some(credentials) = credentials else { return out.push(0) };
    out.push(1);
    put_string(out, credentials.access_key_id.as_bytes());
    put_string(out, credentials.secret_access_key.as_bytes());
    match &credentials.session_token {
        None => out.push(0),
        Some(token) => {
            out.push(1);
            put_string(out, token.as_bytes());
        }
    }
    match credentials.expires_at {
        None => out.push(0),
        Some(seconds) => {
            out.push(1);
            out.extend_from_slice(&seconds.to_be_bytes());
        }
    }
    put_string(out, credentials.source.as_bytes());
}

fn push(body: &[u8]) -> Result<Push, Malformed> {
    let mut input = Input::new(body);
    let token = Zeroizing::new(input.array("the control token")?);
    let config = secret(&mut input, MAX_CONFIG_BYTES, "the configuration")?;
    let credentials = match input.flag("whether there are credentials")? {
        false => None,
        true => Some(credentials(&mut input)?),
    };
    input.end()?;
    Ok(Push { token: Token::new(&token), config, credentials })
}

fn credentials(input: &mut Input<'_>) -> Result<Credentials, Malformed> {
    let most = MAX_CREDENTIAL_BYTES;
    Ok(Credentials {
        access_key_id: secret(input, most, "the access key's id")?,
        secret_access_key: secret(input, most, "the secret access key")?,
        session_token: match input.flag("whether there is a session token")? {
            false => None,
            true => Some(secret(input, most, "the session token")?),
        },
        expires_at: match input.flag("whether the credentials expire")? {
            false => None,
            true => Some(i64::from_be_bytes(input.array("when the credentials expire")?)),
        },
        source: input.text(most, "the credentials' source")?.to_owned(),
    })
}

fn secret(input: &mut Input<'_>, most: usize, what: &str) -> Result<Zeroizing<String>, Malformed> {
    Ok(Zeroizing::new(input.text(most, what)?.to_owned()))
}

const PROGRESS: u8 = 1;
const SERVING: u8 = 2;
const FAILED: u8 = 3;
const STATUS: u8 = 4;
const LOG: u8 = 5;
const LOG_END: u8 = 6;
const METRICS: u8 = 7;
const ATTESTED: u8 = 8;
const MADE: u8 = 9;

/// The body of [`Answer::LogEnd`].
#[derive(Serialize, Deserialize)]
struct LogEnd {
    dropped: u64,
}

impl Answer {
    /// As a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Progress(progress) => framed(PROGRESS, progress),
            Self::Serving(serving) => framed(SERVING, serving),
            Self::Failed(failure) => framed(FAILED, failure),
            Self::Status(status) => framed(STATUS, &**status),
            Self::Log(line) => framed(LOG, line),
            Self::LogEnd { dropped } => framed(LOG_END, &LogEnd { dropped: *dropped }),
            Self::Metrics(page) => framed(METRICS, &**page),
            Self::Attested(attested) => framed(ATTESTED, &**attested),
            Self::Made(made) => framed(MADE, &**made),
        }
    }

    /// From a frame.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input::new(frame);
        let kind = input.u8("the answer's kind")?;
        let body = input.rest();
        match kind {
            PROGRESS => json::<Progress>(body, "a progress").map(Self::Progress),
            SERVING => json::<Serving>(body, "a push's end").map(Self::Serving),
            FAILED => json::<Failure>(body, "a failure").map(Self::Failed),
            STATUS => json::<Status>(body, "a status").map(|status| Self::Status(Box::new(status))),
            LOG => json::<LogLine>(body, "a log line").map(Self::Log),
            LOG_END => json::<LogEnd>(body, "a log's end").map(|LogEnd { dropped }| Self::LogEnd { dropped }),
            METRICS => json::<MetricsPage>(body, "a metrics page").map(|page| Self::Metrics(Box::new(page))),
            ATTESTED => json::<Attested>(body, "an attestation").map(|attested| Self::Attested(Box::new(attested))),
            MADE => json::<Made>(body, "a key that was made").map(|made| Self::Made(Box::new(made))),
            other => Err(Malformed(format!("no answer has the kind {other}"))),
        }
    }
}

fn framed(kind: u8, body: &impl Serialize) -> Vec<u8> {
    let mut out = vec![kind];
    put_json(&mut out, body);
    out
}

/// Appends the JSON. These types have string or number keys and nothing that fails; if one ever did, the body would end
/// early, and the other side would say so.
fn put_json(out: &mut Vec<u8>, body: &impl Serialize) {
    let _ = serde_json::to_writer(out, body);
}

/// Reads JSON. The error says where it is wrong, and repeats nothing of what is there.
fn json<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, Malformed> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Malformed(format!("{what} is not the JSON that was expected: line {line}, column {column}"))
    })
}
