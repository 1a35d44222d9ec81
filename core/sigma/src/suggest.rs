//! "Did you mean …?"

/// Characters of a word that are looked at.
const LONGEST: usize = 64;

/// How many letters must be put in, taken out, changed or swapped with their neighbour to make one word the other.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(LONGEST).collect();
    let b: Vec<char> = b.chars().take(LONGEST).collect();
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1; b.len() + 1];
        for j in 0..b.len() {
            let changed = last[j] + usize::from(a[i] != b[j]);
            row[j + 1] = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// The candidate that `word` most probably stands for, if one is near enough: another case, or a few letters off.
pub(crate) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let lower = word.to_lowercase();
    // A third of the letters may be wrong, two at most; a short word has no near ones.
    let allowed = (lower.chars().count() / 3).min(2);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let folded = candidate.to_lowercase();
        if folded.len().abs_diff(lower.len()) > allowed {
            continue;
        }
        let far = distance(&folded, &lower);
        if far <= allowed && best.is_none_or(|(least, _)| far < least) {
            best = Some((far, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_near_word_is_found_and_a_far_one_is_not() {
        let known = ["Image", "ImageLoaded", "CommandLine", "id"];
        for (word, want) in [
            ("image", Some("Image")),
            ("Imgae", Some("Image")),
            ("ComandLine", Some("CommandLine")),
            ("CommandLien", Some("CommandLine")),
            ("ix", None),
            ("Hashes", None),
        ] {
            assert_eq!(nearest(word, known), want, "{word}");
        }
    }
}
