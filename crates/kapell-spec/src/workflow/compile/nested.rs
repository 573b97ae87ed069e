//! Workflows within a workflow.

use std::{collections::HashMap, sync::Arc};

use kapell_core::{
    id::Digest,
    plan::{ChildSpec, Work as CoreWork},
};

use super::{
    super::{Budget, Outside, Spanned, Workflow},
    Compiler, Options, compile_file,
};
use crate::{codes, finding::Finding, yaml};

/// Why a nested workflow cannot be used, and the code for it.
type Refusal = (&'static str, String);

/// The files that workflows contain.
pub(super) struct Files<'a> {
    load: &'a dyn Fn(&str) -> Result<Vec<u8>, String>,
    outside: &'a [Outside],
    /// Those that are being compiled, outermost first.
    open: Vec<String>,
    known: HashMap<String, Result<ChildSpec, Refusal>>,
    pub(super) digests: Vec<Digest>,
}

impl<'a> Files<'a> {
    pub(super) fn new(options: &Options<'a>) -> Self {
        let (load, outside) = (options.load, options.outside);
        Self { load, outside, open: Vec::new(), known: HashMap::new(), digests: Vec::new() }
    }
}

impl Compiler<'_, '_> {
    /// Compiles a nested workflow.
    pub(super) fn child(&mut self, path: &Spanned<String>) -> CoreWork {
        let loaded = match self.files.known.get(&path.value) {
            Some(known) => known.clone(),
            None => {
                let loaded = self.load(&path.value);
                self.files.known.insert(path.value.clone(), loaded.clone());
                loaded
            }
        };
        match loaded {
            Ok(child) => CoreWork::Workflow(Box::new(child)),
            Err((code, why)) => {
                let message = format!("workflow `{}`{CANNOT}{why}", path.value.escape_debug());
                let hint = format!("look at it by itself: `kapell plan {}`", path.value.escape_debug());
                self.findings.push(Finding::error(code, path.span, message).hint(hint));
                CoreWork::Noop
            }
        }
    }

    fn load(&mut self, path: &str) -> Result<ChildSpec, Refusal> {
        let refused = |why: String| (codes::CHILD, why);
        if self.files.open.iter().any(|open| open == path) {
            return Err(refused(format!("it contains itself: {} -> {path}", self.files.open.join(" -> "))));
        }
        // The outermost file is a level too.
        if self.files.open.len() + 1 >= self.limits.depth as usize {
            return Err((
                codes::CHILD_DEPTH,
                format!("workflows are nested more than {} deep", self.limits.depth),
            ));
        }
        let bytes = (self.files.load)(path).map_err(refused)?;
        self.files.digests.push(Digest::of(&bytes));
        let (source, mut findings) = yaml::decode(path, &bytes);
        let mut compiled = None;
        if findings.is_empty() {
            let (workflow, read) = super::super::read_with(&source, self.files.outside);
            findings = read;
            if let Some(workflow) = workflow.filter(|workflow| workflow.valid) {
                unsupported(&workflow).map_err(refused)?;
                let (load, outside, limits) = (self.files.load, self.files.outside, self.limits);
                let options = Options { load, outside, limits, ..Options::default() };
                self.files.open.push(path.to_owned());
                compiled = compile_file(&workflow, &options, self.files, &mut findings);
                self.files.open.pop();
            }
        }
        if let Some(finding) = findings.iter().find(|finding| finding.is_error()) {
            let (line, column) = source.position(finding.span.start);
            let code = if finding.code == codes::CHILD_DEPTH { finding.code } else { codes::CHILD };
            let place = format!("{path}:{line}:{column}");
            // Of one that is nested deeper only why it cannot be used is new, and where that is.
            let deeper = [codes::CHILD, codes::CHILD_DEPTH].contains(&finding.code);
            return Err((
                code,
                match finding.message.split_once(CANNOT).filter(|_| deeper) {
                    Some((_, why)) => format!("{place}: {why}"),
                    None => format!("{place}: {} ({})", finding.message, finding.code),
                },
            ));
        }
        let compiled = compiled.ok_or_else(|| refused("it is empty".to_owned()))?;
        let (objective, accept, saga) = (compiled.objective, compiled.accept, compiled.saga);
        Ok(ChildSpec { objective, plan: Arc::new(compiled.plan), accept, saga })
    }
}

/// What stands between the name of a workflow and why it is refused.
const CANNOT: &str = " cannot be used: ";

/// Says which keys of a nested workflow would be passed over.
fn unsupported(workflow: &Workflow) -> Result<(), String> {
    let given = [
        ("inputs", !workflow.inputs.is_empty()),
        ("budget", workflow.budget != Budget::default()),
        ("deadline", workflow.deadline.is_some()),
        ("target", workflow.target.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((key, _)) => Err(format!("its `{key}` has no effect within another workflow")),
        None => Ok(()),
    }
}
