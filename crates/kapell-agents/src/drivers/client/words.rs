//! What is common to the errors of all clients and providers: statuses, pauses and resets within their texts.

use kapell_core::{
    retry::FailureClass,
    time::{Millis, Wall},
};
use serde_json::Value;

use super::{Ended, Verdict};

/// Classes of failures by the status of HTTP that a provider answered.
pub(super) fn class_of_status(status: u16) -> FailureClass {
    match status {
        429 | 529 => FailureClass::RateLimited,
        402 => FailureClass::Quota,
        408 | 500..=599 => FailureClass::Transient,
        // A wrong key, model or request stays wrong.
        _ => FailureClass::Permanent,
    }
}

/// Returns the status that an error's text names: a number from 400 to 599 behind a word that announces one.
pub(super) fn status_in(text: &str) -> Option<u16> {
    const WORDS: &[&str] = &[
        "status: ",
        "status ",
        "status code ",
        "API Error: ",
        "API error: ",
        "\"code\":",
        "\"code\": ",
        "code: ",
    ];
    WORDS.iter().find_map(|word| {
        text.match_indices(word).find_map(|(at, _)| {
            let rest = &text[at + word.len()..];
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let status = rest[..digits].parse().ok()?;
            (400..600).contains(&status).then_some(status)
        })
    })
}

/// Tells whether an error's text says that more than a moment's patience is needed.
pub(super) fn speaks_of_quota(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "usage limit",
        "insufficient_quota",
        "credit balance",
        "exceeded your current quota",
        "quota exceeded",
        "billing",
        "5-hour limit",
        "weekly limit",
    ];
    let text = text.to_ascii_lowercase();
    WORDS.iter().any(|word| text.contains(word))
}

/// Kinds of errors, as providers name them, that asking again does not mend.
const HOPELESS: &[&str] =
    &["invalid_request_error", "authentication_error", "permission_error", "not_found_error"];

/// Judges an error by its status, or else by its words.
pub(in crate::drivers) fn failure(status: Option<u16>, text: &str, at: Wall) -> Verdict {
    let class = match status.or_else(|| status_in(text)) {
        // So the model proxy words what it refuses by itself.
        Some(402) if text.contains("kapell: ") => FailureClass::Permanent,
        Some(429 | 402 | 403 | 400) if speaks_of_quota(text) => FailureClass::Quota,
        Some(status) => class_of_status(status),
        None if speaks_of_quota(text) => FailureClass::Quota,
        None if HOPELESS.iter().any(|kind| text.contains(kind)) => FailureClass::Permanent,
        None => FailureClass::Transient,
    };
    let parks = matches!(class, FailureClass::Quota | FailureClass::RateLimited);
    let until = if parks { reset_in(text, at) } else { None };
    Verdict { result: Err(class), message: text.to_owned(), until }
}

/// What clients say when they are to resume a session that is not there.
pub(super) const UNKNOWN_SESSIONS: &[&str] =
    &["No conversation found", "no rollout found", UNKNOWN_SESSION, "Error resuming session"];

/// What agents of kapell's own say then.
pub(in crate::drivers) const UNKNOWN_SESSION: &str = "Session not found";

/// Judges the end of a process whose stream did not come to an end.
pub(in crate::drivers) fn no_end(ended: Ended<'_>) -> Verdict {
    let errors = ended.errors.trim();
    match ended.code {
        Some(0) => Verdict::failed(FailureClass::Transient, "it ended without saying that it was done"),
        _ if UNKNOWN_SESSIONS.iter().any(|words| errors.contains(words)) => {
            Verdict::failed(FailureClass::Permanent, errors)
        }
        _ if !errors.is_empty() => failure(None, errors, ended.at),
        Some(code) => Verdict::failed(FailureClass::Transient, format!("exit {code}")),
        None => Verdict::failed(FailureClass::Transient, "it was ended by a signal"),
    }
}

