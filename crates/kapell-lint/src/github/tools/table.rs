//! The tables: commands, words of scripts, actions.
//!
//! Commands and actions are thousands, and so are no source but texts: a row is what it does, how many seconds it takes, and
//! its name, and the rows are in the order of their names. A name is looked up in the text as it is: to read thousands of
//! rows for the few that a repository needs takes longer than all else that is done with a small one. In a large one they
//! are read in the end.

use std::{
    cmp::Ordering,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use kapell_spec::hash::HashMap;

use super::{Kind, Work, work};

/// Commands by their first words. The longest that fits counts.
static COMMANDS: Table = Table::new(include_str!("table/commands.txt"));

/// Actions by name, in lower case.
static ACTIONS: Table = Table::new(include_str!("table/actions.txt"));

/// The column at which the name begins.
const NAME: usize = 19;

/// Finds what a command does that begins with these words.
pub(super) fn command(words: &str) -> Option<Work> {
    COMMANDS.find(words)
}

/// Finds what an action does, by its name in lower case.
pub(super) fn action(name: &str) -> Option<Work> {
    ACTIONS.find(name)
}

/// How many names are looked up in the text before its rows are read: by then that has taken as long.
const WORTH_IT: u32 = 256;

/// A table as text, and its rows by name once they are worth reading.
struct Table {
    text: &'static str,
    asked: AtomicU32,
    rows: OnceLock<HashMap<&'static str, &'static str>>,
}

impl Table {
    const fn new(text: &'static str) -> Self {
        Self { text, asked: AtomicU32::new(0), rows: OnceLock::new() }
    }

    fn find(&self, name: &str) -> Option<Work> {
        // Nobody looks up so many names that the count begins anew, and then it would only take longer.
        if self.asked.fetch_add(1, Relaxed) < WORTH_IT {
            return find(self.text, name);
        }
        let read = || {
            let count = memchr::memchr_iter(b'\n', self.text.as_bytes()).count();
            let mut rows = HashMap::with_capacity_and_hasher(count, Default::default());
            rows.extend(self.text.lines().filter_map(|row| Some((row.get(NAME..)?, row))));
            rows
        };
        work_of(self.rows.get_or_init(read).get(name)?)
    }
}

/// Finds the row of a name by halving the text.
fn find(table: &str, name: &str) -> Option<Work> {
    let (table, name) = (table.as_bytes(), name.as_bytes());
    // Both stand where a row begins, or at the end.
    let (mut low, mut high) = (0, table.len());
    while low < high {
        let middle = low.midpoint(high);
        let start = memchr::memrchr(b'\n', &table[low..middle]).map_or(low, |at| low + at + 1);
        let end = memchr::memchr(b'\n', &table[start..high]).map_or(high, |at| start + at);
        let row = &table[start..end];
        match row.get(NAME..).unwrap_or_default().cmp(name) {
            Ordering::Less => low = high.min(end + 1),
            Ordering::Equal => return work_of(str::from_utf8(row).ok()?),
            Ordering::Greater => high = start,
        }
    }
    None
}

fn work_of(row: &str) -> Option<Work> {
    let mut words = row.split_ascii_whitespace();
    Some(work(Kind::named(words.next()?)?, words.next()?.parse().ok()?))
}

/// Programs that leave nothing behind that matters.
pub(super) const TRIVIAL: &[&str] = &[
    "echo",
    "printf",
    "cat",
    "ls",
    "cd",
    "pwd",
    "mkdir",
    "rm",
    "cp",
    "mv",
    "chmod",
    "chown",
    "touch",
    "export",
    "set",
    "true",
    "false",
    ":",
    "exit",
    "return",
    "test",
    "[",
    "[[",
    "sleep",
    "date",
    "which",
    "whoami",
    "env",
    "head",
    "tail",
    "grep",
    "egrep",
    "sed",
    "awk",
    "cut",
    "sort",
    "uniq",
    "wc",
    "tr",
    "xargs",
    "find",
    "tee",
    "diff",
    "jq",
    "yq",
    "tar",
    "zip",
    "unzip",
    "gzip",
    "gunzip",
    "base64",
    "sha256sum",
    "md5sum",
    "basename",
    "dirname",
    "realpath",
    "readlink",
    "ln",
    "du",
    "df",
    "free",
    "uname",
    "id",
    "read",
    "shift",
    "local",
    "declare",
    "unset",
    "shopt",
    "pushd",
    "popd",
    "wait",
    "kill",
    "trap",
    "seq",
    "command",
    "type",
    "hash",
    "source",
    ".",
    "install",
    "stat",
    "file",
    "id",
    "let",
    "continue",
    "break",
    "nproc",
    "hostname",
    "sysctl",
    "ulimit",
    "umask",
    "alias",
    "eval",
    "ssh-add",
    "ssh-agent",
    "ssh-keyscan",
    "security",
    "defaults",
    "xcode-select",
    "break",
];

/// Words of script names and targets that tell what they do, strongest first.
pub(super) const SCRIPT_WORDS: &[(&str, Kind, u32)] = &[
    ("deploy", Kind::Deploy, 60),
    ("publish", Kind::Publish, 30),
    ("release", Kind::Release, 30),
    ("promote", Kind::Deploy, 30),
    ("rollout", Kind::Deploy, 60),
    ("lint", Kind::Lint, 40),
    ("typecheck", Kind::Lint, 40),
    ("typescript", Kind::Lint, 40),
    ("types", Kind::Lint, 40),
    ("tsc", Kind::Lint, 40),
    ("format", Kind::Lint, 10),
    ("fmt", Kind::Lint, 10),
    ("prettier", Kind::Lint, 10),
    ("eslint", Kind::Lint, 40),
    ("clippy", Kind::Lint, 120),
    ("e2e", Kind::Test, 300),
    ("integration", Kind::Test, 240),
    ("test", Kind::Test, 120),
    ("tests", Kind::Test, 120),
    ("itest", Kind::Test, 240),
    ("spec", Kind::Test, 120),
    ("suite", Kind::Test, 240),
    ("conformance", Kind::Test, 240),
    ("coverage", Kind::Test, 120),
    ("bench", Kind::Test, 240),
    ("benchmark", Kind::Test, 240),
    ("build", Kind::Build, 60),
    ("compile", Kind::Build, 60),
    ("docs", Kind::Build, 40),
    ("check", Kind::Lint, 40),
    ("validate", Kind::Lint, 20),
    ("verify", Kind::Lint, 20),
    ("audit", Kind::Audit, 15),
    ("install", Kind::Install, 45),
    ("setup", Kind::Setup, 30),
    ("generate", Kind::Build, 20),
    ("push", Kind::Publish, 30),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_its_columns_and_in_order_and_is_found() {
        for table in [&COMMANDS, &ACTIONS] {
            for row in table.text.lines() {
                let work = work_of(row).unwrap_or_else(|| panic!("`{row}` names no work"));
                let (before, name) = row.split_at(NAME);
                let words: Vec<&str> = before.split_ascii_whitespace().collect();
                assert_eq!(before, format!("{:<12} {:>4}  ", words[0], words[1]), "{row}");
                assert_eq!([find(table.text, name), table.find(name)], [Some(work); 2], "{row}");
            }
            let names: Vec<&str> = table.text.lines().map(|row| &row[NAME..]).collect();
            assert_eq!(names.windows(2).find(|pair| pair[0] >= pair[1]), None);
        }
    }

    #[test]
    fn what_is_in_no_row_is_not_found() {
        for round in 0..=WORTH_IT {
            for name in ["", "a", "anchor", "anchor build x", "actions/checkout", "\u{7f}"] {
                assert_eq!(command(name), None, "{name} in round {round}");
            }
        }
        assert_eq!(action("anchor build"), None);
        assert_eq!(find("", "a"), None);
        assert_eq!(find("build          20  a\nodd\n", "b"), None, "a row that is none is passed over");
    }

    #[test]
    fn a_row_says_what_is_done_and_how_long_it_takes() {
        assert_eq!(command("anchor build"), Some(work(Kind::Build, 240)));
        assert_eq!(action("actions/checkout"), Some(work(Kind::Checkout, 5)));
    }
}
