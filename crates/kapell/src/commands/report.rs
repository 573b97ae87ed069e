//! `report`: what happened in a run, told from the journal. It calls nothing and changes no run.

use std::path::Path;

use kapell_core::{journal::Version, run::Run};
use kapell_engine::{
    open::load_at,
    port::journal::{Journal, RunHead},
};
use kapell_store::Store;
use kapell_view::{
    report::{Report, ReportBuilder},
    untrusted::{to_json_pretty, visible},
};

use super::Context;
use crate::{args::ReportArgs, exit::Exit, fault::Fault, forecast, runs};

/// Writes the report of a run.
///
/// # Errors
///
/// Fails if the store cannot be read, there is no such run or decision, or a file cannot be written.
pub fn report(context: &Context, args: &ReportArgs) -> Result<Exit, Fault> {
    let store = context.site()?.existing_store()?;
    let head = runs::find(&store, args.run.as_deref())?;
    let (report, _) = build(&store, &head, runs::decision(&head, args.at)?)?;
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
fn build(store: &Store, head: &RunHead, at: Version) -> Result<(Report, Run), Fault> {
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
