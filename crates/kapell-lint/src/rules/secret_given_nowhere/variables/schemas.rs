//! Variables that a schema of settings asks for when code starts: zod, envalid, t3-env, pydantic-settings.

/// A key of a schema that has no default: where it is asked for, and the name of the variable.
pub(super) type Key = (usize, String);

/// Finds the variables that the schemas of a script ask for.
pub(super) fn of_script(text: &str) -> Vec<Key> {
    let read =
        ["parse(process.env)", "Parse(process.env)", "parse(Bun.env)"].iter().any(|form| text.contains(form));
    let mut found = Vec::new();
    if read {
        for (at, start) in text.match_indices("z.object({") {
            // What is refined or made optional as a whole may do without.
            found.extend(keys(
                text,
                at + start.len(),
                &["optional()", "default(", "nullish()", "catch(", "preprocess("],
            ));
        }
    }
    for start in ["cleanEnv(process.env, {", "cleanEnv(process.env,{"] {
        for (at, _) in text.match_indices(start) {
            found.extend(keys(text, at + start.len(), &["default:", "devDefault:", "undefined"]));
        }
    }
    if text.contains("createEnv({") {
        for (at, start) in text.match_indices("server: {") {
            found.extend(keys(text, at + start.len(), &["optional()", "default(", "nullish()", "catch("]));
        }
    }
    found
}

/// Returns the keys of an object that begins at a place, but for those that can do without a value.
fn keys(text: &str, from: usize, without: &[&str]) -> Vec<Key> {
    let (mut depth, mut end) = (1_i32, text.len());
    for (at, c) in text[from..].char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            end = from + at;
            break;
        }
    }
    // A schema that is narrowed or merged is another one, and one that is left partly out asks for less.
    if [".partial()", ".omit(", ".pick("]
        .iter()
        .any(|form| text[end..].trim_start_matches(['}', ')']).starts_with(form))
    {
        return Vec::new();
    }
    let mut found: Vec<(usize, String, bool)> = Vec::new();
    let (mut at, mut inner) = (from, 0_i32);
    for line in text[from..end].split_inclusive('\n') {
        let start = at + line.len() - line.trim_start().len();
        at += line.len();
        let own = line.trim_start();
        let key = own.split_once(':').map(|(key, _)| key.trim().trim_matches(['"', '\'']));
        if let Some(key) = key.filter(|key| inner == 0 && super::is_name(key)) {
            found.push((start, key.to_owned(), true));
        }
        // A chain of calls goes on in the next lines.
        if let Some((_, _, needed)) = found.last_mut() {
            *needed &= !without.iter().any(|form| own.contains(form));
        }
        inner += own.matches(['{', '(', '[']).count() as i32 - own.matches(['}', ')', ']']).count() as i32;
    }
    found.into_iter().filter(|(_, _, needed)| *needed).map(|(at, key, _)| (at, key)).collect()
}

/// Types of which a variable is one value.
const PLAIN: &[&str] = &[
    "str",
    "int",
    "bool",
    "float",
    "SecretStr",
    "PostgresDsn",
    "RedisDsn",
    "AmqpDsn",
    "MongoDsn",
    "AnyUrl",
    "AnyHttpUrl",
    "HttpUrl",
    "EmailStr",
    "Path",
];

/// Finds the variables that the settings of a file of Python ask for.
pub(super) fn of_python(text: &str) -> Vec<Key> {
    let mut found = Vec::new();
    for (at, start) in text.match_indices("(BaseSettings):") {
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let Some(class) = text[line..at].strip_prefix("class ") else { continue };
        let made = [format!("= {class}()"), format!("return {class}()")];
        if !made.iter().any(|form| text.contains(&**form)) {
            continue;
        }
        let from = at + start.len();
        let body = &text[from..];
        let end = body
            .match_indices('\n')
            .find(|(end, _)| body[end + 1..].starts_with(|c: char| !c.is_whitespace() && c != '#'));
        let body = &body[..end.map_or(body.len(), |(end, _)| end)];
        // Aliases, nested settings and other sources give names of their own.
        if ["alias", "settings_customise_sources", "env=", "cli_parse"].iter().any(|word| body.contains(word))
        {
            continue;
        }
        let prefix = body.split_once("env_prefix").and_then(|(_, rest)| {
            let rest = rest.trim_start_matches([' ', '=', ':', '"', '\'']);
            Some(rest.split(['"', '\'']).next()?.to_ascii_uppercase())
        });
        let mut at = from;
        for line in body.split_inclusive('\n') {
            let start = at + line.len() - line.trim_start().len();
            at += line.len();
            let own = line.split(" #").next().unwrap_or(line).trim_end();
            let field = own.strip_prefix("    ").and_then(|own| own.split_once(": "));
            let Some((name, kind)) =
                field.filter(|(name, _)| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
            else {
                continue;
            };
            if PLAIN.contains(&kind.trim()) {
                let name = format!("{}{}", prefix.as_deref().unwrap_or_default(), name.to_ascii_uppercase());
                found.push((start, name));
            }
        }
    }
    found
}
