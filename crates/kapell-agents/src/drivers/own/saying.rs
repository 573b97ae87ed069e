//! What agents of kapell's own print, one event a line, and how kapell reads it.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use kapell_core::{price::Tokens, retry::FailureClass, time::Wall};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Word;
use crate::drivers::{
    Report,
    client::{
        Ended, Evidence, LINE_BYTES_MAX, Opening, Outgoing, Reader, SAID_BYTES_MAX, Tell, Totals, Verdict,
        head, no_end, refused, short,
    },
};

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::drivers) enum Saying {
    /// A session has begun.
    Session { id: String, model: Option<String> },
    /// A reply of the model begins.
    Step,
    /// It is heard, and has nothing to tell yet: its silence would mean that it hangs.
    Alive,
    /// It says something.
    Said { text: String },
    /// It calls a tool.
    Tool { tool: String, about: String },
    /// A tool has done what it should, or tried to.
    Done { tool: String },
    /// A tool was refused.
    Refused { tool: String, text: String },
    /// Something that should be kept.
    Note { text: String },
    /// What was used so far, in all.
    Usage { tokens: Tokens, usd_micros: Option<u64> },
    /// The provider asks for a pause.
    Limited { until: Option<Wall>, text: String },
    /// It is over. Comes once, last.
    End(End),
}

impl Saying {
    /// Returns it with as much of its texts as is kept of what is said. A result that is too long is none.
    fn cut(mut self) -> Self {
        let shorten = |text: &mut String| text.truncate(head(text, SAID_BYTES_MAX).len());
        let name = |text: &mut String| text.truncate(head(text, SAID_BYTES_MAX / 16).len());
        match &mut self {
            Self::Step | Self::Alive | Self::Usage { .. } => {}
            Self::Session { id, model } => {
                name(id);
                model.iter_mut().for_each(name);
            }
            Self::Tool { tool, about: text } | Self::Refused { tool, text } => {
                name(tool);
                name(text);
            }
            Self::Said { text } | Self::Done { tool: text } | Self::Note { text } => shorten(text),
            Self::Limited { text, .. } => shorten(text),
            Self::End(end) => {
                shorten(&mut end.text);
                let is_long = |result: &Value| result.to_string().len() > SAID_BYTES_MAX;
                if end.class.is_none() && end.structured.take_if(|result| is_long(result)).is_some() {
                    *end = End::failed(FailureClass::InvalidOutput, "its result is too long");
                }
            }
        }
        self
    }
}

/// How it ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::drivers) struct End {
    /// Why it failed; `None` if it did not.
    pub(in crate::drivers) class: Option<FailureClass>,
    /// What it said last, or why it failed.
    pub(in crate::drivers) text: String,
    /// When the provider may be asked again.
    pub(in crate::drivers) until: Option<Wall>,
    /// The result, where one was asked for by a schema.
    pub(in crate::drivers) structured: Option<Value>,
    /// Whether it went away without a word: what it printed last tells why, perhaps.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::drivers) gone: bool,
}

impl End {
    /// It failed.
    pub(in crate::drivers) fn failed(class: FailureClass, text: impl Into<String>) -> Self {
        Self { class: Some(class), text: text.into(), ..Self::default() }
    }

    /// It is done.
    pub(in crate::drivers) fn succeeded(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// It went away without a word.
    pub(in crate::drivers) fn gone(text: impl Into<String>) -> Self {
        Self { gone: true, ..Self::failed(FailureClass::Transient, text) }
    }
}

impl From<Verdict> for End {
    fn from(verdict: Verdict) -> Self {
        let Verdict { result, message, until } = verdict;
        Self { class: result.err(), text: message, until, ..Self::default() }
    }
}

/// How often it is told that it works on, while nothing else is.
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// When it was last told that an agent works on that is only heard to speak or think.
#[derive(Default)]
pub(in crate::drivers) struct Pulse {
    told: Option<Instant>,
}

impl Pulse {
    /// Takes in that the agent was heard, and tells whether that is to be said: the first time, and then once a second.
    pub(in crate::drivers) fn beats(&mut self, now: Instant) -> bool {
        let is_due = self.told.is_none_or(|told| now.saturating_duration_since(told) >= ALIVE_EVERY);
        if is_due {
            self.told = Some(now);
        }
        is_due
    }
}

/// Hands on what happens.
pub(in crate::drivers) struct Teller<'a> {
    out: &'a mut dyn Write,
}

