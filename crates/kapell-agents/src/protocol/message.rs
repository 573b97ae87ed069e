//! Requests and replies: one line of JSON each.

use serde::{Deserialize, Serialize};

/// A text that an agent says is at most this long, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 16 << 10;
/// A question has at most so many choices, each of at most [`CHOICE_BYTES_MAX`] bytes.
pub(super) const CHOICES_MAX: usize = 32;
/// See [`CHOICES_MAX`].
pub(super) const CHOICE_BYTES_MAX: usize = 1 << 10;

/// What an agent sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The name of its attempt, from `KAPELL_ATTEMPT_ID`.
    pub attempt: String,
    /// The secret of its attempt, from `KAPELL_TOKEN`.
    pub token: String,
    /// What it wants.
    pub wish: Wish,
}

/// What an agent wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Wish {
    /// To give an output.
    Output {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// To say how far it is.
    Progress {
        /// From 0 to 1.
        fraction: f64,
        /// What it says besides.
        #[serde(default)]
        text: String,
    },
    /// To say something that should be kept.
    Note {
        /// What it says.
        text: String,
    },
    /// That another agent goes on with its task once it has ended.
    HandOff {
        /// The name of the agent; whoever is next if there is none.
        #[serde(default)]
        to: Option<String>,
        /// What the next one should know.
        note: String,
    },
    /// To read what it was given: all that is essential, or one section by its name.
    Brief {
        /// The name of the section.
        #[serde(default)]
        section: Option<String>,
    },
    /// To read the names of what it was given.
    Sections,
    /// To ask a person. The reply comes when the answer is there.
    Ask {
        /// What it asks.
        question: String,
        /// What can be answered; anything if empty.
        #[serde(default)]
        choices: Vec<String>,
    },
}

/// What kapell replies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is done.
    Done,
    /// What was asked for: a person's answer, or what there is to read.
    Answer {
        /// The answer.
        text: String,
    },
    /// It is refused.
    Refused {
        /// Why.
        why: String,
    },
}

impl Wish {
    /// Checks the sizes and numbers of a wish; names and sizes of outputs are checked where they are kept.
    pub(super) fn check(&self) -> Result<(), String> {
        let short = |text: &str| {
            if text.len() > TEXT_BYTES_MAX {
                return Err(format!("the text is longer than {TEXT_BYTES_MAX} bytes"));
            }
            Ok(())
        };
        match self {
            Self::Output { .. } => Ok(()),
            Self::Progress { fraction, .. } if !(0.0..=1.0).contains(fraction) => {
                Err("progress is a number from 0 to 1".to_owned())
            }
            Self::Progress { text, .. } => short(text),
            Self::Note { text } => short(text),
            Self::HandOff { note, .. } if note.trim().is_empty() => {
                Err("whoever goes on must know what: the note is empty".to_owned())
            }
            Self::HandOff { note, .. } => short(note),
            Self::Brief { section } => section.as_deref().map_or(Ok(()), short),
            Self::Sections => Ok(()),
            Self::Ask { question, choices } => {
                if question.trim().is_empty() {
                    return Err("the question is empty".to_owned());
                }
                if choices.len() > CHOICES_MAX
                    || choices.iter().any(|choice| choice.len() > CHOICE_BYTES_MAX || choice.is_empty())
                {
                    return Err(format!(
                        "a question has at most {CHOICES_MAX} choices, each of 1 to {CHOICE_BYTES_MAX} bytes"
                    ));
                }
                short(question)
            }
        }
    }
}
