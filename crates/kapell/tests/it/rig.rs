//! The one place that knows how to start the program, and how to make its output comparable.

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Nothing here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A throw-away home with one place to work in.
pub struct Rig {
    dir: tempfile::TempDir,
}

/// How a program ended, and what it printed, as it came.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    shown: String,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Rig {
    /// Makes a directory that is no repository.
    pub fn plain() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["home", "place", "run"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::set_permissions(dir.path().join("run"), fs::Permissions::from_mode(0o700)).unwrap();
        Self { dir }
    }

    /// Makes a repository with one commit on `main`.
    pub fn repository() -> Self {
        let rig = Self::plain();
        rig.git(&["init", "--quiet", "--initial-branch=main", "."]);
        rig.git(&["config", "user.name", "Ada"]);
        rig.git(&["config", "user.email", "ada@example.org"]);
        rig.write("readme.txt", "hello\n");
        rig.commit("begin");
        rig
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn work(&self) -> PathBuf {
        self.dir().join("place")
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.work().join(name)).unwrap()
    }

    pub fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
    }

    /// Runs git as the person would.
    pub fn git(&self, args: &[&str]) -> String {
        let mut command = Command::new("git");
        self.scrub(&mut command).args(args).env("GIT_CONFIG_NOSYSTEM", "1");
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn scrub<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let home = self.dir().join("home");
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", &home)
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("XDG_RUNTIME_DIR", self.dir().join("run"))
            .env("TMPDIR", self.dir().join("run"))
            .env("USER", "ada")
            .current_dir(self.work())
            .stdin(Stdio::null())
    }

    /// Makes a call of the program, to be changed and started by the caller.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kapell"));
        self.scrub(&mut command).args(args);
        command
    }

    /// Installs a script in the place of Claude Code; `settings` are lines of its section.
    pub fn install_claude(&self, script: &str, settings: &str) {
        let program = self.dir().join("claude");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let settings = format!("[clients.claude-code]\nprogram = {program:?}\n{settings}");
        fs::create_dir_all(self.dir().join("home/config/kapell")).unwrap();
        fs::write(self.dir().join("home/config/kapell/kapell.toml"), settings).unwrap();
    }

    /// Runs the program to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ended {
        self.ended(self.command(args))
    }

    pub fn ended(&self, mut command: Command) -> Ended {
        self.output(command.output().unwrap())
    }

    /// Starts the program, whose output is kept for later.
    pub fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Started {
        let mut command = self.command(args);
        Started(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    /// Starts the program, which writes to a file what it says on the way.
    pub fn start_telling<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, said: &str) -> Started {
        let file = fs::File::create(self.dir().join(said)).unwrap();
        Started(Some(self.command(args).stdout(Stdio::piped()).stderr(file).spawn().unwrap()))
    }

    pub fn output(&self, output: Output) -> Ended {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert!(!stdout.contains('\x1b') && !stderr.contains('\x1b'), "escape sequences without a terminal");
        let code = output.status.code();
        let mut shown = format!("exit {}\n", code.map_or("by a signal".to_owned(), |code| code.to_string()));
        for (mark, stream) in [("", &stdout), ("! ", &stderr)] {
            for line in self.redact(stream).lines() {
                shown.push_str(format!("{mark}{line}").trim_end());
                shown.push('\n');
            }
        }
        Ended { code, stdout, stderr, shown }
    }

    /// Replaces what differs between two runs of a test: ids, hashes, paths, times, sizes, numbers of processes.
    fn redact(&self, text: &str) -> String {
        let text = text.replace(&self.dir().display().to_string(), "[DIR]");
        text.lines().map(|line| squeeze(&words(line)) + "\n").collect()
    }

    /// Returns the ids of all runs, newest first.
    pub fn runs(&self) -> Vec<String> {
        let listed: Value = serde_json::from_str(&self.run(["status", "--json"]).stdout).unwrap();
        let id = |run: &Value| run["run"].as_str().unwrap().to_owned();
        listed["runs"].as_array().unwrap().iter().map(id).collect()
    }

    /// Waits until a file is there, which something else makes.
    pub fn wait_for(&self, name: &str) {
        self.wait_until(&format!("{name} is there"), || self.dir().join(name).exists());
    }

    /// Waits until something holds that another process brings about.
    pub fn wait_until(&self, what: &str, holds: impl Fn() -> bool) {
        let begin = Instant::now();
        while !holds() {
            assert!(begin.elapsed() < PATIENCE, "{what}: not in time");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets everything that waits by [`Plan::waiting`] go on.
    pub fn go(&self, name: &str) {
        fs::File::create(self.dir().join(format!("{name}.go"))).unwrap().flush().unwrap();
    }

    /// Returns a script that tells that it runs, and goes on when it is told to.
    pub fn waiting(&self, name: &str, then: &str) -> String {
        let dir = self.dir().display();
        format!("echo x >> {dir}/{name}.begun; while [ ! -e {dir}/{name}.go ]; do sleep 0.02; done; {then}")
    }

    /// Returns how often a script of [`Rig::waiting`] has begun.
    pub fn begun(&self, name: &str) -> usize {
        fs::read_to_string(self.dir().join(format!("{name}.begun"))).unwrap_or_default().lines().count()
    }
}

/// A program that runs; it is killed if the test ends before it.
pub struct Started(Option<Child>);

impl Started {
    pub fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Interrupts it as Ctrl-C does.
    pub fn interrupt(&self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }

    /// Ends it as a crash would.
    pub fn kill(mut self) {
        let mut child = self.0.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn end(mut self, rig: &Rig) -> Ended {
        rig.output(self.0.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A workflow to be written to a file.
#[derive(Default)]
pub struct Plan {
    objective: String,
    accept: Vec<String>,
    tasks: Vec<(String, Value, Vec<String>)>,
}

impl Plan {
    pub fn new(objective: &str) -> Self {
        Self { objective: objective.to_owned(), ..Self::default() }
    }

    pub fn accept(mut self, command: &str) -> Self {
        self.accept.push(command.to_owned());
        self
    }

    /// Adds a task with more settings than its script.
    pub fn with(mut self, name: &str, script: &str, needs: &[&str], more: Value) -> Self {
        let mut task = json!({"run": script});
        task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.tasks.push((name.to_owned(), task, needs.iter().map(|need| (*need).to_owned()).collect()));
        self
    }

    pub fn task(self, name: &str, script: &str, needs: &[&str]) -> Self {
        self.with(name, script, needs, json!({}))
    }

    pub fn gate(mut self, name: &str, question: &str, needs: &[&str]) -> Self {
        let needs = needs.iter().map(|need| (*need).to_owned()).collect();
        self.tasks.push((name.to_owned(), json!({"gate": question}), needs));
        self
    }

    /// Writes the file. Every text in JSON is one in YAML.
    pub fn save(self, rig: &Rig, file: &str) {
        let mut tasks = serde_json::Map::new();
        for (name, mut task, needs) in self.tasks {
            if !needs.is_empty() {
                task["needs"] = json!(needs);
            }
            tasks.insert(name, task);
        }
        let mut text = json!({"mission": self.objective, "tasks": tasks});
        if !self.accept.is_empty() {
            text["accept"] = json!(self.accept);
        }
        fs::write(rig.dir().join(file), serde_json::to_string_pretty(&text).unwrap()).unwrap();
    }
}

/// Replaces words by what they are.
fn words(line: &str) -> String {
    let mut shown = String::new();
    let mut word = String::new();
    for each in clocks(line).chars().chain(['\n']) {
        if each.is_ascii_alphanumeric() || matches!(each, '.' | '_') {
            word.push(each);
            continue;
        }
        shown.push_str(&kind(&word));
        word.clear();
        shown.push(each);
    }
    shown.trim_end().to_owned()
}

/// Replaces times on the clock of a run: `00:01.5`.
fn clocks(line: &str) -> String {
    let bytes = line.as_bytes();
    let is_clock = |at: usize| {
        let shape = b"dd:dd.d";
        line.is_char_boundary(at)
            && bytes.len() >= at + shape.len()
            && shape.iter().zip(&bytes[at..]).all(|(shape, byte)| match shape {
                b'd' => byte.is_ascii_digit(),
                other => other == byte,
            })
    };
    match (0..line.len()).find(|&at| is_clock(at)) {
        Some(at) => format!("{}[T]{}", &line[..at], clocks(&line[at + 7..])),
        None => line.to_owned(),
    }
}

fn kind(word: &str) -> String {
    // A range of commits.
    if let Some((from, to)) = word.split_once("..").filter(|(from, _)| !from.is_empty()) {
        return format!("{}..{}", kind(from), kind(to));
    }
    let core = word.trim_end_matches('.');
    let is = |set: fn(&u8) -> bool| !core.is_empty() && core.bytes().all(|byte| set(&byte));
    let hex = is(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    let crockford = is(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()) && core.starts_with('0');
    let number = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_digit())
            && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    let digit = core.bytes().any(|byte| byte.is_ascii_digit());
    let named = match core.len() {
        40 | 64 if hex => "[HASH]",
        26 if crockford && digit => "[RUN]",
        12 if crockford && !hex && digit => "[RUN]",
        12 if hex && digit => "[COMMIT]",
        10.. if is(u8::is_ascii_digit) => "[N]",
        _ if core.strip_suffix("ms").is_some_and(number) => "[TIME]",
        _ if core.strip_suffix('s').is_some_and(number) => "[TIME]",
        _ => return word.to_owned(),
    };
    format!("{named}{}", &word[core.len()..])
}

/// Makes columns independent of the length of what is in them.
fn squeeze(line: &str) -> String {
    let mut shown = String::new();
    let indent = line.len() - line.trim_start().len();
    shown.push_str(&line[..indent]);
    let mut blanks = 0;
    for each in line[indent..].chars() {
        if each == ' ' {
            blanks += 1;
            continue;
        }
        shown.push_str(&" ".repeat(blanks.min(2)));
        blanks = 0;
        shown.push(each);
    }
    shown
}
