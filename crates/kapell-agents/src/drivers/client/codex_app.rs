//! Codex, talked to while it works: `codex app-server`, JSON-RPC in lines both ways.
//!
//! ```text
//!   initialize -> thread/start or thread/resume -> turn/start ... item/*, thread/tokenUsage/updated ... turn/completed
//!                      item/commandExecution/requestApproval -> seat belt -> allow, deny, or ask a person
//!   told more -> turn/steer, or another turn; told to stop -> turn/interrupt; its input ends, and so does it
//! ```
//!
//! What it prints was recorded from version 0.169.0. With `untrusted` it asks before every command, also before `ls`; with
//! `on-request` only where its own sandbox would not let it. Its counts are those of the whole thread, after each reply.
//!
//! **Invariant:** each of its requests is answered once, and none is left open: one that nobody knows is refused.

use std::collections::{HashMap, HashSet};

use kapell_core::{retry::FailureClass, time::Wall};
use serde_json::{Map, Value, json};

use super::{
    Ended, Evidence, Invocation, Opening, Order, Outgoing, Questions, Reader, Tell, Totals, Verdict,
    codex::{self, Codex},
    words::short,
};
use crate::{drivers::Report, seat_belt};

/// The answer to a request for permission that lets something be done.
const ALLOW: &str = "allow";

pub(super) fn invoke(order: &Order) -> Invocation {
    let mut invocation = Invocation::default();
    invocation.arg("app-server");
    codex::set_up(order, &mut invocation);
    invocation
}

/// What one of its requests asks for.
enum Wish {
    /// Whether it may do something.
    Approval(u32),
    /// Whether a server of tools may go on.
    Elicitation(u32),
    /// Answers to questions: our number of each, its name, and the answer.
    Input(Vec<(u32, String, Option<String>)>),
}

/// A request of it that waits for a person.
struct Waiting {
    /// Its own name of the request.
    request: Value,
    /// What it would do, and with what.
    item: String,
    tool: &'static str,
    wish: Wish,
}

impl Waiting {
    fn is_of(&self, question: u32) -> bool {
        match &self.wish {
            Wish::Approval(number) | Wish::Elicitation(number) => *number == question,
            Wish::Input(questions) => questions.iter().any(|(number, ..)| *number == question),
        }
    }
}

/// Reads its events, and talks to it.
#[derive(Default)]
pub(super) struct CodexApp {
    codex: Codex,
    opening: Opening,
    outgoing: Outgoing,
    /// Our requests so far.
    requests: u64,
    thread: Option<String>,
    /// The turn under way.
    turn: Option<String>,
    /// Whether a turn was asked for that it has not begun.
    is_starting: bool,
    /// What is to reach that turn as soon as it has begun.
    early: Vec<String>,
    is_idle: bool,
    /// Why no turn could begin.
    hopeless: Option<String>,
    waiting: Vec<Waiting>,
    /// How many questions have been put to a person.
    asked: Questions,
    /// The paths of changes, by the name of the item.
    paths: HashMap<String, Vec<String>>,
    /// Items whose refusal has been reported, with its reason.
    told: HashSet<String>,
    /// Words that were to reach the turn under way, by our request; it may be over before they do.
    steering: HashMap<String, String>,
}

impl CodexApp {
    /// Asks it for something, under a name that tells what: another kapell may have to read the answer.
    fn request(&mut self, method: &str, params: Value) -> String {
        self.requests += 1;
        let id = format!("{method}#{}", self.requests);
        self.outgoing.line(&json!({ "id": id, "method": method, "params": params }));
        id
    }

    fn respond(&mut self, id: &Value, result: Value) {
        self.outgoing.line(&json!({ "id": id, "result": result }));
    }

    /// Begins a thread, or goes on in an old one.
    fn open_thread(&mut self) {
        self.outgoing.line(&json!({ "method": "initialized" }));
        // What it may do is asked here where kapell holds it; otherwise its own sandbox does, and asks what it does not allow.
        let (policy, sandbox) = match self.opening.contained {
            true => ("untrusted", "danger-full-access"),
            false => ("on-request", "workspace-write"),
        };
        let mut params =
            json!({ "cwd": self.opening.workspace, "approvalPolicy": policy, "sandbox": sandbox });
        let method = match &self.opening.resume {
            Some(thread) => {
                params["threadId"] = thread.as_str().into();
                "thread/resume"
            }
            None => "thread/start",
        };
        self.request(method, params);
    }

    fn start_turn(&mut self, text: &str) {
        self.is_idle = false;
        self.is_starting = true;
        let mut params = json!({ "threadId": self.thread, "input": input(text) });
        let shape = self.opening.shape.as_deref().and_then(|shape| serde_json::from_str::<Value>(shape).ok());
        if let Some(shape) = shape {
            params["outputSchema"] = shape;
        }
        self.request("turn/start", params);
    }

