//! An image that is pushed, while what runs is another one of the same name.

use kapell_spec::{finding::Span, github::Uses};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    files::FileId,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
    systems::{
        Word, bake, gitlab, image_parts,
        images::{self, Deployed, Pushed, pushed},
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
const WRITERS: &[&str] = &[
    " set image",
    "kustomize",
    "sed ",
    "yq ",
    "envsubst",
    "helm ",
    "argocd",
    "flux",
    "set-image",
    "skaffold",
];

/// Bases that everybody has an image of.
const COMMON: &[&str] = &["postgres", "redis", "mysql", "nginx", "mongo", "node", "python", "base", "alpine"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut pushes = pushed(&repository.github);
    pushes.extend(gitlab::pushed(&repository.files));
    pushes.extend(bake::pushed(&repository.files, &repository.github));
    let kept = images::unpushed(&repository.github);
    for deployed in images::deployed(&repository.github) {
        by_command(repository, &deployed, &pushes, report);
        never_pushed(repository, &deployed, &pushes, &kept, report);
    }
    let charts = in_charts(repository);
    let mut deployed = deployed(repository);
    deployed.extend(charts.iter().map(|(file, image)| (*file, image)));
    if deployed.is_empty() {
        return;
    }
    let pipeline = repository.files.find(gitlab::PIPELINE).map(|id| &*repository.files[id].text);
    let whole: Vec<&str> = repository.github.flows.iter().map(|flow| &*flow.text).chain(pipeline).collect();
    let texts: Vec<String> = whole.iter().map(|text| without_tag_writers(text)).collect();
    if texts.iter().any(|text| WRITERS.iter().any(|writer| text.contains(writer))) {
        return;
    }
    // Who writes only a tag leaves the name as it stands in the manifest.
    let mut flows = whole.iter().zip(&texts);
    let tags_written = pipeline.is_some() || flows.any(|(whole, text)| whole.len() != text.len());
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
        judge(file, image, &name, tag, &pushed, report);
    }
}

/// Leaves out the commands that write a tag and nothing else: `sed "s/:latest/:$TAG/"`, `helm upgrade --set image.tag=$TAG`.
fn without_tag_writers(text: &str) -> String {
    without(&without(text, "helm ", leaves_name), "sed ", replaces_tag)
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

/// What a tag that is put together stands for. Two kinds are never the same text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag<'a> {
    Written(&'a str),
    Commit,
    ShortCommit,
    MarkedCommit,
    MarkedShortCommit,
    RunNumber,
    RunId,
    /// The name of a branch or a tag, or what is made of it.
    Name,
    /// The name of the branch or the tag that started the run, as it is.
    Reference,
    /// The same without its `v`.
    BareVersion,
    /// Begins with the day on which it was made.
    Dated,
}

/// Reads a tag; `None` where it may be anything.
fn tag_of(tag: &str) -> Option<Tag<'_>> {
    match tag {
        images::BY_NAME => return Some(Tag::Name),
        images::BARE_VERSION => return Some(Tag::BareVersion),
        images::MARKED_SHORT_SHA => return Some(Tag::MarkedShortCommit),
        images::SHORT_SHA => return Some(Tag::ShortCommit),
        "sha-${{ github.sha }}" | "sha-$GITHUB_SHA" | "sha-${GITHUB_SHA}" => return Some(Tag::MarkedCommit),
        _ => {}
    }
    if tag.starts_with("$(date") {
        return Some(Tag::Dated);
    }
    let inner = tag.trim_matches(['"', '\'']).trim();
    let inner = inner.strip_prefix("sha-").unwrap_or(inner);
    let expression = inner.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")).map(str::trim);
    let variable = inner.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    match expression.or(variable).or_else(|| inner.strip_prefix('$')) {
        None => (!tag.contains(['$', '`'])).then_some(Tag::Written(tag)),
        Some(_) if tag.contains("sha-") => None,
        Some("github.sha" | "GITHUB_SHA") => Some(Tag::Commit),
        Some("github.ref_name" | "GITHUB_REF_NAME") => Some(Tag::Reference),
        Some("github.run_number" | "GITHUB_RUN_NUMBER") => Some(Tag::RunNumber),
        Some("github.run_id" | "GITHUB_RUN_ID") => Some(Tag::RunId),
        Some("GITHUB_REF_NAME#v" | "GITHUB_REF#refs/tags/v" | "GITHUB_REF_NAME/v/") => Some(Tag::BareVersion),
        Some("GITHUB_REF#refs/tags/" | "GITHUB_REF##*/") => Some(Tag::Reference),
        Some(cut) if cut.starts_with("GITHUB_SHA:") => Some(Tag::ShortCommit),
        Some(_) => None,
    }
}

