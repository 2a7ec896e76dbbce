//! Both sides over Unix sockets in Firecracker's convention, and how waiting ends.
#![allow(clippy::unwrap_used)]
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};
use wire::endpoint::{Enclave, Listener, Parent};

const LIMIT: Duration = Duration::from_secs(5);

/// A folder of its own for each test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wire-{}-{}", std::process::id(), COUNT.fetch_add(1, SeqCst));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn base(&self) -> PathBuf {
        self.0.join("enclave")
    }

    fn enclave(&self) -> Enclave {
        Enclave::Unix { base: self.base() }
    }

    fn parent(&self) -> Parent {
        Parent::Unix { base: self.base() }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Sends a word each way.
fn talk(mut one: &UnixStream, mut other: &UnixStream) {
    let mut word = [0; 4];
    one.write_all(b"ping").unwrap();
    other.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"ping");
    other.write_all(b"pong").unwrap();
    one.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"pong");
}

#[test]
fn an_enclave_reaches_a_port_of_its_parent() {
    let folder = Folder::new();
    let listener = Listener::on_parent(Some(&folder.enclave()), 5555).unwrap();
    let there = folder.parent().connect(5555, LIMIT).unwrap();
    let here = listener.accept().unwrap();
    talk(&there, &here);
    let other = folder.parent().connect(5556, LIMIT).unwrap_err();
    assert_eq!(other.kind(), io::ErrorKind::NotFound, "{other}");
}

#[test]
fn a_parent_reaches_the_port_of_its_enclave_and_no_other() {
    let folder = Folder::new();
    let listener = Listener::in_enclave(&folder.parent(), 5050).unwrap();
    let enclave = folder.enclave();
    let parent = thread::spawn(move || {
        let other = enclave.connect(5051, LIMIT).unwrap_err();
        (other, enclave.connect(5050, LIMIT).unwrap())
    });
    let here = listener.accept().unwrap();
    let (other, there) = parent.join().unwrap();
    assert_eq!(other.kind(), io::ErrorKind::ConnectionRefused, "{other}");
    assert!(other.to_string().contains("does not listen on port 5051"), "{other}");
    assert_eq!(listener.refused(), 1);
    talk(&there, &here);
}

#[test]
fn a_line_that_asks_for_no_port_is_refused_within_a_second() {
    let folder = Folder::new();
    let listener = Listener::in_enclave(&folder.parent(), 5050).unwrap();
    let base = folder.base();
    let ask = move |line: &[u8]| {
        let mut stream = UnixStream::connect(&base).unwrap();
        stream.write_all(line).unwrap();
        let mut answer = Vec::new();
        // A reset is what a close with unread bytes looks like.
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    let wrong = thread::spawn(move || {
        let lines: [&[u8]; 7] = [
            b"CONNECT\n",
            b"CONNECT 5050x\n",
            b"GET / HTTP/1.1\r\n",
            &[b'x'; 100],
            b"CONNECT 99999999999\n",
            b"\xff\n",
            b"\n",
        ];
        for line in lines {
            assert_eq!(ask(line), b"");
        }
        let begun = Instant::now();
        assert_eq!(ask(b"CONN"), b"");
        assert!(begun.elapsed() < LIMIT);
    });
    while !wrong.is_finished() {
        assert!(listener.accept_within(Duration::from_millis(20)).unwrap().is_none());
    }
    wrong.join().unwrap();
    assert_eq!(listener.refused(), 8);
}

#[test]
fn what_follows_the_line_is_left_for_the_reader() {
    let folder = Folder::new();
    let listener = Listener::in_enclave(&folder.parent(), 5050).unwrap();
    let mut stream = UnixStream::connect(folder.base()).unwrap();
    stream.write_all(b"CONNECT 5050\nhello").unwrap();
    let mut here = listener.accept().unwrap();
    let mut word = [0; 5];
    here.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"hello");
}

