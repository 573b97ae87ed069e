//! Results of earlier runs that a new one takes over, by what they depend on.

use std::{cell::OnceCell, collections::BTreeMap, path::Path};

use kapell_agents::{
    drivers::client::Client,
    git::{OwnRepo, base_ref},
};
use kapell_core::{
    command::Command,
    id::{Digest, Oid, RunId},
    mission::Mission,
    plan::{Plan, Work},
    run::Run,
    task::Change,
};
use kapell_engine::{
    open::load_at,
    port::journal::{Journal, RunHead},
};
use kapell_policy::reuse::{
    Ground, Key, Offer, Past, Source, Terms, Wanted, keys, offer, read_sets, takeable,
};
use kapell_store::Store;
use kapell_view::{summary::RunPhase, text::short};

use crate::{commands::record::is_played, exit::Exit, fault::Fault, registry::Registry, runs, site::Site};

/// How many runs are looked at for results, the newest first, and how many decisions of all together.
const RUNS_MAX: usize = 20;
const DECISIONS_MAX: u64 = 200_000;

/// What a plan reads of the commit that it starts from.
#[derive(Debug, Clone, Default)]
pub struct Content {
    tree: Option<Oid>,
    reads: BTreeMap<Vec<String>, Digest>,
}

impl Content {
    /// Lets a commit stand for its content: enough between runs that go back to the same one.
    pub fn named(start: Option<Oid>) -> Self {
        Self { tree: start, reads: BTreeMap::new() }
    }

    /// Reads it.
    fn read(repo: &OwnRepo, start: Oid, plan: &Plan) -> Option<Self> {
        let reads = read_sets(plan).into_iter();
        let reads = reads.map(|list| Some((list.to_vec(), repo.content_of(start, list).ok()?)));
        Some(Self { tree: Some(repo.tree_of(start).ok()?), reads: reads.collect::<Option<_>>()? })
    }

    /// Computes the keys of all tasks.
    pub fn keys(&self, plan: &Plan, mission: &Mission) -> Vec<Key> {
        keys(&Ground { plan, mission, tree: self.tree, reads: &self.reads })
    }
}

/// Returns what the agents of a plan are now, by adapter: their programs, and what the settings say of them. A program that
/// was replaced is another version, and so is another model: no program is started to ask it.
pub fn versions(registry: &Registry, plan: &Plan) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    for spec in plan.agents() {
        let version = Client::of(&spec.adapter).and_then(|client| version(registry, client));
        versions.extend(version.map(|version| (spec.adapter.clone(), version)));
    }
    for definition in plan.definitions() {
        if let Work::Workflow(child) = &definition.work {
            versions.extend(self::versions(registry, &child.plan));
        }
    }
    versions
}

/// Returns `None` for a client of which nothing can be told.
fn version(registry: &Registry, client: Client) -> Option<String> {
    let program = registry.program(client).and_then(|program| stamp(&program));
    let settings = registry.settings(client);
    let server = settings.map(|settings| (&settings.model, &settings.base_url, &settings.args));
    let told = match (program, server) {
        (None, None | Some((None, None, _))) => return None,
        // As it was told before settings counted.
        (Some(program), None) => program,
        (Some(program), Some((None, None, args))) if args.is_empty() => program,
        (program, server) => format!("{}\0{server:?}", program.unwrap_or_default()),
    };
    Some(Digest::of(told.as_bytes()).to_string()[..16].to_owned())
}

/// Returns what is other if a program was replaced.
fn stamp(program: &Path) -> Option<String> {
    let file = program.canonicalize().ok()?;
    let meta = file.metadata().ok()?;
    let changed = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(format!("{}\0{}\0{}", file.display(), meta.len(), changed.as_nanos()))
}

/// Results that a new run takes over.
pub struct Taken {
    /// Where from.
    pub from: RunId,
    /// What is to be put to the new run before anything else.
    pub commands: Vec<Command>,
}

/// An earlier run, and what can be taken over of it.
struct Found {
    run: Run,
    offer: Offer,
}

/// Looks in the newest runs for results that still hold, and makes `mission` start where they are there.
///
/// They come from one run: the one with the most. A run that somebody executes now is not looked at. Nothing is taken over
/// if the file succeeded when it was run last: who runs that again wants it done again.
pub fn take(
    site: &Site,
    store: &Store,
    repo: &OwnRepo,
    mission: &mut Mission,
    plan: &Plan,
    anew: bool,
) -> Option<Taken> {
    let most = takeable(plan);
    let runs = store.runs().ok()?;
    let newest = || runs.iter().filter(|head| !runs::is_child(head.run)).take(RUNS_MAX);
    if mission.base.is_none() || most == 0 || succeeded_last(store, newest(), mission) {
        return None;
    }
    let search = Search { site, store, repo, mission, plan, anew, now: OnceCell::new() };
    let mut left = DECISIONS_MAX;
    let mut best: Option<Found> = None;
    for head in newest() {
        // A run that is too long for what is left hides none of the shorter ones before it.
        let Some(rest) = left.checked_sub(head.version.0) else { continue };
        let Some(then) = search.candidate(head) else { continue };
        left = rest;
        let Some(found) = search.look(head, then) else { continue };
        if best.as_ref().is_none_or(|best| best.offer.len() < found.offer.len()) {
            let all = found.offer.len() == most;
            best = Some(found);
            if all {
                break;
            }
        }
    }
    let Found { run, offer } = best?;
    let start = mission.start();
    if offer.base != mission.base {
        hold(site, repo, &run, offer.base).ok()?;
    }
    mission.base = offer.base;
    mission.origin = start.filter(|start| offer.base != Some(*start));
    mission.forked_from = Some((run.id(), run.version()));
    Some(Taken { from: run.id(), commands: offer.commands(&run, run.version()) })
}

