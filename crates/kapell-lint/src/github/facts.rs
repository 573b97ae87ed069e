//! What the steps of a job do, those of the repository's own actions included.

use std::{collections::BTreeMap, sync::LazyLock};

use kapell_core::expr::{Piece, Template};
use kapell_spec::{
    finding::Span,
    github::{Job, Name, Step, Text, Uses, Workflow},
    words::Words,
};

use super::{
    LocalAction, globs,
    script::{Command, commands},
    tools::{self, Kind, Work},
};

/// What a step does.
#[derive(Debug, Clone, Default)]
pub struct StepFacts {
    /// Each thing it does.
    pub works: Vec<Done>,
    /// The commands of its own script.
    pub commands: Vec<Command>,
    /// Artifacts that it gives.
    pub uploads: Vec<Artifact>,
    /// Artifacts that it takes.
    pub downloads: Vec<Artifact>,
    /// The names of the actions that it uses, those within local actions too.
    pub actions: Vec<String>,
    /// Whether it runs a script of the repository.
    own_script: bool,
}

/// A thing that a step does.
#[derive(Debug, Clone)]
pub struct Done {
    /// What, and how long it takes.
    pub work: Work,
    /// The command or the action.
    pub text: String,
    /// Which of the step's own commands it is.
    pub command: Option<usize>,
}

/// An artifact that is given or taken.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Patterns of its names.
    pub names: Vec<String>,
    /// Whether all artifacts of the run are meant.
    pub all: bool,
    /// Whether it belongs to another run.
    pub elsewhere: bool,
    /// Where its name stands in the workflow, if it does as it is.
    pub name_span: Option<Span>,
    /// How long it is kept, in days.
    pub days: Option<u32>,
}

impl StepFacts {
    /// Tells whether it does something of this kind.
    #[must_use]
    pub fn does(&self, kind: Kind) -> bool {
        self.works.iter().any(|done| done.work.kind == kind)
    }

    /// Tells whether something in it is not known.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.does(Kind::Unknown) || self.runs_own_script()
    }

    /// Tells whether it runs a script of the repository, which may do more than its name says.
    #[must_use]
    pub fn runs_own_script(&self) -> bool {
        self.own_script
    }

    /// Returns how long it takes, in seconds.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        self.works.iter().map(|done| done.work.seconds).sum::<u32>().max(1)
    }

    /// Returns the strongest thing that it changes outside.
    #[must_use]
    pub fn mutation(&self) -> Option<&Done> {
        self.works.iter().filter(|done| done.work.kind.mutates()).max_by_key(|done| done.work.kind)
    }
}

/// Returns what the steps of a job do.
pub(super) fn of_job(
    actions: &BTreeMap<String, LocalAction>,
    workflow: &Workflow,
    job: &Job,
) -> Vec<StepFacts> {
    let names = Names { workflow, job, inputs: &[], depth: 0 };
    let mut found: Vec<StepFacts> = job.steps.iter().map(|step| of_step(actions, &names, step)).collect();
    for (facts, step) in found.iter_mut().zip(&job.steps) {
        if has_live_database(workflow, job, step) {
            facts.works.iter_mut().for_each(migrates);
        }
    }
    if deploys_by_name(job) {
        last_script(&mut found);
    }
    found
}

/// Tells whether a job names production as its environment, and says by its own name that it deploys there.
fn deploys_by_name(job: &Job) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase).collect()
    };
    let environment = job.environment.as_ref().and_then(|environment| environment.name.as_ref());
    let live = environment.and_then(|name| name.literal()).is_some_and(|name| {
        words(name).iter().any(|word| matches!(word.as_str(), "prod" | "production" | "live"))
    });
    let name = job.name.as_ref().map_or("", |name| &name.text);
    let says = ["deploy", "deployment", "rollout", "ship", "promote"];
    live && words(&job.id.text).iter().chain(&words(name)).any(|word| says.contains(&word.as_str()))
}

/// Takes the last script of the repository that a job runs for what it deploys with, where nothing else in it does.
fn last_script(found: &mut [StepFacts]) {
    if found.iter().any(|facts| facts.works.iter().any(|done| done.work.kind.delivers())) {
        return;
    }
    let script = found.iter_mut().rev().find_map(|StepFacts { works, commands, .. }| {
        works.iter_mut().rev().find(|done| {
            let command = done.command.and_then(|at| commands.get(at));
            done.work.kind == Kind::Unknown && command.is_some_and(tools::is_own_script)
        })
    });
    if let Some(done) = script {
        done.work.kind = Kind::Deploy;
    }
}

