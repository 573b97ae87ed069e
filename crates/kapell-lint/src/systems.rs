//! What runs beside the code: services of compose files, workloads of Kubernetes, images that are built.
//!
//! Read leniently: templates (`{{ }}`) and files that extend others are not judged, since half of them is elsewhere.

pub mod bake;
pub(crate) mod builds; // by steps of workflows
pub mod compose;
pub mod docker;
pub mod gitlab;
pub mod images;
pub mod kubernetes;
pub(crate) mod started;

use kapell_spec::{
    codes,
    finding::{Source, Span},
    yaml::{self, Node, Tree},
};

use crate::files::{Broken, File, FileId, Files};
pub use compose::Compose;
pub use docker::Dockerfile;
pub use kubernetes::{Kustomization, Manifest};

/// The systems of a repository.
#[derive(Debug, Default)]
pub struct Systems {
    /// Compose files, by path.
    pub composes: Vec<Compose>,
    /// Kubernetes objects, by path and place.
    pub manifests: Vec<Manifest>,
    /// Kustomizations, by path.
    pub kustomizations: Vec<Kustomization>,
    /// Recipes of images, by path.
    pub dockerfiles: Vec<Dockerfile>,
    /// Settings of proxies: nginx and Caddy.
    pub proxies: Vec<FileId>,
    /// Templates of Helm charts.
    pub charts: Vec<FileId>,
    /// Compose files and manifests that cannot be read.
    pub broken: Vec<Broken>,
}

/// Folders of what is only shown or tried.
const ASIDE: &[&str] = &[
    "test",
    "tests",
    "testdata",
    "__tests__",
    "e2e",
    "fixtures",
    "examples",
    "example",
    "docs",
    "doc",
    "demo",
    "samples",
    "templates",
];

/// Folders and words of names where Kubernetes objects are kept.
const CLUSTER: &[&str] = &[
    "k8s",
    "kubernetes",
    "kube",
    "deploy",
    "manifest",
    "kustom",
    "overlay",
    "infra",
    "cluster",
    "argocd",
    "service",
];

/// Tells whether a path is that of a compose file.
#[must_use]
pub fn is_compose(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.strip_suffix(".yml").or_else(|| name.strip_suffix(".yaml"));
    stem.is_some_and(|stem| {
        let stem = stem.strip_prefix("docker-").unwrap_or(stem);
        stem == "compose" || stem.starts_with("compose.") || stem.starts_with("compose-") || stem == "stack"
    })
}

/// Tells whether a path is that of a recipe of an image.
#[must_use]
pub fn is_dockerfile(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    ["Dockerfile", "Containerfile"].iter().any(|known| {
        name == *known
            || name.strip_prefix(known).is_some_and(|rest| rest.starts_with('.'))
            || name.ends_with(&format!(".{known}"))
    })
}

/// Tells whether a path is that of the settings of a proxy, nginx or Caddy.
#[must_use]
pub fn is_proxy(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let name = lower.rsplit('/').next().unwrap_or(&lower);
    let conf = name.ends_with(".conf") || name.ends_with(".conf.template");
    let words = ["nginx", "proxy", "conf.d", "default.conf", "gateway", "sites-"];
    conf && words.iter().any(|word| lower.contains(word)) || name == "caddyfile"
}

/// Tells whether a path is that of the settings of an app on Fly.
#[must_use]
pub fn is_fly(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name == "fly.toml" || name.starts_with("fly.") && name.ends_with(".toml")
}

/// Tells whether a path may be that of a Kubernetes object; its text decides.
#[must_use]
pub fn may_be_manifest(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    is_yaml(&lower) && CLUSTER.iter().any(|word| lower.contains(word))
}

/// Tells whether a path is that of a file of YAML that is not for GitHub.
fn is_yaml(path: &str) -> bool {
    (path.ends_with(".yml") || path.ends_with(".yaml")) && !path.starts_with(".github/")
}

/// Tells whether a text begins as objects of Kubernetes do, whatever its folder is called: by its version and its kind.
fn starts_as_object(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| {
        let line = line.trim_end();
        !(line.is_empty() || line.starts_with('#') || line == "---")
    });
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let is = |key: &str| first.starts_with(key) || second.starts_with(key);
    is("apiVersion: ") && is("kind: ") && !text.contains("{{")
}

/// Tells whether a path may be that of a template of a Helm chart that starts pods or sends to them.
#[must_use]
pub fn is_chart_template(path: &str) -> bool {
    let Some((folders, name)) = path.rsplit_once('/') else { return false };
    let known = ["deploy", "service", "svc", "statefulset", "daemonset", "workload", "secret", "cronjob"];
    let aside = ["test", "tests", "testdata", "fixtures", "e2e", "__tests__"];
    let name = name.to_ascii_lowercase();
    folders.split('/').any(|folder| folder == "templates")
        && !folders.split('/').any(|folder| aside.contains(&folder))
        && (name.ends_with(".yaml") || name.ends_with(".yml"))
        && known.iter().any(|word| name.contains(word))
}

/// Tells whether a file is read as one of a system.
#[must_use]
pub fn wanted(path: &str) -> bool {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    is_chart_template(path)
        || !folders.split('/').any(|folder| ASIDE.contains(&folder))
            && (!folders.split('/').any(|folder| folder == "charts") || is_plain_in_chart(path))
            && (is_compose(path) || is_dockerfile(path) || is_proxy(path) || is_yaml(path))
}

