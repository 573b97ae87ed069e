//! Builds of images by the steps of workflows: which recipe, from which folder, with which arguments.

use kapell_spec::{
    finding::Span,
    github::{Job, Step, Text},
};

use crate::github::{Flow, StepFacts, script::Command};

/// A build of an image by a recipe.
pub(crate) struct Build<'a> {
    /// The path of the recipe.
    pub(crate) recipe: String,
    /// The folder that it copies from; `None` where it is none of the checkout.
    pub(crate) context: Option<String>,
    /// The arguments that it is given, as they are written.
    pub(crate) args: Vec<&'a str>,
    /// Where it is built, or given its arguments.
    pub(crate) span: Span,
}

/// Returns the builds of a step whose recipes are written out.
pub(crate) fn of_step<'a>(
    flow: &Flow,
    (job, step): (&Job, &'a Step),
    facts: &'a StepFacts,
) -> Vec<Build<'a>> {
    if step.is("docker/build-push-action") || step.is("depot/build-push-action") {
        return by_action(step).into_iter().collect();
    }
    let folder = [&step.folder, &job.folder, &flow.model.folder].into_iter().flatten().next();
    let Some(folder) = folder.map_or(Some(""), |folder| folder.literal()) else { return Vec::new() };
    let script = step.script();
    // Whoever goes elsewhere first builds there.
    if !script.contains("build") || script.contains("cd ") || script.contains("pushd") {
        return Vec::new();
    }
    let build = |command: &'a Command| {
        let given = by_command(command)?;
        let span = flow.script_line(step, command.start, "");
        let context = given.context.and_then(|context| below(folder, context));
        Some(Build { recipe: below(folder, &given.recipe)?, context, args: given.args, span })
    };
    facts.commands.iter().filter_map(build).collect()
}

/// Reads `file`, `context` and `build-args` of an action. Paths are those of the checkout; a template is none.
fn by_action(step: &Step) -> Option<Build<'_>> {
    let literal = |name: &str| step.input(name).map_or(Some(""), Text::literal);
    let (file, context) = (literal("file")?, literal("context")?);
    let recipe = if file.is_empty() { below(context, "Dockerfile")? } else { below("", file)? };
    let given = step.input("build-args");
    let args = given.map_or("", |given| &given.text).lines().map(str::trim).collect();
    let span = given.map_or(step.name_span(), |given| given.span);
    // Without `context` the action takes what is on the branch, which are the same files.
    Some(Build { recipe, context: below(context, ""), args, span })
}

/// Options of `docker build` with a value behind them.
///
/// Source: Docker, "docker buildx build".
const VALUED: &[&str] = &[
    "-t",
    "--tag",
    "--target",
    "--platform",
    "--cache-from",
    "--cache-to",
    "--label",
    "--secret",
    "--ssh",
    "--output",
    "-o",
    "--progress",
    "--network",
    "--iidfile",
    "--metadata-file",
    "--builder",
    "--add-host",
    "--build-context",
    "--shm-size",
    "--ulimit",
    "--annotation",
    "--attest",
    "--allow",
];

/// Options without one.
const PLAIN: &[&str] = &[
    "--push",
    "--load",
    "--pull",
    "--no-cache",
    "-q",
    "--quiet",
    "--rm",
    "--force-rm",
    "--squash",
    "--compress",
];

/// What `docker build` is given, as it is written.
struct Given<'a> {
    recipe: String,
    context: Option<&'a str>,
    args: Vec<&'a str>,
}

/// Reads what `docker build` is given.
fn by_command(command: &Command) -> Option<Given<'_>> {
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    let rest = match &words[..] {
        ["docker" | "podman", "buildx", "build", rest @ ..] | ["docker" | "podman", "build", rest @ ..] => {
            rest
        }
        _ => return None,
    };
    let (mut file, mut context, mut args) = (None, None, Vec::new());
    let mut rest = rest.iter().copied();
    while let Some(word) = rest.next() {
        let (option, joined) = word
            .split_once('=')
            .filter(|_| word.starts_with("--"))
            .map_or((word, None), |(option, value)| (option, Some(value)));
        match option {
            "-f" | "--file" => file = Some(joined.or_else(|| rest.next())?),
            "--build-arg" => args.push(joined.or_else(|| rest.next())?),
            _ if VALUED.contains(&option) => drop(joined.or_else(|| rest.next())),
            _ if PLAIN.contains(&option) || joined.is_some() => {}
            _ if word.starts_with('-') || context.is_some() => return None,
            _ => context = Some(word),
        }
    }
    let recipe = match file {
        Some(file) => file.to_owned(),
        None => format!("{}/Dockerfile", context?.trim_end_matches('/')),
    };
    (!recipe.contains('$')).then_some(Given { recipe, context, args })
}

/// Returns a path below a folder, both from the top of the repository. One that leads out of it, or is made, is none.
fn below(folder: &str, path: &str) -> Option<String> {
    let parts = folder.split('/').chain(path.split('/')).filter(|part| !part.is_empty() && *part != ".");
    let parts: Vec<&str> = parts.collect();
    let plain = |part: &&str| *part != ".." && !part.contains(['$', '{', '*', '~', ':']);
    let whole = !folder.starts_with('/') && !path.starts_with('/');
    (whole && parts.iter().all(plain)).then(|| parts.join("/"))
}
