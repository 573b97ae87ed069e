//! A run that changes something outside can be cancelled half way.

use crate::github::{Flow, conditions::Run, facts::Done, tools::Kind, world::World};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};
use kapell_core::expr::Expr;
use kapell_spec::{
    finding::Span,
    github::{Concurrency, Condition, Step, Text},
};
use kapell_view::audit::{Confidence, FixClass, Severity};

/// See `docs/rules/cancel-on-mutating.md`.
pub(super) static RULE: Rule = Rule {
    name: "cancel-on-mutating",
    summary: "A run that changes something outside can be cancelled half way",
    group: Group::Safety,
    anti_pattern: Some(AntiPattern::NoRollback),
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/cancel-on-mutating.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        if let Some(concurrency) = &flow.model.concurrency {
            let all: Vec<usize> = (0..flow.model.jobs.len()).collect();
            look(repository, flow, concurrency, &all, report);
        }
        for (at, job) in flow.jobs() {
            if let Some(concurrency) = &job.concurrency {
                look(repository, flow, concurrency, &[at], report);
            }
        }
    }
}

/// When the runs of a group are cancelled.
struct Shared<'a> {
    flow: &'a Flow,
    concurrency: &'a Concurrency,
    cancel: &'a Text,
    /// Whether each ref or pull request has a group of its own, so that only its own newer push cancels.
    per_item: bool,
    /// Whether it is of previews, which a workflow delivers that another one starts for each branch.
    previews: bool,
    /// Whether only pull requests have a group of several runs: `github.head_ref || github.run_id`.
    pulls_only: bool,
}

impl<'a> Shared<'a> {
    /// Returns the group, unless no two runs share it.
    fn of(flow: &'a Flow, concurrency: &'a Concurrency) -> Option<Self> {
        let cancel = concurrency.cancel.as_ref()?;
        let named = |words: &[&str]| {
            let group = concurrency.group.as_ref();
            group.is_some_and(|group| words.iter().any(|word| group.text.contains(word)))
        };
        // The run or the commit is in its name, or stands in for the branch that only a pull request has.
        let of_run = named(&["run_id", "github.sha", "run_number", "run_attempt"]);
        let pulls_only = of_run && named(&["github.head_ref"]);
        let alone = of_run && !pulls_only;
        let per_item = named(&[
            "event.pull_request.number",
            "event.issue.number",
            "event.number",
            "github.ref ",
            "github.ref}",
            "github.ref_name",
            "github.head_ref",
        ]);
        let is_preview = |text: &str| text.to_ascii_lowercase().contains("preview");
        let named_preview = concurrency.group.as_ref().is_some_and(|group| is_preview(&group.text));
        let previews = named(&["workflow_run.head_branch", "workflow_run.pull_requests"])
            && (named_preview || is_preview(flow.name()));
        (!alone).then_some(Self { flow, concurrency, cancel, per_item, previews, pulls_only })
    }

    /// Tells whether it is certain that a newer run cancels in a situation.
    fn cancels(&self, world: usize) -> bool {
        if self.cancel.is("true") || self.cancel.is("false") {
            return self.cancel.is("true");
        }
        let expr = self.cancel.expression().and_then(|inner| Expr::parse(inner).ok());
        expr.is_some_and(|expr| self.flow.scope(world, 0, false).truth(expr.root()) == Some(true))
    }

    /// Returns the situations in which a job runs and may be cancelled by what another push started.
    fn worlds(&self, job: usize) -> impl Iterator<Item = usize> {
        let flow = self.flow;
        (0..flow.worlds.len()).filter(move |&world| {
            let pull = flow.worlds[world].is_pull_request();
            let own = pull || once(&flow.worlds[world]);
            let shared = pull || !self.pulls_only;
            let own = own && self.per_item
                || self.previews && flow.worlds[world].event.as_deref() == Some("workflow_run");
            flow.runs[world][job] != Run::Never && shared && self.cancels(world) && !own
        })
    }

    /// Finds what is delivered while it may be cancelled: the job, how, where, and how much a cut leaves behind. What is
    /// replaced as a whole counts least.
    fn half_way(&self, repository: &Repository, jobs: &[usize]) -> Option<(usize, Kind, Span, Severity)> {
        let flow = self.flow;
        let mut found: Option<(usize, Kind, Span, Severity)> = None;
        for &job in jobs.iter().filter(|&&job| self.worlds(job).next().is_some()) {
            for (other, index) in repository.github.deep(flow, job) {
                let own = std::ptr::eq(other, flow);
                for (step, facts) in other.steps(index) {
                    // A step may run only in situations that do not cancel.
                    let runs = || !own || self.worlds(job).any(|world| happens(flow, world, job, step));
                    let works = facts.works.iter().filter(|done| done.work.kind.delivers());
                    let mut kinds = works.map(|done| (done.work.kind, left_behind(done)));
                    // Of what weighs the same, that which leaves something running half changed says more.
                    let graver = |(kind, weight): &(Kind, Severity)| {
                        found.as_ref().is_none_or(|(_, other, _, known)| {
                            (weight, *kind == Kind::Deploy) > (known, *other == Kind::Deploy)
                        })
                    };
                    if let Some((kind, weight)) = kinds.find(graver).filter(|_| runs()) {
                        let span = if own { step.span } else { flow.job_span(job) };
                        found = Some((job, kind, span, weight));
                    }
                }
            }
        }
        found
    }

