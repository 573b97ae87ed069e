//! OpenAI's Responses API.

use serde_json::{Value, json};

use super::{Reply, Stop, hear_content, hear_system, list, named};
use crate::{
    talk::{Part, Talk},
    tools::Input,
};

pub(super) fn read(body: &Value, talk: &mut Talk) {
    hear_system(&body["instructions"], talk);
    talk.tools =
        list(&body["tools"]).iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)).collect();
    match &body["input"] {
        Value::String(text) => talk.hear(&Part::Text(text)),
        input => {
            for item in list(input) {
                match item["type"].as_str() {
                    Some("function_call_output" | "custom_tool_call_output") => talk.hear(&Part::Result),
                    _ if item["role"] == "user" => hear_content(&item["content"], talk),
                    _ => {}
                }
            }
        }
    }
}

fn items(reply: &Reply) -> Vec<Value> {
    let message = reply.say.iter().map(|text| {
        let content = json!([{ "type": "output_text", "text": text, "annotations": [] }]);
        let id = format!("msg_{}", reply.number);
        json!({ "type": "message", "id": id, "status": "completed", "role": "assistant", "content": content })
    });
    let calls = reply.calls.iter().enumerate().map(|(at, call)| {
        let (id, call_id) = (format!("fc_{}_{at}", reply.number), format!("call_{}_{at}", reply.number));
        match &call.input {
            Input::Object(input) => json!({
                "type": "function_call", "id": id, "call_id": call_id, "name": call.name,
                "arguments": input.to_string(), "status": "completed",
            }),
            Input::Text(input) => json!({
                "type": "custom_tool_call", "id": id, "call_id": call_id, "name": call.name, "input": input,
                "status": "completed",
            }),
        }
    });
    message.chain(calls).collect()
}

pub(super) fn whole(reply: &Reply) -> Value {
    let usage = &reply.usage;
    let read = usage.input + usage.cache_read + usage.cache_write;
    let (status, incomplete) = match reply.stop {
        Stop::Done => ("completed", Value::Null),
        Stop::Length => ("incomplete", json!({ "reason": "max_output_tokens" })),
        Stop::Refusal => ("incomplete", json!({ "reason": "content_filter" })),
    };
    json!({
        "id": format!("resp_{}", reply.number), "object": "response", "created_at": 0, "status": status,
        "model": reply.model, "output": items(reply), "error": null, "incomplete_details": incomplete,
        "usage": {
            "input_tokens": read, "input_tokens_details": {
                "cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write,
            },
            "output_tokens": usage.output, "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": read + usage.output,
        },
    })
}

pub(super) fn events(reply: &Reply) -> Vec<String> {
    let done = whole(reply);
    let mut begun = done.clone();
    begun["status"] = json!("in_progress");
    begun["output"] = json!([]);
    begun["usage"] = Value::Null;
    let mut events = vec![json!({ "type": "response.created", "response": begun })];
    for (index, item) in items(reply).into_iter().enumerate() {
        let mut empty = item.clone();
        empty["status"] = json!("in_progress");
        if item["type"] == "message" {
            empty["content"] = json!([]);
        }
        events.push(json!({ "type": "response.output_item.added", "output_index": index, "item": empty }));
        if let Some(text) = item["content"][0]["text"].as_str() {
            events.push(json!({
                "type": "response.output_text.delta", "item_id": item["id"], "output_index": index,
                "content_index": 0, "delta": text,
            }));
        }
        events.push(json!({ "type": "response.output_item.done", "output_index": index, "item": item }));
    }
    let last = if reply.stop == Stop::Done { "response.completed" } else { "response.incomplete" };
    events.push(json!({ "type": last, "response": done }));
    events.iter().map(named).collect()
}
