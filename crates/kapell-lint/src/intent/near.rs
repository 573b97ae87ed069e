//! Where a comment is heard: beside what it is about, and at the heads of all that holds it.

use crate::files::File;

/// How many lines above a finding are looked at for what holds it.
const REACH: u32 = 400;

/// How many lines a block of comments has at most.
const BLOCK: usize = 30;

/// A finding of more lines than these is about its first one.
const WHOLE: u32 = 8;

/// A line of more bytes than these was written by no person.
const LONG: usize = 1_000;

/// What makes a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marks {
    /// `#`, and the texts at the heads of modules and functions in Python.
    Hash,
    /// `//`, and `/* */`.
    Slashes,
    /// `<!-- -->`.
    Markup,
}

impl Marks {
    /// Returns what makes a comment in a file, on a line. JSON has none.
    fn of(file: &File, line: u32) -> Option<Self> {
        let name = file.name();
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        Some(match ending {
            "json" | "lock" => return None,
            "ts" | "tsx" | "mts" | "cts" | "js" | "jsx" | "mjs" | "cjs" | "jsonc" | "go" | "rs" | "java"
            | "kt" | "cs" | "groovy" => Self::Slashes,
            "md" | "mdc" | "markdown" if !in_front_matter(file, line) => Self::Markup,
            "" if name == "Jenkinsfile" || file.line_text(1).contains("node") => Self::Slashes,
            _ => Self::Hash,
        })
    }

    /// Returns what a line says that is nothing but a comment.
    fn whole(self, line: &str) -> Option<&str> {
        let line = line.trim();
        match self {
            Self::Hash => line.strip_prefix('#').filter(|rest| !rest.starts_with('!')),
            Self::Slashes => line
                .strip_prefix("//")
                .or_else(|| line.strip_prefix("/*"))
                .or_else(|| line.strip_prefix("* "))
                .or_else(|| line.strip_prefix("*/")),
            Self::Markup => line.strip_prefix("<!--"),
        }
    }

    /// Returns what is said at the end of a line of code.
    fn end(self, line: &str) -> Option<&str> {
        let mark = match self {
            Self::Hash => "#",
            Self::Slashes => "//",
            Self::Markup => return line.split_once("<!--").map(|(_, said)| said),
        };
        // In a line that is a whole file nobody explains anything.
        if line.len() > LONG {
            return None;
        }
        let (mut quote, mut before) = (None, ' ');
        for (at, letter) in line.char_indices() {
            match quote {
                Some(open) if letter == open && before != '\\' => quote = None,
                Some(_) => {}
                // An apostrophe stands within a word.
                None if matches!(letter, '"' | '\'' | '`') && !before.is_alphanumeric() => {
                    quote = Some(letter)
                }
                None if before.is_whitespace() && line[at..].starts_with(mark) => {
                    return Some(&line[at + mark.len()..]);
                }
                None => {}
            }
            before = letter;
        }
        None
    }
}

/// Tells whether a line stands between the two `---` at the head of a file.
fn in_front_matter(file: &File, line: u32) -> bool {
    file.line_text(1).trim_end() == "---" && (2..line).all(|at| file.line_text(at).trim_end() != "---")
}

/// A comment, and how near it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// What it says, without its marks.
    pub(super) text: String,
    /// Whether it stands at the lines themselves, not at what holds them.
    pub(super) here: bool,
}

/// Returns the comments at some lines, from 1, nearest first:
///
/// 1. at the ends of the lines, and the block right above the first of them;
/// 2. for each line that holds it, by what it is moved in – a step, a job, `needs`, `depends_on`, a statement that goes on, the
///    head of a loop or a function –, those at its end, right above it, and at the [head](is_head) of what it holds;
/// 3. at the head of a script that is run as a whole.
pub(super) fn comments(file: &File, (first, last): (u32, u32)) -> Vec<Said> {
    let Some(marks) = Marks::of(file, first) else { return Vec::new() };
    let last = if last.saturating_sub(first) < WHOLE { last } else { first };
    let ends = (first..=last).filter_map(|line| marks.end(file.line_text(line)));
    let here = [join(ends), above(file, marks, first)];
    let mut around = Vec::new();
    for holder in holders(file, marks, first) {
        around.extend([join(marks.end(file.line_text(holder))), above(file, marks, holder)]);
        if is_head(file, holder) {
            around.push(below(file, marks, holder));
        }
    }
    if is_script(file) {
        around.push(below(file, marks, u32::from(file.line_text(1).starts_with("#!"))));
    }
    let here = here.into_iter().map(|text| Said { text, here: true });
    let around = around.into_iter().map(|text| Said { text, here: false });
    here.chain(around).filter(|said| !said.text.is_empty()).collect()
}

