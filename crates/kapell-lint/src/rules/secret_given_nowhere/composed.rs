//! Variables and files that a compose file asks for, and that the job which starts it does not give.

use kapell_spec::{finding::Span, github::Step};
use kapell_view::audit::Confidence;

use super::tools::hosted;
use crate::{
    files::{File, joined},
    github::{Flow, script::Command},
    repository::Repository,
    rule::Report,
    systems::{Compose, started},
};

/// Verbs of compose that read the whole file, and so need all that it asks for.
const READS: &[&str] = &["up", "run", "create", "build", "start", "pull", "config", "push"];

/// Those that start services.
const RUNS: &[&str] = &["up", "run", "create", "start"];

/// Words of what may set variables that no text shows.
const OPAQUE: &[&str] = &[
    "GITHUB_ENV",
    "vault",
    "doppler",
    "infisical",
    "1password",
    "keyvault",
    "secretsmanager",
    "sops",
    "op run",
    "chamber",
    "dotenv",
    ".env",
    "env-file",
    "source ",
    "set -a",
    "self-hosted",
    "uses: ./",
    "envsubst",
    "toJson(secrets",
    "toJSON(secrets",
];

/// Ends of names of what is secret.
const SECRET: &[&str] = &["TOKEN", "SECRET", "PASSWORD", "PASSWD", "_KEY", "APIKEY", "_DSN", "CREDENTIALS"];

/// Tells of what compose files ask for where a job starts them.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    if repository.systems.composes.is_empty() {
        return;
    }
    let mut told: Vec<(&str, String)> = Vec::new();
    for flow in repository.github.flows.iter().filter(|flow| flow.text.contains("compose")) {
        let jobs = flow.jobs().filter(|(at, _)| hosted(flow, *at));
        let steps = jobs.flat_map(|(at, _)| flow.steps(at).map(move |(step, facts)| (at, step, facts)));
        let commands = steps.flat_map(|(at, step, facts)| {
            facts.commands.iter().map(move |command| Start { flow, at, step, command })
        });
        for start in commands {
            for compose in started(repository, &start) {
                for one in lacking(repository, compose, &start) {
                    if !told.contains(&(&*compose.path, one.name.clone())) {
                        told.push((&compose.path, one.name.clone()));
                        tell(compose, one, &start, report);
                    }
                }
            }
        }
    }
}

/// A command that may start a compose file, and where it stands.
struct Start<'a> {
    flow: &'a Flow,
    at: usize,
    step: &'a Step,
    command: &'a Command,
}

/// Returns the compose files that a command starts.
fn started<'a>(repository: &'a Repository, start: &Start<'_>) -> Vec<&'a Compose> {
    let Start { flow, at, step, command } = start;
    let Some(rest) = started::of_compose(command) else { return Vec::new() };
    let own = |word: &&str| ["--env-file", "--project-directory"].iter().any(|known| word.starts_with(known));
    if rest.iter().any(own) || !rest.iter().any(|word| READS.contains(word)) {
        return Vec::new();
    }
    let files = started::files(&repository.systems, (flow, *at, step), &rest);
    files.into_iter().flatten().collect()
}

/// Something that a compose file asks for.
struct Asked {
    name: String,
    span: Span,
    /// Whether it is a file of variables.
    file: bool,
    /// Whether compose ends without it; otherwise it is empty.
    ends: bool,
}

/// Returns what a compose file asks for, and what starts it does not give.
fn lacking(repository: &Repository, compose: &Compose, start: &Start<'_>) -> Vec<Asked> {
    let file = &repository.files[compose.file];
    let folder = compose.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let text = around(start);
    let rest = started::of_compose(start.command).unwrap_or_default();
    let runs = rest.iter().any(|word| RUNS.contains(word));
    // Of services that are not started it is not asked for files.
    let whole =
        runs && !file.text.contains("profiles:") && !rest.iter().any(|word| compose.service(word).is_some());
    let files = asked_files(file).into_iter().filter(|one| {
        let path = joined(&compose.path, &one.name);
        let plain = !one.name.contains(['$', '~']) && !one.name.starts_with('/');
        // What is there in part may be made from it: `cp .env.example .env`.
        whole && plain && path.is_some_and(|path| !repository.files.exists(&path)) && !makes(&text, &one.name)
    });
    let mut found: Vec<Asked> = files.collect();
    let own = if folder.is_empty() { ".env".to_owned() } else { format!("{folder}/.env") };
    if repository.files.exists(&own)
        || repository.files.exists(".env")
        || OPAQUE.iter().any(|word| text.contains(word))
    {
        return found;
    }
    let asked = variables(&file.text);
    let gives = |name: &str| has_word(&text, name);
    let wired = asked.iter().any(|one| gives(&one.name));
    found.extend(asked.into_iter().filter(|one| {
        let secret = SECRET.iter().any(|end| one.name.ends_with(end));
        !gives(&one.name) && (one.ends || runs && wired && secret)
    }));
    found
}

/// Words of what may make a file that no text shows.
const MAKERS: &[&str] = &[
    "make ",
    "just ",
    "task ",
    ".sh",
    ".py",
    "gpg ",
    "base64",
    "envfile",
    "env-file",
    "create-env",
    "uses: ./",
];

/// Tells whether a text of a job speaks of a file, or runs what may make it.
fn makes(text: &str, name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    let vaults = OPAQUE.iter().filter(|word| !matches!(**word, ".env" | "env-file" | "GITHUB_ENV"));
    text.contains(last) || MAKERS.iter().chain(vaults).any(|word| text.contains(word))
}

