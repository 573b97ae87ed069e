//! The roles that a repository defines: `.claude/agents`, `.codex/agents`, and sections of `AGENTS.md`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use kapell_spec::{
    claude::{codex, definition::Definition, markdown::Heading},
    workflow,
};

/// Files larger than this define no role, in bytes.
const ROLE_BYTES_MAX: u64 = 1 << 20;

/// The most of a role's text that is taken, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The most roles that are listed.
const ROLES_MAX: usize = 1000;

/// Headings of `AGENTS.md` below which each heading is a role.
const HEADINGS: [&str; 4] = ["roles", "agents", "agent roles", "team"];

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Whose format it is in: `claude`, `codex` or `AGENTS.md`.
    pub host: &'static str,
    /// The file, from the root.
    pub file: String,
    /// The adapter of the client that it was written for, if it was written for one.
    pub adapter: Option<&'static str>,
    /// What it is for.
    pub about: Option<String>,
    /// The model that it asks for.
    pub model: Option<String>,
    /// What it can do: what it says itself, and its name.
    pub skills: BTreeSet<String>,
    /// What whoever has it is told.
    pub text: String,
}

/// Reads the roles that the repository at `root` defines.
pub fn roles(root: &Path) -> Vec<Role> {
    let mut roles = Vec::new();
    for (dir, end, read) in [
        (".claude/agents", "md", claude as fn(&str, Role) -> Role),
        (".codex/agents", "toml", codex as fn(&str, Role) -> Role),
    ] {
        for path in files(&root.join(dir), end) {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let file = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            roles.push(named(read(&text, empty(stem, file))));
        }
    }
    roles.extend(sections(root));
    roles.sort();
    roles
}

fn empty(name: String, file: String) -> Role {
    let (about, model, skills, text) = (None, None, BTreeSet::new(), String::new());
    Role { name, host: "AGENTS.md", file, adapter: None, about, model, skills, text }
}

/// Adds the name of a role to its skills: who asks for a `reviewer` gets one.
fn named(mut role: Role) -> Role {
    role.skills.extend(workflow::skill(&role.name));
    if role.text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|at| role.text.is_char_boundary(*at)).unwrap_or(0);
        role.text.truncate(end);
    }
    role
}

fn claude(text: &str, empty: Role) -> Role {
    let definition = Definition::read(text);
    let get = |key| definition.text(key).map(|named| named.text.clone());
    let listed = definition.items("skills").iter().chain(definition.items("tags"));
    let skills = listed.filter_map(|named| workflow::skill(&named.text)).collect();
    Role {
        name: get("name").unwrap_or(empty.name),
        host: "claude",
        adapter: Some("claude-code"),
        about: get("description"),
        // `inherit` is no model.
        model: get("model").filter(|model| model != "inherit"),
        skills,
        text: text.get(definition.body as usize..).unwrap_or_default().trim().to_owned(),
        ..empty
    }
}

fn codex(text: &str, empty: Role) -> Role {
    let read = codex::read(text).unwrap_or_default();
    Role {
        name: read.name.unwrap_or(empty.name),
        host: "codex",
        adapter: Some("codex"),
        about: read.description,
        text: read.instructions.unwrap_or_default(),
        ..empty
    }
}

/// Reads the headings below one of `AGENTS.md` that says `Roles` or the like.
fn sections(root: &Path) -> Vec<Role> {
    const FILE: &str = "AGENTS.md";
    let path = root.join(FILE);
    let fits = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= ROLE_BYTES_MAX);
    let Some(text) = fits.then(|| fs::read_to_string(&path).ok()).flatten() else { return Vec::new() };
    let definition = Definition::read(&text);
    let headings = &definition.document.headings;
    let is_list = |heading: &&Heading| HEADINGS.contains(&heading.text.trim().to_lowercase().as_str());
    let Some(at) = headings.iter().position(|heading| is_list(&heading)) else { return Vec::new() };
    let level = headings[at].level;
    let below = headings[at + 1..].iter().take_while(|heading| heading.level > level);
    let below: Vec<&Heading> = below.filter(|heading| heading.level == level + 1).collect();
    let end_of_list = headings[at + 1..].iter().find(|heading| heading.level <= level);
    let end_of_list = end_of_list.map_or(text.len(), |heading| heading.span.start as usize);
    let role = |(number, heading): (usize, &&Heading)| {
        let end = below.get(number + 1).map_or(end_of_list, |next| next.span.start as usize);
        let body = text.get(heading.span.end as usize..end)?.trim();
        let about = body.lines().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned());
        let role = Role { about, text: body.to_owned(), ..empty(slug(&heading.text)?, FILE.to_owned()) };
        Some(named(role))
    };
    below.iter().enumerate().filter_map(role).collect()
}

/// Makes a name of a heading.
fn slug(text: &str) -> Option<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let slug = words.collect::<Vec<_>>().join("-").to_lowercase();
    (!slug.is_empty()).then_some(slug)
}

/// Finds files of one kind below a directory, without following links.
fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
            if meta.is_dir() {
                left.push(path);
            } else if meta.is_file()
                && meta.len() <= ROLE_BYTES_MAX
                && path.extension().is_some_and(|kind| kind == end)
            {
                found.push(path);
            }
            if found.len() == ROLES_MAX {
                return found;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_with_what_they_say_of_themselves() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            (
                ".claude/agents/deep/reviewer.md",
                "---\nname: reviewer\ndescription: Reads\nmodel: opus\nskills: rust, Safety\n---\nBe strict.\n",
            ),
            (".claude/agents/plain.md", "No frontmatter"),
            (".claude/agents/notes.txt", "no role"),
            (
                ".codex/agents/tester.toml",
                "name = \"tester\"\ndescription = \"Tests\"\ndeveloper_instructions = \"Run them\"\n",
            ),
            (".codex/agents/broken.toml", "name = "),
            (
                "AGENTS.md",
                "# Guide\n\n## Roles\n\n### Release Manager\n\nCuts releases.\nCarefully.\n\n#### How\nx\n\n### Scribe\n\nWrites.\n\n## Build\n\n### Not a role\n",
            ),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let told: Vec<String> = roles(dir.path())
            .into_iter()
            .map(|role| {
                let skills: Vec<_> = role.skills.iter().map(String::as_str).collect();
                let (about, model) = (role.about.unwrap_or_default(), role.model.unwrap_or_default());
                format!(
                    "{} {} [{about}] [{model}] {} [{}]",
                    role.name,
                    role.host,
                    skills.join(","),
                    role.text.replace('\n', "|")
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                "broken codex [] [] broken []",
                "plain claude [] [] plain [No frontmatter]",
                "release-manager AGENTS.md [Cuts releases.] [] release-manager [Cuts releases.|Carefully.||#### How|x]",
                "reviewer claude [Reads] [opus] reviewer,rust,safety [Be strict.]",
                "scribe AGENTS.md [Writes.] [] scribe [Writes.]",
                "tester codex [Tests] [] tester [Run them]",
            ]
        );
    }
}
