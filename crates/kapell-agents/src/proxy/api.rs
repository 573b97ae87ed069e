//! What a request asks for, in the words of each provider.
//!
//! The most that a request can read is bounded by its bytes: no tokenizer makes more tokens of a text than it has bytes.
//! The most that it can write is what it allows itself. Where an allowance is limited and the request names no such
//! number, one that fits is put in; a stream of OpenAI's chat API is asked to end with its usage. Nothing else of a
//! request is changed.

use bytes::Bytes;
use hyper::{
    HeaderMap, Method,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{meter::contains, redact::Secret};

/// An API that the proxy understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// Anthropic's Messages.
    Anthropic,
    /// OpenAI's Responses and chat completions, and whatever is compatible.
    OpenAi,
    /// Gemini's generateContent.
    Gemini,
}

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A model writes something, in the dialect.
    Model(Dialect),
    /// Nothing that costs anything: a list of models, a count of tokens.
    Free,
    /// Something else, which the proxy does not let through.
    Unknown,
}

/// How a model is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Dialect {
    Messages,
    Responses,
    Chat,
    Gemini,
}

impl Dialect {
    /// Returns the API that it belongs to.
    pub(crate) fn provider(self) -> Api {
        match self {
            Self::Messages => Api::Anthropic,
            Self::Responses | Self::Chat => Api::OpenAi,
            Self::Gemini => Api::Gemini,
        }
    }
}

/// What a request to a model asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ask {
    pub(super) dialect: Dialect,
    pub(super) model: String,
    /// The most tokens that it lets each reply have, if it says.
    pub(super) output_max: Option<u64>,
    /// How many replies it wants.
    pub(super) choices: u64,
    /// Whether a chat is streamed without its usage.
    pub(super) hides_usage: bool,
    /// What it makes the provider read that is not in it, if it does.
    pub(super) reads_more: Option<&'static str>,
    /// Whether it may put something into a cache for an hour, which costs more.
    pub(super) caches_long: bool,
    pub(super) body: Bytes,
}

/// The fields of all dialects that matter here. The rest is skipped, which is much faster than reading it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    model: Option<String>,
    max_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    n: Option<u64>,
    stream: Option<bool>,
    stream_options: Option<IgnoredAny>,
    previous_response_id: Option<IgnoredAny>,
    conversation: Option<IgnoredAny>,
    prompt: Option<IgnoredAny>,
    mcp_servers: Option<IgnoredAny>,
    #[serde(alias = "cached_content")]
    #[serde(rename = "cachedContent")]
    cached_content: Option<IgnoredAny>,
    #[serde(alias = "generation_config")]
    #[serde(rename = "generationConfig")]
    generation_config: Option<GenerationConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GenerationConfig {
    #[serde(alias = "max_output_tokens")]
    max_output_tokens: Option<u64>,
    #[serde(alias = "candidate_count")]
    candidate_count: Option<u64>,
}

/// Keys and values that make a provider read what is not in the request. Within a text of the conversation their quotes
/// are escaped, so that it is no match when somebody speaks about them.
const READS_MORE: &[(&str, &str)] = &[
    ("\"file_id\"", "a file of the provider's"),
    ("\"fileUri\"", "a file of the provider's"),
    ("\"file_uri\"", "a file of the provider's"),
    ("\"file_url\"", "a file from the web"),
    ("\"type\":\"url\"", "something from the web"),
    ("\"url\":\"http", "something from the web"),
    ("\"image_url\":\"http", "an image from the web"),
    ("\"type\":\"web_search", "the tool web_search of the provider"),
    ("\"type\":\"web_fetch", "the tool web_fetch of the provider"),
    ("\"type\":\"code_execution", "the tool code_execution of the provider"),
    ("\"type\":\"code_interpreter", "the tool code_interpreter of the provider"),
    ("\"type\":\"file_search", "the tool file_search of the provider"),
    ("\"googleSearch\":", "the tool googleSearch of the provider"),
    ("\"google_search\":", "the tool google_search of the provider"),
    ("\"urlContext\":", "the tool urlContext of the provider"),
    ("\"codeExecution\":", "the tool codeExecution of the provider"),
];

/// Headers in which clients show their key.
const KEY_HEADERS: [&str; 3] = ["x-api-key", "x-goog-api-key", "api-key"];

