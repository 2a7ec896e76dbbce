//! The proxy between an emulated enclave and targets that behave, and that do not.
#![allow(clippy::unwrap_used)]
use host::proxy::{Limits, Proxy, Target};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};
use wire::endpoint::{Enclave, Listener, Parent};

const PORT: u32 = 5000;
const LIMIT: Duration = Duration::from_secs(10);

/// A proxy in a folder of its own.
struct Rig {
    folder: PathBuf,
    proxy: Option<Proxy>,
}

impl Rig {
    /// `target` gets the folder.
    fn new(target: impl FnOnce(&PathBuf) -> Target, limits: Limits) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("host-proxy-{}-{}", std::process::id(), COUNT.fetch_add(1, SeqCst));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let enclave = Enclave::Unix { base: folder.join("enclave") };
        let listener = Listener::on_parent(Some(&enclave), PORT).unwrap();
        let proxy = Some(Proxy::start(listener, target(&folder), limits).unwrap());
        Self { folder, proxy }
    }

    fn tcp(target: &TcpListener) -> Self {
        let text = target.local_addr().unwrap().to_string();
        Self::new(|_| text.parse().unwrap(), Limits::default())
    }

    fn connect(&self) -> UnixStream {
        let stream = Parent::Unix { base: self.folder.join("enclave") }.connect(PORT, LIMIT).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream
    }

    fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().unwrap()
    }

    fn wait_for(&self, connections: usize) {
        let begun = Instant::now();
        while self.proxy().connections() != connections {
            assert!(begun.elapsed() < LIMIT, "{} connections, expected {connections}", self.proxy().connections());
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.proxy.take());
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Gives back what arrives, on any number of connections, until the process ends.
fn echo<S: Read + Write + Send + 'static>(mut accept: impl FnMut() -> io::Result<S> + Send + 'static) {
    thread::spawn(move || {
        while let Ok(mut stream) = accept() {
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
}

fn tcp_echo() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let for_thread = listener.try_clone().unwrap();
    echo(move || for_thread.accept().map(|(stream, _)| stream));
    listener
}

fn say(mut stream: &UnixStream, word: &[u8]) {
    stream.write_all(word).unwrap();
    let mut answer = vec![0; word.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, word);
}

/// Whether the other side has ended, one way or the other.
fn is_over(mut stream: &UnixStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
    }
}

#[test]
fn a_thousand_connections_in_sequence_carry_bytes_both_ways() {
    let target = tcp_echo();
    let rig = Rig::tcp(&target);
    for number in 0..1000_u32 {
        say(&rig.connect(), &number.to_be_bytes());
    }
    rig.wait_for(0);
    assert_eq!((rig.proxy().counts().connected, rig.proxy().counts().failed), (1000, 0));
}

#[test]
fn sixty_four_connections_are_served_at_once_and_the_next_is_closed() {
    let rig = Rig::new(
        |folder| {
            let path = folder.join("target");
            let listener = UnixListener::bind(&path).unwrap();
            echo(move || listener.accept().map(|(stream, _)| stream));
            Target::Unix(path)
        },
        Limits::default(),
    );
    let streams: Vec<_> = (0..64).map(|_| rig.connect()).collect();
    for stream in &streams {
        say(stream, b"one");
    }
    assert_eq!(rig.proxy().connections(), 64);
    assert!(is_over(&rig.connect()));
    assert_eq!(rig.proxy().counts().refused, 1);
    for stream in streams.iter().rev() {
        say(stream, b"two");
    }
    drop(streams);
    rig.wait_for(0);
    say(&rig.connect(), b"there is room again");
}

#[test]
fn half_closes_are_passed_on_both_ways() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let rig = Rig::tcp(&target);
    let mut enclave = rig.connect();
    let (mut node, _) = target.accept().unwrap();
    enclave.write_all(b"request").unwrap();
    enclave.shutdown(Shutdown::Write).unwrap();
    let mut request = String::new();
    node.read_to_string(&mut request).unwrap();
    assert_eq!(request, "request");
    node.write_all(b"answer").unwrap();
    node.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    enclave.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
    rig.wait_for(0);
    // The other way round: the node ends first.
    let mut enclave = rig.connect();
    let (mut node, _) = target.accept().unwrap();
    node.shutdown(Shutdown::Write).unwrap();
    assert!(is_over(&enclave));
    enclave.write_all(b"last words").unwrap();
    drop(enclave);
    let mut last = String::new();
    node.read_to_string(&mut last).unwrap();
    assert_eq!(last, "last words");
}

#[test]
fn a_target_that_resets_ends_its_connection_and_no_other() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let rig = Rig::tcp(&target);
    let (one, (node, _)) = (rig.connect(), target.accept().unwrap());
    let (mut other, (mut other_node, _)) = (rig.connect(), target.accept().unwrap());
    rustix::net::sockopt::set_socket_linger(&node, Some(Duration::ZERO)).unwrap();
    drop(node);
    assert!(is_over(&one));
    rig.wait_for(1);
    other.write_all(b"x").unwrap();
    let mut byte = [0];
    other_node.read_exact(&mut byte).unwrap();
}

#[test]
fn an_enclave_that_is_gone_ends_its_targets_connection() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let rig = Rig::tcp(&target);
    drop(rig.connect());
    let (mut node, _) = target.accept().unwrap();
    assert_eq!(node.read(&mut [0]).unwrap(), 0);
    drop(node);
    rig.wait_for(0);
}

