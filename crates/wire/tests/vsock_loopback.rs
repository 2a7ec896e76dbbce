//! The vsock sockets for real, where the kernel has a vsock loopback (`modprobe vsock_loopback`); elsewhere nothing is
//! tested here, and the test says so. It is one test, as all of it needs the same few ports.
//!
//! In a guest: build it static (`RUSTFLAGS="-C target-feature=+crt-static"`, `--target`), and run it behind an init that inserts
//! vsock, vmw_vsock_virtio_transport_common and vsock_loopback.
#![allow(clippy::unwrap_used)]
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use wire::endpoint::{Enclave, Listener, Parent, Stream};
use wire::hello::{self, Channel, Side};

const LIMIT: Duration = Duration::from_secs(5);
/// A machine's own CID, which no text can name as a parent or an enclave.
const LOOPBACK: Parent = Parent::Vsock { cid: 1 };
const PORT: u32 = 405_050;

#[test]
fn vsock_sockets_do_what_unix_sockets_do_and_loopback_is_nobodys_enclave() {
    let listener = Listener::in_enclave(&LOOPBACK, PORT);
    if LOOPBACK.connect(PORT, Duration::from_millis(500)).is_err() {
        println!("not run: this kernel has no vsock loopback");
        return;
    }
    let listener = listener.unwrap();
    drop(listener.accept().unwrap());
    streams_carry_time_out_and_half_close(&listener);
    hellos_are_exchanged(&listener);
    a_blocked_writer_is_woken_by_a_shutdown(&listener);
    nobody_is_told_apart_from_somebody();
    only_who_may_connect_is_accepted();
    let stopper = listener.stopper();
    let waiting = thread::spawn(move || listener.accept().unwrap_err().kind());
    thread::sleep(Duration::from_millis(50));
    stopper.stop();
    assert_eq!(waiting.join().unwrap(), io::ErrorKind::NotConnected);
    println!("run over the vsock loopback");
}

fn connected(listener: &Listener) -> (Stream, Stream) {
    let there = LOOPBACK.connect(PORT, LIMIT).unwrap();
    (there, listener.accept().unwrap())
}

fn streams_carry_time_out_and_half_close(listener: &Listener) {
    let (mut one, mut other) = connected(listener);
    other.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(other.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    other.set_read_timeout(Some(LIMIT)).unwrap();
    one.write_all(b"request").unwrap();
    one.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    other.read_to_string(&mut text).unwrap();
    other.write_all(b", answer").unwrap();
    drop(other);
    one.read_to_string(&mut text).unwrap();
    assert_eq!(text, "request, answer");
}

fn hellos_are_exchanged(listener: &Listener) {
    let (mut one, mut other) = connected(listener);
    let parent = thread::spawn(move || hello::exchange(&mut one, Side::Parent, Channel::State, [1; 32], "p"));
    let parents = hello::exchange(&mut other, Side::Enclave, Channel::State, [2; 32], "e").unwrap();
    assert_eq!((parents.nonce, parent.join().unwrap().unwrap().nonce), ([1; 32], [2; 32]));
}

fn a_blocked_writer_is_woken_by_a_shutdown(listener: &Listener) {
    let (one, _other) = connected(listener);
    let one = Arc::new(one);
    let writer = Arc::clone(&one);
    let writing = thread::spawn(move || (&*writer).write_all(&vec![0; 64 << 20]));
    thread::sleep(Duration::from_millis(300));
    assert!(!writing.is_finished());
    one.shutdown(Shutdown::Both).unwrap();
    assert!(writing.join().unwrap().is_err());
}

fn nobody_is_told_apart_from_somebody() {
    let begun = Instant::now();
    let nobody = LOOPBACK.connect(PORT + 1, LIMIT).unwrap_err();
    assert_eq!(nobody.kind(), io::ErrorKind::ConnectionRefused, "{nobody}");
    assert!(Parent::Vsock { cid: 4_000_000 }.connect(PORT, Duration::from_millis(300)).is_err());
    let second = Listener::in_enclave(&LOOPBACK, PORT).err().unwrap();
    assert_eq!(second.kind(), io::ErrorKind::AddrInUse, "{second}");
    assert!(begun.elapsed() < LIMIT);
}

fn only_who_may_connect_is_accepted() {
    let listeners = [
        Listener::on_parent(None, PORT + 2),
        Listener::on_parent(Some(&Enclave::Vsock { cid: 16 }), PORT + 3),
        Listener::in_enclave(&Parent::default(), PORT + 4),
    ];
    for (port, listener) in (PORT + 2..).zip(listeners) {
        let listener = listener.unwrap();
        let mut refused = LOOPBACK.connect(port, LIMIT).unwrap();
        assert!(listener.accept_within(Duration::from_millis(300)).unwrap().is_none());
        assert_eq!(listener.refused(), 1);
        assert!(matches!(refused.read(&mut [0]), Ok(0) | Err(_)));
    }
}
