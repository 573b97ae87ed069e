//! Images that workflows push.

use std::collections::BTreeSet;

use kapell_core::expr::Value;
use kapell_spec::{finding::Span, github::Text};

use super::image_parts;
use crate::{
    files::{File, FileId, Files},
    github::{Flow, Github, StepFacts, script},
};

/// An image that a workflow pushes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The workflow.
    pub file: FileId,
    /// Where it is named.
    pub span: Span,
    /// Its repository, in full; `None` where an expression stands in it that the files do not resolve.
    pub name: Option<String>,
    /// Its repository as far as it is resolved.
    pub written: String,
    /// Its tag; an expression is kept as it is written.
    pub tag: String,
}

/// Finds the images that workflows push, once for each text of a workflow: they hang on nothing else.
#[must_use]
pub fn pushed(files: &Files, github: &Github) -> Vec<Pushed> {
    struct All(Vec<Pushed>);
    let by = |flow: &Flow| {
        let make = |_: &File| All(flow.jobs().flat_map(|(job, _)| pushed_by(flow, job)).collect());
        files[flow.file].made(make)
    };
    github.flows.iter().flat_map(|flow| by(flow).0.clone()).collect()
}

/// Finds the images that a job pushes.
#[must_use]
pub fn pushed_by(flow: &Flow, job: usize) -> Vec<Pushed> {
    let mut found = Vec::new();
    for (step, facts) in flow.steps(job) {
        let mut add = |image: &str, span: Span| {
            for image in cells(flow, job, image.trim()) {
                let image = resolve(flow, job, facts, &image);
                let (name, tag) = image_parts(&image);
                let written = name.to_owned();
                let name = (!name.contains("${{") && !name.contains('$')).then(|| name.to_ascii_lowercase());
                let tag = tag.unwrap_or("latest").to_owned();
                found.push(Pushed { file: flow.file, span, name, written, tag });
            }
        };
        let pushes = step.input("push").is_some_and(|push| !push.is("false"));
        let tags: Option<&Text> =
            step.input("tags").filter(|_| pushes && step.is("docker/build-push-action"));
        let made = tags.and_then(|tags| described(flow, job, tags));
        let plain = tags.filter(|_| made.is_none());
        for image in made.iter().flatten() {
            add(image, tags.map_or(step.span, |tags| tags.span));
        }
        for image in
            plain.iter().flat_map(|tags| tags.split(['\n', ','])).filter(|image| !image.trim().is_empty())
        {
            add(image, tags.map_or(step.span, |tags| tags.span));
        }
        let span = step.run.as_ref().map_or(step.span, |run| run.span);
        let builders: Vec<&script::Command> =
            facts.commands.iter().filter(|command| builds_images(command)).collect();
        builders.iter().copied().flat_map(images).for_each(|image| add(&image, span));
        for name in builders.iter().copied().filter_map(pushed_whole) {
            tagged(flow, job, &name).iter().for_each(|image| add(image, span));
        }
    }
    found
}

/// Puts in the values that the cells of the job's matrix have under one name where that is all that an image takes of them,
/// one by one.
fn cells(flow: &Flow, job: usize, image: &str) -> Vec<String> {
    let whole = || vec![image.to_owned()];
    let Some((_, rest)) = image.split_once("${{").filter(|_| image.contains("matrix.")) else {
        return whole();
    };
    let inner = rest.split("}}").next().unwrap_or_default();
    let cells = flow.model.jobs[job].matrix.as_ref().and_then(|matrix| matrix.cells());
    let (Some(axis), Some(cells)) = (inner.trim().strip_prefix("matrix."), cells) else { return whole() };
    let value = |cell: &Vec<(&str, &Value)>| {
        cell.iter().find_map(|(name, value)| match value {
            Value::String(text) if *name == axis => Some(text.to_string()),
            _ => None,
        })
    };
    let values: Option<BTreeSet<String>> = cells.iter().map(value).collect();
    let form = format!("${{{{{inner}}}}}");
    values
        .filter(|values| !values.is_empty())
        .map_or_else(whole, |values| values.iter().map(|value| image.replace(&form, value)).collect())
}

/// How the tag is written that `docker/metadata-action` makes of a commit; no shell has such a variable.
pub const MARKED_SHORT_SHA: &str = "sha-$COMMIT_IN_7_DIGITS";

