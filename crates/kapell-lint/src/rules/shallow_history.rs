//! A command asks for tags or history that the checkout does not fetch.

use kapell_spec::{
    finding::Span,
    github::{Condition, Job, Step},
};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    files::FileId,
    github::{Flow, StepFacts, own_scripts},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
    rules::names::words,
};

/// See `docs/rules/shallow-history.md`.
pub(super) static RULE: Rule = Rule {
    name: "shallow-history",
    summary: "a command asks for tags or history that the checkout does not fetch",
    group: Group::Dead,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/shallow-history.md"),
    check,
};

/// Words of what fetches more, in whichever step of the job.
const FETCHES: &[&str] = &[
    "git fetch",
    "git pull",
    "git clone",
    "unshallow",
    "git remote",
    "git tag ",
    "fetch-through",
    "git init",
    "gh repo",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs() {
            if let Some(from) = shallow(job) {
                in_job(repository, flow, (at, from), report);
            }
        }
    }
}

/// Returns the place of the only checkout of a job, where that fetches one commit and no tags.
///
/// Source: <https://github.com/actions/checkout#usage>: "Only a single commit is fetched by default", `fetch-tags` is false.
fn shallow(job: &Job) -> Option<usize> {
    let mut checkouts = job.steps.iter().enumerate().filter(|(_, step)| step.is("actions/checkout"));
    let ((at, step), None) = (checkouts.next()?, checkouts.next()) else { return None };
    let plain = ["fetch-tags", "ref", "repository", "path"].iter().all(|key| step.input(key).is_none())
        && step.input("fetch-depth").is_none_or(|depth| depth.is("1"))
        && step.condition.is_none();
    let local = |step: &Step| matches!(&step.uses, Some((text, _)) if text.starts_with("./"));
    (plain && !job.steps.iter().any(local) && !job.container).then_some(at)
}

/// A text that a step runs, and where it stands.
struct Text {
    file: FileId,
    text: String,
    /// Whether it is the step's own script.
    own: bool,
}

fn in_job(repository: &Repository, flow: &Flow, (at, from): (usize, usize), report: &mut Report<'_>) {
    let steps: Vec<(&Step, &StepFacts)> = flow.steps(at).skip(from + 1).collect();
    let job = &flow.model.jobs[at];
    let texts = |step: &Step, facts: &StepFacts| -> Vec<Text> {
        let own = Text { file: flow.file, text: step.script().to_owned(), own: true };
        std::iter::once(own).chain(called(repository, job, (step, facts))).collect()
    };
    let all: Vec<(&Step, Vec<Text>)> =
        steps.iter().map(|(step, facts)| (*step, texts(step, facts))).collect();
    if !all.iter().any(|(_, texts)| texts.iter().any(|text| text.text.contains("git "))) {
        return;
    }
    let fetches = |text: &Text| FETCHES.iter().any(|word| text.text.contains(word));
    if all.iter().any(|(_, texts)| texts.iter().any(fetches)) {
        return;
    }
    let delivers = flow.facts[at].iter().any(|facts| facts.mutation().is_some());
    for (step, texts) in &all {
        if step.condition.as_ref().is_some_and(is_about_tags) {
            continue;
        }
        for text in texts {
            let asks =
                |line: &str| asks_tags(line) && of_branches(flow, at) || asks_base(line) && of_pulls(flow);
            let Some((start, line)) = commands(&text.text).into_iter().find(|(_, line)| asks(line)) else {
                continue;
            };
            tell(repository, (flow, step), text, (start, &line), delivers, report);
            return;
        }
    }
}

/// Tells whether a script of the repository that a step runs asks git for anything.
pub(super) fn calls_git(repository: &Repository, job: &Job, step: (&Step, &StepFacts)) -> bool {
    called(repository, job, step).any(|script| script.text.contains("git "))
}

/// Returns the scripts of the repository that a step runs.
fn called(
    repository: &Repository,
    job: &Job,
    (step, facts): (&Step, &StepFacts),
) -> impl Iterator<Item = Text> + use<> {
    let scripts = own_scripts::of_step(&repository.files, job, step, facts).into_iter();
    let files = scripts
        .filter_map(|script| Some(Text { file: script.file?, text: script.text.to_string(), own: false }));
    files.chain(substituted(repository, step))
}

/// Returns the script of the repository that a step runs for what it prints: `v=$(./hack/version)`.
fn substituted(repository: &Repository, step: &Step) -> Option<Text> {
    let (_, rest) = step.script().split_once("$(")?;
    let word = rest.split([')', ' ', '\n']).next()?;
    let path = word.strip_prefix("./").filter(|_| step.folder.is_none())?;
    let file = repository.files.find(path)?;
    let text = own_scripts::shell_text(&repository.files[file], false)?.to_owned();
    Some(Text { file, text, own: false })
}

