//! What runs code of the repository, and the variables that it gives in plain sight.

use kapell_spec::finding::Span;
use kapell_view::audit::Severity;

use super::is_name;
use crate::{
    files::{File, FileId},
    repository::Repository,
    systems::{is_fly, kubernetes::What},
};

/// What runs code, and the variables that it gives.
pub(super) struct Runner<'a> {
    pub(super) file: FileId,
    pub(super) name: String,
    pub(super) span: Span,
    /// The folder that the image is built from; empty for the top.
    pub(super) folder: &'a str,
    pub(super) gives: Vec<String>,
    /// Whether secrets are given to it by hand as a rule, so that only other variables are missed.
    pub(super) takes_secrets: bool,
    pub(super) severity: Severity,
}

impl Runner<'_> {
    /// Tells whether it is expected to give a variable where all can see it.
    pub(super) fn has_to_show(&self, name: &str) -> bool {
        !self.takes_secrets || !SECRET.iter().any(|word| name.contains(word))
    }
}

/// Parts of names of what is kept secret.
const SECRET: &[&str] =
    &["KEY", "TOKEN", "SECRET", "PASS", "DSN", "URL", "URI", "CREDENTIAL", "AUTH", "ACCOUNT", "ID"];

/// Signs of variables that stand elsewhere.
const HIDDEN: &[&str] = &["env_file", "<<:", "environment: *", "extends:", "envFrom"];

/// Signs that a service sees the files of the one who works on it, `.env` among them.
const MOUNTED: &[&str] = &["- .:/", "- ./:/", "- \".:/", "- '.:/", "- ${PWD}:/", "watch:"];

/// Finds what runs code of the repository and gives it all of its variables in plain sight.
pub(super) fn all(repository: &Repository) -> Vec<Runner<'_>> {
    let text = |id: FileId| &*repository.files[id].text;
    let plain = |id: FileId| !HIDDEN.iter().any(|word| text(id).contains(word));
    let own = |id: FileId| plain(id) && !MOUNTED.iter().any(|word| text(id).contains(word));
    let composes = repository.systems.composes.iter().filter(|one| !one.partial && own(one.file));
    let built = composes.flat_map(|compose| {
        let services = compose.services.iter().filter(|service| !service.partial && !service.env.is_empty());
        services.filter_map(|service| {
            let (folder, _) = service.build.as_ref()?;
            let gives = service.env.iter().filter_map(|word| word.split('=').next());
            Some(Runner {
                file: compose.file,
                name: service.name.to_string(),
                span: service.name.span,
                folder: folder.trim_matches(['.', '/']),
                gives: gives.map(str::to_owned).collect(),
                takes_secrets: false,
                severity: Severity::High,
            })
        })
    });
    // Which image holds which code is not said there: what is asked for beside it has to show that.
    let pods = repository.systems.manifests.iter().filter_map(|manifest| {
        let What::Workload(_) = &manifest.what else { return None };
        let gives = names(text(manifest.file), "name: ");
        let seen = plain(manifest.file) && !gives.is_empty();
        seen.then(|| Runner {
            file: manifest.file,
            name: manifest.name.to_string(),
            span: manifest.name.span,
            folder: "",
            gives,
            takes_secrets: false,
            severity: Severity::High,
        })
    });
    let charts = repository.systems.charts.iter().filter_map(|&id| chart(id, &repository.files[id]));
    let hosts = repository.files.iter().filter_map(|(id, file)| match file.name() {
        "render.yaml" => render(id, file),
        _ if is_fly(&file.path) => fly(id, file),
        _ => None,
    });
    built.chain(pods).chain(charts).chain(hosts).collect()
}

/// Returns the variables that lines name behind a key.
fn names(text: &str, key: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| {
        let own = line.trim_start_matches([' ', '-', '{']);
        let name = own.strip_prefix(key)?.split([',', ' ', '}']).next()?.trim_matches(['"', '\'']);
        is_name(name).then(|| name.to_owned())
    });
    names.collect()
}

/// The workload of a chart whose variables all stand in its template.
fn chart(id: FileId, file: &File) -> Option<Runner<'_>> {
    let text = &*file.text;
    let kind = ["kind: Deployment", "kind: StatefulSet"]
        .iter()
        .find_map(|kind| Some((text.find(kind)?, kind.len())));
    let (at, len) = kind?;
    let filled =
        ["range ", "nv | toYaml", "include \"", "toYaml .Values.env", "toYaml .Values.extra", "tpl "];
    let hidden = HIDDEN.iter().chain(&filled).any(|word| text.contains(word));
    let gives = names(text, "name: ");
    (!hidden && !gives.is_empty()).then(|| Runner {
        file: id,
        name: file
            .path
            .split("/templates/")
            .next()
            .unwrap_or_default()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned(),
        span: Span::new(at, at + len),
        folder: "",
        gives,
        takes_secrets: false,
        severity: Severity::High,
    })
}

/// The one service of a blueprint of Render; with several nobody can tell by lines whose variables they are.
fn render(id: FileId, file: &File) -> Option<Runner<'_>> {
    let text = &*file.text;
    let one = text.matches("envVars:").count() == 1;
    if !one || text.contains("fromGroup") || text.contains("envVarGroups") {
        return None;
    }
    let at = text.find("name: ")? + "name: ".len();
    let name = text[at..].lines().next().unwrap_or_default().trim();
    Some(Runner {
        file: id,
        name: name.to_owned(),
        span: Span::new(at, at + name.len()),
        folder: "",
        gives: names(text, "key: "),
        takes_secrets: false,
        severity: Severity::Medium,
    })
}

/// An application of Fly, whose secrets are set by hand.
fn fly(id: FileId, file: &File) -> Option<Runner<'_>> {
    let text = &*file.text;
    let (_, env) = text.split_once("[env]")?;
    let lines = env.lines().take_while(|line| !line.trim_start().starts_with('['));
    let given = lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim().trim_matches('"').to_owned());
    let at = text.find("app = ").or_else(|| text.find("app="))?;
    let line = text[at..].lines().next().unwrap_or_default();
    let name = line.split(['"', '\'']).nth(1)?;
    if text.contains("image =") {
        return None;
    }
    Some(Runner {
        file: id,
        name: name.to_owned(),
        span: Span::new(at, at + line.len()),
        folder: file.path.rsplit_once('/').map_or("", |(folder, _)| folder),
        gives: given.collect(),
        takes_secrets: true,
        severity: Severity::Medium,
    })
}
