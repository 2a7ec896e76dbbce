//! What `tmkms nitro policy` says to a person.
use super::statement::Statement;
use super::statements::ceremony_in_iam;
use super::wanted::Wanted;
use crate::state::shell_word;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// The width of explanations, in characters.
const WIDTH: usize = 100;

/// What each statement does, what IAM needs besides, and how the policy is put.
pub(super) fn explanation(wanted: &Wanted, statements: &[Statement], file: Option<&Path>) -> String {
    let mut text = String::new();
    // Into memory: nothing fails.
    for statement in statements {
        let _ = writeln!(text, "{} ({})\n{}", statement.sid, statement.effect, wrapped(&statement.explanation));
    }
    if let Some(ceremony) = &wanted.ceremony {
        let why = format!(
            "kms:GenerateRandom uses no key, so its permission does not stand in a key's policy. {} needs it in IAM, there too with the \
             image's measurement:",
            ceremony.role
        );
        let statement = ceremony_in_iam(ceremony).replace('\n', "\n  ");
        let _ = writeln!(text, "In IAM\n{}  {statement}\n", wrapped(&why));
    }
    let ceremony = wanted.ceremony.as_ref().map(|ceremony| &ceremony.role);
    let everybody = wanted.roles.iter().chain(&wanted.admins).chain(ceremony);
    let accounts: BTreeSet<&str> = everybody.map(|who| who.account()).collect();
    if accounts.len() > 1 {
        let why = "They are of several accounts: whoever is not of the KMS key's account needs a policy in IAM there, too, which \
                   allows the same on this key.";
        let _ = writeln!(text, "In IAM\n{}", wrapped(why));
    }
    let how = "As one of the administrators: from anybody else AWS does not take it. Then see whether grants are left from before, \
               and whether this is the policy in force (--present).";
    let _ = writeln!(text, "Putting it\n{}  {}\n  aws kms list-grants --key-id KEY-ARN", wrapped(how), put(file));
    text
}

/// The command that puts the policy.
pub(super) fn put(file: Option<&Path>) -> String {
    let file = file.map_or_else(|| "key-policy.json".to_owned(), |file| shell_word(&file.display().to_string()));
    format!("aws kms put-key-policy --key-id KEY-ARN --policy-name default --policy file://{file}")
}

/// The few words beside the JSON.
pub(super) fn note(wanted: &Wanted, file: Option<&Path>, explained: bool, compared: bool) -> String {
    let mut text = String::new();
    if let Some(file) = file {
        let _ = writeln!(text, "wrote {}", file.display());
    }
    if compared && file.is_none() {
        return text;
    }
    let measured: Vec<String> = wanted.images.iter().map(ToString::to_string).collect();
    let _ = writeln!(text, "released to the image {}", measured.join("\n            and to "));
    if measured.len() > 1 {
        let _ = writeln!(
            text,
            "note: {} images, for the time of an upgrade: when the new one signs, put a policy with its --measurements alone",
            measured.len()
        );
    }
    if wanted.ceremony.is_some() {
        let _ = writeln!(
            text,
            "note: the ceremony's role can encrypt a key of its own: pin yours in the signer's measured policy, and leave the ceremony out when the key is made"
        );
    }
    if !explained && !compared {
        let _ = writeln!(
            text,
            "note: an administrator can change the policy, and so decrypt: --explain says what to do, and what each statement is for"
        );
        let _ = writeln!(text, "put it: {}", put(file));
    }
    text
}

/// Indented lines of whole words.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let is_full = lines.last().is_some_and(|line| line.chars().count() + 1 + word.chars().count() > WIDTH);
        if is_full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(if line.is_empty() { "  " } else { " " });
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::wanted::tests::{full, plain};
    use super::*;

    fn explained(wanted: &Wanted) -> String {
        explanation(wanted, &wanted.statements().unwrap(), None)
    }

    #[test]
    fn every_statement_is_explained_in_lines_that_fit() {
        let text = explained(&full());
        for statement in full().statements().unwrap() {
            assert!(text.contains(&format!("{} ({})\n  ", statement.sid, statement.effect)), "{text}");
        }
        let prose =
            text.lines().filter(|line| !line.contains("arn:") && !line.contains('"') && !line.contains("aws kms"));
        assert!(prose.clone().count() > 20 && prose.clone().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(
            text.contains(
                "aws kms put-key-policy --key-id KEY-ARN --policy-name default --policy file://key-policy.json"
            )
        );
    }

    #[test]
    fn what_iam_needs_is_told_where_it_needs_something() {
        // In one line: where it is broken does not matter.
        let words = |wanted: &Wanted| explained(wanted).split_whitespace().collect::<Vec<_>>().join(" ");
        let text = words(&full());
        assert!(text.contains(r#""Action": "kms:GenerateRandom""#) && text.contains(&"ce".repeat(48)), "{text}");
        let abroad = "needs a policy in IAM there, too";
        assert!(!text.contains(abroad) && !words(&plain()).contains("In IAM"));
        let mut wanted = plain();
        wanted.admins.push("arn:aws:iam::444455556666:role/break-glass".parse().unwrap());
        assert!(words(&wanted).contains(abroad));
    }
}
