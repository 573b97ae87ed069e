//! The tools of the loop: read, search, edit, write, run; all inside the workspace.
//!
//! That a path leads out of the workspace is refused here with a reason, so that a model can do better. What keeps a
//! command from reaching further is its containment, not this.

mod process; // a command, bounded in time and output
mod task; // what `kapell task` says

use std::{
    fs,
    io::{self, Read},
    path::{Component, Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use self::process::{Ran, clip};
use super::{
    KEY,
    dialect::{Call, Tool},
};
use crate::{drivers::own::Env, seat_belt};

/// Lines that are read at a time.
const LINES_MAX: usize = 2000;
/// Files larger than this are read in parts by a command.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// How long a search may take.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a command may take, unless the model says otherwise, and at most.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);
const COMMAND_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Directories that nobody searches.
const NOT_SEARCHED: &[&str] = &[".git", "node_modules", "target", ".venv", "__pycache__"];

fn text(about: &str) -> Value {
    json!({ "type": "string", "description": about })
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// What works on the workspace.
fn of_workspace() -> Vec<Tool> {
    let number = |about: &str| json!({ "type": "integer", "description": about });
    let path = || text("The path, from the workspace.");
    vec![
        Tool {
            name: "read_file",
            description: "Reads a text file. Each line comes with its number and a tab before it.",
            parameters: object(
                json!({
                    "file_path": path(), "from": number("The first line, from 1."),
                    "lines": number("How many lines; at most 2000."),
                }),
                &["file_path"],
            ),
        },
        Tool {
            name: "search",
            description: "Finds lines that match an extended regular expression, in all files below a directory.",
            parameters: object(
                json!({ "pattern": text("The expression."), "path": text("Where; the whole workspace if left out.") }),
                &["pattern"],
            ),
        },
        Tool {
            name: "edit_file",
            description: "Replaces a text in a file. It must stand there exactly once, unless `all` is true.",
            parameters: object(
                json!({
                    "file_path": path(), "old_text": text("What stands there, to the letter, without line numbers."),
                    "new_text": text("What shall stand there."), "all": { "type": "boolean" },
                }),
                &["file_path", "old_text", "new_text"],
            ),
        },
        Tool {
            name: "write_file",
            description: "Writes a whole file, in the place of whatever is there.",
            parameters: object(
                json!({ "file_path": path(), "content": text("All that shall stand in it.") }),
                &["file_path", "content"],
            ),
        },
        Tool {
            name: "run_shell_command",
            description: "Runs a command by /bin/sh in the workspace; gives its output and exit code. Nothing can be \
                          typed into it. What it leaves running is ended with it.",
            parameters: object(
                json!({ "command": text("The command."), "timeout_s": number("Seconds; 120 if left out, at most 600.") }),
                &["command"],
            ),
        },
    ]
}

/// Says what a call is about, on one line.
pub(super) fn about(input: &Value) -> String {
    crate::drivers::client::about(input)
}

/// What a call came to.
#[derive(Debug, PartialEq)]
pub(super) enum Done {
    Gave(String),
    Failed(String),
    Refused(String),
}

/// The tools, in a workspace.
pub(super) struct Tools<'a> {
    workspace: PathBuf,
    /// Looks up the variables by which kapell is reached, if it is.
    own: Option<Env<'a>>,
}

impl<'a> Tools<'a> {
    /// Takes the real path of the workspace, and how to look up the variables by which kapell is reached, if it is.
    pub(super) fn new(workspace: PathBuf, own: Option<Env<'a>>) -> Self {
        Self { workspace, own }
    }

    /// Returns what the model is offered.
    pub(super) fn offered(&self) -> Vec<Tool> {
        let own = self.own.map(|_| task::offered()).unwrap_or_default();
        of_workspace().into_iter().chain(own).collect()
    }

    /// Says in words what can be asked for besides.
    pub(super) fn about(&self) -> &'static str {
        match self.own {
            Some(_) => task::ABOUT,
            None => "Nobody answers questions.",
        }
    }

    pub(super) fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// Performs a call.
    pub(super) fn perform(&self, call: &Call) -> Done {
        let input = match &call.input {
            Ok(input) if input.is_object() => input,
            Ok(_) => return Done::Failed("the arguments are no object".to_owned()),
            Err(_) => {
                return Done::Failed("the arguments are no JSON: perhaps they were cut off".to_owned());
            }
        };
        let asked = json!({ "tool_input": input, "cwd": self.workspace });
        if let Err(why) = seat_belt::judge(&asked, &self.workspace) {
            return Done::Refused(why);
        }
        let done = match call.tool.as_str() {
            "read_file" => self.read(input),
            "search" => self.search(input),
            "edit_file" => self.edit(input),
            "write_file" => self.write(input),
            "run_shell_command" => self.run(input),
            other => {
                if let Some(done) = self.own.and_then(|env| task::perform(other, input, env)) {
                    return done;
                }
                let known: Vec<&str> = self.offered().iter().map(|tool| tool.name).collect();
                Err(Wrong::Failed(format!("there is no tool `{other}`; there are {}", known.join(", "))))
            }
        };
        match done {
            Ok(text) => Done::Gave(text),
            Err(Wrong::Failed(why)) => Done::Failed(why),
            Err(Wrong::Refused(why)) => Done::Refused(why),
        }
    }

    fn read(&self, input: &Value) -> Gave {
        let path = self.inside(argument(input, "file_path")?)?;
        let text = load(&path)?;
        let text = String::from_utf8_lossy(&text);
        let from = usize::try_from(input["from"].as_u64().unwrap_or(1).max(1)).unwrap_or(usize::MAX);
        let most = input["lines"].as_u64().and_then(|lines| usize::try_from(lines).ok()).unwrap_or(LINES_MAX);
        let total = text.lines().count();
        let shown = text.lines().enumerate().skip(from - 1).take(most.clamp(1, LINES_MAX));
        let mut numbered: String = shown.map(|(at, line)| format!("{}\t{line}\n", at + 1)).collect();
        if total == 0 {
            numbered = "(the file is empty)".to_owned();
        } else if numbered.is_empty() {
            numbered = format!("(it has {total} lines only)");
        } else if from > 1 || total > most.min(LINES_MAX) {
            numbered.push_str(&format!("(of {total} lines)\n"));
        }
        Ok(clip(&numbered))
    }

    fn search(&self, input: &Value) -> Gave {
        let below = self.inside(input["path"].as_str().unwrap_or("."))?;
        let below = below.strip_prefix(&self.workspace).unwrap_or(&below);
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let mut command = self.command("grep");
        command.args(["-rnIE"]).args(NOT_SEARCHED.iter().map(|dir| format!("--exclude-dir={dir}")));
        command.args(["-e", argument(input, "pattern")?, "--"]).arg(below);
        let ran = process::run(command, SEARCH_TIMEOUT).map_err(|error| Wrong::Failed(error.to_string()))?;
        match ran {
            Ran { code: Some(0), output, .. } => Ok(output),
            Ran { code: Some(1), .. } => Ok("(nothing matches)".to_owned()),
            Ran { timed_out: true, .. } => Err(Wrong::Failed("the search took too long".to_owned())),
            Ran { output, .. } => Err(Wrong::Failed(output)),
        }
    }

    fn edit(&self, input: &Value) -> Gave {
        let path = self.writable(argument(input, "file_path")?)?;
        let (old, new) = (argument(input, "old_text")?, argument(input, "new_text")?);
        let text = String::from_utf8(load(&path)?)
            .map_err(|_| Wrong::Failed("it is no text: change it by a command".to_owned()))?;
        let count = if old.is_empty() { 0 } else { text.matches(old).count() };
        let len = text.len().saturating_add(count.saturating_mul(new.len()));
        if len as u64 > 2 * FILE_BYTES_MAX {
            return Err(Wrong::Failed(format!("it would have up to {len} bytes: change it by a command")));
        }
        let changed = match (count, input["all"].as_bool().unwrap_or(false)) {
            (0, _) => return Err(Wrong::Failed("`old_text` does not stand there".to_owned())),
            (1, _) | (_, true) => text.replace(old, new),
            _ => {
                return Err(Wrong::Failed(format!(
                    "`old_text` stands there {count} times: take more around it"
                )));
            }
        };
        fs::write(&path, changed).map_err(|error| about_file(&path, &error))?;
        Ok(format!("(replaced {count} time{})", if count == 1 { "" } else { "s" }))
    }

    fn write(&self, input: &Value) -> Gave {
        let path = self.writable(argument(input, "file_path")?)?;
        let content = argument(input, "content")?;
        if fs::metadata(&path).is_ok_and(|there| !there.is_file()) {
            return Err(no_file());
        }
        let written =
            path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, content));
        written.map_err(|error| about_file(&path, &error))?;
        Ok(format!("(written: {} bytes)", content.len()))
    }

    fn run(&self, input: &Value) -> Gave {
        let seconds = input["timeout_s"].as_u64().map(Duration::from_secs);
        let timeout = seconds.unwrap_or(COMMAND_TIMEOUT).clamp(Duration::from_secs(1), COMMAND_TIMEOUT_MAX);
        let mut command = self.command("/bin/sh");
        command.args(["-c", argument(input, "command")?]);
        let ran = process::run(command, timeout).map_err(|error| Wrong::Failed(error.to_string()))?;
        let end = match ran {
            Ran { timed_out: true, .. } => format!("ended after {} s", timeout.as_secs()),
            Ran { code: Some(code), .. } => format!("exit {code}"),
            Ran { .. } => "ended by a signal".to_owned(),
        };
        // That it fails is what the model wants to know, and no failure of the tool.
        Ok(format!("{}\n({end})", ran.output.trim_end()).trim_start().to_owned())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.workspace).env_remove(KEY);
        command
    }

    /// Returns a path below the workspace, by its real name.
    fn inside(&self, path: &str) -> Result<PathBuf, Wrong> {
        let outside = || Wrong::Refused(format!("`{path}` is not within the workspace"));
        let full = self.workspace.join(path);
        let mut missing = Vec::new();
        let mut there = full.as_path();
        let real = loop {
            match fs::canonicalize(there) {
                Ok(real) => break real,
                // A link that leads nowhere yet would lead a file that is written through it there.
                Err(_) if there.is_symlink() => return Err(outside()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let Some(Component::Normal(name)) = there.components().next_back() else {
                        return Err(outside());
                    };
                    missing.push(name);
                    there = there.parent().ok_or_else(outside)?;
                }
                Err(error) => return Err(about_file(&full, &error)),
            }
        };
        let real = missing.iter().rev().fold(real, |path, name| path.join(name));
        if real.starts_with(&self.workspace) { Ok(real) } else { Err(outside()) }
    }

    /// The same, for a file that is changed.
    fn writable(&self, path: &str) -> Result<PathBuf, Wrong> {
        let real = self.inside(path)?;
        if real.strip_prefix(&self.workspace).is_ok_and(|below| below.starts_with(".git")) {
            return Err(Wrong::Refused("`.git` is changed by git alone".to_owned()));
        }
        Ok(real)
    }
}

