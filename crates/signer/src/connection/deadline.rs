//! Reads and writes that all have to end before one point in time.
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// A socket that can give up waiting.
pub trait Timeouts {
    /// Sets the longest wait of one read and of one write; both longer than zero.
    ///
    /// # Errors
    /// Whatever the socket says.
    fn set_timeouts(&mut self, read: Duration, write: Duration) -> io::Result<()>;
}

/// A socket of which every operation gets only the time that is left, so that a peer that sends or accepts one
/// byte at a time cannot hold it for longer than the whole was given.
pub struct Deadline<'io, Io> {
    io: &'io mut Io,
    until: Instant,
}

impl<'io, Io: Timeouts> Deadline<'io, Io> {
    /// Limits all operations on `io` together.
    pub const fn new(io: &'io mut Io, until: Instant) -> Self {
        Self { io, until }
    }

    fn arm(&mut self) -> io::Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.io.set_timeouts(left, left)
    }
}

/// A socket's time-out shows as `WouldBlock` on Linux; here it can only mean the deadline.
fn name_timeout<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    })
}

impl<Io: Read + Timeouts> Read for Deadline<'_, Io> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.arm()?;
        name_timeout(self.io.read(buffer))
    }
}

impl<Io: Write + Timeouts> Write for Deadline<'_, Io> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.arm()?;
        name_timeout(self.io.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.io.flush()
    }
}
