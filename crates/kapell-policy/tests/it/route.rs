//! Rankings: what holds for every set of agents.

use std::collections::BTreeSet;

use kapell_core::{id::AgentId, route::RANKED_MAX};
use kapell_policy::{
    kind::Kind,
    record::{Record, Tally},
    route::{Candidate, Cost, Need, rank},
};
use proptest::prelude::*;

fn candidate() -> impl Strategy<Value = Candidate> {
    let skills =
        prop::collection::btree_set(prop::sample::select(vec!["rust", "docs", "tests", "web"]), 0..4);
    let tally = || (0..30_u32, 0..30_u32).prop_map(|(a, b)| Tally { successes: a.min(b), attempts: b });
    let missing = prop::option::weighted(0.2, Just("it is not there".to_owned()));
    (skills, 0..4_usize, missing, tally(), tally()).prop_map(|(skills, cost, missing, own, other)| {
        let both =
            Tally { successes: own.successes + other.successes, attempts: own.attempts + other.attempts };
        let mut record = Record::default();
        record.all = both;
        record.kinds.insert(Kind::Fix, own);
        Candidate {
            agent: AgentId(0),
            name: String::new(),
            skills: skills.into_iter().map(str::to_owned).collect(),
            cost: Cost::ALL[cost],
            missing,
            record,
        }
    })
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    prop::collection::vec(candidate(), 1..40).prop_map(|mut all| {
        for (at, candidate) in (0_u32..).zip(&mut all) {
            (candidate.agent, candidate.name) = (AgentId(at), format!("agent{at}"));
        }
        all
    })
}

fn need() -> impl Strategy<Value = Need> {
    let skills = prop::collection::btree_set(prop::sample::select(vec!["rust", "docs", "tests"]), 0..3);
    (skills, prop::option::weighted(0.2, 0..40_u32)).prop_map(|(skills, named)| Need {
        skills: skills.into_iter().map(str::to_owned).collect(),
        kind: Kind::Fix,
        named: named.map(AgentId),
    })
}

fn place(need: &Need, all: &[Candidate], agent: AgentId) -> Option<usize> {
    rank(need, all).chosen.iter().position(|choice| choice.agent == agent)
}

proptest! {
    #[test]
    fn whoever_is_ranked_is_there_and_can_do_it((need, all) in (need(), candidates())) {
        let ranking = rank(&need, &all);
        prop_assert!(ranking.chosen.len() <= RANKED_MAX);
        prop_assert_eq!(ranking.chosen.len() + ranking.passed_over.len(), all.len());
        for choice in &ranking.chosen {
            let candidate = &all[choice.agent.index()];
            prop_assert!(candidate.missing.is_none());
            prop_assert!(need.named == Some(choice.agent) || need.skills.is_subset(&candidate.skills));
            prop_assert!(choice.why.contains("cost "));
        }
        let names: BTreeSet<_> = ranking.passed_over.iter().map(|over| &over.agent).collect();
        prop_assert_eq!(names.len(), ranking.passed_over.len());
    }

    #[test]
    fn the_order_of_the_candidates_does_not_matter((need, all) in (need(), candidates()), seed: u64) {
        let mut other = all.clone();
        let len = other.len();
        for at in 0..len {
            let with = (seed.rotate_left(u32::try_from(at).unwrap()) % len as u64) as usize;
            other.swap(at, with);
        }
        prop_assert_eq!(rank(&need, &all), rank(&need, &other));
    }

    #[test]
    fn another_success_never_sets_an_agent_back((need, all) in (need(), candidates()), which: usize) {
        let which = which % all.len();
        let mut better = all.clone();
        let record = &mut better[which].record;
        record.all = Tally { successes: record.all.successes + 1, attempts: record.all.attempts + 1 };
        let own = record.kinds.entry(Kind::Fix).or_default();
        *own = Tally { successes: own.successes + 1, attempts: own.attempts + 1 };
        let agent = all[which].agent;
        if let Some(before) = place(&need, &all, agent) {
            prop_assert!(place(&need, &better, agent).unwrap() <= before);
        }
    }

    #[test]
    fn who_is_shown_to_be_worse_stands_behind_who_is_not((need, all) in (need(), candidates())) {
        let ranking = rank(&need, &all);
        let rest = ranking.chosen.iter().filter(|choice| need.named != Some(choice.agent));
        let worse: Vec<bool> = rest.map(|choice| choice.why.contains("shown to be worse")).collect();
        prop_assert!(worse.is_sorted(), "{:?}", ranking.chosen);
        if let Some(first) = ranking.chosen.first() {
            prop_assert!(need.named == Some(first.agent) || !worse[0]);
        }
    }
}
