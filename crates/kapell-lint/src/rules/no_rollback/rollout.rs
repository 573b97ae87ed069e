//! Commands that change several things in production one after the other, and look at none of them.

use kapell_spec::finding::Span;
use kapell_view::audit::{AssetKind, Severity};

use crate::{
    agents::{Asset, Home},
    github::{
        script::{Command, commands},
        tools,
    },
    repository::Repository,
    rule::Report,
};

/// Words of a text that says what to do when it failed.
const BACK: &[&str] = &[
    "rollout undo",
    "undo",
    "rollback",
    "roll back",
    "rolls back",
    "rolled back",
    "revert",
    "fails",
    "failed",
    "failure",
    "abort",
    "previous version",
    "version before",
    "old version",
    "restore",
    "backup",
];

/// Words of a text that looks at what came of it.
const LOOKS: &[&str] = &[
    "health", "smoke", "check", "watch", "confirm", "status", "logs", "verif", "monitor", "red", "error",
    "canary", "get pods",
];

/// Words of a text that is about what people use.
const PRODUCTION: &[&str] =
    &["prod ", "production", "-n prod", "prod`", "prod\n", " is live", "go live", "goes live"];

/// How many of its steps have to change what runs.
const STEPS_MIN: usize = 2;

/// Tells of commands whose steps change what runs in production, where no step looks whether it runs and none says what to do
/// if it does not: the next one is done all the same.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for (_, asset) in repository.agents.of(AssetKind::Command).filter(|(_, asset)| asset.home == Home::Claude)
    {
        let file = &repository.files[asset.file];
        let lower = file.lower();
        let body = &lower[asset.definition.body as usize..];
        if !PRODUCTION.iter().any(|word| lower.contains(word)) {
            continue;
        }
        if cares(body) {
            too_early(repository, asset, report);
            continue;
        }
        let changes = changes(asset, &file.text);
        let Some((first, rest)) = changes.split_first().filter(|_| changes.len() >= STEPS_MIN) else {
            continue;
        };
        if started(repository, asset).any(cares) {
            continue;
        }
        let message = format!(
            "{} steps change what runs in production, and none looks whether it runs or says what to do if it does not",
            changes.len()
        );
        let cluster = changes.iter().all(|span| {
            let said = file.text[span.range()].trim_matches('`');
            ["kubectl ", "helm "].iter().any(|program| said.starts_with(program))
        });
        let hint = match cluster {
            true => {
                "wait for each (`kubectl rollout status`), and say how to go back (`kubectl rollout undo`)"
            }
            false => {
                "look after each whether all is well, and say how to go back: a backup of the tables, the version before"
            }
        };
        let mut draft = report.add(asset.file, *first, message).severity(Severity::Medium).hint(hint);
        for span in rest {
            draft = draft.also(asset.file, *span, "the one before may have failed by now");
        }
        draft.done();
    }
}

/// Words of a text that waits until the new version runs, or knows that the one before may answer.
const WAITS: &[&str] =
    &["rollout", "wait ", "sleep", "watch", "until", "previous", "not healthy", "unhealthy", "get pods"];

/// Tells of a command that sets new images in production and asks for an answer right behind it: the old version still answers, for
/// nothing waits for the new one, and no word says what to do if it never comes.
///
/// See [`tools::only_asks`].
fn too_early(repository: &Repository, asset: &Asset, report: &mut Report<'_>) {
    let file = &repository.files[asset.file];
    let body = file.lower().get(asset.definition.body as usize..).unwrap_or_default();
    let waits = |text: &str| tools::waits(text) || says(text, BACK) || says(text, WAITS);
    if !body.contains(" set image ") || !body.contains("curl ") || waits(body) {
        return;
    }
    let changes = changes(asset, &file.text);
    let said = |span: &Span| file.text[span.range()].trim_matches('`');
    let only_asks = |span: &&Span| {
        commands(said(span)).iter().any(|command| tools::only_asks(&tools::plain_text(command)))
    };
    let Some(last) = changes.iter().rfind(only_asks) else { return };
    let marks = asset.definition.document.marks.iter().filter(|mark| mark.code && mark.span.start > last.end);
    let Some(asks) = marks.map(|mark| mark.span).find(|span| said(span).starts_with("curl ")) else { return };
    if started(repository, asset).any(waits) {
        return;
    }
    let message = "this asks production before the new version runs: `kubectl set image` waits for nothing, and no step says how to go back";
    let hint = "wait for each (`kubectl rollout status`), and say how to go back (`kubectl rollout undo`)";
    let mut draft = report.add(asset.file, asks, message).severity(Severity::High).hint(hint);
    for span in &changes {
        draft = draft.also(asset.file, *span, "this is in production by then, whatever answers");
    }
    draft.done();
}

