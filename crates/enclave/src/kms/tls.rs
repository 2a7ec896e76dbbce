//! One exchange over TLS that ends in the enclave: dial the parent's proxy, shake hands, ask, read one answer.
use super::http::{HttpError, Response};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Opens a byte stream to the parent's proxy within a time.
pub type Dial = Box<dyn Fn(Duration) -> io::Result<UnixStream> + Send + Sync>;

/// Where an exchange failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no stream, or it ended before the other side said a word.
    NoRoute(io::Error),
    /// The other side is not who it should be, or does not speak TLS.
    Tls(rustls::Error),
    /// The connection broke.
    Broken(io::Error),
    /// The answer is not HTTP.
    Malformed(&'static str),
}

/// TLS 1.3 and 1.2 (FIPS hosts of some regions have no 1.3), these roots, no client certificate, no key log.
pub(super) fn config(roots: Arc<RootCertStore>) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Sends a request and reads its answer, all before the deadline.
pub(super) fn exchange(
    dial: &Dial,
    config: &Arc<ClientConfig>,
    host: &str,
    request: &[u8],
    deadline: Instant,
) -> Result<Response, Failure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::Tls(rustls::Error::General("the host is no name".to_owned())))?;
    let mut connection = ClientConnection::new(Arc::clone(config), name).map_err(Failure::Tls)?;
    let stream = dial(deadline.saturating_duration_since(Instant::now())).map_err(Failure::NoRoute)?;
    let mut stream = Timed { stream, deadline, received: false };
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut stream) {
            return Err(if stream.received { failure(error) } else { Failure::NoRoute(error) });
        }
    }
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(request).and_then(|()| stream.flush()).map_err(failure)?;
    Response::read(&mut stream).map_err(|error| match error {
        HttpError::Io(error) => failure(error),
        HttpError::Malformed(what) => Failure::Malformed(what),
    })
}

fn failure(error: io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => Failure::Tls(tls.clone()),
        None => Failure::Broken(error),
    }
}

/// A stream whose every read and write ends at one deadline: a peer that drips bytes gains no time.
struct Timed {
    stream: UnixStream,
    deadline: Instant,
    received: bool,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // A time-out of zero would mean none.
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        let count = self.stream.read(buffer).map_err(timed_out)?;
        self.received |= count > 0;
        Ok(count)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
