//! Scripts of Python whose `main` says by what it returns whether all is well, and whose last line throws that away.

use kapell_view::audit::Severity;

use super::Lost;

/// Words of what ends a script of Python with a status of its own.
const ENDS: &[&str] = &["exit(", "SystemExit", "exitcode", "click", "typer", "argh", "fire."];

/// Returns where `main()` is called and what it returns is lost, which some way through it is not 0.
///
/// Source: Python, "`__main__`", section "Idiomatic Usage": what `main` returns is the status only by `sys.exit(main())`.
pub(super) fn lost(text: &str) -> Option<(usize, Lost)> {
    if ENDS.iter().any(|word| text.contains(word)) {
        return None;
    }
    let guard = ["if __name__ == \"__main__\":", "if __name__ == '__main__':"];
    let (start, guard) = guard.iter().find_map(|guard| Some((text.find(guard)?, guard)))?;
    let behind = start + guard.len();
    let mut at = behind;
    let mut calls = text[behind..].split_inclusive('\n').filter_map(|line| {
        let own = at + (line.len() - line.trim_start().len());
        at += line.len();
        let code = line.split('#').next().unwrap_or(line).trim();
        (!code.is_empty()).then_some((own, code))
    });
    let (Some((place, call)), None) = (calls.next(), calls.next()) else { return None };
    let fails = call.starts_with("main(") && call.ends_with(')') && tells(body(text)?);
    fails.then(|| {
        let message = format!("what `{call}` returns is lost, so the script ends well whatever it finds");
        (place, Lost::new(Severity::High, message, format!("write `sys.exit({call})`")))
    })
}

/// Returns the lines of the function `main`, if it has none within.
fn body(text: &str) -> Option<&str> {
    let start = if text.starts_with("def main(") { 0 } else { text.find("\ndef main(")? + 1 };
    let mut end = start;
    for (index, line) in text[start..].split_inclusive('\n').enumerate() {
        let outside = !line.trim().is_empty() && !line.starts_with([' ', '\t', ')', '#']);
        if index > 0 && outside {
            break;
        }
        end += line.len();
    }
    let own = &text[start..end];
    (!own[1..].contains("def ")).then_some(own)
}

/// Tells whether a function returns numbers, one of which is not 0: `return 1 if broken else 0`.
fn tells(body: &str) -> bool {
    let returned = || body.lines().filter_map(|line| line.trim().strip_prefix("return "));
    let number = |text: &str| text.split('#').next().unwrap_or(text).trim().parse::<i64>().ok();
    let values = |text: &str| -> Option<Vec<i64>> {
        let plain = number(text).map(|value| vec![value]);
        plain.or_else(|| {
            let (first, rest) = text.split_once(" if ")?;
            let (_, second) = rest.rsplit_once(" else ")?;
            Some(vec![number(first)?, number(second)?])
        })
    };
    let all: Option<Vec<Vec<i64>>> = returned().map(values).collect();
    let all: Vec<i64> = all.unwrap_or_default().concat();
    all.contains(&0) && all.iter().any(|value| *value != 0)
}
