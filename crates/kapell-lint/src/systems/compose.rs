//! Compose files.
//!
//! Source: <https://docs.docker.com/reference/compose-file/>, as of 2026-08.

use kapell_spec::{finding::Span, yaml::Node};

use super::{Document, Word};
use crate::files::{File, FileId};

/// A compose file.
#[derive(Debug)]
pub struct Compose {
    /// Its file.
    pub file: FileId,
    /// Its path.
    pub path: Box<str>,
    /// Its services.
    pub services: Vec<Service>,
    /// The secrets that it declares.
    pub secrets: Vec<Word>,
    /// Whether it includes other files, or is itself laid over another one.
    pub partial: bool,
    /// Whether its name says that it is to be laid over another one.
    pub overlay: bool,
}

/// A service.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: Word,
    /// The image that it runs.
    pub image: Option<Word>,
    /// The folder that its image is built from, and the recipe in it.
    pub build: Option<(String, String)>,
    /// What it starts after, and on which condition.
    pub depends: Vec<(Word, Option<Word>)>,
    /// The other services whose network it shares, or that it is linked with.
    pub linked: Vec<Word>,
    /// Whether it has a health check of its own.
    pub healthcheck: bool,
    /// What its health check runs, as text.
    pub asked: String,
    /// Whether it is started again when it ends.
    pub restarts: bool,
    /// Whether it is started again even when it ended well.
    pub always: bool,
    /// Its published ports: the port inside, and where it is written.
    pub ports: Vec<(u16, Span)>,
    /// The ports of the machine that it takes.
    pub taken: Vec<Taken>,
    /// Whether it starts only where a profile is asked for.
    pub profiled: bool,
    /// The ports that it says it listens on, for the other services alone.
    pub exposed: Vec<u16>,
    /// The secrets that it takes.
    pub secrets: Vec<Word>,
    /// What those are called as files.
    pub files: Vec<Box<str>>,
    /// Whether a volume or a setting may put files among its secrets.
    pub mounts_secrets: bool,
    /// Its labels.
    pub labels: Vec<Word>,
    /// Its variables.
    pub env: Vec<Word>,
    /// Its command and entry point, as text.
    pub command: String,
    /// How many containers of it run, where it says so.
    pub copies: Option<(u32, Span)>,
    /// Whether parts of it stand elsewhere.
    pub partial: bool,
}

/// A port of the machine that a service takes.
#[derive(Debug)]
pub struct Taken {
    /// The port.
    pub port: u16,
    /// The address, where only one is taken.
    pub address: Option<Box<str>>,
    /// Whether it is one of UDP.
    pub udp: bool,
    /// Where it is written.
    pub span: Span,
}

impl Compose {
    /// Finds a service.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| &*service.name == name)
    }
}

pub(super) fn read(id: FileId, file: &File, documents: Vec<Document>) -> Option<Compose> {
    let document = documents.into_iter().next()?;
    let root = document.root();
    let services = root.get("services")?.entries()?;
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let overlay = ["dev", "prod", "ci", "local", "test"].iter().any(|word| file.name().contains(word));
    Some(Compose {
        file: id,
        path: (&*file.path).into(),
        services: services
            .iter()
            .filter_map(|entry| service(&document, folder, document.word(&entry.key)?, &entry.value))
            .collect(),
        secrets: keys(&document, root.get("secrets")),
        partial: root.get("include").is_some()
            || root.get("<<").is_some()
            || file.name().contains("override")
            // A swarm starts services in no order, and not as compose does.
            || file.name().contains("stack."),
        overlay,
    })
}

fn keys(document: &Document, node: Option<&Node>) -> Vec<Word> {
    let entries = node.and_then(Node::entries).unwrap_or_default();
    entries.iter().filter_map(|entry| document.word(&entry.key)).collect()
}

fn service(document: &Document, folder: &str, name: Word, node: &Node) -> Option<Service> {
    let of = |key: &str| node.get(key).or_else(|| merged(node, key));
    let text = |key| of(key).and_then(|value| document.word(value));
    let disabled = |check: &Node| {
        let off = |node: &Node| node.text() == Some("true");
        check.get("disable").is_some_and(off)
            || check
                .get("test")
                .and_then(Node::items)
                .is_some_and(|test| test.first().and_then(Node::text) == Some("NONE"))
    };
    Some(Service {
        name,
        image: text("image"),
        build: of("build").map(|build| recipe(folder, build)),
        depends: depends(document, of("depends_on")),
        healthcheck: of("healthcheck").is_some_and(|check| !disabled(check)),
        restarts: of("restart").and_then(Node::text).is_some_and(|policy| policy != "no"),
        always: of("restart")
            .and_then(Node::text)
            .is_some_and(|policy| matches!(policy, "always" | "unless-stopped")),
        ports: ports(document, of("ports")),
        taken: taken(document, of("ports")),
        profiled: of("profiles").is_some(),
        linked: linked(document, of("links"), of("network_mode")),
        exposed: document
            .words(of("expose"))
            .iter()
            .filter_map(|port| port.split('/').next()?.parse().ok())
            .collect(),
        secrets: secrets(document, of("secrets")),
        files: secret_files(of("secrets")),
        mounts_secrets: ["volumes", "configs", "tmpfs"]
            .iter()
            .filter_map(|key| of(key))
            .any(|node| flat(node).contains("/run")),
        labels: env(document, of("labels")),
        env: env(document, of("environment")),
        asked: checked(of("healthcheck")),
        command: ["command", "entrypoint"]
            .iter()
            .filter_map(|key| of(key))
            .map(flat)
            .collect::<Vec<_>>()
            .join(" "),
        copies: of("deploy")
            .and_then(|deploy| deploy.get("replicas"))
            .or_else(|| of("scale"))
            .and_then(|node| Some((node.text()?.parse().ok()?, document.span(node)))),
        partial: of("extends").is_some(),
    })
    .filter(|_| node.entries().is_some())
}

