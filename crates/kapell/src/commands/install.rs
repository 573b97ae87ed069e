//! `install` and `uninstall`: makes kapell known to another program, and takes that back to the byte.
//!
//! For Claude Code these are a plugin folder that it loads by itself, command files for the names without a prefix,
//! and one key in its settings; for the others it is the server `kapell mcp`, one entry in their settings. A manifest
//! says what was written where.

mod host; // where the other program keeps its settings, and what goes there
mod manifest; // what was written, and how it is taken back
mod settings; // one key more in a file of JSON or TOML, with all else as it was

use std::{
    env, fs,
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
};

use kapell_view::{
    text::plural,
    untrusted::{Untrusted, visible},
};

pub use self::host::{Known, known};
use self::{
    host::Host,
    manifest::{Kept, Manifest, changed_meanwhile},
};
use super::Context;
use crate::{
    args::{HostProgram, InstallArgs},
    exit::Exit,
    fault::Fault,
    registry,
};

/// The plugin folder and what goes into it.
const PLUGIN: &str = "skills/kapell";
const PLUGIN_FILES: [(&str, &str); 4] = [
    (".claude-plugin/plugin.json", include_str!("../../assets/claude/kapell/.claude-plugin/plugin.json")),
    (".mcp.json", include_str!("../../assets/claude/kapell/.mcp.json")),
    ("README.md", include_str!("../../assets/claude/kapell/README.md")),
    ("hooks/hooks.json", include_str!("../../assets/claude/kapell/hooks/hooks.json")),
];

/// The commands, which stand in the plugin and, for their names without a prefix, beside it.
const COMMANDS: [(&str, &str); 6] = [
    (
        "command-orchestration-workflow.md",
        include_str!("../../assets/claude/kapell/commands/command-orchestration-workflow.md"),
    ),
    ("coordinate.md", include_str!("../../assets/claude/kapell/commands/coordinate.md")),
    (
        "improve-orchestration.md",
        include_str!("../../assets/claude/kapell/commands/improve-orchestration.md"),
    ),
    ("meta-orchestrator.md", include_str!("../../assets/claude/kapell/commands/meta-orchestrator.md")),
    ("orchestrate-complex.md", include_str!("../../assets/claude/kapell/commands/orchestrate-complex.md")),
    ("orchestrate.md", include_str!("../../assets/claude/kapell/commands/orchestrate.md")),
];

/// What is to be written.
#[derive(PartialEq)]
struct Work {
    /// How the other program starts this one.
    program: String,
    /// New files, by their path in its directory.
    files: Vec<(PathBuf, String)>,
    /// Its settings, if a key goes into them.
    edit: Option<settings::Edit>,
    /// What is left as it is, and why.
    notes: Vec<String>,
}

/// Makes kapell known to another program.
///
/// # Errors
///
/// Fails if something of the user's is in the way, nobody agrees, or a file cannot be written.
pub fn install(context: &Context, args: &InstallArgs) -> Result<Exit, Fault> {
    let host = Host::find(context, args.host, args.scope)?;
    let before = host.manifest()?;
    let work = plan(&host, before.as_ref())?;
    show(context, &host, &work, args.dry_run);
    if args.dry_run {
        return Ok(Exit::Done);
    }
    agree(context, args, "write this")?;
    carry_out(&host, &work)?;
    let dir = visible(&host.dir.display().to_string());
    context.out.note(&format!("kapell is known to {} in {dir}", host.name()));
    context.out.next(host.next());
    Ok(Exit::Done)
}