/// The same without its mark.
pub const SHORT_SHA: &str = "$COMMIT_IN_7_DIGITS";

/// How the tag is written that `docker/metadata-action` makes of a version: without the `v` of the git tag.
pub const BARE_VERSION: &str = "$VERSION_WITHOUT_V";

/// How the tag is written that it makes of a part of a version, which moves on with each: `{{major}}.{{minor}}`.
pub const PART_OF_VERSION: &str = "$VERSION_IN_PART";

/// How a tag is written that `docker/metadata-action` makes of the name of a branch or a tag.
pub const BY_NAME: &str = "$BRANCH_OR_TAG";

/// The same where it is that name as it stands, and nothing else: `type=ref,event=branch`.
pub const BY_REFERENCE: &str = "$NAME_OF_BRANCH_OR_TAG";

/// How the tag is written that `docker/metadata-action` makes of the number of a pull request: `type=ref,event=pr`.
pub const BY_PULL_REQUEST: &str = "pr-$NUMBER";

/// Returns the images that a step of this job which describes them makes of its inputs; `None` where that is not all that
/// the tags are, or not clear.
fn described(flow: &Flow, job: usize, tags: &Text) -> Option<Vec<String>> {
    let id = tags.expression()?.strip_prefix("steps.")?.strip_suffix(".outputs.tags")?;
    let mut steps = flow.steps(job).map(|(step, _)| step);
    let step = steps.find(|step| step.id.as_ref().is_some_and(|own| *own.text == *id))?;
    if !step.is("docker/metadata-action") {
        return None;
    }
    let latest = latest_of(step.input("flavor").map_or("", |flavor| flavor))?;
    let images = step.input("images")?;
    let kinds_text = step.input("tags")?;
    let kinds: Option<Vec<String>> =
        kinds_text.split('\n').map(str::trim).filter(|line| !line.is_empty()).map(tag_kind).collect();
    let (kinds, mut made) = (kinds?, Vec::new());
    for image in images.split(['\n', ',']).map(str::trim).filter(|image| !image.is_empty()) {
        made.extend(kinds.iter().map(|tag| format!("{image}:{tag}")));
        let version = || kinds_text.contains("type=semver") || kinds_text.contains("event=tag");
        if latest == Latest::Always || latest == Latest::Versions && version() {
            made.push(format!("{image}:latest"));
        }
    }
    Some(made)
}

/// What is pushed as `latest` beside the tags that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Latest {
    Versions,
    Always,
    Never,
}

/// Reads the `flavor` of `docker/metadata-action`; `None` where it says more than what is the latest.
///
/// Source: "flavor input" in the documentation of docker/metadata-action; without it, a version is the latest.
fn latest_of(flavor: &str) -> Option<Latest> {
    let lines = flavor.split('\n').map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| line.strip_prefix("latest=")).try_fold(Latest::Versions, |_, value| match value? {
        "auto" => Some(Latest::Versions),
        "true" => Some(Latest::Always),
        "false" => Some(Latest::Never),
        _ => None,
    })
}

/// Reads one line of the tags that are asked for: `type=sha`, `type=raw,value=latest`.
///
/// Source: the table of types in the documentation of docker/metadata-action; `type=sha` has the prefix `sha-` and the
/// short commit unless it says otherwise.
fn tag_kind(line: &str) -> Option<String> {
    let attributes: Vec<(&str, &str)> =
        line.split(',').map(|pair| pair.split_once('=')).collect::<Option<_>>()?;
    let of =
        |key: &str| attributes.iter().find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim());
    if ["enable", "suffix"].iter().any(|key| of(key).is_some()) {
        return None;
    }
    match (of("type")?, of("prefix"), of("format")) {
        ("sha", None, None | Some("short")) => Some(MARKED_SHORT_SHA.to_owned()),
        ("sha", Some(""), None | Some("short")) => Some(SHORT_SHA.to_owned()),
        ("sha", None, Some("long")) => Some("sha-${{ github.sha }}".to_owned()),
        ("sha", Some(""), Some("long")) => Some("${{ github.sha }}".to_owned()),
        ("raw", None, None) => of("value").filter(|value| !value.contains(['$', '{'])).map(str::to_owned),
        // With two numbers, or one, it is a tag that moves.
        ("semver", None, None)
            if of("pattern").is_some_and(|text| text.replace(' ', "") == "{{version}}") =>
        {
            Some(BARE_VERSION.to_owned())
        }
        ("semver", None, None) if of("pattern").is_some_and(is_part_of_version) => {
            Some(PART_OF_VERSION.to_owned())
        }
        ("ref", None, None) if matches!(of("event"), Some("branch" | "tag")) => Some(BY_REFERENCE.to_owned()),
        ("ref", None, None) if of("event") == Some("pr") => Some(BY_PULL_REQUEST.to_owned()),
        ("ref" | "semver" | "pep440" | "edge", None, None) => Some(BY_NAME.to_owned()),
        _ => None,
    }
}

