//! What the kernel says of this process, and threads that only wait.
use std::sync::mpsc;

/// A field of /proc/self/status in bytes.
pub fn bytes_of(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// Runs `observe` while that many threads exist.
pub fn hold_threads<T>(count: usize, observe: impl FnOnce() -> T) -> T {
    let (started, wait_started) = mpsc::channel();
    std::thread::scope(|scope| {
        let mut holds = Vec::new();
        for _ in 0..count {
            let (hold, held) = mpsc::channel::<()>();
            let started = started.clone();
            holds.push(hold);
            std::thread::Builder::new()
                .spawn_scoped(scope, move || {
                    started.send(()).unwrap();
                    let _ = held.recv();
                })
                .unwrap();
        }
        for _ in 0..count {
            wait_started.recv().unwrap();
        }
        let observed = observe();
        drop(holds);
        observed
    })
}
