//! The toolbox of an agent that starts and follows runs, and answers for its person.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::toolbox::{Caller, Document, Effect, Family, ReadError, Refusal, Reply, Tool, Toolbox, arguments};

/// How long `run` and `status` wait if the call does not say, in seconds: shorter than any client waits for a tool.
pub const WAIT_SECONDS: u32 = 30;

/// The longest that a call waits, in seconds.
pub const WAIT_SECONDS_MAX: u32 = 3600;

/// Starts a run.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// Path of a workflow file, or the mission in words.
    pub mission: String,
    /// Values for the workflow's inputs.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// How many agents work at the same time.
    #[serde(default)]
    pub agents: Option<u32>,
    /// Limit, such as `5usd,2M,2h`.
    #[serde(default)]
    pub budget: Option<String>,
    /// Merge into the target branch once all is well.
    #[serde(default)]
    pub merge: bool,
    /// Start anew even if a run of the same file is unfinished.
    #[serde(default)]
    pub new: bool,
    /// How long to wait for the end, 0 to 3600; 30 if not given. The run goes on in any case.
    #[serde(default)]
    pub wait_seconds: Option<u32>,
}

/// Shows what a workflow would do.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// Path of a workflow file.
    pub file: String,
    /// Values for the workflow's inputs.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
}

/// Asks where runs stand.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusRequest {
    /// Id of a run or the beginning of it; a list of all runs if not given.
    #[serde(default)]
    pub run: Option<String>,
    /// How long to wait for the end of the run, 0 to 3600; 0 if not given.
    #[serde(default)]
    pub wait_seconds: Option<u32>,
}

/// Asks what waits for a person.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InboxRequest {
    /// Id of a run or the beginning of it; all runs if not given.
    #[serde(default)]
    pub run: Option<String>,
}

/// Answers a question that a run waits for.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerRequest {
    /// Id of the run or the beginning of it.
    pub run: String,
    /// Number of the gate, from `inbox`.
    pub gate: u32,
    /// What the person answered.
    pub answer: String,
}

/// Asks for the report of a run.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportRequest {
    /// Id of the run or the beginning of it; the last run if not given.
    #[serde(default)]
    pub run: Option<String>,
}

/// Analyses the files that define how agents and workflows are orchestrated.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImproveRequest {
    /// A directory; the whole repository if not given.
    #[serde(default)]
    pub path: Option<String>,
    /// What to look at.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// How thoroughly.
    #[serde(default)]
    pub depth: Option<Depth>,
    /// What matters.
    #[serde(default)]
    pub focus: Option<Focus>,
    /// Writes the safe fixes, on a branch of their own.
    #[serde(default)]
    pub implement: bool,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
        pub enum $name {
            $(#[doc = concat!("`", $word, "`")] #[serde(rename = $word)] $variant),*
        }

        impl $name {
            /// Returns the word for it on a command line.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
    };
}

words! {
    /// What an analysis looks at.
    Scope { ClaudeCode = "claude-code", Production = "production", Github = "github", All = "all" }
}
words! {
    /// How thorough an analysis is.
    Depth { Quick = "quick", Standard = "standard", Deep = "deep" }
}
words! {
    /// What an analysis is about.
    Focus {
        Performance = "performance", Resilience = "resilience", Conflicts = "conflicts", State = "state", All = "all",
    }
}

/// The forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Markdown,
    /// For programs.
    Json,
}

impl Form {
    const ALL: [Self; 2] = [Self::Markdown, Self::Json];

    /// Returns the name of the file, and its media type.
    fn file(self) -> (&'static str, &'static str) {
        match self {
            Self::Markdown => ("report.md", "text/markdown"),
            Self::Json => ("report.json", "application/json"),
        }
    }
}

/// A run with a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEntry {
    /// Its id.
    pub run: String,
    /// What was asked of it.
    pub objective: String,
}

/// The port: whoever carries these wishes out.
///
/// # Errors
///
/// Each fails with what the model should read: what is wrong, and what can be done.
#[expect(clippy::missing_errors_doc, reason = "they all fail alike")]
pub trait Desk: Send + Sync + 'static {
    /// Starts a run in the background, and follows it for a while.
    fn run(&self, request: RunRequest, caller: &dyn Caller) -> Result<Reply, Refusal>;
    /// Shows what a workflow would do.
    fn plan(&self, request: PlanRequest) -> Result<Reply, Refusal>;
    /// Says where runs stand.
    fn status(&self, request: StatusRequest, caller: &dyn Caller) -> Result<Reply, Refusal>;
    /// Lists what waits for a person.
    fn inbox(&self, request: InboxRequest) -> Result<Reply, Refusal>;
    /// Answers a question.
    fn answer(&self, request: AnswerRequest) -> Result<Reply, Refusal>;
    /// Tells what a run did.
    fn report(&self, request: ReportRequest) -> Result<Reply, Refusal>;
    /// Analyses, and fixes if asked to.
    fn improve(&self, request: ImproveRequest, caller: &dyn Caller) -> Result<Reply, Refusal>;
    /// Lists the runs, the newest first.
    fn runs(&self) -> Result<Vec<RunEntry>, Refusal>;
    /// Writes the report of a run; `None` if there is no such run.
    fn report_text(&self, run: &str, form: Form) -> Result<Option<String>, Refusal>;
}

