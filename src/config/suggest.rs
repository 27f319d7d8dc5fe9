//! Finds the name that was probably meant.

/// The known name closest to `wrong`, if one is close enough to be worth saying.
pub(super) fn nearest(wrong: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let limit = (wrong.chars().count() / 3).max(2);
    let measured = known.map(|name| (distance(wrong, &name), name));
    measured.filter(|(far, _)| *far <= limit).min().map(|(_, name)| name)
}

/// Puts a suggestion into words; `otherwise` is the advice when there is none.
pub(super) fn did_you_mean(name: Option<String>, otherwise: &str) -> String {
    name.map_or_else(|| otherwise.to_owned(), |name| format!("did you mean {name}?"))
}

/// Levenshtein's: how many letters must be put in, taken out or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_levenshtein() {
        for (a, b, far) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("listen", "lisetn", 2)] {
            assert_eq!(distance(a, b), far, "{a} {b}");
        }
    }

    #[test]
    fn a_name_far_from_all_gets_no_suggestion() {
        assert_eq!(nearest("zebra", ["listen".to_owned()].into_iter()), None);
        assert_eq!(nearest("lisen", ["listen".to_owned()].into_iter()), Some("listen".to_owned()));
    }
}