/// A command that deploys a tag which no workflow pushes for this image.
fn by_command(repository: &Repository, deployed: &Deployed, pushed: &[Pushed], report: &mut Report<'_>) {
    let Some(tag) = tag_of(&deployed.tag) else { return };
    let same: Vec<&Pushed> = match &deployed.name {
        Some(name) if name.contains("${{") => return,
        Some(name) => pushed.iter().filter(|one| one.written == *name).collect(),
        // A tag alone is that of the one image which this workflow pushes.
        None => pushed.iter().filter(|one| one.file == deployed.file).collect(),
    };
    let Some(first) = same.first() else { return of_nobody(repository, deployed, tag, pushed, report) };
    let one = same.iter().all(|one| one.written == first.written);
    let tags: Option<Vec<Tag<'_>>> = same.iter().map(|one| tag_of(&one.tag)).collect();
    let Some(tags) = tags.filter(|tags| one && !tags.contains(&tag)) else { return };
    // A name may be any text.
    let named = |tag: &Tag<'_>| matches!(tag, Tag::Name | Tag::Reference);
    if matches!(tag, Tag::Written(_)) && tags.iter().any(|tag| named(tag) || *tag == Tag::BareVersion) {
        return;
    }
    let any = |tag: &Tag<'_>| named(tag) || matches!(tag, Tag::Written(_));
    if named(&tag) && tags.iter().any(any) && !is_bare_version(repository, deployed.file, tag, &tags) {
        return;
    }
    // A version that somebody else released may be deployed by its number.
    let is_number = matches!(tag, Tag::Written(text) if text.chars().any(|c| c.is_ascii_digit()));
    if is_number || tags.is_empty() {
        return;
    }
    let shown: Vec<String> = same.iter().map(|one| format!("`{}`", one.tag)).collect();
    let message = format!(
        "the tag `{}` is deployed, but the workflows push `{}` only as {}",
        deployed.tag,
        first.written,
        shown.join(", ")
    );
    report
        .add(deployed.file, deployed.span, message)
        .hint("deploy the tag that was pushed")
        .also(first.file, first.span, "pushed here")
        .done();
}

/// Tells whether the tags that are pushed are those of versions without the `v` that every tag has on which a workflow starts:
/// what is called after the tag is then never there.
fn is_bare_version(repository: &Repository, file: FileId, tag: Tag<'_>, tags: &[Tag<'_>]) -> bool {
    let flow = repository.github.flows.iter().find(|flow| flow.file == file);
    let marked = flow.is_some_and(|flow| {
        let tags = flow.model.event("push").and_then(|push| push.filter("tags"));
        flow.model.events.len() == 1
            && tags.is_some_and(|tags| tags.items.iter().all(|item| item.text.starts_with('v')))
    });
    let bare = |tag: &Tag<'_>| matches!(tag, Tag::BareVersion | Tag::Written("latest"));
    tag == Tag::Reference && marked && tags.contains(&Tag::BareVersion) && tags.iter().all(bare)
}

/// What else builds images, or brings them to where they are pulled from.
const BUILDERS: &[&str] = &[
    "acr build",
    "acr import",
    "builds submit",
    "kaniko",
    "buildah",
    "podman push",
    "podman manifest",
    "skopeo",
    "crane ",
    "imagetools",
    "docker tag",
    "docker push",
    "compose push",
    "compose build",
    "bake",
    "buildctl",
    "ko build",
    "ko publish",
    "ko apply",
    "pack build",
    "jib",
    "skaffold",
    "earthly",
    "nix build",
    "bazel",
    "werf",
    "docker load",
    "docker save",
    "image load",
    "kind load",
    "image import",
    "make ",
    "--push",
    "/dispatches",
    "workflow run",
    "sbt ",
    "mvn",
    "gradle",
    "dotnet publish",
];

/// Tells whether all that a repository pushes is known, and nothing there builds images in another way.
fn all_known(repository: &Repository, pushed: &[Pushed], other: &[&str]) -> bool {
    let builds = |text: &str| other.iter().any(|word| text.contains(word));
    pushed.iter().all(|one| one.name.is_some())
        && !repository.github.flows.iter().any(|flow| builds(&flow.text.to_ascii_lowercase()))
        && !repository
            .github
            .flows
            .iter()
            .any(|flow| flow.jobs().any(|(_, job)| matches!(job.called(), Some(Uses::Remote { .. }))))
        && repository
            .github
            .flows
            .iter()
            .all(|flow| flow.facts.iter().flatten().all(|facts| !facts.runs_own_script()))
}

