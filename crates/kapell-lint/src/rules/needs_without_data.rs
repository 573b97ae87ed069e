//! A job waits for another from which it takes nothing.

use kapell_spec::github::{Job, Name};
use kapell_view::audit::{Confidence, FixClass, Severity};

use crate::github::{
    Flow, StepFacts, carry, comments, conditions, cost, edit, facts::Artifact, globs, own_scripts,
    script::Command, tools::Kind,
};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule, names},
};

/// See `docs/rules/needs-without-data.md`.
pub(super) static RULE: Rule = Rule {
    name: "needs-without-data",
    summary: "A job waits for another from which it takes nothing",
    group: Group::CriticalPath,
    anti_pattern: Some(AntiPattern::Sequential),
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/needs-without-data.md"),
    check,
};

/// Words of comments that say why a job waits.
const REASONS: &[&str] = &[
    "fast",
    "fail",
    "wait",
    "first",
    "before",
    "after",
    "avoid",
    "save",
    "cheap",
    "gate",
    "order",
    "sequen",
    "only if",
    "depend",
    "block",
    "only for",
    "only what",
    "only once",
    "chance",
    "expensive",
    "costs",
    "costly",
    "minutes",
    "scarce",
    "limited",
    "no point",
    "no use",
    "worth",
    "unless",
    "green",
    "passes",
    "passed",
];

/// Words above the job that is waited for that say that it comes first on purpose.
const GATES: &[&str] = &[
    "before anything",
    "before the",
    "before all",
    "before running",
    "first",
    "fast",
    "quick",
    "sanity",
    "smoke",
    "gate",
    "early",
    "cheap",
];

/// Words within a job that say that it comes after others on purpose.
const AFTER: &[&str] =
    &["only runs after", "runs after", "run after", "only after", "once the", "waits for", "must wait"];

/// A saving below this is not worth a word, in seconds.
const LEAST_SAVING: u32 = 30;

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        let paths = cost::Paths::of(&repository.github, flow, repository.timings.as_ref());
        let mut found = Vec::new();
        for (at, _) in flow.jobs() {
            check_job(repository, flow, at, &paths, &mut found);
        }
        tell(flow, &paths, found, report);
    }
}

/// A job that waits for another one, and takes nothing from it.
struct Waits<'a> {
    job: usize,
    need: usize,
    name: &'a Name,
    /// Others for which it would still wait as idly without that one.
    more: Vec<(usize, &'a Name)>,
    /// What says that it is meant so.
    explained: Option<String>,
    severity: Severity,
}

impl<'a> Waits<'a> {
    /// Returns all that the job waits for idly.
    fn all(&self) -> impl Iterator<Item = (usize, &'a Name)> {
        std::iter::once((self.need, self.name)).chain(self.more.iter().copied())
    }
}

/// Those that wait for the same job are one habit, and one finding; each that is explained is a note of its own.
fn tell(flow: &Flow, paths: &cost::Paths, found: Vec<Waits<'_>>, report: &mut Report<'_>) {
    let (noted, mut told): (Vec<Waits<'_>>, Vec<Waits<'_>>) =
        found.into_iter().partition(|waits| waits.explained.is_some());
    // The worst comes first; of those alike the first of the file.
    told.sort_by_key(|waits| (waits.need, std::cmp::Reverse(waits.severity)));
    let habits = told.chunk_by(|one, other| one.need == other.need);
    for all in noted.iter().map(std::slice::from_ref).chain(habits) {
        let [first, rest @ ..] = all else { continue };
        let id = |job: usize| &flow.model.jobs[job].id.text;
        let (job, waits) = (id(first.job), id(first.need));
        let gone: Vec<usize> = first.all().map(|(need, _)| need).collect();
        let mut draft = report
            .add(
                flow.file,
                first.name.span,
                format!("`{job}` waits for `{waits}`, from which it takes nothing"),
            )
            .severity(first.severity)
            // The job ends sooner; the run only does as far as nothing else takes as long.
            .saving(paths.sooner(&gone, first.job));
        for (need, name) in &first.more {
            draft =
                draft.also(flow.file, name.span, format!("nor does it take anything from `{}`", id(*need)));
        }
        for other in rest {
            let (job, waits) = (id(other.job), id(other.need));
            draft = draft.also(flow.file, other.name.span, format!("so does `{job}` for `{waits}`"));
        }
        draft = fix(flow, first, draft);
        match &first.explained {
            Some(comment) => draft.explained(comment.clone()).done(),
            None => draft.done(),
        }
    }
}

