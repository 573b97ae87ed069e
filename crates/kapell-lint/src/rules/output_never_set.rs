//! An output is read that its step never sets.

mod cells; // outputs that each cell of a matrix sets
mod filters; // outputs that are named by what an action is given
mod needs; // outputs of other jobs

mod steps; // results of steps that are not there

mod of_action; // outputs of the repository's own actions
mod of_script; // steps that only run a script

use std::collections::BTreeSet;

use crate::github::{
    Flow, StepFacts, carry,
    script::{Command, Then},
    tools::Kind,
};
use crate::{
    files::Files,
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};
use kapell_spec::{
    finding::Span,
    github::{Expression, Job, Name, Step, Text, Word},
    suggest,
};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/output-never-set.md`.
pub(super) static RULE: Rule = Rule {
    name: "output-never-set",
    summary: "An output is read that its step never sets",
    group: Group::Dead,
    anti_pattern: Some(AntiPattern::Context),
    focus: Focus::State,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/output-never-set.md"),
    check,
};

/// A step that sets nothing of what is read of it.
struct Unset<'a> {
    id: &'a str,
    /// Where the step stands.
    step: Span,
    /// What is read of it, and where.
    outputs: Vec<(&'a str, Span)>,
}

fn check(repository: &Repository, report: &mut Report<'_>) {
    of_action::from_steps(repository, report);
    for flow in &repository.github.flows {
        needs::of_call(&repository.github, flow, report);
        for (at, job) in flow.jobs() {
            // One step that sets nothing is one cause.
            let mut found: Vec<Unset<'_>> = Vec::new();
            let mut told: BTreeSet<(&str, &str)> = BTreeSet::new();
            for expression in job.expressions.iter().filter(|expression| expression.says(Word::Steps)) {
                for reference in expression.expr.root().references() {
                    let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
                    let ["steps", id, "outputs", output, ..] = path[..] else { continue };
                    if told.contains(&(id, output)) {
                        continue;
                    }
                    if of_action::check(repository, flow, at, (id, output), expression, report) {
                        told.insert((id, output));
                        continue;
                    }
                    let Some(step) = never_set(&repository.files, flow, at, (id, output)) else { continue };
                    let place = (output, expression.span(&flow.text));
                    match found.iter_mut().find(|known| known.id == id) {
                        Some(known) => known.outputs.push(place),
                        None => found.push(Unset { id, step, outputs: vec![place] }),
                    }
                }
            }
            filters::check(repository, flow, at, report);
            cells::check(flow, at, report);
            of_another_job(flow, at, report);
            steps::check(flow, at, report);
            needs::check(&repository.github, flow, at, report);
            misnamed(flow, at, report);
            only_printed(flow, at, report);
            found.iter().for_each(|unset| add(flow, at, unset, report));
        }
    }
}

/// Returns where the step stands that should set an output and never does.
fn never_set(files: &Files, flow: &Flow, at: usize, (id, output): (&str, &str)) -> Option<Span> {
    let named = |step: &Step| step.id.as_ref().is_some_and(|known| known.text.eq_ignore_ascii_case(id));
    let (step, facts) = flow.steps(at).find(|(step, _)| named(step))?;
    let job = &flow.model.jobs[at];
    let shell = step.shell.as_ref().or(job.shell.as_ref()).or(flow.model.shell.as_ref());
    // Other shells write the file in their own way.
    let plain = shell.is_none_or(|shell| shell.text.starts_with("bash") || shell.text.starts_with("sh"));
    if !plain {
        return None;
    }
    let never = match of_script::alone(files, flow, (job, step), facts) {
        Some((script, facts)) => never_sets(script, output, &facts),
        None => never_sets(step.script(), output, facts),
    };
    never.then(|| step.id.as_ref().map_or(step.span, |id| id.span))
}

/// Tells whether a script sets no output of this name, nor runs anything that could.
fn never_sets(script: &str, output: &str, facts: &StepFacts) -> bool {
    if script.is_empty()
        || facts.works.iter().any(|done| {
            matches!(done.work.kind, Kind::Unknown | Kind::Deploy | Kind::Release | Kind::Publish)
        })
    {
        return false;
    }
    // A script of the repository may write it, whatever its name says that it does.
    if facts.runs_own_script() && !script.contains(&format!("{output}=")) {
        return false;
    }
    // The wrapper that the set-up puts around it gives what it printed.
    let wrapped = ["stdout", "stderr", "exitcode"].contains(&output)
        && facts.commands.iter().any(|command| matches!(command.program(), "terraform" | "tofu"));
    if wrapped {
        return false;
    }
    // Another language writes the file in its own way.
    let foreign = ["python", "node", "ruby", "perl", "pwsh", "$0", "source ", "eval "];
    if foreign.iter().any(|word| script.contains(word)) || script.contains("${{") && script.contains("}}=") {
        return false;
    }
    let writes = script.contains("GITHUB_OUTPUT") || script.contains("::set-output");
    if let Some(names) = plainly_written(script, &facts.commands) {
        return !names.iter().any(|name| name.eq_ignore_ascii_case(output));
    }
    !writes || !script.to_ascii_lowercase().contains(&output.to_ascii_lowercase()) && !computed(script)
}

/// Returns the names of all outputs that a script writes, if it writes each in the plainest way: `echo "name=..." >> "$GITHUB_OUTPUT"`,
/// or several in a group, `{ echo "a=..."; echo "b=..."; } >> "$GITHUB_OUTPUT"`.
fn plainly_written<'a>(script: &str, commands: &'a [Command]) -> Option<Vec<&'a str>> {
    let goes_out = |command: &Command| command.words.iter().any(|word| word.contains("GITHUB_OUTPUT"));
    if !script.contains("GITHUB_OUTPUT") {
        return None;
    }
    let (mut names, mut writes) = (Vec::new(), 0);
    for (at, command) in commands.iter().enumerate().filter(|(_, command)| goes_out(command)) {
        writes += 1;
        if !script[command.start..].starts_with('}') {
            names.push(printed(command)?);
            continue;
        }
        let open = group(script, command.start)?;
        let within = commands[..at].iter().rev().take_while(|inner| inner.start > open);
        for inner in within.filter(|inner| !inner.words.is_empty()) {
            names.push(printed(inner)?);
        }
    }
    (!names.is_empty()
        && writes == script.matches("GITHUB_OUTPUT").count()
        && !script.contains("::set-output"))
    .then_some(names)
}

/// Returns the name of what a command prints as an output: `echo "name=..."`.
fn printed(command: &Command) -> Option<&str> {
    let (name, value) = command.words.get(1).filter(|_| command.program() == "echo")?.split_once('=')?;
    (!name.contains(['$', '`', '<', '{']) && !value.contains('\n')).then_some(name.trim())
}

