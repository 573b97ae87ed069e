//! Numbers of ports in the templates of a Helm chart, as they are or as the plain values of the chart fill them in.

use std::collections::BTreeSet;

use kapell_spec::{finding::Span, yaml::Node};
use kapell_view::audit::Confidence;

use crate::{
    files::{FileId, Files},
    repository::Repository,
    rule::Report,
};

/// A number of a port: where it is written, and the path of the value that it comes from.
struct Port<'a> {
    number: u16,
    file: FileId,
    span: Span,
    value: Option<&'a str>,
    /// Where the line begins that says it in the template.
    line: (FileId, usize),
}

/// Tells of the one service of a chart that sends to another port than the only one that the chart's containers declare.
///
/// Source: Kubernetes, "Service", section "Port definitions": `targetPort` is a port of the pods.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let files = &repository.files;
    let roots: BTreeSet<&str> = files
        .iter()
        .filter_map(|(_, file)| file.path.split_once("templates/").map(|(root, _)| root))
        .filter(|root| files.find(&format!("{root}values.yaml")).is_some())
        .collect();
    for root in roots {
        let Some((known, target)) = pair(files, root) else { continue };
        report
            .add(
                target.file,
                target.span,
                format!(
                    "the service of the chart sends to port {}, but its container has {}",
                    target.number, known.number
                ),
            )
            .confidence(Confidence::Medium)
            .hint(format!("send to {}, or to the port by its name", known.number))
            .also(known.file, known.span, "the port of the container")
            .done();
    }
}

/// Returns the one port of the containers of a chart and the one that its service sends to, where they differ and nothing
/// else in the chart speaks of the second.
fn pair<'a>(files: &'a Files, root: &str) -> Option<(Port<'a>, Port<'a>)> {
    let inside = format!("{root}templates/");
    let values = files.find(&format!("{root}values.yaml"))?;
    let unread = |path: &str| path.starts_with(&inside) && !path.ends_with(".txt") && !path.ends_with(".md");
    // Values of an environment are laid over those of the chart.
    let laid_over = files.iter().any(|(id, file)| {
        id != values
            && file.path.starts_with(root)
            && file.name().starts_with("values")
            && ["targetPort", "containerPort"].iter().any(|key| file.text.contains(key))
    });
    if laid_over || files.others().any(unread) {
        return None;
    }
    let templates: Vec<FileId> =
        files.iter().filter(|(_, file)| file.path.starts_with(&inside)).map(|(id, _)| id).collect();
    let only = |key: &str| {
        let mut found = templates.iter().flat_map(|&id| said(files, (id, values), key));
        let (first, None) = (found.next()?, found.next()) else { return None };
        first
    };
    let (known, target) = (only("containerPort:")?, only("targetPort:")?);
    let spoken = templates.iter().any(|&id| {
        let mut at = 0;
        files[id].text.split_inclusive('\n').any(|line| {
            let own = (id, at) == target.line;
            at += line.len();
            let by_value = target.value.is_some_and(|path| line.contains(&format!(".Values.{path}")));
            !own && (by_value || line.contains(&target.number.to_string()))
        })
    });
    (known.number != target.number && !spoken).then_some((known, target))
}

/// Returns what a template says behind a key: `None` where that is no number, or not to be seen.
fn said<'a>(files: &'a Files, (id, values): (FileId, FileId), key: &str) -> Vec<Option<Port<'a>>> {
    let mut found = Vec::new();
    let mut at = 0;
    for line in files[id].text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let own = line.trim().trim_start_matches("- ");
        let Some(text) = own.strip_prefix(key) else { continue };
        let text = text.split(" #").next().unwrap_or(text).trim();
        let span = Span::new(start + line.len() - line.trim_start().len(), start + line.trim_end().len());
        let literal =
            text.parse().ok().map(|number| Port { number, file: id, span, value: None, line: (id, start) });
        found.push(literal.or_else(|| filled(files, (id, start), values, text)));
    }
    found
}

/// Reads `{{ .Values.a.b }}` from the values of the chart.
fn filled<'a>(files: &'a Files, line: (FileId, usize), values: FileId, text: &'a str) -> Option<Port<'a>> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner.trim_matches('-').trim();
    let path = inner.split('|').next()?.trim().strip_prefix(".Values.")?;
    let piped = inner.split('|').skip(1).all(|part| matches!(part.trim(), "int" | "toString"));
    let (tree, _) = files[values].yaml();
    let mut node: &Node = &tree.as_ref().filter(|tree| tree.complete && piped)?.root;
    for part in path.split('.') {
        node = node.get(part)?;
    }
    let number = node.text()?.parse().ok()?;
    Some(Port { number, file: values, span: node.place(), value: Some(path), line })
}
