//! A command with numbered phases as the text of a workflow file.
//!
//! Phases follow each other by `needs`; what a document says runs in parallel stands side by side, unless one takes in
//! what another hands on; where a person decides or a checkpoint stands, a `gate` follows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{
    definition::Definition,
    steps::{Flow, Step, flow},
};

/// The longest name of a task, in bytes, before a number that makes it unique.
const NAME_MAX: usize = 48;

/// How much of the text before the first step is passed on, in bytes.
const PREAMBLE_MAX: usize = 16 << 10;

/// The longest mission, in characters.
const MISSION_MAX: usize = 200;

/// Who performs the phases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Performer {
    /// A shell command that gets the text of a phase at its standard input and as `KAPELL_PROMPT`.
    Command(String),
    /// An adapter by its name, such as `claude-code`.
    Adapter(String),
}

impl Performer {
    /// Reads `cmd:COMMAND` or the name of an adapter; nothing if either is empty.
    #[must_use]
    pub fn parse(typed: &str) -> Option<Self> {
        let performer = match typed.strip_prefix("cmd:") {
            Some(command) => Self::Command(command.trim().to_owned()),
            None => Self::Adapter(typed.trim().to_owned()),
        };
        let (Self::Command(text) | Self::Adapter(text)) = &performer;
        (!text.is_empty()).then_some(performer)
    }
}

/// A task made of a phase, or of one agent's part in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name of the task.
    pub task: String,
    /// What it is told.
    prompt: String,
    /// The agent that its part of the document names, if it names one.
    agent: Option<String>,
    /// How long its document says that it takes, in minutes.
    pub minutes: Option<u32>,
}

/// Tasks side by side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stage {
    /// The tasks.
    pub members: Vec<Member>,
    /// The gate behind them: the name of its task and its question.
    gate: Option<(String, String)>,
}

/// A command as stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What it is for.
    mission: String,
    /// What stands before the first step.
    preamble: String,
    /// The stages, one after the other.
    pub stages: Vec<Stage>,
    /// The phases and steps as they were read.
    pub flow: Flow,
}

impl Plan {
    /// Reads a command called `name`; nothing if it has no numbered phases, or only one.
    #[must_use]
    pub fn read(name: &str, text: &str) -> Option<Self> {
        let definition = Definition::read(text);
        let flow = flow(text, &definition);
        if flow.steps.len() < 2 {
            return None;
        }
        let described = definition.text("description").map(|named| &*named.text);
        let heading = definition.document.headings.first().map(|heading| &*heading.text);
        let mission = described.or(heading).unwrap_or(name);
        let mission = mission.split_whitespace().collect::<Vec<_>>().join(" ").replace("${{", "{{");
        let mission = mission.chars().take(MISSION_MAX).collect();
        let stages = stages(text, &flow);
        let preamble = preamble(text, &definition, &flow);
        Some(Self { mission, preamble, stages, flow })
    }

    /// Writes it as a workflow file. A step whose agent is among `roles` is performed in that role.
    #[must_use]
    pub fn workflow(&self, performer: &Performer, roles: &BTreeMap<String, RoleText>) -> String {
        let (agent, settings) = match performer {
            Performer::Adapter(name) => ("performer", format!("use: {}", quoted(name))),
            Performer::Command(command) => {
                // A prompt begins with anything, so no `echo`; the end of a line ends a comment.
                let run = format!("printf '%s\\n' \"$KAPELL_PROMPT\" | {{\n{command}\n}}\n");
                ("command", format!("use: command, run: {}", quoted(&run)))
            }
        };
        let mut out = format!("mission: {}\n", quoted(&self.mission));
        out.push_str(
            "inputs:\n  arguments: { default: \"\", description: What follows the name of the command. }\n",
        );
        let _ = writeln!(out, "agents:\n  {agent}: {{ {settings} }}");
        let mut names = Names::default();
        names.take(agent);
        let mut in_role: BTreeMap<&str, String> = BTreeMap::new();
        for (name, role) in self.agents().into_iter().filter_map(|name| Some((name, find(roles, name)?))) {
            let own = names.take(&format!("role-{name}"));
            let options = format!(
                "role: {}, role_file: {}, role_text: {}",
                quoted(name),
                quoted(&apart(&role.file)),
                quoted(&apart(&role.text))
            );
            let _ = writeln!(out, "  {own}: {{ {settings}, options: {{ {options} }} }}");
            in_role.insert(name, own);
        }
        out.push_str("tasks:\n");
        let before = match self.preamble.is_empty() {
            true => String::new(),
            false => format!("{}\n\n---\n\n", self.preamble),
        };
        let mut needs = Vec::new();
        for stage in &self.stages {
            for member in &stage.members {
                let who =
                    member.agent.as_deref().and_then(|name| in_role.get(name)).map_or(agent, String::as_str);
                let _ = writeln!(out, "  {}:\n    agent: {who}", member.task);
                let _ = writeln!(out, "    prompt: {}", quoted(&format!("{before}{}", member.prompt)));
                if let Some(minutes) = member.minutes.filter(|minutes| *minutes > 0) {
                    let _ = writeln!(out, "    estimate: {minutes}m");
                }
                waits(&mut out, &needs);
            }
            needs = stage.members.iter().map(|member| member.task.as_str()).collect();
            if let Some((name, question)) = &stage.gate {
                let _ = writeln!(out, "  {name}:\n    gate: {}", quoted(question));
                waits(&mut out, &needs);
                needs = vec![name];
            }
        }
        out
    }

