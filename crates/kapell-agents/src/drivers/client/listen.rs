//! Reading along while a client works, and judging its end.
//!
//! What it prints is in files that the supervisor writes. They are read from where the last reading stopped, so nothing
//! is lost when kapell is gone meanwhile: another one reads them from the beginning, and comes to the same verdict.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use kapell_core::{budget::Amount, retry::FailureClass, time::Wall};
use serde_json::Value;

use super::{
    CLIENT_FILE, Client, Ended, Evidence, Limit, Opening, Outgoing, Prices, Reader, SCHEMA_FILE, Shape, Tell,
    Totals, UNKNOWN_SESSIONS, Verdict, WAS_TOLD, WIND_DOWN, purse::Spender,
};
use crate::{
    drivers::{Ending, Exit, Report, text::escape_untrusted},
    protocol::outputs,
    supervise::{Cause, ERRORS_FILE, OUTPUT_FILE, OUTPUTS_FILE, record::wall_ms},
};

/// A longer line is passed over.
pub(crate) const LINE_BYTES_MAX: usize = 8 << 20;
/// How much of what is printed as errors is looked at in the end.
const ERRORS_BYTES_MAX: usize = 8 << 10;
/// How much of a message is kept.
const MESSAGE_CHARS_MAX: usize = 2000;

/// A file that grows, read line by line.
struct Tail {
    path: PathBuf,
    offset: u64,
    /// The beginning of a line whose end is not there yet.
    partial: Vec<u8>,
    /// Whether the line is too long and its rest is passed over.
    skips: bool,
}

impl Tail {
    fn new(path: PathBuf) -> Self {
        Self { path, offset: 0, partial: Vec::new(), skips: false }
    }

    /// Hands on the lines that have come; with `last` also what has no end.
    fn lines(&mut self, last: bool, mut take: impl FnMut(&str)) {
        // It is not there before the first byte is.
        let Ok(mut file) = File::open(&self.path) else { return };
        if file.seek(SeekFrom::Start(self.offset)).is_err() {
            return;
        }
        let mut chunk = vec![0; 1 << 16];
        while let Ok(len) = file.read(&mut chunk) {
            if len == 0 {
                break;
            }
            self.offset += len as u64;
            let mut rest = &chunk[..len];
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                self.add(&rest[..end]);
                rest = &rest[end + 1..];
                self.line(&mut take);
            }
            self.add(rest);
        }
        if last {
            self.line(&mut take);
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.skips |= self.partial.len() + bytes.len() > LINE_BYTES_MAX;
        if self.skips {
            self.partial.clear();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn line(&mut self, take: &mut impl FnMut(&str)) {
        if !std::mem::take(&mut self.skips) && !self.partial.is_empty() {
            take(&String::from_utf8_lossy(&self.partial));
        }
        self.partial.clear();
    }
}

/// Why an attempt is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outside {
    /// It was silent for too long.
    Silent(Duration),
    /// It has taken more steps than it may.
    Steps(u32),
    /// It has spent what it may.
    Spent,
    /// All attempts that share what was left of the run have spent it.
    AllSpent,
}

/// What somebody who reads along must know.
pub(crate) struct Watch {
    pub(crate) steps_max: u32,
    pub(crate) idle_max: Duration,
    /// The model that was asked for; not every client says which one it asks.
    pub(crate) model: Option<String>,
    pub(crate) prices: Prices,
    /// Whether it goes on in the session of an earlier attempt.
    pub(crate) is_resumed: bool,
    /// What that session had used before.
    pub(crate) totals: Totals,
    /// The outputs that its task promises.
    pub(crate) shape: Option<Shape>,
    /// What it may spend.
    pub(crate) limit: Limit,
    /// What it spends from, if others spend from it too.
    pub(crate) purse: Option<Spender>,
}

/// What has been heard, and what is to be said to it.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) reports: Vec<Report>,
    pub(crate) outgoing: Outgoing,
}

/// What a client is asked once more, in the session that it left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Again {
    pub(crate) session: String,
    pub(crate) totals: Totals,
    pub(crate) text: String,
}

