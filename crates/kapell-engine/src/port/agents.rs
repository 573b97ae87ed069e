//! The agents port: attempts are started, stopped and recovered through it; what they say comes back as reports.

use std::{fmt, path::PathBuf, sync::Arc, time::Instant};

use kapell_core::{
    budget::Amount,
    event::Outputs,
    id::{AttemptNo, RunId, TaskId},
    plan::{AgentSpec, Supervise},
    price::Tokens,
    retry::FailureClass,
    time::{Millis, Wall},
};

/// Names an attempt anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptKey {
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: AttemptNo,
    /// Whether it takes a task back rather than doing it.
    pub compensates: bool,
}

impl fmt::Display for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.compensates { "-undo" } else { "" };
        write!(f, "{}-{}-{}{what}", self.run, self.task, self.attempt)
    }
}

/// What an agent is to do, with every expression computed.
#[derive(Debug, Clone, PartialEq)]
pub enum Job {
    /// Run a shell script.
    Script(String),
    /// Work on a prompt.
    Prompt(String),
    /// Play a script of the scripted agent.
    Scripted(String),
}

/// What an attempt may spend, where its run is limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Money, in millionths of a US dollar; `None` means that it is not limited.
    pub usd_micros: Option<u64>,
    /// Tokens of all kinds; `None` means that they are not limited.
    pub tokens: Option<u64>,
    /// Whether nothing was set aside for this attempt alone: then it is what is left of the run, for all such attempts
    /// together.
    pub is_shared: bool,
    /// The money that the run may spend in all, in millionths of a US dollar.
    pub limit_usd_micros: Option<u64>,
    /// The tokens that it may use in all.
    pub limit_tokens: Option<u64>,
}

/// What is known of earlier attempts at the same task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Earlier {
    /// Why the last one failed, and what was recorded about it; `None` for the first attempt. Text of others.
    pub failure: Option<(FailureClass, String)>,
    /// What earlier attempts asked, and what people answered. Text of others.
    pub answers: Vec<(String, String)>,
    /// What the last one left unfinished.
    pub work: Option<EarlierWork>,
}

/// Unfinished work of an earlier attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EarlierWork {
    /// The commit that holds it, in kapell's own repository.
    pub commit: String,
    /// Whether its changes are in the workspace of the new attempt, uncommitted.
    pub is_restored: bool,
    /// Which files it changed, and by how much, as git tells it.
    pub stat: String,
}

/// What an attempt is given to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brief {
    /// The essential of it, for the prompt of a model.
    pub text: String,
    /// All of it by name, each as it is shown when it is asked for.
    pub sections: Vec<(String, String)>,
    /// The names, one a line, each with what it is and how many tokens it has.
    pub list: String,
    /// The names of the other agents of the plan, to which the task can be handed on.
    pub agents: Vec<String>,
}

/// An attempt to be started.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Which attempt it is.
    pub key: AttemptKey,
    /// The name of its task.
    pub name: String,
    /// What is to be done.
    pub job: Job,
    /// Who shall do it, if an agent of the plan.
    pub agent: Option<AgentSpec>,
    /// The outputs that it promises: a JSON schema of one object with a property for each of them.
    pub outputs: Option<String>,
    /// What is known of earlier attempts.
    pub earlier: Earlier,
    /// The environment that the plan gives it.
    pub env: Vec<(String, String)>,
    /// The directory in which it works.
    pub dir: PathBuf,
    /// What it may spend.
    pub allowance: Allowance,
    /// What it is given to read.
    pub brief: Arc<Brief>,
    /// How its processes are watched.
    pub supervise: Supervise,
    /// How long it may take; the engine stops it, this is for the adapter to know.
    pub timeout: Option<Millis>,
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Its class.
    pub class: FailureClass,
    /// What it said last; text of others, not to be shown unescaped.
    pub message: String,
    /// When its provider says that it may be asked again.
    pub until: Option<Wall>,
}

