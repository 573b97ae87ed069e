//! The characters of a text, as the scanner asks for them.
//!
//! Nearly all of what stands in such files is ASCII: a byte is looked at as it is, and only where it begins a longer
//! character is that taken apart.

use saphyr_parser::Input;

/// How many characters the scanner takes at a time. For each scalar it makes room for one and as many more: those that are
/// short, as most are, then fit into what is made at first.
const AT_ONCE: usize = 24;

/// What is still to be read of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest<'a> {
    text: &'a str,
    /// How far the scanner asked to look ahead.
    ahead: usize,
}

impl<'a> Rest<'a> {
    #[inline]
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, ahead: 0 }
    }

    /// Returns a byte; behind the end is nothing, which the scanner takes for NUL.
    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    #[cold]
    fn wide(&self, at: usize) -> char {
        self.text.chars().nth(at).unwrap_or('\0')
    }

    #[inline]
    fn leave(&mut self, bytes: usize) {
        self.text = self.text.get(bytes..).unwrap_or_default();
    }
}

/// Tells whether a byte ends a line, or the text. Source: YAML 1.2.2, `b-char`.
#[inline]
fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | 0)
}

/// Tells whether a byte is white space within a line. Source: YAML 1.2.2, `s-white`.
#[inline]
fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Tells whether a byte has a meaning in a flow collection. Source: YAML 1.2.2, `c-flow-indicator`.
#[inline]
fn is_flow(byte: u8) -> bool {
    matches!(byte, b',' | b'[' | b']' | b'{' | b'}')
}

impl Input for Rest<'_> {
    #[inline]
    fn lookahead(&mut self, count: usize) {
        // The whole text is there.
        self.ahead = self.ahead.max(count);
    }

    #[inline]
    fn buflen(&self) -> usize {
        self.ahead
    }

    #[inline]
    fn bufmaxlen(&self) -> usize {
        AT_ONCE
    }

    #[inline]
    fn raw_read_ch(&mut self) -> char {
        let read = self.peek();
        self.skip();
        read
    }

    #[inline]
    fn raw_read_non_breakz_ch(&mut self) -> Option<char> {
        (!self.next_is_breakz()).then(|| self.raw_read_ch())
    }

    #[inline]
    fn skip(&mut self) {
        let len = if self.byte(0).is_ascii() { 1 } else { self.wide(0).len_utf8() };
        self.leave(len);
    }

    #[inline]
    fn skip_n(&mut self, count: usize) {
        (0..count).for_each(|_| self.skip());
    }

    #[inline]
    fn peek(&self) -> char {
        let byte = self.byte(0);
        if byte.is_ascii() { char::from(byte) } else { self.wide(0) }
    }

    #[inline]
    fn peek_nth(&self, at: usize) -> char {
        match at {
            0 => self.peek(),
            1 if self.byte(0).is_ascii() && self.byte(1).is_ascii() => char::from(self.byte(1)),
            _ => self.wide(at),
        }
    }

    #[inline]
    fn peek_opt(&self) -> Option<char> {
        (!self.text.is_empty()).then(|| self.peek())
    }

    #[inline]
    fn next_can_be_plain_scalar(&self, in_flow: bool) -> bool {
        match self.byte(0) {
            b':' => {
                let next = self.byte(1);
                !(ends_line(next) || is_white(next) || in_flow && is_flow(next))
            }
            // A byte order mark.
            0xEF => !self.text.starts_with('\u{feff}'),
            byte => !(in_flow && is_flow(byte)),
        }
    }

    #[inline]
    fn next_is_blank(&self) -> bool {
        is_white(self.byte(0))
    }

    #[inline]
    fn next_is_break(&self) -> bool {
        matches!(self.byte(0), b'\n' | b'\r')
    }

    #[inline]
    fn next_is_breakz(&self) -> bool {
        ends_line(self.byte(0))
    }

    #[inline]
    fn next_is_blank_or_break(&self) -> bool {
        self.next_is_blank() || self.next_is_break()
    }

    #[inline]
    fn next_is_blank_or_breakz(&self) -> bool {
        self.next_is_blank() || self.next_is_breakz()
    }

    #[inline]
    fn skip_while_non_breakz(&mut self) -> usize {
        let end = memchr::memchr3(b'\n', b'\r', 0, self.text.as_bytes());
        let (line, rest) = self.text.split_at(end.unwrap_or(self.text.len()));
        self.text = rest;
        line.chars().count()
    }
}

#[cfg(test)]
mod tests {
    use saphyr_parser::{Input, Parser};

    use super::Rest;

    /// What a text reads as up to the first error, with the places.
    fn events<'a, I: Input>(mut parser: Parser<'a, I>) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = parser.next_event() {
            events.push(format!("{event:?}"));
            if event.is_err() {
                break;
            }
        }
        events
    }

    #[test]
    fn reads_what_the_input_of_the_library_reads() {
        let texts = [
            "",
            "\0",
            "a: b\r\nc: [d, {e: f,g: h}] # i\n",
            "# ä comment ü\nkey with ö: wert 🦀 ß # é\n? [ä, b]\n: |\n   ünd\n\n   so: #weiter\n  ",
            "a: 'it''s'\nb: \"\\u00e4\\n\"\nc: >-\n  fold\n   ed\n\n  text\nd: &x ä\ne: *x\n",
            "- a:b\n- http://example.org/ü\n- -\n- :a\n- '#'\n-\tb\n- a\u{85}b\u{2028}c\n",
            "--- a\n...\n--- \u{feff}b\n",
            "{a: [b, c:d, \"e\":f], \u{feff}}",
            "deep:\n                                      deeper: |\n                                          text\n",
            "a: one\n  two\n  drei ä\n\n  four # five\n  six\n",
            "%YAML 1.2\n---\n!!str 1: !t 2\n\tbad: tab\n",
            "long: abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz äöüäöüäöüäöüäöüäöüäöüäöüäöüäöü: x\n",
        ];
        for text in texts {
            assert_eq!(events(Parser::new(Rest::new(text))), events(Parser::new_from_str(text)), "{text:?}");
        }
    }
}
