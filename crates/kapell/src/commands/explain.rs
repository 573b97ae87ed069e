//! `explain`: why a task was given to whom, told from the journal.

use kapell_core::{event::Event, journal::Version};
use kapell_engine::{open::load_at, port::journal::Journal};
use kapell_view::{
    logs::{LogReader, Weight},
    report::{Report, ReportBuilder},
    text::{Line, Style},
    untrusted::visible,
};

use super::Context;
use crate::{
    args::ExplainArgs,
    exit::Exit,
    fault::Fault,
    output::{page, paint},
    runs,
};

/// What is typed for all tasks.
const ALL: &str = "route";

/// Tells whether it is an error code that is to be explained: a `K` and digits, or the digits alone, for no task is named so.
pub fn is_code(typed: &str) -> bool {
    let rest = typed.strip_prefix(['K', 'k']).unwrap_or(typed);
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())
}

/// Says who was chosen for a task, and why; for all tasks if `typed` is `route`.
///
/// # Errors
///
/// Fails if there is no such run, or no such task in it.
pub fn choice(context: &Context, args: &ExplainArgs, typed: &str) -> Result<Exit, Fault> {
    let store = context.site()?.existing_store()?;
    let head = runs::find(&store, args.run.as_deref())?;
    let mut builder = ReportBuilder::new(head.run);
    let mut reader = LogReader::new();
    let mut told: Vec<Line> = Vec::new();
    let columns = page();
    let at: Version = head.version;
    let run = load_at(&store as &dyn Journal, head.run, at, |row, events, after| {
        builder.row(row, events, after);
        for (line, event) in reader.read(row, events).into_iter().zip(events) {
            let is_about = match event {
                Event::Routed { tasks, .. } => {
                    typed == ALL || tasks.iter().any(|task| after.plan().name(*task) == typed)
                }
                Event::Rerouted { task, .. }
                | Event::HandedOff { task, .. }
                | Event::PassedOn { task, .. }
                | Event::Started { task, agent: Some(_), .. }
                | Event::AttemptFailed { task, .. } => typed == ALL || after.plan().name(*task) == typed,
                _ => false,
            };
            if is_about && line.weight == Weight::Fact {
                told.push(line.line(columns));
                told.extend(line.message_lines(40, columns));
            }
        }
    })?;
    let task = run.plan().find(typed);
    if task.is_none() && typed != ALL {
        let message =
            format!("run {} has no task `{}`, and there is no error of that code", head.run, visible(typed));
        return Err(Fault::new("K0915", Exit::Usage, message).hint("kapell explain route, or kapell explain"));
    }
    if context.out.json {
        let Report { routes, recoveries, .. } = builder.finish(&run);
        let is_about = |names: &[kapell_view::untrusted::Untrusted]| {
            typed == ALL || names.iter().any(|name| name.raw() == typed)
        };
        let routes: Vec<_> = routes.into_iter().filter(|route| is_about(&route.tasks)).collect();
        let recoveries: Vec<_> =
            recoveries.into_iter().filter(|fact| is_about(std::slice::from_ref(&fact.task))).collect();
        context.out.value(&serde_json::json!({
            "run": head.run.to_string(), "routes": routes, "recoveries": recoveries,
        }));
        return Ok(Exit::Done);
    }
    if told.is_empty() {
        let agent = task.and_then(|task| run.agent(task)).and_then(|agent| run.plan().agent(agent));
        let text = match agent {
            Some(agent) => {
                format!("{}: the workflow names this agent; nobody was chosen", visible(&agent.name))
            }
            None => "no agent was chosen: no task names skills".to_owned(),
        };
        told.push(Line::new(Style::Plain, text));
    }
    context.out.data(&paint(&told));
    Ok(Exit::Done)
}
