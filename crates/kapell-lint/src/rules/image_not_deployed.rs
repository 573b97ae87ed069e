//! An image that is pushed, while what runs is another one of the same name.

mod commands;
mod computed; // tags that scripts make of the commit
mod defaulted; // tags that compose takes where nothing gives one
mod kustomized; // names of images that are to be replaced
mod skaffolded; // what Skaffold builds
mod tags;
mod unchanged; // manifests that are applied as they were
mod unpulled; // tags that compose has already
mod written; // commands that write where nothing is

use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, Severity};

use self::{
    commands::{by_command, never_pushed},
    tags::{Tag, tag_of},
};
use crate::{
    files::FileId,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
    systems::{
        Word, bake, gitlab, image_parts,
        images::{self, Pushed, pushed},
        kubernetes::What,
    },
};

/// See `docs/rules/image-not-deployed.md`.
pub(super) static RULE: Rule = Rule {
    name: "image-not-deployed",
    summary: "an image that is built and pushed, while another one or another tag is deployed",
    group: Group::CrossSystem,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::High,
    confidence: Confidence::Medium,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/image-not-deployed.md"),
    check,
};

/// What writes the image into a manifest when it is deployed.
const WRITERS: &[&str] =
    &[" set image", "kustomize", "sed ", "yq ", "helm ", "argocd", "flux", "set-image", "skaffold"];

/// Programs that give an image which is pushed already another tag.
const RETAGGERS: &[&str] = &["imagetools", "crane ", "skopeo", "regctl"];

/// Bases that everybody has an image of.
const COMMON: &[&str] = &["postgres", "redis", "mysql", "nginx", "mongo", "node", "python", "base", "alpine"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut pushes = pushed(&repository.files, &repository.github);
    pushes.extend(gitlab::pushed(&repository.files));
    pushes.extend(bake::pushed(&repository.files, &repository.github));
    let kept = images::unpushed(&repository.github);
    for deployed in images::deployed(&repository.github) {
        by_command(repository, &deployed, &pushes, report);
        never_pushed(repository, &deployed, &pushes, &kept, report);
    }
    kustomized::check(repository, report);
    skaffolded::check(repository, report);
    written::check(repository, report);
    unchanged::check(repository, &pushes, report);
    unpulled::check(repository, &pushes, report);
    defaulted::check(repository, &pushes, report);
    computed::check(repository, &pushes, report);
    let charts = in_charts(repository);
    let mut deployed = deployed(repository);
    deployed.extend(charts.iter().map(|(file, image)| (*file, image)));
    if deployed.is_empty() {
        return;
    }
    let pipeline = repository.files.find(gitlab::PIPELINE).map(|id| &*repository.files[id].text);
    let whole: Vec<&str> = repository.github.flows.iter().map(|flow| &*flow.text).chain(pipeline).collect();
    let plainly = builds_plainly(repository);
    let known = |text: &&str| {
        let text = without_tag_writers(text);
        if plainly { without(&text, "kustomize ", is_applied_as_built) } else { text }
    };
    let texts: Vec<String> = whole.iter().map(known).collect();
    if texts.iter().any(|text| WRITERS.iter().any(|writer| text.contains(writer))) {
        return;
    }
    // Who writes only a tag leaves the name as it stands in the manifest.
    let mut flows = whole.iter().zip(&texts);
    let retags = |text: &str| RETAGGERS.iter().any(|program| text.contains(program));
    // `envsubst` fills variables in and nothing else.
    let filled = |text: &str| text.contains("envsubst");
    let tags_written = pipeline.is_some()
        || flows.any(|(whole, text)| whole.len() != text.len() || retags(text) || filled(text));
    if texts.iter().any(|text| filled(text))
        && deployed.iter().any(|(_, image)| image_parts(image).0.contains('$'))
    {
        return;
    }
    if let Some(other) = only_other(repository, &deployed, &pushes) {
        tell_other(&other, report);
    }
    let pushed = pushes;
    for (file, image) in deployed {
        let (name, tag) = image_parts(image);
        let name = plain(name);
        if name.contains('$') || image.contains('@') || !name.contains('/') {
            continue;
        }
        // A chart without a tag has one of its own.
        let of_chart = charts.iter().any(|(_, word)| std::ptr::eq(word, image));
        let filled_in = tag.is_some_and(|tag| tag.contains('$'));
        let tag =
            (!(tags_written || filled_in || of_chart && tag.is_none())).then(|| tag.unwrap_or("latest"));
        judge(repository, (file, image), &name, tag, &pushed, report);
    }
}

