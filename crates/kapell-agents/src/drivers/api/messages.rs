//! Anthropic's Messages API.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::dialect::{Ask, Call, Fault, Outcome, Pieces, Reply, Stop, text};

/// The API wants a limit. A reply of a coding agent is seldom longer; one that is goes on.
const OUTPUT_USUAL: u32 = 8192;

pub(super) fn request(ask: &Ask<'_>) -> Value {
    let cache = json!({ "type": "ephemeral" });
    let tools: Vec<Value> = ask
        .tools
        .iter()
        .map(|tool| json!({ "name": tool.name, "description": tool.description, "input_schema": tool.parameters }))
        .collect();
    // Up to here it is the same next time: the provider need not read it afresh.
    let mut history = ask.history.to_vec();
    if let Some(last) = history.last_mut().and_then(|last| last["content"].as_array_mut()?.last_mut()) {
        last["cache_control"] = cache.clone();
    }
    let mut body = json!({
        "model": ask.model, "stream": true, "max_tokens": ask.output_max.unwrap_or(OUTPUT_USUAL),
        "system": [{ "type": "text", "text": ask.system, "cache_control": cache }],
        "tools": tools, "messages": history,
    });
    if let Some(schema) = ask.schema {
        body["tool_choice"] = json!({ "type": "none" });
        body["output_config"] = json!({ "format": { "type": "json_schema", "schema": schema } });
    }
    body
}

pub(super) fn results(outcomes: &[Outcome<'_>]) -> Vec<Value> {
    let blocks: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            json!({
                "type": "tool_result", "tool_use_id": outcome.call.id, "content": outcome.text,
                "is_error": outcome.is_error,
            })
        })
        .collect();
    vec![json!({ "role": "user", "content": blocks })]
}

/// A reply on its way.
#[derive(Default)]
pub(super) struct Stream {
    /// Blocks by their number, and the arguments of calls as far as they have come.
    blocks: BTreeMap<u64, (Value, String)>,
    stop: Option<String>,
    is_over: bool,
}

impl Pieces for Stream {
    fn event(&mut self, event: &Value) -> Result<(), Fault> {
        match text(&event["type"]) {
            "content_block_start" => {
                let at = event["index"].as_u64().unwrap_or(0);
                self.blocks.insert(at, (event["content_block"].clone(), String::new()));
            }
            "content_block_delta" => {
                let at = event["index"].as_u64().unwrap_or(0);
                let Some((block, arguments)) = self.blocks.get_mut(&at) else { return Ok(()) };
                let delta = &event["delta"];
                for (name, kind) in
                    [("text", "text_delta"), ("thinking", "thinking_delta"), ("signature", "signature_delta")]
                {
                    if delta["type"] == kind {
                        block[name] = json!(format!("{}{}", text(&block[name]), text(&delta[name])));
                    }
                }
                arguments.push_str(text(&delta["partial_json"]));
            }
            "message_delta" => {
                if let Some(reason) = event["delta"]["stop_reason"].as_str() {
                    self.stop = Some(reason.to_owned());
                }
            }
            "message_stop" => self.is_over = true,
            "error" => return Err(fault(&event["error"])),
            _ => {}
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Option<Reply> {
        let stop = self.stop.filter(|_| self.is_over)?;
        let (mut said, mut calls, mut echo) = (String::new(), Vec::new(), Vec::new());
        for (mut block, arguments) in self.blocks.into_values() {
            match text(&block["type"]) {
                "text" => said.push_str(text(&block["text"])),
                "tool_use" => {
                    let (id, tool) = (text(&block["id"]).to_owned(), text(&block["name"]).to_owned());
                    let call = Call::of_text(id, tool, arguments);
                    // The API does not take back what is no object.
                    block["input"] =
                        call.input.clone().ok().filter(Value::is_object).unwrap_or_else(|| json!({}));
                    calls.push(call);
                }
                _ => {}
            }
            // It does not take back an empty text either.
            if block["type"] != "text" || !text(&block["text"]).is_empty() {
                echo.push(block);
            }
        }
        let stop = match stop.as_str() {
            "max_tokens" => Stop::Length,
            "refusal" => Stop::Refusal(said.clone()),
            "pause_turn" => Stop::Paused,
            "model_context_window_exceeded" => Stop::Full,
            _ => Stop::Done,
        };
        let echo =
            if echo.is_empty() { Vec::new() } else { vec![json!({ "role": "assistant", "content": echo })] };
        Some(Reply { text: said, calls, stop, echo })
    }
}

fn fault(error: &Value) -> Fault {
    let kind = text(&error["type"]);
    let status = match kind {
        "overloaded_error" => Some(529),
        "rate_limit_error" => Some(429),
        "billing_error" => Some(402),
        "authentication_error" => Some(401),
        "permission_error" => Some(403),
        "invalid_request_error" => Some(400),
        "api_error" | "timeout_error" => Some(500),
        _ => None,
    };
    Fault { status, text: format!("{kind}: {}", text(&error["message"])) }
}
