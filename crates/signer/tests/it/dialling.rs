//! Dialling: limits, names, and sockets that would connect to themselves.
use crate::node::{Folder, Listener};
use signer::Endpoint;
use signer::connection::Socket;
use std::io;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(300);

fn dial(address: &str) -> io::Result<Socket> {
    Socket::dial(&address.parse::<Endpoint>().unwrap(), SHORT)
}

#[test]
fn a_name_is_resolved_and_each_of_its_addresses_tried() {
    let listener = Listener::tcp();
    let port = listener.address().rsplit(':').next().unwrap().to_owned();
    // localhost is ::1 first on many machines, where nothing listens.
    dial(&format!("tcp://localhost:{port}")).unwrap();
    listener.accept_raw();
}

#[test]
fn a_full_backlog_of_a_unix_socket_does_not_hold_the_dialler() {
    let folder = Folder::new();
    let path = folder.0.join("full.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let address = format!("unix://{}", path.display());
    let begun = Instant::now();
    let mut open = Vec::new();
    // The standard library listens with a backlog of 4096 at most, or what the system allows.
    let error = loop {
        match dial(&address) {
            Ok(socket) => open.push(socket),
            Err(error) => break error,
        }
        if open.len() > 900 {
            return; // The backlog is larger than the number of files that a process may open by default.
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_missing_socket_a_closed_port_and_an_unknown_name_are_errors() {
    assert_eq!(dial("unix:///nonexistent/node.sock").unwrap_err().kind(), io::ErrorKind::NotFound);
    let closed = Listener::tcp().address();
    assert_eq!(dial(&closed).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert!(dial("tcp://name.invalid:1").is_err());
}

/// Dials ports of the ephemeral range, where the system may give the socket the very port that it dials.
#[test]
fn a_socket_is_never_connected_to_itself() {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let low: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    let port = low + 1716;
    for _ in 0..100_000 {
        if let Ok(Socket::Tcp(stream)) = dial(&format!("tcp://127.0.0.1:{port}")) {
            assert_ne!(stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        }
    }
}
