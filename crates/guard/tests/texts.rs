//! What a person reads: refusals on a floor speak of heights, and not of the largest round that there is.
#![allow(clippy::unwrap_used)]

use guard::{Denied, Height, Position, Record, Refusal, Round, Step};

fn height(number: i64) -> Height {
    Height::try_from(number).unwrap()
}

fn position(at: i64, round: i64, step: Step) -> Position {
    Position { height: height(at), round: Round::try_from(round).unwrap(), step }
}

#[test]
fn below_a_floor_the_refusal_names_its_height_and_keeps_its_name() {
    let recorded = Position::end_of(height(5));
    for (requested, name, asked) in [
        (position(5, 0, Step::Prevote), "round_regression", "5/0/prevote"),
        (position(4, 7, Step::Precommit), "height_regression", "4/7/precommit"),
    ] {
        let refusal = Refusal::Regression { recorded, requested };
        assert_eq!(refusal.name(), name);
        assert_eq!(refusal.to_string(), format!("nothing at or below height 5 may be signed, asked for {asked}"));
    }
}

#[test]
fn below_a_vote_the_refusal_names_both_positions() {
    let recorded = position(5, i64::from(i32::MAX), Step::Prevote);
    let refusal = Refusal::Regression { recorded, requested: position(5, 3, Step::Precommit) };
    let expected = "round regression: last signed 5/2147483647/prevote, asked for 5/3/precommit";
    assert_eq!(refusal.to_string(), expected);
}

#[test]
fn a_state_that_was_put_back_to_a_floor_is_told_by_its_height() {
    let acknowledged = Box::new(Record::floor(8, position(7, 0, Step::Precommit)));
    let held = Box::new(Record::floor(0, Position::end_of(height(5))));
    let text = Denied::RolledBack { acknowledged, held }.to_string();
    assert!(text.contains("it held 7/0/precommit, it now holds the end of height 5;"), "{text}");
}

#[test]
fn after_a_state_was_put_back_it_is_raised_before_anything_starts_and_the_enclave_is_never_stopped() {
    let acknowledged = Box::new(Record::floor(8, position(7, 0, Step::Precommit)));
    let held = Box::new(Record::floor(3, position(4, 0, Step::Prevote)));
    let text = Denied::RolledBack { acknowledged, held }.to_string();
    let order =
        ["`tmkms state repair --height 7` or higher before anything is started", "stop only", "never the enclave"];
    let found: Vec<_> = order.iter().map(|part| text.find(part)).collect();
    assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{text}");
}
