//! An audit as a run: its stages, and the families of its rules, are tasks in the journal like any others.
//!
//! Each task is this program once more, as [`super::part`] has it. What it comes to is an artifact of the store, and its
//! output is the digest of that, so that a run that was killed goes on with what is there. What is judged is settled
//! before the run begins: the plan holds its digest, and the one task that reads the files fails if they are others.

use std::path::{Path, absolute};

use clap::ValueEnum;
use kapell_core::{
    id::{Digest, RunId},
    journal::Version,
    mission::Mission,
    run::{Phase, Run},
};
use kapell_engine::{
    open::{load, load_at},
    port::journal::Journal,
};
use kapell_lint::{files::Files, repository::Depth, rule::Group, rules::RULES};
use kapell_store::Store;
use kapell_view::text::short;

use super::{
    Context, baseline,
    judge::{is_chosen, proposes},
    kept::{self, Judged},
    part::{KEPT, Part, broken},
    timings,
};
use crate::{
    args::{AuditOutput, ImproveArgs},
    exit::Exit,
    fault::Fault,
    output::Out,
    session::{self, Interrupts, Patience},
    site::Site,
    wiring::machine,
    workflow::{self, Overrides, Text},
};

/// How many runs are looked at for one that judged the same, the newest first.
const RUNS_MAX: usize = 50;

/// How a run of an audit ended.
pub(super) enum Outcome {
    /// With what the audit came to.
    Judged(Box<Judged>),
    /// Without.
    Ended(Exit),
}

/// Judges the files in a run, going on with one of the same files and options if there is one.
///
/// # Errors
///
/// Fails if the run cannot be executed here.
pub(super) fn judge(
    context: &Context,
    args: &ImproveArgs,
    root: &Path,
    files: &Files,
) -> Result<Outcome, Fault> {
    // What would fail in a task is told before there is one.
    args.timings.as_deref().map(timings).transpose()?;
    args.baseline.as_deref().map(baseline).transpose()?;
    let site = Site::find(root)?;
    let text = workflow_text(&site, args, root, files)?;
    let shown = "kapell improve --as-run".to_owned();
    let text = Text { shown, bytes: text.into_bytes(), beside: site.root.clone() };
    let loaded = workflow::load_text(&site, text, &Overrides::default(), context.out)?;
    let (store, _) = site.open_store()?;
    let earlier = if args.no_cache { None } else { earlier(&store, &loaded.mission)? };
    if let Some(run) = earlier.as_ref().filter(|run| is_over(run)) {
        let judged = result(&store, run, args.out.is_some())?;
        let id = short(run.id());
        context.out.note(&format!("run {id} has judged these files (--no-cache judges them anew)"));
        return Ok(Outcome::Judged(Box::new(judged)));
    }
    let mut machine = machine(&site, store, loaded.mission.limits.jobs as usize)?;
    let id = match earlier {
        Some(run) => {
            let id = run.id();
            context.out.note(&format!("run {id} of these files is unfinished: going on with it"));
            machine.host.open(id)?;
            id
        }
        None => {
            let id = RunId(*uuid::Uuid::now_v7().as_bytes());
            machine.expect(&loaded.plan);
            // No commit is worked on: what is judged is what lies there.
            machine.host.create(id, loaded.mission, loaded.plan)?;
            id
        }
    };
    // To a program the judgement is the answer, and the run is not.
    let out = Out { quiet: context.out.quiet || context.out.json, json: false };
    if let Some(over) = args.part.die_after {
        session::drive_to_death(&mut machine, id, out, over)?;
    }
    let exit = session::drive(&mut machine, id, out, Patience::Ends, &Interrupts::heed())?;
    let Some(run) = machine.host.run(id) else { return Ok(Outcome::Ended(exit)) };
    if exit != Exit::Done {
        session::conclude(&machine.store, run, out, exit == Exit::Interrupted);
        return Ok(Outcome::Ended(exit));
    }
    let judged = result(&machine.store, run, args.out.is_some())?;
    Ok(Outcome::Judged(Box::new(judged)))
}

/// Finds the newest run of the same files and options that is unfinished, or came to its end.
fn earlier(store: &Store, mission: &Mission) -> Result<Option<Run>, Fault> {
    for head in store.runs()?.iter().take(RUNS_MAX) {
        // Of other runs not even all of the journal can be read, perhaps.
        let Ok(begun) = load_at(store, head.run, Version(1), |_, _, _| {}) else { continue };
        if begun.mission().definition != mission.definition || mission.definition.is_none() {
            continue;
        }
        let run = load(store, head.run)?;
        if !is_over(&run) || session::exit_of(Some(&run)) == Exit::Done {
            return Ok(Some(run));
        }
    }
    Ok(None)
}

fn is_over(run: &Run) -> bool {
    matches!(run.phase(), Phase::Finished(_))
}