/// Takes back what `install` wrote.
///
/// # Errors
///
/// Fails if nothing was installed, nobody agrees, or a file cannot be written.
pub fn uninstall(context: &Context, args: &InstallArgs) -> Result<Exit, Fault> {
    let host = Host::find(context, args.host, args.scope)?;
    let manifest = host.manifest()?.ok_or_else(|| {
        Fault::new("K0926", Exit::Usage, "kapell is not installed there")
            .at(visible(&host.dir.display().to_string()))
            .hint(format!("kapell install {} --dry-run shows what it would write", host.word()))
    })?;
    for path in manifest.paths() {
        context.out.data(&format!("- {}", visible(&host.dir.join(path).display().to_string())));
    }
    if args.dry_run {
        return Ok(Exit::Done);
    }
    agree(context, args, "remove this")?;
    let kept = manifest.take_back(&host.dir, &host.manifest_path())?;
    for Kept { path, why } in &kept {
        context.out.note(&format!("kept {}: {why}", visible(&path.display().to_string())));
    }
    if kept.is_empty() {
        context.out.note(&format!("kapell is no longer known to {}", host.name()));
        return Ok(Exit::Done);
    }
    context.out.note(&format!("all else that was installed for {} is gone", host.name()));
    Ok(Exit::Failures)
}

/// Returns how other programs start this one: by its name if that finds it, else by its path.
fn program() -> Result<String, Fault> {
    let here = env::current_exe().and_then(fs::canonicalize).map_err(|error| {
        Fault::new("K0904", Exit::Environment, "kapell cannot find itself").because(error)
    })?;
    let found = registry::on_path("kapell").and_then(|path| fs::canonicalize(path).ok());
    match found == Some(here.clone()) {
        true => Ok("kapell".to_owned()),
        false => Ok(here.to_string_lossy().into_owned()),
    }
}

/// The files for Claude Code, with the name by which this program is started in place of its plain one.
fn files(program: &str) -> Vec<(PathBuf, String)> {
    let text = |text: &str| {
        if program == "kapell" {
            return text.to_owned();
        }
        let json = |text: &str| serde_json::Value::from(text).to_string();
        let hook = json(&format!("{} hook claude", Untrusted::from(program).shell()));
        text.replace("\"command\": \"kapell\"", &format!("\"command\": {}", json(program)))
            .replace("\"kapell hook claude\"", &hook)
    };
    let plugin = PLUGIN_FILES.map(|(name, body)| (Path::new(PLUGIN).join(name), text(body)));
    let own = COMMANDS.map(|(name, body)| (Path::new(PLUGIN).join("commands").join(name), body.to_owned()));
    let bare = COMMANDS.map(|(name, body)| (Path::new("commands").join(name), body.to_owned()));
    plugin.into_iter().chain(own).chain(bare).collect()
}

fn plan(host: &Host, before: Option<&Manifest>) -> Result<Work, Fault> {
    let program = program()?;
    let mut work = Work { program, files: Vec::new(), edit: None, notes: Vec::new() };
    let is_claude = host.which == HostProgram::Claude;
    if is_claude {
        plan_files(&host.dir, before, &mut work)?;
    }
    match edit(host, before, &work.program)? {
        Ok(edit) => work.edit = Some(edit),
        Err(why) if is_claude => work.notes.push(format!("{} stays as it is: {why}", host.settings())),
        Err(why) => {
            return Err(Fault::new("K0925", Exit::Refused, format!("{} stays as it is", host.settings()))
                .at(visible(&host.dir.join(host.settings()).display().to_string()))
                .because(why)
                .hint("remove what stands there, or keep it: kapell is started as `kapell mcp`"));
        }
    }
    Ok(work)
}

fn plan_files(dir: &Path, before: Option<&Manifest>, work: &mut Work) -> Result<(), Fault> {
    if before.is_none() && dir.join(PLUGIN).symlink_metadata().is_ok() {
        return Err(Fault::new("K0925", Exit::Refused, "something else is where the plugin goes")
            .at(visible(&dir.join(PLUGIN).display().to_string()))
            .hint("move it away, or remove it, and install again"));
    }
    let ours = |path: &Path| before.is_some_and(|before| before.paths().any(|known| known == path));
    for (path, body) in files(&work.program) {
        if ours(&path) || dir.join(&path).symlink_metadata().is_err() {
            work.files.push((path, body));
        } else {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            work.notes.push(format!("{} is yours and stays: use /kapell:{name}", path.display()));
        }
    }
    Ok(())
}

