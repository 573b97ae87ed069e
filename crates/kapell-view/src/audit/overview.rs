//! The inventory by questions: which workflows there are, what an event starts, who answers for what.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Asset, AssetKind, Edge, EdgeKind, Inventory, Scope};
use crate::{
    text::{Line, Style, Table},
    untrusted::visible,
};

/// The inventory by questions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Overview {
    /// The workflows.
    pub workflows: Vec<WorkflowRow>,
    /// The events that start something, by name.
    pub events: Vec<EventRow>,
    /// Who is handed work, and who hands it on.
    pub responsibilities: Vec<ResponsibilityRow>,
}

/// A workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowRow {
    /// Its asset.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: String,
    /// What starts it.
    pub events: Vec<String>,
    /// Its jobs in stages: each waits for some of those before it, and for none beside it.
    pub stages: Vec<Vec<String>>,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventRow {
    /// Its name, such as `push`.
    pub event: String,
    /// What it starts: assets.
    pub starts: Vec<u32>,
    /// What these start in turn: assets.
    pub then: Vec<u32>,
}

/// An asset that is handed work, or hands it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResponsibilityRow {
    /// The asset.
    pub id: u32,
    /// Who hands it work: assets.
    pub asked_by: Vec<u32>,
    /// To whom it hands work: names, those that are not here too.
    pub hands_to: Vec<String>,
}

/// What the map shows to programs: the inventory, and the same by questions.
#[derive(Debug, Clone, Serialize)]
pub struct MapView<'a> {
    /// The assets and references.
    #[serde(flatten)]
    pub inventory: &'a Inventory,
    /// The same by questions.
    #[serde(flatten)]
    pub overview: Overview,
}

