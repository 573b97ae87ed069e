//! What expressions may read where they stand, and whether scripts can hold them.

use std::collections::{HashMap, HashSet};

use kapell_core::expr::{
    Context, EvalErrorKind, Expr, Fuel, Function, Literal, Node, NodeKind, Reference, Span as Part, Status,
    Value, evaluate,
};

use super::{Condition, Spanned, Task, Text, Work, Workflow};
use crate::{
    codes,
    finding::{Finding, Span, is_full, report},
    shell, suggest,
};

/// The names that expressions can read.
const NAMES: &[&str] = &["tasks", "needs", "matrix", "env", "inputs", "run", "task"];

/// Names of GitHub's workflows, and what stands for them here.
const OTHER_NAMES: [(&str, &str); 9] = [
    ("steps", "outputs of tasks are `tasks.NAME.outputs.KEY`"),
    ("jobs", "outputs of tasks are `tasks.NAME.outputs.KEY`"),
    ("job", "the outcome of a task is `tasks.NAME.result`"),
    ("github", "there is no such context; what the caller gives is under `inputs`"),
    ("secrets", "secrets come in the environment of the commands, not by expressions"),
    ("vars", "declare the value under `inputs` or `env`"),
    ("runner", "there is no such context"),
    ("strategy", "the values of the cell are under `matrix`"),
    ("outputs", "outputs of tasks are `tasks.NAME.outputs.KEY`"),
];

/// Where an expression stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    task: Option<&'a Task>,
    /// Whether `env` can be read.
    env: bool,
    /// Whether status functions can be called.
    status: bool,
}

struct Checker<'a> {
    workflow: &'a Workflow,
    findings: &'a mut Vec<Finding>,
    /// Tasks, inputs and common variables by their names in lower case.
    tasks: HashMap<String, &'a Task>,
    inputs: HashSet<String>,
    env: HashSet<String>,
    /// Tasks of which something is read, by their names in lower case.
    read: HashSet<String>,
}

/// The work that an expression may do while it is checked.
const FUEL: u64 = 100_000;

/// How many names are looked through for one that was meant.
const CANDIDATES: usize = 2000;

pub(super) fn check(workflow: &Workflow, findings: &mut Vec<Finding>) {
    let lower = |name: &Spanned<String>| name.value.to_ascii_lowercase();
    let mut checker = Checker {
        workflow,
        findings,
        tasks: workflow.tasks.iter().map(|task| (lower(&task.name), task)).collect(),
        inputs: workflow.inputs.iter().map(|input| lower(&input.name)).collect(),
        env: workflow.env.iter().map(|(name, _)| lower(name)).collect(),
        read: HashSet::new(),
    };
    let nowhere = Place { task: None, env: false, status: false };
    for (_, text) in &workflow.env {
        checker.text(text, nowhere);
    }
    for text in &workflow.accept {
        if let Some(placeholder) = text.template.placeholders().first() {
            let span = text.locate(&workflow.source, placeholder.span.range());
            let message = "checks of the whole mission cannot hold expressions";
            let hint = "they run on trees that no task made; put the check into the `accept` of a task";
            report(checker.findings, Finding::error(codes::NO_EXPRESSIONS, span, message).hint(hint));
        }
    }
    for task in &workflow.tasks {
        checker.task(task);
    }
    checker.answers();
}

