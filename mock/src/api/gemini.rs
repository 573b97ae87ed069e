//! Google's Gemini API.

use serde_json::{Value, json};

use super::{Reply, Stop, hear_system, list};
use crate::talk::{Part, Talk};

pub(super) fn read(path: &str, body: &Value, talk: &mut Talk) {
    talk.streams = path.ends_with(":streamGenerateContent");
    let model = path.rsplit('/').next().and_then(|last| last.split(':').next());
    model.unwrap_or_default().clone_into(&mut talk.model);
    hear_system(&body["systemInstruction"]["parts"], talk);
    talk.tools = list(&body["tools"])
        .iter()
        .flat_map(|tool| list(&tool["functionDeclarations"]))
        .filter_map(|tool| tool["name"].as_str().map(str::to_owned))
        .collect();
    for content in list(&body["contents"]).iter().filter(|content| content["role"] == "user") {
        for part in list(&content["parts"]) {
            if part.get("functionResponse").is_some() {
                talk.hear(&Part::Result);
            } else if let Some(text) = part["text"].as_str() {
                talk.hear(&Part::Text(text));
            }
        }
    }
}

pub(super) fn whole(reply: &Reply) -> Value {
    let text = reply.say.iter().map(|text| json!({ "text": text }));
    let calls = reply
        .calls
        .iter()
        .map(|call| json!({ "functionCall": { "name": call.name, "args": call.input.value() } }));
    let parts: Vec<Value> = text.chain(calls).collect();
    let usage = &reply.usage;
    let read = usage.input + usage.cache_read + usage.cache_write;
    let reason = match reply.stop {
        Stop::Done => "STOP",
        Stop::Length => "MAX_TOKENS",
        Stop::Refusal => "SAFETY",
    };
    json!({
        "candidates": [{ "index": 0, "content": { "role": "model", "parts": parts }, "finishReason": reason }],
        "usageMetadata": {
            "promptTokenCount": read, "cachedContentTokenCount": usage.cache_read,
            "candidatesTokenCount": usage.output, "totalTokenCount": read + usage.output,
        },
        "modelVersion": reply.model, "responseId": format!("resp-{}", reply.number),
    })
}
