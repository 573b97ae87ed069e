//! Shell scripts as lists of commands, as far as an audit needs them.
//!
//! Words keep their quotes off; `$(...)`, `${...}` and `${{ ... }}` are kept as text of the word they stand in.
//! Here-documents and comments are skipped.

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
    /// How many bytes of the first word behind them are the folder of the program.
    folder: usize,
}

/// Splits a script into its commands.
#[must_use]
pub fn commands(script: &str) -> Vec<Command> {
    Splitter { script, bytes: script.as_bytes(), at: 0, ..Splitter::default() }.split()
}

#[derive(Default)]
struct Splitter<'a> {
    script: &'a str,
    bytes: &'a [u8],
    at: usize,
    found: Vec<Command>,
    words: Vec<String>,
    word: String,
    in_word: bool,
    start: usize,
    heredocs: Vec<(String, bool)>,
    depth: usize,
    loops: usize,
    after: Option<Then>,
    /// How many `case` are open.
    cases: usize,
    /// Whether a group of commands has just been closed.
    closed: bool,
    /// Whether `[[` has been read, and no `]]` since.
    testing: bool,
}

impl Splitter<'_> {
    /// Tells whether a bar stands between patterns of a `case`: `a|b)`.
    fn is_pattern(&self) -> bool {
        let rest = &self.script[self.at..];
        let end = rest.find([')', '\n', ';', '(']).map(|end| rest.as_bytes()[end]);
        self.cases > 0 && self.words.is_empty() && end == Some(b')')
    }

    /// Tells whether `[[` is open: within it bars and parentheses belong to patterns.
    fn in_test(&self) -> bool {
        self.testing && self.word != "]]"
    }

    fn split(mut self) -> Vec<Command> {
        while self.at < self.bytes.len() {
            self.step();
        }
        self.command(Then::End);
        self.found
    }

    fn starts(&self, text: &str) -> bool {
        self.script.get(self.at..).is_some_and(|rest| rest.starts_with(text))
    }

    fn step(&mut self) {
        let byte = self.bytes[self.at];
        match byte {
            b'\n' => {
                self.command(Then::End);
                self.at += 1;
                self.skip_heredocs();
            }
            b' ' | b'\t' | b'\r' => {
                self.end_word();
                self.at += 1;
            }
            b'#' if !self.in_word => {
                let rest = &self.script[self.at..];
                self.at += rest.find('\n').unwrap_or(rest.len());
            }
            b'\\' => match self.script[self.at + 1..].chars().next() {
                Some('\n') => self.at += 2,
                Some(next) => {
                    self.push(next);
                    self.at += 1 + next.len_utf8();
                }
                None => self.at += 1,
            },
            b'\'' | b'"' => self.quoted(byte),
            b'`' => self.copy_to("`"),
            b'$' if self.starts("${{") => self.copy_to("}}"),
            b'$' if self.starts("$(") => self.substitution(),
            b'$' if self.starts("${") => self.copy_to("}"),
            // A word as input: `jq . <<< "$text"`.
            b'<' if self.starts("<<<") => {
                self.end_word();
                self.at += 3;
            }
            b'<' if self.starts("<<") => self.heredoc(),
            b';' => self.operator(if self.starts(";;") { 2 } else { 1 }, Then::End),
            b'&' if self.starts("&&") => self.operator(2, Then::And),
            b'|' if self.starts("||") => self.operator(2, Then::Or),
            b'|' if self.is_pattern() => self.copy_one(),
            b'|' | b'(' | b')' if self.in_test() => self.copy_one(),
            b')' if self.cases > 0 && self.words.is_empty() => {
                // What a `case` compares with is no command.
                self.word.clear();
                self.in_word = false;
                self.at += 1;
            }
            b'|' => self.operator(if self.starts("|&") { 2 } else { 1 }, Then::Pipe),
            b'&' if self.starts("&>") || self.at > 0 && matches!(self.bytes[self.at - 1], b'>' | b'<') => {
                self.copy_one();
            }
            b'&' => self.operator(1, Then::Background),
            b'(' if !self.in_word => {
                self.end_word();
                self.at += 1;
            }
            b'(' if self.word.ends_with('=') && is_assignment(&self.word) => self.array(),
            b')' if !self.in_word => {
                self.command(Then::End);
                self.at += 1;
                self.closed = true;
            }
            b')' => {
                self.operator(1, Then::End);
                self.closed = true;
            }
            _ => {
                self.copy_until(ends_word);
            }
        }
    }

    /// Begins a word here, unless one is open.
    fn begin_word(&mut self) {
        if !self.in_word {
            self.in_word = true;
            if self.words.is_empty() {
                self.start = self.at;
            }
        }
    }

    fn push(&mut self, character: char) {
        self.begin_word();
        self.word.push(character);
    }

    /// Copies the next `len` bytes, which end with a character.
    fn copy(&mut self, len: usize) {
        self.begin_word();
        self.word.push_str(&self.script[self.at..self.at + len]);
        self.at += len;
    }

    fn copy_one(&mut self) {
        if let Some(character) = self.script[self.at..].chars().next() {
            self.copy(character.len_utf8());
        }
    }

    /// Copies the character that stands here, and those behind it up to a byte of ASCII that ends them.
    fn copy_until(&mut self, end: impl Fn(&u8) -> bool) {
        let Some(first) = self.script[self.at..].chars().next() else { return };
        let rest = &self.bytes[self.at + first.len_utf8()..];
        let len = rest.iter().position(end).unwrap_or(rest.len());
        self.copy(first.len_utf8() + len);
    }

    /// Copies everything up to and with `end`, which may not be the character that stands here.
    fn copy_to(&mut self, end: &str) {
        let rest = &self.script[self.at + 1..];
        let len = rest.find(end).map_or(rest.len(), |len| len + end.len()) + 1;
        self.copy(len);
    }

    fn substitution(&mut self) {
        let mut depth = 0usize;
        let rest = &self.script[self.at..];
        let mut quote = None;
        let mut len = rest.len();
        for (index, byte) in rest.bytes().enumerate() {
            match (quote, byte) {
                (Some(open), byte) if byte == open => quote = None,
                (Some(_), _) => {}
                (None, b'\'') => quote = Some(byte),
                (None, b'(') => depth += 1,
                (None, b')') => {
                    depth -= 1;
                    if depth == 0 {
                        len = index + 1;
                        break;
                    }
                }
                _ => {}
            }
        }
        self.copy(len);
    }

    /// Takes the values of an array for a part of the word: `args=(a "b c"` may go on for many lines.
    fn array(&mut self) {
        let rest = &self.bytes[self.at..];
        let (mut quote, mut at, mut depth) = (None, 0, 0usize);
        while let Some(&byte) = rest.get(at) {
            match (quote, byte) {
                (Some(b'"') | None, b'\\') => at += 1,
                (Some(open), byte) if byte == open => quote = None,
                (Some(_), _) => {}
                (None, b'\'' | b'"') => quote = Some(byte),
                (None, b'#') if at > 0 && rest[at - 1].is_ascii_whitespace() => {
                    at += rest[at..].iter().position(|&byte| byte == b'\n').unwrap_or(rest.len() - at);
                }
                (None, b'(') => depth += 1,
                (None, b')') if depth == 1 => return self.copy(at + 1),
                (None, b')') => depth -= 1,
                _ => {}
            }
            at += 1;
        }
        // It has no end.
        self.copy_one();
    }

    fn quoted(&mut self, quote: u8) {
        self.begin_word();
        self.at += 1;
        while self.at < self.bytes.len() {
            let byte = self.bytes[self.at];
            if byte == quote {
                self.at += 1;
                return;
            }
            if quote == b'"' {
                if self.starts("${{") {
                    self.copy_to("}}");
                    continue;
                }
                if self.starts("$(") {
                    self.substitution();
                    continue;
                }
                if byte == b'\\' {
                    self.at += 1;
                    if self.at >= self.bytes.len() {
                        return;
                    }
                }
            }
            self.copy_until(|&byte| byte == quote || quote == b'"' && matches!(byte, b'$' | b'\\'));
        }
    }

    fn heredoc(&mut self) {
        self.end_word();
        self.at += 2;
        let indented = self.starts("-");
        if indented {
            self.at += 1;
        }
        let rest = self.script[self.at..].trim_start_matches([' ', '\t']);
        self.at = self.script.len() - rest.len();
        let len = rest
            .find(|c: char| c.is_whitespace() || matches!(c, ';' | '|' | '&' | ')' | '>'))
            .unwrap_or(rest.len());
        let word: String = rest[..len].chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
        self.at += len;
        if !word.is_empty() {
            self.heredocs.push((word, indented));
        }
    }

    fn skip_heredocs(&mut self) {
        for (end, indented) in std::mem::take(&mut self.heredocs) {
            while self.at < self.bytes.len() {
                let rest = &self.script[self.at..];
                let line = rest.lines().next().unwrap_or_default();
                self.at += rest.find('\n').map_or(rest.len(), |len| len + 1);
                let line = if indented { line.trim_start_matches('\t') } else { line };
                if line.trim_end() == end {
                    break;
                }
            }
        }
    }

    fn operator(&mut self, len: usize, then: Then) {
        // Within `[[ .. ]]` they join conditions, not commands.
        if self.in_test() && matches!(then, Then::And | Then::Or) {
            self.end_word();
            (0..len).for_each(|_| self.copy_one());
            self.end_word();
            return;
        }
        self.command(then);
        self.at += len;
    }

    fn end_word(&mut self) {
        if self.in_word {
            match self.word.as_str() {
                "[[" => self.testing = true,
                "]]" => self.testing = false,
                _ => {}
            }
            self.words.push(std::mem::take(&mut self.word));
            self.in_word = false;
        }
    }

    fn command(&mut self, then: Then) {
        self.end_word();
        let mut words = std::mem::take(&mut self.words);
        self.testing = false;
        let closed = std::mem::take(&mut self.closed) || words.iter().any(|word| word == "}");
        let after = self.after.unwrap_or(Then::End);
        let (mut asked, mut turned) = (false, false);
        while let Some(first) = words.first() {
            match first.as_str() {
                "if" | "while" | "until" => {
                    self.depth += 1;
                    self.loops += usize::from(first != "if");
                    asked = true;
                }
                "!" => (turned, asked) = (!asked, true),
                "elif" => asked = true,
                "for" | "case" | "select" => {
                    self.cases += usize::from(first == "case");
                    self.loops += usize::from(first != "case");
                    self.depth += 1;
                    // What follows is no command.
                    words.clear();
                    break;
                }
                "fi" | "done" | "esac" => {
                    self.cases -= usize::from(first == "esac" && self.cases > 0);
                    self.loops -= usize::from(first == "done" && self.loops > 0);
                    self.depth = self.depth.saturating_sub(1);
                }
                "then" | "else" | "do" | "{" | "}" | "time" | "function" => {}
                _ => break,
            }
            words.remove(0);
        }
        let assigned = words.iter().take_while(|word| is_assignment(word)).count();
        let assigned: Vec<String> = words.drain(..assigned).collect();
        if !words.is_empty() || !assigned.is_empty() {
            let (start, end) = (self.start, self.at);
            let (depth, loops) = (self.depth, self.loops);
            let inner = unwrapped(&words);
            let wrapped = words.len() - inner.len();
            let folder = inner.first().and_then(|first| first.rfind('/')).map_or(0, |slash| slash + 1);
            self.found.push(Command {
                words,
                assigned,
                start,
                end,
                then,
                after,
                asked,
                turned,
                depth,
                loops,
                wrapped,
                folder,
            });
            self.after = Some(then);
        } else if then == Then::End {
            self.after = None;
        } else if let Some(last) = self.found.last_mut().filter(|_| closed) {
            // `(a; b) || c` and `{ a; b; } || c`: what follows the group follows its last command.
            last.then = then;
            self.after = Some(then);
        }
        if then == Then::End || then == Then::Background {
            self.after = None;
        }
    }
}

