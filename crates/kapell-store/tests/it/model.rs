//! Random use of two stores on one directory, held against a model of a few lines.

use std::collections::{BTreeMap, HashSet};

use kapell_core::{
    id::{Digest, RunId},
    journal::{Row, Version},
};
use kapell_engine::port::journal::{AppendErrorKind, Journal};
use kapell_store::{Expected, Scope, Store};
use proptest::prelude::*;

use crate::common::{Chain, append, open, queue, rows, run};

#[derive(Debug, Clone)]
enum Step {
    /// Append `rows` to `run`, wrong in one way if `wrong` is not 0.
    Append {
        store: usize,
        run: u8,
        rows: u64,
        wrong: u8,
    },
    /// Queue an append of one row to each of so many runs, then wait for all.
    Group {
        store: usize,
        runs: u8,
    },
    Fold {
        store: usize,
    },
    Reopen {
        store: usize,
        run: u8,
    },
    Close {
        store: usize,
    },
    Read {
        store: usize,
        run: u8,
        after: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let store = 0..2_usize;
    prop_oneof![
        6 => (store.clone(), 0..4_u8, 1..5_u64, prop_oneof![8 => Just(0), 1 => 1..4_u8])
            .prop_map(|(store, run, rows, wrong)| Step::Append { store, run, rows, wrong }),
        2 => (store.clone(), 1..5_u8).prop_map(|(store, runs)| Step::Group { store, runs }),
        1 => store.clone().prop_map(|store| Step::Fold { store }),
        2 => (store.clone(), 0..4_u8).prop_map(|(store, run)| Step::Reopen { store, run }),
        1 => store.clone().prop_map(|store| Step::Close { store }),
        3 => (store, 0..4_u8, 0..30_u64).prop_map(|(store, run, after)| Step::Read { store, run, after }),
    ]
}

#[derive(Default)]
struct Model {
    runs: BTreeMap<RunId, Vec<Row>>,
    poisoned: [HashSet<RunId>; 2],
}

impl Model {
    fn chain(&self, number: u8) -> Chain {
        let last = self.runs.get(&run(number)).and_then(|rows| rows.last());
        last.map_or_else(|| Chain::new(number), |row| Chain { run: row.run, n: row.n, hash: row.hash })
    }

    fn append(&mut self, at: usize, stores: &[Store; 2], number: u8, count: u64, wrong: u8) {
        let good = self.chain(number);
        let mut chain = match wrong {
            1 => Chain { n: Version(good.n.0 + 1), ..good },
            2 => Chain { hash: Digest::of(b"wrong"), ..good },
            _ => good,
        };
        let mut next = chain.next(count);
        if wrong == 3 {
            next.rows[0].body.push('x');
        }
        let outcome = append(&stores[at], next.clone());
        let poisoned = self.poisoned[at].contains(&good.run);
        match (wrong, poisoned, outcome) {
            (0, false, Ok(())) => self.runs.entry(good.run).or_default().extend(next.rows.iter().cloned()),
            // A chain that is broken in itself is refused before anything else is looked at.
            (1, false, Err(AppendErrorKind::Conflict { .. }))
            | (2, false, Err(AppendErrorKind::Broken(_)))
            | (3, _, Err(AppendErrorKind::Broken(_)))
            | (_, true, Err(AppendErrorKind::Poisoned)) => {
                self.poisoned[at].insert(good.run);
            }
            (.., outcome) => panic!("wrong={wrong} poisoned={poisoned}: {outcome:?}"),
        }
    }

    fn check(&self, store: &Store) {
        for (run, there) in &self.runs {
            let head = store.head(*run).unwrap().unwrap();
            let last = there.last().unwrap();
            assert_eq!((head.version, head.hash, head.updated), (last.n, last.hash, last.at));
            assert_eq!(head.created, there[0].at);
        }
        let listed: HashSet<_> = store.runs().unwrap().iter().map(|head| (head.run, head.hash)).collect();
        let expected: HashSet<_> =
            self.runs.iter().map(|(run, rows)| (*run, rows.last().unwrap().hash)).collect();
        assert_eq!(listed, expected);
    }
}

fn play(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut stores = [open(dir.path()), open(dir.path())];
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append { store, run, rows, wrong } => model.append(store, &stores, run, rows, wrong),
            Step::Group { store, runs } => {
                let waiting: Vec<_> = (0..runs)
                    .filter(|number| !model.poisoned[store].contains(&run(*number)))
                    .map(|number| {
                        let next = model.chain(number).next(1);
                        (next.rows.clone(), queue(&stores[store], next))
                    })
                    .collect();
                for (rows, answer) in waiting {
                    answer.recv().unwrap().unwrap();
                    model.runs.entry(rows[0].run).or_default().extend(rows.iter().cloned());
                }
            }
            Step::Fold { store } => stores[store].fold().unwrap(),
            Step::Reopen { store, run: number } => {
                stores[store].reopen(run(number));
                model.poisoned[store].remove(&run(number));
            }
            Step::Close { store } => {
                stores[store] = open(dir.path());
                model.poisoned[store].clear();
            }
            Step::Read { store, run: number, after } => {
                let there = model.runs.get(&run(number)).map_or(&[][..], Vec::as_slice);
                let expected = there.get(usize::try_from(after).unwrap()..).unwrap_or_default();
                assert_eq!(rows(&stores[store], run(number), after), expected);
            }
        }
    }
    stores.iter().for_each(|store| model.check(store));
    let expected: Vec<_> = model
        .runs
        .iter()
        .map(|(run, rows)| Expected { run: *run, n: rows.last().unwrap().n, hash: rows.last().unwrap().hash })
        .collect();
    let report = stores[0].verify(Scope::All, &expected).unwrap();
    assert_eq!(report.decisions, model.runs.values().map(Vec::len).sum::<usize>() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_stores_behave_like_the_model(steps in proptest::collection::vec(step(), 1..60)) {
        play(steps);
    }
}
