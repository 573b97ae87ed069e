//! A condition compares a matrix value with one that the matrix does not have.

mod entries; // of `exclude` and `include`
mod joint; // values that each occur, and never in one cell

mod shards; // parts of tests that no cell runs

use kapell_core::expr::{Comparison, Function, Literal, Node, NodeKind, Value};
use kapell_spec::github::{Expression, Job, Matrix, Step, only_expression};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, StepFacts, carry, tools::Kind},
    repository::{Depth, Repository},
    rule::{Draft, Focus, Group, Report, Rule},
};

/// See `docs/rules/matrix-value-never.md`.
pub(super) static RULE: Rule = Rule {
    name: "matrix-value-never",
    summary: "A condition compares a matrix value with one that the matrix does not have",
    group: Group::Dead,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/matrix-value-never.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        // Most workflows have no matrix, nor name one.
        if memchr::memmem::find(flow.text.as_bytes(), b"matrix").is_none() {
            continue;
        }
        for (at, job) in flow.jobs() {
            without(flow, at, report);
            if let Some(matrix) = &job.matrix {
                entries::excludes_nothing(flow, (&job.id.text, matrix), report);
                entries::split(flow, (&job.id.text, matrix), report);
            }
            let Some(cells) =
                job.matrix.as_ref().and_then(|matrix| matrix.cells()).filter(|cells| !cells.is_empty())
            else {
                continue;
            };
            if let Some(matrix) = &job.matrix {
                excluded(flow, (&job.id.text, matrix), &cells, report);
            }
            in_scripts(flow, at, &cells, report);
            shards::check(flow, at, &cells, report);
            for expression in &job.expressions {
                let mut told = false;
                expression.expr.root().walk(&mut |node| {
                    if told {
                        return;
                    }
                    if joint::never(flow, at, node, &cells) {
                        told = true;
                        joint::tell(flow, at, expression.span(&flow.text), report);
                        return;
                    }
                    let (inner, turned) = match &node.kind {
                        NodeKind::Not(inner) => (&**inner, true),
                        _ => (node, false),
                    };
                    let Some(mut found) = never(inner, &cells) else { return };
                    if is_of_another(flow, at, &found) {
                        return;
                    }
                    found.negated ^= turned;
                    told = true;
                    let (span, job) = (expression.span(&flow.text), &*job.id.text);
                    let grave = carry::delivers(flow, at) || misses(flow, at, (expression, node), &found);
                    tell(report.add(flow.file, span, found.message(job)), (&found, grave), &cells);
                });
            }
        }
    }
}

/// Tells whether a step never runs, for its condition needs the comparison, and is missed: it tests, or it prepares one of the
/// systems for which each a step of its own asks.
fn misses(flow: &Flow, at: usize, (expression, node): (&Expression, &Node), found: &Never) -> bool {
    let root = expression.expr.root();
    let needed = std::ptr::eq(root, node)
        || matches!(&root.kind, NodeKind::And(operands) if operands.iter().any(|operand| std::ptr::eq(operand, node)));
    let of_step = |step: &Step| {
        step.condition.as_ref().is_some_and(|own| {
            own.span.start <= expression.scalar.start && expression.scalar.end <= own.span.end
        })
    };
    let Some((step, facts)) =
        flow.steps(at).find(|(step, _)| of_step(step)).filter(|_| needed && !found.negated)
    else {
        return false;
    };
    // A sister asks for another value of the same axis, and does the same kind of thing.
    let prepares = |facts: &StepFacts| facts.does(Kind::Install) || facts.does(Kind::Setup);
    let asks = format!("matrix.{}", found.axis);
    let sisters = flow.steps(at).filter(|(other, facts)| {
        !std::ptr::eq(*other, step)
            && prepares(facts)
            && other.condition.as_ref().is_some_and(|own| own.text.contains(&asks) && own.text.contains("=="))
    });
    facts.does(Kind::Test) || prepares(facts) && sisters.count() > 0 || checks_alone(flow, facts)
}

/// In longer workflows nobody knows whether a check is made elsewhere.
const MOST: usize = 300;

/// Tells whether a step checks something with a program that no other step of its workflow runs.
fn checks_alone(flow: &Flow, facts: &StepFacts) -> bool {
    let checks = facts.works.iter().filter(|done| done.work.kind.checks());
    let mut programs = checks.filter_map(|done| done.text.split(' ').next()).peekable();
    let others = || flow.facts.iter().flatten().filter(|other| !std::ptr::eq(*other, facts));
    let again = |program: &str| {
        others().flat_map(|other| &other.works).any(|done| done.text.split(' ').next() == Some(program))
    };
    // All steps are looked through for each.
    if flow.facts.iter().map(|facts| facts.len()).sum::<usize>() > MOST {
        return false;
    }
    let common = ["npm", "pnpm", "yarn", "make", "cargo", "go", "dotnet"];
    programs.peek().is_some() && programs.all(|program| !common.contains(&program) && !again(program))
}

