//! One GET to a node's RPC server.
use host::http::{self, Answer, Bounds, HttpError, Request};
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest answer with its headers, in bytes.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// The most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;

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

impl Server {
    /// The body of an answer with status 200.
    ///
    /// # Errors
    /// Why there is none, safe on a terminal.
    pub(super) fn get(&self, path: &str, limit: Duration) -> Result<Zeroizing<Vec<u8>>, String> {
        let request = Request { method: "GET", host: &self.0, path, headers: &[] };
        let addresses = self.0.to_socket_addrs().map_err(|error| error.to_string())?;
        let mut last = "the name stands for no address".to_owned();
        for address in addresses.take(MAX_ADDRESSES) {
            match http::send(address, &request, Bounds { time: limit, bytes: MAX_ANSWER_BYTES }) {
                Ok(Answer { status: 200, body }) => return Ok(body),
                Ok(Answer { status, .. }) => return Err(format!("expected status 200, got {status}")),
                // A name may stand for an address that nobody listens on.
                Err(HttpError::Io(error)) => last = error.to_string(),
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
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
    fn of(answer: &[u8], pause: Duration) -> Result<Zeroizing<Vec<u8>>, String> {
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
            assert_eq!(of(answer.as_bytes(), Duration::ZERO), Ok(Zeroizing::new(b"hello".to_vec())), "{answer}");
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
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "at most 4194304 bytes, got a longer one"),
            (&long, "at most 4194304 bytes, got a longer one"),
        ] {
            let error = of(answer.as_bytes(), Duration::ZERO).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let slow = of(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Duration::from_secs(4));
        assert_eq!(slow.unwrap_err(), "no whole answer within 2 s");
    }
}
