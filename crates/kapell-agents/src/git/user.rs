//! A look at the user's repository, through its files alone.
//!
//! **Invariant:** nothing here starts a process, so nothing in the repository can run.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use kapell_core::id::Oid;

use super::{
    config::Config,
    error::{Error, ErrorKind, Result, at, printable},
    refs::{self, RefValue, is_ref_name},
};

const DOING: &str = "read the repository";

/// What `HEAD` of a worktree names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// A branch that has a commit.
    Branch {
        /// The full name, `refs/heads/...`.
        name: String,
        /// Its commit.
        oid: Oid,
    },
    /// A branch without a commit.
    Unborn {
        /// The full name, `refs/heads/...`.
        name: String,
    },
    /// A commit, on no branch.
    Detached {
        /// The commit.
        oid: Oid,
    },
}

/// The hash function that names a repository's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectFormat {
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
}

/// A working tree of the user's repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worktree {
    /// The top directory.
    pub path: PathBuf,
    /// Its own git directory (the common one for the main worktree).
    pub git_dir: PathBuf,
    /// The branch that it has checked out, or holds for a rebase or bisect that is under way.
    pub branch: Option<String>,
    /// What is under way in it, such as a rebase.
    pub busy: Option<&'static str>,
}

/// The name under which kapell commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name of a person.
    pub name: String,
    /// The address of that person.
    pub email: String,
}

impl Identity {
    /// Makes an identity that git accepts: characters that would end the field are left out.
    ///
    /// An empty name becomes `kapell`, an empty address `kapell@localhost`.
    #[must_use]
    pub fn new(name: &str, email: &str) -> Self {
        let clean = |text: &str, or: &str| {
            let kept: String = text.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).collect();
            // Git itself strips these from both ends, and refuses what is then empty.
            let kept = kept.trim_matches(|c: char| c.is_whitespace() || ".,:;\\\"'".contains(c));
            if kept.is_empty() { or.to_owned() } else { kept.to_owned() }
        };
        Self { name: clean(name, "kapell"), email: clean(email, "kapell@localhost") }
    }
}

/// The user's repository.
#[derive(Debug, Clone)]
pub struct UserRepo {
    top: Option<PathBuf>,
    git_dir: PathBuf,
    common: PathBuf,
    config: Config,
    format: ObjectFormat,
    head: Head,
    sparse: bool,
}

impl UserRepo {
    /// Finds the repository that `dir` lies in, walking up.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::NotARepository`] if there is none.
    /// - [`ErrorKind::GitFileElsewhere`] if `.git` leads to a directory that does not name this
    ///   one back (as a worktree or a submodule does), or is a symbolic link.
    /// - [`ErrorKind::Reftable`], [`ErrorKind::UnknownFormat`] and [`ErrorKind::PartialClone`] for
    ///   what is not supported. Shallow, sha256, bare, detached, sparse and repositories with
    ///   submodules are. One without a commit is found; [`UserRepo::head_commit`] refuses it.
    pub fn discover(dir: &Path) -> Result<Self> {
        let start = fs::canonicalize(dir).map_err(at(dir, DOING))?;
        for candidate in start.ancestors() {
            let dot_git = candidate.join(".git");
            match fs::symlink_metadata(&dot_git) {
                Ok(meta) if meta.is_dir() && looks_like_git_dir(&dot_git) => {
                    return Self::open(Some(candidate), &dot_git, &dot_git);
                }
                Ok(meta) if meta.is_file() => {
                    let (git_dir, common) = follow_git_file(candidate, &dot_git)?;
                    return Self::open(Some(candidate), &git_dir, &common);
                }
                Ok(meta) if meta.is_symlink() => {
                    let to = fs::read_link(&dot_git).map_err(at(&dot_git, DOING))?;
                    return Err(Error::new(DOING, ErrorKind::GitFileElsewhere { file: dot_git, to }));
                }
                _ => {}
            }
            if looks_like_git_dir(candidate) {
                return Self::open(None, candidate, candidate);
            }
        }
        Err(Error::new(DOING, ErrorKind::NotARepository { dir: start }))
    }

    fn open(top: Option<&Path>, git_dir: &Path, common: &Path) -> Result<Self> {
        let mut config = read_config(&common.join("config"))?;
        if config.is_true("extensions.worktreeconfig") {
            let own = read_config(&git_dir.join("config.worktree"))?;
            config = config.followed_by(&own);
        }
        let format = check_format(&config)?;
        // A directory with `core.bare` inside a `.git` is how some tools keep worktrees only.
        let top = top.filter(|_| !config.is_true("core.bare") || git_dir != common);
        let head = read_head(git_dir, common)?;
        let sparse = config.is_true("core.sparsecheckout");
        Ok(Self {
            top: top.map(Path::to_path_buf),
            git_dir: git_dir.to_path_buf(),
            common: common.to_path_buf(),
            config,
            format,
            head,
            sparse,
        })
    }

