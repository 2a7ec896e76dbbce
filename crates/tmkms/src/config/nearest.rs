//! The nearest known name to a misspelt one, for "did you mean".

/// The candidate that takes the fewest edits, if it takes few enough to be a slip of the fingers.
pub(crate) fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer names than any known one cannot be near, and the table below grows with their length.
    const LONGEST: usize = 64;
    if found.len() > LONGEST {
        return None;
    }
    let most = 1 + found.chars().count() / 3;
    candidates
        .into_iter()
        .map(|name| (edits(&found.to_lowercase(), name), name))
        .filter(|(count, _)| *count <= most)
        .min()
        .map(|(_, name)| name)
}

/// Damerau-Levenshtein distance (adjacent transpositions count once), over characters.
fn edits(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let change = usize::from(from[i - 1] != to[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name() {
        let known = ["id", "key_format", "state_file", "sign_extensions"];
        for (found, expected) in [
            ("idd", Some("id")),
            ("di", Some("id")),
            ("keyformat", Some("key_format")),
            ("State_File", Some("state_file")),
            ("sign_extension", Some("sign_extensions")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(found, known), expected, "{found}");
        }
    }

    #[test]
    fn a_transposition_is_one_edit() {
        assert_eq!((edits("ab", "ba"), edits("abc", "abc"), edits("kitten", "sitting")), (1, 0, 3));
    }
}
