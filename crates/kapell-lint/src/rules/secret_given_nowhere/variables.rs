//! Variables without which the code of a service ends when it starts, and which what runs it does not give.

mod runners;
mod schemas;

use kapell_spec::finding::Span;
use kapell_view::audit::Confidence;

use self::runners::Runner;
use crate::{code, files::File, repository::Repository, rule::Report};

/// Words of code that reads a file of variables.
const READS_FILE: &[&str] = &[
    "dotenv",
    "env_file",
    "env-file",
    "loadEnvFile",
    "envFile",
    "read_env",
    "decouple",
    "dynaconf",
    "ConfigModule",
    "environs",
];

/// Packages that read `.env` by themselves, and options that do.
const LOADERS: &[&str] = &[
    "\"next\":",
    "\"nuxt\":",
    "\"vite\":",
    "\"astro\":",
    "\"@sveltejs/kit\":",
    "\"@nestjs/config\":",
    "@remix-run",
    "dotenv",
    "--env-file",
    "bun ",
    "\"bun-types\":",
    "\"@types/bun\":",
];

/// Programs that put variables in from a store of their own.
const INJECTORS: &[&str] = &[
    "doppler run",
    "infisical run",
    "op run",
    "sops exec-env",
    "chamber exec",
    "vault.hashicorp.com",
    "dotenvx",
    "teller run",
];

/// Tells of variables that the code asks for in one breath with others that are given, and that no file but code names.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let runners = runners::all(repository);
    if runners.is_empty() {
        return;
    }
    let files = || repository.files.iter().filter(|(_, file)| in_service(&file.path));
    // What reads a file of variables may be given any.
    if files().any(|(_, file)| READS_FILE.iter().any(|word| file.text.contains(word))) {
        return;
    }
    let injects = |file: &File| {
        let own = if file.name() == "package.json" { LOADERS } else { INJECTORS };
        !crate::files::is_code(&file.path) && own.iter().any(|word| file.text.contains(word))
    };
    if repository.files.iter().any(|(_, file)| injects(file)) {
        return;
    }
    let named = |name: &str| {
        repository
            .files
            .iter()
            .any(|(_, file)| !crate::files::is_code(&file.path) && file.text.contains(name))
    };
    for (id, file) in files() {
        let asked = required(file);
        let mut told: Vec<&str> = Vec::new();
        for one in &asked {
            let beside = |runner: &&Runner<'_>| {
                let below = runner.folder.is_empty() || file.path.starts_with(&format!("{}/", runner.folder));
                below
                    && runner.has_to_show(&one.name)
                    && !runner.gives.contains(&one.name)
                    && asked
                        .iter()
                        .any(|other| other.block == one.block && runner.gives.contains(&other.name))
            };
            let Some(runner) = runners.iter().find(beside) else { continue };
            if told.contains(&&*one.name) || set_in_code(repository, &one.name) || named(&one.name) {
                continue;
            }
            told.push(&one.name);
            let message = format!(
                "`{}` is not given `{}`, without which its code ends: no file but the code names it",
                runner.name, one.name
            );
            report
                .add(runner.file, runner.span, message)
                .severity(runner.severity)
                .confidence(Confidence::Medium)
                .hint(format!("give it `{}` beside its other variables", one.name))
                .also(id, one.span, "asked for here")
                .done();
        }
    }
}

/// Tells whether a file is code that a service runs, and no script beside it.
fn in_service(path: &str) -> bool {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    let aside = ["scripts", "script", "tools", "bin", "ci", ".github", ".claude", "hooks", "infra", "deploy"];
    code::wanted(path) && !folders.split('/').any(|folder| aside.contains(&folder))
}

/// Tells whether some code sets a variable itself, or can do without it.
fn set_in_code(repository: &Repository, name: &str) -> bool {
    let sets = [
        format!("environ[\"{name}\"] ="),
        format!("environ['{name}'] ="),
        format!("environ.get(\"{name}\""),
        format!("environ.get('{name}'"),
        format!("getenv(\"{name}\""),
        format!("getenv('{name}'"),
        format!("setdefault(\"{name}\""),
        format!("\"{name}\" in os.environ"),
        format!("\"{name}\" not in os.environ"),
        format!("process.env.{name} ="),
        format!("process.env.{name} ?"),
        format!("process.env.{name} |"),
    ];
    let code = repository.files.iter().filter(|(_, file)| crate::files::is_code(&file.path));
    code.into_iter().any(|(_, file)| sets.iter().any(|form| file.text.contains(&**form)))
}

fn is_name(name: &str) -> bool {
    let known = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    name.len() > 3 && name.chars().all(known) && name.starts_with(|c: char| c.is_ascii_uppercase())
}

/// A variable without which code ends.
struct Asked {
    name: String,
    span: Span,
    /// What is asked for together: the number of the statement at the top, or one for all that is run when the file is loaded.
    block: Option<usize>,
}

