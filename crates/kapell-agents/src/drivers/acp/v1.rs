//! Version 1 of the protocol, as it goes over the wire.
//!
//! Files and terminals are not offered to agents: they have their own, and version 2 has none. Updates of kinds that are
//! not known are passed over; there are more with each release.

use std::path::Path;

use kapell_core::{price::Tokens, retry::FailureClass};
use serde_json::{Value, json};

use super::Heard;
use crate::drivers::{
    client::{UNKNOWN_SESSION, about, short},
    own::{failed, saying::End},
};

/// The version that is spoken.
pub(super) const VERSION: u64 = 1;

pub(super) fn initialize() -> Value {
    json!({
        "protocolVersion": VERSION,
        "clientCapabilities": { "fs": { "readTextFile": false, "writeTextFile": false }, "terminal": false },
        "clientInfo": { "name": "kapell", "title": "kapell", "version": env!("CARGO_PKG_VERSION") },
    })
}

/// Returns the method by which an agent goes on in a session that it left, if it has one. One that does not tell all
/// of it again comes first.
pub(super) fn way_back(hello: &Value) -> Option<&'static str> {
    let can = &hello["agentCapabilities"];
    let resumes = &can["sessionCapabilities"]["resume"];
    match can["loadSession"].as_bool() {
        _ if resumes.is_object() || resumes == &json!(true) => Some("session/resume"),
        Some(true) => Some("session/load"),
        _ => None,
    }
}

/// Tells whether an agent takes a prompt while it works on one, and hears it at its next step: one says so, of the other it
/// was seen (1.18.33).
pub(super) fn takes_more(hello: &Value) -> bool {
    let says_so = &hello["agentCapabilities"]["_meta"]["claudeCode"]["promptQueueing"];
    says_so == true || hello["agentInfo"]["name"] == "OpenCode"
}

/// Ends an attempt whose session is gone, in the words by which that is known: the next one begins anew.
pub(super) fn no_session(why: &str) -> Box<End> {
    failed(FailureClass::Permanent, format!("{UNKNOWN_SESSION}: {why}"))
}

pub(super) fn session(cwd: &Path, servers: &[Value], meta: Option<&Value>) -> Value {
    let mut params = json!({ "cwd": cwd, "mcpServers": servers });
    if let Some(meta) = meta {
        params["_meta"] = meta.clone();
    }
    params
}

pub(super) fn prompt(session: &str, text: &str) -> Value {
    json!({ "sessionId": session, "prompt": [{ "type": "text", "text": text }] })
}

/// Reads an update of the session.
pub(super) fn update(params: &Value) -> Heard {
    let update = &params["update"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match update["sessionUpdate"].as_str() {
        Some("agent_message_chunk") => Heard::Said(text(&update["content"]["text"])),
        Some("agent_thought_chunk") => Heard::Thought,
        Some("tool_call") => {
            Heard::Tool { id: text(&update["toolCallId"]), tool: tool(update), about: described(update) }
        }
        Some("tool_call_update") => match update["status"].as_str() {
            Some(status @ ("completed" | "failed")) => {
                let failed = (status == "failed").then(|| text(&update["content"][0]["content"]["text"]));
                Heard::Ended { id: text(&update["toolCallId"]), failed }
            }
            Some("in_progress") => Heard::Going { id: text(&update["toolCallId"]), about: described(update) },
            _ => Heard::Other,
        },
        Some("usage_update") => cost(&update["cost"]).map_or(Heard::Other, Heard::Cost),
        _ => Heard::Other,
    }
}

/// Returns what a call is, in one word: its own name is for people, its kind for programs.
pub(super) fn tool(call: &Value) -> String {
    let name = call["_meta"]["claudeCode"]["toolName"].as_str();
    name.or(call["kind"].as_str()).unwrap_or("tool").to_owned()
}

/// Returns what a call is about, on one line.
pub(super) fn described(call: &Value) -> String {
    let from_input = about(&call["rawInput"]);
    let location = call["locations"][0]["path"].as_str().unwrap_or_default();
    let title = short(call["title"].as_str().unwrap_or_default());
    [from_input, title, location.to_owned()].into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

fn cost(cost: &Value) -> Option<u64> {
    // Who knows no price of a model says 0: that is no price.
    let dollars = cost["amount"].as_f64().filter(|amount| amount.is_finite() && *amount > 0.0)?;
    let is_dollars = matches!(cost["currency"].as_str(), None | Some("USD" | "usd"));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and it is > 0"
    )]
    is_dollars.then(|| (dollars * 1e6).ceil() as u64)
}

