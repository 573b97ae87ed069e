//! GitHub workflows as one model: who waits for whom, when each job runs, what each step does, and what data flows.

pub mod script; // shell scripts as commands

pub mod tools; // what programs and actions do: data

pub mod world; // in which situations a workflow starts

pub mod conditions; // when jobs and steps run

pub mod groups; // which runs share a group

pub mod globs; // patterns of names

pub mod comments; // what people say about a place

pub mod facts; // what steps do

pub use facts::StepFacts;

pub(crate) mod own_scripts; // what the repository's own scripts do

pub mod spelling; // texts in one way of writing them

pub(crate) mod tokens; // as whom a step asks GitHub

pub mod carry; // what flows along an edge

pub mod cost; // how long it takes

pub mod simulate; // every way in which unknown conditions can turn out

pub mod aggregate; // jobs that stand for all others

pub mod lenience; // which failures `continue-on-error` lets pass

pub mod edit; // edits that keep comments and style

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kapell_spec::{
    finding::{Finding, Source, Span},
    github::{self as spec, Action, Job, Step, Text, Uses, Workflow},
};

use self::{
    conditions::{Run, Scope},
    world::World,
};
use crate::files::{File, FileId, Files};

/// A workflow, and what the models say of it. A copy shares them.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Its file.
    pub file: FileId,
    /// Its path.
    pub path: Arc<str>,
    /// Its text.
    pub text: Arc<str>,
    /// What was read.
    pub model: Arc<Workflow>,
    /// What is wrong with the text itself.
    pub notes: Arc<[Finding]>,
    /// What the steps of each job do.
    pub facts: Arc<[Vec<StepFacts>]>,
    /// The jobs that each job waits for, directly or not.
    pub closures: Arc<[Vec<usize>]>,
    /// The situations in which it starts.
    pub worlds: Arc<[World]>,
    /// Whether each job runs, by situation.
    pub runs: Arc<[Vec<Run>]>,
}

/// An action of the repository.
#[derive(Debug, Clone)]
pub struct LocalAction {
    /// Its file.
    pub file: FileId,
    /// Its text.
    pub text: Arc<str>,
    /// What was read.
    pub model: Action,
    /// What is wrong with the text itself.
    pub notes: Vec<Finding>,
}

/// All workflows and actions of a repository.
#[derive(Debug, Default)]
pub struct Github {
    /// The workflows, by path.
    pub flows: Vec<Flow>,
    /// The actions, by folder.
    pub actions: Arc<BTreeMap<String, LocalAction>>,
    /// The composite actions, each as a workflow of one job that nothing starts: for rules that look at steps only.
    pub composites: Arc<[Flow]>,
}

/// Tells whether a path is that of a workflow.
#[must_use]
pub fn is_workflow(path: &str) -> bool {
    let Some(name) = path.strip_prefix(".github/workflows/") else { return false };
    !name.contains('/') && (name.ends_with(".yml") || name.ends_with(".yaml"))
}

/// Tells whether a path is that of an action.
#[must_use]
pub fn is_action(path: &str) -> bool {
    matches!(path.rsplit('/').next(), Some("action.yml" | "action.yaml"))
}

impl Github {
    /// Reads the workflows and actions among the files.
    #[must_use]
    pub fn new(files: &Files) -> Self {
        let mut actions = BTreeMap::new();
        for (id, file) in files.iter().filter(|(_, file)| is_action(&file.path) && !is_workflow(&file.path)) {
            let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let (model, notes) = spec::action(&source(file));
            let action = LocalAction { file: id, text: file.text.clone(), model, notes };
            actions.insert(folder.to_owned(), action);
        }
        let workflows = files.iter().filter(|(_, file)| is_workflow(&file.path));
        let flows = workflows.map(|(id, _)| Flow::read(&actions, files, id)).collect();
        let composites = actions.iter().filter_map(|(folder, action)| {
            Flow::of_action(&actions, folder, action, files[action.file].path.clone())
        });
        Self { composites: composites.collect(), flows, actions: Arc::new(actions) }.with_calls()
    }

    /// Takes a call for skipped where none of the jobs that it calls runs, and with it what waits for it.
    fn with_calls(mut self) -> Self {
        let found: Vec<(usize, Vec<Vec<Run>>)> = (0..self.flows.len())
            .filter_map(|at| Some((at, self.runs_with_calls(&self.flows[at])?)))
            .collect();
        for (at, runs) in found {
            self.flows[at].runs = runs.into();
        }
        self
    }

