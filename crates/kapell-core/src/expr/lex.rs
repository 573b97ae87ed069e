//! Text into tokens, by the rules of GitHub's lexer.

use super::{
    ParseError, ParseErrorKind, number,
    syntax::{Comparison, Span},
};

/// A token of the language.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Open,
    Close,
    OpenIndex,
    CloseIndex,
    Comma,
    Dot,
    Star,
    Not,
    And,
    Or,
    Compare(Comparison),
    Number(f64),
    String(String),
    Word(String),
    End,
}

/// Tells whether a word or number ends at `byte`.
fn is_boundary(byte: u8) -> bool {
    byte.is_ascii_whitespace()
        || byte == 0x0b
        || matches!(byte, b'(' | b')' | b'[' | b']' | b',' | b'.' | b'!' | b'<' | b'>' | b'=' | b'&' | b'|')
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Tells whether `text` can be written after a dot.
pub(super) fn is_property(text: &str) -> bool {
    text.bytes().next().is_some_and(is_word_start) && text.bytes().all(is_word)
}

/// Reads tokens one by one.
pub(super) struct Lexer<'a> {
    source: &'a str,
    at: usize,
    /// Whether an operand has just ended, so that `.` steps into it and is no start of a number.
    after_operand: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Self { source, at: 0, after_operand: false }
    }

    fn rest(&self) -> &'a [u8] {
        &self.source.as_bytes()[self.at..]
    }

    fn fail(&self, start: usize, end: usize, kind: ParseErrorKind) -> ParseError {
        // Ends on a character boundary, for a caller may cut the text there.
        let end = (end..=self.source.len()).find(|&at| self.source.is_char_boundary(at)).unwrap_or(start);
        ParseError { span: Span::new(start, end), kind }
    }

    /// Reads the next token and says where it stands.
    pub(super) fn next(&mut self) -> Result<(Token, Span), ParseError> {
        while self.rest().first().is_some_and(|byte| byte.is_ascii_whitespace() || *byte == 0x0b) {
            self.at += 1;
        }
        let start = self.at;
        let token = self.token()?;
        self.after_operand = matches!(
            token,
            Token::Close
                | Token::CloseIndex
                | Token::Star
                | Token::Number(_)
                | Token::String(_)
                | Token::Word(_)
        );
        Ok((token, Span::new(start, self.at)))
    }

    fn token(&mut self) -> Result<Token, ParseError> {
        let rest = self.rest();
        let Some(&first) = rest.first() else { return Ok(Token::End) };
        let followed = rest.get(1) == Some(&b'=');
        let (token, len) = match first {
            b'(' => (Token::Open, 1),
            b')' => (Token::Close, 1),
            b'[' => (Token::OpenIndex, 1),
            b']' => (Token::CloseIndex, 1),
            b',' => (Token::Comma, 1),
            b'*' => (Token::Star, 1),
            b'!' if followed => (Token::Compare(Comparison::NotEqual), 2),
            b'!' => (Token::Not, 1),
            b'<' if followed => (Token::Compare(Comparison::LessOrEqual), 2),
            b'<' => (Token::Compare(Comparison::Less), 1),
            b'>' if followed => (Token::Compare(Comparison::GreaterOrEqual), 2),
            b'>' => (Token::Compare(Comparison::Greater), 1),
            b'=' if followed => (Token::Compare(Comparison::Equal), 2),
            b'&' if rest.starts_with(b"&&") => (Token::And, 2),
            b'|' if rest.starts_with(b"||") => (Token::Or, 2),
            b'.' if self.after_operand => (Token::Dot, 1),
            b'\'' => return self.string(),
            b'.' | b'+' | b'-' | b'0'..=b'9' if !self.after_operand => return self.number(),
            byte if is_word_start(byte) => {
                let len = rest.iter().take_while(|&&byte| is_word(byte)).count();
                (Token::Word(self.source[self.at..self.at + len].to_owned()), len)
            }
            _ => {
                let found = self.source[self.at..].chars().next().unwrap_or_default();
                let end = self.at + found.len_utf8();
                return Err(self.fail(self.at, end, ParseErrorKind::Character(found)));
            }
        };
        self.at += len;
        Ok(token)
    }

    fn string(&mut self) -> Result<Token, ParseError> {
        let start = self.at;
        let mut text = String::new();
        self.at += 1;
        loop {
            let rest = &self.source[self.at..];
            let Some(quote) = rest.find('\'') else {
                return Err(self.fail(start, self.source.len(), ParseErrorKind::OpenString));
            };
            text.push_str(&rest[..quote]);
            self.at += quote + 1;
            if self.rest().first() != Some(&b'\'') {
                return Ok(Token::String(text));
            }
            text.push('\'');
            self.at += 1;
        }
    }

    fn number(&mut self) -> Result<Token, ParseError> {
        let len = self.rest().iter().take_while(|&&byte| byte == b'.' || !is_boundary(byte)).count();
        let text = &self.source[self.at..self.at + len];
        let value = number::parse(text);
        if value.is_nan() {
            return Err(self.fail(self.at, self.at + len, ParseErrorKind::Number(text.to_owned())));
        }
        self.at += len;
        Ok(Token::Number(value))
    }
}
