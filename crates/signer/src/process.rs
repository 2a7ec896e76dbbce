//! Hardening of the process that holds keys: no core dumps, no tracing, nothing swapped out.
//!
//! Memory is locked with `MCL_ONFAULT`: a page is locked when it is first used. Without it `MCL_FUTURE` would make
//! every thread's whole stack resident, 2 MiB for each of some hundred connections.
//!
//! It is locked only where no limit applies. The kernel counts reserved address space against `RLIMIT_MEMLOCK`,
//! resident or not, and answers a thread's stack or an allocation beyond it with an error: under a finite limit a
//! signer that locked its memory would fail in the middle of its work instead of at start. So a finite limit means
//! that nothing is locked, and that the operator is told.
use rustix::mm::{MlockAllFlags, mlockall, munlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use std::fmt;
use std::io;

/// A protection that could not be had. None of them stops a signer; each is to be logged as a warning.
#[derive(Debug)]
pub enum Weakness {
    /// The limit on core dumps could not be set to 0.
    CoreLimit(io::Error),
    /// Tracing and core dumps into a pipe could not be turned off.
    Dumpable(io::Error),
    /// Memory stays unlocked, as the limit on locked memory is finite.
    MemoryLimit {
        /// The limit in bytes.
        bytes: u64,
    },
    /// The kernel refused to lock memory though no limit applies.
    MemoryLock(io::Error),
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CoreLimit(error) => write!(
                f,
                "core dumps could not be limited to 0 bytes, and one would contain keys: {error}; set `LimitCORE=0` in the service"
            ),
            Self::Dumpable(error) => write!(
                f,
                "tracing and piped core dumps could not be turned off, and would show keys: {error}; set `LimitCORE=0` in the service"
            ),
            Self::MemoryLimit { bytes } => write!(
                f,
                "memory is not locked, so that keys can reach the swap: expected no limit on locked memory, got {bytes} bytes; \
                 set `LimitMEMLOCK=infinity` in the service (`--ulimit memlock=-1` of a container), or `MemorySwapMax=0`"
            ),
            Self::MemoryLock(error) => write!(
                f,
                "memory is not locked, so that keys can reach the swap: {error}; set `MemorySwapMax=0` in the service, or turn the swap off"
            ),
        }
    }
}

impl std::error::Error for Weakness {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::CoreLimit(error) | Self::Dumpable(error) | Self::MemoryLock(error) => Some(error),
            Self::MemoryLimit { .. } => None,
        }
    }
}

/// Hardens the process, for as long as it lives. To be called first thing, before a key is read or a thread started.
///
/// Returns what could not be had, if anything.
#[must_use = "each weakness is to be told to the operator"]
pub fn harden() -> Vec<Weakness> {
    [forbid_core_files().err(), forbid_tracing().err(), lock_memory().err()].into_iter().flatten().collect()
}

fn forbid_core_files() -> Result<(), Weakness> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(|error| Weakness::CoreLimit(error.into()))
}

/// The limit on core files does not hold for dumps into a pipe (core(5)); this does, and it keeps other processes of
/// the same user from attaching.
fn forbid_tracing() -> Result<(), Weakness> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| Weakness::Dumpable(error.into()))
}

fn lock_memory() -> Result<(), Weakness> {
    match limit_bytes() {
        None => lock_all(),
        Some(bytes) if may_ignore_limit() => {
            lock_all()?;
            // In a user namespace the capability shows, but does not count: only an attempt tells.
            if !can_reserve(bytes) {
                let _ = munlockall();
                return Err(Weakness::MemoryLimit { bytes });
            }
            Ok(())
        }
        Some(bytes) => Err(Weakness::MemoryLimit { bytes }),
    }
}

/// The limit on locked memory in bytes, once raised as far as it goes; none where there is no limit.
fn limit_bytes() -> Option<u64> {
    let unlimited = Rlimit { current: None, maximum: None };
    // Allowed where the hard limit is infinite already, or with CAP_SYS_RESOURCE.
    if setrlimit(Resource::Memlock, unlimited).is_ok() {
        return None;
    }
    getrlimit(Resource::Memlock).current
}

fn may_ignore_limit() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK))
}

fn lock_all() -> Result<(), Weakness> {
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
        .map_err(|error| Weakness::MemoryLock(error.into()))
}

/// Whether address space beyond the limit can be had. It is given back without being touched.
fn can_reserve(limit_bytes: u64) -> bool {
    const BEYOND_BYTES: usize = 1 << 20;
    let mut space = Vec::<u8>::new();
    let size = usize::try_from(limit_bytes).unwrap_or(usize::MAX).saturating_add(BEYOND_BYTES);
    let has_space = space.try_reserve_exact(size).is_ok();
    std::hint::black_box(&space);
    has_space
}
