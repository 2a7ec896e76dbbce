//! Ports on loopback that no other run takes: blocks below the kernel's ephemeral range, each claimed by a socket that stays bound.
use anyhow::{Result, bail};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// The first port of the first block; Linux hands out ports from 32,768 on to those who ask for any.
const FIRST: u16 = 16_000;
/// Ports in a block, the claimed one included.
const SIZE: u16 = 1_000;
/// How many blocks there are.
const BLOCKS: u16 = 16;

/// A block of ports that is ours while this lives.
pub struct PortBlock {
    base: u16,
    used: AtomicU16,
    _claim: TcpListener,
}

impl PortBlock {
    /// Claims a free block by binding its first port.
    ///
    /// # Errors
    /// When all blocks are taken.
    pub fn claim() -> Result<Self> {
        for block in 0..BLOCKS {
            let base = FIRST + block * SIZE;
            if let Ok(claim) = TcpListener::bind((Ipv4Addr::LOCALHOST, base)) {
                return Ok(Self { base, used: AtomicU16::new(0), _claim: claim });
            }
        }
        bail!("every port from {FIRST} on, in steps of {SIZE}, is taken: are {BLOCKS} runs going on?")
    }

    /// The next port of the block that nobody listens on.
    ///
    /// # Errors
    /// When the block is used up.
    pub fn next(&self) -> Result<u16> {
        loop {
            let offset = self.used.fetch_add(1, Ordering::Relaxed) + 1;
            if offset >= SIZE {
                bail!("all {SIZE} ports from {} on are used up", self.base);
            }
            if TcpListener::bind((Ipv4Addr::LOCALHOST, self.base + offset)).is_ok() {
                return Ok(self.base + offset);
            }
        }
    }
}
