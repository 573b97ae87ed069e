//! Commands that only look: status, logs, inbox, watch.

use std::collections::HashMap;

use kapell_core::{
    event::Event,
    id::RunId,
    journal::Row,
    run::Run,
    time::{Millis, Now},
};
use kapell_engine::{
    open::{load, load_at},
    port::{
        clock::Clock,
        journal::{Journal, RunHead},
    },
};
use kapell_store::Store;
use kapell_view::{
    inbox::InboxView,
    logs::LogReader,
    progress::{self, Screen},
    status::StatusView,
    summary::ListView,
    text::Line,
    untrusted::Untrusted,
};

use super::{Context, printed, salvage, transfer};
use crate::{
    args::{InboxArgs, LogsArgs, StatusArgs, WatchArgs},
    clock::MachineClock,
    exit::Exit,
    fault::Fault,
    forecast::{self, Outlook},
    output::{Foot, page, paint, screen},
    runs,
    session::exit_of,
    telling::{Family, facts},
};

/// How often a run that another process executes is looked at.
const LOOK: std::time::Duration = std::time::Duration::from_millis(100);

/// The events that tell that something went wrong.
const FAILURES: [&str; 4] = ["attempt_failed", "sent_back", "compensation_failed", "breaker_opened"];

/// Returns the time for a run; its own clock goes on while some process executes it.
pub fn now_of(run: &Run, owned: bool) -> Now {
    let wall = MachineClock.wall();
    let since = u64::try_from(wall.0.saturating_sub(run.wall().0)).unwrap_or(0);
    Now { wall, elapsed: run.clock().after(Millis(if owned { since } else { 0 })) }
}

fn is_owned(store: &Store, run: RunId) -> bool {
    store.owner(run).ok().flatten().is_some()
}

/// Lists runs, or shows where one stands.
///
/// # Errors
///
/// Fails if the store cannot be read or there is no such run.
pub fn status(context: &Context, args: &StatusArgs) -> Result<Exit, Fault> {
    let site = context.site()?;
    let store = site.existing_store()?;
    let columns = page();
    let Some(name) = &args.run else {
        let view = listed(&store, args.all)?;
        match context.out.json {
            true => context.out.value(&view),
            false => context.out.data(&paint(&view.lines(columns, MachineClock.wall()))),
        }
        return Ok(Exit::Done);
    };
    let head = runs::find(&store, Some(name))?;
    let run = load(&store, head.run)?;
    let owned = is_owned(&store, head.run);
    let now = now_of(&run, owned);
    let forecast = owned.then(|| forecast::of_the_rest(&store, &run, now)).flatten();
    let parts = runs::parts(&store, &run)?;
    let mut view = StatusView::new(&run, now, owned, forecast).with_parts(&run, &parts);
    // Where the run stands is to be told without git, too.
    view.salvaged = salvage::list(&site, &run).unwrap_or_default();
    match context.out.json {
        true => context.out.value(&view),
        false => {
            context.out.data(&paint(&view.lines(columns)));
        }
    }
    Ok(Exit::Done)
}

/// Lists the runs that people started, the newest first; with `all` those of nested workflows below the run that they are part
/// of.
fn listed(store: &Store, all: bool) -> Result<ListView, Fault> {
    let heads = store.runs()?;
    let asked = runs::asked_by_parts(store, &heads)?;
    let mut shown = Vec::new();
    let mut parts: HashMap<Option<RunId>, Vec<RunHead>> = HashMap::new();
    for head in heads {
        let parent = match runs::is_child(head.run) {
            true if !all => continue,
            true => runs::mission(store, head.run)?.parent.map(|parent| parent.run),
            false => None,
        };
        parts.entry(parent).or_default().push(head);
    }
    add_with_parts(None, &mut parts, &mut shown);
    // What was taken in without the run that it is part of stands alone.
    parts.into_iter().for_each(|(parent, heads)| shown.extend(heads.into_iter().map(|head| (head, parent))));
    let of = |head: &RunHead| (head.run, head.created, is_owned(store, head.run), runs::summary(store, head));
    let mut view = ListView::new(shown.iter().map(|(head, _)| of(head)));
    for (listed, (head, parent)) in view.runs.iter_mut().zip(&shown) {
        listed.parent = parent.map(|parent| parent.to_string());
        if let (Some(summary), Some(gates)) = (&mut listed.summary, asked.get(&head.run)) {
            summary.gates += gates;
        }
    }
    Ok(view)
}

/// Adds the runs whose parent is `parent`, each with its parts below it.
fn add_with_parts(
    parent: Option<RunId>,
    parts: &mut HashMap<Option<RunId>, Vec<RunHead>>,
    shown: &mut Vec<(RunHead, Option<RunId>)>,
) {
    for head in parts.remove(&parent).unwrap_or_default() {
        let run = head.run;
        shown.push((head, parent));
        add_with_parts(Some(run), parts, shown);
    }
}

