//! What is done with a file that a text names: whether it is made or taken in, by the words before its name.

/// Verbs whose object is made: `create `x.md``, and `save it as `x.md``.
const MAKES: &[&str] = &[
    "write",
    "writes",
    "written",
    "writing",
    "save",
    "saves",
    "saved",
    "saving",
    "store",
    "stores",
    "stored",
    "produces",
    "produce",
    "produced",
    "record",
    "records",
    "note",
    "notes",
    "dump",
    "dumps",
    "collect",
    "collects",
    "list",
    "lists",
    "create",
    "creates",
    "created",
    "generate",
    "generates",
    "generated",
    "make",
    "makes",
    "emit",
    "emits",
    "export",
    "exports",
    "exported",
    "draft",
    "drafts",
];

/// Words after which `to`, `in` or `as` leads to what is made: `put it in `x.md``, `its answer goes to `x.md``.
const PLACES: &[&str] = &[
    "put", "puts", "keep", "keeps", "kept", "goes", "go", "lands", "place", "places", "append", "appends",
    "plot", "plots", "log", "logs", "render", "renders", "compile", "compiles", "result", "results",
    "answer", "answers", "output", "outputs", "report", "findings", "summary", "sum", "merge", "join",
    "combine", "print", "prints", "describe", "document",
];

/// Words right before a file that is taken in.
const READS: &[&str] = &[
    "read",
    "reads",
    "reading",
    "from",
    "concatenate",
    "combine",
    "input",
    "inputs",
    "load",
    "loads",
    "take",
    "takes",
    "turn",
    "turns",
    "give",
    "given",
    "hand",
    "pass",
    "parse",
    "parses",
    "process",
    "processes",
    "consume",
    "consumes",
    "gets",
    "receives",
    "follow",
    "follows",
    "following",
    "using",
    "with",
    "through",
    "put",
    "against",
    "implement",
    "implements",
    "execute",
    "executes",
    "apply",
    "applies",
    "break",
    "split",
    "polish",
    "upload",
    "print",
    "show",
    "open",
    "opens",
    "check",
    "checks",
    "review",
    "reviews",
    "validate",
    "compare",
    "convert",
    "converts",
    "translate",
    "translates",
    "transform",
    "import",
    "imports",
    "publish",
    "send",
    "attach",
    "post",
    "sort",
    "filter",
    "group",
    "summarise",
    "summarize",
    "merge",
    "join",
    "deduplicate",
    "rank",
    "score",
    "deploy",
    "analyse",
    "analyze",
    "study",
    "consult",
    "finish",
    "finishes",
    "walk",
    "work",
    "present",
    "weigh",
    "per",
    "merges",
    "combines",
    "joins",
    "concatenates",
    "consolidates",
    "consolidate",
];

/// Words of which one has to stand before `on` or `by` for what follows to be taken in.
const BASES: &[&str] = &[
    "based", "base", "train", "trains", "trained", "report", "reports", "relies", "rely", "depends",
    "depend", "works", "work", "builds", "build", "stop", "ordered", "guided", "led", "driven", "run",
    "acts", "act", "go",
];

/// Words that say that nothing is handed on, or that a file is there before and is but changed.
const DENIED: &[&str] = &[
    "not", "never", "if", "except", "like", "update", "updates", "without", "unless", "delete", "remove",
    "ignore", "skip",
];

/// Words between a verb and the name of its object.
const ARTICLES: &[&str] = &["the", "a", "an", "its", "your", "our", "file", "files", "new"];

/// Tells whether a word right before a name takes in what is named.
#[must_use]
pub fn is_reading(word: &str) -> bool {
    READS.contains(&word)
}

/// Tells what the words of a clause up to the name of a file do with it: `Some(true)` where it is made, `Some(false)` where
/// it is taken in. They are in lower case.
#[must_use]
pub fn handled(words: &[&str]) -> Option<bool> {
    let denies = |(at, word): (usize, &&str)| {
        // What it could not do is still handed on.
        let told = *word == "not"
            && at > 0
            && matches!(
                words[at - 1],
                "could" | "did" | "was" | "were" | "is" | "are" | "has" | "have" | "had"
            );
        DENIED.contains(word) && !told
    };
    if words.iter().enumerate().any(denies) {
        return None;
    }
    let bare = words.iter().rposition(|word| !ARTICLES.contains(word)).map_or(0, |at| at + 1);
    // What is put somewhere has an article of its own: `in the `x.md``.
    let words = words.get(..bare).filter(|words| !words.is_empty())?;
    let (&last, rest) = words.split_last()?;
    let makes = |word: &str| MAKES.contains(&word);
    let places = |word: &&&str| makes(word) || PLACES.contains(word);
    let before = rest.last().copied().unwrap_or_default();
    let gives = matches!(last, "output" | "outputs")
        || last == "to" && matches!(before, "output" | "outputs")
        || matches!(last, "to" | "into" | "in" | "as" | "at") && rest.iter().any(|word| places(&word))
        || last == "into" && rest.len() >= 2
        || makes(last);
    if gives {
        return Some(true);
    }
    let handed = last == "it" && matches!(before, "give" | "hand" | "pass");
    let of = last == "of" && (before == "out" || !rest.iter().any(|word| makes(word)));
    let out = last == "out" && matches!(before, "carry" | "carries");
    let based = matches!(last, "on" | "by") && rest.iter().any(|word| BASES.contains(word));
    // `the files in `x.md``.
    let within = last == "in" && words.len() >= 3;
    (is_reading(last) || handed || of || out || based || within).then_some(false)
}

/// Tells whether the words behind the name of a file say that it speaks: `as `x.md` says`.
#[must_use]
pub fn is_quoted(after: &str) -> bool {
    let word = after.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    ["says", "lists", "tells", "asks", "describes", "names", "shows", "demands", "requires", "wants"]
        .contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(clause: &str) -> Option<bool> {
        let words: Vec<&str> = clause.split(' ').collect();
        handled(&words)
    }

    #[test]
    fn words_before_a_file_say_what_is_done_with_it() {
        for made in [
            "save it as",
            "keep its answer in",
            "result in",
            "writes the",
            "and dump all to",
            "what is left goes to",
            "put what it could not port in",
        ] {
            assert_eq!(of(made), Some(true), "{made}");
        }
        for taken in [
            "polish",
            "try each threat of",
            "makes a client out of",
            "carry out",
            "based on",
            "stop by",
            "compare with",
            "clean up the files in",
        ] {
            assert_eq!(of(taken), Some(false), "{taken}");
        }
        for neither in ["do not write", "look at", "update", "the", "unless there is", "and"] {
            assert_eq!(of(neither), None, "{neither}");
        }
    }

    #[test]
    fn what_a_file_says_is_taken_in() {
        assert!(is_quoted(" says, and") && is_quoted(" lists."));
        assert!(!is_quoted(" is there") && !is_quoted(""));
    }
}