/// How many times as long as a stage of checks the work behind it has to take on all runners together to be worth waiting:
/// one run of some in five is stopped early.
const DEAR: u32 = 5;

/// Returns on how many runners a job works.
fn cells(flow: &Flow, at: usize) -> u32 {
    let matrix = flow.model.jobs[at].matrix.as_ref();
    let cells = matrix.map_or(1, |matrix| matrix.cells().map_or(4, |cells| cells.len()));
    u32::try_from(cells).unwrap_or(u32::MAX)
}

/// How many times as much a minute of a runner with macOS costs as one with Linux.
///
/// Source: <https://docs.github.com/en/billing/reference/actions-runner-pricing>, as of 2026-10: 0.062 against 0.006 dollars.
const MAC: u32 = 10;

/// Tells whether a job has runners that cost many times as much as those of the stage before it, and works on them for
/// long: whatever that stage finds is found for little.
fn saves_macs(flow: &Flow, (need, at): (usize, usize), paths: &cost::Paths) -> bool {
    let on_mac = |at: usize| {
        let labels = &flow.model.jobs[at].runs_on;
        labels.iter().any(|label| label.literal().is_some_and(|label| label.starts_with("macos")))
    };
    let cost = |at: usize| paths.durations[at].saturating_mul(cells(flow, at));
    on_mac(at) && !on_mac(need) && cost(at).saturating_mul(MAC) >= cost(need).saturating_mul(DEAR)
}

/// Says that a stage without tests comes first on purpose: what waits for it costs much more, on many runners or in browsers.
fn saves_runners(flow: &Flow, (need, at): (usize, usize), paths: &cost::Paths) -> bool {
    let cells = cells(flow, at);
    let dear = paths.durations[at].saturating_mul(cells) >= paths.durations[need].saturating_mul(DEAR);
    dear || tests_in_browsers(flow, at)
}

/// Tells whether a job tests in browsers.
fn tests_in_browsers(flow: &Flow, at: usize) -> bool {
    const BROWSERS: &[&str] = &["playwright", "cypress", "e2e", "selenium", "puppeteer"];
    let mut works = flow.facts[at].iter().flat_map(|facts| &facts.works);
    works.any(|done| done.work.kind == Kind::Test && BROWSERS.iter().any(|word| done.text.contains(word)))
}

/// Tells whether a job starts all services for tests in browsers: that is dear enough to come last on purpose, behind tests too.
fn starts_all(flow: &Flow, at: usize) -> bool {
    let mut commands = flow.facts[at].iter().flat_map(|facts| &facts.commands);
    let starts = |text: &str| text.starts_with("docker compose up") || text.starts_with("docker-compose up");
    tests_in_browsers(flow, at) && commands.any(|command| starts(&command.text()))
}

/// Tells whether a job only looks at the code: it checks something, and tests nothing.
fn only_looks(flow: &Flow, at: usize) -> bool {
    let kinds = || flow.facts[at].iter().flat_map(|facts| &facts.works).map(|done| done.work.kind);
    flow.model.jobs[at].uses.is_none()
        && !kinds().any(|kind| kind == Kind::Test)
        && kinds().any(|kind| matches!(kind, Kind::Lint | Kind::Build | Kind::Audit))
}

