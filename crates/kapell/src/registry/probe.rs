//! What is installed: programs are found on `PATH`, and asked for their version.

use std::{
    env, fs, io,
    io::Read,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use kapell_agents::drivers::client::Client;
use kapell_view::untrusted::visible;

use crate::site;

/// How long a program may take to say its version.
const PROBE: Duration = Duration::from_secs(10);

/// The most that is read of what it says of its version and of its options, in bytes.
const PROBE_BYTES_MAX: u64 = 4096;
const HELP_BYTES_MAX: u64 = 256 << 10;

/// What a client says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probed {
    /// Its version.
    pub version: Option<String>,
    /// What it offers of that which kapell can make use of.
    pub capabilities: Vec<&'static str>,
}

/// Finds out what a client is and can do: by what it says of its version and of its options, and by nothing else.
pub fn probe(program: &Path, client: Client) -> Probed {
    let (arguments, signs) = signs(client);
    std::thread::scope(|scope| {
        let help = scope.spawn(|| said(program, arguments, HELP_BYTES_MAX).unwrap_or_default());
        let version = version(program);
        let help = help.join().unwrap_or_default();
        let found = signs.iter().filter(|(_, sign)| help.contains(sign)).map(|(capability, _)| *capability);
        Probed { version, capabilities: found.collect() }
    })
}

/// The options of a client that tell what it can do, and how it is asked for them.
fn signs(client: Client) -> (&'static [&'static str], &'static [(&'static str, &'static str)]) {
    match client {
        Client::ClaudeCode => (
            &["--help"],
            &[
                ("stream", "stream-json"),
                ("turns", "--input-format"),
                ("resume", "--resume"),
                ("structured-output", "--json-schema"),
                ("mcp", "--mcp-config"),
                ("model", "--model"),
            ],
        ),
        Client::Codex => (
            &["exec", "--help"],
            &[
                ("stream", "--json"),
                ("resume", "resume"),
                ("structured-output", "--output-schema"),
                ("sandbox", "--sandbox"),
                ("model", "--model"),
            ],
        ),
        Client::CodexApp => (
            &["app-server", "--help"],
            &[("stream", "generate-json-schema"), ("questions", "app-server"), ("turns", "app-server")],
        ),
        Client::Gemini => (
            &["--help"],
            &[
                ("stream", "stream-json"),
                ("resume", "--resume"),
                ("acp", "--acp"),
                ("mcp", "mcp"),
                ("sandbox", "--sandbox"),
                ("model", "--model"),
            ],
        ),
        Client::Opencode => (
            &["acp", "--help"],
            &[
                ("stream", "start ACP"),
                ("questions", "start ACP"),
                ("resume", "start ACP"),
                ("model", "start ACP"),
                ("server", "--port"),
            ],
        ),
        Client::OpencodeRun => {
            (&["run", "--help"], &[("stream", "--format"), ("resume", "--session"), ("model", "--model")])
        }
        // The protocol says what they can do, once a session begins.
        Client::Acp(_) | Client::Model(_) => (&["--help"], &[]),
    }
}

/// Asks a program for its version.
fn version(program: &Path) -> Option<String> {
    let text = said(program, &["--version"], PROBE_BYTES_MAX)?;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(visible(&line.chars().take(80).collect::<String>()))
}

/// Starts a program and returns what it prints. It gets no more than its time, an empty environment, and a home that is
/// thrown away.
fn said(program: &Path, arguments: &[&str], bytes_max: u64) -> Option<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let home = env::temp_dir().join(format!("kapell-probe-{}-{number}", std::process::id()));
    fs::create_dir(&home).ok()?;
    let text = ask(program, arguments, &home, bytes_max);
    // What it left there is of no use to anybody.
    let _ = fs::remove_dir_all(&home);
    text.ok()
}

fn ask(program: &Path, arguments: &[&str], home: &Path, bytes_max: u64) -> io::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", site::search_path()).env("HOME", home).current_dir(home);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn()?;
    // Read beside it, for one that prints more than a pipe holds would wait for ever.
    let reader = child.stdout.take().map(|stdout| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            stdout.take(bytes_max).read_to_end(&mut text).map(|_| text)
        })
    });
    let begun = Instant::now();
    let mut timed_out = false;
    while child.try_wait()?.is_none() {
        if begun.elapsed() > PROBE {
            timed_out = true;
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // Whatever it left running would hold the pipe open.
    end(&mut child);
    let text = reader.and_then(|reader| reader.join().ok()).transpose()?.unwrap_or_default();
    match timed_out {
        true => Err(io::ErrorKind::TimedOut.into()),
        false => Ok(String::from_utf8_lossy(&text).into_owned()),
    }
}

/// Ends a program and all that it started in its group.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

/// Finds a program on `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&site::search_path()).map(|dir| dir.join(name)).find(|path| is_program(path))
}

/// Tells whether a path leads to a program, from wherever one stands.
pub fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let may_run = |meta: fs::Metadata| meta.is_file() && meta.permissions().mode() & 0o111 != 0;
    path.is_absolute() && fs::metadata(path).is_ok_and(may_run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(dir: &Path, body: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.join("agent");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_program_is_asked_for_its_version_in_a_clean_room() {
        let dir = tempfile::tempdir().unwrap();
        for (body, expected) in [
            ("echo; echo ' 1.2.3 (Agent) '", Some("1.2.3 (Agent)")),
            ("echo \"$1 ${USER:-nobody} $(pwd | grep -c kapell-probe)\"", Some("--version nobody 1")),
            ("exit 3", None),
            ("printf '\\033[2J'", Some("␛[2J")),
        ] {
            assert_eq!(version(&script(dir.path(), body)).as_deref(), expected, "{body}");
        }
        assert_eq!(version(Path::new("/nowhere/agent")), None);
    }

    #[test]
    fn a_client_is_asked_for_what_it_can_do() {
        let dir = tempfile::tempdir().unwrap();
        let body = "case $1 in --version) echo 9.9;; --help) yes '  --resume ID' | head -20000; echo --json-schema;; esac";
        let probed = probe(&script(dir.path(), body), Client::ClaudeCode);
        assert_eq!(probed.version.as_deref(), Some("9.9"));
        // What comes after the most that is read does not count.
        assert_eq!(probed.capabilities, ["resume"]);
        let nothing = probe(Path::new("/nowhere/agent"), Client::Codex);
        assert_eq!(nothing, Probed::default());
    }
}