/// Returns the lines of a script and where they start, each with those that a backslash at its end goes on in.
fn commands(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut at): (Vec<(usize, String)>, usize) = (Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        match found.last_mut().filter(|(_, before)| before.ends_with('\\')) {
            Some((_, before)) => {
                before.pop();
                before.push_str(line.trim_end());
            }
            None => found.push((at, line.trim_end().to_owned())),
        }
        at += line.len();
    }
    found
}

/// Words of conditions of what runs for a tag or a release alone.
const OF_TAGS: &[&str] = &["tag", "tags", "tagged", "release", "releases", "released"];

/// Tells whether a condition asks for a tag or a release: `startsWith(github.ref, 'refs/tags/')`, `steps.at.outputs.is_tag`.
fn is_about_tags(condition: &Condition) -> bool {
    condition.text.contains("ref_type")
        || words(&condition.text).iter().any(|word| OF_TAGS.contains(&&**word))
}

/// Tells whether a line asks for the last tag, and has no commit to fall back on.
fn asks_tags(line: &str) -> bool {
    let line = line.trim_start();
    let asked = line.contains("git describe") && !line.starts_with('#');
    asked && !["--always", "--exact-match", "--all", "--contains"].iter().any(|word| line.contains(word))
}

/// Tells whether a line compares with the branch that a pull request is for, by the name that only a fetch makes.
fn asks_base(line: &str) -> bool {
    let line = line.trim_start();
    let asked =
        ["git diff", "git log", "git merge-base", "git rev-list"].iter().any(|start| line.contains(start));
    let base = [
        "origin/main",
        "origin/master",
        "origin/${{ github.base_ref",
        "origin/$GITHUB_BASE_REF",
        "origin/${GITHUB_BASE_REF",
    ];
    asked && !line.starts_with('#') && base.iter().any(|name| line.contains(name))
}

/// Tells whether a job runs for commits that have no tag of their own: a tag that starts a run is fetched. What is started by
/// hand beside a push of tags is started on a tag, too.
fn of_branches(flow: &Flow, at: usize) -> bool {
    let on_tags = flow.model.jobs[at].condition.as_ref().is_some_and(is_about_tags);
    let pushed = flow.model.event("push");
    let by_tags = pushed.is_some_and(|push| push.filter("tags").is_some());
    let branch = flow.model.events.iter().any(|event| match &*event.name.text {
        "push" => event.filter("branches").is_some() || !by_tags,
        "pull_request" | "schedule" => true,
        "workflow_dispatch" => !by_tags,
        _ => false,
    });
    let called =
        flow.model.events.iter().any(|event| matches!(&*event.name.text, "workflow_call" | "release"));
    branch && !on_tags && !called
}

/// Tells whether a workflow runs for pull requests alone.
fn of_pulls(flow: &Flow) -> bool {
    !flow.model.events.is_empty() && flow.model.events.iter().all(|event| &*event.name.text == "pull_request")
}

fn tell(
    repository: &Repository,
    (flow, step): (&Flow, &Step),
    text: &Text,
    (start, line): (usize, &str),
    delivers: bool,
    report: &mut Report<'_>,
) {
    let span: Span = if text.own {
        flow.script_line(step, start, "")
    } else {
        let file = &repository.files[text.file];
        file.line_span(file.line(start as u32))
    };
    let tags = asks_tags(line);
    // An end that fails alone leaves a variable empty, which a default may stand in for: `${VERSION:-dev}`.
    let falls_back = line.contains("||")
        || line.trim_start().starts_with("if ")
        || line.contains("2>/dev/null") && text.text[start..].contains(":-");
    let message = match (tags, falls_back) {
        (true, true) => {
            "`git describe` finds no tag in a checkout of one commit: what stands in for it is taken each time"
        }
        (true, false) => "`git describe` finds no tag in a checkout of one commit, and fails",
        (false, _) => {
            "the branch of the pull request's base is not there in a checkout of one commit: this fails"
        }
    };
    // A build that nobody gets may have any version.
    let severity = if falls_back && !delivers { Severity::Low } else { Severity::High };
    report
        .add(text.file, span, message)
        .severity(severity)
        .hint("give `actions/checkout` a `fetch-depth: 0`")
        .done();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on_behind_a_backslash_and_start_where_they_stand() {
        let lines = |text: &str| commands(text);
        assert_eq!(lines("a \\\n  b\nc"), [(0, "a   b".to_owned()), (8, "c".to_owned())]);
        assert_eq!(lines("a\r\nb\r\n"), [(0, "a".to_owned()), (3, "b".to_owned())]);
    }
}
