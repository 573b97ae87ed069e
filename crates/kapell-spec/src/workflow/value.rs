//! Small values in text: durations, money, tokens, instants, names and patterns.

use std::ops::RangeInclusive;

use kapell_core::time::{Millis, Wall};

/// The longest duration: ten years, in milliseconds.
const LONGEST_MS: u64 = 3650 * 86_400_000;

/// Reads numbers with units, largest unit first: `1m30s`, `500ms`, `1.5h`.
pub(super) fn duration(text: &str) -> Option<Millis> {
    let units = [("d", 86_400_000_u64), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let mut rest = text;
    let mut total = 0_u64;
    let mut allowed = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let at = units.iter().position(|(name, _)| *name == unit).filter(|at| *at >= allowed)?;
        total = total.checked_add(decimal(number, units[at].1)?)?;
        allowed = at + 1;
        rest = after;
    }
    (allowed > 0 && total <= LONGEST_MS).then_some(Millis(total))
}

/// Reads a decimal number as a multiple of `1 / scale`, where `scale` may be any number: exactly, or not at all.
fn decimal(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let shaped = !whole.is_empty() && digits(whole) && digits(fraction) && fraction.len() <= 9;
    if !shaped || number.ends_with('.') {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    let divisor = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u64>().ok()?.checked_mul(scale)? };
    (part % divisor == 0).then(|| whole.checked_add(part / divisor))?
}

/// Reads US dollars as millionths: `5`, `0.25`, `$5`.
pub(super) fn money(text: &str) -> Option<u64> {
    decimal(text.strip_prefix('$').unwrap_or(text), 1_000_000)
}

/// Reads a number of tokens: `500`, `200k`, `1.5M`, `2G`.
pub(super) fn tokens(text: &str) -> Option<u64> {
    let units = [("k", 1000), ("K", 1000), ("M", 1_000_000), ("G", 1_000_000_000)];
    let unit = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *scale)));
    let (number, scale) = unit.unwrap_or((text, 1));
    decimal(number, scale)
}

/// Reads a size of memory, in MiB: `512MiB`, `2GiB`, `1.5G`, `800M`. Units are binary; at most 16 TiB.
#[must_use]
pub fn memory_mib(text: &str) -> Option<u32> {
    let units = [("MiB", 1), ("GiB", 1024), ("TiB", 1 << 20), ("M", 1), ("G", 1024), ("T", 1 << 20)];
    let (number, scale) = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *scale)))?;
    let mib = decimal(number.trim_end(), scale)?;
    u32::try_from(mib).ok().filter(|mib| (1..=16 << 20).contains(mib))
}

/// Reads the name of a skill: one word in small letters, so that two people write it alike.
#[must_use]
pub fn skill(text: &str) -> Option<String> {
    let word = text.trim().to_lowercase();
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '+' | '#' | '.' | '/');
    (!word.is_empty() && word.chars().count() <= 40 && word.chars().all(fits)).then_some(word)
}

/// Reads an instant of RFC 3339: date, time and offset.
pub(super) fn instant(text: &str) -> Option<Wall> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(zone);
    let [year, month, day] = numbers(date, '-', &[4, 2, 2])?[..] else { return None };
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let clock = if clock.len() == 5 { format!("{clock}:00") } else { clock.to_owned() };
    let [hour, minute, second] = numbers(&clock, ':', &[2, 2, 2])?[..] else { return None };
    let fraction_ok =
        !fraction.is_empty() && fraction.len() <= 9 && fraction.bytes().all(|b| b.is_ascii_digit());
    if !fraction_ok || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let offset = match zone {
        "Z" | "z" => 0,
        zone => {
            let [hours, minutes] = numbers(&zone[1..], ':', &[2, 2])?[..] else { return None };
            let minutes = (hours <= 23 && minutes <= 59).then_some(hours * 60 + minutes)?;
            if zone.starts_with('-') { -minutes } else { minutes }
        }
    };
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + (minute - offset) * 60 + second;
    Some(Wall(seconds * 1000 + millis))
}

/// Reads numbers of fixed widths, joined by `separator`.
fn numbers(text: &str, separator: char, widths: &[usize]) -> Option<Vec<i64>> {
    let parts: Vec<&str> = text.split(separator).collect();
    let shaped = parts.len() == widths.len()
        && parts
            .iter()
            .zip(widths)
            .all(|(p, width)| p.len() == *width && p.bytes().all(|b| b.is_ascii_digit()));
    shaped.then(|| parts.iter().map(|part| part.parse().ok()).collect())?
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Counts the days from 1970-01-01. Source: Hinnant, "chrono-Compatible Low-Level Date Algorithms", 2013.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era * 146_097 + days - 719_468
}