/// What is heard of one attempt.
pub(crate) struct Listener {
    client: Client,
    dir: PathBuf,
    reader: Box<dyn Reader>,
    output: Tail,
    errors: Tail,
    last_errors: String,
    watch: Watch,
    heard: Instant,
    /// Whether something that it has started waits for a person.
    asks: bool,
    outside: Option<Outside>,
    /// Whether it has been asked once more for its outputs.
    asked_again: bool,
    /// Whether it has been told that its budget runs out.
    winds_down: bool,
    /// Whether it has been told that there is nothing more for it to do: it hears nothing that comes after that.
    is_dismissed: bool,
    /// Whether it has ended, under an earlier process perhaps: nothing is said to it any more.
    is_past: bool,
    /// What share of what it may spend others have seen it spend, in percent.
    seen_percent: u64,
}

/// Tells whether an event asks something of kapell. Of one that has ended it is not known what was answered, and it would be decided anew;
/// what became of the call stands in a later event, and what a person was asked in the journal.
pub(super) fn is_request(event: &Value) -> bool {
    event["type"] == "control_request" || event.get("method").is_some() && event.get("id").is_some()
}

impl Listener {
    pub(super) fn open(dir: &Path, client: Client, watch: Watch) -> Self {
        let mut reader = client.reader();
        reader.resumed(watch.totals);
        Self {
            client,
            dir: dir.to_owned(),
            reader,
            output: Tail::new(dir.join(OUTPUT_FILE)),
            errors: Tail::new(dir.join(ERRORS_FILE)),
            last_errors: String::new(),
            watch,
            heard: Instant::now(),
            asks: false,
            outside: None,
            asked_again: false,
            winds_down: false,
            is_dismissed: false,
            is_past: false,
            seen_percent: 0,
        }
    }

    /// Begins to talk.
    pub(super) fn begin(&mut self, opening: Opening) {
        self.reader.open(opening);
    }

    /// Takes out what is to be written to it.
    pub(crate) fn outgoing(&mut self) -> Outgoing {
        self.reader.outgoing()
    }

    /// Returns the workspace of the client whose attempt's directory is `dir`, if that is known.
    pub(super) fn workspace_of(dir: &Path) -> Option<PathBuf> {
        let text = std::fs::read_to_string(dir.join(CLIENT_FILE)).ok()?;
        serde_json::from_str(text.lines().nth(3)?).ok()
    }

    /// Opens what an earlier process left; none if no client worked there.
    pub(super) fn reopen(dir: &Path, prices: &Prices) -> Option<Self> {
        let text = std::fs::read_to_string(dir.join(CLIENT_FILE)).ok()?;
        let mut lines = text.lines();
        let client = Client::of(lines.next()?)?;
        let model = lines.next().filter(|model| !model.is_empty()).map(str::to_owned);
        let totals: Option<Totals> = lines.next().and_then(|line| serde_json::from_str(line).ok());
        let (is_resumed, totals) = (totals.is_some(), totals.unwrap_or_default());
        let shape = std::fs::read_to_string(dir.join(SCHEMA_FILE)).ok();
        let shape = shape.and_then(|text| Shape::parse(&text).ok());
        // It has ended, so nothing is watched any more.
        let (steps_max, idle_max, limit) = (u32::MAX, Duration::MAX, Limit::default());
        let prices = prices.clone();
        let purse = None;
        let watch = Watch { steps_max, idle_max, model, prices, is_resumed, totals, shape, limit, purse };
        Some(Self { is_past: true, ..Self::open(dir, client, watch) })
    }

    /// Returns which client it is.
    pub(super) fn client(&self) -> Client {
        self.client
    }

    /// Reads all that a client left that works no more.
    pub(super) fn read_all(mut self) -> (Vec<Report>, Evidence) {
        let reports = self.read(Wall(wall_ms()), true);
        (reports, self.evidence())
    }

    pub(crate) fn prices(&self) -> Prices {
        self.watch.prices.clone()
    }

