//! `argument-not-read`: a command names its arguments in a way that nothing fills in.

mod counted; // from one, where they are counted from nought
mod fixed; // values that stand there for good
mod scripted; // values that a script is given in place of what is asked for

use std::sync::LazyLock;

use kapell_spec::{
    claude::definition::{Definition, Named},
    finding::Span,
    line, suggest,
    words::Words,
};
use kapell_view::audit::{AssetKind, Confidence, FixClass, Severity};
use memchr::memmem;

use crate::{
    agents::{Asset, Home},
    files::File,
    repository::{Depth, Repository},
    rule::{self, Focus, Group, Report, Rule},
};

/// See `docs/rules/argument-not-read.md`.
pub(super) static RULE: Rule = Rule {
    name: "argument-not-read",
    summary: "a command names its arguments in a way that nothing fills in",
    group: Group::AgentFlow,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/argument-not-read.md"),
    check,
};

/// What other tools fill in, and this one does not.
const FOREIGN: &[&str] = &[
    "{argument}",
    "{arguments}",
    "{{argument}}",
    "{{arguments}}",
    "{{args}}",
    "{{ARGUMENTS}}",
    "{ARGUMENTS}",
    "<ARGUMENTS>",
    "@ARGUMENTS",
    "%ARGUMENTS%",
    "#{ARGUMENTS}",
    "[ARGUMENTS]",
];

/// Words that look like the one that is filled in.
const MISSPELT: &[&str] = &[
    "$ARGUMENT",
    "$ARGUMETNS",
    "$ARGUEMENTS",
    "$ARGUMENS",
    "$ARGS",
    "$Arguments",
    "$arguments",
    "${ARGS}",
    "${ARGUMENTS}",
    "$args",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    of_others(repository, report);
    let kinds = [AssetKind::Command, AssetKind::Skill];
    // Where one command here takes `$0`, the others count from there as well.
    let from_zero =
        repository.agents.iter().filter(|(_, asset)| kinds.contains(&asset.kind)).any(|(_, asset)| {
            let text = &repository.files[asset.file].text;
            let hinted = asset.home == Home::Claude
                && asset.definition.text("argument-hint").is_some()
                && text.contains("$0");
            hinted
                && matches!(
                    read_by_places(&text[asset.definition.body as usize..]),
                    Some((Form::FromZero, _))
                )
        });
    let mut counted = Vec::new();
    for (_, asset) in
        repository.agents.iter().filter(|(_, asset)| kinds.contains(&asset.kind) && asset.home != Home::Other)
    {
        let file = &repository.files[asset.file];
        literals(report, asset, file);
        of_workflows(report, asset, file);
        declared(report, asset, file);
        templated(report, asset, file);
        hinted(report, asset, file, from_zero);
        scripted::check(repository, report, asset, file);
        if !from_zero {
            counted.extend(counted::from_one(asset, file).map(|(hint, places)| (asset, hint, places)));
        }
    }
    counted::tell(report, &counted);
}

/// Tells whether a word of a hint is one argument by itself: `<flag>`, `[environment]`.
fn is_plain(word: &str) -> bool {
    let inner = word.trim_matches(['"', '\'']);
    let inner = inner.strip_prefix(['<', '[']).and_then(|inner| inner.strip_suffix(['>', ']']));
    inner.is_some_and(|inner| {
        !inner.is_empty()
            && inner.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
            && !inner.starts_with('-')
    })
}

