//! The brief of an attempt: what an attempt is given to read, the essential first, within a number of tokens.
//!
//! Everything that others wrote (outputs, changes, notes, failures of commands, files of the repository) stands within a
//! fence that its text cannot close, labelled with where it comes from. What does not fit is named, and can be asked
//! for: `kapell task brief NAME`, or the tool `brief`.

mod fence;

use kapell_core::text::is_deceptive;

pub use self::fence::{fenced, inline, instructions};

/// How many bytes of text are counted as one token.
///
/// Providers say that a token is about four characters of English ("What are tokens and how to count them?", OpenAI);
/// code and other scripts take more tokens, so three errs on the side of counting too many. Nothing is sent anywhere to
/// count.
pub const BYTES_PER_TOKEN: usize = 3;

/// How many tokens a brief may have, if nobody says otherwise: a tenth of the smallest window of a model that is in use
/// for such work (200,000), so that nine tenths are left for the work.
pub const TOKENS_MAX: u64 = 20_000;

/// A section that is cut is not cut below so many tokens; it is left out then.
const PART_TOKENS_MIN: u64 = 60;

/// What is kept for the list of what is left out, in tokens.
const INDEX_TOKENS: u64 = 300;

/// The most sections that are named as left out.
const NAMED_MAX: usize = 40;

/// Returns how many tokens a text is estimated to have.
#[must_use]
pub fn tokens(text: &str) -> u64 {
    text.len().div_ceil(BYTES_PER_TOKEN) as u64
}

/// Who wrote a text, and so how far it can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// kapell, or the person who wrote the workflow: it is what the agent works by.
    Own,
    /// A file of the repository that says how to work there. It is followed, but can widen nothing.
    Repository(String),
    /// Somebody else; the words say who. It is data.
    Other(String),
}

/// What becomes of a section that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It is there whole, whatever it takes.
    Whole,
    /// Its beginning is there, if there is room for some of it.
    Beginning,
    /// It is there whole, or only named.
    AllOrNothing,
}

/// A part of what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// By what it is asked for, such as `outputs:parser`.
    pub name: String,
    /// What it is, as a heading.
    pub title: String,
    /// Who wrote it.
    pub origin: Origin,
    /// What becomes of it if it is too long.
    pub keep: Keep,
    /// What it says.
    pub text: String,
}

/// All that is known about a task, the essential first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Material {
    sections: Vec<Section>,
}

/// What an attempt is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brief {
    /// The text.
    pub text: String,
    /// The names of sections of which something is not in the text.
    pub left_out: Vec<String>,
}

impl Section {
    /// Returns how it is written, with `text` of it.
    fn shown(&self, text: &str, note: &str) -> String {
        let text = match &self.origin {
            Origin::Own => clean(text).trim_end().to_owned(),
            Origin::Repository(file) => instructions(file, text),
            Origin::Other(from) => fenced(from, &one_line(&self.name), text),
        };
        format!("# {}\n\n{text}\n{note}", one_line(&self.title))
    }

    fn whole(&self) -> String {
        self.shown(&self.text, "")
    }

    /// Returns as much of it as fits into `tokens_max`; nothing if that is too little to be of use.
    fn part(&self, tokens_max: u64) -> Option<String> {
        if self.keep != Keep::Beginning || tokens_max < PART_TOKENS_MIN {
            return None;
        }
        let note = format!("\n[The rest is not shown: ask for `{}`.]\n", one_line(&self.name));
        let mut room = usize::try_from(tokens_max).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN);
        // Escaping makes a text longer, by how much shows only then.
        for _ in 0..8 {
            let end = (0..=room.min(self.text.len())).rev().find(|at| self.text.is_char_boundary(*at))?;
            let cut = &self.text[..end];
            let cut = cut.rfind('\n').map_or(cut, |at| &cut[..at]);
            let shown = self.shown(cut, &note);
            if tokens(&shown) <= tokens_max {
                return (!cut.trim().is_empty()).then_some(shown);
            }
            room = room * 3 / 4;
        }
        None
    }
}

impl Material {
    /// Adds a section after those that are there; one without text is left away.
    pub fn add(&mut self, section: Section) {
        if !section.text.trim().is_empty() {
            self.sections.push(section);
        }
    }

