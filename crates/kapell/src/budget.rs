//! Budgets as people type them: `5usd,2M,2h`.

use kapell_core::{budget::Limits, time::Millis};

/// Limits that somebody asks for; what is not named stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// Money, in millionths of a US dollar.
    pub usd_micros: Option<u64>,
    /// Tokens.
    pub tokens: Option<u64>,
    /// Time for which a run may be executed.
    pub wall: Option<Millis>,
}

impl Budget {
    /// Reads amounts joined by commas: money with `usd` or `$`, tokens as `200k`, `2M`, `1G` or a bare number of them
    /// with `tokens`, time as `90s`, `30m`, `2h`, `1d`.
    ///
    /// # Errors
    ///
    /// Says which part is none of these, or comes twice.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut budget = Self::default();
        for part in text.split(',').map(str::trim) {
            let twice = match amount(part)
                .ok_or_else(|| format!("`{part}` is no amount of money, tokens or time"))?
            {
                Amount::Usd(micros) => budget.usd_micros.replace(micros).is_some(),
                Amount::Tokens(tokens) => budget.tokens.replace(tokens).is_some(),
                Amount::Wall(wall) => budget.wall.replace(wall).is_some(),
            };
            if twice {
                return Err(format!("`{part}` gives one limit twice"));
            }
        }
        Ok(budget)
    }

    /// Reads amounts if there are any.
    ///
    /// # Errors
    ///
    /// As [`Budget::parse`].
    pub fn parse_option(text: Option<&str>) -> Result<Self, String> {
        text.map_or_else(|| Ok(Self::default()), Self::parse)
    }

    /// Puts the limits that it names in the place of those of `limits`.
    #[must_use]
    pub fn over(self, limits: Limits) -> Limits {
        Limits {
            usd_micros: self.usd_micros.or(limits.usd_micros),
            tokens: self.tokens.or(limits.tokens),
            wall: self.wall.or(limits.wall),
            ..limits
        }
    }

    /// Puts its limits where `limits` has none.
    #[must_use]
    pub fn under(self, limits: Limits) -> Limits {
        Limits {
            usd_micros: limits.usd_micros.or(self.usd_micros),
            tokens: limits.tokens.or(self.tokens),
            wall: limits.wall.or(self.wall),
            ..limits
        }
    }
}

enum Amount {
    Usd(u64),
    Tokens(u64),
    Wall(Millis),
}

fn amount(text: &str) -> Option<Amount> {
    if let Some(money) =
        text.strip_suffix("usd").or_else(|| text.strip_suffix("USD")).or_else(|| text.strip_prefix('$'))
    {
        return scaled(money.trim(), 1_000_000).map(Amount::Usd);
    }
    if let Some(number) = text.strip_suffix("tokens") {
        let number = number.trim();
        return tokens(number).or_else(|| scaled(number, 1)).map(Amount::Tokens);
    }
    tokens(text).map(Amount::Tokens).or_else(|| time(text).map(Amount::Wall))
}

fn tokens(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let scale = match unit {
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        _ => return None,
    };
    scaled(number, scale)
}

fn time(text: &str) -> Option<Millis> {
    let mut rest = text;
    let mut total = 0_u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        let end = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let scale = match &rest[digits..digits + end] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(scale)?)?;
        rest = &rest[digits + end..];
    }
    Some(Millis(total))
}

/// Multiplies a decimal number without going through floats: `0.1` of a million is 100,000 exactly.
fn scaled(text: &str, scale: u64) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || (whole.is_empty() && part.is_empty()) || part.len() > 9 {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let unit = 10_u64.pow(u32::try_from(part.len()).ok()?);
    let fraction = if part.is_empty() { 0 } else { part.parse::<u64>().ok()? };
    let fraction = fraction.checked_mul(scale)?;
    if fraction % unit != 0 {
        return None;
    }
    whole.checked_mul(scale)?.checked_add(fraction / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match Budget::parse(text) {
            Ok(Budget { usd_micros, tokens, wall }) => {
                format!("{usd_micros:?} {tokens:?} {:?}", wall.map(|wall| wall.0)).replace("None", "-")
            }
            Err(error) => error,
        }
    }

    #[test]
    fn amounts_are_told_by_their_units() {
        for (text, expected) in [
            ("5usd", "Some(5000000) - -"),
            ("$0.1", "Some(100000) - -"),
            (".5usd", "Some(500000) - -"),
            ("2M", "- Some(2000000) -"),
            ("1.5k", "- Some(1500) -"),
            ("900 tokens", "- Some(900) -"),
            ("2h", "- - Some(7200000)"),
            ("1h30m", "- - Some(5400000)"),
            ("5usd, 2M, 2h", "Some(5000000) Some(2000000) Some(7200000)"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_budget_is_refused() {
        for text in [
            "",
            "5",
            "usd",
            "-1usd",
            "1.2.3usd",
            "0.0000001usd",
            "2Mh",
            "1e3usd",
            "99999999999999usd",
            "h",
            "5usd,",
        ] {
            assert!(Budget::parse(text).is_err(), "{text}: {}", read(text));
        }
        assert_eq!(read("5usd,6usd"), "`6usd` gives one limit twice");
        assert_eq!(read("5apples"), "`5apples` is no amount of money, tokens or time");
    }

    #[test]
    fn limits_give_way_or_stand() {
        let limits = Limits { usd_micros: Some(1), tokens: None, ..Limits::default() };
        let budget = Budget { usd_micros: Some(2), tokens: Some(3), wall: None };
        assert_eq!(budget.over(limits).usd_micros, Some(2));
        assert_eq!(budget.under(limits).usd_micros, Some(1));
        assert_eq!(budget.under(limits).tokens, Some(3));
    }
}
