//! A GET over loopback, for a node's RPC and the signer's metrics. HTTP/1.0, so that the answer is neither chunked nor kept alive.
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a connection, a read or a write may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 32 << 20;

/// Status code and body of `GET path` on 127.0.0.1.
///
/// # Errors
/// When nobody answers in time or the answer is not HTTP.
pub fn get(port: u16, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), TIMEOUT)
        .with_context(|| format!("nobody listens on 127.0.0.1:{port}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).with_context(|| format!("no answer to {path}"))?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").context("an answer without a header's end")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("an answer without a status")?;
    Ok((status, body.to_owned()))
}

/// The `result` of a JSON-RPC call of a node, e.g. `/commit?height=5`.
///
/// # Errors
/// As [`get`], and when the node answers an error.
pub fn rpc(port: u16, path: &str) -> Result<Value> {
    let (status, body) = get(port, path)?;
    let mut answer: Value = serde_json::from_str(&body).with_context(|| format!("{path}: status {status}, no JSON"))?;
    if let Some(error) = answer.get("error").filter(|e| !e.is_null()) {
        bail!("{path}: the node answers {error}");
    }
    ensure!(status == 200, "{path}: status {status}");
    Ok(answer["result"].take())
}
