//! Who can be given tasks here: installed clients, what settings define, and the roles of the repository.

mod probe; // what is installed
mod roles; // what the repository defines

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use kapell_agents::drivers::client::{AllSettings, Client, KeyGiver, Settings};
use kapell_core::{
    budget::Limits,
    command::Command,
    id::{AgentId, TaskId},
    plan::{AgentSpec, CostForecast, Definition, Plan, Slot, Work},
    price::Price,
};
use kapell_engine::{open::load_at, port::journal::Journal};
use kapell_policy::{
    memory::need_mib,
    price::PriceTable,
    record::{Observer, Performer, ROLE, Records, kind_of},
    route::{Candidate, Cost, Need, Ranking, rank},
};
use kapell_spec::workflow::Outside;
use kapell_store::Store;

pub use self::{
    probe::{Probed, is_program, on_path, probe},
    roles::{Role, roles},
};
use crate::{config::agents::Defined, exit::Exit, fault::Fault, forecast::recent, site::Site};

/// How many runs are looked at for records, the newest first, and how many decisions of all together.
const RUNS_MAX: usize = 50;
const DECISIONS_MAX: u64 = 50_000;

/// What a coding agent can do if nobody says otherwise.
const USUAL_SKILLS: [&str; 5] = ["code", "tests", "review", "docs", "research"];

/// Options of an agent that kapell itself reads.
const ROLE_TEXT: &str = "role_text";
const ROLE_FILE: &str = "role_file";
const COST: &str = "cost";

/// Where an agent comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// kapell drives it, whether it is there or not.
    Client,
    /// Settings.
    Settings,
    /// A file of the repository.
    Role(String),
}

/// Somebody who can be given tasks.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name: what `agent:` takes.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// The adapter that speaks to it.
    pub adapter: String,
    /// Whose quota it uses up, if that is not its adapter's usual one.
    pub provider: Option<String>,
    /// Settings for the adapter.
    pub options: BTreeMap<String, String>,
    /// What it can do.
    pub skills: BTreeSet<String>,
    /// How dear it is.
    pub cost: Cost,
    /// The memory that one attempt needs, in MiB.
    pub memory_mib: u32,
    /// What it is for.
    pub about: Option<String>,
    /// Why it cannot be used here, if it cannot.
    pub missing: Option<String>,
}

impl Entry {
    fn spec(&self) -> AgentSpec {
        let mut options = self.options.clone();
        options.insert(COST.to_owned(), self.cost.name().to_owned());
        AgentSpec {
            name: self.name.clone(),
            adapter: self.adapter.clone(),
            provider: self.provider.clone().or_else(|| provider_of(&self.adapter)),
            slot: slot_of(&self.adapter),
            fallback: None,
            options,
            skills: self.skills.iter().cloned().collect(),
            memory_mib: self.memory_mib,
        }
    }
}

fn provider_of(adapter: &str) -> Option<String> {
    kapell_spec::workflow::provider_of(adapter).map(str::to_owned)
}

/// Returns what an attempt of an adapter needs, in MiB: as much as the client that it leads to.
pub fn need_of(adapter: &str) -> u32 {
    let inner = Client::of(adapter).and_then(Client::inner);
    inner.map_or_else(|| need_mib(adapter), |client| need_mib(client.adapter()))
}

/// Returns how dear an adapter is with a model of this price; in the middle if that is not known.
pub fn cost_of(adapter: &str, price: Option<&Price>) -> Cost {
    match slot_of(adapter) {
        Slot::Agent => price.map_or(Cost::Medium, Cost::of),
        Slot::Job | Slot::None => Cost::Free,
    }
}

fn slot_of(adapter: &str) -> Slot {
    kapell_spec::workflow::slot_of(adapter)
}

/// Everybody who can be given tasks here, in the order in which they are shown.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    entries: Vec<Entry>,
    clients: AllSettings,
    user_home: Option<PathBuf>,
}