/// Finds out what goes into the settings, or why nothing can.
fn edit(
    host: &Host,
    before: Option<&Manifest>,
    program: &str,
) -> Result<Result<settings::Edit, String>, Fault> {
    let path = host.dir.join(host.settings());
    let text = match fs::read_to_string(&path) {
        Ok(text) => Some(before.map_or(text.clone(), |before| before.original(&text).unwrap_or(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Fault::io(&path, &error)),
    };
    // A file that was made for the entry alone is made again, and not edited.
    let made = before.is_some_and(Manifest::made_settings);
    let text = text.filter(|text| !(made && text.is_empty()));
    Ok(host.edit(text.as_deref(), program))
}

/// Shows what would be written; `whole` files, or how long they are.
fn show(context: &Context, host: &Host, work: &Work, whole: bool) {
    let mut text = String::new();
    for (path, body) in &work.files {
        let path = visible(&host.dir.join(path).display().to_string());
        text.push_str(&format!("+ {path} ({})\n", plural(body.lines().count() as u64, "line")));
        if whole {
            text.extend(body.lines().map(|line| format!("    + {}\n", visible(line))));
        }
    }
    if let Some(edit) = &work.edit {
        let path = visible(&host.dir.join(host.settings()).display().to_string());
        text.push_str(&format!("{} {path}\n", if edit.before.is_some() { '~' } else { '+' }));
        text.extend(edit.diff().lines().map(|line| format!("    {}\n", visible(line))));
    }
    context.out.data(&text);
    for note in &work.notes {
        context.out.note(note);
    }
}

/// Asks whether to go on.
fn agree(context: &Context, args: &InstallArgs, what: &str) -> Result<(), Fault> {
    if args.yes {
        return Ok(());
    }
    let refused = || {
        Fault::new("K0927", Exit::Waits, "nothing was changed: nobody agreed")
            .hint("--yes agrees beforehand, --dry-run only shows")
    };
    if context.no_input || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(refused());
    }
    let _ = write!(anstream::stderr().lock(), "{what}? [y/N] ");
    let mut line = String::new();
    let _ = io::stdin().lock().read_line(&mut line);
    if line.trim().eq_ignore_ascii_case("y") { Ok(()) } else { Err(refused()) }
}

/// Writes what the person has agreed to, in the place of what was installed before.
fn carry_out(host: &Host, work: &Work) -> Result<(), Fault> {
    let before = host.manifest()?;
    // A question may stand there for long, and whose settings they are writes them, too.
    if plan(host, before.as_ref())? != *work {
        return Err(changed_meanwhile(&host.dir.join(host.settings())));
    }
    if let Some(before) = before {
        before.take_back(&host.dir, &host.manifest_path())?;
    }
    write(host, work)
}

/// Writes everything, or nothing.
fn write(host: &Host, work: &Work) -> Result<(), Fault> {
    let mut manifest = Manifest::of(&work.program);
    let done = write_all(host, work, &mut manifest);
    if done.is_err() {
        // What was begun is taken back; the first error is the one to tell.
        let _ = manifest.take_back(&host.dir, &host.manifest_path());
    }
    done
}

fn write_all(host: &Host, work: &Work, manifest: &mut Manifest) -> Result<(), Fault> {
    for (path, body) in &work.files {
        manifest.create(&host.dir, path, body.as_bytes())?;
    }
    if let Some(edit) = &work.edit {
        manifest.edit(&host.dir, Path::new(host.settings()), edit)?;
    }
    manifest.keep(&host.dir, Path::new(host.manifest_name()))
}

#[cfg(test)]
mod tests;
