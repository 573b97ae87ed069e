//! What an agent says to kapell while it works, as tools: the same as `kapell task` and the server of `kapell mcp --attempt`.

use serde_json::{Value, json};

use super::{Done, Tool, object, text};
use crate::{
    drivers::own::Env,
    protocol::{Wish, client},
};

/// What the model is told about them.
pub(super) const ABOUT: &str = "\
`brief` shows what you were given, section by section. Give what the task promises with `output`. Ask a person with `ask` \
only what only a person can decide: the answer can take hours.";

pub(super) fn offered() -> Vec<Tool> {
    let texts = |about: &str| json!({ "type": "array", "items": { "type": "string" }, "description": about });
    let tool = |name, description, parameters| Tool { name, description, parameters };
    vec![
        tool(
            "brief",
            "Returns what the task was given: one section by its name, or the list of their names.",
            object(
                json!({
                    "section": text("Its name, such as `diff:parser`; the essential of all if left out."),
                    "list": { "type": "boolean" },
                }),
                &[],
            ),
        ),
        tool(
            "outputs",
            "Returns what a task that this one needs gave.",
            object(json!({ "task": text("The name of that task.") }), &["task"]),
        ),
        tool(
            "output",
            "Gives an output of the task.",
            object(json!({ "name": text("Its name."), "value": text("Its value.") }), &["name", "value"]),
        ),
        tool(
            "progress",
            "Says how far the task is.",
            object(
                json!({
                    "fraction": { "type": "number", "description": "From 0 to 1." },
                    "text": text("What goes on, in a few words."),
                }),
                &["fraction"],
            ),
        ),
        tool(
            "ask",
            "Asks a person and waits for the answer, which can take hours.",
            object(
                json!({ "question": text("The question."), "choices": texts("What can be answered; anything if empty.") }),
                &["question"],
            ),
        ),
        tool(
            "note",
            "Leaves a note in the run's log.",
            object(json!({ "text": text("What it says.") }), &["text"]),
        ),
        tool(
            "handoff",
            "Lets another agent go on with the task from what you have changed, once you are done.",
            object(
                json!({
                    "note": text("What the next one should know: what is done, what is left, what was tried."),
                    "to": text("The name of an agent of the plan; whoever is next if left out."),
                }),
                &["note"],
            ),
        ),
    ]
}

/// Performs a call; `None` if there is no such tool.
pub(super) fn perform(tool: &str, input: &Value, env: Env<'_>) -> Option<Done> {
    let given = |name: &str| input[name].as_str().map(str::to_owned);
    let needed =
        |name: &str| given(name).ok_or_else(|| format!("the argument `{name}` is missing, or is no text"));
    let wish = || -> Result<Wish, String> {
        Ok(match tool {
            "brief" if input["list"] == true => Wish::Sections,
            "brief" => Wish::Brief { section: given("section") },
            "outputs" => Wish::Brief { section: Some(format!("outputs:{}", needed("task")?)) },
            "output" => Wish::Output { name: needed("name")?, value: needed("value")? },
            "progress" => {
                let fraction = input["fraction"].as_f64().ok_or("the argument `fraction` is no number")?;
                Wish::Progress { fraction, text: given("text").unwrap_or_default() }
            }
            "ask" => {
                let choices = input["choices"].as_array().into_iter().flatten();
                let choices = choices.filter_map(|choice| choice.as_str().map(str::to_owned)).collect();
                Wish::Ask { question: needed("question")?, choices }
            }
            "note" => Wish::Note { text: needed("text")? },
            _ => Wish::HandOff { to: given("to"), note: needed("note")? },
        })
    };
    let is_known = offered().iter().any(|known| known.name == tool);
    is_known.then(|| {
        let done = wish().and_then(|wish| client::tell(wish, env).map_err(|error| error.to_string()));
        match done {
            Ok(text) => Done::Gave(text.unwrap_or_else(|| "done".to_owned())),
            Err(why) => Done::Failed(why),
        }
    })
}