#[test]
fn a_parents_socket_is_for_its_owner_alone() {
    let folder = Folder::new();
    let _listener = Listener::on_parent(Some(&folder.enclave()), 5555).unwrap();
    let mode = std::fs::metadata(folder.0.join("enclave_5555")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_dead_programs_socket_is_replaced_and_a_living_ones_never() {
    let folder = Folder::new();
    let path = folder.0.join("enclave_5555");
    drop(UnixListener::bind(&path).unwrap());
    let first = Listener::on_parent(Some(&folder.enclave()), 5555).unwrap();
    let second = Listener::on_parent(Some(&folder.enclave()), 5555).err().unwrap();
    assert_eq!(second.kind(), io::ErrorKind::AddrInUse, "{second}");
    assert!(second.to_string().contains("another program listens there"), "{second}");
    // The second's question was a connection.
    first.accept().unwrap();
    let there = folder.parent().connect(5555, LIMIT).unwrap();
    talk(&there, &first.accept().unwrap());
    drop(first);
    assert!(!path.exists(), "a listener that ended leaves its socket behind");
    std::fs::write(&path, "a file").unwrap();
    let file = Listener::on_parent(Some(&folder.enclave()), 5555).err().unwrap();
    assert!(file.to_string().contains("no socket"), "{file}");
    assert_eq!(std::fs::read(&path).unwrap(), b"a file");
}

#[test]
fn of_many_that_start_at_once_on_a_dead_socket_one_listens() {
    let folder = Folder::new();
    for _ in 0..20 {
        drop(UnixListener::bind(folder.0.join("enclave_7")).unwrap());
        let starts: Vec<_> = (0..4)
            .map(|_| {
                let enclave = folder.enclave();
                thread::spawn(move || Listener::on_parent(Some(&enclave), 7))
            })
            .collect();
        let started: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
        assert_eq!(started.iter().filter(|listener| listener.is_ok()).count(), 1);
        folder.parent().connect(7, LIMIT).unwrap();
    }
}

#[test]
fn a_waiting_accept_is_stopped_from_another_thread() {
    let folder = Folder::new();
    let listener = Listener::on_parent(Some(&folder.enclave()), 5555).unwrap();
    let stopper = listener.stopper();
    let waiting = thread::spawn(move || (listener.accept().unwrap_err(), listener.accept().unwrap_err()));
    thread::sleep(Duration::from_millis(50));
    stopper.stop();
    let (first, second) = waiting.join().unwrap();
    assert_eq!((first.kind(), second.kind()), (io::ErrorKind::NotConnected, io::ErrorKind::NotConnected));
    assert!(stopper.is_stopped());
}

#[test]
fn accepting_within_a_limit_gives_none_when_nobody_comes() {
    let folder = Folder::new();
    let listener = Listener::on_parent(Some(&folder.enclave()), 5555).unwrap();
    assert!(listener.accept_within(Duration::from_millis(30)).unwrap().is_none());
    let _there = folder.parent().connect(5555, LIMIT).unwrap();
    assert!(listener.accept_within(LIMIT).unwrap().is_some());
}

#[test]
fn a_connect_to_a_full_queue_or_a_silent_enclave_ends_within_its_limit() {
    let folder = Folder::new();
    let listener = Listener::in_enclave(&folder.parent(), 5050).unwrap();
    let limit = Duration::from_millis(100);
    let begun = Instant::now();
    let silent = folder.enclave().connect(5050, limit).unwrap_err();
    assert_eq!(silent.kind(), io::ErrorKind::TimedOut, "{silent}");
    let waiting: Vec<_> = (0..200).map_while(|_| UnixStream::connect_nonblocking(&folder)).collect();
    let full = folder.enclave().connect(5050, limit).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::TimedOut, "{full}");
    assert!(begun.elapsed() < LIMIT);
    drop((waiting, listener));
}

/// Connecting without waiting for a place in the queue.
trait ConnectNonblocking: Sized {
    fn connect_nonblocking(folder: &Folder) -> Option<Self>;
}

impl ConnectNonblocking for UnixStream {
    fn connect_nonblocking(folder: &Folder) -> Option<Self> {
        use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
        connect(&socket, &SocketAddrUnix::new(folder.base()).unwrap()).ok()?;
        Some(socket.into())
    }
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_named() {
    let parent = Parent::Unix { base: format!("/tmp/{}", "x".repeat(120)).into() };
    for error in [parent.connect(1, LIMIT).unwrap_err(), Listener::in_enclave(&parent, 1).err().unwrap()] {
        assert!(error.to_string().contains("at most 107 bytes"), "{error}");
    }
}

/// Nobody can connect to it from here: a machine's own processes are refused, and most kernels have no loopback.
#[test]
fn a_vsock_port_is_listened_on_once_where_the_kernel_has_vsock() {
    let listener = match Listener::on_parent(None, 4_055_555_001) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return,
        listener => listener.unwrap(),
    };
    assert!(listener.accept_within(Duration::from_millis(10)).unwrap().is_none());
    let second = Listener::in_enclave(&Parent::default(), 4_055_555_001).err().unwrap();
    assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    assert!(second.to_string().contains("vsock port 4055555001 is in use"), "{second}");
    let stopper = listener.stopper();
    let waiting = thread::spawn(move || listener.accept().is_err());
    stopper.stop();
    assert!(waiting.join().unwrap());
}

#[test]
fn an_emulated_enclave_and_its_base_path_are_the_same_sockets() {
    let folder = Folder::new();
    let emulated = Enclave::Emulated { cid: 16, folder: folder.0.clone() };
    let inside = Parent::Unix { base: folder.0.join("16") };
    let listener = Listener::on_parent(Some(&emulated), 5555).unwrap();
    let there = inside.connect(5555, LIMIT).unwrap();
    talk(&there, &listener.accept().unwrap());
    assert!(folder.0.join("16_5555").exists());

    let listener = Listener::in_enclave(&inside, 5050).unwrap();
    let parent = thread::spawn(move || emulated.connect(5050, LIMIT).unwrap());
    let here = listener.accept().unwrap();
    talk(&parent.join().unwrap(), &here);
}
