//! What goes through kapell's toolbox, and lists of what does not.

use std::borrow::Cow;

use kapell_server::mcp::toolbox::{
    Caller, Document, Effect, Family, ReadError, Refusal, Reply, Tool, Toolbox,
};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::{PIXEL, STEP};

#[derive(JsonSchema)]
struct Nothing {}

pub(crate) struct Plain;

impl Toolbox for Plain {
    fn name(&self) -> &'static str {
        "kapell-conformance"
    }

    fn instructions(&self) -> &'static str {
        "For the conformance suite."
    }

    fn tools(&self) -> Vec<Tool> {
        let tool = |name, about| Tool::new::<Nothing>(name, name, Effect::Reads, about);
        vec![
            tool("test_simple_text", "Returns a text"),
            tool("test_error_handling", "Fails"),
            tool("test_tool_with_progress", "Reports progress"),
        ]
    }

    fn call(&self, name: &str, _: Map<String, Value>, caller: &dyn Caller) -> Option<Result<Reply, Refusal>> {
        let text = |text: &str| Ok(Reply { text: text.to_owned(), ..Reply::default() });
        Some(match name {
            "test_simple_text" => text("This is a simple text response for testing."),
            "test_error_handling" => {
                Err(Refusal("This tool intentionally returns an error for testing".to_owned()))
            }
            "test_tool_with_progress" => {
                for done in [0.0, 50.0, 100.0] {
                    caller.progress(done, Some(100.0), "under way");
                    std::thread::sleep(STEP);
                }
                text("done")
            }
            _ => return None,
        })
    }

    fn documents(&self) -> Result<Vec<Document>, ReadError> {
        let document = |uri: &str, mime: &'static str| Document {
            uri: uri.to_owned(),
            name: uri.to_owned(),
            about: "It never changes".to_owned(),
            mime: mime.into(),
        };
        Ok(vec![
            document("test://static-text", "text/plain"),
            document("test://static-binary", "image/png"),
            document("test://watched-resource", "text/plain"),
        ])
    }

    fn families(&self) -> Vec<Family> {
        vec![Family {
            template: "test://template/{id}/data",
            name: "data",
            about: "Data by its id",
            mime: "application/json",
        }]
    }

    fn read(&self, uri: &str) -> Result<(String, Cow<'static, str>), ReadError> {
        let unknown = || ReadError::Unknown(uri.to_owned());
        match uri {
            "test://static-text" => {
                Ok(("This is the content of the static text resource.".to_owned(), "text/plain".into()))
            }
            "test://watched-resource" => Ok(("It is watched.".to_owned(), "text/plain".into())),
            _ => {
                let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
                let id = id.ok_or_else(unknown)?;
                let data = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
                Ok((data.to_string(), "application/json".into()))
            }
        }
    }
}

/// The tools that the fixture answers itself.
pub(crate) fn extra_tools() -> Value {
    let names = [
        "test_image_content",
        "test_audio_content",
        "test_embedded_resource",
        "test_multiple_content_types",
        "test_tool_with_logging",
        "test_logging_tool",
        "test_reconnection",
        "test_elicitation_sep1034_defaults",
        "test_elicitation_sep1330_enums",
        "test_trigger_tool_change",
        "test_trigger_prompt_change",
        "test_missing_capability",
        "test_streaming_elicitation",
        "test_input_required_result_elicitation",
        "test_input_required_result_sampling",
        "test_input_required_result_list_roots",
        "test_input_required_result_request_state",
        "test_input_required_result_multiple_inputs",
        "test_input_required_result_multi_round",
        "test_input_required_result_tampered_state",
        "test_input_required_result_capabilities",
    ];
    let tool = |name: &str, input: Value| json!({"name": name, "description": name, "inputSchema": input});
    let of_one =
        |name: &str| json!({"type": "object", "properties": {name: {"type": "string"}}, "required": [name]});
    let mut tools: Vec<Value> =
        names.map(|name| tool(name, json!({"type": "object", "properties": {}}))).into();
    tools.push(tool("test_sampling", of_one("prompt")));
    tools.push(tool("test_elicitation", of_one("message")));
    tools.push(tool(
        "test_custom_headers",
        json!({
            "type": "object",
            "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
            "required": ["region"],
        }),
    ));
    tools.push(tool(
        "json_schema_2020_12_tool",
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": {"address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }},
            "properties": {
                "name": {"type": "string"},
                "address": {"$ref": "#/$defs/address"},
                "contactMethod": {"type": "string", "enum": ["phone", "email"]},
                "phone": {"type": "string"},
                "email": {"type": "string"},
            },
            "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
            "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
            "then": {"required": ["phone"]},
            "else": {"required": ["email"]},
            "additionalProperties": false,
        }),
    ));
    Value::Array(tools)
}

/// The prompts.
pub(crate) fn prompts() -> Value {
    let prompt = |name: &str, arguments: &[&str]| {
        let arguments: Vec<Value> = arguments
            .iter()
            .map(|name| json!({"name": name, "description": name, "required": true}))
            .collect();
        json!({"name": name, "description": name, "arguments": arguments})
    };
    json!([
        prompt("test_simple_prompt", &[]),
        prompt("test_prompt_with_arguments", &["arg1", "arg2"]),
        prompt("test_prompt_with_embedded_resource", &["resourceUri"]),
        prompt("test_prompt_with_image", &[]),
        prompt("test_input_required_result_prompt", &[]),
    ])
}

/// The messages of a prompt.
pub(crate) fn prompt(name: &str, given: &Value) -> Option<Value> {
    let says = |content: Value| json!({"role": "user", "content": content});
    let text = |text: &str| says(json!({"type": "text", "text": text}));
    let given = |name: &str| given[name].as_str().unwrap_or_default().to_owned();
    Some(match name {
        "test_simple_prompt" => json!([text("This is a simple prompt for testing.")]),
        "test_prompt_with_arguments" => {
            let said = format!("Prompt with arguments: arg1='{}', arg2='{}'", given("arg1"), given("arg2"));
            json!([text(&said)])
        }
        "test_prompt_with_embedded_resource" => json!([
            says(json!({"type": "resource", "resource": {
                "uri": given("resourceUri"),
                "mimeType": "text/plain",
                "text": "Embedded resource content for testing.",
            }})),
            text("Please process the embedded resource above."),
        ]),
        "test_prompt_with_image" => json!([
            says(json!({"type": "image", "data": PIXEL, "mimeType": "image/png"})),
            text("Please analyze the image above."),
        ]),
        _ => return None,
    })
}