impl Registry {
    /// Finds out who there is. Nothing is started for that.
    ///
    /// # Errors
    ///
    /// Fails if the user's table of prices cannot be read.
    pub fn find(site: &Site) -> Result<Self, Fault> {
        let prices = site.prices()?;
        let clients = site.config.clients.settings(|name| env::var(name).ok());
        let user_home = env::var_os("HOME").map(Into::into);
        let mut registry = Self { entries: Vec::new(), clients, user_home };
        let roles = roles(&site.root);
        let defined = &site.config.defined;
        // Other ways to a client are only of interest where they can be gone, and the lesser one not at all.
        let offered = |client: &Client| match client {
            Client::OpencodeRun => false,
            Client::Acp(_) => registry.program(*client).is_some(),
            _ => true,
        };
        let offered: Vec<Client> = Client::ALL.into_iter().filter(offered).collect();
        for client in offered {
            let own = defined.get(client.adapter()).cloned().unwrap_or_default();
            let own = Defined { adapter: Some(client.adapter().to_owned()), ..own };
            registry.add(client.adapter(), Source::Client, &own, &roles, &prices);
        }
        for (name, own) in defined.iter().filter(|(name, _)| Client::of(name).is_none()) {
            registry.add(name, Source::Settings, own, &roles, &prices);
        }
        for role in &roles {
            if registry.entries.iter().any(|entry| entry.name == role.name) {
                continue;
            }
            let adapter = role.adapter.map(str::to_owned).or_else(|| registry.first_usable());
            let own = Defined {
                adapter,
                model: role.model.clone(),
                role: Some(role.name.clone()),
                ..Defined::default()
            };
            registry.add(&role.name, Source::Role(role.file.clone()), &own, &roles, &prices);
        }
        Ok(registry)
    }

    /// Returns the adapter of the first client that can be used.
    pub fn first_usable(&self) -> Option<String> {
        let clients = self.entries.iter().filter(|entry| entry.source == Source::Client);
        clients.clone().find(|entry| entry.missing.is_none()).map(|entry| entry.adapter.clone())
    }

    fn add(&mut self, name: &str, source: Source, own: &Defined, roles: &[Role], prices: &PriceTable) {
        let adapter = own.adapter.clone().unwrap_or_else(|| name.to_owned());
        let mut options = BTreeMap::new();
        let settings = Client::of(&adapter).and_then(|client| self.clients.get(&client));
        options.extend(own.model.clone().map(|model| ("model".to_owned(), model)));
        options.extend(own.run.clone().map(|run| ("run".to_owned(), run)));
        let role = own.role.as_ref().and_then(|role| roles.iter().find(|known| known.name == *role));
        // One that the repository does not define has a name and no text.
        options.extend(own.role.clone().map(|role| (ROLE.to_owned(), role)));
        let mut usual: BTreeSet<String> = match Client::of(&adapter) {
            Some(_) => USUAL_SKILLS.into_iter().map(str::to_owned).collect(),
            None => BTreeSet::new(),
        };
        if let Some(role) = role {
            options.insert(ROLE_TEXT.to_owned(), role.text.clone());
            options.insert(ROLE_FILE.to_owned(), role.file.clone());
            // A role is for something: it can do that, and not everything besides.
            usual.clone_from(&role.skills);
        }
        let model = own.model.clone().or_else(|| settings.and_then(|settings| settings.model.clone()));
        let price = model.and_then(|model| prices.price(&model));
        let cost = own.cost.unwrap_or_else(|| cost_of(&adapter, price.as_ref()));
        let missing = self.missing(&adapter, &options);
        self.entries.push(Entry {
            name: name.to_owned(),
            source,
            provider: own.provider.clone(),
            options,
            skills: own.skills.clone().unwrap_or(usual),
            cost,
            memory_mib: own.memory_mib.unwrap_or_else(|| need_of(&adapter)),
            about: role.and_then(|role| role.about.clone()),
            missing,
            adapter,
        });
    }

