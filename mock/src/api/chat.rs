//! OpenAI's chat completions, and all that are compatible with them.

use serde_json::{Value, json};

use super::{Reply, Stop, data, hear_content, hear_system, list};
use crate::talk::{Part, Talk};

pub(super) fn read(body: &Value, talk: &mut Talk) {
    talk.tools = list(&body["tools"])
        .iter()
        .filter_map(|tool| tool["function"]["name"].as_str().map(str::to_owned))
        .collect();
    for message in list(&body["messages"]) {
        match message["role"].as_str() {
            Some("system" | "developer") => hear_system(&message["content"], talk),
            Some("tool") => talk.hear(&Part::Result),
            Some("user") => hear_content(&message["content"], talk),
            _ => {}
        }
    }
}

fn calls(reply: &Reply) -> Vec<Value> {
    let call = |(at, call): (usize, &crate::tools::Wire)| {
        let function = json!({ "name": call.name, "arguments": call.input.value().to_string() });
        json!({ "index": at, "id": format!("call_{}_{at}", reply.number), "type": "function", "function": function })
    };
    reply.calls.iter().enumerate().map(call).collect()
}

fn finish(reply: &Reply) -> &'static str {
    match reply.stop {
        Stop::Length => "length",
        Stop::Refusal => "content_filter",
        Stop::Done if reply.calls.is_empty() => "stop",
        Stop::Done => "tool_calls",
    }
}

fn usage(reply: &Reply) -> Value {
    let usage = &reply.usage;
    let read = usage.input + usage.cache_read + usage.cache_write;
    json!({
        "prompt_tokens": read, "completion_tokens": usage.output, "total_tokens": read + usage.output,
        "prompt_tokens_details": { "cached_tokens": usage.cache_read },
    })
}

fn shell(reply: &Reply, object: &str, choices: &Value) -> Value {
    json!({
        "id": format!("chatcmpl-{}", reply.number), "object": object, "created": 0, "model": reply.model,
        "choices": choices,
    })
}

pub(super) fn whole(reply: &Reply) -> Value {
    let mut message = json!({ "role": "assistant", "content": reply.say });
    if !reply.calls.is_empty() {
        message["tool_calls"] = json!(calls(reply));
    }
    let choices = json!([{ "index": 0, "message": message, "finish_reason": finish(reply) }]);
    let mut whole = shell(reply, "chat.completion", &choices);
    whole["usage"] = usage(reply);
    whole
}

pub(super) fn events(reply: &Reply) -> Vec<String> {
    let chunk = |delta: Value, finish: Option<&str>| {
        let choices = json!([{ "index": 0, "delta": delta, "finish_reason": finish }]);
        shell(reply, "chat.completion.chunk", &choices)
    };
    let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), None)];
    events.extend(reply.say.iter().map(|text| chunk(json!({ "content": text }), None)));
    if !reply.calls.is_empty() {
        events.push(chunk(json!({ "tool_calls": calls(reply) }), None));
    }
    events.push(chunk(json!({}), Some(finish(reply))));
    let mut last = shell(reply, "chat.completion.chunk", &json!([]));
    last["usage"] = usage(reply);
    events.push(last);
    let mut events: Vec<String> = events.iter().map(data).collect();
    events.push("data: [DONE]\n\n".to_owned());
    events
}
