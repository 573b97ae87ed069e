//! What attempts, checks and workspaces are given, computed from the state.

use kapell_core::{
    budget::Amount,
    decide::COMPENSATION_TIME,
    event::GateKind,
    expr::EvalError,
    id::{AttemptNo, TaskId},
    landing::Probe,
    plan::{Definition, OutputSpec, Work, WorkspaceKind},
    run::{Gate, Run},
    task::TaskState,
};

use crate::{
    brief::{self, Draft},
    port::{
        agents::{Agents, Allowance, AttemptKey, Brief, Earlier, Job, Order},
        workspaces::{CheckCommand, Request, Setup, Trial, Workspaces},
    },
};

/// The variable that tells a compensation which commits brought in what it is to take back, as git takes a range.
const CHANGE_VARIABLE: &str = "KAPELL_CHANGE";

/// Everything about an attempt that is computed from the state, so that threads need no state.
pub(super) struct Prepared {
    pub(super) order: Order,
    pub(super) request: Request,
    pub(super) draft: Draft,
}

pub(super) fn has_change(run: &Run, task: TaskId) -> bool {
    match run.state(task) {
        TaskState::Submitted(result) | TaskState::Verified(result) => result.change.is_some(),
        state => matches!(state, TaskState::Landed { .. }),
    }
}

pub(super) fn key(run: &Run, task: TaskId, attempt: AttemptNo, compensates: bool) -> AttemptKey {
    AttemptKey { run: run.id(), task, attempt, compensates }
}

/// Returns where `task` works: as its definition says, else by whether there is a repository.
#[must_use]
pub fn kind_of(run: &Run, task: TaskId) -> WorkspaceKind {
    run.plan().definition(task).kind(run.mission().base.is_some())
}

/// Tells whether `task` works on files of the repository, so that what it changed there can be taken out.
pub(super) fn holds_files(run: &Run, task: TaskId) -> bool {
    matches!(kind_of(run, task), WorkspaceKind::Clone | WorkspaceKind::ReadOnly)
}

pub(crate) fn environment(run: &Run, task: TaskId) -> Result<Vec<(String, String)>, EvalError> {
    let variables = run.plan().definition(task).env.iter();
    variables.map(|variable| Ok((variable.name.clone(), run.render(task, &variable.value)?))).collect()
}

pub(super) fn prepare(run: &Run, task: TaskId, key: AttemptKey, job: Job) -> Result<Prepared, EvalError> {
    let plan = run.plan();
    let definition: &Definition = plan.definition(task);
    let name = plan.name(task).to_owned();
    let timeout = match key.compensates {
        true => Some(definition.timeout.unwrap_or(COMPENSATION_TIME)),
        false => definition.timeout,
    };
    let mut env = environment(run, task)?;
    if let Some(change) = run.change(task).filter(|_| key.compensates) {
        env.push((CHANGE_VARIABLE.to_owned(), format!("{}..{}", change.base, change.commit)));
    }
    let order = Order {
        key,
        name: name.clone(),
        job,
        agent: run.agent(task).and_then(|agent| plan.agent(agent)).cloned(),
        outputs: promised(definition),
        earlier: earlier(run, key),
        env,
        dir: Default::default(),
        allowance: allowance(run, task),
        brief: Default::default(),
        supervise: definition.supervise,
        timeout,
    };
    let handed_on = run.handoff(task).filter(|_| !key.compensates);
    let handed_on = handed_on.and_then(|handoff| handoff.change).map(|change| change.commit);
    let request = Request {
        key,
        name,
        kind: kind_of(run, task),
        base: run.landing().map(|landing| handed_on.unwrap_or(landing.head())),
        prepare: definition.prepare.clone(),
        carry: definition.carry.clone(),
        cache: definition.cache.clone(),
        // A script that is run anew begins anew; an agent goes on where the one before it stopped.
        // What was handed on is in the base already.
        goes_on: key.attempt > AttemptNo(1)
            && matches!(definition.work, Work::Prompt(_))
            && !key.compensates
            && handed_on.is_none(),
    };
    let draft = brief::draft(run, task, key.attempt);
    Ok(Prepared { order, request, draft })
}

/// Completes what an attempt is given to read, by what its repository says.
pub(super) fn complete(
    mut draft: Draft,
    order: &Order,
    agents: &dyn Agents,
    workspaces: &dyn Workspaces,
) -> Brief {
    let files = order.agent.as_ref().map_or(&[][..], |agent| agents.instructions(agent));
    draft.wanted.files = files.iter().map(|file| (*file).to_owned()).collect();
    let facts = match draft.wanted.base {
        Some(_) => workspaces.facts(&draft.wanted),
        None => Default::default(),
    };
    draft.finish(facts)
}

