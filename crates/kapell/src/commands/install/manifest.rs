//! What was written, and how it is taken back.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use kapell_core::id::Digest;
use serde::{Deserialize, Serialize};

use super::settings::{Edit, Kind};
use crate::{exit::Exit, fault::Fault};

/// What was written below one directory. Paths are relative to it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Manifest {
    version: u32,
    /// Directories that were made, each after the one that it lies in.
    dirs: Vec<PathBuf>,
    /// How many directories above it were made, the one that it lies in first.
    #[serde(default)]
    dirs_above: usize,
    /// Files that were made, with what they hold.
    files: Vec<(PathBuf, Digest)>,
    /// Files that were there and got more text.
    edits: Vec<Edited>,
    /// How the other program was told to start this one.
    #[serde(default = "usual_program")]
    program: String,
}

/// What lists were written for that do not name the program yet.
fn usual_program() -> String {
    "kapell".to_owned()
}

/// A file that got more text.
#[derive(Debug, Serialize, Deserialize)]
struct Edited {
    path: PathBuf,
    /// Whether the file was there before.
    was_there: bool,
    /// Where the text went, in bytes.
    at: usize,
    text: String,
}

/// Something that was not taken back.
pub(super) struct Kept {
    pub(super) path: PathBuf,
    pub(super) why: &'static str,
}

const VERSION: u32 = 1;

impl Manifest {
    /// Begins one, for a program that is started like this.
    pub(super) fn of(program: &str) -> Self {
        Self { program: program.to_owned(), ..Self::default() }
    }

