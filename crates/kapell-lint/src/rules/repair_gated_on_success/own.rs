//! What a script of the repository makes outside in one job is taken away in another one, by the same script or by its
//! twin: `./ci/vm create` and `./ci/vm destroy`, `ci/create-vm.sh` and `ci/destroy-vm.sh`.

use super::taken;
use crate::{
    github::{
        Flow, own_scripts,
        script::Command,
        tools::{self, Kind},
    },
    rule::Report,
};

/// Words with which something is made that stays when the runner is gone.
const MAKES: &[&str] =
    &["create", "up", "launch", "start", "provision", "spawn", "boot", "rent", "reserve", "acquire", "setup"];

/// Words with which it is taken away.
const TAKES: &[&str] = &[
    "destroy",
    "delete",
    "down",
    "terminate",
    "stop",
    "teardown",
    "deprovision",
    "kill",
    "shutdown",
    "release",
    "remove",
    "return",
    "cleanup",
];

/// Returns what a script of the repository is about, without the word that says what it does with that.
fn about(command: &Command, verbs: &[&str]) -> Option<Vec<String>> {
    let shell = usize::from(own_scripts::is_shell(command.program()));
    let words = command.inner().get(shell..)?;
    let first = words.first().filter(|first| first.contains('/') && tools::is_own_script(command))?;
    let second = words.get(1).filter(|word| !word.starts_with('-') && !word.contains(['$', '/', '=']));
    let text = format!("{first} {}", second.map_or("", |word| word)).to_ascii_lowercase();
    let parts: Vec<&str> = text.split(['/', '-', '_', ' ', '.']).filter(|part| !part.is_empty()).collect();
    let at = parts.iter().rposition(|part| verbs.contains(part))?;
    let rest = parts.iter().enumerate().filter(|(other, _)| *other != at);
    Some(rest.map(|(_, part)| (*part).to_owned()).collect())
}

pub(super) fn check(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    if job.condition.is_some() || flow.closures[at].len() < 2 {
        return;
    }
    let any = |job: usize, verbs: &'static [&'static str]| {
        let commands = flow.facts[job].iter().flat_map(|facts| &facts.commands);
        commands.filter(|command| command.depth == 0).filter_map(|command| about(command, verbs))
    };
    let Some((made, what)) = any(at, TAKES).find_map(|what| {
        let made = flow.closures[at].iter().find(|&&up| any(up, MAKES).any(|other| other == what))?;
        Some((*made, what))
    }) else {
        return;
    };
    // What is also taken away in another place has nothing to lose.
    let again = flow.jobs().any(|(other, _)| other != at && any(other, TAKES).any(|other| other == what));
    // What is done on a machine that was made for it may fail, whatever it is.
    let aside = |kind: Kind| {
        matches!(
            kind,
            Kind::Trivial | Kind::Setup | Kind::Report | Kind::Upload | Kind::Cache | Kind::Download
        )
    };
    let fails = |up: usize| {
        flow.model.jobs[up].continue_on_error.is_none()
            && flow.facts[up].iter().any(|facts| facts.works.iter().any(|done| !aside(done.work.kind)))
    };
    let tested = flow.closures[at].iter().find(|&&up| flow.closures[up].contains(&made) && fails(up));
    let Some(&tested) = tested.filter(|_| !again) else { return };
    taken::tell(flow, at, made, tested, report);
}
