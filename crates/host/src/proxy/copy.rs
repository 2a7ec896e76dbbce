//! Bytes both ways between two streams, until both ways have ended.
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::thread;
use wire::endpoint::Stream;

/// What is read at once, in bytes: a privval message and a TLS record fit.
const BUFFER_BYTES: usize = 16 * 1024;
/// A connection thread's stack, in bytes; looking up a name takes most of it.
pub(super) const STACK_BYTES: usize = 512 * 1024;
/// The other direction's, which only copies.
const COPY_STACK_BYTES: usize = 128 * 1024;

/// Copies until both directions have ended, and gives the bytes of each. One side's end is passed on and the other direction
/// goes on; a broken connection ends both.
pub(super) fn splice(one: &Stream, other: &Stream) -> io::Result<(u64, u64)> {
    thread::scope(|scope| {
        let back = thread::Builder::new()
            .name("proxy copy".to_owned())
            .stack_size(COPY_STACK_BYTES)
            .spawn_scoped(scope, || copy(other, one))?;
        let there = copy(one, other);
        let back = back.join().unwrap_or_else(|_| Err(io::Error::other("the copying thread panicked")));
        Ok((there?, back?))
    })
}

fn copy(from: &Stream, to: &Stream) -> io::Result<u64> {
    let copied = copy_all(from, to);
    if copied.is_ok() {
        // Half-close; it fails where the connection is gone, which the other direction will see as well.
        let _ = to.shutdown(Shutdown::Write);
    } else {
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
    copied
}

fn copy_all(mut from: &Stream, mut to: &Stream) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut total = 0_u64;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(&buffer[..count])?;
        total = total.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
}
