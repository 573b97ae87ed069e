//! Names that are meant to be the same.

/// Words for short that are more than the beginning of what they stand for.
const SHORT: &[(&str, &str)] = &[
    ("db", "database"),
    ("pg", "postgres"),
    ("pg", "postgresql"),
    ("pw", "password"),
    ("pwd", "password"),
    ("svc", "service"),
    ("cfg", "config"),
    ("k8s", "kubernetes"),
    ("es", "elasticsearch"),
    ("ch", "clickhouse"),
    ("sa", "serviceaccount"),
];

/// Tells whether two names are made of the same words but for one, which in one of the two is cut short:
/// `mailer-creds`, `mailer-credentials`.
pub(super) fn is_abbreviation(name: &str, other: &str) -> bool {
    let words = |text: &str| text.split(['-', '_', '.']).map(str::to_ascii_lowercase).collect::<Vec<_>>();
    let (words, others) = (words(name), words(other));
    let pairs = words.iter().zip(&others);
    let mut differ = pairs.filter(|(word, other)| word != other);
    let (Some((word, other)), None) = (differ.next(), differ.next()) else { return false };
    let (short, long) = if word.len() <= other.len() { (word, other) } else { (other, word) };
    // A plural is cut short as well.
    let short = short.strip_suffix('s').filter(|_| long.ends_with('s')).unwrap_or(short);
    let alike = words.len() == others.len() && words.len() > 1;
    if alike && SHORT.iter().any(|(known, whole)| *known == short && *whole == long.as_str()) {
        return true;
    }
    let Some(rest) = long.strip_prefix(short) else { return false };
    let numbered = rest.bytes().any(|byte| byte.is_ascii_digit());
    alike && short.len() > 2 && !numbered
}

/// Tells whether two names differ by a letter or two, as slips do, and not by a number or a word.
pub(super) fn is_slip(name: &str, other: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| c.is_ascii_alphanumeric()).collect::<String>();
    let (short, long) = if name.len() <= other.len() { (name, other) } else { (other, name) };
    let joined = letters(short) == letters(long);
    let one_more = long.len() - short.len() <= 1
        && (0..=short.len()).any(|at| {
            let tail = at + (long.len() - short.len());
            long.is_char_boundary(at)
                && short.is_char_boundary(at)
                && long.get(tail.max(at)..).is_some()
                && long[..at] == short[..at]
                && long.len() > short.len()
                && long[tail..] == short[at..]
                && !long[at..tail].chars().any(|c| c.is_ascii_digit())
        });
    let swapped = short.len() == long.len() && {
        let differ: Vec<(char, char)> = short.chars().zip(long.chars()).filter(|(a, b)| a != b).collect();
        matches!(differ[..], [(a, b), (c, d)] if a == d && b == c)
    };
    name.len() > 3 && (joined || one_more || swapped)
}
