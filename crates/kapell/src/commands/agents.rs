//! `agents`: who can be given tasks here, what each can do and costs, and how each has done.

use std::collections::BTreeMap;

use kapell_agents::drivers::client::Client;
use kapell_policy::{
    price::PriceTable,
    record::{self, Tally},
};
use kapell_view::{
    text::{Line, Style, Table, length, plural, wrap},
    untrusted::{Untrusted, visible},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::Context;
use crate::{
    exit::Exit,
    fault::Fault,
    output::{page, paint},
    registry::{self, Entry, Probed, Registry, Source},
};

/// The agents that can be used here.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AgentList {
    /// The version of this form: 2.
    version: u32,
    /// What tasks can be given to.
    agents: Vec<Agent>,
}

/// Somebody who performs tasks.
#[derive(Debug, Serialize, JsonSchema)]
struct Agent {
    /// Its name: what `agent:` takes in a workflow.
    name: Untrusted,
    /// Whether tasks can be given to it.
    usable: bool,
    /// Where it comes from: `built_in`, `client`, `settings`, `role` or `record`.
    source: &'static str,
    /// The adapter that speaks to it.
    adapter: String,
    /// The file that defines its role.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<Untrusted>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<Untrusted>,
    /// What it says its version is.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Why it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
    /// The model that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<Untrusted>,
    /// What it can do, in the words that tasks use.
    skills: Vec<String>,
    /// How dear it is: `free`, `low`, `medium` or `high`.
    cost: &'static str,
    /// The memory that one attempt needs, in MiB.
    memory_mib: u32,
    /// What its client offers of that which kapell can make use of, as its own help says.
    capabilities: Vec<&'static str>,
    /// How it has done in the runs of this place.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Record>,
}

/// How an agent has done: attempts that ended, from the newest runs of this place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
struct Record {
    /// How many ended well: what they did is done, or passed its checks.
    succeeded: u32,
    /// How many failed by their agent's fault.
    failed: u32,
    /// The median length of those that ended well, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    median_ms: Option<u64>,
    /// What all of them cost, in millionths of a US dollar.
    usd_micros: u64,
    /// The same counts by kind of work.
    kinds: BTreeMap<&'static str, KindRecord>,
}

/// How an agent has done at one kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
struct KindRecord {
    /// How many attempts ended well.
    succeeded: u32,
    /// How many failed.
    failed: u32,
}

const BUILT_IN: [(&str, &str); 4] = [
    ("command", "any shell command; a prompt reaches it in KAPELL_PROMPT"),
    ("person", "you, or whoever answers: kapell inbox, kapell answer"),
    ("scripted", "plays a script of delays, edits, outputs and failures: for tests and for learning"),
    ("noop", "does nothing, at once: for joining others and for measuring"),
];

/// Lists the agents that can be used here.
///
/// # Errors
///
/// Fails if the settings or the table of prices cannot be read.
pub fn agents(context: &Context) -> Result<Exit, Fault> {
    let site = context.site()?;
    let registry = Registry::find(&site)?;
    let mut records = match site.store.join("journal.sqlite").exists() {
        true => site.existing_store().map(|store| registry.records(&store)).unwrap_or_default(),
        false => record::Records::default(),
    };
    let probed = probed(&registry);
    let mut agents: Vec<Agent> = Vec::new();
    for entry in registry.entries() {
        let record = records.remove(&registry.performer(entry));
        let probed = Client::of(&entry.adapter).and_then(|client| probed.get(&client)).cloned();
        agents.push(Agent::of(entry, probed.unwrap_or_default(), record.as_ref()));
    }
    for (name, about) in BUILT_IN {
        let plain = record::Performer { adapter: name.to_owned(), model: None, role: None };
        agents.push(Agent::built_in(name, about, records.remove(&plain).as_ref()));
    }
    let prices = site.prices()?;
    agents.extend(records.iter().map(|(who, record)| Agent::earlier(who, record, &prices)));
    let list = AgentList { version: 2, agents };
    match context.out.json {
        true => context.out.value(&list),
        false => {
            context.out.data(&paint(&list.lines(page())));
        }
    }
    if !context.out.json && list.agents.iter().all(|agent| agent.source != "client" || !agent.usable) {
        context.out.next("kapell doctor");
    }
    Ok(Exit::Done)
}

/// Asks the clients that are there what they are and can do, all at the same time.
fn probed(registry: &Registry) -> BTreeMap<Client, Probed> {
    let clients = registry.entries().iter().filter(|entry| entry.source == Source::Client);
    let found = clients.filter_map(|entry| {
        let client = Client::of(&entry.adapter)?;
        Some((client, registry.program(client)?))
    });
    let asked: Vec<_> = found
        .map(|(client, path)| (client, std::thread::spawn(move || registry::probe(&path, client))))
        .collect();
    asked.into_iter().filter_map(|(client, asked)| Some((client, asked.join().ok()?))).collect()
}

