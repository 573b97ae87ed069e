//! Reading what to run: a workflow file, compiled to a mission and a plan.

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use kapell_agents::drivers::client;
use kapell_core::{
    mission::Mission,
    plan::{AgentSpec, Plan, Work},
};
use kapell_spec::{
    claude::plan::{self, Performer},
    finding::{Finding, Source, Span, render_all},
    suggest,
    workflow::{self, Agent, Options},
};
use kapell_view::untrusted::{Untrusted, visible};

use crate::{
    args::RunArgs,
    budget::Budget,
    exit::Exit,
    fault::Fault,
    ground,
    output::Out,
    registry::{self, Registry},
    site::Site,
};

/// The most bytes of a workflow file that are read; the reader refuses what is longer, with a place.
const FILE_BYTES_MAX: u64 = 11 << 20;

/// How many findings of a file are shown.
const FINDINGS_MAX: usize = 20;

/// How many agents work at the same time if nobody says.
const AGENTS: u32 = 4;

/// A mission with the plan for it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is asked.
    pub mission: Mission,
    /// How it is done.
    pub plan: Arc<Plan>,
    /// The document that it was made from, if it was no workflow file.
    pub document: Option<plan::Plan>,
    /// Who can be given its tasks.
    pub registry: Arc<Registry>,
    /// Whether files that lie in Git LFS may be their pointers in workspaces.
    pub lfs_pointers: bool,
}

/// What a person sets besides the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// How many agents work at the same time.
    pub agents: Option<u32>,
    /// How many commands run at the same time.
    pub jobs: Option<u32>,
    /// Values for `inputs`.
    pub inputs: BTreeMap<String, String>,
    /// Limits of the budget.
    pub budget: Budget,
    /// Who performs the phases of a document.
    pub agent: Option<String>,
    /// Whether nothing is started: who is told what else to type is told to look, too.
    pub looks: bool,
}

impl Overrides {
    /// Takes them from the command line of `run`.
    ///
    /// # Errors
    ///
    /// Fails on a `--set` that is not NAME=VALUE, or a budget that is none.
    pub fn of(args: &RunArgs) -> Result<Self, Fault> {
        let budget = budget(args.budget.as_deref())?;
        let agent = args.agent.clone();
        Ok(Self {
            agents: args.agents,
            jobs: args.jobs,
            inputs: inputs(&args.set)?,
            budget,
            agent,
            looks: false,
        })
    }
}

/// Reads a budget as it was typed; nothing is no limit.
///
/// # Errors
///
/// Fails if it is no budget.
pub fn budget(typed: Option<&str>) -> Result<Budget, Fault> {
    Budget::parse_option(typed).map_err(|error| {
        Fault::new("K0913", Exit::Usage, "the budget cannot be read")
            .because(error)
            .hint("--budget 5usd,2M,2h")
    })
}

/// Reads NAME=VALUE pairs.
///
/// # Errors
///
/// Fails on one without `=`.
pub fn inputs(set: &[String]) -> Result<BTreeMap<String, String>, Fault> {
    set.iter()
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                Fault::new("K0903", Exit::Usage, format!("`--set {pair}` is not NAME=VALUE"))
                    .hint("for example: --set version=1.2")
            })?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// Returns how many commands run at the same time if nobody says: one for each core.
pub fn default_jobs() -> u32 {
    std::thread::available_parallelism().map_or(2, |cores| u32::try_from(cores.get()).unwrap_or(2))
}

/// Tells whether a file is a document whose phases are the tasks, and no workflow file.
pub fn is_document(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("md"))
}

/// Turns a document into the text of a workflow file.
fn document(
    site: &Site,
    shown: &str,
    bytes: &[u8],
    agent: Option<&str>,
) -> Result<(plan::Plan, Vec<u8>), Fault> {
    let no_plan = || {
        Fault::new("K0918", Exit::Usage, format!("{shown} has no numbered phases"))
            .hint("write them as headings, such as `## Phase 1: Build`")
    };
    let nobody = || {
        Fault::new("K0919", Exit::Usage, format!("{shown} does not say who performs its phases"))
            .hint("--agent claude-code, or --agent cmd:'COMMAND'")
    };
    let plan = plan::Plan::read(shown, &String::from_utf8_lossy(bytes)).ok_or_else(no_plan)?;
    let performer = agent.and_then(Performer::parse).ok_or_else(nobody)?;
    let roles = registry::roles(&site.root)
        .into_iter()
        .map(|role| (role.name, plan::RoleText { file: role.file, text: role.text }));
    let text = plan.workflow(&performer, &roles.collect());
    Ok((plan, text.into_bytes()))
}

