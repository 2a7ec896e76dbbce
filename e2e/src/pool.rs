//! Many independent cases, as many at once as the machine carries.
use anyhow::Result;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Runs `body` for every case on `workers` threads; the results are in the order of the cases.
pub fn run<C: Sync, T: Send>(cases: &[C], workers: usize, body: impl Fn(&C) -> Result<T> + Sync) -> Vec<Result<T>> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<T>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..workers.clamp(1, cases.len().max(1)) {
            scope.spawn(|| {
                while let Some((index, case)) = take(cases, &next) {
                    let result = body(case);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn take<'a, C>(cases: &'a [C], next: &AtomicUsize) -> Option<(usize, &'a C)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, cases.get(index)?))
}

/// How many chains this machine carries at once: one per core, at least one.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Prints a table of cases and results on stderr, past the test runner's capture, and fails when one failed.
///
/// # Errors
/// With every failure.
pub fn report(title: &str, names: &[String], results: Vec<Result<String>>) -> Result<()> {
    let (mut table, mut failures) = (format!("{title}\n"), String::new());
    for (name, result) in names.iter().zip(results) {
        match result {
            Ok(text) => writeln!(table, "    {name:<34} {text}")?,
            Err(error) => {
                writeln!(table, "    {name:<34} FAILED")?;
                writeln!(failures, "{name}: {error:#}\n")?;
            }
        }
    }
    crate::say(&table);
    anyhow::ensure!(failures.is_empty(), "{failures}");
    Ok(())
}
