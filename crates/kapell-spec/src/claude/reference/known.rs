//! Names of agents that are known to be defined. Less has to stand around them than around words that may be nothing: they
//! count where somebody is handed something, below a sentence that leads to a list of agents, and in a table of who does
//! what.

use std::{iter, sync::LazyLock};

use super::{
    Names, Reference, Strength,
    defined::Defined,
    handing::{GIVES, tells},
    is_kebab, is_placeholder,
    spoken::is_somebody,
};
use crate::{
    claude::{definition::Definition, starts::behind_order, steps::numbered},
    finding::Span,
    line,
    words::Words,
};

/// How many bytes before a name may say what it is there for.
const BEFORE_MAX: usize = 160;

/// Words with which a counted step begins.
const ORDINALS: &[&str] = &[
    "First",
    "Second",
    "Third",
    "Fourth",
    "Fifth",
    "Then",
    "Next",
    "After that",
    "Finally",
    "Last",
    "Lastly",
];

/// Verbs that say what somebody is like, and none that somebody works.
const STATES: &[&str] = &[
    "does",
    "knows",
    "needs",
    "uses",
    "exists",
    "always",
    "sometimes",
    "lives",
    "covers",
    "belongs",
    "handles",
    "supports",
    "comes",
    "stays",
    "remains",
    "this",
];

/// Words of a clause that names somebody without handing anything over.
pub(super) static DENIED: LazyLock<Words> = LazyLock::new(|| {
    Words::new(&[
        "not ",
        "n't",
        "never",
        "unlike",
        "instead of",
        "rather than",
        "similar to",
        "e.g.",
        "example",
        "such as",
        "return to",
        "back to",
        "report to",
        "came from",
        "used by",
        "called by",
        "invoked by",
    ])
});

/// Words of a text that leads to several of which one is chosen.
pub const CHOICE: &[&str] = &[
    "choose",
    "select",
    "appropriate",
    "available",
    "depending",
    "pick ",
    "routing",
    "example",
    "as needed",
    "if needed",
    "relevant",
];

/// Words of a sentence that leads to a list of which one is chosen.
static CHOOSES: LazyLock<Words> = LazyLock::new(|| {
    let of_sentences = ["one of", "which ", "when ", "suitable", "based on", " may ", " can ", "e.g."];
    Words::new(&[CHOICE, &of_sentences].concat())
});

/// Finds the places of `names` in the body of a definition that hand work over, and are not among those found.
#[must_use]
pub fn known(
    text: &str,
    definition: &Definition,
    found: &[Reference],
    own: &str,
    names: &Defined<'_>,
) -> Vec<Reference> {
    let page = Page { text, definition };
    let body = definition.body as usize;
    let mut heard = Vec::new();
    for (name, at) in names.places(text.get(body..).unwrap_or_default()) {
        if name == own || is_placeholder(name) {
            continue;
        }
        let span = Span::new(body + at, body + at + name.len());
        let is_known = found.iter().any(|reference| {
            reference.span == span && reference.names == Names::Agent && reference.strength > Strength::Weak
        });
        if !is_known
            && page.is_whole(span)
            && (page.is_called(span) || page.is_told(span, is_kebab(name) || is_counted(name)))
        {
            let fenced = definition.document.fence_at(span.start).is_some();
            heard.push(Reference {
                names: Names::Agent,
                name: name.to_owned(),
                span,
                strength: Strength::Strong,
                fenced,
            });
        }
    }
    heard
}

/// Finds the other names in columns of agents: where two or more of a column are defined, the rest are meant to be; where one
/// is, and what is told has agents work (`sure`), those are that are called like somebody.
#[must_use]
pub fn beside_known(text: &str, definition: &Definition, names: &Defined<'_>, sure: bool) -> Vec<Reference> {
    let mut heard = Vec::new();
    let mut table: Vec<(usize, &str)> = Vec::new();
    for (at, line) in piped(text, definition.body as usize) {
        if definition.document.fence_at(u32::try_from(at).unwrap_or(u32::MAX)).is_some() {
            continue;
        }
        if table.last().is_some_and(|(before, row)| before + row.len() != at) {
            heard.extend(roster(&table, names, sure));
            table.clear();
        }
        table.push((at, line));
    }
    heard.extend(roster(&table, names, sure));
    heard.extend(listed_beside(text, definition, names));
    heard
}

