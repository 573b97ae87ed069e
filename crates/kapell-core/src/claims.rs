//! Claims: locks on paths or names, granted all or none in the order of first request.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::id::TaskId;

/// A set of path patterns or names that one task claims.
///
/// Patterns are split at `/`. `*` stands for any characters within a part, `?` for one, `**` for any number of
/// parts. A pattern claims what it matches and everything below that. Character classes and braces are not
/// understood, and what is not understood counts as overlap.
pub type ClaimSet = Arc<[String]>;

/// Tells whether some path could be claimed by both patterns.
///
/// It errs towards `true`: work that is wrongly held apart is only slower.
#[must_use]
pub fn overlap(a: &str, b: &str) -> bool {
    if is_unknown(a) || is_unknown(b) {
        return true;
    }
    // Most pairs part at a plain name before any wildcard: those are told apart without a table.
    let (mut rest_a, mut rest_b) = (parts(a), parts(b));
    loop {
        let (before_a, before_b) = (rest_a.clone(), rest_b.clone());
        match (rest_a.next(), rest_b.next()) {
            // A pattern claims everything below what it matches, so once one of them is used up they meet.
            (None, _) | (_, None) => return true,
            (Some(x), Some(y)) if is_plain(x) && is_plain(y) => {
                if x != y {
                    return false;
                }
            }
            _ => return meet(&before_a.collect::<Vec<_>>(), &before_b.collect::<Vec<_>>()),
        }
    }
}

fn parts(pattern: &str) -> impl Iterator<Item = &str> + Clone {
    pattern.split('/').filter(|part| !part.is_empty() && *part != ".")
}

fn is_plain(part: &str) -> bool {
    !part.contains(['*', '?'])
}

fn is_unknown(pattern: &str) -> bool {
    pattern.contains(['[', ']', '{', '}', '!', '\\']) || parts(pattern).any(|part| part == "..")
}

/// Tells whether some path is matched by both lists of parts, or lies below what they match.
fn meet(a: &[&str], b: &[&str]) -> bool {
    let mut reach = vec![vec![false; b.len() + 1]; a.len() + 1];
    for i in (0..=a.len()).rev() {
        for j in (0..=b.len()).rev() {
            reach[i][j] = match (a.get(i), b.get(j)) {
                (None, _) | (_, None) => true,
                (Some(&"**"), _) => reach[i + 1][j] || reach[i][j + 1],
                (_, Some(&"**")) => reach[i][j + 1] || reach[i + 1][j],
                (Some(x), Some(y)) => reach[i + 1][j + 1] && parts_meet(x.as_bytes(), y.as_bytes()),
            };
        }
    }
    reach[0][0]
}

/// Tells whether some text matches both parts, each with `*` and `?`.
fn parts_meet(a: &[u8], b: &[u8]) -> bool {
    let mut reach = vec![vec![false; b.len() + 1]; a.len() + 1];
    for i in (0..=a.len()).rev() {
        for j in (0..=b.len()).rev() {
            reach[i][j] = match (a.get(i), b.get(j)) {
                (None, None) => true,
                (Some(b'*'), next) => reach[i + 1][j] || (next.is_some() && reach[i][j + 1]),
                (next, Some(b'*')) => reach[i][j + 1] || (next.is_some() && reach[i + 1][j]),
                (Some(x), Some(y)) => (x == y || *x == b'?' || *y == b'?') && reach[i + 1][j + 1],
                _ => false,
            };
        }
    }
    reach[0][0]
}

fn sets_overlap(a: &[String], b: &[String]) -> bool {
    a.iter().any(|x| b.iter().any(|y| overlap(x, y)))
}

/// Who holds what, and who waits for what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimTable {
    held: BTreeMap<TaskId, ClaimSet>,
    /// In the order of first request.
    waiting: BTreeMap<u64, (TaskId, ClaimSet)>,
    requests: u64,
}

impl ClaimTable {
    /// Returns what is held, by task.
    pub fn held(&self) -> impl Iterator<Item = (TaskId, &ClaimSet)> {
        self.held.iter().map(|(task, set)| (*task, set))
    }

    /// Returns who waits, in the order of first request.
    pub fn waiting(&self) -> impl Iterator<Item = (TaskId, &ClaimSet)> {
        self.waiting.values().map(|(task, set)| (*task, set))
    }

    /// Returns how many tasks wait.
    #[must_use]
    pub fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    /// Tells whether `task` may have `set` now: nobody holds any of it, and nobody who asked earlier waits for
    /// any of it.
    #[must_use]
    pub fn is_free(&self, task: TaskId, set: &[String]) -> bool {
        #[cfg(kapell_planted)]
        if crate::planted::is("claims_not_exclusive") {
            return true;
        }
        #[cfg(kapell_planted)]
        if crate::planted::is("wait_cycle") {
            // Everybody waits for everybody, not only for who asked earlier.
            return self.held.iter().all(|(holder, held)| *holder == task || !sets_overlap(held, set))
                && self.waiting.values().all(|(waiter, asked)| *waiter == task || !sets_overlap(asked, set));
        }
        self.held.iter().all(|(holder, held)| *holder == task || !sets_overlap(held, set))
            && self
                .waiting
                .values()
                .take_while(|(waiter, _)| *waiter != task)
                .all(|(_, asked)| !sets_overlap(asked, set))
    }

