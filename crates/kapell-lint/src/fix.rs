//! Fixes, and only those of them whose meaning is what was intended.
//!
//! Fixes are applied to the texts, the texts are read and judged again, and a fix is dropped alone if any check fails:
//! its files must parse as well as before, keep their comments, change only beneath the keys that the edits touch,
//! lose the finding, and gain none that warns. Most pass, so that all are tried at once; where a group fails, its
//! halves are tried, down to the one that is at fault.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use kapell_spec::yaml::{Kind, Node, Tree};
use kapell_view::audit::{Edit, Finding, FixClass};
use serde::{Deserialize, Serialize};

use crate::{
    audit::{audit, audit_with},
    files::{File, FileId},
    github::is_action,
    repository::{Models, Repository},
    rule::Rule,
    rules::{RULES, looks_at_called, looks_at_each_alone, looks_at_named, only_advises},
};

/// A file before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its path from the top of the repository.
    pub path: String,
    /// Its text as it is.
    pub before: Arc<str>,
    /// Its text with the fixes.
    pub after: String,
}

/// Why a fix was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Dropped {
    /// Another fix changes the same bytes.
    #[error("another fix changes the same place")]
    Overlap,
    /// The edits do not fit the file.
    #[error("its edits lie outside the file")]
    Outside,
    /// The text could not be read afterwards.
    #[error("the file could not be read afterwards")]
    Unreadable,
    /// A comment would be lost or changed.
    #[error("a comment would be lost")]
    Comment,
    /// Something would change that the edits do not touch.
    #[error("it would change more than it says")]
    Meaning,
    /// It would not help.
    #[error("the finding would stay")]
    Stays,
    /// It would bring another fault.
    #[error("it would bring another finding")]
    Brings,
}

/// What all safe fixes of an audit come to.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Patch {
    /// The changed files, by path.
    pub changes: Vec<Change>,
    /// Which findings are mended, by their index.
    pub mended: Vec<usize>,
    /// Which fixes were dropped, by the index of their finding, and why.
    pub dropped: Vec<(usize, Dropped)>,
}

/// Tries every safe fix, worst finding first, and keeps those that pass all checks.
#[must_use]
pub fn patch(repository: &Repository, findings: &[Finding]) -> Patch {
    patch_knowing(repository, findings, &audit(repository))
}

/// Does the same where it is known what all rules find.
#[must_use]
pub fn patch_knowing(repository: &Repository, findings: &[Finding], all: &[Finding]) -> Patch {
    let candidates: Vec<Candidate<'_>> = findings.iter().enumerate().filter_map(Candidate::of).collect();
    // What overlaps another has to wait until that one is decided.
    let mut taken: BTreeMap<&str, Vec<Range<u32>>> = BTreeMap::new();
    let (first, later): (Vec<_>, Vec<_>) = candidates
        .into_iter()
        .partition(|candidate| candidate.edits.iter().all(|edit| claim(&mut taken, edit)));
    let mut state = State::new(repository, all);
    for group in [first, later] {
        let group: Vec<Candidate<'_>> =
            group.into_iter().filter(|candidate| state.reads(candidate)).collect();
        state.attempt_all(&group);
    }
    let mut patch = state.patch;
    patch.mended.sort_unstable();
    patch.dropped.sort_unstable_by_key(|(index, _)| *index);
    patch
}

/// Takes the place of an edit, unless another one has it.
fn claim<'a>(taken: &mut BTreeMap<&'a str, Vec<Range<u32>>>, edit: &'a Edit) -> bool {
    let (start, end) = (edit.place.start, edit.place.end);
    let ranges = taken.entry(&edit.place.path).or_default();
    let free = ranges.iter().all(|other| end <= other.start || other.end <= start);
    ranges.push(start..end);
    free
}

/// A fix that may be applied.
#[derive(Debug, Clone, Copy)]
struct Candidate<'a> {
    index: usize,
    finding: &'a Finding,
    edits: &'a [Edit],
}

