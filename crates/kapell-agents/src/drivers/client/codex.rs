//! Codex: `codex exec --json`.
//!
//! What it prints was recorded from version 0.169.0. Traps: a patch that is refused shows on standard error only, and
//! the turn completes with code 0; what it used is cumulative over the thread; helpers of its sandbox are not made
//! below the system's directory for temporary files, so its home must lie elsewhere. Its sandbox makes directories in `/tmp`
//! for as long as a command runs, under names that all of them share: with several at work, the one that ends first takes
//! them away from another one that begins, whose command or change then fails (once in some hundred).

use std::path::Path;

use kapell_core::{price::Tokens, retry::FailureClass, time::Wall};
use serde_json::Value;

use super::{
    ANSWER_TIMEOUT_S, Ended, Evidence, Invocation, OWN_SERVER, OWN_SERVER_NEEDS, Order, Reader, Totals,
    Verdict,
    claude_code::refused,
    words::{count, failure, no_end, reset_in, short, speaks_of_quota, status_in},
};
use crate::drivers::{Report, mcp};

/// The name under which a server that the user has set is known to it.
const PROVIDER: &str = "kapell";
/// Below its home: what shape its last message has.
const SCHEMA_FILE: &str = "outputs.schema.json";
/// Below its home: where it may write what it needs for a while.
const TMP: &str = "tmp";
/// Its settings, below a home.
pub(super) const SETTINGS_FILE: &str = ".codex/config.toml";

/// What its shell gets of the environment.
const SHELL_VARIABLES: &str = "shell_environment_policy.include_only=[\"PATH\",\"HOME\",\"SHELL\",\"USER\",\"LOGNAME\",\
    \"LANG\",\"LC_*\",\"TERM\",\"TMPDIR\",\"TZ\",\"CARGO_HOME\",\"RUSTUP_HOME\",\"KAPELL_*\"]";

pub(super) fn invoke(order: &Order) -> Invocation {
    let mut invocation = Invocation::default();
    invocation.args(["exec", "--json", "--skip-git-repo-check"]);
    invocation.args(["--sandbox", if order.contained { "danger-full-access" } else { "workspace-write" }]);
    // What it is not let do it does not do: nobody can answer it.
    invocation.args(["-c", "approval_policy=\"never\""]);
    set_up(order, &mut invocation);
    if let Some(shape) = &order.shape {
        invocation.arg("--output-schema").arg(order.home.join(SCHEMA_FILE));
        invocation.files.push((SCHEMA_FILE, shape.text()));
    }
    if let Some(resume) = &order.resume {
        invocation.args(["resume", &resume.session]);
    }
    invocation.arg("-");
    invocation
}

/// Gives it its settings, its key and its home, whichever way it is spoken to.
pub(super) fn set_up(order: &Order, invocation: &mut Invocation) {
    for setting in settings(order) {
        invocation.args(["-c", &setting]);
    }
    if let Some(key) = &order.settings.key {
        invocation.env("OPENAI_API_KEY", key).env("CODEX_API_KEY", key);
    }
    invocation.env("CODEX_HOME", order.home.join(".codex"));
    // Where its own sandbox is in force, that is to share no directory with others.
    if !order.contained {
        invocation.args(["-c", "sandbox_workspace_write.exclude_slash_tmp=true"]);
        invocation.env("TMPDIR", order.home.join(TMP)).dirs.push(TMP);
    }
    // It reads the settings of a repository only if they are trusted. Its server takes a directory of which nothing is said
    // for trusted as soon as it is to work there, so that is said.
    let level = if order.is_trusted { "trusted" } else { "untrusted" };
    let workspace = quoted(&order.workspace.display().to_string());
    let trust = format!("[projects.{workspace}]\ntrust_level = \"{level}\"\n");
    invocation.files.push((SETTINGS_FILE, trust));
}

/// Returns its settings, each as a line of TOML.
pub(super) fn settings(order: &Order) -> Vec<String> {
    let mut settings: Vec<String> = [
        "analytics.enabled=false",
        "check_for_update_on_startup=false",
        // A search by the provider would read as much as it likes, which no budget can bound beforehand.
        "web_search=\"disabled\"",
        // What it runs gets no more of the environment than it needs, least of all the key: but the way to kapell, whose
        // token it would take for a secret.
        "shell_environment_policy.inherit=\"all\"",
        // A login shell would set a `PATH` of its own, on which there is no `kapell`.
        "allow_login_shell=false",
        "shell_environment_policy.ignore_default_excludes=true",
        SHELL_VARIABLES,
    ]
    .map(str::to_owned)
    .into();
    if let Some(model) = order.model() {
        settings.push(format!("model={}", quoted(model)));
    }
    if let Some(effort) = order.option("effort") {
        settings.push(format!("model_reasoning_effort={}", quoted(effort)));
    }
    if let Some(url) = order.base_url() {
        settings.push(format!("model_provider=\"{PROVIDER}\""));
        settings.push(format!(
            "model_providers.{PROVIDER}={{name=\"{PROVIDER}\",base_url={},env_key=\"{}\",wire_api=\"responses\"}}",
            quoted(url),
            order.client.key_variable()
        ));
    }
    settings.extend(order.servers(str::to_owned).iter().map(|(name, server)| {
        let own = order.own_server().filter(|_| name == OWN_SERVER);
        format!("mcp_servers.{name}={}", own.map_or_else(|| toml_of(server), own_server))
    }));
    settings
}