/// Finds an entry that a merge key brings in: `<<: *base`, `<<: [*one, *other]`.
fn merged<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    let from = node.get("<<")?;
    from.get(key).or_else(|| from.items()?.iter().find_map(|one| one.get(key)))
}

/// Returns the command of a health check as text.
fn checked(node: Option<&Node>) -> String {
    node.and_then(|check| check.get("test")).map(flat).unwrap_or_default()
}

fn flat(node: &Node) -> String {
    let items = node.items().unwrap_or_default().iter().filter_map(Node::text).collect::<Vec<_>>().join(" ");
    node.text().map_or(items, str::to_owned)
}

fn recipe(folder: &str, build: &Node) -> (String, String) {
    let context = build.text().or_else(|| build.get("context")?.text()).unwrap_or(".");
    let file = build.get("dockerfile").and_then(Node::text).unwrap_or("Dockerfile");
    let context = context.trim_start_matches("./").trim_end_matches('/');
    let parts = [folder, context].into_iter().filter(|part| !part.is_empty() && *part != ".");
    (parts.collect::<Vec<_>>().join("/"), file.trim_start_matches("./").to_owned())
}

fn depends(document: &Document, node: Option<&Node>) -> Vec<(Word, Option<Word>)> {
    let Some(node) = node else { return Vec::new() };
    let listed = document.words(Some(node)).into_iter().map(|name| (name, None));
    let mapped = node.entries().unwrap_or_default().iter().filter_map(|entry| {
        let optional = entry.value.get("required").and_then(Node::text) == Some("false");
        let name = document.word(&entry.key).filter(|_| !optional)?;
        Some((name, entry.value.get("condition").and_then(|condition| document.word(condition))))
    });
    listed.chain(mapped).collect()
}

fn ports(document: &Document, node: Option<&Node>) -> Vec<(u16, Span)> {
    let items = node.and_then(Node::items).unwrap_or_default();
    let port = |item: &Node| {
        let text = item.get("target").and_then(Node::text).or_else(|| item.text())?;
        let inside = text.rsplit(':').next()?.split('/').next()?;
        Some((inside.parse().ok()?, document.span(item)))
    };
    items.iter().filter_map(port).collect()
}

/// Reads `3000:80`, `127.0.0.1:3000:80/udp` and `published: 3000`; ranges and variables are not looked into.
fn taken(document: &Document, node: Option<&Node>) -> Vec<Taken> {
    let items = node.and_then(Node::items).unwrap_or_default();
    let port = |item: &Node| {
        let span = document.span(item);
        let of = |key: &str| item.get(key).and_then(Node::text);
        if let Some(published) = of("published") {
            let address = of("host_ip").map(Into::into);
            return Some(Taken {
                port: published.parse().ok()?,
                address,
                udp: of("protocol") == Some("udp"),
                span,
            });
        }
        let (numbers, protocol) = item.text()?.split_once('/').unwrap_or((item.text()?, "tcp"));
        let (outside, _) = numbers.rsplit_once(':')?;
        let (address, port) = match outside.rsplit_once(':') {
            Some((address, port)) => (Some(address.into()), port),
            None => (None, outside),
        };
        Some(Taken { port: port.parse().ok()?, address, udp: protocol == "udp", span })
    };
    items.iter().filter_map(port).collect()
}

/// Reads `links: [db:database]` and `network_mode: service:vpn`.
fn linked(document: &Document, links: Option<&Node>, network: Option<&Node>) -> Vec<Word> {
    let cut = |word: Word| {
        let text = word.split(':').next().unwrap_or_default().into();
        Word { text, span: word.span }
    };
    let shared = network.and_then(|node| document.word(node)).and_then(|word| {
        let text = word.strip_prefix("service:")?.into();
        Some(Word { text, span: word.span })
    });
    document.words(links).into_iter().map(cut).chain(shared).collect()
}

fn secrets(document: &Document, node: Option<&Node>) -> Vec<Word> {
    let items = node.and_then(Node::items).unwrap_or_default();
    items.iter().filter_map(|item| document.word(item.get("source").unwrap_or(item))).collect()
}

/// Returns what the secrets of a service are called below `/run/secrets`.
fn secret_files(node: Option<&Node>) -> Vec<Box<str>> {
    let items = node.and_then(Node::items).unwrap_or_default();
    let name = |item: &Node| {
        let own = item.get("target").or_else(|| item.get("source")).unwrap_or(item).text()?;
        Some(own.trim_start_matches("/run/secrets/").into())
    };
    items.iter().filter_map(name).collect()
}

fn env(document: &Document, node: Option<&Node>) -> Vec<Word> {
    let Some(node) = node else { return Vec::new() };
    let mapped = node.entries().unwrap_or_default().iter().filter_map(|entry| {
        let text = format!("{}={}", entry.key.text()?, entry.value.text().unwrap_or_default());
        Some(Word { text: text.into(), span: document.span(&entry.value) })
    });
    document.words(Some(node)).into_iter().chain(mapped).collect()
}
