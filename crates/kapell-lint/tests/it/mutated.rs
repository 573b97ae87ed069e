//! Thousands of broken workflows: no panic, and what is mended reads as well as before and stays mended.
//!
//! `KAPELL_ROUNDS=10000` judges as many.

use std::{collections::BTreeMap, fs, path::Path};

use kapell_lint::{
    audit::audit,
    files::Files,
    fix,
    repository::{Depth, Repository},
};
use kapell_spec::{finding::Source, github};

use crate::seeded::seeds::Dice;

/// The workflows of all cases.
fn seeds() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut seeds = Vec::new();
    for path in paths {
        let text = fs::read_to_string(path).unwrap();
        for part in text.split("--- .github/workflows/").skip(1) {
            let body = part.split_once('\n').map_or("", |(_, body)| body);
            let lines = body
                .lines()
                .take_while(|line| !["===", ">>>", "+++", "---"].iter().any(|mark| line.starts_with(mark)));
            seeds.push(lines.flat_map(|line| [line, "\n"]).collect());
        }
    }
    seeds
}

const WORDS: &[&str] = &[
    "if: always()",
    "needs: [a, b]",
    "needs: a",
    "${{",
    "}}",
    "&x",
    "*x",
    "<<: *x",
    "- ",
    "  ",
    "|",
    ">",
    "'",
    "\"",
    "{",
    "}",
    "[",
    "]",
    "é",
    "\t",
    "#",
    "matrix:",
    "strategy:",
    "cancel-in-progress: true",
    "run: npm test || true",
    "on: [push, pull_request]",
    "uses: ./x",
    "\u{0}",
    ": ",
    "~",
];

fn mutate(text: &str, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=dice.below(3) {
        if lines.is_empty() {
            break;
        }
        let at = dice.below(lines.len());
        match dice.below(7) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => {
                let other = dice.below(lines.len());
                lines.swap(at, other);
            }
            3 => lines[at].insert_str(0, "  "),
            4 => lines[at] = lines[at].trim_start().to_owned(),
            5 => {
                let place = dice.below(lines[at].len() + 1);
                if lines[at].is_char_boundary(place) {
                    lines[at].insert_str(place, WORDS[dice.below(WORDS.len())]);
                }
            }
            _ => {
                let indent = lines[at].len() - lines[at].trim_start().len();
                let word = WORDS[dice.below(WORDS.len())];
                lines.insert(at, format!("{}{word}", " ".repeat(indent)));
            }
        }
    }
    lines.join("\n") + "\n"
}

fn errors(text: &str) -> usize {
    let (_, findings) = github::workflow(&Source::new("w.yml", text));
    findings.iter().filter(|finding| finding.is_error()).count()
}

fn repository(text: &str) -> Repository {
    let files = BTreeMap::from([(".github/workflows/w.yml".to_owned(), text.to_owned())]);
    Repository::new(Files::new(files), Depth::Deep)
}

#[test]
fn mutated_workflows_are_judged_and_mended() {
    let rounds: u32 = std::env::var("KAPELL_ROUNDS").map_or(2_000, |rounds| rounds.parse().unwrap());
    let seeds = seeds();
    assert!(seeds.len() > 100);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    // Half of them start from a text that has a safe fix, for few have one.
    let mends = |seed: &&String| {
        let repository = repository(seed);
        !fix::patch(&repository, &audit(&repository)).changes.is_empty()
    };
    let mending: Vec<&String> = seeds.iter().filter(mends).collect();
    let mut mended = 0;
    for round in 0..rounds {
        let seed =
            if round % 2 == 0 { &seeds[dice.below(seeds.len())] } else { mending[dice.below(mending.len())] };
        let text = mutate(seed, &mut dice);
        let before = repository(&text);
        let findings = audit(&before);
        for edit in findings.iter().filter_map(|finding| finding.fix.as_ref()).flat_map(|fix| &fix.edits) {
            assert!(
                text.get(edit.place.start as usize..edit.place.end as usize).is_some(),
                "round {round}: {text}"
            );
        }
        let patch = fix::patch(&before, &findings);
        let Some(change) = patch.changes.first() else { continue };
        mended += 1;
        assert!(errors(&change.after) <= errors(&text), "round {round}:\n{text}\nbecame\n{}", change.after);
        let after = repository(&change.after);
        let again = fix::patch(&after, &audit(&after));
        assert!(
            again.changes.is_empty(),
            "round {round}: mended twice\n{text}\nbecame\n{}\nand\n{}",
            change.after,
            again.changes[0].after
        );
    }
    assert!(mended > rounds / 16, "only {mended} were mended");
}
