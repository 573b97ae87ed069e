//! What an agent can say to kapell while it works, in any language.
//!
//! Two ways lead in. A file, named by `KAPELL_OUTPUT`, takes outputs and needs no program at all (see
//! [`outputs`]). A Unix socket, named by `KAPELL_SOCKET`, takes one line of JSON (see [`Request`]) on each
//! connection and answers with one (see [`Reply`]); `kapell task` is a client of it.
//!
//! | variable | holds |
//! |---|---|
//! | `KAPELL_RUN`, `KAPELL_TASK`, `KAPELL_ATTEMPT` | id of the run, name of the task, number of the attempt from 1 |
//! | `KAPELL_ATTEMPT_ID` | the name of the attempt, unique for ever |
//! | `KAPELL_WORKSPACE` | the directory to work in, which is also the current one at the start |
//! | `KAPELL_OUTPUT` | the file for outputs |
//! | `KAPELL_BRIEF` | the file with what it is given to read |
//! | `KAPELL_SOCKET`, `KAPELL_TOKEN` | the socket, and the secret that lets this attempt in |

pub mod outputs; // what a task gives, by name, and the file that it writes them to

mod message; // requests and replies

mod brief; // what an attempt can read

pub mod client; // `kapell task`
pub mod server; // kapell's end of the socket

pub use kapell_engine::port::agents::AttemptKey;

pub use self::{
    brief::Brief,
    message::{Reply, Request, Wish},
};

/// The variable with the path of the socket.
pub const SOCKET: &str = "KAPELL_SOCKET";
/// The variable with the secret of the attempt.
pub const TOKEN: &str = "KAPELL_TOKEN";
/// The variable with the path of the file for outputs.
pub const OUTPUT: &str = "KAPELL_OUTPUT";
/// The variable with the path of the file that holds what the attempt is given to read.
pub const BRIEF: &str = "KAPELL_BRIEF";
