//! Google's Gemini API.

use serde_json::{Value, json};

use super::dialect::{Ask, Call, Fault, Outcome, Pieces, Reply, Stop, list, text};

pub(super) fn request(ask: &Ask<'_>) -> Value {
    let mut body = json!({
        "systemInstruction": { "parts": [{ "text": ask.system }] },
        "contents": ask.history,
        "generationConfig": {},
    });
    if let Some(most) = ask.output_max {
        body["generationConfig"]["maxOutputTokens"] = json!(most);
    }
    match ask.schema {
        // The API takes tools or a schema, not both.
        Some(schema) => {
            body["generationConfig"]["responseMimeType"] = json!("application/json");
            body["generationConfig"]["responseJsonSchema"] = schema.clone();
        }
        None => {
            let declared: Vec<Value> = ask
                .tools
                .iter()
                .map(|tool| {
                    json!({
                        "name": tool.name, "description": tool.description,
                        "parametersJsonSchema": tool.parameters,
                    })
                })
                .collect();
            body["tools"] = json!([{ "functionDeclarations": declared }]);
        }
    }
    body
}

pub(super) fn results(outcomes: &[Outcome<'_>]) -> Vec<Value> {
    let part = |outcome: &Outcome<'_>| {
        let response = match outcome.is_error {
            true => json!({ "error": outcome.text }),
            false => json!({ "output": outcome.text }),
        };
        let mut answer = json!({ "name": outcome.call.tool, "response": response });
        if !outcome.call.id.is_empty() {
            answer["id"] = json!(outcome.call.id);
        }
        json!({ "functionResponse": answer })
    };
    let parts: Vec<Value> = outcomes.iter().map(part).collect();
    vec![json!({ "role": "user", "parts": parts })]
}

/// A reply on its way.
#[derive(Default)]
pub(super) struct Stream {
    parts: Vec<Value>,
    stop: Option<String>,
    said_why: String,
}

impl Pieces for Stream {
    fn event(&mut self, event: &Value) -> Result<(), Fault> {
        let error = &event["error"];
        if error.is_object() {
            let status = error["code"].as_u64().and_then(|code| code.try_into().ok());
            return Err(Fault {
                status,
                text: format!("{}: {}", text(&error["status"]), text(&error["message"])),
            });
        }
        if let Some(reason) = event["promptFeedback"]["blockReason"].as_str() {
            self.stop = Some(reason.to_owned());
            text(&event["promptFeedback"]["blockReasonMessage"]).clone_into(&mut self.said_why);
        }
        let Some(candidate) = list(&event["candidates"]).first() else { return Ok(()) };
        self.parts.extend(list(&candidate["content"]["parts"]).iter().cloned());
        if let Some(reason) = candidate["finishReason"].as_str() {
            self.stop = Some(reason.to_owned());
            text(&candidate["finishMessage"]).clone_into(&mut self.said_why);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Option<Reply> {
        let reason = self.stop?;
        let (mut said, mut calls) = (String::new(), Vec::new());
        for part in &self.parts {
            if part["thought"] != true {
                said.push_str(text(&part["text"]));
            }
            if let Some(call) = part.get("functionCall") {
                let args = &call["args"];
                calls.push(Call {
                    id: text(&call["id"]).to_owned(),
                    tool: text(&call["name"]).to_owned(),
                    input: Ok(if args.is_null() { json!({}) } else { args.clone() }),
                });
            }
        }
        let stop = match reason.as_str() {
            "STOP" | "FINISH_REASON_UNSPECIFIED" => Stop::Done,
            "MAX_TOKENS" => Stop::Length,
            // It tried to call a tool, and wrote nonsense: it may do better next time.
            "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" => Stop::Paused,
            _ => Stop::Refusal(format!("{reason} {}", self.said_why).trim().to_owned()),
        };
        let echo = match self.parts.is_empty() {
            true => Vec::new(),
            false => vec![json!({ "role": "model", "parts": self.parts })],
        };
        Some(Reply { text: said, calls, stop, echo })
    }
}
