//! Names of ports in the templates of a Helm chart, which are no YAML before they are filled in.

mod numbers; // of ports

use std::collections::BTreeMap;

use kapell_spec::finding::Span;

use crate::{
    files::{File, FileId},
    repository::Repository,
    rule::Report,
};

/// The ports of one chart.
#[derive(Default)]
struct Chart<'a> {
    /// The names that its containers give to ports.
    names: Vec<&'a str>,
    /// Whether a container has ports whose names are filled in, or that stand in another template.
    open: bool,
    /// The names that its services send to, and where.
    targets: Vec<(FileId, Span, &'a str)>,
    /// The names that its probes ask, and where.
    probes: Vec<(FileId, Span, &'a str)>,
}

/// A service of a chart that sends to a port by a name which no container of the chart gives to one: it sends to nobody.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    numbers::check(repository, report);
    let mut charts: BTreeMap<&str, Chart<'_>> = BTreeMap::new();
    for &id in &repository.systems.charts {
        let file = &repository.files[id];
        let Some((root, _)) = file.path.split_once("templates/") else { continue };
        read(id, file, charts.entry(root).or_default());
    }
    for chart in charts.values().filter(|chart| !chart.open && !chart.names.is_empty()) {
        let mut names = chart.names.clone();
        names.sort_unstable();
        names.dedup();
        for (file, span, name) in chart.probes.iter().filter(|(_, _, name)| !chart.names.contains(name)) {
            let message = format!(
                "a probe asks port `{name}`, but the containers of the chart name {}: the pod is refused",
                names.join(", ")
            );
            let hint = "ask a port by the name that its container gives it";
            report.add(*file, *span, message).hint(hint).done();
        }
        for (file, span, name) in chart.targets.iter().filter(|(_, _, name)| !chart.names.contains(name)) {
            let message = format!(
                "the service sends to port `{name}`, but the containers of the chart name {}",
                names.join(", ")
            );
            report
                .add(*file, *span, message)
                .hint("send to a port by the name that its container gives it")
                .done();
        }
    }
}

fn read<'a>(id: FileId, file: &'a File, chart: &mut Chart<'a>) {
    let lines: Vec<&str> = file.text.lines().collect();
    let name_of = |line: &'a str| line.trim().trim_start_matches("- ").strip_prefix("name:").map(plain);
    let mut at = 0;
    for (index, line) in lines.iter().enumerate() {
        let start = at;
        at += line.len() + 1;
        let own = line.trim();
        if own.trim_start_matches("- ").starts_with("containerPort:") {
            let before = index.checked_sub(1).and_then(|before| lines.get(before)).copied();
            let beside = [before, lines.get(index + 1).copied()].into_iter().flatten();
            match beside.filter_map(name_of).next() {
                Some(Some(name)) => chart.names.push(name),
                _ => chart.open = true,
            }
        } else if let Some(target) = own.strip_prefix("targetPort:").and_then(plain) {
            let span = Span::new(start + line.len() - line.trim_start().len(), start + line.trim_end().len());
            if !target.bytes().all(|byte| byte.is_ascii_digit()) {
                chart.targets.push((id, span, target));
            }
        } else if let Some(asked) = own.strip_prefix("port:").and_then(plain) {
            let before = lines[index.saturating_sub(4)..index].iter().rev().map(|line| line.trim());
            let probed = before
                .take_while(|line| !line.starts_with("- "))
                .any(|line| ["httpGet:", "tcpSocket:", "grpc:"].contains(&line));
            let span = Span::new(start + line.len() - line.trim_start().len(), start + line.trim_end().len());
            if probed && !asked.bytes().all(|byte| byte.is_ascii_digit()) {
                chart.probes.push((id, span, asked));
            }
        } else if own == "ports:" || own.starts_with("containers:") {
            // Filled in as a whole: `{{- toYaml .Values.ports | nindent 12 }}`, or taken round a list.
            let next = lines.get(index + 1).is_some_and(|next| next.trim().starts_with("{{"));
            chart.open |= next && !file.text.contains("kind: Service");
        }
    }
    chart.open |= file.text.contains("include")
        && file.text.contains("container")
        && !file.text.contains("containerPort");
}

/// Returns a value that is not filled in.
fn plain(value: &str) -> Option<&str> {
    let value = value.split(" #").next()?.trim().trim_matches(['"', '\'']);
    (!value.is_empty() && !value.contains("{{")).then_some(value)
}
