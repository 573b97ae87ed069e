//! Copies of pods, and runs of a `CronJob`.

use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, Severity};

use super::{super::replica_conflict::replicas_elsewhere, Alone, is_locked};
use crate::{
    files::FileId,
    repository::Repository,
    rule::Report,
    systems::{
        Manifest, Word,
        kubernetes::{Schedule, What, Workload, scaler_of},
    },
};

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for manifest in &repository.systems.manifests {
        let What::Workload(workload) = &manifest.what else { continue };
        if let Some(schedule) = &workload.schedule {
            overlaps(manifest, workload, schedule, report);
        }
        let Some((copies, file, span)) = copies(repository, manifest, workload) else { continue };
        alone(repository, (manifest, workload), (copies, file, span), report);
        for claim in workload.claims.iter().filter(|_| !workload.placed) {
            one_volume(repository, (manifest, workload), claim, (copies, file, span), report);
        }
    }
}

/// Returns how many pods an object has at least, where they are several, and where that stands.
fn copies(repository: &Repository, manifest: &Manifest, workload: &Workload) -> Option<(u32, FileId, Span)> {
    if !matches!(&*manifest.kind.text, "Deployment" | "StatefulSet" | "ReplicaSet") {
        return None;
    }
    let scaled = scaler_of(&repository.systems.manifests, manifest);
    let scaled = scaled.map(|(other, scaler)| (scaler.least, other.file, scaler.target.span));
    // An overlay may set another number.
    let own = workload.replicas.filter(|_| !replicas_elsewhere(repository));
    let own = own.map(|(copies, span)| (copies, manifest.file, span));
    own.filter(|(copies, ..)| *copies > 1).or(scaled).filter(|(copies, ..)| *copies > 1)
}

/// Tells of a scheduler or a migration in each of several pods.
fn alone(
    repository: &Repository,
    (manifest, workload): (&Manifest, &Workload),
    (copies, file, span): (u32, FileId, Span),
    report: &mut Report<'_>,
) {
    let mut containers = workload.containers.iter();
    let found = containers.find_map(|one| Some((one.name.span, Alone::of(repository, &one.command)?)));
    // Pods that start one after another do not migrate at once.
    let Some((name, alone)) = found.filter(|(_, alone)| *alone == Alone::Scheduler || !workload.ordered)
    else {
        return;
    };
    let message = format!("`{}` runs in {copies} copies, and {}", &*manifest.name, alone.why());
    report
        .add(manifest.file, name, message)
        .severity(alone.severity())
        .confidence(alone.confidence())
        .also(file, span, "so many copies")
        .hint(alone.hint())
        .done();
}

/// Tells of several pods that write to one volume which a single node may mount. On other nodes they never start.
///
/// Source: <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes>.
fn one_volume(
    repository: &Repository,
    (manifest, workload): (&Manifest, &Workload),
    claim: &Word,
    (copies, file, span): (u32, FileId, Span),
    report: &mut Report<'_>,
) {
    let mut claims = repository.systems.manifests.iter().filter_map(|other| match &other.what {
        // A claim of another folder that names no namespace may be that of an overlay.
        What::Claim(modes)
            if *other.name == **claim
                && other.shares_namespace(manifest)
                && (!other.namespace.is_empty() || other.is_beside(manifest)) =>
        {
            Some((other, modes))
        }
        _ => None,
    });
    let (Some((other, modes)), None) = (claims.next(), claims.next()) else { return };
    let [mode] = &modes[..] else { return };
    let why = match &**mode {
        "ReadWriteOnce" => "one node may mount: on others they never start",
        "ReadWriteOncePod" => "one pod may mount: the others never start",
        _ => return,
    };
    let mut mounts = workload.containers.iter().flat_map(|one| one.mounts.iter().map(move |at| (one, at)));
    let sqlite = mounts.any(|(one, (own, path))| **own == **claim && sqlite_below(&one.said, path));
    let writes = if sqlite { ", and all of them write to one SQLite file" } else { "" };
    let message = format!(
        "{copies} pods of `{}` share the volume `{}`, which {why}{writes}",
        &*manifest.name, &**claim
    );
    report
        .add(manifest.file, claim.span, message)
        .severity(if sqlite { Severity::High } else { Severity::Medium })
        .also(other.file, other.name.span, format!("`{mode}`"))
        .also(file, span, "so many pods")
        .hint("run one pod with `strategy: Recreate`, or keep the data in a database, an object store or a `ReadWriteMany` volume")
        .done();
}

