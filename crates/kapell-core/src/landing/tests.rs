//! The merge queue against a world that knows who is bad.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn oid(number: usize) -> Oid {
    format!("{number:040x}").parse().unwrap()
}

/// Who is bad, and how.
#[derive(Debug, Clone, Default)]
struct World {
    bad: BTreeSet<u32>,
    /// Bad only together: the later of the two is to blame.
    pairs: Vec<(u32, u32)>,
    /// Conflicts when both are merged.
    conflicts: Vec<(u32, u32)>,
    /// Without this one everything is bad.
    mends: Option<u32>,
    /// Every so many runs the check fails for no reason; 0 is never.
    flaky_every: usize,
}

#[derive(Debug, Default)]
struct Report {
    landed: Vec<u32>,
    sent_back: Vec<(u32, Blame)>,
    runs: usize,
    /// For each that landed: how many runs there were before, and how many changes had been sent back.
    waited: Vec<(u32, usize, usize)>,
    flaky: u32,
    base_is_red: bool,
}

impl World {
    fn probe(&self, probe: &Probe, landed: &[u32], runs: &mut usize) -> Probed {
        // The base of a search is where the head was when it began: the commit of the last that had landed then.
        let mut tree = landed[..base_len(probe, landed)].to_vec();
        for (index, entry) in probe.entries.iter().enumerate() {
            let task = entry.task.0;
            if self
                .conflicts
                .iter()
                .any(|&(a, b)| (a == task && tree.contains(&b)) || (b == task && tree.contains(&a)))
            {
                return Probed::Conflict { index, paths: vec!["shared".to_owned()] };
            }
            tree.push(task);
        }
        *runs += 1;
        let tips = (0..probe.entries.len())
            .map(|at| tip(&tree[..tree.len() - probe.entries.len() + at + 1]))
            .collect();
        let bad = tree.iter().any(|task| self.bad.contains(task))
            || self.pairs.iter().any(|(a, b)| tree.contains(a) && tree.contains(b))
            || self.mends.is_some_and(|mends| !tree.contains(&mends));
        let flake = self.flaky_every > 0 && runs.is_multiple_of(self.flaky_every);
        if bad || flake { Probed::Red { tips, message: "red".to_owned() } } else { Probed::Green { tips } }
    }

    fn run(&self, tasks: u32) -> Report {
        let mut landing = Landing::new(tip(&[]));
        for task in 0..tasks {
            landing.push(Entry { task: TaskId(task), commit: oid(1000 + task as usize) });
        }
        let mut report = Report::default();
        for _ in 0..10_000 {
            let wish = landing.wish();
            assert_eq!(landing.is_idle(), wish == Wish::Nothing, "{wish:?}");
            match wish {
                Wish::Nothing => break,
                Wish::Ask(probe) => {
                    landing.ask(&probe);
                    assert_eq!(landing.asked().as_ref(), Some(&probe), "what is out can be told again");
                    let outcome = self.probe(&probe, &report.landed, &mut report.runs);
                    landing.answer(probe.id, &outcome);
                }
                Wish::Land { from, tips } => {
                    assert_eq!(from, landing.head());
                    for (task, commit) in tips {
                        report.landed.push(task.0);
                        report.waited.push((task.0, report.runs, report.sent_back.len()));
                        assert_eq!(
                            commit,
                            tip(&report.landed),
                            "the ref moves along the tree that was tested"
                        );
                        landing.landed(task, commit);
                    }
                }
                Wish::SendBack { task, blame, .. } => {
                    landing.sent_back(task);
                    report.sent_back.push((task.0, blame));
                }
                Wish::BaseIsRed { .. } => {
                    report.base_is_red = true;
                    break;
                }
            }
        }
        assert!(report.base_is_red || landing.is_idle(), "the queue comes to rest");
        report.flaky = landing.flaky();
        report
    }
}

