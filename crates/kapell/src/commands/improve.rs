//! `improve` and `map`: how a repository orchestrates its agents and workflows, and what to mend.

mod as_run; // as the tasks of a run
mod ground; // what is judged, and what is shown of it
mod judge; // the stages of an audit
mod kept; // what the last one came to
mod lsp; // in an editor
mod part; // one task of such a run
mod proposal; // the safe fixes on a branch

use std::{
    env, fs,
    io::IsTerminal as _,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use as_run::Outcome;
use ground::{Ground, Way, lies_below};
use judge::{Mapped, Settled, look};
use kapell_lint::{
    collect::inventory,
    deliver::{Study, deliver},
    discover::{Bounds, Found, Seen, Unread},
    files::{Files, is_code},
    fix::Patch,
    foreign,
    github::cost::Timings,
    repository::{Depth, Repository},
    rule::{Focus, Rule},
    rules::{self, RULES},
    suppress::Baseline,
    wanted::{self, is_wanted},
};
use kapell_spec::{
    finding::{self, Label, Source, Span},
    suggest,
};
use kapell_view::{
    audit::{
        AuditView, Census, Finding, Foreign, Place, RULES_VIEW_VERSION, Related, RuleText, RuleView,
        RulesView, Severity,
    },
    text::plural,
    untrusted::Untrusted,
};
use kept::{Coming, Judged, Kept, Key, Slot};
pub use proposal::{undo, was_written_after};

use super::Context;
use crate::{
    args::{AuditDepth, AuditFocus, AuditFormat, AuditOutput, AuditScope, ImproveArgs, MapArgs, MapFormat},
    exit::Exit,
    fault::Fault,
    output::{page, paint, screen},
};

/// The version of kapell that SARIF names.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Audits a repository and proposes repairs.
///
/// # Errors
///
/// Fails if the directory or the baseline cannot be read, or the proposal cannot be written.
pub fn improve(context: &Context, args: &ImproveArgs) -> Result<Exit, Fault> {
    if args.list_rules {
        match wants_json(context, args) {
            true => context.out.value(&rules_view()),
            false => context.out.data(&list()),
        }
        return Ok(Exit::Done);
    }
    if let Some(name) = &args.explain {
        let rule = find(name)?;
        match wants_json(context, args) {
            true => context.out.value(&RuleView { page: Some(rule.page.to_owned()), ..rule_view(rule) }),
            false => context.out.data(rule.page),
        }
        return Ok(Exit::Done);
    }
    let path = context.path(args.path.as_deref().unwrap_or(Path::new(".")));
    if args.lsp {
        return lsp::serve(&path, args);
    }
    if args.part.task.is_some() {
        return part::perform(context, args, &path);
    }
    let mut ground = Ground::find(&path)?;
    let mut args = args.clone();
    let slot = (!args.no_cache && !args.as_run).then(|| Slot::of(&ground, &args)).flatten();
    let coming = slot.as_ref().and_then(Slot::fetch);
    let seen = ground.look(args.depth, args.scope)?;
    args.part.below.clone_from(&ground.below);
    let (args, root) = (&args, &*ground.top);
    // As with `map`, a form that is named holds.
    let format = match args.format {
        AuditFormat::Text if context.out.json => AuditFormat::Json,
        format => format,
    };
    let Told { judged, census, files, unread } = if args.as_run {
        let (files, unread) = texts(seen.read());
        match in_a_run(context, args, root, &files)? {
            Outcome::Judged(judged) => Told::of(*judged, files, unread),
            Outcome::Ended(exit) => return Ok(exit),
        }
    } else {
        straight(context, args, format, seen, (slot, coming))?
    };
    let Judged { mut view, patch, deliverables: written } = judged;
    let is_shown = |place: &Place| place.path.is_empty() || lies_below(&place.path, &args.part.below);
    view.unread = unread.into_iter().filter(|unread| is_shown(&unread.place)).collect();
    view.imported = imported(root, args, &files, &view.findings)?;
    view.imported.retain(|foreign| is_shown(&foreign.place));
    let way = Way::from(&context.directory, root);
    // What became of the safe fixes, and what to type next, stand below.
    let below = if patch.changes.is_empty() { 0 } else { 2 };
    show(context, args, format, &files, (&view, &census, below), way.as_ref());
    if format == AuditFormat::Text {
        tell_of_more(context, args, &files, (&view, &census));
    }
    if let Some(dir) = &args.out {
        let written = match written {
            Some(written) => written,
            None => deliverables(&repository(args, files)?, &view, &patch),
        };
        write_all(context, dir, &written)?;
    }
    if !patch.changes.is_empty() {
        propose(context, args, format, root, &view, &patch)?;
    } else if (args.implement || args.dry_run) && !view.findings.is_empty() {
        context.out.note("there is no safe fix: --output report says what is to be done by hand");
    }
    Ok(if view.warnings().next().is_some() { Exit::Failures } else { Exit::Done })
}

/// What is told of an audit.
struct Told {
    /// The audit. Where it was kept, and is shown as text, its inventory is empty.
    judged: Judged,
    /// How many assets there are.
    census: Census,
    /// The files. Where nothing that is shown needs their texts, they may be among those that were not read.
    files: Files,
    /// Those that could not be read whole.
    unread: Vec<Related>,
}

impl Told {
    fn of(judged: Judged, files: Files, unread: Vec<Related>) -> Self {
        Self { census: judged.view.inventory.census(), judged, files, unread }
    }
}

/// Judges the files in this process, unless it was kept what they came to. Where the file system says that they are the
/// same, and nothing that is shown needs their texts, they are not even read.
fn straight(
    context: &Context,
    args: &ImproveArgs,
    format: AuditFormat,
    seen: Seen,
    (slot, coming): (Option<Slot>, Option<Coming>),
) -> Result<Told, Fault> {
    let stamp = slot.as_ref().and_then(|_| kept::stamp(args, &seen, SystemTime::now()));
    let mut key = Key { state: None, stamp };
    let mut kept = coming.and_then(Coming::kept);
    let counts = format == AuditFormat::Text && args.output != AuditOutput::Report;
    if args.output != AuditOutput::Report && args.import_sarif.is_empty() {
        let fitting = kept.take_if(|kept| kept.fits(&key));
        let fitting = fitting.and_then(|kept| if counts { Some(kept) } else { kept.with_inventory() });
        if let Some(Kept { judged, census, .. }) = fitting {
            let files = Files::default().beside(seen.others().map(str::to_owned));
            return Ok(Told { judged, census, files, unread: Vec::new() });
        }
    }
    let (files, unread) = texts(seen.read());
    // What could not be read may be readable the next time, though nothing about it changes.
    key.stamp = key.stamp.filter(|_| unread.is_empty());
    key.state = slot.as_ref().and_then(|_| kept::state(args, &files));
    if let Some(kept) = kept.filter(|kept| kept.fits(&key)) {
        let is_stale = kept.is_stale(&key);
        if let Some(mut kept) = kept.with_inventory() {
            if let Some(slot) = slot.filter(|_| is_stale) {
                slot.save(&key, &mut kept.judged);
            }
            return Ok(Told::of(kept.judged, files, unread));
        }
    }
    let judged = judge_anew(context, args, &files, slot.map(|slot| (slot, key)))?;
    Ok(Told::of(judged, files, unread))
}

/// Says what a deeper look would take in, where nothing that warns was found.
fn tell_of_more(context: &Context, args: &ImproveArgs, files: &Files, (view, census): (&AuditView, &Census)) {
    let code = files.others().filter(|path| is_code(path)).count() as u64;
    let production = matches!(args.scope, AuditScope::Production | AuditScope::All);
    if view.warnings().next().is_some() {
        return;
    }
    if args.depth == AuditDepth::Quick {
        context.out.note("only references that can mean nothing else were looked at");
        context.out.next(&again(args, "--depth standard"));
    } else if args.depth == AuditDepth::Standard && production && code > 0 && census.iter().next().is_none() {
        context.out.note(&format!("{} of code are read with --depth deep only", plural(code, "file")));
        context.out.next(&again(args, "--depth deep"));
    }
}

/// Judges the files in a run.
fn in_a_run(context: &Context, args: &ImproveArgs, root: &Path, files: &Files) -> Result<Outcome, Fault> {
    check_rules(args)?;
    let whole = fs::canonicalize(root).map_err(|error| Fault::io(root, &error))?;
    as_run::judge(context, args, &whole, files)
}

/// From how long on an audit is worth keeping.
const WORTH_KEEPING: Duration = Duration::from_millis(15);

/// Judges the files, and keeps what it comes to for the next time.
fn judge_anew(
    context: &Context,
    args: &ImproveArgs,
    files: &Files,
    slot: Option<(Slot, Key)>,
) -> Result<Judged, Fault> {
    let start = Instant::now();
    let repository = repository(args, files.clone())?;
    let mut judged = judge(context, &repository, args)?;
    let worth = |(_, key): &(Slot, Key)| key.state.is_some() && start.elapsed() >= WORTH_KEEPING;
    if let Some((slot, key)) = slot.filter(worth) {
        slot.save(&key, &mut judged);
    }
    // Freeing thousands of models one by one takes a tenth of all the time; the end of the program frees them at once.
    std::mem::forget(repository);
    Ok(judged)
}

/// Builds the models, with the durations that were recorded.
fn repository(args: &ImproveArgs, files: Files) -> Result<Repository, Fault> {
    let mut repository = Repository::new(files, args.depth.into());
    repository.timings = args.timings.as_deref().map(timings).transpose()?;
    Ok(repository)
}

/// Reads what other tools found.
fn imported(root: &Path, args: &ImproveArgs, files: &Files, ours: &[Finding]) -> Result<Vec<Foreign>, Fault> {
    let top = fs::canonicalize(root).map_err(|error| Fault::io(root, &error))?;
    let mut found = Vec::new();
    for path in &args.import_sarif {
        let log = fs::read(path).map_err(|error| Fault::io(path, &error))?;
        found.extend(foreign::read(&log, &top.to_string_lossy(), files).map_err(|error| {
            Fault::new("K0934", Exit::Usage, "the log of another tool cannot be read")
                .at(path.display())
                .because(error)
                .hint("write one with, for example, `zizmor --format sarif . > zizmor.sarif`")
        })?);
    }
    foreign::fold(&mut found, ours);
    Ok(found)
}

/// Shows what there is: assets and references.
///
/// # Errors
///
/// Fails if the directory cannot be read.
pub fn map(context: &Context, args: &MapArgs) -> Result<Exit, Fault> {
    let path = context.path(args.path.as_deref().unwrap_or(Path::new(".")));
    let mut ground = Ground::find(&path)?;
    let (files, _) = texts(ground.look(args.depth, args.scope)?.read());
    let mut inventory = inventory(&Repository::new(files, args.depth.into()));
    if !ground.below.is_empty() {
        inventory = inventory.within(|path| lies_below(path, &ground.below));
    }
    match (args.format, context.out.json) {
        (MapFormat::Json, _) | (MapFormat::Text, true) => context.out.value(&inventory.map()),
        (MapFormat::Text, false) => context.out.data(&paint(&inventory.lines(page()))),
        (MapFormat::Mermaid, _) => context.out.data(&inventory.mermaid()),
        (MapFormat::Dot, _) => context.out.data(&inventory.dot()),
    }
    Ok(Exit::Done)
}

/// Reads the files that count, and builds the models.
pub(super) fn read(
    root: &Path,
    depth: AuditDepth,
    scope: AuditScope,
) -> Result<(Repository, Vec<Related>), Fault> {
    let (files, unread) = read_files(root, depth, scope)?;
    Ok((Repository::new(files, depth.into()), unread))
}

/// Looks which files count.
fn look_at(root: &Path, depth: AuditDepth, scope: AuditScope) -> Result<Seen, Fault> {
    let (scope, depth) = (scope.into(), depth.into());
    Seen::below(root, &|path| is_wanted(path, scope, depth), Bounds::default())
        .map_err(|error| Fault::io(root, &error))
}

/// Reads the files that count, and says which could not be read whole.
fn read_files(root: &Path, depth: AuditDepth, scope: AuditScope) -> Result<(Files, Vec<Related>), Fault> {
    Ok(texts(look_at(root, depth, scope)?.read()))
}

/// Returns the files that were read, and those that could not be read whole as places.
fn texts(found: Found) -> (Files, Vec<Related>) {
    let related = |unread: Unread| {
        let (path, line) = (unread.path, unread.line);
        let place = Place { path, line, column: 1, end_line: line, end_column: 1, start: 0, end: 0 };
        Related { place, text: unread.why }
    };
    (found.files, found.unread.into_iter().map(related).collect())
}

/// Fails if a rule that is asked for does not exist.
fn check_rules(args: &ImproveArgs) -> Result<(), Fault> {
    args.rule.iter().try_for_each(|name| find(name).map(|_| ()))
}

/// Runs the chosen rules and leaves out what people keep quiet.
fn judge(context: &Context, repository: &Repository, args: &ImproveArgs) -> Result<Judged, Fault> {
    check_rules(args)?;
    let mut settled = Settled::of(&repository.files, args, look(repository, args, None));
    if let Some(path) = &args.write_baseline {
        let text = serde_json::to_string_pretty(&Baseline::of(&settled.findings)).unwrap_or_default();
        fs::write(path, text + "\n").map_err(|error| Fault::io(path, &error))?;
        let count = plural(settled.findings.len() as u64, "finding");
        context.out.note(&format!("{count} known from now on by {}", path.display()));
        context.out.next(&again(args, &format!("--baseline {}", quoted(path))));
    }
    if let Some(path) = &args.baseline {
        settled.leave_out(&baseline(path)?);
    }
    let patch = settled.mend(repository, args);
    Ok(settled.sum_up(Mapped::of(repository, args), patch))
}

/// Reads what is known and left for later.
fn baseline(path: &Path) -> Result<Baseline, Fault> {
    let text = fs::read(path).map_err(|error| Fault::io(path, &error))?;
    let unreadable = |why: String| {
        Fault::new("K0930", Exit::Usage, "the baseline cannot be read")
            .at(path.display())
            .because(why)
            .hint("write a new one with `kapell improve --write-baseline FILE`")
    };
    let baseline: Baseline = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
    match baseline.version {
        Baseline::VERSION => Ok(baseline),
        other => {
            Err(unreadable(format!("it is of version {other}, and this program knows {}", Baseline::VERSION)))
        }
    }
}

/// Reads recorded durations.
fn timings(path: &Path) -> Result<Timings, Fault> {
    let text = fs::read_to_string(path).map_err(|error| Fault::io(path, &error))?;
    Timings::read(&text).map_err(|error| {
        Fault::new("K0933", Exit::Usage, "the durations cannot be read")
            .at(path.display())
            .because(error)
            .hint("record them with `gh run view RUN --json workflowName,jobs`")
    })
}

/// Writes the deliverables: path and text.
fn deliverables(repository: &Repository, view: &AuditView, patched: &Patch) -> Vec<(String, String)> {
    let (inventory, findings) = (&view.inventory, &view.findings);
    deliver(&Study {
        repository,
        inventory,
        findings,
        patch: &view.patch,
        mended: &patched.mended,
        changes: &patched.changes,
    })
}

/// Writes files below a directory.
fn write_all(context: &Context, dir: &Path, files: &[(String, String)]) -> Result<(), Fault> {
    for (name, text) in files {
        let path = dir.join(name);
        let parent = path.parent().unwrap_or(dir);
        fs::create_dir_all(parent).map_err(|error| Fault::io(parent, &error))?;
        fs::write(&path, text).map_err(|error| Fault::io(&path, &error))?;
    }
    context.out.note(&format!("{} in {}", plural(files.len() as u64, "file"), dir.display()));
    Ok(())
}

/// Finds a rule by its name.
fn find(name: &str) -> Result<&'static Rule, Fault> {
    rules::find(name).ok_or_else(|| {
        let fault = Fault::new("K0931", Exit::Usage, format!("there is no rule `{name}`"));
        match suggest::nearest(name, RULES.iter().map(|rule| rule.name)) {
            Some(near) => fault.hint(format!("did you mean `{near}`?")),
            None => fault.hint("`kapell improve --list-rules` lists all"),
        }
    })
}

