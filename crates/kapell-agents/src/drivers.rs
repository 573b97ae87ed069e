//! Performing an attempt: a command, a scripted agent, nothing at all, or a person.
//!
//! All of them speak one vocabulary, [`Report`], and are run by a [`Crew`].

pub mod acp; // agents behind the Agent Client Protocol
pub mod api; // an agent of kapell's own around a model
pub mod client; // coding agents: how they are started, and what they say
mod crew; // all attempts of this process, watched by one thread
pub mod exit; // how an attempt ended, and what that means
mod group; // a command as a plain process group
pub mod job; // what is to be performed
pub mod mcp; // a tool of an MCP server, called as a task
pub mod own; // agents of kapell's own: what they have in common
pub mod scripted; // an agent that plays a script
mod spare; // directories of attempts that left nothing, for later ones
mod supervised; // a command under its supervisor
pub mod text; // text of others, made safe to show

use std::{ffi::OsString, process::ExitCode, sync::Arc};

use kapell_core::{price::Tokens, time::Wall};

pub use self::{
    crew::{ANSWER, Config, Crew, CrewError},
    exit::{Ending, Exit},
    job::{Job, Supervision, Work},
    text::escape_untrusted,
};
use crate::protocol::AttemptKey;

/// What kapell re-executes itself as: it is given its arguments, and what it finds around it.
pub type Own = fn(&[OsString], own::Surroundings<'_>) -> ExitCode;

/// Returns what a hidden argument calls, if it names an agent of kapell's own.
#[must_use]
pub fn own_agent(argument: &str) -> Option<Own> {
    match argument {
        acp::ARGUMENT => Some(acp::main),
        api::ARGUMENT => Some(api::main),
        mcp::ARGUMENT => Some(mcp::main),
        _ => None,
    }
}

/// What an attempt reports. [`Report::Finished`] comes once, last.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Its process has started.
    Started {
        /// The id of the process.
        pid: u32,
    },
    /// It says how far it is.
    Progress {
        /// From 0 to 1.
        fraction: f64,
        /// What it says besides; not to be shown unescaped.
        text: String,
    },
    /// It says something that should be kept; not to be shown unescaped.
    Note {
        /// What it says.
        text: String,
    },
    /// It wants another agent to go on with its task once it has ended.
    HandOff {
        /// The name of that agent; whoever is next if there is none.
        to: Option<String>,
        /// What the next one should know; not to be shown unescaped.
        note: String,
    },
    /// Its session with a model has begun.
    Session {
        /// The client's own name of it.
        id: String,
        /// The model, if it says so.
        model: Option<String>,
    },
    /// It says something on its way; not to be shown unescaped.
    Said {
        /// What it says, on one line.
        text: String,
    },
    /// It calls a tool.
    ToolUse {
        /// Which.
        tool: String,
        /// A path, a command, or what else the call is about, on one line; not to be shown unescaped.
        about: String,
    },
    /// A call of a tool was refused.
    Refused {
        /// Which.
        tool: String,
        /// Why; not to be shown unescaped.
        text: String,
    },
    /// What it has used so far, in all.
    Usage(Tokens),
    /// Its provider asks for a pause.
    RateLimited {
        /// Until when, if the provider says so.
        until: Option<Wall>,
        /// In which words; not to be shown unescaped.
        text: String,
    },
    /// It asks a person, and waits.
    Question {
        /// Names the question within the attempt; [`Crew::answer`] takes it.
        question: u32,
        /// What it asks; not to be shown unescaped.
        text: String,
        /// What can be answered; anything if empty.
        choices: Vec<String>,
    },
    /// It has ended and nothing of it runs any more.
    Finished(Box<Exit>),
}

/// Takes reports. It is called from the crew's thread, and from within [`Crew::start`] where an attempt is
/// finished at once; it should hand them on and return.
pub type Sink = Arc<dyn Fn(AttemptKey, Report) + Send + Sync>;
