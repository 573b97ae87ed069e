//! Keeps what an attempt left unfinished before its workspace is deleted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kapell_core::id::{AttemptNo, Oid, TaskId};

use super::{
    permissions::size_of,
    pool::{Kind, Owner, Pool, Workspace},
};
use crate::git::{OwnRepo, Result, Signature, error::at, printable, process::Call, salvage_ref};

const REFS: &str = "refs/kapell/salvage/";

/// What became of the work in a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Salvaged {
    /// There was nothing that the base does not have.
    Nothing,
    /// It is in this commit, under [`salvage_ref`].
    Commit {
        /// The commit.
        commit: Oid,
        /// Paths that are not in it: too large, not readable, or repositories of their own.
        left_out: Vec<String>,
    },
    /// Git could not take it, so the files themselves were moved here.
    Moved {
        /// The directory.
        to: PathBuf,
        /// Why git could not.
        because: String,
    },
}

/// One piece of salvaged work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The ref that holds it, or the directory.
    pub name: String,
    /// Whose it is, if its name says so.
    pub of: Option<Owner>,
    /// The commit, if a ref holds it.
    pub commit: Option<Oid>,
    /// The commit that the attempt began at, if `commit` says so.
    pub base: Option<Oid>,
    /// When it was salvaged, in seconds since 1970.
    pub at: i64,
    /// How much room it takes, in bytes.
    pub bytes: u64,
}

impl Pool {
    /// Keeps the work in `workspace` for its owner, as far as it can be read.
    ///
    /// Files larger than `file_max` bytes are left out and named. Repeating it replaces what was
    /// kept before.
    ///
    /// # Errors
    ///
    /// Returns why the files could neither be committed nor moved; then nothing may be deleted.
    pub fn salvage(
        &self,
        workspace: &Workspace,
        owner: Owner,
        by: &Signature,
        file_max: u64,
    ) -> Result<Salvaged> {
        if workspace.kind() != Kind::Clone || !workspace.tree().is_dir() {
            return Ok(Salvaged::Nothing);
        }
        match workspace.salvage_commit(owner, by, file_max) {
            Ok(salvaged) => Ok(salvaged),
            Err(error) => {
                let to = self.salvage_dir().join(format!("{}.{}.{}", owner.run, owner.task, owner.attempt));
                fs::create_dir_all(self.salvage_dir()).map_err(at(&to, "salvage a workspace"))?;
                super::remove_tree(&to).map_err(at(&to, "salvage a workspace"))?;
                fs::rename(workspace.tree(), &to).map_err(at(&to, "salvage a workspace"))?;
                Ok(Salvaged::Moved { to, because: error.kind.to_string() })
            }
        }
    }

    fn salvage_dir(&self) -> PathBuf {
        self.dir().join("salvaged")
    }

    /// Lists what is kept, here and in kapell's own repository, oldest first.
    ///
    /// # Errors
    ///
    /// Returns why it cannot be read.
    pub fn salvaged(&self, repo: &OwnRepo) -> Result<Vec<Kept>> {
        let mut kept = repo.salvaged()?;
        let dir = self.salvage_dir();
        let Ok(entries) = fs::read_dir(&dir) else { return Ok(kept) };
        for entry in entries {
            let path = entry.map_err(at(&dir, "list salvaged work"))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            kept.push(Kept {
                of: owner(name.split('.')),
                name: printable(path.as_os_str().as_encoded_bytes()),
                commit: None,
                base: None,
                at: modified(&path),
                bytes: size_of(&path),
            });
        }
        kept.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
        Ok(kept)
    }

    /// Deletes what was salvaged before `before` (seconds since 1970); returns what it was.
    ///
    /// # Errors
    ///
    /// Returns why something could not be deleted.
    pub fn collect_salvaged(&self, repo: &OwnRepo, before: i64) -> Result<Vec<Kept>> {
        let mut old = self.salvaged(repo)?;
        old.retain(|kept| kept.at < before);
        let mut commands = Vec::new();
        for kept in &old {
            match kept.commit {
                Some(commit) => commands.extend(format!("delete {}\0{commit}\0", kept.name).into_bytes()),
                None => remove_tree_named(&self.salvage_dir(), &kept.name)?,
            }
        }
        if !commands.is_empty() {
            repo.call("update-ref").args(["--no-deref", "-z", "--stdin"]).input(commands).run()?;
        }
        Ok(old)
    }
}

