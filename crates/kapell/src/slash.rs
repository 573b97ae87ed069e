//! What is typed behind a slash command, read word by word.
//!
//! A mission is people's prose, so the rules are those of prose and not of a shell: quotes count only where a word
//! begins, apostrophes, backticks and dollars mean themselves, and only what begins with two dashes and a letter is an
//! option. Nothing that is read here is ever put into a shell.

use std::ops::Range;

use kapell_spec::suggest;

/// A command of the host, such as Claude Code, that kapell carries out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// `/meta-orchestrator`
    MetaOrchestrator,
    /// `/improve-orchestration`
    ImproveOrchestration,
    /// `/command-orchestration-workflow`, `/orchestrate`, `/coordinate`
    CommandOrchestrationWorkflow,
    /// `/orchestrate-complex`
    OrchestrateComplex,
}

/// What an option takes.
#[derive(Debug, Clone, Copy)]
enum Takes {
    /// Nothing.
    Nothing,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A probability.
    Confidence,
    /// A number of agents.
    Agents,
    /// Any text.
    Text,
}

struct Opt(&'static str, Takes);

/// The most agents over all levels: the seed of these commands sets it.
const AGENTS_MAX: u32 = 10;

const META: &[Opt] = &[
    Opt("complexity", Takes::Word(&["low", "medium", "high", "extreme"])),
    Opt("coordination", Takes::Word(&["hierarchical", "peer-to-peer", "hybrid", "adaptive"])),
    Opt("resources", Takes::Word(&["balanced", "specialized", "adaptive", "optimal"])),
    Opt("timeline", Takes::Word(&["hours", "days", "weeks", "months"])),
    Opt("agents", Takes::Agents),
    Opt("budget", Takes::Text),
];

const IMPROVE: &[Opt] = &[
    Opt("scope", Takes::Word(&["claude-code", "production", "github", "all"])),
    Opt("depth", Takes::Word(&["quick", "standard", "deep"])),
    Opt("focus", Takes::Word(&["performance", "resilience", "conflicts", "state", "all"])),
    Opt("output", Takes::Word(&["report", "full", "recommendations"])),
    Opt("implement", Takes::Nothing),
    Opt("dry-run", Takes::Nothing),
    Opt("validate-only", Takes::Nothing),
];

/// Of these at most one.
const IMPROVE_MODES: [&str; 3] = ["implement", "dry-run", "validate-only"];

const WORKFLOW: &[Opt] =
    &[Opt("confidence", Takes::Confidence), Opt("agents", Takes::Agents), Opt("budget", Takes::Text)];

const COMPLEX: &[Opt] = &[
    Opt("pattern", Takes::Word(&["plan-then-execute", "hierarchical", "blackboard", "event-sourcing"])),
    Opt("agents", Takes::Agents),
    Opt("budget", Takes::Text),
];

impl Name {
    /// All names, aliases among them, each with what it means.
    pub const ALL: [(&'static str, Self); 6] = [
        ("meta-orchestrator", Self::MetaOrchestrator),
        ("improve-orchestration", Self::ImproveOrchestration),
        ("command-orchestration-workflow", Self::CommandOrchestrationWorkflow),
        ("orchestrate", Self::CommandOrchestrationWorkflow),
        ("coordinate", Self::CommandOrchestrationWorkflow),
        ("orchestrate-complex", Self::OrchestrateComplex),
    ];

    /// Finds a command by its name, with or without the slash and the plugin's name before it.
    pub fn find(name: &str) -> Option<Self> {
        let name = name.trim_start_matches('/');
        let name = name.strip_prefix("kapell:").unwrap_or(name);
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, meant)| meant)
    }

    fn options(self) -> &'static [Opt] {
        match self {
            Self::MetaOrchestrator => META,
            Self::ImproveOrchestration => IMPROVE,
            Self::CommandOrchestrationWorkflow => WORKFLOW,
            Self::OrchestrateComplex => COMPLEX,
        }
    }

    fn needs_mission(self) -> bool {
        self != Self::ImproveOrchestration
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The command.
    pub name: Name,
    /// The mission, word for word.
    pub mission: Option<String>,
    /// Options in the order in which they were given, with their values.
    pub options: Vec<(&'static str, Option<String>)>,
}

impl Asked {
    /// Returns the value of an option.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(known, _)| *known == name).and_then(|(_, value)| value.as_deref())
    }
}

/// Why what was typed cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct SlashError {
    what: String,
    /// What can be typed instead.
    pub hint: String,
}

fn error(what: impl Into<String>, hint: impl Into<String>) -> SlashError {
    SlashError { what: what.into(), hint: hint.into() }
}

/// A word of the raw text.
#[derive(Debug, PartialEq, Eq)]
struct Word {
    text: String,
    at: Range<usize>,
    /// It stood between quotes.
    quoted: bool,
}