    /// Says why an agent of this adapter cannot be used here, if it cannot.
    fn missing(&self, adapter: &str, options: &BTreeMap<String, String>) -> Option<String> {
        if let Some(role) = unknown_role(options) {
            return Some(format!("the repository defines no role `{role}`"));
        }
        let known = kapell_agents::world::adapters().any(|known| known == adapter);
        let Some(client) = Client::of(adapter) else {
            return match adapter {
                "command" if !options.contains_key("run") => Some("it has no `run`".to_owned()),
                _ if !known => Some(format!("there is no adapter `{adapter}`")),
                _ => None,
            };
        };
        let needs_none = matches!(client, Client::Model(_));
        if !needs_none && self.program(client).is_none() {
            return Some(self.lacks_program(client));
        }
        if let Some(giver) = self.absent_key_giver(client) {
            return Some(format!(
                "its `{}` starts `{}`, which is not there",
                giver.setting(),
                giver.program()
            ));
        }
        let none = || match client {
            Client::Model(_) => format!(
                "it has no key in {}, and no `base_url` of a server without one",
                client.key_variable()
            ),
            _ => format!("it has neither a key in {} nor a login", client.key_variable()),
        };
        self.access(client).is_none().then(none)
    }

    /// Says which program of a client is not there.
    fn lacks_program(&self, client: Client) -> String {
        let set = self.clients.get(&client).and_then(|settings| settings.program.as_ref());
        match (set, client.program()) {
            (Some(program), _) => format!("its program `{}` is not there", program.display()),
            (None, "") => format!("no `program` is set under `[clients.{}]`", client.adapter()),
            (None, program) => format!("its program `{program}` is not installed"),
        }
    }