/// What is known of the attempts before `key`, as the journal has it.
fn earlier(run: &Run, key: AttemptKey) -> Earlier {
    let failure = run.last_failure(key.task).filter(|_| key.attempt > AttemptNo(1) && !key.compensates);
    let of_task = |gate: &&Gate| gate.task == key.task && gate.kind == GateKind::Question;
    let answers = run.gates().map(|(_, gate)| gate).filter(of_task).filter_map(|gate| {
        let (answer, _) = gate.answer.as_ref().filter(|_| gate.attempt < key.attempt)?;
        Some((gate.question.clone(), answer.clone()))
    });
    Earlier {
        failure: failure.map(|failure| (failure.class, failure.message.clone())),
        answers: answers.collect(),
        work: None,
    }
}

/// The outputs that a task sets itself, as a JSON schema of one object.
fn promised(definition: &Definition) -> Option<String> {
    let own: Vec<_> = definition.outputs.iter().filter(|output| output.value.is_none()).collect();
    if own.is_empty() {
        return None;
    }
    let property = |output: &&OutputSpec| {
        let schema = output.schema.clone().unwrap_or_else(|| r#"{"type":"string"}"#.to_owned());
        format!("{}:{schema}", quoted(&output.name))
    };
    let properties: Vec<String> = own.iter().map(property).collect();
    let required: Vec<String> = own.iter().map(|output| quoted(&output.name)).collect();
    Some(format!(
        r#"{{"type":"object","properties":{{{}}},"required":[{}],"additionalProperties":false}}"#,
        properties.join(","),
        required.join(",")
    ))
}

/// The name of an output as JSON has it. Names are letters, digits, `_` and `-`, so nothing needs to be escaped.
fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// What the attempt of `task` that is about to run may spend.
fn allowance(run: &Run, task: TaskId) -> Allowance {
    let reserved = match run.state(task) {
        TaskState::Running(attempt) => attempt.reserved,
        _ => Amount::ZERO,
    };
    let (limits, ledger) = (run.limits(), run.ledger());
    let is_reserved = |limit: Option<u64>, part: u64| limit.is_none() || part > 0;
    let is_shared =
        !(is_reserved(limits.usd_micros, reserved.usd_micros) && is_reserved(limits.tokens, reserved.tokens));
    // What others have set aside is theirs; what this one has set aside is its own, also where it has to share the rest.
    let taken = ledger.spent() + (ledger.reserved() - reserved);
    let part = |limit: Option<u64>, reserved: u64, taken: u64| match is_shared {
        true => limit.map(|limit| limit.saturating_sub(taken)),
        false => limit.map(|_| reserved),
    };
    Allowance {
        usd_micros: part(limits.usd_micros, reserved.usd_micros, taken.usd_micros),
        tokens: part(limits.tokens, reserved.tokens, taken.tokens),
        is_shared,
        limit_usd_micros: limits.usd_micros,
        limit_tokens: limits.tokens,
    }
}

/// Returns what the workspaces of `tasks` need, all together.
pub fn setup_of(run: &Run, tasks: impl IntoIterator<Item = TaskId>) -> Setup {
    let mut setup = Setup::default();
    for task in tasks {
        let Definition { prepare, carry, cache, .. } = &**run.plan().definition(task);
        for (all, own) in [(&mut setup.prepare, prepare), (&mut setup.carry, carry)] {
            let new: Vec<_> = own.iter().filter(|line| !all.contains(line)).cloned().collect();
            all.extend(new);
        }
        setup.cache.extend(cache.clone());
    }
    setup
}

/// The commands that a merged tree must pass: those of the mission, and those of the tasks whose changes are in it.
pub(super) fn trial(run: &Run, probe: &Probe) -> Result<Trial, EvalError> {
    let plan = run.plan();
    let mission =
        run.mission().accept.iter().map(|text| CheckCommand { text: text.clone(), env: Vec::new() });
    let mut commands: Vec<CheckCommand> = mission.collect();
    for entry in &probe.entries {
        let definition = plan.definition(entry.task);
        let env = environment(run, entry.task)?;
        for text in &definition.accept {
            let command = CheckCommand { text: text.clone(), env: env.clone() };
            if !commands.contains(&command) {
                commands.push(command);
            }
        }
    }
    let setup = setup_of(run, probe.entries.iter().map(|entry| entry.task));
    let names = probe.entries.iter().map(|entry| plan.name(entry.task).to_owned()).collect();
    Ok(Trial { run: run.id(), probe: probe.clone(), names, commands, setup })
}