impl<'a> Candidate<'a> {
    fn of((index, finding): (usize, &'a Finding)) -> Option<Self> {
        let fix = finding.fix.as_ref().filter(|fix| fix.class == FixClass::Safe)?;
        let fits = !fix.edits.is_empty() && finding.explained.is_none();
        fits.then_some(Self { index, finding, edits: &fix.edits })
    }
}

/// What a warning is known by: its rule, its file, and what a fix elsewhere does not change.
type Key = (String, String, String);

/// What warns, and how often.
type Warnings = BTreeMap<Key, usize>;

fn key(finding: &Finding) -> Key {
    (finding.rule.clone(), finding.place.path.clone(), finding.fingerprint.clone())
}

fn warnings<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Warnings {
    let mut counts = Warnings::new();
    for finding in findings.into_iter().filter(|finding| finding.warns()) {
        *counts.entry(key(finding)).or_default() += 1;
    }
    counts
}

/// The texts with the fixes that were kept so far.
struct State<'a> {
    original: &'a Repository,
    /// The repository with the kept fixes, if there are any.
    current: Option<Repository>,
    /// The edits that were kept, by file; they do not overlap.
    kept: BTreeMap<String, Vec<Edit>>,
    /// What warns now.
    warnings: Warnings,
    /// The files that edits made and that passed the checks of YAML: most files have one fix, which makes alone what its
    /// group makes again.
    readable: RefCell<BTreeMap<Vec<Edit>, File>>,
    patch: Patch,
}

/// A group of fixes that passed all checks.
struct Passed {
    edits: BTreeMap<String, Vec<Edit>>,
    repository: Repository,
    warnings: Warnings,
}

/// Why a group did not pass.
struct Failed {
    why: Dropped,
    /// The fixes that are known not to help, by the index of their finding.
    stay: Vec<usize>,
}

impl From<Dropped> for Failed {
    fn from(why: Dropped) -> Self {
        Self { why, stay: Vec::new() }
    }
}

impl<'a> State<'a> {
    fn new(original: &'a Repository, all: &[Finding]) -> Self {
        let warnings = warnings(all);
        let (readable, patch) = (RefCell::default(), Patch::default());
        Self { original, current: None, kept: BTreeMap::new(), warnings, readable, patch }
    }

    /// Tells whether a fix on its own leaves texts that can be read; else it is dropped, and nothing has to be judged.
    fn reads(&mut self, candidate: &Candidate<'_>) -> bool {
        let files = self.files(&[*candidate], &mut BTreeMap::new());
        let Err(why) = files else { return true };
        self.patch.dropped.push((candidate.index, why));
        false
    }

