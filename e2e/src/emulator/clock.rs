//! The time stamp counter's rate, which an emulated enclave is told because it cannot find it out.
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long the counter is watched: half a microsecond of doubt at each end makes one part in a hundred thousand.
const WATCHED: Duration = Duration::from_millis(100);

/// Words for the end of the enclave's command line that make its clock right; none where the counter's rate is not known.
///
/// QEMU's software emulation gives the guest the host's counter. The guest's kernel would measure it against a timer that is
/// late on a busy host; then it counts ticks instead, of 10 ms, and its time goes slow with each one that it misses.
pub(super) fn words() -> String {
    static KHZ: OnceLock<Option<u64>> = OnceLock::new();
    match *KHZ.get_or_init(khz) {
        // Loops for a jiffy of our kernel's 10 ms, one turn of the counter each: else each processor spends a tenth of a second on it.
        Some(khz) => format!(" tsc=reliable tsc_early_khz={khz} lpj={}", khz * 10),
        None => String::new(),
    }
}

fn khz() -> Option<u64> {
    let (began, first) = reading()?;
    std::thread::sleep(WATCHED);
    let (ended, last) = reading()?;
    let ticks = u128::from(last.checked_sub(first)?);
    u64::try_from(ticks * 1_000_000 / (ended - began).as_nanos()).ok().filter(|khz| *khz > 0)
}

/// Clock and counter at the same moment: of ten tries the one with the fewest ticks around the clock's reading.
fn reading() -> Option<(Instant, u64)> {
    let tries = (0..10).filter_map(|_| {
        let before = counter()?;
        let now = Instant::now();
        let after = counter()?;
        Some((after.wrapping_sub(before), now, before.midpoint(after)))
    });
    tries.min_by_key(|(ticks, ..)| *ticks).map(|(_, now, counter)| (now, counter))
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, clippy::unnecessary_wraps)]
fn counter() -> Option<u64> {
    // SAFETY: every x86-64 processor has the instruction; it reads a register and touches no memory.
    Some(unsafe { std::arch::x86_64::_rdtsc() })
}

#[cfg(not(target_arch = "x86_64"))]
fn counter() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn two_measurements_of_the_counter_agree() {
        let (first, second) = (khz().unwrap(), khz().unwrap());
        assert!((100_000..20_000_000).contains(&first), "{first} kHz");
        assert!(first.abs_diff(second) * 1000 < first, "{first} kHz and {second} kHz");
        assert!(words().starts_with(" tsc=reliable tsc_early_khz="));
    }
}
