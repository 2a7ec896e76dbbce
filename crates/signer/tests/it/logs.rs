//! What is logged: all evidence of a refusal, one line a signature, no flood, no secret.
use crate::fixture::{Signer, one, settings};
use crate::node::Listener;
use crate::wire::{PREVOTE, vote};
use log::kv::{Key, Value, VisitSource};
use log::{Level, Log, Metadata, Record};
use std::fmt::Write;
use std::sync::{Mutex, Once};
use std::thread;
use std::time::Duration;

struct Capture(Mutex<Vec<(Level, String)>>);

static CAPTURE: Capture = Capture(Mutex::new(Vec::new()));

impl Log for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        struct Pairs(String);
        impl<'kv> VisitSource<'kv> for Pairs {
            fn visit_pair(&mut self, key: Key<'kv>, value: Value<'kv>) -> Result<(), log::kv::Error> {
                write!(self.0, " {key}={value}").map_err(log::kv::Error::from)
            }
        }
        let mut line = Pairs(record.args().to_string());
        record.key_values().visit(&mut line).unwrap();
        CAPTURE.0.lock().unwrap().push((record.level(), line.0));
    }

    fn flush(&self) {}
}

fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&CAPTURE).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
}

/// The lines that name the chain.
fn lines(chain_id: &str) -> Vec<(Level, String)> {
    let name = format!("chain={chain_id} ");
    let all = CAPTURE.0.lock().unwrap();
    all.iter().filter(|(_, line)| line.contains(&name)).cloned().collect()
}

#[test]
fn a_signature_is_one_line_at_debug_and_a_refusal_a_warning_with_all_evidence() {
    capture();
    let listener = Listener::unix();
    let (_started, chain) = one("log-1", &listener);
    let mut node = listener.accept();
    node.ask_vote("log-1", vote(PREVOTE, 5, 0, 0xaa)).unwrap();
    node.ask_vote("log-1", vote(PREVOTE, 5, 0, 0xbb)).unwrap_err();
    let lines = lines("log-1");
    let debug: Vec<_> =
        lines.iter().filter(|(level, line)| *level == Level::Debug && line.contains("signed")).collect();
    let address = chain.validator.address();
    assert_eq!(debug.len(), 1, "{lines:#?}");
    for part in ["height=5", "round=0", "step=prevote", address] {
        assert!(debug[0].1.contains(part), "{debug:?}");
    }
    let warnings: Vec<_> = lines.iter().filter(|(level, _)| *level == Level::Warn).collect();
    assert_eq!(warnings.len(), 1, "{lines:#?}");
    let (hash_a, hash_b) = ("AA".repeat(32), "BB".repeat(32));
    for part in
        ["conflicting prevote at 5/0/prevote", &hash_a, &hash_b, &listener.address(), address, "reason=conflict"]
    {
        assert!(warnings[0].1.contains(part), "{part}: {warnings:?}");
    }
}

#[test]
fn a_flood_of_refusals_and_a_dead_node_do_not_flood_the_log() {
    capture();
    let listener = Listener::unix();
    let (started, _chain) = one("flood-1", &listener);
    let mut node = listener.accept();
    node.ask_vote("flood-1", vote(PREVOTE, 9, 0, 1)).unwrap();
    for _ in 0..1000 {
        node.ask_vote("flood-1", vote(PREVOTE, 8, 0, 1)).unwrap_err();
    }
    let refused = || lines("flood-1").iter().filter(|(_, line)| line.contains("refused")).count();
    assert_eq!(refused(), 100 + 1);
    // Hanging up and coming back does not refill what a node may write.
    drop(node);
    let mut node = listener.accept();
    for _ in 0..200 {
        node.ask_vote("flood-1", vote(PREVOTE, 8, 0, 1)).unwrap_err();
    }
    assert_eq!(refused(), 100 + 1);
    assert_eq!(started.chain("flood-1").refusals[0].count, 1200);
    drop((node, listener));
    thread::sleep(Duration::from_millis(1500));
    let failures = started.chain("flood-1").connections[0].failures;
    let failed = lines("flood-1").iter().filter(|(_, line)| line.contains("cannot connect")).count();
    assert!(failures >= 3 && failed < usize::try_from(failures).unwrap(), "{failed} lines for {failures} failures");
}

#[test]
fn a_node_has_one_name_in_all_lines_and_its_proven_identity_a_field_of_its_own() {
    capture();
    let listener = Listener::tcp();
    let (_started, _chain) = one("peer-1", &listener);
    let mut node = listener.accept();
    node.ask_vote("peer-1", vote(PREVOTE, 5, 0, 0xaa)).unwrap();
    node.ask_vote("peer-1", vote(PREVOTE, 5, 0, 0xbb)).unwrap_err();
    let name = format!(" node={} peer=", listener.address());
    let lines = lines("peer-1");
    for part in ["session with", "signed", "refused:"] {
        let line = &lines.iter().find(|(_, line)| line.starts_with(part)).unwrap().1;
        assert!(line.contains(&name) && !line.contains("(peer"), "{line}");
    }
}

#[test]
fn whoever_stops_does_not_say_that_the_node_hung_up() {
    capture();
    let (served, waiting) = (Listener::unix(), Listener::unix());
    let mut signer = Signer::new();
    let chain = signer.chain(settings("ours-1", 1));
    signer.connect(&chain, &served);
    // Its node never accepts: the connection waits in the backlog.
    signer.connect(&chain, &waiting);
    let started = signer.start();
    let mut node = served.accept();
    // A session must last for a second to be worth a line at its end.
    thread::sleep(Duration::from_millis(1_100));
    node.ping();
    assert!(started.finish(Duration::from_secs(5)));
    // Taken at once: the lines are there when the wait is over.
    let lines = lines("ours-1");
    let ends: Vec<_> = lines.iter().filter(|(_, line)| line.contains(" ended: ")).collect();
    assert!(ends.len() == 1 && ends[0].1.contains("ended: this process stops"), "{lines:#?}");
    assert!(lines.iter().all(|(level, _)| *level > Level::Warn), "{lines:#?}");
}