/// Returns what a step sees of its workflow: all but the other jobs, and of the other steps only what they run.
fn around(start: &Start<'_>) -> String {
    let Start { flow, at, step, .. } = start;
    let text = &*flow.text;
    let first = flow.model.jobs.iter().map(|job| job.span.start as usize).min().unwrap_or(0);
    let own = &flow.model.jobs[*at];
    let head = own.steps.first().map_or(own.span.end, |step| step.span.start) as usize;
    let mut seen = text.get(..first).unwrap_or_default().to_owned();
    seen.push_str(text.get(own.span.start as usize..head).unwrap_or_default());
    for other in &own.steps {
        if other.span == step.span {
            seen.push_str(text.get(other.span.range()).unwrap_or_default());
            // What comes later gives nothing.
            break;
        }
        seen.push_str(other.script());
        if let Some((uses, _)) = &other.uses {
            seen.push_str("uses: ");
            seen.push_str(&uses.text);
        }
        seen.push('\n');
    }
    seen
}

/// Tells whether a text gives a variable by its name: what it reads of that name (`secrets.NAME`) gives nothing.
fn has_word(text: &str, name: &str) -> bool {
    let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    text.match_indices(name)
        .any(|(at, _)| !text[..at].ends_with(of_name) && !text[at + name.len()..].starts_with(of_name))
}

/// Returns the variables that a compose file puts in and has no value of its own for: `${NAME}`, `${NAME:?why}`, `$NAME`.
fn variables(text: &str) -> Vec<Asked> {
    let mut found: Vec<Asked> = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let from = start;
        start += line.len();
        let line = line.split(" #").next().unwrap_or(line);
        if line.trim_start().starts_with('#') {
            continue;
        }
        let mut at = 0;
        while let Some(dollar) = line[at..].find('$').map(|found| at + found) {
            at = dollar + 1;
            if line[at..].starts_with('$') {
                at += 1;
                continue;
            }
            let braced = line[at..].starts_with('{');
            let rest = &line[at + usize::from(braced)..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            let ends = braced && (after.starts_with(":?") || after.starts_with('?'));
            let plain = !braced || after.starts_with('}');
            let upper = name.len() > 2
                && name.starts_with(|c: char| c.is_ascii_uppercase())
                && !name.contains(|c: char| c.is_ascii_lowercase());
            if upper && (ends || plain) && !found.iter().any(|one| one.name == name && one.ends >= ends) {
                let place = from + at + usize::from(braced);
                let span = Span::new(place, place + name.len());
                found.retain(|one| one.name != name);
                found.push(Asked { name: name.to_owned(), span, file: false, ends });
            }
            at += usize::from(braced) + end;
        }
    }
    // One that stands there with a value of its own as well is not needed.
    found.retain(|one| {
        one.ends
            || !text.contains(&format!("{{{}:-", one.name)) && !text.contains(&format!("{{{}-", one.name))
    });
    found
}

/// Returns the files of variables without which compose ends.
fn asked_files(file: &File) -> Vec<Asked> {
    if !file.text.contains("env_file") {
        return Vec::new();
    }
    let mut found: Vec<Asked> = Vec::new();
    let mut at = 0;
    let mut listed = None;
    for line in file.text.split_inclusive('\n') {
        let (from, indent) = (at, line.len() - line.trim_start().len());
        at += line.len();
        let own = line.split(" #").next().unwrap_or(line).trim();
        let value = match (own.strip_prefix("env_file:"), listed) {
            (Some(value), _) => {
                listed = value.trim().is_empty().then_some(indent);
                value.trim()
            }
            (None, Some(outer)) if own.starts_with('-') && indent >= outer => own[1..].trim(),
            (None, Some(outer)) if indent > outer => continue,
            _ => {
                listed = listed.filter(|_| own.is_empty() || own.starts_with('#'));
                continue;
            }
        };
        // Of the long form the next lines say whether it is needed.
        let words = value
            .trim_start_matches('[')
            .trim_end_matches(']')
            .split(',')
            .map(|word| word.trim().trim_matches(['"', '\'']));
        for word in words.filter(|word| !word.is_empty() && !word.contains([':', '{', '*', '&'])) {
            let start = from + line.find(word).unwrap_or(0);
            let span = Span::new(start, start + word.len());
            if !found.iter().any(|one| one.name == word) {
                found.push(Asked { name: word.to_owned(), span, file: true, ends: true });
            }
        }
    }
    found
}

fn tell(compose: &Compose, one: Asked, start: &Start<'_>, report: &mut Report<'_>) {
    let Start { flow, at, step, command } = start;
    let id = &*flow.model.jobs[*at].id;
    let (message, hint) = if one.file {
        (
            format!(
                "compose does not start without `{}`, which is not in the repository and `{id}` does not make",
                one.name
            ),
            format!("write it in `{id}` before, or say `required: false`"),
        )
    } else if one.ends {
        (
            format!("compose does not start without `{}`, which `{id}` does not give it", one.name),
            format!("give the step `{}` under `env:`", one.name),
        )
    } else {
        (
            format!("`{}` is empty where `{id}` starts this: it gives others, and not this one", one.name),
            format!("give the step `{}` under `env:`, or a value of its own here", one.name),
        )
    };
    let place = flow.script_line(step, command.start, "compose");
    let sure = if one.ends { Confidence::High } else { Confidence::Medium };
    report
        .add(compose.file, one.span, message)
        .confidence(sure)
        .hint(hint)
        .also(flow.file, place, "started here")
        .done();
}
