//! One plain HTTP request to a service of this machine or its network, bounded in time and size. The answer may be anybody's.
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// The longest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// So much is had at once, so that an answer with secrets is not moved while it grows.
const AT_ONCE_BYTES: usize = MAX_HEAD_BYTES + 4096;

/// A request.
pub struct Request<'a> {
    /// GET or PUT.
    pub method: &'static str,
    /// For the header `Host`.
    pub host: &'a str,
    /// The path.
    pub path: &'a str,
    /// Further headers.
    pub headers: &'a [(&'static str, &'a str)],
}

/// What an answer may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connecting, asking and reading together.
    pub time: Duration,
    /// With its head, in bytes.
    pub bytes: usize,
}

/// An answer. No `Debug`: it may hold credentials.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Zeroizing<Vec<u8>>,
}

/// Why there is none. Nothing of the answer is in these texts.
#[derive(Debug)]
pub enum HttpError {
    /// Connecting or talking took longer than that.
    TimedOut(Duration),
    /// The system's.
    Io(io::Error),
    /// Not HTTP, or not all of it: what was expected and what came.
    Garbage(&'static str),
    /// Longer than so many bytes.
    TooLong(usize),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(limit) => write!(f, "no whole answer within {} s", limit.as_secs_f64()),
            Self::Io(error) => error.fmt(f),
            Self::Garbage(what) => f.write_str(what),
            Self::TooLong(most) => write!(f, "expected an answer of at most {most} bytes, got a longer one"),
        }
    }
}

const NO_HTTP: HttpError = HttpError::Garbage("expected HTTP, got something else");

/// How the end of a body is known.
enum End {
    Length(usize),
    Chunks,
    Connection,
}

struct Head {
    status: u16,
    /// Where the body begins.
    start: usize,
    end: End,
}

/// Sends it and reads the answer up to its end.
///
/// # Errors
/// [`HttpError`].
pub fn send(address: SocketAddr, request: &Request<'_>, bounds: Bounds) -> Result<Answer, HttpError> {
    let until = Instant::now() + bounds.time;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => HttpError::TimedOut(bounds.time),
        _ => HttpError::Io(error),
    };
    let mut stream = TcpStream::connect_timeout(&address, bounds.time).map_err(failed)?;
    stream.set_write_timeout(Some(bounds.time)).map_err(failed)?;
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
    stream.write_all(text.as_bytes()).map_err(failed)?;
    receive(&mut stream, until, bounds, &failed)
}

fn receive(
    stream: &mut TcpStream,
    until: Instant,
    bounds: Bounds,
    failed: &dyn Fn(io::Error) -> HttpError,
) -> Result<Answer, HttpError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(AT_ONCE_BYTES));
    let mut chunk = Zeroizing::new([0; 4096]);
    let mut head: Option<Head> = None;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(HttpError::TimedOut(bounds.time));
        }
        stream.set_read_timeout(Some(left)).map_err(failed)?;
        let count = match stream.read(chunk.as_mut_slice()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other.map_err(failed)?,
        };
        if bytes.len() + count > bounds.bytes {
            return Err(HttpError::TooLong(bounds.bytes));
        }
        bytes.extend_from_slice(&chunk[..count]);
        if head.is_none() {
            head = read_head(&bytes, bounds.bytes)?;
        }
        let Some(head) = &head else {
            if count == 0 || bytes.len() > MAX_HEAD_BYTES {
                return Err(HttpError::Garbage("expected HTTP, got something else, or half an answer"));
            }
            continue;
        };
        if let Some(body) = body(head, &bytes[head.start..], count == 0, bounds.bytes)? {
            return Ok(Answer { status: head.status, body });
        }
    }
}

fn read_head(bytes: &[u8], most: usize) -> Result<Option<Head>, HttpError> {
    if bytes.iter().zip(b"HTTP/1.").any(|(got, expected)| got != expected) {
        return Err(NO_HTTP);
    }
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| NO_HTTP)?;
    let status = head.split("\r\n").next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or(NO_HTTP)?;
    let header = |name: &str| {
        let mut pairs = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        pairs.find(|(known, _)| known.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let is_chunked = header("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    let body = match header("Content-Length") {
        _ if is_chunked => End::Chunks,
        None => End::Connection,
        Some(length) => {
            let length: usize = length.parse().map_err(|_| NO_HTTP)?;
            if length > most {
                return Err(HttpError::TooLong(most));
            }
            End::Length(length)
        }
    };
    Ok(Some(Head { status, start: end + 4, end: body }))
}

/// The body, once it is whole.
fn body(head: &Head, bytes: &[u8], is_end: bool, most: usize) -> Result<Option<Zeroizing<Vec<u8>>>, HttpError> {
    let copy = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
    let whole = match head.end {
        End::Length(length) => bytes.get(..length).map(copy),
        // Looked through only where it may be whole: else a long answer would be read again with every piece of it.
        End::Chunks if is_end || bytes.ends_with(b"0\r\n\r\n") => chunks(bytes, most)?,
        End::Connection if is_end => Some(copy(bytes)),
        End::Chunks | End::Connection => None,
    };
    if whole.is_none() && is_end {
        return Err(HttpError::Garbage("expected a whole answer, got its beginning: the connection ended"));
    }
    Ok(whole)
}

/// A chunked body, if it is whole (RFC 9112, 7.1); trailers are not read.
fn chunks(mut rest: &[u8], most: usize) -> Result<Option<Zeroizing<Vec<u8>>>, HttpError> {
    const GARBAGE: HttpError = HttpError::Garbage("expected chunks of an answer, got something else");
    let mut body = Zeroizing::new(Vec::with_capacity(rest.len()));
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| GARBAGE)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(digits, 16).ok().filter(|length| *length <= most).ok_or(GARBAGE)?;
        rest = &rest[end + 2..];
        if length == 0 {
            return Ok(Some(body));
        }
        let Some(chunk) = rest.get(..length + 2) else { return Ok(None) };
        body.extend_from_slice(&chunk[..length]);
        rest = &rest[length + 2..];
    }
}
