//! A timeout that ends what it bounds each time: the work is asked to take longer than that.

use std::cell::LazyCell;

use kapell_spec::{finding::Span, github::Text};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    files::FileId,
    github::{
        Flow, own_scripts,
        script::{Command, Then},
    },
    repository::Repository,
    rule::Report,
};

/// After how many minutes a job is stopped that says nothing of it.
///
/// Source: GitHub, "Workflow syntax", `jobs.<job_id>.timeout-minutes`.
const DEFAULT_MINUTES: u64 = 360;

/// Programs that go on for as long as they are told, and the flags that tell them; where a bare number is one of seconds, that
/// is said.
///
/// Sources: the help of each program, and for `-fuzztime` that of `go help testflag`.
const TIMED: &[(&[&str], &[&str], bool)] = &[
    (&["k6", "run"], &["--duration", "-d"], false),
    (&["locust"], &["--run-time", "-t"], true),
    (&["wrk"], &["--duration", "-d"], true),
    (&["hey"], &["-z"], false),
    (&["oha"], &["-z"], false),
    (&["bombardier"], &["--duration", "-d"], false),
    (&["vegeta", "attack"], &["-duration"], false),
    (&["fio"], &["--runtime"], true),
    (&["stress-ng"], &["--timeout", "-t"], true),
    (&["sysbench"], &["--time"], true),
    (&["pgbench"], &["-T", "--time"], true),
    (&["go", "test"], &["-fuzztime"], false),
];

/// Words of what goes on for long on purpose, in the names of programs and of their workflows.
const LONG: &[&str] = &["soak", "load", "stress", "fuzz", "endurance", "stability", "longevity"];

/// Looks at the timeout of a job, and at those of its steps.
pub(super) fn check(repository: &Repository, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    if job.uses.is_some() || job.continue_on_error.is_some() {
        return;
    }
    beyond(flow, at, report);
    let mut whole = Taken::default();
    for (step, facts) in flow.steps(at) {
        let mut taken = Taken::default();
        let text = flow.text.get(job.span.range()).unwrap_or_default();
        let long = |command: &Command| is_long(text, command);
        taken.add(step.script(), &facts.commands, long, |command| {
            (flow.file, flow.script_line(step, command.start, ""))
        });
        for script in own_scripts::of_step(&repository.files, job, step, facts) {
            let place = |command: &Command| {
                let own = script.file.map(|file| (file, Span::new(command.start, command.end)));
                own.unwrap_or((flow.file, step.name_span()))
            };
            taken.add(&script.text, &script.facts.commands, long, place);
        }
        let bound = step.timeout.as_ref().filter(|_| step.continue_on_error.is_none());
        if let Some((limit, minutes)) = bound.and_then(|limit| Some((limit, minutes(limit)?)))
            && taken.longer_than(minutes)
        {
            return tell(flow, "this step", (Some(limit), minutes), &taken, report);
        }
        if step.condition.is_none() && step.timeout.is_none() {
            whole.join(taken);
        }
    }
    let known = match &job.timeout {
        Some(limit) => minutes(limit).map(|minutes| (Some(limit), minutes)),
        None => Some((None, DEFAULT_MINUTES)),
    };
    let Some((limit, minutes)) = known.filter(|(_, minutes)| whole.longer_than(*minutes)) else { return };
    tell(flow, &format!("`{}`", job.id.text), (limit, minutes), &whole, report);
}

/// Tells of the first step that is given more time than its job, which ends before it.
///
/// Source: GitHub, "Workflow syntax", `jobs.<job_id>.timeout-minutes`: after that the job is cancelled.
fn beyond(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let Some((limit, whole)) = job.timeout.as_ref().and_then(|limit| Some((limit, minutes(limit)?))) else {
        return;
    };
    let longer = |own: &&Text| minutes(own).is_some_and(|minutes| minutes > whole);
    let Some(own) = job.steps.iter().filter_map(|step| step.timeout.as_ref()).find(longer) else { return };
    report
        .add(
            flow.file,
            own.span,
            format!(
                "this step never gets its {} minutes: `{}` is stopped after {whole}",
                own.trim(),
                job.id.text
            ),
        )
        .severity(Severity::Medium)
        .confidence(Confidence::High)
        .also(flow.file, limit.span, "stopped by this")
        .hint("give the job more time than its longest step, or the step less")
        .done();
}

/// Reads a timeout that is written out, in minutes.
fn minutes(limit: &Text) -> Option<u64> {
    limit.literal()?.trim().parse().ok()
}

fn tell(
    flow: &Flow,
    who: &str,
    (limit, minutes): (Option<&Text>, u64),
    taken: &Taken,
    report: &mut Report<'_>,
) {
    let Some(Asked { text, file, span, .. }) = &taken.longest else { return };
    report
        .add(
            flow.file,
            limit.map_or(*span, |limit| limit.span),
            format!(
                "{who} is stopped after {minutes} minutes each time, and is asked to work for {}: `{text}`",
                taken.seconds / 60
            ),
        )
        .severity(Severity::High)
        .confidence(Confidence::High)
        .also(*file, *span, "goes on for as long as it is told")
        .hint("let the timeout be longer than the work, or the work shorter")
        .done();
}