/// Reads what a prompt used, where the answer to it says so: the protocol's own place, and Gemini's.
pub(super) fn usage(answer: &Value) -> Option<Tokens> {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    if let Some(usage) = answer.get("usage").filter(|usage| usage.is_object()) {
        let (cache_read, cache_write) =
            (count(&usage["cachedReadTokens"]), count(&usage["cachedWriteTokens"]));
        let input = count(&usage["inputTokens"]);
        let output = count(&usage["outputTokens"]);
        // Some count what came from the cache as input too: then the total gives it away.
        let total = usage["totalTokens"].as_u64();
        let overlaps = total.is_some_and(|total| total == input + output && cache_read + cache_write > 0);
        let input = if overlaps { input.saturating_sub(cache_read + cache_write) } else { input };
        return Some(Tokens { input, cache_read, cache_write, output });
    }
    let quota = &answer["_meta"]["quota"]["token_count"];
    let (input, output) = (count(&quota["input_tokens"]), count(&quota["output_tokens"]));
    (input + output > 0).then_some(Tokens { input, output, ..Tokens::default() })
}

/// How an option of a permission request decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Allow,
    Reject,
}

/// What an agent asks permission for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wish {
    /// Its call of a tool, as it describes it.
    pub(super) call: Value,
    /// The options: id, name for people, what it comes to.
    pub(super) options: Vec<(String, String, Kind)>,
}

impl Wish {
    pub(super) fn of(params: &Value) -> Self {
        let mut listed: Vec<&Value> = params["options"].as_array().into_iter().flatten().collect();
        // What holds for this time only comes first: that is what is taken without a person.
        listed.sort_by_key(|option| !option["kind"].as_str().unwrap_or_default().ends_with("_once"));
        let option = |option: &Value| {
            let id = option["optionId"].as_str()?.to_owned();
            let kind = option["kind"].as_str().unwrap_or_default();
            let kind = if kind.starts_with("allow") { Kind::Allow } else { Kind::Reject };
            let name = option["name"].as_str().unwrap_or(&id).to_owned();
            Some((id, name, kind))
        };
        Self { call: params["toolCall"].clone(), options: listed.into_iter().filter_map(option).collect() }
    }

    /// Returns the first option that comes to `kind`.
    pub(super) fn first(&self, kind: Kind) -> Option<&str> {
        self.options.iter().find(|(.., of)| *of == kind).map(|(id, ..)| id.as_str())
    }
}

/// The answer to a permission request: an option, or none of them.
pub(super) fn decided(option: Option<&str>) -> Value {
    match option {
        Some(id) => json!({ "outcome": { "outcome": "selected", "optionId": id } }),
        None => json!({ "outcome": { "outcome": "cancelled" } }),
    }
}

/// Returns how a model is chosen in a session, if the agent lets it be: method and parameters.
pub(super) fn choose_model(session: &Value, id: &str, model: &str) -> Option<(&'static str, Value)> {
    let options = session["configOptions"].as_array().into_iter().flatten();
    let mut options = options.filter(|option| option["category"] == "model" || option["id"] == "model");
    if let Some(option) = options.next() {
        let params = json!({ "sessionId": id, "configId": option["id"], "value": model });
        return (option["currentValue"] != model).then_some(("session/set_config_option", params));
    }
    let models = &session["models"];
    let listed = models["availableModels"].as_array().into_iter().flatten();
    let is_there = listed.into_iter().any(|known| known["modelId"] == model);
    let differs = models["currentModelId"] != model;
    (is_there && differs).then(|| ("session/set_model", json!({ "sessionId": id, "modelId": model })))
}