/// Words of commands that change the schema of a database.
const MIGRATES: &[&str] = &[
    "alembic upgrade",
    "prisma migrate deploy",
    "drizzle-kit migrate",
    "drizzle-kit push",
    "db:migrate",
    "manage.py migrate",
    "artisan migrate",
    "flyway migrate",
    "liquibase update",
    "knex migrate:latest",
    "typeorm migration:run",
    "doctrine:migrations:migrate",
    "ecto.migrate",
    "ef database update",
    "goose up",
    "dbmate up",
    "sqlx migrate run",
    "diesel migration run",
    "sequelize db:migrate",
    "sequelize-cli db:migrate",
    "flask db upgrade",
    "supabase db push",
    "supabase migration up",
];

/// Programs that bring a schema up to date, and the word by which they do.
const FLAGGED: &[(&str, &str)] = &[
    ("flyway", "migrate"),
    ("liquibase", "update"),
    ("goose", "up"),
    ("dbmate", "up"),
    ("dbmate", "migrate"),
    ("migrate", "up"),
    ("atlas", "apply"),
    ("alembic", "upgrade"),
    ("phinx", "migrate"),
    ("sqitch", "deploy"),
];

/// Tells whether a command brings the schema of a database up to date.
pub(crate) fn is_migration(done: &Done) -> bool {
    static WORDS: LazyLock<Words> = LazyLock::new(|| Words::exact(MIGRATES));
    let words: Vec<&str> = done.text.split_whitespace().collect();
    let is_program = |word: &str, program: &str| {
        word.strip_suffix(program).is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
    };
    WORDS.is_in(&words.join(" "))
        || FLAGGED.iter().any(|(program, verb)| {
            // Flags with their values stand between: `flyway -url=... migrate`.
            let mut words = words.iter();
            words.any(|word| is_program(word, program)) && words.any(|word| word == verb)
        })
}

/// Tells whether the database that a step reaches is one that runs elsewhere: its job names an environment, or a secret says
/// where it is.
pub(super) fn has_live_database(workflow: &Workflow, job: &Job, step: &Step) -> bool {
    const TRIED: &[&str] = &["TEST", "PREVIEW", "SHADOW", "LOCAL", "E2E"];
    const BASES: &[&str] = &["DATABASE", "DB_", "_DB", "POSTGRES", "MYSQL", "DSN"];
    let secret = |(name, value): &(Name, Text)| {
        // Few variables are given by an expression.
        if !value.text.contains("${{") {
            return false;
        }
        let both = format!("{} {}", name.text, value.text).to_ascii_uppercase();
        both.contains("SECRETS.")
            && BASES.iter().any(|word| both.contains(word))
            && !TRIED.iter().any(|word| both.contains(word))
    };
    job.services.is_empty()
        && (job.environment.is_some() || step.env.iter().chain(&job.env).chain(&workflow.env).any(secret))
}

/// A job that names an environment has no database of its own to set up: what brings a schema up to date there changes
/// what runs.
fn migrates(done: &mut Done) {
    if matches!(done.work.kind, Kind::Setup | Kind::Unknown) && is_migration(done) {
        done.work.kind = Kind::Deploy;
    }
}

/// What expressions in names stand for.
struct Names<'a> {
    workflow: &'a Workflow,
    job: &'a Job,
    /// The inputs of the action that the step belongs to, with their patterns.
    inputs: &'a [(String, Vec<String>)],
    depth: usize,
}

fn of_step(actions: &BTreeMap<String, LocalAction>, names: &Names<'_>, step: &Step) -> StepFacts {
    let mut facts = StepFacts::default();
    if let Some(run) = &step.run {
        of_script(run, &mut facts);
    }
    match step.action() {
        Some(Uses::Local(path)) => match actions.get(&**path).filter(|_| names.depth < 4) {
            Some(action) => of_local(actions, names, step, action, &mut facts),
            None => unknown(path, &mut facts),
        },
        Some(Uses::Docker(image)) => unknown(image, &mut facts),
        Some(uses) => of_action(names, step, &uses.action().unwrap_or_default(), &mut facts),
        None => {}
    }
    facts
}

