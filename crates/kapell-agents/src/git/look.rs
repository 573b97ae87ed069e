//! Reading a commit: files and what stands at its top, and changes for people and models to read.

use kapell_core::id::Oid;

use super::{error::Result, own_repo::OwnRepo};

/// The most bytes of a file, or of a change, that are read to be shown.
const SHOWN_BYTES_MAX: usize = 512 << 10;

/// A change that is longer is told by its files only.
const NOT_SHOWN: &str = "[the change is too long to be shown; its files:]\n";

impl OwnRepo {
    /// Returns a file of a commit as text; `None` if there is none of that name, or it is too long.
    ///
    /// # Errors
    ///
    /// Returns why git cannot read the commit.
    pub fn file_of(&self, commit: Oid, path: &str) -> Result<Option<String>> {
        let listed =
            self.call("ls-tree").args(["-z", "--full-tree", &commit.to_string(), "--", path]).run()?;
        // `100644 blob OID<TAB>PATH`; a link or a directory is no file.
        let entry = String::from_utf8_lossy(&listed);
        let Some((facts, name)) = entry.trim_end_matches('\0').split_once('\t') else { return Ok(None) };
        let mut facts = facts.split(' ');
        let (Some("100644" | "100755"), Some("blob"), Some(oid)) = (facts.next(), facts.next(), facts.next())
        else {
            return Ok(None);
        };
        if name != path {
            return Ok(None);
        }
        let read = self.call("cat-file").args(["blob", oid]).at_most(SHOWN_BYTES_MAX).run();
        Ok(read.ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Returns the names of what stands at the top of a commit's tree; directories end in `/`.
    ///
    /// # Errors
    ///
    /// Returns why git cannot read the commit.
    pub fn top_of(&self, commit: Oid) -> Result<Vec<String>> {
        let out = self.call("ls-tree").args(["-z", "--full-tree", &commit.to_string()]).run()?;
        let text = String::from_utf8_lossy(&out);
        let entries = text.split('\0').filter_map(|entry| entry.split_once('\t'));
        let name = |(facts, name): (&str, &str)| match facts.contains(" tree ") {
            true => format!("{name}/"),
            false => name.to_owned(),
        };
        Ok(entries.map(name).collect())
    }

    /// Returns a change as it is read: a patch without the content of binary files, or only its files if it is long.
    ///
    /// # Errors
    ///
    /// Returns why git cannot compare the commits.
    pub fn readable_patch(&self, from: Oid, to: Oid) -> Result<String> {
        let call = |form: &[&str]| {
            let call = self.call("diff-tree").args(["-r", "--no-color", "--find-renames"]).args(form);
            let call = call.args(["--no-ext-diff", "--no-textconv"]);
            call.args([from.to_string(), to.to_string()]).at_most(SHOWN_BYTES_MAX)
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        match call(&["-p"]).run() {
            Ok(patch) => Ok(text(patch)),
            Err(_) => Ok(format!("{NOT_SHOWN}{}", text(call(&["--stat=100,80,200"]).run()?))),
        }
    }
}
