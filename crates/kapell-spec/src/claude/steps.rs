//! The phases of a command: what each reads and writes, whom it starts, and what it waits for.

mod files; // what a step takes in and hands on
mod lengths; // how long it says that it takes

use std::sync::LazyLock;

pub use files::paths;

use super::{
    definition::{Definition, Named},
    markdown::{Heading, Mark},
    reference::{Names, Reference, Strength, references},
};
use crate::{finding::Span, words::Words};
use files::{marked, passed, printed, transfers, unmarked};
use lengths::{in_brackets, minutes, total};

/// A phase or step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Its number as written, such as `4a` or `2.1`.
    pub number: String,
    /// Its title.
    pub title: String,
    /// Where its title stands.
    pub heading: Span,
    /// Where all of it stands.
    pub span: Span,
    /// The agents that it starts, in order.
    pub agents: Vec<Named>,
    /// Whether it starts an agent that has no name: `have a subagent read it`.
    pub starts: bool,
    /// The files that it takes in.
    pub reads: Vec<Named>,
    /// The files that it hands on.
    pub writes: Vec<Named>,
    /// Whether it takes in all that went before.
    pub reads_all: bool,
    /// Whether it says that work in it, or beside it, runs in parallel.
    pub parallel: bool,
    /// Whether a person decides in it.
    pub asks: bool,
    /// Whether it ends at a checkpoint.
    pub gate: bool,
    /// How long it says that it takes, in minutes.
    pub minutes: Option<u32>,
    /// The phase that it belongs to, by its place in the list of phases.
    pub phase: Option<usize>,
}

/// A heading above steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// Its title, number included.
    pub title: String,
    /// Where its title stands.
    pub heading: Span,
    /// Whether the words before its first step say that they run in parallel.
    pub parallel: bool,
}

/// The steps of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flow {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// The phases above them.
    pub phases: Vec<Phase>,
    /// How long all of it says that it takes, in minutes.
    pub minutes: Option<u32>,
    /// Whether the sentence that leads to the first step says that the steps run in parallel.
    pub parallel: bool,
}

const WORDS: &[&str] = &["step", "phase", "stage", "wave"];

/// Numbers that headings spell out.
const NUMBERS: &[&str] =
    &["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];

/// Splits `Phase 2: Build` into word, number and title.
pub(super) fn numbered(text: &str) -> Option<(&str, &str, &str)> {
    let text = text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).trim();
    let (word, rest) = text.split_once(' ').unwrap_or(("", text));
    let lower = word.to_ascii_lowercase();
    let (word, rest) = if WORDS.contains(&&*lower) { (word, rest.trim_start()) } else { ("", text) };
    // `Phase B: Build`.
    if let Some(tail) = rest.strip_prefix(|c: char| c.is_ascii_uppercase()).filter(|_| !word.is_empty()) {
        let told = tail.is_empty()
            || tail
                .trim_start_matches('*')
                .trim_start()
                .starts_with([':', '.', ')', '-', '\u{2014}', '\u{2013}']);
        return told.then(|| (word, &rest[..1], title_of(tail)));
    }
    // `Stage one`.
    let spelt = NUMBERS.iter().find(|number| {
        let after = rest.get(number.len()..).unwrap_or("-");
        let ends = after.is_empty() || after.starts_with([':', '.', ')', ',', ' ']);
        !word.is_empty() && ends && rest.get(..number.len()).is_some_and(|it| it.eq_ignore_ascii_case(number))
    });
    if let Some(number) = spelt {
        return Some((word, &rest[..number.len()], title_of(&rest[number.len()..])));
    }
    let len = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
    let mut number = rest[..len].trim_end_matches('.').len();
    if number == 0 || !rest.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let letter = rest[number..].chars().next().filter(char::is_ascii_lowercase);
    let after = rest[number..].chars().nth(1);
    if letter.is_some() && !after.is_some_and(|c| c.is_ascii_alphanumeric()) {
        number += 1;
    }
    let tail = &rest[number..];
    // `3D model` and `2024` are no numbers of steps.
    if word.is_empty() && !tail.starts_with(['.', ')', ':', ' ']) || number > 6 {
        return None;
    }
    Some((word, &rest[..number], title_of(tail)))
}

