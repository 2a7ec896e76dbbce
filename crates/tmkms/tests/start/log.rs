//! A log that nobody reads: it stops no signature and no end.
use super::{House, LIMIT, Signer, ping, prevote};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::process::{ChildStderr, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Enough lines of a signature each to fill a pipe (64 KiB) and the queue (1 MiB) several times.
const FLOOD: usize = 20_000;

/// A signer whose stderr is a pipe, read up to the line that names the metrics' port and not further.
fn start_into_pipe(house: &House) -> (Signer, ChildStderr, String) {
    let mut child = house.command(&["start", "-v"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut pipe = child.stderr.take().unwrap();
    let mut signer = Signer { child, metrics: ([127, 0, 0, 1], 0).into() };
    let mut log = String::new();
    while !(log.contains("metrics on http://") && log.ends_with('\n')) {
        let mut byte = [0];
        assert_eq!(pipe.read(&mut byte).unwrap(), 1, "it ended: {log}");
        log.push(byte[0].into());
    }
    let address = log.split("metrics on http://").nth(1).unwrap().split('/').next().unwrap();
    signer.metrics = address.parse().unwrap();
    (signer, pipe, log)
}

/// Has the same vote signed over and over, which costs the disk nothing, with new ones between.
fn flood(node: &mut UnixStream) {
    for height in 1..=10 {
        (0..FLOOD / 10).for_each(|_| prevote(node, height));
    }
}

fn lost_lines(signer: &Signer) -> usize {
    let page = signer.get("/metrics");
    let line = page.lines().find(|line| line.starts_with("tmkms_log_lines_lost_total ")).unwrap();
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_log_that_nobody_reads_stops_neither_signatures_nor_the_end() {
    let house = House::new("");
    let (mut signer, pipe, _) = start_into_pipe(&house);
    let mut node = house.accept();
    flood(&mut node);
    prevote(&mut node, 11);
    assert!(lost_lines(&signer) > 0, "the flood was too small for this test");
    let signalled = Instant::now();
    signer.signal("-TERM");
    assert_eq!(signer.exit_code(), 0);
    assert!(signalled.elapsed() < Duration::from_secs(4), "{:?}", signalled.elapsed());
    assert_eq!(node.read(&mut [0]).unwrap(), 0, "the session ends with a clean end of stream");
    drop(pipe);
}

#[test]
fn a_log_that_is_read_again_says_how_much_is_missing() {
    let house = House::new("");
    let (mut signer, mut pipe, mut log) = start_into_pipe(&house);
    let mut node = house.accept();
    flood(&mut node);
    let lost = lost_lines(&signer);
    let (flows, told) = channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(&mut pipe).lines() {
            let line = line.unwrap() + "\n";
            if gap(&line).is_some() {
                let _ = flows.send(());
            }
            log.push_str(&line);
        }
        log
    });
    told.recv_timeout(LIMIT).unwrap();
    prevote(&mut node, 12);
    signer.signal("-TERM");
    assert_eq!(signer.exit_code(), 0);
    let log = reader.join().unwrap();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.iter().filter_map(|line| gap(line)).sum::<usize>(), lost, "what is lost is told");
    let signed = lines.iter().filter(|line| line.contains(" DEBUG ") && line.contains("/prevote")).count();
    assert_eq!(signed + lost, FLOOD + 1, "every line is there or counted");
    let after = &lines[lines.iter().rposition(|line| gap(line).is_some()).unwrap()..];
    assert!(after[1].contains("12/0/prevote") && after.iter().any(|line| line.ends_with(" stopped")), "{after:?}");
}

/// How many lines are missing before this one.
fn gap(line: &str) -> Option<usize> {
    line.split_once(" lines were lost here")?.0.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_reader_of_the_log_that_goes_away_stops_nothing() {
    let house = House::new("");
    let (mut signer, pipe, _) = start_into_pipe(&house);
    let mut node = house.accept();
    ping(&mut node);
    drop(pipe);
    (1..=20).for_each(|height| prevote(&mut node, height));
    signer.signal("-TERM");
    assert_eq!(signer.exit_code(), 0);
}

#[test]
fn an_error_comes_behind_the_lines_that_were_logged_before_it() {
    let house = House::new("");
    std::fs::OpenOptions::new().write(true).open(house.folder.join("state.json")).unwrap().set_len(100).unwrap();
    let output = house.run(&["start"]);
    assert_eq!(output.status.code(), Some(4));
    let text = super::text(&output.stderr);
    let (first, error) = text.split_once("error: chain test-1: state file ").unwrap();
    assert!(first.contains(" starts version=") && first.ends_with('\n'), "{text}");
    assert!(error.contains("help: tmkms state repair") && error.ends_with('\n'), "{text}");
}
