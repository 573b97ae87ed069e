//! Values that a command sets, and that its chart neither has nor reads: `helm upgrade app ./chart --set image.tag=...`.

use kapell_spec::{finding::Span, yaml::Node};

use crate::{
    files::{FileId, Files},
    github::{own_scripts, script::Command},
    repository::Repository,
    rule::Report,
};

/// Tells of values that a chart of the repository does not know.
///
/// Source: Helm, "Values Files": `--set` adds whatever it names, and what no template reads changes nothing.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let files = &repository.files;
    for flow in &repository.github.flows {
        for (step, facts) in flow.jobs().flat_map(|(job, _)| flow.steps(job)) {
            for command in &facts.commands {
                let at = (flow.file, flow.script_line(step, command.start, ""));
                of_helm(files, command, at, report);
            }
            for script in own_scripts::of_step(files, step, facts) {
                let Some(file) = script.file else { continue };
                for command in &script.facts.commands {
                    let line = files[file].line(command.start as u32);
                    of_helm(files, command, (file, files[file].line_span(line)), report);
                }
            }
        }
    }
}

fn of_helm(files: &Files, command: &Command, (file, span): (FileId, Span), report: &mut Report<'_>) {
    let words = command.inner();
    let brings = |word: &String| matches!(word.as_str(), "upgrade" | "install" | "template");
    if command.program() != "helm" || !words.iter().take(4).any(brings) {
        return;
    }
    let keys = set(words);
    let plain = |word: &&String| !word.starts_with('-') && !word.contains(['$', '=']);
    let charts =
        words.iter().skip(1).filter(plain).map(|word| word.trim_start_matches("./").trim_end_matches('/'));
    let mut charts = charts.filter(|path| files.find(&format!("{path}/values.yaml")).is_some());
    let Some((folder, chart)) = charts.next().and_then(|path| Some((path, Chart::read(files, path)?))) else {
        return;
    };
    let Some(key) = keys.into_iter().find(|key| !chart.knows(key)) else { return };
    let draft = report.add(
        file,
        span,
        format!("`{folder}` neither has nor reads the value `{key}`: to set it changes nothing"),
    );
    match chart.like(key) {
        Some(like) => draft.hint(format!("there is `{like}`: set that")).done(),
        None => draft.hint("set a value that a template reads").done(),
    }
}

/// Returns the plain keys that a command of Helm sets.
fn set(words: &[String]) -> Vec<&str> {
    const FLAGS: &[&str] = &["--set", "--set-string"];
    let behind = words.windows(2).filter(|pair| FLAGS.contains(&pair[0].as_str())).map(|pair| &*pair[1]);
    let joined = words
        .iter()
        .filter_map(|word| FLAGS.iter().find_map(|flag| word.strip_prefix(flag)?.strip_prefix('=')));
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    // A value may have a comma in it; what follows that is no key then.
    behind
        .chain(joined)
        .filter_map(|text| text.split_once('=').map(|(key, _)| key))
        .filter(|key| !key.is_empty() && key.chars().all(named) && !key.starts_with("global."))
        .collect()
}

/// A chart whose templates are all read.
struct Chart<'a> {
    values: &'a Node,
    templates: Vec<&'a str>,
    about: &'a str,
}

impl<'a> Chart<'a> {
    /// Reads a chart; `None` where some of what it does stands elsewhere.
    fn read(files: &'a Files, folder: &str) -> Option<Self> {
        let inside = format!("{folder}/templates/");
        let values = &files[files.find(&format!("{folder}/values.yaml"))?];
        let about = files.find(&format!("{folder}/Chart.yaml")).map_or("", |id| &*files[id].text);
        let parts = format!("{folder}/charts/");
        let unread = files.others().any(|path| {
            path.starts_with(&inside) && !path.ends_with(".txt") && !path.ends_with(".md")
                || path.starts_with(&parts)
        });
        let templates: Vec<&str> = files
            .iter()
            .filter(|(_, file)| file.path.starts_with(&inside))
            .map(|(_, file)| &*file.text)
            .collect();
        // What is filled in a second time may read any value.
        let open = unread || templates.is_empty() || templates.iter().any(|text| text.contains("tpl "));
        let (tree, _) = values.yaml();
        let values = &tree.as_ref().filter(|tree| tree.complete && !open)?.root;
        values.entries()?;
        Some(Self { values, templates, about })
    }

    /// Tells whether a chart has a value, or a template reads it, or one above or below it.
    fn knows(&self, key: &str) -> bool {
        let first = key.split('.').next().unwrap_or(key);
        has(self.values, key)
            || self.about.contains(&format!(": {first}"))
            || self.templates.iter().any(|text| reads(text, key))
    }

    /// Returns the one value that ends as a key does.
    fn like(&self, key: &str) -> Option<String> {
        let mut found = Vec::new();
        paths(self.values, "", &mut found);
        let end = format!(".{key}");
        let mut like = found.into_iter().filter(|path| path.ends_with(&end));
        like.next().filter(|_| like.next().is_none())
    }
}

/// Tells whether values have a key. What is empty, or a list, may be filled with anything.
fn has(values: &Node, key: &str) -> bool {
    let mut node = values;
    for part in key.split('.') {
        match node.entries() {
            Some(entries) if !entries.is_empty() => match node.get(part) {
                Some(inner) => node = inner,
                None => return false,
            },
            _ => return true,
        }
    }
    true
}

fn paths(node: &Node, above: &str, found: &mut Vec<String>) {
    for entry in node.entries().unwrap_or_default() {
        let Some(name) = entry.key.text() else { continue };
        let path = if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
        paths(&entry.value, &path, found);
        found.push(path);
    }
}

/// Tells whether a template reads a value, all values, or one above or below it.
fn reads(text: &str, key: &str) -> bool {
    text.match_indices(".Values").any(|(at, found)| {
        let rest = &text[at + found.len()..];
        let Some(rest) = rest.strip_prefix('.') else { return true };
        let path = rest.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))).next();
        let mut parts = path.unwrap_or_default().split('.').zip(key.split('.'));
        parts.all(|(one, other)| one == other)
    })
}
