//! Services that run once, and end: what needs them needs what they have done.

use kapell_view::audit::Severity;

use super::{Waiter, is_early, waits};
use crate::{
    rule::Report,
    systems::{Compose, Word, compose::Service, image_parts},
};

/// What a service does that runs once.
#[derive(Clone, Copy)]
pub(super) enum Once {
    /// It brings a schema up to date.
    Migrates,
    /// It prepares something else: buckets, topics, first entries.
    Prepares,
}

/// Commands that bring a schema up to date, and end.
const MIGRATES: &[&str] = &[
    "alembic upgrade",
    "prisma migrate deploy",
    "prisma db push",
    "manage.py migrate",
    "db:migrate",
    "db:prepare",
    "migrate:latest",
    "migration:run",
    "migrations:migrate",
    "artisan migrate",
    "ef database update",
    "flyway migrate",
    "liquibase update",
    "goose up",
    "dbmate up",
    "dbmate migrate",
    "sqlx migrate run",
    "diesel migration run",
    "drizzle-kit migrate",
    "drizzle-kit push",
    "sequelize db:migrate",
    "flask db upgrade",
    "atlas migrate apply",
    "ecto.migrate",
    ".migrate()",
    "migrate up",
];

/// Images whose only purpose it is to bring a schema up to date.
const MIGRATING: &[&str] = &["migrate/migrate", "flyway/flyway", "liquibase/liquibase", "arigaio/atlas"];

/// Commands that prepare something for others, and end.
const PREPARES: &[&str] = &[
    "mc mb",
    "kafka-topics",
    "rpk topic create",
    "loaddata",
    "db:seed",
    "prisma db seed",
    "aws s3 mb",
    "awslocal s3",
    "vault kv put",
    "createsuperuser",
    "manage.py collectstatic",
];

/// Last words of what ends.
const ENDS: &[&str] = &["exit 0", "exit;", "echo ", "seed", "true", "done"];

/// What goes on after what it did at first.
const GOES_ON: &[&str] = &[
    "serve",
    "runserver",
    "uvicorn",
    "gunicorn",
    "hypercorn",
    "daphne",
    "start",
    "puma",
    "sidekiq",
    "celery",
    "worker",
    "exec ",
    "tail -f",
    "sleep infinity",
    "while ",
    "npm run dev",
    "dotnet watch",
    "supervisord",
    "java -jar",
    "artisan queue",
    "phx.server",
];

/// Tells whether a command brings a schema up to date.
pub(super) fn migrates(command: &str) -> bool {
    let command = command.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    MIGRATES.iter().any(|known| command.contains(known))
}

/// Returns what a service does that ends when it has done it. One that is started again, is asked for its health or
/// listens on a port goes on.
pub(super) fn ends(needed: &Service) -> Option<Once> {
    if needed.always || listens(needed) {
        return None;
    }
    let command = needed.command.split_whitespace().collect::<Vec<_>>().join(" ");
    let command = command.replace("bundle exec ", "").to_ascii_lowercase();
    let parts: Vec<&str> = command.split("&&").flat_map(|part| part.split([';', '|'])).collect();
    let last = parts.last().map_or("", |last| last.trim());
    let says_in = |text: &str, known: &[&str]| known.iter().any(|known| text.contains(known));
    // The last of several may be a server of any name.
    let goes_on = says_in(last, GOES_ON)
        || last.ends_with('&')
        || parts.len() > 1 && ![MIGRATES, PREPARES, ENDS].iter().any(|known| says_in(last, known));
    if goes_on {
        return None;
    }
    let image = needed.image.as_deref().map_or("", |image| image_parts(image).0);
    let says = |known: &[&str]| says_in(&command, known);
    if says(MIGRATES) || MIGRATING.iter().any(|known| image.ends_with(known)) {
        return Some(Once::Migrates);
    }
    says(PREPARES).then_some(Once::Prepares)
}

/// Tells whether others may ask a service for something.
fn listens(service: &Service) -> bool {
    !service.ports.is_empty() || !service.exposed.is_empty() || service.healthcheck
}

/// What starts beside the one that it waits for may not find what that prepares.
pub(super) fn unfinished(
    compose: &Compose,
    needed: &Service,
    what: Once,
    waiters: &[Waiter<'_>],
    report: &mut Report<'_>,
) {
    // A schema of before is no failure, so that nothing starts it again.
    let early = |service: &Service, condition| match what {
        Once::Migrates => is_early_for_schema(service, condition),
        Once::Prepares => is_early(service, condition),
    };
    let mut early = waiters
        .iter()
        .filter(|(service, _, condition)| early(service, *condition) && ends(service).is_none());
    let Some((service, name, _)) = early.next() else { return };
    let (meets, severity) = match what {
        Once::Migrates => ("it may meet the schema of before", Severity::High),
        Once::Prepares => ("it may not find what that prepares", Severity::Medium),
    };
    let message = format!(
        "`{}` starts as soon as `{}` has a process, not when it is done: {meets}",
        &*service.name, &**name
    );
    let hint = "wait with `condition: service_completed_successfully`";
    let mut draft = report.add(compose.file, name.span, message).severity(severity).hint(hint);
    draft = draft.also(compose.file, needed.name.span, "this runs once, and ends");
    for (service, name, _) in early {
        draft = draft.also(compose.file, name.span, format!("`{}` too", &*service.name));
    }
    draft.done();
}

/// What is started again whenever it ends never is done, so that who waits for its end either waits for ever or goes on while
/// it runs again.
///
/// Source: `restart` and `depends_on` in <https://docs.docker.com/reference/compose-file/services/>: `always` restarts the
/// container until its removal.
pub(super) fn never_done(
    compose: &Compose,
    needed: &Service,
    waiters: &[Waiter<'_>],
    report: &mut Report<'_>,
) {
    let until_done =
        |condition: Option<&Word>| condition.is_some_and(|word| &**word == "service_completed_successfully");
    let mut waiting = waiters.iter().filter(|(_, _, condition)| until_done(*condition));
    let Some((service, name, _)) = waiting.next().filter(|_| needed.always) else { return };
    let message = format!(
        "`{}` waits until `{}` is done, but that is started again whenever it ends",
        &*service.name, &**name
    );
    let hint = format!("give `{}` a `restart: on-failure` or `no`", &*needed.name);
    let mut draft = report.add(compose.file, name.span, message).severity(Severity::High).hint(hint);
    draft = draft.also(compose.file, needed.name.span, "this is always restarted");
    for (service, name, _) in waiting {
        draft = draft.also(compose.file, name.span, format!("`{}` too", &*service.name));
    }
    draft.done();
}

/// Tells whether a service starts beside a migration. What runs once itself, looks only, or waits by its own command, may.
fn is_early_for_schema(service: &Service, condition: Option<&Word>) -> bool {
    // What fails on the schema of before is started again; what serves may answer by it.
    let serves = listens(service)
        || ["serve", "uvicorn", "gunicorn", "puma", "start"]
            .iter()
            .any(|word| service.command.contains(word));
    condition.is_none_or(|word| &**word == "service_started")
        && !waits(&service.command)
        && (service.restarts && condition.is_some() && serves || is_early(service, condition))
        && !LOGS.iter().any(|word| service.image.as_ref().is_some_and(|image| image.contains(word)))
}

/// Images that gather what others write, or answer for others, and look into no schema.
const LOGS: &[&str] = &[
    "promtail",
    "fluent",
    "vector",
    "nginx",
    "caddy",
    "traefik",
    "prometheus",
    "grafana",
    "adminer",
    "pgadmin",
];
