//! `logs --export` and `import`: runs as lines of JSON, to be kept elsewhere and taken in again.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader},
};

use kapell_core::{
    event::{Event, PlanRef, decode},
    id::{Digest, RunId},
    journal::Version,
};
use kapell_engine::port::journal::Journal;
use kapell_store::{ExportError, ImportError, ImportErrorKind, Store};
use kapell_view::{text::plural, untrusted::visible};

use super::Context;
use crate::{
    args::ImportArgs,
    exit::Exit,
    fault::Fault,
    reply::{Deed, Did},
};

/// Prints a run's decisions, and before them the plans that they name.
///
/// # Errors
///
/// Fails if something cannot be read.
pub fn export(context: &Context, store: &Store, run: RunId) -> Result<(), Fault> {
    let refused =
        |error: ExportError| Fault::new("K0607", Exit::Store, "the run cannot be exported").because(error);
    let mut text = Vec::new();
    let plans = plans(store, run).map_err(|error| refused(error.into()))?;
    store.export(&[run], &plans, &mut text).map_err(refused)?;
    context.out.data(&String::from_utf8_lossy(&text));
    Ok(())
}

/// Finds the plans of a run that are kept beside the journal. What cannot be understood names none: it is exported as it is.
fn plans(store: &Store, run: RunId) -> Result<Vec<Digest>, kapell_engine::port::journal::JournalError> {
    let mut found = BTreeSet::new();
    store.read(run, Version(0), &mut |row| {
        found.extend(decode(&row.body).into_iter().flatten().filter_map(|event| match event {
            Event::PlanAdopted { plan: PlanRef::Kept { digest, .. }, .. } => Some(digest),
            _ => None,
        }));
        true
    })?;
    Ok(found.into_iter().collect())
}

/// Takes exported runs in: all of their decisions, or none.
///
/// # Errors
///
/// Fails if the lines are no whole export, or contradict what the journal holds.
pub fn import(context: &Context, args: &ImportArgs) -> Result<Exit, Fault> {
    let (store, _) = context.site()?.open_store()?;
    let path = context.path(&args.file);
    let mut input: Box<dyn BufRead> = match args.file.as_os_str() == "-" {
        true => Box::new(io::stdin().lock()),
        false => Box::new(BufReader::new(File::open(&path).map_err(|error| Fault::io(&path, &error))?)),
    };
    let added = store
        .import(&mut *input)
        .map_err(|error| refused(error).at(visible(&args.file.display().to_string())))?;
    match context.out.json {
        true => context.out.value(&Deed { decisions: Some(added.decisions), ..Deed::new(Did::Imported) }),
        false => context.out.note(&match added.decisions {
            0 => "everything in it was here already".to_owned(),
            decisions => format!(
                "took in {}; commits stay where the runs were performed, and so do diff and merge",
                plural(decisions, "decision")
            ),
        }),
    }
    context.out.next("kapell status");
    Ok(Exit::Done)
}

fn refused(error: ImportError) -> Fault {
    let message = "nothing was imported";
    match *error.kind {
        ImportErrorKind::Journal(error) => Fault::new("K0605", Exit::Store, message).because(error),
        _ => Fault::new("K0608", Exit::Usage, message)
            .because(error)
            .hint("kapell logs RUN --export > FILE writes what can be imported"),
    }
}