    /// Returns the longest way through the phases by the minutes that they say, and how many tasks say none.
    #[must_use]
    pub fn critical_minutes(&self) -> (u32, u64) {
        let longest = |stage: &Stage| stage.members.iter().filter_map(|member| member.minutes).max();
        let minutes = self.stages.iter().filter_map(longest).fold(0, u32::saturating_add);
        let members = self.stages.iter().flat_map(|stage| &stage.members);
        (minutes, members.map(|member| u64::from(member.minutes.is_none())).sum())
    }

    /// Returns the names of the agents that the phases start, each once, in order.
    #[must_use]
    pub fn agents(&self) -> Vec<&str> {
        distinct(self.flow.steps.iter().flat_map(|step| step.agents.iter().map(|named| &*named.text)))
    }
}

/// What whoever has a role is told, and where that stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleText {
    /// The file, from the root.
    pub file: String,
    /// The text.
    pub text: String,
}

/// Finds a role by its name; a plugin's name before a colon says where an agent comes from.
fn find<'a>(roles: &'a BTreeMap<String, RoleText>, name: &str) -> Option<&'a RoleText> {
    roles.get(name).or_else(|| roles.get(name.rsplit(':').next()?))
}

/// Returns what stands between the frontmatter and the first step: what holds for all of them.
fn preamble(text: &str, definition: &Definition, flow: &Flow) -> String {
    let first = flow.steps.iter().map(|step| step.span.start as usize).min().unwrap_or(0);
    let before = text.get(definition.body as usize..first).unwrap_or_default().trim();
    let end = (0..=before.len().min(PREAMBLE_MAX)).rev().find(|at| before.is_char_boundary(*at)).unwrap_or(0);
    literal(&before[..end]).replace("$ARGUMENTS", "${{ inputs.arguments }}")
}

/// Puts steps into stages.
fn stages(text: &str, flow: &Flow) -> Vec<Stage> {
    let mut names = Names::default();
    let mut stages: Vec<Stage> = Vec::new();
    let mut open: Vec<&Step> = Vec::new();
    for step in &flow.steps {
        let beside = open.last().is_some_and(|last| are_beside(flow, last, step))
            && !open.iter().any(|other| hands_on(other, step))
            && stages.last().is_some_and(|stage| stage.gate.is_none());
        if !beside {
            open.clear();
            stages.push(Stage::default());
        }
        open.push(step);
        let Some(stage) = stages.last_mut() else { continue };
        stage.members.extend(members(text, step, &mut names));
        if step.gate || step.asks {
            let question = format!("step {} ({}) is done: go on?", step.number, step.title);
            let name = names.take(&format!("gate-{}", step.number));
            // What comes from the document is no expression of ours.
            stage.gate = Some((name, literal(&question)));
        }
    }
    stages
}

/// Tells whether a document has two neighbouring steps run side by side.
fn are_beside(flow: &Flow, last: &Step, step: &Step) -> bool {
    let phase = step.phase.filter(|_| step.phase == last.phase);
    let by_phase = phase.and_then(|at| flow.phases.get(at)).is_some_and(|phase| phase.parallel);
    let stem = |step: &'_ Step| step.number.strip_suffix(|c: char| c.is_ascii_lowercase()).map(str::to_owned);
    let by_number = stem(step).is_some() && stem(step) == stem(last) && (step.parallel || last.parallel);
    // What a sentence above flat steps says holds for those that start agents.
    let by_preface = flow.parallel && !last.agents.is_empty() && !step.agents.is_empty();
    by_phase || by_number || by_preface
}

/// Tells whether `from` writes what `to` reads.
fn hands_on(from: &Step, to: &Step) -> bool {
    to.reads_all || to.reads.iter().any(|read| from.writes.iter().any(|written| written.text == read.text))
}

/// Makes tasks of a step: one for each of its agents if they run in parallel, one otherwise.
fn members(text: &str, step: &Step, names: &mut Names) -> Vec<Member> {
    let body = literal(text[step.span.range()].trim_end()).replace("$ARGUMENTS", "${{ inputs.arguments }}");
    let name = format!("step-{}-{}", step.number, step.title);
    let agents = distinct(step.agents.iter().map(|agent| &*agent.text));
    if !step.parallel || agents.len() < 2 {
        let agent = (agents.len() == 1).then(|| agents[0].to_owned());
        return vec![Member { task: names.take(&name), prompt: body, agent, minutes: step.minutes }];
    }
    let part = |agent: &&str| Member {
        task: names.take(&format!("step-{}-{agent}", step.number)),
        prompt: format!(
            "Do the part of `{agent}` in this step; the other parts are done beside it.\n\n{body}"
        ),
        agent: Some((*agent).to_owned()),
        minutes: step.minutes,
    };
    agents.iter().map(part).collect()
}

