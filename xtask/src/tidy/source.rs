//! Rules for sources: what a library must not do, and what must not be left behind.

use super::{Complaint, Tree};

/// A source without its comments, and with empty strings, line by line as in the file.
pub(super) struct Code {
    text: String,
    /// The first line of the unit tests, which stand last in a file; none if there are no tests in it.
    tests: Option<usize>,
}

impl Code {
    /// Reads Rust as far as needed to tell code from comments and texts.
    pub(super) fn of(source: &str) -> Self {
        let text = blank(source);
        let is_condition =
            |line: &str| ["#[cfg(test)]", "#[cfg(all(test,"].iter().any(|start| line.starts_with(start));
        let tests = text.lines().position(|line| is_condition(line.trim_start()));
        let tests = tests.filter(|first| {
            // A module of its own file is another file; only one written here hides what follows.
            text.lines()
                .skip(first + 1)
                .find(|line| line.contains("mod "))
                .is_some_and(|line| line.contains('{'))
        });
        Self { text, tests: tests.map(|first| first + 1) }
    }

    /// Returns numbers and lines of code, tests of the file included.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Returns numbers and lines up to the unit tests.
    pub(super) fn proper(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().take_while(|(number, _)| self.tests.is_none_or(|first| *number < first))
    }

    /// Returns numbers and lines of the unit tests.
    fn tests(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().skip_while(|(number, _)| self.tests.is_none_or(|first| *number < first))
    }
}

