//! Large plans summarised: the tasks of one wave that share the beginning of their names, as one.

use std::collections::BTreeMap;

use super::{PlanTask, PlanView};
use crate::untrusted::Untrusted;

/// Tasks of one wave that are shown as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) wave: u32,
    /// What the names share; the whole name of a single task.
    pub(super) name: Untrusted,
    pub(super) kind: String,
    pub(super) tasks: u64,
    pub(super) work_ms: u64,
    pub(super) slack_ms: u64,
    pub(super) critical: bool,
    /// The groups that it waits for, by index.
    pub(super) needs: Vec<usize>,
}

/// The part of a name before the values of a matrix or a number: `build (1, linux)` and `build-17` are `build`.
fn stem(name: &str) -> &str {
    let name = name.split_once(" (").map_or(name, |(stem, _)| stem);
    let stem = name.trim_end_matches(|last: char| last.is_ascii_digit());
    let stem = stem.trim_end_matches(['-', '_', '.', '/']);
    if stem.is_empty() { name } else { stem }
}

impl PlanView {
    /// Groups all tasks, in the order of waves.
    pub(super) fn groups(&self) -> Vec<Group> {
        let mut by_key: BTreeMap<(u32, &str, &str), Vec<&PlanTask>> = BTreeMap::new();
        for task in &self.tasks {
            by_key.entry((task.wave, stem(task.name.raw()), &task.kind)).or_default().push(task);
        }
        let mut group_of = vec![0; self.tasks.len()];
        for (at, tasks) in by_key.values().enumerate() {
            tasks.iter().for_each(|task| group_of[task.id as usize] = at);
        }
        let group = |((wave, stem, kind), tasks): ((u32, &str, &str), Vec<&PlanTask>)| {
            let mut needs: Vec<usize> =
                tasks.iter().flat_map(|task| &task.needs).map(|need| group_of[*need as usize]).collect();
            needs.sort_unstable();
            needs.dedup();
            Group {
                wave,
                name: if tasks.len() == 1 { tasks[0].name.clone() } else { stem.into() },
                kind: kind.to_owned(),
                tasks: tasks.len() as u64,
                work_ms: tasks.iter().fold(0, |sum, task| sum + task.p50_ms),
                slack_ms: tasks.iter().map(|task| task.slack_ms).min().unwrap_or(0),
                critical: tasks.iter().any(|task| task.critical),
                needs,
            }
        };
        by_key.into_iter().map(group).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::stem;

    #[test]
    fn names_share_what_stands_before_a_matrix_or_a_number() {
        let stems = ["build (1, linux)", "build-17", "t9", "2024", "docs"].map(stem);
        assert_eq!(stems, ["build", "build", "t", "2024", "docs"]);
    }
}