/// Trees are told apart by the tasks in them, in order.
fn tip(tree: &[u32]) -> Oid {
    oid(tree.iter().fold(1, |hash: usize, task| (hash % (1 << 50)) * 131 + *task as usize + 7))
}

fn base_len(probe: &Probe, landed: &[u32]) -> usize {
    (0..=landed.len()).find(|len| tip(&landed[..*len]) == probe.base).unwrap()
}

#[test]
fn a_green_batch_lands_with_one_run() {
    let report = World::default().run(30);
    assert_eq!((report.landed.len(), report.runs), (30, 1));
}

#[test]
fn bad_changes_are_found_within_their_runs_and_the_rest_lands() {
    let world = World { bad: [4, 17, 29].into(), pairs: vec![(8, 21)], ..World::default() };
    let report = world.run(30);
    assert_eq!(report.landed.len(), 26);
    let mut blamed = report.sent_back.clone();
    blamed.sort_by_key(|(task, _)| *task);
    assert_eq!(
        blamed,
        [(4, Blame::Alone), (17, Blame::Alone), (21, Blame::With(TaskId(8))), (29, Blame::Alone)]
    );
    // Five batches and the origin; for each culprit ceil(log2 30) + 1 = 6 runs, and as many again for the partner.
    assert!(report.runs <= 5 + 1 + 5 * 6, "{} runs", report.runs);
}

#[test]
fn a_good_change_waits_for_one_batch_and_the_searches_for_those_ahead_of_it() {
    for bad in [vec![], vec![0], vec![29], vec![14, 15], vec![3, 11, 19, 27]] {
        let world = World { bad: bad.iter().copied().collect(), ..World::default() };
        let report = world.run(30);
        for (task, runs, _) in &report.waited {
            let ahead = bad.iter().filter(|culprit| *culprit < task).count();
            let own_search = usize::from(bad.iter().any(|culprit| culprit > task));
            // A batch; for each culprit ahead its search of at most ceil(log2 30) + 1 = 6 runs and the batch after it.
            // The search for the first culprit behind it may be under way when it lands, for it is in the green prefix.
            let most = 1 + ahead * (6 + 1) + own_search * 6;
            assert!(*runs <= most, "{bad:?}: task {task} landed after {runs} runs, more than {most}");
        }
        assert_eq!(report.waited.len(), 30 - bad.len());
    }
}

#[test]
fn a_check_that_disagrees_with_itself_blames_nobody() {
    // Red once, on the first run only: the queue repeats it and goes on.
    let world = World { flaky_every: 1_000_000, ..World::default() };
    assert_eq!(world.run(8).landed.len(), 8);
    let mut landing = Landing::new(tip(&[]));
    landing.push(Entry { task: TaskId(0), commit: oid(5) });
    let mut verdicts = [false, true].into_iter();
    while let Wish::Ask(probe) = landing.wish() {
        landing.ask(&probe);
        let tips = vec![tip(&[0])];
        let outcome = match verdicts.next().unwrap() {
            true => Probed::Green { tips },
            false => Probed::Red { tips, message: "red".to_owned() },
        };
        landing.answer(probe.id, &outcome);
    }
    assert_eq!(landing.flaky(), 1);
    assert!(matches!(landing.wish(), Wish::Land { .. }));
}

#[test]
fn a_red_base_blames_nobody() {
    let mut landing = Landing::new(tip(&[]));
    for task in 0..4 {
        landing.push(Entry { task: TaskId(task), commit: oid(task as usize) });
    }
    while let Wish::Ask(probe) = landing.wish() {
        landing.ask(&probe);
        let tips = probe.entries.iter().map(|entry| entry.commit).collect();
        landing.answer(probe.id, &Probed::Red { tips, message: "red".to_owned() });
    }
    assert_eq!(landing.wish(), Wish::BaseIsRed { message: "red".to_owned() });
}

