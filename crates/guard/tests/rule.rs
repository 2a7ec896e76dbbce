//! The table of the rule, line by line, and what needs no record to be refused.
#![allow(clippy::unwrap_used)]
mod world;

use guard::{
    BlockId, Committed, Denied, Extension, Guard, Height, Position, Record, Refusal, Round, Statement, Step, Store,
    StoreError, Trouble,
};
use world::{Ask, CHAIN, identity};

const A: Option<u8> = Some(b'A');
const B: Option<u8> = Some(b'B');

/// A store in memory that does what it is told.
struct Memory {
    held: Record,
    commits: u32,
    next_error: Option<StoreError>,
}

impl Store for Memory {
    fn recover(&mut self) -> Result<Record, StoreError> {
        self.next_error.take().map_or_else(|| Ok(self.held.clone()), Err)
    }

    fn commit(&mut self, previous: &Record, next: &Record) -> Result<Committed, StoreError> {
        if let Some(error) = self.next_error.take() {
            return Err(error);
        }
        assert_eq!(self.held, *previous);
        self.commits += 1;
        self.held = next.clone();
        Ok(Committed::durably(next))
    }
}

fn guard_over(held: Record) -> Guard<Memory> {
    Guard::new(identity(), Memory { held, commits: 0, next_error: None })
}

fn ask(guard: &mut Guard<Memory>, ask: Ask) -> Result<guard::Permit, Denied> {
    guard.authorize(ask.statement(), ask.extension())
}

fn signs(guard: &mut Guard<Memory>, message: Ask) {
    drop(ask(guard, message).unwrap());
}