    /// Returns the sections.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Returns one section whole, as it is asked for by name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<String> {
        self.sections.iter().find(|section| section.name == name).map(Section::whole)
    }

    /// Writes the brief in at most `tokens_max` tokens, unless what must be there whole takes more.
    #[must_use]
    pub fn brief(&self, tokens_max: u64) -> Brief {
        let must: u64 = self
            .sections
            .iter()
            .filter(|one| one.keep == Keep::Whole)
            .map(|one| tokens(&one.whole()) + 1)
            .sum();
        let all: u64 = self.sections.iter().map(|one| tokens(&one.whole()) + 1).sum();
        let index = if all > tokens_max { INDEX_TOKENS } else { 0 };
        let mut room = tokens_max.saturating_sub(must + index);
        let mut brief = Brief::default();
        for section in &self.sections {
            let whole = section.whole();
            let size = tokens(&whole) + 1;
            let shown = match section.keep {
                Keep::Whole => Some(whole),
                _ if size <= room => {
                    room -= size;
                    Some(whole)
                }
                _ => {
                    brief.left_out.push(section.name.clone());
                    let part = section.part(room.saturating_sub(1));
                    room -= part.as_ref().map_or(0, |part| (tokens(part) + 1).min(room));
                    part
                }
            };
            if let Some(shown) = shown {
                brief.text.push_str(&shown);
                brief.text.push('\n');
            }
        }
        if !brief.left_out.is_empty() {
            brief.text.push_str(&self.rest(&brief.left_out));
        }
        brief
    }

    /// Names what is not shown.
    fn rest(&self, left_out: &[String]) -> String {
        let mut text = "# Not shown\n\nMore is known; ask for it by name with the tool `brief`, or `kapell task brief NAME`:\n\n"
            .to_owned();
        let sections = self.sections.iter().filter(|section| left_out.contains(&section.name));
        for (at, section) in sections.enumerate() {
            let line = format!("- `{}`: about {} tokens\n", one_line(&section.name), tokens(&section.text));
            let is_last = at + 1 == NAMED_MAX && left_out.len() > NAMED_MAX;
            if is_last || tokens(&text) + tokens(&line) + 20 > INDEX_TOKENS {
                text.push_str(&format!("- and {} more: `kapell task brief --list`\n", left_out.len() - at));
                break;
            }
            text.push_str(&line);
        }
        text
    }

    /// Lists the sections: name, heading and estimated tokens, one a line.
    #[must_use]
    pub fn list(&self) -> String {
        let line = |section: &Section| {
            let (name, title) = (one_line(&section.name), one_line(&section.title));
            format!("{name}\t{title}\t{}\n", tokens(&section.text))
        };
        self.sections.iter().map(line).collect()
    }
}

/// Puts a text on one line in which nothing deceives: for headings and labels.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if is_deceptive(c) { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// Replaces what deceives, but for ends of lines and tabs.
fn clean(text: &str) -> String {
    text.chars().map(|c| if is_deceptive(c) && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(name: &str, origin: Origin, keep: Keep, text: &str) -> Section {
        Section { name: name.to_owned(), title: format!("About {name}"), origin, keep, text: text.to_owned() }
    }

    fn material() -> Material {
        let mut material = Material::default();
        material.add(section("task", Origin::Own, Keep::Whole, "Fix it.\n"));
        let lines: String = (0..200).map(|line| format!("line {line} of what was found\n")).collect();
        let from = || Origin::Other("task `look`".to_owned());
        material.add(section("outputs:look", from(), Keep::Beginning, &lines));
        material.add(section("diff:look", from(), Keep::AllOrNothing, &lines));
        material.add(section("nothing", Origin::Own, Keep::Whole, "  \n"));
        material
    }

    #[test]
    fn the_essential_is_there_and_the_rest_is_named() {
        let brief = material().brief(700);
        assert!(tokens(&brief.text) <= 700, "{}", tokens(&brief.text));
        assert_eq!(brief.left_out, ["outputs:look", "diff:look"]);
        assert!(brief.text.starts_with("# About task\n\nFix it.\n"), "{}", brief.text);
        assert!(brief.text.contains("line 0 of") && !brief.text.contains("line 199 of"));
        assert!(brief.text.contains("[The rest is not shown: ask for `outputs:look`.]"));
        assert!(brief.text.contains("- `diff:look`: about"));
        let whole = material().section("diff:look").unwrap();
        assert!(whole.contains("line 199 of"));
        assert_eq!(material().section("nothing"), None);
    }

    #[test]
    fn with_room_nothing_is_left_out() {
        let brief = material().brief(TOKENS_MAX);
        assert_eq!(brief.left_out, [""; 0]);
        assert!(!brief.text.contains("Not shown"));
    }

    #[test]
    fn what_must_be_there_is_there_however_small_the_budget() {
        let brief = material().brief(0);
        assert!(brief.text.contains("Fix it."));
        assert!(!brief.text.contains("line 0 of"));
    }
}
