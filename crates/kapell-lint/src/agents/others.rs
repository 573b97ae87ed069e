//! Agents and commands of other clients that are no Markdown, and whom those that are one name in their frontmatter.

use kapell_spec::{
    claude::{
        codex,
        definition::{Definition, Named},
        hooks,
        markdown::Document,
        reference::{self, Names, Reference, Strength},
    },
    finding::Span,
    yaml::Node,
};
use kapell_view::audit::{AssetKind, Scope};

use super::{Asset, Home, assets::Place, clients::Client};
use crate::files::{File, FileId};

/// Takes a range of a file for the body of an agent or a command: places in it are places in the file.
fn asset(id: FileId, text: &str, body: Span, client: Client, kind: AssetKind, name: String) -> Asset {
    let whole = &text[..body.end as usize];
    let document = Document::read(whole, body.start as usize);
    let definition = Definition { front: None, hidden: None, body: body.start, document };
    let references = reference::references(whole, &definition);
    let at = Place { kind, name, scope: Scope::Repository, home: Home::Other, client };
    Asset { until: Some(body.end), ..Asset::of(id, whole, at, definition, references) }
}

/// Reads an agent of Codex, or a command of Gemini CLI.
pub(super) fn toml(
    id: FileId,
    file: &File,
    (client, kind, stem): (Client, AssetKind, String),
) -> Result<Asset, (Span, String)> {
    let agent = codex::read(&file.text)?;
    let key = if client == Client::Codex { "developer_instructions" } else { "prompt" };
    let end = file.text.len();
    let body = codex::text_of(&file.text, key).unwrap_or_else(|| Span::new(end, end));
    let name = agent.name.filter(|_| client == Client::Codex).unwrap_or(stem);
    Ok(Asset { sandbox: agent.sandbox, ..asset(id, &file.text, body, client, kind, name) })
}

/// Reads the agents that `opencode.json` defines.
pub(super) fn of_opencode(id: FileId, file: &File) -> Vec<Asset> {
    let (Some(root), _) = hooks::json(&file.text) else { return Vec::new() };
    let entries = ["agent", "mode"].into_iter().filter_map(|key| root.get(key)?.entries());
    let agents = entries.flatten().filter_map(|entry| {
        let name = entry.key.text().filter(|name| !Client::Opencode.brings(name))?;
        let prompt = entry.value.get("prompt").and_then(hooks::scalar).map(|prompt| prompt.span);
        let body = prompt.filter(|body| file.text.get(body.range()).is_some());
        let body = body.unwrap_or_else(|| entry.key.place());
        Some(asset(id, &file.text, body, Client::Opencode, AssetKind::Agent, name.to_owned()))
    });
    agents.collect()
}

/// Finds the agents that the frontmatter of another client names: whom an agent of Copilot may start and hand on to, and whom
/// its prompts are given to.
pub(super) fn declared(definition: &Definition, client: Client) -> Vec<Reference> {
    if client != Client::Copilot {
        return Vec::new();
    }
    let mut named: Vec<Named> = definition.items("agents").to_vec();
    named.extend(definition.text("agent").cloned());
    let handoffs = definition.field("handoffs").and_then(|field| field.node.as_ref()).and_then(Node::items);
    named.extend(handoffs.into_iter().flatten().filter_map(|node| hooks::scalar(node.get("agent")?)));
    // A name of several words is what people read, not what a file is called.
    named.retain(|name| !name.text.contains([' ', '*', '{', '$']) && !client.brings(&name.text));
    let reference = |name: Named| Reference {
        names: Names::Agent,
        name: name.text,
        span: name.span,
        strength: Strength::Certain,
        fenced: false,
    };
    named.into_iter().map(reference).collect()
}