/// Reads a workflow file, or a document. Findings are printed; errors among them end the command.
///
/// # Errors
///
/// Fails if the file cannot be read or is not as it should be.
pub fn load(site: &Site, file: &Path, overrides: &Overrides, out: Out) -> Result<Loaded, Fault> {
    let bytes = read(file, if overrides.looks { "plan" } else { "run" })?;
    let whole = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let shown = whole.strip_prefix(&site.root).unwrap_or(file).display().to_string();
    let agent = overrides.agent.as_deref();
    let (document, bytes) = match is_document(file) {
        true => document(site, &shown, &bytes, agent).map(|(plan, bytes)| (Some(plan), bytes))?,
        false if agent.is_some() => {
            return Err(Fault::new("K0919", Exit::Usage, format!("{shown} names its agents itself"))
                .hint("leave --agent out, or change `agents:` in the file"));
        }
        false => (None, bytes),
    };
    let beside = file.parent().unwrap_or(Path::new(".")).to_owned();
    let text = Text { shown, bytes, beside };
    let loaded = load_text(site, text, overrides, out)?;
    ground::outside(site, &loaded.mission, out)?;
    // A document has no place in which it could say so.
    let lfs_pointers = loaded.lfs_pointers || document.is_some();
    Ok(Loaded { document, lfs_pointers, ..loaded })
}

/// The text of a workflow file, wherever it comes from.
#[derive(Debug)]
pub struct Text {
    /// What it is called, for people.
    pub shown: String,
    /// The text.
    pub bytes: Vec<u8>,
    /// Where the workflows that it names lie.
    pub beside: PathBuf,
}

/// Reads the text of a workflow file. Findings are printed; errors among them end the command.
///
/// # Errors
///
/// Fails if the text is not as it should be.
pub fn load_text(site: &Site, text: Text, overrides: &Overrides, out: Out) -> Result<Loaded, Fault> {
    let Text { shown, bytes, beside } = text;
    let registry = Registry::find(site)?;
    let outside = registry.outside();
    let (source, read, mut findings) = workflow::read_bytes_with(&shown, &bytes, &outside);
    let load = |path: &str| nested(&site.root, &beside, path);
    let options =
        Options { inputs: overrides.inputs.clone(), load: &load, outside: &outside, ..Options::default() };
    let compiled = read.and_then(|read| {
        let (compiled, more) = workflow::compile(&read, &options);
        findings.extend(more);
        compiled.map(|compiled| (read.agents.clone(), compiled))
    });
    findings.extend(
        compiled.as_ref().map(|(agents, compiled)| adapters(agents, &compiled.plan)).unwrap_or_default(),
    );
    let compiled = compiled.map(|(_, compiled)| compiled);
    tell(&findings, &source, out);
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let Some(compiled) = compiled.filter(|_| errors == 0) else {
        let code = findings.iter().find(|finding| finding.is_error()).map_or("K0999", |finding| finding.code);
        return Err(Fault::new(
            code,
            Exit::Usage,
            format!("{shown} has {}", kapell_view::text::plural(errors as u64, "error")),
        )
        .hint(format!("kapell explain {code}")));
    };
    let config = &site.config;
    let agents = config.agents.unwrap_or(AGENTS);
    let mut mission = compiled.mission(agents, config.jobs.unwrap_or_else(default_jobs));
    mission.limits.agents = overrides.agents.unwrap_or(mission.limits.agents);
    mission.limits.jobs = overrides.jobs.unwrap_or(mission.limits.jobs);
    mission.limits = overrides.budget.over(config.budget.unwrap_or_default().under(mission.limits));
    mission.source = Some(shown);
    let plan = Arc::new(registry.complete(&compiled.plan));
    let lfs_pointers = compiled.lfs_pointers;
    Ok(Loaded { mission, plan, document: None, registry: Arc::new(registry), lfs_pointers })
}

/// Finds agents that nothing here can speak to, before anything of the plan has begun.
fn adapters(agents: &[Agent], plan: &Plan) -> Vec<Finding> {
    let known: Vec<&str> = kapell_agents::world::adapters().collect();
    let mut findings = Vec::new();
    let mut plans = vec![plan];
    while let Some(plan) = plans.pop() {
        plans.extend(plan.definitions().iter().filter_map(|definition| match &definition.work {
            Work::Workflow(child) => Some(&*child.plan),
            _ => None,
        }));
        for spec in plan.agents() {
            // Those of a nested workflow have no place in this file.
            let written = agents
                .iter()
                .find(|agent| agent.name.value == spec.name && agent.adapter.value == spec.adapter);
            if known.contains(&spec.adapter.as_str()) {
                findings.extend(options(spec, written));
                continue;
            }
            let span = written.map(|agent| agent.adapter.span).unwrap_or_default();
            let message =
                format!("agent `{}` uses `{}`, and there is no such adapter", spec.name, spec.adapter);
            let finding = Finding::error("K0917", span, message);
            let near = suggest::nearest(&spec.adapter, known.iter().copied());
            findings.push(match near.filter(|_| written.is_some()) {
                Some(near) => {
                    finding.hint(format!("did you mean `{near}`?")).fix(format!("write `{near}`"), span, near)
                }
                None => finding.hint(format!("there are: {}", known.join(", "))),
            });
        }
    }
    findings
}

