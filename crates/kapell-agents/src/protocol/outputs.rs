//! What a task gives, by name, and the file that it writes them to.
//!
//! The file that `KAPELL_OUTPUT` names is like the one that GitHub's `GITHUB_OUTPUT` names. A line `name=value`
//! gives a value of one line; a longer one stands between two lines that a word of the writer's choice marks:
//!
//! ```text
//! version=1.4.0
//! notes<<END
//! first line
//! second line
//! END
//! ```
//!
//! A name given twice has the last value. Empty lines mean nothing.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// What a task gives, by name.
pub type Outputs = BTreeMap<String, String>;

/// No value is longer than this, nor are all names and values together, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// No name is longer than this, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// The file may hold values that later ones replace, but is at most this long, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Why outputs cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum OutputsError {
    /// The file cannot be read.
    #[error("the outputs cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Something else stands in place of the file.
    #[error("the outputs are no regular file")]
    NoFile,
    /// The file is too long.
    #[error("the outputs are longer than {} bytes", FILE_BYTES_MAX)]
    FileTooLong,
    /// The file is no text.
    #[error("line {line} of the outputs is not UTF-8")]
    NotUtf8 {
        /// The line, from 1.
        line: usize,
    },
    /// A line is neither of the two forms.
    #[error("line {line} of the outputs is neither `name=value` nor `name<<END`")]
    NotAnOutput {
        /// The line, from 1.
        line: usize,
    },
    /// The line that ends a value is missing.
    #[error("line {line} of the outputs begins a value that no line `{end}` ends")]
    Unended {
        /// The line, from 1.
        line: usize,
        /// The line that is missing.
        end: String,
    },
    /// A name or value is refused.
    #[error("line {line} of the outputs: {why}")]
    Refused {
        /// The line, from 1.
        line: usize,
        /// Why it is refused.
        why: OutputError,
    },
}

/// Why one output cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// The name is not one.
    #[error(
        "`{0}` is no name of an output: letters, digits, `_` and `-`, not beginning with a digit or `-`, \
         at most {NAME_BYTES_MAX}"
    )]
    Name(String),
    /// All together are too long.
    #[error("the outputs are longer than {OUTPUT_BYTES_MAX} bytes in all; write a file and give its path")]
    TooLong,
}

/// Adds an output, if its name is one and all together stay within [`OUTPUT_BYTES_MAX`].
///
/// # Errors
///
/// Fails if not; then `outputs` is as before.
pub fn add(outputs: &mut Outputs, name: &str, value: &str) -> Result<(), OutputError> {
    check_name(name)?;
    let others = outputs.iter().filter(|(other, _)| *other != name);
    let bytes: usize = others.map(|(name, value)| name.len() + value.len()).sum();
    if bytes + name.len() + value.len() > OUTPUT_BYTES_MAX {
        return Err(OutputError::TooLong);
    }
    outputs.insert(name.to_owned(), value.to_owned());
    Ok(())
}

/// Checks that `name` is the name of an output: `[A-Za-z_][A-Za-z0-9_-]*`.
///
/// # Errors
///
/// Fails if it is not.
pub fn check_name(name: &str) -> Result<(), OutputError> {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let goes_on = name.chars().all(|next| next.is_ascii_alphanumeric() || next == '_' || next == '-');
    if begins && goes_on && name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    Err(OutputError::Name(shown))
}

/// Reads the outputs that an attempt wrote; none if there is no such file.
///
/// # Errors
///
/// Fails if the file is not what the module describes; then nothing of it is taken.
pub fn read(path: &Path) -> Result<Outputs, OutputsError> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outputs::new()),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(OutputsError::NoFile);
        }
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(OutputsError::NoFile);
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(OutputsError::FileTooLong);
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| OutputsError::NotUtf8 {
        line: bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1,
    })?;
    parse(text)
}

/// Reads outputs from the text of such a file.
///
/// # Errors
///
/// Fails at the first line that does not fit.
pub fn parse(text: &str) -> Result<Outputs, OutputsError> {
    let mut outputs = Outputs::new();
    let mut bytes = 0;
    let mut lines = (1..).zip(text.strip_prefix('\u{feff}').unwrap_or(text).split('\n'));
    while let Some((line, text)) = lines.next() {
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.trim().is_empty() {
            continue;
        }
        let equals = text.find('=').unwrap_or(usize::MAX);
        let (name, value) = match text.split_once("<<") {
            Some((name, end)) if name.len() < equals => (name, block(&mut lines, line, end)?),
            _ => text
                .split_once('=')
                .map(|(name, value)| (name, value.to_owned()))
                .ok_or(OutputsError::NotAnOutput { line })?,
        };
        let refused = |why| OutputsError::Refused { line, why };
        check_name(name).map_err(refused)?;
        bytes += name.len() + value.len();
        if let Some(before) = outputs.insert(name.to_owned(), value) {
            bytes -= name.len() + before.len();
        }
        if bytes > OUTPUT_BYTES_MAX {
            return Err(refused(OutputError::TooLong));
        }
    }
    Ok(outputs)
}

