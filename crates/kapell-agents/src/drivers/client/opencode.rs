//! opencode: `opencode run --format json`, and what is set for it however it is driven.
//!
//! What it prints was recorded from version 1.18.33. Traps: there is no last event, its end is the end of the stream;
//! it lets everything be done unless told otherwise; when a stream is cut it asks again for ever, so its steps are
//! counted from outside; it ignores SIGINT.

use kapell_core::{price::Tokens, retry::FailureClass, time::Wall};
use serde_json::{Value, json};

use super::{
    ANSWER_TIMEOUT_S, Ended, Evidence, Invocation, Order, Reader, Verdict,
    claude_code::refused,
    words::{about, count, failure, micros, no_end, reset_in, short},
};
use crate::drivers::{Report, mcp};

/// The name under which a server that the user has set is known to it.
const PROVIDER: &str = "kapell";
/// The provider whose key it has, where the user has set no server.
const USUAL: &str = "openai";

pub(super) fn invoke(order: &Order) -> Invocation {
    let mut invocation = Invocation::default();
    invocation.args(["run", "--format", "json"]);
    if let Some(resume) = &order.resume {
        invocation.args(["--session", &resume.session]);
    }
    // A title of the session would be asked of the model, and its cost told nowhere.
    let mut config = json!({
        "autoupdate": false, "share": "disabled", "snapshot": false, "agent": { "title": { "disable": true } },
    });
    // A variable and not the key itself, lest it be written down.
    let key = format!("{{env:{}}}", order.client.key_variable());
    match (order.base_url(), order.model()) {
        (Some(url), model) if order.usual_server => {
            config["provider"][USUAL]["options"] = json!({ "baseURL": url, "apiKey": key });
            // It knows providers that want no key, and would ask one of them.
            config["enabled_providers"] = json!([USUAL]);
            if let Some(model) = model {
                config["model"] =
                    if model.contains('/') { json!(model) } else { json!(format!("{USUAL}/{model}")) };
            }
        }
        (Some(url), model) => {
            let model = model.unwrap_or("default");
            config["provider"][PROVIDER] = json!({
                "npm": "@ai-sdk/openai-compatible",
                "options": { "baseURL": url, "apiKey": key },
                "models": { model: {} },
            });
            config["model"] = json!(format!("{PROVIDER}/{model}"));
            config["small_model"] = config["model"].clone();
        }
        (None, Some(model)) => {
            invocation.args(["--model", model]);
        }
        (None, None) => {}
    }
    for (name, server) in order.servers(|name| format!("{{env:{name}}}")) {
        config["mcp"][name] = match &server.reach {
            mcp::Reach::Program(argv) => {
                json!({ "type": "local", "command": argv, "environment": server.env_json(), "enabled": true })
            }
            mcp::Reach::Url(url) => {
                json!({ "type": "remote", "url": url, "headers": server.headers, "enabled": true })
            }
        };
    }
    // Also where it gets that server with its session.
    if order.own_program.is_some() {
        config["experimental"]["mcp_timeout"] = (ANSWER_TIMEOUT_S * 1000).into();
    }
    invocation.files.push((".config/opencode/opencode.json", config.to_string()));
    for name in [
        "OPENCODE_DISABLE_AUTOUPDATE",
        "OPENCODE_DISABLE_MODELS_FETCH",
        "OPENCODE_DISABLE_LSP_DOWNLOAD",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS",
    ] {
        invocation.env(name, "1");
    }
    // What the repository brings along is not executed, unless a person has looked at it.
    if !order.is_trusted {
        invocation.env("OPENCODE_DISABLE_PROJECT_CONFIG", "1");
    }
    invocation.env(PERMISSION, order.option("permission").unwrap_or(&belt().to_string()));
    for (name, dir) in
        [("XDG_CONFIG_HOME", ".config"), ("XDG_DATA_HOME", ".local/share"), ("XDG_CACHE_HOME", ".cache")]
    {
        invocation.env(name, order.home.join(dir));
    }
    if let Some(key) = &order.settings.key {
        invocation.env(order.client.key_variable(), key);
    }
    invocation
}

/// The variable that says what it may do.
pub(super) const PERMISSION: &str = "OPENCODE_PERMISSION";

/// It asks for all that changes something.
pub(super) const ASK: &str = r#"{"edit":"ask","bash":"ask"}"#;

/// What it is not let do where nobody can be asked: its own patterns for what [`crate::seat_belt`] stops elsewhere, as far as
/// they reach. A later one counts more than an earlier one.
fn belt() -> Value {
    json!({
        "edit": "allow",
        "bash": {
            "*": "allow",
            "rm -rf /*": "deny", "rm -rf ~*": "deny", "rm -rf $HOME*": "deny", "rm -rf ..*": "deny",
            "git push --force*": "deny", "git push -f*": "deny", "git push * --force*": "deny",
            "git filter-branch*": "deny",
            "curl * | *sh*": "deny", "wget * | *sh*": "deny",
            "cat ~/.ssh/*": "deny", "cat *.ssh/id_*": "deny", "cat *.aws/credentials*": "deny",
        },
    })
}