/// Tells whether a program reads what is printed.
fn wants_json(context: &Context, args: &ImproveArgs) -> bool {
    context.out.json || args.format == AuditFormat::Json
}

/// Returns all rules for programs.
fn rules_view() -> RulesView {
    RulesView { version: RULES_VIEW_VERSION, rules: RULES.iter().map(|rule| rule_view(rule)).collect() }
}

/// Returns a rule for programs, without its page.
fn rule_view(rule: &Rule) -> RuleView {
    RuleView {
        version: RULES_VIEW_VERSION,
        name: rule.name.to_owned(),
        summary: rule.summary.to_owned(),
        family: rule.group.name().to_owned(),
        focus: rule.focus.name().to_owned(),
        severity: rule.severity,
        confidence: rule.confidence,
        depth: rule.depth.name().to_owned(),
        page: None,
    }
}

/// Lists the rules, by family.
fn list() -> String {
    let width = RULES.iter().map(|rule| rule.name.len()).max().unwrap_or(0);
    RULES.iter().map(|rule| format!("{:width$}  {}\n", rule.name, rule.summary)).collect()
}

fn show(
    context: &Context,
    args: &ImproveArgs,
    format: AuditFormat,
    files: &Files,
    (view, census, below): (&AuditView, &Census, usize),
    way: Option<&Way>,
) {
    let (columns, _) = screen();
    let out = context.out;
    // People open what they read from where they are; programs get paths from the top.
    let near = way.filter(|_| format == AuditFormat::Text).map(|way| way.through(view));
    let told = near.as_ref().unwrap_or(view);
    match format {
        AuditFormat::Json => out.value(view),
        AuditFormat::Sarif => {
            let rules: Vec<RuleText<'_>> = RULES
                .iter()
                .map(|rule| RuleText { name: rule.name, summary: rule.summary, page: rule.page })
                .collect();
            out.value(&view.sarif(VERSION, &rules));
        }
        AuditFormat::Github => out.data(&view.annotations()),
        AuditFormat::Markdown => out.data(&view.markdown("Orchestration audit")),
        AuditFormat::Text => match args.output {
            AuditOutput::Full => out.data(&paint(&told.lines_among(census, columns, below))),
            AuditOutput::Recommendations => out.data(&paint(&told.recommendations(census, columns))),
            AuditOutput::Report => {
                out.data(&paint(&told.lines_among(census, columns, below)));
                out.data(&snippets(files, view, told));
                out.data(&paint(&told.foreign_lines()));
                out.data(&paint(&told.unread_lines()));
                out.data(&paint(&told.summary(columns)));
            }
        },
    }
}