/// kapell's own server: it gets variables by their names, asks for no permission, and people take their time.
fn own_server(program: &Path) -> String {
    format!(
        "{{command={},args=[\"mcp\",\"--attempt\"],env_vars=[{}],tool_timeout_sec={ANSWER_TIMEOUT_S},\
         default_tools_approval_mode=\"approve\"}}",
        quoted(&program.display().to_string()),
        OWN_SERVER_NEEDS.map(quoted).join(",")
    )
}

/// A server as an inline table of TOML.
fn toml_of(server: &mcp::Server) -> String {
    let pairs = |pairs: Vec<(String, String)>| {
        let pairs = pairs.iter().map(|(name, value)| format!("{}={}", quoted(name), quoted(value)));
        format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
    };
    match &server.reach {
        mcp::Reach::Program(argv) => {
            let [program, args @ ..] = argv.as_slice() else { return "{}".to_owned() };
            let args: Vec<String> = args.iter().map(|arg| quoted(arg)).collect();
            format!(
                "{{command={},args=[{}],env={}}}",
                quoted(program),
                args.join(","),
                pairs(server.variables())
            )
        }
        mcp::Reach::Url(url) => {
            let headers = server.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
            format!("{{url={},http_headers={}}}", quoted(url), pairs(headers.collect()))
        }
    }
}

/// A text as TOML has it, of which JSON's are a part.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Reads its events.
#[derive(Default)]
pub(super) struct Codex {
    evidence: Evidence,
    /// What its thread had used before.
    before: Totals,
    /// How the last turn ended: well, or with an error.
    end: Option<Result<(), String>>,
    /// The last error that it told of, in the turn or out of it.
    error: Option<String>,
    /// The tool whose last call was refused.
    refused_last: Option<String>,
    /// The last change that failed before it was made.
    rejected: Option<String>,
    /// Whether standard error tells of a change that was refused. When that was, compared with what stands on standard
    /// output, nobody knows.
    refused_ever: bool,
}

impl Codex {
    /// Begins with what a thread had used before.
    pub(super) fn begin(&mut self, totals: Totals) {
        self.before = totals;
    }

    pub(super) fn evidence_mut(&mut self) -> &mut Evidence {
        &mut self.evidence
    }

    /// A turn begins: what went wrong in the one before is over.
    pub(super) fn turn_started(&mut self) {
        self.end = None;
        self.error = None;
    }

    /// A turn is over.
    pub(super) fn turn_ended(&mut self, end: Result<(), String>) {
        self.end = Some(end);
    }

    /// Takes what the thread has used in all, those from and for the cache among those read.
    pub(super) fn used(&mut self, [read, cached, written, output]: [&Value; 4], reports: &mut Vec<Report>) {
        let (cached, written) = (count(cached), count(written));
        self.evidence.tokens = self.before.since(Tokens {
            input: count(read).saturating_sub(cached).saturating_sub(written),
            output: count(output),
            cache_read: cached,
            cache_write: written,
        });
        reports.push(Report::Usage(self.evidence.tokens));
    }

    /// Takes something that it has done; its server writes the kinds in one word, `exec` with underscores.
    pub(super) fn item(&mut self, item: &Value, done: bool, reports: &mut Vec<Report>) {
        match item["type"].as_str() {
            Some("agent_message" | "agentMessage") if done => {
                let text = item["text"].as_str().unwrap_or_default();
                text.clone_into(&mut self.evidence.text);
                self.evidence.steps += 1;
                reports.push(Report::Said { text: short(text) });
            }
            Some("command_execution" | "commandExecution") => {
                let about = short(item["command"].as_str().unwrap_or_default());
                self.tool("shell", about, item, done, reports);
            }
            Some("file_change" | "fileChange") => {
                let paths = item["changes"].as_array().into_iter().flatten();
                let paths: Vec<&str> = paths.filter_map(|change| change["path"].as_str()).collect();
                self.tool("apply_patch", short(&paths.join(", ")), item, done, reports);
            }
            Some("mcp_tool_call" | "mcpToolCall") => {
                let tool = item["tool"].as_str().unwrap_or("mcp").to_owned();
                self.tool(&tool, String::new(), item, done, reports);
            }
            Some("error") => {
                let text = item["message"].as_str().unwrap_or_default();
                reports.push(Report::Said { text: short(text) });
            }
            _ => {}
        }
    }

