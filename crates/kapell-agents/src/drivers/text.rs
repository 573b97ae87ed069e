//! Text of others, made safe to show.

use std::{borrow::Cow, fmt::Write as _};

use kapell_core::text::is_deceptive;

/// Makes everything visible that would act on a terminal or deceive the reader.
///
/// Control characters (C0 but line feed and tab, DEL, C1), marks of writing direction, and characters without a
/// shape of their own come out as `\u{..}` in the notation of Rust. Ordinary text is returned as it is.
/// Source: Unicode TR 36, and Boucher and Anderson, "Trojan Source: Invisible Vulnerabilities", 2021.
#[must_use]
pub fn escape_untrusted(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(deceives) else { return Cow::Borrowed(text) };
    let (before, rest) = text.split_at(first);
    let mut safe = String::with_capacity(text.len() + 16);
    safe.push_str(before);
    for each in rest.chars() {
        if deceives(each) {
            // A string takes all that is written to it.
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(each));
        } else {
            safe.push(each);
        }
    }
    Cow::Owned(safe)
}

fn deceives(each: char) -> bool {
    !matches!(each, '\n' | '\t') && is_deceptive(each)
}

/// Returns the last `lines` lines of `text`, at most `chars` characters of them, made safe to show.
#[must_use]
pub fn last_lines(text: &str, lines: usize, chars: usize) -> String {
    let text = text.trim_end();
    let from = text.rmatch_indices('\n').nth(lines.saturating_sub(1)).map_or(0, |(at, _)| at + 1);
    let text = &text[from..];
    let skip = text.chars().count().saturating_sub(chars);
    let cut: String = text.chars().skip(skip).collect();
    escape_untrusted(&cut).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_not_copied() {
        for text in ["", "plain\n\ttext", "Grüße, 日本, emoji 🙂, \u{1f469}\u{fe0f}"] {
            assert!(matches!(escape_untrusted(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn what_acts_or_deceives_is_made_visible() {
        for (text, expected) in [
            ("\u{1b}[31mred\u{1b}]52;c;eA==\u{7}", r"\u{1b}[31mred\u{1b}]52;c;eA==\u{7}"),
            ("a\rb\u{8}\u{9b}c\u{7f}", r"a\u{d}b\u{8}\u{9b}c\u{7f}"),
            ("is\u{202e}nimda\u{2066}", r"is\u{202e}nimda\u{2066}"),
            ("zero\u{200b}width\u{feff}\u{e0041}", r"zero\u{200b}width\u{feff}\u{e0041}"),
            ("\0", r"\u{0}"),
        ] {
            assert_eq!(escape_untrusted(text), expected);
        }
    }

    #[test]
    fn no_character_of_control_comes_through() {
        let all: String = ('\0'..=char::MAX).collect();
        let safe = escape_untrusted(&all);
        assert!(!safe.contains(|each: char| each.is_control() && each != '\n' && each != '\t'));
    }

    #[test]
    fn the_last_lines_are_cut_in_front() {
        assert_eq!(last_lines("a\nb\nc\n\n", 2, 100), "b\nc");
        assert_eq!(last_lines("a", 2, 100), "a");
        assert_eq!(last_lines("äöü\u{1b}", 2, 3), r"öü\u{1b}");
        assert_eq!(last_lines("", 2, 3), "");
    }
}