fn block<'a>(
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
    line: usize,
    end: &str,
) -> Result<String, OutputsError> {
    if end.is_empty() {
        return Err(OutputsError::NotAnOutput { line });
    }
    let mut value = String::new();
    for (number, text) in lines {
        if text.strip_suffix('\r').unwrap_or(text) == end {
            return Ok(value);
        }
        if number > line + 1 {
            value.push('\n');
        }
        value.push_str(text);
    }
    Err(OutputsError::Unended { line, end: end.chars().take(64).collect() })
}

/// Writes an output in the form that [`parse`] reads, whatever its value holds.
#[must_use]
pub fn render(name: &str, value: &str) -> String {
    // A carriage return at the end of a single line is taken for the writer's line ending.
    if !value.contains(['\n', '\r']) {
        return format!("{name}={value}\n");
    }
    let end = (0_u32..)
        .map(|number| format!("KAPELL_END_{number}"))
        .find(|end| value.split('\n').all(|line| line.trim_end() != end))
        .unwrap_or_default();
    format!("{name}<<{end}\n{value}\n{end}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match parse(text) {
            Ok(outputs) => format!("{outputs:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn both_forms_are_read() {
        for (text, expected) in [
            ("", "{}"),
            ("a=1\n\nb = 2", "line 3 of the outputs: `b ` is no name"),
            ("a=1\na=x=y<<z\n", r#"{"a": "x=y<<z"}"#),
            ("a<<END\none\n\nEND x\nEND\nb=", r#"{"a": "one\n\nEND x", "b": ""}"#),
            ("a<<END\nEND\n", r#"{"a": ""}"#),
            ("\u{feff}a=1\r\n", r#"{"a": "1"}"#),
            ("a<<END\none\n", "line 1 of the outputs begins a value that no line `END` ends"),
            ("a<<\nb\n\n", "line 1 of the outputs is neither"),
            ("nothing", "line 1 of the outputs is neither"),
            ("1a=2", "line 1 of the outputs: `1a` is no name"),
            ("a\u{1b}[31m=2", "line 1 of the outputs: `a\\u{1b}[31m` is no name"),
        ] {
            assert!(shown(text).starts_with(expected), "{text:?}: {}", shown(text));
        }
    }

    #[test]
    fn all_together_are_limited_and_replaced_values_do_not_count() {
        let large = "x".repeat(OUTPUT_BYTES_MAX - 1);
        assert!(parse(&format!("a={large}\na={large}\n")).is_ok());
        assert!(shown(&format!("a={large}\nb=\n")).contains("write a file"));
        let mut outputs = Outputs::new();
        add(&mut outputs, "a", &large).unwrap();
        assert_eq!(add(&mut outputs, "b", ""), Err(OutputError::TooLong));
        add(&mut outputs, "a", "small").unwrap();
        add(&mut outputs, "b", "").unwrap();
    }

    #[test]
    fn what_is_written_is_read_again() {
        for value in [
            "",
            "one",
            "one\ntwo",
            "\n",
            "a\n\n",
            "KAPELL_END_0\nx",
            "a\r",
            "a\r\nb\r\n",
            "KAPELL_END_0\r\n",
            "name<<END",
            "\u{1b}[1m",
        ] {
            let text = render("a", value);
            assert_eq!(parse(&text).unwrap()["a"], value, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_file_of_text_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outputs");
        assert!(read(&path).unwrap().is_empty());
        std::fs::write(&path, b"a=1\nb=\xff\n").unwrap();
        assert!(matches!(read(&path), Err(OutputsError::NotUtf8 { line: 2 })));
        std::fs::write(&path, vec![b'\n'; 5 << 20]).unwrap();
        assert!(matches!(read(&path), Err(OutputsError::FileTooLong)));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(matches!(read(&path), Err(OutputsError::NoFile)));
        assert!(matches!(read(dir.path()), Err(OutputsError::NoFile)));
    }
}
