//! The APIs: how each of them asks, answers and fails.

mod chat; // OpenAI's chat completions, and all that are compatible
mod gemini;
mod messages; // Anthropic's
mod responses; // OpenAI's

use serde_json::{Value, json};

use crate::{
    script::Usage,
    talk::{Part, Talk},
    tools::Wire,
};

/// An API by the shape of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    Messages,
    Responses,
    Chat,
    Gemini,
}

/// Why a reply ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Done,
    Length,
    Refusal,
}

/// What the model answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    /// Unique in this server.
    pub(crate) number: u64,
    pub(crate) model: String,
    pub(crate) say: Option<String>,
    pub(crate) calls: Vec<Wire>,
    pub(crate) stop: Stop,
    pub(crate) usage: Usage,
}

impl Api {
    /// Returns the API that a path belongs to.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let path = path.trim_end_matches('/');
        if path.ends_with("/messages") {
            Some(Self::Messages)
        } else if path.ends_with("/responses") {
            Some(Self::Responses)
        } else if path.ends_with("/chat/completions") {
            Some(Self::Chat)
        } else if path.ends_with(":streamGenerateContent") || path.ends_with(":generateContent") {
            Some(Self::Gemini)
        } else {
            None
        }
    }

    /// Reads a request.
    pub(crate) fn read(self, path: &str, body: &Value) -> Talk {
        let mut talk = Talk {
            model: body["model"].as_str().unwrap_or_default().to_owned(),
            streams: body["stream"].as_bool().unwrap_or(false),
            ..Talk::default()
        };
        match self {
            Self::Messages => messages::read(body, &mut talk),
            Self::Responses => responses::read(body, &mut talk),
            Self::Chat => chat::read(body, &mut talk),
            Self::Gemini => gemini::read(path, body, &mut talk),
        }
        let schemas = [
            &body["output_config"]["format"],
            &body["text"]["format"]["schema"],
            &body["response_format"],
            &body["generationConfig"]["responseJsonSchema"],
        ];
        talk.wants_structure = schemas.iter().any(|schema| !schema.is_null());
        talk
    }

    /// Returns a reply as a stream of events, each as it goes over the wire.
    pub(crate) fn events(self, reply: &Reply) -> Vec<String> {
        match self {
            Self::Messages => messages::events(reply),
            Self::Responses => responses::events(reply),
            Self::Chat => chat::events(reply),
            Self::Gemini => vec![data(&gemini::whole(reply))],
        }
    }

    /// Returns a reply in one piece.
    pub(crate) fn whole(self, reply: &Reply) -> Value {
        match self {
            Self::Messages => messages::whole(reply),
            Self::Responses => responses::whole(reply),
            Self::Chat => chat::whole(reply),
            Self::Gemini => gemini::whole(reply),
        }
    }

    /// Returns an error in the manner of the API.
    pub(crate) fn error(self, status: u16, message: &str) -> Value {
        let kind = match status {
            400 => "invalid_request_error",
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            529 => "overloaded_error",
            _ => "api_error",
        };
        let message =
            if message.is_empty() { format!("the mock answers {status}") } else { message.to_owned() };
        match self {
            Self::Messages => json!({ "type": "error", "error": { "type": kind, "message": message } }),
            Self::Responses | Self::Chat => {
                json!({ "error": { "type": kind, "code": kind, "message": message, "param": null } })
            }
            Self::Gemini => {
                let status_name = match status {
                    400 => "INVALID_ARGUMENT",
                    401 => "UNAUTHENTICATED",
                    403 => "PERMISSION_DENIED",
                    429 => "RESOURCE_EXHAUSTED",
                    _ => "INTERNAL",
                };
                json!({ "error": { "code": status, "message": message, "status": status_name } })
            }
        }
    }
}

/// An event with data alone.
fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// An event with a name, which its data repeats as `type`.
fn named(value: &Value) -> String {
    format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap_or("message"))
}

/// Takes the text of a message: a text, or a list of parts with a text each.
fn hear_content(content: &Value, talk: &mut Talk) {
    match content {
        Value::String(text) => talk.hear(&Part::Text(text)),
        Value::Array(parts) => {
            for part in parts {
                if let Some(text) = part["text"].as_str() {
                    talk.hear(&Part::Text(text));
                }
            }
        }
        _ => {}
    }
}

/// Looks for the directory in a system prompt, which is no part of the conversation.
fn hear_system(content: &Value, talk: &mut Talk) {
    match content {
        Value::String(text) => talk.look_for_directory(text),
        Value::Array(parts) => {
            parts
                .iter()
                .filter_map(|part| part["text"].as_str())
                .for_each(|text| talk.look_for_directory(text));
        }
        _ => {}
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
