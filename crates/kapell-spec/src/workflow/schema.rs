//! The JSON Schema of a workflow file.
//!
//! Kept by hand beside the reader: the reader takes more spellings than types could say. Tests hold the two together:
//! the schema takes every file that the reader takes, knows the same keys, and refuses what is wrong in structure.
//! What a schema cannot say (needs that exist, circles, expressions) only the reader finds.

use serde_json::{Map, Value, json};

use super::task;

/// Names of tasks, agents, axes, inputs and outputs.
const NAME: &str = "^[A-Za-z_][A-Za-z0-9_-]{0,99}$";

/// Names of environment variables; those of kapell's own are left out.
const VARIABLE: &str = "^(?!KAPELL_)[A-Za-z_][A-Za-z0-9_]*$";

const DURATION: &str = r"^(?=.)([0-9]+(\.[0-9]+)?d)?([0-9]+(\.[0-9]+)?h)?([0-9]+(\.[0-9]+)?m)?([0-9]+(\.[0-9]+)?s)?([0-9]+(\.[0-9]+)?ms)?$";

/// Relative, and never out of the repository.
const PATH: &str = r"^(?!/)(?!~)(?!\.\.(/|$))(?!.*/\.\.(/|$))[^\\]*\S[^\\]*$";

/// Returns the JSON Schema (draft 2020-12) of a workflow file.
#[must_use]
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:kapell:schema:workflow",
        "title": "kapell workflow",
        "description": "Tasks that kapell runs. The reference is docs/workflow.md.",
        "type": "object",
        "required": ["mission", "tasks"],
        "additionalProperties": false,
        "properties": top(),
        "$defs": defs(),
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn described(schema: Value, text: &str) -> Value {
    let mut schema = schema;
    if let Some(object) = schema.as_object_mut() {
        object.insert("description".to_owned(), text.into());
    }
    schema
}

fn top() -> Value {
    let properties = json!({
        "mission": described(reference("static"), "What is asked, in words."),
        "target": described(reference("static"), "The branch that the run starts from and that `kapell merge` moves."),
        "budget": described(reference("budget"), "What the run may use."),
        "deadline": described(reference("instant"), "Until when the run must be done."),
        "saga": { "type": "boolean", "description": "Whether a failure takes back what was done, in reverse order." },
        "lfs": { "enum": ["pointers"], "description": "That tasks get the pointers of files in Git LFS in place of their content." },
        "accept": described(reference("texts"), "Commands that must pass on every tree that lands."),
        "protect": described(reference("protect"), "Paths that no task may change to pass its own checks."),
        "env": described(reference("env"), "Variables for all tasks."),
        "inputs": {
            "type": "object",
            "description": "Values that the caller gives, read as `inputs.NAME`.",
            "propertyNames": { "pattern": NAME },
            "additionalProperties": { "anyOf": [
                { "type": "null" },
                reference("static"),
                {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": { "default": reference("scalar"), "description": reference("static") },
                },
            ] },
        },
        "agents": {
            "type": "object",
            "description": "Who performs prompts.",
            "propertyNames": { "pattern": NAME },
            "additionalProperties": { "anyOf": [reference("static"), reference("agent")] },
        },
        "defaults": {
            "type": "object",
            "description": "What holds for every task with `run`, `prompt`, `mcp` or `scripted` that does not say otherwise.",
            "additionalProperties": false,
            "properties": settings(),
        },
        "tasks": {
            "type": "object",
            "description": "The tasks by name.",
            "minProperties": 1,
            "propertyNames": { "pattern": NAME },
            "additionalProperties": reference("task"),
        },
    });
    properties
}