fn unknown(text: &str, facts: &mut StepFacts) {
    let work = Work { kind: Kind::Unknown, seconds: 20 };
    facts.works.push(Done { work, text: text.to_owned(), command: None });
}

/// Returns what the commands of a script do, one that is no step's own too.
pub(crate) fn of_text(text: &str) -> StepFacts {
    let mut facts = StepFacts::default();
    of_commands(text, &mut facts);
    facts
}

fn of_script(run: &Text, facts: &mut StepFacts) {
    of_commands(&run.text, facts);
}

fn of_commands(text: &str, facts: &mut StepFacts) {
    let commands = commands(text);
    // What stands behind a group is no program: `} >> "$GITHUB_OUTPUT"`.
    let runs = |command: &Command| command.words.first().is_some_and(|word| !word.starts_with(['>', '<']));
    for (index, command) in commands.iter().enumerate().filter(|(_, command)| runs(command)) {
        of_command(command, index, tools::DEPTH, &mut facts.works);
    }
    facts.downloads.extend(commands.iter().filter_map(downloaded));
    facts.own_script = commands.iter().any(tools::is_own_script);
    facts.commands = commands;
}

/// Returns the artifacts that `gh run download` takes.
fn downloaded(command: &Command) -> Option<Artifact> {
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    let ["gh", "run", "download", rest @ ..] = &words[..] else { return None };
    let own = ["${{ github.run_id }}", "${{github.run_id}}", "$GITHUB_RUN_ID", "${GITHUB_RUN_ID}"];
    let after = |flags: &[&str]| {
        let at = rest.iter().position(|word| flags.contains(word))?;
        rest.get(at + 1).map(|name| (*name).to_owned())
    };
    let name = after(&["-n", "--name"]);
    let pattern = after(&["-p", "--pattern"]).map(|pattern| globs::widen(&pattern));
    let computed = |name: &String| name.contains(['$', '`']);
    let known = name.or(pattern).filter(|name| !computed(name));
    Some(Artifact {
        all: known.is_none(),
        names: vec![known.unwrap_or_else(|| "*".to_owned())],
        elsewhere: !rest.iter().any(|word| own.contains(word))
            || rest.iter().any(|word| matches!(*word, "-R" | "--repo")),
        name_span: None,
        days: None,
    })
}

/// Adds what a command does, or what the commands do that it runs.
fn of_command(command: &Command, index: usize, depth: usize, works: &mut Vec<Done>) {
    let inner = if depth > 0 { tools::nested(command) } else { Vec::new() };
    let before = works.len();
    for inner in inner.iter().filter(|inner| !inner.words.is_empty()) {
        of_command(inner, index, depth - 1, works);
    }
    let work = tools::command(command);
    if works.len() == before && (work.kind != Kind::Trivial || work.seconds > 0) {
        works.push(Done { work, text: command.text(), command: Some(index) });
    }
}

fn of_local(
    actions: &BTreeMap<String, LocalAction>,
    names: &Names<'_>,
    step: &Step,
    action: &LocalAction,
    facts: &mut StepFacts,
) {
    if action.model.using.as_ref().is_none_or(|using| &*using.text != "composite") {
        unknown("local action", facts);
        return;
    }
    let inputs: Vec<(String, Vec<String>)> = action
        .model
        .inputs
        .iter()
        .map(|input| {
            let given = step.input(&input.name.text).or(input.default.as_ref());
            (
                input.name.text.to_ascii_lowercase(),
                given.map_or_else(|| vec![String::new()], |text| names.of(&text.text)),
            )
        })
        .collect();
    let inner = Names { inputs: &inputs, depth: names.depth + 1, ..*names };
    for step in &action.model.steps {
        let found = of_step(actions, &inner, step);
        facts.works.extend(found.works.into_iter().map(|done| Done { command: None, ..done }));
        let elsewhere = |artifact: Artifact| Artifact { name_span: None, ..artifact };
        facts.uploads.extend(found.uploads.into_iter().map(elsewhere));
        facts.downloads.extend(found.downloads.into_iter().map(elsewhere));
        facts.actions.extend(found.actions);
    }
}