/// Returns what follows the number of a step.
fn title_of(tail: &str) -> &str {
    tail.trim_start_matches([':', '.', ')', '-', ' ', '\u{2014}', '\u{2013}', '*']).trim()
}

/// Reads the steps of a command.
#[must_use]
pub fn flow(text: &str, definition: &Definition) -> Flow {
    flow_of(text, definition, &references(text, definition))
}

/// Reads the steps of a command whose references were found before.
#[must_use]
pub fn flow_of(text: &str, definition: &Definition, found: &[Reference]) -> Flow {
    let headings = &definition.document.headings;
    let named: Vec<(usize, &str, &str, &str)> = headings
        .iter()
        .enumerate()
        .filter_map(|(at, heading)| {
            let (word, number, title) = numbered(&heading.text)?;
            Some((at, word, number, title))
        })
        .collect();
    let (phases, steps) = choose(headings, &named);
    let mut flow = Flow::default();
    let end_of = |at: usize| {
        let level = headings[at].level;
        let next = headings[at + 1..].iter().find(|heading| heading.level <= level);
        next.map_or(text.len(), |heading| heading.span.start as usize)
    };
    for &at in &phases {
        let until = headings.get(at + 1).map_or(text.len(), |heading| heading.span.start as usize);
        let preface = &text[headings[at].span.end as usize..until];
        let parallel = is_parallel(preface) || headings[at].text.to_ascii_lowercase().contains("parallel");
        flow.phases.push(Phase { title: headings[at].text.clone(), heading: headings[at].span, parallel });
    }
    for (at, number, title) in steps {
        let mut span = Span::new(headings[at].span.start as usize, end_of(at));
        // A step ends where the next phase or checkpoint starts, whatever its level.
        let next = headings[at + 1..]
            .iter()
            .find(|heading| is_gate(&heading.text) || heading.level <= headings[at].level);
        span.end = next.map_or(span.end, |heading| heading.span.start.min(span.end));
        let gate = next.is_some_and(|heading| is_gate(&heading.text));
        let mut step = read(text, definition, found, span);
        step.number = number.to_owned();
        step.title = title.to_owned();
        step.minutes = in_brackets(title).or(step.minutes);
        step.heading = headings[at].span;
        step.gate |= gate;
        step.phase =
            phases.iter().rposition(|&phase| phase < at && headings[phase].level < headings[at].level);
        flow.steps.push(step);
    }
    if flow.steps.is_empty() {
        list(text, definition, found, &mut flow);
    }
    if flow.steps.is_empty() {
        paragraphs(text, definition, found, &mut flow);
    }
    if !flow.steps.is_empty() {
        let first = flow.steps.iter().map(|step| step.span.start as usize).min().unwrap_or(0);
        let before = text.get(definition.body as usize..first).unwrap_or_default();
        let title = headings.first().filter(|heading| (heading.span.start as usize) < first);
        flow.minutes = title
            .and_then(|title| in_brackets(&title.text))
            .or_else(|| minutes(before))
            .or_else(|| total(text));
        flow.parallel = phases.is_empty() && leads_to_parallel(before);
    }
    flow
}

/// Tells whether a text ends with a sentence that leads to what runs in parallel: "Run these reviews in parallel:".
fn leads_to_parallel(before: &str) -> bool {
    let last = before.trim_end().rsplit("\n\n").next().unwrap_or_default();
    last.ends_with(':')
        && !last.trim_start().starts_with('#')
        && (is_parallel(last) || last.contains("parallel reviews"))
}

