//! The starts of agents, one by one: whom a command starts, in what words, and what these words take in.
//!
//! Steps ([`super::steps`]) hand files on. Many commands hand on nothing but words: a numbered list or a heading for each
//! agent, with a prompt that says `[include the design from step 1]`, or says nothing of what went before.

mod looks; // whether a start only looks

mod takes; // what its words take in

use memchr::memmem;

use self::{looks::looks, takes::takes};
use super::{
    definition::{Definition, Named},
    reference::{Names, Reference, Strength, begins_item, handing, leads},
    steps::numbered,
};
use crate::{finding::Span, line};

/// One start of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The agent.
    pub agent: Named,
    /// Its number in the list or among the headings, where the text counts.
    pub number: Option<String>,
    /// What it is called.
    pub title: String,
    /// Where its title stands, or else the agent's name.
    pub heading: Span,
    /// All words that belong to it.
    pub span: Span,
    /// Those without its title.
    pub words: Span,
    /// What it stands in, together with those it can be compared with.
    pub group: Span,
    /// The number of the phase that it belongs to.
    pub phase: Option<String>,
    /// What it takes in of the others.
    pub takes: Takes,
    /// Whether it only looks: a review, an analysis, a search.
    pub looks: bool,
    /// Whether a person decides in it.
    pub asks: bool,
    /// Whether it is told to start, and not only named, and in any case.
    pub sure: bool,
    /// Whether one sentence has it work together with others: `Use the following agents:`.
    pub led: bool,
}

/// What the words of a start say that it takes in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Takes {
    /// Numbers of steps, `from step 3`.
    pub steps: Vec<String>,
    /// Numbers of phases, `from phase 2`.
    pub phases: Vec<String>,
    /// How much else of what went before it may mean.
    pub vague: Vague,
}

/// How much of what went before is meant without a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vague {
    /// Nothing.
    #[default]
    No,
    /// Something, as in `based on the design`; a number beside it says what.
    Some,
    /// All of it, as in `the previous results`.
    All,
}

/// A text that names agents more often is a catalogue; to compare all of them with all others would take long.
const NAMED_MAX: usize = 256;

/// Finds the starts, in the order of the text.
#[must_use]
pub fn starts(text: &str, definition: &Definition, found: &[Reference]) -> Vec<Start> {
    let named: Vec<&Reference> = found
        .iter()
        .filter(|reference| reference.names == Names::Agent && reference.strength >= Strength::Strong)
        .filter(|reference| reference.span.start >= definition.body)
        .collect();
    if !(2..=NAMED_MAX).contains(&named.len()) {
        return Vec::new();
    }
    let page = Page { text, definition, named: &named, tags: tags(text, definition.body as usize) };
    let mut starts: Vec<Start> = Vec::new();
    for reference in &named {
        let start = page.start(reference);
        if starts.last().is_none_or(|last| last.span.end <= start.span.start) {
            starts.push(start);
        }
    }
    starts
}

/// Finds `<Task> … </Task>`.
fn tags(text: &str, from: usize) -> Vec<Span> {
    let body = text.get(from..).unwrap_or_default();
    let opens = memmem::find_iter(body.as_bytes(), "<Task").map(|at| from + at);
    opens
        .filter_map(|at| {
            let end = at + text[at..].find("</Task>")?;
            (!text[at + 5..end].contains("<Task")).then(|| Span::new(at, end + "</Task>".len()))
        })
        .collect()
}

struct Page<'a> {
    text: &'a str,
    definition: &'a Definition,
    named: &'a [&'a Reference],
    tags: Vec<Span>,
}

/// The words around an agent's name.
struct Block {
    span: Span,
    heading: Option<(String, Span)>,
    /// Where the words start that are not its title.
    words: u32,
    number: Option<String>,
    group: Span,
}

