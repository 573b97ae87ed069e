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
    /// Tells whether another one stands in the same folder, and may be of the same namespace.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        self.folder() == other.folder() && self.shares_namespace(other)
    }

    /// Tells whether another one may be of the same namespace: what names none in one folder goes where the others go.
    #[must_use]
    pub fn shares_namespace(&self, other: &Self) -> bool {
        self.namespace == other.namespace
            || (self.namespace.is_empty() || other.namespace.is_empty()) && self.folder() == other.folder()
    }

    fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// What the rules need of an object.
#[derive(Debug)]
pub enum What {
    /// It starts pods.
    Workload(Box<Workload>),
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
    /// It keeps secrets, or what makes one, under these keys; none where they stand elsewhere.
    Secret(Vec<Box<str>>),
    /// It keeps settings under these keys.
    Settings(Vec<Box<str>>),
    /// It gives images of others another name or tag: what they are then, with the place of the tag.
    Images(Vec<Word>),
    /// It sets how many pods another object has.
    Scaler(Scaler),
    /// It limits how many pods with these labels may be away at once: how many must stay, where that is a number.
    Budget(Labels, Option<(u32, Span)>),
    /// It asks for a volume, with these ways to mount it.
    Claim(Vec<Box<str>>),
    /// Something else.
    Other,
}

/// Labels: keys and their values.
pub type Labels = BTreeMap<Box<str>, Box<str>>;

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
    /// The settings that they take: name, key, place.
    pub settings: Vec<(Box<str>, Box<str>, Span)>,
    /// The secrets and settings that they take whole: whether it is a secret, its name, its place.
    pub whole: Vec<(bool, Box<str>, Span)>,
    /// The labels by which it finds its own pods, and where they stand.
    pub selects: Option<(Labels, Span)>,
    /// Its containers, those that run before the others too.
    pub containers: Vec<Container>,
    /// The volumes that its pods claim by name and may write to, and where they are named.
    pub claims: Vec<Word>,
    /// How many pods it has, where it says so.
    pub replicas: Option<(u32, Span)>,
    /// When it starts again and again.
    pub schedule: Option<Schedule>,
    /// Whether its pods start one after another.
    pub ordered: bool,
    /// Whether it says on which nodes its pods are.
    pub placed: bool,
}

/// A container of a pod.
#[derive(Debug)]
pub struct Container {
    /// Its name.
    pub name: Word,
    /// Whether it runs to its end before the others start.
    pub initial: bool,
    /// Its command and its arguments, as text.
    pub command: String,
    /// These and the values of its variables.
    pub said: String,
    /// The claims whose volumes it mounts and may write to, and where.
    pub mounts: Vec<(Box<str>, Box<str>)>,
    /// Whether it, or its pod as a whole, asks for a share of the processor.
    pub asks_cpu: bool,
}

/// When a `CronJob` starts.
#[derive(Debug)]
pub struct Schedule {
    /// The times.
    pub times: Word,
    /// What happens while the run before goes on.
    pub policy: Option<Word>,
    /// Whether its runs are ended after a while.
    pub bounded: bool,
}

/// What sets how many pods another object has.
#[derive(Debug)]
pub struct Scaler {
    /// The kind of that object.
    pub kind: Box<str>,
    /// Its name.
    pub target: Word,
    /// How many pods it has at least.
    pub least: u32,
    /// Whether all that it goes by is the used share of the processor that the pods ask for.
    pub by_cpu_share: bool,
}

pub(super) fn read(id: FileId, file: &File, documents: &[Document]) -> Vec<Manifest> {
    documents
        .iter()
        .flat_map(|document| object(id, file, document).into_iter().chain(generated(id, file, document)))
        .collect()
}

