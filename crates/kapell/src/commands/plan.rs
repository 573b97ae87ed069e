//! `plan`: what a workflow file would do, and how long that would take. Nothing runs.

use kapell_core::task::Slots;
use kapell_policy::history::History;
use kapell_view::plan::PlanView;

use super::Context;
use crate::{
    args::{PlanArgs, PlanFormat},
    exit::Exit,
    fault::Fault,
    forecast::{self, Estimator},
    output::{paint, screen},
    workflow::{self, Loaded, Overrides},
};

/// Shows what a workflow file would do.
///
/// # Errors
///
/// Fails if the file is not as it should be.
pub fn plan(context: &Context, args: &PlanArgs) -> Result<Exit, Fault> {
    let site = context.site()?;
    let overrides = Overrides {
        agents: args.agents,
        jobs: args.jobs,
        inputs: workflow::inputs(&args.set)?,
        ..Overrides::default()
    };
    let file = context.path(&args.file);
    let loaded = workflow::load(&site, &file, &overrides, context.out)?;
    // A store is not made for looking.
    let history = match site.store.join("journal.sqlite").exists() {
        true => forecast::learn(&site.existing_store()?),
        false => History::default(),
    };
    show(context, args, &loaded, &history);
    Ok(Exit::Done)
}

/// Shows a plan in the format that is asked for.
pub fn show(context: &Context, args: &PlanArgs, loaded: &Loaded, history: &History) {
    let Loaded { mission, plan, .. } = loaded;
    let slots = Slots { agents: mission.limits.agents, jobs: mission.limits.jobs };
    let estimator = Estimator::new(plan, history, slots, args.seed);
    let forecast = estimator.whole(plan, slots);
    let view =
        PlanView::new(plan, &mission.objective, |task| estimator.length(plan, task), slots, Some(forecast));
    let (columns, _) = screen();
    match (args.format, context.out.json) {
        (PlanFormat::Json, _) | (PlanFormat::Text, true) => context.out.value(&view),
        (PlanFormat::Text, false) => context.out.data(&paint(&view.lines(columns))),
        (PlanFormat::Mermaid, _) => context.out.data(&view.mermaid()),
        (PlanFormat::Dot, _) => context.out.data(&view.dot()),
    }
    if args.format == PlanFormat::Text {
        let file = kapell_view::untrusted::Untrusted::from(args.file.display().to_string()).shell();
        context.out.next(&format!("kapell run {file}"));
    }
}