/// Commands of other clients: what they fill in is written in another way.
/// Sources: <https://opencode.ai/docs/commands>, <https://github.com/google-gemini/gemini-cli/blob/main/docs/cli/custom-commands.md>,
/// as of 2026-08.
fn of_others(repository: &Repository, report: &mut Report<'_>) {
    let tables: [(&[&str], &str, &[&str], &str); 2] = [
        (
            &[".opencode/command/", ".opencode/commands/"],
            ".md",
            &["{{args}}", "{{arguments}}", "$ARGS"],
            "$ARGUMENTS",
        ),
        (
            &[".gemini/commands/"],
            ".toml",
            &["$ARGUMENTS", "$1", "${ARGUMENTS}", "{{arguments}}", "{args}"],
            "{{args}}",
        ),
    ];
    for (folders, end, wrong, right) in tables {
        let own = repository.files.iter().filter(|(_, file)| {
            file.path.ends_with(end) && folders.iter().any(|folder| file.path.contains(folder))
        });
        for (id, file) in own.filter(|(_, file)| !file.text.contains(right)) {
            let places = wrong.iter().flat_map(|word| file.text.match_indices(word));
            let shown = |at: usize| {
                let line = kapell_spec::line::around(&file.text, at);
                ["awk", "cut ", "sed ", "func", "!{", "()"].iter().any(|sign| line.contains(sign))
                    || file.text[at..].starts_with("$1")
                        && file.text[at + 2..].starts_with(|c: char| c.is_ascii_digit())
            };
            let Some((at, word)) = places.filter(|(at, _)| !shown(*at)).min() else { continue };
            let message = format!("`{word}` is never filled in: the model gets it as it stands");
            let span = Span::new(at, at + word.len());
            let edits = [(id, span, right.to_owned())];
            report.add(id, span, message).fix(format!("write `{right}`"), FixClass::Review, edits).done();
        }
    }
}

fn literals(report: &mut Report<'_>, asset: &Asset, file: &File) {
    let body = asset.definition.body as usize;
    let text = &file.text[body..];
    let declared = names(&asset.definition);
    let named = |name: &str| declared.iter().any(|argument| name.trim_start_matches('$') == argument.text);
    static WORDS: LazyLock<Words> = LazyLock::new(|| Words::exact(&[FOREIGN, MISSPELT].concat()));
    let mut found: Vec<(Span, &str)> = Vec::new();
    for (number, at) in WORDS.places(text) {
        let word = FOREIGN.iter().chain(MISSPELT).nth(number).copied().unwrap_or_default();
        if !named(word) {
            let after = text[at + word.len()..].chars().next();
            // In prose a model knows what is meant; a shell does not.
            let foreign = word.starts_with(['{', '<', '@', '%', '#', '[']);
            // PowerShell has one of that name.
            if word == "$args" && text[..at].matches("```").count() % 2 == 1 {
                continue;
            }
            let is_told = matches!(
                word,
                "{{args}}"
                    | "{{ARGUMENTS}}"
                    | "{{arguments}}"
                    | "{ARGUMENTS}"
                    | "@ARGUMENTS"
                    | "%ARGUMENTS%"
                    | "#{ARGUMENTS}"
                    | "[ARGUMENTS]"
            ) && !said_before(text, at);
            if foreign && !is_told && !in_shell(asset, body + at) {
                continue;
            }
            let whole = !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
                && !text[..at].ends_with(['{', '$', '\\']);
            // A variable of a script that the command holds is set there.
            let set = word.starts_with('$') && text.contains(&format!("{}=", &word[1..]));
            if whole && !set {
                found.push((Span::new(body + at, body + at + word.len()), word));
            }
        }
    }
    found.sort_by_key(|(span, _)| (span.start, span.end));
    let Some(((first, word), rest)) = found.split_first() else { return };
    let message = format!("`{word}` is never filled in: the model gets it as it stands");
    let mut draft = report.add(asset.file, *first, message);
    for (span, _) in rest {
        draft = draft.also(asset.file, *span, "here too");
    }
    // Among others that a model has to fill in, it is one more of them.
    if found.iter().all(|(span, word)| *word == "${ARGUMENTS}" && is_beside_others(&file.text, *span)) {
        draft = draft.severity(Severity::Low);
    }
    let edits = found.iter().map(|(span, _)| (asset.file, *span, "$ARGUMENTS".to_owned()));
    draft.fix("write `$ARGUMENTS`", FixClass::Review, edits).done();
}

