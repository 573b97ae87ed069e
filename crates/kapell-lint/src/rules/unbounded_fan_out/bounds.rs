//! Words of what bounds a fan-out, and such that only look like them.

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
