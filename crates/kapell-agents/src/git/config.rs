//! Reads the text of git configuration files, and nothing that they point to.
//!
//! Asking git itself would follow includes and conditions; a few facts are all that is needed.
//! Format: git-config(1), "Syntax".

/// The values of one configuration file, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    entries: Vec<(String, String)>,
}

impl Config {
    /// Reads `text`; what is not understood is left out.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mut parser = Parser { rest: text, section: String::new(), entries: Vec::new() };
        while parser.step().is_some() {}
        Self { entries: parser.entries }
    }

    /// Returns the last value of `name`, which is `section.key` or `section.subsection.key`.
    ///
    /// Section and key are in lower case; a subsection is as written.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns whether `name` is set to true.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(is_true)
    }

    /// Returns these entries followed by those of `over`, which therefore win.
    #[must_use]
    pub fn followed_by(mut self, over: &Self) -> Self {
        self.entries.extend_from_slice(&over.entries);
        self
    }

    /// Iterates over all names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn is_true(value: &str) -> bool {
    ["true", "yes", "on"].iter().any(|word| value.eq_ignore_ascii_case(word))
        || value.parse::<i64>().is_ok_and(|number| number != 0)
}

struct Parser<'t> {
    rest: &'t [u8],
    section: String,
    entries: Vec<(String, String)>,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        // A carriage return counts only where no newline follows it.
        if first == b'\r' && rest.first() == Some(&b'\n') {
            return self.next();
        }
        Some(first)
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn skip_line(&mut self) {
        while !matches!(self.next(), None | Some(b'\n')) {}
    }

    /// Reads one header, entry, comment or blank; `None` at the end of the text.
    fn step(&mut self) -> Option<()> {
        match self.peek()? {
            b'[' => {
                self.next();
                if self.header().is_none() {
                    self.skip_line();
                }
            }
            b'#' | b';' => self.skip_line(),
            first if first.is_ascii_alphabetic() => self.entry(),
            _ => {
                self.next();
            }
        }
        Some(())
    }

    fn header(&mut self) -> Option<()> {
        let mut name = String::new();
        loop {
            match self.next()? {
                b']' => break,
                b'\n' => return None,
                b'"' => {
                    name.push('.');
                    self.subsection(&mut name)?;
                }
                space if space.is_ascii_whitespace() => {}
                other => name.push(char::from(other.to_ascii_lowercase())),
            }
        }
        self.section = name;
        Some(())
    }

    fn subsection(&mut self, name: &mut String) -> Option<()> {
        let mut bytes = Vec::new();
        loop {
            match self.next()? {
                b'"' => break,
                b'\n' => return None,
                b'\\' => bytes.push(self.next()?),
                other => bytes.push(other),
            }
        }
        name.push_str(&String::from_utf8_lossy(&bytes));
        Some(())
    }

    fn entry(&mut self) {
        let mut key = String::new();
        while let Some(byte) = self.peek().filter(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') {
            key.push(char::from(byte.to_ascii_lowercase()));
            self.next();
        }
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            self.next();
        }
        // A key alone means true.
        let value = match self.peek() {
            Some(b'=') => {
                self.next();
                self.value()
            }
            None | Some(b'\n' | b'\r' | b'#' | b';') => {
                self.skip_line();
                Some("true".to_owned())
            }
            Some(_) => {
                self.skip_line();
                None
            }
        };
        if let Some(value) = value
            && !self.section.is_empty()
        {
            self.entries.push((format!("{}.{key}", self.section), value));
        }
    }

    fn value(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        // How much stays when trailing blanks are cut: those inside quotes count.
        let mut kept = 0;
        let mut quoted = false;
        while let Some(byte) = self.next() {
            match byte {
                b'\n' => break,
                b'"' => {
                    quoted = !quoted;
                    kept = bytes.len();
                }
                b'\\' => {
                    match self.next()? {
                        b'\n' => continue,
                        b'n' => bytes.push(b'\n'),
                        b't' => bytes.push(b'\t'),
                        b'b' => bytes.push(8),
                        plain @ (b'\\' | b'"') => bytes.push(plain),
                        _ => {
                            self.skip_line();
                            return None;
                        }
                    }
                    kept = bytes.len();
                }
                b'#' | b';' if !quoted => {
                    self.skip_line();
                    break;
                }
                blank if blank.is_ascii_whitespace() && !quoted => {
                    if !bytes.is_empty() {
                        bytes.push(blank);
                    }
                }
                other => {
                    bytes.push(other);
                    kept = bytes.len();
                }
            }
        }
        bytes.truncate(kept);
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_reads_is_read() {
        let text = br#"
# comment
[core]
	bare = false ; tail
	FileMode
	name = " kept " cut   
	long = one \
two
[user]
	name = "A \"B\" \\ C"
[remote "Some.Origin"]
	promisor = yes
[extensions] objectFormat = sha256
[broken
	lost = 1
[include]
	path = /etc/passwd
"#;
        let config = Config::parse(text);
        for (name, expected) in [
            ("core.bare", Some("false")),
            ("core.filemode", Some("true")),
            ("core.name", Some(" kept  cut")),
            ("core.long", Some("one two")),
            ("user.name", Some("A \"B\" \\ C")),
            ("remote.Some.Origin.promisor", Some("yes")),
            ("extensions.objectformat", Some("sha256")),
            ("include.path", Some("/etc/passwd")),
            ("core.none", None),
        ] {
            assert_eq!(config.get(name), expected, "{name}");
        }
        assert!(config.is_true("remote.Some.Origin.promisor"));
        assert!(!config.is_true("core.bare"));
    }

    #[test]
    fn any_text_comes_to_an_end() {
        for text in
            ["[", "[a", "[a \"", "[a]b", "[a]b=", "[a]b=\"", "[a]b=\\", "]", "\r", "=", "[a]b=\\q\nc=d"]
        {
            let config = Config::parse(text.as_bytes());
            assert!(config.iter().count() <= 1, "{text}");
        }
    }
}