/// Returns what a run came to.
fn result(store: &Store, run: &Run, with_deliverables: bool) -> Result<Judged, Fault> {
    let kept = |part: Part| {
        let outputs = run.plan().find(&part.name()).and_then(|task| run.outputs(task));
        let digest: Option<Digest> = outputs.and_then(|outputs| outputs.get(KEPT)?.parse().ok());
        let missing = || broken(format!("run {} has no result of `{}`", run.id(), part.name()));
        store.kept(digest.ok_or_else(missing)?)?.ok_or_else(missing)
    };
    let unlike = |error: serde_json::Error| broken(error.to_string());
    let mut judged: Judged = serde_json::from_slice(&kept(Part::Report)?).map_err(unlike)?;
    if with_deliverables {
        judged.deliverables = Some(serde_json::from_slice(&kept(Part::Deliverables)?).map_err(unlike)?);
    }
    Ok(judged)
}

/// Returns the families that have a chosen rule.
fn families(args: &ImproveArgs) -> Vec<Group> {
    let depth: Depth = args.depth.into();
    let looks = |family: Group| {
        RULES.iter().any(|rule| rule.group == family && rule.depth <= depth && is_chosen(args, rule))
    };
    Group::ALL.into_iter().filter(|family| looks(*family)).collect()
}

/// Writes the workflow of an audit: the same for the same files and options.
fn workflow_text(site: &Site, args: &ImproveArgs, root: &Path, files: &Files) -> Result<String, Fault> {
    let state = kept::state(args, &outside(files, root, &site.store))
        .ok_or_else(|| broken("this program cannot be found".to_owned()))?;
    let command = command(site, args, root, &state)?;
    let rules: Vec<Part> = families(args).into_iter().map(Part::Rules).collect();
    let mut tasks = vec![(Part::Read, vec![]), (Part::Map, vec![Part::Read])];
    tasks.extend(rules.iter().map(|rules| (*rules, vec![Part::Read])));
    tasks.push((Part::Findings, [vec![Part::Read], rules].concat()));
    let mut sum = vec![Part::Map, Part::Findings];
    if proposes(args) {
        tasks.push((Part::Fixes, vec![Part::Read, Part::Findings]));
        sum.push(Part::Fixes);
    }
    tasks.push((Part::Report, sum));
    if args.out.is_some() {
        tasks.push((Part::Deliverables, vec![Part::Read, Part::Report]));
    }
    let place = root.file_name().unwrap_or(root.as_os_str()).to_string_lossy();
    let mission = format!("Judge how {place} orchestrates its agents and workflows");
    let mut text = format!(
        "mission: {}\ndefaults: {{ workspace: none, timeout: 1h }}\ntasks:\n",
        serde_json::Value::from(mission)
    );
    for (part, needs) in tasks {
        let names: Vec<String> = needs.iter().map(|need| need.name()).collect();
        let given =
            names.iter().map(|name| format!(" --given {name}=${{{{ tasks.{name}.outputs.{KEPT} }}}}"));
        let script = format!("{command} --part {}{}", part.name(), given.collect::<String>());
        text.push_str(&format!(
            "  {}:\n    needs: [{}]\n    outputs: [{KEPT}]\n    run: {}\n",
            part.name(),
            names.join(", "),
            serde_json::Value::from(script)
        ));
    }
    Ok(text)
}

/// Leaves out what lies in the store, which grows while the run is under way.
pub(super) fn outside(files: &Files, root: &Path, store: &Path) -> Files {
    let Ok(inner) = store.strip_prefix(root) else { return files.clone() };
    let others = files.others().filter(|other| !Path::new(other).starts_with(inner));
    files.clone().beside(others.map(str::to_owned))
}

/// Writes the beginning of the command of every task.
fn command(site: &Site, args: &ImproveArgs, root: &Path, state: &str) -> Result<String, Fault> {
    let program = std::env::current_exe().map_err(|error| broken(error.to_string()))?;
    let mut words = vec!["exec".to_owned(), word(&program)?, "improve".to_owned(), word(root)?];
    let options = [("scope", name(&args.scope)), ("depth", name(&args.depth)), ("focus", name(&args.focus))];
    words.extend(options.iter().map(|(option, value)| format!("--{option} {value}")));
    words.push(format!("--output {}", name(&args.output)));
    // Repairs may be asked for beside an output that has none of its own.
    words.extend((proposes(args) && args.output != AuditOutput::Full).then(|| "--dry-run".to_owned()));
    words.extend(args.validate_only.then(|| "--validate-only".to_owned()));
    words.extend(args.rule.iter().map(|rule| format!("--rule {rule}")));
    for (option, path) in [("timings", &args.timings), ("baseline", &args.baseline)] {
        let Some(path) = path else { continue };
        let whole = absolute(path).map_err(|error| Fault::io(path, &error))?;
        words.push(format!("--{option} {}", word(&whole)?));
    }
    if !args.part.below.is_empty() {
        words.push(format!("--below {}", word(Path::new(&args.part.below))?));
    }
    words.push(format!("--state {state} --store {}", word(&site.store)?));
    Ok(words.join(" "))
}

pub(super) fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Quotes a path for the shell.
fn word(path: &Path) -> Result<String, Fault> {
    let cannot = || {
        broken(format!("the path {} cannot be written into a workflow", path.display()))
            .hint("without --as-run it can be judged all the same")
    };
    let text = path.to_str().filter(|text| !text.contains("${{")).ok_or_else(cannot)?;
    Ok(format!("'{}'", text.replace('\'', "'\\''")))
}
