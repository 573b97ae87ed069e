//! Text that others wrote: names, objectives, questions, messages, outputs, notes.
//!
//! It reaches a terminal, a page or a diagram only through the functions here. There is no `Display`, so it cannot
//! be put into a text by accident.

use std::{borrow::Cow, fmt};

pub use kapell_core::text::is_deceptive;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A text written by an agent, a command, or the author of a file.
///
/// On the wire it is a plain string, as it was given; what shows it to people must escape it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Untrusted(String);

impl fmt::Debug for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.visible(), f)
    }
}

impl From<&str> for Untrusted {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<&String> for Untrusted {
    fn from(text: &String) -> Self {
        Self(text.clone())
    }
}

impl From<String> for Untrusted {
    fn from(text: String) -> Self {
        Self(text)
    }
}

fn push_visible(text: &mut String, character: char) {
    match character {
        // Unicode has pictures for C0 and DEL.
        '\0'..='\x1f' => text.extend(char::from_u32(0x2400 + u32::from(character))),
        '\x7f' => text.push('\u{2421}'),
        // For the others the way of less(1).
        character if is_deceptive(character) => {
            text.push_str(&format!("<U+{:04X}>", u32::from(character)));
        }
        character => text.push(character),
    }
}

/// Escapes a text for one line: a newline shows as a picture too.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|character| push_visible(&mut shown, character));
    shown
}

impl Untrusted {
    /// Returns the text as it was given, for machines. It must not reach a person like this.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.0
    }

    /// Tells whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the text for one line, everything deceptive in it shown as symbols: an escape as `␛` (U+241B), a
    /// change of direction as `<U+202E>`.
    #[must_use]
    pub fn visible(&self) -> String {
        visible(&self.0)
    }

    /// Returns the text line by line, each escaped as by [`Untrusted::visible`]; tabs become spaces.
    #[must_use]
    pub fn visible_lines(&self) -> Vec<String> {
        let text = self.0.trim_end_matches(['\n', '\r', ' ']);
        if text.is_empty() {
            return Vec::new();
        }
        let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        lines.map(|line| visible(&line.replace('\t', "    "))).collect()
    }

    /// Returns the last line that says something, escaped: the end is where commands put their error.
    #[must_use]
    pub fn last_line(&self) -> String {
        let lines = self.visible_lines();
        lines.into_iter().rev().find(|line| !line.trim().is_empty()).unwrap_or_default()
    }

    /// Returns the text as a code span of Markdown, in which neither HTML nor links nor mentions work.
    #[must_use]
    pub fn markdown(&self) -> String {
        code_span(&self.visible())
    }

    /// Returns a sentence that names what others wrote between backticks as prose of Markdown.
    ///
    /// Names stay code, and so does every word that could be read as markup, a link or a mention.
    #[must_use]
    pub fn markdown_prose(&self) -> String {
        let text = self.visible();
        if !text.matches('`').count().is_multiple_of(2) || text.contains("``") {
            return code_span(&text);
        }
        let plain = |word: &str| {
            let harmless = |c: char| c.is_alphanumeric() || ".,;:'\"()/?%=+-".contains(c) || c == '\u{2026}';
            word.chars().all(harmless) && !word.contains("://") && !word.contains("www.")
        };
        let word = |word: &str| if plain(word) { word.to_owned() } else { code_span(word) };
        let part = |(at, part): (usize, &str)| match at % 2 {
            0 => part.split(' ').map(word).collect::<Vec<_>>().join(" "),
            _ => code_span(part),
        };
        text.split('`').enumerate().map(part).collect()
    }

    /// Returns the text as a code span for a cell of a Markdown table (GitHub's dialect).
    #[must_use]
    pub fn markdown_cell(&self) -> String {
        // Cells are split before spans are read, so a bar needs its backslash even in code. A backslash before it
        // would take that away again; there is no way to write both, so it is shown as another sign.
        code_span(&self.visible().replace("\\|", "⧵|").replace('|', "\\|"))
    }

    /// Returns the text as a fenced block of Markdown, at most `lines` long, its end if it is longer.
    #[must_use]
    pub fn markdown_block(&self, lines: usize) -> String {
        let all = self.visible_lines();
        let skipped = all.len().saturating_sub(lines);
        let fence = "`".repeat(longest_run(&all.join("\n")).max(2) + 1);
        let note = if skipped > 0 { format!("[{skipped} lines before]\n") } else { String::new() };
        format!("{fence}text\n{note}{}\n{fence}\n", all[skipped..].join("\n"))
    }

    /// Returns the text as a quoted label for Mermaid.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut label = String::from("\"");
        for character in self.visible().chars() {
            match character {
                // Entities by number; everything that is markup in a label, HTML and Markdown included.
                '"' | '#' | '&' | '<' | '>' | '`' | '*' | '_' | '~' | '\\' | ';' | '[' | ']' | '{' | '}' => {
                    label.push_str(&format!("#{};", u32::from(character)));
                }
                character => label.push(character),
            }
        }
        label.push('"');
        label
    }

    /// Returns the text as a quoted string of the DOT language.
    #[must_use]
    pub fn dot(&self) -> String {
        format!("\"{}\"", self.visible().replace('\\', "\\\\").replace('"', "\\\""))
    }

    /// Returns the text as one word for a POSIX shell, to be shown as part of a command.
    ///
    /// What is deceptive is shown as by [`Untrusted::visible`], so that a command with it may not do what is meant.
    #[must_use]
    pub fn shell(&self) -> String {
        let text = self.visible();
        let plain = |character: char| character.is_ascii_alphanumeric() || "_-./:=@%+,".contains(character);
        if !text.is_empty() && text.chars().all(plain) && !text.starts_with('-') {
            return text;
        }
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Returns the length of the longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or(0)
}

