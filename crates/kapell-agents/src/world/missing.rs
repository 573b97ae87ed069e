//! Commands that could not be run since what they call is in the user's checkout alone: a workspace has what is committed.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use crate::drivers::Exit;

/// How a shell ends whose command is there and cannot be run. Source: POSIX, "Shell Command Language" 2.8.2.
const NOT_RUN: i32 = 126;
/// How it ends whose command is not there. Source: the same.
const NOT_FOUND: i32 = 127;

/// A command, where it runs, and where the user's own files lie.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) text: String,
    pub(super) dir: PathBuf,
    pub(super) checkout: PathBuf,
}

impl Script {
    /// Adds to the end of this command what is missing in its workspace, if that may be why it failed.
    pub(super) fn explain(&self, exit: &mut Exit) {
        let code = exit.record.as_deref().and_then(|record| record.code);
        if let Some(why) = code.and_then(|code| self.lacks(code)) {
            let (first, rest) = exit.message.split_once('\n').unwrap_or((&exit.message, ""));
            let lines = [format!("{first}: {why}"), rest.to_owned()];
            exit.message = lines.join("\n").trim_end().to_owned();
        }
    }

    fn lacks(&self, code: i32) -> Option<String> {
        self.text.split(ends_word).filter(|word| is_below(word)).find_map(|word| {
            let (here, there) = (self.dir.join(word), self.checkout.join(word));
            let name = word.strip_prefix("./").unwrap_or(word);
            match code {
                NOT_FOUND if there.is_file() && !here.exists() => {
                    Some(format!("`{name}` is in your checkout and not committed"))
                }
                NOT_RUN if runs(&there) && here.is_file() && !runs(&here) => {
                    Some(format!("`{name}` is executable in your checkout, and that is not committed"))
                }
                _ => None,
            }
        })
    }
}

fn ends_word(each: char) -> bool {
    each.is_whitespace() || "\"'`;|&()<>{}$=".contains(each)
}

/// Tells whether a word is a path below the directory that it is used in; a name alone is looked up elsewhere.
fn is_below(word: &str) -> bool {
    let mut parts = Path::new(word).components();
    word.contains('/') && parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

fn runs(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::supervise::{Cause, ExitRecord};

    fn explained(code: i32, text: &str) -> String {
        let place = tempfile::tempdir().unwrap();
        let [dir, checkout] = ["dir", "checkout"].map(|name| place.path().join(name));
        let write = |path: PathBuf, mode: u32| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        write(checkout.join("bin/new.sh"), 0o755);
        for (at, mode) in [(&dir, 0o644), (&checkout, 0o755)] {
            write(at.join("bin/old.sh"), mode);
        }
        let mut record = ExitRecord::new("a", Cause::Itself);
        record.code = Some(code);
        record.tail = "sh: 1: it said so\n".to_owned();
        let mut exit = Exit::from_record(record);
        let plain = exit.message.clone();
        Script { text: text.to_owned(), dir, checkout }.explain(&mut exit);
        if exit.message == plain { String::new() } else { exit.message }
    }

    #[test]
    fn what_is_in_the_checkout_alone_is_named() {
        assert_eq!(
            explained(127, "true && ./bin/new.sh --fast"),
            "exit 127: a command was not found (is it in PATH?): `bin/new.sh` is in your checkout and not committed\n\
             sh: 1: it said so"
        );
        assert_eq!(
            explained(126, "bin/old.sh; bin/new.sh"),
            "exit 126: a command is there but cannot be run (is it executable?): `bin/old.sh` is executable in your \
             checkout, and that is not committed\nsh: 1: it said so"
        );
        for (code, text) in [
            (1, "bin/new.sh"),
            (127, "bin/old.sh"),
            (127, "bin/none.sh"),
            (127, "new.sh"),
            (127, "../checkout/bin/new.sh"),
            (126, "bin/new.sh"),
        ] {
            assert_eq!(explained(code, text), "", "{code} {text}");
        }
    }
}
