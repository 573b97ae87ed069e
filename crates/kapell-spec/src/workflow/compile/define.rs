//! What a task is to do, of what is said for it and for all.

use kapell_core::{
    budget::Amount,
    id::AgentId,
    plan::{AgentSpec, Definition, GateSpec, OutputSpec, Protect, Slot, Work as CoreWork, WorkspaceKind},
};

use super::{
    super::{Settings, Task, ToolCall, Work},
    Compiler,
    variables::Variables,
};

impl Compiler<'_, '_> {
    pub(super) fn definition(&mut self, task: &Task) -> Definition {
        let mut variables = Variables::new(self.workflow, task);
        let work = self.work(task, &mut variables);
        // They are for tasks that perform something: a gate that times out like a build would be a surprise.
        let performs = matches!(work, CoreWork::Run(_) | CoreWork::Prompt(_) | CoreWork::Scripted(_));
        let none = Settings::default();
        let defaults = if performs { &self.workflow.defaults } else { &none };
        let own = &task.settings;
        let (agent, skills) = self.performer(task, defaults);
        // A tool acts on the world: it gets no clone unless it is asked for.
        let tool = matches!(task.work, Some(Work::Mcp(_)));
        let workspace = if tool { Some(WorkspaceKind::None) } else { defaults.workspace };
        let accept = task.accept.iter().map(|text| variables.script(text, self.findings)).collect();
        let compensate = task.compensate.as_ref().map(|text| variables.script(text, self.findings));
        let outputs = task.outputs.iter().map(|(name, value)| OutputSpec {
            name: name.value.clone(),
            value: value.as_ref().map(|text| text.template.clone()),
            schema: task.shapes.get(&name.value).cloned(),
        });
        Definition {
            agent,
            skills,
            condition: task.condition.as_ref().map(|condition| condition.expr.clone()),
            outputs: outputs.collect(),
            retry: own.retry.or(defaults.retry).unwrap_or_default(),
            timeout: own.timeout.or(defaults.timeout),
            deadline: task.deadline,
            accept,
            claims: task.claims.iter().map(|text| text.template.clone()).collect(),
            compensate,
            workspace: own.workspace.or(workspace),
            prepare: list(own.prepare.as_ref(), defaults.prepare.as_ref()),
            carry: list(own.carry.as_ref(), defaults.carry.as_ref()),
            cache: list(own.cache.as_ref(), defaults.cache.as_ref()).into_iter().collect(),
            protect: self.protect(task),
            reads: task.reads.clone(),
            retry_lost: own.retry_lost.or(defaults.retry_lost).unwrap_or_default(),
            supervise: own.supervise.or(defaults.supervise).unwrap_or_default(),
            estimate: own.estimate.or(defaults.estimate),
            reserve: Amount {
                usd_micros: task.budget.usd_micros.unwrap_or_default(),
                tokens: task.budget.tokens.unwrap_or_default(),
            },
            // Last, since scripts add to it.
            env: variables.finish(),
            ..Definition::new(work)
        }
    }

    fn work(&mut self, task: &Task, variables: &mut Variables<'_>) -> CoreWork {
        match &task.work {
            Some(Work::Run(text)) => CoreWork::Run(variables.script(text, self.findings)),
            Some(Work::Prompt(text)) => CoreWork::Prompt(text.template.clone()),
            Some(Work::Gate(question, choices)) => {
                CoreWork::Gate(GateSpec { question: question.template.clone(), choices: choices.clone() })
            }
            Some(Work::Workflow(path)) => self.child(path),
            Some(Work::Scripted(text)) => CoreWork::Scripted(text.clone()),
            Some(Work::Mcp(_)) => {
                variables.arguments(&task.with, self.findings).map_or(CoreWork::Noop, CoreWork::Prompt)
            }
            Some(Work::Noop) | None => CoreWork::Noop,
        }
    }

    /// Returns who performs the task, or by which skills somebody is to be found.
    fn performer(&mut self, task: &Task, defaults: &Settings) -> (Option<AgentId>, Vec<String>) {
        let own = &task.settings;
        let prompt = matches!(task.work, Some(Work::Prompt(_)));
        // Own skills ask for a choice, which the agent for all would take away.
        let for_all = defaults.agent.as_ref().filter(|_| prompt && own.skills.is_none());
        let agent = own.agent.as_ref().or(for_all);
        let skills = own.skills.as_ref().or(defaults.skills.as_ref().filter(|_| agent.is_none()));
        let skills = skills.filter(|_| prompt).into_iter().flatten().map(|skill| skill.value.clone());
        let agent = match &task.work {
            Some(Work::Mcp(call)) => Some(self.tool(call)),
            _ => agent.and_then(|agent| self.agents.get(agent.value.as_str()).copied()),
        };
        (agent, skills.collect())
    }

    fn protect(&self, task: &Task) -> Protect {
        let for_all = &self.workflow.protect;
        Protect {
            paths: for_all.paths.iter().chain(&task.protect.paths).cloned().collect(),
            strict: for_all.strict || task.protect.strict,
        }
    }

    /// Returns who calls a tool: an agent of the plan that no file names.
    fn tool(&mut self, call: &ToolCall) -> AgentId {
        let ToolCall { server, tool } = call;
        let name = format!("{server}.{tool}");
        if let Some(known) = self.tools.get(&name) {
            return *known;
        }
        let options =
            [("server", server), ("tool", tool)].map(|(name, value)| (name.to_owned(), value.clone()));
        let id = self.builder.agent(AgentSpec {
            name: name.clone(),
            adapter: "mcp".to_owned(),
            provider: None,
            slot: Slot::Job,
            fallback: None,
            skills: Vec::new(),
            memory_mib: 0,
            options: options.into(),
        });
        self.tools.insert(name, id);
        id
    }
}

/// A task's own list takes the place of the one for all.
fn list<T: Clone>(own: Option<&Vec<T>>, for_all: Option<&Vec<T>>) -> Vec<T> {
    own.or(for_all).cloned().unwrap_or_default()
}
