//! What a check found: a verdict, the finding, and what to do about it.
use serde_json::{Value, json};

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Ok,
    /// It could not be looked at; the finding says why.
    Skipped,
    /// It is as it may be, and somebody should know.
    Note,
    Warning,
    Error,
}

impl Verdict {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// A short fixed name.
    pub check: &'static str,
    pub verdict: Verdict,
    pub found: String,
    /// Empty where there is nothing to do. A line of it that begins with two blanks is a command, and is never broken.
    pub remedy: String,
}

/// Where a check puts what it finds, as soon as it is found.
pub(super) type Say<'a> = &'a mut dyn FnMut(Finding);

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), remedy: String::new() }
    }

    pub(super) fn skipped(check: &'static str, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Skipped, found: why.into(), remedy: remedy.into() }
    }

    pub(super) fn note(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Note, found: found.into(), remedy: remedy.into() }
    }

    pub(super) fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, found: found.into(), remedy: remedy.into() }
    }

    pub(super) fn error(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Error, found: found.into(), remedy: remedy.into() }
    }
}

/// How often there was each verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub ok: usize,
    pub notes: usize,
    pub warnings: usize,
    pub errors: usize,
    pub skipped: usize,
}

impl Counts {
    pub(super) fn of<'a>(findings: impl Iterator<Item = &'a Finding>) -> Self {
        let mut counts = Self::default();
        for finding in findings {
            match finding.verdict {
                Verdict::Ok => counts.ok += 1,
                Verdict::Skipped => counts.skipped += 1,
                Verdict::Note => counts.notes += 1,
                Verdict::Warning => counts.warnings += 1,
                Verdict::Error => counts.errors += 1,
            }
        }
        counts
    }

    pub(super) fn line(self) -> String {
        let many = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let (notes, warnings) = (many(self.notes, "note"), many(self.warnings, "warning"));
        format!("{} ok, {notes}, {warnings}, {}, {} skipped", self.ok, many(self.errors, "error"), self.skipped)
    }

    pub(super) fn json(self) -> Value {
        json!({ "ok": self.ok, "notes": self.notes, "warnings": self.warnings, "errors": self.errors, "skipped": self.skipped })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a check says, in lines: `verdict check: found`, and `  remedy` where there is one.
    pub(in super::super) fn said(check: impl FnOnce(Say<'_>)) -> String {
        let mut text = String::new();
        check(&mut |finding: Finding| {
            text.push_str(&format!("{} {}: {}\n", finding.verdict.name(), finding.check, finding.found));
            if !finding.remedy.is_empty() {
                text.push_str(&format!("  {}\n", finding.remedy));
            }
        });
        text
    }

    #[test]
    fn every_verdict_is_counted_and_one_is_not_many() {
        let findings = [
            Finding::ok("a", ""),
            Finding::note("a", "", ""),
            Finding::warning("a", "", ""),
            Finding::warning("b", "", ""),
            Finding::skipped("a", "", ""),
        ];
        let counts = Counts::of(findings.iter());
        assert_eq!(counts.line(), "1 ok, 1 note, 2 warnings, 0 errors, 1 skipped");
        assert_eq!(counts.json()["warnings"], 2);
    }
}