/// Tells whether a job is there for pages that people read: what is wrong with them stops no test.
fn only_writes(flow: &Flow, at: usize) -> bool {
    let job = &flow.model.jobs[at];
    let name =
        format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text)).to_ascii_lowercase();
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let pages = ["doc", "docs", "documentation", "book", "site", "website", "storybook"];
    let mut kinds = flow.facts[at].iter().flat_map(|facts| &facts.works).map(|done| done.work.kind);
    words.any(|word| pages.contains(&word)) && !kinds.any(|kind| matches!(kind, Kind::Lint | Kind::Audit))
}

/// A stage that only looks is no longer cheap from here on, in seconds.
const LONG: u32 = 300;

fn check_job<'a>(
    repository: &Repository,
    flow: &'a Flow,
    at: usize,
    paths: &cost::Paths,
    found: &mut Vec<Waits<'a>>,
) {
    let named = flow.model.jobs[at].needs.iter().filter_map(|name| {
        let is = |need: &&usize| flow.model.jobs[**need].id.text.eq_ignore_ascii_case(&name.text);
        Some((*paths.needs[at].iter().find(is)?, name))
    });
    let mut named: Vec<(usize, &Name)> = named.collect();
    // Without the one that takes longest, the next one is what it waits for.
    named.sort_by_key(|(need, _)| std::cmp::Reverse(paths.end(*need)));
    let mut kept = paths.needs[at].clone();
    let mut first: Option<Waits<'a>> = None;
    for (need, name) in named {
        let Some(waits) = waits(repository, flow, (need, at), name, (paths, &kept)) else { continue };
        if waits.explained.is_some() {
            found.push(waits);
            continue;
        }
        kept.retain(|&other| other != need);
        match &mut first {
            Some(first) => first.more.push((need, name)),
            None => first = Some(waits),
        }
    }
    found.extend(first);
}

/// Tells how a job waits for another one, beside those that are kept, if it takes nothing from it and ends later for it.
fn waits<'a>(
    repository: &Repository,
    flow: &'a Flow,
    (need, at): (usize, usize),
    name: &'a Name,
    (paths, kept): (&cost::Paths, &[usize]),
) -> Option<Waits<'a>> {
    let job = &flow.model.jobs[at];
    let ends = |need: usize| paths.end(need);
    // What another need waits for anyway costs nothing.
    if kept.iter().any(|&other| flow.closures[other].contains(&need)) {
        return None;
    }
    let latest = kept.iter().map(|&need| ends(need)).max().unwrap_or(0);
    let rest = kept.iter().filter(|&&other| other != need).map(|&other| ends(other)).max();
    // Jobs further up stay in force.
    let through = flow.closures[need].iter().map(|&up| ends(up)).max().unwrap_or(0);
    let earlier = latest.saturating_sub(rest.unwrap_or(0).max(through));
    if earlier < LEAST_SAVING
        || only_reports(flow, at)
        || hands_out(flow, at)
        || reaches_host(repository, flow, at)
        || super::rebuild_instead_of_artifact::tells(repository, flow, (at, need))
        || repository.github.carries(flow, need, at).is_some()
        || super::artifact_never_consumed::combines(flow, at).is_some()
        || misses(flow, at)
        || needs_more(repository, flow, (need, at), kept)
    {
        return None;
    }
    let looks = only_looks(flow, need);
    let gates = looks && !only_writes(flow, need) && saves_runners(flow, (need, at), paths);
    if gates || saves_macs(flow, (need, at), paths) || packs_for_people(flow, (need, at)) {
        return None;
    }
    let key = job.keys.get("needs").map_or(name.span, |key| key.span);
    let explained = on_its_line(flow, key)
        .or_else(|| comments::explains(flow, key, 1, REASONS))
        .or_else(|| comments::explains(flow, job.id.span, 1, REASONS))
        .or_else(|| comments::explains(flow, flow.job_span(need), 1, GATES))
        .or_else(|| inside(flow, job));
    let long = paths.durations[need] >= if looks { LONG } else { 90 };
    // Somebody waits for what a pull request or a branch starts, and hardly for a release.
    let awaited = ["pull_request", "merge_group", "workflow_call", "pull_request_target"];
    let tagged = flow.model.event("push").is_none_or(|push| push.filter("tags").is_some());
    let waited = !tagged || awaited.iter().any(|event| flow.starts(event));
    let severity = if long && waited && !starts_all(flow, at) { Severity::Medium } else { Severity::Low };
    Some(Waits { job: at, need, name, more: Vec::new(), explained, severity })
}

