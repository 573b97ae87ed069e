//! Secrets, taken out of what is kept: those that are known, and what has the form of a key.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock},
};

use crate::lock::lock;

/// What replaces a secret.
const REDACTED: &str = "[redacted]";

/// Shorter texts are no secrets, and would be found everywhere.
const LENGTH_MIN: usize = 8;

/// How keys of well-known services begin, and how many characters follow at least.
const SHAPES: &[(&str, usize)] = &[
    ("sk-", 20),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghs_", 30),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("AKIA", 16),
    ("AIza", 30),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("npm_", 30),
];

/// A key. It is not shown by accident, and never written down.
#[derive(Clone)]
pub struct Secret(Arc<Late>);

/// A key that may become known only when it is needed.
#[derive(Default)]
struct Late {
    key: OnceLock<String>,
    /// Held while it is asked for.
    asking: Mutex<()>,
}

impl Secret {
    /// Takes a key from wherever it was kept.
    #[must_use]
    pub fn new(key: String) -> Self {
        let late = Late::default();
        let _ = late.key.set(key);
        Self(Arc::new(late))
    }

    /// Makes room for a key that is not known yet. Until then it is empty.
    #[must_use]
    pub(crate) fn later() -> Self {
        Self(Arc::default())
    }

    /// Takes the key in from `ask`, if it is not known yet, and returns it. It is asked for once at a time, and not again
    /// once it was given.
    ///
    /// # Errors
    ///
    /// Fails as `ask` does.
    pub(crate) fn fill<E>(&self, ask: impl FnOnce() -> Result<String, E>) -> Result<String, E> {
        let _asking = lock(&self.0.asking);
        if let Some(key) = self.0.key.get() {
            return Ok(key.clone());
        }
        let key = ask()?;
        Ok(self.0.key.get_or_init(|| key).clone())
    }

    /// Returns the key, to be sent to whom it is for.
    pub(super) fn reveal(&self) -> &str {
        self.0.key.get().map_or("", String::as_str)
    }

    /// Takes the key out of a text, which may be JSON.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let key = self.reveal();
        if key.len() < LENGTH_MIN {
            return text.to_owned();
        }
        let plain = text.replace(key, REDACTED);
        let escaped = serde_json::Value::from(key).to_string();
        match escaped.trim_matches('"') {
            same if same == key => plain,
            escaped => plain.replace(escaped, REDACTED),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// Takes secrets out of what agents say and print, before it is written down or shown.
#[derive(Debug, Clone, Default)]
pub struct Redactor(Vec<Secret>);

impl Redactor {
    /// Takes those that are known; what has the form of a key is taken out besides.
    #[must_use]
    pub fn new(known: Vec<Secret>) -> Self {
        Self(known)
    }

    /// Takes others out besides, some of which may become known later.
    #[must_use]
    pub fn and(mut self, others: Vec<Secret>) -> Self {
        self.0.extend(others);
        self
    }

    /// Tells whether a text holds one of those that are known.
    pub(crate) fn knows(&self, text: &str) -> bool {
        self.0.iter().any(|secret| secret.redact(text) != text)
    }

    /// Returns a text without them.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        redact_shapes(&redact(&self.0, text))
    }

    /// Takes them out of a text.
    pub(crate) fn clean(&self, text: &mut String) {
        let without = self.text(text);
        if without != *text {
            *text = without;
        }
    }
}

/// Takes all of `secrets` out of a text.
pub(super) fn redact<'a>(secrets: impl IntoIterator<Item = &'a Secret>, text: &str) -> String {
    secrets.into_iter().fold(text.to_owned(), |text, secret| secret.redact(&text))
}

/// Takes out what has the form of a key.
pub(super) fn redact_shapes(text: &str) -> String {
    if !SHAPES.iter().any(|(start, _)| text.contains(start)) {
        return text.to_owned();
    }
    let is_of_key = |each: char| each.is_ascii_alphanumeric() || matches!(each, '-' | '_');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let begins = !out.ends_with(is_of_key);
        let key = SHAPES.iter().filter(|_| begins).find_map(|(start, least)| {
            let after = rest.strip_prefix(start)?;
            let length = after.find(|each: char| !is_of_key(each)).unwrap_or(after.len());
            let random = after[..length].bytes().any(|byte| byte.is_ascii_digit());
            (length >= *least && random).then_some(start.len() + length)
        });
        match key {
            Some(length) => {
                out.push_str(REDACTED);
                rest = &rest[length..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_neither_shown_nor_kept() {
        let secret = Secret::new("sk-very-secret".to_owned());
        assert_eq!(format!("{secret:?}"), "[redacted]");
        let texts = [secret.clone(), Secret::new("x".to_owned())];
        assert_eq!(redact(&texts, "x=sk-very-secret;"), "x=[redacted];");
    }

    #[test]
    fn a_secret_that_becomes_known_later_is_taken_out_from_then_on() {
        let late = Secret::later();
        let redactor =
            Redactor::new(vec![Secret::new("one-that-is-known".to_owned())]).and(vec![late.clone()]);
        let text = "one-that-is-known and one-of-a-keyring";
        assert_eq!(redactor.text(text), "[redacted] and one-of-a-keyring");
        assert!(!redactor.knows("one-of-a-keyring"));
        let given = late.fill(|| Ok::<_, ()>("one-of-a-keyring".to_owned()));
        assert_eq!(given.as_deref(), Ok("one-of-a-keyring"));
        assert_eq!(redactor.text(text), "[redacted] and [redacted]");
        assert!(redactor.knows("one-of-a-keyring"));
    }

    #[test]
    fn a_secret_is_found_as_json_has_it_too() {
        let secret = Secret::new("with \"quotes\" in it".to_owned());
        let json = serde_json::json!({ "text": "a with \"quotes\" in it z" }).to_string();
        assert_eq!(secret.redact(&json), r#"{"text":"a [redacted] z"}"#);
    }

    #[test]
    fn what_has_the_form_of_a_key_is_taken_out() {
        let key = format!("sk-ant-{}", "0a".repeat(12));
        for (text, expected) in [
            (format!("key={key};"), "key=[redacted];".to_owned()),
            (format!("\"{key}\""), "\"[redacted]\"".to_owned()),
            (format!("ghp_{}", "x1".repeat(18)), "[redacted]".to_owned()),
        ] {
            assert_eq!(redact_shapes(&text), expected);
        }
        for text in ["a task-oriented-disk-sk-", "sk-short1", "sk-only-words-and-no-number-at-all", "", "é"]
        {
            assert_eq!(redact_shapes(text), text);
        }
    }
}
