//! A journal as lines of JSON: for people with `jq`, for backups, and to carry runs from store to store.
//!
//! The first line names the format, the last one counts what came between, so that a file that was cut off is
//! seen. `docs/journal-format.md` shows an example.

use std::{
    collections::HashMap,
    io::{self, BufRead, Write},
};

use kapell_core::{
    id::{Digest, RunId},
    journal::{BrokenChain, BrokenChainKind, Row, Version},
    time::{Elapsed, Wall},
};
use kapell_engine::port::journal::{Append, AppendErrorKind, Journal, JournalError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    Store,
    fault::database,
    ledger::Ledger,
    reader::RowRef,
    schema::{Access, connect},
};

/// The format of the lines. They say more than the journal, so its formats come and go without them.
const LINES: u32 = 1;

/// How much was exported or imported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transferred {
    /// Decisions that were written to the file, or to the journal.
    pub decisions: u64,
    /// Artifacts in the file.
    pub artifacts: u64,
}

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The journal or an artifact cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An artifact that was asked for is not there.
    #[error("there is no artifact {0}")]
    NoArtifact(Digest),
    /// The lines cannot be written.
    #[error("failed to write the export")]
    Write(#[from] io::Error),
}

/// Why an import failed. The journal is as it was before; artifacts of earlier lines are kept.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {kind}")]
pub struct ImportError {
    /// The line that was refused, from 1.
    pub line: u64,
    /// What is wrong with it.
    #[source]
    pub kind: Box<ImportErrorKind>,
}

