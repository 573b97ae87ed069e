//! Which functions answer what comes by a socket: as many of them run at once as there are people who are connected.

use super::{APPS, function_of, is_app, keeps_for};
use crate::code::{Id, Language, Unit};

/// Modules whose servers say by an event that somebody is there, as they are imported.
const MODULES: &[&str] = &["ws", "socket.io", "http", "https", "node:http", "node:https", "net", "node:net"];

/// What is written where all who are connected are told the same: what they say to each other is one conversation.
const ROOMS: &[&str] = &["broadcast", ".clients", "io.emit(", ".to(", ".in("];

/// Finds the functions that a server calls for who connects, and for what comes from there, each with the call that says so.
pub(super) fn connected(unit: &Unit) -> Vec<(Id, Id)> {
    let text = unit.whole();
    let imports = |line: &str| {
        let named =
            |module: &str| ["'", "\""].iter().any(|quote| line.contains(&format!("{quote}{module}{quote}")));
        (line.contains(" from ") || line.contains("require(")) && MODULES.iter().any(|module| named(module))
    };
    let plain = unit.language != Language::Python && text.contains(".on(");
    if !plain || ROOMS.iter().any(|word| text.contains(word)) || !text.lines().any(imports) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for call in unit.calls() {
        let Some((event, function)) = heard(unit, call) else { continue };
        match event {
            "connection" => {
                found.push((function, call));
                let within = unit.calls_in(function).filter(|&inner| unit.function_of(inner) == function);
                let messages = within.filter_map(|inner| Some((heard(unit, inner)?.1, inner)));
                // What is kept for one connection is nobody else's.
                found.extend(messages.filter(|&(inner, _)| !keeps_for(unit, function, inner)));
            }
            // Pages of a browser have such an event as well.
            "request" if is_app(unit, call, APPS) => found.push((function, call)),
            _ => {}
        }
    }
    found
}

/// Returns the event that a call waits for, and the function of this file that is called then: `server.on("request", answer)`.
fn heard(unit: &Unit, call: Id) -> Option<(&str, Id)> {
    let args = unit.args(call);
    let [event, function] = args.as_slice() else { return None };
    let event =
        (unit.kind(event.value) == "string").then(|| unit.text(event.value).trim_matches(['"', '\'']))?;
    let named = unit.callee_name(call) == "on";
    function_of(unit, function.value).filter(|_| named).map(|function| (event, function))
}
