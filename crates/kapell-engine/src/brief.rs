//! What an attempt is given to read: collected from the state of its run, and completed by what the repository says.

use kapell_core::{
    expr::{EvalError, Piece, Template},
    id::{AttemptNo, TaskId},
    plan::{Definition, Work},
    run::Run,
};
use kapell_policy::brief::{self, Keep, Material, Origin, Section};

use crate::port::{
    agents::Brief,
    workspaces::{Facts, FactsRequest},
};

/// The most tasks before it of which an attempt is told.
const NEEDS_MAX: usize = 200;

/// The option of an agent that says how many tokens its brief may have.
const TOKENS: &str = "brief_tokens";

/// The option of an agent that holds the text of its role, and the one that says where that comes from.
const ROLE_TEXT: &str = "role_text";
const ROLE_FILE: &str = "role_file";

/// What is known before the workspace is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    material: Material,
    tokens_max: u64,
    agents: Vec<String>,
    pub(crate) wanted: FactsRequest,
}

fn section(name: &str, title: &str, origin: Origin, keep: Keep, text: String) -> Section {
    Section { name: name.to_owned(), title: title.to_owned(), origin, keep, text }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.map(|item| format!("- {item}\n")).collect()
}

/// Writes a text as a span of code on one line.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'").replace('\n', "; "))
}

/// Renders a prompt so that what other tasks gave stands in fences.
fn fenced_prompt(run: &Run, task: TaskId, prompt: &Template) -> Result<String, EvalError> {
    let context = run.context(task);
    let mut text = String::new();
    for piece in prompt.pieces() {
        match piece {
            Piece::Text(own) => text.push_str(own),
            Piece::Expr(placeholder) => {
                let value = placeholder.expr.evaluate(&context)?;
                let value = value.text().unwrap_or_default();
                let foreign = placeholder.expr.root().references().iter().any(|reference| {
                    // A variable may hold what a task gave.
                    matches!(reference.path.first(), Some(("tasks" | "needs" | "env", _)))
                });
                match foreign {
                    true => text.push_str(&brief::inline(placeholder.expr.source(), &value)),
                    false => text.push_str(&value),
                }
            }
        }
    }
    Ok(text)
}

/// Collects what the state of the run says about an attempt.
pub(crate) fn draft(run: &Run, task: TaskId, attempt: AttemptNo) -> Draft {
    let (plan, definition) = (run.plan(), run.plan().definition(task));
    let name = plan.name(task);
    let agent = run.agent(task).and_then(|agent| plan.agent(agent));
    let option = |name: &str| agent.and_then(|agent| agent.options.get(name));
    let mut material = Material::default();
    let (what, is_prompt) = match &definition.work {
        Work::Prompt(prompt) => {
            (fenced_prompt(run, task, prompt).unwrap_or_else(|_| prompt.source().to_owned()), true)
        }
        Work::Run(script) => (format!("A command of the plan does it:\n\n{script}"), false),
        _ => ("A script of the plan does it.".to_owned(), false),
    };
    let title = format!("Task {}, attempt {attempt}", code(name));
    material.add(section("task", &title, Origin::Own, Keep::Whole, what));
    own(definition, &mut material);
    if let Some(text) = option(ROLE_TEXT) {
        let file = option(ROLE_FILE).map_or("a role", String::as_str);
        let origin = Origin::Repository(file.to_owned());
        material.add(section("role", "Your role", origin, Keep::Beginning, text.clone()));
    }
    let objective = run.mission().objective.clone();
    material.add(section("mission", "Mission of the whole run", Origin::Own, Keep::Beginning, objective));
    before(run, task, &mut material);
    let needs: Vec<TaskId> = plan.graph().needs(task).iter().copied().take(NEEDS_MAX).collect();
    for &need in &needs {
        let Some(outputs) = run.outputs(need).filter(|outputs| !outputs.is_empty()) else { continue };
        let text: String = outputs.iter().map(|(name, value)| format!("{name}:\n{value}\n\n")).collect();
        let (key, title) =
            (format!("outputs:{}", plan.name(need)), format!("Outputs of {}", code(plan.name(need))));
        let origin = Origin::Other(format!("task {}", plan.name(need)));
        material.add(section(&key, &title, origin, Keep::Beginning, text));
    }
    let changes = needs.iter().filter_map(|&need| Some((plan.name(need).to_owned(), run.change(need)?)));
    let wanted = FactsRequest {
        base: run.mission().base.filter(|_| is_prompt),
        files: Vec::new(),
        changes: if is_prompt { changes.collect() } else { Vec::new() },
    };
    let others = plan.agents().iter().filter(|other| agent.is_none_or(|agent| agent.name != other.name));
    Draft {
        material,
        tokens_max: option(TOKENS).and_then(|text| text.parse().ok()).unwrap_or(brief::TOKENS_MAX),
        agents: others.map(|other| other.name.clone()).collect(),
        wanted,
    }
}

