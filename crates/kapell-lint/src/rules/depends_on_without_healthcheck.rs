//! A service that starts as soon as another one's process runs, not when it answers.

mod applied; // to a cluster, by workflows
mod beside; // a job
mod by_itself; // services that wait themselves
mod once;

use std::collections::BTreeMap;

use kapell_spec::suggest;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
    systems::{Compose, Word, compose::Service, image_parts},
};

/// See `docs/rules/depends-on-without-healthcheck.md`.
pub(super) static RULE: Rule = Rule {
    name: "depends-on-without-healthcheck",
    summary: "a service of a compose file that starts before what it needs can answer",
    group: Group::CrossSystem,
    anti_pattern: Some(AntiPattern::NoTimeout),
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/depends-on-without-healthcheck.md"),
    check,
};

/// Images that need seconds before they answer, and have no health check of their own.
const SLOW: &[&str] = &[
    "postgres",
    "postgis",
    "pgvector",
    "timescaledb",
    "mysql",
    "mariadb",
    "mongo",
    "redis",
    "valkey",
    "rabbitmq",
    "kafka",
    "elasticsearch",
    "opensearch",
    "cassandra",
    "neo4j",
    "clickhouse-server",
    "nats",
    "temporal",
    "postgresql",
    "mongodb",
    "mongodb-community-server",
    "percona",
    "percona-server",
    "cockroach",
    "scylla",
    "couchdb",
    "couchbase",
    "influxdb",
    "keydb",
    "dragonfly",
    "cp-kafka",
    "redpanda",
    "pulsar",
    "activemq",
    "activemq-artemis",
    "solr",
    "keycloak",
    "mssql/server",
    "azure-sql-edge",
    "oracle-xe",
    "oracle-free",
    "timescaledb-ha",
    "redis-stack",
    "redis-stack-server",
];

/// Pages to look at what is there: they ask only when somebody opens them.
const LOOKERS: &[&str] = &[
    "adminer",
    "phpmyadmin",
    "pgadmin4",
    "redis-commander",
    "redisinsight",
    "dbgate",
    "cloudbeaver",
    "kafka-ui",
    "akhq",
];

/// Who waits, where it says for whom, and until what.
type Waiter<'a> = (&'a Service, &'a Word, Option<&'a Word>);

fn check(repository: &Repository, report: &mut Report<'_>) {
    applied::check(repository, report);
    beside::check(repository, report);
    for compose in &repository.systems.composes {
        unknown(repository, compose, report);
        let mut waiting: BTreeMap<&str, Vec<Waiter<'_>>> = BTreeMap::new();
        for service in compose.services.iter().filter(|service| !service.partial) {
            for (name, condition) in &service.depends {
                waiting.entry(name).or_default().push((service, name, condition.as_ref()));
            }
        }
        for (name, waiters) in waiting {
            let Some(needed) = compose.service(name) else { continue };
            if needed.partial || compose.partial {
                continue;
            }
            once::never_done(compose, needed, &waiters, report);
            if let Some(what) = once::ends(needed) {
                once::unfinished(compose, needed, what, &waiters, report);
            } else if needed.healthcheck {
                unused(repository, compose, needed, &waiters, report);
            } else {
                judge(repository, compose, needed, &waiters, report);
            }
        }
    }
}

/// What a service needs, and what no compose file of the repository has.
fn unknown(repository: &Repository, compose: &Compose, report: &mut Report<'_>) {
    // Files of one folder, or of folders that hold each other, may be given together.
    let folder = |compose: &Compose| {
        compose.path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"))
    };
    let own = folder(compose);
    let near = |other: &&Compose| {
        let theirs = folder(other);
        own.starts_with(&theirs) || theirs.starts_with(&own)
    };
    let all: Vec<&Compose> = repository.systems.composes.iter().filter(near).collect();
    let beside = all.iter().any(|other| other.file != compose.file && folder(other) == own);
    if compose.partial || compose.overlay && beside {
        return;
    }
    for service in &compose.services {
        let needed = service.depends.iter().map(|(name, _)| name).chain(&service.linked);
        for name in needed.filter(|name| !name.contains('$')) {
            if all.iter().any(|other| other.service(name).is_some()) {
                continue;
            }
            let message = format!(
                "`{}` needs `{}`, and there is no service of that name: compose refuses to start anything",
                &*service.name, &**name
            );
            let names = compose.services.iter().map(|service| &*service.name);
            let same = names.clone().find(|other| other.eq_ignore_ascii_case(name));
            let hint = match same.or_else(|| suggest::nearest(name, names)) {
                Some(near) => format!("name `{near}`, if that is meant"),
                None => "add the service, or drop the name".to_owned(),
            };
            report.add(compose.file, name.span, message).severity(Severity::High).hint(hint).done();
        }
    }
}

/// What is slow to answer has a health check, and somebody starts without waiting for it.
fn unused(
    repository: &Repository,
    compose: &Compose,
    needed: &Service,
    waiters: &[Waiter<'_>],
    report: &mut Report<'_>,
) {
    if !is_slow(needed) {
        return;
    }
    let early = waiters.iter().filter(|(service, _, condition)| is_early(service, *condition));
    let early = hasty(repository, compose, early);
    let Some(((service, name, _), others)) = early.split_first() else { return };
    let message = format!(
        "`{}` starts as soon as `{}` has a process, not when it answers: its health check is not waited for",
        &*service.name, &**name
    );
    let mut draft =
        report.add(compose.file, name.span, message).hint("wait with `condition: service_healthy`");
    draft = draft.also(compose.file, needed.name.span, "this has a `healthcheck`");
    // What comes too early ends once and for all, and what waits for its success is never started.
    if let Some((waiting, name)) = waits_for_success(compose, service) {
        draft = draft.severity(Severity::High);
        draft = draft.also(compose.file, name.span, format!("`{}` never starts then", &*waiting.name));
    }
    for (service, name, _) in others {
        draft = draft.also(compose.file, name.span, format!("`{}` too", &*service.name));
    }
    draft.done();
}

/// Leaves out those who wait by themselves, as long as there are others: of those alone it is a note, or nothing where a script
/// shows it.
fn hasty<'a>(
    repository: &Repository,
    compose: &Compose,
    early: impl Iterator<Item = &'a Waiter<'a>>,
) -> Vec<&'a Waiter<'a>> {
    let early = early.filter(|(service, name, _)| !by_itself::by_script(repository, compose, service, name));
    let (patient, hasty): (Vec<_>, Vec<_>) =
        early.partition(|(_, name, _)| by_itself::is_said(repository, compose, name));
    if hasty.is_empty() { patient } else { hasty }
}

