//! How long a text says that something takes.

use std::sync::LazyLock;

use crate::words::Words;

/// What stands before the length of all of it.
const TOTALS: &[&str] = &["total time", "total duration", "total estimated", "overall duration"];

/// What stands before a length of time.
const LENGTHS: &[&str] =
    &["duration", "estimated time", "time estimate", "takes", "total time", "time budget", "timebox"];

/// Reads `~30 minutes`, `15 min` or `2 hours` where it is said how long something takes.
pub(super) fn minutes(text: &str) -> Option<u32> {
    static KEYS: LazyLock<Words> = LazyLock::new(|| Words::new(LENGTHS));
    after_key(text, &KEYS, LENGTHS)
}

/// Reads how long all of it takes, wherever that stands.
pub(super) fn total(text: &str) -> Option<u32> {
    static KEYS: LazyLock<Words> = LazyLock::new(|| Words::new(TOTALS));
    after_key(text, &KEYS, TOTALS)
}

/// Reads the length of time behind the first of some words, in the first line that has one.
fn after_key(text: &str, words: &Words, keys: &[&str]) -> Option<u32> {
    let line = words.lines(text).next()?.1.to_ascii_lowercase();
    let at = keys.iter().filter_map(|key| line.find(key)).min()?;
    length(&line[at..])
}

/// Reads `(45 minutes)` at the end of a heading.
pub(super) fn in_brackets(heading: &str) -> Option<u32> {
    let (_, inner) = heading.trim_end().strip_suffix(')')?.rsplit_once('(')?;
    length(&inner.to_ascii_lowercase())
}

/// Reads a length of time in minutes; of `10-15 minutes` the longer one.
pub(super) fn length(lower: &str) -> Option<u32> {
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let (mut total, mut last): (Option<u32>, Option<u32>) = (None, None);
    for word in words {
        let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let unit = &word[digits..];
        last = word[..digits].parse().ok().or(last);
        let factor = match unit {
            "m" => 1,
            "h" | "hr" | "hrs" => 60,
            unit if unit.starts_with("min") => 1,
            unit if unit.starts_with("hour") => 60,
            // `1 hour and 30 minutes`.
            "" | "and" => continue,
            _ if total.is_some() => break,
            _ => continue,
        };
        let Some(number) = last.take() else { continue };
        total = Some(total.unwrap_or(0).saturating_add(number.saturating_mul(factor)));
        if factor == 1 {
            break;
        }
    }
    total
}