/// Leaves out the commands that write a tag and nothing else: `sed "s/:latest/:$TAG/"`, `helm upgrade --set image.tag=$TAG`.
fn without_tag_writers(text: &str) -> String {
    without(&without(text, "helm ", leaves_name), "sed ", replaces_tag)
}

/// Tells whether no kustomization here writes anything into an image, by itself or by what it takes from elsewhere.
fn builds_plainly(repository: &Repository) -> bool {
    const WRITES: &[&str] = &[
        "images:",
        "patch",
        "replacements",
        "transformers",
        "components",
        "generators",
        "helm",
        "://",
        "?ref=",
    ];
    let writes = |line: &str| {
        let line = line.trim_start();
        !line.starts_with(['#', 'a']) && WRITES.iter().any(|word| line.contains(word))
    };
    let files = repository.files.iter().filter(|(_, file)| file.name().starts_with("kustomization."));
    !files.into_iter().any(|(_, file)| file.text.lines().any(writes))
}

/// Tells whether a command of kustomize builds what the next one applies as it is: `kustomize build . | kubectl apply -f -`.
fn is_applied_as_built(kustomize: &str) -> bool {
    let line = kustomize.lines().next().unwrap_or_default();
    let Some((own, rest)) = line.split_once('|') else { return false };
    !own.contains("edit") && rest.trim_start().starts_with("kubectl") && rest.contains(" apply")
}

/// Leaves out a word wherever a command that begins with it is one of those.
fn without(text: &str, word: &str, is_one: impl Fn(&str) -> bool) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, command) = rest.split_at(at);
        kept.push_str(before);
        kept.push_str(if is_one(command) { "" } else { word });
        rest = &command[word.len()..];
    }
    kept.push_str(rest);
    kept
}

/// Tells whether a command of Helm sets nothing that may name another image: neither the name itself nor a file of values.
fn leaves_name(helm: &str) -> bool {
    let next = |line: &str| {
        let line = line.trim_start();
        line.starts_with("- ") || line.starts_with("name:") || line.starts_with("helm ")
    };
    let lines = helm.lines().enumerate().take_while(|(at, line)| *at == 0 || !next(line)).take(20);
    let command = lines.map(|(_, line)| line).collect::<Vec<_>>().join(" ") + " ";
    let others = [
        "repository",
        "registry",
        "image=",
        "--values",
        " -f ",
        " -f=",
        "--set-file",
        "--set-json",
        "post-render",
    ];
    !others.iter().any(|word| command.contains(word))
}