    /// Reads it; `None` if there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Fault> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Fault::io(path, &error)),
        };
        let read = serde_json::from_slice(&text).ok().filter(|manifest: &Self| {
            // It is a file like others, and may be anybody's: nothing outside its directory is touched for it.
            let stays = |path: &PathBuf| {
                path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
            };
            manifest.version == VERSION && manifest.paths_all().all(stays)
        });
        read.map(Some).ok_or_else(|| {
            Fault::new("K0925", Exit::Refused, "the list of what was installed cannot be read")
                .at(kapell_view::untrusted::visible(&path.display().to_string()))
                .hint("remove it, and what it was for, by hand")
        })
    }

    fn paths_all(&self) -> impl Iterator<Item = &PathBuf> {
        let files = self.files.iter().map(|(path, _)| path);
        files.chain(self.edits.iter().map(|edited| &edited.path)).chain(&self.dirs)
    }

    /// The files that were made or changed.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let files = self.files.iter().map(|(path, _)| path.as_path());
        files.chain(self.edits.iter().map(|edited| edited.path.as_path()))
    }

    /// How the other program was told to start this one.
    pub(super) fn program(&self) -> &str {
        &self.program
    }

    /// Tells whether the settings were not there before.
    pub(super) fn made_settings(&self) -> bool {
        self.edits.first().is_some_and(|edited| !edited.was_there)
    }

    /// Returns what is no longer as it was written.
    pub(super) fn changed(&self, root: &Path) -> Vec<&Path> {
        let file = |(path, digest): &(PathBuf, Digest)| {
            fs::read(root.join(path)).is_ok_and(|body| Digest::of(&body) == *digest)
        };
        let edit = |edited: &Edited| {
            fs::read_to_string(root.join(&edited.path)).is_ok_and(|text| edited.undone(&text).is_some())
        };
        let files = self.files.iter().filter(|one| !file(one)).map(|(path, _)| path.as_path());
        files.chain(self.edits.iter().filter(|one| !edit(one)).map(|one| one.path.as_path())).collect()
    }

    /// Returns an edited text as it was before, if what was put in is still there.
    pub(super) fn original(&self, text: &str) -> Option<String> {
        self.edits.first().and_then(|edited| edited.undone(text))
    }

    /// Makes a file that must not be there, and the directories that it needs.
    pub(super) fn create(&mut self, root: &Path, path: &Path, body: &[u8]) -> Result<(), Fault> {
        let full = root.join(path);
        let failed = |error: io::Error| Fault::io(&full, &error);
        self.make_dirs(root, path.parent().unwrap_or(Path::new(""))).map_err(failed)?;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&full).map_err(failed)?;
        self.files.push((path.to_owned(), Digest::of(body)));
        file.write_all(body).map_err(failed)
    }

    fn make_dirs(&mut self, root: &Path, dir: &Path) -> io::Result<()> {
        if let Some(above) = root.parent() {
            self.dirs_above +=
                above.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).count();
            fs::create_dir_all(above)?;
        }
        // The root itself has the empty name.
        let mut all: Vec<&Path> = dir.ancestors().collect();
        all.reverse();
        for dir in all {
            match fs::create_dir(root.join(dir)) {
                Ok(()) => self.dirs.push(dir.to_owned()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Puts a text into a file that is as it was when the person agreed.
    ///
    /// # Errors
    ///
    /// Fails if it is not any more, or cannot be written.
    pub(super) fn edit(&mut self, root: &Path, path: &Path, edit: &Edit) -> Result<(), Fault> {
        let full = root.join(path);
        let failed = |error: io::Error| Fault::io(&full, &error);
        self.make_dirs(root, path.parent().unwrap_or(Path::new(""))).map_err(failed)?;
        // Whose settings they are writes them, too.
        if read(&full).map_err(failed)? != edit.before {
            return Err(changed_meanwhile(&full));
        }
        replace(&full, edit.after().as_bytes()).map_err(failed)?;
        let was_there = edit.before.is_some();
        self.edits.push(Edited { path: path.to_owned(), was_there, at: edit.at, text: edit.text.clone() });
        Ok(())
    }

    /// Writes the manifest itself; it is taken back with the rest.
    pub(super) fn keep(&mut self, root: &Path, path: &Path) -> Result<(), Fault> {
        self.version = VERSION;
        let full = root.join(path);
        let parent = path.parent().unwrap_or(Path::new(""));
        self.make_dirs(root, parent).map_err(|error| Fault::io(&full, &error))?;
        let text = serde_json::to_vec_pretty(&self).unwrap_or_default();
        replace(&full, &text).map_err(|error| Fault::io(&full, &error))
    }

    /// Takes everything back that is still as it was written, the manifest at `own` too, and returns what is not.
    pub(super) fn take_back(&self, root: &Path, own: &Path) -> Result<Vec<Kept>, Fault> {
        let mut kept = Vec::new();
        for edited in self.edits.iter().rev() {
            kept.extend(edited.take_back(root)?);
        }
        for (path, digest) in self.files.iter().rev() {
            let full = root.join(path);
            let removed = match fs::read(&full) {
                Ok(body) if Digest::of(&body) != *digest => {
                    kept.push(Kept { path: full, why: "it was changed" });
                    continue;
                }
                Ok(_) => fs::remove_file(&full),
                Err(error) => Err(error),
            };
            gone(removed).map_err(|error| Fault::io(&full, &error))?;
        }
        gone(fs::remove_file(own)).map_err(|error| Fault::io(own, &error))?;
        for dir in self.dirs.iter().rev() {
            // Something else may have come into it.
            let _ = fs::remove_dir(root.join(dir));
        }
        for dir in root.ancestors().skip(1).take(self.dirs_above) {
            let _ = fs::remove_dir(dir);
        }
        Ok(kept)
    }
}

impl Edited {
    /// Returns a text without what was put in: from its place, or from wherever it has moved to. What is left says the same
    /// but for that, or it is `None`: then somebody has to look.
    fn undone(&self, text: &str) -> Option<String> {
        let at = match text.get(self.at..).is_some_and(|rest| rest.starts_with(&self.text)) {
            true => self.at,
            false => text.find(&self.text)?,
        };
        let (head, rest) = (&text[..at], &text[at + self.text.len()..]);
        // A comma that came with others stands behind it or before it.
        let behind = rest.trim_start().strip_prefix(',').map(|rest| format!("{head}{rest}"));
        let before = head.trim_end().strip_suffix(',').map(|head| format!("{head}{rest}"));
        let left = [Some(format!("{head}{rest}")), behind, before];
        left.into_iter().flatten().find(|left| Kind::of(&self.path).is_without(text, &self.text, left))
    }

    fn take_back(&self, root: &Path) -> Result<Option<Kept>, Fault> {
        let full = root.join(&self.path);
        let failed = |error: io::Error| Fault::io(&full, &error);
        let Some(text) = read(&full).map_err(failed)? else { return Ok(None) };
        let Some(before) = self.undone(&text) else {
            return Ok(Some(Kept { path: full, why: "what was put in was changed: remove it by hand" }));
        };
        let done = match !self.was_there && before.is_empty() {
            true => fs::remove_file(&full),
            false => replace(&full, before.as_bytes()),
        };
        done.map(|()| None).map_err(failed)
    }
}

/// Returns the text of a file; `None` if there is none.
fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Says that a file is not what the person has seen.
pub(super) fn changed_meanwhile(path: &Path) -> Fault {
    Fault::new("K0925", Exit::Refused, "it was changed meanwhile, and stays as it is")
        .at(kapell_view::untrusted::visible(&path.display().to_string()))
        .hint("do it once more: what would be written is made from what is there now")
}

/// What is gone already need not be removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Writes a file in one step, where a link leads to it, with the permissions that it has.
fn replace(path: &Path, body: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".kapell-{}", std::process::id()));
    let beside = path.with_file_name(name);
    let old = fs::metadata(&path).ok();
    let written = || -> io::Result<()> {
        let mut file = create_like(&beside, old.as_ref())?;
        file.write_all(body)?;
        if let Some(old) = &old {
            file.set_permissions(old.permissions())?;
        }
        file.sync_all()?;
        fs::rename(&beside, &path)
    };
    let done = written();
    if done.is_err() {
        let _ = fs::remove_file(&beside);
    }
    done
}

/// Makes a file that nobody can read who cannot read the old one: settings hold keys of servers.
fn create_like(path: &Path, old: Option<&fs::Metadata>) -> io::Result<fs::File> {
    let mode = old.map_or(0o666, |old| old.permissions().mode() & 0o666);
    fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_private_before_anything_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        fs::write(&old, "token").unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o600)).unwrap();
        let made = create_like(&new, Some(&fs::metadata(&old).unwrap())).unwrap();
        assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        replace(&old, b"other").unwrap();
        assert_eq!(fs::metadata(&old).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
