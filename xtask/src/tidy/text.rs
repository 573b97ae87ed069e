//! Rules for every file that is text: length, hosts, paths of one machine, codes.

use std::collections::BTreeSet;

use super::{Complaint, Tree};

/// Lines in a file, at most.
const LINES_MAX: usize = 900;

/// No source and no page is longer than a person reads in one go.
pub(super) fn lengths(tree: &Tree) -> Vec<Complaint> {
    let files = tree.ending(".rs").chain(tree.ending(".md"));
    let long = files.map(|(path, text)| (path, text.lines().count())).filter(|(_, lines)| *lines > LINES_MAX);
    long.map(|(path, lines)| Complaint::new(path, 0, format!("{lines} lines, more than {LINES_MAX}")))
        .collect()
}

/// Hosts that the project may name.
const HOSTS: &[&str] = &[
    "github.com",
    "docs.github.com",
    "docs.rs",
    "doc.rust-lang.org",
    "rustup.rs",
    "code.claude.com",
    "json.schemastore.org",
    "opencode.ai",
    "cursor.com",
    "geminicli.com",
    "code.visualstudio.com",
    "sqlite.org",
    "www.sqlite.org",
    "json-schema.org",
    "git-scm.com",
    "nexte.st",
    "www.w3.org",
    "www.apache.org",
    "keepachangelog.com",
    "semver.org",
    "docs.docker.com",
    "docs.netlify.com",
    "docs.gitlab.com",
    "vercel.com",
    "kubernetes.io",
    "kubectl.docs.kubernetes.io",
    "docs.aws.amazon.com",
    "docs.celeryq.dev",
    "docs.npmjs.com",
    "nodejs.org",
    "docs.python.org",
    "docs.langchain.com",
    "docs.crewai.com",
    "openai.github.io",
    "playwright.dev",
    "agentskills.io",
    "fly.io",
    "laravel.com",
    // What is looked for in code that calls models.
    "api.openai.com",
    "api.anthropic.com",
    "api.cohere.com",
    "generativelanguage.googleapis.com",
    // Where prices stand.
    "platform.claude.com",
    "developers.openai.com",
    "ai.google.dev",
    // Kept for examples.
    "example.org",
    "example.com",
    "localhost",
    "127.0.0.1",
];

/// Nothing leads to a host that is not known to belong here, such as one machine's mirror of a registry.
pub(super) fn hosts(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (path, text) in tree.ending("") {
        for (index, line) in text.lines().enumerate() {
            let ends = line
                .match_indices("://")
                .filter(|(at, _)| line[..*at].ends_with(|c: char| c.is_alphabetic()));
            for (at, marker) in ends {
                let rest = &line[at + marker.len()..];
                let end = rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-')
                    .unwrap_or(rest.len());
                let host = rest[..end].trim_end_matches('.');
                // Names below these are for examples, too (RFC 2606).
                let of_examples =
                    [".example.org", ".example.com"].iter().any(|domain| host.ends_with(domain));
                if host.contains('.') && !of_examples && !HOSTS.contains(&host) {
                    complaints.push(Complaint::new(path, index + 1, format!("unknown host `{host}`")));
                }
            }
        }
    }
    complaints
}

/// Nothing depends on, or tells of, the machine that it was written on.
pub(super) fn machine_paths(tree: &Tree) -> Vec<Complaint> {
    // Put together here, since this file is looked at as well.
    let starts =
        [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    let mut complaints = Vec::new();
    for (path, text) in tree.ending("") {
        for (index, line) in text.lines().enumerate() {
            let here = |start: &&&str| {
                line.match_indices(**start).any(|(at, _)| {
                    // `target/work/x` is a path of ours.
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_.-}$)]".contains(c))
                })
            };
            if let Some(start) = starts.iter().find(here) {
                complaints.push(Complaint::new(path, index + 1, format!("path of one machine: `{start}`")));
            }
        }
    }
    complaints
}

/// Every code that is named anywhere has an explanation.
pub(super) fn codes(tree: &Tree) -> Vec<Complaint> {
    let tables = tree.ending("/codes.rs").flat_map(|(_, text)| text.lines().filter_map(explained));
    let known: BTreeSet<&str> = tables.collect();
    let mut complaints = Vec::new();
    for (path, text) in tree.ending(".rs").chain(tree.ending(".md")) {
        // Tests name codes that do not exist to see them refused.
        if path.contains("/tests/") || path.ends_with("/codes.rs") || path.starts_with("xtask/") {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            let unknown = named(line).filter(|code| !known.contains(code));
            complaints.extend(
                unknown.map(|code| Complaint::new(path, index + 1, format!("`{code}` has no explanation"))),
            );
        }
    }
    complaints
}

/// Returns the code that a line of a table explains: `"K0123", "Title",`, with or without a name before it.
fn explained(line: &str) -> Option<&str> {
    let mut pieces = line.split('"');
    let code = pieces.nth(1)?;
    (is_code(code) && pieces.next()?.trim() == ",").then_some(code)
}

/// Returns the codes in a line.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| is_code(word))
}

fn is_code(word: &str) -> bool {
    word.len() == 5 && word.starts_with('K') && word[1..].bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::said, *};

    #[test]
    fn long_files_are_found() {
        let (long, fits) = ("x\n".repeat(LINES_MAX + 1), "x\n".repeat(LINES_MAX));
        let files = [("a.rs", &*long), ("b.rs", &*fits), ("c.snap", &*long)];
        assert_eq!(said(lengths, &files), "a.rs: 901 lines, more than 900");
    }

    #[test]
    fn strange_hosts_are_found() {
        let scheme = concat!("https", "://");
        let text =
            format!("{scheme}github.com/a {scheme}mirror.internal/b\nplain {scheme}${{host}}/ {scheme}x");
        assert_eq!(said(hosts, &[("Cargo.lock", &text)]), "Cargo.lock:1: unknown host `mirror.internal`");
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let (bad, good) = (concat!("see /ro", "ot/x"), concat!("target/wo", "rk/x and $HOME/wo", "rk/"));
        let complaint = concat!("a.md:1: path of one machine: `/ro", "ot/`");
        assert_eq!(said(machine_paths, &[("a.md", bad), ("b.sh", good)]), complaint);
    }

    #[test]
    fn codes_without_an_explanation_are_found() {
        let files = [
            ("crates/a/src/codes.rs", "NAME = \"K0101\", \"Title\",\n\"K0102\", \"Title\",\nfind(\"K0104\")"),
            ("crates/a/src/b.rs", "fault(\"K0101\"); fault(\"K0103\")"),
            ("docs/a.md", "`K0102`, K0104."),
            ("crates/a/tests/it/a.rs", "K9999"),
        ];
        assert_eq!(
            said(codes, &files),
            "crates/a/src/b.rs:1: `K0103` has no explanation\ndocs/a.md:1: `K0104` has no explanation"
        );
    }
}