/// Returns the keys that a task and `defaults` share.
fn settings() -> Map<String, Value> {
    let settings = json!({
        "agent": described(reference("static"), "Which of the `agents` performs the prompt."),
        "skills": described(reference("static_texts"), "What whoever performs the prompt must be able to do; the best agent is chosen."),
        "retry": described(reference("retry"), "How often it is tried."),
        "timeout": described(reference("duration"), "How long an attempt may take."),
        "workspace": { "enum": ["clone", "read_only", "none"], "description": "Where it works." },
        "prepare": described(reference("static_texts"), "Commands that make a workspace ready, once for each."),
        "carry": described(reference("paths"), "Ignored paths that are copied from the checkout."),
        "cache": {
            "type": "object",
            "description": "Directories kept between tasks: variable, then the name of the directory.",
            "propertyNames": { "pattern": VARIABLE },
            "additionalProperties": { "type": "string", "pattern": NAME },
        },
        "retry_lost": { "enum": ["retry", "ask"], "description": "What is done about an attempt whose end nobody saw." },
        "supervise": { "enum": ["full", "group"], "description": "How its processes are watched." },
        "estimate": { "description": "How long it is expected to take.", "anyOf": [
            reference("duration_range"),
            {
                "type": "object",
                "required": ["p50"],
                "additionalProperties": false,
                "properties": { "p50": reference("duration"), "p90": reference("duration") },
            },
        ] },
    });
    match settings {
        Value::Object(settings) => settings,
        _ => Map::new(),
    }
}

fn task() -> Value {
    let own = json!({
        "run": described(reference("text"), "A shell script."),
        "prompt": described(reference("text"), "A prompt for the agent."),
        "gate": { "description": "A decision that a person owes.", "anyOf": [
            reference("text"),
            {
                "type": "object",
                "required": ["question"],
                "additionalProperties": false,
                "properties": { "question": reference("text"), "choices": reference("static_texts") },
            },
        ] },
        "workflow": described(reference("path"), "Another workflow file, run as a child run."),
        "scripted": {
            "description": "A script for the scripted agent.",
            "type": ["string", "array", "object", "number", "boolean"],
        },
        "mcp": {
            "description": "A tool of an MCP server of your settings: `SERVER.TOOL`.",
            "type": "string",
            "pattern": r"^[A-Za-z_][A-Za-z0-9_-]{0,99}\.[A-Za-z0-9_./-]{1,128}$",
        },
        "with": { "description": "The arguments of the tool.", "type": "object" },
        "noop": { "enum": [true, null], "description": "Nothing; joins others." },
        "needs": described(reference("static_texts"), "The tasks that it waits for."),
        "if": {
            "description": "Whether it is done at all: an expression, with or without `${{ }}`.",
            "type": ["string", "boolean", "number"],
        },
        "matrix": {
            "type": "object",
            "description": "A task for each combination of values.",
            "minProperties": 1,
            "propertyNames": { "pattern": NAME },
            "properties": { "include": reference("combinations"), "exclude": reference("combinations") },
            "additionalProperties": { "type": "array", "minItems": 1 },
        },
        "env": described(reference("env"), "Variables of its commands."),
        "outputs": { "description": "What it promises; a text says how it is computed, a mapping is the JSON schema of what it sets itself.", "anyOf": [
            { "type": "string", "pattern": NAME },
            { "type": "array", "items": { "type": "string", "pattern": NAME } },
            {
                "type": "object",
                "propertyNames": { "pattern": NAME },
                "additionalProperties": { "anyOf": [reference("scalar"), { "type": "object", "minProperties": 1 }] },
            },
        ] },
        "accept": described(reference("texts"), "Commands that must pass on its result."),
        "claims": described(reference("texts"), "Paths and names that nobody else may hold meanwhile."),
        "compensate": described(reference("text"), "The command that takes it back."),
        "protect": described(reference("protect"), "Paths that it must not change to pass its own checks."),
        "reads": described(reference("paths"), "What its result depends on, for reuse between runs."),
        "deadline": described(reference("instant"), "Until when it must have started."),
        "budget": {
            "type": "object",
            "description": "What is set aside for each attempt.",
            "additionalProperties": false,
            "properties": { "usd": reference("money"), "tokens": reference("tokens") },
        },
    });
    let mut properties = settings();
    if let Value::Object(own) = own {
        properties.extend(own);
    }
    let works: Vec<Value> = task::WORKS.iter().map(|work| json!({ "required": [work] })).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties, "oneOf": works })
}

