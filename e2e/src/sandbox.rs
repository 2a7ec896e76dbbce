//! A folder and a watchdog for one run: files go into the one, and the other kills every process of the run if we die before we could.
use crate::ports::PortBlock;
use anyhow::{Context, Result};
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Reads `+ PGID` and `- PGID` lines; when its input ends, which happens however we die, it kills the groups that are left. A process of its own
/// rather than `PR_SET_PDEATHSIG`, which fires when the spawning *thread* ends and needs unsafe code.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
groups=
while read -r op group; do
    rest=
    for g in $groups; do [ "$g" = "$group" ] || rest="$rest $g"; done
    groups=$rest
    [ "$op" = + ] && groups="$groups $group"
done
for g in $groups; do kill -s KILL -- "-$g" 2>/dev/null; done
exit 0
"#;

/// One run's folder, ports and watchdog. Clones share them; the last one to go removes the folder, unless the run failed.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    ports: PortBlock,
    watchdog: Mutex<(Child, Option<ChildStdin>)>,
    keep: AtomicBool,
}

static RUNS: AtomicU32 = AtomicU32::new(0);

/// A folder that was not there before, for us alone: keys will be in it, and the temporary folder is everybody's.
fn new_folder(parent: &Path, name: &str) -> Result<PathBuf> {
    loop {
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let dir = parent.join(format!("tmkms-e2e-{}-{run}-{name}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => return Ok(dir),
            // Left by a run that was killed and had our process id.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot create {}", dir.display())),
        }
    }
}

impl Sandbox {
    /// A new folder `tmkms-e2e-…` under the system's temporary folder: short, because a Unix socket's path may have 107 bytes only.
    ///
    /// # Errors
    /// When the folder, the ports or the watchdog cannot be had.
    pub fn new(name: &str) -> Result<Self> {
        Self::in_folder(&std::env::temp_dir(), name)
    }

    /// The same, in a folder of the caller's choice, e.g. on the disk that a benchmark is about.
    ///
    /// # Errors
    /// As [`Sandbox::new`].
    pub fn in_folder(parent: &Path, name: &str) -> Result<Self> {
        let dir = new_folder(parent, name)?;
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "tmkms-e2e-watchdog"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start the watchdog (sh)")?;
        let input = watchdog.stdin.take();
        Ok(Self(Arc::new(Inner {
            dir,
            ports: PortBlock::claim()?,
            watchdog: Mutex::new((watchdog, input)),
            keep: AtomicBool::new(std::env::var_os("E2E_KEEP").is_some()),
        })))
    }

    /// Runs `body` in a new sandbox. If it fails, the folder stays and its place and the end of every log are in the error; the cause alone is
    /// one line on standard output, which `cargo xtask test` shows again at its end.
    ///
    /// # Errors
    /// The body's.
    pub fn run<T>(name: &str, body: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let sandbox = Self::new(name)?;
        body(&sandbox).map_err(|error| {
            sandbox.keep();
            let cause = format!("{error:#}").replace('\n', " | ");
            let line = format!("failed: {name}: {}\n", cause.chars().take(1500).collect::<String>());
            let _ = std::io::stdout().write_all(line.as_bytes());
            let logs = sandbox.log_tails(25);
            error.context(format!("{name} failed; its files are kept in {}\n{logs}", sandbox.dir().display()))
        })
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Keeps the folder when the run is over.
    pub fn keep(&self) {
        self.0.keep.store(true, Ordering::Relaxed);
    }

    /// A free TCP port on loopback, never given twice.
    ///
    /// # Errors
    /// When none is left.
    pub fn port(&self) -> Result<u16> {
        self.0.ports.next()
    }

    /// The last `lines` lines of each log file, under its name.
    #[must_use]
    pub fn log_tails(&self, lines: usize) -> String {
        let mut out = String::new();
        for path in self.logs() {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
            let all: Vec<&str> = text.lines().collect();
            let tail = all[all.len().saturating_sub(lines)..].join("\n");
            out += &format!("--- {}\n{tail}\n", path.file_name().unwrap_or_default().to_string_lossy());
        }
        out
    }

    /// The log files, by name.
    #[must_use]
    pub fn logs(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = fs::read_dir(self.dir())
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "log"))
            .collect();
        found.sort();
        found
    }

    /// Tells the watchdog of a process group that lives (`+`) or has ended (`-`).
    pub(crate) fn note(&self, op: char, group: u32) -> Result<()> {
        let mut watchdog = self.0.watchdog.lock().unwrap_or_else(PoisonError::into_inner);
        let input = watchdog.1.as_mut().context("the watchdog is gone")?;
        writeln!(input, "{op} {group}").context("the watchdog is gone")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let watchdog = self.watchdog.get_mut().unwrap_or_else(PoisonError::into_inner);
        watchdog.1 = None;
        let _ = watchdog.0.wait();
        if !self.keep.load(Ordering::Relaxed) && !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
