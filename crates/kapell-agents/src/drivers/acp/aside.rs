//! What opencode says beside the protocol: `opencode acp` is a client of a server of its own, and that can be asked.
//!
//! It was looked at in version 1.18.33, where the protocol alone is not enough to tell the truth. It gives the tokens of the
//! last step for those of the whole prompt, an error of the provider without its status, a reply that was cut off at its
//! length as one that is done, and nothing at all of what happens in a session below (its tool `task`): whoever is asked for
//! permission there is never answered.
//!
//! **Invariant:** whatever cannot be learned here is left to what the protocol says; nothing fails for it.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use kapell_core::price::Tokens;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::proxy::{self, HttpClient};

/// How often it is looked at while a prompt is worked on.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take: it is a process on this machine, which may be busy.
const PATIENCE: Duration = Duration::from_secs(5);
/// As much is read of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How many of the last messages are looked at while it works: a step is a message.
const LAST: usize = 6;
/// How deep sessions below others are followed.
const DEPTH_MAX: usize = 4;

/// The server's own name of whoever asks.
const USER: &str = "opencode";
/// The variable with its password.
const PASSWORD: &str = "OPENCODE_SERVER_PASSWORD";

/// Where the server shall listen, and how one is let in.
pub(super) struct Plan {
    port: u16,
    password: String,
}

impl Plan {
    /// Takes a port that is free now, and a password that nobody can guess.
    pub(super) fn make() -> io::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut secret = [0; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut secret)?;
        Ok(Self { port, password: blake3::hash(&secret).to_hex().as_str()[..32].to_owned() })
    }

    /// Returns the arguments that tell the agent so.
    pub(super) fn args(&self) -> [String; 4] {
        ["--hostname", "127.0.0.1", "--port", &self.port.to_string()].map(str::to_owned)
    }

    /// Returns the variable that does.
    pub(super) fn variable(&self) -> (&'static str, &str) {
        (PASSWORD, &self.password)
    }
}

/// A way to the server.
pub(super) struct Aside {
    runtime: Runtime,
    client: HttpClient,
    base: String,
    authorization: String,
    /// What is known of the session's messages.
    pub(super) ledger: Ledger,
}

impl Aside {
    pub(super) fn open(plan: &Plan) -> io::Result<Self> {
        let named = BASE64_STANDARD.encode(format!("{USER}:{}", plan.password));
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            client: proxy::http_client()?,
            base: format!("http://127.0.0.1:{}", plan.port),
            authorization: format!("Basic {named}"),
            ledger: Ledger::default(),
        })
    }

    /// Asks it for something; `None` if it gives no proper answer.
    fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Option<Value> {
        let bytes = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(bytes))
            .ok()?;
        let answer = async {
            let response = self.client.request(request).await.ok()?;
            if !response.status().is_success() {
                return None;
            }
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.ok()?;
            serde_json::from_slice(&body.to_bytes()).ok()
        };
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await.ok().flatten() })
    }

    fn messages(&self, session: &str, limit: Option<usize>) -> Option<Vec<Value>> {
        let limit = limit.map(|limit| format!("?limit={limit}")).unwrap_or_default();
        match self.ask(Method::GET, &format!("/session/{session}/message{limit}"), None)? {
            Value::Array(messages) => Some(messages),
            _ => None,
        }
    }

    /// Takes what was said in the session before for known. Tells whether the server could be asked.
    pub(super) fn begin(&mut self, session: &str) -> bool {
        let Some(messages) = self.messages(session, None) else { return false };
        self.ledger.begin(&messages);
        for below in self.below(session) {
            self.ledger.begin(&self.messages(&below, None).unwrap_or_default());
        }
        true
    }

    /// Looks at what was said last.
    pub(super) fn look(&mut self, session: &str) {
        if let Some(messages) = self.messages(session, Some(LAST)) {
            self.ledger.take(&messages, true);
        }
    }

    /// Looks at all that was said, also in sessions below.
    pub(super) fn look_at_all(&mut self, session: &str) {
        if let Some(messages) = self.messages(session, None) {
            self.ledger.take(&messages, true);
        }
        for below in self.below(session) {
            let messages = self.messages(&below, None).unwrap_or_default();
            self.ledger.take(&messages, false);
        }
    }

    /// Returns the sessions below one.
    fn below(&self, session: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut level = vec![session.to_owned()];
        for _ in 0..DEPTH_MAX {
            let children = |one: &String| self.ask(Method::GET, &format!("/session/{one}/children"), None);
            let children: Vec<Value> = level.iter().filter_map(children).collect();
            let ids = children.iter().filter_map(Value::as_array).flatten();
            level = ids.filter_map(|child| child["id"].as_str().map(str::to_owned)).collect();
            found.extend(level.iter().cloned());
        }
        found
    }

    /// Returns the requests for permission of other sessions than `session`, which the protocol does not pass on, as it
    /// would put them.
    pub(super) fn wishes_below(&self, session: &str) -> Vec<(String, Value)> {
        let listed = self.ask(Method::GET, "/permission", None).unwrap_or_default();
        listed.as_array().into_iter().flatten().filter_map(|wish| wish_of(wish, session)).collect()
    }

    /// Answers one of them.
    pub(super) fn reply(&self, request: &str, option: Option<&str>) {
        let body = json!({ "reply": option.unwrap_or("reject") });
        // It may have been given up meanwhile.
        let _ = self.ask(Method::POST, &format!("/permission/{request}/reply"), Some(&body));
    }
}

