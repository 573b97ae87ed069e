//! `verify`: what the journal holds is recomputed, and what it claims is derived anew from git.

use std::collections::BTreeMap;

use kapell_agents::git::{self, OwnRepo};
use kapell_core::{
    event::Event,
    id::{Digest, Oid, RunId, TaskId},
    journal::Version,
    run::Run,
};
use kapell_engine::{open::load_at, port::journal::Journal};
use kapell_store::{Expected, Scope, Store};
use kapell_view::{
    report::Head,
    text::{Line, Style, count, plural, short},
    untrusted::Untrusted,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::Context;
use crate::{
    args::VerifyArgs, exit::Exit, fault::Fault, output::paint, runs, site::Site, wiring::open_own_repo,
};

/// What was verified.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Verified {
    /// The version of this form: 1.
    version: u32,
    /// Whether everything that is claimed holds.
    holds: bool,
    /// How many decisions had their hash recomputed.
    decisions: u64,
    /// The bytes of their bodies.
    bytes: u64,
    /// Each run, replayed.
    runs: Vec<VerifiedRun>,
}

/// A run whose chain was recomputed and whose decisions were replayed.
#[derive(Debug, Serialize, JsonSchema)]
struct VerifiedRun {
    /// Its id.
    run: String,
    /// Its last decision and the hash of it, for `kapell verify --against`.
    head: Head,
    /// Each change that it says has landed.
    landed: Vec<Claim>,
    /// The merge that it says was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    merged: Option<Claim>,
}

/// Something that the journal says about git.
#[derive(Debug, Serialize, JsonSchema)]
struct Claim {
    /// The task whose change it is; none for a merge.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<Untrusted>,
    /// The commit that is said to hold it.
    commit: String,
    /// The ref that is said to contain the commit.
    #[serde(rename = "ref")]
    name: String,
    /// Whether git says so too.
    state: ClaimState,
    /// What git says instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// What git says of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ClaimState {
    /// It is so.
    Holds,
    /// It was so; the target branch has been moved away since, by somebody else.
    MovedOn,
    /// The run's refs have been collected, and the target holds nothing of it: nothing can be said.
    Collected,
    /// It is not so.
    Broken,
}

/// What the decisions of one run say about git.
#[derive(Default)]
struct Claims {
    submitted: BTreeMap<TaskId, Oid>,
    landed: Vec<(TaskId, Option<Oid>, Oid)>,
    merged: Option<(String, Oid)>,
    /// Whether a merge is intended of which nothing more is known yet.
    merges: bool,
}

impl Claims {
    fn see(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Submitted { task, change: Some(change), .. } => {
                    self.submitted.insert(*task, change.commit);
                }
                // What took a change back has landed as well.
                Event::Compensated { task, commit: Some(commit), .. } => {
                    self.landed.push((*task, None, *commit));
                }
                Event::Landed { task, commit } => {
                    self.landed.push((*task, self.submitted.get(task).copied(), *commit));
                }
                Event::Reused { task, landed: Some(commit), .. } => {
                    self.landed.push((*task, None, *commit));
                }
                Event::MergeStarted { .. } => self.merges = true,
                Event::Merged { target, to } => {
                    (self.merged, self.merges) = (Some((target.clone(), *to)), false);
                }
                // One that did not happen leaves the one before.
                Event::MergeUndone { .. } if self.merges => self.merges = false,
                Event::MergeUndone { .. } => self.merged = None,
                _ => {}
            }
        }
    }
}

