//! Answers that are lost, late, cut, doubled, changed or replayed; servers that die; disks that fill: never two different
//! votes at one position.
use crate::middle::{Act, Middle};
use crate::world::{CHAIN, PORT, TOKEN, World, end, floor, identity, identity_of, vote, vote_on};
use guard::{Denied, Guard, Position, Statement, Step, Store, Trouble};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use store::file::inspect;
use store::{FileStore, RemoteStore};

fn with_middle(world: &World) -> Middle {
    Middle::start(&world.base(&format!("m_{PORT}")), &world.base(&format!("u_{PORT}")))
}

fn is_unknown(result: Result<guard::Permit, Denied>) {
    match result {
        Err(Denied::Store(error)) => assert_eq!(error.trouble, Trouble::Unknown, "{error}"),
        other => panic!("expected trouble of unknown outcome, got {other:?}"),
    }
}

#[test]
fn after_a_lost_acknowledgement_the_same_vote_is_signed_once_and_another_is_refused() {
    let world = World::with_state();
    let persist = world.persist();
    let middle = with_middle(&world);
    let mut enclave = world.enclave_by("m", 1);
    let _ = enclave.authorize(vote(1, 1), None).unwrap();
    middle.will([Act::LoseAnswer]);
    is_unknown(enclave.authorize(vote(2, 1), None));
    assert_eq!(inspect(&world.state()).unwrap().held().unwrap().record.position().height.get(), 2, "it was stored");
    assert!(matches!(enclave.authorize(vote(2, 2), None), Err(Denied::Refused(_))));
    let permit = enclave.authorize(vote(2, 1), None).unwrap();
    assert!(permit.is_repeat());
    // The same when the request was lost: nothing is stored, and whichever comes first then is signed.
    middle.will([Act::LoseRequest]);
    is_unknown(enclave.authorize(vote(3, 1), None));
    let _ = enclave.authorize(vote(3, 2), None).unwrap();
    assert!(matches!(enclave.authorize(vote(3, 1), None), Err(Denied::Refused(_))));
    end(persist);
}

#[test]
fn no_changed_doubled_cut_or_earlier_answer_acknowledges_anything() {
    let world = World::with_state();
    let persist = world.persist();
    let middle = with_middle(&world);
    let mut enclave = world.enclave_by("m", 1);
    let _ = enclave.authorize(vote(1, 1), None).unwrap();
    let mut acts = vec![Act::Duplicate, Act::Twice];
    acts.extend([0, 3, 4, 11, 12, 40, 44, 45, 60, 1000].map(Act::Truncate));
    acts.extend((0..82 * 8).step_by(5).map(Act::Flip));
    acts.extend((1..12).map(Act::Replay));
    for (height, act) in (2..).zip(acts) {
        middle.will([act]);
        // The server has stored it, but whoever asks does not know.
        is_unknown(enclave.authorize(vote(height, 1), None));
        assert!(matches!(enclave.authorize(vote(height, 2), None), Err(Denied::Refused(_))), "{act:?}");
        assert!(enclave.authorize(vote(height, 1), None).unwrap().is_repeat(), "{act:?}");
    }
    end(persist);
}

#[test]
fn answers_of_an_earlier_connection_are_worth_nothing_on_a_later_one() {
    let world = World::with_state();
    let persist = world.persist();
    let middle = with_middle(&world);
    let mut enclave = world.enclave_by("m", 1);
    let _ = enclave.authorize(vote(1, 1), None).unwrap();
    drop(enclave);
    // Opening, recovery and commit are answered as the last enclave's were, with the right numbers.
    let mut again = world.enclave_by("m", 1);
    middle.will([Act::Replay(3)]);
    is_unknown(again.authorize(vote(1, 2), None));
    middle.will([Act::Pass, Act::Replay(3)]);
    is_unknown(again.authorize(vote(1, 2), None));
    assert!(matches!(again.authorize(vote(1, 2), None), Err(Denied::Refused(_))));
    end(persist);
}

#[test]
fn whoever_exchanges_the_question_gets_no_answer_that_counts() {
    // Two keys on one chain, one server: the second record is as good as empty. Someone between makes the first key's
    // enclave open the second one's, and passes on every honest and proven answer.
    let world = World::new();
    let folder = world.folder.join("states");
    FileStore::create(&folder.join("a.json"), &identity(), &floor(100)).unwrap();
    FileStore::create(&folder.join("b.json"), &identity_of(CHAIN, 8), &floor(1)).unwrap();
    let persist = world.persist_at("u", vec![folder]);
    let middle = with_middle(&world);
    middle.exchange(&[7; 32], &[8; 32]);
    let mut enclave = world.enclave_by("m", 1);
    is_unknown(enclave.authorize(vote(50, 1), None));
    end(persist);
}

