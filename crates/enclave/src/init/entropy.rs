//! The kernel's random pool, which every key, nonce and session of this program is drawn from.
//!
//! Three sources go into it: the CPU's (`random.trust_cpu=on`), the security module's through the kernel's own driver
//! (`nsm-hwrng`, drawn again and again), and what is given here at the start. The kernel mixes them by hashing
//! (`drivers/char/random.c`), so no one of them can take from what the others bring.
use crate::nsm::Nsm;
use rustix::ioctl::{Updater, ioctl, opcode};
use std::ffi::c_int;
use std::fs::{self, File};
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

/// What the kernel's driver of the security module calls itself (`drivers/misc/nsm.c`).
const MODULE: &str = "nsm-hwrng";

/// What is given to the pool, in bytes; the pool itself holds 32.
const SEED_BYTES: usize = 64;

/// `struct rand_pool_info` of `include/uapi/linux/random.h`, with as many bytes as are given.
#[repr(C)]
struct PoolInfo {
    entropy_bits: c_int,
    size_bytes: c_int,
    bytes: [u8; SEED_BYTES],
}

/// `_IOW('R', 0x03, int[2])`.
const RNDADDENTROPY: rustix::ioctl::Opcode = opcode::write::<[c_int; 2]>(b'R', 0x03);

/// The kernel's present source, as it calls it; none without a source or `/sys`.
pub(super) fn source(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join("sys/class/misc/hw_random/rng_current")).ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty() && name != "none")
}

/// AWS' init does not go on either with another source.
pub(super) fn expect_module(root: &Path) -> Result<(), String> {
    match source(root) {
        Some(name) if name == MODULE => Ok(()),
        other => Err(format!(
            "the kernel's source of randomness: expected {MODULE}, got {}; the image's kernel must have CONFIG_NSM and \
             CONFIG_HW_RANDOM, and run in a Nitro enclave",
            other.as_deref().unwrap_or("none")
        )),
    }
}

/// Gives the pool bytes of the module, and says that they count in full: whoever could know them runs the enclave.
#[allow(unsafe_code)] // The kernel's door: what is merely written to /dev/urandom does not count, and only an ioctl says so.
pub(super) fn seed(nsm: &dyn Nsm) -> Result<(), String> {
    let mut seed = Zeroizing::new([0; SEED_BYTES]);
    nsm.random(seed.as_mut_slice()).map_err(|error| error.to_string())?;
    let failed = |error: &dyn std::fmt::Display| format!("the kernel takes no seed for /dev/random: {error}");
    let device = File::options().write(true).open("/dev/random").map_err(|error| failed(&error))?;
    let (entropy_bits, size_bytes) = (sized(8 * SEED_BYTES), sized(SEED_BYTES));
    let mut info = PoolInfo { entropy_bits, size_bytes, bytes: *seed };
    // SAFETY: RNDADDENTROPY takes a `struct rand_pool_info`, whose two ints `PoolInfo` begins with, and reads as many bytes
    // after them as the second says, which is the size of `bytes`; the kernel changes nothing. `info` is borrowed for the call.
    let given = unsafe { ioctl(&device, Updater::<RNDADDENTROPY, PoolInfo>::new(&mut info)) };
    info.bytes.zeroize();
    given.map_err(|error| failed(&error))
}

fn sized(value: usize) -> c_int {
    c_int::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ioctl_and_its_structure_are_those_of_the_kernels_headers() {
        assert_eq!(RNDADDENTROPY, 0x4008_5203);
        assert_eq!((size_of::<PoolInfo>(), std::mem::offset_of!(PoolInfo, bytes)), (8 + SEED_BYTES, 8));
        assert_eq!((sized(8 * SEED_BYTES), sized(SEED_BYTES)), (512, 64));
    }

    #[test]
    fn another_source_than_the_module_is_told_by_its_name() {
        let root = std::env::temp_dir().join(format!("tmkms-entropy-{}", std::process::id()));
        let folder = root.join("sys/class/misc/hw_random");
        fs::create_dir_all(&folder).unwrap();
        assert!(expect_module(&root).unwrap_err().contains("expected nsm-hwrng, got none"));
        for (current, good) in [("nsm-hwrng\n", true), ("virtio_rng.0\n", false), ("none\n", false), ("\n", false)] {
            fs::write(folder.join("rng_current"), current).unwrap();
            assert_eq!(expect_module(&root).is_ok(), good, "{current}");
        }
        fs::remove_dir_all(root).unwrap();
    }
}
