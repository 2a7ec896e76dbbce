//! HTTP/1.1 as far as AWS's clients use it: one request with a Content-Length, one answer, the connection kept. All that is read is bounded.
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// Request line and headers together.
const MAX_HEAD_BYTES: usize = 32 * 1024;
const MAX_HEADERS: usize = 64;
/// A Decrypt with the largest ciphertext and the largest attestation document, in base64, is about a quarter of this.
const MAX_BODY_BYTES: usize = 128 * 1024;
/// From a request's first byte to its last.
const REQUEST_TIME: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 4096;

/// A request, read whole. Header names are in lower case.
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header that is there exactly once; of one that is repeated, none.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.trim());
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// Whether the connection ends after this request.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// What reading a request came to.
pub enum Incoming {
    Request(Request),
    /// The peer hung up, or said nothing for long, between requests.
    Idle,
    /// Not HTTP as we speak it: the status to answer with before hanging up.
    Bad(u16),
}

/// Reads one request. `pending` holds what came behind the one before.
pub fn read(stream: &mut impl Read, pending: &mut Vec<u8>) -> Incoming {
    let mut deadline = (!pending.is_empty()).then(|| Instant::now() + REQUEST_TIME);
    let (mut request, length) = loop {
        match head(pending) {
            Ok(Some((request, head_bytes, length))) => {
                pending.drain(..head_bytes);
                break (request, length);
            }
            Ok(None) if pending.len() > MAX_HEAD_BYTES => return Incoming::Bad(431),
            Ok(None) => {}
            Err(status) => return Incoming::Bad(status),
        }
        let started = !pending.is_empty();
        if !more(stream, pending, deadline) {
            return if started { Incoming::Bad(408) } else { Incoming::Idle };
        }
        deadline = deadline.or_else(|| Some(Instant::now() + REQUEST_TIME));
    };
    while pending.len() < length {
        if !more(stream, pending, deadline) {
            return Incoming::Bad(408);
        }
    }
    request.body = pending.drain(..length).collect();
    Incoming::Request(request)
}

/// Reads once; false at the end, at an error, or when the time is over.
fn more(stream: &mut impl Read, pending: &mut Vec<u8>, deadline: Option<Instant>) -> bool {
    if deadline.is_some_and(|deadline| Instant::now() > deadline) {
        return false;
    }
    let mut chunk = [0; READ_BYTES];
    match stream.read(&mut chunk) {
        Ok(0) => false,
        Ok(count) => {
            pending.extend_from_slice(&chunk[..count]);
            true
        }
        Err(error) => error.kind() == io::ErrorKind::Interrupted,
    }
}

type Head = (Request, usize, usize);

/// The head, its size, and the body's size; nothing while it is not complete; else the status that tells what is wrong.
fn head(bytes: &[u8]) -> Result<Option<Head>, u16> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let size = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(size)) if size <= MAX_HEAD_BYTES => size,
        Ok(httparse::Status::Complete(_)) | Err(httparse::Error::TooManyHeaders) => return Err(431),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(400),
    };
    if parsed.version != Some(1) {
        return Err(505);
    }
    let mut request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    for header in parsed.headers.iter() {
        let value = std::str::from_utf8(header.value).map_err(|_| 400_u16)?;
        request.headers.push((header.name.to_ascii_lowercase(), value.to_owned()));
    }
    if request.headers.iter().any(|(name, _)| name == "transfer-encoding") {
        return Err(501);
    }
    let length = match request.headers.iter().filter(|(name, _)| name == "content-length").count() {
        0 => 0,
        1 => request.header("content-length").and_then(|value| value.parse().ok()).ok_or(400_u16)?,
        _ => return Err(400),
    };
    if length > MAX_BODY_BYTES {
        return Err(413);
    }
    Ok(Some((request, size, length)))
}

/// What is answered.
pub struct Response {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    /// The server's time, as HTTP spells it.
    pub date: String,
    pub request_id: String,
    pub close: bool,
}

impl Response {
    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let connection = if self.close { "close" } else { "keep-alive" };
        let mut out = format!(
            "HTTP/1.1 {} {}\r\nx-amzn-RequestId: {}\r\nDate: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
            self.status,
            reason(self.status),
            self.request_id,
            self.date,
            self.content_type,
            self.body.len(),
        )
        .into_bytes();
        out.extend_from_slice(&self.body);
        out
    }

    /// Sends it whole.
    pub fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        stream.write_all(&self.bytes())?;
        stream.flush()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(mut bytes: &[u8]) -> u16 {
        match read(&mut bytes, &mut Vec::new()) {
            Incoming::Bad(status) => status,
            Incoming::Idle => 0,
            Incoming::Request(_) => 200,
        }
    }

    #[test]
    fn two_requests_in_one_piece_are_two_requests() {
        let mut bytes: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabPOST /x HTTP/1.1\r\n\r\n";
        let mut pending = Vec::new();
        let Incoming::Request(first) = read(&mut bytes, &mut pending) else { panic!() };
        assert_eq!((first.body.as_slice(), first.header("host")), (&b"ab"[..], Some("a")));
        let Incoming::Request(second) = read(&mut bytes, &mut pending) else { panic!() };
        assert_eq!(second.target, "/x");
        assert!(matches!(read(&mut bytes, &mut pending), Incoming::Idle));
    }

    #[test]
    fn what_is_too_large_or_not_http_is_told_by_its_status() {
        assert_eq!(status(b""), 0);
        assert_eq!(status(b"POST / HTTP/1.1\r\nContent-Le"), 408);
        assert_eq!(status(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"), 408);
        assert_eq!(status(b"POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n"), 413);
        assert_eq!(status(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), 400);
        assert_eq!(status(b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), 400);
        assert_eq!(status(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 501);
        assert_eq!(status(b"\x16\x03\x01\x02"), 400);
        assert_eq!(status(&[b"GET / HTTP/1.1\r\nA: ".to_vec(), vec![b'a'; 40_000]].concat()), 431);
        assert_eq!(status(b"GET / HTTP/1.0\r\n\r\n"), 505);
    }
}
