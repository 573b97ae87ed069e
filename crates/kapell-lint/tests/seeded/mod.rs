//! Faults put into real files that were clean: whether each is found at its place, and nothing else is.
//!
//! The faults are data, in the `.seeds` files beside this one. A seed starts with `=== RULE: TITLE`. Lines `? WHAT`
//! say which files it fits: `? on EVENT`, `? off EVENT`, `? has TEXT`, `? no TEXT`, `? path PART`, `? outside PART`. A line `+ RULE` names another rule
//! that is right to warn of it too. Each part starts with `@ WHERE`, and its lines follow:
//!
//! | where | what the lines become |
//! | --- | --- |
//! | `@ job` | another job of a workflow |
//! | `@ step`, `@ first` | the last or the first step of a job |
//! | `@ key` | keys of a job that has none of them |
//! | `@ top` | keys of the workflow, above `jobs` |
//! | `@ event` | events, below `on:` |
//! | `@ hook` | entries of the hooks of a JSON file |
//! | `@ text KIND` | the end of an `agent`, a `command` or a `skill` |
//! | `@ front KIND` | the first lines of its frontmatter |
//! | `@ drop KIND KEY` | nothing: the line of its frontmatter with this key goes away |
//! | `@ swap KIND` | `OLD ==> NEW` for one place that has the old text |
//! | `@ file PATH` | a file of its own, beside |
//!
//! The line that ends with `<<<` is where the fault has to be found. `{job}` is the job that a part went into,
//! `{name}` the name of the workflow, `{path}` that of the file, `{dir}` its folder, `{stem}` its name without its end.

mod host;

use std::{collections::BTreeMap, fs, path::Path};

use kapell_lint::{
    audit::audit,
    files::Files,
    repository::{Depth, Repository},
};
use kapell_view::audit::Finding;

use host::Host;

/// How many files the seeds of a rule are put into together, at least; and each of them.
const OF_A_RULE: usize = 6;
const OF_A_SEED: usize = 2;
/// How many lines a finding may stand from the fault.
const NEAR: u32 = 2;
const MARK: &str = " <<<";

const SEEDS: &[&str] = &[
    include_str!("flow.seeds"),
    include_str!("gates.seeds"),
    include_str!("waste.seeds"),
    include_str!("safety.seeds"),
    include_str!("agents.seeds"),
    include_str!("systems.seeds"),
    // Last, so that the places of the others stay.
    include_str!("late.seeds"),
    include_str!("code.seeds"),
];

/// A fault, as it is written down.
#[derive(Debug, Default)]
pub(super) struct Seed {
    /// The rule that has to find it.
    pub(super) rule: String,
    title: String,
    wants: Vec<(String, String)>,
    also: Vec<String>,
    parts: Vec<(String, String)>,
}

/// What came of a seed in a file.
#[derive(Debug)]
pub(super) struct Planted {
    /// The rule that has to find it.
    pub(super) rule: String,
    /// What it is, and where it was put.
    pub(super) what: String,
    /// Whether it was found at its place.
    pub(super) found: bool,
    /// What was warned of besides.
    pub(super) besides: Vec<String>,
}

/// A file with a fault in it: all files by path, and the path and line of the fault.
type Faulty = (BTreeMap<String, String>, String, u32);

/// Reads the seeds.
pub(super) fn seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    for line in SEEDS.iter().flat_map(|text| text.lines()) {
        if let Some(head) = line.strip_prefix("=== ") {
            let (rule, title) = head.split_once(": ").expect("=== RULE: TITLE");
            seeds.push(Seed { rule: rule.to_owned(), title: title.to_owned(), ..Seed::default() });
            continue;
        }
        let Some(seed) = seeds.last_mut() else { continue };
        if let Some(want) = line.strip_prefix("? ") {
            let (key, text) = want.split_once(' ').expect("? KEY TEXT");
            seed.wants.push((key.to_owned(), text.to_owned()));
        } else if let Some(rule) = line.strip_prefix("+ ").filter(|_| seed.parts.is_empty()) {
            seed.also.push(rule.to_owned());
        } else if let Some(place) = line.strip_prefix("@ ") {
            seed.parts.push((place.to_owned(), String::new()));
        } else if let Some((_, body)) = seed.parts.last_mut() {
            body.push_str(line);
            body.push('\n');
        }
    }
    seeds
}

/// A small generator of numbers; source: Marsaglia, "Xorshift RNGs", 2003.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Returns a number below a limit.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).expect("it is below a usize")
    }
}