/// Words of comments that say that something is to be mended, and no reason.
const OPEN: &[&str] = &["todo", "fixme", "xxx", "hack", "kapell:", "why", "remove", "needs:"];

/// Returns the sentence at the end of the line of a key: what stands there is about that key and nothing else.
fn on_its_line(flow: &Flow, key: kapell_spec::finding::Span) -> Option<String> {
    let end =
        flow.text[key.start as usize..].find('\n').map_or(flow.text.len(), |at| key.start as usize + at);
    let from = flow.model.comments.partition_point(|comment| comment.start < key.start);
    let comment = flow.model.comments.get(from).filter(|comment| (comment.start as usize) < end)?;
    let text = flow.text[comment.range()].trim_start_matches('#').trim();
    let lower = text.to_ascii_lowercase();
    let sentence = text.split_whitespace().count() > 2 && !OPEN.iter().any(|word| lower.contains(word));
    sentence.then(|| text.to_owned())
}

/// Words in the names of jobs that make what people download.
const PACKS: &[&str] =
    &["package", "packages", "packaging", "dist", "installer", "installers", "binaries", "bundle"];

/// Tells whether a job that is named for it keeps something for people, which no job takes, behind the tests of that.
fn packs_for_people(flow: &Flow, (need, at): (usize, usize)) -> bool {
    let job = &flow.model.jobs[at];
    let names = [Some(&job.id.text), job.name.as_ref().map(|name| &name.text)];
    let packs = names.into_iter().flatten().any(|name| {
        let lower = name.to_ascii_lowercase();
        lower.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| PACKS.contains(&word))
    });
    let given: Vec<&String> =
        flow.facts[at].iter().flat_map(|facts| &facts.uploads).flat_map(|upload| &upload.names).collect();
    let taken = |down: &Artifact| down.all || down.names.iter().any(|name| given.contains(&name));
    let tests = flow.facts[need].iter().any(|facts| facts.does(Kind::Test) || facts.runs_own_script());
    packs
        && tests
        && !given.is_empty()
        && !flow.facts.iter().flatten().flat_map(|facts| &facts.downloads).any(taken)
}

/// Tells whether a job that holds a key is named for what goes out, or sends something elsewhere: how it does that may
/// stand in an action of the repository, or in what a build program is given.
fn hands_out(flow: &Flow, at: usize) -> bool {
    let job = &flow.model.jobs[at];
    let names = [Some(&job.id.text), job.name.as_ref().map(|name| &name.text)];
    let goes_out = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["publish", "release", "deploy", "upload", "promote", "maven-central", "pypi"]
            .iter()
            .any(|word| name.contains(word))
    };
    // A script of the repository may take its key from wherever it likes.
    let may_send = flow.lets_out(at) || flow.facts[at].iter().any(StepFacts::runs_own_script);
    may_send && names.into_iter().flatten().any(|name| goes_out(name)) || carry::sends(flow, at)
}

/// Tells whether a job, or one of a workflow that it calls, holds a key and works on another machine: by itself, or by a script of
/// the repository. Whatever it does there, it is to wait for what says that it may.
fn reaches_host(repository: &Repository, flow: &Flow, at: usize) -> bool {
    let far = |command: &Command| {
        matches!(command.program(), "ssh" | "scp" | "rsync" | "sftp")
            && command.words[1..].iter().any(|word| word.contains(['@', ':']) && !word.starts_with("git@"))
    };
    repository.github.deep(flow, at).into_iter().filter(|(flow, at)| flow.lets_out(*at)).any(|(flow, at)| {
        flow.steps(at).any(|(step, facts)| {
            let scripts = || own_scripts::of_step(&repository.files, &flow.model.jobs[at], step, facts);
            facts.commands.iter().any(far)
                || scripts().iter().any(|script| script.facts.commands.iter().any(far))
        })
    })
}