/// Tells whether a text can name a task, an agent, an axis, an input or an output.
pub(super) fn is_name(text: &str) -> bool {
    let lengths: RangeInclusive<usize> = 1..=100;
    lengths.contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Tells whether a text can name an environment variable.
pub(super) fn is_variable(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.len() <= 200
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Says why a text is no path or pattern within the repository; `None` if it is one.
pub(super) fn wrong_path(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        return Some("is empty");
    }
    if text.starts_with('/') {
        return Some("is absolute");
    }
    if text.starts_with('~') {
        return Some("starts with `~`");
    }
    if text.contains('\\') {
        return Some("contains `\\`");
    }
    if text.contains(['\0', '\n']) {
        return Some("contains a control character");
    }
    text.split('/').any(|part| part == "..").then_some("leaves the repository")
}

/// Says why a text cannot name a branch; `None` if it can. Source: git-check-ref-format(1).
pub(super) fn wrong_branch(text: &str) -> Option<&'static str> {
    let part_bad = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if text.is_empty() {
        return Some("is empty");
    }
    if text.starts_with('-') || text.ends_with('.') || text == "@" || text.split('/').any(part_bad) {
        return Some("is not a name that git takes");
    }
    let bad = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    (text.contains(bad) || text.contains("..") || text.contains("@{"))
        .then_some("is not a name that git takes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let cases = [
            ("2s", Some(2000)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("1.5h", Some(5_400_000)),
            ("250ms", Some(250)),
            ("1d2h3m4s5ms", Some(93_784_005)),
            ("0s", Some(0)),
            ("", None),
            ("5", None),
            ("s", None),
            ("30s1m", None),
            ("1s1s", None),
            ("-1s", None),
            ("1 s", None),
            ("1m 30s", None),
            ("1.0001s", None),
            ("1.s", None),
            (".5s", None),
            ("99999999999999999999s", None),
            ("4000d", None),
            ("1w", None),
        ];
        for (text, expected) in cases {
            assert_eq!(duration(text), expected.map(Millis), "{text}");
        }
    }

    #[test]
    fn money_and_tokens_are_exact() {
        assert_eq!(money("0.25"), Some(250_000));
        assert_eq!(money("$5"), Some(5_000_000));
        assert_eq!(money("0.0000001"), None);
        assert_eq!(money("-1"), None);
        assert_eq!(money("1e3"), None);
        assert_eq!(tokens("2M"), Some(2_000_000));
        assert_eq!(tokens("1.5k"), Some(1500));
        assert_eq!(tokens("0.0001k"), None);
        assert_eq!(tokens("1_000"), None);
        assert_eq!(tokens("99999999999G"), None);
    }

    #[test]
    fn instants_are_those_of_rfc_3339() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:00:00.5+01:00", Some(951_822_000_500)),
            ("2026-03-01T12:00Z", Some(1_772_366_400_000)),
            ("1969-12-31T23:59:59-00:30", Some(1_799_000)),
            ("2026-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-03-01T24:00:00Z", None),
            ("2026-03-01T12:00:00", None),
            ("2026-03-01", None),
            ("tomorrow", None),
            ("2026-03-01T12:00:00+1:00", None),
        ];
        for (text, expected) in cases {
            assert_eq!(instant(text), expected.map(Wall), "{text}");
        }
    }

    #[test]
    fn names_paths_and_branches_are_checked() {
        assert!(is_name("build-2_x") && !is_name("2x") && !is_name("a b") && !is_name("") && !is_name("é"));
        for bad in ["", "/etc", "../x", "a/../b", "~/x", "a\\b", "a\nb"] {
            assert!(wrong_path(bad).is_some(), "{bad}");
        }
        for good in ["src/**", "*.rs", "a..b", "..a/b", "."] {
            assert!(wrong_path(good).is_none(), "{good}");
        }
        for bad in ["", "-x", "a..b", "a b", "a/", "/a", "x.lock", "a~1", "@", "a@{b", ".a", "a."] {
            assert!(wrong_branch(bad).is_some(), "{bad}");
        }
        for good in ["main", "feature/x-1", "refs/heads/main", "é"] {
            assert!(wrong_branch(good).is_none(), "{good}");
        }
    }
}
