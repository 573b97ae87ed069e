//! Secrets, taken out of what is kept.

use std::fmt;

/// What replaces a secret.
const REDACTED: &str = "[redacted]";

/// Shorter texts are no secrets, and would be found everywhere.
const LENGTH_MIN: usize = 8;

/// A key. It is not shown by accident, and never written down.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a key from wherever it was kept.
    #[must_use]
    pub fn new(key: String) -> Self {
        Self(key)
    }

    /// Returns the key, to be sent to whom it is for.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// Takes the key out of a text.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        if self.0.len() < LENGTH_MIN { text.to_owned() } else { text.replace(&self.0, REDACTED) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// Takes all of `secrets` out of a text.
pub(super) fn redact<'a>(secrets: impl IntoIterator<Item = &'a Secret>, text: &str) -> String {
    secrets.into_iter().fold(text.to_owned(), |text, secret| secret.redact(&text))
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
}