/// Reads a file that is not too large. What is none is not opened: nobody may ever write to a pipe.
fn load(path: &Path) -> Result<Vec<u8>, Wrong> {
    let meta = fs::metadata(path).map_err(|error| about_file(path, &error))?;
    if !meta.is_file() {
        return Err(no_file());
    }
    let too_large = |size: u64| Wrong::Failed(format!("it has {size} bytes: take a part of it by a command"));
    if meta.len() > FILE_BYTES_MAX {
        return Err(too_large(meta.len()));
    }
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| about_file(path, &error))?;
    // It may grow meanwhile.
    if bytes.len() as u64 > FILE_BYTES_MAX { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}

fn no_file() -> Wrong {
    Wrong::Failed("it is a directory, a pipe or a device, and no file".to_owned())
}

/// Why a call came to nothing.
#[derive(Debug)]
enum Wrong {
    Failed(String),
    Refused(String),
}

type Gave = Result<String, Wrong>;

fn argument<'a>(input: &'a Value, name: &str) -> Result<&'a str, Wrong> {
    input[name]
        .as_str()
        .ok_or_else(|| Wrong::Failed(format!("the argument `{name}` is missing, or is no text")))
}

fn about_file(path: &Path, error: &io::Error) -> Wrong {
    Wrong::Failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(tools: &Tools<'_>, tool: &str, input: Value) -> Done {
        let call = Call { id: "c".to_owned(), tool: tool.to_owned(), input: Ok(input) };
        tools.perform(&call)
    }

    fn workspace() -> (tempfile::TempDir, Tools<'static>) {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap().join("ws");
        fs::create_dir_all(root.join("src")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::write(root.join("src/a.txt"), "one\ntwo\ntwo\n").unwrap();
        fs::write(dir.path().join("secret"), "s").unwrap();
        std::os::unix::fs::symlink("../../secret", root.join("src/link")).unwrap();
        std::os::unix::fs::symlink("../../new", root.join("src/dangling")).unwrap();
        (dir, Tools::new(root, None))
    }

    #[test]
    fn files_are_read_searched_edited_and_written() {
        let (_dir, tools) = workspace();
        let file = "src/a.txt";
        for (tool, input, expected) in [
            ("read_file", json!({ "file_path": file }), "1\tone\n2\ttwo\n3\ttwo\n"),
            ("read_file", json!({ "file_path": file, "from": 2, "lines": 1 }), "2\ttwo\n(of 3 lines)\n"),
            ("read_file", json!({ "file_path": file, "from": 9 }), "(it has 3 lines only)"),
            ("search", json!({ "pattern": "^tw." }), "./src/a.txt:2:two\n./src/a.txt:3:two\n"),
            ("search", json!({ "pattern": "x", "path": "src" }), "(nothing matches)"),
            (
                "edit_file",
                json!({ "file_path": file, "old_text": "one", "new_text": "1" }),
                "(replaced 1 time)",
            ),
            (
                "edit_file",
                json!({ "file_path": file, "old_text": "two", "new_text": "2", "all": true }),
                "(replaced 2 times)",
            ),
            ("write_file", json!({ "file_path": "new/b", "content": "b" }), "(written: 1 bytes)"),
            (
                "run_shell_command",
                json!({ "command": "cat src/a.txt new/b; exit 3" }),
                "1\n2\n2\nb\n(exit 3)",
            ),
            ("run_shell_command", json!({ "command": "true" }), "(exit 0)"),
            ("run_shell_command", json!({ "command": "sleep 60", "timeout_s": 1 }), "(ended after 1 s)"),
        ] {
            assert_eq!(call(&tools, tool, input.clone()), Done::Gave(expected.to_owned()), "{tool} {input}");
        }
    }

    #[test]
    fn what_would_never_end_or_fill_the_memory_is_not_begun() {
        let (_dir, tools) = workspace();
        let made = call(&tools, "run_shell_command", json!({ "command": "mkfifo pipe" }));
        assert_eq!(made, Done::Gave("(exit 0)".to_owned()));
        fs::write(tools.workspace().join("as"), "a".repeat(1 << 20)).unwrap();
        let (file, many) = (json!("pipe"), "b".repeat(1 << 20));
        let calls = [
            ("read_file", json!({ "file_path": file }), "no file"),
            ("edit_file", json!({ "file_path": file, "old_text": "a", "new_text": "b" }), "no file"),
            ("write_file", json!({ "file_path": file, "content": "b" }), "no file"),
            ("read_file", json!({ "file_path": "src" }), "no file"),
            (
                "edit_file",
                json!({ "file_path": "as", "old_text": "a", "new_text": many, "all": true }),
                "it would have up to",
            ),
        ];
        let (sender, results) = std::sync::mpsc::channel();
        let workspace = tools.workspace().to_owned();
        std::thread::spawn(move || {
            let tools = Tools::new(workspace, None);
            for (tool, input, expected) in calls {
                let _ = sender.send((tool, call(&tools, tool, input), expected));
            }
        });
        for _ in 0..5 {
            let (tool, done, expected) = results.recv_timeout(Duration::from_secs(20)).unwrap();
            assert!(matches!(&done, Done::Failed(why) if why.contains(expected)), "{tool}: {done:?}");
        }
    }

    #[test]
    fn what_leads_out_or_harms_is_refused_and_what_is_wrong_is_explained() {
        let (_dir, tools) = workspace();
        for path in ["../secret", "/etc/passwd", "src/link", "src/dangling", "nowhere/../../secret"] {
            let read = call(&tools, "read_file", json!({ "file_path": path }));
            assert!(matches!(read, Done::Refused(_)), "{path}: {read:?}");
            let wrote = call(&tools, "write_file", json!({ "file_path": path, "content": "" }));
            assert!(matches!(wrote, Done::Refused(_)), "{path}: {wrote:?}");
        }
        for (tool, input) in [
            ("write_file", json!({ "file_path": ".git/hooks/pre-commit", "content": "" })),
            ("run_shell_command", json!({ "command": "rm -rf /" })),
            ("run_shell_command", json!({ "command": "cat ~/.ssh/id_rsa" })),
        ] {
            assert!(matches!(call(&tools, tool, input.clone()), Done::Refused(_)), "{input}");
        }
        for (tool, input, expected) in [
            ("read_file", json!({}), "the argument `file_path` is missing, or is no text"),
            ("read_file", json!({ "file_path": "no" }), "No such file"),
            ("edit_file", json!({ "file_path": "src/a.txt", "old_text": "two", "new_text": "" }), "2 times"),
            (
                "edit_file",
                json!({ "file_path": "src/a.txt", "old_text": "x", "new_text": "" }),
                "does not stand",
            ),
            ("search", json!({ "pattern": "(" }), "grep"),
            ("fly", json!({}), "there is no tool `fly`; there are read_file, search"),
        ] {
            match call(&tools, tool, input.clone()) {
                Done::Failed(why) => assert!(why.contains(expected), "{input}: {why}"),
                other => panic!("{input}: {other:?}"),
            }
        }
    }
}