/// Checks the journal, and every claim in it against git.
///
/// # Errors
///
/// Fails with the first damage of the journal that is found.
pub fn verify(context: &Context, args: &VerifyArgs) -> Result<Exit, Fault> {
    let site = context.site()?;
    let store = site.existing_store()?;
    let named = match (&args.run, &args.against) {
        (None, None) => None,
        (name, _) => Some(runs::find(&store, name.as_deref())?.run),
    };
    let expected: Vec<Expected> = named
        .zip(args.against.as_deref())
        .map(|(run, head)| expected(run, head))
        .transpose()?
        .into_iter()
        .collect();
    let scope = named.map_or(Scope::All, Scope::Run);
    let report = store.verify(scope, &expected)?;
    let repo = open_own_repo(&site)?;
    let mut verified = Verified {
        version: 1,
        holds: true,
        decisions: report.decisions,
        bytes: report.bytes,
        runs: Vec::new(),
    };
    // Newest first, as they are listed elsewhere.
    for (run, (n, hash)) in report.heads.into_iter().rev() {
        verified.runs.push(verify_run(&store, &site, repo.as_ref(), run, n, hash)?);
    }
    let mut claims = verified.runs.iter().flat_map(|run| run.landed.iter().chain(&run.merged));
    verified.holds = !claims.any(|claim| claim.state == ClaimState::Broken);
    match context.out.json {
        true => context.out.value(&verified),
        false => context.out.data(&paint(&verified.lines())),
    }
    Ok(if verified.holds { Exit::Done } else { Exit::Failures })
}

fn expected(run: RunId, head: &str) -> Result<Expected, Fault> {
    let parsed = head.split_once(':').and_then(|(n, hash)| {
        Some(Expected { run, n: Version(n.parse().ok()?), hash: hash.parse::<Digest>().ok()? })
    });
    parsed.ok_or_else(|| {
        Fault::new("K0906", Exit::Usage, format!("`{head}` is not the head of a journal"))
            .because("a head is the number of a decision, a colon, and its hash of 64 hexadecimal digits")
            .hint("kapell report RUN prints it in its last line")
    })
}

fn verify_run(
    store: &Store,
    site: &Site,
    repo: Option<&OwnRepo>,
    id: RunId,
    n: Version,
    hash: Digest,
) -> Result<VerifiedRun, Fault> {
    let mut claims = Claims::default();
    let run = load_at(store as &dyn Journal, id, n, |_, events, _| claims.see(events))?;
    let head = Head { n: n.0, hash: hash.to_string() };
    let (mut landed, mut merged) = (Vec::new(), None);
    if let (Some(repo), Some(landing)) = (repo, run.landing()) {
        let git = Git { repo, site, run: &run, merged: claims.merged.as_ref() };
        landed = claims.landed.iter().map(|claim| git.landed(*claim)).collect();
        // What the state says the ref is, it must be: work that landed must not have been cut off.
        if let Some(broken) = git.head(landing.head()).filter(|_| !claims.landed.is_empty()) {
            landed.push(broken);
        }
        merged = claims.merged.as_ref().map(|(target, to)| git.merged(target, *to));
    }
    Ok(VerifiedRun { run: id.to_string(), head, landed, merged })
}

/// One run with the repositories that it speaks of.
struct Git<'a> {
    repo: &'a OwnRepo,
    site: &'a Site,
    run: &'a Run,
    merged: Option<&'a (String, Oid)>,
}