/// Returns where the group of commands begins that ends at a brace, if no other one stands in it.
fn group(script: &str, end: usize) -> Option<usize> {
    let brace = |at: &usize| {
        let apart = |text: Option<char>| text.is_none_or(|c| c.is_whitespace() || c == ';');
        apart(script[..*at].chars().next_back()) && apart(script[*at + 1..].chars().next())
    };
    let at = script[..end].rmatch_indices(['{', '}']).map(|(at, _)| at).find(brace)?;
    script[at..].starts_with('{').then_some(at)
}

/// Tells whether names of outputs may be made up by the script.
fn computed(script: &str) -> bool {
    script.lines().any(|line| {
        let start = line
            .trim_start()
            .trim_start_matches("echo ")
            .trim_start_matches("printf ")
            .trim_start_matches(['"', '\'']);
        start.starts_with('$') && line.contains('=')
    }) || script.contains("cat ")
        || script.contains("jq ")
        || script.contains("tee ")
        || script.contains("while ")
        || script.contains("for ")
        || script.contains("()")
}

/// Returns the name of the output by which a job hands on what it reads at a place.
fn handed_on(job: &Job, place: Span) -> Option<&Name> {
    let within = |text: &Text| text.span.start <= place.start && place.end <= text.span.end;
    job.outputs.iter().find(|(_, text)| within(text)).map(|(name, _)| name)
}