    /// Returns whether each job of a workflow runs, if that hangs on the conditions of workflows that it calls.
    fn runs_with_calls(&self, flow: &Flow) -> Option<Vec<Vec<Run>>> {
        let asks = |called: &Flow| {
            let all = &called.model.jobs;
            !all.is_empty() && all.iter().all(|job| job.condition.is_some() || !job.needs.is_empty())
        };
        let calls: Vec<(usize, &Flow)> = flow
            .jobs()
            .filter_map(|(at, job)| Some((at, self.called(job)?)))
            .filter(|(_, called)| called.model.complete && asks(called))
            .collect();
        if calls.is_empty() {
            return None;
        }
        let runs = |world: &World| {
            let seen = world.as_called();
            let never = |called: &Flow| {
                let runs = conditions::runs(&called.model, &called.closures, &seen, |_| false);
                runs.iter().all(|run| *run == Run::Never)
            };
            let skipped: Vec<usize> =
                calls.iter().filter(|(_, called)| never(called)).map(|(at, _)| *at).collect();
            conditions::runs(&flow.model, &flow.closures, world, |job| skipped.contains(&job))
        };
        Some(flow.worlds.iter().map(runs).collect())
    }

    /// Returns the workflows of these files, with all actions.
    #[must_use]
    pub(crate) fn only(&self, files: &BTreeSet<FileId>) -> Self {
        let of = |flow: &&Flow| files.contains(&flow.file);
        let flows = self.flows.iter().filter(of).cloned().collect();
        let composites = self.composites.iter().filter(of).cloned().collect();
        Self { flows, actions: self.actions.clone(), composites }
    }

    /// Adds the workflows that these files call or that call them, directly or not.
    #[must_use]
    pub fn joined(&self, mut files: BTreeSet<FileId>) -> BTreeSet<FileId> {
        let calls =
            |flow| Self::jobs_of(flow).iter().filter_map(|job| self.called(job)).map(|called| called.file);
        let calls: Vec<(FileId, FileId)> =
            self.flows.iter().flat_map(|flow| calls(flow).map(|called| (flow.file, called))).collect();
        loop {
            let before = files.len();
            for (one, other) in &calls {
                if files.contains(one) || files.contains(other) {
                    files.extend([*one, *other]);
                }
            }
            if files.len() == before {
                return files;
            }
        }
    }

    /// Reads again those workflows that have other texts; the files have the same numbers as before.
    #[must_use]
    pub(crate) fn with(&self, files: &Files, changed: &BTreeSet<&str>) -> Self {
        // What a step does may stand in an action.
        if changed.iter().any(|path| is_action(path)) {
            return Self::new(files);
        }
        // Whether a job runs may hang on a workflow that it calls.
        let calls = |flow: &Flow| {
            flow.model
                .jobs
                .iter()
                .any(|job| matches!(job.called(), Some(Uses::Local(path)) if changed.contains(&**path)))
        };
        let again = |flow: &Flow| match changed.contains(&*flow.path) || calls(flow) {
            true => Flow::read(&self.actions, files, flow.file),
            false => flow.clone(),
        };
        Self {
            flows: self.flows.iter().map(again).collect(),
            actions: self.actions.clone(),
            composites: self.composites.clone(),
        }
        .with_calls()
    }

    /// Returns all that has steps: the workflows, and the composite actions as workflows that nothing starts.
    pub fn with_steps(&self) -> impl Iterator<Item = &Flow> {
        self.flows.iter().chain(&*self.composites)
    }

    /// Finds the workflow that a job calls, if it is one of the repository.
    #[must_use]
    pub fn called(&self, job: &Job) -> Option<&Flow> {
        match job.called()? {
            // They are in the order of their paths.
            Uses::Local(path) => {
                let at = self.flows.binary_search_by(|flow| (*flow.path).cmp(path)).ok()?;
                Some(&self.flows[at])
            }
            _ => None,
        }
    }

    /// Returns the jobs that call a workflow.
    #[must_use]
    pub fn callers(&self, called: &Flow) -> Vec<(&Flow, usize)> {
        let calls = |job: &Job| matches!(job.called(), Some(Uses::Local(path)) if **path == *called.path);
        let of = |flow| {
            (0..)
                .zip(&Self::jobs_of(flow)[..])
                .filter(|(_, job)| calls(job))
                .map(move |(at, _)| (flow, at))
                .collect::<Vec<_>>()
        };
        self.flows.iter().flat_map(of).collect()
    }

    fn jobs_of(flow: &Flow) -> &Vec<Job> {
        &flow.model.jobs
    }