    pub(crate) fn wait(&mut self, task: TaskId, set: ClaimSet) {
        self.waiting.insert(self.requests, (task, set));
        self.requests += 1;
    }

    pub(crate) fn grant(&mut self, task: TaskId, set: ClaimSet) {
        self.forget_request(task);
        if !set.is_empty() {
            self.held.insert(task, set);
        }
    }

    pub(crate) fn release(&mut self, task: TaskId) {
        self.held.remove(&task);
    }

    pub(crate) fn forget_request(&mut self, task: TaskId) {
        self.waiting.retain(|_, (waiter, _)| *waiter != task);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tells whether `pattern` claims `path`, the slow way: it matches the path or something above it.
    fn claims(pattern: &[&str], path: &[&str]) -> bool {
        fn part(pattern: &[u8], text: &[u8]) -> bool {
            match (pattern.first(), text.first()) {
                (None, None) => true,
                (Some(b'*'), _) => {
                    part(&pattern[1..], text) || (!text.is_empty() && part(pattern, &text[1..]))
                }
                (Some(b'?'), Some(_)) => part(&pattern[1..], &text[1..]),
                (Some(x), Some(y)) => x == y && part(&pattern[1..], &text[1..]),
                _ => false,
            }
        }
        match (pattern.first(), path.first()) {
            (None, _) => true,
            (Some(&"**"), _) => {
                claims(&pattern[1..], path) || (!path.is_empty() && claims(pattern, &path[1..]))
            }
            (Some(x), Some(y)) => part(x.as_bytes(), y.as_bytes()) && claims(&pattern[1..], &path[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn two_patterns_that_claim_one_path_overlap(
            a in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "*", "?", "a*", "*b", "?b", "**"]), 1..4),
            b in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "*", "?", "a*", "*b", "?b", "**"]), 1..4),
        ) {
            // All paths of up to six parts over the names that could matter.
            let names = ["a", "b", "ab", "bb"];
            let mut paths: Vec<Vec<&str>> = vec![vec![]];
            let mut shared = false;
            for _ in 0..6 {
                paths = paths.iter().flat_map(|path| names.map(|name| [&path[..], &[name]].concat())).collect();
                shared |= paths.iter().any(|path| claims(&a, path) && claims(&b, path));
                if shared {
                    break;
                }
            }
            prop_assert_eq!(overlap(&a.join("/"), &b.join("/")), shared);
        }
    }

    #[test]
    fn patterns_overlap_when_some_path_is_claimed_by_both() {
        let meet = [
            ("src/parser/**", "src/parser/lib.rs"),
            ("src/**", "src"),
            ("src", "src/deep/down.rs"),
            ("**/*.rs", "src/a/b.rs"),
            ("**/*.rs", "src/**"),
            ("src/*.rs", "src/lib.*"),
            ("a*c", "ab?"),
            ("**", "anything"),
            ("./src/", "src"),
            ("src/[ab].rs", "docs"),
            ("src/../docs", "docs/x"),
            ("deploy", "deploy"),
            ("a/**/z", "a/b/**/z"),
            ("", "x"),
        ];
        let apart = [
            ("src/parser/**", "src/lexer/**"),
            ("src/*.rs", "src/*.md"),
            ("deploy", "release"),
            ("docs/a", "docs/ab"),
            ("a?c", "ac"),
            ("a/**/z.rs", "b/**"),
            ("src/?", "src/ab"),
        ];
        for (a, b) in meet {
            assert!(overlap(a, b) && overlap(b, a), "{a} and {b}");
        }
        for (a, b) in apart {
            assert!(!overlap(a, b) && !overlap(b, a), "{a} and {b}");
        }
    }

    fn set(patterns: &[&str]) -> ClaimSet {
        patterns.iter().map(|&pattern| pattern.to_owned()).collect()
    }

    #[test]
    fn later_requests_wait_behind_an_earlier_wide_one() {
        let mut table = ClaimTable::default();
        table.grant(TaskId(1), set(&["src/a"]));
        let wide = set(&["src/**"]);
        assert!(!table.is_free(TaskId(2), &wide));
        table.wait(TaskId(2), wide.clone());
        assert!(!table.is_free(TaskId(3), &set(&["src/b"])), "the wide claim was first");
        assert!(table.is_free(TaskId(4), &set(&["docs"])));
        table.release(TaskId(1));
        assert!(table.is_free(TaskId(2), &wide));
        table.grant(TaskId(2), wide);
        assert_eq!(table.waiting_len(), 0);
        assert!(!table.is_free(TaskId(3), &set(&["src/b"])));
        assert_eq!(table.held().map(|(task, _)| task).collect::<Vec<_>>(), [TaskId(2)]);
        table.release(TaskId(2));
        assert!(table.is_free(TaskId(3), &set(&["src/b"])));
    }
}
