//! Bytes into text, and what no text may hold.

use super::Limits;
use crate::{
    codes,
    finding::{Finding, Source, Span, is_bidi},
};

/// Reads bytes as UTF-8, reporting what is not.
pub(super) fn decode(name: &str, bytes: &[u8]) -> (Source, Vec<Finding>) {
    let lossy = || String::from_utf8_lossy(bytes);
    if let Some(encoding) = wide_encoding(bytes) {
        let finding =
            Finding::error(codes::ENCODING, Span::default(), format!("this is {encoding}, not UTF-8"))
                .hint("save the file as UTF-8, for example with `iconv -t UTF-8`");
        return (Source::new(name, &lossy()), vec![finding]);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => (Source::new(name, text), Vec::new()),
        Err(error) => {
            // Before the first bad byte the lossy text is the same, so offsets agree.
            let at = error.valid_up_to();
            let span = Span::new(at, at + 3);
            let message = format!("byte 0x{:02x} is no UTF-8", bytes.get(at).copied().unwrap_or_default());
            let finding = Finding::error(codes::ENCODING, span, message)
                .hint("save the file as UTF-8, for example with `iconv -f latin1 -t UTF-8`");
            (Source::new(name, &lossy()), vec![finding])
        }
    }
}

/// Recognises UTF-16 and UTF-32, with or without a mark, by what a text that starts with ASCII looks like in them.
fn wide_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] | [0, 0, 0, 1..=255, ..] | [1..=255, 0, 0, 0, ..] => {
            Some("UTF-32")
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=255, 0, 1..=255, ..] | [1..=255, 0, 1..=255, 0, ..] => {
            Some("UTF-16")
        }
        _ => None,
    }
}

/// Returns the characters that are not plain ones of ASCII, and where they stand. Nearly all texts have few or none.
fn odd(text: &str) -> impl Iterator<Item = (usize, char)> {
    const CHUNK: usize = 64;
    let is_odd =
        |byte: u8| !((b' '..=b'~').contains(&byte) | (byte == b'\n') | (byte == b'\r') | (byte == b'\t'));
    // Without a branch for each byte many are looked at at once.
    let any = move |chunk: &[u8]| chunk.iter().fold(0_u8, |odd, &byte| odd | u8::from(is_odd(byte))) != 0;
    let chunks = text.as_bytes().chunks(CHUNK).enumerate().filter(move |(_, chunk)| any(chunk));
    let bytes = chunks.flat_map(|(number, chunk)| (number * CHUNK..).zip(chunk));
    let odd = bytes.filter(move |&(_, &byte)| is_odd(byte)).map(|(at, _)| at);
    // No byte but the first begins a character.
    odd.filter_map(|at| Some((at, text.get(at..)?.chars().next()?)))
}

/// Checks size and characters. YAML 1.2.2, section 5.1, says which characters a text may have.
pub(super) fn check(text: &str, limits: Limits) -> Vec<Finding> {
    if text.len() > limits.bytes {
        let message =
            format!("the text has {} bytes, more than the {} that are read", text.len(), limits.bytes);
        return vec![Finding::error(codes::TOO_LARGE, Span::default(), message)];
    }
    let mut findings = Vec::new();
    let bad = |character: &char| {
        matches!(character, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\x7f'..='\u{84}' | '\u{86}'..='\u{9f}')
            || matches!(character, '\u{fffe}' | '\u{ffff}' | '\u{feff}')
    };
    let at =
        |found: &dyn Fn(&char) -> bool| odd(text).find(|(at, c)| found(c) && (*at > 0 || *c != '\u{feff}'));
    if let Some((at, character)) = at(&bad) {
        let span = Span::new(at, at + character.len_utf8());
        let message = format!("control character U+{:04X}", u32::from(character));
        findings.push(
            Finding::error(codes::CONTROL_CHARACTER, span, message)
                .hint("remove it; within double quotes it can be written as an escape such as `\\x1b`"),
        );
    }
    if let Some((at, character)) = at(&|character| is_bidi(*character)) {
        let span = Span::new(at, at + character.len_utf8());
        let message = format!("U+{:04X} turns the direction of the text around it", u32::from(character));
        findings.push(
            Finding::warning(codes::BIDI, span, message).hint("what is shown is not what is run; remove it"),
        );
    }
    findings
}
