//! What of a request's cost its own words do not bound.
//!
//! A body is looked at as a provider reads it: keys and values, not bytes, for a word can be spelt in many ways. A key that
//! is given twice counts twice, since nobody knows which one the provider takes. Tools are let through if they are known to
//! be performed by the client; what a provider performs, fetches or keeps can be of any size.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use super::api::Dialect;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Openings {
    /// What can cost any amount.
    pub(super) unbounded: Option<String>,
    /// What costs more than the table of prices says.
    pub(super) dearer: Option<String>,
    /// Whether it may put something into a cache for an hour, which costs more.
    pub(super) caches_long: bool,
}

/// Looks at the body of a request.
pub(super) fn look(dialect: Dialect, body: &[u8]) -> Openings {
    let mut openings = Openings::default();
    match serde_json::from_slice::<Node<'_>>(body) {
        Ok(Node::Map(fields)) => {
            fields.iter().for_each(|(key, value)| openings.field(key, value));
            openings.walk("", &Node::Map(fields), dialect);
        }
        Ok(_) | Err(_) => openings.open("it cannot be read to its end".to_owned()),
    }
    openings
}

const KEPT: &str = "it makes the provider read what that keeps";
const WEB: &str = "it makes the provider read something from the web";

/// Keys whose value makes a provider read what is not in the request, wherever they stand.
const READS_MORE: &[(&str, &str)] = &[
    ("file_id", KEPT),
    ("file_ids", KEPT),
    ("fileUri", KEPT),
    ("file_uri", KEPT),
    ("file_url", WEB),
    ("vector_store_ids", KEPT),
    ("previous_response_id", KEPT),
    ("cachedContent", KEPT),
    ("cached_content", KEPT),
    ("server_url", "it has tools that the provider calls"),
    ("connector_id", "it has tools that the provider calls"),
    ("mcp_servers", "it has tools that the provider calls"),
];

/// The same for keys of the body itself: elsewhere they mean something else.
const OF_BODY: &[(&str, &str)] = &[
    ("conversation", KEPT),
    ("prompt", KEPT),
    ("container", "it has a machine at the provider"),
    ("web_search_options", WEB),
    ("plugins", "it has tools that the provider calls"),
    ("background", "its reply comes later, when nobody counts it"),
    ("prediction", "it is charged for what it predicts as if that were written"),
];

/// Keys of the body, and the values with which a request costs what the table of prices says, or less.
const USUAL: &[(&str, &[&str])] = &[
    ("service_tier", &["auto", "default", "standard", "standard_only", "flex"]),
    ("serviceTier", &["auto", "default", "standard", "standard_only", "flex"]),
    ("speed", &["standard"]),
    ("inference_geo", &["global"]),
];

/// Tools that the client performs, of OpenAI's APIs.
const OPENAI_TOOLS: &[&str] =
    &["function", "custom", "local_shell", "apply_patch", "namespace", "tool_search"];
/// The same of Anthropic's: they end in a date.
const ANTHROPIC_TOOLS: &[&str] = &["bash_", "text_editor_", "computer_", "memory_", "tool_search_tool_"];
/// The same of Gemini's, by their key.
const GEMINI_TOOLS: &[&str] = &["functionDeclarations", "function_declarations"];

impl Dialect {
    /// Tells whether what stands behind a key is a schema or the arguments of a call: a client's own words, of which a
    /// provider makes nothing.
    fn is_opaque(self, key: &str) -> bool {
        let keys: &[&str] = match self {
            Self::Messages => &["input", "input_schema", "schema"],
            Self::Responses | Self::Chat => &["parameters", "schema"],
            Self::Gemini => &[
                "args",
                "response",
                "parameters",
                "parametersJsonSchema",
                "parameters_json_schema",
                "responseSchema",
                "response_schema",
                "responseJsonSchema",
                "response_json_schema",
            ],
        };
        keys.contains(&key)
    }
}

impl Openings {
    fn open(&mut self, what: String) {
        self.unbounded.get_or_insert(what);
    }

    /// Looks at a field of the body itself.
    fn field(&mut self, key: &str, value: &Node<'_>) {
        if let Some((_, what)) = OF_BODY.iter().find(|(name, _)| *name == key)
            && value.says_something()
        {
            self.open((*what).to_owned());
        }
        if let (Some((_, usual)), Node::Text(text)) = (USUAL.iter().find(|(name, _)| *name == key), value)
            && !usual.contains(&&**text)
        {
            let text = format!("it asks for `{key}: {}`, of which no price is known", shown(text));
            self.dearer.get_or_insert(text);
        }
    }

