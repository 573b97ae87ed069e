//! Kubernetes objects.
//!
//! Source: <https://kubernetes.io/docs/reference/kubernetes-api/>, as of 1.34.

use std::collections::BTreeMap;

use kapell_spec::{finding::Span, yaml::Node};

use super::{Document, Word};
use crate::files::{File, FileId};

/// An object.
#[derive(Debug)]
pub struct Manifest {
    /// Its file.
    pub file: FileId,
    /// Its path.
    pub path: Box<str>,
    /// Its kind, such as `Deployment`.
    pub kind: Word,
    /// Its name.
    pub name: Word,
    /// Its namespace; empty for the one that is given from outside.
    pub namespace: Box<str>,
    /// What the rules need of it.
    pub what: What,
}

impl Manifest {
    /// Tells whether another one is of the same namespace and stands in the same folder.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        let folder = |path: &str| path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        self.namespace == other.namespace && folder(&self.path) == folder(&other.path)
    }
}

/// What the rules need of an object.
#[derive(Debug)]
pub enum What {
    /// It starts pods.
    Workload(Workload),
    /// It sends what comes to its ports to pods.
    Service {
        /// The labels of those pods.
        selector: BTreeMap<Box<str>, Box<str>>,
        /// The ports of the pods: a number or a name.
        targets: Vec<Word>,
        /// Its own ports, and their names.
        ports: Vec<Listened>,
    },
    /// It sends what comes from outside to services: their names, and the ports that it asks for.
    Ingress(Vec<(Word, Word)>),
    /// It keeps secrets under these keys.
    Secret(Vec<Box<str>>),
    /// Something else.
    Other,
}

/// A port, and the name it goes by.
pub type Listened = (u16, Option<Box<str>>);

/// What starts pods.
#[derive(Debug, Default)]
pub struct Workload {
    /// The labels of its pods.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// The images that they run.
    pub images: Vec<Word>,
    /// The ports that they declare, and their names.
    pub ports: Vec<Listened>,
    /// The ports that their probes ask.
    pub probes: Vec<Word>,
    /// The secrets that they take: name, key, place.
    pub secrets: Vec<(Box<str>, Box<str>, Span)>,
}

pub(super) fn read(id: FileId, file: &File, documents: &[Document]) -> Vec<Manifest> {
    documents.iter().filter_map(|document| object(id, file, document)).collect()
}

fn object(id: FileId, file: &File, document: &Document) -> Option<Manifest> {
    let root = document.root();
    let metadata = root.get("metadata")?;
    root.get("apiVersion")?;
    let kind = document.word(root.get("kind")?)?;
    let spec = root.get("spec");
    let what = match &*kind.text {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
            workload(document, spec?.get("template")?)
        }
        "CronJob" => workload(document, spec?.get("jobTemplate")?.get("spec")?.get("template")?),
        "Pod" => workload(document, root),
        "Service" => What::Service {
            selector: labels(spec?.get("selector")),
            targets: targets(document, spec?.get("ports")),
            ports: listened(spec?.get("ports"), "port"),
        },
        "Ingress" => What::Ingress(backends(document, spec?)),
        "Secret" => {
            let of = |key| root.get(key).and_then(Node::entries).unwrap_or_default().iter();
            What::Secret(
                of("data")
                    .chain(of("stringData"))
                    .filter_map(|entry| Some(entry.key.text()?.into()))
                    .collect(),
            )
        }
        _ => What::Other,
    };
    Some(Manifest {
        file: id,
        path: (&*file.path).into(),
        kind,
        name: document.word(metadata.get("name")?)?,
        namespace: metadata.get("namespace").and_then(Node::text).unwrap_or_default().into(),
        what,
    })
}

fn labels(node: Option<&Node>) -> BTreeMap<Box<str>, Box<str>> {
    let entries = node.and_then(Node::entries).unwrap_or_default();
    entries.iter().filter_map(|entry| Some((entry.key.text()?.into(), entry.value.text()?.into()))).collect()
}

/// A port without `targetPort` is its own target.
fn targets(document: &Document, node: Option<&Node>) -> Vec<Word> {
    let items = node.and_then(Node::items).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| document.word(item.get("targetPort").or_else(|| item.get("port"))?))
        .collect()
}

/// Reads a list of ports, the numbers of which stand under a key.
fn listened(node: Option<&Node>, key: &str) -> Vec<Listened> {
    let items = node.and_then(Node::items).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| {
            let number = item.get(key)?.text()?.parse().ok()?;
            Some((number, item.get("name").and_then(Node::text).map(Into::into)))
        })
        .collect()
}

fn backends(document: &Document, spec: &Node) -> Vec<(Word, Word)> {
    let rules = spec.get("rules").and_then(Node::items).unwrap_or_default().iter();
    let paths = rules.flat_map(|rule| {
        let paths = rule.get("http").and_then(|http| http.get("paths")).and_then(Node::items);
        paths.unwrap_or_default().iter().filter_map(|path| path.get("backend"))
    });
    let asked = |backend: &Node| {
        let service = backend.get("service")?;
        let port = service.get("port")?;
        let port = port.get("number").or_else(|| port.get("name"))?;
        Some((document.word(service.get("name")?)?, document.word(port)?))
    };
    spec.get("defaultBackend").into_iter().chain(paths).filter_map(asked).collect()
}

fn workload(document: &Document, template: &Node) -> What {
    let mut found = Workload {
        labels: labels(template.get("metadata").and_then(|metadata| metadata.get("labels"))),
        ..Workload::default()
    };
    let containers = template.get("spec").and_then(|spec| spec.get("containers")).and_then(Node::items);
    for container in containers.unwrap_or_default() {
        found.images.extend(container.get("image").and_then(|image| document.word(image)));
        found.ports.extend(listened(container.get("ports"), "containerPort"));
        for probe in
            ["livenessProbe", "readinessProbe", "startupProbe"].iter().filter_map(|key| container.get(key))
        {
            let port = ["httpGet", "tcpSocket"].iter().find_map(|way| probe.get(way)?.get("port"));
            found.probes.extend(port.and_then(|port| document.word(port)));
        }
        for variable in container.get("env").and_then(Node::items).unwrap_or_default() {
            let Some(given) = variable.get("valueFrom").and_then(|from| from.get("secretKeyRef")) else {
                continue;
            };
            let optional = given.get("optional").and_then(Node::text) == Some("true");
            let pair = given.get("name").and_then(Node::text).zip(given.get("key").and_then(Node::text));
            found.secrets.extend(
                pair.filter(|_| !optional).map(|(name, key)| (name.into(), key.into(), document.span(given))),
            );
        }
    }
    What::Workload(found)
}
