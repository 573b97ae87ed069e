//! The rules, one file each. A new one needs a file here, a page in `docs/rules`, cases in `tests/rules`, and its
//! line in [`RULES`].

use crate::rule::Rule;

/// All rules, by family.
pub static RULES: &[&Rule] = &[];

/// Finds a rule by name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.name == name)
}