/// Tells whether a place is an output of the job that nothing reads: neither another job nor a caller.
fn is_unread(flow: &Flow, at: usize, place: Span) -> bool {
    let job = &flow.model.jobs[at];
    let Some(name) = handed_on(job, place) else { return false };
    let used = format!("needs.{}.outputs", job.id.text);
    let reads = flow.jobs().any(|(_, other)| {
        let text = flow.text.get(other.span.range()).unwrap_or_default();
        text.contains(&used) || text.contains("toJSON(needs)") || text.contains("toJson(needs)")
    });
    let called = format!("jobs.{}.outputs.{}", job.id.text, name.text);
    !reads && !flow.text.contains(&called)
}

/// Tells whether something is delivered by what is read at a place: in a step, or by a job to which it is handed on.
fn goes_out(flow: &Flow, at: usize, place: Span) -> bool {
    let within = |outer: Span| outer.start <= place.start && place.end <= outer.end;
    let job = &flow.model.jobs[at];
    let in_step = flow.steps(at).any(|(step, facts)| {
        facts.mutation().is_some_and(|done| done.work.kind.delivers()) && within(step.span)
    });
    in_step
        || handed_on(job, place).is_some_and(|name| {
            flow.jobs().any(|(other, own)| {
                let reads = carry::outputs_read(own, &job.id.text);
                carry::delivers(flow, other)
                    && reads.iter().any(|(read, _)| read.eq_ignore_ascii_case(&name.text))
            })
        })
}

fn add(flow: &Flow, at: usize, unset: &Unset<'_>, report: &mut Report<'_>) {
    let Unset { id, step, outputs } = unset;
    let (output, span) = &outputs[0];
    let dead = outputs.iter().all(|(_, place)| is_unread(flow, at, *place));
    let mut draft = report
        .add(
            flow.file,
            *span,
            format!("`steps.{id}.outputs.{output}` is always empty: step `{id}` never sets it"),
        )
        .also(flow.file, *step, "this step")
        .severity(match dead {
            true => Severity::Low,
            false if outputs.iter().any(|(_, place)| goes_out(flow, at, *place)) => Severity::High,
            false => Severity::Medium,
        })
        .hint(format!("write `echo \"{output}=...\" >> \"$GITHUB_OUTPUT\"`"));
    for (output, span) in &outputs[1..] {
        draft = draft.also(flow.file, *span, format!("`{output}` is read here"));
    }
    draft.done();
}

/// A step or a job is asked for something that none has: `steps.meta.output.tags`.
fn misnamed(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let says = |expression: &&Expression| expression.says(Word::Steps) || expression.says(Word::Needs);
    for expression in job.expressions.iter().filter(says) {
        for reference in expression.expr.root().references() {
            let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
            let (base, id, property, known) = match path[..] {
                ["steps", id, property, ..] => {
                    ("steps", id, property, &["outputs", "outcome", "conclusion"][..])
                }
                ["needs", id, property, ..] => ("needs", id, property, &["outputs", "result"][..]),
                _ => continue,
            };
            let there = match base {
                "steps" => job
                    .steps
                    .iter()
                    .any(|step| step.id.as_ref().is_some_and(|known| known.text.eq_ignore_ascii_case(id))),
                _ => job.needs.iter().any(|need| need.text.eq_ignore_ascii_case(id)),
            };
            if !there || property == "*" || known.iter().any(|known| known.eq_ignore_ascii_case(property)) {
                continue;
            }
            let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            report
                .add(
                    flow.file,
                    expression.span(&flow.text),
                    format!("`{base}.{id}.{property}` is always empty: there are only {}", names.join(", ")),
                )
                .hint(format!("write `{base}.{id}.outputs`"))
                .done();
            return;
        }
    }
}

