//! OpenAI's Responses API. Nothing is kept by the provider: the whole conversation is sent each time.

use serde_json::{Value, json};

use super::dialect::{Ask, Call, Fault, Outcome, Pieces, Reply, Stop, list, text};

pub(super) fn request(ask: &Ask<'_>) -> Value {
    let tools: Vec<Value> = ask
        .tools
        .iter()
        .map(|tool| {
            json!({
                "type": "function", "name": tool.name, "description": tool.description,
                "parameters": tool.parameters, "strict": false,
            })
        })
        .collect();
    let mut body = json!({
        "model": ask.model, "stream": true, "store": false, "instructions": ask.system, "tools": tools,
        "input": ask.history, "include": ["reasoning.encrypted_content"],
    });
    if let Some(most) = ask.output_max {
        body["max_output_tokens"] = json!(most);
    }
    if let Some(schema) = ask.schema {
        body["tool_choice"] = json!("none");
        body["text"] = json!({ "format": { "type": "json_schema", "name": "result", "schema": schema, "strict": false } });
    }
    body
}

pub(super) fn results(outcomes: &[Outcome<'_>]) -> Vec<Value> {
    let item = |outcome: &Outcome<'_>| json!({ "type": "function_call_output", "call_id": outcome.call.id, "output": outcome.text });
    outcomes.iter().map(item).collect()
}

/// A reply on its way. The last event holds all of it.
#[derive(Default)]
pub(super) struct Stream {
    response: Option<Value>,
    /// Items as they are done: some compatible servers leave them out of the last event.
    items: Vec<Value>,
}

impl Pieces for Stream {
    fn event(&mut self, event: &Value) -> Result<(), Fault> {
        match text(&event["type"]) {
            "response.output_item.done" => self.items.push(event["item"].clone()),
            "response.completed" | "response.incomplete" => self.response = Some(event["response"].clone()),
            "response.failed" => return Err(fault(&event["response"]["error"])),
            "error" if event["error"].is_object() => return Err(fault(&event["error"])),
            "error" => return Err(fault(event)),
            _ => {}
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Option<Reply> {
        let response = self.response?;
        let items = match list(&response["output"]) {
            [] => self.items,
            items => items.to_vec(),
        };
        let (mut said, mut refusal, mut calls) = (String::new(), None, Vec::new());
        for item in &items {
            match text(&item["type"]) {
                "message" => {
                    for part in list(&item["content"]) {
                        said.push_str(text(&part["text"]));
                        refusal = part["refusal"].as_str().map(str::to_owned).or(refusal);
                    }
                }
                "function_call" => calls.push(Call::of_text(
                    text(&item["call_id"]).to_owned(),
                    text(&item["name"]).to_owned(),
                    text(&item["arguments"]).to_owned(),
                )),
                "custom_tool_call" => calls.push(Call {
                    id: text(&item["call_id"]).to_owned(),
                    tool: text(&item["name"]).to_owned(),
                    input: Err(text(&item["input"]).to_owned()),
                }),
                _ => {}
            }
        }
        let stop = match (refusal, text(&response["incomplete_details"]["reason"])) {
            (Some(words), _) => Stop::Refusal(words),
            (None, "content_filter") => Stop::Refusal("its filter stopped the reply".to_owned()),
            (None, "max_output_tokens") => Stop::Length,
            (None, "") => Stop::Done,
            (None, _) => Stop::Length,
        };
        Some(Reply { text: said, calls, stop, echo: items })
    }
}

/// Reads an error of OpenAI's, within a stream.
pub(super) fn fault(error: &Value) -> Fault {
    let kind = error["code"].as_str().or(error["type"].as_str()).unwrap_or_default();
    let status = match kind {
        "rate_limit_exceeded" | "rate_limit_error" => Some(429),
        "insufficient_quota" => Some(402),
        "server_error" | "server_is_overloaded" | "api_error" | "vector_store_timeout" => Some(500),
        "invalid_prompt" | "invalid_request_error" | "context_length_exceeded" => Some(400),
        _ => error["code"].as_u64().and_then(|code| code.try_into().ok()),
    };
    Fault { status, text: format!("{kind}: {}", text(&error["message"])) }
}
