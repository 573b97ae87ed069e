//! A branch with changed files, for a person to look at.

use kapell_core::id::Oid;

use super::{
    error::{Error, ErrorKind, Result},
    index::PrivateIndex,
    merge::{holding, shared_setting},
    own_repo::{OwnRepo, Signature, Step, parse_oid},
    user::UserRepo,
};

/// A file and its text as proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// Its path from the top of the repository.
    pub path: String,
    /// Its text as it was looked at.
    pub before: Vec<u8>,
    /// Its text as it shall be.
    pub after: Vec<u8>,
}

impl OwnRepo {
    /// Returns which of these files `base` does not have exactly as they were looked at.
    ///
    /// # Errors
    ///
    /// Returns why git cannot read the base.
    pub fn unlike(&self, base: Oid, files: &[Rewrite]) -> Result<Vec<String>> {
        let mut unlike = Vec::new();
        for file in files {
            let known = self.entry(base, &file.path)?;
            let same = match &known {
                Some((_, oid)) => self.hash(&file.before, false)? == *oid,
                None => false,
            };
            if !same {
                unlike.push(file.path.clone());
            }
        }
        Ok(unlike)
    }

    /// Commits rewritten files on top of `base`. Modes stay as they are; the working tree is not looked at.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Protocol`] for a file that `base` does not have, or why git cannot write.
    pub fn rewrite(&self, base: Oid, files: &[Rewrite], message: &str, by: &Signature) -> Result<Oid> {
        let mut lines = Vec::new();
        for file in files {
            let Some((mode, _)) = self.entry(base, &file.path)? else {
                let what = format!("{} is not in {base}", file.path);
                return Err(Error::new("write a proposal", ErrorKind::Protocol(what)));
            };
            let oid = self.hash(&file.after, true)?;
            lines.extend_from_slice(format!("{mode} {oid}\t{}\0", file.path).as_bytes());
        }
        let index = PrivateIndex::new(self);
        let run = |command: &str| self.call(command).index(&index.path);
        run("read-tree").arg(base.to_string()).run()?;
        run("update-index").args(["-z", "--index-info"]).input(lines).run()?;
        let tree = parse_oid(&run("write-tree").run()?)?;
        self.commit(tree, &[base], message, by)
    }

    /// Makes the user's branch `name` (a full ref) point at `commit`, whose objects are brought over first; `reason` goes into its
    /// reflog.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Moved`] if the branch is there and points elsewhere.
    pub fn offer(&self, user: &UserRepo, name: &str, base: Oid, commit: Oid, reason: &str) -> Result<Step> {
        match user.find_ref(name)? {
            Some(found) if found == commit => return Ok(Step::Already),
            Some(found) => {
                let kind = ErrorKind::Moved { name: name.to_owned(), expected: None, found: Some(found) };
                return Err(Error::new("make a branch", kind));
            }
            None => {}
        }
        self.export(commit, Some(base), shared_setting(user))?;
        self.update_user_ref(user, name, None, Some(commit), reason)?;
        Ok(Step::Done)
    }

    /// Removes the user's branch `name` if it still points at `commit` and no worktree has it checked out.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Moved`] if it points elsewhere, or [`ErrorKind::CheckedOut`].
    pub fn withdraw(&self, user: &UserRepo, name: &str, commit: Oid) -> Result<Step> {
        match user.find_ref(name)? {
            None => Ok(Step::Already),
            Some(found) if found != commit => {
                let kind =
                    ErrorKind::Moved { name: name.to_owned(), expected: Some(commit), found: Some(found) };
                Err(Error::new("remove a branch", kind))
            }
            Some(_) => {
                // Without its branch a worktree would be left with no commit at all.
                if let Some(worktree) = holding(user, name)?.into_iter().next() {
                    let kind = ErrorKind::CheckedOut { name: name.to_owned(), worktree: worktree.path };
                    return Err(Error::new("remove a branch", kind));
                }
                self.update_user_ref(user, name, Some(commit), None, "kapell undo")?;
                Ok(Step::Done)
            }
        }
    }

    /// Returns mode and object of a file in a commit.
    fn entry(&self, commit: Oid, path: &str) -> Result<Option<(String, Oid)>> {
        let call = self.call("ls-tree").args(["-z", &commit.to_string(), "--"]);
        let out = call.arg(path).run()?;
        let Some(line) = out.split(|&byte| byte == 0).find(|line| !line.is_empty()) else { return Ok(None) };
        let head = String::from_utf8_lossy(line.split(|&byte| byte == b'\t').next().unwrap_or_default());
        let mut words = head.split(' ');
        let (Some(mode), Some("blob"), Some(oid)) = (words.next(), words.next(), words.next()) else {
            return Ok(None);
        };
        Ok(Some((mode.to_owned(), parse_oid(oid.as_bytes())?)))
    }

    /// Returns the object of a file with these bytes, and writes it if asked to.
    fn hash(&self, bytes: &[u8], write: bool) -> Result<Oid> {
        let call = self.call("hash-object").args(["--no-filters", "--stdin"]);
        let call = if write { call.arg("-w") } else { call };
        parse_oid(&call.input(bytes).run()?)
    }
}