/// Returns the lines that begin with a bar, as the rows of tables do, and where each starts.
fn piped(text: &str, from: usize) -> impl Iterator<Item = (usize, &str)> {
    let mut at = from;
    iter::from_fn(move || {
        loop {
            let bar = at + memchr::memchr(b'|', text.as_bytes().get(at..)?)?;
            let start = at + text[at..bar].rfind('\n').map_or(0, |before| before + 1);
            at = memchr::memchr(b'\n', &text.as_bytes()[bar..]).map_or(text.len(), |len| bar + len + 1);
            if text[start..bar].trim_start().is_empty() {
                return Some((start, &text[start..at]));
            }
        }
    })
}

/// Finds the other names that begin the items of a list that has its agents work, or that says that they lie in
/// `.claude/agents`: where most of them are defined, the rest are meant to be.
fn listed_beside(text: &str, definition: &Definition, names: &Defined<'_>) -> Vec<Reference> {
    let items = &definition.document.items;
    let mut heard = Vec::new();
    let mut seen: Option<u32> = None;
    for first in items.iter().filter(|item| item.depth == 1) {
        if seen == Some(first.list) {
            continue;
        }
        seen = Some(first.list);
        let above =
            &text[(definition.body as usize).min(first.span.start as usize)..first.span.start as usize];
        // Nothing else leads to a list.
        if !above.trim_end().ends_with(':') {
            continue;
        }
        let last = above.trim_end().rsplit("\n\n").next().unwrap_or_default();
        let lists = last.contains(".claude/agents") && last.ends_with(':') && !CHOOSES.is_in(last);
        if !(lists || leads(above)) {
            continue;
        }
        let heads: Vec<(Span, &str)> = items
            .iter()
            .filter(|item| item.list == first.list && item.depth == 1)
            .filter_map(|item| {
                let own = text.get(item.span.range())?;
                let rest = own.trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)`\"@ \t".contains(c));
                let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))?;
                let start = item.span.start as usize + own.len() - rest.len();
                let ends =
                    rest[len..].starts_with(['`', '*', ',', ':', '\n']) || rest[len..].starts_with(" (");
                (ends && is_kebab(&rest[..len])).then(|| (Span::new(start, start + len), &rest[..len]))
            })
            .collect();
        let defined = heads.iter().filter(|(_, name)| names.has(name)).count();
        if defined == 0 || defined * 2 < heads.len() {
            continue;
        }
        heard.extend(heads.into_iter().map(|(span, name)| Reference {
            names: Names::Agent,
            name: name.to_owned(),
            span,
            strength: Strength::Strong,
            fenced: false,
        }));
    }
    heard
}

/// Reads a table that has a column for agents.
fn roster(table: &[(usize, &str)], names: &Defined<'_>, sure: bool) -> Vec<Reference> {
    let heads = table.first().map_or("", |(_, line)| line).to_ascii_lowercase();
    let is_column = |head: &str| {
        matches!(
            head.trim().trim_matches(['*', '`']),
            "agent" | "subagent" | "sub-agent" | "subagent_type" | "agent name" | "agent to start"
        )
    };
    let Some(column) = heads.split('|').position(is_column) else { return Vec::new() };
    let cells: Vec<(Span, &str)> = table
        .iter()
        .skip(2)
        .filter_map(|(at, line)| {
            let cell = line.split('|').nth(column)?;
            let name = cell.trim();
            let name = name.strip_prefix("the ").unwrap_or(name);
            let name = [" subagent", " agent"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            let name = name.trim_matches(|c: char| "*`\"'@".contains(c));
            let start = at + line::offset(line, name);
            is_kebab(name).then(|| (Span::new(start, start + name.len()), name))
        })
        .collect();
    let defined = cells.iter().filter(|(_, name)| names.has(name)).count();
    if defined == 0 || defined == 1 && !sure || defined * 2 < cells.len() {
        return Vec::new();
    }
    let meant = |name: &str| defined > 1 || names.has(name) || is_somebody(name);
    let reference = |(span, name): (Span, &str)| Reference {
        names: Names::Agent,
        name: name.to_owned(),
        span,
        strength: Strength::Strong,
        fenced: false,
    };
    cells.into_iter().filter(|(_, name)| meant(name)).map(reference).collect()
}

pub(super) struct Page<'a> {
    pub(super) text: &'a str,
    pub(super) definition: &'a Definition,
}

