//! Arguments that are never read, and in whose place a flag of their name has a value that stands there for good.

/// Words by which people call where something runs: what is fixed there goes to the wrong place.
const PLACES: &[&str] = &["environment", "env", "target", "stage", "cluster", "region", "account"];

/// Finds the flag that has a fixed value in place of one of the arguments: `--env production` of `<environment>`.
pub(super) fn flag<'a>(text: &'a str, arguments: &[&str]) -> Option<&'a str> {
    let names = arguments.iter().map(|argument| argument.trim_matches(['<', '>', '[', ']', '"', '\'']));
    let mut places = names.filter(|name| PLACES.contains(name));
    places.find_map(|name| {
        let mut flags = text.match_indices("--");
        flags.find_map(|(at, _)| {
            let whole = &text[at..];
            let end = whole.find(['`', '\n']).unwrap_or(whole.len());
            let (flag, rest) = whole[2..end].split_once([' ', '='])?;
            let value = rest.split_whitespace().next()?;
            let same = flag.len() >= 3 && (name.starts_with(flag) || flag.starts_with(name));
            let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            let end = 2 + flag.len() + 1 + value.len();
            (same && plain && !value.starts_with('-')).then(|| &whole[..end])
        })
    })
}

#[cfg(test)]
mod tests {
    use super::flag;

    #[test]
    fn a_flag_of_its_name_has_a_value_of_its_own() {
        let text = "1. `./bin/deploy $0 --env production --tag v1`";
        assert_eq!(flag(text, &["<environment>"]), Some("--env production"));
        assert_eq!(flag(text, &["<tag>"]), None);
        assert_eq!(flag("`deploy --env $1` or `--env <name>`", &["[env]"]), None);
    }
}
