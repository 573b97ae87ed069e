//! Every code that this crate reports, with its explanation.
//!
//! One table, from which `kapell explain` and the reference page are made. K01xx: YAML; K02xx: workflow files; K03xx:
//! expressions; K04xx: limits. Other crates have tables of their own, which the binary merges with this one.

/// What a code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// The code, such as `K0107`.
    pub code: &'static str,
    /// What it is about, in a few words.
    pub title: &'static str,
    /// What is wrong, why it matters and what to do, in a few sentences of Markdown.
    pub text: &'static str,
}

macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal, $text:literal;)*) => {
        $(
            #[doc = $title]
            pub const $name: &str = $code;
        )*

        /// All codes of this crate, in order.
        pub const TABLE: &[Explanation] = &[$(Explanation { code: $code, title: $title, text: $text }),*];
    };
}

codes! {
    SYNTAX = "K0101", "Not valid YAML",
        "The text breaks the rules of YAML 1.2 at the place shown. Most often a value needs quotes because it contains `: ` or ` #`, or starts with one of ``@ ` % & * ! | > [ ] { }``, or a line is indented by one blank too many or too few. Nothing after the place could be read.";
    ENCODING = "K0102", "Not UTF-8",
        "Files are read as UTF-8, with or without a byte order mark. Convert the file, for example with `iconv -t UTF-8`.";
    CONTROL_CHARACTER = "K0103", "Control character",
        "YAML allows no control characters other than tab, line feed and carriage return. Within double quotes they can be written as escapes, such as `\"\\x1b\"`.";
    BIDI = "K0104", "Character that turns the direction of text",
        "Characters that turn the direction of text make a line look different from what it does. Remove them, or write them as escapes within double quotes.";
    TAB = "K0105", "Tab in the indentation",
        "YAML is indented with blanks. Replace the tab by as many blanks as the lines around it have.";
    DUPLICATE_KEY = "K0106", "Key given twice",
        "A mapping has the same key twice. Only the first is read; remove or rename the other.";
    DOCUMENTS = "K0107", "More than one document",
        "One file holds one document. Remove the `---` in the middle of the file, or split it.";
    COMPLEX_KEY = "K0108", "Key that is not a text",
        "A list or mapping stands where a key is expected. Often an expression such as `{{ x }}` or a pattern such as `[a]` lacks its quotes.";
    MERGE_KEY = "K0109", "Merge key",
        "`<<` is not part of YAML 1.2, and GitHub does not read it either. Write the keys out, or use an alias for the whole value.";
    TAG = "K0110", "Unsupported tag",
        "A value that starts with `!` is read as a YAML tag. If it is an expression, such as `if: !success()`, quote it or put it into `${{ }}`.";
    ALIAS = "K0111", "Alias without an anchor",
        "A value that starts with `*` is read as an alias. If it is a pattern, such as `*.rs`, quote it.";
    EMPTY = "K0112", "Empty file",
        "The file has no content but comments. `kapell init` writes a workflow to start from.";

    UNKNOWN_KEY = "K0201", "Unknown key",
        "This key means nothing here. Keys are written exactly as in the reference, in lower case.";
    WRONG_TYPE = "K0202", "Value of the wrong kind",
        "The value is of another kind than the key takes: a text where a list is expected, and so on. YAML 1.2 reads `yes`, `no`, `on` and `off` as texts; truth values are `true` and `false`.";
    MISSING_KEY = "K0203", "Key missing",
        "A key that is needed is not there.";
    UNKNOWN_NEED = "K0204", "Needs a task that does not exist",
        "`needs` names a task that the file does not define. Names are compared exactly.";
    CYCLE = "K0205", "Tasks wait for each other",
        "The tasks shown need each other in a circle, so none could ever start. Remove one of the needs.";
    NAME = "K0206", "Name not allowed",
        "Names of tasks, agents, axes, inputs and outputs start with a letter or `_` and go on with letters, digits, `_` and `-`, at most 100 characters, as on GitHub.";
    NAME_CASE = "K0207", "Names that differ in case only",
        "Expressions compare names without regard to case, and some file systems do. Rename one of the two.";
    NEED_TWICE = "K0208", "Need given twice, or of the task itself",
        "A task is named twice in one `needs`, or needs itself.";
    DURATION = "K0209", "Not a duration",
        "A duration is written as numbers with units, largest first: `500ms`, `2s`, `1m30s`, `2h`, `1d`. A number without a unit is not accepted, since it is not clear what it counts.";
    NUMBER = "K0210", "Number out of range",
        "The number is outside of what the key takes.";
    MONEY = "K0211", "Not an amount of money",
        "Money is given in US dollars as a number of at most six decimal places: `5`, `0.25`.";
    TOKENS = "K0212", "Not a number of tokens",
        "Tokens are a whole number, or a number with `k`, `M` or `G`: `200k`, `2M`, `1.5M`.";
    PATH = "K0213", "Path or pattern not allowed",
        "Paths are relative to the root of the repository, with `/` between names. They do not start with `/` or `~`, and do not leave the repository by `..`.";
    CHOICE = "K0214", "Unknown value",
        "The key takes one of a few words.";
    NO_WORK = "K0215", "Task without work",
        "A task says what is to be done by exactly one of `run`, `prompt`, `gate`, `workflow`, `scripted`, `noop`.";
    TWO_WORKS = "K0216", "Task with more than one kind of work",
        "A task does one thing. Split it into two tasks, the second of which `needs` the first.";
    UNKNOWN_AGENT = "K0217", "Unknown agent",
        "`agent` names an agent that is defined neither under `agents`, nor in `kapell.toml`, nor by a role of the repository.";
    NO_AGENT = "K0218", "Prompt without an agent",
        "A `prompt` needs an agent to give it to: name one by `agent`, and define it under `agents`, or say by `skills` what it must be able to do.";
    NO_EFFECT = "K0219", "Key without effect here",
        "The key is known, but means nothing for a task of this kind.";
    NOT_YET = "K0220", "Not there yet",
        "The key is reserved for something that this version of kapell cannot do. It is refused rather than passed over.";
    MATRIX = "K0221", "Matrix that cannot be built",
        "A matrix has at least one axis, each with at least one value that is known before the run starts, and `include` and `exclude` are lists of mappings from axes to values.";
    EXCLUDE_NOTHING = "K0222", "Exclusion that excludes nothing",
        "No cell of the matrix has these values.";
    CHILD = "K0223", "Nested workflow that cannot be used",
        "The file that `workflow` names cannot be read, contains itself, or has errors of its own.";
    VARIABLE = "K0224", "Name of a variable not allowed",
        "Names of environment variables start with a letter or `_` and go on with letters, digits and `_`. Those that start with `KAPELL_` are set by kapell.";
    DATE = "K0225", "Not an instant",
        "An instant is written with date, time and offset: `2026-03-01T12:00:00Z` or `2026-03-01T13:00:00+01:00`.";
    RANGE = "K0226", "Range the wrong way round",
        "The lower end is above the upper one.";
    INPUT = "K0227", "Input missing or unknown",
        "The workflow declares the inputs that it takes under `inputs`; one without a default must be given, and others cannot.";
    ANSWER_UNREAD = "K0228", "Answer that nothing reads",
        "A gate with `choices` lets the run go on whatever the answer is: `no` stops what needs it only where nothing but `yes` and `no` can be answered. What was answered is `tasks.NAME.outputs.answer`; let the `if` of what needs the gate read it.";
    BUDGET_TOO_SMALL = "K0229", "Budget in which a task does not fit",
        "Each attempt sets the task's own `budget` aside before it starts. One that needs more than the whole run may spend never starts, and the run pauses.";
    FOREIGN = "K0230", "File of another kind",
        "The file is no workflow file of kapell. `kapell improve` judges the workflows of GitHub and the files of coding agents; `kapell run` and `kapell plan` take a format of their own, which `kapell schema workflow` describes.";

    EXPRESSION = "K0301", "Not an expression",
        "What stands between `${{` and `}}` does not follow GitHub's grammar of expressions. Strings are in single quotes, and there is no arithmetic.";
    UNKNOWN_NAME = "K0302", "Unknown name in an expression",
        "Expressions know `tasks`, `needs`, `matrix`, `env`, `inputs` and `run`, some of them only in some places.";
    UNKNOWN_TASK = "K0303", "Unknown task in an expression",
        "An expression reads a task that the file does not define.";
    NOT_NEEDED = "K0304", "Task read without being needed",
        "An expression reads the outcome of a task for which this one does not wait, so it may not be there yet. Add it to `needs`.";
    UNKNOWN_PROPERTY = "K0305", "Unknown property in an expression",
        "The value has no such property: an axis that the matrix does not have, an input that is not declared, an output that the task does not list.";
    UNQUOTABLE = "K0306", "Expression where it cannot be quoted",
        "In shell text an expression is never spliced: it becomes a reference to an environment variable, quoted so that it stays one word. Where the shell would not expand that (single quotes, quoted here-documents, comments) or where another program would read the value as code (`sh -c`, `eval`, `python -c`), that cannot be done. Give the value a name under `env:` and let the program read it from the environment.";
    NOT_HERE = "K0307", "Name or function not available here",
        "The name is known, but has no value in this place.";
    NO_EXPRESSIONS = "K0308", "Expression not allowed here",
        "The value must be known when the plan is made, so it cannot hold `${{ }}`.";
    CONSTANT = "K0309", "Condition that cannot vary",
        "The condition is always true or never true. A condition with text around `${{ }}` is a text, and every text but the empty one is true: `${{ a }} && b` is always true. Put the whole condition into one `${{ }}`, or leave the braces out.";
    EVALUATION = "K0310", "Expression that always fails",
        "The expression fails whatever the values are.";

    TOO_LARGE = "K0401", "File too large",
        "A file is read up to a fixed size, so that a broken one cannot exhaust the machine.";
    TOO_DEEP = "K0402", "Nested too deep",
        "Collections are read up to a fixed depth.";
    TOO_MANY_NODES = "K0403", "Too many values",
        "The number of values in a file, and of those that aliases stand for, is bounded.";
    TOO_MANY_TASKS = "K0404", "Too many tasks",
        "A plan has at most 1,000,000 tasks, cells of matrices included.";
    CHILD_DEPTH = "K0405", "Workflows nested too deep",
        "Workflows contain workflows up to a depth of 5.";
}

/// Explains a code of this crate.
#[must_use]
pub fn explain(code: &str) -> Option<&'static Explanation> {
    TABLE.iter().find(|explanation| explanation.code.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_explained() {
        assert!(TABLE.windows(2).all(|pair| pair[0].code < pair[1].code));
        for explanation in TABLE {
            assert_eq!(explain(explanation.code), Some(explanation));
            assert!(explanation.code.len() == 5 && explanation.text.ends_with('.'), "{}", explanation.code);
        }
        assert_eq!(explain("k0101").map(|found| found.code), Some(SYNTAX));
        assert_eq!(explain("K9999"), None);
    }
}