/// Tells whether a `sed` has one expression, and that replaces one tag by another.
fn replaces_tag(sed: &str) -> bool {
    let line = sed.split('\n').next().unwrap_or_default();
    let mut words = line.split_whitespace().skip(1).skip_while(|word| word.starts_with('-'));
    let Some(expression) = words.next().map(|word| word.trim_matches(['"', '\''])) else { return false };
    let Some(delimiter) = expression.strip_prefix('s').and_then(|rest| rest.chars().next()) else {
        return false;
    };
    let mut parts = expression[1 + delimiter.len_utf8()..].split(delimiter);
    let (Some(from), Some(to), Some(flags), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let plain = |tag: &str| tag.chars().all(|c| c.is_ascii_alphanumeric() || "-_.${}()".contains(c));
    let tag = |side: &str| side.strip_prefix(':').is_some_and(|tag| !tag.is_empty() && plain(tag));
    !line.contains(" -e") && tag(from) && tag(to) && matches!(flags, "" | "g")
}

fn deployed(repository: &Repository) -> Vec<(FileId, &Word)> {
    let composes = repository.systems.composes.iter().flat_map(|compose| {
        let services = compose.services.iter().filter(|service| service.build.is_none());
        services.filter_map(|service| Some((compose.file, service.image.as_ref()?)))
    });
    let applies = || repository.github.flows.iter().any(|flow| flow.text.contains(" apply -k "));
    let workloads = repository.systems.manifests.iter().flat_map(|manifest| match &manifest.what {
        What::Workload(workload) => workload.images.iter().map(|image| (manifest.file, image)).collect(),
        // Whoever applies it by hand, or has a robot write it, knows the tag.
        What::Images(images) if applies() => images.iter().map(|image| (manifest.file, image)).collect(),
        _ => Vec::new(),
    });
    composes.chain(workloads).collect()
}

/// Finds the images that the values of Helm charts name: `repository:` and `tag:` below `image:`.
fn in_charts(repository: &Repository) -> Vec<(FileId, Word)> {
    let mut found = Vec::new();
    for (id, file) in repository.files.iter() {
        let values = matches!(file.name(), "values.yaml" | "values.yml");
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let chart = || repository.files.exists(&format!("{folder}/Chart.yaml"));
        if !values || !chart() {
            continue;
        }
        let (mut at, mut inside) = (0, None);
        for line in file.text.split_inclusive('\n') {
            let start = at;
            at += line.len();
            let indent = line.len() - line.trim_start().len();
            let own = line.trim();
            if inside.is_some_and(|around| indent <= around) && !own.is_empty() {
                inside = None;
            }
            if own == "image:" {
                inside = Some(indent);
            } else if let Some(name) = own.strip_prefix("repository:").filter(|_| inside.is_some()) {
                let name = name.split(" #").next().unwrap_or(name).trim().trim_matches(['"', '\'']);
                let tag =
                    file.text[at..].lines().take_while(|line| line.len() - line.trim_start().len() == indent);
                let tag = tag.filter_map(|line| line.trim().strip_prefix("tag:")).next().unwrap_or_default();
                let tag = tag.split(" #").next().unwrap_or(tag).trim().trim_matches(['"', '\'']);
                let text = if tag.is_empty() { name.to_owned() } else { format!("{name}:{tag}") };
                found.push((
                    id,
                    Word {
                        text: text.into(),
                        span: Span::new(start + indent, start + line.trim_end().len()),
                    },
                ));
            }
        }
    }
    found
}

/// The only image that is pushed and not deployed, and the only one of the same owner that is deployed and never pushed.
struct Other<'a> {
    pushed: &'a Pushed,
    file: FileId,
    image: &'a Word,
}

fn only_other<'a>(
    repository: &Repository,
    deployed: &[(FileId, &'a Word)],
    pushed: &'a [Pushed],
) -> Option<Other<'a>> {
    // Overlays may put another name in.
    let renamed = repository.files.iter().any(|(_, file)| {
        matches!(file.name(), "kustomization.yaml" | "kustomization.yml") && file.text.contains("images:")
    });
    if renamed || pushed.iter().any(|one| one.name.is_none()) {
        return None;
    }
    let owner = |name: &str| name.rsplit_once('/').map(|(owner, _)| owner.to_owned());
    // Of many that are pushed, the one that is not run.
    let is_run = |one: &&Pushed| {
        let name = one.name.as_deref().map(plain);
        deployed.iter().any(|(_, image)| Some(plain(image_parts(image).0)) == name)
    };
    let idle: Vec<&Pushed> = pushed.iter().filter(|one| !is_run(one)).collect();
    let first = *idle.first()?;
    let (name, at) = (first.name.as_deref().map(plain)?, owner(first.name.as_deref()?)?);
    if idle.iter().any(|one| one.name.as_deref().map(plain).as_ref() != Some(&name)) || at.contains('$') {
        return None;
    }
    let is_pushed =
        |name: &str| pushed.iter().any(|one| one.name.as_deref().map(plain).as_deref() == Some(name));
    let of_owner: Vec<(FileId, &Word)> = deployed
        .iter()
        .copied()
        .filter(|(_, image)| owner(&plain(image_parts(image).0)).as_ref() == Some(&plain(&at)))
        .filter(|(_, image)| !is_pushed(&plain(image_parts(image).0)))
        .collect();
    let (file, image) = *of_owner.first()?;
    let other = plain(image_parts(image).0);
    if other == name || of_owner.iter().any(|(_, image)| plain(image_parts(image).0) != other) {
        return None;
    }
    let words = |name: &str| {
        let last = name.rsplit('/').next().unwrap_or_default().to_owned();
        last.split(['-', '_', '.']).filter(|word| word.len() > 2).map(str::to_owned).collect::<Vec<_>>()
    };
    // `mail-worker` and `mailer` are alike as well.
    let same = |one: &str, other: &str| {
        let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
        let common = short.bytes().zip(long.bytes()).take_while(|(one, other)| one == other).count();
        common == long.len()
            || short.len() > 3 && (common == short.len() || common > 4 && long.len() - common < 4)
    };
    let alike = words(&other).iter().any(|word| words(&name).iter().any(|own| same(word, own)))
        || runs_as(repository, image, &name);
    // What has the same last part is told of elsewhere.
    let same_last = name.rsplit('/').next() == other.rsplit('/').next();
    (alike && !same_last).then_some(Other { pushed: first, file, image })
}