    /// Returns the top of the working tree; `None` for a bare repository.
    #[must_use]
    pub fn top(&self) -> Option<&Path> {
        self.top.as_deref()
    }

    /// Returns the git directory of this worktree.
    #[must_use]
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Returns the directory that all worktrees share, in which kapell keeps its own (`kapell/`).
    #[must_use]
    pub fn common_dir(&self) -> &Path {
        &self.common
    }

    /// Returns where the objects are.
    #[must_use]
    pub fn objects_dir(&self) -> PathBuf {
        self.common.join("objects")
    }

    /// Returns the hash function of the objects.
    #[must_use]
    pub fn object_format(&self) -> ObjectFormat {
        self.format
    }

    /// Returns what `HEAD` named when the repository was read.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Returns the commit that `HEAD` named.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Unborn`] if there is none yet.
    pub fn head_commit(&self) -> Result<Oid> {
        match &self.head {
            Head::Branch { oid, .. } | Head::Detached { oid } => Ok(*oid),
            Head::Unborn { .. } => Err(Error::new("find the commit to start from", ErrorKind::Unborn)),
        }
    }

    /// Returns whether the history is cut off.
    #[must_use]
    pub fn is_shallow(&self) -> bool {
        self.common.join("shallow").is_file()
    }

    /// Returns whether this worktree is a sparse checkout.
    #[must_use]
    pub fn is_sparse(&self) -> bool {
        self.sparse
    }

    /// Returns the repository's own configuration, without what it includes.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Looks up a ref by its full name, as it is now; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::BadRefName`] for what is no full name, or why files cannot be read.
    pub fn find_ref(&self, name: &str) -> Result<Option<Oid>> {
        if !is_ref_name(name) {
            return Err(Error::new(DOING, ErrorKind::BadRefName { name: printable(name.as_bytes()) }));
        }
        refs::resolve(&self.git_dir, &self.common, name).map_err(at(&self.common.join(name), DOING))
    }

    /// Returns the full name of the branch that a person calls `name`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::BadRefName`] for what is no name of a branch.
    pub fn branch_name(name: &str) -> Result<String> {
        let full =
            if name.starts_with("refs/heads/") { name.to_owned() } else { format!("refs/heads/{name}") };
        if is_ref_name(&full) {
            Ok(full)
        } else {
            Err(Error::new(DOING, ErrorKind::BadRefName { name: printable(name.as_bytes()) }))
        }
    }

    /// Lists all working trees with what each has checked out, as it is now.
    ///
    /// Those whose directory is gone are left out.
    ///
    /// # Errors
    ///
    /// Returns why files cannot be read.
    pub fn worktrees(&self) -> Result<Vec<Worktree>> {
        let mut found = Vec::new();
        if let Some(main) = self.main_worktree() {
            found.push(look_at_worktree(&main, &self.common)?);
        }
        let registry = self.common.join("worktrees");
        let entries = match fs::read_dir(&registry) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(at(&registry, DOING)(error)),
        };
        let mut dirs: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        dirs.sort();
        for git_dir in dirs {
            let Some(back) = read_path(&git_dir.join("gitdir"))? else { continue };
            let dot_git = git_dir.join(back);
            let Some(path) = dot_git.parent().and_then(|path| fs::canonicalize(path).ok()) else { continue };
            if points_to(&dot_git, &git_dir) {
                found.push(look_at_worktree(&path, &git_dir)?);
            }
        }
        Ok(found)
    }

    /// Returns the top of the main working tree, if the repository has one.
    fn main_worktree(&self) -> Option<PathBuf> {
        if self.git_dir == self.common {
            return self.top.clone();
        }
        let main_is_bare =
            read_config(&self.common.join("config")).is_ok_and(|config| config.is_true("core.bare"));
        let parent = self.common.parent()?;
        (self.common.file_name() == Some(OsStr::new(".git")) && !main_is_bare).then(|| parent.to_path_buf())
    }

    /// Returns the identity that the repository's configuration and then `more` files give.
    ///
    /// The files of the user's own configuration come as arguments, since this crate does not look
    /// at the environment. The first that gives a value wins.
    #[must_use]
    pub fn identity(&self, more: &[PathBuf]) -> Identity {
        let others: Vec<_> = more.iter().filter_map(|path| read_config(path).ok()).collect();
        let find = |name: &str| {
            std::iter::once(&self.config)
                .chain(&others)
                .find_map(|config| config.get(name))
                .unwrap_or_default()
        };
        Identity::new(find("user.name"), find("user.email"))
    }

    /// Returns the text of the user's own ignore file: what `core.excludesFile` names in this repository's configuration or in
    /// the first of `more` that names one, else `default`. `home` is what a `~` stands for.
    ///
    /// It only says what not to submit; one that cannot be read is as good as none.
    #[must_use]
    pub fn excludes(&self, more: &[PathBuf], home: Option<&Path>, default: Option<&Path>) -> Vec<u8> {
        let others: Vec<_> = more.iter().filter_map(|path| read_config(path).ok()).collect();
        let named =
            std::iter::once(&self.config).chain(&others).find_map(|config| config.get("core.excludesfile"));
        let path = match (named, home) {
            (None, _) => default.map(Path::to_owned),
            // Set to nothing, it takes the default away.
            (Some(""), _) => None,
            (Some(named), home) => match (named.strip_prefix("~/"), home) {
                (Some(below), Some(home)) => Some(home.join(below)),
                _ => Some(self.top().unwrap_or(self.common_dir()).join(named)),
            },
        };
        path.and_then(|path| refs::read_config_file(&path).ok().flatten()).unwrap_or_default()
    }
}

