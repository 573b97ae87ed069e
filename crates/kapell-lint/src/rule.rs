//! What a rule is, and how it reports.

use std::collections::BTreeSet;

use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, Edit, Finding, Fix, FixClass, Place, Related, Severity};

use crate::{
    files::{FileId, Files},
    intent,
    repository::{Models, Repository},
};

/// A family of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// What makes a run longer than it must be.
    CriticalPath,
    /// What can never run.
    Dead,
    /// Checks that do not check.
    Gates,
    /// Caches that do not help.
    Cache,
    /// Work done twice or for nothing.
    Waste,
    /// What can hang, race or not be taken back.
    Safety,
    /// The same text kept in several places.
    Reuse,
    /// Who names and reaches whom among agents.
    AgentGraph,
    /// How a command leads its agents.
    AgentFlow,
    /// What does not fit between systems.
    CrossSystem,
    /// Code that calls models or agents.
    Code,
    /// Files that are not read as they are meant.
    Reading,
}

impl Group {
    /// All families.
    pub const ALL: [Self; 12] = [
        Self::CriticalPath,
        Self::Dead,
        Self::Gates,
        Self::Cache,
        Self::Waste,
        Self::Safety,
        Self::Reuse,
        Self::AgentGraph,
        Self::AgentFlow,
        Self::CrossSystem,
        Self::Code,
        Self::Reading,
    ];

    /// Returns the family's name, in kebab-case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CriticalPath => "critical-path",
            Self::Dead => "dead",
            Self::Gates => "gates",
            Self::Cache => "cache",
            Self::Waste => "waste",
            Self::Safety => "safety",
            Self::Reuse => "reuse",
            Self::AgentGraph => "agent-graph",
            Self::AgentFlow => "agent-flow",
            Self::CrossSystem => "cross-system",
            Self::Code => "code",
            Self::Reading => "reading",
        }
    }

    /// Returns the models that rules of the family ask. A rule that asks another belongs to another family.
    #[must_use]
    pub fn asks(self) -> Models {
        let none = Models::default();
        match self {
            Self::CriticalPath | Self::Dead | Self::Cache | Self::Waste | Self::Reuse => {
                Models { github: true, ..none }
            }
            // Agents and runbooks say how to take back what workflows do, and what is done after a failure.
            Self::Gates => Models { github: true, agents: true, ..none },
            // Code makes things elsewhere as well.
            Self::Safety => Models { github: true, agents: true, code: true, ..none },
            // Code makes agents and graphs of them as well.
            Self::AgentGraph => Models { agents: true, code: true, ..none },
            Self::AgentFlow => Models { agents: true, ..none },
            Self::CrossSystem => Models { github: true, systems: true, ..none },
            Self::Code => Models { code: true, ..none },
            Self::Reading => Models { github: true, agents: true, systems: true, ..none },
        }
    }
}

/// One of the eight anti-patterns of the summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AntiPattern {
    /// Sequential though parallel is possible.
    Sequential,
    /// Circular dependency.
    Circular,
    /// Shared state without a lock.
    SharedState,
    /// Missing timeout or retry.
    NoTimeout,
    /// Tight coupling.
    Coupling,
    /// Context not shared: fetched or built again.
    Context,
    /// No rollback.
    NoRollback,
    /// Hardcoded selection.
    Hardcoded,
}

/// A focus of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Focus {
    /// How long it takes and what it costs.
    Performance,
    /// What happens when something fails.
    Resilience,
    /// Who is in whose way.
    Conflicts,
    /// What is kept, where, and for whom.
    State,
}

impl Focus {
    /// Returns its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Performance => "performance",
            Self::Resilience => "resilience",
            Self::Conflicts => "conflicts",
            Self::State => "state",
        }
    }
}

