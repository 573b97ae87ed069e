//! Claude Code: `claude -p` with streams of JSON both ways.
//!
//! It is told what to do on its standard input, and asks there what its own rules leave open (`can_use_tool`): a person
//! decides, and it goes on. What is plainly harmful is refused before that, also where its rules would let it: by a
//! hook that calls kapell ([`crate::seat_belt`]).
//!
//! What it prints was recorded from version 2.1.329. Traps, all of them seen:
//!
//! - `subtype: "success"` comes with `is_error: true` when the API failed;
//! - one reply of the model comes as several `assistant` events, which repeat its usage;
//! - a sub-agent in the background makes a second `result`: the last one counts;
//! - SIGINT ends it with code 0 and no `result`;
//! - a refused tool ends it with code 0 and a cheerful text;
//! - its costs and tokens are those of the whole session, also after it was resumed.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    path::Path,
};

use kapell_core::{
    price::Tokens,
    retry::FailureClass,
    time::{Millis, Wall},
};
use serde_json::{Map, Value, json};

use super::{
    Ended, Evidence, Invocation, OWN_SERVER, OWN_SERVER_NEEDS, Opening, Order, Outgoing, Questions, Reader,
    Tell, Totals, Verdict,
    words::{about, count, failure, micros, no_end, short},
};
use crate::{drivers::Report, seat_belt};

/// What it says on standard error when it is to resume a session that is not there.
const UNKNOWN_SESSION: &str = "No conversation found";

/// How often it asks again by itself before it gives up: kapell parks the provider meanwhile.
const RETRIES_MAX: &str = "4";