#[test]
fn ten_mebibytes_both_ways_at_once_arrive_unharmed_though_the_reader_is_slow() {
    const BYTES: usize = 10 << 20;
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let rig = Rig::tcp(&target);
    let enclave = rig.connect();
    let (node, _) = target.accept().unwrap();
    let pattern = |seed: usize| (0..BYTES).map(move |index| ((index * 31 + seed) % 251).to_le_bytes()[0]);
    thread::scope(|scope| {
        scope.spawn(|| (&enclave).write_all(&pattern(1).collect::<Vec<_>>()).unwrap());
        scope.spawn(|| (&node).write_all(&pattern(2).collect::<Vec<_>>()).unwrap());
        scope.spawn(|| {
            // Nobody reads at first: what is under way is bounded, and nothing of it is lost.
            thread::sleep(Duration::from_millis(300));
            let mut all = vec![0; BYTES];
            (&enclave).read_exact(&mut all).unwrap();
            assert!(all.into_iter().eq(pattern(2)));
        });
        scope.spawn(|| {
            let mut all = vec![0; BYTES];
            (&node).read_exact(&mut all).unwrap();
            assert!(all.into_iter().eq(pattern(1)));
        });
    });
}

#[test]
fn a_target_that_is_not_there_closes_the_connection_until_it_is() {
    let rig = Rig::new(|folder| Target::Unix(folder.join("target")), Limits::default());
    for _ in 0..3 {
        assert!(is_over(&rig.connect()));
    }
    rig.wait_for(0);
    assert_eq!(rig.proxy().counts().failed, 3);
    let path = rig.folder.join("target");
    let listener = UnixListener::bind(&path).unwrap();
    echo(move || listener.accept().map(|(stream, _)| stream));
    say(&rig.connect(), b"it is there");
    std::fs::remove_file(&path).unwrap();
    assert!(is_over(&rig.connect()));
}

#[test]
fn a_name_that_does_not_resolve_closes_the_connection_and_a_good_one_is_looked_up() {
    // RFC 6761: a name under .invalid never exists.
    let rig = Rig::new(|_| "kms.invalid:443".parse().unwrap(), Limits::default());
    let stream = rig.connect();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert!(is_over(&stream));
    assert_eq!(rig.proxy().counts().failed, 1);
    let target = tcp_echo();
    let port = target.local_addr().unwrap().port();
    let rig = Rig::new(|_| format!("localhost:{port}").parse().unwrap(), Limits::default());
    say(&rig.connect(), b"found");
}

#[test]
fn a_stop_cuts_idle_and_blocked_connections_at_once() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut rig = Rig::tcp(&target);
    let idle = rig.connect();
    let (_idle_node, _) = target.accept().unwrap();
    let blocked = rig.connect();
    let (_blocked_node, _) = target.accept().unwrap();
    blocked.set_nonblocking(true).unwrap();
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        // Nobody reads at the other end.
        if (&blocked).write(&[0; 65536]).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
    }
    let proxy = rig.proxy.take().unwrap();
    assert_eq!(proxy.connections(), 2);
    let begun = Instant::now();
    proxy.stop();
    proxy.wait();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(is_over(&idle));
    assert!(!rig.folder.join(format!("enclave_{PORT}")).exists());
}

#[test]
fn a_target_that_does_not_answer_is_given_up_and_delays_no_stop() {
    // A queue of one that is full: further connects wait, and nobody accepts.
    let target = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&target, &"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap()).unwrap();
    rustix::net::listen(&target, 0).unwrap();
    let target = TcpListener::from(target);
    let address = target.local_addr().unwrap();
    let filling: Vec<_> =
        (0..4).map_while(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()).collect();
    assert!(filling.len() < 4, "the queue is not full");
    let limits = Limits { connect: Duration::from_millis(300), ..Limits::default() };
    let rig = Rig::new(|_| address.to_string().parse().unwrap(), limits);
    let begun = Instant::now();
    assert!(is_over(&rig.connect()));
    assert!(begun.elapsed() >= limits.connect && begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    assert_eq!(rig.proxy().counts().failed, 1);
    let mut slow = Rig::new(|_| address.to_string().parse().unwrap(), Limits { connect: LIMIT, ..Limits::default() });
    let waiting = slow.connect();
    slow.wait_for(1);
    let proxy = slow.proxy.take().unwrap();
    let begun = Instant::now();
    proxy.stop();
    proxy.wait();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(is_over(&waiting));
}

/// `-- --nocapture round` prints it.
#[test]
fn a_round_trip_costs_microseconds_more_than_without_a_proxy() {
    const TIMES: u32 = 2_000;
    let target = tcp_echo();
    let rig = Rig::tcp(&target);
    let stream = rig.connect();
    let through = time(TIMES, || say(&stream, &[7; 200]));
    let direct = TcpStream::connect(target.local_addr().unwrap()).unwrap();
    direct.set_nodelay(true).unwrap();
    let direct = UnixStream::from(std::os::fd::OwnedFd::from(direct));
    let directly = time(TIMES, || say(&direct, &[7; 200]));
    println!("a round trip of 200 bytes: {through:?} through the proxy, {directly:?} without");
    assert!(through < Duration::from_millis(20), "{through:?}");
}

fn time(times: u32, mut what: impl FnMut()) -> Duration {
    let begun = Instant::now();
    (0..times).for_each(|_| what());
    begun.elapsed() / times
}
