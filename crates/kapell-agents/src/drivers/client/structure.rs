//! Outputs of a shape that a task promises: asked for, checked by kapell, and turned into what tasks give.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::protocol::outputs::Outputs;

/// How many of its faults are told.
const FAULTS_MAX: usize = 5;

/// The outputs that a task promises, as a schema of one object.
#[derive(Debug, Clone)]
pub struct Shape {
    schema: Value,
}

impl Shape {
    /// Reads a schema: an object with a property for each output.
    ///
    /// # Errors
    ///
    /// Says in words why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let schema: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        if !schema["properties"].is_object() {
            return Err("it describes no object with properties".to_owned());
        }
        jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
        Ok(Self { schema })
    }

    /// Returns the schema as text.
    #[must_use]
    pub fn text(&self) -> String {
        self.schema.to_string()
    }

    fn properties(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.schema["properties"].as_object().into_iter().flatten()
    }

    /// Tells a client without a mechanism of its own what is asked of it.
    #[must_use]
    pub fn in_words(&self) -> String {
        format!(
            "When you are done, end your last message with one block that begins with ```json and holds one JSON object \
             that fits this schema, and nothing after it:\n{}",
            self.schema
        )
    }

    /// Puts together what an attempt gave: what it wrote as outputs itself, and what its client gave as structured
    /// output or, failing that, at the end of its last words.
    ///
    /// # Errors
    ///
    /// Says in words what is wrong with it.
    pub fn check(&self, written: &Outputs, structured: Option<&str>, text: &str) -> Result<Outputs, String> {
        let given = structured.and_then(|text| serde_json::from_str(text).ok()).or_else(|| last_object(text));
        let given = given.as_ref().and_then(Value::as_object);
        let mut object = given.cloned().unwrap_or_default();
        for (name, property) in self.properties() {
            // What it took the trouble to set by itself counts.
            if let Some(value) = written.get(name) {
                object.insert(name.clone(), typed(value, property));
            }
        }
        let whole = Value::Object(object);
        let validator = jsonschema::validator_for(&self.schema).map_err(|error| error.to_string())?;
        let faults: Vec<String> =
            validator.iter_errors(&whole).take(FAULTS_MAX).map(|fault| told(&fault)).collect();
        match faults.is_empty() {
            true => Ok(self.outputs(written, whole.as_object())),
            false if given.is_none() && written.is_empty() => {
                Err("it gave none of the outputs that it should".to_owned())
            }
            false => Err(faults.join("; ")),
        }
    }

    fn outputs(&self, written: &Outputs, object: Option<&Map<String, Value>>) -> Outputs {
        let mut outputs = written.clone();
        for (name, _) in self.properties() {
            if let Some(value) = object.and_then(|object| object.get(name)) {
                outputs.entry(name.clone()).or_insert_with(|| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
            }
        }
        outputs
    }

    /// Says what is asked for once more, and what was wrong.
    #[must_use]
    pub fn again(&self, wrong: &str) -> String {
        let mut text = format!("What you gave as the result does not fit what was asked for: {wrong}.\n");
        let _ = write!(text, "Do not do the work again. Only give the result. {}", self.in_words());
        text
    }
}

fn told(fault: &jsonschema::ValidationError<'_>) -> String {
    let place = fault.instance_path().to_string();
    if place.is_empty() { fault.to_string() } else { format!("{place}: {fault}") }
}

/// Reads a text as what its schema says it is: a number that was written down is a number again.
fn typed(text: &str, property: &Value) -> Value {
    let plain = || json!(text);
    match property["type"].as_str() {
        Some("string") | None => plain(),
        Some(_) => serde_json::from_str(text).unwrap_or_else(|_| plain()),
    }
}

/// Returns the JSON object at the end of a text: all of it, in a fence, or behind other words.
fn last_object(text: &str) -> Option<Value> {
    let text = text.trim().trim_end_matches("```").trim_end();
    if !text.ends_with('}') {
        return None;
    }
    let object = |at: usize| serde_json::from_str::<Value>(&text[at..]).ok().filter(Value::is_object);
    // The outermost one that reaches to the end is the first that can be read.
    text.match_indices('{').take(OPENINGS_MAX).find_map(|(at, _)| object(at))
}

/// How many braces are tried as the beginning of an object.
const OPENINGS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        let text = r#"{"type":"object","properties":{"version":{"type":"string"},"count":{"type":"integer","minimum":1}},
            "required":["version","count"],"additionalProperties":false}"#;
        Shape::parse(text).unwrap()
    }

    #[test]
    fn outputs_are_taken_from_wherever_they_were_given() {
        let none = Outputs::new();
        let expected =
            Outputs::from([("count", "2"), ("version", "1.0")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        let object = r#"{"version":"1.0","count":2}"#;
        for (structured, text) in [
            (Some(object), "done"),
            (None, object),
            (None, "It is {done}:\n```json\n{\"version\":\"1.0\",\n\"count\":2}\n```\n"),
        ] {
            assert_eq!(shape().check(&none, structured, text), Ok(expected.clone()), "{text}");
        }
        assert_eq!(shape().check(&expected, None, "done"), Ok(expected.clone()));
        let more = Outputs::from([("log".to_owned(), "x".to_owned())]);
        let given = shape().check(&more, Some(object), "").unwrap();
        assert_eq!((given.len(), given["log"].as_str()), (3, "x"));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let none = Outputs::new();
        for (structured, text, why) in [
            (None, "all done", "none of the outputs"),
            (None, "{\"version\": \"1\"", "none of the outputs"),
            (Some(r#"{"version":"1.0"}"#), "", "\"count\" is a required property"),
            (Some(r#"{"version":"1.0","count":0}"#), "", "/count"),
            (Some(r#"{"version":1,"count":1,"x":2}"#), "", "/version"),
        ] {
            let said = shape().check(&none, structured, text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
        assert!(Shape::parse("{").is_err() && Shape::parse(r#"{"type":"object"}"#).is_err());
    }
}
