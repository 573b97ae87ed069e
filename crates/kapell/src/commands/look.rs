//! Commands that only look: status, logs, inbox, watch.

use kapell_core::{
    id::RunId,
    run::Run,
    time::{Millis, Now},
};
use kapell_engine::{
    open::{load, load_at},
    port::{clock::Clock, journal::Journal},
};
use kapell_store::Store;
use kapell_view::{
    inbox::InboxView,
    logs::{LogReader, Weight},
    next,
    progress::{self, Screen},
    status::StatusView,
    summary::ListView,
    text::Line,
    untrusted::Untrusted,
};

use super::{Context, past::decision, printed, salvage, transfer};
use crate::{
    args::{LogsArgs, OneRun, WatchArgs},
    clock::MachineClock,
    exit::Exit,
    fault::Fault,
    forecast::{self, Outlook},
    output::{Foot, paint, screen},
    runs,
    session::exit_of,
};

/// How often a run that another process executes is looked at.
const LOOK: std::time::Duration = std::time::Duration::from_millis(100);

/// The events that tell that something went wrong.
const FAILURES: [&str; 4] = ["attempt_failed", "sent_back", "compensation_failed", "breaker_opened"];

/// Returns the time for a run; its own clock goes on while some process executes it.
fn now_of(run: &Run, owned: bool) -> Now {
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
pub fn status(context: &Context, args: &OneRun) -> Result<Exit, Fault> {
    let site = context.site()?;
    let store = site.existing_store()?;
    let (columns, _) = screen();
    let Some(name) = &args.run else {
        let runs = store.runs()?;
        let listed = runs
            .iter()
            .map(|head| (head.run, head.created, is_owned(&store, head.run), runs::summary(&store, head)));
        let view = ListView::new(listed);
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
    let mut view = StatusView::new(&run, now, owned, forecast);
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
    let at = decision(&head, args.at)?;
    let mut reader = LogReader::new();
    let mut lines = Vec::new();
    let (columns, _) = screen();
    let wanted = |event: &str| !args.failed || FAILURES.contains(&event);
    let run = load_at(&store, head.run, at, |row, events, _| {
        if context.out.json {
            for entry in reader.entries(row, events).iter().filter(|entry| wanted(&entry.event)) {
                lines.push((entry.task.as_ref().map(Untrusted::visible), format!("{}\n", to_line(entry))));
            }
            return;
        }
        for line in reader.read(row, events).iter().filter(|line| wanted(line.event)) {
            let text = paint(&[line.line(columns)]) + &paint(&line.message_lines(20, columns));
            lines.push((line.name.as_ref().map(Untrusted::visible), text));
        }
    })?;
    if let Some(name) = &args.task {
        runs::task(&run, name)?;
    }
    let task = args.task.as_deref().map(kapell_view::untrusted::visible);
    let of_task = |name: &Option<String>| task.is_none() || *name == task;
    let text: String = lines.into_iter().filter(|(name, _)| of_task(name)).map(|(_, text)| text).collect();
    context.out.data(&text);
    Ok(Exit::Done)
}

fn to_line(entry: &impl serde::Serialize) -> String {
    serde_json::to_string(entry).unwrap_or_default()
}

/// Lists the decisions that wait for a person, of one run or of all.
///
/// # Errors
///
/// Fails if the store cannot be read or there is no such run.
pub fn inbox(context: &Context, args: &OneRun) -> Result<Exit, Fault> {
    let store = context.site()?.existing_store()?;
    let ids = match &args.run {
        Some(name) => vec![runs::find(&store, Some(name))?.run],
        None => runs::unfinished(&store)?.into_iter().map(|head| head.run).collect(),
    };
    let runs =
        ids.into_iter().map(|id| load(&store, id).map_err(Fault::from)).collect::<Result<Vec<_>, _>>()?;
    let view = InboxView::new(runs.iter().map(|run| (run, is_owned(&store, run.id()))));
    let (columns, _) = screen();
    match context.out.json {
        true => context.out.value(&view),
        false => context.out.data(&paint(&view.lines(columns))),
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
    let mut run = Run::new(head.run);
    let mut reader = LogReader::new();
    let mut foot = context.out.is_live().then(Foot::default);
    let mut outlook = Outlook::default();
    loop {
        let owned = is_owned(&store, head.run);
        let text = news(context, &store, &mut run, &mut reader)?;
        let over = run.outcome().is_some() || (!owned && text.is_none());
        let text = text.unwrap_or_default();
        match &mut foot {
            Some(foot) => foot.draw(&text, &frame(&store, &run, &mut outlook, over)),
            None => context.out.data(&text),
        }
        if over {
            break;
        }
        std::thread::sleep(LOOK);
    }
    if let Some(command) = next::command(&run, false) {
        context.out.next(&command);
    }
    Ok(if args.exit_status { exit_of(Some(&run)) } else { Exit::Done })
}

/// Takes in the decisions that are new, and returns what there is to say of them; `None` if there are none.
fn news(
    context: &Context,
    store: &Store,
    run: &mut Run,
    reader: &mut LogReader,
) -> Result<Option<String>, Fault> {
    let mut rows = Vec::new();
    store.read(run.id(), run.version(), &mut |row| {
        rows.push(row);
        true
    })?;
    let (columns, _) = screen();
    let mut text = String::new();
    for row in &rows {
        let events = run
            .replay(row, &mut |digest| kapell_engine::open::kept_plan(store, digest))
            .map_err(|damage| Fault::from(kapell_engine::open::OpenError::from(damage)))?;
        if context.out.json {
            text.extend(reader.entries(row, &events).iter().map(|entry| to_line(entry) + "\n"));
            continue;
        }
        for line in reader.read(row, &events).iter().filter(|line| line.weight != Weight::Detail) {
            text.push_str(&paint(&[line.line(columns)]));
            text.push_str(&paint(&line.message_lines(4, columns)));
        }
    }
    Ok((!rows.is_empty()).then_some(text))
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