/// Returns the lines that hold a line, innermost first: each is moved in less than what it holds. An item of a list may be moved
/// in as far as its key. Nothing holds the head of a function but its own comments.
fn holders(file: &File, marks: Marks, line: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let text = file.line_text(line);
    let (mut inner, mut item, mut inside) = (moved_in(text), text.trim_start().starts_with("- "), true);
    for at in (line.saturating_sub(REACH).max(1)..line).rev() {
        if inner == 0 && !item || !inside {
            break;
        }
        let text = file.line_text(at);
        if text.trim().is_empty() || marks.whole(text).is_some() {
            continue;
        }
        let outer = moved_in(text);
        let lists =
            outer == inner && item && text.trim_end().ends_with(':') && !text.trim_start().starts_with("- ");
        if outer < inner || lists {
            found.push(at);
            let code = text.trim_start();
            (inner, item) = (outer, code.starts_with("- "));
            inside = !["def ", "async def ", "function ", "export function "]
                .iter()
                .any(|head| code.starts_with(head));
        }
    }
    found
}

/// Tells whether what stands right below a line is said of all that it holds: not below a key of the file, nor where a list begins,
/// for there it is said of the first entry.
fn is_head(file: &File, line: u32) -> bool {
    let yaml = [".yml", ".yaml"].iter().any(|ending| file.path.ends_with(ending));
    let comment = |text: &&str| text.trim_start().starts_with('#');
    let first = (line + 1..).take(BLOCK).map(|at| file.line_text(at)).find(|text| !comment(text));
    let lists = first.is_some_and(|text| text.trim_start().starts_with("- "));
    !yaml || moved_in(file.line_text(line)) > 0 && !lists
}

/// Returns by how many bytes a line is moved in.
fn moved_in(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Returns the block of comments right above a line.
fn above(file: &File, marks: Marks, line: u32) -> String {
    let lines = (1..line).rev().take(BLOCK).map_while(|at| marks.whole(file.line_text(at)));
    let mut said: Vec<&str> = lines.collect();
    said.reverse();
    join(said)
}

/// Returns the block of comments right below a line, or the text that a function of Python says of itself.
fn below(file: &File, marks: Marks, line: u32) -> String {
    let all = (line + 1..).take(BLOCK).map(|at| file.line_text(at));
    let doc = file.line_text(line + 1).trim();
    let quotes = ["\"\"\"", "'''"].into_iter().find(|quotes| marks == Marks::Hash && doc.starts_with(quotes));
    match quotes {
        Some(quotes) if doc[quotes.len()..].contains(quotes) => join([doc]),
        Some(quotes) => {
            let lines: Vec<&str> = all.collect();
            let end = lines.iter().skip(1).position(|line| line.contains(quotes));
            // The first line, those between, and the one that closes.
            join(lines.into_iter().take(end.map_or(BLOCK, |end| end + 2)))
        }
        None => join(all.map_while(|text| marks.whole(text))),
    }
}

/// Joins the lines of a comment. What keeps a rule quiet explains nothing to another one.
fn join<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let plain = |c: char| c.is_whitespace() || matches!(c, '#' | '/' | '*' | '!' | '-' | '>' | '"');
    let lines =
        lines.into_iter().filter(|line| !line.contains(super::MARK)).map(|line| line.trim_matches(plain));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Tells whether a file is a script that is run as a whole: what its head says holds for all of it.
fn is_script(file: &File) -> bool {
    [".sh", ".bash"].iter().any(|ending| file.path.ends_with(ending)) || file.path.contains("/hooks/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &str, text: &str, line: u32) -> Vec<String> {
        comments(&File::new(path, text), (line, line)).into_iter().map(|said| said.text).collect()
    }

    #[test]
    fn all_items_of_a_key_hear_what_stands_above_it() {
        let text = "services:\n  web:\n    image: web\n    # waits itself\n    depends_on:\n    - db\n    - mq\n  db: {}\n";
        assert_eq!(said("compose.yml", text, 6), ["waits itself"]);
        assert_eq!(said("compose.yml", text, 7), ["waits itself"]);
        assert!(said("compose.yml", text, 8).is_empty());
    }

    #[test]
    fn a_step_hears_its_own_and_its_job() {
        let text = "jobs:\n  # one\n  a:\n    # two\n    steps:\n      # other\n      - run: x\n      # three\n      - name: y\n        run: y # four\n";
        assert_eq!(said("a.yml", text, 10), ["four", "three", "two", "one", "two"]);
    }

    #[test]
    fn code_hears_its_loop_and_its_function() {
        let text = "# far\nx = 1\ndef f():\n    \"\"\"Of f.\"\"\"\n    for a in b:  # 'two' of them\n        c = 1\n        await g('# no')\n";
        assert_eq!(said("a.py", text, 7), ["'two' of them", "Of f."]);
        let text = "for (const a of b) { // few\n  await c('http://x');\n}\n";
        assert_eq!(said("a.ts", text, 2), ["few"]);
        let text = "def f():\n    \"\"\"Of f.\n\n    It waits.\n    \"\"\"\n    g()\n    # no\n";
        assert_eq!(said("a.py", text, 6), ["Of f. It waits."]);
    }

    #[test]
    fn a_script_hears_its_head() {
        assert_eq!(
            said(".claude/hooks/a.sh", "#!/bin/sh\n# A hint.\n\nif x; then\n  exit 1\nfi\n", 5),
            ["A hint."]
        );
        assert!(said("a.json", "{\n// x\n\"a\": 1}", 3).is_empty());
    }

    #[test]
    fn what_keeps_a_rule_quiet_is_no_reason() {
        assert!(said("a.yml", "# kapell: ignore[x] on purpose\na: 1\n", 2).is_empty());
    }
}