/// Returns the secrets and settings that a kustomization makes, by the names that its own objects call them.
fn generated(id: FileId, file: &File, document: &Document) -> Vec<Manifest> {
    let root = document.root();
    let listed = |key: &str| root.get(key).and_then(Node::items).unwrap_or_default();
    let made = |node: &Node, secret: bool| {
        // Keys in files stand elsewhere.
        let elsewhere = ["files", "envs", "env", "behavior"].iter().any(|key| node.get(key).is_some());
        let literals = node.get("literals").and_then(Node::items).unwrap_or_default();
        let keys = literals.iter().filter_map(|pair| Some(pair.text()?.split_once('=')?.0.into()));
        let name = document.word(node.get("name")?)?;
        Some(Manifest {
            file: id,
            path: (&*file.path).into(),
            kind: Word { text: if secret { "Secret" } else { "ConfigMap" }.into(), span: name.span },
            name,
            namespace: node.get("namespace").and_then(Node::text).unwrap_or_default().into(),
            what: {
                let keys = if elsewhere { Vec::new() } else { keys.collect() };
                if secret { What::Secret(keys) } else { What::Settings(keys) }
            },
        })
    };
    let secrets = listed("secretGenerator").iter().filter_map(|node| made(node, true));
    let settings = listed("configMapGenerator").iter().filter_map(|node| made(node, false));
    secrets.chain(settings).chain(renamed(id, file, document)).collect()
}

/// A kustomization.
#[derive(Debug)]
pub struct Kustomization {
    /// Its file.
    pub file: FileId,
    /// Its path.
    pub path: Box<str>,
    /// The files and folders that it takes objects from, and patches.
    pub parts: Vec<Word>,
}

/// Reads what a kustomization takes from other files.
///
/// Source: <https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/>.
pub(super) fn kustomization(id: FileId, file: &File, documents: &[Document]) -> Option<Kustomization> {
    let document = documents.first()?;
    let listed = |key: &&str| document.words(document.root().get(key));
    let mut parts: Vec<Word> =
        ["resources", "bases", "components", "patchesStrategicMerge"].iter().flat_map(listed).collect();
    let patches = ["patches", "patchesJson6902"].iter().filter_map(|key| document.root().get(key)?.items());
    let paths = patches.flatten().filter_map(|patch| document.word(patch.get("path")?));
    parts.extend(paths);
    Some(Kustomization { file: id, path: (&*file.path).into(), parts })
}

/// Returns the images that a kustomization gives a tag.
fn renamed(id: FileId, file: &File, document: &Document) -> Option<Manifest> {
    let items = document.root().get("images").and_then(Node::items)?;
    let image = |node: &Node| {
        let tag = document.word(node.get("newTag")?)?;
        let name = node.get("newName").or_else(|| node.get("name"))?.text()?;
        // What a controller of Flux writes has a mark behind it.
        let rest = file.text.get(tag.span.start as usize..)?;
        let marked = rest.lines().next().is_some_and(|rest| rest.contains("$imagepolicy"));
        (!marked).then(|| Word { text: format!("{name}:{}", &*tag.text).into(), span: tag.span })
    };
    let images: Vec<Word> = items.iter().filter_map(image).collect();
    let name = document.word(items.first()?.get("name")?)?;
    (!images.is_empty()).then(|| Manifest {
        file: id,
        path: (&*file.path).into(),
        kind: Word { text: "Kustomization".into(), span: name.span },
        name,
        namespace: Box::default(),
        what: What::Images(images),
    })
}