/// How long commands take by their own words, in seconds, and the longest of them.
#[derive(Default)]
struct Taken {
    seconds: u64,
    longest: Option<Asked>,
}

/// A command that is asked to take its time.
struct Asked {
    text: String,
    /// Where it stands.
    file: FileId,
    span: Span,
    seconds: u64,
}

impl Taken {
    /// Adds the commands that run in any case, one after the other.
    fn add(
        &mut self,
        script: &str,
        commands: &[Command],
        long: impl Fn(&Command) -> bool,
        place: impl Fn(&Command) -> (FileId, Span),
    ) {
        let lasts = LazyCell::new(|| script.contains("-duration"));
        let sure = |command: &Command| {
            command.depth == 0
                && !command.asked
                && command.then != Then::Background
                && !matches!(command.after, Then::Or)
                && !command.words.iter().any(|word| word == "timeout" || word == "gtimeout")
        };
        // What stands in a function may never be called.
        let in_function = || ["() {", "(){", "function "].iter().any(|word| script.contains(word));
        for command in commands {
            let says = || *lasts && command.words.iter().any(|word| word.contains("-duration"));
            let Some(seconds) = asked_for(command, || says() && long(command)) else { continue };
            if !sure(command) {
                continue;
            }
            if in_function() {
                return;
            }
            let (file, span) = place(command);
            self.join(Self { seconds, longest: Some(Asked { text: command.text(), file, span, seconds }) });
        }
    }

    fn join(&mut self, other: Self) {
        self.seconds = self.seconds.saturating_add(other.seconds);
        if let Some(found) = other.longest
            && self.longest.as_ref().is_none_or(|known| found.seconds > known.seconds)
        {
            self.longest = Some(found);
        }
    }

    fn longer_than(&self, minutes: u64) -> bool {
        self.longest.is_some() && self.seconds >= minutes.saturating_mul(60) && minutes > 0
    }
}

/// Tells whether a program of the repository is one that goes on for long on purpose, and does not hand something out for that
/// time.
fn is_long(job: &str, command: &Command) -> bool {
    const GIVES: &[&str] = &["token", "cert", "key", "lease", "session", "login", "ttl", "create", "grant"];
    let own = command.inner().first().is_some_and(|first| first.contains('/') && !first.starts_with("/usr"));
    if !own {
        return false;
    }
    let lower = job.to_ascii_lowercase();
    let text = command.text().to_ascii_lowercase();
    LONG.iter().any(|word| lower.contains(word) || text.contains(word))
        && !GIVES.iter().any(|word| text.contains(word))
}

/// Returns for how many seconds a command is asked to go on; `long` tells whether its own `--duration` says that.
fn asked_for(command: &Command, long: impl Fn() -> bool) -> Option<u64> {
    let program = command.program();
    let timed = program == "sleep" || TIMED.iter().any(|(start, ..)| start[0] == program);
    if !timed && !long() {
        return None;
    }
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    if program == "sleep" {
        return words[1..].iter().map(|word| seconds(word, true)).sum();
    }
    let known = TIMED.iter().find(|(start, ..)| {
        start[0] == program
            && start.len() <= words.len()
            && start[1..].iter().zip(&words[1..]).all(|(a, b)| a == b)
    });
    let (flags, bare) = match known {
        Some((_, flags, bare)) => (*flags, *bare),
        None if long() => (&["--duration", "-duration"][..], false),
        None => return None,
    };
    let value = words.iter().enumerate().find_map(|(at, word)| {
        flags.iter().find_map(|flag| match word.strip_prefix(flag)? {
            "" => words.get(at + 1).copied(),
            // `-d2h`, `--duration=2h`; not `--duration-of`.
            rest => {
                let rest = rest.strip_prefix('=').unwrap_or(rest);
                rest.starts_with(|c: char| c.is_ascii_digit()).then_some(rest)
            }
        })
    })?;
    seconds(value, bare)
}

/// Reads a length of time: `2h`, `1h30m`, `90m`, `7200s`, and where a bare number is one of seconds `7200`.
fn seconds(text: &str, bare: bool) -> Option<u64> {
    let (mut total, mut number, mut any) = (0u64, String::new(), false);
    for letter in text.chars() {
        let factor = match letter {
            digit if digit.is_ascii_digit() => {
                number.push(digit);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        number.clear();
        any = true;
    }
    match number.parse::<u64>() {
        Ok(rest) if bare && !any => Some(rest),
        Err(_) if any => Some(total),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn lengths_of_time_are_read() {
        assert_eq!(seconds("1h30m", false), Some(5_400));
        assert_eq!(seconds("7200", true), Some(7_200));
        for unknown in ["7200", "1h30", "ms", "10ms", "$LONG", "", "h"] {
            assert_eq!(seconds(unknown, false), None, "{unknown}");
        }
    }
}
