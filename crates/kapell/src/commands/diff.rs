//! `diff`: what has landed and is not merged, or the work of one task.

use kapell_agents::{
    drivers::escape_untrusted,
    git::{ErrorKind, OwnRepo, printable},
    workspace::{Change, Status},
};
use kapell_core::{
    event::Event,
    id::{Oid, TaskId},
    run::Run,
};
use kapell_engine::{open::load_at, port::journal::Journal};
use kapell_view::text::{Line, Style, Table, plural};
use serde_json::json;

use super::{Context, salvage};
use crate::{
    args::DiffArgs,
    exit::Exit,
    fault::Fault,
    output::{page, paint},
    runs,
    wiring::open_own_repo,
};

/// Shows what has landed in a run, or what a task submitted.
///
/// # Errors
///
/// Fails if there is no such run or task, or nothing of it to show.
pub fn diff(context: &Context, args: &DiffArgs) -> Result<Exit, Fault> {
    let site = context.site()?;
    let store = site.existing_store()?;
    let head = runs::find(&store, args.run.as_deref())?;
    let mut changes = Vec::new();
    let run = load_at(&store as &dyn Journal, head.run, head.version, |_, events, _| {
        changes.extend(events.iter().filter_map(submitted));
    })?;
    let repo = open_own_repo(&site)?.ok_or_else(|| {
        Fault::new("K0703", Exit::Usage, "outside a repository there is nothing to compare")
            .hint("kapell report says what tasks did")
    })?;
    must_be_here(&repo, &run)?;
    let (from, to) = match &args.task {
        Some(name) if args.salvaged => salvage::of_task(&site, &run, runs::task(&run, name)?)?,
        Some(name) => of_task(&run, name, &changes)?,
        None => of_run(&run)?,
    };
    let files = repo.changes(from, to)?;
    if context.out.json {
        context.out.value(&as_json(&run, from, to, &files));
    } else if args.stat {
        context.out.data(&paint(&stat(&files)));
    } else {
        context.out.data(&patch(&repo, from, to)?);
    }
    if files.is_empty() {
        context.out.note("nothing has changed");
    } else if args.task.is_none()
        && let Some(next) = runs::next(&store, &run)?
    {
        context.out.next(&next);
    }
    Ok(Exit::Done)
}

/// Refuses a run that was taken in from elsewhere: its journal names commits that are not here.
///
/// # Errors
///
/// Fails if the commit that its landing came to is not there.
pub fn must_be_here(repo: &OwnRepo, run: &Run) -> Result<(), Fault> {
    let Some(head) = run.landing().map(kapell_core::landing::Landing::head) else { return Ok(()) };
    match repo.tree_of(head) {
        Err(error) if matches!(*error.kind, ErrorKind::MissingObject(_)) => {
            let short = kapell_view::text::short(run.id());
            Err(Fault::new("K0715", Exit::Usage, "the commits of the run are not in this repository")
                .at(format!("run {short}"))
                .because(format!("there is no commit {head} here"))
                .hint(format!("kapell report {short} says what happened; compare and merge it where it ran")))
        }
        other => other.map(drop).map_err(Fault::from),
    }
}

fn submitted(event: &Event) -> Option<(TaskId, Oid, Oid)> {
    match event {
        Event::Submitted { task, change: Some(change), .. } => Some((*task, change.base, change.commit)),
        _ => None,
    }
}

fn of_run(run: &Run) -> Result<(Oid, Oid), Fault> {
    let base = run.mission().start();
    let head = run.landing().map(kapell_core::landing::Landing::head);
    base.zip(head).ok_or_else(|| {
        Fault::new("K0703", Exit::Usage, "the run worked outside a repository: there is nothing to compare")
            .hint("kapell report says what tasks did")
    })
}

/// The last change that the task submitted, whether or not it has landed.
fn of_task(run: &Run, name: &str, changes: &[(TaskId, Oid, Oid)]) -> Result<(Oid, Oid), Fault> {
    let task = runs::task(run, name)?;
    let found = changes.iter().rev().find(|(of, ..)| *of == task).map(|(_, base, commit)| (*base, *commit));
    found.ok_or_else(|| {
        Fault::new(
            "K0709",
            Exit::Usage,
            format!("task `{}` has submitted no change", printable(name.as_bytes())),
        )
        .at(format!("run {}, task {}", kapell_view::text::short(run.id()), printable(name.as_bytes())))
        .hint(format!(
            "kapell logs {} --task {}",
            run.id(),
            kapell_view::untrusted::Untrusted::from(name).shell()
        ))
    })
}

/// The patch, coloured by its own marks; everything in it is somebody else's text.
fn patch(repo: &OwnRepo, from: Oid, to: Oid) -> Result<String, Fault> {
    let bytes = repo.patch(from, to)?;
    let text = String::from_utf8_lossy(&bytes);
    let line = |line: &str| {
        let style = match line.as_bytes() {
            [b'+', ..] => Style::Good,
            [b'-', ..] => Style::Bad,
            [b'@', ..] => Style::Active,
            [b' ', ..] | [] => Style::Plain,
            _ => Style::Strong,
        };
        Line::new(style, escape_untrusted(line).into_owned())
    };
    Ok(paint(&text.split_terminator('\n').map(line).collect::<Vec<_>>()))
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Added => "added",
        Status::Deleted => "deleted",
        Status::Modified => "modified",
        Status::TypeChanged => "type changed",
    }
}

fn stat(files: &[Change]) -> Vec<Line> {
    let mut table = Table::new(&["", "", ">", ">"]);
    let number = |sign: char, number: Option<u64>| {
        number.map_or_else(|| "binary".to_owned(), |number| format!("{sign}{number}"))
    };
    for file in files {
        table.row([
            (Style::Plain, printable(&file.path)),
            (Style::Dim, word(file.status).to_owned()),
            (Style::Good, number('+', file.added)),
            (Style::Bad, number('-', file.deleted)),
        ]);
    }
    let sum = |of: fn(&Change) -> Option<u64>| files.iter().filter_map(of).sum::<u64>();
    let mut lines = if files.is_empty() { Vec::new() } else { table.lines(page()) };
    let (added, deleted) = (sum(|file| file.added), sum(|file| file.deleted));
    lines.push(Line::new(
        Style::Strong,
        format!("{}, +{added} -{deleted}", plural(files.len() as u64, "file")),
    ));
    lines
}

fn as_json(run: &Run, from: Oid, to: Oid, files: &[Change]) -> serde_json::Value {
    let files: Vec<_> = files
        .iter()
        .map(|file| {
            json!({"path": printable(&file.path), "status": word(file.status), "added": file.added,
                "deleted": file.deleted})
        })
        .collect();
    json!({"version": 1, "run": run.id(), "from": from, "to": to, "files": files})
}