/// Puts a request for permission as the protocol would.
fn wish_of(wish: &Value, session: &str) -> Option<(String, Value)> {
    let (id, of) = (wish["id"].as_str()?, wish["sessionID"].as_str()?);
    let kind = match wish["permission"].as_str()? {
        "bash" => "execute",
        other => other,
    };
    let input = &wish["metadata"];
    let path = input["filepath"].as_str().or_else(|| wish["patterns"][0].as_str());
    let call = json!({
        "toolCallId": wish["tool"]["callID"], "kind": kind, "title": wish["patterns"][0],
        "rawInput": input, "locations": [{ "path": path.filter(|_| kind != "execute") }],
    });
    let option = |id: &str, kind: &str, name: &str| json!({ "optionId": id, "kind": kind, "name": name });
    let options = [
        option("once", "allow_once", "Allow once"),
        option("always", "allow_always", "Always allow"),
        option("reject", "reject_once", "Reject"),
    ];
    (of != session).then(|| (id.to_owned(), json!({ "toolCall": call, "options": options })))
}

/// One reply of the model, or some tries at it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Step {
    tokens: Tokens,
    cost: f64,
    tries: u32,
}

/// What the messages of a session come to.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Those that were there before.
    known: HashSet<String>,
    cost_before: f64,
    steps: HashMap<String, Step>,
    /// Why the last reply ended.
    finish: Option<String>,
    /// What went wrong with it: the provider's status, and its words.
    error: Option<(Option<u16>, String)>,
}

impl Ledger {
    fn begin(&mut self, messages: &[Value]) {
        for (id, step, _) in messages.iter().filter_map(step_of) {
            self.cost_before += step.cost;
            self.known.insert(id.to_owned());
        }
    }

    fn take(&mut self, messages: &[Value], of_session: bool) {
        for (id, step, info) in messages.iter().filter_map(step_of) {
            if self.known.contains(id) {
                continue;
            }
            self.steps.insert(id.to_owned(), step);
            if of_session {
                let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
                self.finish = text(&info["finish"]);
                let (data, name) = (&info["error"]["data"], text(&info["error"]["name"]));
                let status = data["statusCode"].as_u64().and_then(|status| status.try_into().ok());
                self.error = text(&data["message"]).or(name).map(|words| (status, words));
            }
        }
    }

    /// Returns what was used, in all; `None` if nothing was yet.
    pub(super) fn tokens(&self) -> Option<Tokens> {
        let sum = self.steps.values().fold(Tokens::default(), |sum, step| sum + step.tokens);
        (sum.total() > 0).then_some(sum)
    }

    /// Returns what the sessions have cost, in millionths of a dollar. It knows no price of a model of one's own, and says
    /// 0: that is no price.
    pub(super) fn usd_micros(&self) -> Option<u64> {
        let dollars = self.cost_before + self.steps.values().map(|step| step.cost).sum::<f64>();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        (dollars > 0.0).then(|| (dollars * 1e6).ceil() as u64)
    }

    /// Returns how often the model was asked. A reply that broke off and was asked for again counts as often.
    pub(super) fn tries(&self) -> u32 {
        self.steps.values().map(|step| step.tries).sum()
    }

    /// Says why the last reply ended, in the provider's word for it.
    pub(super) fn finish(&self) -> Option<&str> {
        self.finish.as_deref()
    }

