//! A disk that keeps, loses and reorders what was not synced, sector by sector, and fails on demand.
#![allow(dead_code, clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
use guard::{ChainId, Identity, Position, Record, Statement, Step};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::rc::Rc;
use store::file::slot::{Owner, SLOT_BYTES, encode};
use store::file::{FILE_BYTES, FileStore, ImageBytes, Medium, Place, StateError};

pub const SECTOR_BYTES: usize = 512;
pub const CHAIN: &str = "power-cut-1";
pub const NAME: &str = "state.json";

pub type Sector = [u8; SECTOR_BYTES];

pub fn identity() -> Identity {
    Identity { chain_id: ChainId::try_from(CHAIN).unwrap(), public_key: Box::from([7; 32]) }
}

pub fn owner() -> Owner {
    Owner::of(&identity())
}

/// A disk that holds what `create` leaves.
pub fn created(record: &Record) -> ImageBytes {
    let slot = encode(&owner(), 0, record).unwrap();
    [slot, slot].concat().try_into().unwrap()
}

/// Canonical sign bytes of a vote, written without the project's code. `block` 0 is nil.
pub fn vote(height: u64, round: u64, step: Step, block: u8, seconds: u64) -> Statement {
    vote_on(CHAIN, height, round, step, block, seconds)
}

pub fn vote_on(chain: &str, height: u64, round: u64, step: Step, block: u8, seconds: u64) -> Statement {
    Statement::parse(&sign_bytes(chain, height, round, step, block, seconds)).unwrap()
}

