//! The framing: a stream that arrives in pieces gives the same frames as one that arrives at once, in bounded memory.
#![no_main]
use libfuzzer_sys::fuzz_target;
use privval::{FrameDecoder, FrameError};

/// All frames, and the error that ended the stream, if one did.
fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let (mut decoder, mut found) = (FrameDecoder::new(), vec![]);
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(frame)) => found.push(frame.to_vec()),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((&step, stream)) = input.split_first() else { return };
    let whole = frames(std::iter::once(stream));
    let pieces = frames(stream.chunks(usize::from(step) + 1));
    assert_eq!(whole, pieces);
});