/// Draws every finding in its file, as compilers do, with the paths that are told.
fn snippets(files: &Files, view: &AuditView, told: &AuditView) -> String {
    let colours = std::io::stdout().is_terminal();
    let mut text = String::new();
    for (found, told) in view.findings.iter().zip(&told.findings) {
        let Some(id) = files.find(&found.place.path) else { continue };
        let file = &files[id];
        let source = Source { name: told.place.path.as_str().into(), text: file.text.clone() };
        text.push('\n');
        text.push_str(&finding::render(&drawn(told), &source, colours));
    }
    text
}

/// Puts a finding into the form that is drawn. Places in other files become words.
fn drawn(found: &Finding) -> finding::Finding {
    let span = |place: &Place| Span { start: place.start, end: place.end };
    let here = |related: &&Related| related.place.path == found.place.path;
    let mut drawn = finding::Finding::warning(
        rules::find(&found.rule).map_or("", |rule| rule.name),
        span(&found.place),
        &*found.message,
    );
    drawn.severity = match found.severity {
        _ if !found.warns() => finding::Severity::Note,
        Severity::Critical | Severity::High => finding::Severity::Error,
        _ => finding::Severity::Warning,
    };
    drawn.labels = found
        .related
        .iter()
        .filter(here)
        .map(|related| Label { span: span(&related.place), text: related.text.clone() })
        .collect();
    let elsewhere = found
        .related
        .iter()
        .filter(|related| !here(related))
        .map(|related| format!("{}:{}: {}", related.place.path, related.place.line, related.text));
    let fix = found.fix.as_ref().map(|fix| fix.title.clone());
    let words: Vec<String> = fix.into_iter().chain(found.hint.clone()).chain(elsewhere).collect();
    if !words.is_empty() {
        drawn = drawn.hint(words.join("\n"));
    }
    drawn
}