/// What can be wrong with a line of an import.
#[derive(Debug, thiserror::Error)]
pub enum ImportErrorKind {
    /// The lines cannot be read.
    #[error("failed to read")]
    Read(#[source] io::Error),
    /// The line is not what an export writes.
    #[error("not a line of an export: {0}")]
    Syntax(String),
    /// The first line does not say that this is an export.
    #[error("this does not begin like an export of a journal")]
    NoHeader,
    /// It was exported by a newer kapell.
    #[error("exported by a newer kapell: format {found}, known up to {known}")]
    FormatTooNew {
        /// The format of the lines.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// The last line is missing: the file was cut off.
    #[error("the end is missing")]
    NoEnd,
    /// The last line counts other than what came before.
    #[error("lines are missing: {expected:?} were exported, {found:?} are here")]
    Count {
        /// What the last line says.
        expected: Transferred,
        /// What was there.
        found: Transferred,
    },
    /// The decisions are no chain.
    #[error(transparent)]
    Broken(BrokenChain),
    /// The journal holds another decision in its place.
    #[error("the journal holds another decision {n} of run {run}")]
    Conflict {
        /// The run.
        run: RunId,
        /// The number of the decision.
        n: Version,
    },
    /// An artifact does not have its hash.
    #[error("artifact {0} does not have its hash")]
    Artifact(Digest),
    /// The store failed.
    #[error(transparent)]
    Journal(JournalError),
}

#[derive(Serialize, Deserialize)]
struct Header {
    kapell: String,
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct End {
    end: Transferred,
}

/// A decision as a line. Exactly one of `events` and `body` is there.
#[derive(Serialize, Deserialize)]
struct Decision<'a> {
    run: RunId,
    n: Version,
    at: Wall,
    elapsed: Elapsed,
    actor: std::borrow::Cow<'a, str>,
    cause: std::borrow::Cow<'a, str>,
    prev: Digest,
    hash: Digest,
    /// The elements of the body, if `[`, the elements with `,\n` between them, `]` is the body to the byte.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    events: Option<Vec<&'a RawValue>>,
    /// The body as a text, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<std::borrow::Cow<'a, str>>,
}

/// An artifact as a line. Exactly one of `text` and `hex` is there.
#[derive(Serialize, Deserialize)]
struct Content {
    artifact: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

fn join(events: &[&RawValue]) -> String {
    let mut body = String::from("[");
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            body.push_str(",\n");
        }
        body.push_str(event.get());
    }
    body.push(']');
    body
}

fn decision<'a>(row: &RowRef<'a>) -> Decision<'a> {
    let events = serde_json::from_str::<Vec<&RawValue>>(row.body)
        .ok()
        .filter(|events| join(events) == row.body && events.iter().all(|event| !event.get().contains('\n')));
    Decision {
        run: row.run,
        n: row.n,
        at: row.at,
        elapsed: row.elapsed,
        actor: row.actor.into(),
        cause: row.cause.into(),
        prev: row.prev,
        hash: row.hash,
        body: events.is_none().then(|| row.body.into()),
        events,
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = b"0123456789abcdef";
    let nibble = |nibble: u8| char::from(digits[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [nibble(byte >> 4), nibble(byte & 15)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

fn line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

impl Store {
    /// Writes the decisions of `runs`, or of all runs if that is empty, and `artifacts`, as lines of JSON.
    ///
    /// # Errors
    ///
    /// Fails if something cannot be read or written, or is damaged.
    pub fn export(
        &self,
        runs: &[RunId],
        artifacts: &[Digest],
        out: &mut dyn Write,
    ) -> Result<Transferred, ExportError> {
        line(out, &Header { kapell: "journal".to_owned(), format: LINES })?;
        // An artifact comes before the decision that names it, as when it was made.
        for &artifact in artifacts {
            let bytes = self.kept(artifact)?.ok_or(ExportError::NoArtifact(artifact))?;
            let content = match String::from_utf8(bytes) {
                Ok(text) => Content { artifact, text: Some(text), hex: None },
                Err(error) => Content { artifact, text: None, hex: Some(hex(error.as_bytes())) },
            };
            line(out, &content)?;
        }
        let mut end = Transferred { decisions: 0, artifacts: artifacts.len() as u64 };
        let all = if runs.is_empty() { self.runs()? } else { Vec::new() };
        for run in runs.iter().copied().chain(all.iter().rev().map(|head| head.run)) {
            let mut written = Ok(());
            self.read_ref(run, Version(0), &mut |row| {
                end.decisions += 1;
                written = line(out, &decision(&row));
                written.is_ok()
            })?;
            written?;
        }
        line(out, &End { end })?;
        out.flush()?;
        Ok(end)
    }

    /// Takes in lines that [`Store::export`] wrote: all of the decisions, or none.
    ///
    /// Decisions that the journal holds already are passed over. Every hash is recomputed.
    ///
    /// # Errors
    ///
    /// Fails with the line and what is wrong with it.
    pub fn import(&self, input: &mut dyn BufRead) -> Result<Transferred, ImportError> {
        let path = self.readers.path();
        let failed = |error| ImportError { line: 0, kind: Box::new(ImportErrorKind::Journal(error)) };
        let connection = connect(path, Access::Write, self.options.busy).map_err(failed)?;
        let sql = database(path, "importing");
        connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| failed(sql(error)))?;
        let mut ledger = Ledger::new(&connection, path).map_err(failed)?;
        ledger.catch_up().map_err(failed)?;
        let mut import = Import {
            store: self,
            ledger,
            there: HashMap::new(),
            found: Transferred::default(),
            added: Transferred::default(),
        };
        // Dropping the connection rolls back.
        let added = import.lines(input)?;
        import.ledger.fold().map_err(failed)?;
        connection.execute_batch("COMMIT").map_err(|error| failed(sql(error)))?;
        Ok(added)
    }
}

struct Import<'s> {
    store: &'s Store,
    ledger: Ledger<'s>,
    /// Hashes of the decisions that the journal held before.
    there: HashMap<RunId, Vec<Digest>>,
    found: Transferred,
    added: Transferred,
}

impl Import<'_> {
    fn lines(&mut self, input: &mut dyn BufRead) -> Result<Transferred, ImportError> {
        let (mut text, mut line, mut ended) = (Vec::new(), 0, false);
        loop {
            text.clear();
            line += 1;
            let refused = |kind| ImportError { line, kind: Box::new(kind) };
            let got =
                input.read_until(b'\n', &mut text).map_err(|error| refused(ImportErrorKind::Read(error)))?;
            if got == 0 {
                return if ended { Ok(self.added) } else { Err(refused(ImportErrorKind::NoEnd)) };
            }
            let text = str::from_utf8(&text).map_err(|error| refused(syntax(error)))?;
            if ended {
                return Err(refused(syntax("there is something behind the end")));
            }
            ended =
                if line == 1 { header(text).map(|()| false) } else { self.line(text) }.map_err(refused)?;
        }
    }

    /// Takes in one line. Returns whether it was the last.
    fn line(&mut self, text: &str) -> Result<bool, ImportErrorKind> {
        if text.starts_with("{\"end\"") {
            let End { end } = serde_json::from_str(text).map_err(syntax)?;
            return if end == self.found {
                Ok(true)
            } else {
                Err(ImportErrorKind::Count { expected: end, found: self.found })
            };
        }
        if text.starts_with("{\"artifact\"") {
            self.artifact(serde_json::from_str(text).map_err(syntax)?)?;
        } else {
            self.decision(serde_json::from_str(text).map_err(syntax)?)?;
        }
        Ok(false)
    }

    fn artifact(&mut self, content: Content) -> Result<(), ImportErrorKind> {
        let bytes = match (content.text, content.hex) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(hex)) => unhex(&hex).ok_or_else(|| syntax("this is not hexadecimal"))?,
            _ => return Err(syntax("an artifact has either `text` or `hex`")),
        };
        if Digest::of(&bytes) != content.artifact {
            return Err(ImportErrorKind::Artifact(content.artifact));
        }
        self.store.keep(&bytes).map_err(ImportErrorKind::Journal)?;
        self.found.artifacts += 1;
        self.added.artifacts += 1;
        Ok(())
    }

    fn decision(&mut self, decision: Decision<'_>) -> Result<(), ImportErrorKind> {
        let body = match (decision.events, decision.body) {
            (Some(events), None) => join(&events),
            (None, Some(body)) => body.into_owned(),
            _ => return Err(syntax("a decision has either `events` or `body`")),
        };
        let row = Row {
            run: decision.run,
            n: decision.n,
            at: decision.at,
            elapsed: decision.elapsed,
            actor: decision.actor.into_owned(),
            cause: decision.cause.into_owned(),
            prev: decision.prev,
            hash: decision.hash,
            body,
        };
        self.found.decisions += 1;
        let (run, n) = (row.run, row.n);
        if row.seal() != row.hash {
            let kind = BrokenChainKind::Altered;
            return Err(ImportErrorKind::Broken(BrokenChain { run, n, kind }));
        }
        let there = self.there(run)?;
        let index = usize::try_from(n.0).ok().and_then(|n| n.checked_sub(1));
        match index.and_then(|index| there.get(index)) {
            Some(hash) if *hash == row.hash => Ok(()),
            Some(_) => Err(ImportErrorKind::Conflict { run, n }),
            None => self.append(row),
        }
    }

    fn there(&mut self, run: RunId) -> Result<&[Digest], ImportErrorKind> {
        if !self.there.contains_key(&run) {
            let mut hashes = Vec::new();
            self.store
                .read_ref(run, Version(0), &mut |row| {
                    hashes.push(row.hash);
                    true
                })
                .map_err(ImportErrorKind::Journal)?;
            self.there.insert(run, hashes);
        }
        Ok(self.there.get(&run).map_or(&[], Vec::as_slice))
    }

    fn append(&mut self, row: Row) -> Result<(), ImportErrorKind> {
        let (run, n) = (row.run, row.n);
        let base = Version(n.0.saturating_sub(1));
        let append = Append { run, base, prev: row.prev, rows: vec![row].into(), summary: None };
        self.ledger.append(&append).map_err(|kind| match kind {
            AppendErrorKind::Broken(broken) => ImportErrorKind::Broken(broken),
            AppendErrorKind::Journal(error) => ImportErrorKind::Journal(error),
            AppendErrorKind::Conflict { found, .. } => {
                let kind = BrokenChainKind::Gap { expected: found.next() };
                ImportErrorKind::Broken(BrokenChain { run, n, kind })
            }
            AppendErrorKind::Poisoned => ImportErrorKind::Conflict { run, n },
        })?;
        self.added.decisions += 1;
        Ok(())
    }
}

fn header(text: &str) -> Result<(), ImportErrorKind> {
    let header: Header = serde_json::from_str(text).map_err(|_| ImportErrorKind::NoHeader)?;
    match header {
        Header { kapell, .. } if kapell != "journal" => Err(ImportErrorKind::NoHeader),
        Header { format, .. } if format > LINES => {
            Err(ImportErrorKind::FormatTooNew { found: format, known: LINES })
        }
        _ => Ok(()),
    }
}

fn syntax(what: impl ToString) -> ImportErrorKind {
    ImportErrorKind::Syntax(what.to_string())
}
