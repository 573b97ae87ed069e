//! Questions to the client: answered with the result of a call when the call is made again, as 2026-07-28 has it.

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, GetPromptRequestParams, GetPromptResponse,
        InputRequiredResult, InputResponses, RequestStateCodec,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

use crate::of;

/// Asks in rounds. What is carried from one round to the next is signed.
pub(crate) struct Rounds {
    codec: RequestStateCodec,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { codec: RequestStateCodec::new(*b"only for a fixture, and not secret") }
    }
}

fn ask(message: &str, schema: Value) -> Value {
    json!({"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}})
}

fn ask_for(message: &str, name: &str, kind: &str) -> Value {
    ask(message, json!({"type": "object", "properties": {name: {"type": kind}}, "required": [name]}))
}

fn sample(text: &str, tokens: u32) -> Value {
    json!({"method": "sampling/createMessage", "params": {
        "messages": [{"role": "user", "content": {"type": "text", "text": text}}],
        "maxTokens": tokens,
    }})
}

fn roots() -> Value {
    json!({"method": "roots/list", "params": {}})
}

fn required(requests: Value, state: Option<String>) -> InputRequiredResult {
    let mut result = json!({"resultType": "input_required", "inputRequests": requests});
    if let Some(state) = state {
        result["requestState"] = state.into();
    }
    of(result)
}

/// Returns a field of the client's answer to a form, if it gave one.
fn field<'a>(responses: Option<&'a InputResponses>, key: &str, name: &str) -> Option<&'a Value> {
    let answer = responses?.get(key)?;
    (answer["action"] == "accept").then(|| &answer["content"][name]).filter(|value| !value.is_null())
}

impl Rounds {
    fn sealed(&self, state: &str) -> Option<String> {
        Some(self.codec.seal(state.as_bytes()))
    }

    /// Checks what the client brought back.
    fn opened(&self, state: Option<&str>) -> Result<Option<String>, ErrorData> {
        let Some(state) = state else { return Ok(None) };
        let opened = self.codec.open(state);
        opened
            .map(|bytes| Some(String::from_utf8_lossy(&bytes).into_owned()))
            .map_err(|error| ErrorData::invalid_params(format!("the state was tampered with: {error}"), None))
    }

    /// Answers a tool that asks the client; `None` for any other.
    pub(crate) fn tool(
        &self,
        request: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<Option<CallToolResponse>, ErrorData> {
        let name = match &*request.name {
            "test_streaming_elicitation" => "elicitation",
            name => match name.strip_prefix("test_input_required_result_") {
                Some(name) => name,
                None => return Ok(None),
            },
        };
        let given = request.input_responses.as_ref();
        let state = self.opened(request.request_state.as_deref())?;
        let has = |key: &str| given.is_some_and(|given| given.contains_key(key));
        let done = |text: String| {
            CallToolResponse::Complete(crate::complete(json!({"content": crate::text(&text)})))
        };
        let again = |requests, state| CallToolResponse::InputRequired(required(requests, state));
        let ask_name = || ask_for("What is your name?", "name", "string");
        Ok(Some(match name {
            "elicitation" => match field(given, "user_name", "name").and_then(Value::as_str) {
                Some(name) => done(format!("Hello, {name}!")),
                None => again(json!({"user_name": ask_name()}), None),
            },
            "sampling" if has("capital_question") => {
                done(given.map(|given| given["capital_question"].to_string()).unwrap_or_default())
            }
            "sampling" => {
                again(json!({"capital_question": sample("What is the capital of France?", 100)}), None)
            }
            "list_roots" if has("client_roots") => {
                done(given.map(|given| given["client_roots"].to_string()).unwrap_or_default())
            }
            "list_roots" => again(json!({"client_roots": roots()}), None),
            "request_state" | "tampered_state" => match (state.as_deref(), has("confirm")) {
                (Some("confirm"), true) => done("state-ok".to_owned()),
                _ => again(
                    json!({"confirm": ask_for("Please confirm", "ok", "boolean")}),
                    self.sealed("confirm"),
                ),
            },
            "multiple_inputs" => {
                let all = ["user_name", "greeting", "client_roots"].into_iter().all(has);
                match state.is_some() && all {
                    true => done("all there".to_owned()),
                    false => again(
                        json!({
                            "user_name": ask_name(),
                            "greeting": sample("Generate a greeting", 50),
                            "client_roots": roots(),
                        }),
                        self.sealed("several"),
                    ),
                }
            }
            "multi_round" => match state.as_deref() {
                Some("one") if has("step1") => again(
                    json!({"step2": ask_for("Step 2: What is your favorite color?", "color", "string")}),
                    self.sealed("two"),
                ),
                Some("two") if has("step2") => done("both steps done".to_owned()),
                _ => again(
                    json!({"step1": ask_for("Step 1: What is your name?", "name", "string")}),
                    self.sealed("one"),
                ),
            },
            "capabilities" => {
                let declared = context.client_capabilities().unwrap_or_default();
                let mut requests = json!({});
                if declared.elicitation.is_some() {
                    requests["user_name"] = ask_name();
                }
                if declared.sampling.is_some() {
                    requests["greeting"] = sample("Generate a greeting", 50);
                }
                again(requests, None)
            }
            _ => return Ok(None),
        }))
    }

    /// Answers the prompt that asks the client; `None` for any other.
    pub(crate) fn prompt(
        &self,
        request: &GetPromptRequestParams,
        _: &RequestContext<RoleServer>,
    ) -> Result<Option<GetPromptResponse>, ErrorData> {
        if request.name != "test_input_required_result_prompt" {
            return Ok(None);
        }
        let given =
            field(request.input_responses.as_ref(), "user_context", "context").and_then(Value::as_str);
        Ok(Some(match given {
            Some(given) => GetPromptResponse::Complete(crate::complete(json!({
                "messages": [{"role": "user", "content": {"type": "text", "text": format!("In the context: {given}")}}],
            }))),
            None => GetPromptResponse::InputRequired(required(
                json!({"user_context": ask_for("What context should the prompt use?", "context", "string")}),
                None,
            )),
        }))
    }
}

/// A form with a name and an address.
pub(crate) fn user_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "username": {"type": "string", "description": "User's response"},
            "email": {"type": "string", "description": "User's email address"},
        },
        "required": ["username", "email"],
    })
}

/// A form whose fields have defaults.
pub(crate) fn defaults_schema() -> Value {
    json!({"type": "object", "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": true},
    }})
}

/// A form with every kind of choice.
pub(crate) fn enums_schema() -> Value {
    let titled = |prefix: &str| {
        let option = |number: u32, word: &str| json!({"const": format!("value{number}"), "title": format!("{word} {prefix}")});
        json!([option(1, "First"), option(2, "Second"), option(3, "Third")])
    };
    json!({"type": "object", "properties": {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {"type": "string", "oneOf": titled("Option")},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled("Choice")}},
    }})
}
