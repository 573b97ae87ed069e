//! Anthropic's Messages API.

use serde_json::{Value, json};

use super::{Reply, Stop, hear_system, list, named};
use crate::talk::{Part, Talk};

pub(super) fn read(body: &Value, talk: &mut Talk) {
    hear_system(&body["system"], talk);
    talk.tools =
        list(&body["tools"]).iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)).collect();
    for message in list(&body["messages"]).iter().filter(|message| message["role"] == "user") {
        match &message["content"] {
            Value::String(text) => talk.hear(&Part::Text(text)),
            content => {
                for part in list(content) {
                    match (part["type"].as_str(), part["text"].as_str()) {
                        (Some("tool_result"), _) => talk.hear(&Part::Result),
                        (_, Some(text)) => talk.hear(&Part::Text(text)),
                        _ => {}
                    }
                }
            }
        }
    }
}

fn blocks(reply: &Reply) -> Vec<Value> {
    let text = reply.say.iter().map(|text| json!({ "type": "text", "text": text }));
    let calls = reply.calls.iter().enumerate().map(|(at, call)| {
        let id = format!("toolu_{}_{at}", reply.number);
        json!({ "type": "tool_use", "id": id, "name": call.name, "input": call.input.value() })
    });
    text.chain(calls).collect()
}

fn stop_reason(reply: &Reply) -> &'static str {
    match reply.stop {
        Stop::Length => "max_tokens",
        Stop::Refusal => "refusal",
        Stop::Done if reply.calls.is_empty() => "end_turn",
        Stop::Done => "tool_use",
    }
}

fn usage(reply: &Reply, output: u64) -> Value {
    json!({
        "input_tokens": reply.usage.input,
        "cache_creation_input_tokens": reply.usage.cache_write,
        "cache_read_input_tokens": reply.usage.cache_read,
        "output_tokens": output,
    })
}

pub(super) fn whole(reply: &Reply) -> Value {
    json!({
        "id": format!("msg_{}", reply.number), "type": "message", "role": "assistant", "model": reply.model,
        "content": blocks(reply), "stop_reason": stop_reason(reply), "stop_sequence": null,
        "usage": usage(reply, reply.usage.output),
    })
}

pub(super) fn events(reply: &Reply) -> Vec<String> {
    let mut start = whole(reply);
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    start["usage"] = usage(reply, 1);
    let mut events = vec![json!({ "type": "message_start", "message": start })];
    for (index, mut block) in blocks(reply).into_iter().enumerate() {
        let delta = if block["type"] == "text" {
            let text = block["text"].take();
            block["text"] = json!("");
            json!({ "type": "text_delta", "text": text })
        } else {
            let input = block["input"].take().to_string();
            block["input"] = json!({});
            json!({ "type": "input_json_delta", "partial_json": input })
        };
        events.push(json!({ "type": "content_block_start", "index": index, "content_block": block }));
        events.push(json!({ "type": "content_block_delta", "index": index, "delta": delta }));
        events.push(json!({ "type": "content_block_stop", "index": index }));
    }
    let delta = json!({ "stop_reason": stop_reason(reply), "stop_sequence": null });
    let last = usage(reply, reply.usage.output);
    events.push(json!({ "type": "message_delta", "delta": delta, "usage": last }));
    events.push(json!({ "type": "message_stop" }));
    events.iter().map(named).collect()
}