fn looks_like_git_dir(dir: &Path) -> bool {
    dir.join("HEAD").is_file() && dir.join("objects").is_dir() && dir.join("refs").is_dir()
}

fn read_config(path: &Path) -> Result<Config> {
    let text = refs::read_config_file(path).map_err(at(path, DOING))?;
    Ok(text.map(|text| Config::parse(&text)).unwrap_or_default())
}

/// Reads a file that holds one path and a newline.
fn read_path(file: &Path) -> Result<Option<PathBuf>> {
    let bytes = refs::read_small(file).map_err(at(file, DOING))?;
    Ok(bytes.map(|bytes| {
        let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
        PathBuf::from(OsStr::from_bytes(&bytes[..end]))
    }))
}

/// Follows a `.git` file to (git directory, common directory), if these name `top` back.
fn follow_git_file(top: &Path, file: &Path) -> Result<(PathBuf, PathBuf)> {
    let bytes = refs::read_small(file).map_err(at(file, DOING))?.unwrap_or_default();
    let elsewhere =
        |to: PathBuf| Error::new(DOING, ErrorKind::GitFileElsewhere { file: file.to_path_buf(), to });
    let Some(to) = bytes.strip_prefix(b"gitdir: ") else {
        return Err(elsewhere(PathBuf::from("nothing")));
    };
    let to = PathBuf::from(OsStr::from_bytes(to.trim_ascii_end()));
    let Ok(git_dir) = fs::canonicalize(top.join(&to)) else { return Err(elsewhere(to)) };
    if let Some(common) = read_path(&git_dir.join("commondir"))? {
        let common = fs::canonicalize(git_dir.join(common)).map_err(at(&git_dir, DOING))?;
        let back = read_path(&git_dir.join("gitdir"))?.map(|back| git_dir.join(back));
        let is_back = back.is_some_and(|back| {
            back.file_name() == Some(OsStr::new(".git"))
                && back.parent().and_then(|dir| fs::canonicalize(dir).ok()).as_deref() == Some(top)
        });
        let registered = git_dir.parent() == Some(&common.join("worktrees"));
        if is_back && registered && looks_like_git_dir(&common) {
            return Ok((git_dir, common));
        }
    } else if looks_like_git_dir(&git_dir) {
        // A submodule: its git directory lies with its parent and names the worktree.
        let config = read_config(&git_dir.join("config"))?;
        let back = config.get("core.worktree").and_then(|path| fs::canonicalize(git_dir.join(path)).ok());
        if back.as_deref() == Some(top) {
            return Ok((git_dir.clone(), git_dir));
        }
    }
    Err(elsewhere(to))
}

/// Returns whether the `.git` file at `dot_git` leads to `git_dir`.
fn points_to(dot_git: &Path, git_dir: &Path) -> bool {
    let Ok(Some(bytes)) = refs::read_small(dot_git) else { return false };
    let Some(to) = bytes.strip_prefix(b"gitdir: ") else { return false };
    let to = Path::new(OsStr::from_bytes(to.trim_ascii_end()));
    let from = dot_git.parent().unwrap_or(Path::new("/"));
    matches!((fs::canonicalize(from.join(to)), fs::canonicalize(git_dir)), (Ok(a), Ok(b)) if a == b)
}

