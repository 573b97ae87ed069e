//! Teams of AutoGen whose agents talk to each other without an end.
//!
//! Source: autogen-agentchat 0.4 to 0.7, `RoundRobinGroupChat`, `SelectorGroupChat` and `Swarm`: without a termination
//! condition and without `max_turns`, both of which are `None` unless given, the chat runs indefinitely.

use crate::{
    code::{Language, Unit},
    rule::Report,
};

/// Classes of such teams.
const TEAMS: &[&str] = &["RoundRobinGroupChat", "SelectorGroupChat", "Swarm"];

/// Tells of teams without an end.
pub(super) fn check(unit: &Unit, report: &mut Report<'_>) {
    let text = unit.whole();
    if unit.language != Language::Python || !text.contains("autogen_agentchat") {
        return;
    }
    // Who holds a token ends the chat from outside.
    if ["cancellation_token", "ExternalTermination", ".dump_component("]
        .iter()
        .any(|word| text.contains(word))
    {
        return;
    }
    for call in unit.calls() {
        let name = unit.callee_name(call);
        let made = TEAMS.contains(&name)
            && unit.callee_path(call).is_some_and(|path| path.text.starts_with("autogen_agentchat.teams"));
        let given =
            ["termination_condition", "max_turns"].iter().any(|key| unit.keyword(call, key).is_some());
        let positional = unit.args(call).iter().filter(|arg| arg.name.is_none()).count();
        let most = if name == "SelectorGroupChat" { 2 } else { 1 };
        if !made || given || positional > most || unit.has_splat(call) {
            continue;
        }
        report
            .add(
                unit.file,
                unit.span(call),
                format!("this `{name}` has neither a `termination_condition` nor `max_turns`: its agents talk without an end"),
            )
            .hint("give it `termination_condition=TextMentionTermination(\"DONE\") | MaxMessageTermination(20)`, or `max_turns`")
            .done();
    }
}
