//! A step needs what only a later step of its job brings.

mod skipped; // installs that are skipped although nothing has installed

mod wiped; // what a second checkout takes away

use kapell_spec::github::{Job, Step, Uses, only_expression};
use kapell_view::audit::{Confidence, Severity};

use crate::github::{Flow, StepFacts, facts::Done, tools::Kind};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/setup-out-of-order.md`.
pub(super) static RULE: Rule = Rule {
    name: "setup-out-of-order",
    summary: "A step needs what only a later step of its job brings",
    group: Group::Cache,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/setup-out-of-order.md"),
    check,
};

/// What a step needs, and the place that says so.
struct Need<'a> {
    what: &'static str,
    severity: Severity,
    /// Tells whether a step brings it.
    brings: &'a dyn Fn(&Step, &StepFacts) -> bool,
}

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs() {
            early_script(flow, at, report);
            wiped::check(flow, at, report);
            skipped::check(flow, at, report);
            no_checkout(repository, flow, at, report);
            for (index, step) in job.steps.iter().enumerate() {
                let Some(need) = need(job, step) else { continue };
                let steps: Vec<_> = flow.steps(at).collect();
                let before =
                    steps[..index].iter().any(|(step, facts)| (need.brings)(step, facts) || hides(facts));
                let after = steps[index + 1..].iter().find(|(step, facts)| (need.brings)(step, facts));
                match after {
                    _ if before => {}
                    Some((later, _)) => tell(flow, step, later, &need, report),
                    None => never(flow, at, step, report),
                }
            }
        }
    }
}

fn tell(flow: &Flow, step: &Step, later: &Step, need: &Need<'_>, report: &mut Report<'_>) {
    let uses = step.uses.as_ref().map_or(step.span, |(text, _)| text.span);
    let name =
        step.uses.as_ref().map_or("this step", |(text, _)| text.text.split('@').next().unwrap_or("it"));
    let place = later.name.as_ref().map_or(later.span, |name| name.span);
    report
        .add(flow.file, uses, format!("`{name}` comes before {}", need.what))
        .severity(need.severity)
        .also(flow.file, place, "it comes here")
        .hint("move this step behind it")
        .done();
}

/// A job runs a script of the repository, and nothing in it brings the repository.
fn no_checkout(repository: &Repository, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let hosted = job.runs_on.iter().all(|label| label.literal().is_some_and(|label| label != "self-hosted"));
    if !hosted || job.container || job.folder.is_some() {
        return;
    }
    // What an action that is not known brings cannot be seen, nor what is fetched and unpacked.
    let brings = |(step, facts): (&Step, &StepFacts)| {
        let known = |name: &String| {
            (name.starts_with("actions/") || brings_nothing(name)) && !name.contains("checkout")
        };
        let fetches =
            ["clone", "checkout", "tar ", "unzip", "curl ", "wget ", "git ", "cd ", "fetch", "cat >", "tee "];
        checks_out(step, facts)
            || !facts.actions.iter().all(known)
            || step.uses.is_some() && facts.actions.is_empty()
            || fetches.iter().any(|word| step.script().contains(word))
    };
    if job.steps.is_empty() || flow.steps(at).any(brings) {
        return;
    }
    let takes = flow.facts[at].iter().any(|facts| !facts.downloads.is_empty());
    for step in job.steps.iter().filter(|step| step.folder.is_none()) {
        let script = step.script();
        // An artifact may bring scripts, but hardly those of the workflows themselves.
        let of_repository = |word: &&str| {
            let path = word.trim_start_matches("./");
            let file = path.len() > 3 && path.rsplit('/').next().is_some_and(|name| name.contains('.'));
            file && path.contains('/')
                && (!takes || path.starts_with(".github/"))
                && repository.files.exists(path)
        };
        let mut words = script
            .split(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | ';' | '(' | ')' | '|' | '&'));
        let Some(path) = words.find(of_repository) else { continue };
        let start = script.find(path).unwrap_or(0);
        report
            .add(
                flow.file,
                flow.script_line(step, start, ""),
                format!("`{}` needs `{path}`, and nothing in it checks the repository out", job.id.text),
            )
            .severity(Severity::High)
            .hint("add `actions/checkout` in front")
            .done();
        return;
    }
}

/// Tells whether an action only sends something or logs in somewhere, by its name: those that prepare a job may check out.
fn brings_nothing(name: &str) -> bool {
    const SENDS: &[&str] =
        &["upload", "login", "publish", "notify", "slack", "comment", "credentials", "release"];
    name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| SENDS.contains(&word))
}

/// The first thing that a job does is to run a script of the repository, which it checks out later.
fn early_script(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let hosted = job.runs_on.iter().all(|label| label.literal().is_some_and(|label| label != "self-hosted"));
    if !hosted || job.container {
        return;
    }
    let steps: Vec<_> = flow.steps(at).collect();
    let Some(checkout) = steps.iter().position(|(step, facts)| checks_out(step, facts)) else { return };
    let first = steps[..checkout].iter().find_map(|(step, facts)| {
        // What is made or fetched before may be the script.
        let fetches = ["git ", "curl", "wget", "tar ", "unzip", "cat >", "echo", "gh ", "cp "];
        let own = facts.commands.iter().find(|command| {
            command.inner().first().is_some_and(|word| word.starts_with("./") && word.len() > 2)
        })?;
        let plain = step.folder.is_none() && step.condition.is_none();
        let free = plain && !fetches.iter().any(|word| step.script().contains(word)) && own.depth == 0;
        free.then_some((*step, own))
    });
    let Some((step, own)) = first else { return };
    let mut before = steps[..checkout].iter().take_while(|(other, _)| !std::ptr::eq(*other, step));
    if before.any(|(_, facts)| hides(facts) || !facts.commands.is_empty())
        || !steps[checkout].0.is("actions/checkout")
    {
        return;
    }
    let script: String = own.inner()[0].chars().take(50).collect();
    report
        .add(
            flow.file,
            flow.script_line(step, own.start, ""),
            format!("`{script}` comes before the checkout that has it"),
        )
        .severity(Severity::High)
        .also(flow.file, steps[checkout].0.span, "it comes here")
        .hint("move this step behind it")
        .done();
}

/// A step reads files of a repository that its job never checks out.
fn never(flow: &Flow, at: usize, step: &Step, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let local = matches!(step.action(), Some(Uses::Local(path)) if !path.is_empty());
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    let fetches = ["git ", "curl", "wget", "tar ", "unzip", "download", "cat >", "mkdir", "echo"];
    if !(local || is_image(step)) || fetches.iter().any(|word| text.contains(word)) {
        return;
    }
    let uses = step.uses.as_ref().map_or(step.span, |(text, _)| text.span);
    let name =
        step.uses.as_ref().map_or("this step", |(text, _)| text.text.split('@').next().unwrap_or("it"));
    report
        .add(flow.file, uses, format!("`{name}` reads files, and `{}` checks none out", job.id.text))
        .severity(Severity::High)
        .hint("add `actions/checkout` as the first step")
        .done();
}

/// Tells whether a step builds an image from a folder. Without one, the action fetches the repository by itself.
fn is_image(step: &Step) -> bool {
    let folder = step.input("context").map(|text| text.text.trim());
    step.is("docker/build-push-action")
        && folder.is_some_and(|folder| {
            !folder.is_empty()
                && !folder.starts_with(['$', '{'])
                && !folder.contains("://")
                && !folder.contains("git@")
        })
}

/// Tells whether a step may bring anything.
fn hides(facts: &StepFacts) -> bool {
    let unknown = |done: &Done| done.work.kind == Kind::Unknown;
    facts.works.iter().any(unknown) || !facts.downloads.is_empty()
}

/// Tells whether all that a label may be by the matrix is a runner of GitHub.
fn of_matrix(job: &Job, label: &str) -> bool {
    let axis = only_expression(label).and_then(|text| text.strip_prefix("matrix."));
    let Some(name) = axis else { return false };
    let Some(matrix) = job.matrix.as_ref().filter(|matrix| !matrix.dynamic) else { return false };
    let listed = matrix.axes.iter().filter(|axis| axis.name.text.eq_ignore_ascii_case(name));
    let listed = listed.flat_map(|axis| axis.values.iter().flatten()).map(|(value, _)| value);
    let added = matrix.include.iter().flat_map(|cell| &cell.values);
    let added = added.filter(|(key, _)| key.text.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let values: Vec<String> =
        listed.chain(added).map(|value| value.text().unwrap_or_default().to_string()).collect();
    let hosted =
        |value: &String| ["ubuntu-", "windows-", "macos-"].iter().any(|start| value.starts_with(start));
    !values.is_empty() && values.iter().all(hosted)
}

/// Tells what a step needs to be there already.
fn need<'a>(job: &Job, step: &Step) -> Option<Need<'a>> {
    let own = job.runs_on.iter().any(|label| {
        label.literal().map_or_else(|| !of_matrix(job, &label.text), |label| label == "self-hosted")
    });
    let given = |input: &str| step.input(input).filter(|text| !text.text.trim().is_empty());
    let major = step.action().and_then(major);
    if step.is("actions/setup-node")
        && given("cache").is_some_and(|text| text.is("pnpm"))
        && !own
        && !job.container
    {
        return Some(Need {
            what: "the `pnpm` that its cache asks for",
            severity: Severity::Medium,
            brings: &brings_pnpm,
        });
    }
    if step.is("swatinem/rust-cache") {
        return Some(Need {
            what: "the toolchain that its key is made of",
            severity: Severity::Low,
            brings: &brings_rust,
        });
    }
    if own || job.container {
        return None;
    }
    let local = matches!(step.action(), Some(Uses::Local(path)) if !path.is_empty());
    let file = [
        "node-version-file",
        "python-version-file",
        "go-version-file",
        "java-version-file",
        "global-json-file",
    ]
    .iter()
    .find_map(|input| given(input));
    if local || file.is_some() || is_image(step) {
        return Some(Need {
            what: "the checkout that has the file it reads",
            severity: Severity::Medium,
            brings: &checks_out,
        });
    }
    let cached =
        ["actions/setup-node", "actions/setup-python", "actions/setup-java"].iter().any(|name| step.is(name))
            && given("cache").is_some_and(|cache| cache.literal().is_some() && !cache.is("false"));
    // It has kept a cache by itself since v4.
    let go = step.is("actions/setup-go")
        && major.is_some_and(|major| major >= 4)
        && given("cache").is_none_or(|cache| cache.is("true"));
    (cached || go).then_some(Need {
        what: "the checkout, so its cache finds no lock file",
        severity: Severity::Low,
        brings: &checks_out,
    })
}

/// Returns the major version that an action is used in, as far as the text tells.
fn major(uses: &Uses) -> Option<u32> {
    let Uses::Remote { revision, .. } = uses else { return None };
    let digits = revision.strip_prefix('v')?.split('.').next()?;
    digits.parse().ok()
}

fn checks_out(step: &Step, facts: &StepFacts) -> bool {
    let root = step.is("actions/checkout") && step.input("path").is_none();
    let clones = facts.commands.iter().any(|command| {
        let text = command.text();
        text.starts_with("git clone") || text.starts_with("git init") || text.starts_with("gh repo clone")
    });
    root || clones || step.action().is_none() && facts.does(Kind::Checkout)
}

fn brings_pnpm(step: &Step, facts: &StepFacts) -> bool {
    let by_command = facts.commands.iter().any(|command| {
        let text = command.text();
        command.program() == "corepack"
            || text.contains("install") && text.contains("pnpm") && command.program() == "npm"
    });
    step.is("pnpm/action-setup") || by_command
}

fn brings_rust(step: &Step, facts: &StepFacts) -> bool {
    let actions = [
        "dtolnay/rust-toolchain",
        "actions-rs/toolchain",
        "actions-rust-lang/setup-rust-toolchain",
        "moonrepo/setup-rust",
    ];
    let by_command = facts.commands.iter().any(|command| {
        let text = command.text();
        ["rustup default", "rustup override"].iter().any(|start| text.starts_with(start))
    });
    actions.iter().any(|name| step.is(name)) || by_command
}
