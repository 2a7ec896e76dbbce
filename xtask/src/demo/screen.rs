//! What the demo shows: a panel redrawn in place on a terminal, one line a block elsewhere; no colour where NO_COLOR is set.
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _, stdout};

/// One process of the demo.
pub(super) struct Shown {
    pub(super) name: &'static str,
    pub(super) what: String,
    pub(super) id: u32,
    pub(super) resident_bytes: u64,
}

/// Everything that is shown at one moment.
pub(super) struct View {
    pub(super) height: u64,
    pub(super) seconds: f64,
    pub(super) votes: u64,
    pub(super) refusals: u64,
    pub(super) last_signed: String,
    /// Request to answer, within the signer.
    pub(super) p50_micros: u64,
    pub(super) p99_micros: u64,
    /// The durable record's share of it.
    pub(super) commit_p50_micros: u64,
    pub(super) link: String,
    pub(super) processes: Vec<Shown>,
    pub(super) refused: Option<String>,
}

/// The place where views go.
pub(super) struct Screen {
    is_terminal: bool,
    drawn_lines: usize,
    last_height: u64,
    last_refused: Option<String>,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { is_terminal: stdout().is_terminal(), drawn_lines: 0, last_height: 0, last_refused: None }
    }

    /// In place on a terminal that is large enough for it.
    pub(super) fn show(&mut self, view: &View) -> io::Result<()> {
        let size = if self.is_terminal { rustix::termios::tcgetwinsize(stdout()).ok() } else { None };
        let (width, height) = size.map_or((80, 24), |size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        let lines = panel(view, width.max(40) - 1);
        if self.is_terminal && lines.len() < height { self.draw(&lines) } else { self.print(view) }
    }

    fn print(&mut self, view: &View) -> io::Result<()> {
        let mut out = stdout().lock();
        if self.last_height == 0 {
            for process in &view.processes {
                writeln!(out, "    process {:>7}  {:<15} {}", process.id, process.name, process.what)?;
            }
        }
        if view.height > self.last_height {
            self.last_height = view.height;
            writeln!(
                out,
                "    height {:>5}  votes {:>5}  refusals {}  last signed {}  answer p50 {} p99 {}",
                view.height,
                view.votes,
                view.refusals,
                view.last_signed,
                millis(view.p50_micros),
                millis(view.p99_micros)
            )?;
        }
        if view.refused != self.last_refused {
            self.last_refused.clone_from(&view.refused);
            writeln!(out, "    DOUBLE SIGN REFUSED: {}", view.refused.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }

    fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut out = String::new();
        if self.drawn_lines > 0 {
            out = format!("\x1b[{}A", self.drawn_lines);
        }
        for line in lines {
            let _ = writeln!(out, "\r{line}\x1b[K");
        }
        out.push_str("\x1b[J");
        self.drawn_lines = lines.len();
        let mut terminal = stdout().lock();
        terminal.write_all(out.as_bytes())?;
        terminal.flush()
    }
}

/// Whether whoever watched has gone: a closed pipe, or a terminal that was closed (`EIO`).
pub(super) fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

fn panel(view: &View, width: usize) -> Vec<String> {
    let rule = "─".repeat(width.min(100));
    let row = |name: &str, value: String, note: &str| {
        let plain = cut(&format!("  {name:<12} {value:<20} {note}"), width);
        plain.replacen(&value, &bold(&value), 1)
    };
    let mut lines = vec![
        String::new(),
        rule.clone(),
        row("height", view.height.to_string(), &format!("{:.1} blocks a second", view.rate())),
        row("votes signed", view.votes.to_string(), &format!("last at {}", view.last_signed)),
        row("refusals", view.refusals.to_string(), "each one logged with its evidence"),
        row("answer", format!("p50 {}", millis(view.p50_micros)), &format!("p99 {}", millis(view.p99_micros))),
        row("record", format!("p50 {}", millis(view.commit_p50_micros)), "durable before each signature"),
        row("link", view.link.clone(), ""),
        rule.clone(),
    ];
    for process in &view.processes {
        let mib = process.resident_bytes / (1 << 20);
        let text = format!("  {:<15} pid {:<8} {mib:>4} MiB   {}", process.name, process.id, process.what);
        lines.push(cut(&text, width));
    }
    lines.push(rule);
    match &view.refused {
        None => lines.push("  a second node will ask for another block at a position that was just signed …".into()),
        Some(text) => {
            lines.push(red("  DOUBLE SIGN REFUSED") + ", a second node was answered:");
            lines.extend(wrap(text, width.saturating_sub(4)).into_iter().map(|part| format!("    {part}")));
        }
    }
    lines.push("  Ctrl-C ends it".to_owned());
    lines
}

impl View {
    #[allow(clippy::cast_precision_loss)]
    fn rate(&self) -> f64 {
        self.height as f64 / self.seconds.max(0.001)
    }
}

/// The last words, in the same form everywhere.
pub(super) fn summary(view: &View, commits_signed: u64, commits: u64, attempts: usize, logged: &str) {
    let evidence = logged.split(" (asked by").next().unwrap_or_default();
    let evidence = wrap(evidence, 96).join("\n              ");
    let (p50, p99, record) = (millis(view.p50_micros), millis(view.p99_micros), millis(view.commit_p50_micros));
    let text = format!(
        "\n{}\n  blocks      {} in {:.0} s ({:.1} a second)\n  votes       {} signed; in {commits_signed} of {commits} commits\n  \
         refusals    {}; attempts at a double sign: {attempts}, signed: 0\n  answer      p50 {p50}, p99 {p99}; the durable record p50 {record}\n  \
         evidence    {evidence}\n  every process has ended\n",
        bold("Summary"),
        view.height,
        view.seconds,
        view.rate(),
        view.votes,
        view.refusals,
    );
    // Nobody may be left to read it.
    let _ = stdout().write_all(text.as_bytes());
}

fn millis(micros: u64) -> String {
    format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
}

fn cut(text: &str, width: usize) -> String {
    text.chars().take(width).collect()
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let current = lines.last().map_or(0, |line| line.chars().count());
        if current > 0 && current + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&cut(word, width));
        }
    }
    lines
}

fn bold(text: &str) -> String {
    styled("1", text)
}

fn red(text: &str) -> String {
    styled("1;31", text)
}

fn styled(code: &str, text: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || !stdout().is_terminal();
    if plain { text.to_owned() } else { format!("\x1b[{code}m{text}\x1b[0m") }
}