/// Tells whether an image is one of a list, whoever packs it.
fn is_of(image: &Word, known: &[&str]) -> bool {
    let name = image_parts(image).0;
    known
        .iter()
        .any(|known| name.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('/')))
}

/// Images that bring no health check of their own, besides those that are slow.
const BARE: &[&str] = &["meilisearch", "qdrant", "typesense", "nginx", "traefik", "keycloak"];

/// Tells whether a service takes seconds before it answers.
fn is_slow(needed: &Service) -> bool {
    needed.image.as_ref().is_some_and(|image| is_of(image, SLOW))
}

/// Tells whether a service neither waits for health nor for an answer. What is started again when it fails finds the
/// database up in the end.
fn is_early(service: &Service, condition: Option<&Word>) -> bool {
    let waits = service.restarts || waits(&service.command);
    let looks = service.image.as_ref().is_some_and(|image| is_of(image, LOOKERS));
    condition.is_none_or(|word| &**word == "service_started") && !waits && !looks
}

/// Finds a service that starts only when another one has come to a good end.
fn waits_for_success<'a>(compose: &'a Compose, service: &Service) -> Option<(&'a Service, &'a Word)> {
    compose.services.iter().find_map(|other| {
        let mut needed = other.depends.iter();
        let of_it = needed.find(|(name, condition)| {
            **name == *service.name
                && condition.as_ref().is_some_and(|word| &**word == "service_completed_successfully")
        });
        of_it.map(|(name, _)| (other, name))
    })
}

/// Tells whether a command waits for what it needs: `./wait-for-it.sh db:5432`, `dockerize -wait`; not `migrate --no-wait`.
fn waits(command: &str) -> bool {
    let mut words = command.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';' | '&'));
    words.any(|word| {
        let word = word.to_ascii_lowercase();
        word.contains("wait") && !word.contains("no-wait") && !word.contains("nowait")
            || word.contains("dockerize")
    })
}

/// Tells whether an image answers as soon as it has a process, nearly.
fn is_quick(service: &Service) -> bool {
    let name = service.image.as_ref().map_or("", |image| image_parts(image).0);
    ["redis", "valkey", "keydb", "dragonfly", "nats"].contains(&name.rsplit('/').next().unwrap_or(name))
}

fn judge(
    repository: &Repository,
    compose: &Compose,
    needed: &Service,
    waiters: &[Waiter<'_>],
    report: &mut Report<'_>,
) {
    let slow = is_slow(needed);
    let built = needed.build.as_ref().and_then(|(folder, file)| {
        let path = if folder.is_empty() { file.clone() } else { format!("{folder}/{file}") };
        repository.systems.dockerfiles.iter().find(|recipe| *recipe.path == *path)
    });
    let packed = needed.image.as_ref().is_some_and(|image| is_of(image, BARE));
    let bare = slow || packed || built.is_some_and(|recipe| !recipe.healthcheck);
    let healthy =
        waiters.iter().find(|(_, _, condition)| condition.is_some_and(|word| &**word == "service_healthy"));
    if let Some((service, name, _)) = healthy.filter(|_| bare) {
        let message = format!(
            "`{}` waits until `{}` is healthy, but nothing checks the health of `{}`: compose refuses to start it",
            &*service.name, &**name, &*needed.name
        );
        let hint = format!("give `{}` a `healthcheck`", &*needed.name);
        let draft = report.add(compose.file, name.span, message).severity(Severity::High).hint(hint);
        draft.also(compose.file, needed.name.span, "this has no `healthcheck`").done();
        return;
    }
    // Who writes out that a start is enough for what is there in a moment knows it.
    let meant = |condition: Option<&Word>| {
        condition.is_some_and(|word| &**word == "service_started") && is_quick(needed)
    };
    let early =
        waiters.iter().filter(|(service, _, condition)| is_early(service, *condition) && !meant(*condition));
    let early = hasty(repository, compose, early);
    let Some(((service, name, _), others)) = early.split_first().filter(|_| slow) else { return };
    let message = format!(
        "`{}` starts as soon as `{}` has a process, not when it answers: there is no health check to wait for",
        &*service.name, &**name
    );
    let hint =
        format!("give `{name}` a `healthcheck`, and wait with `condition: service_healthy`", name = &**name);
    let mut draft = report.add(compose.file, name.span, message).hint(hint);
    draft = draft.also(compose.file, needed.name.span, "this has no `healthcheck`");
    // What comes too early ends once and for all, and what waits for its success is never started.
    if let Some((waiting, name)) = waits_for_success(compose, service) {
        draft = draft.severity(Severity::High);
        draft = draft.also(compose.file, name.span, format!("`{}` never starts then", &*waiting.name));
    }
    for (service, name, _) in others {
        draft = draft.also(compose.file, name.span, format!("`{}` too", &*service.name));
    }
    draft.done();
}
