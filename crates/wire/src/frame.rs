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
