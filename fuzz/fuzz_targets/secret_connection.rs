//! SecretConnection's messages, before and after the handshake: the hello, sealed frames, the identity message.
#![no_main]
use libfuzzer_sys::fuzz_target;
use signer::secret_connection::{AUTH_SIG_BYTES, AuthSig, FRAME_BYTES, HELLO_BYTES, Handshake};
use zeroize::Zeroizing;

/// TEST KEY material: both ends are ours.
fn ends() -> (Handshake, Handshake) {
    (Handshake::new(&Zeroizing::new([1; 32])), Handshake::new(&Zeroizing::new([2; 32])))
}

fuzz_target!(|input: &[u8]| {
    let (ours, theirs) = ends();
    // As the peer's hello: low-order points and foreign bytes must not be agreed with, nor panic.
    if let Some(hello) = input.first_chunk::<HELLO_BYTES>() {
        let _ = ends().0.agree(hello);
    }
    if let Some(message) = input.first_chunk::<AUTH_SIG_BYTES>() {
        if let Ok(auth) = AuthSig::decode(message) {
            let _ = auth.verify(&[3; 32]);
        }
    }
    let (our_hello, their_hello) = (ours.hello(), theirs.hello());
    let mut receiver = ours.agree(&their_hello).expect("an honest hello").opener;
    let mut sender = theirs.agree(&our_hello).expect("an honest hello").sealer;
    // Sealed, it comes back as it was; with one byte changed, it does not open.
    let data = &input[..input.len().min(4000)];
    let mut wire = vec![];
    sender.seal(data, &mut wire).expect("a fresh connection can seal");
    let mut opened = vec![];
    for frame in wire.chunks(FRAME_BYTES) {
        let mut frame: [u8; FRAME_BYTES] = frame.try_into().expect("frames are of one size");
        let range = receiver.open(&mut frame).expect("an honest frame opens");
        opened.extend_from_slice(&frame[range]);
    }
    assert_eq!(opened, data);
    if let Some(foreign) = input.first_chunk::<FRAME_BYTES>() {
        let mut frame = *foreign;
        assert!(receiver.open(&mut frame).is_err(), "a frame that nobody sealed was opened");
    }
});
