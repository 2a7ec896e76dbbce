//! Unix sockets in Firecracker's convention: paths, connecting, and the line that asks for a port.
use super::Stream;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::Timeout;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The longest line of the convention with its end, in bytes.
const MAX_LINE_BYTES: usize = 32;
/// How long whoever connected may take to say which port it wants.
const LINE_LIMIT: Duration = Duration::from_secs(1);
/// How long another program that starts in the same folder is waited for.
const LOCK_LIMIT: Duration = Duration::from_secs(2);
/// The same at a listener's end, which nobody should have to wait for.
const END_LOCK_LIMIT: Duration = Duration::from_millis(200);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// `U_P`.
pub(super) fn port_path(base: &Path, port: u32) -> PathBuf {
    let mut path = base.as_os_str().to_owned();
    path.push(format!("_{port}"));
    path.into()
}

fn address(path: &Path) -> io::Result<SocketAddrUnix> {
    SocketAddrUnix::new(path).map_err(|_| {
        let text = format!("{}: expected a path of at most 107 bytes for a Unix socket", path.display());
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}

fn socket() -> io::Result<OwnedFd> {
    Ok(net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

/// Connects, waiting at most `limit` where the listener's queue is full.
pub(super) fn connect(path: &Path, limit: Duration) -> io::Result<Stream> {
    let socket = socket()?;
    // The time-out of sending is also that of a connect: unix(7) has no other. Zero would mean none.
    net::sockopt::set_socket_timeout(&socket, Timeout::Send, Some(limit.max(Duration::from_micros(1))))?;
    let address = address(path)?;
    match rustix::io::retry_on_intr(|| net::connect(&socket, &address)) {
        Ok(()) => {}
        Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
        Err(error) => return Err(error.into()),
    }
    net::sockopt::set_socket_timeout(&socket, Timeout::Send, None)?;
    Ok(socket.into())
}

/// Connects to `U` and asks for the port.
pub(super) fn connect_through(base: &Path, port: u32, limit: Duration) -> io::Result<Stream> {
    let until = super::deadline(limit);
    let mut stream = connect(base, limit)?;
    stream.set_write_timeout(Some(limit.max(Duration::from_micros(1))))?;
    stream.write_all(format!("CONNECT {port}\n").as_bytes())?;
    let line = match read_line(&mut stream, until) {
        Err(error) if is_hang_up(&error) => {
            let text = format!("the emulated enclave {} does not listen on port {port}", base.display());
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, text));
        }
        line => line?,
    };
    if line.strip_prefix("OK ").is_none_or(|number| number.parse::<u32>().is_err()) {
        let text = format!("{}: expected \"OK <number>\", got {line:?}", base.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    Ok(stream)
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// The enclave's half: whether whoever connected asks for that port. What asks for another is to be closed.
pub(super) fn answer(stream: &mut Stream, port: u32) -> io::Result<bool> {
    static NUMBER: AtomicU32 = AtomicU32::new(1 << 30);
    let line = read_line(stream, Instant::now() + LINE_LIMIT)?;
    if line.strip_prefix("CONNECT ").and_then(|asked| asked.parse().ok()) != Some(port) {
        return Ok(false);
    }
    stream.set_write_timeout(Some(LINE_LIMIT))?;
    stream.write_all(format!("OK {}\n", NUMBER.fetch_add(1, Relaxed)).as_bytes())?;
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    Ok(true)
}

/// Reads a line byte by byte, so that nothing behind it is taken; without its end.
fn read_line(stream: &mut Stream, until: Instant) -> io::Result<String> {
    let mut line = Vec::with_capacity(MAX_LINE_BYTES);
    while line.len() < MAX_LINE_BYTES {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let mut byte = [0];
        stream.read_exact(&mut byte).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => error,
        })?;
        if byte[0] == b'\n' {
            let invalid = |_| io::Error::new(io::ErrorKind::InvalidData, "expected a line of text");
            return String::from_utf8(line).map_err(invalid);
        }
        line.push(byte[0]);
    }
    let text = format!("expected a line of at most {MAX_LINE_BYTES} bytes");
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

/// A socket's path, removed when its listener ends, if it is still this one.
pub(super) struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Without the lock the socket stays, dead: whoever listens there next replaces it.
        let Ok(_lock) = lock_folder(&self.path, END_LOCK_LIMIT) else { return };
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at the path with mode 0600. A socket that a dead process left is replaced, one that is listened on never.
pub(super) fn listen(path: &Path) -> io::Result<(OwnedFd, Place)> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot listen at {}: {error}", path.display()));
    // Between looking and listening nobody else may do the same: both would find the same dead socket.
    let _lock = lock_folder(path, LOCK_LIMIT).map_err(named)?;
    remove_dead(path).map_err(named)?;
    let socket = socket()?;
    // bind(2) makes the file with the mode that the socket has by then: there is no moment in which others can connect.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    net::bind(&socket, &address(path)?).map_err(|error| named(error.into()))?;
    let made = fs::symlink_metadata(path).map_err(named)?;
    let place = Place { path: path.to_owned(), device: made.dev(), inode: made.ino() };
    net::listen(&socket, super::listener::BACKLOG)?;
    Ok((socket, place))
}

/// Removes a socket that nobody listens on.
fn remove_dead(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        let text = "something that is no socket is there: move it away, or choose another path";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    match connect(path, Duration::from_millis(100)) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another program listens there: stop it, or take another port",
        )),
    }
}

/// Locks the folder that the path is in, until the file is closed.
fn lock_folder(path: &Path, limit: Duration) -> io::Result<OwnedFd> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let until = Instant::now() + limit;
    loop {
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(folder),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < until => thread::sleep(LOCK_PAUSE),
            Err(Errno::WOULDBLOCK) => {
                let text = "another program keeps the folder locked: see which one with `lsof`, and stop it";
                return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
            }
            Err(error) => return Err(error.into()),
        }
    }
}