impl Page<'_> {
    fn start(&self, reference: &Reference) -> Start {
        let block = self.block(reference);
        let agent = Named { text: reference.name.clone(), span: reference.span };
        let (title, heading) = block.heading.unwrap_or_else(|| (agent.text.clone(), agent.span));
        let from = block.words.max(block.span.start) as usize;
        let own = Span::new(from, block.span.end as usize);
        let words = without_order(&self.text[own.range()].to_ascii_lowercase());
        let led = block.number.is_none() && self.is_led(reference);
        Start {
            sure: led
                || self.is_told(reference) && !is_conditional(&words, &agent.text, block.number.is_some()),
            led,
            looks: looks(&title, &words, &agent.text),
            takes: takes(&words),
            asks: [
                "ask the user",
                "askuserquestion",
                "user approval",
                "wait for the user",
                "confirm with the user",
            ]
            .iter()
            .any(|word| words.contains(word)),
            phase: self.phase(block.span.start),
            number: block.number,
            group: block.group,
            span: block.span,
            words: own,
            agent,
            title,
            heading,
        }
    }

    /// Tells whether the words before a name say that it works now: a catalogue only says who is there.
    fn is_told(&self, reference: &Reference) -> bool {
        let at = reference.span.start as usize;
        let before = self.text[line::start(self.text, at)..at].to_ascii_lowercase();
        let told = |word: &str| handing::tells(word) || HANDING.contains(&word);
        reference.strength == Strength::Certain
            || before.ends_with("@agent-")
            || before.trim_start().starts_with('|')
            || before.contains("agent") && before.contains(':')
            || before.split(|c: char| !c.is_ascii_alphabetic()).any(told)
    }

    /// Tells whether a name begins an item of a list that has all of its agents work: `Use the following agents:`.
    fn is_led(&self, reference: &Reference) -> bool {
        let document = &self.definition.document;
        let at = reference.span.start;
        let within = document.items.iter().filter(|item| item.span.start <= at && at < item.span.end);
        let Some(item) = within.max_by_key(|item| item.depth) else { return false };
        let begins = begins_item(&self.text[item.span.start as usize..at as usize]);
        let first = document.items.iter().find(|other| other.list == item.list && other.depth == item.depth);
        begins
            && first.is_some_and(|first| {
                leads(&self.text[self.definition.body as usize..first.span.start as usize])
            })
    }

    /// Tells whether a range starts no other agent.
    fn only(&self, span: Span, name: &str) -> bool {
        let from = self.named.partition_point(|other| other.span.start < span.start);
        self.named[from..]
            .iter()
            .take_while(|other| other.span.start < span.end)
            .all(|other| other.name == name)
    }

    fn block(&self, reference: &Reference) -> Block {
        let at = reference.span.start;
        let inside = |span: &&Span| span.start <= at && at < span.end;
        if let Some(&span) = self.tags.iter().find(inside) {
            return Block { span, heading: None, words: 0, number: None, group: self.section(at) };
        }
        self.headed(reference).or_else(|| self.listed(reference)).unwrap_or_else(|| {
            let span = self.lines(reference);
            Block { number: self.row(span), span, heading: None, words: 0, group: self.section(at) }
        })
    }

    /// The widest section that starts this agent and no other.
    fn headed(&self, reference: &Reference) -> Option<Block> {
        let headings = &self.definition.document.headings;
        let mut at =
            headings.partition_point(|heading| heading.span.start <= reference.span.start).checked_sub(1)?;
        let mut found = None;
        loop {
            let span = self.below(at);
            if headings[at].level < 2 || !self.only(span, &reference.name) {
                break;
            }
            found = Some((at, span));
            match headings[..at].iter().rposition(|upper| upper.level < headings[at].level) {
                Some(upper) => at = upper,
                None => break,
            }
        }
        let (at, span) = found?;
        let parent = headings[..at].iter().rposition(|upper| upper.level < headings[at].level);
        let group = parent.map_or_else(|| self.whole(), |parent| self.below(parent));
        let (number, title) = match numbered(&headings[at].text) {
            Some((_, number, title)) => (Some(number.to_owned()), title.to_owned()),
            None => (None, headings[at].text.clone()),
        };
        let heading = headings[at].span;
        Some(Block { span, heading: Some((title, heading)), words: heading.end, number, group })
    }

    /// The widest item of a list that starts this agent and no other.
    fn listed(&self, reference: &Reference) -> Option<Block> {
        let at = reference.span.start;
        let document = &self.definition.document;
        let within = |span: Span| span.start <= at && at < span.end;
        let fits =
            document.items.iter().filter(|item| within(item.span) && self.only(item.span, &reference.name));
        let item = fits.min_by_key(|item| item.depth)?;
        let text = self.text[item.span.range()].trim_start();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number = (item.ordered && digits > 0).then(|| text[..digits].to_owned());
        let line = text.lines().next().unwrap_or_default();
        let first = item.span.start + u32::try_from(line.len()).unwrap_or(0);
        let bold = document
            .marks
            .iter()
            .find(|mark| !mark.code && mark.span.start >= item.span.start && mark.span.start < first);
        // Without a title of its own the first line is one for people, and still says what is to be done.
        let words = bold.map_or(0, |mark| mark.span.end);
        let heading = match bold {
            Some(mark) => (mark.text.trim_end_matches(':').to_owned(), mark.span),
            None => {
                let title = line.trim_start_matches(|c: char| c.is_ascii_digit() || ".)-*+ ".contains(c));
                let title = title.split(". ").next().unwrap_or(title);
                (title.to_owned(), Span::new(item.span.start as usize, first as usize))
            }
        };
        Some(Block { span: item.span, heading: Some(heading), words, number, group: self.section(at) })
    }

    /// The block of code, the paragraph, or else the line that starts this agent and no other.
    fn lines(&self, reference: &Reference) -> Span {
        let at = reference.span.start as usize;
        let fence = self.definition.document.fence_at(reference.span.start).map(|fence| fence.span);
        let from = self.text[..at].rfind("\n\n").map_or(0, |gap| gap + 2);
        let to = self.text[at..].find("\n\n").map_or(self.text.len(), |gap| at + gap);
        let line = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline);
        let wide = [fence, Some(Span::new(from, to))].into_iter().flatten();
        wide.into_iter()
            .find(|span| self.only(*span, &reference.name))
            .unwrap_or_else(|| Span::new(line, end))
    }

    /// The number in the first cell of a row of a table.
    fn row(&self, line: Span) -> Option<String> {
        let cell = self.text[line.range()].trim().strip_prefix('|')?.split('|').next()?;
        let cell = cell.trim_matches(|c: char| " *`.)".contains(c));
        let digits = cell.rsplit(' ').next()?;
        (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.to_owned())
    }

    fn whole(&self) -> Span {
        Span::new(self.definition.body as usize, self.text.len())
    }

    /// A heading and all below it.
    fn below(&self, at: usize) -> Span {
        let headings = &self.definition.document.headings;
        let next = headings[at + 1..].iter().find(|heading| heading.level <= headings[at].level);
        let end = next.map_or(self.text.len(), |heading| heading.span.start as usize);
        Span::new(headings[at].span.start as usize, end)
    }

    /// The innermost heading above a place and what follows, up to the next heading.
    fn section(&self, at: u32) -> Span {
        let headings = &self.definition.document.headings;
        let next = headings.partition_point(|heading| heading.span.start <= at);
        let end = headings.get(next).map_or(self.text.len(), |heading| heading.span.start as usize);
        let start =
            next.checked_sub(1).map_or(self.definition.body as usize, |at| headings[at].span.start as usize);
        Span::new(start, end)
    }

    /// The number of the innermost heading above a place that says that it is one of a phase.
    fn phase(&self, at: u32) -> Option<String> {
        let headings = &self.definition.document.headings;
        let above = headings.iter().take_while(|heading| heading.span.start <= at);
        above
            .filter_map(|heading| numbered(&heading.text))
            .filter(|(word, ..)| is_phase(word))
            .last()
            .map(|(_, number, _)| number.to_owned())
    }
}

