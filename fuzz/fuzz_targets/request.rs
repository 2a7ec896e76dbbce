//! A privval message of any line: decoded, checked, turned into sign bytes, read again by the guard, answered.
#![no_main]
use guard::{Extension, Statement};
use libfuzzer_sys::fuzz_target;
use privval::{MAX_ANSWER_BYTES, Request, answers};

fuzz_target!(|message: &[u8]| {
    match Request::decode(message) {
        Ok(Request::SignVote(request)) => {
            let Ok(vote) = request.check() else { return };
            let statement = Statement::parse(&vote.sign_bytes()).expect("the guard reads what privval writes");
            assert_eq!(statement.position().height.get(), vote.height().cast_unsigned());
            assert_eq!(statement.position().round.get(), vote.round().cast_unsigned());
            assert_eq!(statement.chain_id(), vote.chain_id());
            if let Some(extension) = vote.extension_sign_bytes() {
                assert!(statement.takes_extension());
                Extension::parse(extension.into()).expect("the guard reads the extension that privval writes");
            }
            let time = (statement.timestamp().seconds, statement.timestamp().nanos);
            assert!(vote.answer(&[1; 64], Some(&[2; 64]), time).len() <= MAX_ANSWER_BYTES);
        }
        Ok(Request::SignProposal(request)) => {
            let Ok(proposal) = request.check() else { return };
            let statement = Statement::parse(&proposal.sign_bytes()).expect("the guard reads what privval writes");
            assert_eq!(statement.position().height.get(), proposal.height().cast_unsigned());
            let time = (statement.timestamp().seconds, statement.timestamp().nanos);
            assert!(proposal.answer(&[1; 64], time).len() <= MAX_ANSWER_BYTES);
        }
        Ok(_) => {}
        Err(error) => {
            if let Some(answer) = error.kind().and_then(|kind| answers::error(kind, 1, &error.to_string())) {
                assert!(answer.len() <= MAX_ANSWER_BYTES);
            }
        }
    }
});
