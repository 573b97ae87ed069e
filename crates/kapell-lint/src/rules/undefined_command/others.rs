//! Commands that agents and commands of other clients order to run.

use std::collections::BTreeSet;

use kapell_spec::{claude::reference::Names, claude::tables::BUILT_IN_COMMANDS, suggest};
use kapell_view::audit::{AssetKind, Confidence};

use crate::{agents::clients::Client, repository::Repository, rule::Report};

/// A command that its client does not have: nearly the name of one that it has, or one beside others of its folder.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    let has = |client: Client| agents.of(AssetKind::Command).any(|(_, command)| command.client == client);
    let mut told: BTreeSet<(Client, &str)> = BTreeSet::new();
    for (_, from) in agents.iter().filter(|(_, from)| from.client != Client::Claude && has(from.client)) {
        // Clients read some of each other's commands and skills.
        let all = [AssetKind::Command, AssetKind::Skill].into_iter().flat_map(|kind| agents.of(kind));
        let names: BTreeSet<&str> = all.map(|(_, asset)| &*asset.name).collect();
        for reference in from.firm(Names::Command).filter(|reference| !reference.fenced) {
            let name = &*reference.name;
            if names.contains(name) || BUILT_IN_COMMANDS.contains(&name) {
                continue;
            }
            let folder = name.split_once(':').map(|(folder, _)| format!("{folder}:"));
            let beside = folder.is_some_and(|folder| names.iter().any(|other| other.starts_with(&*folder)));
            let near = suggest::nearest(name, names.iter().copied());
            if (near.is_none() && !beside && !name.contains('-')) || !told.insert((from.client, name)) {
                continue;
            }
            let hint = match near {
                Some(near) => format!("name `/{near}`, if that is meant"),
                None => "define it, or name one that is there".to_owned(),
            };
            let message = format!("command `/{name}` is not defined");
            let draft = report.add(from.file, reference.span, message).confidence(Confidence::Medium);
            draft.hint(hint).done();
        }
    }
}
