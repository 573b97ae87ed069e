//! One key more in a file of JSON, with all else as it was: comments, order, indentation, line ends.
//!
//! The text is never parsed and printed again. The place right behind the opening brace is found, the key goes there,
//! and taking it out again gives the same bytes.

use std::ops::Range;

/// A text to be put into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    /// The file before; `None` if there was none.
    pub(super) before: Option<String>,
    /// Where the text goes, in bytes.
    pub(super) at: usize,
    /// The text.
    pub(super) text: String,
}

impl Edit {
    /// Returns the file after.
    pub(super) fn after(&self) -> String {
        let before = self.before.as_deref().unwrap_or_default();
        format!("{}{}{}", &before[..self.at], self.text, &before[self.at..])
    }

    /// Returns the lines that are new or become others, as a diff writes them.
    pub(super) fn diff(&self) -> String {
        let (before, after) = (self.before.as_deref().unwrap_or_default(), self.after());
        let start = before[..self.at].rfind('\n').map_or(0, |newline| newline + 1);
        let same_end =
            before.len() - before[self.at..].find('\n').map_or(before.len(), |newline| self.at + newline);
        let gone = &before[start..before.len() - same_end];
        let come = &after[start..after.len() - same_end];
        let lines =
            |sign: char, text: &str| text.lines().map(|line| format!("{sign} {line}\n")).collect::<String>();
        // A line to which others are only added stays itself.
        match come.strip_prefix(gone) {
            Some(more) if more.starts_with(['\n', '\r']) => lines('+', more.trim_start_matches(['\r', '\n'])),
            _ => lines('-', gone) + &lines('+', come),
        }
    }
}

/// Finds where `key` goes into a file, if there is one.
///
/// # Errors
///
/// Fails with what to tell the person if the key is there already, or the text is no object.
pub(super) fn insert(before: Option<&str>, key: &str, value: &str) -> Result<Edit, String> {
    let entry = format!("\"{key}\": {value}");
    let Some(text) = before else {
        return Ok(Edit { before: None, at: 0, text: format!("{{\n  {entry}\n}}\n") });
    };
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Ok(Edit {
            before: Some(text.to_owned()),
            at: text.len(),
            text: format!("{{\n  {entry}\n}}\n"),
        });
    }
    let object = Object::read(text).ok_or("it cannot be read as JSON")?;
    if object.keys.iter().any(|(name, _)| text[name.clone()] == format!("\"{key}\"")) {
        return Err(format!("it has a `{key}` already"));
    }
    let at = object.open + 1;
    let mut put = String::new();
    match object.keys.first() {
        Some((first, _)) => {
            let gap = &text[at..first.start];
            // The white space before the first key, its line's or the one blank in `{ "a": 1 }`.
            let line = gap.rfind('\n').map(|newline| {
                let start = if gap[..newline].ends_with('\r') { newline - 1 } else { newline };
                &gap[start..]
            });
            let lead = line.unwrap_or(gap);
            // With a comment in it, it is no indentation.
            put.push_str(if lead.trim().is_empty() { lead } else { " " });
            put.push_str(&entry);
            put.push(',');
        }
        None => put.push_str(&entry),
    }
    Ok(Edit { before: Some(text.to_owned()), at, text: put })
}

/// The top of a file of JSON, perhaps with comments.
struct Object {
    /// Where its brace opens.
    open: usize,
    /// Its keys with their quotes, and their values.
    keys: Vec<(Range<usize>, Range<usize>)>,
}

impl Object {
    /// Reads as much as needed to tell the top's keys. `None` if it is no object, or not whole.
    fn read(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut at = blank(bytes, if text.starts_with('\u{feff}') { 3 } else { 0 })?;
        let open = at;
        at = expect(bytes, at, b'{')?;
        let mut keys = Vec::new();
        loop {
            at = blank(bytes, at)?;
            match bytes.get(at)? {
                b'}' => break,
                b',' if !keys.is_empty() => at += 1,
                b'"' => {
                    let key = at..string(bytes, at)?;
                    at = expect(bytes, blank(bytes, key.end)?, b':')?;
                    let start = blank(bytes, at)?;
                    at = value(bytes, start)?;
                    keys.push((key, start..at));
                }
                _ => return None,
            }
        }
        // Nothing but blanks and comments may follow.
        (blank(bytes, at + 1)? == bytes.len()).then_some(Self { open, keys })
    }
}

fn expect(bytes: &[u8], at: usize, byte: u8) -> Option<usize> {
    (bytes.get(at) == Some(&byte)).then_some(at + 1)
}

/// Skips white space and comments. `None` if a comment does not end.
fn blank(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at) {
            Some(b' ' | b'\t' | b'\r' | b'\n') => at += 1,
            Some(b'/') if bytes.get(at + 1) == Some(&b'/') => {
                at = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| at + end);
            }
            Some(b'/') if bytes.get(at + 1) == Some(&b'*') => {
                at += 2 + bytes[at + 2..].windows(2).position(|pair| pair == b"*/")? + 2;
            }
            _ => return Some(at),
        }
    }
}

/// Returns where the string that begins at `at` ends.
fn string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at + 1;
    loop {
        match bytes.get(end)? {
            b'\\' => end += 2,
            b'"' => return Some(end + 1),
            _ => end += 1,
        }
    }
}

/// Returns where the value that begins at `at` ends.
fn value(bytes: &[u8], mut at: usize) -> Option<usize> {
    let begin = at;
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' => at = string(bytes, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            b'}' | b']' | b',' if depth == 0 => return (at > begin).then_some(at),
            b'/' => at = blank(bytes, at).filter(|end| *end > at)?,
            _ => at += 1,
        }
        // A string or a bracket that closes ends the value at the top; words end at what follows them.
        if depth == 0 && matches!(bytes[at - 1], b'"' | b'}' | b']') {
            return Some(at);
        }
    }
}