    /// Returns a job and all jobs of the workflows that it calls.
    #[must_use]
    pub fn deep<'a>(&'a self, flow: &'a Flow, job: usize) -> Vec<(&'a Flow, usize)> {
        let mut found = vec![(flow, job)];
        let mut at = 0;
        // Workflows call each other at most ten levels deep; a cycle ends at the bound.
        while at < found.len() && found.len() < 500 {
            let (flow, job) = found[at];
            if let Some(called) = self.called(&flow.model.jobs[job]) {
                for index in 0..called.model.jobs.len() {
                    if !found.iter().any(|&(known, job)| job == index && std::ptr::eq(known, called)) {
                        found.push((called, index));
                    }
                }
            }
            at += 1;
        }
        found
    }
}

fn source(file: &File) -> Source {
    Source { name: file.path.clone(), text: file.text.clone() }
}

impl Flow {
    fn read(actions: &BTreeMap<String, LocalAction>, files: &Files, id: FileId) -> Self {
        let file = &files[id];
        let (tree, notes) = file.yaml();
        let (mut model, notes) = spec::workflow_of(&file.text, tree.as_ref(), notes.clone());
        // What stands before an error may be cut off in the middle.
        if !model.complete {
            model.jobs.clear();
        }
        let closures = conditions::closures(&model);
        let worlds = world::worlds(&model);
        let runs = worlds.iter().map(|world| conditions::runs(&model, &closures, world, |_| false)).collect();
        let mut facts: Vec<Vec<StepFacts>> =
            model.jobs.iter().map(|job| facts::of_job(actions, &model, job)).collect();
        own_scripts::learn(files, &model, &mut facts);
        Self {
            file: id,
            path: file.path.clone(),
            text: file.text.clone(),
            model: Arc::new(model),
            notes: notes.into(),
            facts: facts.into(),
            closures: closures.into(),
            worlds: worlds.into(),
            runs,
        }
        .without_promises()
        .with_own_cluster()
    }

    /// Takes a composite action for a job, which has no runner, no events and no condition of its own.
    fn of_action(
        actions: &BTreeMap<String, LocalAction>,
        folder: &str,
        action: &LocalAction,
        path: Arc<str>,
    ) -> Option<Self> {
        let first = action.model.steps.first()?.span;
        let last = action.model.steps.last()?.span;
        if !action.model.complete {
            return None;
        }
        let name = folder.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("action");
        let job = Job {
            id: spec::Name { text: name.into(), span: Span::new(first.start as usize, first.start as usize) },
            span: first.to(last),
            steps: action.model.steps.clone(),
            expressions: action.model.expressions.clone(),
            ..Job::default()
        };
        let model = Workflow {
            jobs: vec![job],
            comments: action.model.comments.clone(),
            complete: true,
            ..Workflow::default()
        };
        let facts = model.jobs.iter().map(|job| facts::of_job(actions, &model, job)).collect();
        Some(Self {
            file: action.file,
            path,
            text: action.text.clone(),
            model: Arc::new(model),
            notes: Arc::default(),
            facts,
            closures: [Vec::new()].into(),
            worlds: Arc::default(),
            runs: Arc::default(),
        })
    }

    /// Takes a script that is named after a delivery for a build in a job that holds no key to anything outside.
    fn without_promises(mut self) -> Self {
        let promises = |facts: &StepFacts| {
            let by_name =
                |done: &facts::Done| done.command.is_some_and(|at| tools::is_by_name(&facts.commands[at]));
            facts.works.iter().any(|done| done.work.kind.mutates() && by_name(done))
        };
        let own = |job: &Job| {
            job.runs_on.iter().any(|label| label.literal().is_none_or(|label| label == "self-hosted"))
        };
        let bare: Vec<usize> = self
            .jobs()
            .filter(|(at, job)| self.facts[*at].iter().any(promises) && !own(job) && !self.lets_out(*at))
            .map(|(at, _)| at)
            .collect();
        let Some(all) = Arc::get_mut(&mut self.facts) else { return self };
        for at in bare {
            for StepFacts { works, commands, .. } in &mut all[at] {
                for done in works.iter_mut().filter(|done| done.work.kind.mutates()) {
                    if done.command.is_some_and(|at| tools::is_by_name(&commands[at])) {
                        done.work.kind = tools::Kind::Build;
                    }
                }
            }
        }
        self
    }

