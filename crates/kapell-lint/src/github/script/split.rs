//! Splits a script into its commands.

use std::ops::Range;

use super::{Command, Then, is_variable, wrappers::unwrapped};

/// Splits a script into its commands.
pub(super) fn commands(script: &str) -> Vec<Command> {
    Splitter { script, bytes: script.as_bytes(), at: 0, ..Splitter::default() }.split()
}

#[derive(Default)]
struct Splitter<'a> {
    script: &'a str,
    bytes: &'a [u8],
    at: usize,
    found: Vec<Command>,
    words: Vec<String>,
    word: String,
    in_word: bool,
    start: usize,
    heredocs: Vec<(String, bool)>,
    depth: usize,
    loops: usize,
    after: Option<Then>,
    /// How many `case` are open.
    cases: usize,
    /// Whether a group of commands has just been closed.
    closed: bool,
    /// Whether `[[` has been read, and no `]]` since.
    testing: bool,
}

impl Splitter<'_> {
    /// Tells whether a bar stands between patterns of a `case`: `a|b)`.
    fn is_pattern(&self) -> bool {
        let rest = &self.script[self.at..];
        let end = rest.find([')', '\n', ';', '(']).map(|end| rest.as_bytes()[end]);
        self.cases > 0 && self.words.is_empty() && end == Some(b')')
    }

    /// Tells whether `[[` is open: within it bars and parentheses belong to patterns.
    fn in_test(&self) -> bool {
        self.testing && self.word != "]]"
    }

    fn split(mut self) -> Vec<Command> {
        while self.at < self.bytes.len() {
            self.step();
        }
        self.command(Then::End);
        self.found
    }

    fn starts(&self, text: &str) -> bool {
        self.script.get(self.at..).is_some_and(|rest| rest.starts_with(text))
    }

    fn step(&mut self) {
        let byte = self.bytes[self.at];
        match byte {
            b'\n' => {
                self.command(Then::End);
                self.at += 1;
                self.skip_heredocs();
            }
            b' ' | b'\t' | b'\r' => {
                self.end_word();
                self.at += 1;
            }
            b'#' if !self.in_word => {
                let rest = &self.script[self.at..];
                self.at += rest.find('\n').unwrap_or(rest.len());
            }
            b'\\' => match self.script[self.at + 1..].chars().next() {
                Some('\n') => self.at += 2,
                Some(next) => {
                    self.push(next);
                    self.at += 1 + next.len_utf8();
                }
                None => self.at += 1,
            },
            b'\'' | b'"' => self.quoted(byte),
            b'`' => self.copy_to("`"),
            b'$' if self.starts("${{") => self.copy_to("}}"),
            b'$' if self.starts("$(") => self.substitution(),
            b'$' if self.starts("${") => self.copy_to("}"),
            // A word as input: `jq . <<< "$text"`.
            b'<' if self.starts("<<<") => {
                self.end_word();
                self.at += 3;
            }
            b'<' if self.starts("<<") => self.heredoc(),
            b';' => self.operator(if self.starts(";;") { 2 } else { 1 }, Then::End),
            b'&' if self.starts("&&") => self.operator(2, Then::And),
            b'|' if self.starts("||") => self.operator(2, Then::Or),
            b'|' if self.is_pattern() => self.copy_one(),
            b'|' | b'(' | b')' if self.in_test() => self.copy_one(),
            b')' if self.cases > 0 && self.words.is_empty() => {
                // What a `case` compares with is no command.
                self.word.clear();
                self.in_word = false;
                self.at += 1;
            }
            b'|' => self.operator(if self.starts("|&") { 2 } else { 1 }, Then::Pipe),
            b'&' if self.starts("&>") || self.at > 0 && matches!(self.bytes[self.at - 1], b'>' | b'<') => {
                self.copy_one();
            }
            b'&' => self.operator(1, Then::Background),
            b'(' if !self.in_word => {
                self.end_word();
                self.at += 1;
            }
            b'(' if self.word.ends_with('=') && is_assignment(&self.word) => self.array(),
            b')' if !self.in_word => {
                self.command(Then::End);
                self.at += 1;
                self.closed = true;
            }
            b')' => {
                self.operator(1, Then::End);
                self.closed = true;
            }
            _ => {
                self.copy_until(ends_word);
            }
        }
    }

    /// Begins a word here, unless one is open.
    fn begin_word(&mut self) {
        if !self.in_word {
            self.in_word = true;
            if self.words.is_empty() {
                self.start = self.at;
            }
        }
    }

    fn push(&mut self, character: char) {
        self.begin_word();
        self.word.push(character);
    }

    /// Copies the next `len` bytes, which end with a character.
    fn copy(&mut self, len: usize) {
        self.begin_word();
        self.word.push_str(&self.script[self.at..self.at + len]);
        self.at += len;
    }

    fn copy_one(&mut self) {
        if let Some(character) = self.script[self.at..].chars().next() {
            self.copy(character.len_utf8());
        }
    }

    /// Copies the character that stands here, and those behind it up to a byte of ASCII that ends them.
    fn copy_until(&mut self, end: impl Fn(&u8) -> bool) {
        let Some(first) = self.script[self.at..].chars().next() else { return };
        let rest = &self.bytes[self.at + first.len_utf8()..];
        let len = rest.iter().position(end).unwrap_or(rest.len());
        self.copy(first.len_utf8() + len);
    }

    /// Copies everything up to and with `end`, which may not be the character that stands here.
    fn copy_to(&mut self, end: &str) {
        let rest = &self.script[self.at + 1..];
        let len = rest.find(end).map_or(rest.len(), |len| len + end.len()) + 1;
        self.copy(len);
    }

    fn substitution(&mut self) {
        let mut depth = 0usize;
        let rest = &self.script[self.at..];
        let mut quote = None;
        let mut len = rest.len();
        for (index, byte) in rest.bytes().enumerate() {
            match (quote, byte) {
                (Some(open), byte) if byte == open => quote = None,
                (Some(_), _) => {}
                (None, b'\'') => quote = Some(byte),
                (None, b'(') => depth += 1,
                (None, b')') => {
                    depth -= 1;
                    if depth == 0 {
                        len = index + 1;
                        break;
                    }
                }
                _ => {}
            }
        }
        self.copy(len);
    }

    /// Takes the values of an array for a part of the word: `args=(a "b c"` may go on for many lines.
    fn array(&mut self) {
        let rest = &self.bytes[self.at..];
        let (mut quote, mut at, mut depth) = (None, 0, 0usize);
        while let Some(&byte) = rest.get(at) {
            match (quote, byte) {
                (Some(b'"') | None, b'\\') => at += 1,
                (Some(open), byte) if byte == open => quote = None,
                (Some(_), _) => {}
                (None, b'\'' | b'"') => quote = Some(byte),
                (None, b'#') if at > 0 && rest[at - 1].is_ascii_whitespace() => {
                    at += rest[at..].iter().position(|&byte| byte == b'\n').unwrap_or(rest.len() - at);
                }
                (None, b'(') => depth += 1,
                (None, b')') if depth == 1 => return self.copy(at + 1),
                (None, b')') => depth -= 1,
                _ => {}
            }
            at += 1;
        }
        // It has no end.
        self.copy_one();
    }

    fn quoted(&mut self, quote: u8) {
        self.begin_word();
        self.at += 1;
        while self.at < self.bytes.len() {
            let byte = self.bytes[self.at];
            if byte == quote {
                self.at += 1;
                return;
            }
            if quote == b'"' {
                if self.starts("${{") {
                    self.copy_to("}}");
                    continue;
                }
                if self.starts("$(") {
                    self.substitution();
                    continue;
                }
                if byte == b'\\' {
                    self.at += 1;
                    if self.at >= self.bytes.len() {
                        return;
                    }
                }
            }
            self.copy_until(|&byte| byte == quote || quote == b'"' && matches!(byte, b'$' | b'\\'));
        }
    }

    fn heredoc(&mut self) {
        self.end_word();
        self.at += 2;
        let indented = self.starts("-");
        if indented {
            self.at += 1;
        }
        let rest = self.script[self.at..].trim_start_matches([' ', '\t']);
        self.at = self.script.len() - rest.len();
        let len = rest
            .find(|c: char| c.is_whitespace() || matches!(c, ';' | '|' | '&' | ')' | '>'))
            .unwrap_or(rest.len());
        let word: String = rest[..len].chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
        self.at += len;
        if !word.is_empty() {
            self.heredocs.push((word, indented));
        }
    }

    fn skip_heredocs(&mut self) {
        for (end, indented) in std::mem::take(&mut self.heredocs) {
            while self.at < self.bytes.len() {
                let rest = &self.script[self.at..];
                let line = rest.lines().next().unwrap_or_default();
                self.at += rest.find('\n').map_or(rest.len(), |len| len + 1);
                let line = if indented { line.trim_start_matches('\t') } else { line };
                if line.trim_end() == end {
                    break;
                }
            }
        }
    }

    fn operator(&mut self, len: usize, then: Then) {
        // Within `[[ .. ]]` they join conditions, not commands.
        if self.in_test() && matches!(then, Then::And | Then::Or) {
            self.end_word();
            (0..len).for_each(|_| self.copy_one());
            self.end_word();
            return;
        }
        self.command(then);
        self.at += len;
    }

    fn end_word(&mut self) {
        if self.in_word {
            match self.word.as_str() {
                "[[" => self.testing = true,
                "]]" => self.testing = false,
                _ => {}
            }
            self.words.push(std::mem::take(&mut self.word));
            self.in_word = false;
        }
    }

    fn command(&mut self, then: Then) {
        self.end_word();
        let mut words = std::mem::take(&mut self.words);
        self.testing = false;
        let closed = std::mem::take(&mut self.closed) || words.iter().any(|word| word == "}");
        let after = self.after.unwrap_or(Then::End);
        let (mut asked, mut turned) = (false, false);
        while let Some(first) = words.first() {
            match first.as_str() {
                "if" | "while" | "until" => {
                    self.depth += 1;
                    self.loops += usize::from(first != "if");
                    asked = true;
                }
                "!" => (turned, asked) = (!asked, true),
                "elif" => asked = true,
                "for" | "case" | "select" => {
                    self.cases += usize::from(first == "case");
                    self.loops += usize::from(first != "case");
                    self.depth += 1;
                    // What follows is no command.
                    words.clear();
                    break;
                }
                "fi" | "done" | "esac" => {
                    self.cases -= usize::from(first == "esac" && self.cases > 0);
                    self.loops -= usize::from(first == "done" && self.loops > 0);
                    self.depth = self.depth.saturating_sub(1);
                }
                "then" | "else" | "do" | "{" | "}" | "time" | "function" => {}
                _ => break,
            }
            words.remove(0);
        }
        let assigned = words.iter().take_while(|word| is_assignment(word)).count();
        let assigned: Vec<String> = words.drain(..assigned).collect();
        if !words.is_empty() || !assigned.is_empty() {
            let (start, end) = (self.start, self.at);
            let (depth, loops) = (self.depth, self.loops);
            let inner = unwrapped(&words);
            let wrapped = words.len() - inner.len();
            let name = inner.first().map_or(0..0, |first| name_in(first, wrapped > 0));
            self.found.push(Command {
                words,
                assigned,
                start,
                end,
                then,
                after,
                asked,
                turned,
                depth,
                loops,
                wrapped,
                name,
            });
            self.after = Some(then);
        } else if then == Then::End {
            self.after = None;
        } else if let Some(last) = self.found.last_mut().filter(|_| closed) {
            // `(a; b) || c` and `{ a; b; } || c`: what follows the group follows its last command.
            last.then = then;
            self.after = Some(then);
        }
        if then == Then::End || then == Then::Background {
            self.after = None;
        }
    }
}

/// Tells whether a byte ends a word, or stands for something in it.
fn ends_word(byte: &u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t'
            | b'\r'
            | b'\n'
            | b'\\'
            | b'\''
            | b'"'
            | b'`'
            | b'$'
            | b'<'
            | b';'
            | b'&'
            | b'|'
            | b'('
            | b')'
    )
}

pub(super) fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| is_variable(name.strip_suffix('+').unwrap_or(name)))
}

/// Returns where the name of the program stands in the word that starts it, behind its folder; what a runner is given has a
/// version behind its name.
fn name_in(word: &str, given: bool) -> Range<usize> {
    let from = word.rfind('/').map_or(0, |slash| slash + 1);
    let version = word[from..].find('@').or_else(|| word[from..].find("==")).filter(|&len| given && len > 0);
    from..version.map_or(word.len(), |len| from + len)
}
