//! `replay`: the state of a run after any of its decisions, from the journal alone. It calls nothing and changes nothing.

use kapell_core::time::{Now, Wall};
use kapell_engine::{open::load_at, port::journal::Journal};
use kapell_view::{status::StatusView, text::short};

use super::Context;
use crate::{
    args::ReplayArgs,
    exit::Exit,
    fault::Fault,
    output::{page, paint},
    runs,
};

/// Shows the state of a run after a decision.
///
/// # Errors
///
/// Fails if the store cannot be read, or there is no such run or decision.
pub fn replay(context: &Context, args: &ReplayArgs) -> Result<Exit, Fault> {
    let store = context.site()?.existing_store()?;
    let head = runs::find(&store, args.run.as_deref())?;
    let at = runs::decision(&head, args.at)?;
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
        context.out.next(&format!("kapell fork {} --at {at}", short(head.run)));
    }
    Ok(Exit::Done)
}
