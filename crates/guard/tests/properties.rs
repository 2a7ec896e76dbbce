//! Long random histories over a larger world, with the same observer as the exhaustive walk.
mod world;

use guard::{Extension, Record, Statement, Step};
use proptest::prelude::*;
use world::{Ask, Flaw, OUTCOMES, Random, World};

fn asks() -> Vec<Ask> {
    let mut asks = vec![];
    for height in 1..=4 {
        for round in 0..=2 {
            for step in Step::ALL {
                for block in [Some(b'A'), Some(b'B'), None] {
                    if step != Step::Proposal || block.is_some() {
                        asks.extend([10, 11].map(|seconds| Ask::new(height, round, step, block, seconds)));
                    }
                }
            }
        }
    }
    asks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_long_history_breaks_the_rule(choices in prop::collection::vec(any::<u16>(), 1..1_500)) {
        let asks = asks();
        let mut world = World::new(Record::never_signed(), Flaw::None);
        let steps = choices.len() / 5;
        let mut chooser = Random(choices.into_iter());
        for _ in 0..steps {
            world.step(&asks, &OUTCOMES, &mut chooser);
        }
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in prop::collection::vec(any::<u8>(), 0..260)) {
        let _ = Statement::parse(&bytes);
        let _ = Statement::parse(&world::delimited(&bytes));
        let _ = Extension::parse(world::delimited(&bytes).into());
    }

    /// What one wrong bit does to sign bytes: they are refused, or they say something else; never the same.
    #[test]
    fn one_flipped_bit_is_never_overlooked(index in any::<prop::sample::Index>(), bit in 0..8_u8, which in any::<prop::sample::Index>()) {
        let asks = asks();
        let ask = asks[which.index(asks.len())];
        let bytes = ask.sign_bytes(world::CHAIN);
        let mut flipped = bytes.clone();
        flipped[index.index(bytes.len())] ^= 1 << bit;
        if let Ok(other) = Statement::parse(&flipped) {
            let original = Statement::parse(&bytes).unwrap();
            let says = |s: &Statement| (s.position(), s.content(), s.timestamp(), s.chain_id().to_owned());
            prop_assert_ne!(says(&original), says(&other));
        }
    }
}