/// Reads what was typed behind the command, exactly as it was typed.
///
/// # Errors
///
/// Fails on options that the command does not have, values that they do not take, and a mission that is missing.
pub fn parse(name: Name, raw: &str) -> Result<Asked, SlashError> {
    let mut asked = Asked { name, mission: None, options: Vec::new() };
    let mut prose: Vec<Word> = Vec::new();
    let mut last = None;
    let mut words = words(raw)?.into_iter().peekable();
    while let Some(word) = words.next() {
        if word.text == "--" && !word.quoted {
            last = Some(raw[word.at.end..].trim());
            break;
        }
        let Some(option) = option_of(&word) else {
            prose.push(word);
            continue;
        };
        let (found, given) = known(name, option)?;
        let value = match (found.1, given) {
            (Takes::Nothing, None) => None,
            (Takes::Nothing, Some(_)) => {
                return Err(error(format!("`--{}` takes no value", found.0), format!("--{}", found.0)));
            }
            (takes, Some(value)) => Some(checked(found.0, takes, &value)?),
            (takes, None) => {
                let next =
                    words.next_if(|next| option_of(next).is_none() && (next.quoted || next.text != "--"));
                let next = next.ok_or_else(|| needs_value(found.0, takes))?;
                Some(checked(found.0, takes, &next.text)?)
            }
        };
        if asked.options.iter().any(|(known, _)| *known == found.0) {
            return Err(error(format!("`--{}` is given twice", found.0), "give it once"));
        }
        asked.options.push((found.0, value));
    }
    if let Some(last) = last {
        let before = verbatim(raw, &prose);
        let both =
            [before.as_str(), last].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>();
        asked.mission = Some(both.join(" "));
    } else {
        settle(&mut asked, raw, prose)?;
    }
    asked.mission = asked.mission.filter(|mission| !mission.trim().is_empty());
    finish(asked)
}

/// Tells what of the prose is the mission and what are confidence and number of agents.
fn settle(asked: &mut Asked, raw: &str, mut prose: Vec<Word>) -> Result<(), SlashError> {
    let positional = asked.name == Name::CommandOrchestrationWorkflow;
    let is_one_quote = prose.first().is_some_and(|word| word.quoted)
        && (prose.len() == 1 || positional && prose.len() <= 3 && prose[1..].iter().all(|word| !word.quoted));
    let mut numbers = Vec::new();
    if is_one_quote {
        numbers = prose.split_off(1);
    } else if positional && asked.options.is_empty() {
        // In prose a number alone is prose ("in under 5"), so only what looks like a probability is taken for one.
        let looks =
            |word: &Word| !word.quoted && word.text.contains(['.', '%']) && confidence(&word.text).is_some();
        let counts = |word: &Word| !word.quoted && agents(&word.text).is_some();
        let taken = match prose.as_slice() {
            [_, .., before, last] if looks(before) && counts(last) => 2,
            [_, .., last] if looks(last) => 1,
            _ => 0,
        };
        numbers = prose.split_off(prose.len() - taken);
    }
    for (index, word) in numbers.iter().enumerate() {
        let (name, takes) =
            if index == 0 { ("confidence", Takes::Confidence) } else { ("agents", Takes::Agents) };
        if asked.options.iter().any(|(known, _)| *known == name) {
            return Err(error(format!("the {name} is given twice"), "give it once"));
        }
        asked.options.push((name, Some(checked(name, takes, &word.text)?)));
    }
    asked.mission = Some(if is_one_quote { prose.remove(0).text } else { verbatim(raw, &prose) });
    Ok(())
}

fn finish(asked: Asked) -> Result<Asked, SlashError> {
    if asked.name.needs_mission() && asked.mission.is_none() {
        return Err(error("there is no mission", "give a workflow file, or the mission in quotes"));
    }
    let modes: Vec<_> =
        asked.options.iter().map(|(name, _)| *name).filter(|name| IMPROVE_MODES.contains(name)).collect();
    if let [first, second, ..] = modes.as_slice() {
        return Err(error(
            format!("`--{first}` and `--{second}` exclude each other"),
            format!("--{first}, or --{second}"),
        ));
    }
    Ok(asked)
}

/// Returns the raw text of some words, with what stands between neighbours as it is, and options left out.
fn verbatim(raw: &str, prose: &[Word]) -> String {
    let mut text = String::new();
    let mut end = None;
    for word in prose {
        match end {
            // Only white space between them: they are neighbours.
            Some(end) if raw[end..word.at.start].trim().is_empty() => text.push_str(&raw[end..word.at.start]),
            Some(_) => text.push(' '),
            None => {}
        }
        text.push_str(&raw[word.at.clone()]);
        end = Some(word.at.end);
    }
    text
}