    /// Looks at all that stands behind a key.
    fn walk(&mut self, key: &str, node: &Node<'_>, dialect: Dialect) {
        match node {
            Node::Map(fields) => {
                for (key, value) in fields.iter().filter(|(key, _)| !dialect.is_opaque(key)) {
                    if let Some((_, what)) = READS_MORE.iter().find(|(name, _)| name == key)
                        && value.says_something()
                    {
                        self.open((*what).to_owned());
                    }
                    if let ("tools", Node::List(tools)) = (&**key, value) {
                        tools.iter().for_each(|tool| self.tool(tool, dialect));
                    }
                    self.walk(key, value, dialect);
                }
            }
            Node::List(nodes) => nodes.iter().for_each(|node| self.walk(key, node, dialect)),
            Node::Text(text) => self.text(key, text),
            Node::True | Node::Other => {}
        }
    }

    fn text(&mut self, key: &str, text: &str) {
        match (key, text) {
            ("type", "url") => self.open(WEB.to_owned()),
            ("type", "item_reference") => self.open(KEPT.to_owned()),
            ("url" | "image_url", _) if !text.is_empty() && !text.starts_with("data:") => {
                self.open(WEB.to_owned())
            }
            ("ttl", _) if text != "5m" => self.caches_long = true,
            _ => {}
        }
    }

    fn tool(&mut self, tool: &Node<'_>, dialect: Dialect) {
        let Node::Map(fields) = tool else { return };
        for (key, value) in fields {
            let foreign = match (dialect, &**key, value) {
                (Dialect::Gemini, key, _) => (!GEMINI_TOOLS.contains(&key)).then_some(key),
                (Dialect::Messages, "type", Node::Text(kind)) => {
                    let is_known =
                        kind == "custom" || ANTHROPIC_TOOLS.iter().any(|known| kind.starts_with(known));
                    (!is_known).then_some(&**kind)
                }
                (_, "type", Node::Text(kind)) => (!OPENAI_TOOLS.contains(&&**kind)).then_some(&**kind),
                _ => None,
            };
            if let Some(name) = foreign {
                self.open(format!("nobody here knows that its tool `{}` is not the provider's", shown(name)));
            }
        }
    }
}

/// Words of an agent's, made safe to show.
fn shown(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

/// A value, with each key as often as it is there.
enum Node<'de> {
    Map(Vec<(Cow<'de, str>, Self)>),
    List(Vec<Self>),
    Text(Cow<'de, str>),
    True,
    /// A number, `false` or `null`.
    Other,
}

impl Node<'_> {
    /// Tells whether it is more than a way to say nothing.
    fn says_something(&self) -> bool {
        match self {
            Self::Map(_) | Self::True => true,
            Self::List(nodes) => !nodes.is_empty(),
            Self::Text(text) => !text.is_empty(),
            Self::Other => false,
        }
    }
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Nodes)
    }
}

struct Nodes;

impl<'de> Visitor<'de> for Nodes {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            fields.push((key, map.next_value()?));
        }
        Ok(Node::Map(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, is_true: bool) -> Result<Self::Value, E> {
        Ok(if is_true { Node::True } else { Node::Other })
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Node::Other)
    }
}