/// Chooses which headings are steps and which are the phases above them.
fn choose<'a>(
    headings: &[Heading],
    named: &[(usize, &'a str, &'a str, &'a str)],
) -> (Vec<usize>, Vec<(usize, &'a str, &'a str)>) {
    let worded: Vec<_> = named.iter().filter(|(_, word, ..)| !word.is_empty()).copied().collect();
    let (group, with_words) = if worded.len() >= 2 { (worded, true) } else { (named.to_vec(), false) };
    let mut phases = Vec::new();
    let mut steps: Vec<(usize, &str, &str)> = Vec::new();
    for (index, &(at, _, number, title)) in group.iter().enumerate() {
        let deeper =
            group.get(index + 1).is_some_and(|&(next, ..)| headings[next].level > headings[at].level);
        if deeper {
            phases.push(at);
        } else {
            steps.push((at, number, title));
        }
    }
    // Numbered headings without a word are steps only where they count from one.
    let counts = with_words
        || steps.len() >= 3 && steps.first().is_some_and(|(_, number, _)| number.starts_with(['0', '1']));
    if !counts {
        return (Vec::new(), Vec::new());
    }
    (phases, steps)
}

/// Takes the numbered list of a section that speaks of a flow as steps.
fn list(text: &str, definition: &Definition, found: &[Reference], flow: &mut Flow) {
    let document = &definition.document;
    let speaks = |heading: &Heading| {
        let lower = heading.text.to_ascii_lowercase();
        ["flow", "workflow", "process", "phase", "steps", "execution", "protocol", "procedure"]
            .iter()
            .any(|word| lower.contains(word))
    };
    let items = document.items.iter().filter(|item| item.ordered && item.depth == 1);
    let first = items.clone().find(|item| document.heading_at(item.span.start).is_some_and(speaks));
    // A command may be nothing but its steps.
    let bare = || {
        let hands = |step: &Step| !step.reads.is_empty() || !step.writes.is_empty();
        // What one makes another takes: these are steps, whatever else stands between them.
        let joined = |steps: &[Step]| {
            let made = |read: &Named| {
                steps.iter().any(|step| step.writes.iter().any(|written| written.text == read.text))
            };
            // One may take up the whole folder that others write to.
            let folder = |written: &Named| {
                let (folder, _) = written.text.rsplit_once('/')?;
                let whole = [format!("`{folder}/`"), format!("`{folder}`")];
                let takes = |step: &Step| whole.iter().any(|name| text[step.span.range()].contains(name));
                Some(steps.iter().any(|step| step.writes.is_empty() && takes(step)))
            };
            steps.iter().any(|step| step.reads.iter().any(made))
                || steps.iter().flat_map(|step| &step.writes).any(|written| folder(written) == Some(true))
        };
        let alone = items.clone().next().filter(|item| items.clone().all(|other| other.list == item.list));
        alone.filter(|_| {
            if document.headings.iter().any(|heading| heading.level != 1) {
                return false;
            }
            let steps: Vec<Step> =
                items.clone().map(|item| read(text, definition, found, item.span)).collect();
            steps.iter().filter(|step| hands(step)).count() >= 3.min(steps.len()) || joined(&steps)
        })
    };
    let Some(list) = first.or_else(bare).map(|item| item.list) else { return };
    let items: Vec<_> = items.filter(|item| item.list == list).collect();
    if items.len() < 2 {
        return;
    }
    for (index, item) in items.iter().enumerate() {
        let mark = document
            .marks
            .iter()
            .find(|mark| mark.span.start >= item.span.start && mark.span.start < item.span.end);
        let line = text[item.span.range()].lines().next().unwrap_or_default();
        let title = mark.filter(|mark| !mark.code).map_or(line, |mark| &mark.text);
        let title = title.trim_start_matches(|c: char| c.is_ascii_digit() || ". )*".contains(c));
        let mut step = read(text, definition, found, item.span);
        step.number = (index + 1).to_string();
        step.title = title.trim_end_matches([':', '*', ' ']).to_owned();
        step.heading = mark.map_or(item.span, |mark| mark.span);
        flow.steps.push(step);
    }
}

/// Words with which paragraphs count themselves.
const ORDINALS: &[&str] = &["First", "Second", "Third", "Fourth", "Fifth", "Sixth"];

/// Takes lines that begin with `Step 1.` or `Second,` as steps, where no heading and no list has any.
fn paragraphs(text: &str, definition: &Definition, found: &[Reference], flow: &mut Flow) {
    let document = &definition.document;
    let (mut at, mut counted) = (definition.body as usize, Vec::new());
    for line in text.get(at..).unwrap_or_default().split_inclusive('\n') {
        let start = at;
        at += line.len();
        let bare = line.trim_end().trim_start_matches('*');
        let known = line.starts_with(['S', 's', 'P', 'W', 'F', 'T', '*']) && !bare.is_empty();
        if !known || document.fence_at(u32::try_from(start).unwrap_or(u32::MAX)).is_some() {
            continue;
        }
        let first = ORDINALS
            .iter()
            .position(|word| bare.strip_prefix(word).is_some_and(|rest| rest.starts_with([',', ':'])));
        let number = match first {
            Some(place) => Some(((place + 1).to_string(), bare)),
            None => numbered(bare).filter(|(word, ..)| !word.is_empty() || line.starts_with("**")).and_then(
                |(_, number, title)| {
                    let from = bare.find(number)? + number.len();
                    let told = bare[from..]
                        .trim_start_matches('*')
                        .trim_start()
                        .starts_with([':', '.', ')', '-', '\u{2014}', '\u{2013}']);
                    told.then(|| (number.to_owned(), title))
                },
            ),
        };
        if let Some((number, title)) = number {
            let title = title.split(". ").next().unwrap_or(title).trim_matches('*').to_owned();
            counted.push((Span::new(start, start + line.trim_end().len()), number, title));
        }
    }
    if counted.len() < 2 || !matches!(&*counted[0].1, "1" | "A" | "one") {
        return;
    }
    let ends: Vec<usize> =
        counted.iter().skip(1).map(|(span, ..)| span.start as usize).chain([text.len()]).collect();
    for ((heading, number, title), end) in counted.into_iter().zip(ends) {
        let next = document.headings.iter().map(|heading| heading.span.start as usize);
        let end = next.filter(|&next| next > heading.start as usize).min().map_or(end, |next| next.min(end));
        let mut step = read(text, definition, found, Span::new(heading.start as usize, end));
        (step.number, step.title, step.heading) = (number, title, heading);
        flow.steps.push(step);
    }
}

fn read(text: &str, definition: &Definition, found: &[Reference], span: Span) -> Step {
    let body = &text[span.range()];
    let inside = found
        .iter()
        .filter(|reference| span.start <= reference.span.start && reference.span.start < span.end);
    let agents = inside
        .filter(|reference| reference.names == Names::Agent && reference.strength >= Strength::Strong)
        .map(|reference| Named { text: reference.name.clone(), span: reference.span })
        .collect();
    let mut step =
        Step { span, agents, parallel: is_parallel(body), minutes: minutes(body), ..Step::default() };
    for (at, line) in TELLING.lines(body) {
        let at = span.start as usize + at;
        let lower = line.to_ascii_lowercase();
        let fenced = definition.document.fence_at(u32::try_from(at).unwrap_or(u32::MAX)).is_some();
        let begins = lower.trim_start_matches([' ', '-', '*', '#', '>', '\t']);
        if !fenced && (begins.starts_with("pass") || line.starts_with('#')) {
            passed(line, at, &mut step);
        } else {
            transfers(line, &lower, at, fenced, &mut step);
        }
        if !fenced {
            step.starts |= starts_somebody(&lower);
            step.asks |=
                ["askuserquestion", "ask the user", "user approval", "wait for user", "wait for explicit"]
                    .iter()
                    .any(|word| lower.contains(word));
            step.gate |= line.contains("GATE")
                || lower.contains("do not proceed")
                || lower.contains("must not proceed");
        }
    }
    let marks = &definition.document.marks;
    let first = marks.partition_point(|mark| mark.span.start < span.start);
    let inside: Vec<&Mark> = marks[first..]
        .iter()
        .take_while(|mark| mark.span.start < span.end)
        .filter(|mark| mark.code)
        .collect();
    let bare = unmarked(text, definition, span, &inside);
    let mut all: Vec<&Mark> = inside.into_iter().chain(&bare).collect();
    all.sort_by_key(|mark| mark.span.start);
    let mut last: Option<(u32, bool)> = None;
    for mark in all {
        printed(mark, &mut step);
        last = marked(text, span, mark, last, &mut step).map(|written| (mark.span.end, written));
    }
    step
}

/// Words without which a line says nothing of what a step takes, gives or waits for.
static TELLING: LazyLock<Words> = LazyLock::new(|| {
    Words::new(&[
        "[insert",
        "read ",
        "reads",
        "input",
        "writes",
        "save ",
        "output",
        "consolidate",
        "write ",
        "create ",
        "assemble ",
        "pass",
        "\u{2192}",
        "->",
        "{phase",
        "askuserquestion",
        "ask the user",
        "user approval",
        "wait for user",
        "wait for explicit",
        "gate",
        "not proceed",
        "subagent",
        "sub-agent",
        "general-purpose agent",
    ])
});

/// Tells whether a line in lower case has an agent without a name work: `a second subagent reads the prices`.
fn starts_somebody(lower: &str) -> bool {
    let who = ["subagent", "sub-agent", "general-purpose agent", "explore agent"];
    let denied = ["not ", "n't", "never", "without", "no subagent", "no sub-agent", "previous", "each other"];
    lower.split(". ").any(|sentence| {
        who.iter().any(|who| sentence.contains(who)) && !denied.iter().any(|word| sentence.contains(word))
    })
}

impl Step {
    /// Tells whether it has somebody else work: an agent by its name, or one without.
    #[must_use]
    pub fn hands_out(&self) -> bool {
        self.starts || !self.agents.is_empty()
    }
}

/// Tells whether a heading asks a person.
#[must_use]
pub fn is_gate(heading: &str) -> bool {
    let upper = heading.to_ascii_uppercase();
    ["CHECKPOINT", "APPROVAL", "GATE:", " GATE", "SIGN-OFF"].iter().any(|word| upper.contains(word))
}

/// Words for things that run side by side.
static PARALLEL: LazyLock<Words> = LazyLock::new(|| {
    Words::new(&[
        "in parallel",
        "parallel using",
        "parallel with",
        "parallel task",
        "parallel agent",
        "parallel execution",
        "parallelize",
        "concurrent",
        "simultaneous",
        "side by side",
        "at the same time",
        "single response",
        "single message",
    ])
});

/// Tells whether a text says that things run side by side.
#[must_use]
pub fn is_parallel(text: &str) -> bool {
    static DENIED: LazyLock<Words> = LazyLock::new(|| Words::new(&["not in parallel"]));
    PARALLEL.is_in(text) && !DENIED.is_in(text)
}

/// Returns the lines outside of which no text [says](is_parallel) that things run side by side.
pub fn parallel_lines(text: &str) -> impl Iterator<Item = &str> {
    PARALLEL.lines(text).map(|(_, line)| line)
}

#[cfg(test)]
mod tests {
    use super::{lengths::length, *};

    fn read(text: &str) -> Flow {
        flow(text, &Definition::read(text))
    }

    #[test]
    fn lengths_of_time_are_read_in_headings_and_behind_words() {
        let lengths = [
            ("30 minutes", Some(30)),
            ("~10-15 min", Some(15)),
            ("1 hour 30 minutes of work", Some(90)),
            ("2h", Some(120)),
            ("2 hours, then 3 more reviews", Some(120)),
            ("soon", None),
        ];
        for (text, minutes) in lengths {
            assert_eq!(length(text), minutes, "{text}");
        }
        let flow = read(
            "# Audit (45 minutes)\n\n## Phase 1: Collect (10 minutes)\nA.\n\n## Phase 2: Judge\nDuration: 20 min\n",
        );
        let steps: Vec<Option<u32>> = flow.steps.iter().map(|step| step.minutes).collect();
        assert_eq!((flow.minutes, steps), (Some(45), vec![Some(10), Some(20)]));
    }

    #[test]
    fn files_are_noted_by_keys_and_by_verbs_before_their_names() {
        let text = "## Phase 1: A\n**Reads:** `in/a.md`\nSort it. **Output:** `out/b.md`\n\n## Phase 2: B\nUse it. It writes its\n\
                    result to `out/c.md`, from `out/b.md`.\n\n## Phase 3: C\n\nConcatenate `out/b.md` and `out/c.md`. It is never\n\
                    written to `out/d.md`; see `out/e.md`.\n";
        let of = |list: &[Named]| list.iter().map(|named| named.text.clone()).collect::<Vec<_>>().join(" ");
        let steps: Vec<String> = read(text)
            .steps
            .iter()
            .map(|step| format!("{} > {}", of(&step.reads), of(&step.writes)))
            .collect();
        assert_eq!(steps, ["in/a.md > out/b.md", "out/b.md > out/c.md", "out/b.md out/c.md > "]);
    }

    #[test]
    fn what_one_step_takes_is_no_claim_for_all() {
        let steps = "## Phase 1: A\nB.\n\n## Phase 2: C\nDuration: 20 min\n";
        assert_eq!(read(&format!("# X\n\n{steps}")).minutes, None);
        assert_eq!(read(&format!("# X\nDuration: 1 hour\n\n{steps}")).minutes, Some(60));
        assert_eq!(read(&format!("# X\n\n{steps}\n## Notes\nTotal time: 50 minutes\n")).minutes, Some(50));
    }
}
