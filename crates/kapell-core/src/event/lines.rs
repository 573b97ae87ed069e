//! The body of a row as [`super::encode`] writes it: one event a line.
//!
//! Most events of a long run hold nothing but numbers, and the reader of JSON takes ten times as long for such a line as
//! its digits do. Whatever is written otherwise is left to that reader, which also says what is wrong with it.

use super::{Amount, Event, Outputs};
use crate::id::{AttemptNo, TaskId};

/// Reads a body, unless it is written otherwise or wrong.
///
/// No text within an event holds a line break, for JSON writes it as an escape; so lines that are events, with commas
/// between them, are the array that they look like.
pub(super) fn read(body: &str) -> Option<Vec<Event>> {
    let body = body.strip_prefix('[')?.strip_suffix(']')?;
    if body.is_empty() {
        return Some(Vec::new());
    }
    let mut events = Vec::with_capacity(body.bytes().filter(|&byte| byte == b'\n').count() + 1);
    let mut lines = body.split('\n').peekable();
    while let Some(line) = lines.next() {
        let event = if lines.peek().is_some() { line.strip_suffix(',')? } else { line };
        events.push(of_numbers(event).or_else(|| serde_json::from_str(event).ok())?);
    }
    Some(events)
}

/// Reads an event that is only about the numbers of a task and an attempt.
fn of_numbers(event: &str) -> Option<Event> {
    let (name, rest) = event.strip_prefix("{\"")?.split_once('"')?;
    let (task, rest) = number(rest.strip_prefix(":{\"task\":")?)?;
    let task = TaskId(task);
    let attempt = rest.strip_prefix(",\"attempt\":").and_then(number);
    let (attempt, rest) = attempt.map_or((None, rest), |(attempt, rest)| (Some(AttemptNo(attempt)), rest));
    if rest != "}}" {
        return None;
    }
    let (outputs, spent) = (Outputs::new(), Amount::ZERO);
    match (name, attempt) {
        ("started", Some(attempt)) => {
            let (reserved, held) = (Amount::ZERO, Amount::ZERO);
            Some(Event::Started { task, attempt, agent: None, deadline: None, reserved, held, grant: None })
        }
        ("submitted", Some(attempt)) => {
            Some(Event::Submitted { task, attempt, change: None, outputs, spent })
        }
        ("completed", None) => Some(Event::Completed { task, outputs, spent }),
        ("verified", None) => Some(Event::Verified { task }),
        ("unblocked", None) => Some(Event::Unblocked { task }),
        _ => None,
    }
}

/// Reads the number that a text starts with, as JSON writes it, and returns what follows.
fn number(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    let leads = number.len() > 1 && number.starts_with('0');
    if leads { None } else { Some((number.parse().ok()?, rest)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a body as JSON, whatever its lines are.
    fn as_json(body: &str) -> Option<Vec<Event>> {
        serde_json::from_str(body).ok()
    }

    const PLAIN: [&str; 6] = [
        r#"{"started":{"task":0,"attempt":1}}"#,
        r#"{"completed":{"task":4294967295}}"#,
        r#"{"submitted":{"task":12,"attempt":34}}"#,
        r#"{"verified":{"task":5}}"#,
        r#"{"unblocked":{"task":6}}"#,
        r#"{"woken":{"task":7}}"#,
    ];

    #[test]
    fn lines_are_read_as_the_json_that_they_are() {
        for count in 0..=PLAIN.len() {
            let body = format!("[{}]", PLAIN[..count].join(",\n"));
            let read = read(&body);
            assert_eq!(read.as_ref().map(Vec::len), Some(count));
            assert_eq!(read, as_json(&body));
        }
        for event in &PLAIN[..5] {
            assert_eq!(of_numbers(event), serde_json::from_str(event).ok(), "{event}");
        }
    }

    #[test]
    fn what_is_written_otherwise_is_never_read_as_something_else() {
        let [started, completed, ..] = PLAIN;
        let events = [
            r#"{"started":{"task":1,"attempt":1,"agent":2}}"#,
            r#"{"started":{"attempt":1,"task":1}}"#,
            r#"{"started":{"task":1}}"#,
            r#"{"completed":{"task":1,"attempt":1}}"#,
            r#"{"completed":{"task":01}}"#,
            r#"{"completed":{"task":4294967296}}"#,
            r#"{"completed":{"task":-1}}"#,
            r#"{"completed":{"task":+1}}"#,
            r#"{"completed":{"task":1.0}}"#,
            r#"{"completed":{"task":}}"#,
            r#"{"completed":{"task":1}"#,
            r#"{"completed":{"task":1}}}"#,
            r#" {"completed" : {"task":1}} "#,
            r#"{"completed":{"task":1,"outputs":{"a":"b\n,"}}}"#,
            r#"{"verified":{"task":1,"task":1}}"#,
            r#"{"nothing":{"task":1}}"#,
            r#"{"noted":{"task":1,"attempt":1,"text":"],\n["}}"#,
            "{}",
            "",
        ];
        let mut bodies: Vec<String> = events.iter().map(|event| format!("[{event}]")).collect();
        bodies.extend(events.iter().map(|event| format!("[{started},\n{event},\n{completed}]")));
        for between in ["\n", ",", ",\n,\n", ",\n\n", " ,\n", ",\r\n", ", \n", ""] {
            bodies.push(format!("[{started}{between}{completed}]"));
            bodies.push(format!("[{started}{between}]"));
            bodies.push(format!("[{between}{started}]"));
        }
        bodies.extend(["", "[", "]", "[]", "[]]", "[ ]", "[\n]"].map(str::to_owned));
        for body in bodies {
            // It may be left to the other reader, but never read in another way.
            let read = read(&body);
            assert!(read.is_none() || read == as_json(&body), "{body}: {read:?}");
        }
    }
}
