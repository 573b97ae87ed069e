//! The stages of an audit: straight through them, or as the tasks of a run.

use kapell_lint::{
    audit::audit_with,
    collect::inventory,
    files::Files,
    fix::{Patch, patch, patch_knowing},
    patterns::{anti_patterns, leave_out_contradicted, patterns},
    repository::Repository,
    rule::{Focus, Group, Rule},
    rules::RULES,
    suppress::{self, Baseline},
};
use kapell_view::audit::{AUDIT_VIEW_VERSION, AuditView, Finding, FixClass, Inventory, Pattern};
use serde::{Deserialize, Serialize};

use super::{ground::lies_below, kept::Judged, proposal::unified};
use crate::args::{AuditOutput, ImproveArgs};

/// Tells whether a rule is asked for.
pub(super) fn is_chosen(args: &ImproveArgs, rule: &Rule) -> bool {
    let focus: Option<Focus> = args.focus.into();
    focus.is_none_or(|focus| rule.focus == focus)
        && (args.rule.is_empty() || args.rule.iter().any(|name| name == rule.name))
}

/// Tells whether repairs are asked for.
pub(super) fn proposes(args: &ImproveArgs) -> bool {
    (args.output == AuditOutput::Full || args.implement || args.dry_run) && !args.validate_only
}

/// Looks with the chosen rules, of all families or of one.
pub(super) fn look(repository: &Repository, args: &ImproveArgs, family: Option<Group>) -> Vec<Finding> {
    let of_family = |rule: &Rule| family.is_none_or(|family| rule.group == family);
    audit_with(repository, &|rule| of_family(rule) && is_chosen(args, rule))
}

/// What is there.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mapped {
    pub(super) inventory: Inventory,
    pub(super) patterns: Vec<Pattern>,
}

impl Mapped {
    /// Lists assets, references and patterns.
    pub(super) fn of(repository: &Repository, args: &ImproveArgs) -> Self {
        let below = &*args.part.below;
        let (mut inventory, mut patterns) = (inventory(repository), patterns(repository));
        if !below.is_empty() {
            inventory = inventory.within(|path| lies_below(path, below));
            patterns.retain(|pattern| lies_below(&pattern.place.path, below));
        }
        Self { inventory, patterns }
    }
}

/// What is wrong, without what people keep quiet.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Settled {
    pub(super) findings: Vec<Finding>,
    /// What all rules find, if all were asked: fixes are held against that.
    all: Option<Vec<Finding>>,
    suppressed: u32,
}

impl Settled {
    /// Leaves out what lies elsewhere than what is shown, and what comments keep quiet.
    pub(super) fn of(files: &Files, args: &ImproveArgs, mut findings: Vec<Finding>) -> Self {
        let all = RULES.iter().all(|rule| is_chosen(args, rule)).then(|| findings.clone());
        findings.retain(|finding| lies_below(&finding.place.path, &args.part.below));
        let suppressed = suppress::by_comments(files, &mut findings);
        Self { findings, all, suppressed }
    }

    /// Leaves out what is known.
    pub(super) fn leave_out(&mut self, baseline: &Baseline) {
        self.suppressed += baseline.apply(&mut self.findings);
    }

    /// Tries the safe fixes, if repairs are asked for.
    pub(super) fn mend(&self, repository: &Repository, args: &ImproveArgs) -> Patch {
        match &self.all {
            _ if !proposes(args) => Patch::default(),
            Some(all) => patch_knowing(repository, &self.findings, all),
            None => patch(repository, &self.findings),
        }
    }

    /// Puts together what an audit came to.
    pub(super) fn sum_up(self, mapped: Mapped, patch: Patch) -> Judged {
        let Self { mut findings, suppressed, .. } = self;
        // What did not pass the checks is for a person to look at.
        for (index, _) in &patch.dropped {
            if let Some(fix) = findings.get_mut(*index).and_then(|finding| finding.fix.as_mut()) {
                fix.class = FixClass::Review;
            }
        }
        let Mapped { inventory, mut patterns } = mapped;
        leave_out_contradicted(&mut patterns, &findings);
        let (unread, imported) = (Vec::new(), Vec::new());
        let view = AuditView {
            version: AUDIT_VIEW_VERSION,
            anti_patterns: anti_patterns(&findings),
            inventory,
            findings,
            suppressed,
            unread,
            imported,
            patterns,
            patch: unified(&patch.changes),
        };
        Judged { view, patch, deliverables: None }
    }
}
