//! OpenAI's Responses API.

use serde_json::{Value, json};

use super::{Reply, Stop, hear_content, hear_system, list, named};
use crate::{
    talk::{Part, Talk},
    tools::Input,
};

/// Between the name of a namespace and that of a tool in it, in [`Talk::tools`] and in calls.
const NAMESPACE: &str = "::";

pub(super) fn read(body: &Value, talk: &mut Talk) {
    hear_system(&body["instructions"], talk);
    let name = |tool: &Value| tool["name"].as_str().map(str::to_owned);
    talk.tools = list(&body["tools"])
        .iter()
        .flat_map(|tool| match (tool["type"].as_str(), name(tool)) {
            // Tools of servers are offered in groups, and called with the name of theirs beside their own.
            (Some("namespace"), Some(group)) => {
                let within = list(&tool["tools"]).iter().filter_map(name);
                within.map(|name| format!("{group}{NAMESPACE}{name}")).collect()
            }
            (_, name) => name.into_iter().collect::<Vec<_>>(),
        })
        .collect();
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
            Input::Object(input) => {
                let (group, name) = match call.name.split_once(NAMESPACE) {
                    Some((group, name)) => (Some(group), name),
                    None => (None, call.name.as_str()),
                };
                let mut item = json!({
                    "type": "function_call", "id": id, "call_id": call_id, "name": name,
                    "arguments": input.to_string(), "status": "completed",
                });
                if let Some(group) = group {
                    item["namespace"] = json!(group);
                }
                item
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        script::{Call, Usage},
        tools,
    };

    #[test]
    fn a_tool_of_a_namespace_is_called_by_both_names() {
        let mut talk = Talk::default();
        let function = |name: &str| json!({ "type": "function", "name": name });
        let group = json!({ "type": "namespace", "name": "mcp__kapell", "tools": [function("ask"), function("note")] });
        read(&json!({ "tools": [function("shell"), group], "input": "x" }), &mut talk);
        assert_eq!(talk.tools, ["shell", "mcp__kapell::ask", "mcp__kapell::note"]);
        let served = Call::Served {
            server: "kapell".to_owned(),
            tool: "note".to_owned(),
            input: json!({ "text": "x" }),
        };
        let calls = [served, Call::Shell { command: "true".to_owned() }];
        let reply = Reply {
            number: 1,
            model: "m".to_owned(),
            say: None,
            calls: calls.iter().map(|call| tools::translate(call, &talk)).collect(),
            stop: Stop::Done,
            usage: Usage::default(),
        };
        let items = items(&reply);
        assert_eq!((&items[0]["namespace"], &items[0]["name"]), (&json!("mcp__kapell"), &json!("note")));
        assert_eq!((items[1].get("namespace"), &items[1]["name"]), (None, &json!("shell")));
    }
}