/// A job reads an output of a step that only another job has.
fn of_another_job(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let has = |job: &Job, id: &str| {
        job.steps.iter().any(|step| step.id.as_ref().is_some_and(|known| known.text.eq_ignore_ascii_case(id)))
    };
    for expression in job.expressions.iter().filter(|expression| expression.says(Word::Steps)) {
        for reference in expression.expr.root().references() {
            let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
            let ["steps", id, "outputs", output, ..] = path[..] else { continue };
            if has(job, id) {
                continue;
            }
            let Some((_, other)) = flow.jobs().find(|(other, job)| *other != at && has(job, id)) else {
                of_no_step(flow, at, (id, output), expression.span(&flow.text), report);
                return;
            };
            report
                .add(
                    flow.file,
                    expression.span(&flow.text),
                    format!("`steps.{id}.outputs.{output}` is always empty: step `{id}` is one of `{}`, not of `{}`", other.id.text, job.id.text),
                )
                .also(flow.file, other.id.span, "has that step")
                .hint(format!("make it an output of `{}`, and read `needs.{}.outputs`", other.id.text, other.id.text))
                .done();
            return;
        }
    }
}

/// No step of the workflow has the id by which an output is read.
fn of_no_step(flow: &Flow, at: usize, (id, output): (&str, &str), span: Span, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    if id == "*" || !flow.model.complete {
        return;
    }
    let known: Vec<&str> = job.steps.iter().filter_map(|step| Some(&*step.id.as_ref()?.text)).collect();
    // One that begins alike, or the only one there is.
    let alike = |known: &&&str| known.starts_with(id) || id.starts_with(**known);
    let near = suggest::mistyped(id, known.iter().copied(), 2)
        .or_else(|| known.iter().find(alike).copied())
        .or_else(|| known.first().copied().filter(|_| known.len() == 1));
    let draft = report
        .add(
            flow.file,
            span,
            format!(
                "`steps.{id}.outputs.{output}` is always empty: no step of `{}` has the id `{id}`",
                job.id.text
            ),
        )
        .severity(match is_unread(flow, at, span) {
            true => Severity::Low,
            false if goes_out(flow, at, span) => Severity::High,
            false => Severity::Medium,
        });
    match near {
        Some(near) => draft.hint(format!("read `steps.{near}.outputs.{output}`")).done(),
        None => draft.hint(format!("give the step `id: {id}`")).done(),
    }
}

/// `test && echo "x=1" || echo "x=" >> "$GITHUB_OUTPUT"`: the redirection belongs to the second `echo` alone.
fn only_printed(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let prints = |command: &Command, name: &str| {
        command.program() == "echo"
            && command.words.iter().skip(1).any(|word| word.starts_with(&format!("{name}=")))
    };
    let goes_out = |command: &Command| command.words.iter().any(|word| word.contains("GITHUB_OUTPUT"));
    for (step, facts) in flow.steps(at) {
        if step.id.is_none() || !step.script().contains("GITHUB_OUTPUT") {
            continue;
        }
        for (index, command) in facts.commands.iter().enumerate() {
            let Some(next) = facts.commands.get(index + 1).filter(|_| command.then == Then::Or) else {
                continue;
            };
            let name = command.words.get(1).and_then(|word| word.split_once('=')).map(|(name, _)| name);
            let Some(name) = name.filter(|name| prints(command, name) && prints(next, name)) else {
                continue;
            };
            if goes_out(command) || !goes_out(next) || command.depth != next.depth {
                continue;
            }
            let span = flow.script_line(step, command.start, "echo");
            report
                .add(
                    flow.file,
                    span,
                    format!("the first `{name}=` is only printed: the redirection belongs to what stands behind `||`"),
                )
                .severity(Severity::High)
                .hint("put both into braces: `{ ...; } >> \"$GITHUB_OUTPUT\"`")
                .done();
            break;
        }
    }
}