#[test]
fn a_commit_that_arrives_after_its_connection_was_replaced_is_refused() {
    let world = World::with_state();
    let persist = world.persist();
    let middle = with_middle(&world);
    let mut enclave = world.enclave_by("m", 1);
    let _ = enclave.authorize(vote(1, 1), None).unwrap();
    middle.will([Act::Hold]);
    let begun = Instant::now();
    is_unknown(enclave.authorize(vote(2, 1), None));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let _ = enclave.authorize(vote(2, 2), None).unwrap();
    // Only now does the first request come to the server, on the connection that was given up.
    let answers = middle.release();
    let (_, answer, ..) = wire::state::Answer::decode(answers[0].as_deref().unwrap()).unwrap();
    assert!(
        matches!(&answer, wire::state::Answer::Trouble { trouble: Trouble::Unknown, detail } if detail.contains("replaced")),
        "{answer:?}"
    );
    assert_eq!(inspect(&world.state()).unwrap().held().unwrap().record.statement(), Some(&vote(2, 2)));
    let _ = enclave.authorize(vote(3, 1), None).unwrap();
    end(persist);
}

/// Run as a program of its own: serves until it is killed.
#[test]
fn serve_until_killed() {
    let Some(folder) = std::env::var_os("PERSIST_TEST_FOLDER") else { return };
    let world = std::mem::ManuallyDrop::new(World { folder: folder.into() });
    let _persist = world.persist();
    println!("\nserving");
    std::io::stdout().flush().unwrap();
    loop {
        thread::park();
    }
}

fn serve_in_a_process(world: &World) -> std::process::Child {
    // A write beyond a limit is then an error, and no signal.
    let mut sh = Command::new("sh");
    sh.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    serve_through(sh, world).unwrap()
}

/// Serves in a process that this command makes of the words behind it; none if it does not.
pub fn serve_through(mut command: Command, world: &World) -> Option<std::process::Child> {
    let mut child = command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "faults::serve_until_killed", "--nocapture"])
        .env("PERSIST_TEST_FOLDER", &world.folder)
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    if lines.map_while(Result::ok).any(|line| line == "serving") {
        return Some(child);
    }
    child.wait().unwrap();
    None
}

#[test]
fn while_an_enclave_holds_the_state_others_are_told_which_process_has_it() {
    let world = World::with_state();
    let mut child = serve_in_a_process(&world);
    let mut enclave = world.enclave(1);
    let _ = enclave.authorize(vote(1, 1), None).unwrap();
    let error = FileStore::open(&world.state(), &identity()).err().unwrap();
    assert!(error.to_string().contains(&format!("in use by process {}", child.id())), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    FileStore::open(&world.state(), &identity()).unwrap();
}

/// Lets that process write no file beyond so many bytes; what is beyond fails as on a full disk, in part or as a whole.
fn limit_files(child: &std::process::Child, bytes: Option<u64>) {
    let pid = rustix::process::Pid::from_child(child);
    let limit = rustix::process::Rlimit { current: bytes, maximum: None };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Fsize, limit).unwrap();
}

