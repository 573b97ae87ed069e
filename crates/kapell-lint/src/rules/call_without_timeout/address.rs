//! Where an address leads to.

use crate::code::{Id, Unit, tools};

/// How far an address is followed through names and what it is put together from.
const STEPS: u32 = 4;

/// Tells whether an address is one of another machine: written out, put together from what is, or called so. What Node runs has no
/// page whose addresses it could mean: there a plain `url` is one as well.
///
/// A plain `url` that a model gives to one of its tools is one, too: a model knows of no page that a relative address could mean.
///
/// Source: <https://nodejs.org/api/globals.html#fetch>, undici's, which takes no relative address ("Failed to parse URL").
pub(super) fn is_far(unit: &Unit, url: Id) -> bool {
    let named = || is_called_url(unit, url) && (runs_on_node(unit) || tools::is_in_tool(unit, url));
    leads(unit, url, STEPS) || named() || is_checked_url(unit, url)
}

/// Tells whether a tool takes a value under a name only as an address: `target: z.string().url()`.
///
/// Source: the documentation of Zod, "URLs": `new URL()` has to take it, which takes no relative address.
fn is_checked_url(unit: &Unit, url: Id) -> bool {
    let name = unit.text(url);
    let declares = |text: &str| {
        ["z.string().url(", "z.url("].iter().any(|kind| text.contains(&format!("{name}: {kind}")))
    };
    unit.kind(url) == "identifier" && tools::given_to(unit, url).is_some_and(|tool| declares(unit.text(tool)))
}

/// Tells whether a value is a name for an address: `url`, `hook.url`.
fn is_called_url(unit: &Unit, url: Id) -> bool {
    let last = unit.text(url).rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    matches!(unit.kind(url), "identifier" | "member_expression") && matches!(&*last, "url" | "uri" | "href")
        // One that is bound here was followed, to nothing of the kind.
        && unit.values(url, unit.text(url)).is_empty()
}

/// Parts of a text that only Node runs: its own modules, and what a program does with its arguments and its end.
const OF_NODE: &[&str] = &[
    "from \"node:",
    "from 'node:",
    "require(\"node:",
    "require('node:",
    "from \"fs\"",
    "from 'fs'",
    "from \"fs/promises\"",
    "from 'fs/promises'",
    "from \"child_process\"",
    "from 'child_process'",
    "require(\"fs\")",
    "require('fs')",
    "process.argv",
    "process.exit(",
];

/// Packages that no page loads.
const OF_SERVERS: &[&str] =
    &["server-only", "express", "fastify", "bullmq", "next/server", "@hono/node-server", "ioredis", "pg"];

fn runs_on_node(unit: &Unit) -> bool {
    let text = unit.whole();
    let imports =
        |name: &&str| ['"', '\''].iter().any(|quote| text.contains(&format!("{quote}{name}{quote}")));
    OF_NODE.iter().any(|part| text.contains(part)) || OF_SERVERS.iter().any(imports)
}

fn leads(unit: &Unit, url: Id, steps: u32) -> bool {
    let Some(steps) = steps.checked_sub(1) else { return false };
    let value = unit.value(url).unwrap_or(url);
    let text = unit.text(value).trim_start_matches(['`', '"', '\'']);
    if text.starts_with("http://") || text.starts_with("https://") || is_set(text) {
        return true;
    }
    if is_address(unit.text(value)) || is_address(unit.text(url)) {
        return true;
    }
    begins(unit, value).into_iter().any(|part| leads(unit, part, steps))
}

/// Tells whether a text is taken from the environment, and no path of one's own is.
fn is_set(text: &str) -> bool {
    text.starts_with("${process.env") || text.starts_with("process.env")
}

/// Returns what an address may begin with.
fn begins(unit: &Unit, value: Id) -> Vec<Id> {
    let child = |field| unit.syntax.child(value, field);
    match unit.kind(value) {
        // `base + path` begins with the first; `given ?? "https://..."` may be either.
        "binary_expression" => {
            let joined = unit.syntax.children(value).any(|part| unit.kind(part) == "+");
            let right = child("right").filter(|_| !joined);
            child("left").into_iter().chain(right).collect()
        }
        "template_string" => {
            let first = unit.syntax.children(value).find(|&part| !matches!(unit.kind(part), "`"));
            let inner = first.filter(|&part| unit.kind(part) == "template_substitution");
            inner.and_then(|part| unit.syntax.children(part).nth(1)).into_iter().collect()
        }
        "parenthesized_expression" => unit.syntax.children(value).nth(1).into_iter().collect(),
        "non_null_expression" | "as_expression" => unit.syntax.children(value).next().into_iter().collect(),
        "ternary_expression" => child("consequence").into_iter().chain(child("alternative")).collect(),
        "new_expression" if unit.callee_name(value) == "URL" => {
            let args = unit.args(value);
            args.get(1).or(args.first()).map(|arg| arg.value).into_iter().collect()
        }
        // `base.replace(/\/$/, "")`
        "call_expression" => {
            let kept =
                ["replace", "trim", "concat", "toString", "replaceAll"].contains(&unit.callee_name(value));
            let object =
                unit.callee(value).filter(|_| kept).and_then(|callee| unit.syntax.child(callee, "object"));
            object.into_iter().collect()
        }
        "identifier" => unit.values(value, unit.text(value)).to_vec(),
        "member_expression" => of_object(unit, unit.text(value)),
        _ => Vec::new(),
    }
}

/// Returns what a part of the object itself is set to: a field, an assignment, the default of a parameter that becomes one.
fn of_object(unit: &Unit, text: &str) -> Vec<Id> {
    let Some(name) = text.strip_prefix("this.") else { return Vec::new() };
    let fields =
        unit.syntax.of_kind(&["public_field_definition", "assignment_expression", "required_parameter"]);
    let set = fields.filter_map(|id| {
        let child = |field| unit.syntax.child(id, field);
        let (left, right) = match unit.kind(id) {
            "public_field_definition" => (child("name")?, child("value")?),
            "required_parameter" => (child("pattern")?, child("value")?),
            _ => (child("left")?, child("right")?),
        };
        let left = unit.text(left);
        (left == name || left == text).then_some(right)
    });
    set.collect()
}

/// Tells whether a name is that of an address: `this.baseUrl`, `LINEAR_OAUTH_TOKEN_URL`, `config.endpoint`.
fn is_address(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "_.#!?".contains(c));
    let last = name.trim_end_matches(['!', '?']).rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    // A plain `url` may be anything, one of this page as well.
    let ends =
        ["url", "endpoint", "api_base", "apibase", "_api", "baseuri"].iter().any(|end| last.ends_with(end));
    plain && ends && last.len() > 3
}
