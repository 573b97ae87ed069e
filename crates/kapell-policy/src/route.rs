//! Who performs a task that names skills: a rule, from facts about agents to a ranking with reasons.
//!
//! The rule, in this order:
//!
//! 1. An agent that is not there, or lacks a skill, is passed over. An agent that the task names comes first.
//! 2. An agent whose record shows that it is worse comes after the others: the upper end of the interval of its rate of
//!    success lies below the lower end of another's ([`Tally::interval`]). Whoever has no record is not worse: nothing
//!    is known against it.
//! 3. The cheaper class comes first.
//! 4. Then the higher lower end: of two that may be equal, the one of which more is known to be good.
//! 5. Then whoever can do less besides, and at last the name, so that the order never depends on chance.
//!
//! Step 2 is the elimination of arms by confidence intervals (Even-Dar, Mannor and Mansour, "Action elimination and
//! stopping conditions for the multi-armed bandit and reinforcement learning problems", 2006), without its exploration:
//! nothing is spent to find out who is best. What an agent did at other kinds of work counts a quarter, a number that
//! is ours and not measured.

use std::{cmp::Ordering, collections::BTreeSet};

use kapell_core::{
    id::AgentId,
    price::Price,
    route::{Choice, PassedOver, RANKED_MAX},
};
use serde::{Deserialize, Serialize};

use crate::{
    kind::Kind,
    record::{Record, Tally, interval},
};

/// What an attempt at another kind of work weighs.
const OTHER_KINDS: f64 = 0.25;

/// How dear an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// It costs no money.
    Free,
    /// A small model.
    Low,
    /// A model of the middle, or one whose price is not known.
    Medium,
    /// A large model.
    High,
}

impl Cost {
    /// Every class, the cheapest first.
    pub const ALL: [Self; 4] = [Self::Free, Self::Low, Self::Medium, Self::High];

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// Returns the class of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cost| cost.name() == text)
    }

    /// Returns the class of a model by what a million tokens of its output cost: below 5 dollars it is low, from 20 on
    /// high. The bounds are ours; they part the small, the usual and the large model of each provider in the table of
    /// prices.
    #[must_use]
    pub fn of(price: &Price) -> Self {
        match price.rate.output / 1_000_000 {
            _ if price.rate.output == 0 => Self::Free,
            0..5 => Self::Low,
            5..20 => Self::Medium,
            _ => Self::High,
        }
    }
}

/// An agent that could perform a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Which agent of the plan.
    pub agent: AgentId,
    /// Its name.
    pub name: String,
    /// What it can do.
    pub skills: BTreeSet<String>,
    /// How dear it is.
    pub cost: Cost,
    /// Why it cannot be used here, if it cannot.
    pub missing: Option<String>,
    /// How it has done.
    pub record: Record,
}

/// What a task asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// What its agent must be able to do.
    pub skills: BTreeSet<String>,
    /// What kind of work it is.
    pub kind: Kind,
    /// The agent that it names besides.
    pub named: Option<AgentId>,
}

/// Agents in the order in which they get a task, and those that do not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranking {
    /// The first performs it, the others can take over.
    pub chosen: Vec<Choice>,
    /// Who is passed over, and why.
    pub passed_over: Vec<PassedOver>,
}

/// A candidate with what it is compared by.
struct Scored<'a> {
    candidate: &'a Candidate,
    named: bool,
    low: f64,
    high: f64,
    worse: bool,
}

/// Ranks agents for a task. The order of `candidates` does not matter.
#[must_use]
pub fn rank(need: &Need, candidates: &[Candidate]) -> Ranking {
    let mut ranking = Ranking::default();
    let mut able: Vec<Scored<'_>> = Vec::new();
    for candidate in candidates {
        let named = need.named == Some(candidate.agent);
        match unfit(need, candidate, named) {
            None => {
                let (low, high) = rate(&candidate.record, need.kind);
                able.push(Scored { candidate, named, low, high, worse: false });
            }
            Some(why) => ranking.passed_over.push(PassedOver { agent: candidate.name.clone(), why }),
        }
    }
    let best = able.iter().map(|scored| scored.low).fold(0.0, f64::max);
    for scored in &mut able {
        scored.worse = scored.high < best;
    }
    able.sort_by(compare);
    for scored in able.iter().skip(RANKED_MAX) {
        let (agent, why) = (scored.candidate.name.clone(), "others come first".to_owned());
        ranking.passed_over.push(PassedOver { agent, why });
    }
    able.truncate(RANKED_MAX);
    ranking.passed_over.sort_by(|a, b| a.agent.cmp(&b.agent));
    ranking.chosen = able
        .iter()
        .map(|scored| Choice { agent: scored.candidate.agent, why: reason(need, scored) })
        .collect();
    ranking
}

/// Says why a candidate cannot have the task, if it cannot.
fn unfit(need: &Need, candidate: &Candidate, named: bool) -> Option<String> {
    if let Some(why) = &candidate.missing {
        return Some(why.clone());
    }
    let lacking: Vec<&str> = need.skills.difference(&candidate.skills).map(String::as_str).collect();
    (!named && !lacking.is_empty()).then(|| format!("lacks {}", lacking.join(", ")))
}

