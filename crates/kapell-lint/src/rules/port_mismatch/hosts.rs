//! Stores that a service asks under a name which no service has, while the one that runs there has another.

use kapell_view::audit::{Confidence, Severity};

use crate::{
    files::File,
    repository::Repository,
    rule::Report,
    systems::{
        Word,
        compose::{Compose, Service},
        image_parts,
    },
};

/// Schemes of addresses and beginnings of variables for each kind of store, with the images that run it.
const STORES: &[(&[&str], &[&str], &[&str])] = &[
    (
        &["postgres", "postgresql"],
        &["POSTGRES_", "PG", "DB_", "DATABASE_"],
        &["postgres", "postgis", "pgvector", "timescaledb", "postgresql"],
    ),
    (
        &["mysql", "mysql2", "mariadb"],
        &["MYSQL_", "MARIADB_", "DB_", "DATABASE_"],
        &["mysql", "mariadb", "percona"],
    ),
    (
        &["redis", "rediss", "valkey"],
        &["REDIS_", "VALKEY_"],
        &["redis", "valkey", "keydb", "dragonfly", "redis-stack-server"],
    ),
    (&["mongodb"], &["MONGO_", "MONGODB_"], &["mongo", "mongodb"]),
    (&["amqp", "amqps"], &["RABBITMQ_", "AMQP_"], &["rabbitmq"]),
    (&["nats"], &["NATS_"], &["nats"]),
];

/// Signs that names of other machines may be meant.
const ELSEWHERE: &[&str] =
    &["external:", "extra_hosts", "network_mode", "extends:", "include:", "links:", "external_links", "dns:"];

/// Tells of such names.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for compose in repository.systems.composes.iter().filter(|compose| !compose.partial && !compose.overlay) {
        let file = &repository.files[compose.file];
        if ELSEWHERE.iter().any(|word| file.text.contains(word)) {
            continue;
        }
        for service in compose.services.iter().filter(|service| !service.partial) {
            let lost =
                service.env.iter().find_map(|word| Some((word, lost(repository, (compose, file), word)?)));
            let Some((word, (host, store))) = lost else { continue };
            let message = format!(
                "`{host}` is no service here: what `{}` asks runs as `{}`",
                &*service.name, &*store.name
            );
            report
                .add(compose.file, word.span, message)
                .severity(Severity::High)
                .confidence(Confidence::Medium)
                .hint(format!("write `{}`", &*store.name))
                .also(compose.file, store.name.span, "this one")
                .done();
        }
    }
}

/// Returns the host that a variable names and no service answers to, and the one service that runs what is asked.
fn lost<'a>(
    repository: &Repository,
    (compose, file): (&'a Compose, &File),
    word: &'a Word,
) -> Option<(&'a str, &'a Service)> {
    let (name, value) = word.split_once('=')?;
    let value = value.trim().trim_matches(['"', '\'']);
    let (host, kinds): (&str, Vec<usize>) = if let Some((scheme, rest)) = value.split_once("://") {
        let scheme = scheme.split('+').next()?;
        let rest = rest.split('/').next()?;
        let host = rest.rsplit('@').next()?.split([':', '?']).next()?;
        (host, kinds(|(schemes, ..)| schemes.contains(&scheme)))
    } else {
        let stem = name.strip_suffix("HOST").or_else(|| name.strip_suffix("HOSTNAME"))?;
        (value, kinds(|(_, starts, _)| starts.contains(&stem)))
    };
    let plain = host.len() > 1
        && host.starts_with(|c: char| c.is_ascii_lowercase())
        && host.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
    if !plain || host == "localhost" || kinds.is_empty() {
        return None;
    }
    // It may be a name that the network, the container or another file gives.
    let others = &repository.systems.composes;
    if others.iter().any(|other| other.service(host).is_some()) || is_given(file, host) {
        return None;
    }
    let runs = |service: &&Service| {
        let image = service.image.as_ref().map(|image| image_parts(image).0).unwrap_or_default();
        let base = image.rsplit('/').next().unwrap_or_default();
        kinds.iter().any(|&kind| STORES[kind].2.contains(&base))
    };
    let mut stores = compose.services.iter().filter(runs);
    let store = stores.next()?;
    stores.next().is_none().then_some((host, store))
}

fn kinds(fits: impl Fn(&(&[&str], &[&str], &[&str])) -> bool) -> Vec<usize> {
    STORES.iter().enumerate().filter(|(_, store)| fits(store)).map(|(at, _)| at).collect()
}

/// Tells whether a line of the file gives a container or a network a name: `container_name: database`, `- database`.
fn is_given(file: &File, host: &str) -> bool {
    file.text.lines().any(|line| {
        let line = line.trim();
        // An entry of a list is an alias where it is the name alone.
        if let Some(entry) = line.strip_prefix('-') {
            return entry.trim().trim_matches(['"', '\'']) == host;
        }
        let keys = ["container_name:", "hostname:", "aliases:"];
        let value = keys.iter().find_map(|key| line.strip_prefix(key));
        value.is_some_and(|value| {
            let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            value.split(|c| !of_name(c)).any(|part| part == host)
        })
    })
}
