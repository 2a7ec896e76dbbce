//! What a person sees on the terminal: colour where it is wanted, questions, and failures.
use crate::failure::Failure;
use crate::logging;
use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Read, Write};

/// The longest typed answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 256;

/// Whether text for that stream is coloured: only on a terminal, and not with `NO_COLOR` (<https://no-color.org>).
#[must_use]
pub fn wants_colour(is_terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    is_terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A failure as text: `error: …` for each problem, and `  help: …` where there is a remedy.
#[must_use]
pub fn render(failure: &Failure, colour: bool) -> String {
    let paint = |text: &str, code: &str| if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    let mut text = String::new();
    for problem in &failure.problems {
        let _ = writeln!(text, "{} {}", paint("error:", "1;31"), problem.message);
        if !problem.help.is_empty() {
            let _ = writeln!(text, "  {} {}", paint("help:", "1;36"), problem.help);
        }
    }
    text
}

/// Says on stderr why a command failed, behind what it has logged.
pub fn report(failure: &Failure) {
    logging::print(&render(failure, wants_colour(io::stderr().is_terminal())));
}

/// Asks for a word that must be typed out exactly. No answer (closed stdin) is no.
///
/// # Errors
/// The question could not be written, or the answer not read.
pub fn confirm(question: &str, expected: &str) -> io::Result<bool> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question}\ntype {expected} to go on: ")?;
    stderr.flush()?;
    let mut answer = String::new();
    if io::stdin().lock().take(MAX_ANSWER_BYTES).read_line(&mut answer)? == 0 {
        writeln!(stderr)?;
    }
    Ok(answer.trim() == expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_failure_shows_cause_and_remedy() {
        let failure = Failure::new(Exit::State, "the state is missing", "make it");
        assert_eq!(render(&failure, false), "error: the state is missing\n  help: make it\n");
        assert!(render(&failure, true).starts_with("\x1b[1;31merror:\x1b[0m the state"));
    }
}
