//! A file of the corpus, and how parts of a fault are put into it.

use std::collections::BTreeMap;

use kapell_spec::{
    finding::Source,
    github::{self, Job, Workflow},
};

use super::{Dice, MARK};

/// What kind of file it is, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Workflow,
    Agent,
    Command,
    Skill,
    Hooks,
}

/// A file that a fault can be put into, and the files that it is read with.
pub(super) struct Host {
    pub(super) repository: String,
    pub(super) path: String,
    pub(super) files: BTreeMap<String, String>,
    kind: Kind,
}

fn kind(path: &str) -> Option<Kind> {
    let within = |folder: &str| path.contains(&format!("{folder}/"));
    let name = path.rsplit('/').next().unwrap_or(path);
    match name {
        "SKILL.md" => Some(Kind::Skill),
        "hooks.json" | "settings.json" => Some(Kind::Hooks),
        _ if path.starts_with(".github/workflows/") => Some(Kind::Workflow),
        _ if !name.ends_with(".md") || name == "README.md" => None,
        _ if within("agents") => Some(Kind::Agent),
        _ if within("commands") => Some(Kind::Command),
        _ => None,
    }
}

/// Returns the files of the corpus that faults can be put into, each with the files that it names; assets of agents
/// also with the manifests of their repository.
pub(super) fn all(repositories: &BTreeMap<String, BTreeMap<String, String>>) -> Vec<Host> {
    let mut hosts = Vec::new();
    for (repository, texts) in repositories {
        for (path, text) in texts {
            let Some(kind) = kind(path) else { continue };
            let beside = |other: &str| {
                let folder = other.rsplit_once('/').map_or("", |(folder, _)| folder);
                let stem = other.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or("");
                match kind {
                    Kind::Workflow if other.contains("/workflows/") => text.contains(other),
                    Kind::Workflow => {
                        other.starts_with(".github/") && folder != ".github" && text.contains(folder)
                    }
                    _ if other.starts_with(".github/") => false,
                    _ => other.ends_with(".json") || stem.len() > 4 && text.contains(stem),
                }
            };
            let files = texts
                .iter()
                .filter(|(other, _)| *other == path || beside(other))
                .map(|(path, text)| (path.clone(), text.clone()))
                .collect();
            hosts.push(Host { repository: repository.clone(), path: path.clone(), files, kind });
        }
    }
    hosts
}

fn read(text: &str) -> Workflow {
    github::workflow(&Source::new("w.yml", text)).0
}

/// Returns the start of the line that a byte stands in.
fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Returns where a job ends: in front of the next, or of what comes behind all of them. What a parser takes for its
/// end leaves out the last lines of a script.
fn end_of(text: &str, model: &Workflow, job: usize) -> usize {
    let jobs = model.keys.get("jobs").map_or(0, |key| key.span.start);
    let behind = model.keys.entries.iter().map(|key| key.span.start).filter(|start| *start > jobs).min();
    let next = model.jobs.get(job + 1).map(|next| next.id.span.start).or(behind);
    let end = next.map_or(text.len(), |next| line_start(text, next as usize));
    let kept =
        text[..end].lines().rev().take_while(|line| line.trim().is_empty() || line.trim().starts_with('#'));
    end - kept.map(|line| line.len() + 1).sum::<usize>().min(end)
}

fn indented(body: &str, by: &str) -> String {
    let line = |line: &str| if line.trim().is_empty() { "\n".to_owned() } else { format!("{by}{line}\n") };
    body.trim_end().lines().map(line).collect()
}

fn inserted(text: &str, at: usize, what: &str) -> String {
    let gap = if at > 0 && !text[..at].ends_with('\n') { "\n" } else { "" };
    format!("{}{gap}{what}{}", &text[..at], &text[at..])
}

/// Returns the blanks before a byte of its line.
fn indent(text: &str, at: usize) -> String {
    " ".repeat(at - line_start(text, at))
}

