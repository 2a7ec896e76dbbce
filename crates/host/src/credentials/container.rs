//! A container's role: ECS's and EKS's agents, where the variables point to them.
use super::{Outcome, Secret, Trouble, Variables, json};
use crate::http::{self, Request};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use wire::control::Credentials;
use zeroize::Zeroizing;

/// How long the agent may take.
const LIMIT: Duration = Duration::from_secs(2);
/// The host of AWS_CONTAINER_CREDENTIALS_RELATIVE_URI.
const ECS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
/// EKS Pod Identity's.
const EKS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 23);
/// The same over IPv6.
const EKS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23);
/// The longest token file, in bytes.
const MAX_TOKEN_BYTES: u64 = 16 * 1024;

const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

pub(super) fn ask(variables: &Variables) -> Outcome {
    let place = match (variables.get(RELATIVE), variables.get(FULL)) {
        (Some(path), _) => relative(&path),
        (None, Some(uri)) => full(&uri),
        (None, None) => return Outcome::Absent(format!("neither {RELATIVE} nor {FULL} is set")),
    };
    place.and_then(|place| fetch(&place, variables)).into()
}

struct Place {
    address: SocketAddr,
    host: String,
    path: String,
}

fn relative(path: &str) -> Result<Place, Trouble> {
    if !is_path(path) {
        return Err(Trouble::new(format!("{RELATIVE} is no path that begins with a slash"), "correct it"));
    }
    Ok(Place { address: (ECS, 80).into(), host: ECS.to_string(), path: path.to_owned() })
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic())
}

/// As in AWS's SDKs, only places of this machine are asked over plain HTTP.
fn full(uri: &str) -> Result<Place, Trouble> {
    let wrong = |reason: String| {
        Trouble::new(
            format!("{FULL}: {reason}"),
            "it has to be http:// on this machine: a loopback address, 169.254.170.2 or 169.254.170.23",
        )
    };
    let Some(rest) = uri.strip_prefix("http://") else {
        let scheme = uri.split("://").next().unwrap_or_default();
        let scheme: String = scheme.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
        return Err(wrong(format!("expected http://, got {scheme}; TLS is not spoken here")));
    };
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let (address, host) = address(host, 80).ok_or_else(|| wrong("it has no host that can be read".to_owned()))?;
    let is_here =
        address.ip().is_loopback() || [IpAddr::V4(ECS), IpAddr::V4(EKS), IpAddr::V6(EKS_V6)].contains(&address.ip());
    if !is_here {
        return Err(wrong(format!("{} is not on this machine", address.ip())));
    }
    if !is_path(path) {
        return Err(wrong("its path has a character that none has".to_owned()));
    }
    Ok(Place { address, host, path: path.to_owned() })
}

/// An IP address or `localhost`, and a port; with what stands there as the header `Host` has it.
pub(super) fn address(host: &str, default_port: u16) -> Option<(SocketAddr, String)> {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return Some((address, host.to_owned()));
    }
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Some((SocketAddr::new(ip, default_port), host.to_owned()));
    }
    let (name, port) =
        host.split_once(':').map_or((host, Some(default_port)), |(name, port)| (name, port.parse().ok()));
    name.eq_ignore_ascii_case("localhost").then_some(())?;
    Some((SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port?), host.to_owned()))
}

fn fetch(place: &Place, variables: &Variables) -> Result<Credentials, Trouble> {
    let token = authorization(variables)?;
    let headers: Vec<_> = token.iter().map(|token| ("Authorization", token.as_str())).collect();
    let request = Request { method: "GET", host: &place.host, path: &place.path, headers: &headers };
    let agent = format!("the agent at {}", place.address);
    let wrong = |reason: String| {
        Trouble::new(format!("{agent}: {reason}"), "see whether the container has a role, and the agent runs")
    };
    let answer = http::send(place.address, &request, super::bounds(LIMIT)).map_err(|error| wrong(error.to_string()))?;
    if answer.status != 200 {
        return Err(wrong(format!("expected status 200, got {}", answer.status)));
    }
    json::read(&answer.body, json::Form::Service, "the container's role".to_owned())
        .map_err(|trouble| Trouble::new(format!("{agent}: {}", trouble.reason), trouble.remedy))
}

/// The file comes before the variable, as its token changes.
fn authorization(variables: &Variables) -> Result<Option<Secret>, Trouble> {
    const FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
    const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
    let (name, token) = match variables.get(FILE) {
        Some(path) => {
            (FILE, Some(read(&path).map_err(|error| Trouble::new(format!("{FILE}: {error}"), "correct it"))?))
        }
        None => (TOKEN, variables.get(TOKEN)),
    };
    let Some(token) = token else { return Ok(None) };
    if token.bytes().any(|byte| byte != b' ' && !byte.is_ascii_graphic()) {
        return Err(Trouble::new(format!("{name}: the token has a character that none has"), "correct it"));
    }
    Ok(Some(token))
}

fn read(path: &str) -> std::io::Result<Secret> {
    let mut text = Zeroizing::new(String::with_capacity(4096));
    std::io::Read::read_to_string(&mut std::io::Read::take(std::fs::File::open(path)?, MAX_TOKEN_BYTES), &mut text)?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}
