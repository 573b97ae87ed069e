//! Performing an attempt: a command, a scripted agent, nothing at all, or a person.
//!
//! All of them speak one vocabulary, [`Report`], and are run by a [`Crew`].

mod crew; // all attempts of this process, watched by one thread
pub mod exit; // how an attempt ended, and what that means
mod group; // a command as a plain process group
pub mod job; // what is to be performed
pub mod scripted; // an agent that plays a script
mod supervised; // a command under its supervisor
pub mod text; // text of others, made safe to show

use std::sync::Arc;

pub use self::{
    crew::{ANSWER, Config, Crew, CrewError},
    exit::{Ending, Exit},
    job::{Job, Supervision, Work},
    text::escape_untrusted,
};
use crate::protocol::AttemptKey;

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
    /// It gives an output. Those in [`Exit::outputs`] are the ones that count.
    Output {
        /// The name.
        key: String,
        /// The value.
        value: String,
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