/// A key, borrowed where it is spelt as it is.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Node::deserialize(deserializer)? {
            Node::Text(text) => Ok(Self(text)),
            _ => Err(serde::de::Error::custom("a key is a text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use Dialect::{Chat, Gemini, Messages, Responses};
    use serde_json::{Value, json};

    use super::*;

    /// Writes every letter as an escape.
    fn escaped(text: &str) -> String {
        let mut is_text = false;
        let escape = |letter: char| match letter {
            '"' => {
                is_text = !is_text;
                "\"".to_owned()
            }
            letter if is_text => format!("\\u{:04x}", u32::from(letter)),
            letter => letter.to_string(),
        };
        text.chars().map(escape).collect()
    }

    fn opens(dialect: Dialect, body: &str) -> bool {
        look(dialect, body.as_bytes()).unbounded.is_some()
    }

    #[test]
    fn whatever_is_not_in_the_request_is_noticed_however_it_is_spelt() {
        let tool = |tool: Value| json!({"tools": [{"type": "function", "name": "f"}, tool]});
        let said = |part: Value| json!({"messages": [{"role": "user", "content": [part]}]});
        let mut cases = vec![
            (Messages, tool(json!({"type": "web_search_20250305"}))),
            (Messages, tool(json!({"type": "code_execution_20250825"}))),
            (Messages, tool(json!({"type": "something_new"}))),
            (Messages, said(json!({"type": "image", "source": {"type": "url", "url": "https://x"}}))),
            (Messages, said(json!({"type": "image", "source": {"type": "file", "file_id": "f"}}))),
            (Chat, said(json!({"type": "image_url", "image_url": {"url": "http://x"}}))),
            (Responses, json!({"input": [{"content": [{"type": "input_image", "image_url": "https://x"}]}]})),
            (Responses, json!({"input": [{"type": "item_reference", "id": "i"}]})),
            (Responses, tool(json!({"type": "mcp", "server_label": "x"}))),
            (Responses, tool(json!({"type": "image_generation"}))),
            (Responses, tool(json!({"type": "namespace", "tools": [{"type": "web_search"}]}))),
            (Responses, json!({"background": true})),
            (Gemini, json!({"contents": [{"parts": [{"fileData": {"fileUri": "u"}}]}]})),
        ];
        for name in [
            "googleSearch",
            "google_search",
            "googleSearchRetrieval",
            "url_context",
            "code_execution",
            "fileSearch",
        ] {
            cases.push((Gemini, json!({"tools": [{ name: {} }]})));
        }
        cases.extend(READS_MORE.iter().map(|(key, _)| (Responses, json!({"input": [{ *key: ["x"] }]}))));
        cases.extend(OF_BODY.iter().map(|(key, _)| (Responses, json!({ *key: {"id": "x"} }))));
        for (dialect, body) in cases {
            let plain = body.to_string();
            let spaced = serde_json::to_string_pretty(&body).unwrap().replace("\":", "\" \n:");
            let twice = format!("{},\"tools\":[],\"input\":[]}}", &plain[..plain.len() - 1]);
            for body in [&plain, &spaced, &escaped(&plain), &twice] {
                assert!(opens(dialect, body), "{dialect:?} {body}");
            }
        }
        assert!(opens(Chat, &format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200))));
        assert!(opens(Chat, "[]"));
    }

    #[test]
    fn speaking_of_it_is_not_doing_it() {
        let schema =
            json!({"type": "object", "properties": {"file_id": {"type": "url"}, "url": {"type": "string"}}});
        let call = json!({"url": "https://example.org", "file_id": "f", "type": "url"});
        for (dialect, body) in [
            (Messages, json!({"messages": [{"content": "send {\"file_id\": \"x\", \"type\":\"url\"}"}]})),
            (Messages, json!({"tools": [{"name": "f", "input_schema": schema}, {"type": "bash_20250124"}]})),
            (
                Messages,
                json!({"messages": [{"content": [{"type": "tool_use", "input": call}]}], "mcp_servers": []}),
            ),
            (Responses, json!({"tools": [{"type": "function", "parameters": schema}], "background": false})),
            (
                Responses,
                json!({"previous_response_id": null, "prompt": null, "text": {"format": {"schema": schema}}}),
            ),
            (Chat, json!({"messages": [{"content": [{"image_url": {"url": "data:image/png;base64,AA"}}]}]})),
            (Gemini, json!({"tools": [{"functionDeclarations": [{"parametersJsonSchema": schema}]}]})),
            (Gemini, json!({"contents": [{"parts": [{"functionCall": {"args": call}}]}]})),
        ] {
            assert_eq!(look(dialect, body.to_string().as_bytes()), Openings::default(), "{body}");
        }
    }

    #[test]
    fn what_costs_more_than_the_table_says_is_noticed() {
        let of = |body: &str| look(Messages, body.as_bytes());
        for body in [
            r#"{"service_tier":"priority"}"#,
            r#"{"speed" : "f\u0061st"}"#,
            r#"{"inference_geo":"us"}"#,
            r#"{"service_tier":"priority","service_tier":"auto"}"#,
        ] {
            assert!(of(body).dearer.is_some(), "{body}");
        }
        assert_eq!(
            of(r#"{"service_tier":"auto","speed":"standard","metadata":{"speed":"fast"}}"#).dearer,
            None
        );
        let caching =
            |ttl| format!(r#"{{"system":[{{"cache_control":{{"type":"ephemeral","ttl":"{ttl}"}}}}]}}"#);
        assert!(of(&caching("1h")).caches_long && of(&caching("\\u0031h")).caches_long);
        assert!(!of(&caching("5m")).caches_long);
    }
}