/// Tells whether a file in a folder of charts may be an object as it stands: neither what describes a chart or fills it in,
/// nor a definition of kinds.
fn is_plain_in_chart(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    is_yaml(path) && !name.starts_with("values") && !name.starts_with("Chart.") && !path.contains("/crds/")
}

impl Systems {
    /// Reads the files of systems.
    #[must_use]
    pub fn read(files: &Files) -> Self {
        let mut systems = Self::default();
        for (id, file) in files.iter().filter(|(_, file)| wanted(&file.path)) {
            if is_chart_template(&file.path) {
                // No YAML before it is filled in.
                systems.charts.push(id);
            } else if is_compose(&file.path) {
                let documents = Document::all(id, file, &mut systems.broken);
                systems.composes.extend(compose::read(id, file, documents));
            } else if is_proxy(&file.path) {
                systems.proxies.push(id);
            } else if is_dockerfile(&file.path) {
                systems.dockerfiles.push(docker::read(id, file));
            } else if may_be_manifest(&file.path) && file.text.contains("apiVersion:")
                || file.name().starts_with("kustomization.")
                || starts_as_object(&file.text)
            {
                let documents = Document::all(id, file, &mut systems.broken);
                systems.manifests.extend(kubernetes::read(id, file, &documents));
                if file.name().starts_with("kustomization.") {
                    systems.kustomizations.extend(kubernetes::kustomization(id, file, &documents));
                }
            }
        }
        // What a name calls a variant is one only where there is something to lay it over.
        let folder = |path: &str| path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let folders: Vec<String> = systems.composes.iter().map(|compose| folder(&compose.path)).collect();
        for (compose, own) in systems.composes.iter_mut().zip(&folders) {
            let alone = folders.iter().filter(|other| *other == own).count() == 1;
            compose.partial |= compose.overlay && !alone;
        }
        systems
    }
}

/// A document of a file, and where it starts there.
pub(crate) struct Document {
    tree: Tree,
    base: u32,
}

impl Document {
    /// Splits a file into its documents, and reads those that are whole and no templates. The first that is not whole is
    /// told.
    fn all(id: FileId, file: &File, broken: &mut Vec<Broken>) -> Vec<Self> {
        let mut starts = vec![0];
        let lines = file.text.split_inclusive('\n').scan(0, |at, line| {
            *at += line.len();
            Some((*at, line))
        });
        starts.extend(
            lines
                .filter(|(_, line)| line.trim_end() == "---" || line.starts_with("--- "))
                .map(|(end, _)| end),
        );
        let ends = starts[1..].iter().copied().chain([file.text.len()]);
        // More than any file of manifests has.
        let parts = starts.iter().copied().zip(ends).take(500);
        let told = broken.len();
        let read = |(start, end): (usize, usize)| {
            let text = file.text[start..end].trim_end_matches("---\n").trim_end_matches("---");
            if text.contains("{{") && !fills_values(text) {
                return None;
            }
            let (tree, findings) = yaml::read(&Source::new(&file.path, text));
            // Compose and its like read merge keys.
            let error =
                findings.iter().find(|finding| finding.is_error() && finding.code != codes::MERGE_KEY);
            if let Some(error) = error.filter(|_| broken.len() == told) {
                let (from, to) = (error.span.start as usize + start, error.span.end as usize + start);
                broken.push(Broken { file: id, span: Span::new(from, to), why: error.message.clone() });
            }
            let tree = tree.filter(|tree| tree.complete && error.is_none())?;
            Some(Self { tree, base: start as u32 })
        };
        parts.filter_map(read).collect()
    }

    fn root(&self) -> &Node {
        &self.tree.root
    }

    fn span(&self, node: &Node) -> Span {
        let span = node.place();
        Span { start: span.start + self.base, end: span.end + self.base }
    }

    fn word(&self, node: &Node) -> Option<Word> {
        Some(Word { text: node.text()?.into(), span: self.span(node) })
    }

    fn words(&self, node: Option<&Node>) -> Vec<Word> {
        node.and_then(Node::items).unwrap_or_default().iter().filter_map(|item| self.word(item)).collect()
    }
}

/// Tells whether a template fills in nothing but the values of a secret or of settings, so that its name and its keys stand
/// as they are: `password: "{{ db_password }}"`.
fn fills_values(text: &str) -> bool {
    let keeps = text.lines().any(|line| matches!(line.trim_end(), "kind: Secret" | "kind: ConfigMap"));
    let filled = |line: &str| {
        let (before, _) = line.split_once("{{").unwrap_or((line, ""));
        let value =
            before.split_once(": ").is_some_and(|(_, value)| value.trim_start().starts_with(['"', '\'']));
        value && !["name", "namespace"].contains(&before.split(':').next().unwrap_or_default().trim())
    };
    keeps && text.lines().filter(|line| line.contains("{{")).all(filled)
}

/// A text and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The text.
    pub text: Box<str>,
    /// Where it stands.
    pub span: Span,
}

impl std::ops::Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Splits the name of an image into its repository and its tag; a digest counts as no tag, and a colon within a variable
/// (`${GITHUB_SHA::7}`) does not split.
#[must_use]
pub fn image_parts(image: &str) -> (&str, Option<&str>) {
    let image = image.split('@').next().unwrap_or(image);
    let (mut open, mut colon) = (0_usize, None);
    for (at, byte) in image.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => open = open.saturating_sub(1),
            b':' if open == 0 => colon = Some(at),
            b'/' if open == 0 => colon = None,
            _ => {}
        }
    }
    colon.map_or((image, None), |at| (&image[..at], Some(&image[at + 1..])))
}