/// A rule.
pub struct Rule {
    /// Its name, in kebab-case; part of the interface.
    pub name: &'static str,
    /// What it is about, in one line.
    pub summary: &'static str,
    /// Its family.
    pub group: Group,
    /// The anti-pattern it is evidence of.
    pub anti_pattern: Option<AntiPattern>,
    /// What it matters for.
    pub focus: Focus,
    /// How bad it is, unless a finding says otherwise.
    pub severity: Severity,
    /// How sure it is, unless a finding says otherwise.
    pub confidence: Confidence,
    /// The least depth at which it looks.
    pub depth: crate::repository::Depth,
    /// Its page: why, before, after, when not.
    pub page: &'static str,
    /// Looks at a repository.
    pub check: fn(&Repository, &mut Report<'_>),
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The least time that a run has to lose for a finding of nothing but time to warn, in seconds.
pub const WORTH_SECONDS: u32 = 60;

/// Where a rule puts what it finds.
#[derive(Debug)]
pub struct Report<'a> {
    repository: &'a Repository,
    rule: &'static Rule,
    findings: Vec<Finding>,
    /// Those that are about more than time, by their index.
    beyond_time: BTreeSet<usize>,
}

impl<'a> Report<'a> {
    /// Starts the report of a rule.
    #[must_use]
    pub fn new(repository: &'a Repository, rule: &'static Rule) -> Self {
        Self { repository, rule, findings: Vec::new(), beyond_time: BTreeSet::new() }
    }

    /// Adds a finding; what it returns can say more about it.
    pub fn add(&mut self, file: FileId, span: Span, message: impl Into<String>) -> Draft<'_> {
        let source = &self.repository.files[file];
        let at = self.findings.len();
        let text = source.text.get(span.range()).unwrap_or_default();
        let fingerprint = fingerprint(self.rule.name, &source.path, text);
        self.findings.push(Finding {
            rule: self.rule.name.to_owned(),
            severity: self.rule.severity,
            confidence: self.rule.confidence,
            message: message.into(),
            place: source.place(span),
            related: Vec::new(),
            hint: None,
            fix: None,
            saving_seconds: None,
            spared_seconds: None,
            saving_recorded: false,
            explained: None,
            fingerprint,
        });
        let finding = &mut self.findings[at];
        Draft { repository: self.repository, finding, at, beyond_time: &mut self.beyond_time }
    }

    /// Returns what was found. What something generates is not mended here, but there; what people explain is a note.
    #[must_use]
    pub fn into_findings(mut self) -> Vec<Finding> {
        let files = &self.repository.files;
        for (at, finding) in self.findings.iter_mut().enumerate() {
            if let Some((path, generator)) = generated(files, finding) {
                let there = format!("{path} is generated by {generator}: change it there");
                finding.hint =
                    Some(finding.hint.take().map_or(there.clone(), |hint| format!("{hint}; {there}")));
                finding.fix = None;
            }
            let saves = finding.saving_seconds.or(finding.spared_seconds).is_some();
            finding.saving_recorded = saves && self.repository.is_recorded(&finding.place.path);
            // Where nothing but time is lost, and little of it, nobody has to act.
            let little = finding.saving_seconds.is_some_and(|seconds| seconds < WORTH_SECONDS);
            if self.rule.focus == Focus::Performance && little && !self.beyond_time.contains(&at) {
                finding.severity = finding.severity.min(Severity::Low);
            }
            if finding.explained.is_none() && finding.severity > Severity::Info {
                explain(files, finding);
            }
        }
        self.findings
    }
}

/// Lowers a finding to a note where a comment gives a reason for what it is about.
fn explain(files: &Files, finding: &mut Finding) {
    let place = &finding.place;
    let Some(file) = files.find(&place.path).map(|id| &files[id]) else { return };
    if let Some(comment) = intent::reason(file, (place.line, place.end_line), &finding.rule) {
        finding.severity = Severity::Info;
        finding.explained = Some(comment);
    }
}