fn object(id: FileId, file: &File, document: &Document) -> Option<Manifest> {
    let root = document.root();
    let metadata = root.get("metadata")?;
    root.get("apiVersion")?;
    let kind = document.word(root.get("kind")?)?;
    let spec = root.get("spec");
    let what = match &*kind.text {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => {
            let mut found = workload(document, spec?.get("template")?);
            let selector = spec?.get("selector").and_then(|selector| selector.get("matchLabels"));
            if let (What::Workload(workload), Some(selector)) = (&mut found, selector) {
                workload.selects = Some((labels(Some(selector)), document.span(selector)));
            }
            if let What::Workload(workload) = &mut found {
                workload.replicas = spec?.get("replicas").and_then(|node| number(document, node));
                let policy = spec?.get("podManagementPolicy").and_then(Node::text);
                workload.ordered = *kind.text == *"StatefulSet" && policy != Some("Parallel");
            }
            found
        }
        "Job" => workload(document, spec?.get("template")?),
        "CronJob" => {
            let mut found = workload(document, spec?.get("jobTemplate")?.get("spec")?.get("template")?);
            if let What::Workload(workload) = &mut found {
                workload.schedule = schedule(document, spec?);
            }
            found
        }
        "Pod" => workload(document, root),
        "Service" => What::Service {
            selector: labels(spec?.get("selector")),
            targets: targets(document, spec?.get("ports")),
            ports: listened(spec?.get("ports"), "port"),
        },
        "Ingress" => What::Ingress(backends(document, spec?)),
        "HTTPRoute" | "GRPCRoute" | "TCPRoute" | "TLSRoute" => {
            What::Ingress(routed(document, spec?, "rules", "backendRefs"))
        }
        // Traefik's own.
        "IngressRoute" | "IngressRouteTCP" => What::Ingress(routed(document, spec?, "routes", "services")),
        "Secret" => What::Secret(keys(root, &["data", "stringData"])),
        // Its controller makes a secret of the same name.
        "SealedSecret" => What::Secret(keys(spec?, &["encryptedData"])),
        "ExternalSecret" => What::Secret(fetched(spec?)),
        "ConfigMap" => What::Settings(keys(root, &["data", "binaryData"])),
        "HorizontalPodAutoscaler" => What::Scaler(scaler(document, spec?)?),
        "PodDisruptionBudget" => {
            let selector = spec?.get("selector").and_then(|selector| selector.get("matchLabels"));
            What::Budget(labels(selector), spec?.get("minAvailable").and_then(|node| number(document, node)))
        }
        "PersistentVolumeClaim" => {
            What::Claim(document.words(spec?.get("accessModes")).into_iter().map(|mode| mode.text).collect())
        }
        _ => What::Other,
    };
    // What a controller makes may have a name of its own.
    let made = spec.and_then(|spec| {
        let template = || spec.get("template")?.get("metadata")?.get("name");
        match &*kind.text {
            "SealedSecret" => template(),
            "ExternalSecret" => spec.get("target")?.get("name"),
            _ => None,
        }
    });
    Some(Manifest {
        file: id,
        path: (&*file.path).into(),
        kind,
        name: document.word(made.or_else(|| metadata.get("name"))?)?,
        namespace: metadata.get("namespace").and_then(Node::text).unwrap_or_default().into(),
        what,
    })
}

/// Returns what sets how many pods an object has, where that is another object near it.
#[must_use]
pub fn scaler_of<'a>(manifests: &'a [Manifest], workload: &Manifest) -> Option<(&'a Manifest, &'a Scaler)> {
    manifests.iter().find_map(|other| match &other.what {
        What::Scaler(scaler)
            if *scaler.kind == *workload.kind.text
                && *scaler.target == *workload.name
                && other.shares_namespace(workload) =>
        {
            Some((other, scaler))
        }
        _ => None,
    })
}

/// Reads a number that stands alone.
fn number(document: &Document, node: &Node) -> Option<(u32, Span)> {
    Some((node.text()?.parse().ok()?, document.span(node)))
}

fn schedule(document: &Document, spec: &Node) -> Option<Schedule> {
    let job = spec.get("jobTemplate").and_then(|template| template.get("spec"));
    let pod = job.and_then(|job| job.get("template")?.get("spec"));
    Some(Schedule {
        times: document.word(spec.get("schedule")?)?,
        policy: spec.get("concurrencyPolicy").and_then(|policy| document.word(policy)),
        bounded: [job, pod].iter().flatten().any(|node| node.get("activeDeadlineSeconds").is_some()),
    })
}

/// Reads what a `HorizontalPodAutoscaler` is about; one pod is the least that it leaves unless it says otherwise.
fn scaler(document: &Document, spec: &Node) -> Option<Scaler> {
    let target = spec.get("scaleTargetRef")?;
    let metrics = spec.get("metrics").and_then(Node::items).unwrap_or_default();
    let by_share = |metric: &Node| {
        let resource = metric.get("resource");
        resource.and_then(|resource| resource.get("name")?.text()) == Some("cpu")
            && resource.and_then(|resource| resource.get("target")?.get("averageUtilization")).is_some()
    };
    let old = spec.get("targetCPUUtilizationPercentage").is_some();
    Some(Scaler {
        kind: target.get("kind")?.text()?.into(),
        target: document.word(target.get("name")?)?,
        least: spec.get("minReplicas").and_then(|node| number(document, node)).map_or(1, |(least, _)| least),
        by_cpu_share: old && metrics.is_empty() || !metrics.is_empty() && metrics.iter().all(by_share),
    })
}

