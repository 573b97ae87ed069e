//! Patterns of names: `*` stands for any text.

/// Turns a pattern of file names into one where only `*` is special, and stands for more rather than less.
#[must_use]
pub fn widen(pattern: &str) -> String {
    let mut out = String::new();
    let mut inside = 0usize;
    for character in pattern.chars() {
        match character {
            '{' | '[' | '(' => {
                inside += 1;
                star(&mut out);
            }
            '}' | ']' | ')' => inside = inside.saturating_sub(1),
            _ if inside > 0 => {}
            '*' | '?' | '!' | '+' | '@' => star(&mut out),
            _ => out.push(character),
        }
    }
    out
}

fn star(out: &mut String) {
    if !out.ends_with('*') {
        out.push('*');
    }
}

/// Tells whether some text fits both patterns.
#[must_use]
pub fn overlap(left: &str, right: &str) -> bool {
    // Most patterns are names, or differ before their first star.
    let (a, b) = (left.split('*').next().unwrap_or_default(), right.split('*').next().unwrap_or_default());
    if !a.starts_with(b) && !b.starts_with(a) {
        return false;
    }
    if a.len() == left.len() && b.len() == right.len() {
        return left == right;
    }
    let (left, right): (Vec<char>, Vec<char>) =
        (left.chars().take(200).collect(), right.chars().take(200).collect());
    let width = right.len() + 1;
    // Whether the patterns from (i, j) on overlap, from the end.
    let mut table = vec![false; (left.len() + 1) * width];
    for i in (0..=left.len()).rev() {
        for j in (0..=right.len()).rev() {
            let at = |i: usize, j: usize| table[i * width + j];
            let fits = match (left.get(i), right.get(j)) {
                (None, None) => true,
                (Some('*'), Some('*')) => at(i + 1, j) || at(i, j + 1),
                (Some('*'), None) => at(i + 1, j),
                (None, Some('*')) => at(i, j + 1),
                (Some('*'), Some(_)) => at(i + 1, j) || at(i, j + 1),
                (Some(_), Some('*')) => at(i, j + 1) || at(i + 1, j),
                (Some(a), Some(b)) => a == b && at(i + 1, j + 1),
                _ => false,
            };
            table[i * width + j] = fits;
        }
    }
    table[0]
}

/// Tells whether two sets of patterns have a text in common.
#[must_use]
pub fn any_overlap(left: &[String], right: &[String]) -> bool {
    left.iter().any(|a| right.iter().any(|b| overlap(a, b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_overlap_where_a_text_fits_both() {
        assert!(overlap("wheels-*", "wheels-linux"));
        assert!(overlap("*-linux", "wheels-*"));
        assert!(!overlap("wheels-*", "sdist"));
        assert!(overlap("", "*") && overlap("a", "a") && !overlap("a", "b") && !overlap("ab", "a"));
        assert!(overlap(&widen("artifacts-{a,b}-[0-9]"), "artifacts-a-1"));
    }
}