    /// Takes what was printed since the last time, and says what is to be answered to it.
    pub(crate) fn catch_up(&mut self) -> Heard {
        self.heard = Instant::now();
        let mut reports = self.read(Wall(wall_ms()), false);
        self.book();
        self.wind_down(&mut reports);
        if self.reader.is_idle() {
            let ended = Ended { code: Some(0), errors: "", at: Wall(wall_ms()) };
            let is_well = self.reader.verdict(ended).result.is_ok();
            let asked = self.asked_again || self.reader.evidence().asked_again;
            let missing = if is_well && !asked { self.missing() } else { None };
            match missing {
                Some(text) => {
                    self.asked_again = true;
                    self.say(Tell::More(&text), &mut reports);
                }
                None => self.say(Tell::Close, &mut reports),
            }
        }
        Heard { reports, outgoing: self.outgoing() }
    }

    /// Tells it something, and says what is to be written to it for that.
    pub(crate) fn tell(&mut self, what: Tell<'_>) -> Heard {
        // A person may have taken a day; its own silence begins now.
        self.heard = Instant::now();
        let mut reports = Vec::new();
        self.say(what, &mut reports);
        Heard { reports, outgoing: self.outgoing() }
    }

    fn say(&mut self, what: Tell<'_>, reports: &mut Vec<Report>) {
        self.is_dismissed |= matches!(what, Tell::Interrupt | Tell::Close);
        self.reader.tell(what, reports);
    }

    /// Takes in whether something that it has started (`kapell task ask`, a tool of kapell's) waits for a person: it is
    /// silent meanwhile, and when that is over its own silence begins.
    pub(crate) fn note_asking(&mut self, asks: bool) {
        if self.asks && !asks {
            self.heard = Instant::now();
        }
        self.asks = asks;
    }

    /// Tells whether it can be talked to.
    pub(crate) fn is_talked_to(&self) -> bool {
        self.client.is_talked_to()
    }

    /// Says what is wrong with the outputs that it gave at the end of a turn, if anything is.
    fn missing(&self) -> Option<String> {
        let shape = self.watch.shape.as_ref()?;
        let written = outputs::read(&self.dir.join(OUTPUTS_FILE)).unwrap_or_default();
        let evidence = self.reader.evidence();
        let wrong = shape.check(&written, evidence.structured.as_deref(), &evidence.text).err()?;
        Some(shape.again(&wrong))
    }

    /// Returns what it has spent, as far as it has said so.
    fn spent(&self) -> Amount {
        let evidence = self.reader.evidence();
        let price = evidence.model.as_deref().or(self.watch.model.as_deref());
        let price = price.and_then(|model| (self.watch.prices.0)(model));
        let priced = price.map_or(0, |price| price.rate.cost(evidence.tokens));
        // Some say what it costs before they say how many tokens that was.
        let usd_micros = priced.max(evidence.usd_micros.unwrap_or(0));
        Amount { usd_micros, tokens: evidence.tokens.total() }
    }

    /// Returns what share of what it may spend it has spent, in percent.
    fn spent_percent(&self) -> u64 {
        if let Some(spender) = &self.watch.purse {
            return spender.purse().percent();
        }
        self.watch.limit.spent_percent(self.spent()).max(self.seen_percent)
    }

    /// Takes in what share of what it may spend the proxy has seen it spend, and says what it is told for that.
    pub(crate) fn note_spent(&mut self, percent: u64) -> Heard {
        self.seen_percent = percent;
        let mut reports = Vec::new();
        self.wind_down(&mut reports);
        Heard { reports, outgoing: self.outgoing() }
    }

    /// Books what it has spent where others look, too.
    fn book(&mut self) {
        let spent = self.spent();
        if let Some(spender) = &mut self.watch.purse {
            spender.note(spent);
        }
    }

    /// Tells whether it is ended since all that it shares with others is spent: they are, too.
    pub(crate) fn is_all_spent(&self) -> bool {
        self.outside == Some(Outside::AllSpent)
    }

    fn wind_down(&mut self, reports: &mut Vec<Report>) {
        if !self.winds_down && self.client.hears_words() && Limit::is_near(self.spent_percent()) {
            self.winds_down = true;
            // One that is done already needs no such word, and would be waited for once more.
            if !self.reader.is_idle() && !self.is_dismissed {
                self.say(Tell::More(WIND_DOWN), reports);
                reports.push(Report::Note { text: WAS_TOLD.to_owned() });
            }
        }
    }

