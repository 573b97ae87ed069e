//! What flows along an edge of `needs`: data, a status, an approval, or something that no file shows.

use kapell_core::expr::{Key, NodeKind};
use kapell_spec::{
    finding::Span,
    github::{Condition, Job, Step, Uses},
};

use super::{Flow, Github, facts::Done, globs, script::Command, tools::Kind};

/// Why a job waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carry {
    /// It reads outputs or the result.
    Outputs,
    /// Its condition asks for the status of what it needs.
    Status,
    /// The other has a condition, and this one is skipped with it.
    Condition,
    /// The other waits for an approval.
    Approval,
    /// An artifact goes from one to the other.
    Artifact,
    /// A cache does.
    Cache,
    /// It changes something outside, and waits for a check.
    Gate,
    /// It only collects results.
    FanIn,
    /// The other changes something outside that this one may rely on, or does something unknown.
    Opaque,
}

impl Github {
    /// Tells what flows from `need` to `job` of a workflow; `None` if nothing can.
    #[must_use]
    pub fn carries(&self, flow: &Flow, need: usize, job: usize) -> Option<Carry> {
        let (from, to) = (&flow.model.jobs[need], &flow.model.jobs[job]);
        if reads(to, &from.id.text) {
            return Some(Carry::Outputs);
        }
        if to.condition.as_ref().is_some_and(Condition::asks_status) {
            return Some(Carry::Status);
        }
        if from.condition.is_some() {
            return Some(Carry::Condition);
        }
        if from.environment.is_some() || from.concurrency.is_some() || to.concurrency.is_some() {
            return Some(Carry::Approval);
        }
        let (sources, sinks) = (self.deep(flow, need), self.deep(flow, job));
        if self.artifact_flows(&sources, &sinks) || takes_unseen(flow, need, job) {
            return Some(Carry::Artifact);
        }
        if cache_flows(&sources, &sinks) {
            return Some(Carry::Cache);
        }
        if sinks.iter().any(|(flow, job)| changes(flow, *job)) {
            return Some(Carry::Gate);
        }
        if to.uses.is_none() && flow.steps(job).all(|(_, facts)| facts.works.is_empty()) {
            return Some(Carry::FanIn);
        }
        sources.iter().any(|(flow, job)| may_carry(flow, *job)).then_some(Carry::Opaque)
    }

    fn artifact_flows(&self, sources: &[(&Flow, usize)], sinks: &[(&Flow, usize)]) -> bool {
        let uploads = artifacts(sources, |facts| &facts.uploads);
        let downloads = artifacts(sinks, |facts| &facts.downloads);
        let remote = |jobs: &[(&Flow, usize)]| {
            jobs.iter().any(|(flow, job)| calls_unknown(self, &flow.model.jobs[*job]))
        };
        // A workflow of another repository may give and take anything.
        if remote(sources) && (!downloads.is_empty() || remote(sinks)) || remote(sinks) && !uploads.is_empty()
        {
            return true;
        }
        uploads
            .iter()
            .any(|up| downloads.iter().any(|down| down.all || globs::any_overlap(&up.names, &down.names)))
    }
}

/// Tells whether a job takes an artifact that no step is seen to upload, and the other runs an action that may do so.
fn takes_unseen(flow: &Flow, need: usize, job: usize) -> bool {
    let others = |name: &String| !name.starts_with("actions/") && !name.starts_with("./");
    let foreign = || flow.facts[need].iter().flat_map(|facts| &facts.actions).any(others);
    let uploads = || flow.facts.iter().flatten().flat_map(|facts| &facts.uploads);
    let mut downloads = flow.facts[job].iter().flat_map(|facts| &facts.downloads);
    downloads.any(|down| {
        let seen = |up: &super::facts::Artifact| globs::any_overlap(&up.names, &down.names);
        !down.elsewhere && !down.all && !uploads().any(seen) && foreign()
    })
}