/// As much is kept of what a client says in one go. A written output may be as long.
pub(in crate::drivers) const SAID_BYTES_MAX: usize = 1 << 20;
/// As much is looked at of a text of which a line is shown.
const LOOKED_AT_BYTES: usize = 4 << 10;

/// The longest pause that is believed.
const PAUSE_MS_MAX: u64 = 8 * 24 * 3600 * 1000;

/// Returns when a provider may be asked again, as an error's text says.
///
/// Known are `|1735689600` (seconds since 1970 at the end, as Claude Code has it), `resets_at`, `resetsAt` and
/// `resets_in_seconds` in JSON, `retryDelay":"34s"` (Gemini), and `in 20s`, `in 1.5s`, `in 250ms`, `in 2m`,
/// `in 3 hours 12 minutes`, `after 30 seconds` behind `try again`, `retry` or `reset`.
#[must_use]
pub fn reset_in(text: &str, at: Wall) -> Option<Wall> {
    let pause = |ms: u64| Some(at.after(Millis(ms.clamp(1, PAUSE_MS_MAX))));
    for (word, scale) in [("resets_in_seconds", 1000), ("retryDelay", 1000)] {
        if let Some(ms) = value_after(text, word).and_then(|value| duration_ms(value, scale)) {
            return pause(ms);
        }
    }
    let instant = |seconds: u64| {
        let ms = i64::try_from(seconds).ok()?.checked_mul(1000)?.checked_sub(at.0)?;
        pause(u64::try_from(ms).ok()?)
    };
    for word in ["resets_at", "resetsAt"] {
        if let Some(found) = value_after(text, word).and_then(number).and_then(instant) {
            return Some(found);
        }
    }
    if let Some(found) = text.rsplit_once('|').and_then(|(_, rest)| number(rest)).and_then(instant) {
        return Some(found);
    }
    let lower = text.to_ascii_lowercase();
    ["try again", "retry", "retrying", "reset", "resets"].iter().find_map(|word| {
        lower.match_indices(word).find_map(|(at, _)| {
            let rest = lower[at + word.len()..].trim_start_matches(['-', '_', ':', ' ']);
            let rest =
                ["in ", "after ", "in: ", "after: "].iter().find_map(|word| rest.strip_prefix(word))?;
            duration_ms(rest, 1000).and_then(pause)
        })
    })
}

/// Returns what stands behind a name in JSON, without its quotes.
fn value_after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(name)?;
    Some(rest.trim_start_matches(['"', '\\', ':', '=', ' ']))
}

/// Reads the seconds since 1970 at the beginning of a text: ten digits, so that it is no count of something else.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text[..digits].parse().ok().filter(|_| digits == 10)
}

/// Reads numbers with units at the beginning of a text, largest first; a bare number is taken times `scale`.
fn duration_ms(text: &str, scale: u64) -> Option<u64> {
    let mut rest = text;
    let mut total = None;
    loop {
        let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let Ok(value) = rest[..digits].trim_end_matches('.').parse::<f64>() else { return total };
        rest = rest[digits..].trim_start();
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match &rest[..letters] {
            "ms" | "milliseconds" => 1,
            "s" | "sec" | "secs" | "second" | "seconds" => 1000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
            "h" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            _ if total.is_none() => scale,
            _ => return total,
        };
        // A pause is at most days long: what does not fit is cut by whoever asks.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates, and it is >= 0"
        )]
        let ms = (value * unit as f64).ceil() as u64;
        total = Some(total.unwrap_or(0_u64).saturating_add(ms));
        rest = rest[letters..].trim_start_matches([' ', ',']);
    }
}

/// Returns a number of a field, 0 if it is none.
pub(super) fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Returns millionths of dollars.
pub(super) fn micros(dollars: &Value) -> Option<u64> {
    let dollars = dollars.as_f64().filter(|dollars| dollars.is_finite() && *dollars >= 0.0)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and it is >= 0"
    )]
    Some((dollars * 1e6).ceil() as u64)
}

