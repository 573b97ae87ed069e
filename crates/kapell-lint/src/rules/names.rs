//! Words of names.

/// Splits a name into its words, in lower case.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small = false;
    for c in name.chars() {
        let starts = !c.is_alphanumeric() || c.is_uppercase() && small;
        if starts {
            words.push(String::new());
        }
        small = c.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart_at_capitals_and_marks() {
        assert_eq!(words("isAllowed"), ["is", "allowed"]);
        assert_eq!(words("wait_for-HTTP2"), ["wait", "for", "http2"]);
    }
}