impl Host {
    /// Replaces the names that a part may use.
    pub(super) fn filled(&self, body: &str, job: Option<&str>) -> String {
        let text = &self.files[&self.path];
        let dir = self.path.rsplit_once('/').map_or("", |(dir, _)| dir);
        let stem = self.path.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or("");
        let name = if self.kind == Kind::Workflow {
            read(text).name.map_or_else(|| self.path.clone(), |name| name.text.to_string())
        } else {
            stem.to_owned()
        };
        let body = body.replace("{path}", &self.path).replace("{dir}", dir).replace("{stem}", stem);
        let body = body.replace("{name}", &name);
        job.map_or(body.clone(), |job| body.replace("{job}", job))
    }

    /// Tells whether the file is one that a seed asks for.
    pub(super) fn suits(&self, wants: &[(String, String)]) -> bool {
        let text = &self.files[&self.path];
        let lower = text.to_ascii_lowercase();
        wants.iter().all(|(key, word)| match key.as_str() {
            "on" => read(text).event(word).is_some(),
            "off" => read(text).event(word).is_none(),
            "has" => lower.contains(&word.to_ascii_lowercase()),
            "no" => !lower.contains(&word.to_ascii_lowercase()),
            "path" => self.path.contains(word.as_str()),
            "outside" => !self.path.contains(word.as_str()),
            other => panic!("unknown wish {other}"),
        })
    }

    /// Tells whether the file is of the side that another file is put into.
    pub(super) fn is_beside(&self, path: &str) -> bool {
        let workflow = path.starts_with(".github/");
        let asset = path.ends_with(".md");
        !workflow && !asset || workflow == (self.kind == Kind::Workflow)
    }

    /// Tells whether a workflow still reads.
    pub(super) fn is_sound(&self, files: &BTreeMap<String, String>) -> bool {
        self.kind != Kind::Workflow || {
            let (model, findings) = github::workflow(&Source::new("w.yml", &files[&self.path]));
            model.complete && !findings.iter().any(|finding| finding.is_error())
        }
    }

    fn is_a(&self, kind: &str) -> bool {
        let kinds = [("agent", Kind::Agent), ("command", Kind::Command), ("skill", Kind::Skill)];
        kinds.contains(&(kind, self.kind))
    }

    /// Puts a part into the text; returns it, and the job that it went into.
    pub(super) fn put(
        &self,
        text: &str,
        place: &str,
        body: &str,
        job: Option<&str>,
        dice: &mut Dice,
    ) -> Option<(String, Option<String>)> {
        let (place, rest) = place.split_once(' ').unwrap_or((place, ""));
        if place == "swap" {
            let fits = rest.is_empty() || self.is_a(rest);
            return fits.then(|| swapped(text, body, dice)).flatten().map(|text| (text, None));
        }
        match self.kind {
            Kind::Workflow => into_workflow(text, place, body, job, dice),
            Kind::Hooks if place == "hook" => into_hooks(text, body).map(|text| (text, None)),
            Kind::Agent | Kind::Command | Kind::Skill => {
                let (kind, key) = rest.split_once(' ').unwrap_or((rest, ""));
                self.is_a(kind).then(|| into_asset(text, place, key, body)).flatten().map(|text| (text, None))
            }
            Kind::Hooks => None,
        }
    }
}

/// `OLD ==> NEW`, in one of the places that have the old text.
fn swapped(text: &str, body: &str, dice: &mut Dice) -> Option<String> {
    let (old, new) = body.trim_end_matches('\n').split_once(" ==> ").expect("OLD ==> NEW");
    let places: Vec<usize> = text.match_indices(old).map(|(at, _)| at).collect();
    let at = *places.get(dice.below(places.len()))?;
    Some(format!("{}{new}{}", &text[..at], &text[at + old.len()..]))
}