/// Returns an interval for the rate of success at a kind of work.
fn rate(record: &Record, kind: Kind) -> (f64, f64) {
    let (all, own) = (record.all, record.of(kind));
    let weigh = |all: u32, own: u32| f64::from(own) + OTHER_KINDS * f64::from(all.saturating_sub(own));
    interval(weigh(all.successes, own.successes), weigh(all.attempts, own.attempts))
}

fn compare(a: &Scored<'_>, b: &Scored<'_>) -> Ordering {
    let key = |scored: &Scored<'_>| (!scored.named, scored.worse, scored.candidate.cost);
    key(a)
        .cmp(&key(b))
        .then_with(|| b.low.total_cmp(&a.low))
        .then_with(|| a.candidate.skills.len().cmp(&b.candidate.skills.len()))
        .then_with(|| (&a.candidate.name, a.candidate.agent).cmp(&(&b.candidate.name, b.candidate.agent)))
}

fn reason(need: &Need, scored: &Scored<'_>) -> String {
    let candidate = scored.candidate;
    let mut parts = Vec::new();
    if scored.named {
        parts.push("named by the task".to_owned());
    }
    if !need.skills.is_empty() && need.skills.is_subset(&candidate.skills) {
        let skills: Vec<&str> = need.skills.iter().map(String::as_str).collect();
        parts.push(format!("covers {}", skills.join(", ")));
    }
    parts.push(experience(need.kind, &candidate.record, scored));
    parts.push(format!("cost {}", candidate.cost.name()));
    parts.join("; ")
}

fn experience(kind: Kind, record: &Record, scored: &Scored<'_>) -> String {
    let own = record.of(kind);
    if record.all.attempts == 0 {
        return "no record yet".to_owned();
    }
    let count = |tally: Tally| format!("{} of {}", tally.successes, tally.attempts);
    let mut text = match own.attempts {
        0 => format!(
            "nothing known at `{}`, {} attempts ended well at other work",
            kind.name(),
            count(record.all)
        ),
        _ if own == record.all => format!("{} attempts at `{}` ended well", count(own), kind.name()),
        _ => format!("{} attempts at `{}` ended well, {} in all", count(own), kind.name(), count(record.all)),
    };
    text.push_str(&format!(" (at least {:.0} %)", scored.low * 100.0));
    if scored.worse {
        text.push_str(", shown to be worse than another");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(number: u32, name: &str, skills: &[&str], cost: Cost, tally: (u32, u32)) -> Candidate {
        let tally = Tally { successes: tally.0, attempts: tally.1 };
        let mut record = Record::default();
        record.all = tally;
        record.kinds.insert(Kind::Fix, tally);
        Candidate {
            agent: AgentId(number),
            name: name.to_owned(),
            skills: skills.iter().map(|skill| (*skill).to_owned()).collect(),
            cost,
            missing: None,
            record,
        }
    }

    fn need(skills: &[&str]) -> Need {
        let skills = skills.iter().map(|skill| (*skill).to_owned()).collect();
        Need { skills, kind: Kind::Fix, named: None }
    }

    fn told(ranking: &Ranking) -> String {
        let chosen = ranking.chosen.iter().map(|choice| format!("{}: {}\n", choice.agent, choice.why));
        let over = ranking.passed_over.iter().map(|over| format!("not {}: {}\n", over.agent, over.why));
        chosen.chain(over).collect()
    }

    #[test]
    fn skills_come_first_then_what_is_shown_then_cost() {
        let mut gone = candidate(4, "gone", &["rust"], Cost::Free, (0, 0));
        gone.missing = Some("its program `gone` is not installed".to_owned());
        let candidates = [
            candidate(0, "dear", &["rust"], Cost::High, (9, 10)),
            candidate(1, "cheap", &["rust", "docs"], Cost::Low, (8, 10)),
            candidate(2, "bad", &["rust"], Cost::Free, (0, 12)),
            candidate(3, "other", &["python"], Cost::Free, (10, 10)),
            gone,
        ];
        let ranking = rank(&need(&["rust"]), &candidates);
        assert_eq!(
            told(&ranking),
            "1: covers rust; 8 of 10 attempts at `fix` ended well (at least 54 %); cost low\n\
             0: covers rust; 9 of 10 attempts at `fix` ended well (at least 65 %); cost high\n\
             2: covers rust; 0 of 12 attempts at `fix` ended well (at least 0 %), shown to be worse than another; cost free\n\
             not gone: its program `gone` is not installed\n\
             not other: lacks rust\n"
        );
    }

    #[test]
    fn who_is_named_comes_first_though_it_lacks_a_skill() {
        let candidates =
            [candidate(0, "a", &["rust"], Cost::Free, (5, 5)), candidate(1, "b", &[], Cost::High, (0, 0))];
        let named = Need { named: Some(AgentId(1)), ..need(&["rust"]) };
        let order: Vec<u32> = rank(&named, &candidates).chosen.iter().map(|choice| choice.agent.0).collect();
        assert_eq!(order, [1, 0]);
    }

    #[test]
    fn prices_fall_into_classes() {
        let price = |dollars: u64| {
            let mut price = Price::default();
            price.rate.output = dollars * 1_000_000;
            Cost::of(&price)
        };
        assert_eq!(
            [0, 1, 4, 5, 15, 20, 75].map(price).map(Cost::name),
            ["free", "low", "low", "medium", "medium", "high", "high"]
        );
        assert!(Cost::ALL.iter().all(|cost| Cost::parse(cost.name()) == Some(*cost)));
    }
}