pub fn sign_bytes(chain: &str, height: u64, round: u64, step: Step, block: u8, seconds: u64) -> Vec<u8> {
    assert_ne!(step, Step::Proposal);
    let mut body = vec![0x08, step as u8 - 1, 0x11];
    body.extend(height.to_le_bytes());
    if round > 0 {
        body.push(0x19);
        body.extend(round.to_le_bytes());
    }
    if block > 0 {
        let parts = [&[0x08, 1, 0x12, 32][..], &[block; 32]].concat();
        let id = [&[0x0a, 32][..], &[block; 32], &[0x12, parts.len() as u8], &parts].concat();
        body.extend([0x22, id.len() as u8]);
        body.extend(id);
    }
    let mut time = vec![0x08];
    varint(&mut time, seconds + 1);
    body.extend([0x2a, time.len() as u8]);
    body.extend(time);
    body.extend([0x32, chain.len() as u8]);
    body.extend(chain.as_bytes());
    let mut out = vec![];
    varint(&mut out, body.len() as u64);
    out.extend(body);
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The vote of a number: precommits of rising heights, with prevotes between them.
pub fn nth(sequence: u64, block: u8) -> Record {
    let step = if sequence.is_multiple_of(2) { Step::Prevote } else { Step::Precommit };
    Record::of(sequence, vote(sequence / 2 + 1, 0, step, block, sequence))
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `pwrite` says so many bytes were written, fewer than asked for.
    ShortWrite(usize),
    /// `pwrite` fails, after so many bytes reached the cache.
    WriteError(io::ErrorKind, usize),
    /// `fdatasync` fails; of the unsynced sectors those in the mask reached the disk. The cache forgets that it was
    /// dirty. If it lies it still shows the new content, else it is read from the disk again.
    SyncError { kept: u16, cache_lies: bool },
}

impl Fault {
    fn is_of_write(self) -> bool {
        !matches!(self, Self::SyncError { .. })
    }

    /// Whether it can leave a sector that is neither old nor new.
    pub fn tears(self) -> bool {
        match self {
            Self::ShortWrite(bytes) | Self::WriteError(_, bytes) => bytes % SECTOR_BYTES != 0,
            Self::SyncError { .. } => false,
        }
    }
}

/// A moment at which the power may fail.
#[derive(Clone)]
pub struct Moment {
    pub durable: ImageBytes,
    /// What was written since the last sync, by sector, in order.
    pub pending: Vec<(usize, Sector)>,
    /// The last acknowledged sequence.
    pub acknowledged: u64,
    /// Whether a failed write has torn a sector since the last recovery.
    pub torn: bool,
}

pub struct Disk {
    pub cache: ImageBytes,
    pub durable: ImageBytes,
    pub pending: Vec<(usize, Sector)>,
    pub faults: VecDeque<Fault>,
    pub place: Option<Place>,
    pub moments: Vec<Moment>,
    pub acknowledged: u64,
    pub torn: bool,
    /// Whether syncs do what they say; unset only to show that the tests notice it.
    pub syncs: bool,
    /// Whether a write of what the cache already shows is done at all; unset only to show that the tests notice it.
    pub rewrites: bool,
    pub calls: Vec<&'static str>,
}

/// A disk shared by a store and its test.
#[derive(Clone)]
pub struct Handle(pub Rc<RefCell<Disk>>);

impl Handle {
    pub fn new(image: ImageBytes, acknowledged: u64) -> Self {
        Self(Rc::new(RefCell::new(Disk {
            cache: image,
            durable: image,
            pending: vec![],
            faults: VecDeque::new(),
            place: None,
            moments: vec![],
            acknowledged,
            torn: false,
            syncs: true,
            rewrites: true,
            calls: vec![],
        })))
    }

    pub fn open(&self) -> Result<FileStore<Self>, StateError> {
        FileStore::on(self.clone(), Path::new(NAME), &identity())
    }

    pub fn fail_next(&self, fault: Fault) {
        self.0.borrow_mut().faults.push_back(fault);
    }

    /// The store said that this sequence is durable.
    pub fn acknowledge(&self, sequence: u64) {
        let mut disk = self.0.borrow_mut();
        disk.acknowledged = disk.acknowledged.max(sequence);
        disk.remember();
    }

    pub fn moment(&self) -> Moment {
        self.0.borrow().moment()
    }

    pub fn take_moments(&self) -> Vec<Moment> {
        std::mem::take(&mut self.0.borrow_mut().moments)
    }

    pub fn is_torn(&self) -> bool {
        self.0.borrow().torn
    }

    pub fn healed(&self) {
        self.0.borrow_mut().torn = false;
    }
}

impl Disk {
    fn moment(&self) -> Moment {
        let Self { durable, ref pending, acknowledged, torn, .. } = *self;
        Moment { durable, pending: pending.clone(), acknowledged, torn }
    }

    fn remember(&mut self) {
        self.moments.push(self.moment());
    }

    fn write(&mut self, bytes: &[u8], offset: usize) {
        if !self.rewrites && self.cache[offset..offset + bytes.len()] == *bytes {
            return;
        }
        self.cache[offset..offset + bytes.len()].copy_from_slice(bytes);
        let last = (offset + bytes.len()).div_ceil(SECTOR_BYTES);
        for sector in offset / SECTOR_BYTES..last {
            self.pending.push((sector, sector_of(&self.cache, sector)));
        }
    }

    fn take_fault(&mut self, of_write: bool) -> Option<Fault> {
        if self.faults.front().is_some_and(|fault| fault.is_of_write() == of_write) {
            self.faults.pop_front()
        } else {
            None
        }
    }
}

impl Medium for Handle {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.borrow_mut().calls.push("read");
        let offset = offset as usize;
        buffer.copy_from_slice(&self.0.borrow().cache[offset..offset + buffer.len()]);
        Ok(buffer.len())
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.0.borrow_mut();
        disk.calls.push("write");
        assert_eq!(bytes.len(), SLOT_BYTES, "a whole slot");
        assert_eq!(offset as usize % SLOT_BYTES, 0, "at a slot");
        disk.remember();
        let fault = disk.take_fault(true);
        let landed = match fault {
            Some(Fault::ShortWrite(landed) | Fault::WriteError(_, landed)) => landed,
            _ => bytes.len(),
        };
        if fault.is_some_and(Fault::tears) {
            disk.torn = true;
        }
        disk.write(&bytes[..landed], offset as usize);
        disk.remember();
        match fault {
            Some(Fault::WriteError(kind, _)) => Err(kind.into()),
            _ => Ok(landed),
        }
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.calls.push("sync");
        if !disk.syncs {
            return Ok(());
        }
        let pending = std::mem::take(&mut disk.pending);
        let fault = disk.take_fault(false);
        for (number, (sector, content)) in pending.iter().enumerate() {
            let kept = match fault {
                Some(Fault::SyncError { kept, .. }) => kept >> (number % 16) & 1 == 1,
                _ => true,
            };
            if kept {
                disk.durable[sector * SECTOR_BYTES..][..SECTOR_BYTES].copy_from_slice(content);
            }
        }
        if let Some(Fault::SyncError { cache_lies: false, .. }) = fault {
            disk.cache = disk.durable;
        }
        disk.remember();
        if fault.is_some() { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    fn place(&self) -> io::Result<Place> {
        self.0.borrow_mut().calls.push("stat");
        Ok(self.0.borrow().place.unwrap_or(Place::Ours { bytes: FILE_BYTES as u64 }))
    }
}

pub fn sector_of(image: &ImageBytes, sector: usize) -> Sector {
    image[sector * SECTOR_BYTES..][..SECTOR_BYTES].try_into().unwrap()
}

impl Moment {
    /// Every image that a power cut at this moment can leave: each sector as it was, or as any of the unsynced
    /// writes left it. Also says how many choices of sectors these are, counting equal contents.
    pub fn images(&self) -> (Vec<ImageBytes>, u64) {
        let mut choices: HashMap<usize, (Vec<Sector>, u64)> = HashMap::new();
        for (sector, content) in &self.pending {
            let old = || (vec![sector_of(&self.durable, *sector)], 1);
            let (contents, count) = choices.entry(*sector).or_insert_with(old);
            *count += 1;
            if !contents.contains(content) {
                contents.push(*content);
            }
        }
        let states = choices.values().map(|(_, count)| count).product();
        let mut images = vec![self.durable];
        for (sector, (contents, _)) in choices {
            let base = std::mem::take(&mut images);
            for image in base {
                for content in &contents {
                    let mut image = image;
                    image[sector * SECTOR_BYTES..][..SECTOR_BYTES].copy_from_slice(content);
                    images.push(image);
                }
            }
        }
        (images, states)
    }
}

/// Small reproducible random numbers (xorshift64*).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    pub fn fault(&mut self) -> Fault {
        let landed = [0, 1, 100, 300, 511, 512, 1000, 4095][self.below(8) as usize];
        match self.below(4) {
            0 => Fault::ShortWrite(landed),
            1 => Fault::WriteError(io::ErrorKind::StorageFull, landed),
            2 => Fault::WriteError(io::ErrorKind::Other, landed),
            _ => Fault::SyncError { kept: self.below(1 << 16) as u16, cache_lies: self.below(2) == 0 },
        }
    }
}

/// The highest position of everything that can be read from an image.
pub fn best_in(image: &ImageBytes) -> Option<Position> {
    let slots = store::file::look_at(image, FILE_BYTES as u64).slots;
    slots.into_iter().flatten().map(|held| held.record.position()).max()
}
