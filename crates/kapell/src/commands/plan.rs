//! `plan`: what a workflow file would do, and how long that would take. Nothing runs.

mod document;

use kapell_core::task::Slots;
use kapell_policy::{history::History, record::Records};
use kapell_view::{
    plan::PlanView,
    untrusted::{Untrusted, visible},
};

use super::Context;
use crate::{
    args::{PlanArgs, PlanFormat},
    exit::Exit,
    fault::Fault,
    forecast::{self, Estimator},
    output::{page, paint},
    registry,
    workflow::{self, Loaded, Overrides},
};

/// Shows what a workflow file would do.
///
/// # Errors
///
/// Fails if the file is not as it should be.
pub fn plan(context: &Context, args: &PlanArgs) -> Result<Exit, Fault> {
    let site = context.site()?;
    // For looking it does not matter who performs a document; what is never started may as well be a refusal.
    let anybody = || workflow::is_document(&args.file).then(|| "cmd:exit 78".to_owned());
    let overrides = Overrides {
        agent: args.agent.clone().or_else(anybody),
        agents: args.agents,
        jobs: args.jobs,
        inputs: workflow::inputs(&args.set)?,
        looks: true,
        ..Overrides::default()
    };
    let file = context.path(&args.file);
    let mut loaded = workflow::load(&site, &file, &overrides, context.out)?;
    // A store is not made for looking.
    let store = site.store.join("journal.sqlite").exists().then(|| site.existing_store()).transpose()?;
    let history = store.as_ref().map(forecast::learn).unwrap_or_default();
    if let Some(store) = &store {
        loaded.plan = loaded.registry.foreseen(loaded.plan, &loaded.mission.limits, store);
    }
    show(context, args, &loaded, &history);
    if registry::has_skills(&loaded.plan) {
        let records = store.as_ref().map(|store| loaded.registry.records(store)).unwrap_or_default();
        tell_routes(context, &loaded, &records);
    }
    if let Some(document) = &loaded.document {
        document::tell(&site.root, document, context.out)?;
    }
    // Nothing starts without a commit to start from.
    let is_empty = site.repo.as_ref().is_some_and(|repo| repo.head_commit().is_err());
    match args.format {
        PlanFormat::Text if !context.out.json && tells_who_is_absent(context, &loaded) => {}
        PlanFormat::Text if is_empty => context.out.next("git commit --allow-empty -m start"),
        PlanFormat::Text => suggest(context, args),
        _ => {}
    }
    Ok(Exit::Done)
}

/// Says, as `run` would before it starts anything, if nobody here can perform a task, and what helps.
fn tells_who_is_absent(context: &Context, loaded: &Loaded) -> bool {
    let Err(fault) = loaded.registry.check(&loaded.plan) else { return false };
    // Who has which skill is told already.
    let skills = registry::has_skills(&loaded.plan);
    if !skills {
        context.out.note(&format!("{}: {}", visible(&fault.message), visible(&fault.because.join("; "))));
    }
    context.out.next(if skills { "kapell agents" } else { "kapell doctor" });
    true
}

/// The most tasks that are named where several get the same agents.
const NAMES_MAX: usize = 5;

/// Says who would perform the tasks that name skills, and why.
fn tell_routes(context: &Context, loaded: &Loaded, records: &Records) {
    let plan = &loaded.plan;
    for (tasks, ranking) in loaded.registry.route(plan, records) {
        let names: Vec<String> = tasks.iter().take(NAMES_MAX).map(|task| visible(plan.name(*task))).collect();
        let more = match tasks.len().saturating_sub(NAMES_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let agent = |agent| plan.agent(agent).map(|spec| visible(&spec.name)).unwrap_or_default();
        match ranking.chosen.first() {
            Some(first) => context.out.note(&format!(
                "{}{more}: {}: {}",
                names.join(", "),
                agent(first.agent),
                visible(&first.why)
            )),
            None => context.out.note(&format!("{}{more}: nobody here can perform it", names.join(", "))),
        }
        for next in ranking.chosen.iter().skip(1) {
            context.out.note(&format!("  then {}: {}", agent(next.agent), visible(&next.why)));
        }
        for over in &ranking.passed_over {
            context.out.note(&format!("  not {}: {}", visible(&over.agent), visible(&over.why)));
        }
    }
}

/// Shows a plan in the format that is asked for.
pub fn show(context: &Context, args: &PlanArgs, loaded: &Loaded, history: &History) {
    let Loaded { mission, plan, .. } = loaded;
    let slots = Slots::new(mission.limits.agents, mission.limits.jobs);
    let estimator = Estimator::new(plan, history, slots, args.seed);
    let forecast = estimator.whole(plan, slots);
    let view =
        PlanView::new(plan, &mission.objective, |task| estimator.length(plan, task), slots, Some(forecast));
    match (args.format, context.out.json) {
        (PlanFormat::Json, _) | (PlanFormat::Text, true) => context.out.value(&view),
        (PlanFormat::Text, false) => context.out.data(&paint(&view.lines(page()))),
        (PlanFormat::Mermaid, _) => context.out.data(&view.mermaid()),
        (PlanFormat::Dot, _) => context.out.data(&view.dot()),
    }
}

/// Says how what was shown is run.
fn suggest(context: &Context, args: &PlanArgs) {
    let shell = |word: &str| Untrusted::from(word.to_owned()).shell();
    let file = shell(&args.file.display().to_string());
    let agent = args.agent.as_deref().or_else(|| workflow::is_document(&args.file).then_some("claude-code"));
    let agent = agent.map(|agent| format!(" --agent {}", shell(agent))).unwrap_or_default();
    context.out.next(&format!("kapell run {file}{agent}"));
}
