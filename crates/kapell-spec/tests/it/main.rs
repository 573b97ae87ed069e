//! Tests of the crate from outside: files in, text out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod files;
mod mutate;
mod scale;
mod schema;
mod shell;

use std::path::{Path, PathBuf};

use kapell_spec::{
    finding::{self, Finding, Source},
    workflow::{self, Compiled, Options, Workflow},
};

/// Returns the fixtures of a directory, in order.
fn fixtures(dir: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(dir);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

/// What nested workflows there are.
fn load(path: &str) -> Result<Vec<u8>, String> {
    // Each contains the next.
    if let Some(level) = path.strip_prefix("deep-").and_then(|rest| rest.strip_suffix(".yaml")) {
        let next = level.parse::<u32>().map_err(|_| "there is no such file")? + 1;
        return Ok(format!("mission: Go deeper\ntasks:\n  a: {{ workflow: deep-{next}.yaml }}\n").into());
    }
    Ok(match path {
        "child.yaml" => "mission: Be nested\naccept: [make test]\nsaga: true\ntasks:\n  a: { run: make }\n  b: { needs: a, noop: }\n",
        "broken.yaml" => "mission: Be broken\ntasks:\n  a: { run: make, needs: [b] }\n",
        "itself.yaml" => "mission: Contain myself\ntasks:\n  a: { workflow: itself.yaml }\n",
        "inputs.yaml" => "mission: Take inputs\ninputs: { x: }\ntasks:\n  a: { run: make }\n",
        _ => return Err("there is no such file".to_owned()),
    }
    .into())
}

fn options() -> Options<'static> {
    Options { load: &load, ..Options::default() }
}

/// Reads and compiles, with all findings.
fn compile(name: &str, bytes: &[u8]) -> (Source, Option<Workflow>, Option<Compiled>, Vec<Finding>) {
    let (source, workflow, mut findings) = workflow::read_bytes(name, bytes);
    let mut compiled = None;
    if let Some(workflow) = &workflow {
        let (plan, more) = workflow::compile(workflow, &options());
        compiled = plan;
        findings.extend(more);
    }
    (source, workflow, compiled, findings)
}

fn rendered(findings: &[Finding], source: &Source) -> String {
    finding::render_all(findings, source, false, 100)
}