/// Tells whether what runs an image is itself called as another one is.
fn runs_as(repository: &Repository, image: &Word, other: &str) -> bool {
    let last = other.rsplit('/').next().unwrap_or(other);
    repository.systems.manifests.iter().any(|manifest| match &manifest.what {
        What::Workload(workload) => {
            *manifest.name == *last && workload.images.iter().any(|own| std::ptr::eq(own, image))
        }
        _ => false,
    })
}

fn tell_other(other: &Other<'_>, report: &mut Report<'_>) {
    let message = format!(
        "`{}` is deployed, which no workflow pushes; `{}` is pushed, which nothing here deploys",
        other.image,
        other.pushed.name.as_deref().unwrap_or_default()
    );
    report
        .add(other.file, other.image.span, message)
        .hint("deploy the image that is pushed")
        .also(other.pushed.file, other.pushed.span, "pushed here")
        .done();
}

fn plain(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    name.strip_prefix("docker.io/").map_or(name.clone(), str::to_owned)
}

/// Returns the path of an image without its registry, whatever stands between its words.
fn flat(name: &str) -> String {
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    let path = if first.contains(['.', ':']) { rest } else { name };
    path.to_ascii_lowercase().replace(['/', '_', '.'], "-")
}

/// Compares what a manifest runs with what is pushed: its tag, too, where one is known.
fn judge(
    repository: &Repository,
    (file, image): (FileId, &Word),
    name: &str,
    tag: Option<&str>,
    pushed: &[Pushed],
    report: &mut Report<'_>,
) {
    let base = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let known = |one: &&Pushed| one.name.is_some();
    let same: Vec<&Pushed> =
        pushed.iter().filter(|one| one.name.as_deref().map(plain).as_deref() == Some(name)).collect();
    // An image whose name is put together elsewhere may be this one.
    if same.is_empty() && pushed.iter().all(|one| known(&one)) && !COMMON.contains(&base(name).as_str()) {
        // `registry.example.com/acme/portal/web` moved to `ghcr.io/acme/portal-web`.
        let moved = |other: &str| base(other) == base(name) || flat(other) == flat(name);
        let near = pushed.iter().find(|one| one.name.as_deref().is_some_and(moved));
        if let Some(near) = near {
            let other = near.name.as_deref().unwrap_or_default();
            let message = format!("`{image}` is deployed, but the workflows push `{other}`");
            report.add(file, image.span, message).also(near.file, near.span, "pushed here").done();
        }
        return;
    }
    let Some(tag) = tag else { return };
    if let Some(first) = same.first().filter(|_| !same.iter().any(|one| is_tag(repository, one, tag))) {
        let tags: Vec<String> = same.iter().map(|one| format!("`{}`", one.tag)).collect();
        let message = format!(
            "the tag `{tag}` of `{name}` is deployed, but the workflows push only {}",
            tags.join(", ")
        );
        report.add(file, image.span, message).also(first.file, first.span, "pushed here").done();
    }
}

/// Tells whether what is pushed may have this tag.
fn is_tag(repository: &Repository, one: &Pushed, tag: &str) -> bool {
    match one.tag.as_str() {
        written if !written.contains('$') => written == tag,
        "${{ github.sha }}" | "$GITHUB_SHA" => {
            tag.len() == 40 && tag.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        // No branch and no version is called so.
        other if tag == "latest" && other != images::BY_REFERENCE => {
            matches!(tag_of(other), None | Some(Tag::Name))
        }
        _ => tags::may_be(repository, one, tag),
    }
}
