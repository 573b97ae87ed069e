//! One call of a tool, from the first word to the last.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use kapell_core::{retry::FailureClass, time::Wall};
use rmcp::{
    ClientHandler, ClientLifecycleMode, ClientServiceExt, RoleClient, ServiceError,
    model::{CallToolRequestParams, ClientConfig, ProgressNotificationParam, ProtocolVersion},
    service::{ClientInitializeError, NotificationContext, RunningService},
};
use serde_json::Value;
use tokio::net::unix::pipe;

use super::{HEADERS, Reach, Spec, Trouble, forward};
use crate::{
    drivers::client::failure,
    protocol::{self, client},
    supervise::{MARKER, record::wall_ms},
};

/// What a server must not get: with it, it could speak for the task.
const NOT_FOR_SERVERS: &[&str] = &[protocol::SOCKET, protocol::TOKEN, protocol::OUTPUT, HEADERS];

type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Hears what a server says besides.
struct Ear {
    /// The variables by which the task is spoken for.
    env: BTreeMap<&'static str, OsString>,
}

impl ClientHandler for Ear {
    fn get_info(&self) -> ClientConfig {
        let mut info = ClientConfig::default();
        "kapell".clone_into(&mut info.client_info.name);
        env!("CARGO_PKG_VERSION").clone_into(&mut info.client_info.version);
        info
    }

    async fn on_progress(&self, said: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let Some(total) = said.total.filter(|total| *total > 0.0) else { return };
        let fraction = (said.progress / total).clamp(0.0, 1.0);
        let words = ["progress".into(), fraction.to_string().into(), said.message.unwrap_or_default().into()];
        // Whether it is heard does not matter to the call.
        let _ = client::run(&words, |name| self.env.get(name).cloned());
    }
}

/// Calls the tool; returns its result as it goes over the wire.
pub(super) async fn call(
    spec: &Spec,
    headers: BTreeMap<String, String>,
    env: Env<'_>,
) -> Result<Value, Trouble> {
    let variables = [protocol::SOCKET, protocol::TOKEN, MARKER];
    let ear = Ear { env: variables.into_iter().filter_map(|name| Some((name, env(name)?))).collect() };
    let work = async {
        let service = match &spec.reach {
            Reach::Program(argv) => of_program(ear, argv).await?,
            Reach::Url(url) => {
                let transport = forward::transport(url, headers, env)
                    .map_err(|error| Trouble::new(FailureClass::Permanent, format!("{url}: {error}")))?;
                ear.serve_with_lifecycle(transport, lifecycle()).await.map_err(|error| begun(&error))?
            }
        };
        let mut params = CallToolRequestParams::new(spec.tool.clone());
        params.arguments = Some(spec.arguments.clone());
        let result = service.call_tool(params).await.map_err(|error| called(&error))?;
        let result = serde_json::to_value(&result);
        let _ = service.cancel().await;
        result.map_err(|error| Trouble::new(FailureClass::InvalidOutput, error.to_string()))
    };
    let late = |_| {
        let seconds = spec.timeout.as_secs_f64();
        Trouble::new(FailureClass::Timeout, format!("`{}` gave no answer within {seconds} s", spec.tool))
    };
    tokio::time::timeout(spec.timeout, work).await.map_err(late)?
}

/// The newest version that is known, or the one before it with those that know no better.
fn lifecycle() -> ClientLifecycleMode {
    ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: Some(ProtocolVersion::V_2025_11_25),
    }
}

async fn of_program(ear: Ear, argv: &[String]) -> Result<RunningService<RoleClient, Ear>, Trouble> {
    let hopeless = |error: std::io::Error| {
        let program = argv.first().map(String::as_str).unwrap_or_default();
        Trouble::new(FailureClass::Permanent, format!("the server `{program}` cannot be started: {error}"))
    };
    let [program, args @ ..] = argv else { return Err(hopeless(std::io::ErrorKind::InvalidInput.into())) };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    for name in NOT_FOR_SERVERS {
        command.env_remove(name);
    }
    let mut child = command.spawn().map_err(hopeless)?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(hopeless(std::io::ErrorKind::BrokenPipe.into()));
    };
    let reader = pipe::Receiver::from_owned_fd(OwnedFd::from(output)).map_err(hopeless)?;
    let writer = pipe::Sender::from_owned_fd(OwnedFd::from(input)).map_err(hopeless)?;
    ear.serve_with_lifecycle((reader, writer), lifecycle()).await.map_err(|error| begun(&error))
}

/// Judges why a server could not be spoken to.
fn begun(error: &ClientInitializeError) -> Trouble {
    let text = format!("the server cannot be spoken to: {error}");
    match error {
        ClientInitializeError::ConnectionClosed(_) => Trouble::new(FailureClass::Transient, text),
        ClientInitializeError::NoCompatibleProtocolVersion { .. } => {
            Trouble::new(FailureClass::Permanent, text)
        }
        _ => judge(&text),
    }
}

/// Judges why a call came to nothing.
fn called(error: &ServiceError) -> Trouble {
    match error {
        // A wrong name or wrong arguments stay wrong.
        ServiceError::McpError(error) if (-32602..=-32600).contains(&error.code.0) => {
            Trouble::new(FailureClass::Permanent, error.message.to_string())
        }
        ServiceError::McpError(error) => judge(&error.message),
        ServiceError::TransportClosed => Trouble::new(FailureClass::Transient, "the server went away"),
        other => judge(&other.to_string()),
    }
}

/// Judges an error by its words.
pub(super) fn judge(text: &str) -> Trouble {
    let verdict = failure(None, text, Wall(wall_ms()));
    Trouble { class: verdict.result.err().unwrap_or(FailureClass::Transient), text: text.to_owned() }
}

/// Returns the text of a result.
pub(super) fn text(result: &Value) -> String {
    let parts = result["content"].as_array().into_iter().flatten();
    parts.filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
}

/// Returns what a result gives, by name.
pub(super) fn outputs(result: &Value, text: &str) -> BTreeMap<String, String> {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut outputs = BTreeMap::from([("text".to_owned(), text.to_owned())]);
    match &result["structuredContent"] {
        Value::Null => {}
        Value::Object(fields) => {
            outputs.extend(fields.iter().map(|(name, value)| (name.clone(), plain(value))));
        }
        other => drop(outputs.insert("result".to_owned(), plain(other))),
    }
    outputs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_gives_outputs_and_an_error_has_a_class() {
        let result = json!({
            "content": [{ "type": "text", "text": "two" }, { "type": "image" }, { "type": "text", "text": "lines" }],
            "structuredContent": { "sum": 5, "name": "x", "list": [1] },
        });
        let said = text(&result);
        assert_eq!(said, "two\nlines");
        let expected = [("list", "[1]"), ("name", "x"), ("sum", "5"), ("text", "two\nlines")];
        let found = outputs(&result, &said);
        assert_eq!(found.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>(), expected);
        assert_eq!(outputs(&json!({ "structuredContent": 7 }), "")["result"], "7");
        for (text, class) in [
            ("status 429: slow down", FailureClass::RateLimited),
            ("the disk is on fire", FailureClass::Transient),
            ("permission_error: no", FailureClass::Permanent),
        ] {
            assert_eq!(judge(text).class, class, "{text}");
        }
    }
}