/// Tells whether the line of a name in braces, `${ARGUMENTS}`, has others that nothing sets: `${SLUG}`.
fn is_beside_others(text: &str, span: Span) -> bool {
    let line = line::around(text, span.start as usize);
    line.match_indices("${").any(|(at, _)| {
        let name = line[at + 2..].split('}').next().unwrap_or_default();
        let upper = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        upper && !name.is_empty() && name != "ARGUMENTS" && !name.starts_with("CLAUDE_")
    })
}

/// Contexts of the event that a workflow fills in, and a command does not.
const OF_WORKFLOWS: &[&str] = &["${{ github.", "${{github.", "${{ inputs.", "${{inputs."];

/// Expressions of workflows in a command: only the prompt that stands in a workflow has them filled in.
fn of_workflows(report: &mut Report<'_>, asset: &Asset, file: &File) {
    let body = asset.definition.body as usize;
    let text = &file.text[body..];
    if !text.contains("${{") {
        return;
    }
    let lower = text.to_ascii_lowercase();
    // What writes or explains workflows shows their words.
    let about = ["workflow", "actions", "template", "expression", ".yml", ".yaml", "runs-on", "uses:"];
    if about.iter().any(|word| lower.contains(word)) {
        return;
    }
    let fenced =
        |at: usize| asset.definition.document.fence_at(u32::try_from(at).unwrap_or(u32::MAX)).is_some();
    let mut found: Vec<(Span, &str)> = OF_WORKFLOWS
        .iter()
        .flat_map(|open| text.match_indices(open))
        .filter(|(at, _)| !fenced(body + at))
        .filter_map(|(at, _)| {
            let len = text[at..].find("}}")? + 2;
            Some((Span::new(body + at, body + at + len), &text[at..at + len]))
        })
        .collect();
    found.sort_by_key(|(span, _)| span.start);
    // What only an event brings can mean nothing else.
    if !found
        .iter()
        .any(|(_, written)| ["github.event.", "inputs."].iter().any(|word| written.contains(word)))
    {
        return;
    }
    let Some(((first, written), rest)) = found.split_first() else { return };
    let message = format!("`{written}` is never filled in: no workflow reads what stands in a command");
    let mut draft = report.add(asset.file, *first, message);
    draft = draft.hint("write `$ARGUMENTS`, and hand it over where the workflow names the command");
    for (span, _) in rest {
        draft = draft.also(asset.file, *span, "here too");
    }
    draft.done();
}

/// A name that the hint promises, in the braces of another tool: `Fix issue {{issue}}` for `argument-hint: <issue>`.
fn templated(report: &mut Report<'_>, asset: &Asset, file: &File) {
    let Some(hint) = asset.definition.text("argument-hint") else { return };
    let body = asset.definition.body as usize;
    let text = &file.text[body..];
    let braced =
        memmem::find(text.as_bytes(), b"{{").is_some() || memmem::find(text.as_bytes(), b"${").is_some();
    if !braced || asset.definition.field("arguments").is_some() {
        return;
    }
    let names = hint.text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)));
    for name in names.filter(|name| name.len() > 1) {
        let forms = [format!("{{{{{name}}}}}"), format!("{{{{ {name} }}}}"), format!("${{{name}}}")];
        let found = forms.iter().find_map(|form| Some((text.find(form.as_str())?, form)));
        let Some((at, form)) = found.filter(|(at, _)| !said_before(text, *at)) else { continue };
        let message = format!("`{form}` is never filled in: the model gets it as it stands");
        let span = Span::new(body + at, body + at + form.len());
        report
            .add(asset.file, span, message)
            .hint("write `$ARGUMENTS`, or `$1`, or declare it under `arguments` and write it with a `$` before it")
            .also(asset.file, hint.span, "promised here")
            .done();
        return;
    }
}

