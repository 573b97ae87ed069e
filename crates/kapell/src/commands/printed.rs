//! What tasks have printed: `logs --output`.

use std::{fs, io::ErrorKind};

use kapell_agents::{
    drivers::{client::told, escape_untrusted},
    supervise::OUTPUT_FILE,
};
use kapell_core::{
    id::{AttemptNo, TaskId},
    run::Run,
};
use kapell_engine::port::agents::AttemptKey;
use kapell_view::{text::plural, untrusted::visible};

use super::Context;
use crate::{args::LogsArgs, exit::Exit, fault::Fault, runs, site::Site};

/// Prints what tasks have printed, control characters made visible: the one that is asked for, or each with its name in front.
///
/// # Errors
///
/// Fails if there is no such task or attempt, or if something that was printed cannot be read.
pub fn show(context: &Context, site: &Site, run: &Run, args: &LogsArgs) -> Result<Exit, Fault> {
    let asked = args.task.as_deref().map(|name| runs::task(run, name)).transpose()?;
    let every: Vec<TaskId> = asked.map_or_else(|| run.plan().graph().tasks().collect(), |task| vec![task]);
    let mut is_silent = true;
    for task in every {
        let last = run.task(task).map_or(0, |task| task.attempts);
        let attempt = args.attempt.unwrap_or(last);
        if asked.is_some() && attempt > last {
            let message =
                format!("`{}` has had {}", visible(run.plan().name(task)), plural(last.into(), "attempt"));
            return Err(Fault::new("K0508", Exit::Usage, message)
                .at(format!("run {}", kapell_view::text::short(run.id()))));
        }
        let key = AttemptKey { run: run.id(), task, attempt: AttemptNo(attempt), compensates: false };
        // Programs that ask for JSON want the events, too.
        let text = site.redactor().text(&read(site, key, args.raw || context.out.json)?);
        let name =
            if asked.is_none() { format!("{} | ", visible(run.plan().name(task))) } else { String::new() };
        let lines = text.lines().map(|line| format!("{name}{}\n", escape_untrusted(line)));
        let lines = lines.collect::<String>();
        is_silent &= lines.is_empty();
        context.out.data(&lines);
    }
    if is_silent {
        context.out.note("nothing was printed");
    }
    Ok(Exit::Done)
}

/// Returns what an attempt printed, or what it told in words if it was a coding agent's and this is not to be `raw`;
/// nothing if it printed nothing, or never was.
fn read(site: &Site, key: AttemptKey, raw: bool) -> Result<String, Fault> {
    let dir = site.places()?.attempt(key);
    if let Some(lines) = told(&dir).filter(|_| !raw) {
        return Ok(lines.join("\n"));
    }
    let path = dir.join(OUTPUT_FILE);
    match fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Fault::io(&path, &error)),
    }
}
