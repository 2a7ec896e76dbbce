//! Runs in a guest: leads TCP connections to a Unix socket, for programs of the host that reach the guest through a forwarded port.
//! `guest-relay PORT SOCKET`
use anyhow::{Context, Result};
use e2e::guest::relay::join;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [port, socket] = &words[..] else { anyhow::bail!("expected PORT SOCKET, got {words:?}") };
    let port: u16 = port.parse().with_context(|| format!("{port} is no port"))?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).context("cannot listen")?;
    for stream in listener.incoming() {
        let (stream, socket) = (stream?, socket.clone());
        // Nobody there: the connection ends.
        std::thread::spawn(move || UnixStream::connect(socket).and_then(|unix| join(&unix, &stream)));
    }
    Ok(())
}