/// Tells whether a byte ends a word, or stands for something in it.
fn ends_word(byte: &u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t'
            | b'\r'
            | b'\n'
            | b'\\'
            | b'\''
            | b'"'
            | b'`'
            | b'$'
            | b'<'
            | b';'
            | b'&'
            | b'|'
            | b'('
            | b')'
    )
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let name = name.strip_suffix('+').unwrap_or(name);
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// Programs that run what follows them, and how many words of their own they take.
const WRAPPERS: &[&[&str]] = &[
    &["sudo"],
    &["env"],
    &["nice"],
    &["time"],
    &["exec"],
    &["command"],
    &["npx"],
    &["bunx"],
    &["uvx"],
    &["xvfb-run"],
    &["timeout"],
    &["nohup"],
    &["uv", "run"],
    &["uv", "tool", "run"],
    &["poetry", "run"],
    &["pipenv", "run"],
    &["pdm", "run"],
    &["rye", "run"],
    &["hatch", "run"],
    &["pnpm", "exec"],
    &["pnpm", "dlx"],
    &["yarn", "exec"],
    &["yarn", "dlx"],
    &["npm", "exec"],
    &["bundle", "exec"],
    &["pipx", "run"],
    &["python", "-m"],
    &["python3", "-m"],
    &["coverage", "run", "-m"],
    &["dotenv", "--"],
];