impl<'a> Teller<'a> {
    pub(in crate::drivers) fn new(out: &'a mut dyn Write) -> Self {
        Self { out }
    }

    /// Says something. Whoever cannot be told is gone, and so will this process be.
    pub(in crate::drivers) fn say(&mut self, saying: &Saying) {
        let line = serde_json::to_vec(saying).map(|line| match line.len() > LINE_BYTES_MAX {
            // Nobody would read it, and without a last word a success is none.
            true => serde_json::to_vec(&saying.clone().cut()).unwrap_or_default(),
            false => line,
        });
        if let Ok(mut line) = line {
            line.push(b'\n');
            let _ = self.out.write_all(&line).and_then(|()| self.out.flush());
        }
    }
}

/// Reads what they print.
#[derive(Default)]
pub(in crate::drivers) struct Own {
    evidence: Evidence,
    refused_last: Option<String>,
    end: Option<End>,
    /// What its session had cost before.
    before: Totals,
    outgoing: Outgoing,
}

impl Reader for Own {
    fn resumed(&mut self, totals: Totals) {
        self.before = totals;
    }

    fn open(&mut self, opening: Opening) {
        self.outgoing.line(&json!(Word::Prompt(opening.prompt)));
    }

    fn tell(&mut self, what: Tell<'_>, _reports: &mut Vec<Report>) {
        match what {
            Tell::More(text) => self.outgoing.line(&json!(Word::More(text.to_owned()))),
            Tell::Interrupt => self.outgoing.line(&json!(Word::Stop)),
            Tell::Answer { .. } | Tell::Close => {}
        }
    }

    fn outgoing(&mut self) -> Outgoing {
        std::mem::take(&mut self.outgoing)
    }

    fn event(&mut self, event: &Value, _at: Wall, reports: &mut Vec<Report>) {
        let Ok(saying) = Saying::deserialize(event) else { return };
        match saying {
            Saying::Session { id, model } => {
                self.evidence.session = Some(id.clone()).filter(|id| !id.is_empty());
                if model.is_some() {
                    self.evidence.model.clone_from(&model);
                }
                reports.push(Report::Session { id, model });
            }
            Saying::Step => self.evidence.steps += 1,
            Saying::Alive => {}
            Saying::Said { text } => {
                reports.push(Report::Said { text: short(&text) });
                self.evidence.text = text;
            }
            Saying::Tool { tool, about } => reports.push(Report::ToolUse { tool, about: short(&about) }),
            Saying::Done { .. } => {
                self.evidence.tools += 1;
                self.refused_last = None;
            }
            Saying::Refused { tool, text } => {
                self.refused_last = Some(tool.clone());
                self.evidence.refused.push(tool.clone());
                reports.push(Report::Refused { tool, text: short(&text) });
            }
            Saying::Note { text } => reports.push(Report::Note { text }),
            Saying::Usage { tokens, usd_micros } => {
                self.evidence.tokens = tokens;
                // It is the cost of the whole session, unless that began to count anew.
                let since = |total: u64| total.checked_sub(self.before.usd_micros).unwrap_or(total);
                self.evidence.usd_micros = usd_micros.map(since).or(self.evidence.usd_micros);
                reports.push(Report::Usage(tokens));
            }
            Saying::Limited { until, text } => {
                reports.push(Report::RateLimited { until, text: short(&text) });
            }
            Saying::End(end) => {
                self.evidence.structured = end.structured.as_ref().map(Value::to_string);
                self.end = Some(end);
            }
        }
    }

    fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    fn verdict(&self, ended: Ended<'_>) -> Verdict {
        match (&self.end, ended.code) {
            (Some(End { class: Some(class), text, until, gone, .. }), _) => {
                let last = ended.errors.trim().lines().next_back().filter(|_| *gone);
                let message =
                    last.map_or_else(|| text.clone(), |last| format!("{text}\nit printed last: {last}"));
                Verdict { result: Err(*class), message, until: *until }
            }
            (Some(end), Some(0)) => match &self.refused_last {
                Some(tool) => refused(tool, &end.text),
                None => Verdict { result: Ok(()), message: end.text.clone(), until: None },
            },
            _ => no_end(ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_writes_for_long_is_told_to_be_alive_once_a_second() {
        let (begin, mut pulse) = (Instant::now(), Pulse::default());
        let told: Vec<u64> =
            (0..60_000).step_by(300).filter(|at| pulse.beats(begin + Duration::from_millis(*at))).collect();
        assert_eq!(told[..3], [0, 1200, 2400]);
        assert!(told.windows(2).all(|pair| pair[1] - pair[0] == 1200), "{told:?}");
        // A minute later it is told at once.
        assert!(pulse.beats(begin + Duration::from_secs(120)));
    }

    fn read(sayings: &[Saying], code: i32) -> (Evidence, Verdict) {
        let mut own = Own::default();
        for saying in sayings {
            let line = serde_json::to_string(saying).unwrap();
            own.event(&serde_json::from_str(&line).unwrap(), Wall(0), &mut Vec::new());
        }
        let verdict = own.verdict(Ended { code: Some(code), errors: "", at: Wall(0) });
        (own.evidence.clone(), verdict)
    }

    #[test]
    fn an_end_needs_its_word_its_code_and_no_refusal_before_it() {
        let done = Saying::End(End::succeeded("it works"));
        let no = Saying::Refused { tool: "run".to_owned(), text: "no".to_owned() };
        let yes = Saying::Done { tool: "run".to_owned() };
        let lost = Saying::End(End::failed(FailureClass::Quota, "empty"));
        for (sayings, code, expected) in [
            (vec![done.clone()], 0, Ok(())),
            (vec![done.clone()], 1, Err(FailureClass::Transient)),
            (vec![], 0, Err(FailureClass::Transient)),
            (vec![no.clone(), done.clone()], 0, Err(FailureClass::Permission)),
            (vec![no, yes, done], 0, Ok(())),
            (vec![lost], 0, Err(FailureClass::Quota)),
        ] {
            assert_eq!(read(&sayings, code).1.result, expected, "{sayings:?} {code}");
        }
    }

    #[test]
    fn however_long_it_is_the_last_word_is_read() {
        let said = |saying: Saying| {
            let mut line = Vec::new();
            Teller::new(&mut line).say(&saying);
            assert!(line.len() <= LINE_BYTES_MAX, "{}", line.len());
            let mut own = Own::default();
            own.event(&serde_json::from_slice(&line).unwrap(), Wall(0), &mut Vec::new());
            own.verdict(Ended { code: Some(0), errors: "", at: Wall(0) })
        };
        // Each of these characters is written as six.
        let long = "\u{1}".repeat(LINE_BYTES_MAX);
        let verdict = said(Saying::End(End::succeeded(long.clone())));
        assert_eq!((verdict.result, verdict.message.len()), (Ok(()), SAID_BYTES_MAX));
        let verdict = said(Saying::End(End::failed(FailureClass::Quota, long.clone())));
        assert_eq!(verdict.result, Err(FailureClass::Quota));
        let structured = Some(json!({ "a": long.clone() }));
        let verdict = said(Saying::End(End { structured, ..End::default() }));
        assert_eq!(verdict.result, Err(FailureClass::InvalidOutput));
        said(Saying::Tool { tool: long.clone(), about: long });
    }

    #[test]
    fn usage_is_a_total_and_not_added_up() {
        let usage =
            |output| Saying::Usage { tokens: Tokens { output, ..Tokens::default() }, usd_micros: None };
        let (evidence, _) = read(&[Saying::Step, usage(1), Saying::Step, usage(3)], 0);
        assert_eq!((evidence.steps, evidence.tokens.output), (2, 3));
    }
}