fn code_span(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let fence = "`".repeat(longest_run(text) + 1);
    // A span that begins or ends with a backtick or a space needs a space around it, which is taken off again.
    let pad = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Writes a value as JSON on one line, safe to print: what is deceptive stands as an escape (`\u202e`).
#[must_use]
pub fn to_json(value: &impl Serialize) -> String {
    // Wire types hold no maps with keys that are no text: they can always be written.
    escape_json(&serde_json::to_string(value).unwrap_or_default()).into_owned()
}

/// Writes a value as indented JSON, safe to print.
#[must_use]
pub fn to_json_pretty(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let lines: Vec<_> = text.split('\n').map(escape_json).collect();
    lines.join("\n")
}

/// Escapes what serde leaves as it is. In JSON such characters stand only in strings, so the value stays the same.
fn escape_json(text: &str) -> Cow<'_, str> {
    // Nearly all that is written is plain, and bytes are looked at faster than characters.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !text.contains(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_deceptive(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nasty() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "\x1b[31m",
            "\u{9b}2J",
            "\u{202e}",
            "\u{200b}",
            "\r",
            "\n",
            "\t",
            "\0",
            "`",
            "``",
            "```\n",
            "|",
            "\\",
            "\\|",
            "<script>",
            "&amp;",
            "\"",
            "'",
            "#",
            "]",
            "}",
            " ",
            "a",
            "ü",
            "日本",
            "\u{e0041}",
            "$(x)",
        ]);
        prop_oneof![prop::collection::vec(pieces, 0..12).prop_map(|list| list.concat()), any::<String>()]
    }

    #[test]
    fn what_deceives_is_shown() {
        let text = Untrusted::from("a\x1b[2Jb\u{9b}c\u{202e}d\u{200b}e\nf\x7f\tg");
        assert_eq!(text.visible(), "a␛[2Jb<U+009B>c<U+202E>d<U+200B>e␊f␡␉g");
        assert_eq!(Untrusted::from("one\r\n\ttwo\x07\n\n").visible_lines(), ["one", "    two␇"]);
        assert_eq!(Untrusted::from("❤\u{fe0f} ü 日").visible(), "❤\u{fe0f} ü 日");
        assert_eq!(format!("{:?}", Untrusted::from("\x1b")), "\"␛\"");
    }

    #[test]
    fn markdown_is_not_broken_out_of() {
        let text = |text: &str| Untrusted::from(text);
        assert_eq!(text("a`b").markdown(), "``a`b``");
        assert_eq!(text("`").markdown(), "`` ` ``");
        assert_eq!(text("a|b\\|c").markdown_cell(), "`a\\|b⧵\\|c`");
        assert_eq!(text("x\n```\n<b>").markdown_block(9), "````text\nx\n```\n<b>\n````\n");
        assert_eq!(text("1\n2\n3").markdown_block(1), "```text\n[2 lines before]\n3\n```\n");
        assert_eq!(text("").markdown(), "");
    }

    #[test]
    fn prose_is_prose_and_names_are_code() {
        let prose = |sentence: &str| Untrusted::from(sentence).markdown_prose();
        assert_eq!(
            prose("`lint` and `a|b` wait for 3 jobs (or so)."),
            "`lint` and `a|b` wait for 3 jobs (or so)."
        );
        assert_eq!(
            prose("ask @me <b> at https://example.com, *now*"),
            "ask `@me` `<b>` at `https://example.com,` `*now*`"
        );
        assert_eq!(prose("an odd ` one"), "``an odd ` one``");
        assert_eq!(prose(""), "");
    }

    #[test]
    fn a_word_for_a_shell_is_one_word() {
        assert_eq!(Untrusted::from("yes").shell(), "yes");
        assert_eq!(Untrusted::from("give up").shell(), "'give up'");
        assert_eq!(Untrusted::from("it's; $(rm)").shell(), "'it'\\''s; $(rm)'");
        assert_eq!(Untrusted::from("--force").shell(), "'--force'");
        assert_eq!(Untrusted::from("").shell(), "''");
    }

    proptest! {
        #[test]
        fn nothing_raw_gets_through(text in nasty()) {
            let text = Untrusted::from(text);
            let outputs = [
                text.visible(), text.visible_lines().concat(), text.markdown(), text.markdown_cell(), text.markdown_prose(),
                text.mermaid(), text.dot(), text.shell(), to_json(&text),
            ];
            for output in outputs {
                prop_assert!(!output.contains(is_deceptive), "{:?}", output);
            }
            prop_assert!(!text.markdown_block(5).replace('\n', "").contains(is_deceptive));
        }

        #[test]
        fn json_keeps_the_text(text in nasty()) {
            let back: String = serde_json::from_str(&to_json(&Untrusted::from(text.as_str()))).unwrap();
            prop_assert_eq!(&back, &text);
            let back: Vec<String> = serde_json::from_str(&to_json_pretty(&[&text])).unwrap();
            prop_assert_eq!(&back[0], &text);
        }

        #[test]
        fn quotes_and_fences_close_only_at_their_end(text in nasty()) {
            let text = Untrusted::from(text);
            let span = text.markdown_cell();
            let fence = span.len() - span.trim_start_matches('`').len();
            if fence > 0 {
                prop_assert!(longest_run(&span[fence..span.len() - fence]) < fence);
                prop_assert!(!span.replace("\\|", "").contains('|'));
            }
            let dot = text.dot();
            let inner = dot[1..dot.len() - 1].replace("\\\\", "").replace("\\\"", "");
            prop_assert!(!inner.contains(['"', '\\']));
            let mermaid = text.mermaid();
            prop_assert!(!mermaid[1..mermaid.len() - 1].contains(['"', '<', '`']));
        }
    }
}
