//! The instance's role: EC2's metadata service, version 2 alone (a token first, then what it protects).
use super::container::address;
use super::{Outcome, Secret, Trouble, Variables, json};
use crate::http::{self, Answer, HttpError, Request};
use std::net::SocketAddr;
use std::time::Duration;
use wire::control::Credentials;
use zeroize::Zeroizing;

/// How long each of three requests may take; a request that got no answer is made once more.
const LIMIT: Duration = Duration::from_secs(1);
/// The service's address (EC2 User Guide, "Use IMDSv2").
const DEFAULT_ENDPOINT: &str = "http://169.254.169.254";
/// The same over IPv6.
const DEFAULT_ENDPOINT_V6: &str = "http://[fd00:ec2::254]";
/// How long our token may live, in seconds: longer than three requests take.
const TOKEN_SECONDS: &str = "60";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
/// A role's name has at most 64 characters (IAM).
const MAX_ROLE_BYTES: usize = 128;

pub(super) fn ask(variables: &Variables) -> Outcome {
    if variables.get("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Outcome::Absent("AWS_EC2_METADATA_DISABLED is set".to_owned());
    }
    Service::of(variables).and_then(|service| service.credentials()).into()
}

struct Service {
    address: SocketAddr,
    host: String,
}

impl Service {
    fn of(variables: &Variables) -> Result<Self, Trouble> {
        let mode = variables.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
        let is_v6 = mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
        let default = if is_v6 { DEFAULT_ENDPOINT_V6 } else { DEFAULT_ENDPOINT };
        let given = variables.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let endpoint = given.as_ref().map_or(default, |given| given.as_str());
        let host = endpoint.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let found = host.and_then(|host| address(host, 80));
        let (address, host) = found.ok_or_else(|| {
            let reason = "AWS_EC2_METADATA_SERVICE_ENDPOINT is no http:// with an IP address";
            Trouble::new(reason, "unset it, or correct it")
        })?;
        Ok(Self { address, host })
    }

    fn credentials(&self) -> Result<Credentials, Trouble> {
        let token = self.token()?;
        let headers = [("X-aws-ec2-metadata-token", token.as_str())];
        let roles = self.get(ROLES, &headers)?;
        if roles.status == 404 {
            let help =
                "attach one: aws ec2 associate-iam-instance-profile --instance-id ID --iam-instance-profile Name=NAME";
            return Err(self.trouble("the instance has no role", help));
        }
        let role = self.text(&roles)?;
        let role = role.lines().next().unwrap_or_default().trim();
        // IAM: names of roles are made of letters, digits and +=,.@_-.
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
        if role.is_empty() || role.len() > MAX_ROLE_BYTES || !role.bytes().all(is_name) {
            return Err(self.trouble("its answer is not the name of a role", ""));
        }
        let answer = self.get(&format!("{ROLES}{role}"), &headers)?;
        let body = self.text(&answer)?;
        json::read(body.as_bytes(), json::Form::Service, format!("the instance's role {role}"))
            .map_err(|trouble| self.trouble(&format!("role {role}: {}", trouble.reason), &trouble.remedy))
    }

    fn token(&self) -> Result<Secret, Trouble> {
        let headers = [("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS)];
        let answer = self.send("PUT", "/latest/api/token", &headers)?;
        let token = self.text(&answer)?;
        let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        is_token.then_some(token).ok_or_else(|| self.trouble("its token cannot be read", ""))
    }

    fn get(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Answer, Trouble> {
        self.send("GET", path, headers)
    }

    fn send(&self, method: &'static str, path: &str, headers: &[(&'static str, &str)]) -> Result<Answer, Trouble> {
        let request = Request { method, host: &self.host, path, headers };
        let answer = match http::send(self.address, &request, super::bounds(LIMIT)) {
            Err(HttpError::TimedOut(_)) => http::send(self.address, &request, super::bounds(LIMIT)),
            other => other,
        };
        answer.map_err(|error| {
            let help = match error {
                HttpError::TimedOut(_) => {
                    "outside of EC2 there is no such service; in a container its answer may need one hop more: aws ec2 \
                     modify-instance-metadata-options --http-put-response-hop-limit 2 --instance-id ID"
                }
                _ => super::REMEDY,
            };
            self.trouble(&error.to_string(), help)
        })
    }

    /// A body of status 200.
    fn text(&self, answer: &Answer) -> Result<Secret, Trouble> {
        let help = match answer.status {
            200 => {
                let text = String::from_utf8(answer.body.to_vec()).map(Zeroizing::new);
                return text.map_err(|_| self.trouble("its answer cannot be read", ""));
            }
            401 => "its token was refused: see the instance's metadata options, and try again",
            403 => {
                "the instance's metadata service is switched off: aws ec2 modify-instance-metadata-options --http-endpoint enabled"
            }
            _ => "",
        };
        Err(self.trouble(&format!("expected status 200, got {}", answer.status), help))
    }

    fn trouble(&self, reason: &str, help: &str) -> Trouble {
        let remedy = if help.is_empty() { super::REMEDY } else { help };
        Trouble::new(format!("EC2's metadata service at {}: {reason}", self.address), remedy)
    }
}
