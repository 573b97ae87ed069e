//! Shell text into commands, with expressions replaced as the quotes around them ask.

use std::{collections::HashMap, ops::Range};

use kapell_core::expr::{Piece, Placeholder, Template};

use super::{Problem, Unsafe};

/// A word of a command. Quotes are removed; expressions and expansions leave a gap.
#[derive(Debug, Default, Clone)]
pub(super) struct Word {
    /// What is written out.
    pub text: String,
    /// Which expressions are in it, at any depth.
    pub exprs: Range<usize>,
    /// Whether the first thing in it is an expression.
    pub starts_with_expr: bool,
    /// Whether the shell expands something in it, so that `text` is not all.
    pub expands: bool,
}

/// A simple command: its words, without redirections.
#[derive(Debug, Default, Clone)]
pub(super) struct Command {
    pub words: Vec<Word>,
    /// Expressions in its here-documents and here-strings.
    pub input: Vec<usize>,
    /// Whether it is, or ends, a group such as `( ... )` or `{ ...; }`.
    pub group: bool,
    /// How many expressions stand before its end.
    pub before: usize,
}

/// Commands joined by `|`.
pub(super) type Pipeline = Vec<Command>;

pub(super) struct Lexed {
    pub text: String,
    pub problems: Vec<Problem>,
    pub pipelines: Vec<Pipeline>,
    /// Whether a value may be the input of every command, since it is fed to a group.
    pub feeds_all: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Char(char),
    Expr(usize),
}

/// A here-document whose body follows the next line break.
struct Heredoc {
    delimiter: String,
    quoted: bool,
    strip_tabs: bool,
    /// The command that it is the input of.
    id: usize,
}

/// A pipeline that is being read.
#[derive(Default)]
struct Open {
    commands: Vec<(usize, Command)>,
    /// Whether a value may flow through it.
    has_value: bool,
    /// Which commands have a here-document whose body is not yet read.
    owners: Vec<usize>,
}

/// What ends a list of commands.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Script,
    Paren,
}

/// The deepest nesting of substitutions that is followed.
const DEPTH_LIMIT: usize = 40;

struct Lexer {
    units: Vec<Unit>,
    at: usize,
    /// How many expressions were taken so far.
    seen: usize,
    out: String,
    names: Vec<String>,
    problems: Vec<Problem>,
    heredocs: Vec<Heredoc>,
    /// Expressions of here-documents by the command that they are the input of.
    inputs: HashMap<usize, Vec<usize>>,
    pipelines: Vec<Vec<(usize, Command)>>,
    commands: usize,
    /// Commands whose here-documents feed groups.
    feeders: Vec<usize>,
    depth: usize,
    ambiguous: bool,
    feeds_all: bool,
}

pub(super) fn lex(script: &Template, name: &mut dyn FnMut(&Placeholder) -> String) -> Lexed {
    let placeholders = script.placeholders();
    let mut units = Vec::with_capacity(script.source().len());
    let mut count = 0;
    for piece in script.pieces() {
        match piece {
            Piece::Text(text) => units.extend(text.chars().map(Unit::Char)),
            Piece::Expr(_) => {
                units.push(Unit::Expr(count));
                count += 1;
            }
        }
    }
    let mut lexer = Lexer {
        units,
        at: 0,
        seen: 0,
        out: String::new(),
        names: placeholders.iter().map(name).collect(),
        problems: Vec::new(),
        heredocs: Vec::new(),
        inputs: HashMap::new(),
        pipelines: Vec::new(),
        commands: 0,
        feeders: Vec::new(),
        depth: 0,
        ambiguous: false,
        feeds_all: false,
    };
    lexer.list(End::Script);
    lexer.finish()
}

impl Lexer {
    fn finish(mut self) -> Lexed {
        // Whatever was not understood is refused.
        while let Some(unit) = self.next() {
            if let Unit::Expr(index) = unit {
                self.problem(index, Unsafe::Ambiguous);
            }
        }
        let inputs = &self.inputs;
        let feeds_all = self.feeds_all || self.feeders.iter().any(|id| inputs.contains_key(id));
        let pipelines = self.pipelines.into_iter().map(|pipeline| {
            let with_input = |(id, mut command): (usize, Command)| {
                command.input.extend(inputs.get(&id).into_iter().flatten());
                command
            };
            pipeline.into_iter().map(with_input).collect()
        });
        Lexed { pipelines: pipelines.collect(), text: self.out, problems: self.problems, feeds_all }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        match self.units.get(self.at + ahead) {
            Some(Unit::Char(character)) => Some(*character),
            _ => None,
        }
    }

