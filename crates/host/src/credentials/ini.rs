//! AWS's shared files: sections in brackets, `name = value`, comments, and indented lines that belong to a name.
use super::Secret;
use zeroize::Zeroizing;

/// The value of a name in a section; names are compared without their case. A section that stands twice is one.
pub(super) fn value(text: &str, is_section: impl Fn(&str) -> bool, name: &str) -> Option<Secret> {
    let mut found = None;
    for (key, value) in entries(text, is_section) {
        if key.eq_ignore_ascii_case(name) && !value.is_empty() {
            found = Some(Zeroizing::new(value.to_owned()));
        }
    }
    found
}

/// Whether there is such a section.
pub(super) fn has(text: &str, is_section: impl Fn(&str) -> bool) -> bool {
    text.lines().filter_map(section).any(is_section)
}

/// The name in brackets, if the line is one.
fn section(line: &str) -> Option<&str> {
    let name = line.strip_prefix('[')?;
    Some(name.split_once(']')?.0.trim())
}

fn entries(text: &str, is_section: impl Fn(&str) -> bool) -> impl Iterator<Item = (&str, &str)> {
    let mut inside = false;
    text.lines().filter_map(move |line| {
        if let Some(name) = section(line) {
            inside = is_section(name);
            return None;
        }
        // Indented lines are parts of a nested value ("s3 =").
        if !inside || line.starts_with([' ', '\t', '#', ';']) {
            return None;
        }
        let (key, value) = line.split_once('=')?;
        Some((key.trim(), without_comment(value).trim()))
    })
}

/// A comment within a line begins with a blank.
fn without_comment(value: &str) -> &str {
    let ends = [" #", " ;", "\t#", "\t;"].into_iter().filter_map(|mark| value.find(mark));
    ends.min().map_or(value, |end| &value[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_as_awss_own_tools_find_them() {
        let text = "# a comment\n[other]\nname = wrong\n[ mine ]\nName=a=b # c\ns3 =\n  name = nested\nempty =\n[mine]\nsecond\t=\tx\n";
        let mine = |name: &str| value(text, |section| section == "mine", name).map(|value| value.to_string());
        assert_eq!(mine("name").as_deref(), Some("a=b"));
        assert_eq!(mine("SECOND").as_deref(), Some("x"));
        assert_eq!((mine("empty"), mine("s3"), mine("missing")), (None, None, None));
        assert!(has(text, |section| section == "other") && !has(text, |section| section == "none"));
    }
}
