//! The text of what differs between two commits.

use kapell_core::id::Oid;

use super::{error::Result, own_repo::OwnRepo};

impl OwnRepo {
    /// Returns what differs between two commits or trees, as a patch that `git apply` takes.
    ///
    /// Names and content come as they are: whoever shows them must make them safe to show. No filter, external diff
    /// or text conversion of the repository's is run.
    ///
    /// # Errors
    ///
    /// Returns why git cannot compare them, or that the patch is larger than is read of any output.
    pub fn patch(&self, from: Oid, to: Oid) -> Result<Vec<u8>> {
        let call = self.call("diff-tree").args([
            "-r",
            "-p",
            "--no-color",
            "--find-renames",
            "--full-index",
            "--binary",
        ]);
        let call = call.args(["--no-ext-diff", "--no-textconv", "--ignore-submodules=none"]);
        let call = call.args(["--src-prefix=a/", "--dst-prefix=b/"]);
        call.args([from.to_string(), to.to_string()]).run()
    }
}
