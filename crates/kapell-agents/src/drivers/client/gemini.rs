//! Gemini CLI: `gemini -o stream-json`.
//!
//! What it prints was recorded from version 0.61.0. Traps: a stream that was cut ends with code 0 and a `result` whose
//! status is `error`; SIGINT and SIGTERM end it with code 0 and no `result`; tools that would need a yes are not even
//! offered; it tells of its retries on standard error only; its exit codes are statuses of HTTP, cut to 8 bits.

use std::collections::HashMap;

use kapell_core::{price::Tokens, retry::FailureClass, time::Wall};
use serde_json::{Value, json};

use super::{
    ANSWER_TIMEOUT_S, Ended, Evidence, Invocation, OWN_SERVER, Order, Reader, Verdict,
    claude_code::refused,
    words::{about, add_said, class_of_status, count, failure, no_end, reset_in, short, status_in},
};
use crate::drivers::{Report, mcp};

/// Exit codes of its own.
const EXIT_INPUT: i32 = 42;
const EXIT_TURNS: i32 = 53;
const EXIT_UNTRUSTED: i32 = 55;

pub(super) fn invoke(order: &Order) -> Invocation {
    let mut invocation = Invocation::default();
    // Not by the variable that trusts the workspace, for then it executes what the repository brings along,
    // unless a person has looked at it.
    match order.is_trusted {
        true => invocation.env("GEMINI_CLI_TRUST_WORKSPACE", "true"),
        false => invocation.arg("--skip-trust"),
    };
    invocation.args(["--output-format", "stream-json"]);
    if let Some(resume) = &order.resume {
        invocation.args(["--resume", &resume.session]);
    }
    invocation.args(["--approval-mode", order.option("approval_mode").unwrap_or("yolo")]);
    if let Some(model) = order.model() {
        invocation.args(["--model", model]);
    }
    let auth = if order.settings.key.is_some() { "gemini-api-key" } else { "oauth-personal" };
    let mut settings = json!({
        "security": { "auth": { "selectedType": auth } },
        "model": { "maxSessionTurns": order.steps_max() },
        "context": { "fileName": ["GEMINI.md", "AGENTS.md"] },
        "general": { "enableAutoUpdate": false, "maxAttempts": 3 },
        "privacy": { "usageStatisticsEnabled": false },
        "telemetry": { "enabled": false },
    });
    for (name, server) in order.servers(|name| format!("${{{name}}}")) {
        settings["mcpServers"][&name] = match &server.reach {
            mcp::Reach::Program(argv) => {
                json!({ "command": argv.first(), "args": argv.get(1..), "env": server.env_json() })
            }
            mcp::Reach::Url(url) => json!({ "httpUrl": url, "headers": server.headers }),
        };
        if name == OWN_SERVER && order.own_server().is_some() {
            settings["mcpServers"][&name]["trust"] = true.into();
            settings["mcpServers"][&name]["timeout"] = (ANSWER_TIMEOUT_S * 1000).into();
        }
    }
    invocation.files.push((".gemini/settings.json", settings.to_string()));
    invocation.env("GEMINI_TELEMETRY_ENABLED", "false").env("GEMINI_CLI_NO_RELAUNCH", "true");
    if let Some(url) = order.base_url() {
        invocation.env("GOOGLE_GEMINI_BASE_URL", url);
    }
    if let Some(key) = &order.settings.key {
        invocation.env("GEMINI_API_KEY", key);
    }
    invocation
}

/// Reads its events.
#[derive(Default)]
pub(super) struct Gemini {
    evidence: Evidence,
    calls: HashMap<String, String>,
    /// The last message of the model is still coming, in pieces.
    speaking: bool,
    refused_last: Option<String>,
    end: Option<Result<(), String>>,
    /// The last error that it told of.
    error: Option<String>,
    until: Option<Wall>,
}

/// Kinds of errors of tools that mean that it was not let.
const REFUSALS: &[&str] =
    &["tool_not_registered", "policy_violation", "execution_denied", "permission_denied"];

impl Gemini {
    fn tool_result(&mut self, event: &Value, reports: &mut Vec<Report>) {
        let id = event["tool_id"].as_str().unwrap_or_default();
        let tool = self.calls.get(id).cloned().unwrap_or_default();
        if event["status"] == "success" {
            self.evidence.tools += 1;
            self.refused_last = None;
            return;
        }
        let (kind, text) = (event["error"]["type"].as_str(), event["error"]["message"].as_str());
        let text = text.or(event["output"].as_str()).unwrap_or_default();
        if kind.is_some_and(|kind| REFUSALS.contains(&kind.to_ascii_lowercase().as_str())) {
            self.refused_last = Some(tool.clone());
            self.evidence.refused.push(tool.clone());
            reports.push(Report::Refused { tool, text: short(text) });
        }
    }

