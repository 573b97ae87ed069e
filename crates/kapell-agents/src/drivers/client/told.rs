//! What a client said and did, for a person to read: its stream is for programs.

use std::{fs, path::Path};

use kapell_core::time::Wall;
use serde_json::Value;

use super::{AGAIN_DIR, CLIENT_FILE, Client, listen::is_request, words::short};
use crate::{
    drivers::Report,
    supervise::{ERRORS_FILE, OUTPUT_FILE},
};

/// Returns what the client that worked in `dir`, the directory of an attempt, said and did, line by line, and what it
/// printed as errors after that; not to be shown unescaped. `None` if no client worked there.
///
/// What is no event of its stream stands there as it is, and so does all of a stream of which nothing is understood.
#[must_use]
pub fn told(dir: &Path) -> Option<Vec<String>> {
    let text = fs::read_to_string(dir.join(CLIENT_FILE)).ok()?;
    let client = Client::of(text.lines().next()?)?;
    let mut lines = of_process(client, dir);
    let again = dir.join(AGAIN_DIR);
    if again.is_dir() {
        lines.extend(of_process(client, &again));
    }
    Some(lines)
}

fn of_process(client: Client, dir: &Path) -> Vec<String> {
    let printed = |name: &str| {
        let bytes = fs::read(dir.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let output = printed(OUTPUT_FILE);
    let mut lines = in_words(client, &output);
    // Of kapell's own each word is understood, though not each is for a person.
    let is_own = matches!(client, Client::Acp(_) | Client::Model(_));
    if lines.is_empty() && !is_own {
        lines = output.lines().map(str::to_owned).collect();
    }
    lines.extend(printed(ERRORS_FILE).lines().map(str::to_owned));
    lines
}

fn in_words(client: Client, output: &str) -> Vec<String> {
    let (mut reader, mut reports) = (client.reader(), Vec::new());
    let mut telling = Telling::default();
    for line in output.lines() {
        let Ok(event @ Value::Object(_)) = serde_json::from_str(line) else {
            telling.line(line.to_owned());
            continue;
        };
        if is_request(&event) {
            continue;
        }
        reader.event(&event, Wall(0), &mut reports);
        for report in reports.drain(..) {
            telling.report(report, &reader.evidence().text);
        }
    }
    telling.end();
    telling.lines
}

/// The lines so far.
#[derive(Default)]
struct Telling {
    lines: Vec<String>,
    /// What it is saying: some clients hand over all that was said so far with each piece of it.
    saying: String,
}

impl Telling {
    /// Takes a report. `text` is what the client has said last, of which a report carries the first line.
    fn report(&mut self, report: Report, text: &str) {
        match report {
            Report::Said { text: begun } => {
                let whole = if short(text) == begun { text } else { &begun };
                if !whole.starts_with(&self.saying) {
                    self.end();
                }
                whole.clone_into(&mut self.saying);
            }
            Report::ToolUse { tool, about } => self.line(format!("[{tool}] {about}").trim_end().to_owned()),
            Report::Refused { tool, text } => self.line(format!("[{tool}] was refused: {text}")),
            Report::RateLimited { text, .. } => self.line(format!("[its provider asks for a pause] {text}")),
            Report::Question { text, choices, .. } if choices.is_empty() => {
                self.line(format!("[asks] {text}"))
            }
            Report::Question { text, choices, .. } => {
                self.line(format!("[asks] {text} [{}]", choices.join(" | ")));
            }
            Report::Note { text } => self.line(format!("[notes] {text}")),
            // What is counted and how it ended stands in the journal.
            Report::Started { .. }
            | Report::Progress { .. }
            | Report::HandOff { .. }
            | Report::Session { .. }
            | Report::Usage(_)
            | Report::Finished(_) => {}
        }
    }

    fn line(&mut self, line: String) {
        self.end();
        self.lines.push(line);
    }

    /// Ends what it was saying.
    fn end(&mut self) {
        let said = std::mem::take(&mut self.saying);
        self.lines.extend(said.trim_end().lines().map(str::to_owned));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(client: &str, output: &str, errors: &str, expected: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [(CLIENT_FILE, client), (OUTPUT_FILE, output), (ERRORS_FILE, errors)] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        assert_eq!(told(dir.path()).unwrap(), expected, "{client}");
    }

    #[test]
    fn a_stream_is_told_in_words() {
        check(
            "claude-code",
            r#"{"type":"system","subtype":"init","session_id":"s"}
{"type":"assistant","message":{"id":"1","content":[{"type":"text","text":"First\nlook."},{"type":"tool_use","id":"a","name":"Bash","input":{"command":"make test"}}]}}
{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"a","content":"ok"}]}}
{"type":"assistant","message":{"id":"2","content":[{"type":"text","text":"Done.\n\nAll of it."}]}}
{"type":"result","subtype":"success","is_error":false,"result":"Done.\n\nAll of it."}
"#,
            "a warning\n",
            &["First", "look.", "[Bash] make test", "Done.", "", "All of it.", "a warning"],
        );
        check(
            "openai",
            r#"{"type":"step"}
{"type":"refused","tool":"run","text":"outside of the workspace"}
{"type":"limited","until":null,"text":"429"}
{"type":"note","text":"half of it"}
"#,
            "",
            &[
                "[run] was refused: outside of the workspace",
                "[its provider asks for a pause] 429",
                "[notes] half of it",
            ],
        );
    }

    #[test]
    fn what_was_asked_and_allowed_is_not_told_as_refused() {
        check(
            "codex-app-server",
            r#"{"method":"item/started","params":{"item":{"type":"commandExecution","id":"1","command":"make test"}}}
{"method":"item/commandExecution/requestApproval","id":0,"params":{"kind":"command","itemId":"1","command":"make test"}}
{"method":"item/completed","params":{"item":{"type":"commandExecution","id":"1","command":"make test","exitCode":0,"status":"completed"}}}
{"method":"item/started","params":{"item":{"type":"commandExecution","id":"2","command":"rm -rf /"}}}
{"method":"item/completed","params":{"item":{"type":"commandExecution","id":"2","command":"rm -rf /","status":"declined"}}}
"#,
            "",
            &["[shell] make test", "[shell] rm -rf /", "[shell] was refused: rm -rf /"],
        );
        check(
            "claude-code",
            r#"{"type":"assistant","message":{"id":"1","content":[{"type":"tool_use","id":"a","name":"Write","input":{"file_path":"/x"}}]}}
{"type":"control_request","request_id":"r","request":{"subtype":"can_use_tool","tool_name":"Write","tool_use_id":"a","input":{"file_path":"/x"}}}
{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"a","content":"ok"}]}}
"#,
            "",
            &["[Write] /x"],
        );
    }

    #[test]
    fn what_comes_in_pieces_is_told_once() {
        let piece = |text: &str| {
            serde_json::json!({"type": "message", "role": "assistant", "content": text, "delta": true})
                .to_string()
        };
        let call = r#"{"type":"tool_use","tool_name":"read_file","tool_id":"1","parameters":{"absolute_path":"a.rs"}}"#;
        let output = [&piece("I read "), &piece("it"), call, &piece("It is\n"), &piece("mended.")].join("\n");
        check("gemini", &output, "", &["I read it", "[read_file] a.rs", "It is", "mended."]);
    }

    #[test]
    fn what_is_not_understood_is_shown_as_it_is() {
        check("codex", "{\"type\":\"news\"}\n", "", &["{\"type\":\"news\"}"]);
        check("codex", "usage: codex [OPTIONS]\n{\"type\":\"news\"}\n", "", &["usage: codex [OPTIONS]"]);
        assert_eq!(told(tempfile::tempdir().unwrap().path()), None);
        // How it ended stands in the journal.
        let end = "{\"type\":\"end\",\"class\":\"transient\",\"text\":\"gone\",\"until\":null}\n";
        check("acp", end, "no module `coder`\n", &["no module `coder`"]);
    }
}