/// Returns the file of a finding, or of its fix, that something generates, and what does.
fn generated(files: &Files, finding: &Finding) -> Option<(String, String)> {
    let edits = finding.fix.iter().flat_map(|fix| &fix.edits).map(|edit| &edit.place.path);
    let mut paths = edits.chain([&finding.place.path]);
    paths.find_map(|path| Some((path.clone(), files[files.find(path)?].generator()?.to_owned())))
}

/// Returns a name for a finding that stays when lines move: 16 hex digits.
fn fingerprint(rule: &str, path: &str, text: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [rule, path, text.trim()] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// A finding that is being written.
#[derive(Debug)]
pub struct Draft<'a> {
    repository: &'a Repository,
    finding: &'a mut Finding,
    at: usize,
    beyond_time: &'a mut BTreeSet<usize>,
}

impl Draft<'_> {
    fn place(&self, file: FileId, span: Span) -> Place {
        self.repository.files[file].place(span)
    }

    /// Says how bad this one is.
    #[must_use = "chain or drop"]
    pub fn severity(self, severity: Severity) -> Self {
        self.finding.severity = severity;
        self
    }

    /// Says how sure this one is.
    #[must_use = "chain or drop"]
    pub fn confidence(self, confidence: Confidence) -> Self {
        self.finding.confidence = confidence;
        self
    }

    /// Points at another place of the same cause.
    #[must_use = "chain or drop"]
    pub fn also(self, file: FileId, span: Span, text: impl Into<String>) -> Self {
        let place = self.place(file, span);
        self.finding.related.push(Related { place, text: text.into() });
        self
    }

    /// Says what to do about it.
    #[must_use = "chain or drop"]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.finding.hint = Some(hint.into());
        self
    }

    /// Says how much sooner a run would end; it may be not at all.
    #[must_use = "chain or drop"]
    pub fn saving(self, seconds: u32) -> Self {
        self.finding.saving_seconds = (seconds > 0).then_some(seconds);
        self
    }

    /// Says how much less the runners would work each time; it may be nothing.
    #[must_use = "chain or drop"]
    pub fn runners(self, seconds: u32) -> Self {
        self.finding.spared_seconds = (seconds > 0).then_some(seconds);
        self
    }

    /// Says how much sooner a run would end, of a fault that is worth mending for more than its time.
    #[must_use = "chain or drop"]
    pub fn spares(self, seconds: u32) -> Self {
        self.beyond_time.insert(self.at);
        self.saving(seconds)
    }

    /// Lowers it to a note, for the files say why it is so.
    #[must_use = "chain or drop"]
    pub fn explained(self, comment: impl Into<String>) -> Self {
        self.finding.severity = Severity::Info;
        self.finding.explained = Some(comment.into());
        self
    }

    /// Says how to mend it, by edits of whole ranges of bytes in any files.
    #[must_use = "chain or drop"]
    pub fn fix(
        self,
        title: impl Into<String>,
        class: FixClass,
        edits: impl IntoIterator<Item = (FileId, Span, String)>,
    ) -> Self {
        let edits = edits
            .into_iter()
            .map(|(file, span, text)| Edit { place: self.place(file, span), text })
            .collect();
        self.finding.fix = Some(Fix { title: title.into(), class, edits });
        self
    }

    /// Ends the draft.
    pub fn done(self) {}
}

/// The most names that a sentence lists.
const LISTED: usize = 8;

/// Writes names as a list for people, and how many more there are.
pub(crate) fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    listed(names.into_iter().map(|name| format!("`{name}`")), LISTED)
}

/// Writes words as a list for people: the first `most`, and how many more there are.
pub(crate) fn listed(words: impl IntoIterator<Item = String>, most: usize) -> String {
    let mut shown: Vec<String> = words.into_iter().collect();
    let more = shown.len().saturating_sub(most);
    shown.truncate(most);
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    match shown.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => shown.concat(),
    }
}