fn artifacts<'a>(
    jobs: &[(&'a Flow, usize)],
    of: impl Fn(&'a super::StepFacts) -> &'a Vec<super::facts::Artifact>,
) -> Vec<&'a super::facts::Artifact> {
    jobs.iter().flat_map(|(flow, job)| flow.facts[*job].iter()).flat_map(of).collect()
}

/// Tells whether a job calls a workflow that is not here.
#[must_use]
pub fn calls_unknown(github: &Github, job: &Job) -> bool {
    job.uses.is_some() && (!matches!(job.called(), Some(Uses::Local(_))) || github.called(job).is_none())
}

/// Tells whether a job reads anything of the job `need`.
#[must_use]
pub fn reads(job: &Job, need: &str) -> bool {
    job.expressions.iter().any(|found| {
        let mut reads = false;
        found.expr.root().walk(&mut |node| match &node.kind {
            NodeKind::Access { base, path } if is_needs(base) => {
                reads |= match path.first().map(|step| &step.key) {
                    Some(Key::Property(name)) => name.eq_ignore_ascii_case(need),
                    // A computed name or `needs.*` may be any.
                    _ => true,
                };
            }
            // `toJSON(needs)`.
            NodeKind::Call { arguments, .. } => reads |= arguments.iter().any(is_needs),
            _ => {}
        });
        reads
    })
}

/// Returns the outputs of the job `need` that a job reads, and the scalars in which it does; `*` where it may be any.
#[must_use]
pub fn outputs_read(job: &Job, need: &str) -> Vec<(String, Span)> {
    let mut read = Vec::new();
    for found in &job.expressions {
        found.expr.root().walk(&mut |node| {
            let NodeKind::Access { base, path } = &node.kind else { return };
            let mut names = path.iter().map(|step| match &step.key {
                Key::Property(name) => Some(&**name),
                _ => None,
            });
            let mut is =
                |wanted: &str| names.next().flatten().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
            if is_needs(base) && is(need) && is("outputs") {
                let name = names.next().map_or("*", |name| name.unwrap_or("*"));
                read.push((name.to_owned(), found.scalar));
            }
        });
    }
    read
}

/// Returns the artifacts that go from one job to another, by the name that the taker writes, and the steps that take them.
#[must_use]
pub fn artifacts_taken(flow: &Flow, from: usize, to: usize) -> Vec<(String, Span)> {
    let given: Vec<&String> =
        flow.facts[from].iter().flat_map(|facts| &facts.uploads).flat_map(|upload| &upload.names).collect();
    let mut taken = Vec::new();
    for (step, facts) in flow.steps(to) {
        for download in facts.downloads.iter().filter(|download| !download.elsewhere) {
            let names = given.iter().filter(|name| {
                download.all || download.names.iter().any(|wanted| globs::overlap(wanted, name))
            });
            taken.extend(names.map(|name| ((*name).clone(), step.span)));
        }
    }
    taken
}

/// Tells whether a cache that one job saves is restored by another.
#[must_use]
pub fn cache_taken(flow: &Flow, from: usize, to: usize) -> bool {
    cache_flows(&[(flow, from)], &[(flow, to)])
}

fn is_needs(node: &kapell_core::expr::Node) -> bool {
    matches!(&node.kind, NodeKind::Name(name) if name.eq_ignore_ascii_case("needs"))
}

/// Tells whether a job changes something outside that others rely on.
#[must_use]
pub fn changes(flow: &Flow, job: usize) -> bool {
    let facts = &flow.facts[job];
    flow.model.jobs[job].environment.as_ref().is_some_and(|environment| {
        // An expression that picks one, or none, may only give access to secrets.
        !environment.no_deployment && environment.name.as_ref().is_some_and(|name| name.literal().is_some())
    }) || facts.iter().any(|facts| facts.mutation().is_some() || facts.does(Kind::PullRequest))
}

/// Tells whether a job deploys, publishes or releases.
#[must_use]
pub fn delivers(flow: &Flow, job: usize) -> bool {
    let goes_out = |kind: Kind| matches!(kind, Kind::Deploy | Kind::Publish | Kind::Release);
    flow.facts[job].iter().any(|facts| facts.works.iter().any(|done| goes_out(done.work.kind)))
}

/// Tells whether a job holds a key, and sends something to a server of which no table knows what it does with that.
#[must_use]
pub fn sends(flow: &Flow, job: usize) -> bool {
    const CHANGES: &[&str] = &["POST", "PUT", "PATCH", "DELETE", "-XPOST", "-XPUT", "-XPATCH", "-XDELETE"];
    let changes = |command: &Command| {
        matches!(command.program(), "curl" | "wget" | "http")
            && command.words.iter().any(|word| CHANGES.contains(&word.as_str()))
    };
    flow.lets_out(job) && flow.facts[job].iter().any(|facts| facts.commands.iter().any(changes))
}

/// Tells whether something may go out of a job on a way that no file shows.
fn may_carry(flow: &Flow, job: usize) -> bool {
    let model = &flow.model.jobs[job];
    let own_runner = model.runs_on.iter().any(|label| {
        label.text.contains("self-hosted") || label.literal().is_none() && !label.text.contains("matrix")
    });
    let remote = model.uses.is_some() && !matches!(model.called(), Some(Uses::Local(_)));
    if own_runner || remote {
        return true;
    }
    let let_in = flow.lets_out(job);
    let carries = |done: &Done| {
        done.work.kind.may_carry() && (let_in || done.work.kind != Kind::Unknown || done.command.is_none())
    };
    flow.facts[job].iter().any(|facts| facts.works.iter().any(carries))
}

impl Flow {
    /// Tells whether a job holds a key to anything outside: a secret, or a token that may write. A command that nobody
    /// knows can leave nothing there for others without one.
    pub(crate) fn lets_out(&self, job: usize) -> bool {
        let model = &self.model.jobs[job];
        let text = |span: Span| self.text.get(span.range()).unwrap_or_default();
        let keys = ["secrets.", "secrets[", "secrets)", "github.token", ": write", "write-all"];
        let holds = |text: &str| keys.iter().any(|key| text.contains(key));
        let top = ["env", "permissions"].iter().filter_map(|key| self.model.keys.get(key));
        holds(text(model.span)) || top.into_iter().any(|key| holds(text(key.value)))
    }
}

/// Tells whether one job saves a cache that the other restores.
/// Places of what tools have fetched: what is not there they fetch by themselves.
const FETCHED: &[&str] = &[
    "go/pkg/mod",
    "go-build",
    ".cargo/registry",
    ".cargo/git",
    ".npm",
    ".cache/pip",
    ".m2",
    ".gradle/caches",
    ".gradle/wrapper",
    "pnpm-store",
    ".cache/yarn",
    ".nuget/packages",
    "pypoetry",
];

/// Tells whether a cache holds only what a tool would fetch anyway: no job waits for such a thing.
fn is_fetched(step: &Step) -> bool {
    let path = step.input("path").map_or("", |path| &path.text);
    let mut lines = path.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    lines.peek().is_some() && lines.all(|line| FETCHED.iter().any(|part| line.contains(part)))
}

fn cache_flows(sources: &[(&Flow, usize)], sinks: &[(&Flow, usize)]) -> bool {
    // A job that does nothing but fetch is there to fill the cache for the others.
    let fetches = |kind: Kind| {
        let prepares =
            [Kind::Checkout, Kind::Setup, Kind::Install, Kind::Cache, Kind::Trivial, Kind::Download];
        prepares.contains(&kind)
    };
    let works = |(flow, job): &(&Flow, usize)| {
        flow.facts[*job].iter().any(|facts| facts.works.iter().any(|done| !fetches(done.work.kind)))
    };
    let works = sources.iter().any(works);
    let keys = |jobs: &[(&Flow, usize)], names: &[&str]| -> Vec<String> {
        jobs.iter()
            .flat_map(|(flow, job)| &flow.model.jobs[*job].steps)
            .filter(|step| names.iter().any(|name| step.is(name)) && !(works && is_fetched(step)))
            .flat_map(|step| {
                let key = step.input("key").map(|text| pattern(&text.text));
                let more = step.input("restore-keys").map(|text| {
                    text.text
                        .lines()
                        .filter(|line| !line.trim().is_empty())
                        .map(|line| format!("{}*", pattern(line.trim())))
                        .collect::<Vec<_>>()
                });
                key.into_iter().chain(more.unwrap_or_default())
            })
            .collect()
    };
    let saved = keys(sources, &["actions/cache", "actions/cache/save"]);
    let restored = keys(sinks, &["actions/cache", "actions/cache/restore"]);
    globs::any_overlap(&saved, &restored)
}

/// Replaces expressions by `*`, but keeps those that are the same everywhere in a run as their text.
fn pattern(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${{") {
        out.push_str(&rest[..start]);
        let end = rest[start..].find("}}").map_or(rest.len(), |len| start + len + 2);
        out.push('*');
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}