/// Tells whether a text says elsewhere what is given, or holds templates for others.
fn said_before(text: &str, at: usize) -> bool {
    let lower = text.to_ascii_lowercase();
    text.contains("$ARGUMENTS")
        || text.contains("$1")
        || ["template", "gemini", "replace", "placeholder"].iter().any(|word| lower.contains(word))
        // In a block of another language it is that language's.
        || text[..at].matches("```").count() % 2 == 1
}

/// Tells whether a byte stands in a block of shell.
fn in_shell(asset: &Asset, at: usize) -> bool {
    let fence = asset.definition.document.fence_at(u32::try_from(at).unwrap_or(u32::MAX));
    fence.is_some_and(|fence| matches!(fence.info.trim(), "bash" | "sh" | "shell" | "zsh" | "console" | "!"))
}

/// A hint that promises more arguments than are read by their places.
fn hinted(report: &mut Report<'_>, asset: &Asset, file: &File, from_zero: bool) {
    let Some(hint) = asset.definition.text("argument-hint") else { return };
    let text = &file.text[asset.definition.body as usize..];
    // `<flag> <percent> [environment]`: each word of its own in brackets is one; anything else may be several.
    let words: Vec<&str> = hint.text.split_whitespace().collect();
    if first_unread(report, asset, text, hint) {
        return;
    }
    if words.len() < 2 || !words.iter().all(|word| is_plain(word)) {
        return;
    }
    let Some((form, read)) = read_by_places(text) else { return };
    // Older clients counted from one, and so do many who write: only what stands beside says that it is counted from nought.
    if from_zero && form == Form::FromOne && read.iter().max() == Some(&words.len()) {
        let message = format!(
            "the first argument, `{}`, is never read: `$0` is the first, and `$1` the second",
            words[0]
        );
        let hint_to = if from_zero { "count from `$0`, as the other commands do" } else { "count from `$0`" };
        // Older clients counted from one: whoever has but those is served well.
        let sure = if from_zero { Confidence::High } else { Confidence::Medium };
        report.add(asset.file, hint.span, message).confidence(sure).hint(hint_to).done();
        return;
    }
    let Some(last) = read.iter().copied().max().filter(|&last| last < words.len()) else { return };
    if !read.contains(&1) {
        return;
    }
    let names: Vec<String> = words[last..].iter().map(|word| format!("`{word}`")).collect();
    // What goes to one place, whatever is asked for, goes to the wrong one.
    let fixed = fixed::flag(text, &words[last..]);
    let stands = fixed.map_or(String::new(), |flag| format!(": `{flag}` stands there for good"));
    let message = format!(
        "the hint promises {}, and the text reads no argument behind `{}`{stands}",
        names.join(", "),
        form.written(last)
    );
    report
        .add(asset.file, hint.span, message)
        .severity(if fixed.is_some() { Severity::High } else { RULE.severity })
        .hint(format!("read it as `{}`, or drop it from the hint", form.written(last + 1)))
        .done();
}

/// How a text takes arguments by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `$1` is the first.
    FromOne,
    /// `$0` is the first.
    FromZero,
    /// `$ARGUMENTS[0]` is the first.
    Indexed,
}

impl Form {
    /// Returns how the argument at a place, from 1, is written.
    fn written(self, place: usize) -> String {
        match self {
            Self::FromOne => format!("${place}"),
            Self::FromZero => format!("${}", place - 1),
            Self::Indexed => format!("$ARGUMENTS[{}]", place - 1),
        }
    }
}

