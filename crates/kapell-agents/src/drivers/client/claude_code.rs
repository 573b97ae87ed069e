//! Claude Code: `claude -p --output-format stream-json`.
//!
//! What it prints was recorded from version 2.1.329. Traps, all of them seen:
//!
//! - `subtype: "success"` comes with `is_error: true` when the API failed;
//! - one reply of the model comes as several `assistant` events, which repeat its usage;
//! - a sub-agent in the background makes a second `result`: the last one counts;
//! - SIGINT ends it with code 0 and no `result`;
//! - a refused tool ends it with code 0 and a cheerful text.

use std::collections::HashMap;

use kapell_core::{
    price::Tokens,
    retry::FailureClass,
    time::{Millis, Wall},
};
use serde_json::Value;

use super::{
    Ended, Evidence, Invocation, Order, Reader, Verdict,
    words::{about, count, failure, micros, no_end, short},
};
use crate::drivers::Report;

/// What it says on standard error when it is to resume a session that is not there.
const UNKNOWN_SESSION: &str = "No conversation found";

/// How often it asks again by itself before it gives up: kapell parks the provider meanwhile.
const RETRIES_MAX: &str = "4";

pub(super) fn invoke(order: &Order) -> Invocation {
    let mut invocation = Invocation::default();
    // Nothing that the repository brings along is executed: no hooks, no servers, no settings.
    invocation.args([
        "-p",
        "--output-format",
        "stream-json",
        "--verbose",
        "--setting-sources",
        "",
        "--strict-mcp-config",
    ]);
    invocation.args(["--permission-mode", order.option("permission_mode").unwrap_or("acceptEdits")]);
    invocation.args(["--permission-prompts", "none"]);
    invocation.args(["--allowedTools", order.option("allowed_tools").unwrap_or("Bash")]);
    invocation.args(["--max-turns", &order.steps_max().to_string()]);
    for (option, flag) in [
        ("disallowed_tools", "--disallowedTools"),
        ("effort", "--effort"),
        ("json_schema", "--json-schema"),
        ("system", "--append-system-prompt"),
    ] {
        if let Some(value) = order.option(option) {
            invocation.args([flag, value]);
        }
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

/// Reads its events.
#[derive(Default)]
pub(super) struct ClaudeCode {
    evidence: Evidence,
    /// The usage of each message; several events repeat it.
    messages: HashMap<String, Tokens>,
    /// Tools by the id of their call.
    calls: HashMap<String, String>,
    /// Whether the last call of a tool was refused.
    refused_last: bool,
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
                let tool = event["tool_name"].as_str().unwrap_or_default();
                self.refuse(tool);
                reports.push(Report::Refused {
                    tool: tool.to_owned(),
                    text: short(event["message"].as_str().unwrap_or_default()),
                });
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

    fn refuse(&mut self, tool: &str) {
        self.refused_last = true;
        self.evidence.refused.push(tool.to_owned());
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
            if part["type"] != "tool_result" {
                continue;
            }
            let id = part["tool_use_id"].as_str().unwrap_or_default();
            let decided = event["tool_result_meta"].as_array().into_iter().flatten().any(|meta| {
                meta["id"] == part["tool_use_id"]
                    && !matches!(meta["permission_decision"]["decision"].as_str(), None | Some("accept"))
            });
            let failed = part["is_error"].as_bool().unwrap_or(false);
            if failed && decided && !self.refused_last {
                let tool = self.calls.get(id).cloned().unwrap_or_default();
                self.refuse(&tool);
                reports.push(Report::Refused {
                    tool,
                    text: short(part["content"].as_str().unwrap_or_default()),
                });
            } else if !failed {
                self.evidence.tools += 1;
                self.refused_last = false;
            }
        }
    }

    fn result(&mut self, event: &Value) {
        let text = event["result"].as_str().map(str::to_owned);
        let errors = event["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let end = End {
            is_error: event["is_error"].as_bool().unwrap_or(true),
            subtype: event["subtype"].as_str().unwrap_or_default().to_owned(),
            text: text.clone().unwrap_or_else(|| errors.collect::<Vec<_>>().join("; ")),
            status: event["api_error_status"].as_u64().and_then(|status| status.try_into().ok()),
        };
        self.evidence.text.clone_from(&end.text);
        // The total of all models that it asked, sub-agents included. Cumulative, so the last one counts.
        if let Some(models) = event["modelUsage"].as_object().filter(|models| !models.is_empty()) {
            self.evidence.tokens = Tokens::default();
            for usage in models.values() {
                self.evidence.tokens += Tokens {
                    input: count(&usage["inputTokens"]),
                    output: count(&usage["outputTokens"]),
                    cache_read: count(&usage["cacheReadInputTokens"]),
                    cache_write: count(&usage["cacheCreationInputTokens"]),
                };
            }
        }
        self.evidence.usd_micros = micros(&event["total_cost_usd"]);
        if let Some(output) = event.get("structured_output").filter(|output| !output.is_null()) {
            self.evidence.structured = Some(output.to_string());
        }
        for denial in event["permission_denials"].as_array().into_iter().flatten() {
            let tool = denial["tool_name"].as_str().unwrap_or_default();
            if !self.evidence.refused.iter().any(|known| known == tool) {
                self.refuse(tool);
            }
        }
        self.end = Some(end);
    }
}

impl Reader for ClaudeCode {
    fn event(&mut self, event: &Value, at: Wall, reports: &mut Vec<Report>) {
        match event["type"].as_str() {
            Some("system") => self.system(event, at, reports),
            Some("assistant") => self.assistant(event, reports),
            Some("user") => self.user(event, reports),
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
                self.result(event);
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
        if self.wants_structure && self.evidence.structured.is_none() {
            return Verdict::failed(
                FailureClass::InvalidOutput,
                "it did not give the output that was asked for",
            );
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
