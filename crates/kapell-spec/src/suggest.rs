//! Did you mean: the nearest of the known names.

/// Finds the known name that `word` was most likely meant to be.
///
/// That is the one at the least edit distance (insertions, deletions, replacements and swaps of neighbours, without
/// regard to case), if at most about a third of its letters differ. Source of the distance: Damerau, CACM 7(3), 1964, in
/// its restricted form. Where none is near, the only name that starts with at least three letters of it is meant.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.into_iter().collect();
    near(word, &known).or_else(|| completed(word, &known))
}

/// Finds the known name that `word` is a slip of, at an edit distance of at most `slips`: where a wrong guess would do harm.
#[must_use]
pub fn mistyped<'a>(word: &str, known: impl IntoIterator<Item = &'a str>, slips: usize) -> Option<&'a str> {
    let known: Vec<&str> = known.into_iter().collect();
    let name = near(word, &known)?;
    let [word, letters] = [word, name].map(|text| letters(text).collect::<Vec<char>>());
    (distance(&word, &letters) <= slips).then_some(name)
}

/// Finds the only name that `word` is the beginning of.
fn completed<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let mut longer = known.iter().copied().filter(|name| word.len() >= 3 && name.starts_with(word));
    longer.next().filter(|_| longer.next().is_none())
}

/// The most letters of a name that are compared.
const LETTERS: usize = 64;

/// Returns the first letters of a name, without regard to case.
fn letters(name: &str) -> impl Iterator<Item = char> + '_ {
    name.chars().take(LETTERS).flat_map(char::to_lowercase)
}

/// Returns letters as a set of 64 bits; some share one.
fn set(letters: impl Iterator<Item = char>) -> u64 {
    letters.fold(0, |set, letter| set | 1 << (u32::from(letter) % u64::BITS))
}

fn near<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word: Vec<char> = letters(word).collect();
    let has = set(word.iter().copied());
    known
        .iter()
        .filter_map(|&name| {
            let count = if name.is_ascii() { name.len().min(LETTERS) } else { letters(name).count() };
            let limit = (word.len().max(count) + 1) / 3;
            // Cheap, and most names fail it.
            if word.len().abs_diff(count) > limit {
                return None;
            }
            // So is this: an edit brings or takes one letter at most.
            let other = set(letters(name));
            if (has & !other).count_ones().max((other & !has).count_ones()) as usize > limit {
                return None;
            }
            let letters: Vec<char> = letters(name).collect();
            let distance = distance(&word, &letters);
            (distance <= limit && distance < letters.len()).then_some((distance, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Returns the distance, in time and memory that are the product and the longer of the two.
fn distance(left: &[char], right: &[char]) -> usize {
    // Three rows in turn: the one before the last, the last, and the one that is written.
    let mut rows = [vec![0; right.len() + 1], (0..=right.len()).collect(), vec![0; right.len() + 1]];
    for (i, a) in left.iter().enumerate() {
        let [before, last, row] = &mut rows;
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let mut best = (last[j + 1] + 1).min(row[j] + 1).min(last[j] + usize::from(a != b));
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            row[j + 1] = best;
        }
        rows.rotate_left(1);
    }
    rows[1][right.len()]
}

/// Writes a hint that names the nearest known name, or else all of them if they are few.
#[must_use]
pub fn hint(word: &str, known: &[&str]) -> Option<String> {
    if let Some(name) = nearest(word, known.iter().copied()) {
        return Some(format!("did you mean `{name}`?"));
    }
    let quoted: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    match known.len() {
        0 => None,
        1..=40 => Some(format!("known here: {}", quoted.join(", "))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        let known = ["needs", "run", "timeout", "workspace", "if"];
        let cases = [
            ("need", Some("needs")),
            ("ndees", Some("needs")),
            ("Needs", Some("needs")),
            ("timout", Some("timeout")),
            ("work_space", Some("workspace")),
            ("xyz", None),
            ("", None),
            ("i", Some("if")),
            ("rnu", Some("run")),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }

    #[test]
    fn what_is_left_out_early_is_too_far_away() {
        let names =
            ["deploy-api", "deploi-app", "yolped", "Déploy-API", "deploy", "deploy-a", "tools", "d", ""];
        for word in names {
            let of_word: Vec<char> = letters(word).collect();
            let nearest = names.map(|name| {
                let of_name: Vec<char> = letters(name).collect();
                let limit = (of_word.len().max(of_name.len()) + 1) / 3;
                let distance = distance(&of_word, &of_name);
                (distance <= limit && distance < of_name.len()).then_some((distance, name))
            });
            let expected = nearest.into_iter().flatten().min_by_key(|(distance, _)| *distance);
            assert_eq!(near(word, &names), expected.map(|(_, name)| name), "{word}");
        }
    }
}
