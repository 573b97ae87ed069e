//! Commands that tell the past: replay and report. They call nothing and change nothing.

use std::path::Path;

use kapell_core::{
    journal::Version,
    run::Run,
    time::{Now, Wall},
};
use kapell_engine::{
    open::load_at,
    port::journal::{Journal, RunHead},
};
use kapell_store::Store;
use kapell_view::{
    report::{Report, ReportBuilder},
    status::StatusView,
    untrusted::{to_json_pretty, visible},
};

use super::Context;
use crate::{
    args::{ReplayArgs, ReportArgs},
    exit::Exit,
    fault::Fault,
    forecast,
    output::{page, paint},
    runs,
};

/// Returns the decision that is meant: the one asked for, or the last.
///
/// # Errors
///
/// Fails if the run has no such decision.
pub fn decision(head: &RunHead, at: Option<u64>) -> Result<Version, Fault> {
    match at {
        None => Ok(head.version),
        Some(at) if (1..=head.version.0).contains(&at) => Ok(Version(at)),
        Some(at) => Err(Fault::new(
            "K0510",
            Exit::Usage,
            format!("run {} has no decision {at}", kapell_view::text::short(head.run)),
        )
        .because(format!("its decisions are numbered from 1 to {}", head.version))
        .hint(format!("kapell logs {}", kapell_view::text::short(head.run)))),
    }
}

/// Shows the state of a run after a decision.
///
/// # Errors
///
/// Fails if the store cannot be read, or there is no such run or decision.
pub fn replay(context: &Context, args: &ReplayArgs) -> Result<Exit, Fault> {
    let store = context.site()?.existing_store()?;
    let head = runs::find(&store, args.run.as_deref())?;
    let at = decision(&head, args.at)?;
    let mut wall = Wall::default();
    let run = load_at(&store as &dyn Journal, head.run, at, |row, _, _| wall = row.at)?;
    // As it looked then: by the clock of that decision, and to whoever executed it.
    let now = Now { wall, elapsed: run.clock() };
    let mut view = StatusView::new(&run, now, true, None);
    // What was to be typed then is not to be typed now.
    view.next = None;
    if context.out.json {
        context.out.value(&view);
        return Ok(Exit::Done);
    }
    context.out.note(&format!("run {} after decision {at} of {}", head.run, head.version));
    context.out.data(&paint(&view.lines(page())));
    if at < head.version {
        context.out.next(&format!("kapell fork {} --at {at}", kapell_view::text::short(head.run)));
    }
    Ok(Exit::Done)
}

/// Writes the report of a run.
///
/// # Errors
///
/// Fails if the store cannot be read, there is no such run or decision, or a file cannot be written.
pub fn report(context: &Context, args: &ReportArgs) -> Result<Exit, Fault> {
    let store = context.site()?.existing_store()?;
    let head = runs::find(&store, args.run.as_deref())?;
    let (report, _) = build(&store, &head, decision(&head, args.at)?)?;
    if let Some(dir) = &args.out {
        let dir = context.path(dir);
        std::fs::create_dir_all(&dir).map_err(|error| Fault::io(&dir, &error))?;
        write(&dir.join("report.md"), &report.markdown())?;
        write(&dir.join("report.json"), &to_json_pretty(&report))?;
        context
            .out
            .note(&format!("wrote report.md and report.json to {}", visible(&dir.display().to_string())));
        return Ok(Exit::Done);
    }
    match context.out.json {
        true => context.out.value(&report),
        false => context.out.data(&report.markdown()),
    }
    Ok(Exit::Done)
}

/// Makes the report of a run as of decision `at`.
///
/// # Errors
///
/// Fails if the run cannot be read.
pub fn build(store: &Store, head: &RunHead, at: Version) -> Result<(Report, Run), Fault> {
    let mut builder = ReportBuilder::new(head.run);
    if let Some(forecast) = forecast::at_the_start(store, head) {
        builder.forecast(forecast);
    }
    let run =
        load_at(store as &dyn Journal, head.run, at, |row, events, after| builder.row(row, events, after))?;
    Ok((builder.finish(&run), run))
}

fn write(path: &Path, text: &str) -> Result<(), Fault> {
    std::fs::write(path, text).map_err(|error| Fault::io(path, &error))
}