    /// Keeps the group if it passes; else tries it without those that do not help, or its halves.
    fn attempt_all(&mut self, group: &[Candidate<'_>]) {
        if group.is_empty() {
            return;
        }
        let why = match self.attempt(group) {
            Ok(passed) => return self.keep(passed, group),
            Err(why) => why,
        };
        let (first, second) = match (&why, group) {
            (failed, [alone]) => return self.patch.dropped.push((alone.index, failed.why)),
            (Failed { stay, .. }, _) if (1..group.len()).contains(&stay.len()) => {
                group.iter().copied().partition(|candidate| !stay.contains(&candidate.index))
            }
            _ => {
                let (first, second) = group.split_at(group.len() / 2);
                (first.to_vec(), second.to_vec())
            }
        };
        self.attempt_all(&first);
        self.attempt_all(&second);
    }

    fn keep(&mut self, passed: Passed, group: &[Candidate<'_>]) {
        self.kept = passed.edits;
        self.warnings = passed.warnings;
        self.patch.mended.extend(group.iter().map(|candidate| candidate.index));
        let original = self.original;
        let changes = self.kept.keys().filter_map(|path| {
            let id = original.files.find(path)?;
            let (before, after) = (&original.files[id].text, &passed.repository.files[id].text);
            Some(Change { path: path.clone(), before: before.clone(), after: after.to_string() })
        });
        self.patch.changes = changes.collect();
        self.current = Some(passed.repository);
    }

    /// Applies the edits of a group on top of `edits`, and returns the files that it touches, as they are then.
    fn files(
        &self,
        group: &[Candidate<'_>],
        edits: &mut BTreeMap<String, Vec<Edit>>,
    ) -> Result<Vec<File>, Dropped> {
        let mut touched = BTreeSet::new();
        for edit in group.iter().flat_map(|candidate| candidate.edits) {
            edits.entry(edit.place.path.clone()).or_default().push(edit.clone());
            touched.insert(edit.place.path.clone());
        }
        let mut files = Vec::new();
        for path in touched {
            let id = self.original.files.find(&path).ok_or(Dropped::Outside)?;
            let before = &self.original.files[id];
            let edits = edits.entry(path.clone()).or_default();
            edits.sort_by_key(|edit| (edit.place.start, edit.place.end));
            let known = self.readable.borrow().get(edits).cloned();
            let after = match known {
                Some(after) => after,
                None => self.made(before, edits)?,
            };
            files.push(after);
        }
        Ok(files)
    }

    /// Applies edits to a file. What is YAML has to pass its checks.
    fn made(&self, before: &File, edits: &[Edit]) -> Result<File, Dropped> {
        let after = File::new(&before.path, &apply(&before.text, edits)?);
        if is_yaml(&before.path) {
            check_yaml(before, &after, edits)?;
            self.readable.borrow_mut().insert(edits.to_vec(), after.clone());
        }
        Ok(after)
    }

    fn attempt(&self, group: &[Candidate<'_>]) -> Result<Passed, Failed> {
        let mut edits = self.kept.clone();
        let files = self.files(group, &mut edits)?;
        let paths = files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
        let paths = paths.iter().map(|path| &**path).collect();
        let before = self.current.as_ref().unwrap_or(self.original);
        let repository = before.with_changed(before.files.with_files(files), &paths);
        let warnings = self.judge(&repository, &paths);
        self.compare(group, &warnings)?;
        Ok(Passed { edits, repository, warnings })
    }

    /// Judges the repository with other texts in these files. Rules that never warn are not asked. Those that ask nothing of these
    /// files find what they found before, and so do those that look at each file by itself in all files that are not joined with
    /// these by calls, and those that look at each with whom it names in all that name none of these.
    fn judge(&self, repository: &Repository, paths: &BTreeSet<&str>) -> Warnings {
        let changed = paths.iter().map(|path| Models::of(path)).fold(Models::default(), Models::or);
        // What a step does may stand in an action, and a recorded duration may be that of any workflow.
        let apart = !paths.iter().any(|path| is_action(path)) && repository.timings.is_none();
        let alone = |rule: &Rule| apart && looks_at_each_alone(rule);
        let asked = |rule: &Rule| rule.group.asks().meets(changed) && !only_advises(rule);
        let files = paths.iter().filter_map(|path| repository.files.find(path)).collect();
        // Who called a workflow before may call it no more.
        let before = self.current.as_ref().unwrap_or(self.original);
        let files = repository.github.joined(before.github.joined(files));
        let naming = before.agents.naming(&repository.agents, &files);
        let named = |rule: &Rule| naming.is_some() && looks_at_named(rule);
        // What a script does is told of at the workflows that run it.
        let flows = files.iter().all(|file| repository.github.flows.iter().any(|flow| flow.file == *file));
        let called = |rule: &Rule| apart && flows && looks_at_called(rule);
        let of_all =
            audit_with(repository, &|rule| asked(rule) && !alone(rule) && !named(rule) && !called(rule));
        let of_these = audit_with(&repository.only(&files), &|rule| asked(rule) && alone(rule));
        let mut of_called =
            audit_with(&repository.asking(files.clone()), &|rule| asked(rule) && called(rule));
        let mut of_naming = naming.as_ref().map_or_else(Vec::new, |files| {
            audit_with(&repository.asking(files.clone()), &|rule| asked(rule) && looks_at_named(rule))
        });
        let names = |chosen: &dyn Fn(&Rule) -> bool| -> BTreeSet<&str> {
            RULES.iter().filter(|rule| chosen(rule)).map(|rule| rule.name).collect()
        };
        let (asked, alone, named, called) = (names(&asked), names(&alone), names(&named), names(&called));
        let paths = |files: &BTreeSet<FileId>| -> BTreeSet<&str> {
            files.iter().map(|&id| &*repository.files[id].path).collect()
        };
        let (looked, naming) = (paths(&files), paths(&naming.unwrap_or_default()));
        // What such a rule says of others is what it said before.
        of_called.retain(|finding| looked.contains(&*finding.place.path));
        of_naming.retain(|finding| naming.contains(&*finding.place.path));
        let found = of_all.iter().chain(&of_these).chain(&of_called).chain(&of_naming);
        let mut counts = warnings(found);
        let stays = |(rule, path, _): &Key| {
            let (rule, path) = (&**rule, &**path);
            !asked.contains(rule)
                || (alone.contains(rule) || called.contains(rule)) && !looked.contains(path)
                || named.contains(rule) && !naming.contains(path)
        };
        let others = self.warnings.iter().filter(|(key, _)| stays(key));
        counts.extend(others.map(|(key, count)| (key.clone(), *count)));
        counts
    }

    /// Checks that the findings of the group are gone, and that none came instead.
    fn compare(&self, group: &[Candidate<'_>], now: &Warnings) -> Result<(), Failed> {
        let count = |counts: &Warnings, key: &Key| counts.get(key).copied().unwrap_or(0);
        let mended = warnings(group.iter().map(|candidate| candidate.finding));
        let stays = |finding: &Finding| {
            let key = key(finding);
            mended.get(&key).is_some_and(|gone| count(now, &key) + gone > count(&self.warnings, &key))
        };
        let stay: Vec<usize> = group
            .iter()
            .filter(|candidate| stays(candidate.finding))
            .map(|candidate| candidate.index)
            .collect();
        if !stay.is_empty() {
            return Err(Failed { why: Dropped::Stays, stay });
        }
        let more = now.iter().any(|(key, &now)| now > count(&self.warnings, key));
        // A fix may change the text that another finding is named by; only alone can that be told from a new one.
        let fewer = now.values().sum::<usize>() < self.warnings.values().sum::<usize>();
        if more && !(fewer && group.len() == 1) { Err(Dropped::Brings.into()) } else { Ok(()) }
    }
}

fn is_yaml(path: &str) -> bool {
    path.ends_with(".yml") || path.ends_with(".yaml")
}

/// Applies edits to a text, in the order of their places.
fn apply(text: &str, edits: &[Edit]) -> Result<String, Dropped> {
    let mut after = String::with_capacity(text.len() + 256);
    let mut at = 0;
    for edit in edits {
        let range = edit.place.start as usize..edit.place.end as usize;
        if range.start < at {
            return Err(Dropped::Overlap);
        }
        after.push_str(text.get(at..range.start).ok_or(Dropped::Outside)?);
        text.get(range.clone()).ok_or(Dropped::Outside)?;
        after.push_str(&edit.text);
        at = range.end;
    }
    after.push_str(text.get(at..).ok_or(Dropped::Outside)?);
    Ok(after)
}

/// Checks that a YAML file still reads, keeps its comments, and changes only where the edits are.
fn check_yaml(before: &File, after: &File, edits: &[Edit]) -> Result<(), Dropped> {
    let errors = |file: &File| file.yaml().1.iter().filter(|finding| finding.is_error()).count();
    let (Some(old), Some(new)) = (&before.yaml().0, &after.yaml().0) else {
        return Err(Dropped::Unreadable);
    };
    if !new.complete || errors(after) > errors(before) {
        return Err(Dropped::Unreadable);
    }
    let comments = |file: &File, tree: &Tree| -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for span in &tree.comments {
            *counts.entry(file.text[span.range()].trim_end().to_owned()).or_default() += 1;
        }
        counts
    };
    let kept = comments(after, new);
    if comments(before, old).iter().any(|(text, &n)| kept.get(text).copied().unwrap_or(0) < n) {
        return Err(Dropped::Comment);
    }
    let ranges: Vec<Range<u32>> = edits.iter().map(|edit| edit.place.start..edit.place.end).collect();
    let mut touched = BTreeSet::new();
    touch(&old.root, &mut Vec::new(), &ranges, &mut touched);
    let mut changed = BTreeSet::new();
    compare(&old.root, &new.root, &mut Vec::new(), &mut changed);
    // A change is meant if an edit stands at it or around it. What an edit in a list moves, is within that list.
    let meant = |path: &Vec<String>| (0..=path.len()).any(|len| touched.contains(&path[..len]));
    if changed.iter().all(meant) { Ok(()) } else { Err(Dropped::Meaning) }
}

/// Collects the paths of the smallest nodes that enclose each edit.
fn touch(node: &Node, path: &mut Vec<String>, edits: &[Range<u32>], out: &mut BTreeSet<Vec<String>>) {
    // What is put behind an item of a list is another item, and changes the list.
    let behind = |edit: &Range<u32>, end: u32| {
        matches!(node.kind, Kind::Sequence(_)) && edit.is_empty() && edit.start == end
    };
    let children: Vec<(String, u32, u32, &Node)> = match &node.kind {
        Kind::Scalar(_) => Vec::new(),
        Kind::Sequence(items) => items
            .iter()
            .enumerate()
            .map(|(at, item)| (at.to_string(), item.place().start, item.place().end, item))
            .collect(),
        Kind::Mapping(entries) => entries
            .iter()
            .map(|entry| {
                let key = entry.key.text().unwrap_or_default().to_owned();
                (
                    key,
                    entry.key.place().start,
                    entry.value.place().end.max(entry.key.place().end),
                    &entry.value,
                )
            })
            .collect(),
    };
    // What is put in front of a key is another key, and changes the mapping.
    let before = |edit: &Range<u32>| {
        matches!(node.kind, Kind::Mapping(_))
            && edit.is_empty()
            && children.iter().any(|&(_, start, ..)| start == edit.start)
    };
    let (own, mut left): (Vec<_>, Vec<_>) = edits.iter().cloned().partition(before);
    for (key, start, end, child) in children {
        let (inside, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|edit| {
            start < edit.end.max(edit.start + 1)
                && start <= edit.start
                && edit.end <= end
                && !behind(edit, end)
        });
        left = rest;
        if !inside.is_empty() {
            path.push(key);
            touch(child, path, &inside, out);
            path.pop();
        }
    }
    if !left.is_empty() || !own.is_empty() {
        out.insert(path.clone());
    }
}

/// Collects the paths at which two trees differ.
fn compare(old: &Node, new: &Node, path: &mut Vec<String>, out: &mut BTreeSet<Vec<String>>) {
    match (&old.kind, &new.kind) {
        (Kind::Mapping(a), Kind::Mapping(b)) => {
            let keys: BTreeSet<&str> = a.iter().chain(b).filter_map(|entry| entry.key.text()).collect();
            for key in keys {
                path.push(key.to_owned());
                match (old.get(key), new.get(key)) {
                    (Some(x), Some(y)) => compare(x, y, path, out),
                    // A new key changes the mapping that it is put into.
                    _ => {
                        out.insert(path[..path.len() - 1].to_vec());
                    }
                }
                path.pop();
            }
        }
        (Kind::Sequence(a), Kind::Sequence(b)) if a.len() == b.len() => {
            for (at, (x, y)) in a.iter().zip(b).enumerate() {
                path.push(at.to_string());
                compare(x, y, path, out);
                path.pop();
            }
        }
        (Kind::Scalar(a), Kind::Scalar(b)) if a.text == b.text => {}
        _ => {
            out.insert(path.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use kapell_view::audit::Place;

    use super::*;

    const TEXT: &str = "on: push # when\njobs:\n  a:\n    steps: [x]\n  b:\n    needs: a\n    steps: [y]\n  f:\n    needs: [a, b]\n    \
                        steps:\n      - z\n";

    /// Puts a text behind another one.
    fn behind(before: &str, text: &str) -> Edit {
        let mut edit = edit(before, text);
        edit.place.start = edit.place.end;
        edit
    }

    fn edit(from: &str, to: &str) -> Edit {
        let start = TEXT.find(from).expect("it stands there") as u32;
        let end = start + from.len() as u32;
        let place =
            Place { path: "w.yml".to_owned(), line: 1, column: 1, end_line: 1, end_column: 1, start, end };
        Edit { place, text: to.to_owned() }
    }

    fn check(edits: &[Edit]) -> Result<(), Dropped> {
        let mut edits = edits.to_vec();
        edits.sort_by_key(|edit| edit.place.start);
        let after = apply(TEXT, &edits)?;
        check_yaml(&File::new("w.yml", TEXT), &File::new("w.yml", &after), &edits)
    }

    #[test]
    fn an_edit_may_change_the_key_it_stands_in() {
        assert_eq!(check(&[edit("    needs: a\n", "")]), Ok(()));
        assert_eq!(check(&[edit("needs: a", "needs: []")]), Ok(()));
        assert_eq!(check(&[edit("  a:\n", "  a:\n    timeout-minutes: 5\n")]), Ok(()));
    }

    #[test]
    fn an_item_may_be_put_behind_the_last_one_of_a_list() {
        assert_eq!(check(&[behind("needs: [a, b", ", d")]), Ok(()));
        assert_eq!(check(&[behind("      - z", "\n      - w")]), Ok(()));
        assert_eq!(check(&[behind("      - z", "\n      - w\n  e: {}")]), Err(Dropped::Meaning));
        assert_eq!(check(&[behind("needs: a", "\n    if: x\n  e:")]), Err(Dropped::Meaning));
    }

    #[test]
    fn a_key_may_be_put_in_front_of_another_one() {
        let front = |of: &str, text: &str| {
            let mut edit = edit(of, text);
            edit.place.end = edit.place.start;
            edit
        };
        assert_eq!(check(&[front("jobs:", "concurrency: x\n")]), Ok(()));
        assert_eq!(check(&[front("needs: a", "if: x\n    ")]), Ok(()));
        assert_eq!(check(&[front("needs: a", "if: x\n  e:\n    ")]), Err(Dropped::Meaning));
    }

    #[test]
    fn what_breaks_the_text_is_dropped() {
        assert_eq!(check(&[edit("needs: a", "needs: [a")]), Err(Dropped::Unreadable));
        assert_eq!(check(&[edit(" # when", "")]), Err(Dropped::Comment));
        assert_eq!(check(&[edit("needs: a", "needs: b"), edit("eeds", "x")]), Err(Dropped::Overlap));
        // The edit stands in `needs`, and brings a job.
        assert_eq!(check(&[edit("needs: a", "needs: a\n  c: {}\n  d:")]), Err(Dropped::Meaning));
    }
}
