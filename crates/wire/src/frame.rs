//! Frames: a length of four bytes, big-endian, and that many bytes.
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// The largest frame that pushes a configuration, in bytes.
pub const MAX_PUSH_BYTES: usize = 2 << 20;
/// The largest frame of any other request, in bytes.
pub const MAX_REQUEST_BYTES: usize = 4 << 10;
/// The largest answer of the enclave (status, metrics), in bytes.
pub const MAX_ANSWER_BYTES: usize = 4 << 20;
/// The largest frame on the state channel, in bytes.
pub const MAX_STATE_BYTES: usize = 4 << 10;

/// Reads one frame of at most `most_bytes`. None at the end of the stream between frames.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for a longer frame, with both lengths; [`io::ErrorKind::UnexpectedEof`] for a cut one.
pub fn read(stream: &mut impl Read, most_bytes: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut length = [0; 4];
    let first = loop {
        match stream.read(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[first..])?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > most_bytes {
        let text = format!("a frame of {length} bytes: expected at most {most_bytes}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut frame = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut frame)?;
    Ok(Some(frame))
}

/// Writes one frame with one write.
///
/// # Errors
/// The system's; [`io::ErrorKind::InvalidInput`] if it is longer than a length of four bytes can say.
pub fn write(stream: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(4 + frame.len()));
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(frame);
    stream.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, and is interrupted before each.
    struct Slow<'a>(&'a [u8], bool);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let most = buffer.len().min(1);
            self.0.read(&mut buffer[..most])
        }
    }

    #[test]
    fn frames_come_back_one_after_the_other_however_they_arrive() {
        let mut bytes = Vec::new();
        for frame in [b"one".as_slice(), b"", b"three"] {
            write(&mut bytes, frame).unwrap();
        }
        let mut stream = Slow(&bytes, false);
        for frame in [b"one".as_slice(), b"", b"three"] {
            assert_eq!(read(&mut stream, 5).unwrap().as_deref().map(Vec::as_slice), Some(frame));
        }
        assert!(read(&mut stream, 5).unwrap().is_none());
    }

    #[test]
    fn a_longer_frame_is_refused_with_both_lengths_before_a_byte_of_it_is_read() {
        let mut bytes: &[u8] = &[0xff, 0xff, 0xff, 0xff, 1, 2, 3];
        let error = read(&mut bytes, 4096).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "a frame of 4294967295 bytes: expected at most 4096");
        assert_eq!(bytes, [1, 2, 3]);
    }

    #[test]
    fn a_cut_frame_is_told_apart_from_the_streams_end() {
        let mut bytes = Vec::new();
        write(&mut bytes, b"frame").unwrap();
        for length in 1..bytes.len() {
            let error = read(&mut &bytes[..length], 5).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length}");
        }
        assert!(read(&mut &bytes[..0], 5).unwrap().is_none());
    }

    #[test]
    fn a_frame_is_one_write() {
        struct Counting(Vec<usize>);
        impl Write for Counting {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.push(bytes.len());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut stream = Counting(Vec::new());
        write(&mut stream, &[0; 300]).unwrap();
        assert_eq!(stream.0, [304]);
    }
}
