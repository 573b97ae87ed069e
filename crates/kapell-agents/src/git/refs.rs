//! Reads refs as files: HEAD, loose refs and packed refs.
//!
//! No process is started and nothing of the repository's configuration is looked at.
//! Formats: gitrepository-layout(5), git-pack-refs(1); names: git-check-ref-format(1).

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use kapell_core::id::Oid;
use rustix::fs::OFlags;

/// The most that is read of one small file of a repository, in bytes.
const SMALL: u64 = 1 << 20;
/// The most that is read of `packed-refs`, in bytes: millions of refs.
const PACKED: u64 = 512 << 20;
/// How many symbolic refs are followed, as in git.
const DEPTH: usize = 5;

/// What a ref file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RefValue {
    Object(Oid),
    Symbolic(String),
}

/// Reads at most `limit` bytes of a regular file, without following a link or blocking on a FIFO.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_regular(path, limit, OFlags::NOFOLLOW)
}

/// Reads a configuration file, which may be a link, as people keep theirs; `None` if it is not there.
pub(crate) fn read_config_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    absent_is_none(read_regular(path, SMALL, OFlags::empty()))
}

fn read_regular(path: &Path, limit: u64, extra: OFlags) -> io::Result<Vec<u8>> {
    let flags = (OFlags::NONBLOCK | extra).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file of a sane size"));
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a small file; `None` if it is not there.
pub(crate) fn read_small(path: &Path) -> io::Result<Option<Vec<u8>>> {
    absent_is_none(read_bounded(path, SMALL))
}

fn absent_is_none(read: io::Result<Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Parses the content of `HEAD` or a loose ref.
pub(crate) fn parse_ref(bytes: &[u8]) -> Option<RefValue> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end();
    match text.strip_prefix("ref:") {
        Some(name) => {
            let name = name.trim_start();
            is_ref_name(name).then(|| RefValue::Symbolic(name.to_owned()))
        }
        None => text.parse().ok().map(RefValue::Object),
    }
}

/// Looks up `name` in the repository whose own directory is `git_dir` and shared one `common`.
///
/// Returns `None` if it does not exist, or is broken.
pub(crate) fn resolve(git_dir: &Path, common: &Path, name: &str) -> io::Result<Option<Oid>> {
    let mut name = name.to_owned();
    for _ in 0..DEPTH {
        let home = if is_per_worktree(&name) { git_dir } else { common };
        let value = match read_ref_file(&home.join(&name))? {
            Some(bytes) => parse_ref(&bytes),
            None => packed(common, &name)?.map(RefValue::Object),
        };
        match value {
            Some(RefValue::Object(oid)) => return Ok(Some(oid)),
            Some(RefValue::Symbolic(next)) => name = next,
            None => return Ok(None),
        }
    }
    Ok(None)
}

fn read_ref_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match read_small(path) {
        // A directory of that name: the ref itself can only be packed.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory) => {
            Ok(None)
        }
        other => other,
    }
}

fn is_per_worktree(name: &str) -> bool {
    !name.starts_with("refs/")
        || ["refs/bisect/", "refs/worktree/", "refs/rewritten/"].iter().any(|prefix| name.starts_with(prefix))
}

fn packed(common: &Path, name: &str) -> io::Result<Option<Oid>> {
    let Some(bytes) = absent_is_none(read_bounded(&common.join("packed-refs"), PACKED))? else {
        return Ok(None);
    };
    Ok(packed_refs(&bytes).find(|(known, _)| *known == name.as_bytes()).map(|(_, oid)| oid))
}

/// Iterates over the lines of a `packed-refs` file.
pub(crate) fn packed_refs(bytes: &[u8]) -> impl Iterator<Item = (&[u8], Oid)> {
    bytes.split(|&byte| byte == b'\n').filter_map(|line| {
        if line.first().is_none_or(|first| matches!(first, b'#' | b'^')) {
            return None;
        }
        let space = line.iter().position(|&byte| byte == b' ')?;
        let oid = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
        Some((line[space + 1..].trim_ascii_end(), oid))
    })
}

/// Returns whether `name` is `HEAD` or a well-formed full name of a ref.
#[must_use]
pub fn is_ref_name(name: &str) -> bool {
    if name == "HEAD" {
        return true;
    }
    name.starts_with("refs/")
        && name.split('/').count() >= 3
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && !name.bytes().any(|byte| byte <= b' ' || byte == 0x7f || b"~^:?*[\\".contains(&byte))
        && name
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with(".lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_git_does() {
        for good in ["HEAD", "refs/heads/main", "refs/heads/a/b-c", "refs/kapell/0abc/head", "refs/heads/ü"]
        {
            assert!(is_ref_name(good), "{good}");
        }
        for bad in [
            "",
            "main",
            "refs/heads",
            "refs/heads/",
            "refs/heads//a",
            "refs/heads/../../x",
            "refs/heads/.a",
            "refs/heads/a.lock",
            "refs/heads/a b",
            "refs/heads/a\nb",
            "refs/heads/-rf",
            "refs/heads/a~1",
            "refs/heads/a.",
            "refs/heads/@{1}",
            "../refs/heads/a",
            "/refs/heads/a",
        ] {
            assert!(!is_ref_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn ref_files_are_parsed() {
        let oid = "1234567890abcdef1234567890abcdef12345678";
        assert_eq!(parse_ref(format!("{oid}\n").as_bytes()), Some(RefValue::Object(oid.parse().unwrap())));
        assert_eq!(parse_ref(b"ref: refs/heads/main\n"), Some(RefValue::Symbolic("refs/heads/main".into())));
        assert_eq!(parse_ref(b"ref: ../../../etc/passwd\n"), None);
        assert_eq!(parse_ref(b"\xff"), None);
        assert_eq!(parse_ref(b""), None);
    }

    #[test]
    fn packed_refs_are_parsed() {
        let a = "1".repeat(40);
        let text = format!(
            "# pack-refs with: peeled fully-peeled sorted\n{a} refs/tags/v1\n^{a}\n{a} refs/heads/main\nrubbish\n"
        );
        let names: Vec<_> = packed_refs(text.as_bytes())
            .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
            .collect();
        assert_eq!(names, ["refs/tags/v1", "refs/heads/main"]);
    }
}
