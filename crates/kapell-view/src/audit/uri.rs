//! Paths as references of RFC 3986, and back.

/// Returns a path as a reference: bytes that are not unreserved are escaped.
#[must_use]
pub fn encode(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Takes the escapes out of a reference's path. What is no escape stays, and so does what would be no UTF-8.
#[must_use]
pub fn decode(reference: &str) -> String {
    let mut bytes = Vec::with_capacity(reference.len());
    let mut rest = reference.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%').then(|| after.get(..2)).flatten();
        let escaped = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| reference.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_back() {
        for path in ["a/b.yml", "a b/é%20.md", "100%", "%zz", ""] {
            assert_eq!(decode(&encode(path)), path);
        }
        assert_eq!(
            (decode("100%"), decode("%zz"), decode("a%20b"), decode("%ff")),
            ("100%".into(), "%zz".into(), "a b".into(), "%ff".into())
        );
    }
}