/// Puts each seed into files of the corpus that are clean of its rule, and looks for it.
pub(super) fn plant(corpus: &Path) -> Vec<Planted> {
    let hosts = host::all(&texts(corpus));
    let mut judged: Vec<Option<Vec<Finding>>> = hosts.iter().map(|_| None).collect();
    let mut dice = Dice(0x5eed_5eed_5eed_5eed);
    let mut planted = Vec::new();
    let seeds = seeds();
    for seed in &seeds {
        let sisters = seeds.iter().filter(|other| other.rule == seed.rule).count();
        let mut order: Vec<usize> = (0..hosts.len()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, dice.below(at + 1));
        }
        let fits = order.into_iter().filter_map(|at| {
            let host = &hosts[at];
            let faulty = seed.put_into(host, &mut dice).filter(|_| host.suits(&seed.wants))?;
            let before = judged[at].get_or_insert_with(|| judge(&host.files));
            let clean =
                !before.iter().any(|finding| finding.rule == seed.rule && finding.place.path == host.path);
            clean.then(|| seed.outcome(host, before, &faulty))
        });
        planted.extend(fits.take(OF_A_RULE.div_ceil(sisters).max(OF_A_SEED)));
    }
    planted
}

fn judge(files: &BTreeMap<String, String>) -> Vec<Finding> {
    audit(&Repository::new(Files::new(files.clone()), Depth::Deep))
}

/// Reads the files of each repository of the corpus, by its name.
fn texts(corpus: &Path) -> BTreeMap<String, BTreeMap<String, String>> {
    let folders =
        fs::read_dir(corpus).expect("the corpus is here").map(|entry| entry.expect("an entry").path());
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    folders.filter(|path| path.is_dir()).filter_map(|path| Some((name(&path)?, below(&path)))).collect()
}

fn below(root: &Path) -> BTreeMap<String, String> {
    let (mut texts, mut open) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                open.push(entry);
            } else if let (Ok(path), Ok(text)) = (entry.strip_prefix(root), fs::read_to_string(&entry)) {
                texts.insert(path.to_string_lossy().into_owned(), text);
            }
        }
    }
    texts
}

impl Seed {
    /// Puts the parts into a file; nothing if one of them does not fit.
    fn put_into(&self, host: &Host, dice: &mut Dice) -> Option<Faulty> {
        let (mut files, mut job, mut at) = (host.files.clone(), None, None);
        for (place, body) in &self.parts {
            let text = files[&host.path].clone();
            let body = host.filled(body, job.as_deref());
            if let Some(path) = place.strip_prefix("file ") {
                if !host.is_beside(path) {
                    return None;
                }
                files.insert(host.filled(path, job.as_deref()), body);
            } else {
                let (text, into) = host.put(&text, place, &body, job.as_deref(), dice)?;
                job = into.or(job);
                files.insert(host.path.clone(), text);
            }
        }
        for (path, text) in &mut files {
            if let Some(mark) = text.find(&format!("{MARK}\n")) {
                at = Some((path.clone(), 1 + u32::try_from(text[..mark].matches('\n').count()).ok()?));
                text.replace_range(mark..mark + MARK.len(), "");
            }
        }
        // A job that was chosen after a part had named it.
        let whole = files.values().all(|text| !text.contains("{job}"));
        let (path, line) = at?;
        (whole && host.is_sound(&files)).then_some((files, path, line))
    }

    fn outcome(&self, host: &Host, before: &[Finding], (files, path, line): &Faulty) -> Planted {
        let mut known: Vec<(&str, &str)> = before.iter().map(key).collect();
        let after = judge(files);
        let new: Vec<&Finding> = after
            .iter()
            .filter(|finding| match known.iter().position(|known| *known == key(finding)) {
                Some(at) => {
                    known.swap_remove(at);
                    false
                }
                None => true,
            })
            .collect();
        let at_place = |finding: &Finding| {
            let related = finding.related.iter().map(|related| &related.place);
            std::iter::once(&finding.place)
                .chain(related)
                .any(|place| place.path == *path && place.line.abs_diff(*line) <= NEAR)
        };
        let besides = new.iter().filter(|finding| {
            finding.warns() && finding.rule != self.rule && !self.also.contains(&finding.rule)
        });
        Planted {
            rule: self.rule.clone(),
            what: format!("{}, in {}/{path}:{line}", self.title, host.repository),
            found: new.iter().any(|finding| finding.rule == self.rule && at_place(finding)),
            besides: besides
                .map(|finding| {
                    format!(
                        "{} {}:{} {}",
                        finding.rule, finding.place.path, finding.place.line, finding.message
                    )
                })
                .collect(),
        }
    }
}

fn key(finding: &Finding) -> (&str, &str) {
    (&finding.rule, &finding.place.path)
}
