//! Shell scripts as lists of commands, as far as an audit needs them.
//!
//! Words keep their quotes off; `$(...)`, `${...}` and `${{ ... }}` are kept as text of the word they stand in.
//! Here-documents and comments are skipped.

mod split;
mod wrappers; // such as `sudo` and `npx`

use std::ops::Range;

/// What follows a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// A line break, `;` or the end.
    End,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `|`
    Pipe,
    /// `&`
    Background,
}

/// A simple command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its words, without reserved words and assignments in front.
    pub words: Vec<String>,
    /// Assignments in front of it.
    pub assigned: Vec<String>,
    /// Where it starts in the script, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// What follows.
    pub then: Then,
    /// What came before it on the same list.
    pub after: Then,
    /// Whether `if`, `while`, `until` or `!` asks for its status.
    pub asked: bool,
    /// Whether that is `!` alone, which turns the status around.
    pub turned: bool,
    /// How many `if`, `for`, `while` and `case` it stands in.
    pub depth: usize,
    /// How many of these are loops.
    pub loops: usize,
    /// How many of its words are wrappers such as `sudo`.
    wrapped: usize,
    /// Where the name of the program stands in the first word behind them, in bytes.
    name: Range<usize>,
}

/// Splits a script into its commands.
#[must_use]
pub fn commands(script: &str) -> Vec<Command> {
    split::commands(script)
}

/// Tells whether a word can be the name of a variable.
///
/// Source: POSIX, "Base Definitions", "Name": letters, digits and underscores of the portable character set, the first of them no
/// digit.
#[must_use]
pub fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Command {
    /// Returns the words of the program that does the work, without wrappers such as `sudo` and `npx`.
    #[must_use]
    pub fn inner(&self) -> &[String] {
        &self.words[self.wrapped..]
    }

    /// Returns the name of the program, without its folder, and without the version that its runner is asked for: `npx wrangler@3`,
    /// `pipx run ruff==0.7.4`.
    #[must_use]
    pub fn program(&self) -> &str {
        self.inner().first().map_or("", |first| &first[self.name.clone()])
    }

    /// Returns it as text with single blanks.
    #[must_use]
    pub fn text(&self) -> String {
        self.words.join(" ")
    }

    /// Tells whether its [text](Self::text) begins so, without putting it together.
    #[must_use]
    pub fn begins(&self, start: &str) -> bool {
        let mut rest = start;
        for (at, word) in self.words.iter().enumerate() {
            if at > 0 {
                match rest.strip_prefix(' ') {
                    Some(behind) => rest = behind,
                    None => break,
                }
            }
            match rest.strip_prefix(word.as_str()) {
                Some(behind) => rest = behind,
                None => return word.starts_with(rest),
            }
        }
        rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(script: &str) -> Vec<String> {
        commands(script)
            .iter()
            .map(|command| {
                format!("{}{:?}:{}", if command.asked { "?" } else { "" }, command.then, command.text())
            })
            .collect()
    }

    #[test]
    fn scripts_are_split() {
        assert_eq!(
            show("set -e # why\nA=1 npm ci && npm test || true; echo 'a && b' | tee x\n"),
            ["End:set -e", "And:npm ci", "Or:npm test", "End:true", "Pipe:echo a && b", "End:tee x"]
        );
        assert_eq!(
            show("cat > f <<'EOF'\nnpm test || true\nEOF\nif ! npm run x 2>&1; then\n  exit 1\nfi\n"),
            ["End:cat > f", "?End:npm run x 2>&1", "End:exit 1"]
        );
        assert_eq!(
            show("a \\\n  --b ${{ x && y }} $(c | d) &\nwait"),
            ["Background:a --b ${{ x && y }} $(c | d)", "End:wait"]
        );
        assert_eq!(show("for i in 1 2; do\n sleep 1\ndone\nx=$(git log | head)"), ["End:sleep 1", "End:"]);
        assert_eq!(
            show("(cd a && make) || echo bad\n{ b; c; } || true\nd\n(e; f)\ng"),
            [
                "And:cd a",
                "Or:make",
                "End:echo bad",
                "End:b",
                "Or:c",
                "End:true",
                "End:d",
                "End:e",
                "End:f",
                "End:g"
            ]
        );
        assert_eq!(
            show("[[ \"$r\" =~ ^(success|skipped)$ ]] || exit 1\n[[ -n $a && ( $b || $c ) ]] && d"),
            ["Or:[[ $r =~ ^(success|skipped)$ ]]", "End:exit 1", "And:[[ -n $a && ( $b || $c ) ]]", "End:d"]
        );
        assert_eq!(
            show(
                "args=(\n  \"$TAG)\" # it's new\n  --title \"x\"\n)\ndeclare -a more=(run\n --flag y)\ngh release create"
            ),
            ["End:", "End:declare -a more=(run\n --flag y)", "End:gh release create"]
        );
        for broken in ["x=(", "x=(\"", "x=(a # b", "'", "\"${{", "$(", "<<", "\\", "`", "${", "a|", "é\\é"]
        {
            let _ = show(broken);
        }
    }

    #[test]
    fn loops_are_counted() {
        let script = "until a; do b; done\nif c; then d; fi\nfor x in 1 2; do\n if e; then f; fi\ndone\ncase $x in y) g ;; esac\nh";
        let loops: Vec<usize> = commands(script).iter().map(|command| command.loops).collect();
        assert_eq!(loops, [1, 1, 0, 0, 1, 1, 0, 0]);
    }

    #[test]
    fn wrappers_are_taken_off() {
        let inner = |script: &str| commands(script)[0].inner().join(" ");
        assert_eq!(inner("uv run --frozen pytest -x"), "pytest -x");
        assert_eq!(inner("sudo -E env A=1 make x"), "make x");
        assert_eq!(inner("python -m pytest"), "pytest");
        assert_eq!(inner("timeout 60 npx eslint ."), "eslint .");
        assert_eq!(inner("npx"), "npx");
    }
}