/// Tells whether a pattern takes nothing but the first numbers of a version, behind a `v` or not.
fn is_part_of_version(pattern: &str) -> bool {
    let plain = pattern.replace(' ', "");
    let mut parts = plain.strip_prefix('v').unwrap_or(&plain).split('.');
    parts.all(|part| matches!(part, "{{major}}" | "{{minor}}"))
}

/// An image, or the tag of one, that a command of a workflow deploys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// The workflow.
    pub file: FileId,
    /// Where the command stands.
    pub span: Span,
    /// Its repository as far as it is resolved; `None` where only a tag is given.
    pub name: Option<String>,
    /// Its tag; an expression is kept as it is written.
    pub tag: String,
}

/// Finds the images that commands of workflows deploy.
#[must_use]
pub fn deployed(github: &Github) -> Vec<Deployed> {
    let mut found = Vec::new();
    for flow in &github.flows {
        for (job, _) in flow.jobs() {
            for (step, facts) in flow.steps(job) {
                let image =
                    DEPLOYERS.iter().find(|(action, _)| step.is(action)).and_then(|(_, key)| step.input(key));
                if let Some(image) = image.filter(|image| !image.trim().contains(['\n', '@'])) {
                    let resolved = resolve(flow, job, facts, image.trim());
                    let (name, tag) = image_parts(&resolved);
                    let tag = tag.unwrap_or("latest").to_owned();
                    found.push(Deployed {
                        file: flow.file,
                        span: image.span,
                        name: Some(name.to_owned()),
                        tag,
                    });
                }
                let Some(run) = &step.run else { continue };
                for (name, tag) in facts.commands.iter().filter_map(given) {
                    let name = name.map(|name| resolve(flow, job, facts, &name));
                    let tag = resolve(flow, job, facts, &tag);
                    found.push(Deployed { file: flow.file, span: run.span, name, tag });
                }
            }
        }
    }
    found
}

/// Actions that deploy an image, and the input that names it.
const DEPLOYERS: &[(&str, &str)] = &[
    ("google-github-actions/deploy-cloudrun", "image"),
    ("aws-actions/amazon-ecs-render-task-definition", "image"),
    ("azure/webapps-deploy", "images"),
    ("Azure/webapps-deploy", "images"),
    ("azure/container-apps-deploy-action", "imageToDeploy"),
    ("azure/k8s-deploy", "images"),
    ("Azure/k8s-deploy", "images"),
];

/// Tells whether a program deploys an image which one of its words names.
fn deploys(program: &str) -> bool {
    matches!(
        program,
        "kubectl"
            | "oc"
            | "helm"
            | "kustomize"
            | "nomad"
            | "terraform"
            | "tofu"
            | "yq"
            | "gcloud"
            | "docker"
            | "az"
            | "aws"
            | "kn"
            | "fly"
            | "flyctl"
    )
}