impl Inventory {
    /// Returns what the map shows to programs.
    #[must_use]
    pub fn map(&self) -> MapView<'_> {
        MapView { inventory: self, overview: self.overview() }
    }

    /// Sorts the inventory by questions.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let workflows = self.of(AssetKind::Workflow);
        Overview {
            workflows: workflows.map(|asset| self.workflow(asset)).collect(),
            events: self.events(),
            responsibilities: self.responsibilities(),
        }
    }

    fn of(&self, kind: AssetKind) -> impl Iterator<Item = &Asset> {
        self.assets.iter().filter(move |asset| asset.kind == kind)
    }

    fn workflow(&self, asset: &Asset) -> WorkflowRow {
        let within = |job: &&Asset| matches!(&job.scope, Scope::Workflow(path) if *path == asset.place.path);
        let jobs: Vec<&Asset> = self.of(AssetKind::Job).filter(within).collect();
        WorkflowRow {
            id: asset.id,
            name: asset.name.clone(),
            path: asset.place.path.clone(),
            events: asset.events.clone(),
            stages: self.stages(&jobs),
        }
    }

    /// Puts jobs behind those that they wait for. Those that wait for each other come last, together.
    fn stages(&self, jobs: &[&Asset]) -> Vec<Vec<String>> {
        let mut left: Vec<&Asset> = jobs.to_vec();
        let mut stages = Vec::new();
        while !left.is_empty() {
            let ids: BTreeSet<u32> = left.iter().map(|job| job.id).collect();
            let waits = |job: &Asset| {
                let awaits =
                    self.edges.iter().filter(|edge| edge.from == job.id && edge.kind == EdgeKind::Awaits);
                awaits.filter_map(|edge| edge.to).any(|to| to != job.id && ids.contains(&to))
            };
            let (blocked, ready): (Vec<&Asset>, Vec<&Asset>) =
                left.iter().copied().partition(|job| waits(job));
            let (now, later) = if ready.is_empty() { (blocked, Vec::new()) } else { (ready, blocked) };
            stages.push(now.iter().map(|job| job.name.clone()).collect());
            left = later;
        }
        stages
    }

    fn events(&self) -> Vec<EventRow> {
        let mut by_event: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
        for asset in &self.assets {
            for event in &asset.events {
                let name = event.split(" (").next().unwrap_or(event);
                by_event.entry(name).or_default().insert(asset.id);
            }
        }
        let row = |(event, starts): (&str, BTreeSet<u32>)| {
            let then = self.started_by(&starts);
            EventRow { event: event.to_owned(), starts: starts.into_iter().collect(), then }
        };
        by_event.into_iter().map(row).collect()
    }

    /// Returns what assets start in turn, through their jobs too.
    fn started_by(&self, first: &BTreeSet<u32>) -> Vec<u32> {
        let (mut known, mut next) = (first.clone(), first.iter().copied().collect::<Vec<_>>());
        let mut then = Vec::new();
        while let Some(id) = next.pop() {
            let path = self.assets.get(id as usize).map(|asset| &asset.place.path);
            let is_own = |from: u32| {
                from == id
                    || self.assets.get(from as usize).is_some_and(
                        |asset| matches!(&asset.scope, Scope::Workflow(workflow) if Some(workflow) == path),
                    )
            };
            let triggers =
                self.edges.iter().filter(|edge| edge.kind == EdgeKind::Triggers && is_own(edge.from));
            for to in triggers.filter_map(|edge| edge.to).filter(|to| known.insert(*to)).collect::<Vec<_>>() {
                then.push(to);
                next.push(to);
            }
        }
        then.sort_unstable();
        then
    }

    fn responsibilities(&self) -> Vec<ResponsibilityRow> {
        // A slash may be the client's own command, or one of somewhere else; only what is here takes work on.
        let hands = |edge: &Edge| match edge.kind {
            EdgeKind::Delegates => true,
            EdgeKind::Calls => edge.to.is_some(),
            _ => false,
        };
        let mut rows: BTreeMap<u32, (BTreeSet<u32>, BTreeSet<&str>)> = BTreeMap::new();
        for edge in self.edges.iter().filter(|edge| hands(edge) && edge.to != Some(edge.from)) {
            rows.entry(edge.from).or_default().1.insert(&edge.name);
            if let Some(to) = edge.to {
                rows.entry(to).or_default().0.insert(edge.from);
            }
        }
        // An agent that nobody hands work to is a row too.
        for agent in self.of(AssetKind::Agent) {
            rows.entry(agent.id).or_default();
        }
        let row = |(id, (asked, hands)): (u32, (BTreeSet<u32>, BTreeSet<&str>))| ResponsibilityRow {
            id,
            asked_by: asked.into_iter().collect(),
            hands_to: hands.into_iter().map(str::to_owned).collect(),
        };
        rows.into_iter().map(row).collect()
    }

    /// Returns the overview as tables; those about which there is nothing to say are left out.
    pub(super) fn overview_lines(&self, columns: usize) -> Vec<Line> {
        let overview = self.overview();
        let names = |ids: &[u32]| ids.iter().map(|&id| self.full_name(id)).collect::<Vec<_>>().join(", ");
        let shown = |texts: &[String]| visible(&texts.join(", "));
        let mut workflows = Table::new(&["workflow", "started by", "jobs, in stages"]);
        for row in &overview.workflows {
            let stages: Vec<String> = row.stages.iter().map(|stage| shown(stage)).collect();
            workflows.row([
                (Style::Strong, visible(&row.name)),
                (Style::Plain, shown(&row.events)),
                (Style::Plain, stages.join(" > ")),
            ]);
        }
        let mut events = Table::new(&["event", "starts", "and these start"]);
        for row in &overview.events {
            events.row([
                (Style::Strong, visible(&row.event)),
                (Style::Plain, names(&row.starts)),
                (Style::Plain, names(&row.then)),
            ]);
        }
        let mut work = Table::new(&["who", "is asked by", "hands work to"]);
        for row in &overview.responsibilities {
            work.row([
                (Style::Strong, self.full_name(row.id)),
                (Style::Plain, names(&row.asked_by)),
                (Style::Plain, shown(&row.hands_to)),
            ]);
        }
        let parts = [
            ("workflows", overview.workflows.is_empty(), workflows),
            ("events", overview.events.is_empty(), events),
            ("responsibilities", overview.responsibilities.is_empty(), work),
        ];
        let told = parts.into_iter().filter(|(_, empty, _)| !empty);
        told.flat_map(|(title, _, table)| {
            [Line::default(), Line::new(Style::Strong, title)].into_iter().chain(table.lines(columns))
        })
        .collect()
    }
}
