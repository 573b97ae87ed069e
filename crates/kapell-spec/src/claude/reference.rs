//! Names of agents, commands and files in a text, and how sure it is that they are that.

pub mod handing; // the words with which work is handed on

mod defined;
mod known;
mod mentioned;
mod spoken;

use std::sync::LazyLock;

use memchr::{memchr_iter, memmem};

pub use defined::Defined;
pub use known::{CHOICE, begins_item, beside_known, known, leads};
pub use mentioned::mentioned;

use super::{
    definition::{Definition, Named},
    markdown::Mark,
    tables,
};
use crate::{finding::Span, line, words::Words};

/// Words before a name in marks that hand a task to it.
const TASKS: &[&str] = &[
    "task for",
    "task tool with",
    "task tool for",
    "task tool to start",
    "agent tool with",
    "agent tool for",
];

/// Words before a command in marks that have the run go on, or end, with it.
const GOES_ON: &[&str] = &[
    "continue with",
    "continue by running",
    "carry on with",
    "go on with",
    "go on to",
    "move on to",
    "proceed with",
    "proceed to",
    "follow up with",
    "follow with",
    "finish with",
    "finish by running",
    "end with",
    "close with",
    "hand over to",
    "hand it to",
    "hand them to",
    "pass it to",
    "switch to",
];

/// How sure a reference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// An example, a placeholder, or a bare word.
    Weak,
    /// Set apart as a name, beside a word that says what it names.
    Strong,
    /// A key or a form that can mean nothing else.
    Certain,
}

/// What a reference names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Names {
    /// An agent.
    Agent,
    /// A command or a skill, by its slash.
    Command,
    /// A skill, by its name.
    Skill,
    /// A file that is read.
    File,
    /// A file that is included by `@`.
    Import,
}

/// A reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// What it names.
    pub names: Names,
    /// The name as written, without marks and slash.
    pub name: String,
    /// Where the name stands.
    pub span: Span,
    /// How sure it is.
    pub strength: Strength,
    /// Whether it stands in a block of code.
    pub fenced: bool,
}

/// Tells whether a text is a name such as `code-reviewer`: lower case, with a hyphen.
#[must_use]
pub fn is_kebab(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_part = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.len() <= 64
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().is_some_and(is_part)
        && bytes.contains(&b'-')
        && bytes.windows(2).all(|pair| is_part(&pair[0]) || pair[0] == b'-' && is_part(&pair[1]))
}

/// Tells whether a text is a name such as `code_reviewer`: lower case, with an underscore, as agents of Codex are called.
#[must_use]
pub fn is_snake(text: &str) -> bool {
    !text.contains('-') && text.contains('_') && is_kebab(&text.replace('_', "-"))
}

/// Tells whether a name stands for any name.
#[must_use]
pub fn is_placeholder(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let lower = lower.rsplit(':').next().unwrap_or_default();
    lower.contains(['<', '>', '[', ']', '{', '}', '$', '*'])
        || tables::PLACEHOLDERS.contains(&lower)
        || ["your-", "my-", "some-", "example-", "placeholder"].iter().any(|start| lower.starts_with(start))
        || lower.ends_with("-name")
        || lower.contains("...")
}

/// The characters that a name of an agent or command may have, plugins included.
fn name_len(text: &str) -> usize {
    let len = text.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:./".contains(c))).unwrap_or(text.len());
    text[..len].trim_end_matches(['.', ':', '/', '-', '_']).len()
}

/// Finds the references in a definition's body and frontmatter, in the order of the text.
#[must_use]
pub fn references(text: &str, definition: &Definition) -> Vec<Reference> {
    let mut finder = Finder { text, definition, found: Vec::new() };
    finder.frontmatter();
    finder.subagent_types();
    finder.directives();
    finder.calls();
    finder.mentions();
    finder.marks();
    finder.spoken();
    finder.slashes();
    finder.imports();
    finder.links();
    let mut found = finder.found;
    found.sort_by(|a, b| {
        (a.span.start, a.names, std::cmp::Reverse(a.strength)).cmp(&(
            b.span.start,
            b.names,
            std::cmp::Reverse(b.strength),
        ))
    });
    found.dedup_by(|b, a| a.span == b.span && a.names == b.names);
    found
}

