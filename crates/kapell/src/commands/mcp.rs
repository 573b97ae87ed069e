//! `mcp`: kapell's tools for agents, over the Model Context Protocol on standard input and output.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use kapell_agents::{
    protocol::{self, Request, Wish, client},
    supervise::MARKER,
};
use kapell_core::id::RunId;
use kapell_engine::port::journal::Journal;
use kapell_server::mcp::{
    attempt::{
        AskRequest, Attempt, AttemptTools, BriefRequest, HandoffRequest, NoteRequest, OutputRequest,
        OutputsRequest, ProgressRequest,
    },
    desk::{
        AnswerRequest, Desk, DeskTools, Form, ImproveRequest, InboxRequest, PlanRequest, ReportRequest,
        RunEntry, RunRequest, StatusRequest, WAIT_SECONDS, WAIT_SECONDS_MAX, report_of,
    },
    serve::{self, ServeError},
    toolbox::{Caller, Refusal, Reply},
};
use kapell_store::Store;
use kapell_view::summary::RunSummary;

use super::{Context, hook::explained, slash};
use crate::{args::McpArgs, exit::Exit, fault::Fault, output::Out, runs};

/// How often a run that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How long a run may take until its first decision is recorded.
const BEGIN: Duration = Duration::from_secs(15);

/// Serves tools until the client goes away.
///
/// # Errors
///
/// Fails if the client does not speak the protocol, or this is not within a task and should be.
pub fn mcp(context: &Context, args: &McpArgs) -> Result<Exit, Fault> {
    let served = match args.attempt {
        true => serve::stdio(AttemptTools(Task::found()?)),
        // What a command would print would be taken for the protocol.
        false => serve::stdio(DeskTools(Office {
            context: Context {
                directory: context.directory.clone(),
                out: Out { quiet: true, json: true },
                no_input: true,
            },
        })),
    };
    served.map(|()| Exit::Done).map_err(|error| {
        let exit = match &error {
            ServeError::Start(_) => Exit::Environment,
            ServeError::Handshake(_) => Exit::Usage,
            ServeError::Bug(_) => Exit::Bug,
        };
        Fault::new("K0924", exit, error.to_string())
            .hint("it is started by an MCP client: kapell install --help")
    })
}

fn refusal(fault: Fault) -> Refusal {
    Refusal(explained(&fault))
}

fn reply(text: String) -> Reply {
    Reply { text, ..Reply::default() }
}

/// Carries out the wishes of an agent as a person would: by the commands of this program.
struct Office {
    context: Context,
}

impl Office {
    /// Carries out a command, and returns what it prints.
    fn say(&self, words: &[String]) -> Result<String, Refusal> {
        let output = slash::output_of(&self.context, words).map_err(refusal)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let (data, errors) = (text(&output.stdout), text(&output.stderr));
        match output.status.success() || !data.is_empty() {
            true => Ok(data),
            false => Err(Refusal(errors)),
        }
    }

    fn store(&self) -> Result<Store, Refusal> {
        self.context.site().and_then(|site| site.existing_store()).map_err(refusal)
    }

