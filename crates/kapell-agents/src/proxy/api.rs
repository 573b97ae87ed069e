//! What a request asks for, in the words of each provider.
//!
//! The most that a request can read is bounded by its bytes: no tokenizer makes more tokens of a text than it has bytes.
//! The most that it can write is what it allows itself. Where an allowance is limited and the request names no such
//! number, one that fits is put in; a stream of OpenAI's chat API is asked to end with its usage. Nothing else of a
//! request is changed. What its bytes do not bound is found elsewhere (see `bounds.rs`).

use std::collections::HashMap;

use bytes::Bytes;
use hyper::{
    HeaderMap, Method,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Map, Value, json};

use super::redact::Secret;

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
    /// Whether the reply is to come piece by piece.
    pub(super) streams: bool,
    /// Whether a chat is streamed without its usage.
    pub(super) hides_usage: bool,
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
        // A list would be read as the fields in their order.
        if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return None;
        }
        let fields: Fields = serde_json::from_slice(&body).ok()?;
        let generation = fields.generation_config.unwrap_or_default();
        let model = match dialect {
            Dialect::Gemini => path.rsplit('/').next()?.split(':').next()?.to_owned(),
            _ => fields.model?,
        };
        let output_max = match dialect {
            Dialect::Messages => fields.max_tokens,
            Dialect::Responses => fields.max_output_tokens,
            // Where a client sends both, compatible servers may know one of them only.
            Dialect::Chat => fields.max_completion_tokens.max(fields.max_tokens),
            Dialect::Gemini => generation.max_output_tokens,
        };
        let choices = match dialect {
            Dialect::Chat => fields.n,
            Dialect::Gemini => generation.candidate_count,
            Dialect::Messages | Dialect::Responses => None,
        };
        let streams = match dialect {
            Dialect::Gemini => path.ends_with(":streamGenerateContent"),
            _ => fields.stream == Some(true),
        };
        let hides_usage = dialect == Dialect::Chat && streams && fields.stream_options.is_none();
        let choices = choices.unwrap_or(1).max(1);
        Some(Self { dialect, model, output_max, choices, streams, hides_usage, body })
    }

    /// Limits each reply to `most` tokens, where the client set no limit. Says whether that could be done.
    pub(super) fn limit(&mut self, most: u64) -> bool {
        self.output_max = Some(most);
        let name = match self.dialect {
            Dialect::Messages => "max_tokens",
            Dialect::Responses => "max_output_tokens",
            // Compatible servers know the older name only, newer models of OpenAI's the newer one only.
            Dialect::Chat if self.model.starts_with("gpt-5") || self.model.starts_with('o') => {
                "max_completion_tokens"
            }
            Dialect::Chat => "max_tokens",
            Dialect::Gemini => return self.rewrite(|body| limit_gemini(body, most)),
        };
        self.put(name, json!(most))
    }

    /// Asks a streamed chat to end with its usage.
    pub(super) fn show_usage(&mut self) {
        if self.hides_usage {
            self.hides_usage = false;
            self.put("stream_options", json!({ "include_usage": true }));
        }
    }

    /// Sets a field of the body; says whether that could be done.
    fn put(&mut self, name: &str, value: Value) -> bool {
        let keys = serde_json::from_slice::<HashMap<String, IgnoredAny>>(&self.body).unwrap_or_default();
        let Some(brace) = self.body.iter().position(|&byte| byte == b'{') else { return false };
        // One that is there, as `null`, would count instead of ours.
        if keys.is_empty() || keys.contains_key(name) {
            return self.rewrite(|body| {
                body.insert(name.to_owned(), value);
                true
            });
        }
        let field = format!("\"{name}\":{value},");
        self.body = [&self.body[..=brace], field.as_bytes(), &self.body[brace + 1..]].concat().into();
        true
    }

    /// Writes the body anew with a change, if that can be made.
    fn rewrite(&mut self, change: impl FnOnce(&mut Map<String, Value>) -> bool) -> bool {
        let Ok(mut body) = serde_json::from_slice(&self.body) else { return false };
        let done = change(&mut body);
        if done {
            self.body = Value::Object(body).to_string().into();
        }
        done
    }
}

/// Limits the replies of Gemini; says whether there is a place for that.
fn limit_gemini(body: &mut Map<String, Value>, most: u64) -> bool {
    let place = if body.contains_key("generation_config") { "generation_config" } else { "generationConfig" };
    let config = body.entry(place).or_insert(Value::Null);
    if config.is_null() {
        *config = json!({});
    }
    let Some(config) = config.as_object_mut() else { return false };
    config.remove("max_output_tokens");
    config.insert("maxOutputTokens".to_owned(), json!(most));
    true
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
    fn no_body_gets_around_its_limit() {
        let path = "/v1beta/models/m:generateContent";
        for (dialect, name) in [
            (Dialect::Messages, "max_tokens"),
            (Dialect::Responses, "max_output_tokens"),
            (Dialect::Chat, "max_tokens"),
        ] {
            // The last one of two counts for many a parser, and `null` is no limit.
            let mut open = ask(dialect, path, &json!({"model": "m", name: null}));
            assert!(open.limit(5), "{dialect:?}");
            assert_eq!(open.body.windows(name.len()).filter(|part| *part == name.as_bytes()).count(), 1);
            assert_eq!(body(&open)[name], 5, "{dialect:?}");
            let twice = format!(r#"{{"model":"m","{name}":5,"{name}":5000}}"#);
            assert_eq!(Ask::read(dialect, path, twice.into()), None, "{dialect:?}");
        }
        for config in [json!(null), json!({"max_output_tokens": null})] {
            let mut open = ask(Dialect::Gemini, path, &json!({"generation_config": config}));
            assert!(open.limit(5));
            assert_eq!(body(&open), json!({"generation_config": {"maxOutputTokens": 5}}));
        }
        // A list is read as if it were fields, and has no place for a limit.
        assert!(!ask(Dialect::Gemini, path, &json!({"generationConfig": []})).limit(5));
        assert_eq!(Ask::read(Dialect::Gemini, path, Bytes::from_static(b" []")), None);
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