/// Returns how a mode is chosen that a session has and is not in: method and parameters.
pub(super) fn choose_mode(session: &Value, id: &str, mode: &str) -> Option<(&'static str, Value)> {
    let modes = &session["modes"];
    let mut listed = modes["availableModes"].as_array().into_iter().flatten();
    if listed.any(|known| known["id"] == mode) {
        let params = json!({ "sessionId": id, "modeId": mode });
        return (modes["currentModeId"] != mode).then_some(("session/set_mode", params));
    }
    // Others have it among their options.
    let mut options = session["configOptions"].as_array().into_iter().flatten();
    let option = options.find(|option| option["category"] == "mode" || option["id"] == "mode")?;
    let mut values = option["options"].as_array().into_iter().flatten();
    let is_there = values.any(|known| known["value"] == mode) && option["currentValue"] != mode;
    let params = json!({ "sessionId": id, "configId": option["id"], "value": mode });
    is_there.then_some(("session/set_config_option", params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_understood_or_passed_over() {
        let of = |value: Value| update(&json!({ "sessionId": "s", "update": value }));
        assert_eq!(
            of(json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "hi"}})),
            Heard::Said("hi".to_owned())
        );
        assert_eq!(
            of(json!({"sessionUpdate": "tool_call", "toolCallId": "1", "title": "Run it", "kind": "execute",
                      "rawInput": {"command": "make"}})),
            Heard::Tool { id: "1".to_owned(), tool: "execute".to_owned(), about: "make".to_owned() }
        );
        let ended = |status: &str| {
            of(json!({"sessionUpdate": "tool_call_update", "toolCallId": "1", "status": status}))
        };
        assert_eq!(ended("failed"), Heard::Ended { id: "1".to_owned(), failed: Some(String::new()) });
        assert_eq!(ended("in_progress"), Heard::Going { id: "1".to_owned(), about: String::new() });
        assert_eq!(ended("of_next_year"), Heard::Other);
        let cost =
            |cost: Value| of(json!({"sessionUpdate": "usage_update", "used": 1, "size": 2, "cost": cost}));
        assert_eq!(cost(json!({"amount": 0.25, "currency": "USD"})), Heard::Cost(250_000));
        assert_eq!(cost(json!({"amount": 0.25, "currency": "EUR"})), Heard::Other);
        assert_eq!(cost(json!({"amount": -1})), Heard::Other);
        assert_eq!(cost(json!({"amount": 0, "currency": "USD"})), Heard::Other);
        assert_eq!(of(json!({"sessionUpdate": "of_next_year"})), Heard::Other);
        assert_eq!(update(&Value::Null), Heard::Other);
    }

    #[test]
    fn the_way_back_that_tells_less_comes_first() {
        let of = |can: Value| way_back(&json!({ "agentCapabilities": can }));
        assert_eq!(of(json!({"loadSession": true})), Some("session/load"));
        assert_eq!(
            of(json!({"loadSession": true, "sessionCapabilities": {"resume": {}}})),
            Some("session/resume")
        );
        assert_eq!(of(json!({"loadSession": false, "sessionCapabilities": {"resume": null}})), None);
        assert_eq!(way_back(&Value::Null), None);
    }

    #[test]
    fn usage_comes_in_kinds_that_do_not_overlap() {
        let apart = json!({"usage": {"totalTokens": 10, "inputTokens": 3, "outputTokens": 2, "cachedReadTokens": 4, "cachedWriteTokens": 1}});
        let within = json!({"usage": {"totalTokens": 10, "inputTokens": 8, "outputTokens": 2, "cachedReadTokens": 4, "cachedWriteTokens": 1}});
        let expected = Tokens { input: 3, cache_read: 4, cache_write: 1, output: 2 };
        assert_eq!((usage(&apart), usage(&within)), (Some(expected), Some(expected)));
        let gemini = json!({"_meta": {"quota": {"token_count": {"input_tokens": 5, "output_tokens": 6}}}});
        assert_eq!(usage(&gemini), Some(Tokens { input: 5, output: 6, ..Tokens::default() }));
        assert_eq!(usage(&json!({"stopReason": "end_turn"})), None);
    }

    #[test]
    fn a_model_and_a_mode_are_chosen_where_there_are_some() {
        let by_option = json!({"configOptions": [{"id": "m", "category": "model", "currentValue": "a"}]});
        assert_eq!(choose_model(&by_option, "s", "b").unwrap().0, "session/set_config_option");
        assert_eq!(choose_model(&by_option, "s", "a"), None);
        let by_list = json!({"models": {"currentModelId": "a", "availableModels": [{"modelId": "b"}]}});
        assert_eq!(choose_model(&by_list, "s", "b").unwrap().0, "session/set_model");
        assert_eq!(choose_model(&by_list, "s", "c"), None);
        let modes = json!({"modes": {"currentModeId": "x", "availableModes": [{"id": "x"}, {"id": "y"}]}});
        let method = |session: &Value, mode: &str| choose_mode(session, "s", mode).map(|(method, _)| method);
        assert_eq!(
            (method(&modes, "x"), method(&modes, "y"), method(&modes, "z")),
            (None, Some("session/set_mode"), None)
        );
        let by_option = json!({"configOptions": [
            {"id": "mode", "currentValue": "build", "options": [{"value": "build"}, {"value": "plan"}]}]});
        assert_eq!(
            (method(&by_option, "build"), method(&by_option, "plan"), method(&by_option, "z")),
            (None, Some("session/set_config_option"), None)
        );
    }

    #[test]
    fn who_takes_a_prompt_while_it_works_is_known() {
        let of = |hello: Value| takes_more(&hello);
        assert!(of(json!({"agentCapabilities": {"_meta": {"claudeCode": {"promptQueueing": true}}}})));
        assert!(of(json!({"agentInfo": {"name": "OpenCode", "version": "1.18.33"}})));
        assert!(!of(json!({"agentInfo": {"name": "gemini-cli"}})) && !of(Value::Null));
    }
}
