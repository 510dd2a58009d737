//! The known word somebody most likely meant.

/// The word within a third of its length in edits, the closest first, then the first; `None` if all are too far.
pub(in crate::config) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let most = 64; // Names and fields are shorter; what is longer is no slip of the finger.
    if written.len() > most {
        return None;
    }
    known
        .into_iter()
        .map(|word| (edits(written.as_bytes(), word.as_bytes()), word))
        .filter(|(edits, word)| *edits <= (word.len() / 3).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, word)| word)
}

/// Insertions, deletions, replacements and swaps of neighbours from `a` to `b` (optimal string alignment).
fn edits(a: &[u8], b: &[u8]) -> usize {
    let width = b.len() + 1;
    let mut two_back = vec![0; width];
    let mut back: Vec<usize> = (0..width).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; width];
        for j in 1..width {
            let replaced = back[j - 1] + usize::from(!a[i - 1].eq_ignore_ascii_case(&b[j - 1]));
            row[j] = replaced.min(back[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(two_back[j - 2] + 1);
            }
        }
        two_back = std::mem::replace(&mut back, row);
    }
    back[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_understood_and_nothing_else() {
        let known = ["name", "balance", "backends", "timeouts", "weight", "id"];
        for (written, meant) in [
            ("wieght", Some("weight")),
            ("weights", Some("weight")),
            ("Backends", Some("backends")),
            ("backend", Some("backends")),
            ("timeout", Some("timeouts")),
            ("nmae", Some("name")),
            ("ids", Some("id")),
            ("health", None),
            ("", None),
            ("algorithm", None),
        ] {
            assert_eq!(nearest(written, known), meant, "{written}");
        }
    }
}