/// What the plan says about the task itself.
fn own(definition: &Definition, material: &mut Material) {
    if !definition.accept.is_empty() {
        let text = format!(
            "kapell runs these on your result, and it counts only if all pass:\n\n{}",
            list(definition.accept.iter().map(|check| code(check)))
        );
        material.add(section("checks", "Checks", Origin::Own, Keep::Whole, text));
    }
    if !definition.protect.paths.is_empty() {
        let text = format!(
            "Do not change these; they are restored before the checks run:\n\n{}",
            list(definition.protect.paths.iter().map(|path| code(path)))
        );
        material.add(section("protected", "Protected paths", Origin::Own, Keep::Whole, text));
    }
    let promised = definition.outputs.iter().filter(|output| output.value.is_none());
    let promised = list(promised.map(|output| code(&output.name)));
    if !promised.is_empty() {
        let text = format!(
            "Give each of these before you end, by the tool `output`, by `kapell task output NAME=VALUE`, or as a line \
             NAME=VALUE in the file that $KAPELL_OUTPUT names:\n\n{promised}"
        );
        material.add(section("promised", "Outputs to give", Origin::Own, Keep::Whole, text));
    }
    if !definition.claims.is_empty() {
        let text = format!(
            "You hold these; others may be at work elsewhere:\n\n{}",
            list(definition.claims.iter().map(|claim| code(claim.source())))
        );
        material.add(section("claims", "Paths and names that are yours", Origin::Own, Keep::Beginning, text));
    }
}

/// What came of the attempts before this one.
fn before(run: &Run, task: TaskId, material: &mut Material) {
    if let Some(handoff) = run.handoff(task).filter(|handoff| handoff.done) {
        let from = handoff.from.and_then(|agent| run.plan().agent(agent));
        let from =
            from.map_or_else(|| "an earlier attempt".to_owned(), |agent| format!("agent {}", agent.name));
        let note = match handoff.change {
            Some(_) => format!("{}\n\n(Its change is in your workspace already.)", handoff.note),
            None => handoff.note.clone(),
        };
        let title = "Handed on to you";
        material.add(section("handoff", title, Origin::Other(from), Keep::Beginning, note));
    } else if run.handoff(task).is_some_and(|handoff| handoff.change.is_some()) {
        // Whoever was to hand it on next failed; what came before that holds.
        let text = "What agents before you have changed is in your workspace already.".to_owned();
        material.add(section("handoff", "Work so far", Origin::Own, Keep::Beginning, text));
    }
    if let Some(failure) = run.last_failure(task) {
        let title = format!("The attempt before this one failed ({})", failure.class);
        let origin = Origin::Other("the attempt before".to_owned());
        material.add(section("failure", &title, origin, Keep::Beginning, failure.message.clone()));
    }
}

impl Draft {
    /// Adds what the repository says, and writes it all.
    pub(crate) fn finish(mut self, facts: Facts) -> Brief {
        for (file, text) in facts.files {
            let title = format!("Instructions of the repository: {file}");
            let origin = Origin::Repository(file.clone());
            self.material.add(section(&file, &title, origin, Keep::Beginning, text));
        }
        for (task, patch) in facts.changes {
            let (key, title) = (format!("diff:{task}"), format!("Change of {}", code(&task)));
            let origin = Origin::Other(format!("task {task}"));
            self.material.add(section(&key, &title, origin, Keep::AllOrNothing, patch));
        }
        if !facts.tree.is_empty() {
            let origin = Origin::Other("the repository".to_owned());
            let text = facts.tree.join("\n");
            self.material.add(section("repository", "Top of the repository", origin, Keep::Beginning, text));
        }
        let brief = self.material.brief(self.tokens_max);
        let sections = self.material.sections().iter();
        let whole = |name: &String| self.material.section(name).unwrap_or_default();
        Brief {
            text: brief.text,
            list: self.material.list(),
            sections: sections.map(|section| (section.name.clone(), whole(&section.name))).collect(),
            agents: self.agents,
        }
    }
}