/// Tells whether a text in small letters looks at what came of it, or says what to do when it failed.
fn cares(lower: &str) -> bool {
    tools::waits(lower) || says(lower, BACK) || says(lower, LOOKS)
}

/// Tells whether a text in small letters has one of some words, as words of their own.
fn says(lower: &str, words: &[&str]) -> bool {
    words.iter().any(|word| {
        lower.match_indices(word).any(|(at, _)| {
            let begins = !lower[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
            begins
                && (word.len() > 3
                    || !lower[at + word.len()..].starts_with(|c: char| c.is_ascii_alphanumeric()))
        })
    })
}

/// Finds the commands in marks, each in an item of its own of a numbered list, that change what runs in production.
fn changes(asset: &Asset, text: &str) -> Vec<Span> {
    let document = &asset.definition.document;
    let ordered: Vec<Span> =
        document.items.iter().filter(|item| item.ordered).map(|item| item.span).collect();
    let within = |span: Span| ordered.iter().find(|item| item.start <= span.start && span.end <= item.end);
    let mut found: Vec<(Span, Span)> = Vec::new();
    for mark in document.marks.iter().filter(|mark| mark.code) {
        let Some(&item) = within(mark.span) else { continue };
        let said = text[mark.span.range()].trim_matches('`');
        if commands(said).iter().any(is_change) && found.last().is_none_or(|(last, _)| *last != item) {
            found.push((item, mark.span));
        }
    }
    found.into_iter().map(|(_, span)| span).collect()
}

/// Commands that change the tables of a database for good.
const MIGRATES: &[&str] = &[
    "prisma migrate deploy",
    "artisan migrate",
    "db:migrate",
    "alembic upgrade",
    "manage.py migrate",
    "flyway migrate",
    "liquibase update",
    "goose up",
    "dbmate up",
    "migrate:latest",
    "migration:run",
    "drizzle-kit migrate",
    "atlas migrate apply",
    "sqlx migrate run",
    "diesel migration run",
    "ecto.migrate",
    "migrations:migrate",
];

/// Orders to a database after which something is gone or another.
const STATEMENTS: &[&str] = &["drop table", "alter table", "truncate ", "delete from", "drop column"];

/// Tells whether a command changes what runs in production, and does not wait until it does: a cluster, a database, all machines at
/// once.
///
/// Sources: <https://fly.io/docs/launch/deploy/>, "Deployment strategy": `immediate` brings all machines down for the update at
/// once; <https://fly.io/docs/flyctl/deploy/>: with `--detach` the command returns at once.
fn is_change(command: &Command) -> bool {
    let words = command.inner();
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    let dry = words.iter().any(|word| word.starts_with("--dry-run"));
    let changes = match command.program() {
        "kubectl" => has(&["apply"]) || has(&["set"]) && has(&["image", "env"]) || has(&["restart"]),
        "helm" => has(&["upgrade", "install"]),
        "flyctl" | "fly" => has(&["deploy"]) && has(&["immediate", "--detach", "--strategy=immediate"]),
        "psql" | "mysql" | "mariadb" | "sqlite3" => {
            words.iter().any(|word| STATEMENTS.iter().any(|start| word.to_ascii_lowercase().contains(start)))
        }
        _ => is_migration(command),
    };
    changes && !dry
}

/// Tells whether a command migrates a database.
fn is_migration(command: &Command) -> bool {
    let line = command.words.join(" ");
    MIGRATES.iter().any(|migrates| line.contains(migrates))
}

/// Returns the texts, in small letters, of the scripts of the repository that a command names in marks.
fn started<'a>(repository: &'a Repository, asset: &'a Asset) -> impl Iterator<Item = &'a str> {
    let marks = asset.definition.document.marks.iter().filter(|mark| mark.code);
    let words = marks.flat_map(|mark| mark.text.split_whitespace());
    words.filter_map(|word| {
        let id = repository.files.find(word.trim_start_matches("./"))?;
        Some(repository.files[id].lower())
    })
}
