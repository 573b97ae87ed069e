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

use kapell_core::{retry::FailureClass, time::Wall};

use super::{CLIENT_FILE, Client, Ended, Prices, Reader, Verdict};
use crate::{
    drivers::{Ending, Exit, Report, text::escape_untrusted},
    supervise::{Cause, ERRORS_FILE, OUTPUT_FILE, record::wall_ms},
};

/// A longer line is passed over.
const LINE_BYTES_MAX: usize = 8 << 20;
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
}

/// What somebody who reads along must know.
pub(crate) struct Watch {
    pub(crate) steps_max: u32,
    pub(crate) idle_max: Duration,
    /// The model that was asked for; not every client says which one it asks.
    pub(crate) model: Option<String>,
    pub(crate) prices: Prices,
}

/// What is heard of one attempt.
pub(crate) struct Listener {
    reader: Box<dyn Reader>,
    output: Tail,
    errors: Tail,
    last_errors: String,
    watch: Watch,
    heard: Instant,
    outside: Option<Outside>,
}

impl Listener {
    pub(super) fn open(dir: &Path, client: Client, watch: Watch) -> Self {
        Self {
            reader: client.reader(),
            output: Tail::new(dir.join(OUTPUT_FILE)),
            errors: Tail::new(dir.join(ERRORS_FILE)),
            last_errors: String::new(),
            watch,
            heard: Instant::now(),
            outside: None,
        }
    }

    /// Opens what an earlier process left; none if no client worked there.
    pub(super) fn reopen(dir: &Path, prices: &Prices) -> Option<Self> {
        let text = std::fs::read_to_string(dir.join(CLIENT_FILE)).ok()?;
        let mut lines = text.lines();
        let client = Client::of(lines.next()?)?;
        let model = lines.next().filter(|model| !model.is_empty()).map(str::to_owned);
        // It has ended, so nothing is watched any more.
        let watch = Watch { steps_max: u32::MAX, idle_max: Duration::MAX, model, prices: prices.clone() };
        Some(Self::open(dir, client, watch))
    }

    pub(crate) fn prices(&self) -> Prices {
        self.watch.prices.clone()
    }

    /// Takes what was printed since the last time.
    pub(crate) fn catch_up(&mut self) -> Vec<Report> {
        self.heard = Instant::now();
        self.read(Wall(wall_ms()), false)
    }

    fn read(&mut self, at: Wall, last: bool) -> Vec<Report> {
        let mut reports = Vec::new();
        let Self { reader, output, errors, last_errors, .. } = self;
        output.lines(last, |line| {
            // Whatever is no event is passed over; so is what is nested too deeply to be one.
            if let Ok(event) = serde_json::from_str(line) {
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
        if self.outside.is_some() { None } else { self.heard.checked_add(self.watch.idle_max) }
    }

    /// Tells, once, why the attempt must be ended, if it must.
    pub(crate) fn must_end(&mut self, now: Instant) -> Option<Outside> {
        if self.outside.is_some() {
            return None;
        }
        let steps = self.reader.evidence().steps;
        if steps > self.watch.steps_max {
            self.outside = Some(Outside::Steps(self.watch.steps_max));
        } else if self.due().is_some_and(|due| due <= now) {
            self.outside = Some(Outside::Silent(self.watch.idle_max));
        }
        self.outside
    }

    /// Judges the end, of which the exit code tells only a part.
    pub(crate) fn finish(mut self, mut exit: Exit) -> Exit {
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
                Err(class) => Ending::Failed(class),
                // What it wrote as outputs could not be taken.
                Ok(()) => match exit.ending {
                    Ending::Failed(FailureClass::InvalidOutput) => return self.with_evidence(exit),
                    _ => Ending::Succeeded,
                },
            };
            if exit.ending != Ending::Succeeded {
                exit.outputs.clear();
            }
        }
        self.with_evidence(exit)
    }

    fn with_evidence(self, mut exit: Exit) -> Exit {
        let mut evidence = self.reader.evidence().clone();
        evidence.model = evidence.model.or(self.watch.model);
        if evidence.usd_micros.is_none() {
            let price = evidence.model.as_deref().and_then(|model| (self.watch.prices.0)(model));
            evidence.usd_micros = price.map(|price| price.rate.cost(evidence.tokens));
        }
        exit.evidence = Some(Box::new(evidence));
        exit
    }
}

fn explain(outside: Outside) -> Verdict {
    let message = match outside {
        Outside::Silent(idle) => format!("it was silent for {} s, and was ended", idle.as_secs()),
        Outside::Steps(steps) => format!("it took more than {steps} steps, and was ended"),
    };
    Verdict::failed(FailureClass::Timeout, message)
}

/// A message, cut and made safe to show.
fn shown(message: &str) -> String {
    let cut: String = message.trim().chars().take(MESSAGE_CHARS_MAX).collect();
    escape_untrusted(&cut).into_owned()
}
