//! How the refusals of SQLite and of the operating system become [`JournalError`]s, and what to do about them.

use std::{io, path::Path, sync::Arc};

use kapell_engine::port::journal::{JournalError, JournalErrorKind};
use rusqlite::{Error, ErrorCode};

/// Makes an error about `path`.
pub(crate) fn fault(path: &Path, kind: JournalErrorKind) -> JournalError {
    JournalError { path: path.display().to_string(), kind }
}

/// Makes the error that says that the bytes of `path` at `offset` are not what was written.
pub(crate) fn damaged(path: &Path, offset: u64, what: impl Into<String>) -> JournalError {
    fault(path, JournalErrorKind::Damaged { offset, what: what.into() })
}

/// Returns a function that turns a refusal of the operating system into an error about `path`.
pub(crate) fn io(path: &Path, what: &'static str) -> impl Fn(io::Error) -> JournalError {
    move |error| {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => JournalErrorKind::Full,
            _ => JournalErrorKind::Io { what, source: Arc::new(error) },
        };
        fault(path, kind)
    }
}

/// Returns a function that turns a refusal of SQLite into an error about `path`.
pub(crate) fn database(path: &Path, what: &'static str) -> impl Fn(Error) -> JournalError {
    move |error| fault(path, database_kind(what, &error))
}

fn database_kind(what: &'static str, error: &Error) -> JournalErrorKind {
    let refused = |kind: io::ErrorKind| JournalErrorKind::Io {
        what,
        source: Arc::new(io::Error::new(kind, error.to_string())),
    };
    match error {
        Error::SqliteFailure(code, _) => match code.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
                JournalErrorKind::Busy
            }
            ErrorCode::DiskFull => JournalErrorKind::Full,
            ErrorCode::SystemIoFailure => refused(io::ErrorKind::Other),
            ErrorCode::ReadOnly => refused(io::ErrorKind::ReadOnlyFilesystem),
            ErrorCode::PermissionDenied | ErrorCode::CannotOpen => refused(io::ErrorKind::PermissionDenied),
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                JournalErrorKind::Damaged { offset: 0, what: error.to_string() }
            }
            _ => JournalErrorKind::Database { what, message: error.to_string() },
        },
        // A column that holds another type than was written, or text that is none.
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::Utf8Error(..) => JournalErrorKind::Damaged { offset: 0, what: error.to_string() },
        _ => JournalErrorKind::Database { what, message: error.to_string() },
    }
}

/// Says whether the file may hold, or its descriptors may hide, something else than SQLite believes.
///
/// After such a failure the descriptors are not used again: a second fsync of the same one can report
/// success for data that the first has dropped.
pub(crate) fn needs_recovery(kind: &JournalErrorKind) -> bool {
    !matches!(kind, JournalErrorKind::Busy)
}

/// Says in a sentence what a person can do about `kind`, if anything is known.
#[must_use]
pub fn hint(kind: &JournalErrorKind) -> Option<&'static str> {
    Some(match kind {
        JournalErrorKind::Full => "free some space (`kapell gc` removes what no run needs), then resume",
        JournalErrorKind::Busy => {
            "another kapell or a `sqlite3` shell is in the middle of a write; try again"
        }
        JournalErrorKind::Damaged { .. } | JournalErrorKind::Broken(_) => {
            "keep a copy of the store; what can still be read comes out with `kapell logs RUN --export`"
        }
        JournalErrorKind::FormatTooNew { .. } => "use the kapell that wrote this store, or a newer one",
        JournalErrorKind::Io { source, .. } => match source.kind() {
            io::ErrorKind::PermissionDenied => "the store must be readable and writable for you",
            io::ErrorKind::ReadOnlyFilesystem => "the store must be writable; `KAPELL_STORE` can move it",
            _ => return None,
        },
        JournalErrorKind::Database { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rusqlite::ffi;

    use super::*;

    /// What comes of a refusal of SQLite: its kind, whether the file must be looked at anew, and the hint.
    fn of(code: i32) -> (JournalErrorKind, bool, Option<&'static str>) {
        let path = PathBuf::from("/j");
        let error = database(&path, "reading")(Error::SqliteFailure(ffi::Error::new(code), None));
        assert_eq!(error.path, "/j");
        let (again, hint) = (needs_recovery(&error.kind), hint(&error.kind));
        (error.kind, again, hint)
    }

    #[test]
    fn what_a_person_can_do_about_is_said() {
        use JournalErrorKind as K;
        let says = |hint: Option<&str>, what: &str| hint.is_some_and(|hint| hint.contains(what));
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_LOCKED, ffi::SQLITE_PROTOCOL] {
            assert!(matches!(of(code), (K::Busy, false, hint) if says(hint, "try again")), "{code}");
        }
        assert!(matches!(of(ffi::SQLITE_FULL), (K::Full, true, hint) if says(hint, "kapell gc")));
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB] {
            assert!(
                matches!(of(code), (K::Damaged { .. }, true, hint) if says(hint, "keep a copy")),
                "{code}"
            );
        }
        for code in [ffi::SQLITE_PERM, ffi::SQLITE_CANTOPEN] {
            assert!(matches!(of(code), (K::Io { .. }, true, hint) if says(hint, "for you")), "{code}");
        }
        assert!(matches!(of(ffi::SQLITE_READONLY), (K::Io { .. }, true, hint) if says(hint, "KAPELL_STORE")));
        assert!(matches!(of(ffi::SQLITE_IOERR), (K::Io { .. }, true, None)));
        assert!(matches!(of(ffi::SQLITE_MISUSE), (K::Database { .. }, true, None)));
        let newer = K::FormatTooNew { found: 9, known: 2 };
        assert!(says(hint(&newer), "newer one"));
    }

    #[test]
    fn a_column_of_another_type_is_damage() {
        let wrong = Error::InvalidColumnType(3, "hash".to_owned(), rusqlite::types::Type::Text);
        let kind = database(Path::new("/j"), "reading")(wrong).kind;
        assert!(matches!(kind, JournalErrorKind::Damaged { offset: 0, .. }), "{kind}");
        let kind = database(Path::new("/j"), "reading")(Error::QueryReturnedNoRows).kind;
        assert!(matches!(kind, JournalErrorKind::Database { what: "reading", .. }), "{kind}");
    }

    #[test]
    fn a_full_disk_is_told_from_other_refusals() {
        let kind = |kind: io::ErrorKind| io(Path::new("/j"), "writing")(kind.into()).kind;
        for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert!(matches!(kind(full), JournalErrorKind::Full));
        }
        let other = kind(io::ErrorKind::FileTooLarge);
        assert!(matches!(other, JournalErrorKind::Io { what: "writing", .. }), "{other}");
    }
}
