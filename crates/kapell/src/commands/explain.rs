//! `explain`: what an error code means, or why a task was given to whom, told from the journal.

use kapell_core::{event::Event, run::Run};
use kapell_engine::{open::load_at, port::journal::Journal};
use kapell_spec::codes::Explanation;
use kapell_view::{
    logs::{LogReader, Weight},
    report::{Report, ReportBuilder},
    text::{Line, Style, Table, wrap},
    untrusted::{Untrusted, visible},
};
use serde_json::{Value, json};

use super::Context;
use crate::{
    args::ExplainArgs,
    codes,
    exit::Exit,
    fault::Fault,
    output::{page, paint},
    runs,
};

/// What is typed for all tasks.
const ALL: &str = "route";

/// How wide the text of an explanation is at most, in columns.
const TEXT_COLUMNS_MAX: usize = 80;

/// Explains an error code or the choice of an agent, or lists all codes.
///
/// # Errors
///
/// Fails if there is no such code, no such run, or no such task in it.
pub fn explain(context: &Context, args: &ExplainArgs) -> Result<Exit, Fault> {
    match args.code.as_deref() {
        None => list_codes(context),
        Some(typed) if is_code(typed) => explain_code(context, typed)?,
        Some(typed) => explain_choice(context, args, typed)?,
    }
    Ok(Exit::Done)
}

/// Tells whether it is an error code that is to be explained: a `K` and digits, or the digits alone, for no task is named so.
fn is_code(typed: &str) -> bool {
    let rest = typed.strip_prefix(['K', 'k']).unwrap_or(typed);
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())
}

fn to_value(found: &Explanation) -> Value {
    json!({"code": found.code, "title": found.title, "text": found.text})
}

fn list_codes(context: &Context) {
    if context.out.json {
        context.out.value(&codes::all().map(to_value).collect::<Vec<_>>());
        return;
    }
    let mut table = Table::new(&["code", "about"]);
    for found in codes::all() {
        table.row([(Style::Strong, found.code.to_owned()), (Style::Plain, found.title.to_owned())]);
    }
    context.out.data(&paint(&table.lines(page())));
    context.out.next("kapell explain CODE");
}

fn explain_code(context: &Context, code: &str) -> Result<(), Fault> {
    let found = codes::find(code).ok_or_else(|| {
        Fault::new("K0915", Exit::Usage, format!("there is no error `{code}`")).hint("kapell explain")
    })?;
    if context.out.json {
        context.out.value(&to_value(found));
        return Ok(());
    }
    let title = Line::new(Style::Strong, found.code).with(Style::Plain, format!("  {}", found.title));
    let text = wrap(found.text, page().min(TEXT_COLUMNS_MAX)).into_iter().map(Line::plain);
    let lines: Vec<Line> = [title, Line::default()].into_iter().chain(text).collect();
    context.out.data(&paint(&lines));
    Ok(())
}

/// Says who was chosen for a task, and why; for all tasks if `typed` is [`ALL`].
fn explain_choice(context: &Context, args: &ExplainArgs, typed: &str) -> Result<(), Fault> {
    let store = context.site()?.existing_store()?;
    let head = runs::find(&store, args.run.as_deref())?;
    let columns = page();
    let (mut builder, mut reader) = (ReportBuilder::new(head.run), LogReader::new());
    let mut lines: Vec<Line> = Vec::new();
    let run = load_at(&store as &dyn Journal, head.run, head.version, |row, events, after| {
        builder.row(row, events, after);
        for (line, event) in reader.read(row, events).into_iter().zip(events) {
            if line.weight == Weight::Fact && is_about(event, after, typed) {
                lines.push(line.line(columns));
                lines.extend(line.message_lines(40, columns));
            }
        }
    })?;
    if typed != ALL && run.plan().find(typed).is_none() {
        let message =
            format!("run {} has no task `{}`, and there is no error of that code", head.run, visible(typed));
        return Err(Fault::new("K0915", Exit::Usage, message).hint("kapell explain route, or kapell explain"));
    }
    if context.out.json {
        context.out.value(&choice_value(&run, builder.finish(&run), typed));
        return Ok(());
    }
    if lines.is_empty() {
        lines.push(Line::plain(why_no_choice(&run, typed)));
    }
    context.out.data(&paint(&lines));
    Ok(())
}

/// Tells whether an event is about who performs the task.
fn is_about(event: &Event, run: &Run, typed: &str) -> bool {
    let is_named = |task| run.plan().name(task) == typed;
    match event {
        Event::Routed { tasks, .. } => typed == ALL || tasks.iter().copied().any(is_named),
        Event::Rerouted { task, .. }
        | Event::HandedOff { task, .. }
        | Event::PassedOn { task, .. }
        | Event::Started { task, agent: Some(_), .. }
        | Event::AttemptFailed { task, .. } => typed == ALL || is_named(*task),
        _ => false,
    }
}

fn choice_value(run: &Run, report: Report, typed: &str) -> Value {
    let is_about = |names: &[Untrusted]| typed == ALL || names.iter().any(|name| name.raw() == typed);
    let Report { mut routes, mut recoveries, .. } = report;
    routes.retain(|route| is_about(&route.tasks));
    recoveries.retain(|fact| is_about(std::slice::from_ref(&fact.task)));
    json!({ "run": run.id().to_string(), "routes": routes, "recoveries": recoveries })
}

fn why_no_choice(run: &Run, typed: &str) -> String {
    let task = run.plan().find(typed);
    match task.and_then(|task| run.agent(task)).and_then(|agent| run.plan().agent(agent)) {
        Some(agent) => format!("{}: the workflow names this agent; nobody was chosen", visible(&agent.name)),
        None => "no agent was chosen: no task names skills".to_owned(),
    }
}
