//! The scripted agent: it plays a list of steps, for tests, demos and teaching.
//!
//! It runs as a process of its own (`kapell __scripted FILE`), so that its crashes are true ones. A script is a
//! list in YAML or JSON, or a mapping with that list as `steps`:
//!
//! ```yaml
//! - print: looking at the tests
//! - delay: 200ms
//! - progress: 0.5
//! - edit: { path: src/parser.rs, replace: "a - b", with: "a + b" }
//! - commit: fix the sign
//! - output: { version: 1.4.0 }
//! - fail: { class: transient, on_attempt: 1, message: the network is down }
//! ```
//!
//! | step | does |
//! |---|---|
//! | `delay: 200ms` | waits (`ms`, `s`, `m`) |
//! | `print: TEXT` | prints a line |
//! | `output: {NAME: VALUE}` | gives outputs |
//! | `note: TEXT`, `progress: 0.5` | says something (see [`crate::protocol`]) |
//! | `ask: QUESTION`, `ask: {question, choices, output}` | asks a person; the answer is printed, and given as `output` |
//! | `edit: {path, content}`, `{path, append}`, `{path, replace, with}` | writes a file of the workspace |
//! | `commit: MESSAGE` | commits all changes of the workspace |
//! | `fail: {class or exit or signal, on_attempt, message}` | ends as a failure, on that attempt only if one is named |
//! | `garbage: {bytes, seed}` | prints bytes that are no text, the same ones for the same seed |
//! | `ignore_term: true` | ignores SIGTERM from here on |
//! | `fork_daemon: true` | leaves a process that has its own session and no parent |
//! | `delete_workspace: true` | deletes the workspace |
//! | `hang: true` | waits for ever |

mod play;
mod script;

pub use self::{
    play::{Surroundings, main},
    script::{ScriptError, Step, parse},
};

/// The hidden argument with which kapell re-executes itself as a scripted agent.
pub const ARGUMENT: &str = "__scripted";
