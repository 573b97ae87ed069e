//! Finding runs by what a person types.

use std::collections::HashMap;

use kapell_core::{
    event::Outcome,
    id::{RunId, TaskId},
    journal::Version,
    plan::Work,
    run::{Phase, Run},
    task::TaskState,
    time::Now,
};
use kapell_engine::{
    open::{load, load_at},
    port::journal::{Journal, RunHead},
};
use kapell_spec::suggest;
use kapell_store::Store;
use kapell_view::{
    next::{self, Part},
    summary::{RunPhase, RunSummary, Tally},
    text::{plural, short},
    untrusted::visible,
};

use crate::{exit::Exit, fault::Fault};

/// Finds a run by its id, the beginning of it, or the last one if nothing is given.
///
/// # Errors
///
/// Fails if there is none, or more than one.
pub fn find(store: &Store, named: Option<&str>) -> Result<RunHead, Fault> {
    let runs: Vec<RunHead> = store.runs()?;
    let Some(name) = named else {
        let top = runs.into_iter().find(|head| !is_child(head.run));
        return top.ok_or_else(|| {
            Fault::new("K0505", Exit::Usage, "nothing has been run here yet").hint("kapell run FILE")
        });
    };
    let name = name.to_ascii_lowercase();
    // Ids begin with their time, so the end tells them apart sooner; both are taken.
    let matches = |head: &&RunHead| {
        let id = head.run.to_string();
        !name.is_empty() && (id.starts_with(&name) || id.ends_with(&name))
    };
    let found: Vec<&RunHead> = runs.iter().filter(matches).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Fault::new("K0501", Exit::Usage, format!("there is no run `{}`", visible(&name)))
            .hint("kapell status")),
        several => {
            let ids: Vec<String> = several.iter().take(5).map(|head| head.run.to_string()).collect();
            Err(Fault::new(
                "K0506",
                Exit::Usage,
                format!("`{}` could be {} runs", visible(&name), several.len()),
            )
            .because(ids.join(", "))
            .hint("give more of the id"))
        }
    }
}

/// Returns the decision that is meant: the one asked for, or the last.
///
/// # Errors
///
/// Fails if the run has no such decision.
pub fn decision(head: &RunHead, at: Option<u64>) -> Result<Version, Fault> {
    match at {
        None => Ok(head.version),
        Some(at) if (1..=head.version.0).contains(&at) => Ok(Version(at)),
        Some(at) => {
            Err(Fault::new("K0510", Exit::Usage, format!("run {} has no decision {at}", short(head.run)))
                .because(format!("its decisions are numbered from 1 to {}", head.version))
                .hint(format!("kapell logs {}", short(head.run))))
        }
    }
}

/// Finds a run as [`find`] does; if nothing is given, the last one that is not over, if there is one.
///
/// # Errors
///
/// As [`find`].
pub fn find_unfinished(store: &Store, named: Option<&str>) -> Result<RunHead, Fault> {
    match named {
        Some(_) => find(store, named),
        None => unfinished(store)?.into_iter().next().map_or_else(|| find(store, None), Ok),
    }
}

/// Returns the summary of a run: the one kept beside it if it is of the last decision, else a new one. `None` if the
/// run cannot be read.
pub fn summary(store: &Store, head: &RunHead) -> Option<RunSummary> {
    let kept = head.summary.as_deref().and_then(RunSummary::decode);
    // After a crash it may be missing, or be older than what the journal holds.
    kept.filter(|kept| kept.at_ms >= head.updated.0).or_else(|| {
        let run = load(store, head.run).ok()?;
        Some(RunSummary::of(&run, Now { wall: head.updated, elapsed: run.clock() }))
    })
}

/// Lists the runs that are not over, the newest first.
///
/// # Errors
///
/// Fails if the journal cannot be read.
pub fn unfinished(store: &Store) -> Result<Vec<RunHead>, Fault> {
    let mut runs = store.runs()?;
    runs.retain(|head| {
        summary(store, head).is_none_or(|summary| !summary.phase.is_over()) && !is_child(head.run)
    });
    Ok(runs)
}

/// Tells whether a run was started by another one. Such a run is executed by the process of its parent.
pub fn is_child(run: RunId) -> bool {
    // Ids of runs that people start are of version 7, derived ones of version 8.
    run.0[6] >> 4 == 8
}

/// Returns the run that a person started, of which `run` is a part at any depth, or `run` itself.
///
/// # Errors
///
/// Fails if the journal cannot be read.
pub fn outermost(store: &Store, mut run: RunId) -> Result<RunId, Fault> {
    while is_child(run)
        && let Some(parent) = mission(store, run)?.parent
    {
        run = parent.run;
    }
    Ok(run)
}

