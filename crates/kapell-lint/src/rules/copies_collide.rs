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
            let Some(alone) = Alone::of(repository, &service.command) else { continue };
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

/// Programs that bring a schema up to date, and take no lock for it, to our knowledge as of 2026-08. Those of Rails, Prisma,
/// Flyway, Liquibase, Ecto and golang-migrate take one.
///
/// Source: "Running Migrations" of Laravel, which has `--isolated` for that.
const UNLOCKED: &[&str] = &[
    "manage.py migrate",
    "django-admin migrate",
    "alembic upgrade",
    "flask db upgrade",
    "artisan migrate",
    "sequelize db:migrate",
    "sequelize-cli db:migrate",
];

/// Options with which they only look.
const LOOKS: &[&str] = &["--check", "--plan", "--pretend", "--sql", "--dry-run"];

/// Tells whether a command brings a schema up to date and takes no lock: `alembic upgrade head`, not `artisan migrate:status`.
fn migrates(command: &str) -> bool {
    let mut behind = UNLOCKED.iter().flat_map(|known| command.split(known).skip(1));
    let runs = behind.any(|rest| {
        let options = rest.split([';', '|', '&']).next().unwrap_or_default();
        let whole = rest.is_empty() || rest.starts_with([' ', ';', '|', '&', '"', '\'', ')']);
        whole && !LOOKS.iter().any(|look| options.contains(look))
    });
    runs && !command.contains("--isolated") && !is_locked(command)
}

/// Tells whether a text speaks of a lock.
fn is_locked(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| {
        let word = word.to_ascii_lowercase();
        // `flock`, `redlock`.
        let lock =
            word.ends_with("lock") && !["block", "clock", "unlock"].iter().any(|end| word.ends_with(end));
        lock || matches!(&*word, "locks" | "locked" | "locking" | "mutex")
    })
}

impl Alone {
    /// Reads a command. What sets a scheduler up may stand in another file.
    fn of(repository: &Repository, command: &str) -> Option<Self> {
        let found = Self::said_by(command)?;
        let locked = || repository.files.iter().any(|(_, file)| file.text.contains("redbeat"));
        (found == Self::Migration || !locked()).then_some(found)
    }

    fn said_by(command: &str) -> Option<Self> {
        let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
        if schedules(&command) {
            return Some(Self::Scheduler);
        }
        migrates(&command).then_some(Self::Migration)
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

/// Options of celery that have a value behind them, before its command.
const VALUED: &[&str] =
    &["-A", "--app", "-b", "--broker", "--result-backend", "--loader", "--config", "--workdir"];

/// Schedulers of celery that take no lock.
const PLAIN: &[&str] = &["DatabaseScheduler", "PersistentScheduler"];

/// Tells whether a command starts tasks at their times: `celery worker -B`, `celery beat`, `supercronic`, `crond`. A scheduler
/// that may take a lock (`-S redbeat.RedBeatScheduler`) may have copies.
///
/// Source: <https://docs.celeryq.dev/en/stable/userguide/periodic-tasks.html>: "You have to ensure only a single scheduler is
/// running for a schedule at a time, otherwise you'd end up with duplicate tasks."
fn schedules(command: &str) -> bool {
    let words: Vec<&str> = command.split(' ').map(|word| word.trim_matches(['"', '\''])).collect();
    let named = |name: &str| words.iter().position(|word| word.rsplit('/').next() == Some(name));
    let beats = named("celery").is_some_and(|at| {
        let rest = &words[at + 1..];
        let is_plain = |(at, word): (usize, &&&str)| {
            !word.starts_with('-') && (at == 0 || !VALUED.contains(&rest[at - 1]))
        };
        let verb = rest.iter().enumerate().find(|(at, word)| is_plain((*at, word))).map(|(_, verb)| *verb);
        verb == Some("beat")
            || verb == Some("worker") && rest.iter().any(|word| matches!(*word, "-B" | "--beat"))
    });
    let chosen = words.iter().any(|word| *word == "-S" || word.starts_with("--scheduler"));
    let plain = words.iter().any(|word| PLAIN.iter().any(|known| word.ends_with(known)));
    beats && (!chosen || plain) || named("supercronic").is_some() || named("crond").is_some()
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
            "sh -c 'celery beat -A shop'",
            "celery -A shop beat -S django_celery_beat.schedulers:DatabaseScheduler",
        ];
        assert!(alone.iter().all(|command| Alone::said_by(command) == Some(Alone::Scheduler)));
        let fine = [
            "celery -A shop worker -c 4",
            "celery -A shop beat -S redbeat.RedBeatScheduler",
            "python heartbeat.py beat",
            "celery -A shop worker -Q beat",
            "celery -A beat worker",
            "until python manage.py migrate --check; do sleep 2; done",
            "until php artisan migrate:status | grep -q Ran; do sleep 2; done",
            "flock /tmp/x alembic upgrade head",
            "redlock alembic upgrade head",
            "artisan migrate --isolated --force",
            "bin/rails db:migrate",
        ];
        assert!(fine.iter().all(|command| Alone::said_by(command).is_none()));
        assert_eq!(Alone::said_by("alembic upgrade head && uvicorn app"), Some(Alone::Migration));
        assert_eq!(Alone::said_by("python manage.py migrate && unblock"), Some(Alone::Migration));
    }
}