/// Writes the safe fixes to a branch, or shows them.
///
/// Nothing is written unasked where nobody looks: `--implement`, or a terminal, says that somebody does.
fn propose(
    context: &Context,
    args: &ImproveArgs,
    format: AuditFormat,
    root: &Path,
    view: &AuditView,
    patched: &Patch,
) -> Result<(), Fault> {
    let watched =
        format == AuditFormat::Text && std::io::stdout().is_terminal() && env::var_os("CI").is_none();
    let wanted = args.implement || watched && !args.dry_run;
    let why = match wanted.then(|| proposal::implement(context, root, view, patched)) {
        Some(Err(fault)) if !args.implement => Some(fault),
        Some(written) => return written,
        None => None,
    };
    if format == AuditFormat::Text {
        if args.dry_run {
            context.out.data(&format!("\n{}", view.patch));
        }
        let fixes = plural(patched.mended.len() as u64, "safe fix").replace("fixs", "fixes");
        // Nobody asked for a branch: that there can be none is no failure of the audit.
        let because = why.as_ref().map_or_else(String::new, |fault| format!(": {}", fault.message));
        context.out.note(&format!("{fixes} not written{because}"));
        let next = if why.is_some() { "--dry-run" } else { "--implement" };
        context.out.next(&again(args, next));
    }
    Ok(())
}

