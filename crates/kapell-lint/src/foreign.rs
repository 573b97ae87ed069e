//! What other tools found: zizmor, actionlint, agnix and others, from their SARIF 2.1.0 logs (OASIS, 2020).
//!
//! Each of them owns its own ground. Their findings are listed once, and where one says the same as one of ours of the
//! same place, ours is shown, for it knows the graph.

use std::collections::{BTreeMap, BTreeSet};

use kapell_view::audit::{Finding, Foreign, Place, Severity, uri};
use serde::Deserialize;

use crate::files::Files;

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It is no SARIF.
    #[error("it is no SARIF log")]
    NotSarif(#[source] serde_json::Error),
    /// It is of another version.
    #[error("it is SARIF {0}, and 2.1.0 is read")]
    Version(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Log {
    version: String,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    // A run that failed to start has none, or null.
    #[serde(default)]
    results: Option<Vec<Outcome>>,
    #[serde(default)]
    original_uri_base_ids: BTreeMap<String, Artifact>,
}

#[derive(Deserialize)]
struct Tool {
    driver: Driver,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: String,
    #[serde(default)]
    information_uri: String,
    #[serde(default)]
    rules: Vec<Described>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    id: String,
    #[serde(default)]
    default_configuration: Configuration,
}

#[derive(Deserialize, Default)]
struct Configuration {
    level: Option<Level>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Level {
    None,
    Note,
    Warning,
    Error,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    rule_id: Option<String>,
    rule_index: Option<usize>,
    /// `fail` unless it says otherwise; all else is no finding.
    kind: Option<String>,
    level: Option<Level>,
    message: Message,
    #[serde(default)]
    locations: Vec<Location>,
    #[serde(default)]
    suppressions: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: Option<Physical>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    #[serde(default)]
    artifact_location: Artifact,
    #[serde(default)]
    region: Region,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    #[serde(default)]
    uri: String,
    uri_base_id: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Region {
    start_line: Option<u32>,
    start_column: Option<u32>,
    end_line: Option<u32>,
    end_column: Option<u32>,
}

/// Reads a log. Places are made relative to `root`, the absolute path of the repository's top with `/`.
///
/// # Errors
/// Fails if the text is no SARIF 2.1.0.
pub fn read(log: &[u8], root: &str, files: &Files) -> Result<Vec<Foreign>, LogError> {
    let log: Log = serde_json::from_slice(log).map_err(LogError::NotSarif)?;
    if log.version != "2.1.0" {
        return Err(LogError::Version(log.version));
    }
    let mut found = Vec::new();
    for run in &log.runs {
        let tool = run.tool.driver.called();
        let results = run.results.iter().flatten().filter(|result| result.is_finding());
        found.extend(results.map(|result| result.foreign(run, tool, root, files)));
    }
    Ok(found)
}

impl Driver {
    /// Names the tool. Some logs call it by a title, and then the end of its address is its name.
    fn called(&self) -> &str {
        let address = self.information_uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        if self.name.contains(' ') && !address.is_empty() { address } else { &self.name }
    }
}

impl Outcome {
    fn is_finding(&self) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind == "fail")
            && self.suppressions.as_ref().is_none_or(Vec::is_empty)
    }

    fn foreign(&self, run: &Run, tool: &str, root: &str, files: &Files) -> Foreign {
        let rules = &run.tool.driver.rules;
        let described = self.rule_index.and_then(|index| rules.get(index));
        let described =
            described.or_else(|| rules.iter().find(|rule| Some(&rule.id) == self.rule_id.as_ref()));
        let rule = self.rule_id.as_deref().or(described.map(|rule| &*rule.id)).unwrap_or("unnamed");
        // Some write their own name before it.
        let rule = rule.strip_prefix(tool).and_then(|rest| rest.strip_prefix('/')).unwrap_or(rule);
        let level = self.level.or(described.and_then(|rule| rule.default_configuration.level));
        let severity = match level.unwrap_or(Level::Warning) {
            Level::Error => Severity::High,
            Level::Warning => Severity::Medium,
            Level::Note => Severity::Low,
            Level::None => Severity::Info,
        };
        let physical = self.locations.iter().find_map(|location| location.physical_location.as_ref());
        Foreign {
            tool: tool.to_owned(),
            rule: rule.to_owned(),
            severity,
            message: self.message.text.trim().to_owned(),
            place: place(physical, run, root, files),
            same_as: None,
        }
    }
}

fn place(physical: Option<&Physical>, run: &Run, root: &str, files: &Files) -> Place {
    let path = physical.map_or(String::new(), |physical| relative(&physical.artifact_location, run, root));
    let region = physical.map(|physical| &physical.region);
    let line = region.and_then(|region| region.start_line).unwrap_or(1).max(1);
    let column = region.and_then(|region| region.start_column).unwrap_or(1).max(1);
    let end_line = region.and_then(|region| region.end_line).unwrap_or(line).max(line);
    let end_column = region.and_then(|region| region.end_column).unwrap_or(column).max(1);
    let byte = |line: u32, column: u32| {
        let file = &files[files.find(&path)?];
        let span = file.line_span(line);
        let text = &file.text[span.range()];
        let within = text.char_indices().nth(column as usize - 1).map_or(text.len(), |(at, _)| at);
        Some(span.start + within as u32)
    };
    let start = byte(line, column).unwrap_or(0);
    let end = byte(end_line, end_column).unwrap_or(0).max(start);
    Place { path, line, column, end_line, end_column, start, end }
}

/// Returns the path of an artifact from the top of the repository.
fn relative(artifact: &Artifact, run: &Run, root: &str) -> String {
    let base = artifact.uri_base_id.as_ref().and_then(|id| run.original_uri_base_ids.get(id));
    let whole = match base {
        Some(base) if !artifact.uri.contains("://") => format!("{}{}", base.uri, artifact.uri),
        _ => artifact.uri.clone(),
    };
    let path = uri::decode(whole.strip_prefix("file://").unwrap_or(&whole)).replace('\\', "/");
    let inner = path.strip_prefix(root.trim_end_matches('/')).filter(|rest| rest.starts_with('/'));
    inner.unwrap_or(&path).trim_start_matches("./").trim_start_matches('/').to_owned()
}

/// A rule of a neighbour, and those of ours that say the same.
struct Same {
    tool: &'static str,
    /// Its name for the rule; with `*` at the end, how its names start.
    rule: &'static str,
    ours: &'static [&'static str],
    /// Whether both are about the file as a whole, wherever in it they stand.
    whole_file: bool,
}

/// What says the same. Compared with zizmor 1.x, actionlint 1.7 and agnix 0.x as of 2026-08.
const SAME: &[Same] = &[
    Same {
        tool: "zizmor",
        rule: "concurrency-limits",
        ours: &["no-concurrency", "mutating-no-concurrency"],
        whole_file: true,
    },
    Same { tool: "zizmor", rule: "obfuscation", ours: &["unsatisfiable-if"], whole_file: false },
    Same { tool: "zizmor", rule: "unsound-condition", ours: &["unsatisfiable-if"], whole_file: false },
    Same {
        tool: "zizmor",
        rule: "secrets-outside-env",
        ours: &["deploy-without-environment"],
        whole_file: false,
    },
    Same {
        tool: "actionlint",
        rule: "if-cond",
        ours: &["unsatisfiable-if", "skip-propagation"],
        whole_file: false,
    },
    Same {
        tool: "actionlint",
        rule: "syntax-check",
        ours: &["unknown-key", "unreadable-file"],
        whole_file: false,
    },
    Same { tool: "actionlint", rule: "events", ours: &["wasted-trigger"], whole_file: false },
    Same {
        tool: "actionlint",
        rule: "matrix",
        ours: &["matrix-value-never", "single-value-matrix"],
        whole_file: false,
    },
    Same { tool: "actionlint", rule: "expression", ours: &["output-never-set"], whole_file: false },
    Same {
        tool: "agnix",
        rule: "CC-AG-*",
        ours: &["agent-not-loaded", "unknown-key", "name-mismatch", "tool-gap"],
        whole_file: false,
    },
    Same {
        tool: "agnix",
        rule: "CC-SK-*",
        ours: &["broken-frontmatter", "unknown-key", "name-mismatch", "undefined-agent"],
        whole_file: false,
    },
    Same {
        tool: "agnix",
        rule: "CC-HK-*",
        ours: &["hook-timeout-unit", "gate-hook-fails-open", "unreadable-file", "missing-reference"],
        whole_file: false,
    },
    Same { tool: "agnix", rule: "REF-*", ours: &["missing-reference"], whole_file: false },
];

impl Same {
    fn is_about(&self, foreign: &Foreign) -> bool {
        let named = match self.rule.strip_suffix('*') {
            Some(start) => foreign.rule.starts_with(start),
            None => foreign.rule == self.rule,
        };
        named && foreign.tool.eq_ignore_ascii_case(self.tool)
    }
}

/// Keeps each foreign finding once, in order, and marks those that one of ours says too.
pub fn fold(foreign: &mut Vec<Foreign>, ours: &[Finding]) {
    foreign.sort_by(|a, b| {
        (&a.place, &a.tool, &a.rule, &a.message).cmp(&(&b.place, &b.tool, &b.rule, &b.message))
    });
    let mut seen = BTreeSet::new();
    foreign.retain(|one| {
        seen.insert((one.tool.clone(), one.rule.clone(), one.place.clone(), one.message.clone()))
    });
    let mut by_path: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in ours {
        by_path.entry(&finding.place.path).or_default().push(finding);
    }
    for one in foreign {
        let same: Vec<&Same> = SAME.iter().filter(|same| same.is_about(one)).collect();
        let says = |finding: &&&Finding| {
            let meets = finding.place.line <= one.place.end_line && one.place.line <= finding.place.end_line;
            // What warns there is not hidden behind what does not warn here.
            let heard = finding.warns() || one.severity < Severity::Medium;
            heard && same.iter().any(|same| same.ours.contains(&&*finding.rule) && (same.whole_file || meets))
        };
        let ours = by_path.get(&*one.place.path).into_iter().flatten().find(says);
        one.same_as = ours.map(|finding| finding.fingerprint.clone());
    }
}
