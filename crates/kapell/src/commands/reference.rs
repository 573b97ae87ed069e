//! Commands that only tell what kapell knows of itself: schema, completions.

use clap::CommandFactory;
use kapell_spec::suggest;
use schemars::schema_for;
use serde_json::{Value, json};

use super::{Context, agents, doctor, fork, gc, init, trust, verify};
use crate::{
    args::{Cli, CompletionsArgs, SchemaArgs},
    codes,
    exit::Exit,
    fault::Fault,
    output::Problem,
    reply::Deed,
};

/// Prints a JSON Schema, or lists all.
///
/// # Errors
///
/// Fails if there is none of that name.
pub fn schema(context: &Context, args: &SchemaArgs) -> Result<Exit, Fault> {
    let all = schemas();
    let Some(name) = &args.name else {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        match context.out.json {
            true => context.out.value(&names),
            false => context.out.data(&names.join("\n")),
        }
        context.out.next("kapell schema NAME");
        return Ok(Exit::Done);
    };
    let found = all.iter().find(|(known, _)| known == name).ok_or_else(|| {
        let fault = Fault::new("K0914", Exit::Usage, format!("there is no schema `{name}`"));
        match suggest::nearest(name, all.iter().map(|(known, _)| *known)) {
            Some(near) => fault.hint(format!("kapell schema {near}")),
            None => fault.hint("kapell schema"),
        }
    })?;
    context.out.value(&found.1);
    Ok(Exit::Done)
}

/// Returns every schema by its name.
fn schemas() -> Vec<(&'static str, Value)> {
    let mut all = kapell_view::schema::schemas();
    all.extend([
        ("workflow", kapell_spec::workflow::schema()),
        ("verify", schema_for!(verify::Verified).to_value()),
        ("doctor", schema_for!(doctor::Health).to_value()),
        ("agents", schema_for!(agents::AgentList).to_value()),
        ("fork", schema_for!(fork::Fork).to_value()),
        ("gc", schema_for!(gc::Collected).to_value()),
        ("init", schema_for!(init::Written).to_value()),
        ("trust", schema_for!(trust::TrustList).to_value()),
        ("deed", schema_for!(Deed).to_value()),
        ("error", schema_for!(Problem).to_value()),
        ("exit-codes", exit_codes()),
        ("error-codes", error_codes()),
    ]);
    all.sort_by_key(|(name, _)| *name);
    all
}

/// Exit codes as a schema: the numbers, each with what it means.
fn exit_codes() -> Value {
    let each: Vec<Value> = Exit::ALL
        .iter()
        .map(|exit| json!({"const": *exit as u8, "title": exit, "description": exit.meaning()}))
        .collect();
    json!({"$schema": DRAFT, "title": "Exit code of kapell", "type": "integer", "oneOf": each})
}

fn error_codes() -> Value {
    let each: Vec<Value> = codes::all()
        .map(|found| json!({"const": found.code, "title": found.title, "description": found.text}))
        .collect();
    json!({"$schema": DRAFT, "title": "Error code of kapell", "type": "string", "oneOf": each})
}

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Prints a completion script for a shell.
///
/// # Errors
///
/// Never fails.
pub fn completions(context: &Context, args: &CompletionsArgs) -> Result<Exit, Fault> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kapell", &mut script);
    context.out.data(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_is_one() {
        for (name, schema) in schemas() {
            jsonschema::draft202012::meta::validate(&schema)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
