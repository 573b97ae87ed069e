//! Words of starts and of what stands around them.

use std::sync::LazyLock;

use kapell_spec::{
    claude::{reference::CHOICE, steps::is_parallel},
    words::Words,
};

/// Keys of a line that says what is taken in.
pub(super) const CONTEXT: &[&str] = &[
    "context:",
    "context**:",
    "context**",
    "input:",
    "inputs:",
    "input**:",
    "inputs**:",
    "depends on",
    "requires",
    "reads",
];

/// Starts of words that titles have in common, and that tell nothing apart.
pub(super) const COMMON: &[&str] = &[
    "agent",
    "review",
    "audit",
    "analy",
    "assess",
    "check",
    "code",
    "quality",
    "system",
    "applica",
    "project",
    "phase",
    "step",
    "task",
    "tool",
    "using",
    "with",
    "from",
    "implement",
    "creat",
    "develop",
    "engineer",
    "expert",
    "special",
    "compreh",
    "full",
    "deep",
    "current",
    "general",
    "purpose",
    "initial",
    "best",
    "pract",
    "level",
    "team",
    "work",
    "product",
    "service",
    "scan",
    "research",
    "report",
    "explor",
    "plan",
    "evaluat",
    "investig",
    "identif",
    "detail",
];

/// Words in titles of what comes last, or brings together what others have done.
pub(super) const ENDS: &[&str] = &[
    "deploy",
    "commit",
    "release",
    "rollout",
    "merge",
    "clean",
    "refactor",
    "document",
    "report",
    "summar",
    "final",
    "approv",
    "sign-off",
    "follow-up",
    "post-",
    "consolidat",
];

/// Words in titles of what looks at what is there by then. Two of them can do so at once.
pub(super) const CHECKS: &[&str] = &["test", "validat", "verif", "monitor"];

/// Words that say why one comes after the other.
pub(super) static REASONS: LazyLock<Words> = LazyLock::new(|| {
    Words::new(&[
        "builds on",
        "builds upon",
        "build on each",
        "feeds into",
        "feed into",
        "feeding",
        "in turn",
        "wait for",
        "one at a time",
        "one by one",
        " at a time",
        "sequentially so",
        "(sequential",
        "output of each",
        "output from each",
        "uses the output",
        "pass the result",
        "pass the output",
        "passing the",
        "passed to the next",
        "context from previous",
        "previous agent",
        "previous step",
        "previous phase",
        "fail-fast",
        "fail fast",
        "stop at the first",
        "stop on the first",
        "stop if any",
        "before moving",
        "before proceeding",
        "before the next",
        "same files",
        "conflict",
        "rate limit",
        "strict order",
        "strictly in order",
        "order matters",
        "do not reorder",
        "depends on the",
    ])
});

/// Words of lines that tell how agents are led; others speak of what is built.
pub(super) static ORDERS: LazyLock<Words> = LazyLock::new(|| {
    Words::new(&[
        "agent",
        "step",
        "phase",
        "task",
        "launch",
        "run ",
        "start",
        "execute",
        "review",
        "call",
        "message",
        "response",
        "dispatch",
        "them",
        "these",
        "description:",
    ])
});

/// Words above a list from which one is chosen.
pub(super) static CHOOSES: LazyLock<Words> = LazyLock::new(|| {
    let of_headings = ["one of the", "which agent", "when to use"];
    Words::new(&[CHOICE, &of_headings].concat())
});

/// Tells whether a line of a text says of a step, by its number, that it runs beside others: `Run steps 2 and 3 in parallel`.
#[must_use]
pub fn tells_parallel_of(text: &str, number: &str) -> bool {
    static STEPS: LazyLock<Words> = LazyLock::new(|| {
        Words::new(&["step ", "steps ", "phase ", "phases ", "stage ", "stages ", "items "])
    });
    let Ok(number) = number.parse::<u32>() else { return false };
    let names = |line: &str| {
        let words = line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let numbers: Vec<u32> = words.clone().filter_map(|word| word.parse().ok()).collect();
        let range =
            line.contains(['-', '\u{2013}']) || words.clone().any(|word| matches!(word, "to" | "through"));
        numbers.contains(&number)
            || range && numbers.windows(2).any(|two| (two[0]..=two[1]).contains(&number))
    };
    // The number of an item says nothing of what stands in it.
    let own = |line: &str| {
        let text = line.trim_start();
        text.find(|c: char| !(c.is_ascii_digit() || "-*+.)# ".contains(c)))
            .map_or(0, |at| line.len() - text.len() + at)
    };
    STEPS.lines(text).any(|(_, line)| tells_parallel(line) && names(&line[own(line)..]))
}

/// Tells whether a text says that agents run side by side. Concurrent users and requests are something else.
#[must_use]
pub fn tells_parallel(text: &str) -> bool {
    static OTHERS: LazyLock<Words> = LazyLock::new(|| {
        Words::new(&[
            "parallel review",
            "parallel analys",
            "parallel audit",
            "parallel subagent",
            "parallel sub-agent",
            "parallel phase",
            "(parallel)",
            "parallel:",
            "parallel start",
            "parallel launch",
            "parallel work",
            "parallel dispatch",
            "parallel call",
            "run both",
            "launch both",
            "start both",
            "at once",
            "fan out",
            "fan-out",
            "same message",
            "same response",
            "one message",
            "one response",
            "multiple task",
            "without waiting",
            "in the background",
            "run_in_background",
            "asynchronous",
            "parallelism",
            "teammate",
            "teamcreate",
        ])
    });
    static ELSEWHERE: LazyLock<Words> = LazyLock::new(|| {
        Words::new(&["users", "requests", "connections", "race", "thread", "concurrency", "load test"])
    });
    let says = |line: &str| is_parallel(line) || OTHERS.is_in(line);
    says(text) && text.lines().any(|line| says(line) && !ELSEWHERE.is_in(line))
}
