//! What all APIs have in common: what is asked, and what is answered.

use serde_json::{Value, json};

use super::{Api, chat, gemini, messages, responses};

/// A tool, as a model is told of it.
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    /// A JSON Schema of its arguments.
    pub(super) parameters: Value,
}

/// What is asked.
pub(super) struct Ask<'a> {
    pub(super) model: &'a str,
    pub(super) system: &'a str,
    /// The conversation so far, in the words of the API.
    pub(super) history: &'a [Value],
    pub(super) tools: &'a [Tool],
    /// What the reply must look like; then no tool may be called.
    pub(super) schema: Option<&'a Value>,
    pub(super) output_max: Option<u32>,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    /// The API's own name of it.
    pub(super) id: String,
    pub(super) tool: String,
    /// The arguments, or what came in their place.
    pub(super) input: Result<Value, String>,
}

impl Call {
    /// Makes one whose arguments came as text.
    pub(super) fn of_text(id: String, tool: String, text: String) -> Self {
        let input = match text.trim() {
            "" => Ok(json!({})),
            trimmed => serde_json::from_str(trimmed).map_err(|_| text.clone()),
        };
        Self { id, tool, input }
    }
}

/// What a call came to.
pub(super) struct Outcome<'a> {
    pub(super) call: &'a Call,
    pub(super) text: String,
    pub(super) is_error: bool,
}

/// Why a reply ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stop {
    /// The model has said what it has to say, or wants tools to be called.
    Done,
    /// It was cut off at the limit of its length.
    Length,
    /// The provider, or the model, does not want to; in which words.
    Refusal(String),
    /// It may go on if it is asked again.
    Paused,
    /// The conversation is longer than the model can read.
    Full,
}

/// A reply of a model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) calls: Vec<Call>,
    pub(super) stop: Stop,
    /// What is to be sent back, so that the model finds its own words again.
    pub(super) echo: Vec<Value>,
}

/// An error that comes within a stream.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    /// The status that the same error has as an answer.
    pub(super) status: Option<u16>,
    pub(super) text: String,
}

/// A reply on its way.
pub(super) trait Pieces {
    /// Takes the next event.
    fn event(&mut self, event: &Value) -> Result<(), Fault>;

    /// Returns the reply; `None` if the stream did not come to its end.
    fn finish(self: Box<Self>) -> Option<Reply>;
}

impl Api {
    /// Returns the path of a request, from the base URL.
    pub(super) fn path(self, model: &str) -> String {
        match self {
            Self::Messages => "/v1/messages".to_owned(),
            Self::Responses => "/responses".to_owned(),
            Self::Chat => "/chat/completions".to_owned(),
            Self::Gemini => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
        }
    }

    /// Returns the body of a request.
    pub(super) fn request(self, ask: &Ask<'_>) -> Value {
        match self {
            Self::Messages => messages::request(ask),
            Self::Responses => responses::request(ask),
            Self::Chat => chat::request(ask),
            Self::Gemini => gemini::request(ask),
        }
    }

    /// Returns whoever puts a reply together.
    pub(super) fn pieces(self) -> Box<dyn Pieces> {
        match self {
            Self::Messages => Box::new(messages::Stream::default()),
            Self::Responses => Box::new(responses::Stream::default()),
            Self::Chat => Box::new(chat::Stream::default()),
            Self::Gemini => Box::new(gemini::Stream::default()),
        }
    }

    /// Returns what a person says, as a part of the conversation.
    pub(super) fn user(self, text: &str) -> Value {
        match self {
            Self::Messages => json!({ "role": "user", "content": [{ "type": "text", "text": text }] }),
            Self::Responses | Self::Chat => json!({ "role": "user", "content": text }),
            Self::Gemini => json!({ "role": "user", "parts": [{ "text": text }] }),
        }
    }

    /// Returns what calls came to, as parts of the conversation.
    pub(super) fn results(self, outcomes: &[Outcome<'_>]) -> Vec<Value> {
        match self {
            Self::Messages => messages::results(outcomes),
            Self::Responses => responses::results(outcomes),
            Self::Chat => chat::results(outcomes),
            Self::Gemini => gemini::results(outcomes),
        }
    }
}

/// Returns a text of an event; empty if there is none.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns a list of an event; empty if there is none.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