fn refusal(result: Result<guard::Permit, Denied>) -> Refusal {
    match result {
        Err(Denied::Refused(refusal)) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn prevote(height: i64, block: Option<u8>, seconds: i64) -> Ask {
    Ask::new(height, 0, Step::Prevote, block, seconds)
}

#[test]
fn a_key_that_never_signed_may_sign_the_first_proposal_of_height_one() {
    let mut guard = guard_over(Record::never_signed());
    let permit = ask(&mut guard, Ask::new(1, 0, Step::Proposal, A, 10)).unwrap();
    assert!(!permit.is_repeat());
}

#[test]
fn a_higher_position_is_committed_and_signed_as_asked() {
    let mut guard = guard_over(Record::never_signed());
    for (height, round, step) in
        [(1, 0, Step::Proposal), (1, 0, Step::Precommit), (1, 3, Step::Prevote), (9, 0, Step::Prevote)]
    {
        let wanted = Ask::new(height, round, step, A, 10);
        let permit = ask(&mut guard, wanted).unwrap();
        assert_eq!(permit.sign_bytes(), wanted.sign_bytes(CHAIN));
        assert_eq!(*permit.identity(), identity());
        assert_eq!(guard.acknowledged().unwrap().statement(), Some(&wanted.statement()));
    }
}

#[test]
fn an_identical_repeat_gets_the_same_bytes_without_another_commit() {
    let mut guard = guard_over(Record::never_signed());
    signs(&mut guard, prevote(5, A, 10));
    let permit = ask(&mut guard, prevote(5, A, 10)).unwrap();
    assert!(permit.is_repeat());
    assert_eq!(permit.sign_bytes(), prevote(5, A, 10).sign_bytes(CHAIN));
    assert_eq!(guard.acknowledged().unwrap().sequence(), 1);
}

#[test]
fn a_repeat_with_another_timestamp_gets_the_recorded_bytes_and_time() {
    let mut guard = guard_over(Record::never_signed());
    for seconds in [10, 0, 1_700_000_000] {
        let permit = ask(&mut guard, prevote(5, A, 10)).unwrap();
        assert_eq!(permit.timestamp().seconds, 10);
        let again = ask(&mut guard, prevote(5, A, seconds)).unwrap();
        assert_eq!(again.sign_bytes(), prevote(5, A, 10).sign_bytes(CHAIN));
        assert_eq!(again.timestamp().seconds, 10);
    }
}

#[test]
fn another_block_at_the_same_position_is_refused_with_both_block_ids() {
    let mut guard = guard_over(Record::never_signed());
    signs(&mut guard, prevote(5, A, 10));
    let refusal = refusal(ask(&mut guard, prevote(5, B, 10)));
    assert_eq!(refusal.name(), "conflict");
    let text = refusal.to_string();
    assert!(
        text.contains(&"41".repeat(32)) && text.contains(&"42".repeat(32)) && text.contains("5/0/prevote"),
        "{text}"
    );
}

#[test]
fn nil_after_a_block_is_a_conflict_and_a_block_after_nil_too() {
    for (first, second) in [(A, None), (None, A)] {
        let mut guard = guard_over(Record::never_signed());
        signs(&mut guard, prevote(5, first, 10));
        assert_eq!(refusal(ask(&mut guard, prevote(5, second, 10))).name(), "conflict");
    }
}

#[test]
fn different_blocks_in_different_steps_of_one_round_are_allowed() {
    let mut guard = guard_over(Record::never_signed());
    signs(&mut guard, Ask::new(5, 0, Step::Proposal, A, 10));
    signs(&mut guard, Ask::new(5, 0, Step::Prevote, B, 10));
    signs(&mut guard, Ask::new(5, 0, Step::Precommit, A, 10));
}

#[test]
fn lower_positions_are_refused_by_what_went_back() {
    let mut guard = guard_over(Record::never_signed());
    signs(&mut guard, Ask::new(5, 2, Step::Prevote, A, 10));
    for (lower, name) in [
        (Ask::new(4, 9, Step::Precommit, A, 10), "height_regression"),
        (Ask::new(5, 1, Step::Precommit, A, 10), "round_regression"),
        (Ask::new(5, 2, Step::Proposal, A, 10), "step_regression"),
    ] {
        let refusal = refusal(ask(&mut guard, lower));
        assert_eq!(refusal.name(), name);
        assert!(refusal.to_string().contains("last signed 5/2/prevote"), "{refusal}");
    }
}

#[test]
fn after_state_init_nothing_at_or_below_the_height_is_signed() {
    let floor = Position::end_of(Height::try_from(100).unwrap());
    let mut guard = guard_over(Record::floor(7, floor));
    assert_eq!(refusal(ask(&mut guard, prevote(100, A, 10))).name(), "round_regression");
    let last = Ask::new(100, i64::from(i32::MAX), Step::Precommit, A, 10);
    assert_eq!(refusal(ask(&mut guard, last)), Refusal::BytesUnknown { position: floor });
    assert_eq!(ask(&mut guard, Ask::new(101, 0, Step::Proposal, A, 10)).unwrap().position().round, Round::ZERO);
}

#[test]
fn nothing_above_max_height_is_signed_and_nothing_is_committed_for_it() {
    let mut guard = guard_over(Record::never_signed()).with_max_height(Some(Height::try_from(10).unwrap()));
    signs(&mut guard, prevote(10, A, 10));
    assert_eq!(refusal(ask(&mut guard, prevote(11, A, 10))).name(), "above_max_height");
    assert_eq!(guard.acknowledged().unwrap().position().height.get(), 10);
}

#[test]
fn a_message_for_another_chain_is_refused_with_both_names() {
    let mut guard = guard_over(Record::never_signed());
    let other = Statement::parse(&prevote(1, A, 10).sign_bytes("other-chain")).unwrap();
    let refusal = refusal(guard.authorize(other, None));
    assert!(refusal.to_string().contains("small-world") && refusal.to_string().contains("other-chain"));
}

#[test]
fn an_extension_is_taken_only_by_a_precommit_for_a_block_of_the_same_height_and_round() {
    let extension = |height| Ask::new(height, 0, Step::Precommit, A, 10).extension().unwrap();
    let mut guard = guard_over(Record::never_signed());
    for (vote, extension) in [
        (Ask::new(5, 0, Step::Proposal, A, 10), extension(5)),
        (prevote(5, A, 10), extension(5)),
        (Ask::new(5, 0, Step::Precommit, None, 10), extension(5)),
        (Ask::new(5, 0, Step::Precommit, A, 10), extension(6)),
        (Ask::new(5, 1, Step::Precommit, A, 10), extension(5)),
    ] {
        assert_eq!(refusal(guard.authorize(vote.statement(), Some(extension))).name(), "extension");
    }
    let vote = Ask::new(5, 0, Step::Precommit, A, 10);
    let permit = guard.authorize(vote.statement(), vote.extension()).unwrap();
    assert_eq!(permit.extension_sign_bytes(), vote.extension().as_ref().map(Extension::bytes));
}

#[test]
fn a_repeated_precommit_gets_leave_for_its_extension_again() {
    let vote = Ask::new(5, 0, Step::Precommit, A, 10);
    let mut guard = guard_over(Record::never_signed());
    signs(&mut guard, vote);
    assert!(ask(&mut guard, vote).unwrap().extension_sign_bytes().is_some());
    assert!(guard.authorize(vote.statement(), None).unwrap().extension_sign_bytes().is_none());
}

#[test]
fn a_store_that_cannot_be_read_stops_signing_until_it_was_recovered() {
    let error = StoreError { trouble: Trouble::Failed, detail: "no space".to_owned() };
    let store = Memory { held: Record::never_signed(), commits: 0, next_error: Some(error.clone()) };
    let mut guard = Guard::new(identity(), store);
    assert_eq!(ask(&mut guard, prevote(2, A, 10)).unwrap_err(), Denied::Store(error));
    assert!(!guard.is_ready() && guard.acknowledged().is_none());
    signs(&mut guard, prevote(2, A, 10));
}

/// A store whose commits fail as if unanswered, and whose next recovery says what it was told to.
struct Unanswered {
    first: Record,
    then: Record,
    recovered: bool,
}

impl Store for Unanswered {
    fn recover(&mut self) -> Result<Record, StoreError> {
        Ok(if std::mem::replace(&mut self.recovered, true) { self.then.clone() } else { self.first.clone() })
    }

    fn commit(&mut self, _: &Record, _: &Record) -> Result<Committed, StoreError> {
        Err(StoreError { trouble: Trouble::Unknown, detail: "no answer".to_owned() })
    }
}

/// The store first says `first`, loses an answer for `attempt`, then says `then`.
fn after_a_lost_answer(first: Ask, attempt: Ask, then: Record, asked: Ask) -> Result<guard::Permit, Denied> {
    let first = Record::of(1, first.statement());
    let mut guard = Guard::new(identity(), Unanswered { first, then, recovered: false });
    let lost = guard.authorize(attempt.statement(), None).unwrap_err();
    assert!(matches!(lost, Denied::Store(StoreError { trouble: Trouble::Unknown, .. })));
    guard.authorize(asked.statement(), None)
}

#[test]
fn a_vote_whose_answer_was_lost_is_signed_as_a_repeat_once_the_store_shows_it() {
    let stored = Record::of(2, prevote(6, A, 10).statement());
    let permit = after_a_lost_answer(prevote(5, A, 10), prevote(6, A, 10), stored, prevote(6, A, 12)).unwrap();
    assert_eq!((permit.is_repeat(), permit.timestamp().seconds), (true, 10));
}

#[test]
fn a_store_that_says_less_than_it_acknowledged_is_not_believed() {
    for rolled_back in [
        Record::never_signed(),
        Record::of(9, prevote(4, A, 10).statement()),
        Record::of(1, prevote(5, B, 10).statement()),
    ] {
        let denied =
            after_a_lost_answer(prevote(5, A, 10), prevote(6, A, 10), rolled_back, prevote(7, A, 10)).unwrap_err();
        assert!(matches!(denied, Denied::RolledBack { .. }), "{denied:?}");
        assert!(denied.to_string().contains("tmkms state repair --height 5"), "{denied}");
    }
}

#[test]
fn a_higher_record_of_another_makes_only_forbids_more() {
    let foreign = Record::of(3, prevote(8, B, 10).statement());
    let denied = after_a_lost_answer(prevote(5, A, 10), prevote(6, A, 10), foreign, prevote(7, A, 10));
    assert_eq!(refusal(denied).name(), "height_regression");
}

#[test]
fn a_record_of_another_chain_out_of_the_store_is_damage() {
    let foreign = Record::of(1, Statement::parse(&prevote(1, A, 10).sign_bytes("other-chain")).unwrap());
    let denied = ask(&mut guard_over(foreign), prevote(2, A, 10)).unwrap_err();
    assert!(matches!(denied, Denied::Store(StoreError { trouble: Trouble::Damaged, .. })), "{denied:?}");
}

#[test]
fn the_errors_of_numbers_name_both_values() {
    assert_eq!(
        Height::try_from(-1).unwrap_err().to_string(),
        "height out of range: expected 0 to 9223372036854775807, got -1"
    );
    assert!(Round::try_from(i64::from(i32::MAX) + 1).is_err());
}

#[test]
fn block_ids_show_the_whole_hash() {
    let id = BlockId { hash: [0xAB; 32], parts_total: 3, parts_hash: [0xCD; 32] };
    assert_eq!(id.to_string(), format!("{}:3:CDCDCDCDCDCD", "AB".repeat(32)));
}

#[test]
fn a_sequence_that_has_no_next_one_is_damage_and_no_panic() {
    let held = Record::floor(u64::MAX, Record::never_signed().position());
    let denied = ask(&mut guard_over(held), prevote(5, A, 10)).unwrap_err();
    let Denied::Store(error) = denied else { panic!("expected the store's trouble, got {denied:?}") };
    assert!(error.trouble == Trouble::Damaged && error.detail.contains(&u64::MAX.to_string()), "{error}");
}