/// Reads its events.
#[derive(Default)]
pub(super) struct Opencode {
    evidence: Evidence,
    /// Why the last step ended; none while one is under way.
    reason: Option<String>,
    refused_last: Option<String>,
    error: Option<(Option<u16>, String)>,
}

impl Opencode {
    fn tool(&mut self, part: &Value, reports: &mut Vec<Report>) {
        let tool = part["tool"].as_str().unwrap_or_default().to_owned();
        let state = &part["state"];
        let about = about(&state["input"]);
        let text = state["error"].as_str().unwrap_or_default();
        if state["status"] == "error" && is_refusal(text) {
            self.refused_last = Some(tool.clone());
            self.evidence.refused.push(tool.clone());
            reports.push(Report::Refused { tool, text: short(text) });
        } else {
            if state["status"] == "completed" {
                self.evidence.tools += 1;
                self.refused_last = None;
            }
            reports.push(Report::ToolUse { tool, about });
        }
    }

    fn step_finish(&mut self, part: &Value, reports: &mut Vec<Report>) {
        self.reason = Some(part["reason"].as_str().unwrap_or_default().to_owned());
        let tokens = &part["tokens"];
        self.evidence.tokens += Tokens {
            input: count(&tokens["input"]),
            output: count(&tokens["output"]).saturating_add(count(&tokens["reasoning"])),
            cache_read: count(&tokens["cache"]["read"]),
            cache_write: count(&tokens["cache"]["write"]),
        };
        // It knows no price of a model of one's own, and says 0: that is no price.
        if let Some(cost) = micros(&part["cost"]).filter(|cost| *cost > 0) {
            self.evidence.usd_micros = Some(self.evidence.usd_micros.unwrap_or(0).saturating_add(cost));
        }
        reports.push(Report::Usage(self.evidence.tokens));
    }
}

impl Reader for Opencode {
    fn event(&mut self, event: &Value, at: Wall, reports: &mut Vec<Report>) {
        if let (None, Some(id)) = (&self.evidence.session, event["sessionID"].as_str()) {
            self.evidence.session = Some(id.to_owned());
            reports.push(Report::Session { id: id.to_owned(), model: None });
        }
        let part = &event["part"];
        match event["type"].as_str() {
            Some("step_start") => {
                self.evidence.steps += 1;
                self.reason = None;
            }
            Some("text") => {
                let text = part["text"].as_str().unwrap_or_default();
                text.clone_into(&mut self.evidence.text);
                reports.push(Report::Said { text: short(text) });
            }
            Some("tool_use") => self.tool(part, reports),
            Some("step_finish") => self.step_finish(part, reports),
            Some("error") => {
                let error = &event["error"];
                let status = error["data"]["statusCode"].as_u64().and_then(|status| status.try_into().ok());
                let text = error["data"]["message"].as_str().or(error["name"].as_str()).unwrap_or("error");
                if matches!(status, Some(429 | 529)) {
                    reports.push(Report::RateLimited { until: reset_in(text, at), text: short(text) });
                }
                self.error = Some((status, text.to_owned()));
            }
            _ => {}
        }
    }

    fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    fn verdict(&self, ended: Ended<'_>) -> Verdict {
        let text = &self.evidence.text;
        if let Some((status, error)) = &self.error {
            return failure(*status, error, ended.at);
        }
        if let Some(tool) = &self.refused_last {
            return refused(tool, text);
        }
        match (self.reason.as_deref(), ended.code) {
            (Some(reason), Some(0)) => unfinished(reason).unwrap_or_else(|| Verdict::succeeded(text)),
            _ => no_end(ended),
        }
    }
}

/// Tells whether the error of a call says that it was refused.
pub(in crate::drivers) fn is_refusal(error: &str) -> bool {
    let refusal =
        ["rejected permission", "denied", "not allowed", "unavailable tool", "prevents you from using"];
    refusal.iter().any(|words| error.to_ascii_lowercase().contains(words))
}

/// Says what it means that its last step ended for this reason; nothing if it was done.
pub(in crate::drivers) fn unfinished(reason: &str) -> Option<Verdict> {
    match reason {
        "stop" => None,
        "length" => Some(Verdict::failed(
            FailureClass::InvalidOutput,
            "its last reply was cut off at the limit of its length",
        )),
        "content-filter" => Some(Verdict::failed(FailureClass::Permanent, "the provider refused to answer")),
        reason => Some(Verdict::failed(
            FailureClass::Transient,
            format!("it ended in the midst of its work ({reason})"),
        )),
    }
}