impl Agent {
    fn of(entry: &Entry, probed: Probed, record: Option<&record::Record>) -> Self {
        let (source, file) = match &entry.source {
            Source::Client => ("client", None),
            Source::Settings => ("settings", None),
            Source::Role(file) => ("role", Some(file.into())),
        };
        Self {
            name: entry.name.as_str().into(),
            usable: entry.missing.is_none(),
            source,
            adapter: entry.adapter.clone(),
            file,
            about: entry.about.as_ref().map(Into::into),
            version: probed.version.filter(|_| entry.source == Source::Client),
            missing: entry.missing.clone(),
            model: entry.options.get("model").map(Into::into),
            skills: entry.skills.iter().cloned().collect(),
            cost: entry.cost.name(),
            memory_mib: entry.memory_mib,
            capabilities: probed.capabilities,
            record: record.map(Record::of),
        }
    }

    fn plain(name: &str, source: &'static str, adapter: &str) -> Self {
        Self {
            name: name.into(),
            usable: true,
            source,
            adapter: adapter.to_owned(),
            file: None,
            about: None,
            version: None,
            missing: None,
            model: None,
            skills: Vec::new(),
            cost: kapell_policy::route::Cost::Free.name(),
            memory_mib: registry::need_of(adapter),
            capabilities: Vec::new(),
            record: None,
        }
    }

    fn built_in(name: &str, about: &str, record: Option<&record::Record>) -> Self {
        Self {
            about: Some(about.into()),
            record: record.map(Record::of),
            ..Self::plain(name, "built_in", name)
        }
    }

    fn earlier(who: &record::Performer, record: &record::Record, prices: &PriceTable) -> Self {
        let price = who.model.as_deref().and_then(|model| prices.price(model));
        let model = who.model.as_ref().map(|model| format!(" ({model})")).unwrap_or_default();
        let first = who.role.as_deref().and_then(|role| role.lines().next()).unwrap_or_default();
        let role = if first.is_empty() { String::new() } else { format!(": {first}") };
        let name = format!("{}{model}{role}", who.adapter);
        let about = Some("an agent of earlier runs".into());
        Self {
            usable: false,
            about,
            record: Some(Record::of(record)),
            cost: registry::cost_of(&who.adapter, price.as_ref()).name(),
            ..Self::plain(&name, "record", &who.adapter)
        }
    }

    /// Returns what is told of it: its version, what it can do or is for, and what is missing.
    fn words(&self) -> String {
        let skills = Some(self.skills.join(", ")).filter(|skills| !skills.is_empty());
        let what = skills.or_else(|| self.about.as_ref().map(Untrusted::visible));
        let missing = self.missing.as_ref().map(|why| visible(why));
        [self.version.clone(), what, missing].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    fn state(&self) -> (Style, &'static str) {
        match (self.source, self.usable, &self.version) {
            ("record", ..) => (Style::Dim, "past"),
            (_, true, _) => (Style::Good, "ready"),
            (_, false, Some(_)) => (Style::Warn, "found"),
            (_, false, None) => (Style::Dim, "absent"),
        }
    }
}

/// What stands before that which is told of an agent.
const INDENT: &str = "    ";

/// The most columns of what is said about an agent: longer lines are hard to read.
const WORDS_COLUMNS_MAX: usize = 80;

impl AgentList {
    /// Lays the list out: a row for each agent, and below it, as far as it needs, what it is.
    fn lines(&self, columns: usize) -> Vec<Line> {
        let mut table = Table::new(&["agent", "", "cost", "memory", "record"]);
        for agent in &self.agents {
            let (style, state) = agent.state();
            let memory = match agent.memory_mib {
                0 => String::new(),
                mib => format!("{mib} MiB"),
            };
            table.row([
                (Style::Strong, agent.name.visible()),
                (style, state.to_owned()),
                (Style::Plain, agent.cost.to_owned()),
                (Style::Plain, memory),
                (Style::Plain, agent.record.as_ref().map(Record::text).unwrap_or_default()),
            ]);
        }
        let mut rows = table.lines(columns).into_iter();
        let mut lines: Vec<Line> = rows.next().into_iter().collect();
        for (row, agent) in rows.zip(&self.agents) {
            lines.push(row);
            let words = agent.words();
            let words = wrap(&words, columns.min(WORDS_COLUMNS_MAX).saturating_sub(INDENT.len()));
            lines.extend(words.into_iter().map(|words| Line::new(Style::Dim, format!("{INDENT}{words}"))));
        }
        lines
    }
}

impl Record {
    fn of(record: &record::Record) -> Self {
        let failed = |tally: Tally| tally.attempts - tally.successes;
        let kind = |(kind, tally): (&kapell_policy::kind::Kind, &Tally)| {
            (kind.name(), KindRecord { succeeded: tally.successes, failed: failed(*tally) })
        };
        Self {
            succeeded: record.all.successes,
            failed: failed(record.all),
            median_ms: record.median().map(|median| median.0),
            usd_micros: record.spent.usd_micros,
            kinds: record.kinds.iter().map(kind).collect(),
        }
    }

    fn text(&self) -> String {
        let ended = u64::from(self.succeeded + self.failed);
        let mut text = format!("{} of {}", self.succeeded, plural(ended, "attempt"));
        if let Some(median) = self.median_ms {
            text.push_str(&format!(", {}", length(kapell_core::time::Millis(median))));
        }
        if self.usd_micros > 0 {
            text.push_str(&format!(", {}", kapell_view::text::usd(self.usd_micros)));
        }
        text
    }
}