/// Writes the command that asks the same once more, with another option.
fn again(args: &ImproveArgs, option: &str) -> String {
    let mut words = vec!["kapell improve".to_owned()];
    words.extend(args.path.as_deref().map(quoted));
    let with = |name: &str, value: String, usual: &str| (value != usual).then(|| format!("--{name} {value}"));
    words.extend(with("scope", as_run::name(&args.scope), "all"));
    let depth = if option.starts_with("--depth") {
        None
    } else {
        with("depth", as_run::name(&args.depth), &as_run::name(&AuditDepth::USUAL))
    };
    words.extend(depth);
    words.extend(with("focus", as_run::name(&args.focus), "all"));
    words.extend(args.rule.iter().map(|rule| format!("--rule {rule}")));
    for (name, path) in [("timings", &args.timings), ("baseline", &args.baseline)] {
        words.extend(path.as_deref().map(|path| format!("--{name} {}", quoted(path))));
    }
    words.push(option.to_owned());
    words.join(" ")
}

/// Writes a path as a word of the shell, quoted only where it must be.
fn quoted(path: &Path) -> String {
    Untrusted::from(path.display().to_string()).shell()
}

impl From<AuditDepth> for Depth {
    fn from(depth: AuditDepth) -> Self {
        match depth {
            AuditDepth::Quick => Self::Quick,
            AuditDepth::Standard => Self::Standard,
            AuditDepth::Deep => Self::Deep,
        }
    }
}

impl From<AuditScope> for wanted::Scope {
    fn from(scope: AuditScope) -> Self {
        match scope {
            AuditScope::ClaudeCode => Self::ClaudeCode,
            AuditScope::Production => Self::Production,
            AuditScope::Github => Self::Github,
            AuditScope::All => Self::All,
        }
    }
}

impl From<AuditFocus> for Option<Focus> {
    fn from(focus: AuditFocus) -> Self {
        match focus {
            AuditFocus::Performance => Some(Focus::Performance),
            AuditFocus::Resilience => Some(Focus::Resilience),
            AuditFocus::Conflicts => Some(Focus::Conflicts),
            AuditFocus::State => Some(Focus::State),
            AuditFocus::All => None,
        }
    }
}
