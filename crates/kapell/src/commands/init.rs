//! `init`: settings and a first workflow for this repository, written once and taken back by `undo`.

mod detect; // how it is tested and built

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use kapell_core::id::Digest;
use kapell_view::{text::plural, untrusted::visible};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::detect::{Commands, Found};
use super::Context;
use crate::{
    args::InitArgs,
    config,
    exit::Exit,
    fault::Fault,
    registry::{Entry, Registry},
    site::Site,
};

/// The first workflow's path.
const WORKFLOW: &str = "kapell/first.yaml";

/// What `init` wrote, or would write.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Written {
    /// The version of this form: 1.
    version: u32,
    /// Whether anything was written.
    written: bool,
    /// The command that tests the repository, if one was recognised.
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<String>,
    /// The command that builds it, if one was recognised.
    #[serde(skip_serializing_if = "Option::is_none")]
    build: Option<String>,
    /// The agents that can be used here.
    agents: Vec<String>,
    /// The files.
    files: Vec<WrittenFile>,
}

/// A file that `init` wrote, or would write.
#[derive(Debug, Serialize, JsonSchema)]
struct WrittenFile {
    /// Its path, from the root.
    path: String,
    /// Its text.
    text: String,
}

/// What is noted in the store, so that `undo` knows what is still as it was written.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    version: u32,
    at_ms: i64,
    files: Vec<(PathBuf, Digest)>,
}

/// Writes the settings: every line shows what can be set, or what was found here.
fn settings(found: &Commands, registry: &Registry) -> String {
    let mut text = "# Settings of kapell for this repository. Remove the `#` of a line to set it; the values are examples.\n\
         # Your own settings, for all repositories, are in ~/.config/kapell/kapell.toml.\n\
         \n\
         # How many commands run at the same time. If not given: one for each core.\n\
         # jobs = 4\n\
         \n\
         # How many agents work at the same time, and how much memory they may take together. If not given: 4, and what is\n\
         # free.\n\
         # agents = 4\n\
         # memory = \"8GiB\"\n\
         \n\
         # How much disk workspaces may take together; beyond that those go that nobody uses. If not given: no limit.\n\
         # workspaces = \"20GiB\"\n\
         \n\
         # The most that a run may use if its file does not say: money, tokens, time. If not given: no limit.\n\
         # budget = \"5usd,2M,2h\"\n\
         \n\
         # Where runs are recorded, below this directory. If not given: within .git, where `git clean` cannot reach.\n\
         # store = \".kapell\"\n\
         \n\
         # What `accept` and `prepare` may reach, for they run what agents wrote. If not given: what you can reach.\n\
         # check-sandbox = \"required\"\n\
         # check-network = \"none\"\n\
         \n\
         # What was recognised here:\n"
        .to_owned();
    for (what, command) in [("tests", &found.test), ("builds", &found.build)] {
        match command {
            Some(Found { from, command, .. }) => {
                text.push_str(&format!("#   {what}: {command}  (from {from})\n"))
            }
            None => text.push_str(&format!("#   {what}: nothing was recognised\n")),
        }
    }
    let (usable, absent): (Vec<_>, Vec<_>) =
        registry.entries().iter().partition(|entry| entry.missing.is_none());
    let names = |entries: &[&Entry]| match entries {
        [] => "none".to_owned(),
        some => some.iter().map(|entry| visible(&entry.name)).collect::<Vec<_>>().join(", "),
    };
    text.push_str(&format!("#   agents that can be used: {}\n", names(&usable)));
    for entry in absent {
        let why = entry.missing.as_deref().map(visible).unwrap_or_default();
        text.push_str(&format!("#   not {}: {why}\n", visible(&entry.name)));
    }
    text.push_str(
        "\n\
         # An agent of your own making: tasks name it by `agent`, or ask for its skills (`skills: [rust]`), and the best\n\
         # one is chosen. `kapell agents` lists all with what they can do, what they cost and how they have done.\n\
         # [agent.rust]\n\
         # use = \"claude-code\"\n\
         # model = \"sonnet\"\n\
         # skills = [\"rust\", \"tests\"]\n\
         # cost = \"medium\"          # free, low, medium or high\n\
         # memory = \"2GiB\"          # what one attempt of it needs, with what it builds and tests\n",
    );
    text
}

/// Writes the first workflow: what it does costs nothing; what an agent would do stands there to be taken in.
fn workflow(found: &Commands, registry: &Registry) -> String {
    let (origin, command, extra) = match &found.test {
        Some(Found { from, command, extra }) => (format!("# The command comes from {from}.\n"), command.as_str(), *extra),
        None => (
            "# No manifest was recognised: put the command that tests this repository in the place of `true`.\n"
                .to_owned(),
            "true",
            "",
        ),
    };
    let usable = registry.first_usable();
    let note = match &usable {
        Some(agent) => format!(
            "# {agent} can be used here. Remove the `#` to let an agent work; this costs money or quota.\n"
        ),
        None => "# No coding agent can be used here yet: `kapell doctor` says what is missing.\n".to_owned(),
    };
    format!(
        "# A first workflow. `kapell plan {WORKFLOW}` shows what it would do, `kapell run {WORKFLOW}` does it.\n\
         # Each task works in a copy of its own; nothing reaches your branches before `kapell merge`.\n\
         mission: Note what this repository looks like, and see its tests pass\n\
         tasks:\n\
         \x20 inventory:\n\
         \x20   run: mkdir -p kapell && git ls-files | wc -l > kapell/files.txt\n\
         \x20 {origin}\
         \x20 tests:\n\
         \x20   needs: [inventory]\n\
         \x20   run: {command}\n\
         {extra}\
         \x20   timeout: 30m\n\
         \x20 {note}\
         \x20 # review:\n\
         \x20 #   needs: [tests]\n\
         \x20 #   skills: [review]\n\
         \x20 #   prompt: Read the code, and write the three most likely bugs into kapell/review.md.\n\
         \x20 #   budget: {{ usd: 5 }}  # kept free before it starts: one request of a large model can come to 3\n\
         \x20 #   timeout: 20m\n"
    )
}