fn of_action(names: &Names<'_>, step: &Step, name: &str, facts: &mut StepFacts) {
    let mut work = tools::action(name, step);
    if name == "actions/github-script" {
        work = of_github_script(step);
    }
    match inner_script(name, step) {
        // What it runs tells more than its name.
        Some(script) if work.kind == Kind::Unknown => {
            let inner = commands(&script);
            let does = inner.iter().filter(|command| !command.words.is_empty()).map(|command| Done {
                work: tools::command(command),
                text: command.text(),
                command: None,
            });
            facts.works.extend(does.filter(|done| done.work.kind != Kind::Trivial || done.work.seconds > 0));
        }
        _ => facts.works.push(Done { work, text: name.to_owned(), command: None }),
    }
    facts.actions.push(name.to_owned());
    match name {
        "actions/upload-artifact" => facts.uploads.push(names.upload(step)),
        "actions/upload-pages-artifact" => facts.uploads.push(Artifact {
            names: step
                .input("name")
                .map_or_else(|| vec!["github-pages".to_owned()], |text| names.of(&text.text)),
            all: false,
            elsewhere: false,
            name_span: None,
            days: None,
        }),
        "actions/download-artifact" => facts.downloads.push(names.download(step)),
        "actions/deploy-pages" => facts.downloads.push(Artifact {
            names: vec!["github-pages".to_owned()],
            all: false,
            elsewhere: false,
            name_span: None,
            days: None,
        }),
        _ => {}
    }
}

/// Actions that run commands they are given, and the input that holds these.
const RUNNERS: &[(&str, &str, &str)] = &[
    ("nick-fields/retry", "command", ""),
    ("nick-invision/retry", "command", ""),
    ("wretry/action", "command", ""),
    ("coactions/setup-xvfb", "run", ""),
    ("gabrielbb/xvfb-action", "run", ""),
    ("azure/cli", "inlineScript", ""),
    ("borales/actions-yarn", "cmd", "yarn "),
    ("magefile/mage-action", "args", "mage "),
];

/// Returns the commands that a step gives to an action that runs them here.
fn inner_script(name: &str, step: &Step) -> Option<String> {
    let (_, input, program) = RUNNERS.iter().find(|row| row.0 == name)?;
    step.input(input).map(|text| format!("{program}{}", text.text))
}

fn of_github_script(step: &Step) -> Work {
    let script = step.input("script").map(|text| &*text.text).unwrap_or_default();
    let has = |words: &[&str]| words.iter().any(|word| script.contains(word));
    let kind = if has(&["createRelease", "updateRelease", "deleteRelease", "uploadReleaseAsset"]) {
        Kind::Release
    } else if has(&["createWorkflowDispatch", "createDispatchEvent"]) {
        Kind::Dispatch
    } else if has(&["createRef", "updateRef", "createOrUpdateFileContents"]) {
        Kind::Push
    } else if has(&[
        "createComment",
        "updateComment",
        "addLabels",
        "removeLabel",
        "createCommitStatus",
        "core.summary",
    ]) {
        Kind::Report
    } else {
        Kind::Unknown
    };
    Work { kind, seconds: 4 }
}

/// Returns what `runner.os` is on a hosted runner of this label.
fn system(label: &str) -> Option<&'static str> {
    const STARTS: &[(&str, &str)] = &[("ubuntu-", "Linux"), ("windows-", "Windows"), ("macos-", "macOS")];
    STARTS.iter().find(|(start, _)| label.starts_with(start)).map(|(_, system)| *system)
}

