//! What is seen from outside: a small HTTP server for Prometheus metrics, health and status.
//!
//! It serves GET of three fixed paths and nothing else. Everything is bounded: the bytes of a request, the time that a
//! client may take, and how many are served at once; a client that is too slow or too many costs the signer nothing.
use crate::config::MetricsSettings;
use crate::failure::{Exit, Failure};
use crate::logging;
use log::{info, warn};
use signer::Metrics;
use signer::metrics::{CONTENT_TYPE, Snapshot};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// The longest request with its headers, in bytes.
const MAX_REQUEST_BYTES: usize = 8 * 1024;
/// How long a client may take for its request, and again for taking the answer.
const CLIENT_LIMIT: Duration = Duration::from_secs(5);
/// How many clients are served at once; further ones are hung up on.
const MAX_CLIENTS: usize = 8;
/// The stack of a client's thread, in bytes.
const STACK_BYTES: usize = 192 * 1024;
/// After a failed accept (too many open files), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is served: the signer's own, or those of an enclave.
pub(crate) trait Pages: Send + Sync + 'static {
    /// Prometheus' text.
    fn metrics(&self) -> Answer;
    /// For probes: fails when votes stop, not only when the connection does.
    fn health(&self) -> Answer;
    /// For `tmkms status`: JSON.
    fn status(&self) -> Answer;
}

/// Serves this process's signer.
pub(crate) fn start(settings: MetricsSettings, metrics: &Arc<Metrics>) -> Result<(), Failure> {
    let MetricsSettings { listen, unhealthy_after } = settings;
    let pages = Own { metrics: Arc::clone(metrics), unhealthy_after };
    serve(listen, Arc::new(pages), "as `listen` in [metrics]")
}

/// Binds the address and serves it on a thread of its own, as long as the process lives. `where_named` says for a remedy
/// how another address is named.
pub(crate) fn serve(listen: SocketAddr, pages: Arc<dyn Pages>, where_named: &'static str) -> Result<(), Failure> {
    let fail = |what: &str, error: &io::Error| {
        let message = format!("cannot {what} the metrics on {listen}: {error}");
        Failure::new(Exit::Runtime, message, bind_help(listen, where_named, error.kind()))
    };
    let socket = TcpListener::bind(listen).map_err(|error| fail("serve", &error))?;
    let address = socket.local_addr().map_err(|error| fail("serve", &error))?;
    thread::Builder::new()
        .name("metrics".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || accept(&socket, &pages))
        .map_err(|error| fail("start a thread for", &error))?;
    info!(listen = address.to_string().as_str(); "metrics on http://{address}/metrics");
    Ok(())
}

/// What to do where an address cannot be listened on.
fn bind_help(listen: SocketAddr, where_named: &str, kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::AddrInUse => format!("free the port, or name another one {where_named}"),
        io::ErrorKind::AddrNotAvailable => format!(
            "no network interface of this host has the address {}: name one of its own {where_named}, such as 127.0.0.1:{}",
            listen.ip(),
            listen.port()
        ),
        io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 are for privileged users: name a higher one {where_named}")
        }
        _ => String::new(),
    }
}

struct Own {
    metrics: Arc<Metrics>,
    unhealthy_after: Duration,
}

/// One of at most [`MAX_CLIENTS`].
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(taken));
        (taken.fetch_add(1, SeqCst) < MAX_CLIENTS).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

fn accept(socket: &TcpListener, pages: &Arc<dyn Pages>) {
    let taken = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match socket.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!("cannot accept a metrics client: {error}");
                thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        // Both a full house and a missing thread end in a closed connection, which the client can repeat.
        let Some(place) = Place::take(&taken) else { continue };
        let pages = Arc::clone(pages);
        let _ = thread::Builder::new().name("metrics client".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            let _place = place;
            // A client that hangs up or is too slow is no news.
            let _ = answer_client(&stream, &*pages);
        });
    }
}

fn answer_client(stream: &TcpStream, pages: &dyn Pages) -> io::Result<()> {
    let answer = match read_request(stream)? {
        Some(line) => answer(pages, &line),
        None => Answer::text("400 Bad Request", "expected a GET request of at most 8 KiB\n"),
    };
    stream.set_write_timeout(Some(CLIENT_LIMIT))?;
    let mut stream = stream;
    stream.write_all(&answer.to_bytes())
}

/// Reads up to the blank line and returns the first line; none if it is no such request.
fn read_request(mut stream: &TcpStream) -> io::Result<Option<String>> {
    let until = Instant::now() + CLIENT_LIMIT;
    let mut bytes = Vec::with_capacity(MAX_REQUEST_BYTES);
    let mut chunk = [0; 1024];
    while !ends_headers(&bytes) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut chunk)?;
        bytes.extend_from_slice(&chunk[..count]);
        if count == 0 || bytes.len() > MAX_REQUEST_BYTES {
            return Ok(None);
        }
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(std::str::from_utf8(line).ok().map(|line| line.trim_end().to_owned()))
}

fn ends_headers(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|four| four == b"\r\n\r\n") || bytes.windows(2).any(|two| two == b"\n\n")
}

/// What a client gets.
pub(crate) struct Answer {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

impl Answer {
    pub(crate) fn text(status: &'static str, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }

    pub(crate) fn ok(content_type: &'static str, body: String) -> Self {
        Self { status: "200 OK", content_type, body }
    }

    /// It cannot be told, or it is not well.
    pub(crate) fn unavailable(body: impl Into<String>) -> Self {
        Self::text("503 Service Unavailable", body)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let Self { status, content_type, body } = self;
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
             Connection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

fn answer(pages: &dyn Pages, request_line: &str) -> Answer {
    let mut words = request_line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    match (method, path) {
        ("GET", "/metrics") => pages.metrics(),
        ("GET", "/healthz") => pages.health(),
        ("GET", "/status") => pages.status(),
        ("GET", "/") => Answer::text("200 OK", "tmkms: see /metrics, /healthz and /status\n"),
        ("GET", _) => Answer::text("404 Not Found", "expected /metrics, /healthz or /status\n"),
        _ => Answer::text("405 Method Not Allowed", "expected GET\n"),
    }
}

impl Own {
    fn snapshot(&self) -> Snapshot {
        self.metrics.snapshot(self.unhealthy_after)
    }
}

impl Pages for Own {
    fn metrics(&self) -> Answer {
        Answer::ok(CONTENT_TYPE, self.metrics.render() + &logging::metrics())
    }

    fn health(&self) -> Answer {
        let snapshot = self.snapshot();
        if snapshot.healthy {
            Answer::text("200 OK", snapshot.health())
        } else {
            Answer::unavailable(snapshot.health())
        }
    }

    fn status(&self) -> Answer {
        match serde_json::to_string(&self.snapshot()) {
            Ok(body) => Answer::ok("application/json", body),
            Err(error) => Answer::text("500 Internal Server Error", format!("{error}\n")),
        }
    }
}

/// The address that a client of this host reaches a listener at.
pub(crate) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        std::net::IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