fn check_format(config: &Config) -> Result<ObjectFormat> {
    let unknown = |name: String| Err(Error::new(DOING, ErrorKind::UnknownFormat { name }));
    let version = config.get("core.repositoryformatversion").unwrap_or("0");
    if !matches!(version, "0" | "1") {
        return unknown(format!("repository format {}", printable(version.as_bytes())));
    }
    let mut format = ObjectFormat::Sha1;
    let mut partial = false;
    for (name, value) in config.iter() {
        if name.starts_with("remote.") && name.ends_with(".promisor") {
            partial |= config.is_true(name);
        }
        let Some(extension) = name.strip_prefix("extensions.") else { continue };
        match extension {
            "noop" | "noop-v1" | "preciousobjects" | "worktreeconfig" | "relativeworktrees" => {}
            "partialclone" => partial = true,
            "refstorage" if value == "files" => {}
            "refstorage" if value.starts_with("reftable") => {
                return Err(Error::new(DOING, ErrorKind::Reftable));
            }
            "objectformat" if value == "sha1" => {}
            "objectformat" if value == "sha256" => format = ObjectFormat::Sha256,
            // In version 0 git ignores extensions that it does not know.
            _ if version == "0" => {}
            _ => {
                let name = format!("extensions.{extension}={value}");
                return unknown(printable(name.as_bytes()));
            }
        }
    }
    if partial { Err(Error::new(DOING, ErrorKind::PartialClone)) } else { Ok(format) }
}

fn read_head(git_dir: &Path, common: &Path) -> Result<Head> {
    let path = git_dir.join("HEAD");
    let bytes = refs::read_small(&path).map_err(at(&path, DOING))?.unwrap_or_default();
    match refs::parse_ref(&bytes) {
        Some(RefValue::Object(oid)) => Ok(Head::Detached { oid }),
        Some(RefValue::Symbolic(name)) => {
            let oid = refs::resolve(git_dir, common, &name).map_err(at(&path, DOING))?;
            Ok(match oid {
                Some(oid) => Head::Branch { name, oid },
                None => Head::Unborn { name },
            })
        }
        None => {
            let source = io::Error::new(io::ErrorKind::InvalidData, "HEAD names neither a ref nor a commit");
            Err(at(&path, DOING)(source))
        }
    }
}

fn look_at_worktree(path: &Path, git_dir: &Path) -> Result<Worktree> {
    let busy = [
        ("rebase-merge", "rebase"),
        ("rebase-apply", "rebase"),
        ("MERGE_HEAD", "merge"),
        ("CHERRY_PICK_HEAD", "cherry-pick"),
        ("REVERT_HEAD", "revert"),
        ("BISECT_LOG", "bisect"),
    ]
    .into_iter()
    .find(|(file, _)| git_dir.join(file).exists())
    .map(|(_, what)| what);
    let head = git_dir.join("HEAD");
    let bytes = refs::read_small(&head).map_err(at(&head, DOING))?.unwrap_or_default();
    let branch = match refs::parse_ref(&bytes) {
        Some(RefValue::Symbolic(name)) => Some(name),
        // During a rebase or bisect HEAD is detached, and the branch waits to be moved.
        _ => ["rebase-merge/head-name", "rebase-apply/head-name", "BISECT_START"].iter().find_map(|file| {
            let bytes = refs::read_small(&git_dir.join(file)).ok()??;
            let name = std::str::from_utf8(&bytes).ok()?.trim();
            let name = if name.starts_with("refs/") { name.to_owned() } else { format!("refs/heads/{name}") };
            is_ref_name(&name).then_some(name)
        }),
    };
    Ok(Worktree { path: path.to_path_buf(), git_dir: git_dir.to_path_buf(), branch, busy })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_cannot_end_its_field() {
        let id = Identity::new("Eve\nauthor x <y>", "<a@b>\n");
        assert_eq!(id, Identity { name: "Eveauthor x y".into(), email: "a@b".into() });
        assert_eq!(Identity::new("", " . "), Identity::new("kapell", "kapell@localhost"));
    }

    #[test]
    fn formats_are_accepted_or_refused_by_name() {
        let check = |text: &str| match check_format(&Config::parse(text.as_bytes())) {
            Ok(format) => format!("{format:?}"),
            Err(error) => error.kind.to_string(),
        };
        for (text, expected) in [
            ("", "Sha1"),
            ("[core]repositoryformatversion=0\n[extensions]strange=1", "Sha1"),
            ("[core]repositoryformatversion=1\n[extensions]objectformat=sha256", "Sha256"),
            (
                "[core]repositoryformatversion=1\n[extensions]strange=1",
                "the repository needs `extensions.strange=1`, which kapell does not know",
            ),
            (
                "[core]repositoryformatversion=7",
                "the repository needs `repository format 7`, which kapell does not know",
            ),
            (
                "[extensions]refstorage=reftable",
                "the repository keeps its refs as a reftable, which kapell does not read",
            ),
            ("[remote \"o\"]promisor=true", "the repository is a partial clone"),
            ("[remote \"o\"]promisor=false", "Sha1"),
        ] {
            assert_eq!(check(text), expected, "{text}");
        }
    }
}