/// Returns the words that follow wrappers such as `sudo` and `npx`.
fn unwrapped(mut words: &[String]) -> &[String] {
    'outer: for _ in 0..4 {
        for wrapper in WRAPPERS {
            if words.len() > wrapper.len() && wrapper.iter().zip(words).all(|(a, b)| a == b) {
                let mut rest = &words[wrapper.len()..];
                while let Some(word) = rest.first().filter(|word| {
                    word.starts_with('-') || is_assignment(word) || wrapper[0] == "timeout" && is_time(word)
                }) {
                    rest = &rest[1..];
                    let takes = matches!(
                        word.as_str(),
                        "--with"
                            | "--group"
                            | "--extra"
                            | "-p"
                            | "--python"
                            | "--package"
                            | "--directory"
                            | "--project"
                    );
                    if takes && rest.len() > 1 {
                        rest = &rest[1..];
                    }
                }
                if rest.is_empty() {
                    break 'outer;
                }
                words = rest;
                continue 'outer;
            }
        }
        break;
    }
    words
}

impl Command {
    /// Returns the words of the program that does the work, without wrappers such as `sudo` and `npx`.
    #[must_use]
    pub fn inner(&self) -> &[String] {
        &self.words[self.wrapped..]
    }

    /// Returns the name of the program, without its folder, and without the version that its runner is asked for: `npx wrangler@3`.
    #[must_use]
    pub fn program(&self) -> &str {
        let name = self.inner().first().map_or("", |first| &first[self.folder..]);
        if self.wrapped == 0 {
            return name;
        }
        name.split_once('@').map_or(name, |(bare, _)| if bare.is_empty() { name } else { bare })
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

fn is_time(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
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
