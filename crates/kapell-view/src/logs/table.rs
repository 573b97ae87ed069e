//! How each type of event is told: one table.

use kapell_core::{
    event::{Event, GateKind, Outcome, PauseCause},
    id::AttemptNo,
    landing::{Blame, Probed},
    retry::OUT_OF_TIME,
    route::Reroute,
    task::{Recovery, SkipCause, StopCause},
    time::{Elapsed, Millis},
};

use super::{LogReader, Weight};
use crate::{
    text::{Style, amount, clock, instant, kinds, plural, usd},
    untrusted::{Untrusted, visible},
};

/// How many tasks are named where one event is about several.
const NAMES_MAX: usize = 3;

/// What is told of an event.
pub(super) struct Told {
    pub(super) weight: Weight,
    pub(super) style: Style,
    pub(super) text: String,
    pub(super) message: Untrusted,
    /// How many bytes of the text stand before the last line of the message, if that ends it.
    pub(super) before_message: Option<usize>,
}

fn told(weight: Weight, style: Style, text: impl Into<String>) -> Told {
    Told { weight, style, text: text.into(), message: Untrusted::default(), before_message: None }
}

fn fact(style: Style, text: impl Into<String>) -> Told {
    told(Weight::Fact, style, text)
}

fn detail(text: impl Into<String>) -> Told {
    told(Weight::Detail, Style::Dim, text)
}

impl Told {
    fn saying(mut self, message: &str) -> Self {
        self.message = message.into();
        self
    }

    /// Ends the text with the last line of a message, and keeps all of it.
    fn ending_with(mut self, message: &str) -> Self {
        let last = Untrusted::from(message).last_line();
        if !last.is_empty() {
            self.before_message = Some(self.text.len());
            self.text.push_str(&format!(": {last}"));
        }
        self.saying(message)
    }
}

/// Returns the beginning of a commit's id.
fn commit(oid: &impl std::fmt::Display) -> String {
    oid.to_string().chars().take(12).collect()
}

fn at(point: Elapsed) -> String {
    clock(Millis(point.0))
}