impl Api {
    /// Says what a request is for. `path` has no query.
    pub(super) fn purpose(self, method: &Method, path: &str) -> Purpose {
        let of = |end: &str| path.ends_with(end);
        match (self, method.as_str()) {
            (_, "GET") if path.trim_end_matches('/').rsplit('/').take(2).any(|part| part == "models") => {
                Purpose::Free
            }
            (Self::Anthropic, "POST") if of("/messages") => Purpose::Model(Dialect::Messages),
            (Self::Anthropic, "POST") if of("/messages/count_tokens") => Purpose::Free,
            // Clients ask whether anybody is there.
            (Self::Anthropic, "HEAD") if path.len() <= 1 => Purpose::Free,
            (Self::OpenAi, "POST") if of("/responses") => Purpose::Model(Dialect::Responses),
            (Self::OpenAi, "POST") if of("/chat/completions") => Purpose::Model(Dialect::Chat),
            (Self::Gemini, "POST") if of(":generateContent") || of(":streamGenerateContent") => {
                Purpose::Model(Dialect::Gemini)
            }
            (Self::Gemini, "POST") if of(":countTokens") => Purpose::Free,
            _ => Purpose::Unknown,
        }
    }

    /// Puts the real key where the API wants it.
    pub(crate) fn authorize(self, headers: &mut HeaderMap, key: &Secret) {
        let (name, text) = match self {
            Self::Anthropic => (HeaderName::from_static("x-api-key"), key.reveal().to_owned()),
            Self::OpenAi => (AUTHORIZATION, format!("Bearer {}", key.reveal())),
            Self::Gemini => (HeaderName::from_static("x-goog-api-key"), key.reveal().to_owned()),
        };
        if let Ok(mut value) = HeaderValue::from_str(&text) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }

    /// Words an error so that clients of the API understand it.
    pub(super) fn error(self, status: u16, kind: &str, message: &str) -> Value {
        match self {
            Self::Anthropic => json!({ "type": "error", "error": { "type": kind, "message": message } }),
            Self::OpenAi => {
                json!({ "error": { "message": message, "type": kind, "code": kind, "param": null } })
            }
            Self::Gemini => json!({ "error": { "code": status, "message": message, "status": kind } }),
        }
    }
}

/// Takes the key out of what a client sends: a header, or Gemini's query. Returns it, and the query without it.
pub(super) fn take_key(headers: &mut HeaderMap, query: Option<&str>) -> (Option<String>, Option<String>) {
    let mut found = None;
    for name in KEY_HEADERS {
        if let Some(value) = headers.remove(name) {
            found = found.or(value.to_str().ok().map(str::to_owned));
        }
    }
    if let Some(value) = headers.remove(AUTHORIZATION) {
        let bearer = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer ").map(str::to_owned));
        found = found.or(bearer);
    }
    let mut rest = Vec::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        match pair.strip_prefix("key=") {
            Some(key) => found = found.or(Some(key.to_owned())),
            None => rest.push(pair),
        }
    }
    (found, (!rest.is_empty()).then(|| rest.join("&")))
}

impl Ask {
    /// Reads a request to a model; `None` if it is none.
    pub(super) fn read(dialect: Dialect, path: &str, body: Bytes) -> Option<Self> {
        let fields: Fields = serde_json::from_slice(&body).ok()?;
        let generation = fields.generation_config.unwrap_or_default();
        let model = match dialect {
            Dialect::Gemini => path.rsplit('/').next()?.split(':').next()?.to_owned(),
            _ => fields.model?,
        };
        let output_max = match dialect {
            Dialect::Messages => fields.max_tokens,
            Dialect::Responses => fields.max_output_tokens,
            // The newer one counts where a client sends both.
            Dialect::Chat => fields.max_completion_tokens.or(fields.max_tokens),
            Dialect::Gemini => generation.max_output_tokens,
        };
        let choices = match dialect {
            Dialect::Chat => fields.n,
            Dialect::Gemini => generation.candidate_count,
            Dialect::Messages | Dialect::Responses => None,
        };
        let named = [
            (fields.previous_response_id.is_some(), "an earlier reply that the provider keeps"),
            (fields.conversation.is_some(), "a conversation that the provider keeps"),
            (fields.prompt.is_some(), "a prompt that the provider keeps"),
            (fields.cached_content.is_some(), "a cache that the provider keeps"),
            (fields.mcp_servers.is_some(), "tools that the provider calls"),
        ];
        let named = named.into_iter().find(|(is_there, _)| *is_there).map(|(_, what)| what);
        let hides_usage =
            dialect == Dialect::Chat && fields.stream == Some(true) && fields.stream_options.is_none();
        let reads_more = named.or_else(|| reads_more(&body));
        Some(Self {
            dialect,
            model,
            output_max,
            choices: choices.unwrap_or(1).max(1),
            hides_usage,
            reads_more,
            // A text of a conversation that speaks of it has other quotes.
            caches_long: dialect == Dialect::Messages && contains(&body, b"\"1h\""),
            body,
        })
    }

