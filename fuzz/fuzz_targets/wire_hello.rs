//! Hellos and frames from a hostile stream: both sides end, whatever arrives, and what is accepted is the one form.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::io::{self, Read, Write};
use wire::PROTOCOL_VERSION;
use wire::hello::{Channel, Side, exchange};

/// A stream that gives the fuzzer's bytes, and counts what is written to it.
struct Stream<'a> {
    input: &'a [u8],
    written: usize,
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    for side in [Side::Enclave, Side::Parent] {
        for channel in [Channel::Control, Channel::State] {
            let mut stream = Stream { input: bytes, written: 0 };
            match exchange(&mut stream, side, channel, [1; 32], "0.1.0") {
                Ok(hello) => {
                    assert_eq!((hello.protocol, hello.channel), (PROTOCOL_VERSION, channel));
                    let form = hello.encode();
                    assert_eq!(form, bytes[..form.len()]);
                    assert_eq!(stream.input, &bytes[form.len()..], "more was read than a hello");
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.chars().all(|c| !c.is_control()), "{text}");
                }
            }
            assert!(stream.written <= 40 + "0.1.0".len());
        }
    }
    let mut rest = bytes;
    while let Ok(Some(frame)) = wire::frame::read(&mut rest, 64) {
        assert!(frame.len() <= 64);
    }
});
