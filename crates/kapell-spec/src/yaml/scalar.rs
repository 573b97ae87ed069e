//! Scalars, and what they stand for by the core schema of YAML 1.2.

pub use saphyr_parser::ScalarStyle as Style;

/// A scalar: its text, and how it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    /// The text that it stands for, escapes and folding resolved.
    pub text: String,
    /// How it is written.
    pub style: Style,
    /// Whether it is a text whatever it looks like: quoted, a block, or tagged `!!str`.
    pub is_text: bool,
}

impl Scalar {
    /// Tells whether it stands for nothing: `null`, `~`, or left out.
    #[must_use]
    pub fn is_null(&self) -> bool {
        !self.is_text && matches!(&*self.text, "" | "~" | "null" | "Null" | "NULL")
    }

    /// Returns it as a truth value: `true`, `True`, `TRUE` and the same of `false`.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match &*self.text {
            "true" | "True" | "TRUE" if !self.is_text => Some(true),
            "false" | "False" | "FALSE" if !self.is_text => Some(false),
            _ => None,
        }
    }

    /// Returns it as a whole number.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        if self.is_text {
            return None;
        }
        let digits = |text: &str, radix| {
            (!text.is_empty() && text.chars().all(|c| c.is_digit(radix)))
                .then(|| i64::from_str_radix(text, radix))?
                .ok()
        };
        if let Some(octal) = self.text.strip_prefix("0o") {
            return digits(octal, 8);
        }
        if let Some(hex) = self.text.strip_prefix("0x") {
            return digits(hex, 16);
        }
        let unsigned = self.text.strip_prefix(['-', '+']).unwrap_or(&self.text);
        let plain = !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| self.text.parse().ok())?
    }

    /// Returns it as a number, whole or not.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "what is a double anyway")]
    pub fn as_float(&self) -> Option<f64> {
        if self.is_text {
            return None;
        }
        if let Some(int) = self.as_int() {
            return Some(int as f64);
        }
        match &*self.text {
            ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => return Some(f64::NEG_INFINITY),
            _ => {}
        }
        let shaped =
            self.text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
        (shaped && self.text.bytes().any(|byte| byte.is_ascii_digit())).then(|| self.text.parse().ok())?
    }

    /// Tells whether it stands for a text.
    #[must_use]
    pub fn is_str(&self) -> bool {
        !self.is_null() && self.as_bool().is_none() && self.as_float().is_none()
    }

    /// Names what it stands for.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        if self.is_null() {
            "nothing"
        } else if self.as_bool().is_some() {
            "a truth value"
        } else if self.as_float().is_some() {
            "a number"
        } else {
            "a text"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Scalar {
        Scalar { text: text.into(), style: Style::Plain, is_text: false }
    }

    #[test]
    fn the_core_schema_holds() {
        let kinds = [
            ("", "nothing"),
            ("~", "nothing"),
            ("null", "nothing"),
            ("nUll", "a text"),
            ("true", "a truth value"),
            ("FALSE", "a truth value"),
            // Norway and her friends.
            ("no", "a text"),
            ("on", "a text"),
            ("yes", "a text"),
            ("y", "a text"),
            ("12", "a number"),
            ("-0", "a number"),
            ("0o17", "a number"),
            ("0x1F", "a number"),
            ("0b1", "a text"),
            ("017", "a number"),
            ("1_000", "a text"),
            ("1e3", "a number"),
            (".5", "a number"),
            ("1.", "a number"),
            (".", "a text"),
            ("e1", "a text"),
            ("1.2.3", "a text"),
            (".inf", "a number"),
            ("inf", "a text"),
            ("nan", "a text"),
            // No sexagesimal numbers and no dates.
            ("12:30:45", "a text"),
            ("2026-01-02", "a text"),
        ];
        for (text, kind) in kinds {
            assert_eq!(plain(text).kind_name(), kind, "{text}");
        }
        assert_eq!(plain("017").as_int(), Some(17));
        assert_eq!(plain("0o17").as_int(), Some(15));
        assert_eq!(plain("0x-1").as_int(), None);
        assert_eq!(plain("99999999999999999999").as_int(), None);
        assert!(Scalar { is_text: true, ..plain("12") }.is_str());
    }
}
