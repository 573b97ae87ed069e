//! A directory within a reply that came in pieces: a path may begin in one event of the stream and end in a later one.

use std::collections::BTreeMap;

use serde_json::Value;

/// Returns a reply with `then` replaced by `now`, also where it is spread over the events of a stream.
pub(super) fn replace(reply: &str, then: &str, now: &str) -> String {
    let mut lines: Vec<Line<'_>> = reply.split_inclusive('\n').map(|line| Line::of(line, then)).collect();
    let mut streams: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
    for (at, line) in lines.iter_mut().enumerate() {
        let Line::Event { event, changed, .. } = line else { continue };
        let stream = stream_of(event);
        walk(event, &mut String::new(), &mut |pointer, text| {
            if is_piece(pointer) {
                streams.entry(format!("{stream} {pointer}")).or_default().push((at, pointer.to_owned()));
            } else if text.contains(then) {
                *text = text.replace(then, now);
                *changed = true;
            }
        });
    }
    for places in streams.values() {
        let text = |(at, pointer): &(usize, String)| match &lines[*at] {
            Line::Event { event, .. } => event.pointer(pointer).and_then(Value::as_str).unwrap_or_default(),
            Line::Other(_) => "",
        };
        let pieces: Vec<&str> = places.iter().map(text).collect();
        let Some(spread) = spread(&pieces, then, now) else { continue };
        for ((at, pointer), piece) in places.iter().zip(spread) {
            if let Line::Event { event, changed, .. } = &mut lines[*at]
                && let Some(text) = event.pointer_mut(pointer)
            {
                *changed |= text.as_str() != Some(&piece);
                *text = Value::String(piece);
            }
        }
    }
    lines.iter().map(|line| line.text(then, now)).collect()
}

/// A line of a reply.
enum Line<'a> {
    /// An event of a stream, which is written anew only if it has changed.
    Event { line: &'a str, event: Value, changed: bool },
    /// Anything else, a whole reply too.
    Other(&'a str),
}

impl<'a> Line<'a> {
    fn of(line: &'a str, then: &str) -> Self {
        let event = line.strip_prefix("data:").filter(|_| !then.is_empty());
        match event.and_then(|event| serde_json::from_str(event).ok()) {
            Some(event @ Value::Object(_)) => Self::Event { line, event, changed: false },
            _ => Self::Other(line),
        }
    }

    fn text(&self, then: &str, now: &str) -> String {
        match self {
            Self::Event { line, changed: false, .. } => (*line).to_owned(),
            Self::Event { line, event, .. } => {
                let end = &line[line.trim_end_matches(['\r', '\n']).len()..];
                format!("data: {event}{end}")
            }
            Self::Other(line) => line.replace(then, now),
        }
    }
}

/// Tells whether a text of an event is a piece of a longer one: where Anthropic and OpenAI put theirs (`delta`), and Gemini
/// (`text`).
fn is_piece(pointer: &str) -> bool {
    pointer.split('/').any(|name| name == "delta") || pointer.ends_with("/text")
}

/// Names what the pieces of an event belong to: one event may go on with one of several texts or calls.
fn stream_of(event: &Value) -> String {
    let names = ["type", "index", "item_id", "output_index", "content_index"];
    let call = &event["choices"][0]["delta"]["tool_calls"][0]["index"];
    names.iter().map(|name| event[name].to_string()).chain([call.to_string()]).collect::<Vec<_>>().join(" ")
}

/// Visits all texts of a value, with the pointers to them.
fn walk(value: &mut Value, pointer: &mut String, visit: &mut dyn FnMut(&str, &mut String)) {
    let len = pointer.len();
    match value {
        Value::String(text) => visit(pointer, text),
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                pointer.push_str(&format!("/{at}"));
                walk(item, pointer, visit);
                pointer.truncate(len);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                pointer.push_str(&format!("/{}", name.replace('~', "~0").replace('/', "~1")));
                walk(field, pointer, visit);
                pointer.truncate(len);
            }
        }
        _ => {}
    }
}