impl Page<'_> {
    /// Tells whether a range is a word by itself, and no part of a path or of a longer name.
    fn is_whole(&self, span: Span) -> bool {
        let before = self.text[..span.start as usize].chars().next_back();
        let rest = &self.text[span.end as usize..];
        let joins =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | ':' | '@' | '$' | '.');
        !before.is_some_and(joins)
            && !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/'))
            && !rest.starts_with(".md")
    }

    /// Tells whether a name is given to the tool that starts agents: `Task(x)`, `Agent("x")`.
    fn is_called(&self, span: Span) -> bool {
        let before = self.text[..span.start as usize].trim_end_matches(['"', '\'', '`']);
        before.ends_with("Task(") || before.ends_with("Agent(")
    }

    /// Tells whether the words before a name hand something to it. A single word may be anything, so that they have to
    /// stand right before it, and it has to be set apart.
    fn is_told(&self, span: Span, kebab: bool) -> bool {
        if self.definition.document.fence_at(span.start).is_some() {
            return false;
        }
        let clause = self.clause(self.first_of_row(span).start as usize);
        let lower = clause.to_ascii_lowercase();
        // `Send it back to the `x` agent via the Task tool` starts it anew.
        let after = || self.text[span.end as usize..].lines().next().unwrap_or_default();
        let anew = lower.contains("back to ")
            && ["Task tool", "Agent tool"].iter().any(|tool| after().contains(tool));
        // What is not right is handed over all the same.
        let said = lower.replace("is not ", "is ").replace("are not ", "are ");
        if DENIED.is_in(&if anew { said.replace("back to ", "to ") } else { said }) {
            return false;
        }
        let mut words = lower
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
            .filter(|word| !word.is_empty() && !matches!(*word, "the" | "a" | "an" | "our" | "both"))
            .rev();
        let marked = self.definition.document.mark_at(span.start).is_some();
        let last = words.next().unwrap_or_default();
        let given = last == "to" && words.any(|word| GIVES.contains(&word));
        // `Call the planner subagent again`.
        let titled = || [" agent", " subagent"].iter().any(|word| after().starts_with(word));
        let own = ["gets its own", "get their own", "has its own"]
            .iter()
            .any(|words| lower.trim_end_matches(['`', '*', ' ']).ends_with(words) && marked);
        let handed = own || tells(last) && (kebab || marked || titled());
        // `Start the agents a-b and c-d`: the first is told, the rest are joined to it.
        let joined = kebab && matches!(last, "agents" | "subagents") && words_of(&lower).any(tells);
        // `Agent: `x``, and `Start both together: `x`, `y``.
        let line = lower.trim_end_matches(['`', '*', ' ']).rsplit('\n').next().unwrap_or_default();
        let line = line.trim_start_matches(['*', '-', ' ']);
        let keyed = marked && matches!(line, "agent:" | "agents:" | "subagent:");
        let row = lower.rfind(':').is_some_and(|colon| {
            let rest = clause[colon + 1..].split([',', '`', ' ', '*']).filter(|part| !part.is_empty());
            marked
                && kebab
                && leads(&clause[..=colon])
                && rest.clone().all(|part| part == "and" || is_kebab(part))
        });
        given
            || handed
            || joined
            || keyed
            || row
            || marked && self.heads_step(span)
            || (kebab || marked) && self.works(span)
            || (kebab || marked) && self.is_listed(span)
    }

    /// Returns the first of a row of marks that a name in marks ends: in `launch `a`, `b` and `c`` what is told to the first is
    /// told to all.
    fn first_of_row(&self, span: Span) -> Span {
        let document = &self.definition.document;
        let mut first = span;
        while let Some(other) = self.titled_before(first) {
            first = other;
        }
        while let Some(mark) = document.mark_at(first.start) {
            let before = &self.text[..mark.span.start as usize];
            let Some(rest) = [" and ", ", and ", ", "].iter().find_map(|join| before.strip_suffix(join))
            else {
                break;
            };
            let end = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            let Some(other) = document.mark_at(end.saturating_sub(1)).filter(|other| other.span.end == end)
            else {
                break;
            };
            first = other.span;
        }
        first
    }

    /// Returns the name before one in a row of those that each have their title: `the `a-b` agent and the c-d agent`.
    fn titled_before(&self, span: Span) -> Option<Span> {
        let before = self.text[..span.start as usize].trim_end_matches('`').trim_end();
        let before = before.strip_suffix(" the").unwrap_or(before).trim_end();
        let rest = before.strip_suffix(" and").unwrap_or(before);
        let rest = rest.strip_suffix(',').unwrap_or(rest);
        if rest.len() == before.len() {
            return None;
        }
        let rest = [" agent", " subagent"].iter().find_map(|title| rest.strip_suffix(title))?;
        let rest = rest.trim_end_matches('`');
        let start = rest.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).map_or(0, |at| at + 1);
        let name = rest.get(start..)?;
        is_kebab(name).then(|| Span::new(start, rest.len()))
    }

    /// Tells whether a name is who works in a counted step: `2. `dep-mapper` maps the imports`, `First, `a-b` writes it`.
    fn works(&self, span: Span) -> bool {
        let start = line::start(self.text, span.start as usize);
        let lead = without_when(self.text[start..span.start as usize].trim_start());
        let above = self.text[..start].lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let ordinal = ORDINALS.iter().find_map(|word| lead.strip_prefix(word));
        let digits = lead.trim_start_matches(|c: char| c.is_ascii_digit());
        let below = above.starts_with('#') && numbered(above.trim_start_matches('#')).is_some();
        let counted = digits.len() < lead.len() && digits.starts_with(['.', ')']);
        let rest = ordinal.unwrap_or(digits).trim_matches(|c: char| ".),`* \t".contains(c));
        if !(counted || ordinal.is_some() || below && digits == lead) || !matches!(rest, "" | "the" | "The") {
            return false;
        }
        let after = self.text[span.end as usize..].trim_start_matches(['`', '*', ' ']);
        let after = ["subagent ", "agent "].iter().find_map(|word| after.strip_prefix(word)).unwrap_or(after);
        let verb = after.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default();
        let follows = after[verb.len()..].starts_with(' ');
        verb.len() >= 4 && verb.ends_with('s') && !verb.ends_with("ss") && follows && !STATES.contains(&verb)
    }

    /// Tells whether a name begins the first paragraph below the heading of a step: `### Step 2`, and then who does it.
    fn heads_step(&self, span: Span) -> bool {
        let start = self.text[..span.start as usize].rfind('\n').map_or(0, |newline| newline + 1);
        let lead = without_when(&self.text[start..span.start as usize]);
        let above = self.text[..start].lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let step = above.strip_prefix('#').map(|heading| heading.trim_start_matches('#')).and_then(numbered);
        lead.trim_matches(['`', '*', ' ']).is_empty() && step.is_some_and(|(word, ..)| !word.is_empty())
    }

    /// The words before a place, back to the start of its sentence, item or paragraph.
    pub(super) fn clause(&self, at: usize) -> &str {
        let from =
            (at.saturating_sub(BEFORE_MAX)..=at).find(|&from| self.text.is_char_boundary(from)).unwrap_or(at);
        let before = &self.text[from.max(self.definition.body as usize).min(at)..at];
        let breaks = ["\n\n", "\n- ", "\n* ", "\n#", "\n|", ". ", ".\n", "; ", "! ", "? "];
        let cut = breaks.iter().filter_map(|end| Some(before.rfind(end)? + end.len())).max().unwrap_or(0);
        &before[cut..]
    }

    /// Tells whether a name begins an item of a list that a sentence leads to: `Launch the following agents:`.
    fn is_listed(&self, span: Span) -> bool {
        let document = &self.definition.document;
        let within = |item: &&crate::claude::markdown::Item| {
            item.span.start <= span.start && span.start < item.span.end
        };
        let Some(item) = document.items.iter().filter(within).max_by_key(|item| item.depth) else {
            return false;
        };
        let begins = begins_item(&self.text[item.span.start as usize..span.start as usize]);
        let Some(first) =
            document.items.iter().find(|other| other.list == item.list && other.depth == item.depth)
        else {
            return false;
        };
        begins && leads(&self.text[self.definition.body as usize..first.span.start as usize])
    }
}