pub(super) fn invoke(order: &Order) -> Invocation {
    let mut invocation = Invocation::default();
    invocation.args(["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]);
    // Nothing that the repository brings along is executed: no hooks, no servers, no settings; unless a person has
    // looked at it.
    invocation.args([
        "--setting-sources",
        if order.is_trusted { "project" } else { "" },
        "--strict-mcp-config",
    ]);
    let brought = order.workspace.join(".mcp.json");
    let brought = (order.is_trusted && brought.is_file()).then(|| brought.into_os_string());
    let own: Option<OsString> = order.own_server().map(|program| own_server(program).to_string().into());
    let servers: Vec<OsString> = brought.into_iter().chain(own).collect();
    if !servers.is_empty() {
        invocation.arg("--mcp-config").args.extend(servers);
    }
    if let Some(program) = &order.own_program {
        invocation.arg("--settings").arg(settings(program).to_string());
    }
    if let Some(resume) = &order.resume {
        invocation.args(["--resume", &resume.session]);
    }
    invocation.args(["--permission-mode", order.option("permission_mode").unwrap_or("acceptEdits")]);
    match order.asks() {
        true => invocation.args(["--permission-prompt-tool", "stdio"]),
        false => invocation.args(["--permission-prompts", "none"]),
    };
    let mut allowed = order.option("allowed_tools").unwrap_or("Bash").to_owned();
    if order.own_server().is_some() {
        allowed.push_str(&format!(",mcp__{OWN_SERVER}"));
    }
    invocation.args(["--allowedTools", &allowed]);
    invocation.args(["--max-turns", &order.steps_max().to_string()]);
    for (option, flag) in [
        ("disallowed_tools", "--disallowedTools"),
        ("effort", "--effort"),
        ("system", "--append-system-prompt"),
    ] {
        if let Some(value) = order.option(option) {
            invocation.args([flag, value]);
        }
    }
    let schema = order.shape.as_ref().map(super::Shape::text);
    if let Some(schema) = schema.as_deref().or(order.option("json_schema")) {
        invocation.args(["--json-schema", schema]);
    }
    if let Some(model) = order.model() {
        invocation.args(["--model", model]);
    }
    for name in [
        "DISABLE_AUTOUPDATER",
        "DISABLE_TELEMETRY",
        "DISABLE_ERROR_REPORTING",
        "DISABLE_BUG_COMMAND",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    ] {
        invocation.env(name, "1");
    }
    invocation.env("CLAUDE_CODE_MAX_RETRIES", RETRIES_MAX);
    if let Some(url) = order.base_url() {
        invocation.env("ANTHROPIC_BASE_URL", url);
    }
    if let Some(key) = &order.settings.key {
        invocation.env("ANTHROPIC_API_KEY", key);
    }
    invocation
}

/// kapell's own server, in the form of `.mcp.json`, in which `${NAME}` is taken from the environment.
fn own_server(program: &Path) -> Value {
    let env: Map<String, Value> =
        OWN_SERVER_NEEDS.iter().map(|name| ((*name).to_owned(), format!("${{{name}}}").into())).collect();
    json!({ "mcpServers": { OWN_SERVER: { "command": program, "args": ["mcp", "--attempt"], "env": env } } })
}

/// Settings of ours: before it uses a tool, kapell is asked.
fn settings(program: &Path) -> Value {
    let program = program.display().to_string().replace('\'', r"'\''");
    let command = format!("'{program}' {}", seat_belt::ARGUMENT);
    let hook = json!({ "type": "command", "command": command, "timeout": GATE_TIMEOUT_S });
    json!({ "hooks": { "PreToolUse": [{ "matcher": "*", "hooks": [hook] }] } })
}

/// How long kapell may take to judge the use of a tool, in seconds.
const GATE_TIMEOUT_S: u64 = 30;

/// Its tool for asking the person who uses it.
const ASK_TOOL: &str = "AskUserQuestion";

/// The answer to a request for permission that lets the tool be used.
const ALLOW: &str = "allow";

/// A request of it that waits for a person.
struct Waiting {
    /// Its own name of the request.
    request: String,
    /// The call that it asks for.
    call: String,
    tool: String,
    input: Value,
    /// Its questions by our number of each, with the answers that are there. Empty if it asks for permission.
    questions: Vec<(u32, String, Option<String>)>,
    /// Our number of the question whether a tool may be used.
    permission: Option<u32>,
}

/// What is said with it.
#[derive(Default)]
struct Talk {
    opening: Opening,
    outgoing: Outgoing,
    waiting: Vec<Waiting>,
    /// How many questions have been put to a person, and requests to it.
    asked: Questions,
    requests: u32,
    /// Whether its turn is over.
    is_idle: bool,
    /// Calls whose refusal has been reported. It tells of each up to three times: when it asks, in an event of its own,
    /// and with the result of the call.
    told: HashSet<String>,
}

/// Reads its events, and talks to it.
#[derive(Default)]
pub(super) struct ClaudeCode {
    evidence: Evidence,
    talk: Talk,
    /// What its session had used before, and what its results tell of since.
    before: Totals,
    results: Totals,
    /// The usage of each message; several events repeat it.
    messages: HashMap<String, Tokens>,
    /// Tools by the id of their call.
    calls: HashMap<String, String>,
    /// Whether the last call of a tool was refused.
    refused_last: bool,
    /// Calls that were refused.
    refused: HashSet<String>,
    end: Option<End>,
    wants_structure: bool,
    until: Option<Wall>,
}

/// Its `result`.
struct End {
    is_error: bool,
    subtype: String,
    text: String,
    status: Option<u16>,
}

fn tokens(usage: &Value) -> Tokens {
    Tokens {
        input: count(&usage["input_tokens"]),
        output: count(&usage["output_tokens"]),
        cache_read: count(&usage["cache_read_input_tokens"]),
        cache_write: count(&usage["cache_creation_input_tokens"]),
    }
}

impl ClaudeCode {
    fn system(&mut self, event: &Value, at: Wall, reports: &mut Vec<Report>) {
        match event["subtype"].as_str() {
            Some("init") => {
                let id = event["session_id"].as_str().unwrap_or_default().to_owned();
                let model = event["model"].as_str().map(str::to_owned);
                let listed = event["tools"].as_array().into_iter().flatten();
                self.wants_structure = listed.into_iter().any(|tool| tool == "StructuredOutput");
                // A second one comes with a sub-agent in the background.
                if self.evidence.session.is_none() {
                    reports.push(Report::Session { id: id.clone(), model: model.clone() });
                }
                self.evidence.session = Some(id);
                self.evidence.model = model;
            }
            Some("permission_denied") => {
                let text = |name: &str| event[name].as_str().unwrap_or_default();
                self.refuse(text("tool_use_id"), text("tool_name"), text("message"), reports);
            }
            Some("api_retry") => {
                let status = event["error_status"].as_u64();
                let pause = at.after(Millis(count(&event["retry_delay_ms"])));
                let text = event["error"].as_str().unwrap_or("it asks again");
                if matches!(status, Some(429 | 529)) {
                    self.until = Some(pause);
                    reports.push(Report::RateLimited { until: Some(pause), text: text.to_owned() });
                } else {
                    reports.push(Report::Said { text: format!("the provider failed: {}", short(text)) });
                }
            }
            _ => {}
        }
    }

    fn refuse(&mut self, call: &str, tool: &str, why: &str, reports: &mut Vec<Report>) {
        self.refused_last = true;
        if self.refused.insert(call.to_owned()) {
            self.evidence.refused.push(tool.to_owned());
        }
        self.talk.tell_refusal(call, tool, why, reports);
    }

    fn assistant(&mut self, event: &Value, reports: &mut Vec<Report>) {
        let message = &event["message"];
        let id = message["id"].as_str().unwrap_or_default();
        if self.messages.insert(id.to_owned(), tokens(&message["usage"])).is_none() {
            self.evidence.steps += 1;
        }
        if self.end.is_none() {
            self.evidence.tokens = Tokens::default();
            self.messages.values().for_each(|tokens| self.evidence.tokens += *tokens);
        }
        for part in message["content"].as_array().into_iter().flatten() {
            match part["type"].as_str() {
                Some("tool_use") => {
                    let tool = part["name"].as_str().unwrap_or_default().to_owned();
                    if let Some(id) = part["id"].as_str() {
                        self.calls.insert(id.to_owned(), tool.clone());
                    }
                    reports.push(Report::ToolUse { tool, about: about(&part["input"]) });
                }
                Some("text") => {
                    let text = part["text"].as_str().unwrap_or_default();
                    text.clone_into(&mut self.evidence.text);
                    reports.push(Report::Said { text: short(text) });
                }
                _ => {}
            }
        }
    }

    fn user(&mut self, event: &Value, reports: &mut Vec<Report>) {
        for part in event["message"]["content"].as_array().into_iter().flatten() {
            // It asks once more by itself for an output of a shape.
            let text = part["text"].as_str().unwrap_or_default();
            self.evidence.asked_again |= text.starts_with("[structured-output-enforce]");
            if part["type"] != "tool_result" {
                continue;
            }
            let id = part["tool_use_id"].as_str().unwrap_or_default();
            let decided = event["tool_result_meta"].as_array().into_iter().flatten().any(|meta| {
                meta["id"] == part["tool_use_id"]
                    && !matches!(meta["permission_decision"]["decision"].as_str(), None | Some("accept"))
            });
            let failed = part["is_error"].as_bool().unwrap_or(false);
            if failed && decided {
                let tool = self.calls.get(id).cloned().unwrap_or_default();
                self.refuse(id, &tool, part["content"].as_str().unwrap_or_default(), reports);
            } else if !failed {
                self.evidence.tools += 1;
                self.refused_last = false;
            }
        }
    }

    fn result(&mut self, event: &Value, reports: &mut Vec<Report>) {
        let text = event["result"].as_str().map(str::to_owned);
        let errors = event["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let end = End {
            is_error: event["is_error"].as_bool().unwrap_or(true),
            subtype: event["subtype"].as_str().unwrap_or_default().to_owned(),
            text: text.clone().unwrap_or_else(|| errors.collect::<Vec<_>>().join("; ")),
            status: event["api_error_status"].as_u64().and_then(|status| status.try_into().ok()),
        };
        self.evidence.text.clone_from(&end.text);
        self.count(event);
        if let Some(output) = event.get("structured_output").filter(|output| !output.is_null()) {
            self.evidence.structured = Some(output.to_string());
        }
        for denial in event["permission_denials"].as_array().into_iter().flatten() {
            let (call, tool) = (denial["tool_use_id"].as_str(), denial["tool_name"].as_str());
            let (call, tool) = (call.unwrap_or_default(), tool.unwrap_or_default());
            if !self.evidence.refused.iter().any(|known| known == tool) {
                self.refuse(call, tool, "its own rules", reports);
            }
        }
        self.evidence.lacks_structure = self.wants_structure && self.evidence.structured.is_none();
        self.end = Some(end);
        self.talk.is_idle = true;
    }
}

impl ClaudeCode {
    /// Takes what a result says was used of all models, sub-agents included.
    ///
    /// Its totals are those of the whole session, also of the part before it was resumed, unless that was killed: then
    /// they begin anew. So what was used since the last result is taken, where it says that.
    fn count(&mut self, event: &Value) {
        let of_models = |models: &Value| {
            let mut total = Tokens::default();
            let models = models.as_object().filter(|models| !models.is_empty())?;
            models.values().for_each(|usage| total += model_tokens(usage));
            let cost = models.values().map(|usage| usage["costUSD"].as_f64().unwrap_or(0.0)).sum::<f64>();
            Some((total, micros(&Value::from(cost))))
        };
        if let Some((tokens, cost)) = of_models(&event["model_usage_since_last_result"]) {
            self.results.tokens += tokens;
            self.results.usd_micros = self.results.usd_micros.saturating_add(cost.unwrap_or(0));
        } else {
            if let Some((total, _)) = of_models(&event["modelUsage"]) {
                self.results.tokens = self.before.since(total);
            }
            let cost = micros(&event["total_cost_usd"]).unwrap_or(0);
            self.results.usd_micros = cost.saturating_sub(self.before.usd_micros);
        }
        if self.results.tokens != Tokens::default() {
            self.evidence.tokens = self.results.tokens;
        }
        self.evidence.usd_micros = micros(&event["total_cost_usd"]).map(|_| self.results.usd_micros);
    }
}

fn model_tokens(usage: &Value) -> Tokens {
    Tokens {
        input: count(&usage["inputTokens"]),
        output: count(&usage["outputTokens"]),
        cache_read: count(&usage["cacheReadInputTokens"]),
        cache_write: count(&usage["cacheCreationInputTokens"]),
    }
}

impl Talk {
    fn say(&mut self, text: &str) {
        self.is_idle = false;
        self.outgoing.line(&json!({
            "type": "user", "message": { "role": "user", "content": text }, "parent_tool_use_id": null,
        }));
    }

    fn request(&mut self, request: Value) {
        self.requests += 1;
        let id = format!("kapell-{}", self.requests);
        self.outgoing.line(&json!({ "type": "control_request", "request_id": id, "request": request }));
    }

    fn respond(&mut self, id: &str, response: Value) {
        let response = json!({ "subtype": "success", "request_id": id, "response": response });
        self.outgoing.line(&json!({ "type": "control_response", "response": response }));
    }

    fn deny(&mut self, waiting: &Waiting, why: &str, reports: &mut Vec<Report>) {
        self.respond(&waiting.request, json!({ "behavior": "deny", "message": why }));
        self.tell_refusal(&waiting.call, &waiting.tool, why, reports);
    }

    /// Reports that a call was refused, unless that has been reported.
    fn tell_refusal(&mut self, call: &str, tool: &str, why: &str, reports: &mut Vec<Report>) {
        if self.told.insert(call.to_owned()) {
            reports.push(Report::Refused { tool: tool.to_owned(), text: short(why) });
        }
    }

    /// Takes a request of it.
    fn asked_for(&mut self, event: &Value, reports: &mut Vec<Report>) {
        let id = event["request_id"].as_str().unwrap_or_default();
        let request = &event["request"];
        if request["subtype"] != "can_use_tool" {
            let response =
                json!({ "subtype": "error", "request_id": id, "error": "kapell does not offer this" });
            self.outgoing.line(&json!({ "type": "control_response", "response": response }));
            return;
        }
        let tool = request["tool_name"].as_str().unwrap_or_default();
        let input = &request["input"];
        let mut waiting = Waiting {
            request: id.to_owned(),
            call: request["tool_use_id"].as_str().unwrap_or(id).to_owned(),
            tool: tool.to_owned(),
            input: input.clone(),
            questions: Vec::new(),
            permission: None,
        };
        // Its hook has judged this already, unless it could not be called.
        let call = json!({ "tool_name": tool, "tool_input": input });
        if let Err(why) = seat_belt::judge(&call, &self.opening.workspace) {
            return self.deny(&waiting, &why, reports);
        }
        if !self.opening.asks {
            return self.deny(&waiting, "nobody is there to allow it: do without", reports);
        }
        let asks = input["questions"].as_array().filter(|asks| tool == ASK_TOOL && !asks.is_empty());
        match asks {
            Some(asks) => {
                for ask in asks {
                    let text = ask["question"].as_str().unwrap_or_default().to_owned();
                    let labels = ask["options"].as_array().into_iter().flatten();
                    let labels = labels.filter_map(|option| option["label"].as_str().map(str::to_owned));
                    // Several of them, or words of one's own: then any answer will do.
                    let many = ask["multiSelect"].as_bool().unwrap_or(false);
                    let choices = if many { Vec::new() } else { labels.collect() };
                    let question = self.asked.put(text.clone(), choices, reports);
                    waiting.questions.push((question, text, None));
                }
            }
            None => {
                let text = format!("May it use `{tool}`: {}", about(input));
                let choices = vec![ALLOW.to_owned(), "deny".to_owned()];
                waiting.permission = Some(self.asked.put(text, choices, reports));
            }
        }
        self.waiting.push(waiting);
    }

    /// Takes a person's answer.
    fn answered(&mut self, question: u32, text: &str, reports: &mut Vec<Report>) {
        let is_of = |waiting: &Waiting| {
            waiting.permission == Some(question)
                || waiting.questions.iter().any(|(number, ..)| *number == question)
        };
        // It may have given the request up meanwhile.
        let Some(at) = self.waiting.iter().position(is_of) else { return };
        if self.waiting[at].permission.is_some() {
            let waiting = self.waiting.remove(at);
            match text.trim().eq_ignore_ascii_case(ALLOW) {
                true => {
                    let response = json!({ "behavior": "allow", "updatedInput": waiting.input });
                    self.respond(&waiting.request, response);
                }
                false => self.deny(&waiting, &format!("a person was asked, and said: {text}"), reports),
            }
            return;
        }
        let waiting = &mut self.waiting[at];
        for (_, _, answer) in waiting.questions.iter_mut().filter(|(number, ..)| *number == question) {
            *answer = Some(text.to_owned());
        }
        if waiting.questions.iter().all(|(_, _, answer)| answer.is_some()) {
            let Waiting { request, mut input, questions, .. } = self.waiting.remove(at);
            let answers = questions.into_iter().map(|(_, text, answer)| (text, json!(answer)));
            input["answers"] = Value::Object(answers.collect());
            self.respond(&request, json!({ "behavior": "allow", "updatedInput": input }));
        }
    }
}

impl Reader for ClaudeCode {
    fn resumed(&mut self, totals: Totals) {
        self.before = totals;
    }

    fn open(&mut self, opening: Opening) {
        self.talk.request(json!({ "subtype": "initialize", "hooks": null }));
        self.talk.say(&opening.prompt);
        self.talk.opening = opening;
    }

    fn tell(&mut self, what: Tell<'_>, reports: &mut Vec<Report>) {
        match what {
            Tell::Answer { question, text } => self.talk.answered(question, text, reports),
            Tell::More(text) => {
                // What it said so far was not the end.
                self.end = None;
                self.talk.say(text);
            }
            Tell::Interrupt => {
                self.talk.request(json!({ "subtype": "interrupt" }));
                self.talk.outgoing.last = true;
            }
            Tell::Close => {
                self.talk.is_idle = false;
                self.talk.outgoing.last = true;
            }
        }
    }

    fn outgoing(&mut self) -> Outgoing {
        std::mem::take(&mut self.talk.outgoing)
    }

    fn waits(&self) -> bool {
        !self.talk.waiting.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.talk.is_idle
    }

    fn event(&mut self, event: &Value, at: Wall, reports: &mut Vec<Report>) {
        match event["type"].as_str() {
            Some("system") => self.system(event, at, reports),
            Some("assistant") => self.assistant(event, reports),
            Some("user") => self.user(event, reports),
            Some("control_request") => self.talk.asked_for(event, reports),
            Some("control_cancel_request") => {
                self.talk.waiting.retain(|waiting| event["request_id"] != *waiting.request.as_str());
            }
            Some("rate_limit_event") => {
                let info = &event["rate_limit_info"];
                let until = info["resetsAt"].as_i64().and_then(|seconds| seconds.checked_mul(1000)).map(Wall);
                if info["status"] == "rejected" {
                    self.until = until;
                    reports
                        .push(Report::RateLimited { until, text: "the usage limit is reached".to_owned() });
                }
            }
            Some("result") => {
                self.result(event, reports);
                reports.push(Report::Usage(self.evidence.tokens));
            }
            _ => {}
        }
    }

    fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    fn verdict(&self, ended: Ended<'_>) -> Verdict {
        let Some(end) = &self.end else { return self.without_end(ended) };
        if end.is_error || end.subtype != "success" {
            let mut verdict = match end.subtype.as_str() {
                "error_max_turns" => {
                    Verdict::failed(FailureClass::Timeout, "it has taken all the turns that it may")
                }
                "error_max_budget_usd" => {
                    Verdict::failed(FailureClass::Timeout, "it has spent all that it may")
                }
                _ if ended.errors.contains(UNKNOWN_SESSION) => self.without_end(ended),
                _ => failure(end.status, &end.text, ended.at),
            };
            if matches!(verdict.result, Err(FailureClass::RateLimited | FailureClass::Quota)) {
                verdict.until = verdict.until.or(self.until);
            }
            return verdict;
        }
        if ended.code != Some(0) {
            return no_end(ended);
        }
        if self.refused_last {
            let tool = self.evidence.refused.last().map_or("a tool", String::as_str);
            return refused(tool, &end.text);
        }
        Verdict::succeeded(&end.text)
    }
}

/// The last thing that it tried was refused, and it went on to say that it was done.
pub(in crate::drivers) fn refused(tool: &str, text: &str) -> Verdict {
    Verdict::failed(
        FailureClass::Permission,
        format!("its last call, of `{tool}`, was refused; it says: {}", short(text)),
    )
}

impl ClaudeCode {
    fn without_end(&self, ended: Ended<'_>) -> Verdict {
        let errors = ended.errors;
        let hopeless =
            [UNKNOWN_SESSION, "already in use", "Invalid API key", "/login", "error: unknown option"];
        if hopeless.iter().any(|words| errors.contains(words)) {
            return Verdict::failed(FailureClass::Permanent, errors.trim());
        }
        no_end(ended)
    }
}
