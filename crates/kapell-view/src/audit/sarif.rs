//! An audit for other tools: SARIF 2.1.0 (OASIS, 2020) and annotations of GitHub Actions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{AuditView, Edit, Finding, Foreign, Place, Related, Severity, uri};

/// What a tool says about a rule.
#[derive(Debug, Clone, Copy)]
pub struct RuleText<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is about, in a line.
    pub summary: &'a str,
    /// Its page, in Markdown.
    pub page: &'a str,
}

impl AuditView {
    /// Returns the audit as a SARIF log with one run, and one for each tool whose findings were imported and are not
    /// ours too. Fixes come with their edits.
    #[must_use]
    pub fn sarif(&self, version: &str, rules: &[RuleText<'_>]) -> Value {
        let used: Vec<&RuleText<'_>> = rules
            .iter()
            .filter(|rule| self.findings.iter().any(|finding| finding.rule == rule.name))
            .collect();
        let described: Vec<Value> = used
            .iter()
            .map(|rule| {
                json!({
                    "id": rule.name,
                    "shortDescription": { "text": rule.summary },
                    "help": { "text": rule.summary, "markdown": rule.page },
                })
            })
            .collect();
        let results: Vec<Value> = self
            .findings
            .iter()
            .map(|finding| result(finding, used.iter().position(|rule| rule.name == finding.rule)))
            .collect();
        let mut run = json!({
            "tool": { "driver": { "name": "kapell", "version": version, "rules": described } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        });
        if !self.unread.is_empty() {
            let unread: Vec<Value> = self.unread.iter().map(notification).collect();
            run["invocations"] =
                json!([{ "executionSuccessful": true, "toolExecutionNotifications": unread }]);
        }
        let mut runs = vec![run];
        let mut tools: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for foreign in self.foreign() {
            tools.entry(&foreign.tool).or_default().push(passed_on(foreign));
        }
        runs.extend(tools.into_iter().map(|(name, results)| {
            json!({
                "tool": { "driver": { "name": name } },
                "columnKind": "unicodeCodePoints",
                "results": results,
            })
        }));
        json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": runs,
        })
    }

    /// Returns the audit as workflow commands of GitHub Actions, one a line, so that findings show in the diff.
    ///
    /// Format and escapes: GitHub documentation, "Workflow commands for GitHub Actions".
    #[must_use]
    pub fn annotations(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let level = match finding.severity {
                _ if !finding.warns() => "notice",
                Severity::Critical | Severity::High => "error",
                _ => "warning",
            };
            let told: Vec<&str> = [&*finding.message].into_iter().chain(finding.hint.as_deref()).collect();
            text.push_str(&annotation(level, &finding.place, &finding.rule, &told.join("\n")));
        }
        for foreign in self.foreign() {
            let level = match level(foreign.severity) {
                "note" => "notice",
                level => level,
            };
            let title = format!("{} {}", foreign.tool, foreign.rule);
            text.push_str(&annotation(level, &foreign.place, &title, &foreign.message));
        }
        for unread in &self.unread {
            text.push_str(&annotation("warning", &unread.place, "not read", &unread.text));
        }
        text
    }
}

/// Returns a workflow command that shows a text at a place.
fn annotation(level: &str, place: &Place, title: &str, text: &str) -> String {
    let Place { path, line, column, end_line, .. } = place;
    format!(
        "::{level} file={},line={line},endLine={end_line},col={column},title={}::{}\n",
        property(path),
        property(title),
        data(text),
    )
}

/// Tells of a file that was not read whole.
fn notification(unread: &Related) -> Value {
    json!({
        "level": "warning",
        "message": { "text": format!("not read: {}", unread.text) },
        "locations": [location(&unread.place)],
    })
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// Passes on what another tool found.
fn passed_on(foreign: &Foreign) -> Value {
    json!({
        "ruleId": foreign.rule,
        "level": level(foreign.severity),
        "message": { "text": foreign.message },
        "locations": [location(&foreign.place)],
    })
}

fn result(finding: &Finding, rule: Option<usize>) -> Value {
    let level = if finding.warns() { level(finding.severity) } else { "note" };
    let related: Vec<Value> = finding
        .related
        .iter()
        .map(|related| {
            let mut location = location(&related.place);
            location["message"] = json!({ "text": related.text });
            location
        })
        .collect();
    let mut result = json!({
        "ruleId": finding.rule,
        "level": level,
        "message": { "text": finding.message },
        "locations": [location(&finding.place)],
        "relatedLocations": related,
        "partialFingerprints": { "kapell/v1": finding.fingerprint },
        "properties": { "severity": finding.severity, "confidence": finding.confidence },
    });
    if let Some(fix) = &finding.fix {
        result["properties"]["fixClass"] = json!(fix.class);
    }
    if let Some(rule) = rule {
        result["ruleIndex"] = rule.into();
    }
    if let Some(fix) = finding.fix.as_ref().filter(|fix| !fix.edits.is_empty()) {
        let mut files: Vec<&str> = fix.edits.iter().map(|edit| edit.place.path.as_str()).collect();
        files.dedup();
        let changes: Vec<Value> = files.iter().map(|path| change(path, &fix.edits)).collect();
        result["fixes"] = json!([{ "description": { "text": fix.title }, "artifactChanges": changes }]);
    }
    result
}

fn change(path: &str, edits: &[Edit]) -> Value {
    let replacements: Vec<Value> = edits
        .iter()
        .filter(|edit| edit.place.path == path)
        .map(|edit| json!({ "deletedRegion": region(&edit.place), "insertedContent": { "text": edit.text } }))
        .collect();
    json!({ "artifactLocation": { "uri": uri::encode(path) }, "replacements": replacements })
}

fn location(place: &Place) -> Value {
    json!({ "physicalLocation": { "artifactLocation": { "uri": uri::encode(&place.path) }, "region": region(place) } })
}

fn region(place: &Place) -> Value {
    json!({
        "startLine": place.line,
        "startColumn": place.column,
        "endLine": place.end_line,
        "endColumn": place.end_column,
    })
}