fn remove_tree_named(dir: &Path, name: &str) -> Result<()> {
    // Only names that we made ourselves are in there; they need no escaping, so they match.
    let path = dir.join(Path::new(name).file_name().unwrap_or_default());
    super::remove_tree(&path).map_err(at(&path, "delete salvaged work"))
}

/// Reads run, task and attempt from the parts of a name.
fn owner<'n>(mut parts: impl Iterator<Item = &'n str>) -> Option<Owner> {
    let run = parts.next()?.parse().ok()?;
    let task = TaskId(parts.next()?.parse().ok()?);
    let attempt = AttemptNo(parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(Owner { run, task, attempt })
}

fn modified(path: &Path) -> i64 {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path).map_or(0, |meta| meta.ctime())
}

impl Workspace {
    fn salvage_commit(&self, owner: Owner, by: &Signature, file_max: u64) -> Result<Salvaged> {
        let base = self.base()?;
        let repo = &self.repo;
        let kept = self.keep_commits(base, u64::MAX >> 1)?;
        let mut scan = self.scan()?;
        let aside = self.set_aside(&mut scan, file_max, u64::MAX);
        let refused = self.take_in(&scan, true)?;
        let tree = self.write_tree()?;
        if kept.count == 0 && kept.stray.is_none() && tree == repo.tree_of(base)? {
            return Ok(Salvaged::Nothing);
        }
        let mut parents = vec![kept.tip];
        parents.extend(kept.stray);
        let message = format!(
            "kapell: unfinished work\n\nKapell-Run: {}\nKapell-Task: {}\nKapell-Attempt: {}\nKapell-Base: {base}\n",
            owner.run, owner.task, owner.attempt
        );
        let commit = repo.commit(tree, &parents, &message, by)?;
        let name = salvage_ref(owner.run, owner.task, owner.attempt);
        repo.call("update-ref").arg("--no-deref").arg(name).arg(commit.to_string()).run()?;
        let left_out = aside.large.iter().chain(&aside.unreadable).chain(&scan.nested);
        Ok(Salvaged::Commit {
            commit,
            left_out: left_out.map(|path| printable(path)).chain(refused).collect(),
        })
    }
}

impl OwnRepo {
    /// Lists the salvage refs, oldest first.
    ///
    /// # Errors
    ///
    /// Returns why they cannot be read.
    pub fn salvaged(&self) -> Result<Vec<Kept>> {
        const FORMAT: &str = "%(refname)%00%(objectname)%00%(committerdate:unix)%00%(contents:trailers:key=Kapell-Base,valueonly)%00";
        let out = self.call("for-each-ref").arg(format!("--format={FORMAT}")).arg(REFS).run()?;
        let text = String::from_utf8_lossy(&out);
        let fields: Vec<_> = text.split('\0').map(str::trim).collect();
        let mut kept = Vec::new();
        for record in fields.chunks_exact(4) {
            let Ok(commit) = record[1].parse::<Oid>() else { continue };
            let base = record[3].parse().ok();
            kept.push(Kept {
                name: record[0].to_owned(),
                of: record[0].strip_prefix(REFS).and_then(|name| owner(name.split(['/', '.']))),
                commit: Some(commit),
                base,
                at: record[2].parse().unwrap_or(0),
                bytes: self.disk_usage(commit, base)?,
            });
        }
        kept.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
        Ok(kept)
    }

    fn disk_usage(&self, tip: Oid, base: Option<Oid>) -> Result<u64> {
        let call: Call<'_> = self.call("rev-list").args(["--objects", "--disk-usage"]).arg(tip.to_string());
        let call = match base {
            Some(base) => call.arg(format!("^{base}")),
            None => call,
        };
        let out = call.run()?;
        Ok(String::from_utf8_lossy(&out).trim().parse().unwrap_or(0))
    }
}
