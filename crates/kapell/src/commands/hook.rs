//! `hook` and `statusline`: what other programs call while a person works with them. Both must be quick, and neither
//! may ever stand in that person's way.

use std::{io::Read, path::PathBuf};

use kapell_engine::port::journal::Journal;
use kapell_view::text::{plural, short};
use serde::Deserialize;
use serde_json::json;

use super::{
    Context,
    slash::{self, Done},
};
use crate::{args::HookArgs, exit::Exit, fault::Fault, runs, slash::Name};

/// What a hook is told is at most this long, in bytes.
const BYTES_MAX: u64 = 4 << 20;

/// What Claude Code tells a hook or the status line; the rest of it is of no concern.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    hook_event_name: String,
    command_name: String,
    command_args: String,
    cwd: Option<PathBuf>,
}

fn told() -> Told {
    let mut bytes = Vec::new();
    // What cannot be read is none of ours.
    let _ = std::io::stdin().lock().take(BYTES_MAX).read_to_end(&mut bytes);
    serde_json::from_slice(&bytes).unwrap_or_default()
}

impl Context {
    /// The same, in the directory that the other program works in.
    fn within(&self, told: &Told) -> Self {
        let directory = told.cwd.clone().unwrap_or_else(|| self.directory.clone());
        let out = crate::output::Out { quiet: true, json: true };
        Self { directory, out, no_input: true }
    }
}

/// Answers a hook: a slash command of ours is carried out here, and the model never hears of it.
///
/// # Errors
///
/// Never fails: what is wrong is told to the person by the other program.
pub fn hook(context: &Context, _: &HookArgs) -> Result<Exit, Fault> {
    let told = told();
    let ours = told.hook_event_name == "UserPromptExpansion" && Name::find(&told.command_name).is_some();
    if ours {
        let reason = answer(&context.within(&told), &told);
        context.out.data(&json!({"decision": "block", "reason": reason}).to_string());
    }
    Ok(Exit::Done)
}

fn answer(context: &Context, told: &Told) -> String {
    match slash::carry_out(context, &told.command_name, &told.command_args) {
        Ok(Done::Started { run, unused }) => {
            let id = short(run);
            let mut text = format!(
                "kapell: run {id} goes on in the background.\nkapell watch {id} follows it, kapell inbox shows what it asks."
            );
            if !unused.is_empty() {
                let options: Vec<String> = unused.iter().map(|name| format!("--{name}")).collect();
                text.push_str(&format!(
                    "\nNot used, since a workflow file brings its own plan: {}",
                    options.join(", ")
                ));
            }
            text
        }
        Ok(Done::Instead(words)) => match said(context, &words) {
            Ok(text) => text,
            Err(fault) => explained(&fault),
        },
        Err(fault) => explained(&fault),
    }
}

/// Carries out another command, and returns what it says.
fn said(context: &Context, words: &[String]) -> Result<String, Fault> {
    let output = slash::output_of(context, words)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(format!("{}\n{}", text(&output.stdout), text(&output.stderr)).trim().to_owned())
}

/// A fault in the words in which a terminal shows it.
pub fn explained(fault: &Fault) -> String {
    let mut text = format!("kapell: {} [{}]", fault.message, fault.code);
    if let Some(place) = &fault.place {
        text.push_str(&format!("\nwhere: {}", place.at));
    }
    for why in &fault.because {
        text.push_str(&format!("\nbecause: {why}"));
    }
    if let Some(hint) = &fault.hint {
        text.push_str(&format!("\nhint: {hint}"));
    }
    text
}

/// Prints one line on the newest run that is not over; nothing if there is none.
///
/// # Errors
///
/// Never fails: a status line with an error in it helps nobody.
pub fn statusline(context: &Context) -> Result<Exit, Fault> {
    if let Some(line) = line(&context.within(&told())) {
        context.out.data(&line);
    }
    Ok(Exit::Done)
}

fn line(context: &Context) -> Option<String> {
    let site = context.site().ok()?;
    if !site.store.join("journal.sqlite").exists() {
        return None;
    }
    let store = site.existing_store().ok()?;
    let unfinished = runs::unfinished(&store).ok()?;
    let head = unfinished.first()?;
    let summary = runs::summary(&store, head)?;
    let mut line = format!(
        "kapell {}: {} of {} done",
        short(head.run),
        summary.done,
        plural(summary.tasks.into(), "task")
    );
    if summary.failed > 0 {
        line.push_str(&format!(", {} failed", summary.failed));
    }
    let asked = runs::asked_by_parts(&store, &store.runs().ok()?).ok()?;
    let gates = summary.gates + asked.get(&head.run).copied().unwrap_or_default();
    if gates > 0 {
        line.push_str(&format!(", {} for you", plural(gates.into(), "question")));
    }
    if unfinished.len() > 1 {
        line.push_str(&format!(" (and {} more)", plural(unfinished.len() as u64 - 1, "run")));
    }
    Some(line)
}