/// A job reads a value of a matrix, and has none: it is always empty.
fn without(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    if job.matrix.is_some() || job.keys.get("strategy").is_some() || !flow.model.complete {
        return;
    }
    for expression in &job.expressions {
        let mut references = expression.expr.root().references().into_iter();
        let read = references.find_map(|reference| match reference.path[..] {
            [("matrix", _), (axis, _), ..] => Some(axis.to_owned()),
            _ => None,
        });
        let Some(axis) = read else { continue };
        report
            .add(
                flow.file,
                expression.span(&flow.text),
                format!("`matrix.{axis}` is always empty: `{}` has no matrix", job.id.text),
            )
            .severity(Severity::Medium)
            .hint("give the job the matrix that it reads, or write the value")
            .done();
        return;
    }
}

/// The same in a script: `[ "${{ matrix.db }}" = mariadb ]`.
fn in_scripts(flow: &Flow, at: usize, cells: &[Vec<(&str, &Value)>], report: &mut Report<'_>) {
    for (step, facts) in flow.steps(at).filter(|(step, _)| step.run.is_some()) {
        let tests = facts.commands.iter().filter(|command| matches!(command.program(), "test" | "[" | "[["));
        let found = tests.flat_map(|command| command.words.windows(3).map(move |three| (command, three)));
        for (command, three) in found.filter(|(_, three)| matches!(&*three[1], "=" | "==")) {
            let Some(axis) = only_expression(&three[0]).and_then(|text| text.strip_prefix("matrix.")) else {
                continue;
            };
            let known = values(axis, cells);
            let plain = !three[2].is_empty() && !three[2].contains(['$', '*', '?', '[', '`']);
            let texts: Option<Vec<_>> = known.iter().map(|value| value.text()).collect();
            let Some(texts) = texts.filter(|texts| plain && texts.len() == cells.len()) else { continue };
            if texts.iter().any(|text| **text == *three[2]) {
                continue;
            }
            let found = Never { axis: axis.to_owned(), literal: three[2].clone(), negated: false };
            let span = flow.script_line(step, command.start, "");
            tell(
                report.add(flow.file, span, found.message(&flow.model.jobs[at].id.text)),
                (&found, carry::delivers(flow, at)),
                cells,
            );
            return;
        }
    }
}

/// A value of an axis all of whose cells are excluded: the list names it, and no job has it.
fn excluded(
    flow: &Flow,
    (job, matrix): (&str, &Matrix),
    cells: &[Vec<(&str, &Value)>],
    report: &mut Report<'_>,
) {
    for axis in &matrix.axes {
        // One that is excluded as a whole is there for `include` to name.
        let listed = || axis.values.iter().flatten();
        let found = values(&axis.name.text, cells);
        if matrix.exclude.is_empty() || !listed().any(|(value, _)| found.contains(&value)) {
            continue;
        }
        for (value, span) in listed() {
            let Some(text) = value.text().filter(|_| !found.contains(&value)) else { continue };
            report
                .add(
                    flow.file,
                    *span,
                    format!("`exclude` takes out each cell with `{text}`, so `{job}` never has it"),
                )
                .severity(Severity::Medium)
                .hint(format!("drop `{text}` from `{}`, or exclude less", axis.name.text))
                .done();
        }
    }
}

/// A comparison of a value of the matrix that no cell fulfils.
struct Never {
    axis: String,
    literal: String,
    /// Whether it asks for another value, and so always holds.
    negated: bool,
}

impl Never {
    fn message(&self, job: &str) -> String {
        let Self { axis, literal, negated } = self;
        let never = if *negated { "always" } else { "never" };
        format!("`matrix.{axis}` is never `{literal}` in `{job}`, so this comparison {never} holds")
    }
}

/// Tells whether objects in the matrix of another job have the value: jobs that do the same for other cells are copies of each
/// other.
fn is_of_another(flow: &Flow, at: usize, found: &Never) -> bool {
    let has = |job: &Job| {
        let cells = job.matrix.as_ref().and_then(|matrix| matrix.cells()).unwrap_or_default();
        values(&found.axis, &cells)
            .iter()
            .any(|value| value.text().is_some_and(|text| text.eq_ignore_ascii_case(&found.literal)))
    };
    found.axis.contains('.') && flow.jobs().any(|(other, job)| other != at && has(job))
}