fn into_workflow(
    text: &str,
    place: &str,
    body: &str,
    known: Option<&str>,
    dice: &mut Dice,
) -> Option<(String, Option<String>)> {
    let model = read(text);
    // A job is chosen once, so that the parts of a seed meet in it.
    let chosen = |fits: &dyn Fn(&Job) -> bool, dice: &mut Dice| -> Option<usize> {
        let jobs: Vec<usize> = (0..model.jobs.len())
            .filter(|&at| {
                fits(&model.jobs[at]) && known.is_none_or(|known| *model.jobs[at].id.text == *known)
            })
            .collect();
        jobs.get(dice.below(jobs.len())).copied()
    };
    let named = |at: usize| Some(model.jobs[at].id.text.to_string());
    let block = |job: &Job| job.keys.open && !job.keys.entries.is_empty();
    match place {
        "job" => {
            let by = indent(text, model.jobs.first()?.id.span.start as usize);
            let at = end_of(text, &model, model.jobs.len() - 1);
            let other = known.map(str::to_owned).or_else(|| named(dice.below(model.jobs.len())));
            let body = other.as_ref().map_or(body.to_owned(), |job| body.replace("{job}", job));
            Some((inserted(text, at, &indented(&body, &by)), other))
        }
        "step" | "first" => {
            let ends = |job: &Job| {
                let last = job.keys.entries.iter().max_by_key(|key| key.span.start);
                last.is_some_and(|key| &*key.name == "steps")
            };
            let open = |job: &Job| block(job) && job.steps.len() > 1 && ends(job);
            let at = chosen(&open, dice)?;
            let job = &model.jobs[at];
            let step = job.steps.first()?.span.start as usize;
            let start = line_start(text, step);
            let dash = start + text[start..step].find('-')?;
            let into = if place == "first" { start } else { end_of(text, &model, at) };
            let body = body.replace("{job}", &job.id.text);
            Some((inserted(text, into, &indented(&body, &indent(text, dash))), named(at)))
        }
        "key" => {
            let names: Vec<&str> = body
                .lines()
                .filter(|line| !line.starts_with(' '))
                .filter_map(|line| Some(line.split_once(':')?.0))
                .collect();
            let free = |job: &Job| block(job) && names.iter().all(|name| job.keys.get(name).is_none());
            let at = chosen(&|job| free(job) && !job.steps.is_empty(), dice)?;
            let first = model.jobs[at].keys.entries.first()?.span.start as usize;
            let body = body.replace("{job}", &model.jobs[at].id.text);
            let what = indented(&body, &indent(text, first));
            Some((inserted(text, line_start(text, first), &what), named(at)))
        }
        "top" => {
            let free = body
                .lines()
                .filter_map(|line| Some(line.split_once(':')?.0))
                .all(|name| name.starts_with(' ') || model.keys.get(name).is_none());
            let at = model.keys.get("jobs").filter(|_| free)?.span.start as usize;
            Some((inserted(text, line_start(text, at), &indented(body, "")), None))
        }
        "event" => {
            let first = model.events.first()?.name.span.start as usize;
            let start = line_start(text, first);
            let opens =
                text[start..first].trim().is_empty() && text[first..].split('\n').next()?.contains(':');
            let free = |line: &str| {
                line.starts_with(' ') || model.event(line.split(':').next().unwrap_or("")).is_none()
            };
            (opens && body.lines().all(free))
                .then(|| (inserted(text, start, &indented(body, &indent(text, first))), None))
        }
        _ => None,
    }
}

/// Entries of `"hooks": { .. }`.
fn into_hooks(text: &str, body: &str) -> Option<String> {
    let at = text.find("\"hooks\": {")? + "\"hooks\": {".len();
    let more = if text[at..].trim_start().starts_with('}') { "" } else { "," };
    Some(format!("{}\n{}{more}{}", &text[..at], body.trim_end(), &text[at..]))
}

fn into_asset(text: &str, place: &str, key: &str, body: &str) -> Option<String> {
    let opened = text.starts_with("---\n");
    match place {
        "text" => Some(format!("{}\n\n{body}", text.trim_end())),
        "front" => {
            let keys =
                body.lines().filter_map(|line| line.split_once(':')).map(|(key, _)| format!("\n{key}:"));
            let free = keys.into_iter().all(|key| !text.contains(&key));
            (opened && free).then(|| inserted(text, 4, body))
        }
        "drop" => {
            let start = text.find(&format!("\n{key}:"))? + 1;
            let end = start + text[start..].find('\n')? + 1;
            let plain = !text[end..].starts_with([' ', '-']) || text[end..].starts_with("---");
            (opened && plain).then(|| format!("---{MARK}{}{}", &text[3..start], &text[end..]))
        }
        "unopen" => opened.then(|| text[4..].replacen('\n', &format!("{MARK}\n"), 1)),
        _ => None,
    }
}
