//! Something is set up or fetched that nothing uses.

mod fetched; // files that nothing reads

mod installed; // programs that come after all that could use them

mod programs; // what uses what

mod targets; // platforms that are installed and not built for

use self::programs::{IMAGES, RUNS_OTHERS, SELF_CONTAINED, SETUPS};
use crate::github::{Flow, StepFacts, comments, cost, tools::Kind};
use crate::{
    packages::{self, Package},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_spec::{
    finding::Span,
    github::{Step, Text},
};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/unused-setup.md`.
pub(super) static RULE: Rule = Rule {
    name: "unused-setup",
    summary: "Something is set up or fetched that nothing uses",
    group: Group::Waste,
    anti_pattern: None,
    focus: Focus::Performance,
    severity: Severity::Low,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/unused-setup.md"),
    check,
};

/// Tells whether a step can have no use for what deals with images and clusters: it only looks at code.
fn only_looks(programs: &[&str], facts: &StepFacts) -> bool {
    let far = programs.starts_with(IMAGES)
        || programs.first().is_some_and(|first| matches!(*first, "helm" | "kubectl"));
    far && facts.commands.is_empty() && facts.works.iter().all(|done| done.work.kind == Kind::Lint)
}

/// Programs of a package that run by what another set-up brings.
const BY_OTHERS: &[(&str, &[&str])] = &[(
    "java",
    &[
        "openapi-generator",
        "firebase",
        "google-closure-compiler",
        "sonar-scanner",
        "allure",
        "selenium-standalone",
    ],
)];

/// Tells whether a later step runs a script of the package, and that names one of some programs.
fn in_package(repository: &Repository, flow: &Flow, (at, index): (usize, usize), programs: &[&str]) -> bool {
    let runs = |facts: &StepFacts| {
        let manager = |command: &crate::github::script::Command| {
            matches!(command.program(), "npm" | "pnpm" | "yarn" | "bun") && command.words.len() > 1
        };
        facts.commands.iter().any(manager)
    };
    if !flow.facts[at][index + 1..].iter().any(runs) {
        return false;
    }
    let manifest = repository.files.find(packages::MANIFEST);
    let Some(package) = manifest.and_then(|file| Package::of(&repository.files[file])) else { return false };
    let others = || BY_OTHERS.iter().filter(|row| programs.contains(&row.0)).flat_map(|row| row.1);
    let names_one = |text: &str| {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        others().any(|name| text.contains(name)) || words.any(|word| programs.contains(&word))
    };
    package.scripts().any(|(name, run)| names_one(name) || names_one(run))
}

/// Returns the comment beside what a step uses, if it says something and not only which version that is.
fn beside(flow: &Flow, step: &Step) -> Option<String> {
    let (uses, _) = step.uses.as_ref()?;
    let line = flow.text.get(uses.span.end as usize..)?.lines().next()?;
    let said = line.trim().trim_start_matches(['"', '\'']).trim().strip_prefix('#')?.trim();
    (said.split_whitespace().count() > 2).then(|| said.to_owned())
}

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, _) in flow.jobs() {
            setups(repository, flow, at, report);
            tools(repository, flow, at, report);
            installed::check(repository, flow, at, report);
            targets::check(repository, flow, at, report);
            emulator(flow, at, report);
            fetched::checkout(flow, at, report);
            fetched::download(flow, at, report);
        }
    }
}

/// Something that a job sets up and that nothing uses.
struct Unused {
    action: &'static str,
    span: Span,
    seconds: u32,
    /// What says why it is there.
    said: Option<String>,
}

/// Tells of what a job sets up in vain: one finding, and a note where all of it is explained.
fn setups(repository: &Repository, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let all = (0..flow.model.jobs[at].steps.len()).filter_map(|index| unused(repository, flow, (at, index)));
    let (noted, told): (Vec<Unused>, Vec<Unused>) = all.partition(|unused| unused.said.is_some());
    let (Some(first), rest) = (told.first().or(noted.first()), told.get(1..).unwrap_or_default()) else {
        return;
    };
    let (job, action) = (&flow.model.jobs[at].id.text, first.action);
    let seconds = first.seconds + rest.iter().map(|unused| unused.seconds).sum::<u32>();
    let hint = if rest.is_empty() { "drop the step" } else { "drop the steps" };
    let mut draft = report
        .add(flow.file, first.span, format!("`{job}` sets up `{action}` and nothing in it uses that"))
        .spares(cost::sooner(&repository.github, flow, repository.timings.as_ref(), at, seconds))
        .hint(hint);
    for other in rest {
        draft = draft.also(flow.file, other.span, format!("nor does anything use `{}`", other.action));
    }
    match &first.said {
        Some(comment) => draft.explained(comment.clone()).done(),
        None => draft.done(),
    }
}

/// Returns what a step sets up, if nothing behind it uses that.
fn unused(repository: &Repository, flow: &Flow, (at, index): (usize, usize)) -> Option<Unused> {
    let (step, facts) = (&flow.model.jobs[at].steps[index], flow.facts[at].get(index)?);
    let of = |name: &String| SETUPS.iter().find(|row| row.0 == name);
    let &(action, programs) = facts.actions.iter().find_map(of)?;
    let only = facts.works.iter().all(|done| matches!(done.work.kind, Kind::Setup | Kind::Trivial));
    if !only || flow.model.jobs[at].container {
        return None;
    }
    let rows = facts.actions.iter().filter_map(of).flat_map(|row| row.1.iter().copied());
    let programs: Vec<&str> = rows.chain(programs.iter().copied()).collect();
    let asked = step.id.as_ref().is_some_and(|id| flow.text.contains(&format!("steps.{}.", id.text)));
    if asked || used(flow, at, index, &programs) || in_package(repository, flow, (at, index), &programs) {
        return None;
    }
    let uses = || step.uses.as_ref().map_or(step.span, |(text, _)| text.span);
    let said = comments::explains(flow, step.span, 4, &["need", "for ", "require", "used"]);
    Some(Unused {
        action,
        span: step.name.as_ref().map_or_else(uses, |name| name.span),
        seconds: facts.seconds(),
        said: said.or_else(|| beside(flow, step)),
    })
}

/// An emulator of other processors is set up, and every image is built for the runner's own.
fn emulator(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let hosted = |label: &Text| {
        label.literal().is_some_and(|label| label.starts_with("ubuntu-") && !label.contains("arm"))
    };
    let Some(step) = job.steps.iter().find(|step| step.is("docker/setup-qemu-action")) else { return };
    if step.id.is_some() || job.matrix.is_some() || !job.runs_on.iter().all(hosted) {
        return;
    }
    // What else may run a program of another processor: a script, an action that is not known.
    let built = |step: &Step| {
        let platforms = step.input("platforms").map(|platforms| &*platforms.text);
        step.is("docker/build-push-action") && platforms.is_none_or(|text| text.trim() == "linux/amd64")
    };
    let plain = |step: &Step, facts: &StepFacts| {
        let aside =
            facts.actions.iter().all(|name| SELF_CONTAINED.iter().any(|known| name.starts_with(known)));
        let bakes = facts.actions.iter().any(|name| name.starts_with("docker/b"));
        let foreign = ["arm", "platform", "qemu", "buildx"].iter().any(|word| step.script().contains(word));
        built(step)
            || !bakes
                && (step.uses.is_none() || !facts.actions.is_empty())
                && step.uses.as_ref().is_none_or(|(text, _)| !text.text.starts_with('.'))
                && aside
                && !foreign
                && !facts.runs_own_script()
    };
    let all = flow.steps(at).all(|(step, facts)| plain(step, facts));
    if !all || !job.steps.iter().any(built) {
        return;
    }
    let span = step.uses.as_ref().map_or(step.span, |(text, _)| text.span);
    report
        .add(
            flow.file,
            span,
            format!("`{}` sets up an emulator and builds for the runner's own processor only", job.id.text),
        )
        .hint("drop the step")
        .done();
}

/// Tells whether files of the repository are named for a program: its own tests may start it.
fn works_with(repository: &Repository, program: &str) -> bool {
    let own = |path: &str| path.rsplit('/').next().is_some_and(|name| name.contains(program));
    // Settings of the program itself say only that it is used somewhere.
    let source = |path: &str| !path.starts_with('.') && !path.contains("/.");
    let all = repository.files.iter().map(|(_, file)| &*file.path).chain(repository.files.others());
    all.into_iter().any(|path| source(path) && own(path))
}

/// A program is installed that no later step names.
fn tools(repository: &Repository, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    for (index, step) in job.steps.iter().enumerate() {
        let Some(tool) =
            step.input("tool").filter(|tool| step.is("taiki-e/install-action") && tool.literal().is_some())
        else {
            continue;
        };
        let names: Vec<&str> =
            tool.text.split([',', ' ', '\n']).map(str::trim).filter(|name| !name.is_empty()).collect();
        let [name] = names[..] else { continue };
        let program = name.split('@').next().unwrap_or(name).trim_start_matches("cargo-");
        let rest = flow.text.get(step.span.end as usize..job.span.end as usize).unwrap_or_default();
        let hidden = flow.facts[at].iter().zip(&job.steps).skip(index + 1).any(|(facts, step)| {
            let scripts = facts.commands.iter().any(|command| {
                command.words.first().is_some_and(|word| word.contains('/') || word.starts_with('$'))
                    || matches!(
                        command.program(),
                        "make" | "just" | "task" | "bash" | "sh" | "pwsh" | "npm" | "cargo"
                    ) && !command.words.get(1).is_some_and(|word| {
                        [
                            "test", "build", "check", "clippy", "fmt", "doc", "update", "publish", "package",
                            "run", "install",
                        ]
                        .contains(&word.as_str())
                    })
            });
            // Whatever another action runs may use it.
            let by_action = facts.actions.iter().any(|name| {
                !SELF_CONTAINED.iter().any(|known| name.starts_with(known))
                    && !SETUPS.iter().any(|row| row.0 == name)
            });
            scripts || by_action || step.uses.is_some() && facts.actions.is_empty()
        });
        if hidden || rest.contains(program) || works_with(repository, program) {
            continue;
        }
        let span = step.name.as_ref().map_or(tool.span, |name| name.span);
        report
            .add(flow.file, span, format!("`{}` installs `{name}` and no later step names it", job.id.text))
            .hint("drop the step, or use what it installs")
            .done();
        return;
    }
}

/// Tells whether a step behind the set-up uses it, or may.
fn used(flow: &Flow, at: usize, index: usize, programs: &[&str]) -> bool {
    let job = &flow.model.jobs[at];
    flow.facts[at].iter().zip(&job.steps).enumerate().skip(index + 1).any(|(_, (facts, step))| {
        if only_looks(programs, facts) && !facts.works.is_empty() {
            return false;
        }
        // Actions that build images do it with what was set up for that.
        let images = programs.starts_with(IMAGES);
        let by_action = facts.actions.iter().any(|name| {
            let builds = images && (name.starts_with("docker/b") || name.contains("buildx"));
            builds
                || !SELF_CONTAINED.iter().any(|known| name.starts_with(known))
                    && !SETUPS.iter().any(|row| row.0 == name)
        });
        let unknown_action = step.uses.is_some() && facts.actions.is_empty();
        let by_word = step
            .script()
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
            .any(|word| programs.contains(&word));
        let opaque = facts.works.iter().any(|done| {
            done.work.kind == Kind::Unknown
                && done.command.is_some()
                && !done.text.starts_with("curl")
                && !done.text.starts_with("gh ")
        });
        let scripts = facts.commands.iter().any(|command| {
            command
                .words
                .first()
                .is_some_and(|word| word.starts_with("./") || word.contains('/') || word.starts_with('$'))
                || RUNS_OTHERS.contains(&command.program())
        });
        let shell = step
            .shell
            .as_ref()
            .is_some_and(|shell| programs.iter().any(|program| shell.text.contains(program)));
        by_action
            || unknown_action
            || by_word
            || opaque
            || scripts
            || shell
            || script_in_action(step, programs)
    })
}

fn script_in_action(step: &Step, programs: &[&str]) -> bool {
    step.with.iter().any(|(_, value)| {
        value.text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| programs.contains(&word))
    })
}
