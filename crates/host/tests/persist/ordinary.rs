//! What happens when nothing goes wrong, and what is refused from the start.
use crate::world::{CHAIN, TOKEN, World, end, floor, identity, identity_of, vote, vote_on};
use guard::{ChainId, Denied, Guard, Record, Step, Store, StoreError, Trouble};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use store::FileStore;
use store::file::inspect;
use store::file::slot::Owner;

fn trouble(denied: Denied) -> StoreError {
    match denied {
        Denied::Store(error) => error,
        other => panic!("expected trouble of the store, got {other}"),
    }
}

#[test]
fn votes_are_committed_in_the_file_before_they_are_allowed() {
    let world = World::with_state();
    let persist = world.persist();
    let mut enclave = world.enclave(1);
    for height in 1..=20 {
        let permit = enclave.authorize(vote(height, 1), None).unwrap();
        let held = inspect(&world.state()).unwrap();
        assert_eq!(held.held().unwrap().record.position(), permit.position());
        assert_eq!(held.held().unwrap().record.statement().unwrap().bytes(), permit.sign_bytes());
    }
    assert!(enclave.authorize(vote(20, 1), None).unwrap().is_repeat());
    assert!(matches!(enclave.authorize(vote(20, 2), None), Err(Denied::Refused(_))));
    assert!(matches!(enclave.authorize(vote(19, 1), None), Err(Denied::Refused(_))));
    end(persist);
}

#[test]
fn an_enclave_goes_on_when_persist_is_restarted() {
    let world = World::with_state();
    let mut enclave = world.enclave(1);
    assert_eq!(trouble(enclave.authorize(vote(1, 1), None).unwrap_err()).trouble, Trouble::Unknown);
    for height in 1..5 {
        let persist = world.persist();
        // The connection of the last one is gone, which shows at the first request.
        let permit = enclave.authorize(vote(height, 1), None).or_else(|_| enclave.authorize(vote(height, 1), None));
        assert_eq!(permit.unwrap().position().height.get(), height);
        assert!(matches!(enclave.authorize(vote(height, 2), None), Err(Denied::Refused(_))));
        end(persist);
    }
}

#[test]
fn a_missing_file_is_never_made_and_its_remedy_is_told() {
    let world = World::new();
    let persist = world.persist();
    let error = trouble(world.enclave(1).recover().unwrap_err());
    assert_eq!(error.trouble, Trouble::Damaged);
    assert!(error.detail.contains("state init") && error.detail.contains("--init"), "{}", error.detail);
    assert!(!world.state().exists());
    // Once it is there, nothing has to be restarted.
    FileStore::create(&world.state(), &identity(), &floor(5)).unwrap();
    let mut enclave = world.enclave(2);
    assert!(matches!(enclave.authorize(vote(5, 1), None), Err(Denied::Refused(_))));
    let _ = enclave.authorize(vote(6, 1), None).unwrap();
    end(persist);
}

#[test]
fn another_key_or_chain_is_refused_with_both_names() {
    let world = World::with_state();
    let persist = world.persist();
    let other_key = identity_of(CHAIN, 8);
    let other_chain = identity_of("persist-2", 7);
    for (other, words) in [
        (&other_key, [Owner::of(&identity()).pub_key, Owner::of(&other_key).pub_key]),
        (&other_chain, [CHAIN.to_owned(), "persist-2".to_owned()]),
    ] {
        let error = world.store("u", 1, other, &TOKEN).recover().unwrap_err();
        assert_eq!(error.trouble, Trouble::Damaged);
        assert!(words.iter().all(|word| error.detail.contains(word)), "{}", error.detail);
    }
    let _ = world.enclave(1).authorize(vote(1, 1), None).unwrap();
    end(persist);
}

#[test]
fn an_answer_that_the_token_does_not_prove_counts_for_nothing() {
    let world = World::with_state();
    let persist = world.persist();
    world.write_token(&[1; 32]);
    let error = trouble(world.enclave(1).authorize(vote(1, 1), None).unwrap_err());
    assert_eq!(error.trouble, Trouble::Unknown);
    assert!(error.detail.contains("not proven") && error.detail.contains("--token-file"), "{}", error.detail);
    // Read at every opening: nothing is restarted.
    world.write_token(&TOKEN);
    let _ = world.enclave(1).authorize(vote(1, 1), None).unwrap();
    end(persist);
}

