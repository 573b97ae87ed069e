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

/// The least letters of a part of a name that tells whose it is.
const PART: usize = 4;

/// Finds the known name that is nearest, or else the only one that has a part in common: `market_analyst` for
/// `market_researcher`. That is for hints alone.
#[must_use]
pub fn akin<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.into_iter().collect();
    let parts = |name: &str| -> Vec<String> {
        let parts = name.split(['-', '_', '/', ':']).filter(|part| part.len() >= PART);
        parts.map(str::to_owned).collect()
    };
    let own = parts(word);
    let shares = |name: &&str| parts(name).iter().any(|part| own.contains(part));
    nearest(word, known.iter().copied()).or_else(|| {
        let mut akin = known.iter().copied().filter(shares);
        akin.next().filter(|_| akin.next().is_none())
    })
}

/// Finds the known name that `word` is a slip of, at an edit distance of at most `slips`: where a wrong guess would do harm.
#[must_use]
pub fn mistyped<'a>(word: &str, known: impl IntoIterator<Item = &'a str>, slips: usize) -> Option<&'a str> {
    let known: Vec<&str> = known.into_iter().collect();
    let name = near(word, &known)?;
    let [word, letters] = [word, name].map(|text| letters(text).collect::<Vec<char>>());
    distance(&word, &letters, slips).map(|_| name)
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

/// Returns the first letters of a name as a set of 64 bits; some letters share one.
fn letter_set(name: &str) -> u64 {
    let bit = |letter: u32| 1 << (letter % u64::BITS);
    if name.is_ascii() {
        let letters = name.bytes().take(LETTERS).map(|letter| u32::from(letter.to_ascii_lowercase()));
        return letters.fold(0, |set, letter| set | bit(letter));
    }
    letters(name).fold(0, |set, letter| set | bit(u32::from(letter)))
}

/// Returns the first of the nearest names.
fn near<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let has = letter_set(word);
    let word: Vec<char> = letters(word).collect();
    let mut best: Option<(usize, &'a str)> = None;
    for &name in known {
        let count = if name.is_ascii() { name.len().min(LETTERS) } else { letters(name).count() };
        // Some letter has to be the same, and what is no nearer than one before need not be known.
        let Some(most) = count.checked_sub(1) else { continue };
        let limit = ((word.len().max(count) + 1) / 3).min(most);
        let less = best.map_or(Some(limit), |(best, _)| best.checked_sub(1).map(|less| less.min(limit)));
        let Some(limit) = less else { break };
        // Cheap, and most names fail it.
        if word.len().abs_diff(count) > limit {
            continue;
        }
        // So is this: an edit brings or takes one letter at most.
        let other = letter_set(name);
        if (has & !other).count_ones().max((other & !has).count_ones()) as usize > limit {
            continue;
        }
        let letters: Vec<char> = letters(name).collect();
        best = distance(&word, &letters, limit).map(|distance| (distance, name)).or(best);
    }
    best.map(|(_, name)| name)
}

/// Returns the distance if it is at most `limit`, in time and memory that are the product and the longer of the two.
fn distance(left: &[char], right: &[char], limit: usize) -> Option<usize> {
    // Three rows in turn: the one before the last, the last, and the one that is written.
    let mut rows = [vec![0; right.len() + 1], (0..=right.len()).collect(), vec![0; right.len() + 1]];
    for (i, a) in left.iter().enumerate() {
        let [before, last, row] = &mut rows;
        row[0] = i + 1;
        let mut least = row[0];
        for (j, b) in right.iter().enumerate() {
            let mut best = (last[j + 1] + 1).min(row[j] + 1).min(last[j] + usize::from(a != b));
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            row[j + 1] = best;
            least = least.min(best);
        }
        // What follows is nowhere less than the least of two rows.
        if least > limit && last.iter().all(|&last| last > limit) {
            return None;
        }
        rows.rotate_left(1);
    }
    Some(rows[1][right.len()]).filter(|&distance| distance <= limit)
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
                let distance = distance(&of_word, &of_name, usize::MAX)?;
                (distance <= limit && distance < of_name.len()).then_some((distance, name))
            });
            let expected = nearest.into_iter().flatten().min_by_key(|(distance, _)| *distance);
            assert_eq!(near(word, &names), expected.map(|(_, name)| name), "{word}");
        }
    }
}