/// Finds the variables without which the code of a file ends.
fn required(file: &File) -> Vec<Asked> {
    let text = &*file.text;
    let mut found = Vec::new();
    let add = |found: &mut Vec<Asked>, at: usize, name: &str| {
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let before = text[line..at].trim_start();
        // What is only asked for later may never be.
        let later = ["=>", "lambda", "get ", "#", "//", "*"].iter().any(|word| before.contains(word));
        if is_name(name) && !later {
            let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
            found.push(Asked { name: name.to_owned(), span: Span::new(at, end), block: block(text, at) });
        }
    };
    if file.path.ends_with(".py") {
        for (at, start) in text.match_indices("os.environ[") {
            let Some((name, rest)) = quoted(&text[at + start.len()..]) else { continue };
            let sets = rest.trim_start_matches(']').trim_start();
            if rest.starts_with(']') && (!sets.starts_with('=') || sets.starts_with("==")) && !tried(text, at)
            {
                add(&mut found, at, name);
            }
        }
    }
    let keys = if file.path.ends_with(".py") { schemas::of_python(text) } else { schemas::of_script(text) };
    for (at, name) in &keys {
        let end = text[*at..].find('\n').map_or(text.len(), |end| at + end);
        found.push(Asked { name: name.clone(), span: Span::new(*at, end), block: block(text, *at) });
    }
    found.extend(checked(text));
    for helper in helpers(text) {
        let call = format!("{helper}(");
        for (at, _) in text.match_indices(&*call) {
            let joined = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
            let given = quoted(&text[at + call.len()..]).filter(|(_, rest)| rest.starts_with(')') && !joined);
            if let Some((name, _)) = given.filter(|_| !tried(text, at)) {
                add(&mut found, at, name);
            }
        }
    }
    for (at, start) in text.match_indices("!process.env.") {
        let rest = &text[at + start.len()..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let ahead: String = rest.chars().take(160).collect();
        let whole = ahead.lines().next().unwrap_or_default();
        let plain = text[line..at].trim_start().starts_with("if (") && !whole.contains("&&");
        if plain && ends(&ahead) && !text[line..at].contains("&&") {
            add(&mut found, at, &rest[..end]);
        }
    }
    found
}

/// Finds variables that a name is set to, and without which the next lines end the program:
/// `const key = process.env.KEY; if (!key) throw ...`.
fn checked(text: &str) -> Vec<Asked> {
    let mut found = Vec::new();
    for (at, start) in text.match_indices("= process.env.") {
        let rest = &text[at + start.len()..];
        let name = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())];
        let after = rest[name.len()..].trim_start_matches(';');
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let own = text[line..at].trim();
        let own = own.strip_prefix("export ").unwrap_or(own).strip_prefix("const ");
        let Some(own) = own.filter(|_| after.starts_with(['\n', '\r']) && is_name(name)) else { continue };
        let own = own.split(':').next().unwrap_or(own).trim();
        let next: String = after.chars().take(300).collect();
        let check = format!("if (!{own})");
        let Some(ahead) = next.split_once(&*check).map(|(_, ahead)| ahead) else { continue };
        if ends(ahead) && block(text, line).is_none() {
            let end = line + text[line..].lines().next().unwrap_or_default().len();
            found.push(Asked { name: name.to_owned(), span: Span::new(line, end), block: None });
        }
    }
    found
}

/// Tells whether what follows a check ends the program, before anything else is done.
fn ends(ahead: &str) -> bool {
    let first = ahead.split(['}', ';']).next().unwrap_or_default();
    first.contains("throw ") || first.contains("process.exit(")
}

/// Reads a text in quotes, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    text[1..].split_once(quote)
}

/// Tells whether somebody waits for the failure.
fn tried(text: &str, at: usize) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let own = indent(&text[start..]);
    let above = text[..start].lines().rev().take(12);
    let mut around = above.filter(|line| !line.trim().is_empty() && indent(line) < own);
    around.any(|line| line.trim_start().starts_with("try"))
}

/// Finds the functions that are handed the name of a variable, and end where it is not set: `function need(name)`.
fn helpers(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, start) in text.match_indices("process.env[").chain(text.match_indices("os.environ[")) {
        let rest = &text[at + start.len()..];
        let Some((parameter, after)) = rest.split_once(']') else { continue };
        let head = text[..at].rfind("function ").map(|found| found + "function ".len());
        let head = head.max(text[..at].rfind("def ").map(|found| found + "def ".len()));
        let head = head.max(
            text[..at]
                .rfind("const ")
                .filter(|&from| text[from..at].contains("=>"))
                .map(|from| from + "const ".len()),
        );
        let Some(head) = head.filter(|&head| at - head < 200) else { continue };
        let whole = &text[head..at];
        let name =
            whole.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').next().unwrap_or_default();
        let Some((given, _)) = whole.split_once('(').and_then(|(_, rest)| rest.split_once(')')) else {
            continue;
        };
        // With a second one it may do without.
        let one = given.split([':', ' ']).next() == Some(parameter) && !given.contains(',');
        let ahead: String = after.chars().take(200).collect();
        let ahead = ahead.split("\n}").next().unwrap_or_default();
        let python = start.starts_with("os.");
        if one && (python || ahead.contains("throw ") || ahead.contains("process.exit(")) && !name.is_empty()
        {
            found.push(name);
        }
    }
    found
}

/// Returns which statement at the top of a file a place belongs to; `None` where it is run when the file is loaded.
fn block(text: &str, at: usize) -> Option<usize> {
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    let heads = text[..end]
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with([' ', '\t', ')', ']', '}', '@', '#', '/']));
    let (number, head) = heads.last()?;
    let plain =
        head.trim_start_matches("export ").trim_start_matches("default ").trim_start_matches("async ");
    let later = ["function ", "function*", "def ", "class "].iter().any(|word| plain.starts_with(word))
        || plain.ends_with("=> {")
        || plain.ends_with("=>");
    later.then_some(number)
}
