//! What the server understands of a request, whichever API it came by.

use std::path::Path;

use crate::script::MARKER;

/// A request, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Talk {
    /// The name of the scenario.
    pub(crate) marker: Option<String>,
    /// How many results of tools came after the marker.
    pub(crate) results: usize,
    /// The names of the tools that are offered.
    pub(crate) tools: Vec<String>,
    /// Where the client works, if it says so.
    pub(crate) cwd: Option<String>,
    /// The model that is asked for.
    pub(crate) model: String,
    /// Whether the reply shall keep to a schema: then the last turn is played.
    pub(crate) wants_structure: bool,
    /// Whether the reply shall come as a stream of events.
    pub(crate) streams: bool,
}

/// A part of a conversation.
pub(crate) enum Part<'a> {
    /// What a person, or the client on behalf of one, says.
    Text(&'a str),
    /// What a tool gave.
    Result,
}

impl Talk {
    /// Takes the next part of the conversation, in order.
    pub(crate) fn hear(&mut self, part: &Part<'_>) {
        match part {
            Part::Result => self.results += 1,
            Part::Text(text) => {
                self.look_for_directory(text);
                if let Some(name) = marker(text) {
                    self.marker = Some(name.to_owned());
                    self.results = 0;
                }
            }
        }
    }

    /// Clients tell the model in which directory they are, each in words of its own.
    pub(crate) fn look_for_directory(&mut self, text: &str) {
        const WORDS: &[&str] = &[
            "Primary working directory: ",
            "working directory: ",
            "Working directory: ",
            "<cwd>",
            "working in the directory: ",
            "**Workspace Directories:**\n  - ",
            "directories:\n  - ",
        ];
        for words in WORDS {
            let Some((_, rest)) = text.split_once(words) else { continue };
            let path = rest.split(['\n', '<', '`']).next().unwrap_or_default().trim();
            if Path::new(path).is_absolute() {
                self.cwd = Some(path.to_owned());
                return;
            }
        }
    }

    /// Returns the path as clients want it that take absolute ones only.
    pub(crate) fn absolute(&self, path: &str) -> String {
        match &self.cwd {
            Some(cwd) => Path::new(cwd).join(path).display().to_string(),
            None => path.to_owned(),
        }
    }

    /// Tells whether a tool is offered.
    pub(crate) fn offers(&self, tool: &str) -> bool {
        self.tools.iter().any(|offered| offered == tool)
    }
}

/// Returns the name after the last marker of a text.
fn marker(text: &str) -> Option<&str> {
    let (_, rest) = text.rsplit_once(MARKER)?;
    let end = rest.find(|each: char| !(each.is_ascii_alphanumeric() || "-_".contains(each)));
    let name = &rest[..end.unwrap_or(rest.len())];
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_from_the_last_marker_on() {
        let mut talk = Talk::default();
        for part in [
            Part::Text("please mock:first."),
            Part::Result,
            Part::Text("and now `mock:second`"),
            Part::Result,
            Part::Result,
            Part::Text("a reminder of the client's own"),
        ] {
            talk.hear(&part);
        }
        assert_eq!((talk.marker.as_deref(), talk.results), (Some("second"), 2));
    }

    #[test]
    fn the_directory_is_found_in_the_words_of_each_client() {
        for text in [
            " - Primary working directory: /w/a\n - Is git",
            "<environment_context>\n  <cwd>/w/a</cwd>",
            "  Working directory: /w/a\n  Is directory a git repo: yes",
            "I'm currently working in the directory: /w/a\nHere is",
        ] {
            let mut talk = Talk::default();
            talk.look_for_directory(text);
            assert_eq!(talk.cwd.as_deref(), Some("/w/a"), "{text}");
        }
    }
}
