//! What an audit of a path is of: the repository is judged as a whole, since who is named and awaited may lie anywhere, and
//! what lies below the path is shown.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use kapell_lint::{
    discover::{Bounds, Seen},
    wanted::{is_sample, is_wanted},
};
use kapell_view::audit::{AuditView, Place};

use crate::{
    args::{AuditDepth, AuditScope},
    fault::Fault,
};

/// Where an audit stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ground {
    /// The directory that is judged as a whole.
    pub(super) top: PathBuf,
    /// What is shown: a path from there, empty for all of it.
    pub(super) below: String,
}

impl Ground {
    /// Finds the repository that a directory or a file belongs to. Outside of one the directory is judged by itself, and so
    /// is one that is a world of its own: what tests work on, and what has workflows of its own.
    ///
    /// # Errors
    ///
    /// Fails if there is no such path.
    pub(super) fn find(path: &Path) -> Result<Self, Fault> {
        let whole = fs::canonicalize(path).map_err(|error| Fault::io(path, &error))?;
        let alone = Self::alone(path, &whole);
        let directory = if alone.below.is_empty() { &*whole } else { whole.parent().unwrap_or(&whole) };
        if directory.join(".github").is_dir() {
            return Ok(alone);
        }
        let Some(top) = directory.ancestors().find(|directory| is_repository(directory)) else {
            return Ok(alone);
        };
        let Some(inner) = whole.strip_prefix(top).ok().and_then(Path::to_str) else { return Ok(alone) };
        if top == whole || is_sample(&format!("{inner}/")) {
            return Ok(alone);
        }
        Ok(Self { top: top.to_owned(), below: inner.to_owned() })
    }

    /// The same path, judged by itself.
    fn alone(path: &Path, whole: &Path) -> Self {
        match (whole.parent(), whole.file_name().and_then(|name| name.to_str())) {
            (Some(parent), Some(name)) if whole.is_file() => {
                Self { top: parent.to_owned(), below: name.to_owned() }
            }
            _ => Self { top: path.to_owned(), below: String::new() },
        }
    }

    /// Looks which files count. Where none of them lies below the path, as with one that git ignores, it is judged by
    /// itself, and this becomes the ground.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be listed.
    pub(super) fn look(&mut self, depth: AuditDepth, scope: AuditScope) -> Result<Seen, Fault> {
        let (scope, depth) = (scope.into(), depth.into());
        let look = |top: &Path| {
            Seen::below(top, &|path| is_wanted(path, scope, depth), Bounds::default())
                .map_err(|error| Fault::io(top, &error))
        };
        let seen = look(&self.top)?;
        if self.below.is_empty() || seen.wanted().any(|(path, _)| lies_below(path, &self.below)) {
            return Ok(seen);
        }
        let whole = self.top.join(&self.below);
        let alone = Self::alone(&whole, &whole);
        if alone == *self {
            return Ok(seen);
        }
        *self = alone;
        look(&self.top)
    }
}

/// Tells whether a directory holds a repository of git: what others leave there by that name is none, as the sandbox of Codex
/// leaves an empty directory in `/tmp`.
fn is_repository(directory: &Path) -> bool {
    let git = directory.join(".git");
    git.is_file() || git.join("HEAD").exists()
}

/// Tells whether a path is another one, or lies below it.
pub(super) fn lies_below(path: &str, below: &str) -> bool {
    below.is_empty() || path.strip_prefix(below).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Leads from one directory to files below another, if it lies there itself: what an editor or a shell opens from there.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// The directory, from the top, name by name.
    from: Vec<String>,
}

impl Way {
    /// Finds the way, if there is one to go.
    pub(super) fn from(directory: &Path, top: &Path) -> Option<Self> {
        let (directory, top) = (fs::canonicalize(directory).ok()?, fs::canonicalize(top).ok()?);
        let inner = directory.strip_prefix(top).ok()?;
        let from: Vec<String> = inner
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => name.to_str().map(str::to_owned),
                _ => None,
            })
            .collect();
        (!from.is_empty()).then_some(Self { from })
    }

    /// Leads to a file.
    pub(super) fn to(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('/').collect();
        let shared = self.from.iter().zip(&parts).take_while(|(here, there)| *here == *there).count();
        let shared = shared.min(parts.len() - 1);
        let up = std::iter::repeat_n("..", self.from.len() - shared);
        up.chain(parts[shared..].iter().copied()).collect::<Vec<_>>().join("/")
    }

    /// Leads to every file that is shown.
    pub(super) fn through(&self, view: &AuditView) -> AuditView {
        let mut view = view.clone();
        let go = |place: &mut Place| {
            if !place.path.is_empty() {
                place.path = self.to(&place.path);
            }
        };
        for finding in &mut view.findings {
            go(&mut finding.place);
            finding.related.iter_mut().for_each(|related| go(&mut related.place));
        }
        view.unread.iter_mut().for_each(|unread| go(&mut unread.place));
        view.imported.iter_mut().for_each(|foreign| go(&mut foreign.place));
        view.patterns.iter_mut().for_each(|pattern| go(&mut pattern.place));
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(paths: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    #[test]
    fn a_directory_is_judged_as_part_of_its_repository_unless_it_is_a_world_of_its_own() {
        let dir = made(&[
            ".git/HEAD",
            "tools/a.md",
            "tests/fixtures/one/agents/a.md",
            "demo/.github/workflows/ci.yml",
        ]);
        let top = fs::canonicalize(dir.path()).unwrap();
        let below = |path: &str| {
            let ground = Ground::find(&top.join(path)).unwrap();
            (ground.top.strip_prefix(&top).unwrap().display().to_string(), ground.below)
        };
        let of = |top: &str, below: &str| (top.to_owned(), below.to_owned());
        assert_eq!(below(""), of("", ""));
        assert_eq!(below("tools"), of("", "tools"));
        assert_eq!(below("tools/a.md"), of("", "tools/a.md"));
        assert_eq!(below("tests/fixtures/one"), of("tests/fixtures/one", ""));
        assert_eq!(below("demo"), of("demo", ""));
        assert!(Ground::find(&top.join("nowhere")).is_err());
    }

    #[test]
    fn what_git_ignores_is_judged_by_itself_if_it_is_asked_for() {
        let dir = made(&[".git/HEAD", "kept/agents/a.md", "out/agents/a.md"]);
        fs::write(dir.path().join(".gitignore"), "out/\n").unwrap();
        for (path, below, count) in [("kept", "kept", 1), ("out", "", 1), ("out/agents/a.md", "a.md", 0)] {
            let mut ground = Ground::find(&dir.path().join(path)).unwrap();
            let seen = ground.look(AuditDepth::Standard, AuditScope::All).unwrap();
            assert_eq!((&*ground.below, seen.wanted().count()), (below, count), "{path}");
        }
    }

    #[test]
    fn a_path_is_led_to_from_where_one_stands() {
        let way = |from: &str| Way { from: from.split('/').map(str::to_owned).collect() };
        assert_eq!(way("tools").to("tools/a.md"), "a.md");
        assert_eq!(way("tools/deep").to("tools/a.md"), "../a.md");
        assert_eq!(way("tools").to(".github/workflows/ci.yml"), "../.github/workflows/ci.yml");
        assert_eq!(way("a/b").to("a"), "../../a");
        assert!(lies_below("tools/a.md", "tools") && !lies_below("tools2/a.md", "tools"));
        let dir = made(&["x/a.md"]);
        assert!(Way::from(dir.path(), dir.path()).is_none());
        assert_eq!(Way::from(&dir.path().join("x"), dir.path()).unwrap().to("x/a.md"), "a.md");
    }
}
