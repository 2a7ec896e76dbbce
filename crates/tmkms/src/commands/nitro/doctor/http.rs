//! One plain HTTP GET to a node, bounded in time and size. The answer may be anybody's.
use crate::commands::nitro::asking::plain;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// The longest answer with its headers, in bytes.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// The longest head, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How long a connect may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// A node's RPC server: `http://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server(String);

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = |got: &str| format!("expected http://HOST:PORT, such as http://127.0.0.1:26657, got {got}");
        if text.starts_with("https://") {
            return Err(expected("https: give the node's own address, on this machine or in a private network"));
        }
        let place =
            text.strip_prefix("http://").or_else(|| text.strip_prefix("tcp://")).map(|rest| rest.trim_end_matches('/'));
        let place = place.ok_or_else(|| expected(&format!("{text:?}")))?;
        let (host, port) = place.rsplit_once(':').ok_or_else(|| expected("no port"))?;
        let is_name =
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let is_place = place.parse::<SocketAddr>().is_ok() || is_name;
        if !is_place || port.parse::<u16>().ok().is_none_or(|port| port == 0) {
            return Err(expected(&format!("{text:?}")));
        }
        Ok(Self(place.to_owned()))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

/// How the end of a body is known.
enum Body {
    Length(usize),
    Chunks,
    ToTheEnd,
}

struct Head {
    status: u16,
    /// Where the body begins.
    start: usize,
    body: Body,
}

impl Server {
    /// The body of an answer with status 200.
    ///
    /// # Errors
    /// Why there is none, safe on a terminal.
    pub(super) fn get(&self, path: &str, limit: Duration) -> Result<Vec<u8>, String> {
        let until = Instant::now() + limit;
        let mut stream = self.connect(limit.min(CONNECT_LIMIT)).map_err(|error| words(&error, limit))?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nConnection: close\r\n\r\n", self.0);
        let sent = stream.set_write_timeout(Some(limit)).and_then(|()| stream.write_all(request.as_bytes()));
        sent.map_err(|error| words(&error, limit))?;
        receive(&mut stream, until, limit)
    }

    fn connect(&self, limit: Duration) -> io::Result<TcpStream> {
        let mut last = io::Error::other("the name stands for no address");
        for address in self.0.to_socket_addrs()?.take(4) {
            match TcpStream::connect_timeout(&address, limit) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn words(error: &io::Error, limit: Duration) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("no whole answer within {} s", limit.as_secs_f64())
        }
        _ => error.to_string(),
    }
}

fn receive(stream: &mut TcpStream, until: Instant, limit: Duration) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    let mut head: Option<Head> = None;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(words(&io::ErrorKind::TimedOut.into(), limit));
        }
        stream.set_read_timeout(Some(left)).map_err(|error| error.to_string())?;
        let count = match stream.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other.map_err(|error| words(&error, limit))?,
        };
        bytes.extend_from_slice(&chunk[..count]);
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(format!("expected an answer of at most {MAX_ANSWER_BYTES} bytes, got a longer one"));
        }
        if head.is_none() {
            head = read_head(&bytes)?;
        }
        let Some(head) = &head else {
            if count == 0 || bytes.len() > MAX_HEAD_BYTES {
                return Err("expected HTTP, got something else, or half an answer".to_owned());
            }
            continue;
        };
        if let Some(body) = body(head, &bytes[head.start..], count == 0)? {
            return if head.status == 200 {
                Ok(body)
            } else {
                Err(format!("expected status 200, got {}", head.status))
            };
        }
    }
}