/// Writes settings and a first workflow.
///
/// # Errors
///
/// Fails if one of the files exists already, or cannot be written; nothing is left then.
pub fn init(context: &Context, args: &InitArgs) -> Result<Exit, Fault> {
    let site = context.site()?;
    let found = detect::commands(&site.root);
    let registry = Registry::find(&site)?;
    let files = [(config::FILE, settings(&found, &registry)), (WORKFLOW, workflow(&found, &registry))];
    for (name, _) in &files {
        if site.root.join(name).symlink_metadata().is_ok() {
            return Err(Fault::new("K0916", Exit::Refused, format!("{name} exists already"))
                .at(visible(&site.root.join(name).display().to_string()))
                .hint("kapell plan FILE shows what a workflow would do"));
        }
    }
    if !args.dry_run {
        write_all(&site, &files)?;
    }
    if context.out.json {
        context.out.value(&Written {
            version: 1,
            written: !args.dry_run,
            test: found.test.map(|found| found.command),
            build: found.build.map(|found| found.command),
            agents: registry
                .entries()
                .iter()
                .filter(|entry| entry.missing.is_none())
                .map(|entry| entry.name.clone())
                .collect(),
            files: files.map(|(path, text)| WrittenFile { path: path.to_owned(), text }).into(),
        });
        return Ok(Exit::Done);
    }
    for (name, text) in &files {
        if !args.dry_run {
            context.out.data(&format!("wrote {name}, {}", plural(text.lines().count() as u64, "line")));
            continue;
        }
        let indented: String =
            text.lines().map(|line| format!("  {line}").trim_end().to_owned() + "\n").collect();
        context.out.data(&format!("would write {name}\n{indented}"));
    }
    match args.dry_run {
        true => context.out.next("kapell init"),
        false => context.out.next(&format!("kapell plan {WORKFLOW}")),
    }
    Ok(Exit::Done)
}

fn write_all(site: &Site, files: &[(&str, String)]) -> Result<(), Fault> {
    let mut done: Vec<PathBuf> = Vec::new();
    for (name, text) in files {
        let path = site.root.join(name);
        if let Err(error) = write_new(&path, text) {
            // All or nothing.
            for path in &done {
                let _ = fs::remove_file(path);
            }
            return Err(Fault::io(&path, &error));
        }
        done.push(path);
    }
    let files = files.iter().map(|(name, text)| (PathBuf::from(name), Digest::of(text.as_bytes()))).collect();
    let note = Note { version: 1, at_ms: jiff::Timestamp::now().as_millisecond(), files };
    let path = note_path(site);
    let text = serde_json::to_vec(&note).unwrap_or_default();
    fs::create_dir_all(&site.store)
        .and_then(|()| fs::write(&path, text))
        .map_err(|error| Fault::io(&path, &error))
}

/// Writes a file that must not exist, and nothing through a link.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}

fn note_path(site: &Site) -> PathBuf {
    site.store.join("init.json")
}

fn note(site: &Site) -> Option<Note> {
    let text = fs::read(note_path(site)).ok()?;
    serde_json::from_slice(&text).ok().filter(|note: &Note| note.version == 1)
}

/// Tells whether `init` wrote files, and did so after the last decision of any run, taken at `last`.
pub fn was_written_after(site: &Site, last: Option<i64>) -> bool {
    note(site).is_some_and(|note| last.is_none_or(|last| note.at_ms > last))
}

/// Removes what `init` wrote, if nobody has changed it since.
///
/// # Errors
///
/// Fails, and removes nothing, if a file was changed.
pub fn unwrite(context: &Context, site: &Site) -> Result<Exit, Fault> {
    let note = note(site).map(|note| note.files).unwrap_or_default();
    // The note lies in the store, and paths in it are those that `init` knows.
    let ours = |path: &Path| path == Path::new(config::FILE) || path == Path::new(WORKFLOW);
    let there: Vec<_> = note.iter().filter(|(path, _)| ours(path) && site.root.join(path).exists()).collect();
    for (path, digest) in &there {
        let full = site.root.join(path);
        let text = fs::read(&full).map_err(|error| Fault::io(&full, &error))?;
        if Digest::of(&text) != *digest {
            return Err(Fault::new(
                "K0512",
                Exit::Refused,
                format!("{} was changed after kapell init wrote it", path.display()),
            )
            .because("nothing was removed")
            .hint(format!("rm {}, if you no longer want it", path.display())));
        }
    }
    for (path, _) in &there {
        let full = site.root.join(path);
        fs::remove_file(&full).map_err(|error| Fault::io(&full, &error))?;
        context.out.note(&format!("removed {}", path.display()));
    }
    // Only if nothing else is in it.
    let _ = fs::remove_dir(site.root.join("kapell"));
    let path = note_path(site);
    fs::remove_file(&path).map_err(|error| Fault::io(&path, &error))?;
    if let Ok(mut rest) = fs::read_dir(&site.store)
        && rest.next().is_none()
    {
        let _ = fs::remove_dir(&site.store);
    }
    Ok(Exit::Done)
}