/// Tells an event. Everything in the text is safe to print.
pub(super) fn tell(reader: &LogReader, event: &Event) -> Told {
    use Style as S;
    match event {
        Event::Created { mission } => {
            let forked = mission
                .forked_from
                .map(|(run, n)| format!(", forked from {} at {n}", crate::text::short(run)))
                .unwrap_or_default();
            fact(S::Strong, format!("created{forked}: {}", visible(&mission.objective)))
        }
        Event::PlanAdopted { revision, plan } => {
            let tasks = plan
                .plan()
                .map_or_else(String::new, |plan| format!(", {}", plural(plan.len() as u64, "task")));
            let weight = if *revision > 1 { Weight::Fact } else { Weight::Detail };
            told(weight, S::Plain, format!("plan adopted, revision {revision}{tasks}"))
        }
        Event::Opened { epoch: 1 } => detail("executed by its first process"),
        Event::Opened { .. } => fact(S::Warn, "resumed by another process".to_owned()),
        Event::Routed { tasks, ranking, passed_over } => {
            let names: Vec<String> =
                tasks.iter().take(NAMES_MAX).map(|task| reader.name(*task).visible()).collect();
            let more = match tasks.len().saturating_sub(NAMES_MAX) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let first = ranking.first();
            let who = first.map_or_else(|| "nobody".to_owned(), |choice| reader.agent(choice.agent));
            let why = first.map(|choice| format!(": {}", visible(&choice.why))).unwrap_or_default();
            let after = ranking
                .iter()
                .skip(1)
                .map(|choice| format!("then {}: {}", reader.agent(choice.agent), choice.why));
            let over = passed_over.iter().map(|over| format!("not {}: {}", over.agent, over.why));
            let rest: Vec<String> = after.chain(over).collect();
            fact(S::Plain, format!("{who} for {}{more}{why}", names.join(", "))).saying(&rest.join("\n"))
        }
        Event::Rerouted { from, agent, why, .. } => {
            let why = match why {
                Reroute::Parked => "its provider gives nothing for now",
                Reroute::Resting => "it rests after too many failures",
            };
            let (from, to) = (reader.agent(*from), reader.agent(*agent));
            fact(S::Warn, format!("goes from {from} to {to}: {why}"))
        }
        Event::ChildRested { .. } => detail("its workflow waits: its time stands still".to_owned()),
        Event::ChildWentOn { .. } => detail("its workflow goes on".to_owned()),
        Event::HandedOff { agent, note, .. } => {
            fact(S::Plain, format!("is to be handed on to {}", reader.agent(*agent))).ending_with(note)
        }
        Event::PassedOn { attempt, agent, change, spent, .. } => {
            let change = change.map(|change| format!(", with change {}", commit(&change.commit)));
            let cost = if spent.is_zero() { String::new() } else { format!(", cost {}", amount(*spent)) };
            let (to, change) = (reader.agent(*agent), change.unwrap_or_default());
            fact(S::Active, format!("attempt {attempt} passed its work on to {to}{change}{cost}"))
        }
        Event::Unblocked { .. } => detail("may start"),
        Event::Skipped { why, .. } => fact(S::Dim, format!("skipped: {}", skip(*why))),
        Event::ClaimsAwaited { .. } => detail("waits for paths that others hold"),
        Event::Started { attempt, agent, deadline, reserved, held, .. } => {
            let who = agent.map(|agent| format!(" by {}", reader.agent(agent))).unwrap_or_default();
            let deadline = deadline.map(|until| format!(", until {}", at(until))).unwrap_or_default();
            let reserved = match reserved.usd_micros {
                0 => String::new(),
                micros => format!(", {} reserved", usd(micros)),
            };
            let held = match held.is_zero() {
                true => String::new(),
                false => format!(", {} expected", amount(*held)),
            };
            fact(S::Active, format!("attempt {attempt} started{who}{deadline}{reserved}{held}"))
        }
        Event::StopRequested { attempt, why, .. } => {
            fact(S::Warn, format!("attempt {attempt} is stopped: {}", stop(*why)))
        }
        Event::Completed { outputs, spent, .. } => fact(S::Good, format!("done{}", gave(outputs, *spent))),
        Event::Submitted { attempt, change, outputs, spent, .. } => {
            let change = match change {
                Some(change) => format!(" change {}", commit(&change.commit)),
                None => String::new(),
            };
            let gave = gave(outputs, *spent);
            fact(S::Active, format!("attempt {attempt} submitted{change}{gave}"))
        }
        Event::Verified { task } => {
            let how = if reader.has_checks(*task) { "its checks passed" } else { "it has no checks" };
            told(Weight::Detail, S::Good, format!("verified: {how}"))
        }
        // A gate has no attempt.
        Event::AttemptFailed { attempt: AttemptNo(0), message, then, .. } => {
            let (style, then) = recovery(reader, *then);
            fact(style, then).ending_with(message)
        }
        Event::AttemptFailed { attempt, message, then: Recovery::Again, .. } if message == OUT_OF_TIME => {
            fact(S::Warn, format!("attempt {attempt} {message}; it starts again once the run goes on"))
        }
        Event::AttemptFailed { attempt, class, message, spent, then, .. } => {
            let (style, then) = recovery(reader, *then);
            let cost = if spent.is_zero() { String::new() } else { format!(", {}", amount(*spent)) };
            // A gate that is answered by no has no attempts.
            let which = if attempt.0 == 0 { String::new() } else { format!("attempt {attempt} ") };
            fact(style, format!("{which}failed ({class}{cost}), {then}")).ending_with(message)
        }
        Event::Woken { .. } => detail("the wait is over"),
        Event::Reused { from, at, landed, .. } => {
            let landed = landed.map(|oid| format!(", landed as {}", commit(&oid))).unwrap_or_default();
            fact(S::Good, format!("result of run {} at {at} reused{landed}", crate::text::short(*from)))
        }
        Event::Cancelled { .. } => fact(S::Dim, "cancelled"),
        Event::GateOpened { gate, kind, question, choices, .. } => {
            let choices: Vec<String> = choices.iter().map(|choice| visible(choice)).collect();
            let choices =
                if choices.is_empty() { String::new() } else { format!(" [{}]", choices.join(" | ")) };
            let what = gate_kind(*kind);
            fact(S::Warn, format!("{what}, gate {gate}: {}{choices}", visible(question)))
        }
        Event::GateAnswered { gate, answer, by } => {
            fact(S::Plain, format!("gate {gate} answered by {}: {}", visible(by), visible(answer)))
        }
        Event::AnswerUndone { gate, by } => fact(
            S::Warn,
            format!("the answer to gate {gate} was taken back by {}: it is owed again", visible(by)),
        ),
        Event::Noted { text, .. } => fact(S::Plain, format!("notes: {}", visible(text))),
        Event::Used { tokens: used, claimed, model, .. } => {
            let of = model.as_deref().map(|model| format!(" of {}", visible(model))).unwrap_or_default();
            let claims = claimed.map(|claimed| format!("; its client says {}", kinds(claimed)));
            detail(format!("used {}{of}{}", kinds(*used), claims.unwrap_or_default()))
        }
        Event::ProbeAsked { probe } => {
            let what = match probe.entries.len() {
                0 => "the base itself".to_owned(),
                changes => plural(changes as u64, "change"),
            };
            let again = if probe.repeat { " once more" } else { "" };
            detail(format!("probe {}: {what} on {} tried{again}", probe.id, commit(&probe.base)))
        }
        Event::Probed { probe, outcome } => probed(*probe, outcome),
        Event::LandingStarted { to, .. } => detail(format!("integration ref moves to {}", commit(to))),
        Event::Landed { commit: to, .. } => fact(S::Good, format!("landed as {}", commit(to))),
        Event::SentBack { blame, .. } => fact(S::Warn, format!("sent back: {}", blamed(reader, blame))),
        Event::ProviderParked { provider, until, .. } => {
            fact(S::Warn, format!("{} gives nothing until {}", visible(provider), instant(*until)))
        }
        Event::BreakerOpened { agent, until } => {
            let agent = reader.agent(*agent);
            fact(S::Warn, format!("{agent} failed too often in a row and rests until {}", at(*until)))
        }
        Event::CompensationStarted { attempt, .. } => fact(S::Warn, format!("is taken back, try {attempt}")),
        Event::CompensationFailed { attempt, message, again, .. } => {
            let then = if *again { "tried again" } else { "a person must decide" };
            fact(S::Bad, format!("could not be taken back, try {attempt}, {then}")).ending_with(message)
        }
        Event::CompensationSubmitted { change, .. } => {
            detail(format!("its compensation changed files: {} is to land", commit(&change.commit)))
        }
        Event::Compensated { left: true, .. } => fact(S::Warn, "left as it is, by a person's word"),
        Event::Compensated { commit: Some(by), .. } => fact(S::Warn, format!("taken back by {}", commit(by))),
        Event::Compensated { .. } => fact(S::Warn, "taken back, with no file changed"),
        Event::Paused { why } => {
            let told = fact(S::Warn, format!("paused: {}", pause(why)));
            if let PauseCause::BaseIsRed { message } = why { told.saying(message) } else { told }
        }
        Event::Resumed { limits } => {
            let within = if limits.is_some() { " within new limits" } else { "" };
            let deadline = if reader.is_late { ", no longer bound by its deadline" } else { "" };
            fact(S::Plain, format!("goes on{within}{deadline}"))
        }
        Event::Held { .. } => fact(S::Warn, "the run that it is part of is paused, too"),
        Event::Released {} => fact(S::Plain, "the run that it is part of goes on; this one stays paused"),
        Event::CancelRequested {} => fact(S::Warn, "cancel requested"),
        Event::CompensationBegun {} => fact(S::Warn, "what was done is taken back"),
        Event::Finished { outcome } => match outcome {
            Outcome::Succeeded => fact(S::Good, "finished: succeeded"),
            Outcome::Failed => fact(S::Bad, "finished: failed"),
            Outcome::Cancelled => fact(S::Warn, "finished: cancelled"),
            Outcome::Compensated => fact(S::Warn, "finished: what was done has been taken back"),
        },
        Event::MergeStarted { target, to, .. } => {
            detail(format!("{} is about to move to {}", visible(target), commit(to)))
        }
        Event::Merged { target, to } => {
            fact(S::Good, format!("merged into {} as {}", visible(target), commit(to)))
        }
        Event::MergeUndone { target, to, why } => {
            let why = why.as_ref().map(|why| format!(": {}", Untrusted::from(why).last_line()));
            let why = why.unwrap_or_default();
            fact(S::Warn, format!("merge not in force: {} is at {}{why}", visible(target), commit(to)))
        }
    }
}