    /// Says what went wrong last: the status and the words.
    pub(super) fn error(&self) -> Option<&(Option<u16>, String)> {
        self.error.as_ref()
    }
}

/// Reads a message, if it is one of the model.
fn step_of(message: &Value) -> Option<(&str, Step, &Value)> {
    let info = &message["info"];
    let id = info["id"].as_str().filter(|_| info["role"] == "assistant")?;
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let (tokens, cache) = (&info["tokens"], &info["tokens"]["cache"]);
    let tokens = Tokens {
        input: count(&tokens["input"]),
        output: count(&tokens["output"]).saturating_add(count(&tokens["reasoning"])),
        cache_read: count(&cache["read"]),
        cache_write: count(&cache["write"]),
    };
    let cost = info["cost"].as_f64().filter(|cost| cost.is_finite() && *cost > 0.0).unwrap_or(0.0);
    let parts = message["parts"].as_array().into_iter().flatten();
    let tries = parts.filter(|part| part["type"] == "step-start").count();
    Some((id, Step { tokens, cost, tries: u32::try_from(tries).unwrap_or(u32::MAX) }, info))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(id: &str, input: u64, cost: f64, tries: usize) -> Value {
        let tokens =
            json!({ "input": input, "output": 2, "reasoning": 1, "cache": { "read": 3, "write": 4 } });
        let parts: Vec<Value> = vec![json!({ "type": "step-start" }); tries];
        json!({ "info": { "id": id, "role": "assistant", "tokens": tokens, "cost": cost, "finish": "stop" }, "parts": parts })
    }

    #[test]
    fn all_steps_count_once_and_those_of_before_only_as_money() {
        let mut ledger = Ledger::default();
        assert_eq!((ledger.tokens(), ledger.usd_micros(), ledger.tries()), (None, None, 0));
        let asked = json!({ "info": { "id": "u", "role": "user" }, "parts": [] });
        ledger.begin(&[asked.clone(), reply("a", 100, 0.1, 1)]);
        ledger.take(&[asked, reply("a", 100, 0.1, 1), reply("b", 10, 0.2, 1)], true);
        // The same one again, when it has gone on; and one of a session below.
        ledger.take(&[reply("b", 20, 0.25, 3)], true);
        ledger.take(&[reply("c", 5, 0.0, 1)], false);
        let expected = Tokens { input: 25, output: 6, cache_read: 6, cache_write: 8 };
        assert_eq!((ledger.tokens(), ledger.usd_micros()), (Some(expected), Some(350_000)));
        assert_eq!((ledger.tries(), ledger.finish(), ledger.error()), (4, Some("stop"), None));
    }

    #[test]
    fn the_last_error_keeps_its_status_and_is_forgotten_once_it_goes_on() {
        let mut ledger = Ledger::default();
        let data = json!({ "message": "the key is wrong", "statusCode": 401 });
        let failed = json!({ "info": { "id": "a", "role": "assistant", "error": { "name": "APIError", "data": data } } });
        ledger.take(&[failed], true);
        assert_eq!(ledger.error(), Some(&(Some(401), "the key is wrong".to_owned())));
        assert_eq!(ledger.finish(), None);
        ledger.take(&[reply("b", 1, 0.0, 1)], true);
        assert_eq!(ledger.error(), None);
    }

    #[test]
    fn wishes_of_sessions_below_are_put_as_the_protocol_would() {
        let wish = |session: &str, permission: &str, metadata: Value| {
            json!({ "id": "per_1", "sessionID": session, "permission": permission, "patterns": ["x/*"],
                "metadata": metadata, "tool": { "callID": "call_2" } })
        };
        let command = json!({ "command": "echo hi" });
        assert_eq!(wish_of(&wish("own", "bash", command.clone()), "own"), None);
        let (id, params) = wish_of(&wish("below", "bash", command), "own").unwrap();
        let call = &params["toolCall"];
        assert_eq!(
            (id.as_str(), &call["kind"], &call["toolCallId"]),
            ("per_1", &json!("execute"), &json!("call_2"))
        );
        assert_eq!(call["rawInput"]["command"], "echo hi");
        let (_, params) = wish_of(&wish("below", "edit", json!({ "filepath": "/ws/a" })), "own").unwrap();
        assert_eq!(params["toolCall"]["locations"][0]["path"], "/ws/a");
    }
}