    /// Returns the other jobs that change something that runs while they may be cancelled.
    fn others(&self, jobs: &[usize], told: usize) -> impl Iterator<Item = usize> {
        jobs.iter().copied().filter(move |&job| {
            let deploys = self.flow.facts[job].iter().any(|facts| facts.does(Kind::Deploy));
            job != told && deploys && self.worlds(job).next().is_some()
        })
    }

    /// Returns what lets a run finish, and still stops superseded runs of pull requests where it did.
    fn finishing(&self) -> &'static str {
        let flowing =
            self.flow.text.get(self.concurrency.span.range()).is_some_and(|text| text.starts_with('{'));
        match self.per_item && self.flow.model.event("pull_request").is_some() {
            false => "false",
            true if flowing => "\"${{ github.event_name == 'pull_request' }}\"",
            true => "${{ github.event_name == 'pull_request' }}",
        }
    }
}

/// Platforms that switch to a new version when all of it is there: a cut leaves the old one, or one that nobody sees.
/// Sources: <https://docs.netlify.com/site-deploys/overview/>, <https://vercel.com/docs/instant-rollback>.
const SWITCHES: &[&str] = &["vercel", "netlify", "wrangler", "amondnet/vercel-action", "cloudflare/wrangler"];

/// Returns how bad it is when work ends half way.
fn left_behind(done: &Done) -> Severity {
    let switches = || {
        SWITCHES.iter().any(|name| done.text.split_whitespace().take(2).any(|word| word.starts_with(name)))
    };
    match done.work.kind {
        Kind::Pages => Severity::Low,
        Kind::Deploy if switches() => Severity::Medium,
        _ => Severity::High,
    }
}

/// Tells whether a step runs in a situation, and pushes what it builds.
fn happens(flow: &Flow, world: usize, job: usize, step: &Step) -> bool {
    let holds = |condition: &Condition| flow.scope(world, job, true).holds(condition) != Some(false);
    pushes(flow, world, job, step) && step.condition.as_ref().is_none_or(holds)
}

fn look(
    repository: &Repository,
    flow: &Flow,
    concurrency: &Concurrency,
    jobs: &[usize],
    report: &mut Report<'_>,
) {
    let Some(group) = Shared::of(flow, concurrency) else { return };
    let Some((job, kind, span, severity)) = group.half_way(repository, jobs) else { return };
    let (name, at) = (&flow.model.jobs[job].id.text, group.cancel.span);
    let finishing = group.finishing();
    let mut draft = report
        .add(flow.file, at, format!("a newer run cancels `{name}` while it {}", kind.verb()))
        .severity(severity)
        .also(flow.file, span, "may end half way")
        .hint(format!("let it finish: `cancel-in-progress: {finishing}`"));
    for other in group.others(jobs, job) {
        draft = draft.also(flow.file, flow.job_span(other), "deploys, too");
    }
    if group.cancel.is("true") && !group.cancel.aliased {
        let title = match finishing {
            "false" => "let a run finish before the next one starts",
            _ => "let a run finish before the next one starts, but for pull requests",
        };
        // What is replaced as a whole the next time may be meant to be cancelled.
        let class = if severity == Severity::High { FixClass::Safe } else { FixClass::Review };
        draft = draft.fix(title, class, [(flow.file, at, finishing.to_owned())]);
    }
    draft.done();
}

/// Tells whether a step that builds an image pushes it in a situation: `push: ${{ github.event_name == 'release' }}`.
fn pushes(flow: &Flow, world: usize, job: usize, step: &Step) -> bool {
    let Some(push) = step.input("push") else { return true };
    let Some(Ok(expr)) = push.expression().map(Expr::parse) else { return true };
    flow.scope(world, job, true).truth(expr.root()) != Some(false)
}

/// Tells whether a ref comes once: a tag is pushed and released once, so no newer run shares a group with its name in it.
fn once(world: &World) -> bool {
    matches!(world.event.as_deref(), Some("push" | "release")) && world.reference_type == Some("tag")
}
