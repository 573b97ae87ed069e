//! Frees what kapell's own repository no longer needs.

use std::{fs, io};

use kapell_core::id::Oid;

use super::{
    error::{Result, at},
    own_repo::OwnRepo,
};

impl OwnRepo {
    /// Packs loose objects, and deletes those that nothing names and that are older than `before`
    /// (seconds since 1970).
    ///
    /// Runs, salvage and `keep` name objects: pass the commits that were submitted and have not
    /// landed. Files that a killed process left are deleted as well.
    ///
    /// # Errors
    ///
    /// Returns why git or the file system refused.
    pub fn compact(&self, keep: &[Oid], before: i64) -> Result<()> {
        self.remove_drafts().map_err(at(self.dir(), "tidy kapell's own repository"))?;
        self.call("repack").args(["-d", "-l", "-q"]).run()?;
        let call = self.call("prune").arg(format!("--expire=@{before} +0000"));
        call.arg("--").args(keep.iter().map(ToString::to_string)).run().map(|_| ())
    }

    fn remove_drafts(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.dir())? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let owner = ["view-", "index-"].iter().find_map(|prefix| name.strip_prefix(prefix));
            let pid = owner.and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse().ok());
            let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) else { continue };
            let alive = !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH));
            if alive {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}