/// Finds which arguments a text reads, by places from 1, if it takes none of them but by their places.
fn read_by_places(text: &str) -> Option<(Form, Vec<usize>)> {
    let number = |rest: &str| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        // `$0.50` is money.
        let money = rest[digits..]
            .strip_prefix(['.', ','])
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        rest[..digits].parse::<usize>().ok().filter(|_| digits == 1 && !money)
    };
    let (mut plain, mut indexed) = (Vec::new(), Vec::new());
    for (at, _) in text.match_indices('$') {
        let rest = &text[at + 1..];
        if rest.starts_with(['@', '*']) {
            return None;
        }
        if let Some(rest) = rest.strip_prefix("ARGUMENTS") {
            indexed.push(rest.strip_prefix('[').and_then(number)?);
        }
        plain.extend(number(rest.strip_prefix('{').unwrap_or(rest)).filter(|_| !of_script(text, at)));
    }
    let next = |places: Vec<usize>| places.into_iter().map(|place| place + 1).collect();
    match (plain.is_empty(), indexed.is_empty()) {
        (true, false) => Some((Form::Indexed, next(indexed))),
        (false, true) if plain.contains(&0) => {
            // `$0` of a shell or of awk is no argument of the command.
            let shell =
                ["awk", "$0:", "basename", "dirname", "BASH_SOURCE"].iter().any(|word| text.contains(word));
            (!shell).then(|| (Form::FromZero, next(plain)))
        }
        (false, true) => Some((Form::FromOne, plain)),
        _ => None,
    }
}

/// How many bytes before a parameter its script may begin.
const SCRIPT_MAX: usize = 1000;

/// Tells whether a `$` is one of a script's or a function's own, which the block holds: `sh -c ' file="$1"`.
fn of_script(text: &str, at: usize) -> bool {
    let line = text[line::start(text, at)..at].trim_start();
    let set = line.strip_prefix("local ").unwrap_or(line).trim_end_matches('"').strip_suffix('=');
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !set.is_some_and(is_name) {
        return false;
    }
    let from = (at.saturating_sub(SCRIPT_MAX)..=at).find(|&from| text.is_char_boundary(from)).unwrap_or(at);
    let block = text[from..at].rsplit("```").next().unwrap_or_default();
    ["sh -c '", "() {", "(){", "#!/"].iter().any(|head| block.contains(head))
}

/// Returns the names that are declared under `arguments`: a list, or a text in which blanks part them.
fn names(definition: &Definition) -> Vec<Named> {
    let items = definition.items("arguments").iter().flat_map(|item| {
        let base = item.span.end as usize - item.text.len().min(item.span.end as usize);
        item.text.split_whitespace().map(move |word| {
            let at = base + line::offset(&item.text, word);
            Named { text: word.to_owned(), span: Span::new(at, at + word.len()) }
        })
    });
    items.collect()
}

