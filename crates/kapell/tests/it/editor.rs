//! A session of an editor: findings of what is open, fixes of them, and silence once they are mended.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use serde_json::{Value, json};

use crate::rig::Rig;

const PATH: &str = ".github/workflows/release.yml";

/// The é stands before the fault, so that columns tell how they are counted.
const FAULTY: &str = "on: { workflow_dispatch: {} }
concurrency: { group: \"é\", cancel-in-progress: true }
jobs:
  release:
    runs-on: ubuntu-latest
    timeout-minutes: 10
    steps:
      - run: git tag v1 && git push origin v1
";

struct Editor {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    folder: String,
}

impl Editor {
    fn start(rig: &Rig) -> Self {
        let mut command = rig.command(["improve", "--lsp"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output, folder: format!("file://{}", rig.work().display()) }
    }

    fn uri(&self) -> String {
        format!("{}/{PATH}", self.folder)
    }

    fn send(&mut self, mut message: Value) {
        message["jsonrpc"] = "2.0".into();
        let body = message.to_string();
        write!(self.input, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        self.input.flush().unwrap();
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.send(json!({"method": method, "params": params}));
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the server is gone");
            match line.trim().split_once(": ") {
                Some(("Content-Length", number)) => length = number.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.output.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// Asks, and returns the answer; what is told in between is passed over.
    fn ask(&mut self, id: u32, method: &str, params: Value) -> Value {
        self.send(json!({"id": id, "method": method, "params": params}));
        loop {
            let message = self.receive();
            if message["id"] == id {
                return message;
            }
        }
    }

    /// Returns the findings of the workflow, once they are those of this version of it.
    fn diagnostics(&mut self, version: Option<i32>) -> Vec<Value> {
        loop {
            let message = self.receive();
            let params = &message["params"];
            if message["method"] == "textDocument/publishDiagnostics"
                && params["uri"] == self.uri()
                && params["version"] == json!(version)
            {
                return params["diagnostics"].as_array().unwrap().clone();
            }
        }
    }
}

fn rules(diagnostics: &[Value]) -> Vec<&str> {
    let mut rules: Vec<&str> = diagnostics
        .iter()
        .filter(|found| found["severity"] != 4)
        .map(|found| found["code"].as_str().unwrap())
        .collect();
    rules.sort_unstable();
    rules
}

#[test]
fn an_editor_gets_findings_and_fixes_and_hears_when_they_are_mended() {
    let rig = Rig::repository();
    rig.write(PATH, FAULTY);
    let mut editor = Editor::start(&rig);
    let folders = json!([{ "uri": editor.folder, "name": "place" }]);
    let hello = json!({"processId": null, "rootUri": null, "capabilities": {}, "workspaceFolders": folders});
    let answer = editor.ask(1, "initialize", hello);
    assert_eq!(answer["result"]["capabilities"]["positionEncoding"], "utf-16", "{answer}");
    editor.tell("initialized", json!({}));
    // What is on the disk is told without any file being open.
    let found = editor.diagnostics(None);
    assert_eq!(rules(&found), ["cancel-on-mutating"], "{found:#?}");
    let uri = editor.uri();
    let document = json!({"uri": uri, "languageId": "yaml", "version": 1, "text": FAULTY});
    editor.tell("textDocument/didOpen", json!({"textDocument": document}));
    let found = editor.diagnostics(Some(1));
    let range = found.iter().find(|found| found["code"] == "cancel-on-mutating").unwrap()["range"].clone();
    let line = FAULTY.lines().nth(1).unwrap();
    let column = line[..line.find("true").unwrap()].encode_utf16().count();
    assert_eq!(range["start"], json!({"line": 1, "character": column}), "{range}");
    let asked = json!({"textDocument": {"uri": uri}, "range": range, "context": {"diagnostics": []}});
    let answer = editor.ask(2, "textDocument/codeAction", asked);
    let actions = answer["result"].as_array().unwrap();
    let fix =
        actions.iter().find(|action| action["isPreferred"] == true).unwrap_or_else(|| panic!("{answer:#}"));
    let change = &fix["edit"]["documentChanges"][0];
    assert_eq!(
        (&change["textDocument"]["uri"], change["textDocument"]["version"].as_i64()),
        (&json!(uri), Some(1))
    );
    assert_eq!(change["edits"][0]["newText"], "false", "{fix:#}");
    let mended = FAULTY.replace("progress: true", "progress: false");
    let changed = json!({"textDocument": {"uri": uri, "version": 2}, "contentChanges": [{"text": mended}]});
    editor.tell("textDocument/didChange", changed);
    assert_eq!(rules(&editor.diagnostics(Some(2))), [""; 0]);
    assert_eq!(rig.read(PATH), FAULTY, "the server writes nothing");
    // Closed without being saved: what is on the disk counts again.
    editor.tell("textDocument/didClose", json!({"textDocument": {"uri": uri}}));
    assert_eq!(rules(&editor.diagnostics(None)), ["cancel-on-mutating"]);
    let unknown = editor.ask(3, "textDocument/hover", json!({}));
    assert_eq!(unknown["error"]["code"], -32601, "{unknown}");
    assert_eq!(editor.ask(4, "shutdown", Value::Null)["result"], Value::Null);
    editor.tell("exit", Value::Null);
    drop(editor.input);
    assert!(editor.child.wait().unwrap().success());
}
