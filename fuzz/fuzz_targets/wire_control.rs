//! The control channel's frames: what is read is written the same again, and a proof holds for nothing that was not proven.
#![no_main]
use libfuzzer_sys::fuzz_target;
use wire::control::{Answer, MAX_CONFIG_BYTES, Request};
use wire::token::Token;

fuzz_target!(|bytes: &[u8]| {
    let nonce = [0xa5; 32];
    if let Ok(received) = Request::decode(bytes) {
        // The seeds' token: it proves what it proves, and the bytes that are proven are those that arrived.
        assert_eq!(received.proven.len() + 32, bytes.len());
        assert_eq!((received.proven[0], &received.proven[1..]), (bytes[0], &bytes[33..]));
        if let Request::Push(push) = &received.request {
            assert!(push.config.len() <= MAX_CONFIG_BYTES);
            // Binary messages have one form.
            assert_eq!(received.request.encode(None, &nonce)[33..], bytes[33..]);
        }
        let token = Token::new(&[0x77; 32]);
        let again = Request::decode(&received.request.encode(Some(&token), &nonce)).expect("what was written is read");
        assert!(token.verify(wire::control::REQUEST_DOMAIN, &nonce, &again.proven, &again.proof));
    }
    if let Ok(answer) = Answer::decode(bytes) {
        let again = Answer::decode(&answer.encode()).expect("what was written is read");
        // Numbers with a fraction may change in the last digit the first time, and only then.
        let once = again.encode();
        assert_eq!(Answer::decode(&once).expect("what was written is read").encode().len(), once.len());
    }
});