#[test]
fn a_token_that_is_missing_or_loose_is_refused_with_what_to_do() {
    let world = World::with_state();
    let persist = world.persist();
    let token = world.token().path().to_owned();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    let error = trouble(world.enclave(1).recover().unwrap_err());
    assert!(error.trouble == Trouble::Unknown && error.detail.contains("0644"), "{}", error.detail);
    fs::remove_file(&token).unwrap();
    let error = trouble(world.enclave(1).recover().unwrap_err());
    assert!(error.trouble == Trouble::Unknown && error.detail.contains("push-config"), "{}", error.detail);
    world.write_token(&TOKEN);
    world.enclave(1).recover().unwrap();
    end(persist);
}

#[test]
fn a_folder_serves_each_chain_and_key_its_own_file_side_by_side() {
    let world = World::new();
    let folder = world.folder.join("states");
    let identities = [identity_of("chain-a", 1), identity_of("chain-a", 2), identity_of("chain-b", 1)];
    for (number, identity) in identities.iter().enumerate() {
        FileStore::create(&folder.join(format!("{number}.json")), identity, &floor(10)).unwrap();
    }
    fs::write(folder.join("notes.txt"), "not a state").unwrap();
    let persist = world.persist_at("u", vec![folder.clone()]);
    std::thread::scope(|scope| {
        for identity in &identities {
            scope.spawn(|| {
                let mut guard = Guard::new(identity.clone(), world.store("u", 1, identity, &TOKEN));
                for height in 11..60 {
                    let request = vote_on(identity.chain_id.as_str(), height, 0, Step::Prevote, 1, 1);
                    let _ = guard.authorize(request, None).unwrap();
                }
            });
        }
    });
    for (number, identity) in identities.iter().enumerate() {
        let held = inspect(&folder.join(format!("{number}.json"))).unwrap();
        assert_eq!(held.held().unwrap().owner, Owner::of(identity));
        assert_eq!(held.held().unwrap().record.position().height.get(), 59);
    }
    // Two files of one key: nobody can tell which one was signed with last.
    fs::copy(folder.join("0.json"), folder.join("0 (copy).json")).unwrap();
    let error = world.store("u", 2, &identities[0], &TOKEN).recover().unwrap_err();
    assert!(error.trouble == Trouble::Damaged && error.detail.contains("move the other one away"), "{}", error.detail);
    world.store("u", 2, &identities[1], &TOKEN).recover().unwrap();
    end(persist);
}

#[test]
fn a_file_without_a_key_is_bound_at_the_first_commit_and_not_before() {
    let world = World::new();
    let nobody = Owner::unbound(ChainId::try_from(CHAIN).unwrap());
    FileStore::create_for(&world.state(), &nobody, &floor(10)).unwrap();
    let persist = world.persist();
    let owner = || inspect(&world.state()).unwrap().held().unwrap().owner.clone();
    // An enclave that never signs takes nobody's file; the floor holds for it, too.
    let stranger = identity_of(CHAIN, 9);
    let mut strange = Guard::new(stranger.clone(), world.store("u", 9, &stranger, &TOKEN));
    strange.recover().unwrap();
    assert!(matches!(strange.authorize(vote(10, 1), None), Err(Denied::Refused(_))));
    drop(strange);
    assert!(owner().is_unbound());
    let mut enclave = world.enclave(1);
    let _ = enclave.authorize(vote(11, 1), None).unwrap();
    assert_eq!(owner(), Owner::of(&identity()));
    let _ = enclave.authorize(vote(12, 1), None).unwrap();
    drop(enclave);
    let error = world.store("u", 9, &stranger, &TOKEN).recover().unwrap_err();
    assert!(error.trouble == Trouble::Damaged && error.detail.contains("another key"), "{}", error.detail);
    let mut again = world.enclave(2);
    assert!(matches!(again.authorize(vote(12, 2), None), Err(Denied::Refused(_))));
    // Nothing is left of the binding but the file.
    let names: Vec<_> = fs::read_dir(world.folder.join("states")).unwrap().flatten().collect();
    assert_eq!(names.len(), 1);
    end(persist);
}

#[test]
fn the_file_is_locked_while_an_enclave_has_it_and_free_afterwards() {
    let world = World::with_state();
    let persist = world.persist();
    let mut enclave = world.enclave(1);
    let _ = enclave.authorize(vote(1, 1), None).unwrap();
    let error = FileStore::open(&world.state(), &identity()).err().unwrap();
    assert!(["locked", "open_twice"].contains(&error.problem.name()), "{error}");
    drop(enclave);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while FileStore::open(&world.state(), &identity()).is_err() {
        assert!(std::time::Instant::now() < until, "the file stays locked");
        std::thread::yield_now();
    }
    assert_eq!(Record::of(1, vote(1, 1)), inspect(&world.state()).unwrap().held().unwrap().record);
    end(persist);
}