#[test]
fn what_is_bad_after_a_red_base_was_mended_is_bad_alone() {
    let world = World { bad: [1].into(), mends: Some(0), ..World::default() };
    let report = world.run(3);
    assert_eq!((report.landed, report.sent_back), (vec![0, 2], vec![(1, Blame::Alone)]));
    assert!(!report.base_is_red);
}

#[test]
fn what_has_landed_is_never_sent_back() {
    let mut landing = Landing::new(tip(&[]));
    for task in 0..3 {
        landing.push(Entry { task: TaskId(task), commit: oid(task as usize) });
    }
    let ask = |landing: &mut Landing, answer: &dyn Fn(Vec<Oid>) -> Probed| {
        let Wish::Ask(probe) = landing.wish() else { panic!("{:?}", landing.wish()) };
        landing.ask(&probe);
        let tips = (0..probe.entries.len()).map(|at| oid(100 + at)).collect();
        landing.answer(probe.id, &answer(tips));
    };
    ask(&mut landing, &|tips| Probed::Red { tips, message: "red".to_owned() });
    ask(&mut landing, &|tips| Probed::Green { tips });
    landing.landed(TaskId(0), oid(100));
    // The world contradicts itself: what was merged, tried and landed is said to conflict.
    ask(&mut landing, &|_| Probed::Conflict { index: 0, paths: vec![] });
    assert!(matches!(landing.wish(), Wish::SendBack { task: TaskId(1), .. }), "{:?}", landing.wish());
}

#[test]
fn a_change_taken_out_does_not_land() {
    let mut landing = Landing::new(tip(&[]));
    for task in 0..3 {
        landing.push(Entry { task: TaskId(task), commit: oid(task as usize) });
    }
    let Wish::Ask(probe) = landing.wish() else { panic!("a batch is asked about") };
    landing.ask(&probe);
    landing.withdraw(TaskId(1));
    landing.answer(probe.id, &Probed::Green { tips: vec![oid(1); 3] });
    let Wish::Ask(again) = landing.wish() else { panic!("the rest is asked about") };
    assert_eq!(again.entries.iter().map(|entry| entry.task.0).collect::<Vec<_>>(), [0, 2]);
    assert_ne!(again.id, probe.id, "an answer to the old batch must not fit the new one");
}

proptest! {
    #[test]
    fn whatever_is_good_lands_and_nothing_bad_does(
        tasks in 1_u32..40,
        bad in prop::collection::btree_set(0_u32..40, 0..5),
        pairs in prop::collection::vec((0_u32..40, 0_u32..40), 0..3),
        conflicts in prop::collection::vec((0_u32..40, 0_u32..40), 0..4),
    ) {
        let apart = |pairs: Vec<(u32, u32)>| pairs.into_iter().filter(|(a, b)| a != b).collect::<Vec<_>>();
        let world = World { bad, pairs: apart(pairs), conflicts: apart(conflicts), ..World::default() };
        let report = world.run(tasks);
        let tree: BTreeSet<u32> = report.landed.iter().copied().collect();
        prop_assert!(tree.is_disjoint(&world.bad));
        for (a, b) in world.pairs.iter().chain(&world.conflicts) {
            prop_assert!(!(tree.contains(a) && tree.contains(b)));
        }
        let culprits = report.sent_back.len();
        prop_assert_eq!(tree.len() + culprits, tasks as usize, "each lands or is sent back, once");
        for (task, blame) in &report.sent_back {
            let involved = |list: &[(u32, u32)]| list.iter().any(|(a, b)| a == task || b == task);
            match blame {
                Blame::Alone => prop_assert!(world.bad.contains(task) || involved(&world.pairs)),
                Blame::With(_) => prop_assert!(involved(&world.pairs) || involved(&world.conflicts)),
                Blame::Conflict(_) => prop_assert!(involved(&world.conflicts)),
            }
        }
        let log = (f64::from(tasks)).log2().ceil() as usize + 1;
        prop_assert!(report.runs <= (culprits + 2) + culprits * 2 * log + world.conflicts.len(), "{} runs", report.runs);
    }
}
