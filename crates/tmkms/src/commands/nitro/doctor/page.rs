//! The table for people, and the JSON for programs.
use super::finding::{Counts, Finding, Verdict};
use crate::commands::nitro::{plain_json, plain_lines};
use serde_json::{Value, json};
use std::io::{self, Write};

/// The longest line, in characters, except where a single word or a command is longer.
const WIDTH: usize = 118;
/// The most of a finding or a remedy that is shown, in characters: what is found may be somebody else's words.
const MAX_TEXT_CHARS: usize = 4000;

/// The findings of a group of checks.
#[derive(Debug)]
pub(super) struct Group {
    pub name: &'static str,
    pub findings: Vec<Finding>,
}

pub(super) fn json(groups: &[Group]) -> String {
    let row = |group: &Group, finding: &Finding| {
        json!({
            "group": group.name,
            "check": finding.check,
            "verdict": finding.verdict.name(),
            "finding": clipped(&finding.found),
            "remedy": clipped(&finding.remedy),
        })
    };
    let rows: Vec<Value> =
        groups.iter().flat_map(|group| group.findings.iter().map(|finding| row(group, finding))).collect();
    let counts = Counts::of(groups.iter().flat_map(|group| &group.findings)).json();
    plain_json(&format!("{:#}", json!({ "checks": rows, "counts": counts })))
}

pub(super) fn write(groups: &[Group], colour: bool, out: &mut dyn Write) -> io::Result<()> {
    let names = groups.iter().flat_map(|group| &group.findings).map(|finding| finding.check.len());
    let names = names.max().unwrap_or_default();
    for group in groups {
        writeln!(out, "{}", group.name)?;
        for finding in &group.findings {
            write_finding(finding, names, colour, out)?;
        }
    }
    writeln!(out, "\n{}", Counts::of(groups.iter().flat_map(|group| &group.findings)).line())
}

fn write_finding(finding: &Finding, names: usize, colour: bool, out: &mut dyn Write) -> io::Result<()> {
    const VERDICTS: usize = 7;
    let name = finding.verdict.name();
    let (before, after) = match finding.verdict {
        _ if !colour => ("", ""),
        Verdict::Ok => ("\x1b[32m", "\x1b[0m"),
        Verdict::Skipped | Verdict::Note => ("\x1b[36m", "\x1b[0m"),
        Verdict::Warning => ("\x1b[1;33m", "\x1b[0m"),
        Verdict::Error => ("\x1b[1;31m", "\x1b[0m"),
    };
    let indent = 2 + VERDICTS + 2 + names + 2;
    let lines = broken(&clipped(&finding.found), indent);
    let mut lines = lines.iter();
    let first = lines.next().map_or("", String::as_str);
    writeln!(out, "  {before}{name:<VERDICTS$}{after}  {:<names$}  {first}", finding.check)?;
    lines.try_for_each(|line| writeln!(out, "{:indent$}{line}", ""))?;
    if finding.remedy.is_empty() {
        return Ok(());
    }
    let lines = broken(&format!("help: {}", clipped(&finding.remedy)), indent + 2);
    lines.iter().try_for_each(|line| writeln!(out, "{:1$}{line}", "", indent + 2))
}

/// Without what would act on a terminal, and not endless.
fn clipped(text: &str) -> String {
    let mut plain: String = plain_lines(text).chars().take(MAX_TEXT_CHARS).collect();
    if text.chars().nth(MAX_TEXT_CHARS).is_some() {
        plain.push('…');
    }
    plain
}

/// Lines of whole words; what stands between backticks is one word, and a line that begins with two blanks stays as it is.
fn broken(text: &str, indent: usize) -> Vec<String> {
    let room = WIDTH.saturating_sub(indent);
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("  ") {
            lines.push(line.to_owned());
            continue;
        }
        let mut current = String::new();
        for word in words(line) {
            if !current.is_empty() && current.chars().count() + 1 + word.chars().count() > room {
                lines.push(std::mem::take(&mut current));
            }
            if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(&word);
        }
        lines.push(current);
    }
    lines
}

fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for c in line.chars() {
        is_quoted ^= c == '`';
        match words.last_mut() {
            Some(word) if c != ' ' || is_quoted => word.push(c),
            _ => words.push(String::new()),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(findings: Vec<Finding>) -> String {
        let mut out = Vec::new();
        write(&[Group { name: "group", findings }], false, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_remedy_stands_below_what_is_not_well_and_a_command_in_it_is_never_broken() {
        let command = format!("  aws kms get-key-policy --key-id {}", "x".repeat(100));
        let quoted = format!("`tmkms nitro status -i 16 {}`", "--json ".repeat(12).trim_end());
        let text = shown(vec![
            Finding::ok("port", "it listens"),
            Finding::error("name", "expected a, got b", format!("{} {quoted}\n{command}", "do it now ".repeat(8))),
        ]);
        assert!(text.starts_with("group\n  ok       port  it listens\n  error    name  expected a, got b\n"), "{text}");
        assert!(text.contains("\n                   help: do it now do it now"), "{text}");
        assert!(text.contains(&format!("\n                   {quoted}\n")), "{text}");
        assert!(text.contains(&format!("\n                   {command}\n")), "{text}");
        assert!(text.ends_with("\n\n1 ok, 0 notes, 0 warnings, 1 error, 0 skipped\n"), "{text}");
    }

    #[test]
    fn what_others_say_neither_acts_on_a_terminal_nor_looks_like_a_line_of_the_table() {
        let hostile = "a\u{1b}[2J\u{202e}\nerror: x\n  ok       port  forged";
        let text = shown(vec![Finding::warning("name", hostile, hostile)]);
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
        let rows: Vec<_> = text.lines().filter(|line| line.starts_with("  ok") || line.starts_with("error")).collect();
        assert!(rows.is_empty(), "{text}");
        let text = shown(vec![Finding::warning("name", "x ".repeat(1_000_000), "")]);
        assert!(text.len() < 10_000 && text.contains('…'));
        let read: Value =
            serde_json::from_str(&json(&[Group { name: "g", findings: vec![Finding::note("n", hostile, "r")] }]))
                .unwrap();
        assert_eq!((&read["checks"][0]["verdict"], &read["counts"]["notes"]), (&json!("note"), &json!(1)));
    }
}
