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
    if !files.iter().any(|(_, file)| file.name() == "values.yaml") {
        return;
    }
    for flow in repository.asked_flows() {
        let all =
            flow.jobs().flat_map(|(at, job)| flow.steps(at).map(move |(step, facts)| (job, step, facts)));
        for (job, step, facts) in all {
            for command in &facts.commands {
                let Some(unread) = of_helm(files, command) else { continue };
                let run = step.run.as_ref().map_or(step.span, |run| run.span);
                unread.tell((flow.file, line_of(&flow.text, run, &unread.key)), report);
            }
            for script in own_scripts::of_step(files, job, step, facts) {
                let Some(file) = script.file else { continue };
                for unread in script.facts.commands.iter().filter_map(|command| of_helm(files, command)) {
                    let text = &files[file].text;
                    unread.tell((file, line_of(text, Span::new(0, text.len()), &unread.key)), report);
                }
            }
        }
    }
}

/// Returns the line within a span that sets a key, as it is written; the lines of a script may have been joined.
fn line_of(text: &str, within: Span, key: &str) -> Span {
    let raw = text.get(within.range()).unwrap_or_default();
    let Some(at) = raw.find(&format!("{key}=")) else { return within };
    let start = raw[..at].rfind('\n').map_or(0, |end| end + 1);
    let end = raw[at..].find('\n').map_or(raw.len(), |end| at + end);
    let lead = raw[start..end].len() - raw[start..end].trim_start().len();
    let from = within.start as usize;
    Span::new(from + start + lead, from + start + raw[start..end].trim_end().len())
}

/// A value that a command sets and its chart does not know.
struct Unread {
    folder: String,
    key: String,
    like: Option<String>,
}

impl Unread {
    fn tell(&self, (file, span): (FileId, Span), report: &mut Report<'_>) {
        let Self { folder, key, like } = self;
        let message =
            format!("`{folder}` neither has nor reads the value `{key}`: to set it changes nothing");
        let hint = match like {
            Some(like) => format!("there is `{like}`: set that"),
            None => "set a value that a template reads".to_owned(),
        };
        report.add(file, span, message).hint(hint).done();
    }
}

fn of_helm(files: &Files, command: &Command) -> Option<Unread> {
    let words = command.inner();
    let brings = |word: &String| matches!(word.as_str(), "upgrade" | "install" | "template");
    if command.program() != "helm" || !words.iter().take(4).any(brings) {
        return None;
    }
    let keys = set(words);
    let plain = |word: &&String| !word.starts_with('-') && !word.contains(['$', '=']);
    let paths =
        words.iter().skip(1).filter(plain).map(|word| word.trim_start_matches("./").trim_end_matches('/'));
    let mut charts = paths.filter(|path| files.find(&format!("{path}/values.yaml")).is_some());
    let folder = charts.next().filter(|_| !keys.is_empty())?;
    let chart = Chart::read(files, folder)?;
    let key = keys.into_iter().find(|key| !chart.knows(key))?;
    Some(Unread { folder: folder.to_owned(), key: key.to_owned(), like: chart.like(key) })
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
        let open = unread
            || calls_others(&templates)
            || templates.is_empty()
            || templates.iter().any(|text| text.contains("tpl ") || text.contains("include ("));
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

/// Tells whether templates take in one that none of them defines: one of a library, which may read any value.
fn calls_others(templates: &[&str]) -> bool {
    let named = |word: &'static str| {
        templates.iter().flat_map(move |text| text.split(word).skip(1)).filter_map(|rest| {
            let rest = rest.trim_start().strip_prefix('"')?;
            rest.split_once('"').map(|(name, _)| name)
        })
    };
    let defined: Vec<&str> = named("define").collect();
    named("include").chain(named("template")).any(|name| !defined.contains(&name))
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