fn tell(draft: Draft<'_>, (found, grave): (&Never, bool), cells: &[Vec<(&str, &Value)>]) {
    let mut values: Vec<String> = values(&found.axis, cells)
        .iter()
        .filter_map(|value| value.text())
        .map(|text| format!("`{text}`"))
        .collect();
    values.sort();
    values.dedup();
    let which = if values.len() == 1 { "its only value" } else { "one of its values" };
    draft
        .severity(match (found.negated, grave) {
            (true, _) => Severity::Low,
            (false, true) => Severity::High,
            (false, false) => Severity::Medium,
        })
        .hint(format!("compare it with {which}: {}", values.join(", ")))
        .done();
}

/// Returns the values of an axis, or those of one key of its objects: `config.name`.
fn values<'a>(axis: &str, cells: &[Vec<(&str, &'a Value)>]) -> Vec<&'a Value> {
    let (axis, key) = axis.split_once('.').map_or((axis, None), |(axis, key)| (axis, Some(key)));
    let inner = |value: &'a Value| match (value, key) {
        (value, None) => Some(value),
        (Value::Object(object), Some(key)) => object.get(key).filter(|_| !object.is_open()),
        _ => None,
    };
    let of = |cell: &Vec<(&str, &'a Value)>| {
        cell.iter().find(|(name, _)| name.eq_ignore_ascii_case(axis)).map(|(_, value)| *value)
    };
    let found: Vec<&Value> = cells.iter().filter_map(of).collect();
    let inside: Vec<&Value> = found.iter().filter_map(|value| inner(value)).collect();
    // A key that some objects do not have is nothing there.
    if inside.len() == found.len() { inside } else { Vec::new() }
}

/// Recognises a comparison that no cell fulfils.
fn never(node: &Node, cells: &[Vec<(&str, &Value)>]) -> Option<Never> {
    let (path, literal, compare): (&Node, &Node, fn(&str, &str) -> bool) = match &node.kind {
        NodeKind::Compare { comparison: Comparison::Equal | Comparison::NotEqual, left, right } => {
            if axis_of(left).is_some() {
                (left, right, |value, text| value == text)
            } else {
                (right, left, |value, text| value == text)
            }
        }
        NodeKind::Call { function: Function::StartsWith, arguments } => {
            (&arguments[0], &arguments[1], |value, text| value.starts_with(text))
        }
        NodeKind::Call { function: Function::EndsWith, arguments } => {
            (&arguments[0], &arguments[1], |value, text| value.ends_with(text))
        }
        NodeKind::Call { function: Function::Contains, arguments } => {
            (&arguments[0], &arguments[1], |value, text| value.contains(text))
        }
        _ => return None,
    };
    let axis = axis_of(path)?;
    let text: String = match &literal.kind {
        NodeKind::Literal(Literal::String(text)) => text.to_string(),
        // A text that is compared with a number is taken for one.
        NodeKind::Literal(Literal::Number(number)) => return never_number(node, &axis, *number, cells),
        _ => return None,
    };
    let found = values(&axis, cells);
    // An axis that some cells do not have is nothing there, and objects are compared in other ways.
    if text.is_empty() || found.is_empty() || found.iter().any(|value| value.text().is_none()) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let some = found
        .iter()
        .filter_map(|value| value.text())
        .any(|value| compare(&value.to_ascii_lowercase(), &lower));
    let negated = matches!(&node.kind, NodeKind::Compare { comparison: Comparison::NotEqual, .. });
    (!some).then_some(Never { axis, literal: text, negated })
}

/// Recognises a comparison with a number that no cell fulfils.
fn never_number(node: &Node, axis: &str, number: f64, cells: &[Vec<(&str, &Value)>]) -> Option<Never> {
    let NodeKind::Compare { comparison: sign @ (Comparison::Equal | Comparison::NotEqual), .. } = &node.kind
    else {
        return None;
    };
    let found = values(axis, cells);
    let numbers: Option<Vec<f64>> =
        found.iter().map(|value| value.text().and_then(|text| text.parse().ok())).collect();
    let numbers = numbers.filter(|numbers| numbers.len() == cells.len())?;
    let equal = numbers.iter().any(|known| (known - number).abs() < f64::EPSILON);
    let negated = *sign == Comparison::NotEqual;
    (!equal).then(|| Never { axis: axis.to_owned(), literal: number.to_string(), negated })
}

fn axis_of(node: &Node) -> Option<String> {
    if !matches!(node.kind, NodeKind::Access { .. }) {
        return None;
    }
    let references = node.references();
    let reference = references.first().filter(|reference| reference.whole)?;
    match &reference.path[..] {
        [(base, _), (axis, _)] if base.eq_ignore_ascii_case("matrix") => Some((*axis).to_owned()),
        [(base, _), (axis, _), (key, _)] if base.eq_ignore_ascii_case("matrix") => {
            Some(format!("{axis}.{key}"))
        }
        _ => None,
    }
}