/// Names that are declared under `arguments` and used nowhere, while others are.
fn declared(report: &mut Report<'_>, asset: &Asset, file: &File) {
    let text = &file.text[asset.definition.body as usize..];
    let whole = |name: &str| {
        text.match_indices(name).any(|(at, _)| {
            !text[at + name.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    let used = |argument: &Named| {
        whole(&format!("${}", argument.text)) || text.contains(&format!("${{{}}}", argument.text))
    };
    let arguments = names(&asset.definition);
    misnamed(report, asset, text, &arguments);
    if text.contains("$ARGUMENTS")
        || text.contains("$0")
        || text.contains("$1")
        || !arguments.iter().any(used)
    {
        return;
    }
    for argument in arguments.iter().filter(|argument| !used(argument)) {
        let message =
            format!("argument `{}` is declared, and `${}` is used nowhere", argument.text, argument.text);
        report.add(asset.file, argument.span, message).severity(Severity::High).done();
    }
}

/// A name behind a `$` that is nearly one of those that are declared, and none of them.
fn misnamed(report: &mut Report<'_>, asset: &Asset, text: &str, arguments: &[Named]) {
    if arguments.is_empty() {
        return;
    }
    let body = asset.definition.body as usize;
    let found = text.match_indices('$').find_map(|(at, _)| {
        let rest = text[at + 1..].strip_prefix('{').unwrap_or(&text[at + 1..]);
        let end =
            rest.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-'));
        let name = rest[..end.unwrap_or(rest.len())].trim_end_matches('-');
        let is_new = name.len() > 2 && arguments.iter().all(|argument| argument.text != name);
        // What the text sets itself is its own.
        let set = [format!("{name}="), format!("for {name} in"), format!("read {name}")];
        if !is_new || set.iter().any(|set| text.contains(set.as_str())) {
            return None;
        }
        let near = |argument: &&Named| {
            let part = |long: &str, short: &str| {
                short.len() > 2 && long.strip_prefix(short).is_some_and(|rest| rest.starts_with(['_', '-']))
            };
            part(name, &argument.text)
                || part(&argument.text, name)
                || suggest::mistyped(name, [&*argument.text], 2).is_some()
        };
        let argument = arguments.iter().find(near)?;
        let start = body + line::offset(text, name);
        Some((Span::new(start, start + name.len()), name, argument))
    });
    let Some((span, name, argument)) = found else {
        undeclared(report, asset, text, arguments);
        return;
    };
    let message = format!("`${name}` is never filled in: the argument is called `{}`", argument.text);
    let draft = report.add(asset.file, span, message).severity(Severity::High);
    let draft = draft.hint(format!("write `${}`", argument.text));
    draft.also(asset.file, argument.span, "declared here").done();
}

/// A name behind a `$` in a path, where arguments that are declared are written so too, and that is none of them. Only what
/// is declared is filled in.
/// Source: <https://code.claude.com/docs/en/skills> ("Available string substitutions"), as of 2026-08.
fn undeclared(report: &mut Report<'_>, asset: &Asset, text: &str, arguments: &[Named]) {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named = |at: usize| {
        let name = &text[at + 1..];
        &name[..name.find(|c: char| !is_word(c)).unwrap_or(name.len())]
    };
    let is_declared = |name: &str| arguments.iter().any(|argument| argument.text == name);
    let places: Vec<usize> = text.match_indices('$').map(|(at, _)| at).collect();
    if !places.iter().any(|at| is_declared(named(*at))) {
        return;
    }
    let body = asset.definition.body as usize;
    let marks = &asset.definition.document.marks;
    let found = places.iter().find_map(|&at| {
        let name = named(at);
        let mark = marks.iter().find(|mark| mark.code && mark.span.range().contains(&(body + at)))?;
        // A path, and no line of a shell, which may have variables of its own.
        // Names of modules begin with `$`, too: `$lib/forms`.
        let path = !mark.text.starts_with('$') && !mark.text.contains([' ', '(', '{', ';', '|', '=']);
        let part = text[..at].ends_with('/');
        let small = name.len() > 2 && name.starts_with(|c: char| c.is_ascii_lowercase());
        // What the text sets or explains itself is its own.
        let set = [format!("{name}="), format!("for {name} in"), format!("read {name}"), format!("${name}`")];
        let own = set.iter().any(|set| text.contains(set.as_str()));
        (path && part && small && !own && !is_declared(name))
            .then(|| Span::new(body + at, body + at + 1 + name.len()))
    });
    let Some(span) = found else { return };
    let names: Vec<&str> = arguments.iter().map(|argument| &*argument.text).collect();
    let message = format!(
        "`{}` is never filled in: the arguments are {}",
        &text[span.start as usize - body..span.end as usize - body],
        rule::names(names)
    );
    let draft = report.add(asset.file, span, message).severity(Severity::High);
    let draft = draft.hint("write one of those, or declare it under `arguments`");
    draft.also(asset.file, arguments[0].span, "declared here").done();
}

/// A first argument that must be given, of which nothing is read, while a later one is.
fn first_unread(report: &mut Report<'_>, asset: &Asset, text: &str, hint: &Named) -> bool {
    let first = hint.text.split_whitespace().next().unwrap_or_default().trim_matches(['"', '\'']);
    if !(first.starts_with('<') && first.ends_with('>')) {
        return false;
    }
    let Some((Form::FromOne, read)) = read_by_places(text) else { return false };
    if read.iter().min().is_none_or(|&least| least < 2) {
        return false;
    }
    let message =
        format!("the first argument, `{first}`, is never read: it is `$0`, or `$1` with older clients");
    report.add(asset.file, hint.span, message).severity(Severity::High).hint("count from the first").done();
    true
}