/// A command that deploys, at the commit of this run, an image that no workflow pushes: nobody else can have built that.
fn of_nobody(
    repository: &Repository,
    deployed: &Deployed,
    tag: Tag<'_>,
    pushed: &[Pushed],
    report: &mut Report<'_>,
) {
    let own = matches!(
        tag,
        Tag::Commit
            | Tag::ShortCommit
            | Tag::MarkedCommit
            | Tag::MarkedShortCommit
            | Tag::RunNumber
            | Tag::RunId
    );
    // What pushes its images by a command is known by that.
    let others: Vec<&str> = BUILDERS
        .iter()
        .copied()
        .filter(|word| !matches!(*word, "docker push" | "podman push" | "--push"))
        .collect();
    let Some(name) = deployed.name.as_ref().filter(|name| own && !name.contains('$')) else { return };
    let near = pushed.iter().filter(|one| one.file == deployed.file);
    let last = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let Some(first) = near.min_by_key(|one| last(&one.written) != last(name)) else { return };
    if !name.contains('/')
        || pushed.iter().any(|one| plain(&one.written) == plain(name))
        || !all_known(repository, pushed, &others)
    {
        return;
    }
    let message = format!(
        "`{name}` is deployed at the commit of this run, but no workflow pushes it: what is pushed is `{}`",
        first.written
    );
    report
        .add(deployed.file, deployed.span, message)
        .hint("deploy the image that is pushed")
        .also(first.file, first.span, "pushed here")
        .done();
}

/// An image that is deployed by name, built by name, and pushed nowhere.
fn never_pushed(
    repository: &Repository,
    deployed: &Deployed,
    pushed: &[Pushed],
    kept: &[Pushed],
    report: &mut Report<'_>,
) {
    let Some(name) = deployed.name.as_ref() else { return };
    let built = kept.iter().find(|one| one.written == *name && one.tag == deployed.tag);
    let Some(built) = built.filter(|built| built.file == deployed.file) else { return };
    let goes = pushed.iter().any(|one| one.written == *name);
    if goes || !all_known(repository, pushed, BUILDERS) {
        return;
    }
    let message = format!("`{name}` is deployed, but the step that builds it pushes it nowhere");
    report
        .add(deployed.file, deployed.span, message)
        .hint("give the step that builds it `push: true`")
        .also(built.file, built.span, "built here")
        .done();
}

/// The only image that is pushed and never deployed, and the only one of the same owner that is deployed and never pushed.
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
    let first = pushed.first()?;
    let (name, at) = (first.name.as_deref().map(plain)?, owner(first.name.as_deref()?)?);
    if pushed.iter().any(|one| one.name.as_deref().map(plain).as_ref() != Some(&name)) || at.contains('$') {
        return None;
    }
    let of_owner: Vec<(FileId, &Word)> = deployed
        .iter()
        .copied()
        .filter(|(_, image)| owner(&plain(image_parts(image).0)).as_ref() == Some(&plain(&at)))
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
        short == long || short.len() > 3 && long.starts_with(short)
    };
    let alike = words(&other).iter().any(|word| words(&name).iter().any(|own| same(word, own)));
    // What has the same last part is told of elsewhere.
    let same_last = name.rsplit('/').next() == other.rsplit('/').next();
    (alike && !same_last).then_some(Other { pushed: first, file, image })
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

/// Compares what a manifest runs with what is pushed: its tag, too, where one is known.
fn judge(
    file: FileId,
    image: &Word,
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
        let near =
            pushed.iter().find(|one| one.name.as_deref().is_some_and(|other| base(other) == base(name)));
        if let Some(near) = near {
            let other = near.name.as_deref().unwrap_or_default();
            let message = format!("`{image}` is deployed, but the workflows push `{other}`");
            report.add(file, image.span, message).also(near.file, near.span, "pushed here").done();
        }
        return;
    }
    let Some(tag) = tag else { return };
    let fits = |one: &&Pushed| match one.tag.as_str() {
        written if !written.contains('$') => written == tag,
        "${{ github.sha }}" | "$GITHUB_SHA" => {
            tag.len() == 40 && tag.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        // No branch and no version is called so.
        other if tag == "latest" => matches!(tag_of(other), None | Some(Tag::Name)),
        _ => true,
    };
    if let Some(first) = same.first().filter(|_| !same.iter().any(fits)) {
        let tags: Vec<String> = same.iter().map(|one| format!("`{}`", one.tag)).collect();
        let message = format!(
            "the tag `{tag}` of `{name}` is deployed, but the workflows push only {}",
            tags.join(", ")
        );
        report.add(file, image.span, message).also(first.file, first.span, "pushed here").done();
    }
}