    fn looking_at(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, character)| self.peek(ahead) == Some(character))
    }

    /// Takes the next unit; a character is copied to the output.
    fn next(&mut self) -> Option<Unit> {
        let unit = *self.units.get(self.at)?;
        self.at += 1;
        match unit {
            Unit::Char(character) => self.out.push(character),
            Unit::Expr(index) => self.seen = index + 1,
        }
        Some(unit)
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.next();
        }
    }

    fn problem(&mut self, placeholder: usize, why: Unsafe) {
        self.problems.push(Problem { placeholder, why });
    }

    /// Counts the expressions so far.
    fn seen(&self) -> usize {
        self.seen
    }

    /// Writes a reference in place of an expression.
    fn expr(&mut self, index: usize, quoted: bool) {
        let before = self.at.checked_sub(2).and_then(|at| self.units.get(at));
        if matches!(before, Some(Unit::Char('$'))) {
            self.problem(index, Unsafe::Escaped);
        }
        if self.ambiguous {
            self.problem(index, Unsafe::Ambiguous);
        }
        let name = &self.names[index];
        let reference = if quoted { format!("${{{name}}}") } else { format!("\"${{{name}}}\"") };
        self.out.push_str(&reference);
    }

    /// Reads commands up to `end`, which is taken too.
    fn list(&mut self, end: End) {
        self.depth += 1;
        // What is not followed is not vouched for.
        self.ambiguous |= self.depth > DEPTH_LIMIT;
        let mut pipeline = Open::default();
        let mut command = self.command();
        while self.at < self.units.len() && self.depth <= DEPTH_LIMIT {
            match self.peek(0) {
                Some(' ' | '\t' | '\r') => self.skip(1),
                Some('\\') if self.peek(1) == Some('\n') => self.skip(2),
                Some('#') => self.comment(),
                Some('\n') => {
                    self.close(&mut pipeline, &mut command, false);
                    self.skip(1);
                    self.bodies();
                }
                Some(')') => {
                    self.close(&mut pipeline, &mut command, false);
                    self.skip(1);
                    if end == End::Paren {
                        self.depth -= 1;
                        return;
                    }
                }
                Some('(') => {
                    self.skip(1);
                    if command.1.words.is_empty() && !pipeline.commands.is_empty() {
                        self.feed(&mut pipeline);
                    }
                    self.list(End::Paren);
                    command.1.group = true;
                }
                Some('|') if self.peek(1) != Some('|') => {
                    self.skip(if self.peek(1) == Some('&') { 2 } else { 1 });
                    self.close(&mut pipeline, &mut command, true);
                }
                Some('&') if self.peek(1) == Some('>') => self.redirect(&mut command),
                Some(';' | '&' | '|') => {
                    self.close(&mut pipeline, &mut command, false);
                    self.skip(1);
                }
                Some('<' | '>') if self.peek(1) != Some('(') => self.redirect(&mut command),
                _ => {
                    let word = self.word();
                    self.take_word(word, &mut pipeline, &mut command);
                }
            }
        }
        self.close(&mut pipeline, &mut command, false);
        self.depth -= 1;
    }

    fn command(&mut self) -> (usize, Command) {
        self.commands += 1;
        (self.commands, Command::default())
    }

    /// Adds a word to the command. Words that only open or join commands start a new one.
    fn take_word(&mut self, word: Word, pipeline: &mut Open, command: &mut (usize, Command)) {
        let opens = ["{", "if", "then", "elif", "else", "while", "until", "do", "!", "time", "coproc"];
        let plain = word.exprs.is_empty() && !word.expands;
        if plain && command.1.words.is_empty() && opens.contains(&word.text.as_str()) {
            if !pipeline.commands.is_empty() && !["!", "time"].contains(&word.text.as_str()) {
                self.feed(pipeline);
            }
            return;
        }
        if plain && command.1.words.is_empty() && ["for", "case", "select"].contains(&word.text.as_str()) {
            self.feed(pipeline);
        }
        let closes = ["}", "done", "fi", "esac"];
        command.1.group |= plain && command.1.words.is_empty() && closes.contains(&word.text.as_str());
        command.1.words.push(word);
    }

    /// Notes that a pipeline feeds a group of commands, if a value is in it.
    fn feed(&mut self, pipeline: &mut Open) {
        self.feeds_all |= pipeline.has_value;
        self.feeders.append(&mut pipeline.owners);
    }

    /// Ends the command, and the pipeline too unless the command is `piped` on.
    fn close(&mut self, pipeline: &mut Open, command: &mut (usize, Command), piped: bool) {
        let fresh = self.command();
        let (id, mut done) = std::mem::replace(command, fresh);
        done.before = self.seen();
        let owner = self.heredocs.last().is_some_and(|heredoc| heredoc.id == id);
        if !done.words.is_empty() || done.group || !done.input.is_empty() || owner || piped {
            let has_value =
                done.group || !done.input.is_empty() || done.words.iter().any(|w| !w.exprs.is_empty());
            pipeline.has_value |= has_value;
            pipeline.owners.extend(owner.then_some(id));
            pipeline.commands.push((id, done));
        }
        if !piped && !pipeline.commands.is_empty() {
            self.pipelines.push(std::mem::take(pipeline).commands);
        }
    }

    fn comment(&mut self) {
        while self.at < self.units.len() && self.peek(0) != Some('\n') {
            if let Some(Unit::Expr(_)) = self.next() {
                self.out.push_str("(an expression)");
            }
        }
    }

    /// Reads a redirection with its target.
    fn redirect(&mut self, command: &mut (usize, Command)) {
        let operators = ["<<<", "<<-", "<<", "<&", "<>", "<", "&>>", "&>", ">>", ">&", ">|", ">"];
        let operator = operators.into_iter().find(|operator| self.looking_at(operator)).unwrap_or(">");
        self.skip(operator.len());
        while matches!(self.peek(0), Some(' ' | '\t')) {
            self.skip(1);
        }
        match operator {
            "<<" | "<<-" => {
                let start = self.at;
                let word = self.word();
                for index in word.exprs.clone() {
                    self.problem(index, Unsafe::Delimiter);
                }
                let quoted =
                    self.units[start..self.at].iter().any(|u| matches!(u, Unit::Char('\'' | '"' | '\\')));
                let strip_tabs = operator == "<<-";
                self.heredocs.push(Heredoc { delimiter: word.text, quoted, strip_tabs, id: command.0 });
            }
            "<<<" => command.1.input.extend(self.word().exprs),
            _ => {
                self.word();
            }
        }
    }

    /// Reads the bodies of the here-documents that the line asked for.
    fn bodies(&mut self) {
        for heredoc in std::mem::take(&mut self.heredocs) {
            while self.at < self.units.len() {
                let len = self.units[self.at..].iter().position(|unit| *unit == Unit::Char('\n'));
                let end = len.map_or(self.units.len(), |len| self.at + len);
                if self.is_delimiter(&heredoc, end) {
                    self.skip(end - self.at);
                    if self.peek(0).is_some() {
                        self.skip(1);
                    }
                    break;
                }
                self.body_line(&heredoc);
            }
        }
    }

    fn is_delimiter(&self, heredoc: &Heredoc, end: usize) -> bool {
        let line = &self.units[self.at..end];
        let tabs = line.iter().take_while(|unit| heredoc.strip_tabs && **unit == Unit::Char('\t')).count();
        let line = &line[tabs..];
        line.len() == heredoc.delimiter.chars().count()
            && line
                .iter()
                .zip(heredoc.delimiter.chars())
                .all(|(unit, expected)| *unit == Unit::Char(expected))
    }

    /// Reads a line of a here-document with its line break, or more where a substitution goes on.
    fn body_line(&mut self, heredoc: &Heredoc) {
        while self.at < self.units.len() {
            match self.units[self.at] {
                Unit::Char('\n') => {
                    self.skip(1);
                    return;
                }
                Unit::Char('\\') if !heredoc.quoted => self.escape(),
                Unit::Char('$' | '`') if !heredoc.quoted => {
                    let before = self.seen();
                    self.dollar(true);
                    let after = self.seen();
                    if after > before {
                        self.inputs.entry(heredoc.id).or_default().extend(before..after);
                    }
                }
                Unit::Char(_) => self.skip(1),
                Unit::Expr(index) => {
                    self.next();
                    if heredoc.quoted {
                        self.problem(index, Unsafe::QuotedHeredoc);
                    }
                    self.inputs.entry(heredoc.id).or_default().push(index);
                    self.expr(index, true);
                }
            }
        }
    }

    /// Reads `\` and what it escapes.
    fn escape(&mut self) {
        self.skip(1);
        if let Some(Unit::Expr(index)) = self.next() {
            self.problem(index, Unsafe::Escaped);
        }
    }

    fn word(&mut self) -> Word {
        let first = self.seen();
        let mut word = Word {
            starts_with_expr: matches!(self.units.get(self.at), Some(Unit::Expr(_))),
            ..Word::default()
        };
        let start = self.at;
        while let Some(&unit) = self.units.get(self.at) {
            match unit {
                Unit::Char(' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | ')') => break,
                Unit::Char('(') => break,
                Unit::Char('<' | '>') if self.peek(1) == Some('(') => {
                    self.skip(2);
                    word.expands = true;
                    self.list(End::Paren);
                }
                Unit::Char('<' | '>') => break,
                Unit::Char('\\') => {
                    match self.peek(1) {
                        Some('\n') | None => {}
                        Some(character) => word.text.push(character),
                    }
                    self.escape();
                }
                Unit::Char('\'') => self.single(&mut word),
                Unit::Char('"') => self.double(&mut word),
                Unit::Char('$' | '`') => {
                    word.expands = true;
                    self.dollar(false);
                }
                Unit::Char(character) => {
                    word.text.push(character);
                    self.skip(1);
                }
                Unit::Expr(index) => {
                    self.next();
                    self.expr(index, false);
                }
            }
        }
        if self.at == start {
            // Never stand still.
            self.skip(1);
        }
        word.exprs = first..self.seen();
        word
    }

    fn single(&mut self, word: &mut Word) {
        self.skip(1);
        while let Some(unit) = self.next() {
            match unit {
                Unit::Char('\'') => return,
                Unit::Char(character) => word.text.push(character),
                Unit::Expr(index) => self.problem(index, Unsafe::SingleQuotes),
            }
        }
    }

    fn double(&mut self, word: &mut Word) {
        self.skip(1);
        while let Some(&unit) = self.units.get(self.at) {
            match unit {
                Unit::Char('"') => {
                    self.skip(1);
                    return;
                }
                Unit::Char('\\') => {
                    word.text.extend(self.peek(1).filter(|character| *character != '\n'));
                    self.escape();
                }
                Unit::Char('$' | '`') => {
                    word.expands = true;
                    self.dollar(true);
                }
                Unit::Char(character) => {
                    word.text.push(character);
                    self.skip(1);
                }
                Unit::Expr(index) => {
                    self.next();
                    self.expr(index, true);
                }
            }
        }
    }

    /// Reads an expansion from its `$` or backquote on.
    fn dollar(&mut self, quoted: bool) {
        if self.peek(0) == Some('`') {
            return self.backquotes();
        }
        self.skip(1);
        match self.peek(0) {
            Some('(') if self.peek(1) == Some('(') => self.arithmetic(),
            Some('(') => {
                self.skip(1);
                self.list(End::Paren);
            }
            Some('{') => {
                self.skip(1);
                self.parameter(quoted);
            }
            // Text with escapes for some shells, a dollar and plain text for others.
            Some('\'') if !quoted => {
                let text = self.units[self.at + 1..].iter();
                let body: Vec<_> = text.take_while(|unit| **unit != Unit::Char('\'')).collect();
                self.ambiguous |= body.last() == Some(&&Unit::Char('\\'));
            }
            _ => {}
        }
    }

    fn backquotes(&mut self) {
        self.skip(1);
        while let Some(unit) = self.next() {
            match unit {
                Unit::Char('`') => return,
                Unit::Char('\\') => self.escape_rest(Unsafe::Backquotes),
                Unit::Expr(index) => self.problem(index, Unsafe::Backquotes),
                Unit::Char(_) => {}
            }
        }
    }

    fn escape_rest(&mut self, why: Unsafe) {
        if let Some(Unit::Expr(index)) = self.next() {
            self.problem(index, why);
        }
    }

    /// Reads `((...))` after its dollar.
    fn arithmetic(&mut self) {
        let mut depth = 0_usize;
        while let Some(unit) = self.next() {
            match unit {
                Unit::Char('(') => depth += 1,
                Unit::Char(')') => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return;
                    }
                }
                Unit::Expr(index) => self.problem(index, Unsafe::Arithmetic),
                Unit::Char(_) => {}
            }
        }
    }

    /// Reads the rest of `${...}`.
    fn parameter(&mut self, quoted: bool) {
        let mut depth = 1_usize;
        let mut quote = None;
        // Within double quotes single ones are text, but for the patterns of `#` and `%`.
        let name = self.units[self.at..]
            .iter()
            .position(|unit| !matches!(unit, Unit::Char(c) if c.is_ascii_alphanumeric() || *c == '_'));
        let after = name.and_then(|len| self.units.get(self.at + len));
        let single = !quoted || matches!(after, Some(Unit::Char('#' | '%')));
        while let Some(unit) = self.next() {
            match (unit, quote) {
                (Unit::Expr(index), _) => self.problem(index, Unsafe::Parameter),
                (Unit::Char('\\'), None | Some('"')) => self.escape_rest(Unsafe::Parameter),
                (Unit::Char(character), Some(open)) if character == open => quote = None,
                (Unit::Char('\''), None) if !single => {}
                (Unit::Char(character @ ('\'' | '"')), None) => quote = Some(character),
                (Unit::Char('{'), None) => depth += 1,
                (Unit::Char('}'), None) => {
                    depth -= 1;
                    if depth == 0 {
                        return;
                    }
                }
                (Unit::Char(_), _) => {}
            }
        }
    }
}