    fn result(&mut self, event: &Value, reports: &mut Vec<Report>) {
        let stats = &event["stats"];
        let cached = count(&stats["cached"]);
        self.evidence.tokens = Tokens {
            input: count(&stats["input_tokens"]).saturating_sub(cached),
            // What it thought is in the total alone.
            output: count(&stats["total_tokens"]).saturating_sub(count(&stats["input_tokens"])),
            cache_read: cached,
            cache_write: 0,
        };
        reports.push(Report::Usage(self.evidence.tokens));
        self.end = Some(match event["status"].as_str() {
            Some("success") => Ok(()),
            _ => Err(event["error"]["message"].as_str().unwrap_or("it ended with an error").to_owned()),
        });
    }
}

impl Reader for Gemini {
    fn event(&mut self, event: &Value, at: Wall, reports: &mut Vec<Report>) {
        let kind = event["type"].as_str();
        let speaks = kind == Some("message") && event["role"] == "assistant";
        match kind {
            Some("init") => {
                let id = event["session_id"].as_str().unwrap_or_default().to_owned();
                let model = event["model"].as_str().map(str::to_owned);
                self.evidence.session = Some(id.clone());
                self.evidence.model.clone_from(&model);
                reports.push(Report::Session { id, model });
            }
            Some("message") if speaks => {
                if !(self.speaking && event["delta"].as_bool().unwrap_or(false)) {
                    self.evidence.text.clear();
                    self.evidence.steps += 1;
                }
                let text = event["content"].as_str().unwrap_or_default();
                add_said(&mut self.evidence.text, text);
                reports.push(Report::Said { text: short(&self.evidence.text) });
            }
            Some("tool_use") => {
                let tool = event["tool_name"].as_str().unwrap_or_default().to_owned();
                if let Some(id) = event["tool_id"].as_str() {
                    self.calls.insert(id.to_owned(), tool.clone());
                }
                reports.push(Report::ToolUse { tool, about: about(&event["parameters"]) });
            }
            Some("tool_result") => self.tool_result(event, reports),
            Some("error") => {
                let text = event["message"].as_str().unwrap_or_default();
                self.error = Some(text.to_owned());
                self.error_line(text, at, reports);
            }
            Some("result") => self.result(event, reports),
            _ => {}
        }
        self.speaking = speaks;
    }

    fn error_line(&mut self, line: &str, at: Wall, reports: &mut Vec<Report>) {
        if matches!(status_in(line), Some(429 | 529)) {
            self.until = reset_in(line, at).or(self.until);
            reports.push(Report::RateLimited { until: self.until, text: short(line) });
        }
    }

    fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    fn verdict(&self, ended: Ended<'_>) -> Verdict {
        let text = &self.evidence.text;
        match (&self.end, ended.code) {
            (Some(Ok(())), Some(0)) => match &self.refused_last {
                Some(tool) => refused(tool, text),
                None => Verdict::succeeded(text),
            },
            (_, Some(EXIT_TURNS)) => {
                Verdict::failed(FailureClass::Timeout, "it has taken all the turns that it may")
            }
            (_, Some(EXIT_UNTRUSTED)) => {
                Verdict::failed(FailureClass::Permission, "it does not trust the directory")
            }
            (None, Some(EXIT_INPUT)) => Verdict::failed(FailureClass::Permanent, ended.errors.trim()),
            (Some(Err(error)), _) => self.parked(failure(self.status(ended), error, ended.at)),
            _ => match (&self.error, self.status(ended)) {
                (Some(error), status) => self.parked(failure(status, error, ended.at)),
                (None, Some(status)) => {
                    self.parked(failure(Some(status), &last_error(ended.errors, status), ended.at))
                }
                (None, None) => no_end(ended),
            },
        }
    }
}

impl Gemini {
    /// Its exit code is a status of which 8 bits are left.
    fn status(&self, ended: Ended<'_>) -> Option<u16> {
        let code = u16::try_from(ended.code?).ok()?;
        [400, 401, 403, 404, 429, 500, 502, 503, 504, 529].into_iter().find(|status| status & 0xff == code)
    }

    fn parked(&self, mut verdict: Verdict) -> Verdict {
        if verdict.result == Err(class_of_status(429)) {
            verdict.until = verdict.until.or(self.until);
        }
        verdict
    }
}

/// Returns the line that speaks of an error, out of a good deal of others.
fn last_error(errors: &str, status: u16) -> String {
    let speaks = |line: &&str| line.contains("rror") || line.contains(&status.to_string());
    errors.lines().rfind(speaks).map_or_else(|| format!("the provider answered {status}"), short)
}
