//! A small world for the rule: messages, a store that can misbehave in every way, and an observer of signatures.
#![allow(dead_code, clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
use guard::{
    ChainId, Committed, Denied, Extension, Guard, Identity, Permit, Position, Record, Statement, Step, Store,
    StoreError, Trouble,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

pub const CHAIN: &str = "small-world";

pub fn identity() -> Identity {
    Identity { chain_id: ChainId::try_from(CHAIN).unwrap(), public_key: Box::from(&b"TEST KEY"[..]) }
}

/// One message that a node may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    pub height: i64,
    pub round: i64,
    pub step: Step,
    /// `None` is nil.
    pub block: Option<u8>,
    pub seconds: i64,
}

impl Ask {
    pub const fn new(height: i64, round: i64, step: Step, block: Option<u8>, seconds: i64) -> Self {
        Self { height, round, step, block, seconds }
    }

    pub fn statement(&self) -> Statement {
        Statement::parse(&self.sign_bytes(CHAIN)).unwrap()
    }

    /// Canonical sign bytes, written without the crate's or privval's code.
    pub fn sign_bytes(&self, chain: &str) -> Vec<u8> {
        let mut body = vec![0x08, [32, 1, 2][self.step as usize - 1]];
        fixed(&mut body, 2, self.height);
        fixed(&mut body, 3, self.round);
        let shift = u8::from(self.step == Step::Proposal);
        if self.step == Step::Proposal {
            body.extend([0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        }
        if let Some(block) = self.block {
            let parts = [&[0x08, 1, 0x12, 32][..], &[block; 32]].concat();
            let id = [&[0x0a, 32][..], &[block; 32], &[0x12, parts.len() as u8], &parts].concat();
            field(&mut body, 4 + shift, &id);
        }
        let mut time = vec![];
        if self.seconds != 0 {
            time.push(0x08);
            varint(&mut time, self.seconds as u64);
        }
        field(&mut body, 5 + shift, &time);
        field(&mut body, 6 + shift, chain.as_bytes());
        delimited(&body)
    }

    pub fn extension(&self) -> Option<Extension> {
        (self.step == Step::Precommit && self.block.is_some()).then(|| {
            let mut body = vec![];
            field(&mut body, 1, b"extension");
            fixed(&mut body, 2, self.height);
            fixed(&mut body, 3, self.round);
            field(&mut body, 4, CHAIN.as_bytes());
            Extension::parse(delimited(&body).into()).unwrap()
        })
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn fixed(out: &mut Vec<u8>, number: u8, value: i64) {
    if value != 0 {
        out.push(number << 3 | 1);
        out.extend(value.to_le_bytes());
    }
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

pub fn delimited(body: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    varint(&mut out, body.len() as u64);
    out.extend(body);
    out
}

/// Decides everything that the world leaves open: exhaustively, or from random numbers.
pub trait Chooser {
    fn choose(&mut self, options: usize) -> usize;
}

/// Walks through every sequence of choices, depth first.
#[derive(Default)]
pub struct Exhaustive {
    path: Vec<(usize, usize)>,
    at: usize,
}

impl Exhaustive {
    /// Steps to the next path; false when all were walked.
    pub fn advance(&mut self) -> bool {
        self.path.truncate(self.at);
        self.at = 0;
        while let Some((choice, options)) = self.path.pop() {
            if choice + 1 < options {
                self.path.push((choice + 1, options));
                return true;
            }
        }
        false
    }
}

impl Chooser for Exhaustive {
    fn choose(&mut self, options: usize) -> usize {
        if self.at == self.path.len() {
            self.path.push((0, options));
        }
        self.at += 1;
        self.path[self.at - 1].0
    }
}

/// Choices out of a list of random numbers; the rest is 0.
pub struct Random<I>(pub I);

impl<I: Iterator<Item = u16>> Chooser for Random<I> {
    fn choose(&mut self, options: usize) -> usize {
        self.0.next().map_or(0, |number| usize::from(number) % options)
    }
}

/// What the store does with a commit that passes its compare-and-swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Durable, and says so.
    Committed,
    /// Refuses although nothing is wrong (a stale view on its side); nothing is stored.
    Refused,
    /// The write failed; nothing is stored.
    FailedBefore,
    /// The sync failed: the page cache has it, the disk does not.
    FailedInCache,
    /// Durable, but the answer was lost.
    UnknownStored,
    /// Not stored, and the answer was lost.
    UnknownLost,
    /// On its way: it may arrive at any later moment, or never.
    Late,
}

pub const OUTCOMES: [Outcome; 7] = [
    Outcome::Committed,
    Outcome::Refused,
    Outcome::FailedBefore,
    Outcome::FailedInCache,
    Outcome::UnknownStored,
    Outcome::UnknownLost,
    Outcome::Late,
];

/// Ways in which a store can be wrong; the walk must notice each, or it proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// Acknowledges before the disk has it.
    AcknowledgesTheCache,
    /// Recovery trusts what it reads, without writing it again.
    TrustsReads,
    /// No compare-and-swap: late and foreign writes win.
    NoCompareAndSwap,
}

pub struct Disk {
    pub durable: Record,
    pub cached: Record,
    late: Vec<(u64, Record, Record)>,
    epoch: u64,
    next_outcome: Outcome,
    fail_recovery: bool,
    flaw: Flaw,
    pub commits: u64,
}

impl Disk {
    fn arrive(&mut self) {
        for (epoch, previous, next) in std::mem::take(&mut self.late) {
            let accepted = epoch == self.epoch && self.cached == previous;
            if accepted || self.flaw == Flaw::NoCompareAndSwap {
                self.cached = next.clone();
                self.durable = next;
            }
        }
    }
}

/// One opening of the shared disk.
pub struct Opening {
    disk: Rc<RefCell<Disk>>,
    epoch: u64,
}

impl Opening {
    fn of(disk: &Rc<RefCell<Disk>>) -> Self {
        let mut inner = disk.borrow_mut();
        inner.epoch += 1;
        Self { disk: Rc::clone(disk), epoch: inner.epoch }
    }

    fn fenced(&self) -> Result<(), StoreError> {
        let disk = self.disk.borrow();
        if disk.epoch == self.epoch || disk.flaw == Flaw::NoCompareAndSwap {
            Ok(())
        } else {
            Err(trouble(Trouble::Superseded))
        }
    }
}

fn trouble(trouble: Trouble) -> StoreError {
    StoreError { trouble, detail: format!("scripted: {}", trouble.name()) }
}

impl Store for Opening {
    fn recover(&mut self) -> Result<Record, StoreError> {
        self.fenced()?;
        let mut disk = self.disk.borrow_mut();
        if std::mem::take(&mut disk.fail_recovery) {
            return Err(trouble(Trouble::Failed));
        }
        if disk.flaw != Flaw::TrustsReads {
            disk.durable = disk.cached.clone();
        }
        Ok(disk.cached.clone())
    }

    fn commit(&mut self, previous: &Record, next: &Record) -> Result<Committed, StoreError> {
        self.fenced()?;
        let mut disk = self.disk.borrow_mut();
        disk.commits += 1;
        if disk.cached != *previous && disk.cached != *next && disk.flaw != Flaw::NoCompareAndSwap {
            return Err(trouble(Trouble::Superseded));
        }
        let epoch = self.epoch;
        match std::mem::replace(&mut disk.next_outcome, Outcome::Committed) {
            Outcome::Committed => {
                disk.cached = next.clone();
                if disk.flaw != Flaw::AcknowledgesTheCache {
                    disk.durable = next.clone();
                }
                Ok(Committed::durably(next))
            }
            Outcome::Refused => Err(trouble(Trouble::Superseded)),
            Outcome::FailedBefore => Err(trouble(Trouble::Failed)),
            Outcome::FailedInCache => {
                disk.cached = next.clone();
                Err(trouble(Trouble::Failed))
            }
            Outcome::UnknownStored => {
                disk.cached = next.clone();
                disk.durable = next.clone();
                Err(trouble(Trouble::Unknown))
            }
            Outcome::UnknownLost => Err(trouble(Trouble::Unknown)),
            Outcome::Late => {
                disk.late.push((epoch, previous.clone(), next.clone()));
                Err(trouble(Trouble::Unknown))
            }
        }
    }
}

/// A disk, two processes that have it open one after the other, and everything that was ever signed.
pub struct World {
    disk: Rc<RefCell<Disk>>,
    guards: [Guard<Opening>; 2],
    signed: HashMap<Position, Statement>,
    pub permits: u64,
    pub refusals: u64,
    pub troubles: u64,
}

impl World {
    pub fn new(start: Record, flaw: Flaw) -> Self {
        let disk = Rc::new(RefCell::new(Disk {
            durable: start.clone(),
            cached: start,
            late: vec![],
            epoch: 0,
            next_outcome: Outcome::Committed,
            fail_recovery: false,
            flaw,
            commits: 0,
        }));
        let guards = [Guard::new(identity(), Opening::of(&disk)), Guard::new(identity(), Opening::of(&disk))];
        // The first process opens again: the second is the fenced one, and both are still running.
        let mut world = Self { disk, guards, signed: HashMap::new(), permits: 0, refusals: 0, troubles: 0 };
        world.reopen(0);
        world
    }

    /// The process ends and a new one opens the store, which fences every other opening.
    fn reopen(&mut self, process: usize) {
        self.guards[process] = Guard::new(identity(), Opening::of(&self.disk));
    }

    /// One step: perhaps a late write arrives, a process asks, the store answers in some way, and perhaps
    /// something dies. Panics when the rule was broken.
    pub fn step(&mut self, asks: &[Ask], outcomes: &[Outcome], chooser: &mut impl Chooser) {
        if !self.disk.borrow().late.is_empty() && chooser.choose(2) == 1 {
            self.disk.borrow_mut().arrive();
        }
        let process = chooser.choose(2);
        let ask = asks[chooser.choose(asks.len())];
        // One more choice than outcomes: the recovery fails, if there is one.
        let outcome = chooser.choose(outcomes.len() + 1);
        {
            let mut disk = self.disk.borrow_mut();
            disk.fail_recovery = outcome == outcomes.len();
            disk.next_outcome = outcomes.get(outcome).copied().unwrap_or(Outcome::Committed);
        }
        match self.guards[process].authorize(ask.statement(), ask.extension()) {
            Ok(permit) => self.observe(&ask, &permit),
            Err(Denied::Refused(_)) => self.refusals += 1,
            Err(_) => self.troubles += 1,
        }
        match chooser.choose(3) {
            0 => {}
            1 => self.reopen(process),
            _ => self.power_cut(),
        }
    }

    /// Everything that was not durable is gone, and both processes start anew.
    fn power_cut(&mut self) {
        {
            let mut disk = self.disk.borrow_mut();
            disk.cached = disk.durable.clone();
            disk.late.clear();
        }
        self.reopen(1);
        self.reopen(0);
    }

    fn observe(&mut self, ask: &Ask, permit: &Permit) {
        self.permits += 1;
        let bytes = Statement::parse(permit.sign_bytes()).unwrap();
        assert_eq!(permit.position(), ask.statement().position(), "signed at another position than asked");
        assert!(bytes.equals_but_for_time(&ask.statement()), "signed something else than was asked");
        assert_eq!(permit.extension_sign_bytes().is_some(), ask.extension().is_some(), "extension of {ask:?}");
        let durable = self.disk.borrow().durable.clone();
        assert!(durable.position() >= permit.position(), "a power cut would take back {bytes:?}: disk has {durable:?}");
        if durable.position() == permit.position() {
            assert_eq!(durable.statement(), Some(&bytes), "the disk has other bytes than were signed");
        }
        if let Some(earlier) = self.signed.insert(permit.position(), bytes.clone()) {
            assert!(earlier.equals_but_for_time(&bytes), "double sign: {earlier:?} and {bytes:?}");
            assert_eq!(earlier, bytes, "the same message was signed with two timestamps");
        }
    }
}
