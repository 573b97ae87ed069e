//! One key more in a file of JSON or TOML, with all else as it was: comments, order, indentation, line ends.
//!
//! The text is never parsed and printed again. In JSON the place right behind an opening brace is found, and the key goes
//! there; in TOML a table goes to the end. Taking it out again gives the same bytes.

use std::{ops::Range, path::Path};

use toml::{Table, Value};

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

    /// Puts a key in front, where the object as a whole is new.
    pub(super) fn headed(mut self, key: &str, value: &str) -> Self {
        if let Some(rest) = self.text.strip_prefix("{\n") {
            self.text = format!("{{\n  \"{key}\": \"{value}\",\n{rest}");
        }
        self
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

/// Finds where `key` goes into a file of JSON, if there is one; with `within`, into the object of that name in it.
///
/// # Errors
///
/// Fails with what to tell the person if the key is there already, or the text is no object.
pub(super) fn insert(
    before: Option<&str>,
    within: Option<&str>,
    key: &str,
    value: &str,
) -> Result<Edit, String> {
    let entry = format!("\"{key}\": {value}");
    // Where the outer object is not there either, it comes with the entry.
    let whole = match within {
        Some(outer) => format!("\"{outer}\": {{ {entry} }}"),
        None => entry.clone(),
    };
    let text = before.unwrap_or_default();
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        let before = before.map(str::to_owned);
        return Ok(Edit { before, at: text.len(), text: format!("{{\n  {whole}\n}}\n") });
    }
    let top = Object::read(text).ok_or("it cannot be read as JSON")?;
    let (object, entry, name) = match within {
        None => (top, entry, key.to_owned()),
        Some(outer) => match top.value(text, outer) {
            None => (top, whole, outer.to_owned()),
            Some(value) => {
                let inner = Object::read_at(text, value.start).map(|(inner, _)| inner);
                (inner.ok_or(format!("its `{outer}` is no object"))?, entry, format!("{outer}.{key}"))
            }
        },
    };
    if within.is_none_or(|outer| name != outer) && object.value(text, key).is_some() {
        return Err(format!("it has a `{name}` already"));
    }
    let at = object.open + 1;
    let put = match object.keys.first() {
        Some((first, _)) => {
            let gap = &text[at..first.start];
            // The white space before the first key, its line's or the one blank in `{ "a": 1 }`.
            let line = gap.rfind('\n').map(|newline| {
                let start = if gap[..newline].ends_with('\r') { newline - 1 } else { newline };
                &gap[start..]
            });
            let lead = line.unwrap_or(gap);
            // With a comment in it, it is no indentation.
            format!("{}{entry},", if lead.trim().is_empty() { lead } else { " " })
        }
        None => entry,
    };
    Ok(Edit { before: Some(text.to_owned()), at, text: put })
}

/// Finds where the table `[outer.key]` goes into a file of TOML, if there is one: to its end.
///
/// # Errors
///
/// Fails with what to tell the person if the table is there already, or the text cannot take it.
pub(super) fn append(before: Option<&str>, outer: &str, key: &str, entry: &Table) -> Result<Edit, String> {
    let text = before.unwrap_or_default();
    let mut wanted: Table = text.parse().map_err(|_| "it cannot be read as TOML")?;
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut put = String::new();
    if !text.trim().is_empty() {
        put.push_str(if text.ends_with('\n') { newline } else { "" });
        put.push_str(if text.ends_with('\n') { "" } else { newline });
    }
    put.push_str(&format!("[{outer}.{key}]{newline}"));
    // Texts and lists of texts are written alike in both.
    let written = |value: &Value| serde_json::to_string(value).unwrap_or_default();
    put.extend(entry.iter().map(|(name, value)| format!("{name} = {}{newline}", written(value))));
    let edit = Edit { before: before.map(str::to_owned), at: text.len(), text: put };
    let tables = wanted.entry(outer).or_insert_with(|| Table::new().into());
    let tables = tables.as_table_mut().ok_or(format!("its `{outer}` is no table"))?;
    if tables.insert(key.to_owned(), Value::Table(entry.clone())).is_some() {
        return Err(format!("it has a `{outer}.{key}` already"));
    }
    // A table that is written in one line takes no more.
    match edit.after().parse::<Table>() {
        Ok(after) if after == wanted => Ok(edit),
        _ => Err(format!("its `{outer}` takes no table at the end of the file")),
    }
}

/// How settings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Toml,
}

impl Kind {
    /// Returns how the settings at a path are written.
    pub(super) fn of(path: &Path) -> Self {
        if path.extension().is_some_and(|end| end == "toml") { Self::Toml } else { Self::Json }
    }