/// Returns what stands before a name without a clause in front that only says when it begins: `When step 1 is complete, `.
fn without_when(lead: &str) -> &str {
    if lead.len() > BEFORE_MAX {
        return lead;
    }
    let lower = lead.to_ascii_lowercase();
    &lead[lead.len() - behind_order(&lower).len()..]
}

/// Tells whether nothing but marks, and an article, stands between the start of an item and a name.
#[must_use]
pub fn begins_item(before: &str) -> bool {
    let before = before.trim_end_matches(['`', '*', '"', '@', '[']);
    let before = ["the ", "The ", "our ", "an ", "a "]
        .iter()
        .find_map(|word| before.strip_suffix(word))
        .unwrap_or(before);
    before.chars().all(|c| c.is_ascii_digit() || "-*+.)`\"@[] \t".contains(c))
}

/// Tells whether a text ends with a sentence that has several agents work: `Use the following agents:`.
#[must_use]
pub fn leads(before: &str) -> bool {
    let before = before.trim_end();
    if !before.ends_with(':') {
        return false;
    }
    let last = before.rsplit("\n\n").next().unwrap_or_default();
    // A heading may stand right above.
    let last = if last.starts_with('#') { last.split_once('\n').map_or("", |(_, rest)| rest) } else { last };
    let last = last.rsplit(". ").next().unwrap_or_default();
    let lower = last.to_ascii_lowercase();
    let words: Vec<&str> = words_of(&lower).collect();
    let has = |any: &[&str]| words.iter().any(|word| any.contains(word));
    let somebody = ["agents", "subagents", "sub-agents", "reviewers", "specialists", "both"];
    // `Launch in parallel:` needs no word for whom.
    let all = || {
        has(&["parallel", "simultaneously", "concurrently", "once", "together"])
            && has(&["launch", "spawn", "start", "dispatch", "run"])
    };
    let bare =
        matches!(lower.trim(), "in parallel:" | "simultaneously:" | "concurrently:" | "at the same time:");
    let hands = || words.iter().any(|word| tells(word) || GIVES.contains(word)) && (has(&somebody) || all());
    lower.trim_end().ends_with(':') && (bare || hands()) && !CHOOSES.is_in(last) && !DENIED.is_in(last)
}

