//! One answer of HTTP/1.1 (RFC 9112), read strictly and within bounds: what is unusual is refused and not guessed.
use super::time::http_date;
use std::fmt;
use std::io::{self, Read};
use std::time::SystemTime;
use zeroize::Zeroizing;

/// The longest status line and headers together, in bytes. KMS's have about 400.
pub const MAX_HEAD_BYTES: usize = 8 * 1024;
/// The longest body, in bytes: a plaintext of 4 KiB in CMS and base64 has about 7 KiB.
pub const MAX_BODY_BYTES: usize = 32 * 1024;
const MAX_HEADERS: usize = 64;
const MAX_CHUNK_LINE_BYTES: usize = 256;
const MAX_TRAILER_BYTES: usize = 1024;
const READ_BYTES: usize = 4096;

/// An answer. No `Debug`: its body may be a key.
pub struct Response {
    /// The status, 200 to 599.
    pub status: u16,
    /// The Date header, where there is a valid one.
    pub date: Option<SystemTime>,
    /// The header x-amzn-errortype, where it is text.
    pub error_type: Option<String>,
    /// The body. Zeroized, as a KMS that ignores the recipient sends the plaintext.
    pub body: Zeroizing<Vec<u8>>,
}

/// Why an answer could not be read.
#[derive(Debug)]
pub enum HttpError {
    /// The connection failed or ended early.
    Io(io::Error),
    /// It is not an answer that this client takes.
    Malformed(&'static str),
}

impl From<io::Error> for HttpError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Malformed(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for HttpError {}

enum Framing {
    Length(usize),
    Chunked,
}

impl Response {
    /// Reads one answer and nothing behind it.
    ///
    /// # Errors
    /// The connection fails, or the answer is not well formed or too long.
    pub fn read(connection: impl Read) -> Result<Self, HttpError> {
        let mut source = Source::new(connection);
        let head = source.head()?;
        let (mut response, framing) = parse_head(&head)?;
        response.body = match framing {
            Framing::Length(length) => {
                // Its room at once: a buffer that grows leaves copies behind.
                let mut body = Zeroizing::new(Vec::with_capacity(length));
                source.take(length, &mut body)?;
                body
            }
            Framing::Chunked => source.chunks()?,
        };
        Ok(response)
    }
}

fn parse_head(head: &[u8]) -> Result<(Response, Framing), HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        _ => return Err(HttpError::Malformed("its head is not HTTP/1.1")),
    }
    let status = match (parsed.version, parsed.code) {
        (Some(1), Some(status @ 200..=599)) => status,
        _ => return Err(HttpError::Malformed("expected HTTP/1.1 with a status from 200 to 599")),
    };
    let framing = framing(parsed.headers)?;
    let value = |name| single(parsed.headers, name);
    let error_type = value("x-amzn-errortype")?.and_then(|text| std::str::from_utf8(text).ok()).map(str::to_owned);
    let date = value("date")?.and_then(http_date);
    Ok((Response { status, date, error_type, body: Zeroizing::new(Vec::new()) }, framing))
}

/// How long the body is. Two lengths, or none, are how answers are smuggled: refused.
fn framing(headers: &[httparse::Header<'_>]) -> Result<Framing, HttpError> {
    match (single(headers, "content-length")?, single(headers, "transfer-encoding")?) {
        (Some(length), None) => {
            let is_number = (1..=8).contains(&length.len()) && length.iter().all(u8::is_ascii_digit);
            let text = std::str::from_utf8(length).ok().filter(|_| is_number);
            match text.and_then(|text| text.parse().ok()) {
                Some(length) if length <= MAX_BODY_BYTES => Ok(Framing::Length(length)),
                Some(_) => Err(HttpError::Malformed("its body is too long")),
                None => Err(HttpError::Malformed("its content-length is no number")),
            }
        }
        (None, Some(encoding)) if encoding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (None, Some(_)) => Err(HttpError::Malformed("its transfer-encoding is not chunked")),
        (Some(_), Some(_)) => Err(HttpError::Malformed("it has both content-length and transfer-encoding")),
        (None, None) => Err(HttpError::Malformed("it has neither content-length nor transfer-encoding")),
    }
}

/// The value of a header that may stand once.
fn single<'h>(headers: &[httparse::Header<'h>], name: &str) -> Result<Option<&'h [u8]>, HttpError> {
    let mut found = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    match (found.next(), found.next()) {
        (first, None) => Ok(first.map(|header| header.value)),
        (_, Some(_)) => Err(HttpError::Malformed("a header stands twice")),
    }
}

