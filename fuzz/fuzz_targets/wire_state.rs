//! The state channel's frames: they have one form, so what is read is written the same again, byte by byte.
#![no_main]
use libfuzzer_sys::fuzz_target;
use wire::state::{ANSWER_DOMAIN, Answer, MAX_DETAIL_BYTES, Request};
use wire::token::Token;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((number, request)) = Request::decode(bytes) {
        assert_eq!(request.encode(number), bytes);
    }
    if let Ok((number, answer, proof, proven)) = Answer::decode(bytes) {
        let (token, nonce) = (Token::new(&[0x5a; 32]), [0xa5; 32]);
        if let Answer::Trouble { detail, .. } = &answer {
            assert!(detail.len() <= MAX_DETAIL_BYTES);
        }
        let ours = answer.encode(number, &token, &nonce);
        assert_eq!((&ours[..8], &ours[40..]), (&bytes[..8], &bytes[40..]));
        assert_eq!(token.verify(ANSWER_DOMAIN, &nonce, &proven, &proof), ours == bytes);
    }
});
