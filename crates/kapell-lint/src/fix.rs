//! Fixes, tried one by one, and only those kept whose meaning is what was intended.
//!
//! A fix is applied to the texts, the texts are read and judged again, and it is dropped alone if any check fails:
//! its files must parse as well as before, keep their comments, change only beneath the keys that the edits touch,
//! lose the finding, and gain none that warns.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use kapell_spec::{
    finding::Source,
    yaml::{self, Kind, Node},
};
use kapell_view::audit::{Edit, Finding, FixClass};

use crate::{audit::audit, files::Files, repository::Repository};

/// A file before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its path from the top of the repository.
    pub path: String,
    /// Its text as it is.
    pub before: Arc<str>,
    /// Its text with the fixes.
    pub after: String,
}

/// Why a fix was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
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
#[derive(Debug, Default)]
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
    let mut state = State::new(repository);
    let mut patch = Patch::default();
    for (index, finding) in findings.iter().enumerate() {
        let Some(fix) = finding.fix.as_ref().filter(|fix| fix.class == FixClass::Safe) else { continue };
        if fix.edits.is_empty() || finding.explained.is_some() {
            continue;
        }
        match state.attempt(finding, &fix.edits) {
            Ok(()) => patch.mended.push(index),
            Err(why) => patch.dropped.push((index, why)),
        }
    }
    patch.changes = state.changes();
    patch
}

/// The texts with the fixes that were kept so far.
struct State<'a> {
    original: &'a Repository,
    /// The edits that were kept, by file; they do not overlap.
    kept: BTreeMap<String, Vec<Edit>>,
    /// The texts of the files that have any.
    texts: BTreeMap<String, String>,
    /// What warns now, and how often.
    warnings: BTreeMap<String, usize>,
}

/// Counts what warns by rule and text of the place, which a fix elsewhere does not change.
fn warnings(findings: &[Finding]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.warns()) {
        *counts.entry(finding.fingerprint.clone()).or_default() += 1;
    }
    counts
}

impl<'a> State<'a> {
    fn new(original: &'a Repository) -> Self {
        let warnings = warnings(&audit(original));
        Self { original, kept: BTreeMap::new(), texts: BTreeMap::new(), warnings }
    }

    fn attempt(&mut self, finding: &Finding, edits: &[Edit]) -> Result<(), Dropped> {
        let mut by_file: BTreeMap<String, Vec<Edit>> = BTreeMap::new();
        for edit in edits {
            by_file.entry(edit.place.path.clone()).or_default().push(edit.clone());
        }
        let mut texts = BTreeMap::new();
        for (path, edits) in &by_file {
            let id = self.original.files.find(path).ok_or(Dropped::Outside)?;
            let before = &self.original.files[id].text;
            let mut all = self.kept.get(path).cloned().unwrap_or_default();
            all.extend(edits.iter().cloned());
            let after = apply(before, &mut all)?;
            if is_yaml(path) {
                check_yaml(before, &after, &all)?;
            }
            texts.insert(path.clone(), after);
        }
        let warnings = self.judge(&texts);
        let count = |counts: &BTreeMap<String, usize>| counts.get(&finding.fingerprint).copied().unwrap_or(0);
        if finding.warns() && count(&warnings) >= count(&self.warnings) {
            return Err(Dropped::Stays);
        }
        if warnings.iter().any(|(key, &now)| now > self.warnings.get(key).copied().unwrap_or(0))
            && warnings.values().sum::<usize>() >= self.warnings.values().sum::<usize>()
        {
            return Err(Dropped::Brings);
        }
        for (path, edits) in by_file {
            self.kept.entry(path).or_default().extend(edits);
        }
        self.texts.extend(texts);
        self.warnings = warnings;
        Ok(())
    }

    /// Judges the repository with these texts in place.
    fn judge(&self, texts: &BTreeMap<String, String>) -> BTreeMap<String, usize> {
        let all = self.original.files.iter().map(|(_, file)| {
            let path = file.path.to_string();
            let text = texts.get(&path).or_else(|| self.texts.get(&path));
            (path, text.cloned().unwrap_or_else(|| file.text.to_string()))
        });
        let others = self.original.files.others().map(str::to_owned);
        warnings(&audit(&Repository::new(Files::new(all).beside(others), self.original.depth)))
    }

    fn changes(self) -> Vec<Change> {
        let before = |path: &str| self.original.files.find(path).map(|id| &self.original.files[id].text);
        self.texts
            .into_iter()
            .filter_map(|(path, after)| Some(Change { before: before(&path)?.clone(), path, after }))
            .collect()
    }
}

fn is_yaml(path: &str) -> bool {
    path.ends_with(".yml") || path.ends_with(".yaml")
}

/// Applies edits to a text.
fn apply(text: &str, edits: &mut [Edit]) -> Result<String, Dropped> {
    edits.sort_by_key(|edit| (edit.place.start, edit.place.end));
    let mut after = String::with_capacity(text.len() + 256);
    let mut at = 0;
    for edit in edits.iter() {
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
fn check_yaml(before: &str, after: &str, edits: &[Edit]) -> Result<(), Dropped> {
    let (old, old_findings) = yaml::read(&Source::new("before", before));
    let (new, new_findings) = yaml::read(&Source::new("after", after));
    let errors =
        |findings: &[kapell_spec::finding::Finding]| findings.iter().filter(|f| f.is_error()).count();
    let (Some(old), Some(new)) = (old, new) else { return Err(Dropped::Unreadable) };
    if !new.complete || errors(&new_findings) > errors(&old_findings) {
        return Err(Dropped::Unreadable);
    }
    let comments = |text: &str, spans: &[kapell_spec::finding::Span]| -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for span in spans {
            *counts.entry(text[span.range()].trim_end().to_owned()).or_default() += 1;
        }
        counts
    };
    let kept = comments(after, &new.comments);
    if comments(before, &old.comments).iter().any(|(text, &n)| kept.get(text).copied().unwrap_or(0) < n) {
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
    let mut left: Vec<Range<u32>> = edits.to_vec();
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
    for (key, start, end, child) in children {
        let (inside, rest): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|edit| start < edit.end.max(edit.start + 1) && start <= edit.start && edit.end <= end);
        left = rest;
        if !inside.is_empty() {
            path.push(key);
            touch(child, path, &inside, out);
            path.pop();
        }
    }
    if !left.is_empty() {
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

    const TEXT: &str = "on: push # when\njobs:\n  a:\n    steps: [x]\n  b:\n    needs: a\n    steps: [y]\n";

    fn edit(from: &str, to: &str) -> Edit {
        let start = TEXT.find(from).expect("it stands there") as u32;
        let end = start + from.len() as u32;
        let place =
            Place { path: "w.yml".to_owned(), line: 1, column: 1, end_line: 1, end_column: 1, start, end };
        Edit { place, text: to.to_owned() }
    }

    fn check(edits: &[Edit]) -> Result<(), Dropped> {
        let mut edits = edits.to_vec();
        let after = apply(TEXT, &mut edits)?;
        check_yaml(TEXT, &after, &edits)
    }

    #[test]
    fn an_edit_may_change_the_key_it_stands_in() {
        assert_eq!(check(&[edit("    needs: a\n", "")]), Ok(()));
        assert_eq!(check(&[edit("needs: a", "needs: []")]), Ok(()));
        assert_eq!(check(&[edit("  a:\n", "  a:\n    timeout-minutes: 5\n")]), Ok(()));
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