/// Reads the nested workflows of a run that are under way, at any depth. What is being cancelled has none: they ask nobody any
/// more, and go on by nothing but its end.
///
/// # Errors
///
/// Fails if the journal cannot be read.
pub fn parts(store: &Store, run: &Run) -> Result<Vec<Part>, Fault> {
    let mut found = Vec::new();
    add_parts(store, run, "", &mut found)?;
    Ok(found)
}

fn add_parts(store: &Store, run: &Run, path: &str, found: &mut Vec<Part>) -> Result<(), Fault> {
    if *run.phase() == Phase::Cancelling {
        return Ok(());
    }
    for task in run.in_flight() {
        let (TaskState::Running(attempt), Work::Workflow(_)) =
            (run.state(task), &run.plan().definition(task).work)
        else {
            continue;
        };
        // One that has not begun yet has no decision.
        let part = load(store, run.id().child(task, attempt.number))?;
        if part.is_created() {
            let path = format!("{path}{}", run.plan().name(task));
            let inner = format!("{path}/");
            found.push(Part { path, run: part.clone() });
            add_parts(store, &part, &inner, found)?;
        }
    }
    Ok(())
}

/// Counts the decisions that nested workflows wait for, by the run that a person started.
///
/// # Errors
///
/// Fails if the journal cannot be read.
pub fn asked_by_parts(store: &Store, runs: &[RunHead]) -> Result<HashMap<RunId, u32>, Fault> {
    let mut asked = HashMap::new();
    for head in runs.iter().filter(|head| is_child(head.run)) {
        let gates = summary(store, head).filter(|summary| !summary.phase.is_over()).map_or(0, |it| it.gates);
        if gates > 0 && called_off(store, runs, head.run)?.is_none() {
            *asked.entry(outermost(store, head.run)?).or_default() += gates;
        }
    }
    Ok(asked)
}

/// Returns the run that is being cancelled or is over, of which `part` is a part at any depth: nothing comes of an answer to it.
///
/// # Errors
///
/// Fails if the journal cannot be read.
pub fn called_off(store: &Store, runs: &[RunHead], mut part: RunId) -> Result<Option<RunId>, Fault> {
    while is_child(part)
        && let Some(parent) = mission(store, part)?.parent
    {
        part = parent.run;
        let summary = runs.iter().find(|head| head.run == part).and_then(|head| summary(store, head));
        if summary.is_some_and(|it| it.phase == RunPhase::Cancelling || it.phase.is_over()) {
            return Ok(Some(part));
        }
    }
    Ok(None)
}

/// Returns the command that helps a run on that nobody executes, with all its parts.
///
/// # Errors
///
/// Fails if the journal cannot be read.
pub fn next(store: &Store, run: &Run) -> Result<Option<String>, Fault> {
    Ok(next::command_of(run, &parts(store, run)?, false))
}

/// Reads a run's mission from its first decision.
///
/// # Errors
///
/// Fails if the journal cannot be read.
pub fn mission(store: &Store, run: RunId) -> Result<kapell_core::mission::Mission, Fault> {
    let state = load_at(store, run, Version(1), |_, _, _| {})?;
    Ok(state.mission().clone())
}

/// Says of a run that failed, or is not over, what is missing in what it has landed.
pub fn lacking(run: &Run) -> Option<String> {
    match run.outcome() {
        Some(Outcome::Failed) => {}
        None => {
            let (left, all) = (Tally::of(run).left(), plural(run.len() as u64, "task"));
            return Some(format!("the run is not over: {left} of {all} may still bring something"));
        }
        Some(_) => return None,
    }
    let plan = run.plan();
    let failed = plan.graph().tasks().filter(|task| matches!(run.state(*task), TaskState::Failed { .. }));
    let names: Vec<String> = failed.map(|task| format!("`{}`", visible(plan.name(task)))).collect();
    let (landed, all) = (run.counts().of("landed"), plural(plan.len() as u64, "task"));
    let shown = match names.len().saturating_sub(NAMED_MAX) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..NAMED_MAX].join(", ")),
    };
    Some(format!("the run failed: {landed} of {all} landed, what {shown} was to bring is not in it"))
}

/// So many tasks are named.
const NAMED_MAX: usize = 5;

/// Finds a task of a run by its name.
///
/// # Errors
///
/// Fails if there is none.
pub fn task(run: &Run, name: &str) -> Result<TaskId, Fault> {
    let plan = run.plan();
    plan.find(name).ok_or_else(|| {
        let fault = Fault::new("K0508", Exit::Usage, format!("there is no task `{}`", visible(name)))
            .at(format!("run {}", short(run.id())));
        match suggest::nearest(name, plan.graph().tasks().map(|task| plan.name(task))) {
            Some(near) => fault.hint(format!("did you mean `{}`?", visible(near))),
            None => fault.hint(format!("kapell status {}", short(run.id()))),
        }
    })
}
