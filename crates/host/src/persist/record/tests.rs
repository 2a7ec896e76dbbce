//! A file that is busy for longer than anybody waits: what opens neither waits with it nor takes from others what it
//! does not want any more.
use super::*;
use guard::{ChainId, Record};
use std::path::Path;
use store::FileStore;

fn identity() -> Identity {
    Identity { chain_id: ChainId::try_from("busy-1").unwrap(), public_key: Box::from([7; 32]) }
}

/// A slot of a new file, in a folder of its own.
fn slot(name: &str) -> (PathBuf, Arc<Slot>) {
    let folder = std::env::temp_dir().join(format!("tmkms-record-{name}-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("state.json");
    FileStore::create(&path, &identity(), &Record::never_signed()).unwrap();
    (folder, Arc::new(Slot::new(path, Arc::default())))
}

fn claim<'a>(identity: &'a Identity, stream: &'a Arc<UnixStream>, wait: Duration) -> Claim<'a> {
    let until = Instant::now() + wait;
    Claim { identity, life: [1; 16], stream, cid: None, hand_over: until, until }
}

fn end(folder: &Path) {
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_opening_does_not_wait_with_a_file_that_hangs_and_succeeds_when_it_goes_on() {
    let (folder, slot) = slot("hangs");
    let (identity, (stream, _peer)) = (identity(), UnixStream::pair().unwrap());
    let stream = Arc::new(stream);
    let hanging = slot.lock();
    let error = slot.open(&claim(&identity, &stream, Duration::from_millis(20))).err().unwrap();
    assert!(error.trouble == Trouble::Failed && error.detail.contains("kernel's log"), "{error}");
    drop(hanging);
    let (lease, _) = slot.open(&claim(&identity, &stream, Duration::from_secs(60))).unwrap();
    assert_eq!(lease.recover().unwrap(), Record::never_signed());
    drop(lease);
    end(&folder);
}

#[test]
fn an_opening_that_was_given_up_while_it_waited_takes_the_record_from_nobody() {
    let (folder, slot) = slot("given-up");
    let (identity, (stream, _peer)) = (identity(), UnixStream::pair().unwrap());
    let stream = Arc::new(stream);
    let (lease, _) = slot.open(&claim(&identity, &stream, Duration::from_secs(60))).unwrap();
    let (late, gone) = UnixStream::pair().unwrap();
    drop(gone);
    let error = slot.open(&claim(&identity, &Arc::new(late), Duration::from_secs(60))).err().unwrap();
    assert!(error.trouble == Trouble::Failed && error.detail.contains("has hung up"), "{error}");
    assert!(!lease.is_fenced());
    lease.recover().unwrap();
    drop(lease);
    end(&folder);
}

#[test]
fn a_fenced_connection_is_told_what_lets_the_same_life_try_again() {
    let (folder, slot) = slot("fenced");
    let (identity, (stream, _peer)) = (identity(), UnixStream::pair().unwrap());
    let stream = Arc::new(stream);
    let wait = Duration::from_secs(60);
    let (first, _) = slot.open(&claim(&identity, &stream, wait)).unwrap();
    let (second, _) = slot.open(&claim(&identity, &stream, wait)).unwrap();
    let error = first.recover().unwrap_err();
    assert!(error.trouble == Trouble::Unknown && error.detail.contains("replaced"), "{error}");
    second.recover().unwrap();
    drop((first, second));
    end(&folder);
}

#[test]
fn openings_of_one_key_wait_for_each_other_and_not_for_ever() {
    let (memory, identity) = (Memory::default(), identity());
    let long = Instant::now() + Duration::from_secs(60);
    let opening = memory.begin(&identity, long).unwrap();
    let error = memory.begin(&identity, Instant::now()).err().unwrap();
    assert!(error.trouble == Trouble::Failed && error.detail.contains("busy-1"), "{error}");
    let other = Identity { public_key: Box::from([8; 32]), ..identity.clone() };
    drop(memory.begin(&other, long).unwrap());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| memory.begin(&identity, long).map(drop));
        drop(opening);
        waiting.join().unwrap().unwrap();
    });
    drop(memory.begin(&identity, long).unwrap());
}

/// What the connection's thread does: it reads until the end, and lets go of the record.
fn held_until_the_end(lease: Lease, stream: Arc<UnixStream>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut byte = [0];
        assert_eq!(std::io::Read::read(&mut &*stream, &mut byte).unwrap(), 0);
        drop(lease);
    })
}

#[test]
fn a_connection_that_a_dead_enclave_left_gives_way_to_the_next_life_of_its_cid_and_to_no_other() {
    let (folder, slot) = slot("over");
    let identity = identity();
    let ((first, _peer), (second, _second_peer)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    let (first, second) = (Arc::new(first), Arc::new(second));
    let claim = |stream, life, cid| Claim { life: [life; 16], cid, ..claim(&identity, stream, Duration::from_secs(5)) };
    let (lease, _) = slot.open(&claim(&first, 1, Some(16))).unwrap();
    let thread = held_until_the_end(lease, Arc::clone(&first));
    for other in [Some(17), None] {
        let soon = Claim { hand_over: Instant::now(), ..claim(&second, 2, other) };
        let error = slot.open(&soon).err().unwrap();
        assert!(error.trouble == Trouble::Superseded && error.detail.contains("another enclave holds"), "{error}");
    }
    let (lease, _) = slot.open(&claim(&second, 2, Some(16))).unwrap();
    thread.join().unwrap();
    assert_eq!(lease.recover().unwrap(), Record::never_signed());
    end(&folder);
}
