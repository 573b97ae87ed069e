//! Words of what bounds a fan-out, and such that only look like them; and bounds that other files keep.

use crate::{
    code::{Id, Unit, unit::FUNCTIONS},
    repository::Repository,
};

/// Words of what bounds a fan-out, which may be made far from it. A file that has one is taken to know what it does.
const BOUNDS: &[&str] = &[
    "semaphore",
    "limiter",
    "p-limit",
    "plimit",
    "bottleneck",
    "throttle",
    "p-queue",
    "pqueue",
    "rate_limit",
    "ratelimit",
    "rate limit",
    "max_parallel",
    "maxparallel",
    "poolexecutor",
    "pool(",
    "async-pool",
    "asyncpool",
    "promise-pool",
    "promisepool",
];

/// What some of these words are the end of, and bound nothing then: the mark between columns, `delimiter`, and pools of connections
/// to a database, which bound only what [keeps](TAKES) a connection for as long as it runs.
///
/// Source: asyncpg, docstring of `Pool.execute`: "Pool performs this operation using one of its connections", which it acquires for
/// that operation alone.
const OTHERS: &[(&str, &[&str])] = &[
    ("limiter", &["de"]),
    ("pool(", &["create_", "connection", "connection_", "engine_", "redis_", "redis"]),
];

/// How something takes a connection and keeps it.
const TAKES: &[&str] = &[".acquire(", "pool.connection(", "pool.connect(", ".getconnection("];

/// Tells whether a text, in lower case, speaks of what bounds how many run at once.
pub(super) fn speaks_of_bound(text: &str) -> bool {
    let own = |word: &str| {
        let others = OTHERS.iter().find(|(own, _)| *own == word).map_or(&[][..], |(_, others)| others);
        text.match_indices(word).any(|(at, _)| !others.iter().any(|other| text[..at].ends_with(other)))
    };
    BOUNDS.iter().any(|word| own(word)) || TAKES.iter().any(|word| text.contains(word))
}

/// Tells whether something within `within` runs under what another file bounds: `limit(async () => ...)` and
/// `async with slots:`, where `limit` and `slots` come from a file that speaks of a bound.
pub(super) fn is_taken(repository: &Repository, unit: &Unit, within: Id) -> bool {
    let leads_to_bound = |id: Id| {
        let name = unit.text(id).split(['.', '(']).next().unwrap_or_default();
        let target = unit.origin(name).and_then(|origin| origin.target.as_ref());
        target.is_some_and(|(file, _)| speaks_of_bound(repository.files[*file].lower()))
    };
    unit.syntax.below(within).any(|id| match unit.kind(id) {
        "call" | "call_expression" => {
            let runs = |value| FUNCTIONS.contains(&unit.kind(value));
            unit.args(id).iter().any(|arg| runs(arg.value)) && unit.callee(id).is_some_and(leads_to_bound)
        }
        "with_item" => leads_to_bound(id),
        _ => false,
    })
}