    /// Takes an answer to a request of ours.
    fn answered(&mut self, id: &str, event: &Value, reports: &mut Vec<Report>) {
        let steered = self.steering.remove(id);
        let method = id.split('#').next().unwrap_or_default();
        match (method, event.get("error"), steered) {
            // The turn was over when the word came: it is a turn of its own.
            ("turn/steer", Some(_), Some(text)) if self.turn.is_none() => self.say(&text),
            ("turn/steer" | "turn/interrupt", ..) => {}
            (_, Some(error), _) => {
                // No turn can begin: that was all.
                let why = error["message"].as_str().unwrap_or("it refused a request");
                self.hopeless.get_or_insert_with(|| why.to_owned());
                self.outgoing.last = true;
            }
            ("initialize", ..) => self.open_thread(),
            ("thread/start" | "thread/resume", ..) => self.thread_opened(&event["result"], reports),
            _ => {}
        }
    }

    fn thread_opened(&mut self, opened: &Value, reports: &mut Vec<Report>) {
        let id = opened["thread"]["id"].as_str().unwrap_or_default().to_owned();
        let model = opened["model"].as_str().map(str::to_owned);
        let evidence = self.codex.evidence_mut();
        evidence.session = Some(id.clone());
        evidence.model.clone_from(&model);
        self.thread = Some(id.clone());
        reports.push(Report::Session { id, model });
        let prompt = std::mem::take(&mut self.opening.prompt);
        self.start_turn(&prompt);
    }

    fn notified(&mut self, method: &str, params: &Value, at: Wall, reports: &mut Vec<Report>) {
        // Threads that it has started for others have their own turns.
        if params["threadId"].as_str().is_some_and(|thread| self.thread.as_deref() != Some(thread)) {
            return;
        }
        match method {
            "turn/started" => {
                self.turn = params["turn"]["id"].as_str().map(str::to_owned);
                self.is_starting = false;
                self.codex.turn_started();
                std::mem::take(&mut self.early).iter().for_each(|text| self.say(text));
            }
            "item/started" | "item/completed" => {
                self.item(&params["item"], method == "item/completed", reports);
            }
            "thread/tokenUsage/updated" => {
                let total = &params["tokenUsage"]["total"];
                let kinds = ["inputTokens", "cachedInputTokens", "cacheWriteInputTokens", "outputTokens"];
                self.codex.used(kinds.map(|kind| &total[kind]), reports);
            }
            "error" => self.codex.fail(&error_text(&params["error"]), at, reports),
            "account/rateLimits/updated" => limits(&params["rateLimits"], reports),
            "serverRequest/resolved" => {
                self.waiting.retain(|waiting| waiting.request != params["requestId"]);
            }
            "turn/completed" => {
                let turn = &params["turn"];
                let end = match turn["status"].as_str() {
                    Some("completed") => Ok(()),
                    Some("failed") => Err(error_text(&turn["error"])),
                    _ => Err("its turn was interrupted".to_owned()),
                };
                if let Err(text) = &end {
                    self.codex.fail(text, at, reports);
                }
                self.codex.turn_ended(end);
                self.turn = None;
                self.is_starting = false;
                self.waiting.clear();
                self.is_idle = true;
                // One that has ended without a word of its beginning hears nothing more.
                let early = std::mem::take(&mut self.early);
                if !early.is_empty() {
                    self.start_turn(&early.join("\n\n"));
                }
            }
            _ => {}
        }
    }

    fn item(&mut self, item: &Value, done: bool, reports: &mut Vec<Report>) {
        let id = item["id"].as_str().unwrap_or_default();
        if item["type"] == "fileChange" {
            let changes = item["changes"].as_array().into_iter().flatten();
            // One that moves a file writes at another place than it names first.
            let paths = changes.flat_map(|change| [&change["path"], &change["kind"]["move_path"]]);
            let paths = paths.filter_map(|path| path.as_str().map(str::to_owned)).collect();
            self.paths.insert(id.to_owned(), paths);
        }
        let before = reports.len();
        self.codex.item(item, done, reports);
        if done && self.told.contains(id) {
            // Its refusal was told with the reason.
            let since = reports.split_off(before);
            reports.extend(since.into_iter().filter(|report| !matches!(report, Report::Refused { .. })));
        }
    }

