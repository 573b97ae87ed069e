//! Tools and documents, and the port of whoever answers for them.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What a call of a tool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It only looks.
    Reads,
    /// It changes something, and not the same way when it is called again.
    Acts,
}

/// A tool that can be called.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its name, unique in its toolbox.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What it does, for the model that decides whether to call it.
    pub about: &'static str,
    /// The JSON Schema (draft 2020-12) of its arguments.
    pub input: Map<String, Value>,
    /// What a call does.
    pub effect: Effect,
}

impl Tool {
    /// Makes a tool whose arguments are a `T`.
    #[must_use]
    pub fn new<T: JsonSchema>(
        name: &'static str,
        title: &'static str,
        effect: Effect,
        about: &'static str,
    ) -> Self {
        let mut input = match schemars::schema_for!(T).to_value() {
            Value::Object(schema) => schema,
            _ => Map::new(),
        };
        // Every client pays for these words in tokens; the draft is the protocol's own.
        for word in ["$schema", "title", "description"] {
            input.remove(word);
        }
        input.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        Self { name, title, about, input, effect }
    }
}

/// Something that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its address.
    pub uri: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// Its media type.
    pub mime: Cow<'static, str>,
}

/// A family of documents, by an RFC 6570 template of their addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// The template.
    pub template: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What the documents are.
    pub about: &'static str,
    /// Their media type.
    pub mime: &'static str,
}

/// What a tool answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply {
    /// For the model.
    pub text: String,
    /// For programs.
    pub value: Option<Value>,
    /// Documents that tell more.
    pub links: Vec<Document>,
}

/// Why a tool did not do what was asked: for the model, which may ask again in another way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is no such document.
    #[error("there is no document `{0}`")]
    Unknown(String),
    /// It is there, and cannot be read.
    #[error("{0}")]
    Failed(String),
}

/// Whoever waits for a call.
pub trait Caller {
    /// Says how far the call is: `done` of `total`, and what goes on.
    fn progress(&self, done: f64, total: Option<f64>, message: &str);

    /// Tells whether nobody waits any longer.
    fn is_gone(&self) -> bool;
}

/// What a server offers. Calls block; each gets a thread.
pub trait Toolbox: Send + Sync + 'static {
    /// The server's name.
    fn name(&self) -> &'static str;

    /// What a model should know of all tools together.
    fn instructions(&self) -> &'static str;

    /// The tools, in the order in which they are listed.
    fn tools(&self) -> Vec<Tool>;

    /// Calls a tool; `None` if there is none of this name.
    fn call(
        &self,
        name: &str,
        arguments: Map<String, Value>,
        caller: &dyn Caller,
    ) -> Option<Result<Reply, Refusal>>;

    /// The documents.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be listed.
    fn documents(&self) -> Result<Vec<Document>, ReadError> {
        Ok(Vec::new())
    }

    /// The families of documents.
    fn families(&self) -> Vec<Family> {
        Vec::new()
    }

    /// Reads a document.
    ///
    /// # Errors
    ///
    /// Fails as [`ReadError`] lists.
    fn read(&self, uri: &str) -> Result<(String, Cow<'static, str>), ReadError> {
        Err(ReadError::Unknown(uri.to_owned()))
    }
}

/// Reads the arguments of a tool.
///
/// # Errors
///
/// Fails if they are not a `T`, saying which of them is not as it should be.
pub fn arguments<T: DeserializeOwned>(given: Map<String, Value>) -> Result<T, Refusal> {
    serde_json::from_value(Value::Object(given))
        .map_err(|error| Refusal(format!("the arguments are not as they should be: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Some {
        /// A number.
        number: u32,
    }

    #[test]
    fn a_tool_knows_the_schema_of_its_arguments() {
        let tool = Tool::new::<Some>("x", "X", Effect::Reads, "it is x");
        let schema = Value::Object(tool.input);
        jsonschema::draft202012::meta::validate(&schema).unwrap();
        assert_eq!(schema["required"], serde_json::json!(["number"]));
        assert!(schema.get("$schema").is_none() && schema.get("title").is_none());
    }

    #[test]
    fn a_tool_without_arguments_has_the_schema_of_an_object() {
        #[derive(JsonSchema)]
        struct Nothing {}
        let tool = Tool::new::<Nothing>("x", "X", Effect::Acts, "it is x");
        assert_eq!(Value::Object(tool.input), serde_json::json!({"type": "object", "properties": {}}));
    }

    #[test]
    fn arguments_are_read_or_refused() {
        let given = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap();
        assert_eq!(arguments::<Some>(given(r#"{"number": 3}"#)), Ok(Some { number: 3 }));
        for (text, expected) in [
            (r#"{"number": "three"}"#, "invalid type: string \"three\", expected u32"),
            (r"{}", "missing field `number`"),
            (r#"{"number": 3, "more": 1}"#, "unknown field `more`"),
        ] {
            let refusal = arguments::<Some>(given(text)).unwrap_err();
            assert!(refusal.0.contains(expected), "{refusal}");
        }
    }
}