/// Returns the image, or the tag alone, that a command deploys.
fn given(command: &script::Command) -> Option<(Option<String>, String)> {
    command.inner().first().filter(|first| deploys(first))?;
    let words = without_place(command.inner().iter().map(String::as_str).collect());
    let whole = |image: &str| {
        let (name, tag) = image_parts(image);
        (!image.contains('@')).then(|| (Some(name.to_owned()), tag.unwrap_or("latest").to_owned()))
    };
    match words.as_slice() {
        ["kubectl" | "oc", "set", "image", rest @ ..] => {
            let pair = rest.iter().find(|word| !word.starts_with('-') && word.contains('='))?;
            whole(pair.split_once('=')?.1)
        }
        ["helm", "upgrade" | "install", rest @ ..] => {
            let sets = || {
                rest.iter().flat_map(|word| {
                    let word = word.strip_prefix("--set-string=").unwrap_or(word);
                    word.trim_start_matches("--set=").split(',')
                })
            };
            let name = sets().find_map(|set| set.strip_prefix("image.repository="));
            let tag = sets().find_map(|set| set.strip_prefix("image.tag="))?;
            Some((name.map(str::to_owned), tag.to_owned()))
        }
        ["kustomize", "edit", "set", "image", rest @ ..] => {
            let pair = rest.iter().find(|word| !word.starts_with('-'))?;
            let image = pair.split_once('=').map_or(*pair, |(_, image)| image);
            // Without a tag it only gives the image another name.
            image_parts(image).1.and_then(|_| whole(image))
        }
        // `-var image=...`, `-var=image=...`
        ["nomad", "job" | "run", rest @ ..] | ["terraform" | "tofu", rest @ ..] => {
            let sets = rest.iter().map(|word| word.trim_start_matches('-').trim_start_matches("var="));
            let (name, image) =
                sets.filter_map(|word| word.split_once('=')).find(|(name, _)| name.contains("image"))?;
            (!name.contains("tag")).then(|| whole(image))?
        }
        ["yq", rest @ ..] => {
            let set = rest
                .iter()
                .find_map(|word| word.split_once(".image = \"").or_else(|| word.split_once(".image=\"")))?;
            let image = set.1.split('"').next()?;
            (!image.contains("env(")).then(|| whole(image))?
        }
        all => {
            let starts = |with: &&(&[&str], &str)| {
                all.len() > with.0.len() && with.0.iter().zip(all).all(|(one, other)| one == other)
            };
            let (with, option) = BY_OPTION.iter().find(starts)?;
            let rest = &all[with.len()..];
            let joined = || rest.iter().find_map(|word| word.strip_prefix(option)?.strip_prefix('='));
            let apart = rest.windows(2).find(|pair| pair[0] == *option).map(|pair| pair[1]);
            whole(apart.or_else(joined)?)
        }
    }
}

/// Commands that deploy the image which one of their options names.
const BY_OPTION: &[(&[&str], &str)] = &[
    (&["gcloud", "run", "deploy"], "--image"),
    (&["gcloud", "run", "services", "update"], "--image"),
    (&["gcloud", "run", "jobs", "update"], "--image"),
    (&["gcloud", "run", "jobs", "deploy"], "--image"),
    (&["docker", "service", "update"], "--image"),
    (&["az", "containerapp", "update"], "--image"),
    (&["az", "containerapp", "create"], "--image"),
    (&["az", "containerapp", "up"], "--image"),
    (&["az", "container", "create"], "--image"),
    (&["az", "webapp", "config", "container", "set"], "--docker-custom-image-name"),
    (&["az", "webapp", "config", "container", "set"], "--container-image-name"),
    (&["aws", "lambda", "update-function-code"], "--image-uri"),
    (&["kn", "service", "update"], "--image"),
    (&["kn", "service", "apply"], "--image"),
    (&["kubectl", "create", "deployment"], "--image"),
    (&["kubectl", "run"], "--image"),
    (&["fly", "deploy"], "--image"),
    (&["flyctl", "deploy"], "--image"),
    (&["fly", "deploy"], "-i"),
    (&["flyctl", "deploy"], "-i"),
];

/// Leaves out the options that may stand before what a program does: `kubectl -n shop set image`, `docker -H x service`.
fn without_place(words: Vec<&str>) -> Vec<&str> {
    let mut words = words.into_iter().peekable();
    let mut kept: Vec<&str> = words
        .next_if(|word| matches!(*word, "kubectl" | "oc" | "docker" | "gcloud" | "helm"))
        .into_iter()
        .collect();
    while let Some(option) = words.next_if(|word| !kept.is_empty() && word.starts_with('-')) {
        let valued = [
            "-n",
            "--namespace",
            "--context",
            "--kube-context",
            "--kubeconfig",
            "-s",
            "--cluster",
            "-H",
            "--host",
            "--project",
            "--account",
        ];
        if valued.contains(&option) {
            words.next();
        }
    }
    kept.extend(words);
    kept
}