    /// Returns how a client gets to its model: by a key, a login, or a server of one's own that may need neither; nothing
    /// if there is none of these. Only whether they are there is looked at. One whose provider nobody knows sees to it.
    pub fn access(&self, client: Client) -> Option<&'static str> {
        let settings = self.clients.get(&client)?;
        let is_there = |home: &Path| client.credentials().iter().any(|path| home.join(path).is_file());
        match () {
            () if settings.key.is_some() => Some("key"),
            // Its attempts fail for it, whatever else there is.
            () if self.absent_key_giver(client).is_some() => None,
            () if settings.has_key() => Some(match settings.key_giver {
                Some(KeyGiver::Keyring(_)) => "key from the keyring",
                _ => "key from `key_command`",
            }),
            () if self.user_home.as_deref().is_some_and(is_there) => Some("login"),
            () if settings.base_url.is_some() => Some("own server"),
            () if client.inner().is_none() => Some("its own way"),
            () => None,
        }
    }

    /// Returns what is to give the key of a client, if its program is not there. It is not asked for the key: that may
    /// need a person.
    pub fn absent_key_giver(&self, client: Client) -> Option<&KeyGiver> {
        let settings = self.clients.get(&client).filter(|settings| settings.key.is_none())?;
        let giver = settings.key_giver.as_ref()?;
        let program = giver.program();
        let is_there = is_program(Path::new(program)) || on_path(program).is_some();
        (!is_there).then_some(giver)
    }

    /// Returns what the settings say of a client.
    pub fn settings(&self, client: Client) -> Option<&Settings> {
        self.clients.get(&client)
    }

    /// Returns the program of a client, if it is there.
    pub fn program(&self, client: Client) -> Option<PathBuf> {
        match self.clients.get(&client).and_then(|settings| settings.program.clone()) {
            Some(program) => program.is_file().then_some(program),
            None if client.program().is_empty() => None,
            None => on_path(client.program()),
        }
    }

    /// Returns everybody.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns those that workflow files can name though they do not define them.
    pub fn outside(&self) -> Vec<Outside> {
        let outside = |entry: &Entry| {
            let spec = entry.spec();
            Outside {
                name: spec.name,
                adapter: spec.adapter,
                provider: spec.provider,
                options: spec.options.into_iter().collect(),
                skills: spec.skills,
                memory_mib: Some(spec.memory_mib),
            }
        };
        self.entries.iter().map(outside).collect()
    }

    /// Returns a plan with what this place adds: agents that could perform tasks which name skills, and how much memory
    /// each needs that does not say so.
    pub fn complete(&self, plan: &Plan) -> Plan {
        plan.with_agents(&|plan| {
            let mut agents = plan.agents().to_vec();
            let wanted = || plan.definitions().iter().filter(|one| !one.skills.is_empty());
            let covers = |entry: &&Entry| {
                wanted().any(|one| one.skills.iter().all(|skill| entry.skills.contains(skill)))
                    && !plan.agents().iter().any(|known| known.name == entry.name)
            };
            agents.extend(self.entries.iter().filter(covers).map(Entry::spec));
            for agent in &mut agents {
                if agent.memory_mib == 0 && agent.slot == Slot::Agent {
                    agent.memory_mib = need_of(&agent.adapter);
                }
            }
            agents
        })
    }

    fn candidate(&self, at: usize, spec: &AgentSpec, records: &Records) -> Candidate {
        let cost = spec.options.get(COST).and_then(|cost| Cost::parse(cost));
        let usual = || if spec.slot == Slot::Agent { Cost::Medium } else { Cost::Free };
        Candidate {
            agent: AgentId(u32::try_from(at).unwrap_or(u32::MAX)),
            name: spec.name.clone(),
            skills: spec.skills.iter().cloned().collect(),
            cost: cost.unwrap_or_else(usual),
            missing: self.missing(&spec.adapter, &spec.options),
            record: records.get(&self.known_as(Performer::of(spec))).cloned().unwrap_or_default(),
        }
    }

    /// Returns by what records know an entry.
    pub fn performer(&self, entry: &Entry) -> Performer {
        self.known_as(Performer::of(&entry.spec()))
    }

    /// Names the model that an agent works with where nothing but the settings names one: who names it in a file means
    /// the same agent.
    fn known_as(&self, who: Performer) -> Performer {
        let settings = Client::of(&who.adapter).and_then(|client| self.clients.get(&client));
        let model = who.model.or_else(|| settings.and_then(|settings| settings.model.clone()));
        Performer { model, ..who }
    }

    /// Returns how agents have done in the runs of a place.
    pub fn records(&self, store: &Store) -> Records {
        let mut known = Records::default();
        for (who, record) in records(store) {
            known.entry(self.known_as(who)).or_default().merge(record);
        }
        known
    }

    /// Returns a plan with what attempts are expected to cost, if money or tokens are limited: what attempts at work of
    /// the same kind, by each agent that may come to perform it, cost in the runs of a place.
    pub fn foreseen(&self, plan: Arc<Plan>, limits: &Limits, store: &Store) -> Arc<Plan> {
        let is_limited = limits.usd_micros.is_some() || limits.tokens.is_some();
        match is_limited && plan.needs_agents() {
            true => Arc::new(self.foresee(&plan, &self.records(store))),
            false => plan,
        }
    }

    fn foresee(&self, plan: &Plan, records: &Records) -> Plan {
        plan.with_forecasts(&|plan| {
            let mut all = vec![Vec::new(); plan.definitions().len()];
            let mut seen = BTreeSet::new();
            // Of tasks that share a definition the first one says what kind of work it is: they differ in their names alone.
            for task in plan.graph().tasks().filter(|task| seen.insert(plan.definition_id(*task))) {
                all[plan.definition_id(task).index()] = self.costs(plan, task, records);
            }
            all
        })
    }

    fn costs(&self, plan: &Plan, task: TaskId, records: &Records) -> Vec<CostForecast> {
        let definition = plan.definition(task);
        let Work::Prompt(_) = &definition.work else { return Vec::new() };
        let kind = kind_of(plan, task);
        let forecast = |agent: AgentId| {
            let spec = plan.agent(agent).filter(|spec| spec.slot == Slot::Agent)?;
            let cost = records.get(&self.known_as(Performer::of(spec)))?.cost(kind)?;
            Some(CostForecast { agent, amount: cost.amount, attempts: cost.attempts })
        };
        performers(plan, definition).into_iter().filter_map(forecast).collect()
    }

    /// Ranks agents for the tasks of a plan that name skills; those that are ranked alike together.
    pub fn route(&self, plan: &Plan, records: &Records) -> Vec<(Vec<TaskId>, Ranking)> {
        let candidates: Vec<Candidate> = plan
            .agents()
            .iter()
            .enumerate()
            .filter(|(_, spec)| !spec.skills.is_empty())
            .map(|(at, spec)| self.candidate(at, spec, records))
            .collect();
        let mut groups: BTreeMap<_, Vec<TaskId>> = BTreeMap::new();
        for task in plan.graph().tasks() {
            let definition = plan.definition(task);
            if matches!(definition.work, Work::Prompt(_)) && !definition.skills.is_empty() {
                let key = (definition.skills.clone(), definition.agent, kind_of(plan, task));
                groups.entry(key).or_default().push(task);
            }
        }
        let ranked = groups.into_iter().map(|((skills, named, kind), tasks)| {
            let mut all = candidates.clone();
            // An agent that is named may have no skill of its own.
            let unlisted = named.filter(|named| !all.iter().any(|known| known.agent == *named));
            all.extend(
                unlisted.and_then(|named| Some(self.candidate(named.index(), plan.agent(named)?, records))),
            );
            let need = Need { skills: skills.into_iter().collect(), kind, named };
            (tasks, rank(&need, &all))
        });
        ranked.collect()
    }

    /// Returns the commands that put rankings to a run.
    pub fn commands(&self, plan: &Plan, records: &Records) -> Vec<Command> {
        let ranked = self.route(plan, records).into_iter().filter(|(_, ranking)| !ranking.chosen.is_empty());
        let command =
            |(tasks, Ranking { chosen, passed_over })| Command::Route { tasks, ranking: chosen, passed_over };
        ranked.map(command).collect()
    }

    /// Returns the first task whose agent cannot be started, nor any that would take over, with the agent's name and why.
    fn absent<'a>(&self, plan: &'a Plan) -> Option<(&'a str, &'a str, String)> {
        let installed = |spec: &AgentSpec| match Client::of(&spec.adapter) {
            _ if unknown_role(&spec.options).is_some() => false,
            // kapell itself asks a model, which takes no login.
            Some(Client::Model(_)) => self.missing(&spec.adapter, &spec.options).is_none(),
            Some(client) => self.program(client).is_some(),
            None => true,
        };
        plan.graph().tasks().find_map(|task| {
            let definition = plan.definition(task);
            let named = definition.agent.filter(|_| matches!(definition.work, Work::Prompt(_)))?;
            let next = |id: &AgentId| plan.agent(*id)?.fallback;
            let mut chain = std::iter::successors(Some(named), next).take(plan.agents().len());
            if chain.any(|id| plan.agent(id).is_some_and(installed)) {
                return None;
            }
            let spec = plan.agent(named)?;
            Some((plan.name(task), spec.name.as_str(), self.missing(&spec.adapter, &spec.options)?))
        })
    }

    /// Refuses a plan with a task that nobody here can perform.
    ///
    /// # Errors
    ///
    /// Fails with the first such task, and with what stands in the way of each agent.
    pub fn check(&self, plan: &Plan) -> Result<(), Fault> {
        if let Some((task, agent, why)) = self.absent(plan) {
            let task = kapell_view::untrusted::visible(task);
            let message = format!("nobody here can perform task `{task}`: agent `{agent}` cannot be used");
            return Err(Fault::new("K0920", Exit::Waits, message).because(why).hint("kapell doctor"));
        }
        for (tasks, ranking) in self.route(plan, &Records::default()) {
            let (Some(&task), true) = (tasks.first(), ranking.chosen.is_empty()) else { continue };
            let skills = plan.definition(task).skills.join(", ");
            let name = kapell_view::untrusted::visible(plan.name(task));
            let fault = Fault::new(
                "K0920",
                Exit::Waits,
                format!("nobody here can perform task `{name}`, which needs: {skills}"),
            );
            let why = ranking.passed_over.iter().map(|over| format!("{}: {}", over.agent, over.why));
            return Err(why
                .fold(fault, Fault::because)
                .hint("kapell agents, and [agent.NAME] in kapell.toml"));
        }
        for definition in plan.definitions() {
            if let Work::Workflow(child) = &definition.work {
                self.check(&child.plan)?;
            }
        }
        Ok(())
    }
}

