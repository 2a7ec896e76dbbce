//! vsock sockets: `sockaddr_vm` of `linux/vm_sockets.h`, which rustix does not have. The only unsafe code here.
use super::Stream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{self, AddressFamily, SocketAddrAny, SocketFlags, SocketType};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// `VMADDR_CID_ANY`: any of this machine's own.
const CID_ANY: u32 = u32::MAX;

/// `struct sockaddr_vm`: 16 bytes.
#[repr(C)]
struct Address {
    family: u16,
    reserved: u16,
    port: u32,
    cid: u32,
    flags: u8,
    zero: [u8; 3],
}

const _: () = assert!(size_of::<Address>() == 16);

impl Address {
    const fn new(cid: u32, port: u32) -> Self {
        Self { family: AddressFamily::VSOCK.as_raw(), reserved: 0, port, cid, flags: 0, zero: [0; 3] }
    }
}

// SAFETY: the closure gets a pointer to the whole of `self`, which lives through the call, and its length; the fields are
// `struct sockaddr_vm` in the kernel's order, without padding, all initialized.
#[allow(unsafe_code)]
unsafe impl SocketAddrArg for Address {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        const LENGTH: SocketAddrLen = 16;
        f(std::ptr::from_ref(self).cast(), LENGTH)
    }
}

/// The CID in an address that the kernel gave; none if it is no vsock address.
#[allow(unsafe_code)]
fn cid_of(address: &SocketAddrAny) -> Option<u32> {
    let is_whole = usize::try_from(address.addr_len()).is_ok_and(|length| length >= size_of::<Address>());
    if address.address_family() != AddressFamily::VSOCK || !is_whole {
        return None;
    }
    // SAFETY: at least 16 bytes are initialized (rustix's invariant of `addr_len`), every bit pattern is an `Address`, and the
    // read asks for no alignment.
    let address = unsafe { address.as_ptr().cast::<Address>().read_unaligned() };
    Some(address.cid)
}

fn socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    let flags = flags | SocketFlags::CLOEXEC;
    net::socket_with(AddressFamily::VSOCK, SocketType::STREAM, flags, None).map_err(|error| match error {
        Errno::AFNOSUPPORT => io::Error::new(
            io::ErrorKind::Unsupported,
            "this kernel has no vsock (load the module vsock, or use unix:PATH for an emulated enclave)",
        ),
        other => other.into(),
    })
}

/// Connects, and waits for it at most `limit`. (The kernel itself gives up after 2 s where nobody answers.)
pub(super) fn connect(cid: u32, port: u32, limit: Duration) -> io::Result<Stream> {
    attempt(cid, port, limit).map_err(|error| reached_nobody(&error, cid, port).unwrap_or(error))
}

/// The system's errors of a connect in words, where its own ("no such device") would lead astray.
fn reached_nobody(error: &io::Error, cid: u32, port: u32) -> Option<io::Error> {
    let (kind, text) = match Errno::from_io_error(error)? {
        // The kernel's answer to both (`virtio_transport_recv_listen` resets where the queue is full).
        Errno::CONNRESET => {
            let text =
                format!("nobody listens on vsock port {port} of CID {cid}, or too many wait there to be accepted");
            (io::ErrorKind::ConnectionRefused, text)
        }
        Errno::NODEV => (io::ErrorKind::AddrNotAvailable, format!("there is no way to CID {cid} from this machine")),
        _ => return None,
    };
    Some(io::Error::new(kind, text))
}

fn attempt(cid: u32, port: u32, limit: Duration) -> io::Result<Stream> {
    let until = super::deadline(limit);
    let socket = socket(SocketFlags::NONBLOCK)?;
    match net::connect(&socket, &Address::new(cid, port)) {
        Ok(()) => {}
        Err(Errno::INPROGRESS | Errno::INTR) => {
            wait(&socket, until)?;
            net::sockopt::socket_error(&socket)??;
        }
        Err(error) => return Err(error.into()),
    }
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(socket.into())
}

/// Waits until the socket can be written to, or has failed.
fn wait(socket: &OwnedFd, until: Instant) -> io::Result<()> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(socket, PollFlags::OUT)], limit.as_ref()) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Listens on a port, for connections to any CID of this machine.
pub(super) fn listen(port: u32) -> io::Result<OwnedFd> {
    let socket = socket(SocketFlags::empty())?;
    net::bind(&socket, &Address::new(CID_ANY, port)).map_err(|error| named(error, port))?;
    net::listen(&socket, super::listener::BACKLOG)?;
    Ok(socket)
}

fn named(error: Errno, port: u32) -> io::Error {
    let text = match error {
        Errno::ADDRINUSE => format!("vsock port {port} is in use: stop the other program, or take another port"),
        Errno::ACCESS => format!("vsock port {port} is below 1024: start this as root or with CAP_NET_BIND_SERVICE"),
        other => return other.into(),
    };
    io::Error::new(io::Error::from(error).kind(), text)
}

/// Takes a connection, and whose it is; none where the kernel does not say.
pub(super) fn accept(listener: &OwnedFd) -> io::Result<(Stream, Option<u32>)> {
    let (socket, address) = net::acceptfrom_with(listener, SocketFlags::CLOEXEC)?;
    Ok((socket.into(), address.as_ref().and_then(cid_of)))
}

/// Whose connection it is; none if it is no vsock connection.
pub(super) fn peer(stream: &Stream) -> Option<u32> {
    net::getpeername(stream).ok().flatten().as_ref().and_then(cid_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_kernels_and_its_cid_is_read_back() {
        let address = Address::new(0x0102_0304, 5050).as_any();
        assert_eq!((address.addr_len(), address.address_family()), (16, AddressFamily::VSOCK));
        assert_eq!(cid_of(&address), Some(0x0102_0304));
        let other: SocketAddrAny = rustix::net::SocketAddrUnix::new("/x").unwrap().into();
        assert_eq!(cid_of(&other), None);
    }

    #[test]
    fn a_kernel_without_vsock_or_a_cid_that_does_not_answer_is_an_error_within_the_limit() {
        let begun = Instant::now();
        // CID 1 is the loopback, and this port is nobody's.
        assert!(connect(1, 4_000_000_000, Duration::from_millis(300)).is_err());
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