    /// Waits until a run is at rest or the time is over, and says what happens meanwhile.
    fn follow(&self, run: RunId, wait: Option<u32>, caller: &dyn Caller) -> Result<(), Refusal> {
        let wait = Duration::from_secs(wait.unwrap_or(WAIT_SECONDS).min(WAIT_SECONDS_MAX).into());
        let begun = Instant::now();
        let store = self.store()?;
        let mut last = None;
        loop {
            let heads = store.runs().map_err(|error| refusal(error.into()))?;
            let head = heads.iter().find(|head| head.run == run);
            if let Some(summary) = head.and_then(|head| runs::summary(&store, head)) {
                if last != head.map(|head| head.version) {
                    last = head.map(|head| head.version);
                    told(&summary, caller);
                }
                let waits = summary.gates > 0 && summary.running == 0;
                // Nobody executes it: it was paused, or its process is gone.
                let left = begun.elapsed() > BEGIN && store.owner(run).ok().flatten().is_none();
                if summary.phase.is_over() || waits || left {
                    return Ok(());
                }
            } else if begun.elapsed() > BEGIN {
                return Err(Refusal(format!("run {run} did not begin: kapell doctor says what is missing")));
            }
            if caller.is_gone() || begun.elapsed() >= wait && (last.is_some() || wait.is_zero()) {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Says where a run stands, with the report to read.
    fn standing(&self, run: &str) -> Result<Reply, Refusal> {
        let text = self.say(&["status".into(), run.into(), "--json".into()])?;
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let objective = value["objective"].as_str().unwrap_or("what it did").to_owned();
        Ok(Reply { text, value: None, links: vec![report_of(run, &objective)] })
    }
}

/// Says how far a run is.
fn told(summary: &RunSummary, caller: &dyn Caller) {
    let mut text = format!("{} of {} tasks done, {} running", summary.done, summary.tasks, summary.running);
    if summary.failed > 0 {
        text.push_str(&format!(", {} failed", summary.failed));
    }
    if summary.gates > 0 {
        text.push_str(&format!(", {} waiting for a person", summary.gates));
    }
    let over = summary.done + summary.failed + summary.dropped;
    caller.progress(over.into(), Some(summary.tasks.into()), &text);
}

impl Desk for Office {
    fn run(&self, request: RunRequest, caller: &dyn Caller) -> Result<Reply, Refusal> {
        let run = slash::start(&self.context, &request.mission, |args| {
            args.set = request.inputs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            args.agents = request.agents;
            args.budget = request.budget.clone();
            args.merge = request.merge;
            args.new = request.new;
        })
        .map_err(refusal)?;
        self.follow(run, request.wait_seconds, caller)?;
        self.standing(&run.to_string())
    }

    fn plan(&self, request: PlanRequest) -> Result<Reply, Refusal> {
        let mut words = vec!["plan".to_owned()];
        words.extend(request.inputs.iter().map(|(name, value)| format!("--set={name}={value}")));
        words.extend(["--".to_owned(), request.file]);
        // The text is a tenth of the JSON, and says the same.
        self.say(&words).map(reply)
    }

    fn status(&self, request: StatusRequest, caller: &dyn Caller) -> Result<Reply, Refusal> {
        let Some(name) = request.run else {
            return self.say(&["status".into(), "--json".into()]).map(reply);
        };
        let head = runs::find(&self.store()?, Some(&name)).map_err(refusal)?;
        if let Some(wait) = request.wait_seconds.filter(|wait| *wait > 0) {
            self.follow(head.run, Some(wait), caller)?;
        }
        self.standing(&head.run.to_string())
    }

    fn inbox(&self, request: InboxRequest) -> Result<Reply, Refusal> {
        let words = ["inbox".to_owned(), "--json".to_owned()].into_iter().chain(request.run);
        self.say(&words.collect::<Vec<_>>()).map(reply)
    }

    fn answer(&self, request: AnswerRequest) -> Result<Reply, Refusal> {
        let words = ["answer".into(), "--".into(), request.run, request.gate.to_string(), request.answer];
        self.say(&words).map(|_| reply("answered".to_owned()))
    }

    fn report(&self, request: ReportRequest) -> Result<Reply, Refusal> {
        let words = std::iter::once("report".to_owned()).chain(request.run);
        self.say(&words.collect::<Vec<_>>()).map(reply)
    }

    fn improve(&self, request: ImproveRequest, _: &dyn Caller) -> Result<Reply, Refusal> {
        slash::offers("improve").map_err(refusal)?;
        let mut words = vec!["improve".to_owned()];
        words.extend(request.scope.map(|scope| format!("--scope={}", scope.word())));
        words.extend(request.depth.map(|depth| format!("--depth={}", depth.word())));
        words.extend(request.focus.map(|focus| format!("--focus={}", focus.word())));
        words.push(if request.implement { "--implement" } else { "--dry-run" }.to_owned());
        words.extend(request.path.into_iter().flat_map(|path| ["--".to_owned(), path]));
        self.say(&words).map(reply)
    }

    fn runs(&self) -> Result<Vec<RunEntry>, Refusal> {
        let site = self.context.site().map_err(refusal)?;
        if !site.store.join("journal.sqlite").exists() {
            return Ok(Vec::new());
        }
        let store = self.store()?;
        let heads = store.runs().map_err(|error| refusal(error.into()))?;
        let entry = |head| {
            let summary = runs::summary(&store, head)?;
            Some(RunEntry { run: head.run.to_string(), objective: summary.objective.visible() })
        };
        Ok(heads.iter().filter_map(entry).collect())
    }

    fn report_text(&self, run: &str, form: Form) -> Result<Option<String>, Refusal> {
        if runs::find(&self.store()?, Some(run)).is_err() {
            return Ok(None);
        }
        let json = (form == Form::Json).then(|| "--json".to_owned());
        let words: Vec<String> = ["report".to_owned(), run.to_owned()].into_iter().chain(json).collect();
        self.say(&words).map(Some)
    }
}

/// The task that this process works on.
struct Task {
    attempt: String,
    socket: std::path::PathBuf,
    token: String,
}

impl Task {
    /// Finds it by the variables that kapell sets.
    fn found() -> Result<Self, Fault> {
        let get = |name: &'static str| {
            std::env::var(name).map_err(|_| {
                Fault::new("K0802", Exit::Usage, format!("this is not within a task: {name} is not set"))
                    .hint("kapell mcp, without --attempt, serves a person's agent")
            })
        };
        Ok(Self {
            attempt: get(MARKER)?,
            socket: get(protocol::SOCKET)?.into(),
            token: get(protocol::TOKEN)?,
        })
    }

    fn read(&self, wish: Wish) -> Result<Reply, Refusal> {
        self.wish(wish).map(|text| reply(text.unwrap_or_default()))
    }

    fn wish(&self, wish: Wish) -> Result<Option<String>, Refusal> {
        let request = Request { attempt: self.attempt.clone(), token: self.token.clone(), wish };
        client::ask(Path::new(&self.socket), &request)
            .map_err(|error| Refusal(format!("{error} ({})", error.hint())))
    }
}

impl Attempt for Task {
    fn progress(&self, request: ProgressRequest) -> Result<(), Refusal> {
        self.wish(Wish::Progress { fraction: request.fraction, text: request.text }).map(drop)
    }

    fn output(&self, request: OutputRequest) -> Result<(), Refusal> {
        self.wish(Wish::Output { name: request.name, value: request.value }).map(drop)
    }

    fn ask(&self, request: AskRequest) -> Result<String, Refusal> {
        let answer = self.wish(Wish::Ask { question: request.question, choices: request.choices })?;
        answer.ok_or_else(|| Refusal("kapell gave no answer".to_owned()))
    }

    fn note(&self, request: NoteRequest) -> Result<(), Refusal> {
        self.wish(Wish::Note { text: request.text }).map(drop)
    }

    fn brief(&self, request: BriefRequest) -> Result<Reply, Refusal> {
        self.read(if request.list { Wish::Sections } else { Wish::Brief { section: request.section } })
    }

    fn outputs(&self, request: OutputsRequest) -> Result<Reply, Refusal> {
        self.read(Wish::Brief { section: Some(format!("outputs:{}", request.task)) })
    }

    fn handoff(&self, request: HandoffRequest) -> Result<(), Refusal> {
        self.wish(Wish::HandOff { to: request.to, note: request.note }).map(drop)
    }
}
