//! The real guard on the real store, on a disk that fails and loses: no two different messages at one position, and
//! nothing signed that a power cut could take back.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
mod disk;

use disk::{Dice, Handle, created, identity, vote};
use guard::{Denied, Guard, Position, Record, Statement, Step, Store, Trouble};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::collections::HashMap;
use store::FileStore;

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A node asks for a vote.
    Ask { height: u64, round: u64, precommit: bool, block: u8, seconds: u64 },
    /// One of the next calls fails.
    Fail { seed: u64 },
    /// The process dies and starts again; what the cache shows stays.
    Kill,
    /// The power fails; of what was not synced, the disk keeps what the seed says.
    PowerCut { seed: u64 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let ask = (1..5_u64, 0..2_u64, any::<bool>(), 0..3_u8, 0..3_u64)
        .prop_map(|(height, round, precommit, block, seconds)| Event::Ask { height, round, precommit, block, seconds });
    let event = prop_oneof![
        8 => ask,
        2 => any::<u64>().prop_map(|seed| Event::Fail { seed }),
        1 => Just(Event::Kill),
        1 => any::<u64>().prop_map(|seed| Event::PowerCut { seed }),
    ];
    prop::collection::vec(event, 1..60)
}

/// A host: its disk, its signer, and everything that was ever signed.
struct World {
    disk: Handle,
    guard: Option<Guard<FileStore<Handle>>>,
    signed: HashMap<Position, Statement>,
    signatures: u64,
    cuts: u64,
}

impl World {
    fn new() -> Self {
        let disk = Handle::new(created(&Record::never_signed()), 0);
        Self { disk, guard: None, signed: HashMap::new(), signatures: 0, cuts: 0 }
    }

    /// Starts the signer if it does not run. None if it refuses, which only a torn slot may make it do.
    fn guard(&mut self) -> Option<&mut Guard<FileStore<Handle>>> {
        if self.guard.is_none() {
            match self.disk.open() {
                Ok(store) => self.guard = Some(Guard::new(identity(), store)),
                Err(error) => {
                    assert!(self.disk.is_torn(), "refused without damage: {error}");
                    return None;
                }
            }
        }
        self.guard.as_mut()
    }

    fn ask(&mut self, request: &Statement) {
        let Some(guard) = self.guard() else { return };
        let answer = guard.authorize(request.clone(), None);
        if guard.is_ready() {
            self.disk.healed();
        }
        match answer {
            Ok(permit) => {
                let allowed = Statement::parse(permit.sign_bytes()).unwrap();
                assert!(allowed.equals_but_for_time(request), "another message than was asked for");
                let signed = self.signed.entry(permit.position()).or_insert_with(|| allowed.clone());
                assert_eq!(signed.bytes(), allowed.bytes(), "two different messages at {}", permit.position());
                self.signatures += 1;
                self.survives(&allowed);
            }
            Err(Denied::RolledBack { .. }) => panic!("the store went back in one life"),
            Err(Denied::Store(error)) => assert_eq!(error.trouble, Trouble::Failed, "{error}"),
            Err(Denied::Refused(_)) => {}
        }
    }

    /// Whatever is left after a power cut at this moment, what was just signed is in it.
    fn survives(&mut self, signed: &Statement) {
        for image in self.disk.moment().images().0 {
            self.cuts += 1;
            let record = Handle::new(image, 0).open().unwrap().recover().unwrap();
            assert!(record.position() >= signed.position(), "a power cut takes back {signed:?}");
            if record.position() == signed.position() {
                assert_eq!(record.statement(), Some(signed));
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Ask { height, round, precommit, block, seconds } => {
                let step = if precommit { Step::Precommit } else { Step::Prevote };
                self.ask(&vote(height, round, step, block, seconds));
            }
            Event::Fail { seed } => self.disk.fail_next(Dice::new(seed).fault()),
            Event::Kill => self.guard = None,
            Event::PowerCut { seed } => {
                let moment = self.disk.moment();
                let images = moment.images().0;
                let image = images[Dice::new(seed).below(images.len() as u64) as usize];
                self.guard = None;
                self.disk = Handle::new(image, 0);
                self.disk.0.borrow_mut().torn = moment.torn;
            }
        }
    }
}

fn config() -> ProptestConfig {
    let persistence = FileFailurePersistence::Direct("tests/guarded.regressions");
    // `PROPTEST_CASES` can ask for more.
    let cases = ProptestConfig::default().cases.max(2_000);
    ProptestConfig { cases, failure_persistence: Some(Box::new(persistence)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_history_of_requests_failures_kills_and_cuts_signs_two_messages_at_one_position(history in events()) {
        let mut world = World::new();
        for event in history {
            world.happen(event);
        }
    }
}

#[test]
fn the_histories_do_sign_and_are_cut() {
    let (mut signatures, mut cuts) = (0, 0);
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let mut world = World::new();
        for height in 1..30 {
            if dice.below(5) == 0 {
                world.happen(Event::Fail { seed: dice.below(1 << 30) });
            }
            if dice.below(9) == 0 {
                world.happen(Event::PowerCut { seed: dice.below(1 << 30) });
            }
            for precommit in [false, true] {
                let (block, seconds) = (dice.below(3) as u8, dice.below(3));
                world.happen(Event::Ask { height, round: 0, precommit, block, seconds });
                world.happen(Event::Ask { height, round: 0, precommit, block: dice.below(3) as u8, seconds: 7 });
            }
        }
        signatures += world.signatures;
        cuts += world.cuts;
    }
    println!("guard on the store: {signatures} signatures, {cuts} power cuts at the moment of one");
    assert!(signatures > 5_000 && cuts >= signatures, "{signatures}, {cuts}");
}