    /// Limits each reply to `most` tokens, where the client set no limit.
    pub(super) fn limit(&mut self, most: u64) {
        self.output_max = Some(most);
        let name = match self.dialect {
            Dialect::Messages => "max_tokens",
            Dialect::Responses => "max_output_tokens",
            // Compatible servers know the older name only, newer models of OpenAI's the newer one only.
            Dialect::Chat if self.model.starts_with("gpt-5") || self.model.starts_with('o') => {
                "max_completion_tokens"
            }
            Dialect::Chat => "max_tokens",
            Dialect::Gemini => {
                let Ok(mut body) = serde_json::from_slice::<Value>(&self.body) else { return };
                let snake = body.get("generation_config").is_some();
                let place = if snake { "generation_config" } else { "generationConfig" };
                body[place]["maxOutputTokens"] = json!(most);
                self.body = body.to_string().into();
                return;
            }
        };
        self.insert(&format!("\"{name}\":{most}"));
    }

    /// Asks a streamed chat to end with its usage.
    pub(super) fn show_usage(&mut self) {
        if self.hides_usage {
            self.hides_usage = false;
            self.insert("\"stream_options\":{\"include_usage\":true}");
        }
    }

    /// Puts a field first.
    fn insert(&mut self, field: &str) {
        let Some(brace) = self.body.iter().position(|&byte| byte == b'{') else { return };
        let mut body = Vec::with_capacity(self.body.len() + field.len() + 1);
        body.extend_from_slice(&self.body[..=brace]);
        body.extend_from_slice(field.as_bytes());
        body.push(b',');
        body.extend_from_slice(&self.body[brace + 1..]);
        self.body = body.into();
    }
}

/// Looks for all marks in one pass: bodies are long, and each request is read.
fn reads_more(body: &[u8]) -> Option<&'static str> {
    let quotes = body.iter().enumerate().filter(|(_, byte)| **byte == b'"');
    quotes.map(|(at, _)| &body[at..]).find_map(|rest| {
        READS_MORE.iter().find(|(mark, _)| begins_with(rest, mark.as_bytes())).map(|(_, what)| *what)
    })
}

