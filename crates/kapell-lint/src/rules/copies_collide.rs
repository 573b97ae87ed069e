//! What may run only once runs in several copies, or again before it has ended.

mod objects; // of Kubernetes

use kapell_view::audit::{Confidence, Severity};

use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/copies-collide.md`.
pub(super) static RULE: Rule = Rule {
    name: "copies-collide",
    summary: "what may run only once runs in several copies, or again before it has ended",
    group: Group::CrossSystem,
    anti_pattern: Some(AntiPattern::SharedState),
    focus: Focus::State,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/copies-collide.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    objects::check(repository, report);
    for compose in &repository.systems.composes {
        for service in &compose.services {
            let Some((copies, span)) = service.copies.filter(|(copies, _)| *copies > 1) else { continue };
            let Some(alone) = Alone::of(&service.command) else { continue };
            let message = format!("`{}` runs in {copies} copies, and {}", &*service.name, alone.why());
            report
                .add(compose.file, span, message)
                .severity(alone.severity())
                .confidence(alone.confidence())
                .hint(alone.hint())
                .done();
        }
    }
}

/// Something that may run only once at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    /// A program that starts others at their times.
    Scheduler,
    /// A program that brings a schema up to date without a lock of its own.
    Migration,
}

/// Programs that bring a schema up to date, and take no lock for it. Those of Rails, Prisma, Flyway, Liquibase, Ecto and
/// golang-migrate take one.
///
/// Source: "Running Migrations" of Laravel, which has `--isolated` for that; Django and Alembic have none.
const UNLOCKED: &[&str] = &[
    "manage.py migrate",
    "django-admin migrate",
    "alembic upgrade",
    "flask db upgrade",
    "artisan migrate",
    "sequelize db:migrate",
    "sequelize-cli db:migrate",
];

impl Alone {
    /// Reads a command.
    fn of(command: &str) -> Option<Self> {
        let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
        if schedules(&command) {
            return Some(Self::Scheduler);
        }
        let migrates = UNLOCKED.iter().any(|known| command.contains(known));
        let locked = ["--isolated", "flock", "lock"].iter().any(|word| command.contains(word));
        (migrates && !locked).then_some(Self::Migration)
    }

    fn why(self) -> &'static str {
        match self {
            Self::Scheduler => "each starts every task at its time: all of them are done several times",
            Self::Migration => {
                "each brings the schema up to date as it starts, without a lock: they do so at once"
            }
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Scheduler => "run the scheduler in a service of its own, in one copy",
            Self::Migration => "migrate in a job of its own, before the copies start",
        }
    }

    fn severity(self) -> Severity {
        if self == Self::Scheduler { Severity::High } else { Severity::Medium }
    }

    fn confidence(self) -> Confidence {
        if self == Self::Scheduler { Confidence::High } else { Confidence::Medium }
    }
}

/// Tells whether a command starts tasks at their times: `celery worker -B`, `celery beat`, `supercronic`, `crond`. A scheduler
/// that takes a lock (`-S redbeat.RedBeatScheduler`) may have copies.
///
/// Source: <https://docs.celeryq.dev/en/stable/userguide/periodic-tasks.html>: "You have to ensure only a single scheduler is
/// running for a schedule at a time, otherwise you'd end up with duplicate tasks."
fn schedules(command: &str) -> bool {
    let words: Vec<&str> = command.split(' ').collect();
    let named = |name: &str| words.iter().any(|word| word.rsplit('/').next() == Some(name));
    let has = |known: &[&str]| words.iter().any(|word| known.contains(word));
    let beats = named("celery") && (has(&["-B", "--beat"]) || has(&["beat"]));
    let locked =
        words.iter().any(|word| *word == "-S" || word.starts_with("--scheduler") || word.contains("redbeat"));
    beats && !locked || named("supercronic") || named("crond")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduler_without_a_lock_may_run_once() {
        let alone = [
            "celery -A shop worker -B -c 4",
            "celery -A shop beat -l info",
            "/venv/bin/celery -A shop worker --beat",
            "supercronic /etc/crontab",
        ];
        assert!(alone.iter().all(|command| Alone::of(command) == Some(Alone::Scheduler)));
        let fine = [
            "celery -A shop worker -c 4",
            "celery -A shop beat -S redbeat.RedBeatScheduler",
            "python heartbeat.py beat",
            "artisan migrate --isolated --force",
            "bin/rails db:migrate",
        ];
        assert!(fine.iter().all(|command| Alone::of(command).is_none()));
        assert_eq!(Alone::of("alembic upgrade head && uvicorn app"), Some(Alone::Migration));
    }
}