    /// Tells whether a job starts a cluster by itself, which is gone with the runner.
    #[must_use]
    pub fn has_own_cluster(&self, job: usize) -> bool {
        const STARTS: &[&str] =
            &["kind create", "minikube start", "k3d cluster create", "k3d ", "microk8s ", "ctlptl create"];
        const ACTIONS: &[&str] = &[
            "kind-action",
            "setup-kind",
            "setup-minikube",
            "k3d",
            "k3s",
            "microk8s",
            "minikube",
            "setup-crc",
        ];
        self.facts[job].iter().any(|facts| {
            facts.works.iter().any(|done| STARTS.iter().any(|start| done.text.starts_with(start)))
                || facts.actions.iter().any(|name| {
                    !name.starts_with("actions/") && ACTIONS.iter().any(|part| name.contains(part))
                })
        })
    }

    /// Takes what goes to a cluster that the job has started by itself for a set-up: it is gone with the runner.
    fn with_own_cluster(mut self) -> Self {
        const CLIENTS: &[&str] =
            &["kubectl ", "helm ", "kustomize ", "helmfile ", "skaffold ", "flux ", "argocd ", "istioctl "];
        let own: Vec<usize> = (0..self.facts.len()).filter(|&at| self.has_own_cluster(at)).collect();
        let Some(all) = Arc::get_mut(&mut self.facts) else { return self };
        for at in own {
            for done in all[at].iter_mut().flat_map(|facts| &mut facts.works) {
                let inside = CLIENTS.iter().any(|client| done.text.starts_with(client));
                if inside && done.work.kind == tools::Kind::Deploy {
                    done.work.kind = tools::Kind::Setup;
                }
            }
        }
        self
    }

    /// Returns its name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        let file = self.path.rsplit('/').next().unwrap_or(&self.path);
        self.model.name.as_ref().map_or(file, |name| &name.text)
    }

    /// Returns the name by which `workflow_run` knows it.
    #[must_use]
    pub fn run_name(&self) -> &str {
        self.model.name.as_ref().map_or(&self.path, |name| &name.text)
    }

    /// Returns its jobs with their numbers.
    pub fn jobs(&self) -> impl Iterator<Item = (usize, &Job)> {
        self.model.jobs.iter().enumerate()
    }

    /// Returns the steps of a job with what they do.
    pub fn steps(
        &self,
        job: usize,
    ) -> impl DoubleEndedIterator<Item = (&Step, &StepFacts)> + ExactSizeIterator {
        self.model.jobs[job].steps.iter().zip(&self.facts[job])
    }

    /// Tells whether it is started by itself, not only called by others.
    #[must_use]
    pub fn starts(&self, event: &str) -> bool {
        self.model.event(event).is_some()
    }

    /// Returns the scope of the conditions of a job's steps in a situation.
    #[must_use]
    pub fn scope<'a>(&'a self, world: usize, job: usize, in_step: bool) -> Scope<'a> {
        Scope {
            world: &self.worlds[world],
            workflow: &self.model,
            runs: &self.runs[world],
            job,
            ancestors: &self.closures[job],
            in_step,
            cell: None,
        }
    }

    /// Tells whether a job may run in some situation that fits.
    #[must_use]
    pub fn may_run(&self, job: usize, fits: impl Fn(&World) -> bool) -> bool {
        self.worlds.iter().zip(self.runs.iter()).any(|(world, runs)| fits(world) && runs[job] != Run::Never)
    }

    /// Finds the line of a block scalar, from 0, that holds `word`.
    #[must_use]
    pub fn line_in(&self, span: Span, line: usize, word: &str) -> Option<Span> {
        let raw = self.text.get(span.range())?;
        let skip = usize::from(raw.starts_with(['|', '>']));
        let mut lines = raw.split_inclusive('\n');
        let before: usize = lines.by_ref().take(line + skip).map(str::len).sum();
        let text = lines.next().filter(|text| text.contains(word))?;
        let start = span.start as usize + before;
        let lead = text.len() - text.trim_start().len();
        Some(Span::new(start + lead, start + text.trim_end().len()))
    }

    /// Finds the line of a step's script on which its byte `at` stands, if `word` stands there; else all of the script.
    #[must_use]
    pub fn script_line(&self, step: &Step, at: usize, word: &str) -> Span {
        let line = step.script()[..at.min(step.script().len())].matches('\n').count();
        let find = |run: &Text| self.line_in(run.span, line, word).unwrap_or(run.span);
        step.run.as_ref().map_or(step.span, find)
    }

    /// Returns where a job is named.
    #[must_use]
    pub fn job_span(&self, job: usize) -> Span {
        self.model.jobs[job].id.span
    }
}