/// Tells whether a command or a variable names a file of SQLite below a folder: by an address (`sqlite:///data/app.db`), by its
/// ending (`/data/app.sqlite3`), or as any file of a container that is told to use SQLite (`DB_DRIVER=sqlite`).
///
/// `.db` alone is the ending of other databases too: bbolt, Berkeley DB, LevelDB.
/// Source: <https://sqlite.org/uri.html>; addresses of drivers begin with `sqlite` and a colon.
fn sqlite_below(said: &str, folder: &str) -> bool {
    let folder = format!("{}/", folder.trim_end_matches('/'));
    let lower = said.to_ascii_lowercase();
    let words = || lower.split(|c: char| c.is_whitespace() || "\"'=,;".contains(c));
    // An address says only of its own file what it is.
    let told = words().any(|word| matches!(word.rsplit('/').next().unwrap_or(word), "sqlite" | "sqlite3"));
    words().any(|word| {
        let (scheme, path) = word.split_once(':').unwrap_or(("", word));
        let path = path.split(['?', '#']).next().unwrap_or(path);
        let path = path.strip_prefix("sqlite:").unwrap_or(path);
        let path = format!("/{}", path.trim_start_matches('/'));
        let ends = [".sqlite", ".sqlite3", ".db3"].iter().any(|end| path.ends_with(end));
        // `sqlite+aiosqlite:`, `jdbc:sqlite:`.
        let address = scheme.starts_with("sqlite") || word.starts_with("jdbc:sqlite:");
        let file = told && path.ends_with(".db");
        word.contains('/') && path.starts_with(&folder.to_ascii_lowercase()) && (address || ends || file)
    })
}

/// The most minutes between two runs of which one that writes may well take longer.
const OFTEN_MINUTES: u32 = 15;

/// Words of commands that write to what the next run writes to as well.
const WRITES: &[&str] = &["sync", "backup", "pg_dump", "mysqldump", "import", "reindex", "--write", "ingest"];

/// Tells of a `CronJob` that starts every few minutes, writes, and is started again while it runs.
///
/// Source: `concurrencyPolicy` in <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/>; `Allow` is what
/// holds where there is none.
fn overlaps(manifest: &Manifest, workload: &Workload, schedule: &Schedule, report: &mut Report<'_>) {
    let allows = schedule.policy.as_ref().is_none_or(|policy| &**policy == "Allow");
    let Some(minutes) = minutes_between(&schedule.times).filter(|_| allows && !schedule.bounded) else {
        return;
    };
    let mut containers = workload.containers.iter();
    let locked = containers.clone().any(|one| is_locked(&one.said) || one.command.contains("timeout "));
    let writes = containers.any(|one| writes(&one.command.to_ascii_lowercase()));
    // Whoever writes out that runs may overlap has thought of it, unless both write to one volume.
    let unsafe_here = !workload.claims.is_empty() || writes && schedule.policy.is_none();
    if minutes > OFTEN_MINUTES || locked || !unsafe_here {
        return;
    }
    let often = if minutes == 1 { "minute".to_owned() } else { format!("{minutes} minutes") };
    let message = format!(
        "`{}` starts every {often}, also while the run before goes on: both write at once",
        &*manifest.name
    );
    let span = schedule.policy.as_ref().map_or(schedule.times.span, |policy| policy.span);
    report
        .add(manifest.file, span, message)
        .severity(Severity::Medium)
        .confidence(Confidence::Medium)
        .hint("set `concurrencyPolicy: Forbid`, and `activeDeadlineSeconds`, so that one that hangs does not hold up all later ones")
        .done();
}

/// Tells whether a command in small letters writes, by its whole words: `crm_sync`, not `async_report`.
fn writes(command: &str) -> bool {
    let code = command.contains(" -c ");
    let words = command.split(|c: char| c.is_whitespace() || "/.:='\"".contains(c));
    let named = |word: &str| {
        // Code that is given to an interpreter imports modules.
        let known = |own: &str| WRITES.contains(&own) && !(own == "import" && code);
        known(word) || word.split(['_', '-']).any(known)
    };
    words.into_iter().any(named)
}

/// Reads how many minutes there are between two starts: `*/5 * * * *`.
fn minutes_between(times: &str) -> Option<u32> {
    let mut fields = times.split_whitespace();
    let first = fields.next()?;
    let every =
        if first == "*" { 1 } else { first.strip_prefix("*/")?.parse().ok().filter(|every| *every > 0)? };
    (fields.next()? == "*").then_some(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_sqlite_is_known_by_its_address_or_its_ending() {
        for said in [
            "/data/app.sqlite",
            "serve --database=/data/app.sqlite3",
            "sqlite:////data/app.db",
            "sqlite+aiosqlite:///data/app?mode=rwc",
            "jdbc:sqlite:/data/app.db",
            "sqlite3 /data/app.db",
        ] {
            assert!(sqlite_below(said, "/data/"), "{said}");
        }
        for said in [
            "/data/app.db",
            "postgres://app.db.example.org/data",
            "sqlite::memory:",
            "sqlite:////tmp/app.db",
            "sqlite ./app.db",
            "/database/app.sqlite",
        ] {
            assert!(!sqlite_below(said, "/data"), "{said}");
        }
    }
}
