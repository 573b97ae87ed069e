//! Jobs that run only if certain files have changed, and wait for others that run for other files.

use kapell_view::audit::Confidence;

use super::text;
use crate::{
    github::{Flow, carry, conditions, facts::is_migration, globs, tools::Kind},
    rule::Report,
};

/// What a job asks of a filter of files: `needs.FILTER.outputs.OUTPUT == 'true'`, and nothing else.
struct Asked {
    filter: String,
    output: String,
}

impl Asked {
    fn of(flow: &Flow, at: usize) -> Option<Self> {
        let condition = plain(text(flow, at));
        let inner =
            condition.strip_prefix("${{").and_then(|text| text.strip_suffix("}}")).unwrap_or(&condition);
        let (filter, output) =
            inner.strip_prefix("needs.")?.strip_suffix("=='true'")?.split_once(".outputs.")?;
        let word = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        (word(filter) && word(output)).then(|| Self { filter: filter.to_owned(), output: output.to_owned() })
    }
}

fn plain(text: &str) -> String {
    text.split_whitespace().collect()
}

/// Tells whether a job looks at which files have changed.
fn looks_at_files(flow: &Flow, filter: &str) -> bool {
    flow.jobs().find(|(_, job)| *job.id.text == *filter).is_some_and(|(up, _)| {
        flow.facts[up]
            .iter()
            .flat_map(|facts| &facts.actions)
            .any(|name| name.contains("paths-filter") || name.contains("changed-files"))
    })
}

/// A job waits for several that each run only for changes of their own: it runs only if all of that changed at once.
pub(super) fn both_changed(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let own = plain(text(flow, at));
    let own = own.strip_prefix("${{").and_then(|text| text.strip_suffix("}}")).unwrap_or(&own);
    // `A == 'true' || B == 'true'` says that one of them is enough.
    let either: Vec<&str> = own.split("||").collect();
    let wanted = |asked: &Asked| {
        let atom = format!("needs.{}.outputs.{}=='true'", asked.filter, asked.output);
        either.iter().any(|part| *part == atom)
    };
    let free = own.is_empty() || own == "success()";
    if !free && either.len() < 2 {
        return;
    }
    // A part may lie within another one.
    let wide = |name: &str| {
        ["any", "all", "code", "src", "source", "core", "common", "shared", "ci"].contains(&name)
    };
    let filtered: Vec<(usize, Asked)> = conditions::direct(&flow.model, job)
        .into_iter()
        .filter_map(|need| Some((need, Asked::of(flow, need)?)))
        .filter(|(_, asked)| !wide(&asked.output) && (free || wanted(asked)))
        .collect();
    let Some((first, Asked { filter, output })) = filtered.first() else { return };
    let other = filtered.iter().find(|(_, asked)| asked.filter == *filter && asked.output != *output);
    let Some((second, Asked { output: another, .. })) = other.filter(|_| looks_at_files(flow, filter)) else {
        return;
    };
    let (first, second) = (&flow.model.jobs[*first], &flow.model.jobs[*second]);
    let message = format!(
        "`{}` runs only if both `{output}` and `{another}` changed: `{}` or `{}` is skipped otherwise, and takes it along",
        job.id.text, first.id.text, second.id.text
    );
    report
        .add(flow.file, job.needs_span(), message)
        .confidence(Confidence::Medium)
        .also(flow.file, first.id.span, "runs for its own changes")
        .also(flow.file, second.id.span, "runs for its own changes")
        .hint("let it run unless one has failed: `!failure() && !cancelled()`")
        .done();
}

/// A job runs for changes of its own, and waits for one that runs for other changes: it is skipped with that.
pub(super) fn another_changed(flow: &Flow, at: usize, report: &mut Report<'_>) -> bool {
    let job = &flow.model.jobs[at];
    let Some(own) = Asked::of(flow, at) else { return false };
    let denied = |&need: &usize| {
        Asked::of(flow, need).is_some_and(|other| {
            other.filter == own.filter
                && alone(flow, &own, &other)
                // What it takes would not be there.
                && carry::artifacts_taken(flow, need, at).is_empty()
                && !carry::reads(job, &flow.model.jobs[need].id.text)
        })
    };
    let Some(need) = conditions::direct(&flow.model, job).into_iter().find(denied) else { return false };
    let (need, condition) = (&flow.model.jobs[need], job.condition.as_ref());
    let message = format!(
        "`{}` runs for changes of `{}`, but is skipped with `{}`, which runs for others",
        job.id.text, own.output, need.id.text
    );
    report
        .add(flow.file, condition.map_or(job.id.span, |condition| condition.span), message)
        .confidence(Confidence::Medium)
        .also(flow.file, need.condition_span(), "skipped then")
        .hint(format!("write `!failure() && !cancelled() && {}`, or drop the need", text(flow, at)))
        .done();
    true
}

/// Words of what is done beside a deployment, now and then.
const BESIDE: &[&str] = &[
    "migrate",
    "migration",
    "migrations",
    "schema",
    "db",
    "database",
    "seed",
    "backup",
    "reindex",
    "terraform",
    "infra",
    "infrastructure",
    "provision",
    "dns",
    "base",
];