    fn read(&mut self, at: Wall, last: bool) -> Vec<Report> {
        let mut reports = Vec::new();
        let Self { reader, output, errors, last_errors, is_past, .. } = self;
        output.lines(last, |line| {
            // Whatever is no event is passed over; so is what is nested too deeply to be one.
            if let Ok(event) = serde_json::from_str(line)
                && !(*is_past && is_request(&event))
            {
                reader.event(&event, at, &mut reports);
            }
        });
        errors.lines(last, |line| {
            reader.error_line(line, at, &mut reports);
            last_errors.push_str(line);
            last_errors.push('\n');
            let excess = last_errors.len().saturating_sub(ERRORS_BYTES_MAX);
            let cut = (excess..=last_errors.len()).find(|at| last_errors.is_char_boundary(*at)).unwrap_or(0);
            last_errors.drain(..cut);
        });
        reports
    }

    /// Returns when it has been silent for too long.
    pub(crate) fn due(&self) -> Option<Instant> {
        let waits = self.outside.is_some() || self.asks || self.reader.waits();
        if waits { None } else { self.heard.checked_add(self.watch.idle_max) }
    }

    /// Tells, once, why the attempt must be ended, if it must.
    pub(crate) fn must_end(&mut self, now: Instant) -> Option<Outside> {
        if self.outside.is_some() {
            return None;
        }
        let steps = self.reader.evidence().steps;
        if steps > self.watch.steps_max {
            self.outside = Some(Outside::Steps(self.watch.steps_max));
        } else if self.watch.limit.ends && self.spent_percent() >= 100 {
            self.outside = Some(if self.watch.purse.is_some() { Outside::AllSpent } else { Outside::Spent });
        } else if self.due().is_some_and(|due| due <= now) {
            self.outside = Some(Outside::Silent(self.watch.idle_max));
        }
        self.outside
    }

    /// Judges the end, of which the exit code tells only a part. Says what else is to be asked of it, if it has a session
    /// in which it can be asked.
    pub(crate) fn finish(mut self, exit: Exit) -> (Exit, Option<Again>) {
        let exit = self.judge(exit);
        self.shaped(exit)
    }

    /// Looks at the outputs of an attempt that did what it should otherwise.
    fn shaped(self, mut exit: Exit) -> (Exit, Option<Again>) {
        let mut again = None;
        let lacks = match (&self.watch.shape, exit.ending) {
            (Some(shape), Ending::Succeeded) => {
                let evidence = self.reader.evidence();
                match shape.check(&exit.outputs, evidence.structured.as_deref(), &evidence.text) {
                    Ok(outputs) => {
                        exit.outputs = outputs;
                        None
                    }
                    Err(why) => {
                        let evidence = self.evidence();
                        again = evidence.session.filter(|_| !self.asked_again).map(|session| Again {
                            session,
                            totals: evidence.totals,
                            text: shape.again(&why),
                        });
                        Some(format!("the outputs that it gave are not what was asked for: {why}"))
                    }
                }
            }
            (None, Ending::Succeeded) if self.reader.evidence().lacks_structure => {
                Some("it did not give the output that was asked for".to_owned())
            }
            _ => None,
        };
        if let Some(why) = lacks {
            exit.ending = Ending::Failed(FailureClass::InvalidOutput);
            exit.message = shown(&why);
            exit.outputs.clear();
        }
        exit.evidence = Some(Box::new(self.evidence()));
        (exit, again)
    }

    fn judge(&mut self, mut exit: Exit) -> Exit {
        let record = exit.record.as_deref();
        let at = Wall(record.map_or_else(wall_ms, |record| record.ended_wall_ms));
        self.read(at, true);
        let code = record.and_then(|record| record.code);
        let by_itself = record.is_some_and(|record| record.cause == Cause::Itself);
        let verdict = match (self.outside, exit.ending) {
            // It may have been done just when it was to be ended.
            (Some(outside), Ending::Stopped) => Some(explain(outside)),
            _ if by_itself => Some(self.reader.verdict(Ended { code, errors: &self.last_errors, at })),
            _ => None,
        };
        if let Some(verdict) = verdict {
            exit.until = verdict.until;
            exit.message = shown(&verdict.message);
            exit.ending = match verdict.result {
                // The session of an earlier attempt is gone: the next one begins anew, and that is nobody's failure.
                Err(FailureClass::Permanent)
                    if self.watch.is_resumed
                        && UNKNOWN_SESSIONS.iter().any(|words| verdict.message.contains(words)) =>
                {
                    Ending::Failed(FailureClass::Lost)
                }
                Err(class) => Ending::Failed(class),
                // What it wrote as outputs could not be taken.
                Ok(()) => match exit.ending {
                    Ending::Failed(FailureClass::InvalidOutput) => return exit,
                    _ => Ending::Succeeded,
                },
            };
            if exit.ending != Ending::Succeeded {
                exit.outputs.clear();
            }
        }
        exit
    }

