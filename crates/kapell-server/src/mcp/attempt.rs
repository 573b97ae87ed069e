//! The toolbox of an agent that works on a task: what any command says with `kapell task`, as tools.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::toolbox::{Caller, Effect, Refusal, Reply, Tool, Toolbox, arguments};

/// Says how far the task is.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProgressRequest {
    /// From 0 to 1.
    pub fraction: f64,
    /// What goes on, in a few words.
    #[serde(default)]
    pub text: String,
}

/// Gives an output of the task.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputRequest {
    /// Its name, as the task's `outputs` has it.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Asks a person.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskRequest {
    /// The question.
    pub question: String,
    /// What can be answered; anything if empty.
    #[serde(default)]
    pub choices: Vec<String>,
}

/// Leaves a note in the run's log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoteRequest {
    /// What it says.
    pub text: String,
}

/// Asks for what the task was given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BriefRequest {
    /// One section by its name, such as `diff:parser`; the essential of all if not given.
    #[serde(default)]
    pub section: Option<String>,
    /// Lists the names of the sections in place of their text.
    #[serde(default)]
    pub list: bool,
}

/// Asks for what a task before this one gave.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputsRequest {
    /// The name of that task.
    pub task: String,
}

/// Wants another agent to go on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HandoffRequest {
    /// What the next one should know: what is done, what is left, what was tried.
    pub note: String,
    /// The name of an agent of the plan; whoever is next if not given.
    #[serde(default)]
    pub to: Option<String>,
}

/// The port: the kapell that runs the task.
///
/// # Errors
///
/// Each fails with what the model should read: what is wrong, and what can be done.
#[expect(clippy::missing_errors_doc, reason = "they all fail alike")]
pub trait Attempt: Send + Sync + 'static {
    /// Says how far the task is.
    fn progress(&self, request: ProgressRequest) -> Result<(), Refusal>;
    /// Gives an output.
    fn output(&self, request: OutputRequest) -> Result<(), Refusal>;
    /// Asks a person, and waits for the answer.
    fn ask(&self, request: AskRequest) -> Result<String, Refusal>;
    /// Leaves a note.
    fn note(&self, request: NoteRequest) -> Result<(), Refusal>;
    /// Returns what the task was given: its prompt, its checks, and what the tasks before it gave.
    fn brief(&self, request: BriefRequest) -> Result<Reply, Refusal>;
    /// Returns what a task before this one gave.
    fn outputs(&self, request: OutputsRequest) -> Result<Reply, Refusal>;
    /// Lets another agent go on once this one has ended.
    fn handoff(&self, request: HandoffRequest) -> Result<(), Refusal>;
}

/// The tools over an [`Attempt`].
#[derive(Debug)]
pub struct AttemptTools<A>(pub A);

impl<A: Attempt> Toolbox for AttemptTools<A> {
    fn name(&self) -> &'static str {
        "kapell-task"
    }

    fn instructions(&self) -> &'static str {
        "You work on one task of a run. `brief` tells what it is. Give what the task's outputs name with `output`, ask a \
         person with `ask` when only a person can decide, and work on with what you have otherwise."
    }

    fn tools(&self) -> Vec<Tool> {
        use Effect::{Acts, Reads};
        vec![
            Tool::new::<BriefRequest>(
                "brief",
                "The task",
                Reads,
                "Returns the task: its prompt, its checks, what was found before. One section whole if asked for by name.",
            ),
            Tool::new::<OutputsRequest>(
                "outputs",
                "Outputs of a task before",
                Reads,
                "Returns what a task that this one needs gave.",
            ),
            Tool::new::<ProgressRequest>("progress", "Progress", Acts, "Says how far the task is."),
            Tool::new::<OutputRequest>(
                "output",
                "Give an output",
                Acts,
                "Gives an output of the task, by name.",
            ),
            Tool::new::<AskRequest>(
                "ask",
                "Ask a person",
                Acts,
                "Asks a person and waits for the answer, which can take hours.",
            ),
            Tool::new::<HandoffRequest>(
                "handoff",
                "Hand the task on",
                Acts,
                "Lets another agent go on with the task from what you have changed, once you end your turn.",
            ),
            Tool::new::<NoteRequest>("note", "Leave a note", Acts, "Leaves a note in the run's log."),
        ]
    }

    fn call(&self, name: &str, given: Map<String, Value>, _: &dyn Caller) -> Option<Result<Reply, Refusal>> {
        let attempt = &self.0;
        let done = |()| Reply { text: "done".to_owned(), ..Reply::default() };
        let answered = |text| Reply { text, ..Reply::default() };
        Some(match name {
            "brief" => arguments(given).and_then(|request| attempt.brief(request)),
            "outputs" => arguments(given).and_then(|request| attempt.outputs(request)),
            "handoff" => arguments(given).and_then(|request| attempt.handoff(request)).map(done),
            "progress" => arguments(given).and_then(|request| attempt.progress(request)).map(done),
            "output" => arguments(given).and_then(|request| attempt.output(request)).map(done),
            "ask" => arguments(given).and_then(|request| attempt.ask(request)).map(answered),
            "note" => arguments(given).and_then(|request| attempt.note(request)).map(done),
            _ => return None,
        })
    }
}
