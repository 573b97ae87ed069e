//! The JSON Schema against the reader, over all fixtures.

use kapell_spec::{
    codes,
    finding::Source,
    workflow,
    yaml::{self, Kind, Node},
};
use serde_json::{Map, Value};

use crate::{compile, fixtures, stem};

/// Turns YAML into JSON as an editor with a schema would.
fn json(node: &Node) -> Value {
    match &node.kind {
        Kind::Scalar(scalar) if scalar.is_null() => Value::Null,
        Kind::Scalar(scalar) => {
            let int = scalar.as_int().map(Value::from);
            let float = scalar.as_float().and_then(serde_json::Number::from_f64).map(Value::Number);
            let bool = scalar.as_bool().map(Value::from);
            bool.or(int).or(float).unwrap_or_else(|| Value::from(&*scalar.text))
        }
        Kind::Sequence(items) => items.iter().map(json).collect(),
        Kind::Mapping(entries) => {
            let pairs =
                entries.iter().map(|entry| (entry.key.text().unwrap_or("").to_owned(), json(&entry.value)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
    }
}

/// Findings about what a schema can see.
const STRUCTURE: &[&str] = &[
    codes::UNKNOWN_KEY,
    codes::WRONG_TYPE,
    codes::MISSING_KEY,
    codes::NAME,
    codes::DURATION,
    codes::NUMBER,
    codes::MONEY,
    codes::TOKENS,
    codes::PATH,
    codes::CHOICE,
    codes::NO_WORK,
    codes::TWO_WORKS,
    codes::VARIABLE,
    codes::DATE,
    codes::NO_EXPRESSIONS,
    codes::NOT_YET,
];

#[test]
fn the_schema_is_one_and_takes_every_valid_file() {
    let schema = workflow::schema();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::validator_for(&schema).unwrap();
    for path in fixtures("valid") {
        let text = std::fs::read_to_string(&path).unwrap();
        let tree = yaml::read(&Source::new("x", &text)).0.unwrap();
        let value = json(&tree.root);
        let errors: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| format!("{error} at {}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", stem(&path));
    }
}

#[test]
fn the_schema_refuses_what_is_wrong_in_structure() {
    let validator = jsonschema::validator_for(&workflow::schema()).unwrap();
    // Wrong in structure only as far as a schema cannot say it.
    let beyond = [
        "agents-silent",     // whether an agent is given a prompt
        "claims-bad",        // a claim may hold expressions, so the schema takes any text
        "matrix-expression", // values of a matrix may be anything else
        "top-accept-expression",
        "top-target", // names of branches
        "top-target-dots",
        "top-budget-nan", // JSON has no such numbers
        "timeout-zero",
        "timeout-huge",
        "need-mapping",
        "matrix-name",
        "yaml-bidi",
    ];
    let (mut refused, mut taken) = (0, Vec::new());
    for path in fixtures("bad") {
        let name = stem(&path);
        let (source, workflow, _, findings) = compile("x", &std::fs::read(&path).unwrap());
        let (Some(workflow), Some(tree)) = (workflow, yaml::read(&source).0) else { continue };
        if !tree.complete {
            continue;
        }
        let value = json(&tree.root);
        let ok = validator.is_valid(&value);
        if findings.iter().any(|finding| STRUCTURE.contains(&finding.code)) {
            refused += usize::from(!ok);
            if ok && !beyond.contains(&name.as_str()) {
                taken.push(name);
            }
        } else if workflow.valid {
            assert!(ok, "{name}: the reader takes it, the schema does not");
        }
    }
    assert!(taken.is_empty(), "the schema takes {taken:?}");
    assert!(refused >= 60, "{refused}");
}
