//! The process's log: one line an event on stderr, as text for people or as JSON for machines.
//!
//! Whatever reads stderr may stop reading: a log driver that hangs, a terminal that was paused. No signature waits for
//! it: lines go into a bounded queue, and a thread of its own writes them. What does not fit is lost, counted and told.
mod line;
mod queue;

use crate::config::{LogFormat, LogLevel, LogSettings};
use log::{Level, LevelFilter, Log, Metadata, Record, error};
use queue::Queue;
use std::io::{self, Write as _};
use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the end of the process waits for a log that nobody takes.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);

/// The logger of this process, as the `log` crate wants it: for good. Empty until [`install`].
static LOGGER: OnceLock<Logger> = OnceLock::new();

struct Logger {
    format: LogFormat,
    queue: Queue,
    /// Where each line goes besides; it must not wait.
    also: Option<Tee>,
}

/// Takes each line of the log, with its end, without waiting for anybody.
pub type Tee = Box<dyn Fn(&str) + Send + Sync>;

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
        }
    }
}

/// Installs the log, panics included. `verbose` raises the level to debug. A second call changes nothing.
///
/// # Errors
/// The system gives no thread for it.
pub fn install(settings: LogSettings, verbose: bool) -> io::Result<()> {
    install_with(settings, verbose, None)
}

/// The same with another place where each line goes: an enclave keeps its last ones for its parent.
///
/// # Errors
/// As [`install`].
pub fn install_with(settings: LogSettings, verbose: bool, also: Option<Tee>) -> io::Result<()> {
    if LOGGER.get().is_some() {
        return Ok(());
    }
    let level = if verbose { LevelFilter::Debug } else { settings.level.into() };
    let format = settings.format;
    let queue = Queue::start(io::stderr(), move |lost| lost_line(format, lost))?;
    let logger = LOGGER.get_or_init(|| Logger { format, queue, also });
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level);
        // The usual hook writes to stderr itself, and would wait there with all that the panicking thread holds.
        panic::set_hook(Box::new(report_panic));
    }
    Ok(())
}

fn report_panic(panic: &PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("no message");
    match panic.location() {
        Some(place) => error!("panicked at {place}: {text}"),
        None => error!("panicked: {text}"),
    }
}

/// Puts a text on stderr, behind every line that was logged before; directly, as long as there is no log.
pub(crate) fn print(text: &str) {
    match LOGGER.get() {
        Some(logger) => logger.queue.push(text),
        // There is nowhere left to report to if stderr fails.
        None => drop(io::stderr().lock().write_all(text.as_bytes())),
    }
}

/// Waits until every line is written, but not long: before the process ends.
pub fn flush() {
    if let Some(logger) = LOGGER.get() {
        let _ = logger.queue.flush(FLUSH_LIMIT);
    }
}

/// What the log adds to the metrics, in Prometheus' text format: a log that is stuck cannot say so itself.
#[must_use]
pub fn metrics() -> String {
    let lost = LOGGER.get().map_or(0, |logger| logger.queue.lost_lines());
    format!(
        "# HELP tmkms_log_lines_lost_total Log lines that stderr did not take in time.\n\
         # TYPE tmkms_log_lines_lost_total counter\ntmkms_log_lines_lost_total {lost}\n"
    )
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The one level, which an enclave's configuration may change later.
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = line::render(self.format, now(), record);
            if let Some(also) = &self.also {
                also(&line);
            }
            self.queue.push(&line);
        }
    }

    fn flush(&self) {
        let _ = self.queue.flush(FLUSH_LIMIT);
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What stands in the log where lines are missing.
fn lost_line(format: LogFormat, lost: u64) -> String {
    let fields = [("lines", lost)];
    let mut record = Record::builder();
    record.level(Level::Warn).target(module_path!()).key_values(&fields);
    let words = if lost == 1 { "line was" } else { "lines were" };
    line::render(
        format,
        now(),
        &record.args(format_args!("{lost} {words} lost here: stderr was not read fast enough, or failed")).build(),
    )
}
