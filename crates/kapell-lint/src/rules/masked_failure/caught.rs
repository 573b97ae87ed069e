//! Scripts of JavaScript whose last line prints what failed, and lets the script end well.

use kapell_view::audit::Severity;

use super::Lost;
use crate::github::script::is_variable;

/// What only prints what a promise came to.
const PRINTS: &[&str] = &[
    ".catch(console.error)",
    ".catch(console.log)",
    ".catch(e => console.error(e))",
    ".catch((e) => console.error(e))",
];

/// Words of a script that ends with a status of its own.
const ENDS: &[&str] = &["process.exit", "exitCode", "Deno.exit"];

/// Programs that run such a script.
pub(super) const RUNNERS: &[&str] = &["node", "tsx", "ts-node", "bun"];

/// Returns where a text calls its `main` and only prints that it failed: `main().catch(console.error)`.
///
/// Source: Node.js, "Command-line API", `--unhandled-rejections`: by default a rejection that nobody handles ends the process as an
/// exception does that nobody catches; one that is handled does not.
pub(super) fn lost(text: &str) -> Option<(usize, Lost)> {
    // Hardly any script says so.
    if !text.contains(".catch(") || ENDS.iter().any(|word| text.contains(word)) {
        return None;
    }
    let mut at = 0;
    text.split_inclusive('\n').find_map(|line| {
        let start = at + (line.len() - line.trim_start().len());
        at += line.len();
        let code = line.trim().trim_end_matches(';');
        let call = PRINTS.iter().find_map(|end| code.strip_suffix(end))?;
        let name = call.strip_suffix("()").filter(|name| is_variable(name))?;
        let message = format!("a failure of `{name}` is only printed, and the script ends well");
        Some((start, Lost::new(Severity::Medium, message, "set `process.exitCode = 1` where it is caught")))
    })
}
