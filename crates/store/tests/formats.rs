//! Other programs' files: what is read is never lower than what they enforce, and what is written neither.
#![allow(clippy::unwrap_used)]
mod disk;

use disk::{nth, sign_bytes, vote};
use guard::{ChainId, Height, Position, Record, Round, Statement, Step};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use store::formats::{Format, FormatError, Imported, MAX_BYTES, Note, export, import, import_as, recognise};

fn chain() -> ChainId {
    ChainId::try_from(disk::CHAIN).unwrap()
}

fn at(height: i64, round: i64, step: Step) -> Position {
    Position { height: Height::try_from(height).unwrap(), round: Round::try_from(round).unwrap(), step }
}

fn end_of(height: i64) -> Position {
    Position::end_of(Height::try_from(height).unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn read(text: &str) -> Imported {
    import(text.as_bytes(), &chain()).unwrap()
}

#[test]
fn a_filepv_file_with_sign_bytes_is_read_whole() {
    let bytes = sign_bytes(disk::CHAIN, 12, 1, Step::Precommit, 4, 9);
    let text = format!(
        "{{\n  \"height\": \"12\",\n  \"round\": 1,\n  \"step\": 3,\n  \"signature\": \"AAAA\",\n  \"signbytes\": \"{}\"\n}}",
        hex(&bytes)
    );
    let read = read(&text);
    assert_eq!(read.format, Format::FilePv);
    assert_eq!(read.record(), Record::of(0, Statement::parse(&bytes).unwrap()));
    assert_eq!(read.notes, [Note::SignatureDropped]);
    assert_eq!(import(text.to_lowercase().as_bytes(), &chain()).unwrap().statement, read.statement);
}

#[test]
fn each_step_of_a_filepv_file_is_read_as_its_own() {
    for (step, expected) in [
        (1, at(12, 2, Step::Proposal)),
        (2, at(12, 2, Step::Prevote)),
        (3, at(12, 2, Step::Precommit)),
        (0, end_of(12)), // whatever a person meant by it, nothing at that height is signed twice
    ] {
        let read = read(&format!(r#"{{"height":"12","round":2,"step":{step}}}"#));
        assert_eq!(read.record(), Record::floor(0, expected));
        assert!(read.notes.contains(&Note::OwnerUnknown));
        let note = if step == 0 { Note::StepUnclear { step } } else { Note::BytesMissing };
        assert!(read.notes.contains(&note));
    }
}

#[test]
fn a_file_of_height_0_is_the_floor_of_a_key_that_never_signed_and_says_so() {
    for text in [
        r#"{"height":"0","round":0,"step":0}"#,
        r#"{"height":"0","round":"0","step":0,"block_id":null}"#,
        r#"{"height":"0","round":"0","step":0,"block_id":{"hash":"","parts":{"total":0,"hash":""}}}"#,
    ] {
        let read = read(text);
        assert_eq!(read.record(), Record::never_signed());
        assert!(read.notes.contains(&Note::NothingSigned), "{:?}", read.notes);
    }
}

#[test]
fn sign_bytes_of_an_unknown_kind_leave_the_position_and_no_bytes() {
    let read = read(r#"{"height":"12","round":0,"step":2,"signature":"AAAA","signbytes":"0801"}"#);
    assert_eq!(read.record(), Record::floor(0, at(12, 0, Step::Prevote)));
    assert!(matches!(read.notes[..], [Note::SignatureDropped, Note::BytesUnreadable { .. }, Note::OwnerUnknown]));
}

#[test]
fn a_filepv_file_that_contradicts_itself_or_is_another_chains_is_refused() {
    let file = |chain: &str, height, round, step| {
        let bytes = hex(&sign_bytes(chain, 12, 0, Step::Precommit, 4, 9));
        format!(r#"{{"height":"{height}","round":{round},"step":{step},"signature":"AAAA","signbytes":"{bytes}"}}"#)
    };
    let refused = |text: String| import(text.as_bytes(), &chain()).unwrap_err();
    assert!(import(file(disk::CHAIN, 12, 0, 3).as_bytes(), &chain()).is_ok());
    assert!(matches!(refused(file("another-1", 12, 0, 3)), FormatError::AnotherChain { .. }));
    for text in [
        file(disk::CHAIN, 11, 0, 3),
        file(disk::CHAIN, 13, 0, 3),
        file(disk::CHAIN, 12, 1, 3),
        file(disk::CHAIN, 12, 0, 2),
    ] {
        assert!(matches!(refused(text), FormatError::Contradiction { .. }));
    }
    // Bytes, but a step that says that nothing was signed.
    assert!(matches!(refused(file(disk::CHAIN, 12, 0, 0)), FormatError::Range { field: "step", .. }));
    assert!(matches!(refused(file(disk::CHAIN, 0, 0, 0)), FormatError::Range { field: "step", .. }));
}

#[test]
fn each_step_of_a_tmkms_file_is_read_as_its_own_and_counts_from_0() {
    let block = format!(r#"{{"hash":"{0}","parts":{{"total":1,"hash":"{0}"}}}}"#, "AB".repeat(32));
    let nil = r#"{"hash":"","parts":{"total":0,"hash":""}}"#;
    for (step, block_id, expected) in [
        (0, block.as_str(), at(12, 2, Step::Proposal)),
        (1, &block, at(12, 2, Step::Prevote)),
        (2, &block, at(12, 2, Step::Precommit)),
        (1, nil, at(12, 2, Step::Prevote)),
        (2, "null", at(12, 2, Step::Precommit)),
        (0, nil, end_of(12)), // not a proposal: those have blocks
        (0, "null", end_of(12)),
        (3, "null", at(12, 2, Step::Precommit)), // early versions
        (6, &block, at(12, 2, Step::Precommit)),
    ] {
        let read = read(&format!(r#"{{"height":"12","round":"2","step":{step},"block_id":{block_id}}}"#));
        assert_eq!((read.format, read.record()), (Format::Tmkms, Record::floor(0, expected)));
        assert!(read.notes.contains(&Note::NeverSynced) && read.notes.contains(&Note::OwnerUnknown));
        assert_eq!(read.notes.contains(&Note::BlockIdDropped), block_id == block);
    }
    let old = block.replace(r#""total":1"#, r#""total":"1""#).replace("parts", "part_set_header");
    assert!(recognise(format!(r#"{{"height":"1","round":"0","step":2,"block_id":{old}}}"#).as_bytes()).is_some());
}

#[test]
fn what_is_not_exactly_such_a_file_is_not_read() {
    for text in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"height":"12","round":0,"step":3} x"#,
        r#"{"height":"12","round":0,"step":3,"step":2}"#,
        r#"{"height":"12","round":0,"step":3,"more":1}"#,
        r#"{"height":12,"round":0,"step":3}"#,
        r#"{"height":"12","round":"0","step":3}"#,
        r#"{"height":"12","round":"0","step":1}"#,
        r#"{"height":"12","round":0,"step":1,"block_id":null}"#,
        r#"{"height":"12","round":0,"step":1.5}"#,
        r#"{"round":0,"step":3}"#,
    ] {
        assert_eq!(recognise(text.as_bytes()), None, "{text}");
        assert_eq!(import(text.as_bytes(), &chain()).unwrap_err(), FormatError::Unknown);
        assert!(matches!(import_as(Format::FilePv, text.as_bytes(), &chain()), Err(FormatError::Json { .. })));
    }
    for (text, field) in [
        (r#"{"height":"-1","round":0,"step":3}"#, "height"),
        (r#"{"height":"+1","round":0,"step":3}"#, "height"),
        (r#"{"height":"","round":0,"step":3}"#, "height"),
        (r#"{"height":"9223372036854775808","round":0,"step":3}"#, "height"),
        (r#"{"height":"1","round":-1,"step":3}"#, "round"),
        (r#"{"height":"1","round":2147483648,"step":3}"#, "round"),
        (r#"{"height":"1","round":0,"step":4}"#, "step"),
        (r#"{"height":"1","round":0,"step":-1}"#, "step"),
        (r#"{"height":"1","round":0,"step":3,"signature":"?"}"#, "signature"),
        (r#"{"height":"1","round":0,"step":3,"signbytes":"0"}"#, "signbytes"),
        (r#"{"height":"1","round":0,"step":3,"signbytes":"0G"}"#, "signbytes"),
        (r#"{"height":"1","round":"-1","step":2,"block_id":null}"#, "round"),
        (r#"{"height":"1","round":"0","step":9,"block_id":null}"#, "step"),
        (r#"{"height":"1","round":"0","step":-1,"block_id":null}"#, "step"),
        (
            r#"{"height":"1","round":"0","step":2,"block_id":{"hash":"00","parts":{"total":1,"hash":""}}}"#,
            "block_id.hash",
        ),
    ] {
        match import(text.as_bytes(), &chain()) {
            Err(FormatError::Range { field: found, .. }) => assert_eq!(found, field, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let long = " ".repeat(MAX_BYTES + 1);
    assert!(matches!(import(long.as_bytes(), &chain()), Err(FormatError::TooLong { .. })));
}

#[test]
fn a_record_is_written_as_filepv_writes_it() {
    let text = |record| export(Format::FilePv, &record).unwrap().text;
    let of = |step| Record::of(7, vote(12, 1, step, 4, 9));
    assert_eq!(text(of(Step::Prevote)), "{\n  \"height\": \"12\",\n  \"round\": 1,\n  \"step\": 2\n}\n");
    assert_eq!(text(of(Step::Precommit)), "{\n  \"height\": \"12\",\n  \"round\": 1,\n  \"step\": 3\n}\n");
    assert_eq!(text(Record::never_signed()), "{\n  \"height\": \"0\",\n  \"round\": 0,\n  \"step\": 0\n}\n");
    let floor = text(Record::floor(1, end_of(12)));
    assert_eq!(floor, "{\n  \"height\": \"12\",\n  \"round\": 2147483647,\n  \"step\": 3\n}\n");
    let notes = export(Format::FilePv, &of(Step::Prevote)).unwrap().notes;
    assert_eq!(notes, [Note::OwnerDropped, Note::BytesDropped]);
}

#[test]
fn a_record_is_written_as_tmkms_writes_it() {
    let json = |record: &Record| -> serde_json::Value {
        serde_json::from_str(&export(Format::Tmkms, record).unwrap().text).unwrap()
    };
    let block = "04".repeat(32);
    assert_eq!(
        json(&Record::of(7, vote(12, 1, Step::Precommit, 4, 9))),
        serde_json::json!({"height": "12", "round": "1", "step": 2,
            "block_id": {"hash": block, "parts": {"total": 1, "hash": block}}})
    );
    let nil = serde_json::json!({"hash": "", "parts": {"total": 0, "hash": ""}});
    assert_eq!(
        json(&Record::of(7, vote(12, 1, Step::Prevote, 0, 9))),
        serde_json::json!({"height": "12", "round": "1", "step": 1, "block_id": nil})
    );
    assert_eq!(
        json(&Record::never_signed()),
        serde_json::json!({"height": "0", "round": "0", "step": 0, "block_id": nil})
    );
}

#[test]
fn a_record_without_bytes_is_raised_for_tmkms_which_would_sign_nil_there() {
    for (position, expected) in [
        (at(12, 1, Step::Proposal), ("12", "1", 1)),
        (at(12, 1, Step::Prevote), ("12", "1", 2)),
        (at(12, 1, Step::Precommit), ("12", "2", 0)),
        (end_of(12), ("13", "0", 0)),
    ] {
        let exported = export(Format::Tmkms, &Record::floor(1, position)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&exported.text).unwrap();
        assert_eq!(
            (json["height"].as_str().unwrap(), json["round"].as_str().unwrap(), json["step"].as_i64().unwrap()),
            expected
        );
        assert!(exported.notes.contains(&Note::RaisedByOne));
    }
    let highest = Record::floor(1, end_of(i64::MAX));
    assert_eq!(export(Format::Tmkms, &highest).unwrap_err(), FormatError::NoHigher);
}

fn positions() -> impl Strategy<Value = Position> {
    let heights = prop_oneof![0..20_i64, Just(i64::MAX - 1), any::<i64>().prop_map(|height| height & i64::MAX)];
    let rounds = prop_oneof![0..3_i64, Just(i64::from(i32::MAX))];
    (heights, rounds, 0..3_usize).prop_map(|(height, round, step)| at(height, round, Step::ALL[step]))
}

fn config() -> ProptestConfig {
    let persistence = FileFailurePersistence::Direct("tests/formats.regressions");
    // `PROPTEST_CASES` can ask for more.
    let cases = ProptestConfig::default().cases.max(2_000);
    ProptestConfig { cases, failure_persistence: Some(Box::new(persistence)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_exported_and_imported_again_is_never_lower(position in positions(), sequence in 0..1000_u64) {
        for format in [Format::FilePv, Format::Tmkms] {
            for record in [Record::floor(sequence, position), nth(sequence, 3), Record::never_signed()] {
                let Ok(exported) = export(format, &record) else { continue };
                let back = import(exported.text.as_bytes(), &chain()).unwrap();
                prop_assert_eq!(back.format, format);
                prop_assert!(back.position >= record.position() || record.position().height == Height::ZERO);
                prop_assert!(back.statement.is_none());
            }
        }
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = import(&bytes, &chain());
        let _ = store::file::look_at(&bytes, bytes.len() as u64);
    }
}
