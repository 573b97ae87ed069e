//! Files that hand on what other files export.

use super::imports::Part;
use crate::files::File;

/// The largest file that is taken to do little else.
const BYTES: usize = 32_768;

/// Tells whether a file may hand on what it imports.
#[must_use]
pub(super) fn may_hand_on(file: &File, python: bool) -> bool {
    let text = &*file.text;
    if text.len() > BYTES {
        return false;
    }
    if python { file.name() == "__init__.py" } else { text.contains("export *") || text.contains("export {") }
}

/// Finds where a file takes a name from that it hands on: the modules, and what it is called there.
#[must_use]
pub(super) fn of(file: &File, python: bool, name: &str) -> Vec<(String, Part)> {
    if !may_hand_on(file, python) {
        return Vec::new();
    }
    if python { of_python(&file.text, name) } else { of_script(&file.text, name) }
}

/// Tells whether a text defines a name.
#[must_use]
pub(super) fn defines(text: &str, name: &str) -> bool {
    if name == "default" {
        return text.contains("export default") || text.contains("module.exports");
    }
    let starts = ["function ", "function* ", "const ", "class ", "let ", "var ", "def ", "enum ", "as "];
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
    text.match_indices(name).any(|(at, _)| {
        let before = &text[..at];
        let defined = starts.iter().any(|start| before.ends_with(start))
            || (before.is_empty() || before.ends_with('\n'))
                && text[at + name.len()..].trim_start().starts_with(['=', ':']);
        defined && ends(&text[at + name.len()..])
    })
}

/// `export { a as b } from "./m"`, `export * from "./m"`, and a name that is imported to be exported.
fn of_script(text: &str, name: &str) -> Vec<(String, Part)> {
    let (mut named, mut all) = (Vec::new(), Vec::new());
    for start in ["export ", "import "] {
        for (at, _) in text.match_indices(start) {
            if !(at == 0 || text[..at].ends_with('\n')) {
                continue;
            }
            let rest = text[at + start.len()..].trim_start_matches("type ");
            let Some((head, module)) = statement(rest) else { continue };
            if let Some(alias) = head.strip_prefix('*') {
                match alias.trim().strip_prefix("as ").map(str::trim) {
                    None if start == "export " => all.push((module, Part::Named(name.into()))),
                    Some(alias) if alias == name => named.push((module, Part::Whole)),
                    _ => {}
                }
                continue;
            }
            let inner =
                head.split_once('{').and_then(|(_, inner)| inner.split_once('}')).map(|(inner, _)| inner);
            for part in inner.unwrap_or_default().split(',') {
                let part = part.trim().trim_start_matches("type ");
                let (from, to) = part.split_once(" as ").unwrap_or((part, part));
                if to.trim() == name {
                    named.push((module.clone(), Part::Named(from.trim().into())));
                }
            }
            let default = head.split([',', '{']).next().unwrap_or_default().trim();
            if start == "import " && default == name {
                named.push((module, Part::Named("default".into())));
            }
        }
    }
    named.extend(all);
    named
}

/// Splits the rest of a statement into what stands before its `from`, and the module.
fn statement(rest: &str) -> Option<(&str, String)> {
    if !rest.starts_with(['*', '{']) && !rest.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return None;
    }
    let end = rest.find(['"', '\'', ';', '(', '='])?;
    let head = rest[..end].trim_end().strip_suffix("from")?;
    let quote = rest[end..].chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (module, _) = rest[end + 1..].split_once(quote)?;
    Some((head.trim(), module.to_owned()))
}

/// `from .m import a as b`, of one line or in brackets.
fn of_python(text: &str, name: &str) -> Vec<(String, Part)> {
    let mut found = Vec::new();
    let starts = text.match_indices("from ").filter(|(at, _)| *at == 0 || text[..*at].ends_with('\n'));
    for (at, _) in starts {
        let rest = &text[at + "from ".len()..];
        let Some((module, names)) = rest.split_once(" import ") else { continue };
        if module.contains('\n') {
            continue;
        }
        let names = match names.strip_prefix('(') {
            Some(inner) => inner.split(')').next().unwrap_or(inner),
            None => names.lines().next().unwrap_or_default(),
        };
        for part in names.split([',', '\n']) {
            let part = part.split('#').next().unwrap_or(part).trim();
            let (from, to) = part.split_once(" as ").unwrap_or((part, part));
            if to.trim() == name || part == "*" {
                let from = if part == "*" { name } else { from.trim() };
                found.push((module.trim().to_owned(), Part::Named(from.into())));
            }
        }
    }
    found
}