/// Returns the role that an agent is to have, if the repository does not define it.
fn unknown_role(options: &BTreeMap<String, String>) -> Option<&str> {
    options.get(ROLE).filter(|_| !options.contains_key(ROLE_TEXT)).map(String::as_str)
}

/// Returns who may come to perform a task: its agent and those that take over for it, and all that have the skills which
/// it names.
fn performers(plan: &Plan, definition: &Definition) -> BTreeSet<AgentId> {
    let fallback = |agent: &AgentId| plan.agent(*agent)?.fallback;
    let chain = std::iter::successors(definition.agent, fallback).take(plan.agents().len());
    let skilled = (0..).map(AgentId).zip(plan.agents()).filter(|(_, spec)| {
        !definition.skills.is_empty() && definition.skills.iter().all(|skill| spec.skills.contains(skill))
    });
    chain.chain(skilled.map(|(agent, _)| agent)).collect()
}

/// Tells whether a plan has a task that names skills, at any depth.
pub fn has_skills(plan: &Plan) -> bool {
    plan.definitions().iter().any(|definition| match &definition.work {
        Work::Workflow(child) => has_skills(&child.plan),
        _ => !definition.skills.is_empty(),
    })
}

/// Learns from the newest runs how agents have done. What cannot be read teaches nothing.
fn records(store: &Store) -> Records {
    let mut records = Records::default();
    for (run, version) in recent(store, RUNS_MAX, DECISIONS_MAX) {
        let mut observer = Observer::default();
        let _ = load_at(store as &dyn Journal, run, version, |row, events, after| {
            observer.row(row, events, after, &mut records);
        });
    }
    records
}