/// A connection with a buffer of a fixed size.
struct Source<R> {
    connection: R,
    buffer: Zeroizing<Vec<u8>>,
    next: usize,
    end: usize,
}

impl<R: Read> Source<R> {
    fn new(connection: R) -> Self {
        Self { connection, buffer: Zeroizing::new(vec![0; READ_BYTES]), next: 0, end: 0 }
    }

    /// What is buffered, at least one byte.
    fn buffered(&mut self) -> Result<&[u8], HttpError> {
        while self.next == self.end {
            match self.connection.read(&mut self.buffer) {
                Ok(0) => return Err(HttpError::Io(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => (self.next, self.end) = (0, count.min(READ_BYTES)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(&self.buffer[self.next..self.end])
    }

    fn byte(&mut self) -> Result<u8, HttpError> {
        let byte = self.buffered()?[0];
        self.next += 1;
        Ok(byte)
    }

    fn take(&mut self, mut count: usize, out: &mut Vec<u8>) -> Result<(), HttpError> {
        while count > 0 {
            let buffered = self.buffered()?;
            let taken = buffered.len().min(count);
            out.extend_from_slice(&buffered[..taken]);
            self.next += taken;
            count -= taken;
        }
        Ok(())
    }

    /// Up to and with the empty line.
    fn head(&mut self) -> Result<Vec<u8>, HttpError> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() == MAX_HEAD_BYTES {
                return Err(HttpError::Malformed("its head is too long"));
            }
            head.push(self.byte()?);
        }
        Ok(head)
    }

    /// A line without its end.
    fn line(&mut self, max_bytes: usize) -> Result<Vec<u8>, HttpError> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if line.len() == max_bytes {
                return Err(HttpError::Malformed("a line of its chunks is too long"));
            }
            line.push(self.byte()?);
        }
        line.truncate(line.len() - 2);
        Ok(line)
    }

    fn chunks(&mut self) -> Result<Zeroizing<Vec<u8>>, HttpError> {
        let mut body = Zeroizing::new(Vec::with_capacity(MAX_BODY_BYTES));
        loop {
            let size = chunk_size(&self.line(MAX_CHUNK_LINE_BYTES)?)?;
            if size == 0 {
                self.trailers()?;
                return Ok(body);
            }
            if size > MAX_BODY_BYTES - body.len() {
                return Err(HttpError::Malformed("its body is too long"));
            }
            self.take(size, &mut body)?;
            if (self.byte()?, self.byte()?) != (b'\r', b'\n') {
                return Err(HttpError::Malformed("a chunk does not end where it says"));
            }
        }
    }

    /// Trailers are read and not used.
    fn trailers(&mut self) -> Result<(), HttpError> {
        let mut left = MAX_TRAILER_BYTES;
        loop {
            let line = self.line(left)?;
            if line.is_empty() {
                return Ok(());
            }
            left = left.saturating_sub(line.len() + 2);
        }
    }
}

fn chunk_size(line: &[u8]) -> Result<usize, HttpError> {
    let digits = line.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next().unwrap_or_default();
    let is_number = (1..=8).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number);
    text.and_then(|text| usize::from_str_radix(text, 16).ok())
        .ok_or(HttpError::Malformed("a chunk's size is no number"))
}

#[cfg(test)]
mod tests;