/// Returns the keys below some of an object's entries.
fn keys(node: &Node, under: &[&str]) -> Vec<Box<str>> {
    let of = |key: &&str| node.get(key).and_then(Node::entries).unwrap_or_default().iter();
    under.iter().flat_map(of).filter_map(|entry| Some(entry.key.text()?.into())).collect()
}

/// Returns the keys that a secret from elsewhere gets; none where all of them are taken over as they are.
fn fetched(spec: &Node) -> Vec<Box<str>> {
    if spec.get("dataFrom").is_some()
        || spec.get("target").and_then(|target| target.get("template")).is_some()
    {
        return Vec::new();
    }
    let items = spec.get("data").and_then(Node::items).unwrap_or_default();
    items.iter().filter_map(|item| Some(item.get("secretKey")?.text()?.into())).collect()
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

/// Reads the services, and their ports, that the rules of a route send to.
fn routed(document: &Document, spec: &Node, rules: &str, backends: &str) -> Vec<(Word, Word)> {
    let listed = |node: &'_ Node, key: &str| {
        node.get(key).and_then(Node::items).map(<[Node]>::to_vec).unwrap_or_default()
    };
    let rules = listed(spec, rules);
    let backends = rules.iter().flat_map(|rule| listed(rule, backends));
    // One of another namespace, or of another kind, stands elsewhere.
    let here = backends.filter(|backend| {
        backend.get("namespace").is_none()
            && backend.get("kind").and_then(Node::text).is_none_or(|kind| kind == "Service")
    });
    here.filter_map(|backend| {
        Some((document.word(backend.get("name")?)?, document.word(backend.get("port")?)?))
    })
    .collect()
}

fn workload(document: &Document, template: &Node) -> What {
    let mut found = Workload {
        labels: labels(template.get("metadata").and_then(|metadata| metadata.get("labels"))),
        ..Workload::default()
    };
    let spec = template.get("spec");
    let listed = |key| spec.and_then(|spec| spec.get(key)).and_then(Node::items).unwrap_or_default();
    for container in listed("containers") {
        found.images.extend(container.get("image").and_then(|image| document.word(image)));
        found.ports.extend(listened(container.get("ports"), "containerPort"));
        for probe in
            ["livenessProbe", "readinessProbe", "startupProbe"].iter().filter_map(|key| container.get(key))
        {
            let port = ["httpGet", "tcpSocket", "grpc"].iter().find_map(|way| probe.get(way)?.get("port"));
            found.probes.extend(port.and_then(|port| document.word(port)));
        }
    }
    let all = || {
        let pods = listed("containers").iter().map(|container| (container, false));
        pods.chain(listed("initContainers").iter().map(|container| (container, true)))
    };
    found.containers =
        all().filter_map(|(node, initial)| container(document, node, initial, listed("volumes"))).collect();
    if spec.is_some_and(asks_cpu) {
        found.containers.iter_mut().for_each(|container| container.asks_cpu = true);
    }
    found.placed = ["affinity", "nodeSelector", "nodeName"]
        .iter()
        .any(|key| spec.is_some_and(|spec| spec.get(key).is_some()));
    found.claims = claims(document, listed("volumes"), &all().map(|(node, _)| node).collect::<Vec<_>>());
    for (container, _) in all() {
        for given in container.get("envFrom").and_then(Node::items).unwrap_or_default() {
            for (key, secret) in [("secretRef", true), ("configMapRef", false)] {
                let Some(given) = given.get(key) else { continue };
                let needed = given.get("optional").and_then(Node::text) != Some("true");
                let name = given.get("name").filter(|_| needed).and_then(|name| document.word(name));
                found.whole.extend(name.map(|name| (secret, name.text, name.span)));
            }
        }
        for variable in container.get("env").and_then(Node::items).unwrap_or_default() {
            let Some(from) = variable.get("valueFrom") else { continue };
            found.secrets.extend(from.get("secretKeyRef").and_then(|given| taken(document, given)));
            found.settings.extend(from.get("configMapKeyRef").and_then(|given| taken(document, given)));
        }
    }
    for volume in listed("volumes") {
        mounted(document, volume, &mut found.whole);
        picked(document, volume, &mut found);
    }
    What::Workload(Box::new(found))
}