#[cfg(test)]
mod tests {
    use kapell_core::plan::{PlanBuilder, PlanLimits};

    use super::*;

    #[test]
    fn who_may_come_to_perform_a_task_is_known_before_it_starts() {
        let mut builder = PlanBuilder::new();
        let skills = |list: &[&str]| list.iter().map(|skill| (*skill).to_owned()).collect::<Vec<_>>();
        // The first two take over from each other.
        for (fallback, can) in [(Some(1), vec![]), (Some(0), vec!["rust", "docs"]), (None, vec!["rust"])] {
            let (fallback, skills) = (fallback.map(AgentId), skills(&can));
            builder.agent(AgentSpec { fallback, skills, ..AgentSpec::default() });
        }
        let plan = builder.seal(PlanLimits::default()).unwrap();
        let of = |agent: Option<u32>, list: &[&str]| -> Vec<u32> {
            let (agent, skills) = (agent.map(AgentId), skills(list));
            let definition = Definition { agent, skills, ..Definition::new(Work::Noop) };
            performers(&plan, &definition).into_iter().map(|agent| agent.0).collect()
        };
        assert_eq!(of(Some(0), &[]), [0, 1]);
        assert_eq!(of(Some(2), &[]), [2]);
        assert_eq!((of(None, &["rust"]), of(None, &["rust", "docs"])), (vec![1, 2], vec![1]));
        assert_eq!((of(None, &[]), of(Some(0), &["go"])), (vec![], vec![0, 1]));
    }
}
