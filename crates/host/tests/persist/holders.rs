//! Who holds a state: one life of an enclave at a time, and of its connections the latest.
use crate::world::{PORT, TOKEN, World, end, identity, identity_of, vote};
use guard::{Denied, Guard, Record, Store, StoreError, Trouble};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};
use store::RemoteStore;

fn refused(guard: &mut Guard<RemoteStore>, height: u64) -> StoreError {
    match guard.authorize(vote(height, 1), None).unwrap_err() {
        Denied::Store(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_second_life_is_refused_with_the_reason_until_the_first_is_gone() {
    let world = World::with_state();
    let persist = world.persist();
    let mut first = world.enclave(1);
    let _ = first.authorize(vote(1, 1), None).unwrap();
    let mut second = world.enclave(2);
    for _ in 0..2 {
        let error = refused(&mut second, 2);
        assert_eq!(error.trouble, Trouble::Superseded);
        assert!(error.detail.contains("another enclave holds this state, since 0 min"), "{error}");
        assert!(
            error.detail.contains("terminate") && error.detail.contains("restart `tmkms nitro persist`"),
            "{error}"
        );
    }
    let _ = first.authorize(vote(2, 1), None).unwrap();
    drop(first);
    let _ = second.authorize(vote(3, 1), None).unwrap();
    assert!(matches!(second.authorize(vote(2, 2), None), Err(Denied::Refused(_))));
    end(persist);
}

#[test]
fn of_two_lives_that_run_against_each_other_exactly_one_advances_at_a_time() {
    let world = World::with_state();
    let persist = world.persist();
    let allowed = std::sync::Mutex::new(std::collections::HashMap::new());
    thread::scope(|scope| {
        for life in [1, 2] {
            let (world, allowed) = (&world, &allowed);
            scope.spawn(move || {
                for birth in 0..4 {
                    let mut enclave = world.enclave(life + 10 * birth);
                    for height in 1..200 {
                        if let Ok(permit) = enclave.authorize(vote(height, life), None) {
                            let earlier = allowed.lock().unwrap().insert(height, life);
                            assert!(earlier.is_none_or(|other| other == life), "two votes at {height}");
                            drop(permit);
                        }
                    }
                }
            });
        }
    });
    assert!(allowed.lock().unwrap().len() >= 199);
    end(persist);
}

#[test]
fn the_end_of_a_connection_is_noticed_while_nothing_is_asked() {
    let world = World::with_state();
    let persist = world.persist();
    for life in 1..10 {
        let mut enclave = world.enclave(life);
        enclave.recover().unwrap();
    }
    end(persist);
}

#[test]
fn the_same_life_takes_over_and_its_earlier_connection_is_fenced() {
    let world = World::with_state();
    let persist = world.persist();
    let mut first = world.store("u", 1, &identity(), &TOKEN);
    let mut record = first.recover().unwrap();
    let mut second = world.store("u", 1, &identity(), &TOKEN);
    assert_eq!(second.recover().unwrap(), record);
    let next = Record::of(1, vote(1, 1));
    let error = first.commit(&record, &next).unwrap_err();
    assert!(error.trouble == Trouble::Unknown && error.detail.contains("replaced"), "{error}");
    let _ = second.commit(&record, &next).unwrap();
    // A fenced store opens again, and fences the other in turn. What both agree on is the record.
    for number in 2..10 {
        record = first.recover().unwrap_or_else(|_| first.recover().unwrap());
        let _ = first.commit(&record, &Record::of(number, vote(number, 1))).unwrap();
        std::mem::swap(&mut first, &mut second);
    }
    end(persist);
}

#[test]
fn two_keys_of_one_enclave_cannot_share_a_file_that_names_none() {
    let world = World::new();
    let owner = store::file::slot::Owner::unbound(identity().chain_id);
    store::FileStore::create_for(&world.state(), &owner, &crate::world::floor(1)).unwrap();
    let persist = world.persist();
    let mut one = world.store("u", 1, &identity(), &TOKEN);
    one.recover().unwrap();
    let error = world.store("u", 1, &identity_of(crate::world::CHAIN, 8), &TOKEN).recover().unwrap_err();
    assert!(error.detail.contains("another key of this enclave"), "{error}");
    end(persist);
}

#[test]
fn who_says_nothing_or_nonsense_disturbs_nobody() {
    let world = World::with_state();
    let persist = world.persist();
    let connect = || UnixStream::connect(world.base(&format!("u_{PORT}"))).unwrap();
    let silent: Vec<_> = (0..40).map(|_| connect()).collect();
    for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 4096], &[0xff; 4096], b"tmkw"] {
        let mut stream = connect();
        let _ = stream.write_all(nonsense);
    }
    let mut enclave = world.enclave(1);
    let _ = enclave.authorize(vote(1, 1), None).unwrap();
    // Who does not open within 5 s is hung up on.
    let begun = Instant::now();
    let mut first = &silent[0];
    first.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut byte = [0];
    assert!(matches!(first.read(&mut byte), Ok(0) | Err(_)));
    assert!(begun.elapsed() < Duration::from_secs(50));
    let _ = enclave.authorize(vote(2, 1), None).unwrap();
    end(persist);
}

#[test]
fn more_connections_than_there_may_be_are_refused_and_the_others_go_on() {
    let world = World::with_state();
    let persist = world.persist();
    let mut enclave = world.enclave(1);
    let _ = enclave.authorize(vote(1, 1), None).unwrap();
    let many: Vec<_> = (0..300).filter_map(|_| UnixStream::connect(world.base(&format!("u_{PORT}"))).ok()).collect();
    let _ = enclave.authorize(vote(2, 1), None).unwrap();
    drop(many);
    let until = Instant::now() + Duration::from_secs(20);
    let mut later = world.enclave(1);
    while later.recover().is_err() {
        assert!(Instant::now() < until, "nobody is let in any more");
        thread::sleep(Duration::from_millis(20));
    }
    end(persist);
}