/// The tools over a [`Desk`].
#[derive(Debug)]
pub struct DeskTools<D>(pub D);

/// At most so many runs have their reports listed; any can be read.
const LISTED_MAX: usize = 20;

impl<D: Desk> Toolbox for DeskTools<D> {
    fn name(&self) -> &'static str {
        "kapell"
    }

    fn instructions(&self) -> &'static str {
        "kapell runs teams of coding agents durably: a run outlives this conversation. Start one with `run`, look again \
         with `status` (wait_seconds), ask the person what `inbox` lists and pass on their words with `answer`. Nothing \
         reaches a branch before a merge."
    }

    fn tools(&self) -> Vec<Tool> {
        use Effect::{Acts, Reads};
        vec![
            Tool::new::<RunRequest>(
                "run",
                "Run a mission",
                Acts,
                "Starts a workflow file (or a mission in words) in the background and returns its run id. \
                 Waits a while for the end, reporting progress; the run goes on when the call ends.",
            ),
            Tool::new::<PlanRequest>(
                "plan",
                "Show a plan",
                Reads,
                "Shows the task graph, waves, critical path and forecast of a workflow file. Starts nothing.",
            ),
            Tool::new::<StatusRequest>(
                "status",
                "Where runs stand",
                Reads,
                "Says where one run stands, task by task, or lists all runs. Can wait for the end of a run.",
            ),
            Tool::new::<InboxRequest>(
                "inbox",
                "What waits for a person",
                Reads,
                "Lists the questions that runs wait for. Ask the person; do not answer for them.",
            ),
            Tool::new::<AnswerRequest>(
                "answer",
                "Answer a question",
                Acts,
                "Passes a person's answer on to the run that waits for it.",
            ),
            Tool::new::<ReportRequest>(
                "report",
                "Report of a run",
                Reads,
                "Tells what a run did: tasks, checks, commits, cost, and what is left to do.",
            ),
            Tool::new::<ImproveRequest>(
                "improve",
                "Improve the orchestration",
                Acts,
                "Analyses the repository's commands, agents, skills and workflows, with evidence and fixes. \
                 Changes nothing unless `implement` is true.",
            ),
        ]
    }

    fn call(
        &self,
        name: &str,
        given: Map<String, Value>,
        caller: &dyn Caller,
    ) -> Option<Result<Reply, Refusal>> {
        let desk = &self.0;
        Some(match name {
            "run" => arguments(given).and_then(|request| desk.run(request, caller)),
            "plan" => arguments(given).and_then(|request| desk.plan(request)),
            "status" => arguments(given).and_then(|request| desk.status(request, caller)),
            "inbox" => arguments(given).and_then(|request| desk.inbox(request)),
            "answer" => arguments(given).and_then(|request| desk.answer(request)),
            "report" => arguments(given).and_then(|request| desk.report(request)),
            "improve" => arguments(given).and_then(|request| desk.improve(request, caller)),
            _ => return None,
        })
    }

    fn documents(&self) -> Result<Vec<Document>, ReadError> {
        let runs = self.0.runs().map_err(|refusal| ReadError::Failed(refusal.0))?;
        Ok(runs.iter().take(LISTED_MAX).map(|entry| report_of(&entry.run, &entry.objective)).collect())
    }

    fn families(&self) -> Vec<Family> {
        vec![
            Family {
                template: "kapell://runs/{run}/report.md",
                name: "report",
                about: "What a run did, for people",
                mime: "text/markdown",
            },
            Family {
                template: "kapell://runs/{run}/report.json",
                name: "report.json",
                about: "What a run did, for programs",
                mime: "application/json",
            },
        ]
    }

    fn read(&self, uri: &str) -> Result<(String, Cow<'static, str>), ReadError> {
        let unknown = || ReadError::Unknown(uri.to_owned());
        let (run, file) =
            uri.strip_prefix("kapell://runs/").and_then(|rest| rest.split_once('/')).ok_or_else(unknown)?;
        let form = Form::ALL.into_iter().find(|form| form.file().0 == file).ok_or_else(unknown)?;
        let text = self.0.report_text(run, form).map_err(|refusal| ReadError::Failed(refusal.0))?;
        Ok((text.ok_or_else(unknown)?, form.file().1.into()))
    }
}

/// Returns the report of a run as a document.
#[must_use]
pub fn report_of(run: &str, objective: &str) -> Document {
    let (file, mime) = Form::Markdown.file();
    Document {
        uri: format!("kapell://runs/{run}/{file}"),
        name: format!("report of run {run}"),
        about: objective.to_owned(),
        mime: mime.into(),
    }
}