fn read_head(bytes: &[u8]) -> Result<Option<Head>, String> {
    let garbage = || "expected HTTP, got something else".to_owned();
    if bytes.iter().zip(b"HTTP/1.").any(|(got, expected)| got != expected) {
        return Err(garbage());
    }
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| garbage())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(garbage)?;
    let header = |name: &str| {
        let mut pairs = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        pairs.find(|(known, _)| known.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let body = if header("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        Body::Chunks
    } else if let Some(length) = header("Content-Length") {
        let number = length.parse().ok().filter(|length| *length <= MAX_ANSWER_BYTES);
        Body::Length(number.ok_or_else(|| {
            format!(
                "expected an answer of at most {MAX_ANSWER_BYTES} bytes, got Content-Length {}",
                plain(&length.chars().take(20).collect::<String>())
            )
        })?)
    } else {
        Body::ToTheEnd
    };
    Ok(Some(Head { status, start: end + 4, body }))
}

/// The body, once it is whole.
fn body(head: &Head, bytes: &[u8], is_end: bool) -> Result<Option<Vec<u8>>, String> {
    let whole = match head.body {
        Body::Length(length) => bytes.get(..length).map(<[u8]>::to_vec),
        Body::Chunks if is_end || bytes.ends_with(b"0\r\n\r\n") => chunks(bytes)?,
        Body::ToTheEnd if is_end => Some(bytes.to_vec()),
        Body::Chunks | Body::ToTheEnd => None,
    };
    if whole.is_none() && is_end {
        return Err("expected a whole answer, got its beginning: the connection ended".to_owned());
    }
    Ok(whole)
}

/// A chunked body, if it is whole (RFC 9112, 7.1); trailers are not read.
fn chunks(mut rest: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let garbage = || "expected chunks of an answer, got something else".to_owned();
    let mut body = Vec::with_capacity(rest.len());
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| garbage())?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length =
            usize::from_str_radix(digits, 16).ok().filter(|length| *length <= MAX_ANSWER_BYTES).ok_or_else(garbage)?;
        rest = &rest[end + 2..];
        if length == 0 {
            return Ok(Some(body));
        }
        let Some(chunk) = rest.get(..length + 2) else { return Ok(None) };
        body.extend_from_slice(&chunk[..length]);
        rest = &rest[length + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn a_node_is_named_by_host_and_port_and_by_nothing_else() {
        let read = |text: &str| text.parse::<Server>().map(|server| server.to_string());
        for (text, expected) in [
            ("http://127.0.0.1:26657", "http://127.0.0.1:26657"),
            ("tcp://localhost:26657/", "http://localhost:26657"),
            ("http://[::1]:1", "http://[::1]:1"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected));
        }
        for text in [
            "",
            "127.0.0.1:26657",
            "http://host",
            "http://:1",
            "http://h:0",
            "http://h:99999",
            "http://h:1/status",
            "http://a b:1",
            "http://a\r\nX:1",
        ] {
            assert!(read(text).unwrap_err().contains("expected http://HOST:PORT"), "{text}");
        }
        assert!(read("https://h:1").unwrap_err().contains("the node's own address"));
    }

    /// What comes of a server's answer, which it gives in two halves.
    fn of(answer: &[u8], pause: Duration) -> Result<Vec<u8>, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server: Server = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let answer = answer.to_vec();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            let count = stream.read(&mut asked).unwrap();
            assert!(asked[..count].starts_with(b"GET /status HTTP/1.1\r\nHost: 127.0.0.1:"));
            let (first, second) = answer.split_at(answer.len() / 2);
            let _ = stream.write_all(first);
            thread::sleep(pause);
            let _ = stream.write_all(second);
        });
        let got = server.get("/status", Duration::from_secs(2));
        thread.join().unwrap();
        got
    }

    #[test]
    fn an_answer_is_read_by_its_length_by_its_chunks_or_to_its_end() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello, and more",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nhello",
        ] {
            assert_eq!(of(answer.as_bytes(), Duration::ZERO), Ok(b"hello".to_vec()), "{answer}");
        }
    }

    #[test]
    fn garbage_halves_other_statuses_what_is_huge_and_what_is_slow_are_errors() {
        let long = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_ANSWER_BYTES));
        for (answer, expected) in [
            ("", "half an answer"),
            ("SSH-2.0-OpenSSH_9.2\r\n", "expected HTTP, got something else"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", "got its beginning"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "got its beginning"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello0\r\n\r\n", "expected chunks"),
            ("HTTP/1.1 503 Sorry\r\nContent-Length: 0\r\n\r\n", "expected status 200, got 503"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
                "at most 4194304 bytes, got Content-Length 99999999999",
            ),
            (&long, "at most 4194304 bytes, got a longer one"),
        ] {
            let error = of(answer.as_bytes(), Duration::ZERO).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let slow = of(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Duration::from_secs(4));
        assert_eq!(slow.unwrap_err(), "no whole answer within 2 s");
    }
}
