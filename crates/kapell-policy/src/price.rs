//! What models cost: a table with a version, and what a user says instead.

use std::collections::BTreeMap;

use kapell_core::price::{Price, Rate};
use serde::Deserialize;

/// The table that comes with kapell: what providers have published, in dollars for a million tokens.
///
/// It holds standard prices. What is cheaper for a while is not in it, so that a budget still holds when that is over;
/// nor is a model whose price could not be read for all four kinds of tokens.
const BUILT_IN: &str = include_str!("price/table.json");

/// Prices by the beginning of a model's name.
#[derive(Debug, Clone, PartialEq)]
pub struct PriceTable {
    version: String,
    /// By name.
    prices: BTreeMap<String, Price>,
}

/// Why a table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTable(pub String);

impl std::fmt::Display for BadTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not a table of prices: {}", self.0)
    }
}

impl std::error::Error for BadTable {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: String,
    /// The day on which the sources were read last.
    read: Option<String>,
    /// Where the prices stand.
    #[serde(default)]
    #[expect(dead_code, reason = "for who looks into the table")]
    sources: Vec<String>,
    models: BTreeMap<String, WrittenPrice>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPrice {
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
    output_max: Option<u64>,
    above: Option<Above>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Above {
    read: u64,
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
}

/// Dollars for a million tokens as millionths of a dollar.
fn micros(dollars: f64) -> Result<u64, BadTable> {
    let micros = (dollars * 1e6).round();
    // 10,000 dollars for a million tokens is no price but a slip.
    if !(0.0..=1e10).contains(&micros) {
        return Err(BadTable(format!("{dollars} is no price")));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within 0 and 1e10")]
    Ok(micros as u64)
}

/// What is not said of a cache costs as much as reading afresh.
fn rate(
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
) -> Result<Rate, BadTable> {
    Ok(Rate {
        input: micros(input)?,
        cache_read: micros(cache_read.unwrap_or(input))?,
        cache_write: micros(cache_write.unwrap_or(input))?,
        output: micros(output)?,
    })
}

impl WrittenPrice {
    fn price(&self) -> Result<Price, BadTable> {
        let above = self.above.as_ref().map(|above| {
            Ok((above.read, rate(above.input, above.output, above.cache_read, above.cache_write)?))
        });
        Ok(Price {
            rate: rate(self.input, self.output, self.cache_read, self.cache_write)?,
            above: above.transpose()?,
            output_max: self.output_max,
        })
    }
}

impl PriceTable {
    /// Returns the table that comes with kapell.
    #[must_use]
    pub fn built_in() -> Self {
        // A test reads it; without it no price is known, and nothing is taken for free.
        Self::parse(BUILT_IN).unwrap_or_else(|_| Self { version: String::new(), prices: BTreeMap::new() })
    }

    /// Reads a table: `{"version": "...", "models": {"NAME": {"input": 3, "output": 15, ...}}}`, in dollars for a million
    /// tokens.
    ///
    /// # Errors
    ///
    /// Fails if it has another form, or a price is negative or absurd.
    pub fn parse(text: &str) -> Result<Self, BadTable> {
        let written: Written = serde_json::from_str(text).map_err(|error| BadTable(error.to_string()))?;
        let prices = written.models.iter().map(|(name, price)| {
            let price = price.price().map_err(|error| BadTable(format!("{name}: {}", error.0)))?;
            Ok((name.to_ascii_lowercase(), price))
        });
        let version = match &written.read {
            Some(day) => format!("{} (read {day})", written.version),
            None => written.version,
        };
        Ok(Self { version, prices: prices.collect::<Result<_, BadTable>>()? })
    }

    /// Puts the prices of `other` over these.
    #[must_use]
    pub fn overridden_by(mut self, other: Self) -> Self {
        self.version = format!("{} + {}", self.version, other.version);
        self.prices.extend(other.prices);
        self
    }

    /// Returns which table it is.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the price of a model; `None` if it is not known. A vendor before the name (`vendor/model`) is left out,
    /// and a date or the like behind it: `gpt-5` also counts for `gpt-5-2025-08-07`, but not for `gpt-5-pro`, which is
    /// another model and may cost ten times as much.
    #[must_use]
    pub fn price(&self, model: &str) -> Option<Price> {
        let model = model.to_ascii_lowercase();
        let bare = model.rsplit('/').next().unwrap_or(&model);
        let of = |model: &str| {
            let names = (1..=model.len()).rev().filter(|&len| is_edition(model, len));
            names.filter_map(|len| self.prices.get(&model[..len])).next().copied()
        };
        of(&model).or_else(|| of(bare))
    }
}

/// Tells whether what follows the first `len` bytes only says which edition of the model it is: dates, `latest`,
/// `preview`, or a variant behind a colon or the like.
fn is_edition(model: &str, len: usize) -> bool {
    let Some(rest) = model.get(len..) else { return false };
    let name = rest.split([':', '@', '[']).next().unwrap_or_default();
    // One digit is the number of another model: `claude-opus-4-5` is no edition of `claude-opus-4`.
    let is_date = |word: &str| word.len() >= 2 && word.bytes().all(|byte| byte.is_ascii_digit());
    name.is_empty()
        || name.strip_prefix('-').is_some_and(|words| {
            words.split('-').all(|word| matches!(word, "latest" | "preview" | "exp") || is_date(word))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(table: &PriceTable, model: &str) -> Option<u64> {
        table.price(model).map(|price| price.rate.input)
    }

    #[test]
    fn a_name_counts_for_its_editions_and_for_no_other_model() {
        let table = PriceTable::parse(
            r#"{"version": "t", "models": {
                "gpt-5": {"input": 1.25, "output": 10, "cache_read": 0.125},
                "gpt-5-mini": {"input": 0.25, "output": 2},
                "acme/big": {"input": 7, "output": 7}
            }}"#,
        )
        .unwrap();
        assert_eq!(input(&table, "gpt-5-2025-08-07"), Some(1_250_000));
        assert_eq!(input(&table, "GPT-5-mini"), Some(250_000));
        assert_eq!(input(&table, "openai/gpt-5"), Some(1_250_000));
        assert_eq!(input(&table, "acme/big:free"), Some(7_000_000));
        assert_eq!(input(&table, "gpt-5-mini@20250807"), Some(250_000));
        assert_eq!(input(&table, "gpt-5-preview-05-06"), Some(1_250_000));
        for unknown in ["gpt-50", "gpt-5.1", "gpt-5-pro", "gpt-5-1", "gpt-5-", "big", "", "gpt"] {
            assert_eq!(input(&table, unknown), None, "{unknown}");
        }
        let price = table.price("gpt-5").unwrap();
        assert_eq!((price.rate.cache_read, price.rate.cache_write), (125_000, 1_250_000));
    }

    #[test]
    fn what_a_user_says_counts_and_shows_in_the_version() {
        let own = r#"{"version": "mine", "models": {"claude-sonnet-4": {"input": 1, "output": 2}}}"#;
        let built_in = PriceTable::built_in();
        let table = built_in.clone().overridden_by(PriceTable::parse(own).unwrap());
        assert_eq!(input(&table, "claude-sonnet-4"), Some(1_000_000));
        assert_eq!(table.version(), format!("{} + mine", built_in.version()));
    }

    #[test]
    fn slips_are_refused() {
        for text in [
            "",
            "{}",
            r#"{"version": "x", "models": {"m": {"input": -1, "output": 1}}}"#,
            r#"{"version": "x", "models": {"m": {"input": 1e9, "output": 1}}}"#,
            r#"{"version": "x", "models": {"m": {"input": 1}}}"#,
            r#"{"version": "x", "models": {"m": {"input": 1, "output": 1, "ouput_max": 3}}}"#,
        ] {
            assert!(PriceTable::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_model_of_the_table_costs_more_to_write_than_to_read_from_a_cache() {
        let table = PriceTable::built_in();
        assert!(table.prices.len() > 10 && table.version().contains("read 20"), "{}", table.version());
        for (name, price) in &table.prices {
            let Rate { input, cache_read, output, .. } = price.rate;
            assert!(cache_read <= input && input <= output && output > 0, "{name}");
        }
    }
}