impl Checker<'_> {
    /// Reports gates with answers that make no difference to the tasks that need them.
    fn answers(&mut self) {
        let needed: HashSet<String> = self
            .workflow
            .tasks
            .iter()
            .flat_map(|task| &task.needs)
            .map(|need| need.value.to_ascii_lowercase())
            .collect();
        for task in &self.workflow.tasks {
            let Some(Work::Gate(_, choices)) = &task.work else { continue };
            let choices: Vec<&str> = choices.iter().map(String::as_str).collect();
            let name = task.name.value.to_ascii_lowercase();
            let differs = !matches!(choices.as_slice(), [] | [_] | ["yes", "no"] | ["no", "yes"]);
            if !differs || !needed.contains(&name) || self.read.contains(&name) {
                continue;
            }
            let name = &task.name.value;
            let message = format!("whatever `{name}` is answered, what needs it goes on");
            let hint = format!("give what needs it `if: tasks.{name}.outputs.answer == '{}'`", choices[0]);
            report(self.findings, Finding::warning(codes::ANSWER_UNREAD, task.name.span, message).hint(hint));
        }
    }

    fn task(&mut self, task: &Task) {
        let place = Place { task: Some(task), env: true, status: false };
        for (_, text) in &task.env {
            self.text(text, Place { env: false, ..place });
        }
        let outputs = task.outputs.iter().filter_map(|(_, text)| text.as_ref());
        let scripts = task.accept.iter().chain(&task.compensate);
        match &task.work {
            Some(Work::Run(text)) => {
                self.text(text, place);
                self.script(text);
            }
            Some(Work::Prompt(text) | Work::Gate(text, _)) => self.text(text, place),
            _ => {}
        }
        let arguments = task.with.iter().filter_map(super::Piece::text);
        for text in outputs.chain(&task.claims).chain(arguments) {
            self.text(text, place);
        }
        for text in scripts {
            self.text(text, place);
            self.script(text);
        }
        if let Some(condition) = &task.condition {
            self.condition(condition, Place { status: true, ..place });
        }
    }

    fn text(&mut self, text: &Text, place: Place<'_>) {
        let source = self.workflow.source.clone();
        for placeholder in text.template.placeholders() {
            if is_full(self.findings) {
                return;
            }
            let at = placeholder.at as usize;
            let locate = |part: Part| text.locate(&source, part.start as usize + at..part.end as usize + at);
            self.expr(&placeholder.expr, &locate, place);
        }
    }

    /// Reports expressions that a script cannot hold.
    fn script(&mut self, text: &Text) {
        let Err(problems) = shell::compile(&text.template, |_| "KAPELL_EXPR".to_owned()) else { return };
        for problem in problems {
            if is_full(self.findings) {
                return;
            }
            let placeholder = &text.template.placeholders()[problem.placeholder];
            let span = text.locate(&self.workflow.source, placeholder.span.range());
            let message = format!("this expression cannot be passed safely: {}", problem.why);
            report(self.findings, Finding::error(codes::UNQUOTABLE, span, message).hint(problem.why.hint()));
        }
    }

    fn condition(&mut self, condition: &Condition, place: Place<'_>) {
        let source = self.workflow.source.clone();
        let at = condition.at;
        let locate = |part: Part| {
            condition.node.locate(&source.text, part.start as usize + at..part.end as usize + at)
        };
        self.expr(&condition.expr, &locate, place);
        let root = condition.expr.root();
        if matches!(root.kind, NodeKind::Literal(Literal::Bool(_))) || condition.expr.asks_status() {
            return;
        }
        let value = evaluate(root, &Blank, &mut Fuel(FUEL));
        if let Some(holds) = value.ok().and_then(|value| value.truth()) {
            let message =
                if holds { "this condition is always true" } else { "this condition is never true" };
            let hint = "write `true` or `false` if that is meant";
            report(self.findings, Finding::warning(codes::CONSTANT, locate(root.span), message).hint(hint));
        }
    }

    fn expr(&mut self, expr: &Expr, locate: &dyn Fn(Part) -> Span, place: Place<'_>) {
        let before = self.findings.len();
        expr.root().walk(&mut |node| self.call(node, locate, place));
        for reference in expr.root().references() {
            self.reference(&reference, locate, place);
        }
        if self.findings.len() > before {
            return;
        }
        if let Err(error) = evaluate(expr.root(), &Blank, &mut Fuel(FUEL))
            && !matches!(error.kind, EvalErrorKind::UnknownName(_) | EvalErrorKind::OutOfFuel)
        {
            let message = format!("this expression always fails: {}", error.kind);
            report(self.findings, Finding::error(codes::EVALUATION, locate(error.span), message));
        }
    }

    fn call(&mut self, node: &Node, locate: &dyn Fn(Part) -> Span, place: Place<'_>) {
        let NodeKind::Call { function, .. } = &node.kind else { return };
        if function.status().is_some() && !place.status {
            let message = format!("`{}()` can only be asked in `if`", function.name());
            let hint = "the outcome of one task is `tasks.NAME.result`";
            report(self.findings, Finding::error(codes::NOT_HERE, locate(node.span), message).hint(hint));
        }
        if *function == Function::HashFiles {
            let message = "`hashFiles` is not available here";
            let hint = "compute the hash in a task and read its output";
            report(self.findings, Finding::error(codes::NOT_HERE, locate(node.span), message).hint(hint));
        }
    }

    fn reference(&mut self, reference: &Reference<'_>, locate: &dyn Fn(Part) -> Span, place: Place<'_>) {
        let Some(((name, part), keys)) = reference.path.split_first() else { return };
        // A step begins with its dot, which is not what is wrong.
        let text = self.workflow.source.text.clone();
        let locate = &|part: Part| {
            let span = locate(part);
            let dotted = text.as_bytes().get(span.start as usize) == Some(&b'.') && span.start + 1 < span.end;
            Span { start: span.start + u32::from(dotted), ..span }
        };
        let key = keys.first().copied();
        if let ("tasks" | "needs", Some((task, _))) = (*name, key) {
            self.read.insert(task.to_ascii_lowercase());
        }
        match (*name, place.task) {
            ("tasks" | "needs", Some(task)) => self.needed(task, keys, locate),
            ("matrix", Some(task)) => self.axis(task, *part, key, locate),
            ("tasks" | "needs" | "matrix" | "task", None) => {
                let message = format!("`{name}` has no value here");
                let hint = "these variables are for all tasks; put it into the `env` of a task";
                report(self.findings, Finding::error(codes::NOT_HERE, locate(*part), message).hint(hint));
            }
            ("env", _) if !place.env => {
                let hint = "a variable cannot be made from others; use what they are made from";
                let finding = Finding::error(codes::NOT_HERE, locate(*part), "`env` has no value here");
                report(self.findings, finding.hint(hint));
            }
            ("env", task) => self.variable(task, *part, key, locate),
            ("inputs", _) => {
                if key.is_some_and(|(key, _)| !self.inputs.contains(&key.to_ascii_lowercase())) {
                    let inputs = self.workflow.inputs.iter().take(CANDIDATES);
                    let names: Vec<&str> = inputs.map(|input| input.name.value.as_str()).collect();
                    self.property(key, locate, "input", &names, "declare it under `inputs`");
                }
            }
            ("run", _) => self.property(key, locate, "property of the run", &["id", "objective"], ""),
            ("task", _) => self.property(key, locate, "property of the task", &["name"], ""),
            (name, _) => {
                let finding =
                    Finding::error(codes::UNKNOWN_NAME, locate(*part), format!("unknown name `{name}`"));
                let other =
                    OTHER_NAMES.iter().find(|(other, _)| *other == name).map(|(_, hint)| (*hint).to_owned());
                let hint = other.or_else(|| suggest::hint(name, NAMES));
                report(
                    self.findings,
                    match hint {
                        Some(hint) => finding.hint(hint),
                        None => finding,
                    },
                );
            }
        }
    }

    /// Checks that a key is one of those that there are, without regard to case.
    fn property(
        &mut self,
        key: Option<(&str, Part)>,
        locate: &dyn Fn(Part) -> Span,
        what: &str,
        known: &[&str],
        otherwise: &str,
    ) {
        let Some((key, part)) = key else { return };
        if known.iter().any(|name| name.eq_ignore_ascii_case(key)) || is_full(self.findings) {
            return;
        }
        let finding =
            Finding::error(codes::UNKNOWN_PROPERTY, locate(part), format!("unknown {what} `{key}`"));
        report(
            self.findings,
            match suggest::nearest(key, known.iter().copied()) {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None if otherwise.is_empty() => finding.hint(suggest::hint(key, known).unwrap_or_default()),
                None => finding.hint(otherwise),
            },
        );
    }

    fn variable(
        &mut self,
        task: Option<&Task>,
        part: Part,
        key: Option<(&str, Part)>,
        locate: &dyn Fn(Part) -> Span,
    ) {
        let Some((name, _)) = key else {
            let finding = Finding::error(codes::NOT_HERE, locate(part), "`env` can only be read by name");
            report(self.findings, finding.hint("write `env.NAME`"));
            return;
        };
        if self.env.contains(&name.to_ascii_lowercase()) {
            return;
        }
        let own = task.iter().flat_map(|task| &task.env);
        let names: Vec<&str> = own.chain(&self.workflow.env).map(|(name, _)| name.value.as_str()).collect();
        self.property(key, locate, "variable", &names, "declare it under `env`");
    }

    fn axis(&mut self, task: &Task, part: Part, key: Option<(&str, Part)>, locate: &dyn Fn(Part) -> Span) {
        let Some(matrix) = &task.matrix else {
            // One that could not be read has its finding.
            if !task.keys.iter().any(|key| key.value == "matrix") {
                let message = format!("task `{}` has no matrix", task.name.value);
                report(self.findings, Finding::error(codes::NOT_HERE, locate(part), message));
            }
            return;
        };
        let axes = matrix.axes.iter().map(|(name, _)| name.value.as_str());
        let included =
            matrix.include.iter().flat_map(|entry| entry.value.iter().map(|(name, _)| name.as_str()));
        let known: Vec<&str> = axes.chain(included).collect();
        self.property(key, locate, "axis", &known, "add it to the `matrix`");
    }

    /// Checks `tasks.NAME.outputs.KEY`.
    fn needed(&mut self, task: &Task, keys: &[(&str, Part)], locate: &dyn Fn(Part) -> Span) {
        let Some((name, part)) = keys.first() else { return };
        if is_full(self.findings) {
            return;
        }
        let Some(found) = self.tasks.get(&name.to_ascii_lowercase()).copied() else {
            let tasks = self.workflow.tasks.iter().take(CANDIDATES);
            let names: Vec<&str> = tasks.map(|task| task.name.value.as_str()).collect();
            let finding =
                Finding::error(codes::UNKNOWN_TASK, locate(*part), format!("there is no task `{name}`"));
            report(
                self.findings,
                match suggest::hint(name, &names) {
                    Some(hint) => finding.hint(hint),
                    None => finding,
                },
            );
            return;
        };
        if found.name.value == task.name.value {
            let message = format!("task `{name}` reads its own outcome");
            report(self.findings, Finding::error(codes::NOT_NEEDED, locate(*part), message));
            return;
        }
        if found.name.value != *name {
            let message = format!("task `{name}` is written `{}`", found.name.value);
            let hint = format!("did you mean `{}`?", found.name.value);
            report(self.findings, Finding::error(codes::UNKNOWN_TASK, locate(*part), message).hint(hint));
            return;
        }
        if !task.needs.iter().any(|need| need.value == found.name.value) {
            let message = format!("task `{}` reads `{name}` but does not need it", task.name.value);
            let hint = format!("add it: `needs: [{name}]`");
            report(self.findings, Finding::error(codes::NOT_NEEDED, locate(*part), message).hint(hint));
            return;
        }
        self.property(keys.get(1).copied(), locate, "property of a task", &["outputs", "result"], "");
        if keys.get(1).is_some_and(|(key, _)| *key == "outputs") && !found.outputs.is_empty() {
            let outputs: Vec<&str> = found.outputs.iter().map(|(name, _)| name.value.as_str()).collect();
            let otherwise = format!("task `{name}` does not list it under `outputs`");
            self.property(keys.get(2).copied(), locate, "output", &outputs, &otherwise);
        }
    }
}

/// Knows that names are there, and nothing of their values.
struct Blank;

impl Context for Blank {
    fn lookup(&self, name: &str) -> Option<Value> {
        NAMES.contains(&name).then_some(Value::UNKNOWN)
    }

    fn status(&self, _: Status) -> Option<bool> {
        None
    }
}