/// The names that are taken.
#[derive(Debug, Default)]
struct Names(BTreeSet<String>);

impl Names {
    /// Makes a name for a task that no other has.
    fn take(&mut self, text: &str) -> String {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let mut name = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
        name.truncate(NAME_MAX);
        let stem = name.trim_end_matches('-').to_owned();
        let mut unique = stem.clone();
        let mut count = 1;
        while !self.0.insert(unique.clone()) {
            count += 1;
            unique = format!("{stem}-{count}");
        }
        unique
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| seen.insert(*name)).collect()
}

fn waits(out: &mut String, needs: &[&str]) {
    if !needs.is_empty() {
        let _ = writeln!(out, "    needs: [{}]", needs.join(", "));
    }
}

/// Keeps what a document shows of other systems' expressions as text.
fn literal(text: &str) -> String {
    text.replace("${{", "${{ '$' }}{{")
}

/// Keeps it as text where no expression can stand, not even one that writes what begins one.
fn apart(text: &str) -> String {
    text.replace("${{", "$ {{")
}

/// Quotes a text as JSON, which is YAML too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow;

    const DOCUMENT: &str = "---\ndescription: Review it\n---\n# Review\n\n## Phase 1: Look\nDuration: 10 minutes\n\
        Read $ARGUMENTS and `${{ github.sha }}`.\n\n## Phase 2: Judge\nRun both agents in parallel.\n\n\
        ### Step 2a: Safety\nTakes 20 minutes. Use Task tool with subagent_type=\"safety\"\n\n\
        ### Step 2b: Speed\nTakes 5 minutes.\n\n\
        ## PHASE CHECKPOINT: approval\nAsk.\n\n## Phase 3: Write\nWrite the report.\n";

    #[test]
    fn phases_become_tasks_side_by_side_where_the_document_says_so() {
        let plan = Plan::read("review", DOCUMENT).expect("it has phases");
        assert_eq!(plan.critical_minutes(), (30, 1));
        assert_eq!(plan.agents(), ["safety"]);
        let role =
            RoleText { file: ".claude/agents/safety.md".to_owned(), text: "Be ${{ safe }}.\n".to_owned() };
        let roles = BTreeMap::from([("safety".to_owned(), role)]);
        let text = plan.workflow(&Performer::Command("cat".to_owned()), &roles);
        let (_, read, findings) = workflow::read_bytes("review", text.as_bytes());
        assert_eq!(findings, []);
        let read = read.expect("it can be read");
        let tasks: Vec<(&str, Vec<&str>)> = read
            .tasks
            .iter()
            .map(|task| (&*task.name.value, task.needs.iter().map(|need| &*need.value).collect()))
            .collect();
        assert_eq!(
            tasks,
            [
                ("step-1-look", vec![]),
                ("step-2a-safety", vec!["step-1-look"]),
                ("step-2b-speed", vec!["step-1-look"]),
                ("gate-2b", vec!["step-2a-safety", "step-2b-speed"]),
                ("step-3-write", vec!["gate-2b"]),
            ]
        );
        let (compiled, findings) = workflow::compile(&read, &workflow::Options::default());
        assert!(findings.is_empty(), "{findings:?}");
        let compiled = compiled.expect("it can be compiled").plan;
        let agent = |task: &str| {
            let task = compiled.find(task).expect("it is there");
            compiled.agent(compiled.definition(task).agent.expect("it has one")).expect("it is there").clone()
        };
        assert_eq!(agent("step-1-look").name, "command");
        assert_eq!(agent("step-2a-safety").name, "role-safety");
        assert_eq!(agent("step-2a-safety").options["role_file"], ".claude/agents/safety.md");
        // What stands before the first step is told to all.
        assert!(read.tasks.iter().filter_map(|task| task.work.as_ref()).all(|work| match work {
            workflow::Work::Prompt(text) => text.template.source().starts_with("# Review\n\n---\n\n"),
            _ => true,
        }));
    }

    #[test]
    fn a_sentence_above_flat_steps_puts_them_side_by_side_until_one_reads_another() {
        let step = |number: u32, rest: &str| {
            format!("## {number}. Part\n- Use Task tool with subagent_type=\"reviewer-{number}\"\n{rest}\n\n")
        };
        let steps = [step(1, "Save to `notes.md`."), step(2, ""), step(3, "Read `notes.md`.")].concat();
        let tasks = |preface: &str| {
            let plan = Plan::read("x", &format!("# X\n\n{preface}\n\n{steps}")).expect("it has steps");
            plan.stages.iter().map(|stage| stage.members.len()).collect::<Vec<_>>()
        };
        assert_eq!(tasks("Run these reviews in parallel:"), [2, 1]);
        assert_eq!(tasks("Reviews may run in parallel elsewhere."), [1, 1, 1]);
    }

    #[test]
    fn a_text_without_phases_is_no_plan() {
        assert_eq!(Plan::read("notes", "# Notes\n\nSome words.\n"), None);
        assert_eq!(Performer::parse("cmd: "), None);
    }
}
