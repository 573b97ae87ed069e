//! Valid files, damaged at random: never a panic, and always findings that can be shown.

use proptest::prelude::*;

use crate::{compile, fixtures, rendered};

/// Texts that are put into files.
const PIECES: &[&str] = &[
    "\n",
    " ",
    "  ",
    "\t",
    ":",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "#",
    "&a ",
    "*a",
    "!x ",
    "|\n",
    "> ",
    "~",
    "? ",
    "<<: ",
    "---\n",
    "${{ ",
    " }}",
    "${{ matrix.os }}",
    "tasks",
    "needs",
    "run: x",
    "0",
    "-1",
    "1e999",
    "..",
    "é",
    "\u{202e}",
    "\0",
    "\r",
    "\\",
    "$(",
    "`",
    "<<EOF",
    "sh -c ",
    "matrix:",
    "include:",
    "null",
    "true",
];

fn files() -> Vec<Vec<u8>> {
    fixtures("valid").iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn look(bytes: &[u8]) {
    let (source, _, compiled, findings) = compile("x.yaml", bytes);
    let text = rendered(&findings, &source);
    assert!(compiled.is_some() || !text.is_empty());
    // Nothing that could steer a terminal.
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_are_explained(
        file in any::<prop::sample::Index>(),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_usize..3, 0_usize..30),
            1..6,
        ),
    ) {
        let files = files();
        let mut bytes = file.get(&files).clone();
        for (place, piece, kind, len) in changes {
            let at = place.index(bytes.len() + 1);
            let piece = piece.get(PIECES).as_bytes();
            match kind {
                0 => { bytes.splice(at..at, piece.iter().copied()); }
                1 => { bytes.drain(at..(at + len).min(bytes.len())); }
                _ => {
                    let copy = bytes[at..(at + len * 4).min(bytes.len())].to_vec();
                    let to = (at + len * 7) % (bytes.len() + 1);
                    bytes.splice(to..to, copy);
                }
            }
        }
        look(&bytes);
    }

    #[test]
    fn flipped_bytes_are_explained(
        file in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let files = files();
        let mut bytes = file.get(&files).clone();
        for (place, byte) in flips {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        look(&bytes);
    }
}

#[test]
fn no_control_character_gets_to_a_terminal() {
    let controls = (0..=0x9f_u32).filter_map(char::from_u32).filter(|c| c.is_control());
    for control in controls {
        look(format!("mission: {control}31mred\ntasks:\n  a:\n    run: x\n    if: {control}\n").as_bytes());
    }
}

#[test]
fn every_prefix_is_explained() {
    for bytes in files() {
        let step = (bytes.len() / 150).max(1);
        for end in (0..bytes.len()).step_by(step) {
            look(&bytes[..end]);
        }
    }
}