/// What an attempt used of its model, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Used {
    /// Tokens, as they are booked.
    pub tokens: Tokens,
    /// What the client itself says that it used, where that is known besides.
    pub claimed: Option<Tokens>,
    /// The model.
    pub model: Option<String>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// Whether it says that it did what was asked.
    pub result: Result<(), Failure>,
    /// What it gave.
    pub outputs: Outputs,
    /// What it cost.
    pub spent: Amount,
    /// What it used of its model, if it had one.
    pub used: Option<Used>,
}

/// What an attempt says. Texts are text of others, not to be shown unescaped.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// How far it is; not kept.
    Progress {
        /// From 0 to 1, if it says.
        fraction: Option<f64>,
        /// What it says besides.
        text: String,
    },
    /// Something that should be kept.
    Note(String),
    /// Another agent shall go on with its task: the one of that name, or whoever is next.
    HandOff {
        /// The name.
        to: Option<String>,
        /// What the next one should know.
        note: String,
    },
    /// Its provider asks for a pause, and it goes on by itself after that.
    Throttled {
        /// Until when, if the provider says so.
        until: Option<Wall>,
        /// In which words.
        text: String,
    },
    /// It asks a person, and waits.
    Question {
        /// Names the question within the attempt.
        question: u32,
        /// What it asks.
        text: String,
        /// What can be answered; anything if empty.
        choices: Vec<String>,
    },
    /// It has ended and nothing of it runs any more. Comes once, last.
    Finished(Ending),
}

/// Takes reports. It must return at once.
pub type Sink = Arc<dyn Fn(AttemptKey, Report) + Send + Sync>;

/// What is left of an attempt that was under way when kapell was killed.
#[derive(Debug, Clone, PartialEq)]
pub enum Recovered {
    /// It ended, and a durable record says how.
    Ended(Ending),
    /// It did not, or left no record; nothing of it runs any more.
    Lost {
        /// What is known about it.
        message: String,
        /// What it had cost by then, as far as that can be read from what it left.
        spent: Amount,
        /// What it had used of its model.
        used: Option<Used>,
    },
}

/// Starts and stops attempts.
pub trait Agents: Send + Sync {
    /// Starts an attempt. What becomes of it is reported to the sink that the implementation was made with.
    ///
    /// # Errors
    ///
    /// Fails if nothing was started; then nothing is reported either.
    fn start(&self, order: &Order) -> Result<(), Failure>;

    /// Takes in that an attempt is about to be started, as soon as it is durable that it shall be: whatever takes time and
    /// does nothing can be done already. It may never be started.
    fn expect(&self, key: AttemptKey) {
        let _ = key;
    }

    /// Takes in that it is durable how an attempt ended.
    fn settled(&self, key: AttemptKey) {
        let _ = key;
    }

    /// Takes in that nothing more of a run will be started here: it is over, or given up. Attempts of it may still run.
    fn let_go(&self, run: RunId) {
        let _ = run;
    }

    /// Asks an attempt to end. It is reported as finished once nothing of it runs any more.
    fn stop(&self, key: AttemptKey);

    /// Gives an answer to a question that an attempt asked.
    fn answer(&self, key: AttemptKey, question: u32, text: &str);

    /// Finds out what became of an attempt of an earlier process, and ends what is left of it. May take seconds.
    ///
    /// Since `since` no other process executes the run, so what is found out about the machine later than that holds
    /// for all attempts with the same `since`.
    fn recover(&self, key: AttemptKey, since: Instant) -> Recovered;

    /// Returns the names of files with instructions that an agent does not look for by itself, though other clients do.
    fn instructions(&self, agent: &AgentSpec) -> &'static [&'static str] {
        let _ = agent;
        &[]
    }

    /// Ends all that runs and all that anybody waits for; nothing starts any more. For when the process goes away.
    fn close(&self);
}
