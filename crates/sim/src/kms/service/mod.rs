//! From a request to an answer: who calls, what fails on demand, the operation, the log.
mod answer;
mod call;
mod crypto;
#[cfg(test)]
mod key_policy_tests;
mod keys;
#[cfg(test)]
mod tests;

use super::error::{Answer, Failure, fail};
use super::faults::{Fault, Faults};
use super::http::{Request, Response};
use super::keys::{Keys, random_id};
use super::log::{Log, Logged};
use super::principals::{self, Principals};
use super::recipient::Verifier;
use super::{clock, sigv4};
use call::Call;
use serde_json::Value;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const TARGET_PREFIX: &str = "TrentService.";

/// What the server serves: everything but the network.
pub struct Service {
    pub region: String,
    pub account: String,
    pub keys: RwLock<Keys>,
    pub principals: Principals,
    pub faults: Arc<Faults>,
    pub verifier: Arc<dyn Verifier>,
    pub log: Log,
}

/// How an answer is sent.
pub struct Delivery {
    pub response: Response,
    pub wait: Duration,
    /// Only half of it, then the connection ends.
    pub half: bool,
}

impl Service {
    pub fn keys(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn keys_mut(&self) -> RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The service's clock, in seconds since 1970.
    pub fn now(&self) -> i64 {
        clock::now().saturating_add(self.faults.skew())
    }

    /// Answers a request.
    pub fn serve(&self, request: &Request) -> Delivery {
        let operation =
            request.header("x-amz-target").and_then(|target| target.strip_prefix(TARGET_PREFIX)).unwrap_or_default();
        let now = self.now();
        let faults = self.faults.take(operation);
        let mut logged = Logged { operation: operation.to_owned(), ..Logged::default() };
        let result = self.answer(request, operation, &faults, now, &mut logged);
        let (status, body) = match result {
            Ok(value) => (200, value.to_string().into_bytes()),
            Err(failure) => {
                logged.outcome = failure.kind.to_owned();
                logged.message.clone_from(&failure.message);
                (failure.status, failure.body())
            }
        };
        self.log.push(logged);
        let response = Response {
            status,
            content_type: CONTENT_TYPE,
            body,
            date: clock::http(now),
            request_id: random_id().unwrap_or_default(),
            close: request.closes(),
        };
        deliver(response, &faults)
    }

    fn answer(
        &self,
        request: &Request,
        operation: &str,
        faults: &[Fault],
        now: i64,
        logged: &mut Logged,
    ) -> Answer<Value> {
        if request.method != "POST" || request.target != "/" {
            return Err(fail("UnknownOperationException", ""));
        }
        let scope = sigv4::Scope { region: &self.region, service: "kms" };
        let principal = sigv4::verify(request, &scope, &self.principals, now)?;
        logged.principal = Some(principal.arn.clone());
        faults.iter().find_map(refusal).map_or(Ok(()), Err)?;
        let json: Value = serde_json::from_slice(&request.body).map_err(|_| fail("SerializationException", ""))?;
        if !json.is_object() {
            return Err(fail("SerializationException", ""));
        }
        let mut call = Call { service: self, operation, json: &json, principal, faults, now, recipient: None, logged };
        let mut answer = call.run()?;
        if faults.contains(&Fault::AnotherKey) && answer.get("KeyId").is_some() {
            let id = random_id().unwrap_or_default();
            answer["KeyId"] = format!("arn:aws:kms:{}:{}:key/{id}", self.region, self.account).into();
        }
        logged.outcome = "ok".to_owned();
        Ok(answer)
    }
}

/// The failure that a fault asks for instead of an answer.
fn refusal(fault: &Fault) -> Option<Failure> {
    let ours = |kind, message: &str| Failure { kind, message: message.to_owned(), status: 500 };
    match fault {
        Fault::Throttle => Some(fail(
            "ThrottlingException",
            "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.",
        )),
        Fault::ExpiredToken => Some(principals::expired()),
        Fault::Http500 => Some(ours("KMSInternalException", "An internal error occurred.")),
        Fault::DependencyTimeout => {
            Some(ours("DependencyTimeoutException", "The system timed out while trying to fulfill the request."))
        }
        _ => None,
    }
}

/// Applies what fails on the way out.
fn deliver(mut response: Response, faults: &[Fault]) -> Delivery {
    let (mut wait, mut half) = (Duration::ZERO, false);
    for fault in faults {
        match fault {
            Fault::Slow { millis } => wait = Duration::from_millis(*millis),
            Fault::CloseMidAnswer => half = true,
            Fault::GarbageBody => {
                response.status = 200;
                response.body = b"\x00\xff<html>not what you asked for".to_vec();
            }
            Fault::HugeBody { bytes } => {
                response.status = 200;
                response.body = vec![b'a'; bytes.saturating_add(2)];
                response.body[0] = b'"';
                response.body[bytes + 1] = b'"';
            }
            _ => {}
        }
    }
    Delivery { response, wait, half }
}
