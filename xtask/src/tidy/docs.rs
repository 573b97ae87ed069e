//! Rules for pages: every crate states its invariant, the architecture repeats it, and links lead somewhere.

use super::{Complaint, Tree};

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const MARK: &str = "**Invariant:**";

/// Every crate states what always holds in it, and the architecture page says the same.
pub(super) fn invariants(tree: &Tree) -> Vec<Complaint> {
    let page = plain(tree.get(ARCHITECTURE).unwrap_or_default());
    let mut complaints = Vec::new();
    for name in tree.crates() {
        let paths = ["lib.rs", "main.rs"].map(|file| format!("crates/{name}/src/{file}"));
        let Some((path, text)) = paths.iter().find_map(|path| Some((path, tree.get(path)?))) else {
            continue;
        };
        match invariant(text) {
            None => complaints.push(Complaint::new(path, 0, format!("{name} states no `{MARK}`"))),
            Some(said) if !page.contains(&plain(&said)) => {
                let what = format!("the invariant of {name} is not repeated as it stands in {path}");
                complaints.push(Complaint::new(ARCHITECTURE, 0, what));
            }
            Some(_) => {}
        }
    }
    complaints
}

/// Returns the paragraph of a crate's first comment that states its invariant.
fn invariant(text: &str) -> Option<String> {
    let comment = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let lines = comment.skip_while(|line| !line.starts_with(MARK)).take_while(|line| !line.is_empty());
    let said = lines.collect::<Vec<_>>().join(" ");
    (said.len() > MARK.len()).then(|| said[MARK.len()..].trim().to_owned())
}

/// Returns a text without links and line breaks.
fn plain(text: &str) -> String {
    let text = text.replace("[`", "`").replace("`]", "`");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Every link of a page leads to a file, and to a heading in it.
pub(super) fn links(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (path, text) in tree.ending(".md") {
        for (number, link) in linked(text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) =
                link.split_once('#').map_or((link, None), |(file, head)| (file, Some(head)));
            let Some(target) = resolve(path, file) else {
                complaints.push(Complaint::new(path, number, format!("`{link}` leads out of the project")));
                continue;
            };
            if !tree.has(&target) {
                complaints.push(Complaint::new(path, number, format!("`{link}` leads nowhere")));
                continue;
            }
            let page = tree.get(&target).unwrap_or_default();
            if heading.is_some_and(|heading| !anchors(page).any(|anchor| anchor == heading)) {
                complaints.push(Complaint::new(path, number, format!("`{link}` leads to no heading")));
            }
        }
    }
    complaints
}

/// Returns the links of a page with their lines, blocks of code aside.
fn linked(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let inline = line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        let quoted = |key: &'static str| {
            line.split(key).skip(1).filter_map(|rest| rest.split_once('"')).map(|(link, _)| link)
        };
        let all = inline.chain(quoted("src=\"")).chain(quoted("href=\""));
        found.extend(all.filter(|link| !link.is_empty()).map(|link| (index + 1, link)));
    }
    found
}

/// Returns the path from the top that a link in `page` means, or nothing if it leaves the project.
fn resolve(page: &str, link: &str) -> Option<String> {
    if link.is_empty() {
        return Some(page.to_owned());
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Returns the anchors of a page's headings, made as GitHub makes them.
fn anchors(page: &str) -> impl Iterator<Item = String> {
    let headings = page
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| line.trim_start_matches('#').trim());
    headings.map(|heading| {
        let kept = heading.to_lowercase();
        kept.chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::{super::tests::said, *};

    #[test]
    fn a_crate_without_an_invariant_is_found() {
        let files = [
            ("crates/a/Cargo.toml", ""),
            ("crates/a/src/lib.rs", "//! A crate.\n\n// **Invariant:** none\n"),
            ("crates/b/Cargo.toml", ""),
            ("crates/b/src/main.rs", "//! **Invariant:**\n"),
        ];
        assert_eq!(
            said(invariants, &files),
            "crates/a/src/lib.rs: a states no `**Invariant:**`\ncrates/b/src/main.rs: b states no `**Invariant:**`"
        );
    }

    #[test]
    fn an_invariant_that_the_page_tells_otherwise_is_found() {
        let lib = "//! A crate.\n//!\n//! **Invariant:** knows [`x`] and\n//! no more.\n//!\n//! Else.\n";
        let with = |page| [("crates/a/Cargo.toml", ""), ("crates/a/src/lib.rs", lib), (ARCHITECTURE, page)];
        assert_eq!(said(invariants, &with("a: knows `x`\nand no more. Else.")), "");
        let complaint =
            "ARCHITECTURE.md: the invariant of a is not repeated as it stands in crates/a/src/lib.rs";
        assert_eq!(said(invariants, &with("a: knows `x` and y.")), complaint);
    }

    #[test]
    fn broken_links_are_found() {
        let page = "[a](b.md) [b](b.md#two-words) [c](../README.md) [d](guide/)\n\
                    [x](c.md) [y](b.md#three) [z](../../out.md)\n\
                    ```\n[n](no.md)\n```\n\
                    <img src=\"pic.svg\"> [e](#here)\n# Here\n";
        let files = [
            ("docs/a.md", page),
            ("docs/b.md", "## Two `words`"),
            ("README.md", ""),
            ("docs/guide/x.md", ""),
        ];
        assert_eq!(
            said(links, &files),
            "docs/a.md:2: `c.md` leads nowhere\n\
             docs/a.md:2: `b.md#three` leads to no heading\n\
             docs/a.md:2: `../../out.md` leads out of the project\n\
             docs/a.md:6: `pic.svg` leads nowhere"
        );
    }
}