    /// Takes a request of it.
    fn wishes(&mut self, method: &str, id: &Value, params: &Value, reports: &mut Vec<Report>) {
        let item = params["itemId"].as_str().unwrap_or_default().to_owned();
        let mut waiting = Waiting { request: id.clone(), item, tool: "shell", wish: Wish::Input(Vec::new()) };
        match method {
            "item/commandExecution/requestApproval" => {
                let command = command_of(params);
                let judged = self.judge(&json!({ "command": params["command"] }), params).and_then(|()| {
                    // Its shell's own words may hide in those of another one.
                    self.judge(&json!({ "command": command }), params)
                });
                self.may_it(waiting, &command, judged, reports);
            }
            "item/fileChange/requestApproval" => {
                waiting.tool = "apply_patch";
                let paths = self.paths.get(&waiting.item).cloned().unwrap_or_default();
                let judged = paths.iter().try_for_each(|path| self.judge(&json!({ "path": path }), params));
                self.may_it(waiting, &paths.join(", "), judged, reports);
            }
            "mcpServer/elicitation/request" => {
                waiting.tool = "mcp";
                let server = params["serverName"].as_str().unwrap_or_default();
                let text = format!("{server}: {}", params["message"].as_str().unwrap_or_default());
                waiting.wish = Wish::Elicitation(0);
                self.may_it(waiting, &text, Ok(()), reports);
            }
            "item/tool/requestUserInput" if self.opening.asks => self.input_wanted(waiting, params, reports),
            _ => {
                let error = json!({ "code": -32601, "message": "kapell does not offer this" });
                self.outgoing.line(&json!({ "id": id, "error": error }));
            }
        }
    }

    fn judge(&self, input: &Value, params: &Value) -> Result<(), String> {
        seat_belt::judge(&json!({ "tool_input": input, "cwd": params["cwd"] }), &self.opening.workspace)
    }

    /// Decides whether it may do something, as far as that can be decided without a person.
    fn may_it(
        &mut self,
        mut waiting: Waiting,
        about: &str,
        judged: Result<(), String>,
        reports: &mut Vec<Report>,
    ) {
        if let Err(why) = judged {
            return self.decide(&waiting, Err(&why), reports);
        }
        if self.opening.allows {
            return self.decide(&waiting, Ok(()), reports);
        }
        if !self.opening.asks {
            return self.decide(&waiting, Err("nobody is there to allow it"), reports);
        }
        let text = format!("May it use `{}`: {}", waiting.tool, short(about));
        let number = self.asked.put(text, [ALLOW, "deny"].map(str::to_owned).into(), reports);
        waiting.wish = match waiting.wish {
            Wish::Elicitation(_) => Wish::Elicitation(number),
            _ => Wish::Approval(number),
        };
        self.waiting.push(waiting);
    }

    fn decide(&mut self, waiting: &Waiting, decision: Result<(), &str>, reports: &mut Vec<Report>) {
        if let Err(why) = decision {
            self.told.insert(waiting.item.clone());
            reports.push(Report::Refused { tool: waiting.tool.to_owned(), text: short(why) });
        }
        let word = if decision.is_ok() { "accept" } else { "decline" };
        let result = match waiting.wish {
            Wish::Elicitation(_) => json!({ "action": word, "content": null, "_meta": null }),
            _ => json!({ "decision": word }),
        };
        self.respond(&waiting.request, result);
    }

    /// It asks the person who uses it.
    fn input_wanted(&mut self, mut waiting: Waiting, params: &Value, reports: &mut Vec<Report>) {
        let mut questions = Vec::new();
        for question in params["questions"].as_array().into_iter().flatten() {
            let labels = question["options"].as_array().into_iter().flatten();
            let labels = labels.filter_map(|option| option["label"].as_str().map(str::to_owned));
            // Words of one's own, too: then any answer will do.
            let choices =
                if question["isOther"].as_bool() == Some(true) { Vec::new() } else { labels.collect() };
            let text = question["question"].as_str().unwrap_or_default().to_owned();
            let number = self.asked.put(text, choices, reports);
            questions.push((number, question["id"].as_str().unwrap_or_default().to_owned(), None));
        }
        if questions.is_empty() {
            // Nobody could answer it.
            return self.respond(&waiting.request, json!({ "answers": {} }));
        }
        waiting.wish = Wish::Input(questions);
        self.waiting.push(waiting);
    }

    /// Takes a person's answer.
    fn told_by_a_person(&mut self, question: u32, text: &str, reports: &mut Vec<Report>) {
        // It may have given the request up meanwhile.
        let Some(at) = self.waiting.iter().position(|waiting| waiting.is_of(question)) else { return };
        if let Wish::Input(questions) = &mut self.waiting[at].wish {
            for (_, _, answer) in questions.iter_mut().filter(|(number, ..)| *number == question) {
                *answer = Some(text.to_owned());
            }
            if questions.iter().any(|(_, _, answer)| answer.is_none()) {
                return;
            }
        }
        let waiting = self.waiting.remove(at);
        if let Wish::Input(questions) = &waiting.wish {
            let answers =
                questions.iter().map(|(_, id, answer)| (id.clone(), json!({ "answers": [answer] })));
            let answers: Map<String, Value> = answers.collect();
            self.respond(&waiting.request, json!({ "answers": answers }));
        } else if text.trim().eq_ignore_ascii_case(ALLOW) {
            self.decide(&waiting, Ok(()), reports);
        } else {
            self.decide(&waiting, Err(&format!("a person was asked, and said: {text}")), reports);
        }
    }