fn agent() -> Value {
    json!({
        "type": "object",
        "required": ["use"],
        "additionalProperties": false,
        "properties": {
            "use": described(reference("static"), "The adapter: `command`, `person`, `scripted`, `claude-code`, ..."),
            "model": reference("static"),
            "provider": described(reference("static"), "Whose quota it uses up."),
            "fallback": described(reference("static"), "Who takes over when it fails for good."),
            "skills": described(reference("static_texts"), "What it can do, in the words that tasks use."),
            "memory": { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? *([MGT]|[MGT]iB)$", "description": "The memory that one attempt needs." },
            "sandbox": described(reference("static"), "The least containment: `required` or 3, 2, 1."),
            "network": described(reference("static_texts"), "What it can reach: `none`, `model-only`, `open`, or hosts beside its model."),
            "run": described(reference("static"), "For `command`: the script that gets the prompt as KAPELL_PROMPT."),
            "script": { "description": "For `scripted`: the script.", "type": ["string", "array", "object"] },
            "options": { "type": "object", "additionalProperties": reference("static") },
        },
    })
}

fn defs() -> Value {
    let no_expression = json!({ "not": { "type": "string", "pattern": r"\$\{\{" } });
    let texts =
        |name: &str| json!({ "anyOf": [reference(name), { "type": "array", "items": reference(name) }] });
    let amount = |pattern: &str| json!({ "anyOf": [{ "type": "string", "pattern": pattern }, { "type": "number", "minimum": 0 }] });
    json!({
        "scalar": { "type": ["string", "number", "boolean", "null"] },
        "text": { "type": ["string", "number", "boolean"], "pattern": r"\S" },
        "static": { "allOf": [reference("text"), no_expression] },
        "texts": texts("text"),
        "static_texts": texts("static"),
        "path": { "type": ["string", "number"], "pattern": PATH, "not": { "type": "string", "pattern": r"\$\{\{" } },
        "paths": texts("path"),
        "duration": { "type": "string", "pattern": DURATION },
        "duration_range": { "type": "string", "pattern": r"^[0-9dhms.]+( *\.\. *[0-9dhms.]+)?$" },
        "instant": { "type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?([Zz]|[+-][0-9]{2}:[0-9]{2})$" },
        "money": amount(r"^\$?[0-9]+(\.[0-9]{1,6})?$"),
        "tokens": amount(r"^[0-9]+(\.[0-9]+)?[kKMG]?$"),
        "count": { "type": "integer", "minimum": 1 },
        "budget": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "usd": reference("money"),
                "tokens": reference("tokens"),
                "agents": { "type": "integer", "minimum": 1, "maximum": 1000 },
                "jobs": { "type": "integer", "minimum": 1, "maximum": 10000 },
                "wall": reference("duration"),
            },
        },
        "protect": { "anyOf": [
            reference("paths"),
            {
                "type": "object",
                "additionalProperties": false,
                "properties": { "paths": reference("paths"), "strict": { "type": "boolean" } },
            },
        ] },
        "retry": { "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": 1000 },
            {
                "type": "object",
                "required": ["attempts"],
                "additionalProperties": false,
                "properties": {
                    "attempts": { "type": "integer", "minimum": 1, "maximum": 1000 },
                    "backoff": reference("duration_range"),
                },
            },
        ] },
        "env": {
            "type": "object",
            "propertyNames": { "pattern": VARIABLE },
            "additionalProperties": reference("scalar"),
        },
        "combinations": { "type": "array", "items": { "type": "object", "propertyNames": { "pattern": NAME } } },
        "agent": agent(),
        "task": task(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::read, *};

    fn keys(schema: &Value) -> BTreeSet<&str> {
        schema["properties"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn the_schema_knows_the_keys_of_the_reader() {
        let schema = schema();
        assert_eq!(keys(&schema), read::KEYS.iter().copied().collect());
        assert_eq!(keys(&schema["$defs"]["agent"]), read::AGENT_KEYS.iter().copied().collect());
        // Reserved, and refused for now.
        let known = task::keys().into_iter().filter(|key| *key != "team");
        assert_eq!(keys(&schema["$defs"]["task"]), known.collect());
        assert_eq!(keys(&schema["properties"]["defaults"]), task::SETTINGS.iter().copied().collect());
        let input = &schema["properties"]["inputs"]["additionalProperties"]["anyOf"][2];
        assert_eq!(keys(input), read::INPUT_KEYS.iter().copied().collect());
    }
}
