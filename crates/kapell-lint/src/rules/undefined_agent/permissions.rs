//! Agents that permissions of settings name: `"deny": ["Agent(deployer)"]`.

use std::collections::BTreeSet;

use kapell_spec::{claude::hooks, finding::Span, suggest, yaml::Node};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::{Home, is_built_in},
    repository::Repository,
    rule::Report,
};

/// Ways in which a permission names an agent.
const OPENS: &[&str] = &["Agent(", "Task("];

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents = repository.agents.of(AssetKind::Agent).filter(|(_, agent)| agent.home == Home::Claude);
    let names: BTreeSet<&str> = agents.map(|(_, agent)| &*agent.name).collect();
    for settings in repository.agents.hooks.iter().filter(|file| file.is_settings && !names.is_empty()) {
        let text = &repository.files[settings.file].text;
        if !OPENS.iter().any(|open| text.contains(open)) {
            continue;
        }
        let (Some(root), _) = hooks::json(text) else { continue };
        let Some(permissions) = root.get("permissions") else { continue };
        for list in ["deny", "ask", "allow"] {
            let items = permissions.get(list).and_then(Node::items).unwrap_or_default();
            for item in items.iter().filter_map(hooks::scalar) {
                let inner = OPENS.iter().find_map(|open| item.text.strip_prefix(open)?.strip_suffix(')'));
                let Some(name) = inner.map(str::trim) else { continue };
                // `Agent(model:opus)` asks for something else, and a plugin's name stands before a colon.
                let other = name.is_empty() || name.contains([':', '*', ' ', ',']);
                if other || names.contains(name) || is_built_in(name) {
                    continue;
                }
                let near = suggest::nearest(name, names.iter().copied()).or_else(|| alike(name, &names));
                // Whoever allows one may have it among agents of their own.
                if list == "allow" && near.is_none() {
                    continue;
                }
                let (message, severity) = match list {
                    "allow" => (format!("no agent `{name}` is defined that this could allow"), Severity::Low),
                    _ => (
                        format!("agent `{name}` is not defined: this keeps nobody from anything"),
                        Severity::High,
                    ),
                };
                let hint = near.map_or_else(
                    || "name an agent that is there, or drop the rule".to_owned(),
                    |near| format!("name `{near}`, if that is meant"),
                );
                let span = Span::new(item.span.start as usize, item.span.end as usize);
                let draft = report.add(settings.file, span, message).severity(severity);
                draft.confidence(Confidence::Medium).hint(hint).done();
            }
        }
    }
}

/// Finds the agent that shares a word with a name, or most of one.
fn alike<'a>(name: &str, names: &BTreeSet<&'a str>) -> Option<&'a str> {
    let words = |name: &str| {
        name.split(['-', '_']).filter(|word| word.len() > 3).map(str::to_owned).collect::<Vec<_>>()
    };
    let own = words(name);
    let same = |one: &str, other: &str| {
        one == other || one.len() > 4 && other.len() > 4 && one.get(..4) == other.get(..4)
    };
    let shares = |other: &&&str| words(other).iter().any(|word| own.iter().any(|own| same(own, word)));
    names.iter().find(shares).copied()
}
