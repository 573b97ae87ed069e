//! Files that a task must not change, as the verdict on it sees them.

use kapell_core::id::Oid;

use super::{
    error::Result,
    index::PrivateIndex,
    own_repo::{OwnRepo, parse_oid},
};

/// What protecting paths came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    /// The tree to verify: the commit's, with the protected paths as in the base.
    pub tree: Oid,
    /// The protected paths that the commit changes, as git names them.
    pub touched: Vec<Vec<u8>>,
}

impl OwnRepo {
    /// Takes the paths matching `patterns` from `base`, whatever `commit` has there.
    ///
    /// Patterns are those of `.gitignore` without its negation: `*` stays in a directory, `**`
    /// does not, and a directory stands for all in it. None matches nothing.
    ///
    /// A file that the base does not have is taken away. Nothing is checked out: the verdict
    /// looks at the tree that is returned.
    ///
    /// # Errors
    ///
    /// Returns why git cannot read or write trees.
    pub fn protect(&self, base: Oid, commit: Oid, patterns: &[String]) -> Result<Protected> {
        let entries = self.differing(base, commit, patterns)?;
        if entries.is_empty() {
            return Ok(Protected { tree: self.tree_of(commit)?, touched: Vec::new() });
        }
        let mut lines = Vec::new();
        for entry in &entries {
            lines.extend_from_slice(&entry.base);
            lines.push(b'\t');
            lines.extend_from_slice(&entry.path);
            lines.push(0);
        }
        let index = PrivateIndex::new(self);
        let run = |command: &str| self.call(command).index(&index.path);
        run("read-tree").arg(commit.to_string()).run()?;
        run("update-index").args(["-z", "--index-info"]).input(lines).run()?;
        let tree = parse_oid(&run("write-tree").run()?)?;
        Ok(Protected { tree, touched: entries.into_iter().map(|entry| entry.path).collect() })
    }

    fn differing(&self, base: Oid, commit: Oid, patterns: &[String]) -> Result<Vec<Differing>> {
        if patterns.is_empty() || base == commit {
            return Ok(Vec::new());
        }
        let call = self.call("diff-tree").args(["-r", "-z", "--raw", "--no-renames", "--no-abbrev"]);
        let call = call.args([base.to_string(), commit.to_string()]).arg("--");
        let out = call.args(patterns.iter().flat_map(|pattern| pathspecs(pattern))).run()?;
        let mut fields = out.split(|&byte| byte == 0);
        let mut entries = Vec::new();
        while let (Some(raw), Some(path)) = (fields.next(), fields.next()) {
            let mut words = raw.strip_prefix(b":").unwrap_or(raw).split(|&byte| byte == b' ');
            let (Some(mode), _, Some(oid)) = (words.next(), words.next(), words.next()) else { break };
            let base = [mode, b" ".as_slice(), oid].concat();
            entries.push(Differing { base, path: path.to_vec() });
        }
        Ok(entries)
    }
}

struct Differing {
    /// Mode and object in the base, as `update-index --index-info` takes them.
    base: Vec<u8>,
    path: Vec<u8>,
}

/// Translates a pattern to what git matches paths with.
///
/// As in `.gitignore`, one without a slash matches at any depth, and one with a slash from the top.
pub(super) fn pathspecs(pattern: &str) -> Vec<String> {
    let inner = pattern.trim_start_matches("./").trim_end_matches('/');
    if inner.is_empty() {
        return Vec::new();
    }
    let anchored = inner.trim_start_matches('/');
    let full = if inner.contains('/') { anchored.to_owned() } else { format!("**/{anchored}") };
    vec![format!(":(top,glob){full}"), format!(":(top,glob){full}/**")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_gitignore() {
        assert_eq!(pathspecs("Cargo.lock"), [":(top,glob)**/Cargo.lock", ":(top,glob)**/Cargo.lock/**"]);
        assert_eq!(pathspecs("/Cargo.lock"), [":(top,glob)Cargo.lock", ":(top,glob)Cargo.lock/**"]);
        assert_eq!(pathspecs("tests/"), [":(top,glob)**/tests", ":(top,glob)**/tests/**"]);
        assert_eq!(pathspecs(".github/**")[0], ":(top,glob).github/**");
        assert!(pathspecs("/").is_empty());
    }
}