    fn evidence(&self) -> Evidence {
        let mut evidence = self.reader.evidence().clone();
        evidence.model = evidence.model.or_else(|| self.watch.model.clone());
        let before = self.watch.totals;
        evidence.totals = Totals {
            tokens: before.tokens + evidence.tokens,
            usd_micros: before.usd_micros.saturating_add(evidence.usd_micros.unwrap_or(0)),
        };
        if evidence.usd_micros.is_none() {
            let price = evidence.model.as_deref().and_then(|model| (self.watch.prices.0)(model));
            evidence.usd_micros = price.map(|price| price.rate.cost(evidence.tokens));
        }
        evidence
    }
}

fn explain(outside: Outside) -> Verdict {
    let message = match outside {
        Outside::Silent(idle) => format!("it was silent for {} s, and was ended", idle.as_secs()),
        Outside::Steps(steps) => format!("it took more than {steps} steps, and was ended"),
        Outside::Spent => "it had spent all that it may, and was ended".to_owned(),
        Outside::AllSpent => {
            let message = "what was left of the run's budget is spent, and it was ended".to_owned();
            return Verdict::failed(FailureClass::Budget, message);
        }
    };
    Verdict::failed(FailureClass::Timeout, message)
}

/// A message, cut and made safe to show.
fn shown(message: &str) -> String {
    let cut: String = message.trim().chars().take(MESSAGE_CHARS_MAX).collect();
    escape_untrusted(&cut).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(dir: &Path) -> Listener {
        let watch = Watch {
            steps_max: 9,
            idle_max: Duration::from_secs(1),
            model: None,
            prices: Prices::default(),
            is_resumed: false,
            totals: Totals::default(),
            shape: None,
            limit: Limit::default(),
            purse: None,
        };
        let mut listener = Listener::open(dir, Client::ClaudeCode, watch);
        listener.begin(Opening { asks: true, ..Opening::default() });
        listener
    }

    #[test]
    fn one_that_is_done_stays_so_when_others_spend_the_rest_of_the_budget() {
        let dir = tempfile::tempdir().unwrap();
        let mut listener = listener(dir.path());
        let result = r#"{"type":"result","subtype":"success","is_error":false,"result":"done"}"#;
        std::fs::write(dir.path().join(OUTPUT_FILE), format!("{result}\n")).unwrap();
        assert!(listener.catch_up().outgoing.last);
        // It has not gone away yet.
        let heard = listener.note_spent(95);
        assert!(heard.reports.is_empty() && heard.outgoing == Outgoing::default(), "{:?}", heard.reports);
        let ended = Ended { code: Some(0), errors: "", at: Wall(0) };
        assert_eq!(listener.reader.verdict(ended), Verdict::succeeded("done"));
    }

    #[test]
    fn silence_means_nothing_while_a_person_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut listener = listener(dir.path());
        assert!(listener.due().is_some());
        let request = r#"{"type":"control_request","request_id":"q","request":{"subtype":"can_use_tool","tool_name":"WebFetch","input":{}}}"#;
        std::fs::write(dir.path().join(OUTPUT_FILE), format!("{request}\n")).unwrap();
        let heard = listener.catch_up();
        let Some(Report::Question { question, .. }) = heard.reports.first() else {
            panic!("{:?}", heard.reports)
        };
        assert_eq!(listener.due(), None);
        let told = listener.tell(Tell::Answer { question: *question, text: "allow" });
        assert!(!told.outgoing.bytes.is_empty() && listener.due().is_some());
        // One that it has given up is answered to nobody.
        let told = listener.tell(Tell::Answer { question: *question, text: "allow" });
        assert!(told.outgoing.bytes.is_empty());
    }
}
