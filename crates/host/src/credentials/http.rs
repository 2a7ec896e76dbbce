//! One plain HTTP request to a service of this machine, bounded in time and size.
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// The longest answer with its headers, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A request.
pub(super) struct Request<'a> {
    pub(super) method: &'static str,
    /// For the header `Host`.
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: &'a [(&'static str, &'a str)],
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum HttpError {
    /// Connecting or talking took too long.
    TimedOut,
    /// The system's.
    Io(io::Error),
    /// Not HTTP, or too long.
    Garbage,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Io(error) => error.fmt(f),
            Self::Garbage => write!(f, "the answer is not HTTP, or longer than {MAX_ANSWER_BYTES} bytes"),
        }
    }
}

impl From<io::Error> for HttpError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Io(error),
        }
    }
}

/// Sends it and reads the answer up to its end.
pub(super) fn send(address: SocketAddr, request: &Request<'_>, limit: Duration) -> Result<Answer, HttpError> {
    let until = Instant::now() + limit;
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_write_timeout(Some(limit))?;
    let mut text = Zeroizing::new(String::with_capacity(4096));
    text.push_str(&format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\nConnection: close\r\n",
        request.method, request.path, request.host
    ));
    for (name, value) in request.headers {
        for part in [name, ": ", value, "\r\n"] {
            text.push_str(part);
        }
    }
    text.push_str(if request.method == "PUT" { "Content-Length: 0\r\n\r\n" } else { "\r\n" });
    stream.write_all(text.as_bytes())?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_ANSWER_BYTES + 4096));
    let mut chunk = Zeroizing::new([0; 4096]);
    loop {
        if let Some(answer) = parse(&bytes, false)? {
            return Ok(answer);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(HttpError::TimedOut);
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(chunk.as_mut_slice()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
            Ok(0) => return parse(&bytes, true)?.ok_or(HttpError::Garbage),
            Ok(count) if bytes.len() + count > MAX_ANSWER_BYTES => return Err(HttpError::Garbage),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

/// The answer, once it is whole. Without a length it ends with the connection.
fn parse(bytes: &[u8], is_end: bool) -> Result<Option<Answer>, HttpError> {
    if bytes.iter().zip(b"HTTP/1.").any(|(got, expected)| got != expected) {
        return Err(HttpError::Garbage);
    }
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| HttpError::Garbage)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or(HttpError::Garbage)?;
    let header = |name: &str| {
        let pairs = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        pairs.filter(|(known, _)| known.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    };
    let body = &bytes[end + 4..];
    let body = if header("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        match chunks(body)? {
            Some(body) => body,
            None => return Ok(None),
        }
    } else if let Some(length) = header("Content-Length") {
        let length: usize = length.parse().map_err(|_| HttpError::Garbage)?;
        match body.get(..length) {
            Some(body) => Zeroizing::new(body.to_vec()),
            None => return Ok(None),
        }
    } else if is_end {
        Zeroizing::new(body.to_vec())
    } else {
        return Ok(None);
    };
    Ok(Some(Answer { status, body }))
}

/// A chunked body, once it is whole (RFC 9112, 7.1); trailers are not read.
fn chunks(mut rest: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, HttpError> {
    let mut body = Zeroizing::new(Vec::with_capacity(rest.len()));
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| HttpError::Garbage)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(digits, 16).ok().filter(|length| *length <= MAX_ANSWER_BYTES);
        let length = length.ok_or(HttpError::Garbage)?;
        rest = &rest[end + 2..];
        if length == 0 {
            return Ok(Some(body));
        }
        let Some(chunk) = rest.get(..length + 2) else { return Ok(None) };
        body.extend_from_slice(&chunk[..length]);
        rest = &rest[length + 2..];
    }
}