/// Finds options that an agent's adapter does not know, and values that it could not read: a cap with a letter too many
/// would be none.
fn options(spec: &AgentSpec, written: Option<&Agent>) -> Vec<Finding> {
    let known = client::options::of(&spec.adapter);
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let fault = |name: &str, value: &str| {
        let place = written.and_then(|agent| agent.options.iter().find(|(key, _)| key.value == name));
        let span = place.map(|(key, _)| key.span).unwrap_or_default();
        let fault = |message: String| {
            Finding::error(
                "K0928",
                span,
                format!("agent `{}`, which uses `{}`, {message}", spec.name, spec.adapter),
            )
        };
        let Some((_, kind)) = known.iter().find(|(known, _)| *known == name) else {
            let finding = fault(format!("knows no option `{name}`"));
            return Some(match suggest::nearest(name, names.iter().copied()).filter(|_| place.is_some()) {
                Some(near) => {
                    finding.hint(format!("did you mean `{near}`?")).fix(format!("write `{near}`"), span, near)
                }
                None => finding.hint(format!("it knows {}", names.join(", "))),
            });
        };
        let shown: String = value.chars().take(40).collect();
        let about = kind.about();
        (!kind.takes(value)).then(|| {
            fault(format!("cannot read `{name}: {}`", visible(&shown))).hint(format!("`{name}` is {about}"))
        })
    };
    spec.options.iter().filter_map(|(name, value)| fault(name, value)).collect()
}

/// Prints what is wrong with a file, with its lines.
fn tell(findings: &[Finding], source: &Source, out: Out) {
    if findings.is_empty() {
        return;
    }
    if out.json {
        for finding in findings {
            let (line, column) = source.position(finding.span.start);
            let place = |span: Span| {
                let (line, column) = source.position(span.start);
                format!("{}:{line}:{column}", source.name)
            };
            let also: Vec<_> = finding
                .labels
                .iter()
                .map(|label| serde_json::json!({"place": place(label.span), "message": label.text}))
                .collect();
            out.note_json(&serde_json::json!({"finding": {
                "code": finding.code, "message": finding.message, "file": &*source.name, "line": line,
                "column": column, "place": place(finding.span), "also": also,
                "hint": finding.hint, "error": finding.is_error(),
            }}));
        }
    } else {
        out.note(render_all(findings, source, true, FINDINGS_MAX).trim_end());
    }
}

/// Reads a workflow file; `command` is what to type where it stands elsewhere.
fn read(file: &Path, command: &str) -> Result<Vec<u8>, Fault> {
    let meta = fs::metadata(file).map_err(|error| match (error.kind(), beside(file)) {
        (ErrorKind::NotFound, Some(other)) => {
            Fault::io(file, &error).hint(format!("kapell {command} {}", Untrusted::from(other).shell()))
        }
        _ => Fault::io(file, &error),
    })?;
    if !meta.is_file() {
        return Err(Fault::new("K0907", Exit::Usage, format!("{} is no file", file.display()))
            .hint(format!("kapell {command} FILE, with a workflow file; kapell init writes a first one")));
    }
    let mut bytes = Vec::new();
    let opened = fs::File::open(file).and_then(|opened| opened.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    opened.map_err(|error| Fault::io(file, &error))?;
    Ok(bytes)
}

/// Finds a workflow file for somebody who named one that is not there: the first in the same directory.
fn beside(file: &Path) -> Option<String> {
    let dir = file.parent()?;
    let there = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let is_yaml = |path: &Path| path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let is_workflow = |path: &Path| {
        if !(is_yaml(path) && path.is_file()) {
            return false;
        }
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().any(|line| line.starts_with("mission:"))
    };
    let entries = fs::read_dir(there).ok()?.flatten().map(|entry| entry.path());
    let mut names: Vec<_> = entries
        .filter(|path| is_workflow(path))
        .filter_map(|path| path.file_name().map(ToOwned::to_owned))
        .collect();
    names.sort();
    names.first().map(|name| dir.join(name).display().to_string())
}

/// Reads a workflow that another one names: beside it, and never outside the repository.
fn nested(root: &Path, beside: &Path, path: &str) -> Result<Vec<u8>, String> {
    let joined: PathBuf = beside.join(path);
    let file = fs::canonicalize(&joined).map_err(|error| format!("{}: {error}", joined.display()))?;
    if !file.starts_with(root) {
        return Err(format!("{} lies outside of {}", file.display(), root.display()));
    }
    read(&file, "run").map_err(|fault| fault.message)
}
