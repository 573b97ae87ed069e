//! Keys of secrets in the templates of a Helm chart, which are no YAML before they are filled in.

use kapell_spec::finding::Span;

use crate::{files::FileId, repository::Repository, rule::Report};

/// A secret that a chart makes: what it is called, as it is written, and its keys.
struct Made<'a> {
    root: &'a str,
    file: FileId,
    name: &'a str,
    keys: Vec<&'a str>,
}

/// Tells of pods of a chart that take a key which the chart's own secret does not have: they do not start.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let templates = || {
        repository.systems.charts.iter().filter_map(|&id| {
            let file = &repository.files[id];
            Some((id, file.path.split_once("templates/")?.0, &*file.text))
        })
    };
    let made: Vec<Made<'_>> = templates().flat_map(|(id, root, text)| secrets(id, root, text)).collect();
    for (id, root, text) in templates().filter(|_| !made.is_empty()) {
        for (span, name, key) in taken(text) {
            let mut same = made.iter().filter(|made| made.root == root && made.name == name);
            let (Some(secret), None) = (same.next(), same.next()) else { continue };
            if secret.keys.contains(&key) {
                continue;
            }
            let message = format!(
                "this takes the key `{key}` of the chart's secret, which has {}",
                secret.keys.join(", ")
            );
            let start = repository.files[secret.file].text.find("kind: Secret").unwrap_or(0);
            report
                .add(id, span, message)
                .also(secret.file, Span::new(start, start + "kind: Secret".len()), "the secret")
                .done();
        }
    }
}

fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    Some(line.trim().trim_start_matches("- ").strip_prefix(key)?.trim().trim_matches(['"', '\'']))
}

/// Reads the secrets of a template whose keys all stand there as they are.
fn secrets<'a>(id: FileId, root: &'a str, text: &'a str) -> Vec<Made<'a>> {
    let documents =
        text.split("\n---").filter(|document| document.lines().any(|line| line.trim_end() == "kind: Secret"));
    let read = |document: &'a str| {
        let lines: Vec<&str> = document.lines().collect();
        let metadata = lines.iter().position(|line| line.trim_end() == "metadata:")?;
        let name = lines[metadata + 1..].iter().find_map(|line| value(line, "name:"))?;
        let mut keys = Vec::new();
        let mut inside = false;
        for line in &lines {
            let indented = line.starts_with(' ');
            if !indented && !line.trim().is_empty() {
                inside = matches!(line.trim_end(), "data:" | "stringData:");
                continue;
            }
            let own = line.trim();
            if !inside || own.is_empty() || own.starts_with('#') {
                continue;
            }
            // Keys that come from elsewhere may be any.
            if own.starts_with("{{") {
                return None;
            }
            let depth = line.len() - line.trim_start().len();
            let key =
                own.split_once(':').map(|(key, _)| key.trim_matches(['"', '\''])).filter(|_| depth == 2);
            keys.extend(key);
        }
        (!keys.is_empty() && keys.iter().all(|key| !key.contains("{{"))).then_some(Made {
            root,
            file: id,
            name,
            keys,
        })
    };
    documents.filter_map(read).collect()
}

/// Finds the keys of secrets that the pods of a template take.
fn taken(text: &str) -> Vec<(Span, &str, &str)> {
    let (mut found, mut at) = (Vec::new(), 0);
    let lines: Vec<(usize, &str)> = text
        .split_inclusive('\n')
        .map(|line| {
            at += line.len();
            (at - line.len(), line)
        })
        .collect();
    for (index, (_, line)) in lines.iter().enumerate() {
        if line.trim() != "secretKeyRef:" {
            continue;
        }
        let own = &lines[index + 1..lines.len().min(index + 4)];
        let name = own.iter().find_map(|(_, line)| value(line, "name:"));
        let key =
            own.iter().find_map(|(start, line)| Some((*start, line.trim_end().len(), value(line, "key:")?)));
        let optional = own.iter().any(|(_, line)| line.trim() == "optional: true");
        let (Some(name), Some((start, len, key)), false) = (name, key, optional) else { continue };
        if !key.contains("{{") {
            found.push((Span::new(start, start + len), name, key));
        }
    }
    found
}