fn gave(outputs: &kapell_core::event::Outputs, spent: kapell_core::budget::Amount) -> String {
    let mut text = String::new();
    if !outputs.is_empty() {
        let names: Vec<String> = outputs.keys().map(|name| visible(name)).collect();
        text.push_str(&format!(", gave {}", names.join(", ")));
    }
    if !spent.is_zero() {
        text.push_str(&format!(", cost {}", amount(spent)));
    }
    text
}

fn probed(probe: kapell_core::id::ProbeId, outcome: &Probed) -> Told {
    match outcome {
        Probed::Green { tips } => {
            let tip = tips.last().map(|tip| format!(" at {}", commit(tip))).unwrap_or_default();
            told(Weight::Detail, Style::Good, format!("probe {probe}: green{tip}"))
        }
        Probed::Red { message, .. } => {
            let last = Untrusted::from(message).last_line();
            told(Weight::Detail, Style::Warn, format!("probe {probe}: red: {last}")).saying(message)
        }
        Probed::Conflict { index, paths } => {
            let paths: Vec<String> = paths.iter().map(|path| visible(path)).collect();
            let text = format!("probe {probe}: change {} conflicts in {}", index + 1, paths.join(", "));
            told(Weight::Detail, Style::Warn, text)
        }
    }
}