impl Git<'_> {
    fn claim(
        &self,
        task: Option<TaskId>,
        commit: Oid,
        name: &str,
        state: ClaimState,
        why: Option<String>,
    ) -> Claim {
        let task = task.map(|task| Untrusted::from(self.run.plan().name(task)));
        Claim { task, commit: commit.to_string(), name: name.to_owned(), state, why }
    }

    /// A change has landed if the integration ref holds the commit, and the commit what was submitted.
    fn landed(&self, (task, submitted, commit): (TaskId, Option<Oid>, Oid)) -> Claim {
        let name = git::head_ref(self.run.id());
        let (state, why) = match self.look(&name, submitted, commit) {
            Ok(answer) => answer,
            Err(error) => (ClaimState::Broken, Some(format!("{error}: {}", error.kind))),
        };
        self.claim(Some(task), commit, &name, state, why)
    }

    fn look(
        &self,
        name: &str,
        submitted: Option<Oid>,
        commit: Oid,
    ) -> Result<(ClaimState, Option<String>), git::Error> {
        let broken = |why: String| Ok((ClaimState::Broken, Some(why)));
        let head = match (self.repo.run_head(self.run.id())?, self.merged) {
            (Some(head), _) => head,
            // Once merged, the target keeps it.
            (None, Some((_, to))) => *to,
            (None, None) => return Ok((ClaimState::Collected, Some(format!("{name} has been collected")))),
        };
        if !self.repo.is_ancestor(commit, head)? {
            return broken(format!("{name} is at {head}, which does not contain it"));
        }
        match submitted {
            Some(submitted) if !self.repo.is_ancestor(submitted, commit)? => {
                broken(format!("it does not contain {submitted}, which was submitted"))
            }
            _ => Ok((ClaimState::Holds, None)),
        }
    }

    /// Compares the integration ref with where the journal says that it is.
    fn head(&self, expected: Oid) -> Option<Claim> {
        let name = git::head_ref(self.run.id());
        let found = match self.repo.run_head(self.run.id()) {
            Ok(Some(found)) => found,
            Ok(None) => return None,
            Err(error) => {
                return Some(self.claim(None, expected, &name, ClaimState::Broken, Some(error.to_string())));
            }
        };
        // A move that is under way may be done already.
        let moving = self.run.ref_move().is_some_and(|(from, to)| found == from || found == to);
        let why = format!("{name} is at {found}");
        (found != expected && !moving)
            .then(|| self.claim(None, expected, &name, ClaimState::Broken, Some(why)))
    }

    fn merged(&self, target: &str, to: Oid) -> Claim {
        let found = self.site.repo.as_ref().and_then(|user| user.find_ref(target).ok()).flatten();
        let holds = found.is_some_and(|found| self.repo.is_ancestor(to, found).unwrap_or(false));
        if holds {
            return self.claim(None, to, target, ClaimState::Holds, None);
        }
        let why = match found {
            Some(found) => format!("{target} has moved on: it is at {found}, which does not contain it"),
            None => format!("{target} does not exist any more"),
        };
        self.claim(None, to, target, ClaimState::MovedOn, Some(why))
    }
}

impl Verified {
    fn lines(&self) -> Vec<Line> {
        let mut lines = vec![Line::new(Style::Good, "ok").with(
            Style::Plain,
            format!(
                "  {} decisions of {} recomputed and replayed",
                count(self.decisions),
                plural(self.runs.len() as u64, "run")
            ),
        )];
        for run in &self.runs {
            let claims: Vec<&Claim> = run.landed.iter().collect();
            let changes = claims.iter().filter(|claim| claim.task.is_some());
            let good = changes.clone().filter(|claim| claim.state == ClaimState::Holds).count();
            let id = run.run.parse::<RunId>().map_or_else(|_| run.run.clone(), short);
            let mut line = Line::new(Style::Strong, id);
            line.push(Style::Plain, format!("  {} decisions", count(run.head.n)));
            if !claims.is_empty() {
                line.push(Style::Plain, format!(", {good} of {} landed", changes.count()));
            }
            if let Some(merged) = &run.merged {
                let text =
                    if merged.state == ClaimState::Holds { "merged" } else { "merged, and moved on since" };
                line.push(Style::Plain, format!(", {text}"));
            }
            line.push(Style::Dim, format!("  head {}:{}", run.head.n, run.head.hash));
            lines.push(line);
            let told = claims.into_iter().chain(&run.merged).filter(|claim| claim.state != ClaimState::Holds);
            lines.extend(told.flat_map(Claim::lines));
        }
        lines
    }
}

impl Claim {
    fn lines(&self) -> Vec<Line> {
        let (style, word) = match self.state {
            ClaimState::Broken => (Style::Bad, "broken"),
            ClaimState::MovedOn => (Style::Warn, "moved on"),
            ClaimState::Collected => (Style::Dim, "collected"),
            ClaimState::Holds => (Style::Good, "holds"),
        };
        let task = self.task.as_ref().map_or_else(String::new, |task| format!("{}: ", task.visible()));
        let mut line = Line::new(style, format!("  {word}"));
        line.push(Style::Plain, format!("  {task}commit {}", self.commit));
        let why = self.why.as_ref().map(|why| Line::new(Style::Plain, format!("    {why}")));
        std::iter::once(line).chain(why).collect()
    }
}