/// Programs that make what a deployment runs on, which is there from the last time.
const GROUND: &[&str] = &["terraform", "tofu", "terragrunt", "pulumi", "cdk"];

/// A deployment waits for something that is done beside it only now and then: it is skipped whenever that is.
pub(super) fn optional_first(flow: &Flow, at: usize, report: &mut Report<'_>) -> bool {
    let job = &flow.model.jobs[at];
    let grounds = |at: usize| {
        let mut commands = flow.facts[at].iter().flat_map(|facts| &facts.commands);
        commands.any(|command| GROUND.contains(&command.program()))
    };
    let direct = conditions::direct(&flow.model, job);
    // Whoever asks for the same goes along on purpose.
    let asks = ["outputs.", "inputs.", "head_commit"].iter().any(|word| text(flow, at).contains(word));
    if !carry::delivers(flow, at) || asks || grounds(at) {
        return false;
    }
    let optional = |&need: &usize| {
        let other = &flow.model.jobs[need];
        let asked = text(flow, need);
        let name = format!("{} {}", other.id.text, other.name.as_ref().map_or("", |name| &name.text));
        let beside = name
            .to_ascii_lowercase()
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|part| BESIDE.contains(&part));
        // What it tests, builds or deploys is what the deployment waits for.
        let part = flow.facts[need].iter().any(|facts| {
            facts.works.iter().any(|done| match done.work.kind {
                Kind::Deploy => !is_migration(done) && !grounds(need),
                Kind::Build => !name.to_ascii_lowercase().contains("base"),
                kind => kind.checks(),
            })
        });
        let chosen =
            asked.contains(".outputs.") || asked.contains("inputs.") || asked.contains("head_commit.message");
        beside
            && chosen
            && !part
            && carry::artifacts_taken(flow, need, at).is_empty()
            && !carry::reads(job, &other.id.text)
    };
    let Some(need) = direct.iter().copied().find(optional) else { return false };
    // Something else that it waits for runs all the same, or there is nothing else.
    if direct.len() > 1
        && !direct.iter().any(|&other| other != need && flow.model.jobs[other].condition.is_none())
    {
        return false;
    }
    let need = &flow.model.jobs[need];
    report
        .add(
            flow.file,
            job.needs_span(),
            format!(
                "`{}` is skipped whenever `{}` is, which runs only now and then",
                job.id.text, need.id.text
            ),
        )
        .confidence(Confidence::Medium)
        .also(flow.file, need.condition_span(), "skipped unless this holds")
        .hint("let it run unless one has failed: `if: ${{ !failure() && !cancelled() }}`")
        .done();
    true
}

/// Tells whether some file starts what asks for `own` and not what asks for `other`, by the patterns of the filter.
fn alone(flow: &Flow, own: &Asked, other: &Asked) -> bool {
    let Some((filter, job)) = flow.jobs().find(|(_, job)| *job.id.text == *own.filter) else { return false };
    // An output of the job is that of its step under the name it has there.
    let inner = |asked: &Asked| {
        let (_, value) = job.outputs.iter().find(|(name, _)| *name.text == *asked.output)?;
        let name = value.text.rsplit_once(".outputs.")?.1.trim_end_matches(['}', ' ']);
        Some(name.to_owned())
    };
    let filters = flow.steps(filter).find_map(|(step, facts)| {
        let filters = step.input("filters")?;
        facts.actions.iter().any(|name| name.contains("paths-filter")).then_some(&*filters.text)
    });
    let (Some(filters), Some(own), Some(other)) = (filters, inner(own), inner(other)) else { return false };
    let (Some(own), Some(other)) = (patterns(filters, &own), patterns(filters, &other)) else { return false };
    let covered = |pattern: &String| globs::any_overlap(std::slice::from_ref(pattern), &other);
    own.iter().any(|pattern| !covered(pattern))
}

/// Reads the patterns of one filter: a list in brackets, or one pattern a line. Anything else is not known.
fn patterns(filters: &str, name: &str) -> Option<Vec<String>> {
    if filters.contains("<<") || filters.contains(": &") || filters.contains("- *") {
        return None;
    }
    let clean = |text: &str| {
        let text = text.trim().trim_matches(['\'', '"']).to_owned();
        (!text.is_empty() && !text.starts_with('!') && !text.contains([':', '{']))
            .then(|| globs::widen(&text))
    };
    let mut lines = filters.lines().map(|line| line.split(" #").next().unwrap_or(line));
    let head = lines
        .find_map(|line| line.trim().strip_prefix(name)?.trim_start().strip_prefix(':').map(str::trim))?;
    if let Some(list) = head.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return list.split(',').map(clean).collect();
    }
    if !head.is_empty() {
        return Some(vec![clean(head)?]);
    }
    let items = lines.take_while(|line| line.trim().is_empty() || line.trim_start().starts_with('-'));
    let found: Option<Vec<String>> = items
        .filter(|line| !line.trim().is_empty())
        .map(|line| clean(line.trim_start().trim_start_matches('-')))
        .collect();
    found.filter(|found| !found.is_empty())
}