/// Compares with blanks after colons left out: they are unusual, and a miss must not be an opening.
fn begins_with(text: &[u8], mark: &[u8]) -> bool {
    let mut text = text.iter();
    let mut after_colon = false;
    mark.iter().all(|wanted| {
        let mut next = text.next();
        while after_colon && next.is_some_and(u8::is_ascii_whitespace) {
            next = text.next();
        }
        after_colon = *wanted == b':';
        next == Some(wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(dialect: Dialect, path: &str, body: &Value) -> Ask {
        Ask::read(dialect, path, body.to_string().into()).unwrap()
    }

    fn body(ask: &Ask) -> Value {
        serde_json::from_slice(&ask.body).unwrap()
    }

    #[test]
    fn only_what_asks_a_model_or_costs_nothing_has_a_purpose() {
        for (api, method, path, expected) in [
            (Api::Anthropic, Method::POST, "/v1/messages", Purpose::Model(Dialect::Messages)),
            (Api::Anthropic, Method::POST, "/v1/messages/count_tokens", Purpose::Free),
            (Api::Anthropic, Method::POST, "/v1/messages/batches", Purpose::Unknown),
            (Api::Anthropic, Method::GET, "/v1/models", Purpose::Free),
            (Api::Anthropic, Method::GET, "/v1/files/x", Purpose::Unknown),
            (Api::OpenAi, Method::POST, "/responses", Purpose::Model(Dialect::Responses)),
            (Api::OpenAi, Method::POST, "/chat/completions", Purpose::Model(Dialect::Chat)),
            (Api::OpenAi, Method::POST, "/images/generations", Purpose::Unknown),
            (Api::OpenAi, Method::DELETE, "/models/ft", Purpose::Unknown),
            (Api::OpenAi, Method::GET, "/models/gpt-5", Purpose::Free),
            (
                Api::Gemini,
                Method::POST,
                "/v1beta/models/g:streamGenerateContent",
                Purpose::Model(Dialect::Gemini),
            ),
            (Api::Gemini, Method::POST, "/v1beta/models/g:countTokens", Purpose::Free),
            (Api::Gemini, Method::POST, "/v1beta/cachedContents", Purpose::Unknown),
        ] {
            assert_eq!(api.purpose(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn limits_are_read_and_put_in_where_they_are_missing() {
        let path = "/v1beta/models/gemini-2.5-pro:generateContent";
        for (dialect, asked, limited) in [
            (Dialect::Messages, json!({"model": "m", "max_tokens": 9}), "max_tokens"),
            (Dialect::Responses, json!({"model": "m", "max_output_tokens": 9}), "max_output_tokens"),
            (Dialect::Chat, json!({"model": "m", "max_tokens": 7, "max_completion_tokens": 9}), "max_tokens"),
            (Dialect::Gemini, json!({"generationConfig": {"maxOutputTokens": 9}}), ""),
        ] {
            assert_eq!(ask(dialect, path, &asked).output_max, Some(9), "{dialect:?}");
            let mut open = ask(dialect, path, &json!({"model": "m", "x": [1]}));
            assert_eq!(open.output_max, None, "{dialect:?}");
            open.limit(5);
            let expected = match dialect {
                Dialect::Gemini => {
                    json!({"model": "m", "x": [1], "generationConfig": {"maxOutputTokens": 5}})
                }
                _ => json!({"model": "m", "x": [1], limited: 5}),
            };
            assert_eq!(body(&open), expected, "{dialect:?}");
        }
        assert_eq!(ask(Dialect::Gemini, path, &json!({})).model, "gemini-2.5-pro");
        assert_eq!(Ask::read(Dialect::Messages, "", Bytes::from_static(b"[]")), None);
        assert_eq!(Ask::read(Dialect::Messages, "", Bytes::from_static(b"{}")), None);
    }

    #[test]
    fn a_streamed_chat_shows_its_usage() {
        let mut chat = ask(Dialect::Chat, "", &json!({"model": "m", "stream": true, "n": 3}));
        assert_eq!(chat.choices, 3);
        chat.show_usage();
        assert_eq!(body(&chat)["stream_options"], json!({"include_usage": true}));
        let mut own = ask(Dialect::Chat, "", &json!({"model": "m", "stream": true, "stream_options": {}}));
        own.show_usage();
        assert_eq!(body(&own)["stream_options"], json!({}));
    }

    #[test]
    fn what_is_read_besides_is_noticed_and_speaking_of_it_is_not() {
        let of = |dialect, value: &Value| ask(dialect, "/m/m:x", value).reads_more;
        for value in [
            json!({"model": "m", "tools": [{"type": "web_search_20250305"}]}),
            json!({"model": "m", "previous_response_id": "r"}),
            json!({"model": "m", "messages": [{"content": [{"source": {"type": "url", "url": "https://x"}}]}]}),
            json!({"model": "m", "cachedContent": "c"}),
        ] {
            assert!(of(Dialect::Messages, &value).is_some(), "{value}");
        }
        let spoken =
            json!({"model": "m", "messages": [{"content": "send {\"file_id\": \"x\", \"type\":\"url\"}"}]});
        assert_eq!(of(Dialect::Messages, &spoken), None);
        let spaced = Bytes::from_static(br#"{"model": "m", "x": {"type": "url"}}"#);
        assert!(Ask::read(Dialect::Messages, "", spaced).unwrap().reads_more.is_some());
    }

    #[test]
    fn the_key_is_taken_from_wherever_a_client_puts_it() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer a".parse().unwrap());
        assert_eq!(take_key(&mut headers, Some("alt=sse")), (Some("a".into()), Some("alt=sse".into())));
        headers.insert("x-api-key", "b".parse().unwrap());
        assert_eq!(take_key(&mut headers, None), (Some("b".into()), None));
        assert_eq!(take_key(&mut headers, Some("key=c&alt=sse")), (Some("c".into()), Some("alt=sse".into())));
        assert!(headers.is_empty());
    }
}