/// Returns an option's text without its dashes, if the word is one.
fn option_of(word: &Word) -> Option<&str> {
    let rest = word.text.strip_prefix("--").filter(|_| !word.quoted)?;
    rest.starts_with(|first: char| first.is_ascii_alphabetic()).then_some(rest)
}

fn known(name: Name, option: &str) -> Result<(&'static Opt, Option<String>), SlashError> {
    let (word, value) =
        option.split_once('=').map_or((option, None), |(word, value)| (word, Some(value.to_owned())));
    if let Some(found) = name.options().iter().find(|known| known.0 == word) {
        return Ok((found, value));
    }
    let names = || name.options().iter().map(|option| option.0);
    let hint = match suggest::nearest(word, names()) {
        Some(near) => format!("did you mean `--{near}`?"),
        None => {
            let all: Vec<String> = names().map(|name| format!("--{name}")).collect();
            format!("options are {}; a mission that has such a word stands in quotes", all.join(", "))
        }
    };
    Err(error(format!("there is no option `--{word}`"), hint))
}

fn needs_value(name: &str, takes: Takes) -> SlashError {
    let example = match takes {
        Takes::Word(words) => words.join("|"),
        Takes::Confidence => "0.8".to_owned(),
        Takes::Agents => "4".to_owned(),
        Takes::Text | Takes::Nothing => "5usd,2M,2h".to_owned(),
    };
    error(format!("`--{name}` needs a value"), format!("--{name}={example}"))
}

/// Returns a value in the form in which the program takes it.
fn checked(name: &str, takes: Takes, value: &str) -> Result<String, SlashError> {
    match takes {
        Takes::Word(words) if words.contains(&value) => Ok(value.to_owned()),
        Takes::Word(words) => {
            let hint = suggest::nearest(value, words.iter().copied())
                .map_or_else(|| words.join(", "), |near| format!("did you mean `{near}`?"));
            Err(error(format!("`{value}` is no value of `--{name}`"), hint))
        }
        Takes::Confidence => confidence(value)
            .map(|value| value.to_string())
            .ok_or_else(|| error(format!("`{value}` is no confidence"), "a number from 0 to 1, or 85%")),
        Takes::Agents => agents(value).map(|value| value.to_string()).ok_or_else(|| {
            error(
                format!("`{value}` is no number of agents"),
                format!("a whole number from 1 to {AGENTS_MAX}"),
            )
        }),
        Takes::Text if value.is_empty() => Err(needs_value(name, takes)),
        Takes::Text | Takes::Nothing => Ok(value.to_owned()),
    }
}

fn confidence(text: &str) -> Option<f64> {
    let value = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    (0.0..=1.0).contains(&value).then_some(value)
}

fn agents(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| (1..=AGENTS_MAX).contains(number))
}

/// Splits a raw text into words.
fn words(raw: &str) -> Result<Vec<Word>, SlashError> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(skip) = raw[at..].find(|c: char| !c.is_whitespace()) {
        at += skip;
        let rest = &raw[at..];
        let (text, length, quoted) = match quoted(rest)? {
            Some((text, length)) => (text, length, true),
            None => unquoted(rest)?,
        };
        words.push(Word { text, at: at..at + length, quoted });
        at += length;
    }
    Ok(words)
}

/// Reads a word that begins with no quote. In `--name="a value"` the value may have some.
fn unquoted(rest: &str) -> Result<(String, usize, bool), SlashError> {
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let value = rest[..end].find('=').filter(|_| rest.starts_with("--")).map(|equals| equals + 1);
    if let Some(value) = value
        && let Some((text, length)) = quoted(&rest[value..])?
    {
        return Ok((format!("{}{text}", &rest[..value]), value + length, false));
    }
    Ok((rest[..end].to_owned(), end, false))
}

/// Reads a word between quotes. A quote ends where a closing one stands at the end of a word, so that apostrophes and
/// inches within are themselves.
fn quoted(rest: &str) -> Result<Option<(String, usize)>, SlashError> {
    let open = rest.chars().next().unwrap_or(' ');
    let close = match open {
        '"' | '\'' => open,
        '“' => '”',
        '‘' => '’',
        _ => return Ok(None),
    };
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        if c == '\\' && open == '"' && matches!(next, Some('"' | '\\')) {
            text.extend(next);
            chars.next();
        } else if c == close && next.is_none_or(char::is_whitespace) {
            return Ok(Some((text, at + c.len_utf8())));
        } else {
            text.push(c);
        }
    }
    match open {
        // 'tis an apostrophe, then.
        '\'' | '‘' => Ok(None),
        _ => Err(error(
            format!("the quote {open} is not closed"),
            format!("put a {close} at the end of the mission"),
        )),
    }
}

#[cfg(test)]
mod tests;
