//! The server as a client sees it: lines of JSON in, lines of JSON out, whatever specification the client speaks.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::{
    Arc, Mutex,
    mpsc::{Receiver, Sender, channel},
};

use kapell_server::mcp::{
    attempt::{
        AskRequest, Attempt, AttemptTools, BriefRequest, HandoffRequest, NoteRequest, OutputRequest,
        OutputsRequest, ProgressRequest,
    },
    desk::{
        AnswerRequest, Desk, DeskTools, Form, ImproveRequest, InboxRequest, PlanRequest, ReportRequest,
        RunEntry, RunRequest, StatusRequest,
    },
    serve,
    toolbox::{Caller, Refusal, Reply, Toolbox},
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// Speaks to a server, and returns what it answers to each request, notifications before it included.
fn talk(toolbox: impl Toolbox, said: &[Value]) -> Vec<Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (input, output) = tokio::io::split(theirs);
        let served = tokio::spawn(serve::streams(toolbox, input, output));
        let (read, mut write) = tokio::io::split(ours);
        let mut lines = BufReader::new(read).lines();
        let mut heard = Vec::new();
        for line in said {
            write.write_all(format!("{line}\n").as_bytes()).await.unwrap();
            while line.get("id").is_some() {
                let answer: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
                let is_last = answer["id"] == line["id"];
                heard.push(answer);
                if is_last {
                    break;
                }
            }
        }
        drop((write, lines));
        served.await.unwrap().unwrap();
        heard
    })
}

/// Opens a session of an older specification and makes a request.
fn asked(toolbox: impl Toolbox, version: &str, method: &str, params: Value) -> Vec<Value> {
    let hello =
        json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let mut heard = talk(
        toolbox,
        &[
            json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}),
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            json!({"jsonrpc": "2.0", "id": 2, "method": method, "params": params}),
        ],
    );
    assert_eq!(heard[0]["result"]["protocolVersion"], version);
    heard.split_off(1)
}

fn called(toolbox: impl Toolbox, tool: &str, arguments: Value) -> Value {
    asked(toolbox, "2025-11-25", "tools/call", json!({"name": tool, "arguments": arguments})).pop().unwrap()
}

/// A desk that writes down what it is asked for.
#[derive(Default, Clone)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn note(&self, what: impl std::fmt::Debug) -> Result<Reply, Refusal> {
        let text = format!("{what:?}");
        self.0.lock().unwrap().push(text.clone());
        Ok(Reply { text, ..Reply::default() })
    }
}

impl Desk for Notes {
    fn run(&self, request: RunRequest, caller: &dyn Caller) -> Result<Reply, Refusal> {
        for done in [0.0, 1.0, 1.0, 2.0] {
            caller.progress(done, Some(2.0), "under way");
        }
        self.note(request)
    }
    fn plan(&self, request: PlanRequest) -> Result<Reply, Refusal> {
        Err(Refusal(format!("{} is no workflow", request.file)))
    }
    fn status(&self, request: StatusRequest, _: &dyn Caller) -> Result<Reply, Refusal> {
        self.note(request)
    }
    fn inbox(&self, request: InboxRequest) -> Result<Reply, Refusal> {
        self.note(request)
    }
    fn answer(&self, request: AnswerRequest) -> Result<Reply, Refusal> {
        self.note(request)
    }
    fn report(&self, request: ReportRequest) -> Result<Reply, Refusal> {
        self.note(request)
    }
    fn improve(&self, request: ImproveRequest, _: &dyn Caller) -> Result<Reply, Refusal> {
        self.note(request)
    }
    fn runs(&self) -> Result<Vec<RunEntry>, Refusal> {
        Ok(vec![RunEntry { run: "01abc".to_owned(), objective: "Do it".to_owned() }])
    }
    fn report_text(&self, run: &str, form: Form) -> Result<Option<String>, Refusal> {
        Ok((run == "01abc").then(|| format!("{form:?} of {run}")))
    }
}

fn desk() -> DeskTools<Notes> {
    DeskTools(Notes::default())
}

#[test]
fn older_specifications_begin_with_a_greeting() {
    for version in ["2025-06-18", "2025-11-25"] {
        let listed = asked(desk(), version, "tools/list", json!({}));
        let tools = listed[0]["result"]["tools"].as_array().unwrap();
        let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["run", "plan", "status", "inbox", "answer", "report", "improve"]);
        for tool in tools {
            assert_eq!(tool["_meta"]["anthropic/alwaysLoad"], true, "{tool}");
            jsonschema::draft202012::meta::validate(&tool["inputSchema"]).unwrap();
        }
    }
}

#[test]
fn the_newest_specification_asks_without_one() {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let request = |id: u32, method: &str| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {"_meta": meta}});
    let heard = talk(desk(), &[request(1, "server/discover"), request(2, "tools/list")]);
    let versions = heard[0]["result"]["supportedVersions"].to_string();
    for version in ["2025-06-18", "2025-11-25", "2026-07-28"] {
        assert!(versions.contains(version), "{versions}");
    }
    assert_eq!(heard[1]["result"]["tools"].as_array().unwrap().len(), 7);
    assert_eq!(heard[1]["result"]["resultType"], "complete");
}

#[test]
fn arguments_reach_the_desk_as_they_were_given() {
    let text = |answer: &Value| answer["result"]["content"][0]["text"].as_str().unwrap().to_owned();
    let answer = called(desk(), "answer", json!({"run": "01", "gate": 3, "answer": "it's `x`"}));
    assert_eq!(text(&answer), "AnswerRequest { run: \"01\", gate: 3, answer: \"it's `x`\" }");
    assert_eq!(answer["result"]["isError"], false);
    let answer = called(desk(), "improve", json!({"scope": "claude-code", "depth": "deep"}));
    assert!(text(&answer).contains("scope: Some(ClaudeCode), depth: Some(Deep)"), "{answer}");
}