/// Verbs that give somebody work wherever they stand in a line; `pass` or `route` may be about anything there.
const HANDING: &[&str] = &["delegate", "assign", "send", "hand"];

/// Words that begin a clause which only says when a step begins, and those that say that another one has ended.
const WHEN: &[&str] = &[
    "after ",
    "once ",
    "when ",
    "as soon as ",
    "now that ",
    "only after ",
    "only once ",
    "only when ",
    "not before ",
];
const ENDED: &[&str] = &[
    " done",
    " finished",
    " finishes",
    " ready",
    " complete",
    " completes",
    " completed",
    " saved",
    " back",
    " ended",
    " returned",
    " returns",
    " answered",
    " answers",
    " through",
    " over",
];

/// Returns a text in lower case without the clauses that only say that it follows: `After the `a-b` agent is done, ...`.
#[must_use]
pub fn without_order(lower: &str) -> String {
    lower.split_inclusive(['\n', '.']).map(behind_order).collect()
}

/// Returns what follows the clause of a sentence, in small letters, that only says when it begins.
#[must_use]
pub(super) fn behind_order(lower: &str) -> &str {
    let follows = |clause: &str| {
        let clause = clause.trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)># \t\n".contains(c));
        WHEN.iter().any(|word| clause.starts_with(word)) && ENDED.iter().any(|word| clause.ends_with(word))
    };
    // `After phase 1 has finished: start the ...`.
    let behind = |end: &&str| lower.split_once(*end).filter(|(clause, _)| follows(clause));
    [", ", ": "].iter().find_map(behind).map_or(lower, |(_, rest)| rest)
}

/// Tells whether a start is one of several that are chosen from: `use it when …`, `use it for …`.
fn is_conditional(words: &str, agent: &str, counted: bool) -> bool {
    let first = words.lines().find(|line| line.contains(&agent.to_ascii_lowercase())).unwrap_or(words);
    let first = first.split("prompt").next().unwrap_or(first);
    let after = first.rsplit(&agent.to_ascii_lowercase()).next().unwrap_or_default();
    let after = after.trim_start_matches(|c: char| "*`\"' ".contains(c));
    let after =
        ["subagent", "sub-agent", "agent"].iter().find_map(|word| after.strip_prefix(word)).unwrap_or(after);
    // What is given to a run now is no case that may come: `for articles about $ARGUMENTS`.
    let given = ["$arguments", "$1", "{{args}}", "{{input}}"].iter().any(|word| after.contains(word));
    !counted && !given && after.trim_start().starts_with("for ")
        || [
            " if ",
            " when ",
            "whenever",
            "depending",
            "optional",
            "otherwise",
            "only for",
            "instead",
            "if needed",
        ]
        .iter()
        .any(|word| first.contains(word))
        || ["if ", "when ", "for "]
            .iter()
            .any(|word| first.trim_start_matches([' ', '-', '*']).starts_with(word))
}

fn is_phase(word: &str) -> bool {
    ["phase", "stage", "wave"].iter().any(|known| word.eq_ignore_ascii_case(known))
}
