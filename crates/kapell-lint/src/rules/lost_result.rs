//! Work that is started and whose result, or whose failure, nobody ever gets.

mod acked; // messages that are taken off their queue too soon
mod answered; // failures that are kept as answers
mod averaged; // failures that an average leaves out
mod called; // asynchronous functions that are called and not awaited
mod compared; // failures that are taken for successes
mod each; // `forEach` with an async function
mod every; // failures that are left out before all of the rest are asked
mod filtered; // failures that are left out before a program decides by the rest
mod hung; // items that a worker leaves unmarked
mod invented; // answers that are made up
mod kept; // what is kept of results
mod settled; // failures that are gathered, and that nobody looks at
mod signalled; // programs that a signal ended, taken for done
mod task; // tasks that nobody keeps
mod unseen; // results of tools that no model sees

use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::service::Methods,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/lost-result.md`.
pub(super) static RULE: Rule = Rule {
    name: "lost-result",
    summary: "work is started, and nobody waits for it or looks at whether it failed",
    group: Group::Code,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/lost-result.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let methods = Methods::new(&repository.code);
    for unit in repository.code.iter() {
        called::check(&methods, unit, report);
        each::check(&methods, unit, report);
        invented::check(unit, report);
        signalled::check(unit, report);
        acked::check(unit, report);
        settled::check(&methods, unit, report);
        averaged::check(&methods, unit, report);
        compared::check(&methods, unit, report);
        filtered::check(&methods, &repository.code, unit, report);
        hung::check(&methods, &repository.code, unit, report);
        unseen::check(repository, unit, report);
        every::check(&methods, &repository.code, unit, report);
    }
    for (file, script) in repository.scripts() {
        for dropped in &script.dropped {
            let message = "the agents that failed are left out before this asks the rest: where all fail, nobody objects";
            let draft = report.add(*file, dropped.verdict, message.to_owned());
            let draft =
                draft.hint("count what is `null` as a no, or end where fewer came back than were started");
            draft.also(*file, dropped.span, "leaves out what failed").done();
        }
    }
    task::check(&methods, repository.code.iter(), report);
    answered::check(&methods, repository.code.iter(), report);
}