/// Returns why a task was skipped, in words.
#[must_use]
pub(crate) fn skip(why: SkipCause) -> &'static str {
    match why {
        SkipCause::Condition => "its condition is false",
        SkipCause::BrokenCondition => "its condition could not be computed",
        SkipCause::Need => "something it needs failed or was skipped",
        SkipCause::Superseded => "a later plan does without it",
    }
}

fn stop(why: StopCause) -> &'static str {
    match why {
        StopCause::Timeout => "it took longer than it may",
        StopCause::Cancelled => "the run is cancelled",
        StopCause::Superseded => "a later plan does without it",
        StopCause::Deadline => "the run's time is over",
    }
}

fn recovery(reader: &LogReader, then: Recovery) -> (Style, String) {
    match then {
        Recovery::Again => (Style::Warn, "again at once".to_owned()),
        Recovery::Retry { at: point } => (Style::Warn, format!("again at {}", at(point))),
        Recovery::Park { until, .. } => (Style::Warn, format!("again at {}", instant(until))),
        Recovery::Substitute { agent } => (Style::Warn, format!("{} takes over", reader.agent(agent))),
        Recovery::Ask { .. } => (Style::Warn, "a person decides".to_owned()),
        Recovery::GiveUp => (Style::Bad, "given up".to_owned()),
        Recovery::Cancel => (Style::Dim, "cancelled".to_owned()),
        Recovery::Drop => (Style::Dim, "no longer wanted".to_owned()),
    }
}

fn gate_kind(kind: GateKind) -> &'static str {
    match kind {
        GateKind::Task => "a person must decide",
        GateKind::Question => "its agent asks",
        GateKind::Lost => "an attempt was lost",
        GateKind::Protect => "a change touches its own checks",
        GateKind::Compensation => "could not be taken back",
    }
}

fn blamed(reader: &LogReader, blame: &Blame) -> String {
    match blame {
        Blame::Alone => "it fails alone".to_owned(),
        Blame::With(other) => format!("it fails only together with {}", reader.name(*other).visible()),
        Blame::Conflict(paths) => {
            let paths: Vec<String> = paths.iter().map(|path| visible(path)).collect();
            format!("it conflicts in {}", paths.join(", "))
        }
    }
}

fn pause(why: &PauseCause) -> String {
    match why {
        PauseCause::Person => "a person asked for it".to_owned(),
        PauseCause::Budget(exceeded) => exceeded.to_string(),
        PauseCause::Deadline => "its deadline is over".to_owned(),
        PauseCause::Parent { .. } => "the run that it is part of is paused".to_owned(),
        PauseCause::BaseIsRed { message } => {
            let last = Untrusted::from(message).last_line();
            format!("checks fail on the commit that the run starts from: {last}")
        }
        PauseCause::LandingFails { message } => {
            format!("nothing can land: {}", Untrusted::from(message).last_line())
        }
    }
}
