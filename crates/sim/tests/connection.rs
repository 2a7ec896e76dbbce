//! The server's connections: kept, bounded, and only for who trusts its authority and asks for its name.
#![allow(clippy::unwrap_used)]
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sim::kms::{Fault, Server, Settings};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

type Stream = StreamOwned<ClientConnection, TcpStream>;

struct Bench {
    server: Server,
    dir: PathBuf,
}

impl Bench {
    fn start(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("sim-connection-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Self { server: Server::start(&Settings::new(&dir)).unwrap(), dir }
    }

    fn connect(&self, name: &str) -> io::Result<Stream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.server.ca_pem_path()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let mut session = ClientConnection::new(config, ServerName::try_from(name.to_owned()).unwrap()).unwrap();
        let mut stream = TcpStream::connect(self.server.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        session.complete_io(&mut stream)?;
        Ok(StreamOwned::new(session, stream))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Head and body of one answer; empty at the end of the connection.
fn answer(stream: &mut Stream) -> (String, String) {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length =
        head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

const UNSIGNED: &[u8] =
    b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: TrentService.ListKeys\r\nContent-Length: 2\r\n\r\n{}";

#[test]
fn a_connection_is_kept_for_several_requests() {
    let bench = Bench::start("kept");
    let mut stream = bench.connect("localhost").unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        stream.write_all(UNSIGNED).unwrap();
        let (head, body) = answer(&mut stream);
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        assert_eq!(
            body,
            r#"{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}"#
        );
        for name in ["Date: ", "Content-Type: application/x-amz-json-1.1", "x-amzn-RequestId: "] {
            assert!(head.contains(name), "{name}: {head}");
        }
        ids.push(head.lines().find(|line| line.starts_with("x-amzn-RequestId")).unwrap().to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
    let last = String::from_utf8(UNSIGNED.to_vec()).unwrap().replacen("Host", "Connection: close\r\nHost", 1);
    stream.write_all(last.as_bytes()).unwrap();
    assert!(answer(&mut stream).0.contains("Connection: close"));
    assert_eq!(answer(&mut stream).0, "");
}

#[test]
fn what_is_no_request_is_answered_by_a_status_and_the_end() {
    let bench = Bench::start("bad");
    let long = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(40_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(70));
    let table = [
        ("nonsense\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n", "413"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "501"),
        (long.as_str(), "431"),
        (many.as_str(), "431"),
    ];
    for (request, status) in table {
        let mut stream = bench.connect("localhost").unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let (head, _) = answer(&mut stream);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {head}");
        assert_eq!(answer(&mut stream).0, "");
    }
    assert!(bench.server.requests().is_empty());
}

#[test]
fn the_certificate_is_for_its_names_and_for_another_on_demand() {
    let bench = Bench::start("names");
    for name in ["localhost", "127.0.0.1", "kms.eu-central-1.amazonaws.com"] {
        bench.connect(name).unwrap();
    }
    assert!(bench.connect("kms.us-east-1.amazonaws.com").is_err());
    bench.server.faults().next(1, Fault::WrongCertificate);
    let error = bench.connect("localhost").err().unwrap();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    bench.connect("localhost").unwrap();
}

#[test]
fn one_connection_too_many_is_closed_and_the_others_go_on() {
    let bench = Bench::start("many");
    let mut open: Vec<Stream> = (0..128).map(|_| bench.connect("localhost").unwrap()).collect();
    assert!(bench.connect("localhost").is_err());
    open[127].write_all(UNSIGNED).unwrap();
    assert!(answer(&mut open[127]).0.starts_with("HTTP/1.1 400 "));
    open.truncate(100);
    let again = || bench.connect("localhost").is_ok();
    // Their threads need a moment to see that they are gone.
    assert!((0..200).any(|_| again() || {
        std::thread::sleep(Duration::from_millis(20));
        false
    }));
}