#[test]
fn what_cannot_be_done_is_told_to_the_model() {
    for (tool, arguments, expected) in [
        ("plan", json!({"file": "x"}), "x is no workflow"),
        ("plan", json!({}), "missing field `file`"),
        ("run", json!({"mission": "x", "agent": 1}), "unknown field `agent`"),
        ("improve", json!({"depth": "very"}), "unknown variant `very`"),
    ] {
        let answer = called(desk(), tool, arguments);
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains(expected), "{answer}");
    }
    // A tool that is not there is an error of the protocol.
    let answer = called(desk(), "rm", json!({}));
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
}

#[test]
fn progress_comes_before_the_answer_and_only_grows() {
    let call = |meta: Value| {
        asked(
            desk(),
            "2025-11-25",
            "tools/call",
            json!({"name": "run", "arguments": {"mission": "x"}, "_meta": meta}),
        )
    };
    let heard = call(json!({"progressToken": "p"}));
    let (told, answer) = heard.split_at(heard.len() - 1);
    let steps: Vec<f64> = told.iter().map(|line| line["params"]["progress"].as_f64().unwrap()).collect();
    assert_eq!(steps.len(), 4);
    assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
    assert_eq!(told[0]["params"]["message"], "under way");
    assert_eq!(answer[0]["id"], 2);
    // Nobody asked for it.
    assert_eq!(call(json!({})).len(), 1);
}

#[test]
fn reports_can_be_listed_and_read() {
    let ask = |method: &str, params: Value| asked(desk(), "2025-11-25", method, params).pop().unwrap();
    let listed = ask("resources/list", json!({}));
    let uri = listed["result"]["resources"][0]["uri"].clone();
    assert_eq!(uri, "kapell://runs/01abc/report.md");
    let read = ask("resources/read", json!({"uri": uri}));
    assert_eq!(read["result"]["contents"][0]["text"], "Markdown of 01abc");
    assert_eq!(read["result"]["contents"][0]["mimeType"], "text/markdown");
    let families = ask("resources/templates/list", json!({}));
    assert_eq!(families["result"]["resourceTemplates"].as_array().unwrap().len(), 2);
    for uri in ["kapell://runs/02/report.md", "kapell://runs/01abc/x", "file:///etc/passwd", "kapell://runs/"]
    {
        let answer = ask("resources/read", json!({"uri": uri}));
        assert_eq!(answer["error"]["data"]["uri"], uri, "{answer}");
    }
}

/// An attempt that passes on what it hears.
struct Ear(Mutex<Sender<String>>);

impl Ear {
    fn new() -> (AttemptTools<Self>, Receiver<String>) {
        let (sender, receiver) = channel();
        (AttemptTools(Self(Mutex::new(sender))), receiver)
    }

    fn hear(&self, what: impl std::fmt::Debug) {
        self.0.lock().unwrap().send(format!("{what:?}")).unwrap();
    }
}

impl Attempt for Ear {
    fn progress(&self, request: ProgressRequest) -> Result<(), Refusal> {
        self.hear(request);
        Ok(())
    }
    fn output(&self, request: OutputRequest) -> Result<(), Refusal> {
        self.hear(request);
        Ok(())
    }
    fn ask(&self, request: AskRequest) -> Result<String, Refusal> {
        self.hear(request);
        Ok("yes".to_owned())
    }
    fn note(&self, _: NoteRequest) -> Result<(), Refusal> {
        Err(Refusal("too many notes".to_owned()))
    }
    fn brief(&self, request: BriefRequest) -> Result<Reply, Refusal> {
        let text =
            request.section.map_or_else(|| "Fix it.".to_owned(), |section| format!("all of {section}"));
        Ok(Reply { text, ..Reply::default() })
    }
    fn outputs(&self, request: OutputsRequest) -> Result<Reply, Refusal> {
        Ok(Reply { text: format!("what {} gave", request.task), ..Reply::default() })
    }
    fn handoff(&self, request: HandoffRequest) -> Result<(), Refusal> {
        self.hear(request);
        Ok(())
    }
}

#[test]
fn an_agent_at_work_speaks_for_its_task() {
    for (tool, arguments, heard, expected) in [
        ("brief", json!({}), None, "Fix it."),
        ("brief", json!({"section": "diff:a"}), None, "all of diff:a"),
        ("outputs", json!({"task": "a"}), None, "what a gave"),
        (
            "handoff",
            json!({"note": "half done", "to": "b"}),
            Some("HandoffRequest { note: \"half done\", to: Some(\"b\") }"),
            "done",
        ),
        ("progress", json!({"fraction": 0.5}), Some("ProgressRequest { fraction: 0.5, text: \"\" }"), "done"),
        (
            "output",
            json!({"name": "a", "value": "b"}),
            Some("OutputRequest { name: \"a\", value: \"b\" }"),
            "done",
        ),
        ("ask", json!({"question": "q?"}), Some("AskRequest { question: \"q?\", choices: [] }"), "yes"),
        ("note", json!({"text": "n"}), None, "too many notes"),
    ] {
        let (toolbox, ear) = Ear::new();
        let answer = called(toolbox, tool, arguments);
        assert_eq!(answer["result"]["content"][0]["text"], expected, "{answer}");
        assert_eq!(ear.try_recv().ok().as_deref(), heard, "{tool}");
    }
}

#[test]
fn a_client_that_says_nothing_is_no_error() {
    assert_eq!(talk(desk(), &[]), Vec::<Value>::new());
}