fn container(document: &Document, node: &Node, initial: bool, volumes: &[Node]) -> Option<Container> {
    let listed = |key| node.get(key).and_then(Node::items).unwrap_or_default();
    let words = ["command", "args"].into_iter().flat_map(listed).filter_map(Node::text);
    let values = listed("env").iter().filter_map(|variable| variable.get("value")?.text());
    let claim_of = |name: &str| {
        let volume = volumes.iter().find(|volume| volume.get("name").and_then(Node::text) == Some(name))?;
        volume.get("persistentVolumeClaim")?.get("claimName")?.text()
    };
    let mounts = listed("volumeMounts").iter().filter_map(|mount| {
        let text = |key| mount.get(key).and_then(Node::text);
        let written = text("readOnly") != Some("true");
        Some((claim_of(text("name")?)?.into(), text("mountPath")?.into())).filter(|_| written)
    });
    let command = words.collect::<Vec<_>>().join(" ");
    Some(Container {
        name: document.word(node.get("name")?)?,
        // One that is started again when it ends goes on beside the others.
        initial: initial && node.get("restartPolicy").is_none(),
        said: std::iter::once(&*command).chain(values).collect::<Vec<_>>().join(" "),
        command,
        mounts: mounts.collect(),
        asks_cpu: asks_cpu(node),
    })
}

/// Tells whether a container, or a pod as a whole, asks for a share of the processor. A limit without a request is one.
fn asks_cpu(node: &Node) -> bool {
    let asked = |kind: &&str| node.get("resources").and_then(|asked| asked.get(kind)?.get("cpu")).is_some();
    ["requests", "limits"].iter().any(asked)
}

/// Returns the claims among the volumes of a pod that some container may write to.
fn claims(document: &Document, volumes: &[Node], containers: &[&Node]) -> Vec<Word> {
    let mounts = || containers.iter().flat_map(|node| node.get("volumeMounts")?.items()).flatten();
    let written = |name: &str| {
        mounts().any(|mount| {
            mount.get("name").and_then(Node::text) == Some(name)
                && mount.get("readOnly").and_then(Node::text) != Some("true")
        })
    };
    let claim = |volume: &Node| {
        let claim = volume.get("persistentVolumeClaim")?;
        let only_read = claim.get("readOnly").and_then(Node::text) == Some("true");
        let written = !only_read && written(volume.get("name")?.text()?);
        document.word(claim.get("claimName")?).filter(|_| written)
    };
    volumes.iter().filter_map(claim).collect()
}

/// Reads which secrets and settings a volume is made of, unless the pod may do without.
fn mounted(document: &Document, volume: &Node, whole: &mut Vec<(bool, Box<str>, Span)>) {
    let sources = volume.get("projected").and_then(|volume| volume.get("sources")).and_then(Node::items);
    for from in sources.unwrap_or_default().iter().chain([volume]) {
        for (key, secret) in [("secret", true), ("configMap", false)] {
            let Some(given) = from.get(key) else { continue };
            let needed = given.get("optional").and_then(Node::text) != Some("true");
            let name = given.get("secretName").or_else(|| given.get("name")).filter(|_| needed);
            whole
                .extend(name.and_then(|name| document.word(name)).map(|name| (secret, name.text, name.span)));
        }
    }
}

/// Reads which keys of a secret or of settings a volume picks.
fn picked(document: &Document, volume: &Node, found: &mut Workload) {
    for (kind, secret) in [("secret", true), ("configMap", false)] {
        let Some(given) = volume.get(kind) else { continue };
        let Some(name) = given.get("secretName").or_else(|| given.get("name")).and_then(Node::text) else {
            continue;
        };
        let needed = given.get("optional").and_then(Node::text) != Some("true");
        let items = given.get("items").and_then(Node::items).filter(|_| needed).unwrap_or_default();
        let keys = items.iter().filter_map(|item| document.word(item.get("key")?));
        let keys = keys.map(|key| (name.into(), key.text, key.span));
        if secret { found.secrets.extend(keys) } else { found.settings.extend(keys) }
    }
}

/// Reads which key of which object a variable takes, unless it may do without.
fn taken(document: &Document, given: &Node) -> Option<(Box<str>, Box<str>, Span)> {
    let text = |key| given.get(key).and_then(Node::text);
    let needed = text("optional") != Some("true");
    Some((text("name")?.into(), text("key")?.into(), document.span(given))).filter(|_| needed)
}
