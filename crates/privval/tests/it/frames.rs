//! Framing: bytes in any portions, hostile lengths, bounded memory.
use crate::tree::delimited;
use privval::{FrameDecoder, FrameError, MAX_PUSH_BYTES, MAX_REQUEST_BYTES};
use proptest::prelude::*;

fn take_all(frames: &mut FrameDecoder) -> Result<Vec<Vec<u8>>, FrameError> {
    let mut taken = Vec::new();
    while let Some(frame) = frames.next()? {
        taken.push(frame.to_vec());
    }
    Ok(taken)
}

fn error_of(bytes: &[u8]) -> Option<FrameError> {
    let mut frames = FrameDecoder::new();
    frames.push(bytes);
    take_all(&mut frames).err()
}

#[test]
fn frames_may_be_split_at_every_point() {
    let messages = [vec![0x3a, 0], vec![9; 127], vec![8; 128], vec![7; 300], vec![0x3a, 0]];
    let stream: Vec<u8> = messages.iter().flat_map(|message| delimited(message)).collect();
    for first in 0..=stream.len() {
        for second in [first, stream.len().min(first + 1), stream.len().min(first + 130), stream.len()] {
            let mut frames = FrameDecoder::new();
            let mut taken = Vec::new();
            for part in [&stream[..first], &stream[first..second], &stream[second..]] {
                frames.push(part);
                taken.extend(take_all(&mut frames).unwrap());
            }
            assert_eq!(taken, messages);
            assert!(frames.is_between_frames());
        }
    }
}

#[test]
fn the_longest_frame_is_read_and_one_byte_more_is_refused_by_its_length() {
    let stream = delimited(&vec![5; MAX_REQUEST_BYTES]);
    let mut frames = FrameDecoder::new();
    for part in stream.chunks(MAX_PUSH_BYTES) {
        assert_eq!(frames.next(), Ok(None));
        frames.push(part);
    }
    assert_eq!(frames.next().unwrap().map(<[u8]>::len), Some(MAX_REQUEST_BYTES));

    let mut prefix = Vec::new();
    crate::tree::varint(MAX_REQUEST_BYTES as u64 + 1, 0, &mut prefix);
    let got = MAX_REQUEST_BYTES as u64 + 1;
    assert_eq!(error_of(&prefix), Some(FrameError::TooLong { max: MAX_REQUEST_BYTES, got }));
}

#[test]
fn a_length_up_to_64_bits_is_named_in_the_error() {
    let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(error_of(&largest), Some(FrameError::TooLong { max: MAX_REQUEST_BYTES, got: u64::MAX }));
}

#[test]
fn a_prefix_over_64_bits_is_refused() {
    assert_eq!(
        error_of(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]),
        Some(FrameError::Prefix { max: 10 })
    );
    assert_eq!(error_of(&[0x80; 10]), Some(FrameError::Prefix { max: 10 }));
    assert_eq!(error_of(&[0x80; 9]), None);
}

#[test]
fn a_needlessly_long_prefix_is_read_as_go_reads_it() {
    let mut frames = FrameDecoder::new();
    frames.push(&[0x82, 0x80, 0x00, 0x3a, 0x00]);
    assert_eq!(take_all(&mut frames), Ok(vec![vec![0x3a, 0]]));
}

#[test]
fn an_empty_frame_is_refused_however_its_zero_is_written() {
    assert_eq!(error_of(&[0]), Some(FrameError::Empty));
    assert_eq!(error_of(&[0x80, 0]), Some(FrameError::Empty));
}

#[test]
fn an_error_stays_and_what_follows_is_not_read() {
    let mut frames = FrameDecoder::new();
    frames.push(&[2, 0x3a, 0, 0]);
    assert_eq!(frames.next(), Ok(Some(&[0x3a, 0][..])));
    for _ in 0..3 {
        assert_eq!(frames.next(), Err(FrameError::Empty));
        frames.push(&[2, 0x3a, 0]);
    }
    assert!(!frames.is_between_frames());
}

#[test]
fn a_caller_that_pushes_too_much_at_once_gets_an_error_instead_of_memory() {
    let mut frames = FrameDecoder::new();
    frames.push(&vec![1; 4 * MAX_REQUEST_BYTES]);
    assert!(matches!(frames.next(), Err(FrameError::Overrun { got, .. }) if got == 4 * MAX_REQUEST_BYTES));
}

#[test]
fn every_error_says_both_values_and_has_a_name_of_its_own() {
    let all = [
        FrameError::Empty,
        FrameError::TooLong { max: 1, got: 2 },
        FrameError::Prefix { max: 10 },
        FrameError::Overrun { max: 1, got: 2 },
    ];
    let names: std::collections::BTreeSet<_> = all.iter().map(|error| error.name()).collect();
    assert_eq!(names.len(), all.len());
    for error in all {
        let text = error.to_string();
        assert!(text.contains("expected") && text.contains("got"), "{text}");
    }
}

proptest! {
    #[test]
    fn any_messages_in_any_portions_come_out_as_they_went_in(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..2000), 0..8),
        cuts in prop::collection::vec(1_usize..700, 1..50),
    ) {
        let stream: Vec<u8> = messages.iter().flat_map(|message| delimited(message)).collect();
        let (mut frames, mut taken, mut rest) = (FrameDecoder::new(), Vec::new(), stream.as_slice());
        for cut in cuts.iter().cycle() {
            let (part, after) = rest.split_at(rest.len().min(*cut));
            frames.push(part);
            taken.extend(take_all(&mut frames).unwrap());
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(taken, messages);
        prop_assert!(frames.is_between_frames());
    }

    #[test]
    fn any_bytes_in_any_portions_end_in_frames_or_one_error(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        cut in 1_usize..40,
    ) {
        let whole = { let mut frames = FrameDecoder::new(); frames.push(&bytes); take_all(&mut frames).err() };
        let mut frames = FrameDecoder::new();
        let mut error = None;
        for part in bytes.chunks(cut) {
            frames.push(part);
            error = take_all(&mut frames).err();
        }
        prop_assert_eq!(error, whole);
    }
}