/// Tells whether a job does nothing but tell people: what it tells of has to be over.
fn only_reports(flow: &Flow, at: usize) -> bool {
    let aside = |kind: Kind| {
        matches!(kind, Kind::Report | Kind::Trivial | Kind::Checkout | Kind::Setup | Kind::Download)
    };
    let works = || flow.facts[at].iter().flat_map(|facts| &facts.works).map(|done| done.work.kind);
    works().any(|kind| kind == Kind::Report) && works().all(aside)
}

/// Returns the comments within a job if they say that it comes after others on purpose.
fn inside(flow: &Flow, job: &Job) -> Option<String> {
    let from = flow.model.comments.partition_point(|comment| comment.start < job.span.start);
    flow.model.comments[from..]
        .iter()
        .take_while(|comment| comment.end <= job.span.end)
        .map(|comment| flow.text[comment.range()].trim_start_matches('#').trim())
        .find(|comment| AFTER.iter().any(|word| comment.to_ascii_lowercase().contains(word)))
        .map(str::to_owned)
}

/// Tells whether a job takes an artifact of its run that no job gives: it wants something of those it waits for, which it
/// calls by another name.
fn misses(flow: &Flow, at: usize) -> bool {
    let mut wanted =
        flow.facts[at].iter().flat_map(|facts| &facts.downloads).filter(|down| !down.elsewhere && !down.all);
    let given = |names: &[String]| {
        let mut uploads = flow.facts.iter().flatten().flat_map(|facts| &facts.uploads);
        uploads.any(|upload| globs::any_overlap(&upload.names, names))
    };
    wanted.any(|down| !given(&down.names))
}

/// Tells whether the job needs something further up through `need` alone, which would be lost with the edge.
fn needs_more(repository: &Repository, flow: &Flow, (need, job): (usize, usize), others: &[usize]) -> bool {
    flow.closures[need].iter().any(|&up| {
        let kept =
            others.iter().any(|&other| other != need && (other == up || flow.closures[other].contains(&up)));
        !kept && repository.github.carries(flow, up, job).is_some()
    })
}

/// Proposes to run them side by side. Whatever changes something outside further down has to keep the gate, which is left to
/// a person.
fn fix<'a>(flow: &Flow, waits: &Waits<'_>, draft: crate::rule::Draft<'a>) -> crate::rule::Draft<'a> {
    let (at, job) = (waits.job, &flow.model.jobs[waits.job]);
    let (gone, ids): (Vec<usize>, Vec<&str>) = waits.all().map(|(need, name)| (need, &*name.text)).unzip();
    let beside = format!("run `{}` beside {}", job.id.text, names(ids.iter().copied()));
    let behind = || flow.jobs().filter(|(other, _)| flow.closures[*other].contains(&at));
    let mut ungated = behind().filter(|(other, job)| {
        let direct = conditions::direct(&flow.model, job);
        carry::changes(flow, *other) && !gone.iter().all(|need| direct.contains(need))
    });
    if let Some((_, job)) = ungated.next() {
        let all = if gone.len() > 1 { "all of them" } else { "both" };
        return draft.hint(format!("{beside}, and let `{}` wait for {all}", job.id.text));
    }
    let edit = edit::without_need(&flow.text, &job.keys, &job.needs, &ids);
    match edit.filter(|_| behind().all(|(_, job)| job.uses.is_none())) {
        Some((span, text)) => draft.fix(beside, FixClass::Review, [(flow.file, span, text)]),
        None => draft.hint(beside),
    }
}