/// Replaces what is in comments and texts by blanks.
fn blank(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_text(rest).filter(|_| !out.ends_with(is_of_a_name)) {
            length
        } else if first == '"' {
            plain_text(rest)
        } else if let Some(length) = character(rest) {
            length
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    out
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the length of a raw text, or nothing if none starts here.
fn raw_text(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    let body = after[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close)?;
    Some(rest.len() - body.len() + end + close.len())
}

/// Returns the length of a text with escapes.
fn plain_text(rest: &str) -> usize {
    let mut escaped = false;
    for (index, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Returns the length of a character such as `'"'`; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    let mut chars = body.char_indices();
    let (_, first) = chars.next()?;
    if first != '\\' {
        let (end, close) = chars.next()?;
        return (close == '\'').then_some(end + 2);
    }
    let (after_escaped, _) = chars.nth(1)?;
    body[after_escaped..].find('\'').map(|end| after_escaped + end + 2)
}

/// Returns whether a file belongs to what the house is built of, rather than to its tests and tools.
fn is_of_the_house(path: &str) -> bool {
    path.starts_with("crates/") && path.split('/').nth(2) == Some("src")
}

fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Nothing half done is left behind, and no test is switched off.
pub(super) fn words(tree: &Tree) -> Vec<Complaint> {
    // Put together here, since this file is looked at as well.
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let code = [
        concat!("to", "do!("),
        concat!("unim", "plemented!("),
        concat!("#[ig", "nore"),
        concat!("db", "g!("),
    ];
    let mut complaints = Vec::new();
    for (path, text) in tree.ending(".rs") {
        let plain = Code::of(text);
        let found = plain.lines().flat_map(|(number, line)| {
            code.iter().filter(move |word| line.contains(**word)).map(move |word| (number, *word))
        });
        let noted = text.lines().enumerate().flat_map(|(index, line)| {
            notes.iter().filter(move |word| line.contains(**word)).map(move |word| (index + 1, *word))
        });
        complaints.extend(
            found
                .chain(noted)
                .map(|(number, word)| Complaint::new(path, number, format!("`{word}` is left here"))),
        );
    }
    complaints
}

/// Libraries neither print nor read the environment; the program hands in what they need to know.
pub(super) fn surroundings(tree: &Tree) -> Vec<Complaint> {
    const PRINTS: &[&str] = &["println!", "print!", "eprintln!", "eprint!"];
    // Taking a text apart that looks like `PATH` reads nothing, and where the program lies is no setting.
    const READS: &[&str] = &[
        "env::var",
        "env::args",
        "env::current_dir",
        "env::set_",
        "env::remove_var",
        "env::home_dir",
        "env::temp_dir",
    ];
    let mut complaints = Vec::new();
    let house =
        tree.ending(".rs").filter(|(path, _)| is_of_the_house(path) && !path.starts_with("crates/kapell/"));
    for (path, text) in house.filter(|(path, _)| !is_test_file(path)) {
        for (number, line) in Code::of(text).proper() {
            let prints =
                PRINTS.iter().find(|word| line.split(is_not_of_a_macro).any(|piece| piece == **word));
            let reads = READS.iter().find(|word| line.contains(**word));
            if let Some(word) = prints.or(reads) {
                let what =
                    format!("`{word}` in a library: only the program prints and reads the environment");
                complaints.push(Complaint::new(path, number, what));
            }
        }
    }
    complaints
}

fn is_not_of_a_macro(c: char) -> bool {
    !is_of_a_name(c) && c != '!'
}

/// No test waits for time to pass. Waiting for something to hold, with a limit, is another thing: it stands in a
/// function `wait_until`.
pub(super) fn sleeps(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (path, text) in tree.ending(".rs") {
        let code = Code::of(text);
        let lines: Vec<(usize, &str)> =
            if is_test_file(path) { code.lines().collect() } else { code.tests().collect() };
        let mut function = "";
        for (number, line) in lines {
            if line.contains("fn ") {
                function = line;
            }
            if line.contains("thread::sleep(") && !function.contains("fn wait_until(") {
                complaints.push(Complaint::new(
                    path,
                    number,
                    "a test must not sleep: wait for what it needs",
                ));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::{super::tests::said, *};

    #[test]
    fn comments_texts_and_characters_are_no_code() {
        let source = r###"let a = "x \" y"; // z
let b = r#"print"# + 'c' + '\'' + '"' + '\u{1F600}';
fn f<'a>(x: &'a str) {} /* w
*/ g()"###;
        let blanked = blank(source);
        for hidden in ["x", "y", "z", "print", "'c'", "1F600", "w"] {
            let expected = usize::from(hidden == "x");
            assert_eq!(blanked.matches(hidden).count(), expected, "{hidden} in {blanked}");
        }
        assert!(blanked.contains("fn f<'a>(x: &'a str) {}") && blanked.ends_with(" g()"), "{blanked}");
        assert_eq!(blanked.lines().count(), source.lines().count());
    }

    #[test]
    fn what_is_left_behind_is_found() {
        let note = concat!("// TO", "DO: later");
        let off = concat!("#[ig", "nore]");
        let hole = concat!("to", "do!()");
        let file = format!("{note}\n{off}\nfn f() {{ {hole} }}\nlet text = \"{hole}\";\n");
        let said = said(words, &[("crates/kapell-core/src/a.rs", &file)]);
        let places: Vec<&str> = said.lines().map(|line| line.split(' ').next().unwrap()).collect();
        let path = |line: u8| format!("crates/kapell-core/src/a.rs:{line}:");
        assert_eq!(places, [path(2), path(3), path(1)]);
    }

    #[test]
    fn a_library_that_prints_or_looks_around_is_found() {
        let text = "fn f() { println!(\"a\"); }\nlet home = std::env::var(\"HOME\");\n// println!(\"b\")\n\
                    let parts = std::env::split_paths(p);\n\
                    #[cfg(all(test, x))]\nmod tests {\n fn g() { println!(\"c\"); }\n}\n";
        let files = [
            ("crates/kapell-view/src/a.rs", text),
            ("crates/kapell/src/a.rs", text),
            ("crates/kapell-view/examples/a.rs", text),
            ("xtask/src/a.rs", text),
        ];
        let said = said(surroundings, &files);
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.contains("crates/kapell-view/src/a.rs:1: `println!`"), "{said}");
        assert!(said.contains("crates/kapell-view/src/a.rs:2: `env::var`"), "{said}");
    }

    #[test]
    fn a_test_that_sleeps_is_found_and_one_that_waits_for_something_is_not() {
        let files = [
            (
                "crates/a/tests/it/a.rs",
                "fn a() {\n std::thread::sleep(x);\n}\nfn wait_until(x) {\n thread::sleep(y);\n}",
            ),
            (
                "crates/a/src/a.rs",
                "fn a() { thread::sleep(x) }\n#[cfg(test)]\nmod tests {\n fn b() { thread::sleep(x) }\n}",
            ),
            (
                "crates/a/src/b.rs",
                "fn a() { thread::sleep(x) }\n#[cfg(test)]\nmod tests;\nfn c() { thread::sleep(x) }",
            ),
        ];
        let said = said(sleeps, &files);
        assert_eq!(
            said,
            "crates/a/src/a.rs:4: a test must not sleep: wait for what it needs\n\
             crates/a/tests/it/a.rs:2: a test must not sleep: wait for what it needs"
        );
    }
}
