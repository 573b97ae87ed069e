//! OpenAI's chat completions: what Ollama, vLLM, llama.cpp and many others speak.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    dialect::{Ask, Call, Fault, Outcome, Pieces, Reply, Stop, list, text},
    responses,
};

pub(super) fn request(ask: &Ask<'_>) -> Value {
    let function = |tool: &super::dialect::Tool| json!({ "name": tool.name, "description": tool.description, "parameters": tool.parameters });
    let tools: Vec<Value> =
        ask.tools.iter().map(|tool| json!({ "type": "function", "function": function(tool) })).collect();
    let system = json!({ "role": "system", "content": ask.system });
    let messages: Vec<Value> = std::iter::once(system).chain(ask.history.iter().cloned()).collect();
    let mut body = json!({
        "model": ask.model, "stream": true, "stream_options": { "include_usage": true }, "tools": tools,
        "messages": messages,
    });
    if let Some(most) = ask.output_max {
        body["max_tokens"] = json!(most);
    }
    if let Some(schema) = ask.schema {
        body["tool_choice"] = json!("none");
        body["response_format"] =
            json!({ "type": "json_schema", "json_schema": { "name": "result", "schema": schema } });
    }
    body
}

pub(super) fn results(outcomes: &[Outcome<'_>]) -> Vec<Value> {
    let message = |outcome: &Outcome<'_>| json!({ "role": "tool", "tool_call_id": outcome.call.id, "content": outcome.text });
    outcomes.iter().map(message).collect()
}

/// A reply on its way.
#[derive(Default)]
pub(super) struct Stream {
    said: String,
    refusal: String,
    /// Calls by their number: id, name, arguments as far as they have come.
    calls: BTreeMap<u64, (String, String, String)>,
    stop: Option<String>,
}

impl Pieces for Stream {
    fn event(&mut self, event: &Value) -> Result<(), Fault> {
        if event["error"].is_object() {
            return Err(responses::fault(&event["error"]));
        }
        let Some(choice) = list(&event["choices"]).first() else { return Ok(()) };
        let delta = &choice["delta"];
        self.said.push_str(text(&delta["content"]));
        self.refusal.push_str(text(&delta["refusal"]));
        for (place, call) in list(&delta["tool_calls"]).iter().enumerate() {
            // Some servers leave the number out, and send each call whole.
            let at = call["index"].as_u64().unwrap_or(self.calls.len() as u64 + place as u64);
            let (id, name, arguments) = self.calls.entry(at).or_default();
            id.push_str(text(&call["id"]));
            name.push_str(text(&call["function"]["name"]));
            match &call["function"]["arguments"] {
                Value::Object(_) => *arguments = call["function"]["arguments"].to_string(),
                piece => arguments.push_str(text(piece)),
            }
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            self.stop = Some(reason.to_owned());
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Option<Reply> {
        let stop = match self.stop?.as_str() {
            "length" => Stop::Length,
            "content_filter" => Stop::Refusal("its filter stopped the reply".to_owned()),
            _ if !self.refusal.is_empty() => Stop::Refusal(self.refusal),
            _ => Stop::Done,
        };
        let (mut calls, mut sent) = (Vec::new(), Vec::new());
        for (number, (id, name, arguments)) in self.calls {
            let id = if id.is_empty() { format!("call_{number}") } else { id };
            let function = json!({ "name": name, "arguments": arguments });
            sent.push(json!({ "id": id, "type": "function", "function": function }));
            calls.push(Call::of_text(id, name, arguments));
        }
        let mut echo = json!({ "role": "assistant", "content": self.said });
        if !sent.is_empty() {
            echo["tool_calls"] = json!(sent);
        }
        Some(Reply { text: self.said, calls, stop, echo: vec![echo] })
    }
}