    /// Tells it something. What comes before its first turn goes into that, and what comes while one begins waits for it.
    fn say(&mut self, text: &str) {
        match (&self.thread, &self.turn) {
            (None, _) => {
                let prompt = &mut self.opening.prompt;
                prompt.push_str("\n\n");
                prompt.push_str(text);
            }
            (Some(_), None) if self.is_starting => self.early.push(text.to_owned()),
            (Some(_), None) => self.start_turn(text),
            (Some(thread), Some(turn)) => {
                let params = json!({ "threadId": thread, "expectedTurnId": turn, "input": input(text) });
                let id = self.request("turn/steer", params);
                self.steering.insert(id, text.to_owned());
            }
        }
    }
}

fn input(text: &str) -> Value {
    json!([{ "type": "text", "text": text, "text_elements": [] }])
}

/// What it would run, without the shell that it runs it in.
fn command_of(params: &Value) -> String {
    let actions = params["commandActions"].as_array().into_iter().flatten();
    let actions: Vec<&str> = actions.filter_map(|action| action["command"].as_str()).collect();
    match actions.is_empty() {
        true => params["command"].as_str().unwrap_or_default().to_owned(),
        false => actions.join("; "),
    }
}

/// Puts an error into words; while it tries again, what matters is beside its message.
fn error_text(error: &Value) -> String {
    let text = |name: &str| error[name].as_str().filter(|text| !text.is_empty());
    match (text("message"), text("additionalDetails")) {
        (Some(message), Some(details)) => format!("{message}: {details}"),
        (one, other) => one.or(other).unwrap_or("it failed, and does not say why").to_owned(),
    }
}

/// The limits of a login: told when one of them is reached.
fn limits(limits: &Value, reports: &mut Vec<Report>) {
    if limits["rateLimitReachedType"].is_null() {
        return;
    }
    let resets =
        ["primary", "secondary"].into_iter().filter_map(|window| limits[window]["resetsAt"].as_i64());
    let until = resets.max().and_then(|seconds| seconds.checked_mul(1000)).map(Wall);
    reports.push(Report::RateLimited { until, text: "the usage limit is reached".to_owned() });
}

impl Reader for CodexApp {
    fn resumed(&mut self, totals: Totals) {
        self.codex.begin(totals);
    }

    fn open(&mut self, opening: Opening) {
        self.opening = opening;
        let client = json!({ "name": "kapell", "title": null, "version": env!("CARGO_PKG_VERSION") });
        let capabilities = json!({ "experimentalApi": true, "requestAttestation": false });
        self.request("initialize", json!({ "clientInfo": client, "capabilities": capabilities }));
    }

    fn tell(&mut self, what: Tell<'_>, reports: &mut Vec<Report>) {
        match what {
            Tell::Answer { question, text } => self.told_by_a_person(question, text, reports),
            Tell::More(text) => self.say(text),
            Tell::Interrupt => {
                self.early.clear();
                if let (Some(thread), Some(turn)) = (self.thread.clone(), self.turn.clone()) {
                    self.request("turn/interrupt", json!({ "threadId": thread, "turnId": turn }));
                }
                self.outgoing.last = true;
            }
            Tell::Close => {
                self.early.clear();
                self.is_idle = false;
                self.outgoing.last = true;
            }
        }
    }

    fn outgoing(&mut self) -> Outgoing {
        std::mem::take(&mut self.outgoing)
    }

    fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.is_idle
    }

    fn event(&mut self, event: &Value, at: Wall, reports: &mut Vec<Report>) {
        match (event["method"].as_str(), event.get("id")) {
            (Some(method), Some(id)) => self.wishes(method, id, &event["params"], reports),
            (Some(method), None) => self.notified(method, &event["params"], at, reports),
            (None, Some(id)) => self.answered(id.as_str().unwrap_or_default(), event, reports),
            (None, None) => {}
        }
    }

    fn evidence(&self) -> &Evidence {
        self.codex.evidence()
    }

    fn verdict(&self, ended: Ended<'_>) -> Verdict {
        match &self.hopeless {
            Some(why) => Verdict::failed(FailureClass::Permanent, why.clone()),
            None => self.codex.verdict(ended),
        }
    }
}

#[cfg(test)]
mod tests;
