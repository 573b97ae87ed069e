//! A result against its schema: as much of JSON Schema as describes plain data.
//!
//! Providers keep to a schema themselves where they can; this is for those that do not. A keyword that is not known here
//! (`pattern`, `minimum`, ...) is not checked.

use std::ffi::OsString;

use serde_json::Value;

use super::dialect::list;
use crate::protocol::client;

/// Reads a result out of a reply: the whole of it, or what stands in its only fence.
pub(super) fn read(text: &str, schema: &Value) -> Result<Value, String> {
    let text = text.trim();
    let inner = text
        .strip_prefix("```json")
        .or_else(|| text.strip_prefix("```"))
        .and_then(|rest| rest.strip_suffix("```"))
        .unwrap_or(text);
    let value = serde_json::from_str(inner).map_err(|error| format!("it is no JSON: {error}"))?;
    against(&value, schema, "the result")?;
    Ok(value)
}

fn against(value: &Value, schema: &Value, place: &str) -> Result<(), String> {
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        kinds => list(kinds).iter().filter_map(Value::as_str).collect(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| is(value, kind)) {
        return Err(format!("{place} is not of type {}", kinds.join(" or ")));
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        return Err(format!("{place} is none of {}", Value::Array(allowed.clone())));
    }
    if let Some(fields) = value.as_object() {
        for name in list(&schema["required"]).iter().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                return Err(format!("{place} has no `{name}`"));
            }
        }
        for (name, field) in fields {
            match schema["properties"].get(name) {
                Some(known) => against(field, known, &format!("`{name}`"))?,
                None if schema["additionalProperties"] == false => {
                    return Err(format!("{place} has `{name}`, which is not asked for"));
                }
                None => {}
            }
        }
    }
    for item in list(value) {
        against(item, &schema["items"], &format!("an item of {place}"))?;
    }
    Ok(())
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        _ => true,
    }
}

/// Gives each field of a result as an output of the task: texts as they are, the rest as JSON.
pub(in crate::drivers) fn hand_over(
    result: &Value,
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<(), String> {
    let whole = [("result".to_owned(), result.clone())];
    let fields = result.as_object().map(|fields| fields.clone().into_iter().collect::<Vec<_>>());
    for (name, value) in fields.unwrap_or_else(|| whole.to_vec()) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let words = ["output".into(), format!("{name}={text}").into()];
        client::run(&words, env).map_err(|error| format!("output `{name}`: {error}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_is_checked_against_what_was_asked_for() {
        let schema = json!({
            "type": "object", "required": ["name", "count"], "additionalProperties": false,
            "properties": {
                "name": { "type": "string" }, "count": { "type": "integer" },
                "kind": { "enum": ["a", "b"] },
                "tags": { "type": ["array", "null"], "items": { "type": "string" } },
            },
        });
        for (text, expected) in [
            (r#"{"name":"x","count":1}"#, "ok"),
            ("```json\n{\"name\":\"x\",\"count\":1.0,\"tags\":[\"t\"]}\n```", "ok"),
            (r#"{"name":"x","count":1,"tags":null}"#, "ok"),
            (r#"{"name":"x"}"#, "the result has no `count`"),
            (r#"{"name":1,"count":1}"#, "`name` is not of type string"),
            (r#"{"name":"x","count":1.5}"#, "`count` is not of type integer"),
            (r#"{"name":"x","count":1,"kind":"c"}"#, r#"`kind` is none of ["a","b"]"#),
            (r#"{"name":"x","count":1,"tags":[1]}"#, "an item of `tags` is not of type string"),
            (r#"{"name":"x","count":1,"more":1}"#, "the result has `more`, which is not asked for"),
            ("[1]", "the result is not of type object"),
        ] {
            let found = read(text, &schema).map_or_else(|why| why, |_| "ok".to_owned());
            assert_eq!(found, expected, "{text}");
        }
        assert!(read("Here it is: {}", &schema).unwrap_err().starts_with("it is no JSON"));
    }
}