/// Replaces `then` by `now` in what the pieces come to: the piece in which it begins gets all of it. `None` if it is not
/// there.
fn spread(pieces: &[&str], then: &str, now: &str) -> Option<Vec<String>> {
    let all = pieces.concat();
    let mut ends = Vec::with_capacity(pieces.len());
    pieces.iter().fold(0, |end, piece| {
        ends.push(end + piece.len());
        end + piece.len()
    });
    let mut spread = vec![String::new(); pieces.len()];
    let mut at = 0;
    let keep = |spread: &mut Vec<String>, mut from: usize, to: usize| {
        while from < to {
            let piece = ends.partition_point(|end| *end <= from);
            let until = ends[piece].min(to);
            spread[piece].push_str(&all[from..until]);
            from = until;
        }
    };
    for (found, _) in all.match_indices(then) {
        keep(&mut spread, at, found);
        spread[ends.partition_point(|end| *end <= found)].push_str(now);
        at = found + then.len();
    }
    keep(&mut spread, at, all.len());
    (at > 0).then_some(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: &str = "/w/clone-1/tree";
    const NOW: &str = "/w/clone-1/tree/clone-10/tree";

    #[test]
    fn a_path_in_pieces_is_put_where_it_begins() {
        for (pieces, expected) in [
            (vec!["at /w/clo", "ne-1", "/tree/a and ", THEN], vec!["at NOW", "", "/a and ", "NOW"]),
            (vec!["/w/clone-1/tree/w/clone-1", "/tree"], vec!["NOWNOW", ""]),
            (vec!["", THEN, ""], vec!["", "NOW", ""]),
        ] {
            assert_eq!(spread(&pieces, THEN, "NOW").unwrap(), expected);
        }
        assert_eq!(spread(&["/w/clone-1", "0/tree"], THEN, "NOW"), None);
        assert_eq!(spread(&[], THEN, "NOW"), None);
    }

    #[test]
    fn streams_of_every_dialect_are_put_together_each_by_itself() {
        let block = |index: u32, key: &str, text: &str| {
            format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":{index},\
                 \"delta\":{{\"type\":\"d\",\"{key}\":{}}}}}\n\n",
                Value::from(text)
            )
        };
        let said = |reply: &str, pointer: &str, index: Option<u64>| -> String {
            let events = reply.lines().filter_map(|line| line.strip_prefix("data:"));
            let events = events.filter_map(|event| serde_json::from_str::<Value>(event).ok());
            let events = events.filter(|event| index.is_none_or(|index| event["index"] == index));
            events.filter_map(|event| event.pointer(pointer)?.as_str().map(str::to_owned)).collect()
        };
        let reply = block(0, "partial_json", "{\"path\":\"/w/clo")
            + &block(1, "text", "in /w/clone")
            + &block(0, "partial_json", "ne-1/tree/a.sh\"}")
            + &block(1, "text", "-1/tree.");
        let played = replace(&reply, THEN, NOW);
        assert_eq!(said(&played, "/delta/partial_json", Some(0)), format!("{{\"path\":\"{NOW}/a.sh\"}}"));
        assert_eq!(said(&played, "/delta/text", Some(1)), format!("in {NOW}."));
        for (pointer, one, other) in [
            (
                "/choices/0/delta/tool_calls/0/function/arguments",
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"/w/clone"}}]}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"-1/tree"}}]}}]}"#,
            ),
            (
                "/delta",
                r#"{"type":"response.output_text.delta","item_id":"m","delta":"/w/clone"}"#,
                r#"{"type":"response.output_text.delta","item_id":"m","delta":"-1/tree"}"#,
            ),
            (
                "/candidates/0/content/parts/0/text",
                r#"{"candidates":[{"content":{"parts":[{"text":"/w/clone"}]}}]}"#,
                r#"{"candidates":[{"content":{"parts":[{"text":"-1/tree"}]}}]}"#,
            ),
        ] {
            let played = replace(&format!("data: {one}\r\n\r\ndata:{other}\n\n: ping\n"), THEN, NOW);
            assert_eq!(said(&played, pointer, None), NOW, "{played}");
            assert!(played.contains("}\r\n\r\n") && played.ends_with("\n\n: ping\n"), "{played}");
        }
    }

    #[test]
    fn what_is_whole_is_replaced_once_and_what_is_not_concerned_stays_to_the_byte() {
        let whole = format!("{{\"path\":\"{THEN}/a\"}}\ndata: {{\"arguments\":\"{THEN}\"}}\n");
        let expected = format!("{{\"path\":\"{NOW}/a\"}}\ndata: {{\"arguments\":\"{NOW}\"}}\n");
        assert_eq!(replace(&whole, THEN, NOW), expected);
        let other = "data:  {\"b\":1, \"a\":\"\\u0041\"}\r\ndata: [DONE]\n\ndata: {broken\n";
        assert_eq!(replace(other, THEN, NOW), other);
    }
}