struct Finder<'a> {
    text: &'a str,
    definition: &'a Definition,
    found: Vec<Reference>,
}

impl<'a> Finder<'a> {
    fn body(&self) -> &'a str {
        self.text.get(self.definition.body as usize..).unwrap_or_default()
    }

    fn line(&self, at: usize) -> &'a str {
        line::around(self.text, at)
    }

    fn add(&mut self, names: Names, span: Span, strength: Strength) {
        let name = self.text[span.range()].to_owned();
        let fenced = self.definition.document.fence_at(span.start).is_some();
        static EXAMPLE: LazyLock<Words> =
            LazyLock::new(|| Words::new(&["for example", "e.g.", "such as", "example:"]));
        let example = EXAMPLE.is_in(self.line(span.start as usize));
        let weak = is_placeholder(&name) || example;
        let strength = if weak { Strength::Weak } else { strength };
        self.found.push(Reference { names, name, span, strength, fenced });
    }

    /// `tools: Agent(x)`, and a skill's `agent: x` and `skills: [..]`.
    fn frontmatter(&mut self) {
        let definition = self.definition;
        for key in ["tools", "allowed-tools"] {
            for tool in definition.items(key) {
                let inner = ["Agent(", "Task("].iter().find_map(|open| tool.text.strip_prefix(open));
                let Some(inner) = inner.and_then(|inner| inner.strip_suffix(')')) else { continue };
                let mut at = tool.span.start as usize + tool.text.len() - inner.len() - 1;
                for name in inner.split(',') {
                    let trimmed = name.trim();
                    let start = at + name.find(trimmed).unwrap_or(0);
                    if !trimmed.is_empty() && !trimmed.contains([':', '*']) {
                        self.checked(
                            Names::Agent,
                            Named { text: trimmed.to_owned(), span: Span::new(start, start + trimmed.len()) },
                        );
                    }
                    at += name.len() + 1;
                }
            }
        }
        if let Some(agent) = definition.text("agent").filter(|_| definition.text("context").is_some()) {
            self.checked(Names::Agent, agent.clone());
        }
        for skill in definition.items("skills") {
            self.checked(Names::Skill, skill.clone());
        }
    }

    /// Adds a name that was read from YAML, if its place holds just that name.
    fn checked(&mut self, names: Names, named: Named) {
        if self.text.get(named.span.range()) == Some(&*named.text) {
            self.add(names, named.span, Strength::Certain);
        }
    }

    /// `subagent_type: x`, however it is written.
    fn subagent_types(&mut self) {
        let base = self.definition.body as usize;
        let key = "subagent_type";
        for at in memmem::find_iter(self.body().as_bytes(), key).map(|at| base + at + key.len()) {
            // `subagent_type set to `x``.
            let told = ["` set to ", " set to ", "` of ", " of "].iter().find_map(|words| {
                self.text[at..].strip_prefix(words).filter(|rest| rest.starts_with(['`', '"', '\'']))
            });
            let at = told.map_or(at, |rest| self.text.len() - rest.len());
            let rest = &self.text[at..];
            let between =
                rest.len() - rest.trim_start_matches([' ', '`', '"', '\'', ':', '=', '*', '(']).len();
            let separators = &rest[..between];
            // In prose a word follows; a value has a sign before it.
            let given = told.is_some()
                || separators.contains([':', '='])
                || separators.trim_start_matches(['`', '"']).contains(['"', '`', '\'']);
            let len = name_len(&rest[between..]);
            // `turn.speaker` is a variable of a program: no agent is called so.
            let variable = rest[between..between + len].contains('.');
            // `subagent_type` = the name of the agent: a plain word that others follow is prose.
            let quoted = separators.trim_end().ends_with(['`', '"', '\'']);
            let follows = rest[between + len..].strip_prefix(' ').unwrap_or_default();
            let prose = !quoted
                && !rest[between..between + len].contains('-')
                && follows.starts_with(|c: char| c.is_ascii_alphabetic());
            if given
                && len > 0
                && !variable
                && !prose
                && !rest[between + len..].starts_with(['[', '<', '{', '}'])
            {
                self.add(Names::Agent, Span::new(at + between, at + between + len), Strength::Certain);
            }
        }
    }

    /// A line `Use: x` or `Agent: x` in a block of code, as some commands direct their agents.
    fn directives(&mut self) {
        let (text, definition) = (self.text, self.definition);
        for span in definition.document.fences.iter().map(|fence| fence.span) {
            let mut at = span.start as usize;
            for line in text[span.range()].split_inclusive('\n') {
                let content = line.trim();
                let name = ["Use: ", "Agent: "].iter().find_map(|key| content.strip_prefix(key));
                if let Some(name) = name.filter(|name| is_kebab(name)) {
                    let start = at + line.find(name).unwrap_or(0);
                    self.add(Names::Agent, Span::new(start, start + name.len()), Strength::Strong);
                }
                at += line.len();
            }
        }
    }

    /// `Task x-y(what it is given)`, as if an agent were a function.
    fn calls(&mut self) {
        let base = self.definition.body as usize;
        for key in ["Task ", "Agent "] {
            for at in memmem::find_iter(self.body().as_bytes(), key).map(|at| base + at) {
                let inside = self.text[..at].ends_with(|c: char| c.is_alphanumeric());
                let rest = &self.text[at + key.len()..];
                let marks = rest.len() - rest.trim_start_matches(['`', '*', '@']).len();
                let len = name_len(&rest[marks..]);
                let name = &rest[marks..marks + len];
                let called = rest[marks + len..].trim_start_matches(['`', '*']).starts_with('(');
                let local = name.rsplit(':').next().unwrap_or(name);
                if called && !inside && is_kebab(local) {
                    let start = at + key.len() + marks;
                    self.add(Names::Agent, Span::new(start, start + len), Strength::Certain);
                }
            }
        }
    }

    /// `@agent-x`, as a person names an agent.
    fn mentions(&mut self) {
        let base = self.definition.body as usize;
        let key = "@agent-";
        for at in memmem::find_iter(self.body().as_bytes(), key).map(|at| base + at + key.len()) {
            let len = name_len(&self.text[at..]);
            if len > 0 {
                self.add(Names::Agent, Span::new(at, at + len), Strength::Strong);
            }
        }
    }

    /// **x-y** agent, agent `x-y`, and `x-y` skill.
    fn marks(&mut self) {
        let definition = self.definition;
        for mark in &definition.document.marks {
            let name = mark.text.trim().trim_start_matches('@');
            // Most marks hold something else.
            if !name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.contains(':') {
                continue;
            }
            let scoped = name.rsplit(':').next().unwrap_or(name);
            // One word alone may be anything; it counts where an agent of that name is defined.
            let plain = (3..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase());
            // One with underscores is mostly a function; it counts where it is called an agent.
            let snake = is_snake(name);
            if !is_kebab(scoped) && !is_kebab(name) && !plain && !snake
                || name.starts_with("agent-") && mark.text.starts_with('@')
            {
                continue;
            }
            let Some(inner) = self.text[mark.span.range()].find(name) else { continue };
            let start = mark.span.start as usize + inner;
            let span = Span::new(start, start + name.len());
            let rest = &self.text[mark.span.end as usize..];
            // The line may have come to its end between the name and what it is.
            let rest = rest.strip_prefix('\n').filter(|_| mark.code).unwrap_or(rest);
            let after = words(rest);
            // A mark may go on in the next line; what counts stands before all of it.
            let at = mark.span.start as usize;
            let before = self.text[line::start(self.text, at)..at].trim_end().to_ascii_lowercase();
            let task = TASKS.iter().any(|words| before.ends_with(words));
            let before = before.rsplit(' ').next().unwrap_or_default();
            let hands_on = self.is_step_of(mark);
            // `Spawn `x-reviewer``: whoever is spawned works.
            let spawned =
                mark.code && matches!(before, "spawn" | "spawns" | "spawning") && spoken::is_somebody(name);
            // `let the agent `x-y` do it`.
            let named = mark.code && before == "agent" && self.is_set_to_work(at);
            let is_agent =
                |word: &str| matches!(word, "agent" | "subagent" | "sub-agent" | "agents" | "subagents");
            if is_agent(&after)
                || matches!(before, "subagent" | "sub-agent")
                || (task || hands_on || spawned || named) && !plain && !snake
            {
                self.add(Names::Agent, span, if plain { Strength::Weak } else { Strength::Strong });
            } else if !plain
                && !snake
                && (matches!(&*after, "skill" | "skills") || before.ends_with("skill:"))
            {
                self.add(Names::Skill, span, Strength::Strong);
            }
        }
    }

    /// Tells whether the words before the name of an agent have it work: `let the agent `x-y``.
    fn is_set_to_work(&self, at: usize) -> bool {
        let before = self.text[line::start(self.text, at)..at].to_ascii_lowercase();
        let mut words =
            before.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty()).rev();
        let last: Vec<&str> = words.by_ref().take(3).collect();
        matches!(last[..], ["agent", "the" | "our", verb] if matches!(
            verb,
            "let" | "have" | "ask" | "use" | "start" | "call" | "run" | "invoke" | "spawn" | "launch" | "dispatch"
        ))
    }

    /// Tells whether a numbered heading begins with a name and goes on with an arrow to a file: `### 2. `x-y` → `z.json``.
    fn is_step_of(&self, mark: &Mark) -> bool {
        let line = self.line(mark.span.start as usize);
        let from = line::offset(self.text, line);
        let before = self.text[from..mark.span.start as usize].trim_end();
        let rest = self.text[mark.span.end as usize..].lines().next();
        let after = rest.unwrap_or_default().trim_start();
        let arrow = ["\u{2192}", "->", "=>"].iter().find_map(|arrow| after.strip_prefix(arrow));
        mark.code
            && before.starts_with('#')
            && before.trim_start_matches('#').trim().starts_with(|c: char| c.is_ascii_digit())
            && arrow.is_some_and(|rest| rest.trim_start().starts_with('`') && rest.contains('.'))
    }

    /// Names in running words. Where a form that can mean nothing else follows, the words only lead up to it.
    fn spoken(&mut self) {
        let document = &self.definition.document;
        let is_code = |at: usize| document.fence_at(u32::try_from(at).unwrap_or(u32::MAX)).is_some();
        for span in spoken::names(self.text, self.definition.body as usize, &is_code) {
            let near = self.text[span.end as usize..]
                .char_indices()
                .nth(400)
                .map_or(self.text.len(), |(len, _)| span.end as usize + len);
            if !self.text[span.end as usize..near].contains("subagent_type") {
                self.add(Names::Agent, span, Strength::Strong);
            }
        }
    }

    /// `/name` and `/plugin:name`.
    fn slashes(&mut self) {
        let base = self.definition.body as usize;
        let bytes = self.text.as_bytes();
        for at in memchr_iter(b'/', self.body().as_bytes()).map(|at| base + at) {
            if at > 0 && !b" \t\n\"'`([*|>".contains(&bytes[at - 1]) {
                continue;
            }
            let rest = &self.text[at + 1..];
            let len =
                rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:".contains(c))).unwrap_or(rest.len());
            let len = rest[..len].trim_end_matches([':', '-', '_']).len();
            let name = &rest[..len];
            let cut = rest[len..].trim_start_matches([':', '-', '_']).starts_with(['*', '<', '{', '[', '$']);
            let ends = !cut && !rest[len..].starts_with(['/', '.', '=', '*', '<', '{', '[', '$', '@'])
                || rest[len..].starts_with(". ")
                || rest[len..].starts_with(".\n");
            // The end of a mark: `<!-- /part -->`.
            let marks = self.text[..at].trim_end().ends_with("<!--");
            if !ends || marks || len < 2 || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
                continue;
            }
            let span = Span::new(at + 1, at + 1 + len);
            if name.contains(':') && !rest[len..].starts_with('-') || self.is_said_to_be_run(at) {
                self.add(Names::Command, span, Strength::Strong);
            } else if self.is_ordered(at) {
                self.add(Names::Command, span, Strength::Weak);
            }
        }
    }

    /// Tells whether the word right before `/name` at `at` orders to run it: `Then run /verify.`, `Finally, call `/verify`.`
    fn is_ordered(&self, at: usize) -> bool {
        let before = self.text[..at].trim_end_matches([' ', '\t']);
        let word = before.rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        // A path of a server is called, too: it is then the name of no command.
        let marked = before.trim_end_matches('`').trim_end_matches([' ', '\t']);
        let called = marked.rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        ["run", "invoke", "execute"].iter().any(|order| order.eq_ignore_ascii_case(word))
            || called.eq_ignore_ascii_case("call")
    }

    /// Tells whether `/name` at `at` opens a code span that the words before say to run.
    fn is_said_to_be_run(&self, at: usize) -> bool {
        let Some(mark) = self.definition.document.mark_at(u32::try_from(at).unwrap_or(u32::MAX)) else {
            return false;
        };
        if !mark.code || mark.span.start as usize + 1 != at {
            return false;
        }
        let line = self.line(at);
        let from = line::offset(self.text, line);
        let before = self.text[from..mark.span.start as usize].trim_end();
        // A sentence goes on in the next line of its paragraph.
        let above = || self.line(from.saturating_sub(1)).trim_end();
        let before = if before.is_empty() && from > 0 { above() } else { before }.to_ascii_lowercase();
        let before = before.rsplit(". ").next().unwrap_or_default();
        let word = before.rsplit([' ', '(']).next().unwrap_or_default();
        let after = words(&self.text[mark.span.end as usize..]);
        let named = after == "command" || after == "skill";
        let goes_on = || GOES_ON.iter().any(|words| before.ends_with(words));
        named
            || before.len() < 120
                && (matches!(word, "run" | "running" | "invoke" | "execute" | "type" | "command" | "skill")
                    || matches!(word, "with" | "to" | "by") && goes_on())
    }

    /// `@path`, which includes a file.
    fn imports(&mut self) {
        let base = self.definition.body as usize;
        let bytes = self.text.as_bytes();
        for at in memchr_iter(b'@', self.body().as_bytes()).map(|at| base + at) {
            let starts = at == 0 || bytes[at - 1].is_ascii_whitespace();
            let rest = &self.text[at + 1..];
            let len =
                rest.find(|c: char| c.is_whitespace() || "`\"'()<>,;".contains(c)).unwrap_or(rest.len());
            let path = rest[..len].trim_end_matches(['.', ':', '!', '?']);
            let document = &self.definition.document;
            let place = u32::try_from(at).unwrap_or(u32::MAX);
            let in_code =
                document.fence_at(place).is_some() || document.mark_at(place).is_some_and(|mark| mark.code);
            if starts && !in_code && path.ends_with(".md") {
                self.add(Names::Import, Span::new(at + 1, at + 1 + path.len()), Strength::Certain);
            }
        }
    }

    /// Links to Markdown files nearby.
    fn links(&mut self) {
        let definition = self.definition;
        for link in &definition.document.links {
            let path = link.target.split('#').next().unwrap_or_default();
            if !path.ends_with(".md") || path.contains("://") {
                continue;
            }
            let Some(inner) = self.text[link.span.range()].rfind(path) else { continue };
            let start = link.span.start as usize + inner;
            self.add(Names::File, Span::new(start, start + path.len()), Strength::Certain);
        }
    }
}

/// Returns the first word, in lower case.
fn words(text: &str) -> String {
    let text = text.trim_start_matches([' ', '*', '`', '"', '(']);
    text.split(|c: char| !(c.is_ascii_alphabetic() || c == '-'))
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase()
}

/// Tells whether the lines around say what happens if the named thing is not there.
#[must_use]
pub fn has_fallback(text: &str, at: u32) -> bool {
    static FALLBACK: LazyLock<Words> = LazyLock::new(|| {
        Words::new(&[
            "not installed",
            "is installed",
            "if installed",
            "are installed",
            "unavailable",
            "if available",
            "not available",
            "is available",
            "fallback",
            "fall back",
            "falls back",
            "optional",
            "if present",
            "does not exist",
            "doesn't exist",
            "if it exists",
        ])
    });
    let at = (at as usize).min(text.len());
    let block = line::block(text, at, 14, 8);
    // What stands above the next heading is about something else.
    let own = at - line::offset(text, block);
    let from = block[..own].rfind("\n#").unwrap_or(0);
    FALLBACK.is_in(&block[from..])
}