/// Tells whether the last run of the same file succeeded, if it is among `newest`.
fn succeeded_last<'a>(
    store: &Store,
    mut newest: impl Iterator<Item = &'a RunHead>,
    mission: &Mission,
) -> bool {
    let is_same = |old: &Mission| old.definition.is_some() && old.definition == mission.definition;
    let last =
        newest.find(|head| runs::mission(store, head.run).is_ok_and(|old| is_same(&old) && !is_played(&old)));
    last.and_then(|head| runs::summary(store, head))
        .is_some_and(|summary| summary.phase == RunPhase::Succeeded)
}

impl Taken {
    /// Says how much is taken over, and from where.
    pub fn told(&self, plan: &Plan) -> String {
        let (taken, all) = (self.commands.len(), plan.len());
        let noun = if all == 1 { "task" } else { "tasks" };
        format!("{taken} of {all} {noun} taken from run {} (--fresh does them again)", short(self.from))
    }
}

struct Search<'a> {
    site: &'a Site,
    store: &'a Store,
    repo: &'a OwnRepo,
    mission: &'a Mission,
    plan: &'a Plan,
    anew: bool,
    /// What the new run starts from; read only if it matters.
    now: OnceCell<Option<Content>>,
}

impl Search<'_> {
    /// Tells by what is read quickly whether a run is looked at, and returns what it started from.
    fn candidate(&self, head: &RunHead) -> Option<Oid> {
        let old = runs::mission(self.store, head.run).ok()?;
        let same_file = old.definition? == self.mission.definition?;
        if is_played(&old) || same_file && self.anew || self.store.owner(head.run).ok()?.is_some() {
            return None;
        }
        if same_file && runs::summary(self.store, head)?.phase == RunPhase::Succeeded {
            return None;
        }
        old.start()
    }

    fn look(&self, head: &RunHead, start: Oid) -> Option<Found> {
        let (then, now) = self.contents(start)?;
        let mut past = Past::default();
        let run = load_at(self.store as &dyn Journal, head.run, head.version, |row, events, _| {
            past.see(row.n, events);
        })
        .ok()?;
        let is_there = |change: Change, landed| {
            let stands = |base| self.repo.stands_in((change.base, change.commit), landed, base);
            self.mission.base.is_some_and(|base| stands(base).unwrap_or(false))
        };
        let source = Source { run: &run, past: &past, keys: &then.keys(run.plan(), run.mission()) };
        let keys = now.keys(self.plan, self.mission);
        let wanted = Wanted { plan: self.plan, mission: self.mission, keys: &keys };
        let offer = offer(&source, &wanted, Terms::Run, &is_there);
        let usable = !offer.is_empty() && offer.stuck.is_none() && self.is_kept(&run, offer.base);
        usable.then_some(Found { run, offer })
    }

    /// Returns what both runs start from; `None` if they have nothing in common.
    fn contents(&self, then: Oid) -> Option<(Content, Content)> {
        if self.mission.start() == Some(then) {
            return Some((Content::named(Some(then)), Content::named(Some(then))));
        }
        let now = self.now.get_or_init(|| Content::read(self.repo, self.mission.start()?, self.plan));
        let now = now.clone()?;
        let then = Content::read(self.repo, then, self.plan)?;
        let shared = |(list, digest): (&Vec<String>, &Digest)| then.reads.get(list) == Some(digest);
        (then.tree == now.tree || now.reads.iter().any(shared)).then_some((then, now))
    }

    /// Tells whether what the new run would start from has not been collected.
    fn is_kept(&self, run: &Run, base: Option<Oid>) -> bool {
        let Some(user) = &self.site.repo else { return false };
        base == self.mission.base
            || user.find_ref(&base_ref(run.id())).is_ok_and(|at| at == run.mission().base)
    }
}

/// Brings what had landed into the user's repository, so that a ref there can hold it as the base of the new run.
///
/// # Errors
///
/// Fails if the work of the run has been collected, or cannot be brought over.
pub fn hold(site: &Site, repo: &OwnRepo, run: &Run, base: Option<Oid>) -> Result<(), Fault> {
    let (Some(user), Some(old), Some(new)) = (&site.repo, run.mission().base, base) else {
        return Ok(());
    };
    if old == new {
        return Ok(());
    }
    let name = base_ref(run.id());
    if user.find_ref(&name)? != Some(old) {
        return Err(Fault::new(
            "K0509",
            Exit::Refused,
            format!("the work of run {} has been collected", short(run.id())),
        )
        .because(format!("{name} is gone"))
        .hint("kapell run FILE starts from the file"));
    }
    // The ref does not move: only objects are brought over, as before a merge.
    repo.prepare_merge(user, &name, old, new)?;
    Ok(())
}