/// Tells whether a command is that of a program which builds and pushes images.
fn builds_images(command: &script::Command) -> bool {
    let words = command.inner();
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    matches!(word(0), "docker" | "podman" | "buildah")
        || word(0) == "az" && word(1) == "acr"
        || words.iter().any(|word| is_kaniko(word))
}

/// Returns the images that a command pushes.
fn images(command: &script::Command) -> Vec<String> {
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    match words.as_slice() {
        ["docker" | "podman", "push", rest @ ..]
            if !rest.iter().any(|word| matches!(*word, "--all-tags" | "-a")) =>
        {
            rest.iter().filter(|word| !word.starts_with('-')).map(|word| (*word).to_owned()).collect()
        }
        ["docker", "buildx", "build", rest @ ..] if rest.contains(&"--push") => {
            let pairs = rest.windows(2).filter(|pair| matches!(pair[0], "-t" | "--tag"));
            pairs.map(|pair| pair[1].to_owned()).collect()
        }
        // Kaniko builds and pushes in one go, by itself or in a container.
        words if words.iter().any(|word| is_kaniko(word)) => {
            let apart = words.windows(2).filter(|pair| pair[0] == "--destination").map(|pair| pair[1]);
            let joined = words.iter().filter_map(|word| word.strip_prefix("--destination="));
            apart.chain(joined).map(str::to_owned).collect()
        }
        // Built and kept in the registry that it names.
        ["az", "acr", "build", rest @ ..] if !rest.contains(&"--no-push") => {
            let behind = |flags: [&'static str; 2]| {
                rest.windows(2).filter(move |pair| flags.contains(&pair[0])).map(|pair| pair[1])
            };
            let registry = behind(["-r", "--registry"]).next().unwrap_or_default();
            let whole = |image: &str| match image.contains(".azurecr.io/") {
                true => image.to_owned(),
                false => format!("{registry}.azurecr.io/{image}"),
            };
            behind(["-t", "--image"]).map(whole).collect()
        }
        ["buildah", "push", rest @ ..] => {
            let last = rest.iter().rfind(|word| !word.starts_with('-'));
            last.map(|word| word.trim_start_matches("docker://").to_owned()).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the image all tags of which a command pushes.
fn pushed_whole(command: &script::Command) -> Option<String> {
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    let ["docker" | "podman", "push" | "image", rest @ ..] = words.as_slice() else { return None };
    let whole = rest.iter().any(|word| matches!(*word, "--all-tags" | "-a"));
    rest.iter()
        .rfind(|word| whole && !word.starts_with('-') && **word != "push")
        .map(|name| (*name).to_owned())
}

/// Returns the tags that the commands of a job give an image, as they are written.
fn tagged(flow: &Flow, job: usize, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (_, facts) in flow.steps(job) {
        for command in &facts.commands {
            let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
            match words.as_slice() {
                ["docker" | "podman", "tag", .., last] => found.push(*last),
                ["docker" | "podman", "build" | "buildx", rest @ ..] => {
                    let pairs = rest.windows(2).filter(|pair| matches!(pair[0], "-t" | "--tag"));
                    found.extend(pairs.map(|pair| pair[1]));
                    found.extend(rest.iter().filter_map(|word| word.strip_prefix("--tag=")));
                }
                _ => {}
            }
        }
    }
    found.retain(|image| image_parts(image).0 == name);
    found.into_iter().map(str::to_owned).collect()
}

fn is_kaniko(word: &str) -> bool {
    word.contains('/') && (word.ends_with("kaniko/executor") || word.contains("kaniko-project/executor"))
}

/// Puts in the variables of the workflow, the job and the step's own script that are plain texts. What the script takes from
/// the run (`TAG=${GITHUB_SHA::7}`) is put in as well, but for what it asks a program.
pub(crate) fn resolve(flow: &Flow, job: usize, facts: &StepFacts, image: &str) -> String {
    let given = flow.model.jobs[job].env.iter().chain(&flow.model.env);
    let given = given.filter_map(|(name, value)| Some((&*name.text, value.literal()?)));
    let assigned = facts.commands.iter().flat_map(|command| match command.words.split_first() {
        None => &command.assigned[..],
        Some((first, rest)) if first == "export" => rest,
        Some(_) => &[],
    });
    let own = assigned.filter_map(|word| word.split_once('='));
    let own: Vec<(&str, &str)> = own.filter(|(_, value)| !value.contains(['`', '(', ' '])).collect();
    // A variable that is set twice may be either.
    let once = |name: &str| own.iter().filter(|(other, _)| *other == name).count() == 1;
    let mut image = of_outputs(flow, job, image);
    for (name, value) in own.iter().copied().filter(|(name, _)| once(name)).chain(given) {
        for form in [format!("${{{{ env.{name} }}}}"), format!("${{{{env.{name}}}}}"), format!("${{{name}}}")]
        {
            image = image.replace(&form, value);
        }
        let (mut from, bare) = (0, format!("${name}"));
        while let Some(at) = image.get(from..).and_then(|rest| rest.find(&bare)).map(|at| from + at) {
            let end = at + bare.len();
            from = end;
            // `$TAG_OF` is another variable than `$TAG`.
            if !image[end..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
                image.replace_range(at..end, value);
                from = at + value.len();
            }
        }
    }
    image
}

/// Puts in what the steps of this job, or of one that it needs, say to be their outputs: `echo "tag=$TAG" >> "$GITHUB_OUTPUT"`.
fn of_outputs(flow: &Flow, job: usize, image: &str) -> String {
    let mut image = image.to_owned();
    // A job hands on what a step gave it.
    for _ in 0..3 {
        let Some((from, rest)) = image.split_once("${{") else { break };
        let Some((inner, to)) = rest.split_once("}}") else { break };
        let Some(value) = output(flow, job, inner.trim()) else { break };
        image = format!("{from}{value}{to}");
    }
    image
}

fn output(flow: &Flow, job: usize, path: &str) -> Option<String> {
    if let Some(rest) = path.strip_prefix("needs.") {
        let (id, name) = rest.split_once(".outputs.")?;
        let (at, other) = flow.jobs().find(|(_, job)| *job.id == *id)?;
        let (_, value) = other.outputs.iter().find(|(own, _)| *own.text == *name)?;
        let inner = value.expression()?;
        return inner.starts_with("steps.").then(|| output(flow, at, inner)).flatten();
    }
    let (id, name) = path.strip_prefix("steps.")?.split_once(".outputs.")?;
    let (_, facts) =
        flow.steps(job).find(|(step, _)| step.id.as_ref().is_some_and(|own| *own.text == *id))?;
    let said = |command: &script::Command| {
        let [program, text] = command.words.get(..2)? else { return None };
        let value = text.strip_prefix(name)?.strip_prefix('=')?;
        (program == "echo").then(|| value.to_owned())
    };
    let mut all = facts.commands.iter().filter_map(said);
    let value = all.next().filter(|_| all.next().is_none())?;
    // What its script keeps in variables is put together there.
    let own = value.match_indices('$').all(|(at, _)| {
        value[at..].starts_with("${GITHUB_")
            || value[at..].starts_with("$GITHUB_")
            || value[at..].starts_with("$(date")
    });
    own.then_some(value)
}

/// Finds the images that steps build with an action and keep to themselves: neither pushed nor loaded.
#[must_use]
pub fn unpushed(github: &Github) -> Vec<Pushed> {
    let mut found = Vec::new();
    for flow in &github.flows {
        for (job, _) in flow.jobs() {
            for (step, facts) in flow.steps(job).filter(|(step, _)| step.is("docker/build-push-action")) {
                let kept =
                    ["push", "load"].iter().all(|key| step.input(key).is_none_or(|text| text.is("false")));
                let Some(tags) = step.input("tags").filter(|_| kept && step.input("outputs").is_none())
                else {
                    continue;
                };
                for image in tags.split(['\n', ',']).map(str::trim).filter(|image| !image.is_empty()) {
                    let image = resolve(flow, job, facts, image);
                    let (written, tag) = image_parts(&image);
                    found.push(Pushed {
                        file: flow.file,
                        span: tags.span,
                        name: (!written.contains('$')).then(|| written.to_ascii_lowercase()),
                        written: written.to_owned(),
                        tag: tag.unwrap_or("latest").to_owned(),
                    });
                }
            }
        }
    }
    found
}
