//! State files of other signers: any bytes are read or refused, and nothing is exported that is not imported again.
#![no_main]
use guard::ChainId;
use libfuzzer_sys::fuzz_target;
use store::formats::{self, Format};

fuzz_target!(|bytes: &[u8]| {
    let chain = ChainId::try_from("test_chain_id").expect("a chain id");
    let _ = formats::import(bytes, &chain);
    for format in [Format::FilePv, Format::Tmkms] {
        let Ok(imported) = formats::import_as(format, bytes, &chain) else { continue };
        let record = imported.record();
        if let Ok(exported) = formats::export(format, &record) {
            let again = formats::import_as(format, exported.text.as_bytes(), &chain).expect("what was exported is read");
            assert!(again.record().position() >= record.position(), "a way there and back lowered the record");
        }
    }
});