    /// Tells whether `left` says the same as `text` but for one entry, that of `put`, or for all of an object that was
    /// put in as a whole.
    pub(super) fn is_without(self, text: &str, put: &str, left: &str) -> bool {
        let (Some((text, commas)), Some((put, _)), Some((left, left_commas))) =
            (self.read(text), self.read_entry(put), self.read(left))
        else {
            return false;
        };
        // Not every program reads a comma behind the last key: none comes in.
        let is_cut = put.iter().any(|(key, value)| is_cut(&text, key, value, &left));
        left_commas <= commas && (is_cut || text == put && left.is_empty())
    }

    fn read_entry(self, put: &str) -> Option<(Tree, usize)> {
        match self {
            Self::Json if !put.trim_start().starts_with('{') => self.read(&format!("{{{put}}}")),
            _ => self.read(put),
        }
    }

    /// Reads settings, and counts commas behind a last key. `None` if they cannot be read.
    fn read(self, text: &str) -> Option<(Tree, usize)> {
        match self {
            Self::Toml => {
                let table: Table = text.parse().ok()?;
                serde_json::to_value(table).ok()?.as_object().map(|tree| (tree.clone(), 0))
            }
            Self::Json => {
                let (text, commas) = plain(text)?;
                // What is empty has no settings.
                let text = if text.is_empty() { b"{}".to_vec() } else { text };
                Some((serde_json::from_slice(&text).ok()?, commas))
            }
        }
    }
}

type Tree = serde_json::Map<String, serde_json::Value>;

/// Tells whether `left` is `text` without `key: value`, which stood at the top, in an object there, or had brought along the
/// object that it stands in and which has got more since.
fn is_cut(text: &Tree, key: &str, value: &serde_json::Value, left: &Tree) -> bool {
    let without = |tree: &Tree, key: &str, value: &serde_json::Value| {
        let mut tree = tree.clone();
        (tree.remove(key).as_ref() == Some(value)).then_some(tree)
    };
    let within = |outer: &str, key: &str, value: &serde_json::Value| {
        let inner = without(text.get(outer)?.as_object()?, key, value)?;
        let mut tree = text.clone();
        tree.insert(outer.to_owned(), inner.into());
        Some(tree)
    };
    let brought = value.as_object().into_iter().flatten();
    without(text, key, value).as_ref() == Some(left)
        || text.keys().any(|outer| within(outer, key, value).as_ref() == Some(left))
        || brought.into_iter().any(|(inner, value)| within(key, inner, value).as_ref() == Some(left))
}

/// Returns a text of JSON without white space, comments, and commas behind a last key, which it counts.
fn plain(text: &str) -> Option<(Vec<u8>, usize)> {
    let bytes = text.trim_start_matches('\u{feff}').as_bytes();
    let (mut at, mut put, mut commas) = (blank(bytes, 0)?, Vec::new(), 0);
    while at < bytes.len() {
        let end = if bytes[at] == b'"' { string(bytes, at)? } else { at + 1 };
        let next = blank(bytes, end)?;
        match bytes[at] == b',' && matches!(bytes.get(next), Some(b'}' | b']')) {
            true => commas += 1,
            false => put.extend_from_slice(bytes.get(at..end)?),
        }
        // Two words do not become one.
        if next > end && bytes[at].is_ascii_alphanumeric() {
            put.push(b' ');
        }
        at = next;
    }
    Some((put, commas))
}

/// An object in a file of JSON, perhaps with comments.
struct Object {
    /// Where its brace opens.
    open: usize,
    /// Its keys with their quotes, and their values.
    keys: Vec<(Range<usize>, Range<usize>)>,
}

impl Object {
    /// Reads as much as needed to tell the keys of the top. `None` if it is no object, or not whole.
    fn read(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let start = blank(bytes, if text.starts_with('\u{feff}') { 3 } else { 0 })?;
        let (top, end) = Self::read_at(text, start)?;
        // Nothing but blanks and comments may follow.
        (blank(bytes, end)? == bytes.len()).then_some(top)
    }

    /// Reads the object that begins at `open`, and returns where it ends too.
    fn read_at(text: &str, open: usize) -> Option<(Self, usize)> {
        let bytes = text.as_bytes();
        let mut at = expect(bytes, open, b'{')?;
        let mut keys = Vec::new();
        loop {
            at = blank(bytes, at)?;
            match bytes.get(at)? {
                b'}' => return Some((Self { open, keys }, at + 1)),
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
    }

    /// Returns where the value of a key stands.
    fn value(&self, text: &str, key: &str) -> Option<Range<usize>> {
        let quoted = format!("\"{key}\"");
        self.keys.iter().find(|(name, _)| text[name.clone()] == quoted).map(|(_, value)| value.clone())
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