    fn tool(&mut self, tool: &str, about: String, item: &Value, done: bool, reports: &mut Vec<Report>) {
        // It does not tell how often it asked the model; each call of a tool comes from one reply.
        self.evidence.steps += u32::from(done);
        match (item["status"].as_str(), done) {
            (Some("declined"), _) => {
                self.refused_last = Some(tool.to_owned());
                self.evidence.refused.push(tool.to_owned());
                reports.push(Report::Refused { tool: tool.to_owned(), text: about });
            }
            // A command that fails was performed; a change that fails was not.
            (Some("failed"), true) if tool == "apply_patch" => self.rejected = Some(about),
            (_, true) => {
                self.evidence.tools += 1;
                self.refused_last = None;
                self.rejected = None;
                if tool == "apply_patch" {
                    reports.push(Report::ToolUse { tool: tool.to_owned(), about });
                }
            }
            (_, false) => reports.push(Report::ToolUse { tool: tool.to_owned(), about }),
        }
    }

    pub(super) fn fail(&mut self, text: &str, at: Wall, reports: &mut Vec<Report>) {
        if matches!(status_in(text), Some(429 | 529)) || speaks_of_quota(text) {
            reports.push(Report::RateLimited { until: reset_in(text, at), text: short(text) });
        }
        self.error = Some(text.to_owned());
    }
}

impl Reader for Codex {
    fn resumed(&mut self, totals: Totals) {
        self.begin(totals);
    }

    fn event(&mut self, event: &Value, at: Wall, reports: &mut Vec<Report>) {
        match event["type"].as_str() {
            Some("thread.started") => {
                let id = event["thread_id"].as_str().unwrap_or_default().to_owned();
                self.evidence.session = Some(id.clone());
                reports.push(Report::Session { id, model: None });
            }
            Some("turn.started") => self.turn_started(),
            Some("item.started") => self.item(&event["item"], false, reports),
            Some("item.completed") => self.item(&event["item"], true, reports),
            Some("error") => {
                let text = event["message"].as_str().unwrap_or_default().to_owned();
                self.fail(&text, at, reports);
            }
            Some("turn.completed") => {
                let usage = &event["usage"];
                let kinds =
                    ["input_tokens", "cached_input_tokens", "cache_write_input_tokens", "output_tokens"];
                self.used(kinds.map(|kind| &usage[kind]), reports);
                self.turn_ended(Ok(()));
            }
            Some("turn.failed") => {
                let text = event["error"]["message"].as_str().unwrap_or_default().to_owned();
                self.fail(&text, at, reports);
                self.turn_ended(Err(text));
            }
            _ => {}
        }
    }

    fn error_line(&mut self, line: &str, _at: Wall, reports: &mut Vec<Report>) {
        let Some((_, text)) = line.split_once("codex_core::tools::router: error=") else { return };
        let refusal = ["rejected", "not permitted", "outside of the project", "denied"];
        if refusal.iter().any(|words| text.contains(words)) {
            self.refused_ever = true;
            self.evidence.refused.push("apply_patch".to_owned());
            reports.push(Report::Refused { tool: "apply_patch".to_owned(), text: short(text) });
        } else {
            self.rejected = Some(short(text));
        }
    }

    fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    fn verdict(&self, ended: Ended<'_>) -> Verdict {
        let text = &self.evidence.text;
        match (&self.end, &self.error) {
            (Some(Err(error)), _) => failure(None, error, ended.at),
            (Some(Ok(())), _) if ended.code != Some(0) => no_end(ended),
            (Some(Ok(())), _) => match (&self.refused_last, &self.rejected) {
                (Some(tool), _) => refused(tool, text),
                _ if self.refused_ever && self.evidence.tools == 0 => refused("apply_patch", text),
                (None, Some(_)) if self.evidence.tools > 0 => Verdict::succeeded(text),
                (None, Some(why)) => Verdict::failed(
                    FailureClass::InvalidOutput,
                    format!("its last change could not be made: {why}; it says: {}", short(text)),
                ),
                (None, None) => Verdict::succeeded(text),
            },
            (None, Some(error)) => failure(None, error, ended.at),
            (None, None) => no_end(ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::client::Client;

    #[test]
    fn where_its_own_sandbox_is_in_force_it_shares_no_directory_with_others() {
        let dir = tempfile::tempdir().unwrap();
        for (client, contained) in [
            (Client::Codex, false),
            (Client::CodexApp, false),
            (Client::Codex, true),
            (Client::CodexApp, true),
        ] {
            let home = dir.path().join(format!("{client:?}-{contained}"));
            let order = Order { contained, ..Order::new(client, "x", &home) };
            let prepared = order.prepare(dir.path()).unwrap();
            let tmp = home.join(TMP);
            let is_own = prepared.env.iter().any(|(name, value)| name == "TMPDIR" && **value == *tmp);
            let is_excluded =
                prepared.argv.iter().any(|arg| arg == "sandbox_workspace_write.exclude_slash_tmp=true");
            assert_eq!([is_own, is_excluded, tmp.is_dir()], [!contained; 3], "{client:?} {contained}");
        }
    }
}