/// Tells whether a name is a letter or a word with a number: nothing else in a sentence is called `s2`.
fn is_counted(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn words_of(lower: &str) -> impl Iterator<Item = &str> {
    lower.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str) -> Vec<String> {
        let names = ["api-owner", "log-sage", "writer"].map(str::to_owned).into();
        let definition = Definition::read(text);
        let found = known(text, &definition, &[], "lead", &Defined::new(&names));
        found.into_iter().map(|reference| reference.name).collect()
    }

    #[test]
    fn defined_names_are_heard_where_work_is_handed_over() {
        for (text, expected) in [
            ("Use the api-owner for routes.", &["api-owner"][..]),
            ("Send the diff to `log-sage` and wait.", &["log-sage"]),
            ("Hand the list over\nto writer.", &["writer"]),
            (
                "Launch these agents:\n\n- **api-owner**: routes\n- **log-sage**: logs\n",
                &["api-owner", "log-sage"],
            ),
            ("    Task(log-sage): \"What happened?\"", &["log-sage"]),
            ("## Look\nUse both:\n\n- `log-sage`: logs\n", &["log-sage"]),
            ("Start the agents api-owner and so on.", &["api-owner"]),
            ("Launch `writer`, `log-sage` and `api-owner` at once.", &["writer", "log-sage", "api-owner"]),
            (
                "Pass it to these agents:\n\n- the log-sage agent\n- the api-owner agent\n",
                &["log-sage", "api-owner"],
            ),
        ] {
            assert_eq!(heard(text), expected, "{text}");
        }
    }

    #[test]
    fn defined_names_that_are_only_spoken_of_are_not_heard() {
        for text in [
            "The api-owner answers within a day.",
            "Do not use the api-owner here.",
            "Use the writer.",
            "Choose the agents that fit:\n\n- **api-owner**: routes\n",
            "- **api-owner**: routes\n- **log-sage**: logs\n",
            "Report back to log-sage.",
            "Use the api-owner-v2 and .claude/agents/log-sage.md.",
        ] {
            assert_eq!(heard(text), <[&str; 0]>::default(), "{text}");
        }
    }

    #[test]
    fn the_rest_of_a_roster_is_meant_to_be_defined() {
        let text =
            "| Role | Agent |\n| --- | --- |\n| a | `api-owner` |\n| b | `log-sage` |\n| c | `no-body` |\n";
        let names = ["api-owner", "log-sage"].map(str::to_owned).into();
        let names = Defined::new(&names);
        let found = |text: &str| beside_known(text, &Definition::read(text), &names, false).len();
        assert_eq!(found(text), 3);
        assert_eq!(found(&text.replace("api-owner", "other-one")), 0, "most of them lie elsewhere");
        assert_eq!(found(&text.replace("Agent", "Package")), 0, "no column of agents");
        let two = "| subagent_type | for |\n| --- | --- |\n| api-owner | a |\n| load-tester | b |\n";
        let heard = |sure| beside_known(two, &Definition::read(two), &names, sure).len();
        assert_eq!((heard(true), heard(false)), (2, 0));
    }
}