/// Returns what a call of a tool is about: the first of its arguments that says it, on one line.
pub(in crate::drivers) fn about(input: &Value) -> String {
    const NAMES: &[&str] = &[
        "file_path",
        "filePath",
        "absolute_path",
        "path",
        "command",
        "cmd",
        "pattern",
        "query",
        "url",
        "description",
    ];
    let found = NAMES.iter().find_map(|name| input[*name].as_str());
    short(found.unwrap_or_default())
}

/// Returns the first line of a text, cut after 200 characters.
pub(in crate::drivers) fn short(text: &str) -> String {
    // Some hand over all that was said so far with each piece: no more of it is looked at than can be shown.
    head(text, LOOKED_AT_BYTES).trim_start().lines().next().unwrap_or_default().chars().take(200).collect()
}

/// Returns the beginning of a text, of `most` bytes at most.
pub(in crate::drivers) fn head(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// Adds a piece to what is said, of which the first [`SAID_BYTES_MAX`] bytes are kept.
pub(in crate::drivers) fn add_said(said: &mut String, piece: &str) {
    said.push_str(head(piece, SAID_BYTES_MAX.saturating_sub(said.len())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_of_what_is_said_than_there_is_room_for() {
        let mut said = String::new();
        for _ in 0..3 {
            add_said(&mut said, &"ä".repeat(SAID_BYTES_MAX / 4));
            add_said(&mut said, "€");
        }
        assert!((SAID_BYTES_MAX - 2..=SAID_BYTES_MAX).contains(&said.len()), "{}", said.len());
        assert_eq!(short(&said).chars().count(), 200);
        assert_eq!(head("aä", 2), "a");
    }

    #[test]
    fn resets_are_found_in_the_words_of_each_provider() {
        let at = Wall(1_700_000_000_000);
        for (text, expected_ms) in [
            ("Claude AI usage limit reached|1700000060", Some(60_000)),
            ("rate limited. Please try again in 20s.", Some(20_000)),
            ("Please try again in 1.898s. Visit", Some(1898)),
            ("Please try again in 250ms", Some(250)),
            ("You've hit your usage limit. Try again in 3 hours 12 minutes.", Some(11_520_000)),
            (r#"{"error":{"type":"usage_limit_reached","resets_in_seconds":90}}"#, Some(90_000)),
            (r#"{"resets_at":1700000005}"#, Some(5000)),
            (r#""retryDelay":"34s""#, Some(34_000)),
            ("retry-after: 7", Some(7000)),
            ("Retry after 30 seconds", Some(30_000)),
            ("try again later", None),
            ("resets_at: 1600000000, which is over", None),
            ("try again in 9999999 days", Some(PAUSE_MS_MAX)),
        ] {
            let expected = expected_ms.map(|ms| at.after(Millis(ms)));
            assert_eq!(reset_in(text, at), expected, "{text}");
        }
    }

    #[test]
    fn errors_are_judged_by_status_first_and_words_second() {
        use FailureClass as F;
        for (status, text, expected) in [
            (Some(429), "slow down", F::RateLimited),
            (Some(429), "You exceeded your current quota", F::Quota),
            (Some(529), "overloaded", F::RateLimited),
            (Some(500), "oops", F::Transient),
            (Some(401), "no", F::Permanent),
            (None, "API Error: 529 overloaded", F::RateLimited),
            (None, "unexpected status 401 Unauthorized", F::Permanent),
            (None, "exceeded retry limit, last status: 429 Too Many Requests", F::RateLimited),
            (None, "stream disconnected before completion", F::Transient),
            (None, "Your credit balance is too low", F::Quota),
            (None, "exit status 1", F::Transient),
        ] {
            assert_eq!(failure(status, text, Wall(0)).result, Err(expected), "{status:?} {text}");
        }
    }
}
