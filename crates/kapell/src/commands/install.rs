//! `install` and `uninstall`: makes kapell known to another program, and takes that back to the byte.
//!
//! For Claude Code these are a plugin folder that it loads by itself, command files for the names without a prefix,
//! and one key in its settings. A manifest in the plugin folder says what was written where.

mod manifest; // what was written, and how it is taken back
mod settings; // one key more in a file of JSON, with all else as it was

use std::{
    env, fs,
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
};

use kapell_view::{
    text::plural,
    untrusted::{Untrusted, visible},
};

use self::manifest::{Kept, Manifest};
use super::Context;
use crate::{
    args::{InstallArgs, Scope},
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

const SETTINGS: &str = "settings.json";
const MANIFEST: &str = "skills/kapell/manifest.json";

/// What is to be written.
struct Work {
    /// Claude Code's directory.
    dir: PathBuf,
    /// New files, by their path in it.
    files: Vec<(PathBuf, String)>,
    /// The settings, if a key goes into them.
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
    let dir = claude_dir(context, args.scope)?;
    let before = Manifest::read(&dir.join(MANIFEST))?;
    let work = plan(&dir, before.as_ref())?;
    show(context, &work);
    if args.dry_run {
        return Ok(Exit::Done);
    }
    agree(context, args, "write this")?;
    if let Some(before) = before {
        before.take_back(&dir)?;
    }
    write(&work)?;
    context.out.note(&format!("kapell is known to Claude Code in {}", visible(&dir.display().to_string())));
    context.out.next("claude, then /meta-orchestrator FILE");
    Ok(Exit::Done)
}

/// Takes back what `install` wrote.
///
/// # Errors
///
/// Fails if nothing was installed, nobody agrees, or a file cannot be written.
pub fn uninstall(context: &Context, args: &InstallArgs) -> Result<Exit, Fault> {
    let dir = claude_dir(context, args.scope)?;
    let manifest = Manifest::read(&dir.join(MANIFEST))?.ok_or_else(|| {
        Fault::new("K0926", Exit::Usage, "kapell is not installed there")
            .at(visible(&dir.display().to_string()))
            .hint("kapell install claude --dry-run shows what it would write")
    })?;
    for path in manifest.paths() {
        context.out.data(&format!("- {}", visible(&dir.join(path).display().to_string())));
    }
    if args.dry_run {
        return Ok(Exit::Done);
    }
    agree(context, args, "remove this")?;
    let kept = manifest.take_back(&dir)?;
    for Kept { path, why } in &kept {
        context.out.note(&format!("kept {}: {why}", visible(&path.display().to_string())));
    }
    context.out.note("kapell is no longer known to Claude Code");
    Ok(if kept.is_empty() { Exit::Done } else { Exit::Failures })
}

fn claude_dir(context: &Context, scope: Scope) -> Result<PathBuf, Fault> {
    if scope == Scope::Project {
        return Ok(context.site()?.root.join(".claude"));
    }
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("CLAUDE_CONFIG_DIR").or_else(|| set("HOME").map(|home| home.join(".claude"))).ok_or_else(|| {
        Fault::new("K0901", Exit::Environment, "it is not known where Claude Code keeps its settings")
            .hint("set HOME or CLAUDE_CONFIG_DIR, or give --scope project")
    })
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

/// The files, with the name by which this program is started in place of its plain one.
fn files() -> Result<Vec<(PathBuf, String)>, Fault> {
    let program = program()?;
    let text = |text: &str| {
        if program == "kapell" {
            return text.to_owned();
        }
        let json = |text: &str| serde_json::Value::from(text).to_string();
        let hook = json(&format!("{} hook claude", Untrusted::from(program.as_str()).shell()));
        text.replace("\"command\": \"kapell\"", &format!("\"command\": {}", json(&program)))
            .replace("\"kapell hook claude\"", &hook)
    };
    let plugin = PLUGIN_FILES.map(|(name, body)| (Path::new(PLUGIN).join(name), text(body)));
    let own = COMMANDS.map(|(name, body)| (Path::new(PLUGIN).join("commands").join(name), body.to_owned()));
    let bare = COMMANDS.map(|(name, body)| (Path::new("commands").join(name), body.to_owned()));
    Ok(plugin.into_iter().chain(own).chain(bare).collect())
}

fn plan(dir: &Path, before: Option<&Manifest>) -> Result<Work, Fault> {
    if before.is_none() && dir.join(PLUGIN).symlink_metadata().is_ok() {
        return Err(Fault::new("K0925", Exit::Refused, "something else is where the plugin goes")
            .at(visible(&dir.join(PLUGIN).display().to_string()))
            .hint("move it away, or remove it, and install again"));
    }
    let mut notes = Vec::new();
    let ours = |path: &Path| before.is_some_and(|before| before.paths().any(|known| known == path));
    let files = files()?.into_iter().filter(|(path, _)| {
        let free = ours(path) || dir.join(path).symlink_metadata().is_err();
        if !free {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            notes.push(format!("{} is yours and stays: use /kapell:{name}", path.display()));
        }
        free
    });
    let files = files.collect();
    let edit = edit(dir, before, &mut notes)?;
    Ok(Work { dir: dir.to_owned(), files, edit, notes })
}

/// Finds out what goes into the settings.
fn edit(
    dir: &Path,
    before: Option<&Manifest>,
    notes: &mut Vec<String>,
) -> Result<Option<settings::Edit>, Fault> {
    let path = dir.join(SETTINGS);
    let text = match fs::read_to_string(&path) {
        Ok(text) => Some(before.map_or(text.clone(), |before| before.original(&text).unwrap_or(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Fault::io(&path, &error)),
    };
    let command = format!("{} statusline", Untrusted::from(program()?.as_str()).shell());
    let value = serde_json::json!({"type": "command", "command": command}).to_string();
    match settings::insert(text.as_deref(), "statusLine", &value) {
        Ok(edit) => Ok(Some(edit)),
        Err(why) => {
            notes.push(format!("{SETTINGS} stays as it is: {why}"));
            Ok(None)
        }
    }
}

fn show(context: &Context, work: &Work) {
    let mut text = String::new();
    for (path, body) in &work.files {
        let path = visible(&work.dir.join(path).display().to_string());
        text.push_str(&format!("+ {path} ({})\n", plural(body.lines().count() as u64, "line")));
    }
    if let Some(edit) = &work.edit {
        text.push_str(&format!("~ {}\n", visible(&work.dir.join(SETTINGS).display().to_string())));
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

/// Writes everything, or nothing.
fn write(work: &Work) -> Result<(), Fault> {
    let mut manifest = Manifest::default();
    let done = write_all(work, &mut manifest);
    if done.is_err() {
        // What was begun is taken back; the first error is the one to tell.
        let _ = manifest.take_back(&work.dir);
    }
    done
}

fn write_all(work: &Work, manifest: &mut Manifest) -> Result<(), Fault> {
    for (path, body) in &work.files {
        manifest.create(&work.dir, path, body.as_bytes())?;
    }
    if let Some(edit) = &work.edit {
        manifest.edit(&work.dir, Path::new(SETTINGS), edit)?;
    }
    manifest.keep(&work.dir, Path::new(MANIFEST))
}

#[cfg(test)]
mod tests;