/// Shows what happened.
///
/// # Errors
///
/// Fails if the store cannot be read or there is no such run or task.
pub fn logs(context: &Context, args: &LogsArgs) -> Result<Exit, Fault> {
    let site = context.site()?;
    let store = site.existing_store()?;
    let head = runs::find(&store, args.run.as_deref())?;
    if args.export {
        transfer::export(context, &store, head.run)?;
        return Ok(Exit::Done);
    }
    if args.output {
        return printed::show(context, &site, &load(&store, head.run)?, args);
    }
    let at = runs::decision(&head, args.at)?;
    let wanted = Wanted {
        json: context.out.json,
        failed: args.failed,
        // Decisions are named by their numbers, to `fork --at` and `replay --at`.
        digits: head.version.0.to_string().len(),
        columns: page(),
    };
    let (run, lines) = match args.all {
        true => {
            let mut family = Family::new(head.run, context.out.json);
            let lines = family.news(&store, |reader, row, events| wanted.lines(reader, row, events))?;
            (family.into_run(), lines.concat())
        }
        false => {
            let mut reader = LogReader::new();
            let mut lines = Vec::new();
            let run = load_at(&store, head.run, at, |row, events, _| {
                lines.extend(wanted.lines(&mut reader, row, events));
            })?;
            (run, lines)
        }
    };
    if let Some(name) = &args.task {
        runs::task(&run, name)?;
    }
    let task = args.task.as_deref().map(kapell_view::untrusted::visible);
    // What stands behind a slash is within the task.
    let is_of = |task: &str, name: &str| {
        name.strip_prefix(task).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let of_task = |name: &Option<String>| match (&task, name) {
        (None, _) => true,
        (Some(task), Some(name)) => name == task || args.all && is_of(task, name),
        (Some(_), None) => false,
    };
    let text: String = lines.into_iter().filter(|(name, _)| of_task(name)).map(|(_, text)| text).collect();
    context.out.data(&text);
    Ok(Exit::Done)
}

/// Which events `logs` shows, and how.
struct Wanted {
    json: bool,
    failed: bool,
    digits: usize,
    columns: usize,
}

impl Wanted {
    /// Writes the events of a decision, each with the name of its task.
    fn lines(&self, reader: &mut LogReader, row: &Row, events: &[Event]) -> Vec<(Option<String>, String)> {
        let is_wanted = |event: &str| !self.failed || FAILURES.contains(&event);
        let name = |name: &Option<Untrusted>| name.as_ref().map(Untrusted::visible);
        if self.json {
            let entries = reader.entries(row, events).into_iter().filter(|entry| is_wanted(&entry.event));
            return entries.map(|entry| (name(&entry.task), to_line(&entry) + "\n")).collect();
        }
        let lines = reader.read(row, events).into_iter().filter(|line| is_wanted(line.event));
        lines.map(|line| (name(&line.name), paint(&line.numbered(self.digits, 20, self.columns)))).collect()
    }
}

fn to_line(entry: &impl serde::Serialize) -> String {
    serde_json::to_string(entry).unwrap_or_default()
}

/// Lists the decisions that wait for a person, of one run or of all.
///
/// # Errors
///
/// Fails if the store cannot be read or there is no such run.
pub fn inbox(context: &Context, args: &InboxArgs) -> Result<Exit, Fault> {
    let store = context.site()?.existing_store()?;
    let heads = match &args.run {
        Some(name) => vec![runs::find(&store, Some(name))?],
        None => runs::unfinished(&store)?,
    };
    let mut runs = Vec::new();
    for head in heads {
        let run = load(&store, head.run)?;
        let parts = runs::parts(&store, &run)?;
        runs.push(run);
        runs.extend(parts.into_iter().map(|part| part.run));
    }
    let view = InboxView::new(runs.iter().map(|run| (run, is_owned(&store, run.id()))));
    match context.out.json {
        true => context.out.value(&view),
        false => context.out.data(&paint(&view.lines(page()))),
    }
    Ok(Exit::Done)
}

/// Follows a run that another process executes, until it is at rest or nobody executes it.
///
/// # Errors
///
/// Fails if the store cannot be read or there is no such run.
pub fn watch(context: &Context, args: &WatchArgs) -> Result<Exit, Fault> {
    let store = context.site()?.existing_store()?;
    let head = runs::find(&store, args.run.as_deref())?;
    let mut family = Family::new(head.run, context.out.json);
    let mut foot = context.out.is_live().then(Foot::default);
    let mut outlook = Outlook::default();
    loop {
        let columns = if foot.is_some() { screen().0 } else { page() };
        let owned = is_owned(&store, head.run);
        let news = family.news(&store, |reader, row, events| match context.out.json {
            true => reader.entries(row, events).iter().map(|entry| to_line(entry) + "\n").collect(),
            false => facts(reader, row, events, columns),
        })?;
        let run = family.run();
        let over = run.outcome().is_some() || (!owned && news.is_empty());
        let text = news.concat();
        match &mut foot {
            Some(foot) => foot.draw(&text, &frame(&store, run, &mut outlook, over)),
            None => context.out.data(&text),
        }
        if over {
            break;
        }
        std::thread::sleep(LOOK);
    }
    let run = family.run();
    if let Some(command) = runs::next(&store, run)? {
        context.out.next(&command);
    }
    Ok(if args.exit_status { exit_of(Some(run)) } else { Exit::Done })
}

/// What is drawn at the foot of the terminal while a run goes on.
fn frame(store: &Store, run: &Run, outlook: &mut Outlook, over: bool) -> Vec<Line> {
    if over || !run.is_created() {
        return Vec::new();
    }
    let (columns, rows) = screen();
    let now = now_of(run, true);
    outlook.learn(store, run);
    // What agents say of their progress reaches only the process that runs them.
    let screen = Screen { columns, rows: rows.saturating_sub(2).min(16) };
    progress::lines(run, now, outlook.at(run, now), &|_| None, screen)
}