#[test]
fn when_the_disk_refuses_writes_nothing_is_signed_and_it_goes_on_by_itself_when_it_takes_them_again() {
    // 4096: every write of the second slot fails. 5000: it is cut short, and tears the slot.
    for bytes in [4096, 5000] {
        let world = World::with_state();
        let mut child = serve_in_a_process(&world);
        let mut enclave = world.enclave(1);
        let _ = enclave.authorize(vote(1, 1), None).unwrap();
        limit_files(&child, Some(bytes));
        let mut height = 2;
        // One of two commits goes to the second slot.
        while enclave.authorize(vote(height, 1), None).is_ok() {
            height += 1;
        }
        assert!(height < 5);
        for attempt in 0..6 {
            match enclave.authorize(vote(height, 1), None) {
                Err(Denied::Store(error)) => {
                    assert_eq!(error.trouble, Trouble::Failed, "{error}");
                    assert!(error.detail.contains("on the parent: state file"), "{error}");
                }
                other => panic!("{other:?}"),
            }
            // Neither a new connection nor a new life makes the server forget whose doing a torn slot is.
            if attempt == 2 {
                enclave = world.enclave(1);
            }
            if attempt == 4 {
                drop(enclave);
                enclave = world.enclave(2);
            }
        }
        limit_files(&child, None);
        let _ = enclave.authorize(vote(height, 1), None).unwrap();
        assert!(matches!(enclave.authorize(vote(height, 2), None), Err(Denied::Refused(_))));
        let _ = enclave.authorize(vote(height + 1, 1), None).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_server_that_is_killed_again_and_again_under_load_loses_nothing_that_was_acknowledged() {
    let world = World::with_state();
    let mut enclave = world.enclave(1);
    let (mut height, mut signed, mut lost) = (1, 0, 0);
    for round in 0..12_u64 {
        let mut child = serve_in_a_process(&world);
        let killer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(30 + 7 * round));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        while !killer.is_finished() {
            match enclave.authorize(vote(height, 1), None) {
                Ok(permit) => {
                    assert_eq!(permit.position().height.get(), height);
                    let held = inspect(&world.state()).unwrap();
                    assert!(held.held().unwrap().record.position() >= permit.position());
                    signed += 1;
                    height += 1;
                }
                Err(Denied::Store(error)) => {
                    assert!(error.trouble.may_pass(), "{error}");
                    lost += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        killer.join().unwrap();
    }
    println!("killed 12 times: {signed} votes allowed, {lost} attempts without an answer");
    assert!(signed > 12 && lost > 0);
}

#[test]
fn a_server_that_is_restarted_under_load_finishes_what_it_has_begun() {
    let world = World::with_state();
    let mut enclave = world.enclave(1);
    let mut height = 1;
    for _ in 0..10 {
        let persist = world.persist();
        let stopper = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            end(persist);
        });
        while !stopper.is_finished() {
            match enclave.authorize(vote(height, 1), None) {
                Ok(_) => height += 1,
                Err(Denied::Store(error)) => assert!(error.trouble.may_pass(), "{error}"),
                Err(other) => panic!("{other}"),
            }
        }
        stopper.join().unwrap();
    }
    assert!(height > 10, "{height}");
}

#[test]
fn a_file_that_is_put_back_while_it_is_open_is_noticed_and_signing_goes_on_when_it_is_mended() {
    let world = World::with_state();
    let persist = world.persist();
    let mut enclave = world.enclave(1);
    let _ = enclave.authorize(vote(5, 1), None).unwrap();
    let old = fs::read(world.state()).unwrap();
    let _ = enclave.authorize(vote(6, 1), None).unwrap();
    // Into the same file, and then as another file in its place.
    fs::write(world.state(), &old).unwrap();
    for _ in 0..2 {
        let error = match enclave.authorize(vote(7, 1), None).unwrap_err() {
            Denied::Store(error) => error,
            other => panic!("{other}"),
        };
        assert_eq!(error.trouble, Trouble::Superseded, "{error}");
        assert!(error.detail.contains("state repair"), "{error}");
    }
    // Another enclave has no memory of it; the server has.
    drop(enclave);
    let mut other = world.enclave(2);
    let error = other.recover().unwrap_err().to_string();
    assert!(error.contains("put back while this process ran"), "{error}");
    FileStore::repair(&world.state(), &identity(), guard::Height::try_from(6).unwrap(), store::Lowering::Refuse)
        .unwrap();
    assert!(matches!(other.authorize(vote(6, 2), None), Err(Denied::Refused(_))));
    let _ = other.authorize(vote(7, 1), None).unwrap();
    end(persist);
}

#[test]
fn a_file_that_is_put_back_between_two_lives_of_both_sides_cannot_be_noticed() {
    // On purpose: this is what a record on the parent does not protect from, and the documents say so.
    let world = World::with_state();
    let persist = world.persist();
    let mut enclave = world.enclave(1);
    let _ = enclave.authorize(vote(5, 1), None).unwrap();
    drop(enclave);
    end(persist);
    let old = fs::read(world.state()).unwrap();
    let persist = world.persist();
    let mut enclave = world.enclave(2);
    let _ = enclave.authorize(vote(6, 1), None).unwrap();
    drop(enclave);
    end(persist);
    fs::write(world.state(), &old).unwrap();
    let persist = world.persist();
    let conflicting = world.enclave(3).authorize(vote(6, 2), None);
    assert!(conflicting.is_ok(), "an older copy looks like the file that it once was");
    end(persist);
}

#[test]
fn a_file_that_is_removed_and_put_back_needs_no_restart() {
    let world = World::with_state();
    let persist = world.persist();
    let mut enclave = world.enclave(1);
    let _ = enclave.authorize(vote(1, 1), None).unwrap();
    let away = world.folder.join("away");
    fs::rename(world.state(), &away).unwrap();
    for _ in 0..3 {
        assert!(matches!(enclave.authorize(vote(2, 1), None), Err(Denied::Store(_))));
    }
    fs::rename(&away, world.state()).unwrap();
    let _ = enclave.authorize(vote(2, 1), None).unwrap();
    end(persist);
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A node asks for a vote of one of two enclaves.
    Ask { other: bool, height: u64, precommit: bool, block: u8, seconds: u8 },
    /// Something happens to the requests that come next.
    Acts { first: Act, second: Act },
    /// An enclave dies, and a new one comes.
    Reborn { other: bool },
    /// The server is stopped, and started again.
    Restart,
    /// The server is gone for a while.
    Stop,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => Just(Act::Pass),
        2 => Just(Act::LoseRequest),
        2 => Just(Act::LoseAnswer),
        1 => Just(Act::Duplicate),
        1 => Just(Act::Twice),
        1 => (0..90_usize).prop_map(Act::Truncate),
        1 => (0..800_usize).prop_map(Act::Flip),
        2 => (1..6_usize).prop_map(Act::Replay),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let ask = (any::<bool>(), 1..6_u64, any::<bool>(), 0..3_u8, 1..3_u8)
        .prop_map(|(other, height, precommit, block, seconds)| Event::Ask { other, height, precommit, block, seconds });
    let event = prop_oneof![
        10 => ask,
        4 => (act(), act()).prop_map(|(first, second)| Event::Acts { first, second }),
        1 => any::<bool>().prop_map(|other| Event::Reborn { other }),
        1 => Just(Event::Restart),
        1 => Just(Event::Stop),
    ];
    prop::collection::vec(event, 1..40)
}

fn config() -> ProptestConfig {
    let persistence = FileFailurePersistence::Direct("tests/persist.regressions");
    let cases = ProptestConfig::default().cases.clamp(60, 10_000);
    ProptestConfig { cases, failure_persistence: Some(Box::new(persistence)), ..ProptestConfig::default() }
}

/// One state, one server, two enclaves of one key, and everything that was ever allowed.
struct History {
    world: World,
    middle: Middle,
    persist: Option<host::persist::Persist>,
    enclaves: [Guard<RemoteStore>; 2],
    lives: u8,
    allowed: HashMap<Position, Statement>,
}

impl History {
    fn new() -> Self {
        let world = World::with_state();
        let persist = Some(world.persist());
        let middle = with_middle(&world);
        let enclaves = [1, 2].map(|life| world.enclave_by("m", life));
        Self { world, middle, persist, enclaves, lives: 2, allowed: HashMap::new() }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Ask { other, height, precommit, block, seconds } => {
                let step = if precommit { Step::Precommit } else { Step::Prevote };
                let request = vote_on(CHAIN, height, 0, step, block, seconds);
                // The one that is not asked has hung up, half of the time at least: two may not hold one state.
                if let Ok(permit) = self.enclaves[usize::from(other)].authorize(request, None) {
                    let bytes = Statement::parse(permit.sign_bytes()).unwrap();
                    let first = self.allowed.entry(permit.position()).or_insert_with(|| bytes.clone());
                    assert_eq!(first.bytes(), bytes.bytes(), "two votes at {}", permit.position());
                }
            }
            Event::Acts { first, second } => self.middle.will([first, second]),
            Event::Reborn { other } => {
                self.lives += 1;
                self.enclaves[usize::from(other)] = self.world.enclave_by("m", self.lives);
            }
            Event::Restart => {
                self.stop();
                self.persist = Some(self.world.persist());
            }
            Event::Stop => self.stop(),
        }
    }

    fn stop(&mut self) {
        if let Some(persist) = self.persist.take() {
            end(persist);
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_history_of_faults_allows_two_different_votes_at_one_position(events in events()) {
        let mut history = History::new();
        for event in events {
            history.happen(event);
        }
        history.stop();
    }
}

#[test]
fn the_store_refuses_to_commit_before_it_was_recovered() {
    let world = World::with_state();
    let persist = world.persist();
    let mut store = world.store("u", 1, &identity(), &TOKEN);
    let record = guard::Record::never_signed();
    let next = guard::Record::of(1, vote(1, 1));
    assert!(store.commit(&record, &next).unwrap_err().detail.contains("not recovered"));
    assert_eq!(store.recover().unwrap(), record);
    let _ = store.commit(&record, &next).unwrap();
    let _ = store.commit(&record, &next).unwrap();
    end(persist);
}
