//! Precision and recall of the rules on labelled files of real repositories.
//!
//! `cargo run -p kapell-lint --example score [--corpus DIR] [--list]`: a table per rule and split, and with `--list`
//! every miss, false alarm and finding that nobody labelled. Fails where a floor is not held.

#![allow(clippy::print_stdout)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use kapell_lint::{
    audit::audit,
    discover::discover,
    repository::{Depth, Repository},
    suppress,
    wanted::{Scope, is_wanted},
};
use kapell_view::audit::{Confidence, Finding, Severity};
use serde::Deserialize;

/// The least precision among findings that were labelled, over both splits. The aim is 0.98 on files nobody has seen.
const PRECISION: f64 = 0.92;
/// The least recall of the faults that both readers saw, over both splits. The aim is 0.92.
const RECALL: f64 = 0.50;
/// How many lines a finding may stand from its label.
const NEAR: u32 = 3;

#[derive(Debug, Deserialize)]
struct Label {
    repo: String,
    path: String,
    line: u32,
    rule: String,
    severity: String,
    readers: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Both readers, or the one who looked, call it a fault.
    Fault {
        agreed: bool,
    },
    Fine,
    Disputed,
}

impl Label {
    fn verdict(&self) -> Verdict {
        let faults = self.readers.values().filter(|said| *said == "fault").count();
        match (faults, self.readers.len()) {
            (0, _) => Verdict::Fine,
            (faults, all) if faults == all => Verdict::Fault { agreed: all > 1 },
            _ => Verdict::Disputed,
        }
    }

    fn fits(&self, finding: &Finding) -> bool {
        let places =
            std::iter::once(&finding.place).chain(finding.related.iter().map(|related| &related.place));
        self.rule == finding.rule
            && places
                .into_iter()
                .any(|place| place.path == self.path && place.line.abs_diff(self.line) <= NEAR)
    }
}

/// How one rule, or all of them, did.
#[derive(Debug, Default, Clone, Copy)]
struct Score {
    right: u32,
    wrong: u32,
    unlabelled: u32,
    agreed: u32,
    agreed_found: u32,
    grave: u32,
    grave_found: u32,
    any: u32,
    any_found: u32,
}

impl Score {
    fn add(&mut self, other: &Self) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.unlabelled += other.unlabelled;
        self.agreed += other.agreed;
        self.agreed_found += other.agreed_found;
        self.grave += other.grave;
        self.grave_found += other.grave_found;
        self.any += other.any;
        self.any_found += other.any_found;
    }

    fn precision(&self) -> f64 {
        ratio(self.right, self.right + self.wrong)
    }

    fn recall(&self) -> f64 {
        ratio(self.agreed_found, self.agreed)
    }

    fn line(&self, name: &str) -> String {
        format!(
            "{name:28} {:>5} {:>5} {:>9.2} {:>5}/{:<5} {:>3}/{:<3} {:>5}/{:<5} {:>10}",
            self.right,
            self.wrong,
            self.precision(),
            self.agreed_found,
            self.agreed,
            self.grave_found,
            self.grave,
            self.any_found,
            self.any,
            self.unlabelled
        )
    }
}

/// Nothing said is nothing wrong.
fn ratio(part: u32, of: u32) -> f64 {
    if of == 0 { 1.0 } else { f64::from(part) / f64::from(of) }
}

fn findings(root: &Path) -> Vec<Finding> {
    let wanted = |path: &str| is_wanted(path, Scope::All, Depth::Standard);
    let found = discover(root, &wanted).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let repository = Repository::new(found.files, Depth::Standard);
    let mut findings = audit(&repository);
    suppress::by_comments(&repository.files, &mut findings);
    findings.retain(|finding| finding.severity >= Severity::Low && finding.confidence >= Confidence::Medium);
    findings
}

/// Scores one split; prints what went wrong if asked to.
fn score(labels: &[Label], corpus: &Path, list: bool) -> BTreeMap<String, Score> {
    let mut scores = BTreeMap::<String, Score>::new();
    let repos: BTreeSet<&str> = labels.iter().map(|label| label.repo.as_str()).collect();
    for repo in repos {
        let root = corpus.join(repo);
        if !root.is_dir() {
            println!("  {repo} is not in {}: left out", corpus.display());
            continue;
        }
        let labels: Vec<&Label> = labels.iter().filter(|label| label.repo == repo).collect();
        let findings = findings(&root);
        let warnings = findings.iter().filter(|finding| finding.warns()).count();
        println!("  {repo}: {} findings, {warnings} of them warnings", findings.len());
        for finding in &findings {
            let score = scores.entry(finding.rule.clone()).or_default();
            let said: Vec<Verdict> =
                labels.iter().filter(|label| label.fits(finding)).map(|label| label.verdict()).collect();
            let fault = said.iter().any(|verdict| matches!(verdict, Verdict::Fault { .. }));
            let kind = match said.as_slice() {
                _ if fault => {
                    score.right += 1;
                    continue;
                }
                [] => {
                    score.unlabelled += 1;
                    "unlabelled"
                }
                said if said.contains(&Verdict::Disputed) => "disputed",
                _ => {
                    score.wrong += 1;
                    "wrong"
                }
            };
            if list {
                let Finding { rule, place, message, .. } = finding;
                println!("    {kind}: {rule} {}:{} {message}", place.path, place.line);
            }
        }
        for label in labels {
            let Verdict::Fault { agreed } = label.verdict() else { continue };
            let found = findings.iter().any(|finding| label.fits(finding));
            let grave = agreed && matches!(&*label.severity, "high" | "critical");
            let score = scores.entry(label.rule.clone()).or_default();
            score.any += 1;
            score.any_found += u32::from(found);
            score.agreed += u32::from(agreed);
            score.agreed_found += u32::from(agreed && found);
            score.grave += u32::from(grave);
            score.grave_found += u32::from(grave && found);
            if list && agreed && !found {
                println!("    missed: {} {}:{} ({})", label.rule, label.path, label.line, label.severity);
            }
        }
    }
    scores
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let list = args.iter().any(|arg| arg == "--list");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = args
        .iter()
        .position(|arg| arg == "--corpus")
        .and_then(|at| args.get(at + 1))
        .map_or_else(|| here.join("tests/corpus"), PathBuf::from);
    let mut both = Score::default();
    for split in ["develop", "scored"] {
        println!("{split}");
        let text =
            fs::read_to_string(here.join(format!("truth/{split}.jsonl"))).expect("the labels are kept here");
        let labels: Vec<Label> =
            text.lines().map(|line| serde_json::from_str(line).expect("a label a line")).collect();
        let scores = score(&labels, &corpus, list && split == "develop");
        println!(
            "{:28} {:>5} {:>5} {:>9} {:>11} {:>7} {:>11} {:>10}",
            "rule", "right", "wrong", "precision", "agreed", "grave", "any", "unlabelled"
        );
        let mut total = Score::default();
        for (rule, score) in &scores {
            println!("{}", score.line(rule));
            total.add(score);
        }
        println!("{}\n", total.line("all"));
        both.add(&total);
    }
    let (precision, recall) = (both.precision(), both.recall());
    println!("both: precision {precision:.2} (floor {PRECISION}), recall {recall:.2} (floor {RECALL})");
    let held = precision >= PRECISION && recall >= RECALL;
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
