//! Agents of other clients that are told to do what their tools, permissions or sandboxes keep from them.

use kapell_spec::claude::reference::{Names, Strength};
use kapell_view::audit::{AssetKind, Severity};

use super::told;
use crate::{
    agents::{
        Asset,
        clients::Client,
        tools::{Granted, granted},
    },
    repository::Repository,
    rule::Report,
};

/// What is kept from an agent.
#[derive(Clone, Copy)]
enum Kept {
    Write,
    Run,
    Start,
}

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents = repository.agents.of(AssetKind::Agent).map(|(_, agent)| agent);
    for agent in agents.filter(|agent| agent.client != Client::Claude) {
        let tools = granted(agent);
        if tools.is_limited() && !tools.served {
            let file = &repository.files[agent.file];
            let end = agent.until.map_or(file.text.len(), |end| end as usize);
            lacks(report, agent, &file.text[..end], &tools);
        }
    }
}

fn lacks(report: &mut Report<'_>, agent: &Asset, text: &str, tools: &Granted) {
    let name = &agent.name;
    let writes = tools.has("Write") || tools.has("Edit") || tools.shell_writes && tools.has("Bash");
    if !writes {
        if let Some((span, path)) = told::to_write(agent, text) {
            let message = format!("`{name}` has to write `{path}`, but may not write");
            let draft = report.add(agent.file, span, message).severity(Severity::High);
            draft.hint(hint(agent.client, Kept::Write)).done();
        } else if let Some(span) = told::to_edit(agent, text) {
            let message = format!("`{name}` has to edit files, but may not");
            report.add(agent.file, span, message).hint(hint(agent.client, Kept::Write)).done();
        }
    }
    if !tools.has("Bash")
        && let Some((span, command)) = told::to_run(agent, text)
    {
        let message = format!("`{name}` has to run `{command}`, but may run nothing");
        let draft = report.add(agent.file, span, message).severity(Severity::High);
        draft.hint(hint(agent.client, Kept::Run)).done();
    }
    let told = |reference: &&kapell_spec::claude::reference::Reference| {
        reference.names == Names::Agent
            && !reference.fenced
            && reference.span.start >= agent.definition.body
            && (reference.strength == Strength::Certain
                || told::to_delegate(agent, text, reference.span, || false))
    };
    if let Some(reference) = agent.references.iter().find(told).filter(|_| !tools.has("Agent")) {
        let message = format!("`{name}` has to start `{}`, but may start nobody", reference.name);
        let draft = report.add(agent.file, reference.span, message).severity(Severity::High);
        draft.hint(hint(agent.client, Kept::Start)).done();
    }
}

/// Says where each client grants what is kept.
fn hint(client: Client, kept: Kept) -> &'static str {
    match (client, kept) {
        (Client::Copilot, Kept::Write) => "add `edit` to its tools, or have it return what is to be written",
        (Client::Copilot, Kept::Run) => "add `execute` to its tools",
        (Client::Copilot, Kept::Start) => "add `agent` to its tools",
        (Client::Gemini, Kept::Write) => {
            "add `write_file` or `replace` to its tools, or have it return what is to be written"
        }
        (Client::Gemini, Kept::Run) => "add `run_shell_command` to its tools",
        (Client::Gemini, Kept::Start) => "have the session that starts it start the other one, too",
        (Client::Cursor, _) => "drop `readonly`, or have it return what is to be written",
        (Client::Codex, _) => {
            "set `sandbox_mode` to `workspace-write`, or have it return what is to be written"
        }
        (_, Kept::Write) => "allow `edit` in its permissions, or have it return what is to be written",
        (_, Kept::Run) => "allow the command under `bash` in its permissions",
        (_, Kept::Start) => "allow the agent under `task` in its permissions",
    }
}