impl Names<'_> {
    fn upload(&self, step: &Step) -> Artifact {
        let name = step.input("name");
        let bare = step.input("archive").is_some_and(|text| text.is("false"));
        let names = match (name, step.input("path")) {
            // A bare file is named after itself.
            (_, Some(path)) if bare => {
                let file = path.text.trim().rsplit('/').next().unwrap_or_default();
                let mut names = self.of(&globs::widen(file));
                names.extend(name.map(|name| self.of(&name.text)).unwrap_or_default());
                names
            }
            (Some(name), _) => self.of(&name.text),
            (None, _) => vec!["artifact".to_owned()],
        };
        Artifact {
            names,
            all: false,
            elsewhere: false,
            name_span: name.map(|name| name.span),
            days: step.input("retention-days").and_then(|days| days.text.trim().parse().ok()),
        }
    }

    fn download(&self, step: &Step) -> Artifact {
        let name = step.input("name").filter(|name| !name.text.trim().is_empty());
        let pattern = step.input("pattern");
        let by_id = step.input("artifact-ids").is_some();
        let names = match (name, pattern) {
            (Some(name), _) => self.of(&name.text),
            (None, Some(pattern)) => {
                self.of(&pattern.text).iter().map(|pattern| globs::widen(pattern)).collect()
            }
            (None, None) => vec!["*".to_owned()],
        };
        Artifact {
            all: name.is_none() && pattern.is_none(),
            names,
            elsewhere: by_id || ["run-id", "repository"].iter().any(|input| step.input(input).is_some()),
            name_span: name.or(pattern).map(|text| text.span),
            days: None,
        }
    }

    /// Returns the patterns that a text may stand for, one for each cell of the matrix if that is known.
    fn of(&self, text: &str) -> Vec<String> {
        let Ok(template) = Template::parse(text) else { return vec!["*".to_owned()] };
        if template.placeholders().is_empty() {
            return vec![text.trim().to_owned()];
        }
        let by_system =
            text.contains("runner.os") && self.job.runs_on.iter().any(|label| label.text.contains("matrix."));
        let cells = (text.contains("matrix") || by_system)
            .then(|| self.job.matrix.as_ref()?.cells())
            .flatten()
            .filter(|cells| !cells.is_empty());
        let mut found: Vec<String> = match cells {
            Some(cells) => cells.iter().flat_map(|cell| self.in_cell(&template, Some(cell))).collect(),
            None => self.in_cell(&template, None),
        };
        found.sort();
        found.dedup();
        found.truncate(256);
        found
    }

    fn in_cell(
        &self,
        template: &Template,
        cell: Option<&[(&str, &kapell_core::expr::Value)]>,
    ) -> Vec<String> {
        let mut found = vec![String::new()];
        for piece in template.pieces() {
            let next: Vec<String> = match piece {
                Piece::Text(text) => vec![text.to_owned()],
                Piece::Expr(placeholder) => self.expression(placeholder.expr.root(), cell),
            };
            found = found
                .iter()
                .flat_map(|start| next.iter().map(move |end| format!("{start}{end}")))
                .take(256)
                .collect();
        }
        found
    }

    fn expression(
        &self,
        node: &kapell_core::expr::Node,
        cell: Option<&[(&str, &kapell_core::expr::Value)]>,
    ) -> Vec<String> {
        let any = || vec!["*".to_owned()];
        let references = node.references();
        let [reference] = &references[..] else { return any() };
        if !reference.whole
            || reference.path.len() != 2
            || !matches!(node.kind, kapell_core::expr::NodeKind::Access { .. })
        {
            return any();
        }
        let (base, name) = (reference.path[0].0, reference.path[1].0);
        match base {
            "matrix" => {
                let value =
                    cell.and_then(|cell| cell.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)));
                value.and_then(|(_, value)| value.text()).map_or_else(any, |text| vec![text.into_owned()])
            }
            "runner" if name.eq_ignore_ascii_case("os") => {
                let [label] = &self.job.runs_on[..] else { return any() };
                let Ok(template) = Template::parse(&label.text) else { return any() };
                let labels = match label.literal() {
                    Some(label) => vec![label.to_owned()],
                    None if label.text.contains("matrix") && !label.text.contains("runner") => {
                        self.in_cell(&template, cell)
                    }
                    None => return any(),
                };
                labels.iter().map(|label| system(label).unwrap_or("*").to_owned()).collect()
            }
            "inputs" if self.depth > 0 => {
                let given = self.inputs.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
                given.map_or_else(any, |(_, patterns)| patterns.clone())
            }
            "env" => {
                let lookup = |env: &[(Name, Text)]| {
                    env.iter()
                        .find(|(known, _)| &*known.text == name)
                        .and_then(|(_, text)| text.literal().map(str::to_owned))
                };
                // A step may set it anew.
                let set = self.job.steps.iter().any(|step| step.script().contains("GITHUB_ENV"));
                if set {
                    return any();
                }
                lookup(&self.job.env)
                    .or_else(|| lookup(&self.workflow.env))
                    .map_or_else(any, |text| vec![text])
            }
            _ => any(),
        }
    }
}
