//! `task`: the agent's end. It runs within a task, and speaks to the kapell that runs it.

use kapell_agents::protocol::client::{self, ClientError};

use super::Context;
use crate::{args::TaskArgs, exit::Exit, fault::Fault};

/// Says something for an agent; an answer of a person goes to standard output.
///
/// # Errors
///
/// Fails if this is not within a task, or kapell refuses.
pub fn task(context: &Context, args: &TaskArgs) -> Result<Exit, Fault> {
    let answer = client::run(&args.words, |name| std::env::var_os(name)).map_err(refused)?;
    if let Some(answer) = answer {
        // A program reads it: as it was given.
        match context.out.json {
            true => context.out.value(&serde_json::json!({"answer": answer})),
            false => context.out.data(&answer),
        }
    }
    Ok(Exit::Done)
}

fn refused(error: ClientError) -> Fault {
    let (code, exit) = match &error {
        ClientError::Usage(_) => ("K0907", Exit::Usage),
        ClientError::Outside(_) => ("K0802", Exit::Usage),
        ClientError::Unreachable(_) | ClientError::Gone => ("K0803", Exit::Environment),
        ClientError::Refused(_) => ("K0803", Exit::Refused),
    };
    Fault::new(code, exit, error.to_string()).hint(error.hint())
}
