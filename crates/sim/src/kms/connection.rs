//! One connection: TLS, request after request, each answered on this thread.
use super::http::{self, Incoming, Response};
use super::server::Shared;
use super::service::{Delivery, Service};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Between two requests, and between two pieces of one.
const IDLE_TIME: Duration = Duration::from_secs(20);
const WRITE_TIME: Duration = Duration::from_secs(10);
/// A connection ends after this many requests, as the real service's do.
const MAX_REQUESTS: usize = 1000;

/// Serves until the peer hangs up, is idle for long, sends what is no HTTP, or the server stops.
pub fn serve(stream: TcpStream, config: Arc<ServerConfig>, service: &Service, shared: &Shared) {
    // An error here is the peer's end of the connection; there is nobody to tell.
    let _ = converse(stream, config, service, shared);
}

fn converse(stream: TcpStream, config: Arc<ServerConfig>, service: &Service, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE_TIME))?;
    stream.set_write_timeout(Some(WRITE_TIME))?;
    let session = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, stream);
    let mut pending = Vec::new();
    for _ in 0..MAX_REQUESTS {
        let request = match http::read(&mut stream, &mut pending) {
            Incoming::Request(request) => request,
            Incoming::Idle => break,
            Incoming::Bad(status) => {
                refuse(status, service).write(&mut stream)?;
                break;
            }
        };
        let mut delivery = service.serve(&request);
        if let Some(complaint) = service.faults.complaint() {
            eprintln!("{complaint}");
        }
        if !pause(delivery.wait, shared) || shared.stopping.load(Ordering::SeqCst) {
            delivery.response.close = true;
        }
        send(&mut stream, &delivery)?;
        if delivery.response.close {
            break;
        }
    }
    stream.conn.send_close_notify();
    stream.flush()
}

fn send(stream: &mut StreamOwned<ServerConnection, TcpStream>, delivery: &Delivery) -> io::Result<()> {
    if !delivery.half {
        return delivery.response.write(stream);
    }
    let bytes = delivery.response.bytes();
    stream.write_all(&bytes[..bytes.len() - delivery.response.body.len().div_ceil(2)])?;
    stream.flush()?;
    stream.sock.shutdown(Shutdown::Both)?;
    Err(io::ErrorKind::ConnectionAborted.into())
}

/// Waits, but not longer than the server lives.
fn pause(time: Duration, shared: &Shared) -> bool {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        if shared.stopping.load(Ordering::SeqCst) {
            return false;
        }
        std::thread::sleep(left.min(Duration::from_millis(20)));
    }
    true
}

fn refuse(status: u16, service: &Service) -> Response {
    Response {
        status,
        content_type: "text/plain",
        body: Vec::new(),
        date: super::clock::http(service.now()),
        request_id: super::keys::random_id().unwrap_or_default(),
        close: true,
    }
}
