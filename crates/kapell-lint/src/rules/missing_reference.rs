//! `missing-reference`: a file that is read or included is not there.

mod hooks_of_others; // scripts that hooks of other clients run
mod hops; // includes of includes that are no longer followed
mod installed; // what lies in the folder of a client once it is installed
mod of_plugin; // texts of a plugin that are looked for where it is used
mod of_skill; // texts in a skill's own folder
mod paths; // what texts tell to read
mod standing; // texts in a folder that is not there at all
mod unmade; // files between steps that nobody makes

use std::collections::BTreeMap;

use kapell_spec::{
    claude::{
        hooks,
        reference::{Names, Reference, Strength},
    },
    line, suggest,
};
use kapell_view::audit::{AssetKind, Confidence, Scope, Severity};

use crate::{
    agents::{Asset, Home, PluginFile},
    files::{is_script, joined},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/missing-reference.md`.
pub(super) static RULE: Rule = Rule {
    name: "missing-reference",
    summary: "a file that instructions include or lead to is not there",
    group: Group::AgentFlow,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/missing-reference.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for (_, asset) in repository.agents.iter().filter(|(_, asset)| asset.home == Home::Claude) {
        for reference in asset
            .references
            .iter()
            .filter(|reference| reference.strength >= Strength::Strong && !reference.fenced)
        {
            let is_missing = match reference.names {
                Names::Import => match asset.kind {
                    AssetKind::Memory => missing_import(repository, asset, reference),
                    AssetKind::Command => missing_input(repository, asset, reference),
                    _ => false,
                },
                Names::File => asset.kind == AssetKind::Skill && missing_file(repository, asset, reference),
                _ => false,
            };
            if is_missing {
                let what = if reference.names == Names::Import { "included" } else { "linked" };
                report
                    .add(
                        asset.file,
                        reference.span,
                        format!("`{}` is {what} here, and is not there", reference.name),
                    )
                    .done();
            }
        }
    }
    hops::check(repository, report);
    skill_scripts(repository, report);
    skills(repository, report);
    manifests(repository, report);
    hook_scripts(repository, report);
    hooks_of_others::check(repository, report);
    paths::told_paths(repository, report);
    unmade::check(repository, report);
    of_skill::check(repository, report);
    installed::check(repository, report);
    of_plugin::check(repository, report);
    sources(repository, report);
    started_files(repository, report);
    of_others(repository, report);
}

/// Texts that files of other clients take in: `{file:./prompts/x.md}` and `instructions` of opencode, `@{docs/x.md}` of Gemini
/// CLI, `config_file` of Codex.
/// Sources: <https://opencode.ai/docs/config>, <https://github.com/google-gemini/gemini-cli/blob/main/docs/cli/custom-commands.md>,
/// <https://github.com/openai/codex/blob/main/docs/config.md>, as of 2026-08.
fn of_others(repository: &Repository, report: &mut Report<'_>) {
    for (id, file) in repository.files.iter() {
        let (open, close, beside) = match &*file.path {
            "opencode.json" => ("{file:", '}', ""),
            ".codex/config.toml" => ("config_file = \"", '"', ".codex/"),
            path if path.contains(".gemini/commands/") && path.ends_with(".toml") => ("@{", '}', ""),
            _ => continue,
        };
        let named = file.text.match_indices(open).filter_map(|(at, _)| {
            let at = at + open.len();
            Some((at, &file.text[at..at + file.text[at..].find(close)?]))
        });
        let (root, _) =
            if file.name() == "opencode.json" { hooks::json(&file.text) } else { (None, Vec::new()) };
        let listed = root.as_ref().and_then(|root| root.get("instructions"));
        let listed = listed.and_then(kapell_spec::yaml::Node::items).unwrap_or_default();
        let listed: Vec<_> = listed.iter().filter_map(hooks::scalar).collect();
        let listed = listed.iter().filter_map(|named| {
            let text = file.text.get(named.span.range())?;
            let inner = text.find(&*named.text)?;
            let at = named.span.start as usize + inner;
            Some((at, &file.text[at..at + named.text.len()]))
        });
        for (at, written) in named.chain(listed) {
            let path = format!("{beside}{}", written.trim_start_matches("./"));
            let whole = !written.is_empty() && is_own(written) && path.contains('.') && !path.contains("..");
            if whole
                && !written.contains('\n')
                && !repository.files.exists(&path)
                && (!path.contains('/') || has_company(repository, &path))
            {
                let message = format!("`{written}` is taken in here, and is not there");
                report.add(id, kapell_spec::finding::Span::new(at, at + written.len()), message).done();
            }
        }
    }
}

/// Plugins that a marketplace names by a directory of the repository, in which nothing lies.
fn sources(repository: &Repository, report: &mut Report<'_>) {
    let local = |plugin: &&PluginFile| {
        let source = plugin.plugin.source.as_ref();
        !plugin.root.is_empty() && source.is_some_and(|source| source.text.starts_with("./"))
    };
    let there = |plugin: &PluginFile| {
        let below = |path: &str| path.strip_prefix(&*plugin.root).is_some_and(|rest| rest.starts_with('/'));
        repository.files.iter().any(|(_, file)| below(&file.path)) || repository.files.others().any(below)
    };
    let all = || repository.agents.plugins.iter();
    let missing: Vec<&PluginFile> =
        all().filter(local).filter(|plugin| plugin.listed_only && !there(plugin)).collect();
    let Some((first, rest)) = missing.split_first() else { return };
    // Where many are missing, they were left out together.
    let held = all().filter(|plugin| !plugin.root.is_empty() && there(plugin)).count();
    if missing.len() > 1 && missing.len() * 4 > held {
        return;
    }
    let Some(source) = &first.plugin.source else { return };
    let message = format!("plugin `{}` is to lie in `{}`, and nothing is there", first.name, source.text);
    let hint = "correct the path, or drop it from the marketplace";
    let mut draft = report.add(first.file, source.span, message).severity(Severity::High).hint(hint);
    for plugin in rest {
        let span = plugin.plugin.source.as_ref().map_or(source.span, |source| source.span);
        draft = draft.also(plugin.file, span, format!("nor is there anything of `{}`", plugin.name));
    }
    draft.done();
}

/// Files that a status line or a server is started with.
fn started_files(repository: &Repository, report: &mut Report<'_>) {
    for (id, file) in repository.files.iter() {
        let settings = &*file.path == ".claude/settings.json";
        if !settings && &*file.path != ".mcp.json" {
            continue;
        }
        let (Some(root), _) = hooks::json(&file.text) else { continue };
        let lines = root.get("statusLine").and_then(|line| line.get("command")).filter(|_| settings);
        let servers = root.get("mcpServers").and_then(kapell_spec::yaml::Node::entries).unwrap_or_default();
        let args = servers.iter().filter(|_| !settings).flat_map(|entry| {
            entry.value.get("args").and_then(kapell_spec::yaml::Node::items).unwrap_or_default()
        });
        for named in lines.into_iter().chain(args).filter_map(hooks::scalar) {
            let words = named.text.split(|c: char| c.is_whitespace() || "\"'".contains(c));
            let mut files = words.map(|word| word.trim_start_matches("./")).filter(|word| {
                let made = word
                    .split('/')
                    .any(|part| matches!(part, "dist" | "build" | "out" | "node_modules" | "target"));
                is_script(word) && word.contains('/') && !made && is_own(word)
            });
            let Some(path) = files.next() else { continue };
            if !repository.files.exists(path) && has_company(repository, path) {
                let message = format!("`{path}` is started here, and is not there");
                report.add(id, named.span, message).hint(format!("add `{path}`, or correct the path")).done();
            }
        }
    }
}

/// Tells whether a skill lies where clients and those who install skills look for some: `skills/x/SKILL.md` at the top, or in
/// the folder of a client.
fn is_skill_of(path: &str) -> bool {
    let mut parts = path.split('/');
    let first = parts.next().unwrap_or_default();
    let next = if first.starts_with('.') { parts.next().unwrap_or_default() } else { first };
    matches!(next, "skills" | "skill") && parts.count() == 2
}

/// Programs that run the file they are given.
const RUNNERS: &[&str] =
    &["python3", "python", "bash", "sh", "node", "ruby", "perl", "deno", "bun", "tsx", "ts-node"];

/// Managers of packages and environments that run the file behind their `run`.
const MANAGERS: &[&str] = &["uv", "poetry", "pdm", "pipenv", "rye", "hatch", "pipx", "bun", "deno"];

/// Words before a file among which its runner is looked for.
const OPTIONS_MAX: usize = 12;

/// Options of runners that take the word behind them.
const WITH_VALUE: &[&str] =
    &["--with", "--python", "-p", "--project", "--directory", "--extra", "--group", "--import", "-r"];

/// Scripts that a skill is told to run from its own folder of scripts, which has others and not this one.
fn skill_scripts(repository: &Repository, report: &mut Report<'_>) {
    for (_, skill) in repository.agents.of(AssetKind::Skill) {
        let file = &repository.files[skill.file];
        if skill.home != Home::Claude && !is_skill_of(&file.path) {
            continue;
        }
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut told: Vec<&str> = Vec::new();
        let lines = file.text[skill.definition.body as usize..]
            .lines()
            .filter(|line| line.contains("scripts/") || line.contains("CLAUDE_SKILL_DIR"));
        for (word, certain) in lines.flat_map(runs) {
            let path = format!("{folder}/{word}");
            let here = repository.files.exists(&path) || repository.files.exists(word);
            // What the skill has made first is there by then.
            // What it does itself stands behind its name.
            let parts = file.text.lines().flat_map(|line| line.split(". "));
            let made = parts.filter_map(|part| part.split_once(word)).any(|(before, after)| {
                let (before, after) = (before.to_ascii_lowercase(), after.to_ascii_lowercase());
                let verbs = ["create", "write", "generate", "save", "writing", "creating"];
                verbs.iter().any(|verb| before.contains(verb))
                    || ["is created", "is written", "is generated", "was created"]
                        .iter()
                        .any(|words| after.contains(words))
            });
            // A folder without anything in it was left out, or is made; the skill's own is known by its name.
            let company = certain || has_company(repository, &path);
            if !here && !made && company && is_own(word) && !told.contains(&word) {
                told.push(word);
                let at = line::offset(&file.text, word);
                let message = format!("`{word}` is run here, and is not there");
                let span = kapell_spec::finding::Span::new(at, at + word.len());
                report.add(skill.file, span, message).severity(Severity::High).done();
            }
        }
    }
}

/// Finds `scripts/x.py` behind a program that runs it, and whether it says itself that it lies in the skill's folder.
///
/// `${CLAUDE_SKILL_DIR}` in front, at the start of what is marked as code, is run without any program before it.
fn runs(line: &str) -> impl Iterator<Item = (&str, bool)> {
    let words: Vec<&str> = line
        .split(|c: char| c.is_whitespace() || "`\"'()".contains(c))
        .filter(|word| !word.is_empty())
        .collect();
    (1..words.len()).filter_map(move |at| {
        let word = words[at];
        let own =
            word.strip_prefix("${CLAUDE_SKILL_DIR}/").or_else(|| word.strip_prefix("$CLAUDE_SKILL_DIR/"));
        let word = own.or_else(|| word.strip_prefix("./")).unwrap_or(word);
        let told = own.is_some() || word.starts_with("scripts/");
        let marked = own.is_some() && line.contains(&format!("`{}", words[at]));
        // More options than that, a line of a hostile file has.
        let runs = || is_runner(&words[at.saturating_sub(OPTIONS_MAX)..at]);
        (is_script(word) && told && (marked || runs())).then_some((word, own.is_some()))
    })
}

/// Tells whether words end with what runs the file behind them: `python -u`, `uv run --with pdfplumber`.
fn is_runner(words: &[&str]) -> bool {
    match words {
        // `Run `scripts/x.py in.pdf`` needs no program before it.
        [.., "Run" | "Execute"] => true,
        [.., program] if RUNNERS.contains(program) => true,
        [.., manager, "run"] => MANAGERS.contains(manager),
        [before @ .., option, _] if WITH_VALUE.contains(option) => is_runner(before),
        [before @ .., flag] if is_flag(flag) => is_runner(before),
        _ => false,
    }
}

/// Tells whether a word is an option, and no stroke between words.
fn is_flag(word: &str) -> bool {
    word.trim_start_matches('-').len() < word.len()
        && word.trim_start_matches('-').starts_with(|c: char| c.is_ascii_alphabetic())
}

/// Skills that agents are given before they start: one finding for each name, one for all paths, and one for all files.
fn skills(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    let mut missing: BTreeMap<&str, Vec<(&Asset, &Reference)>> = BTreeMap::new();
    for (_, asset) in agents.iter().filter(|(_, asset)| asset.home == Home::Claude) {
        let has_skills = agents.of(AssetKind::Skill).any(|(_, skill)| skill.scope == asset.scope);
        let given = asset
            .references
            .iter()
            .filter(|reference| reference.names == Names::Skill && reference.strength == Strength::Certain);
        for reference in given.filter(|reference| !reference.name.contains(':')) {
            let path = is_path(&reference.name);
            let nothing = matches!(agents.resolve(asset, reference), crate::agents::Resolved::Nothing(_));
            if path || nothing && (has_skills || flat(repository, &reference.name).is_some()) {
                let habit: &str = match flat(repository, &reference.name) {
                    _ if path => PATHS,
                    Some(_) => FILES,
                    None => &reference.name,
                };
                missing.entry(habit).or_default().push((asset, reference));
            }
        }
    }
    for (name, places) in missing {
        let (asset, reference) = places[0];
        let first = &reference.name;
        let more =
            if places.len() > 1 { format!("; {} more like it", places.len() - 1) } else { String::new() };
        let message = match name {
            PATHS => {
                format!("`{first}` is a path: `skills` takes names of skills, and nothing is loaded{more}")
            }
            FILES => format!(
                "skill `{first}`, which `{}` is given, is not loaded: it is a file, and no `{first}/SKILL.md`{more}",
                asset.name
            ),
            _ => format!("skill `{name}`, which `{}` is given, is not defined", asset.name),
        };
        let mut draft = report.add(asset.file, reference.span, message);
        for (asset, reference) in &places[1..] {
            draft = draft.also(asset.file, reference.span, format!("`{}` is given it too", asset.name));
        }
        draft.done();
    }
}

/// Stands for all skills that are given by a path; no skill is called so.
const PATHS: &str = "/";

/// Stands for all skills that are files; no skill is called so.
const FILES: &str = "./";

/// Tells whether what stands for a skill is a path.
fn is_path(name: &str) -> bool {
    name.contains('/') || name.ends_with(".md")
}

/// Finds the file that is called like a skill, in the folder of skills, and not in one of its own.
fn flat(repository: &Repository, name: &str) -> Option<String> {
    let path = format!(".claude/skills/{name}.md");
    (!name.is_empty() && repository.files.exists(&path)).then_some(path)
}

/// Tells whether a path is one that this repository should hold.
fn is_own(path: &str) -> bool {
    !path.starts_with(['/', '~', '<', '$', '{'])
        && !path.contains([':', '<', '{', '$', '*'])
        && !path.contains(".local.")
        && !path.contains("%")
}

fn missing_import(repository: &Repository, asset: &Asset, reference: &Reference) -> bool {
    let path = &*reference.name;
    let beside = joined(&repository.files[asset.file].path, path);
    is_own(path)
        && path.contains(['/', '.'])
        && beside.is_some_and(|beside| !repository.files.exists(&beside) && !repository.files.exists(path))
}

/// Endings of texts that a command takes in; code may be named as an example.
const TEXTS: &[&str] = &[".md", ".mdx", ".txt", ".rst", ".adoc"];

/// Tells whether a text that a command includes, `@docs/rules.md`, is not in its folder, where others are.
fn missing_input(repository: &Repository, asset: &Asset, reference: &Reference) -> bool {
    let (path, text) = (&*reference.name, &repository.files[asset.file].text);
    let line = kapell_spec::line::around(text, reference.span.start as usize).to_ascii_lowercase();
    let shown = ["e.g.", "example", "such as", "like ", "usage", "if "];
    // What is made later stands behind the word that makes it: not so in `Read @docs/form.md and write ...`.
    let made = ["create", "write", "save", "generate"];
    let start = kapell_spec::line::start(text, reference.span.start as usize);
    let before = text[start..reference.span.start as usize].to_ascii_lowercase();
    path.contains('/')
        && !made.iter().any(|word| before.contains(word))
        && TEXTS.iter().any(|end| path.ends_with(end))
        && !shown.iter().any(|word| line.contains(word))
        && missing_import(repository, asset, reference)
        // A folder that is not there at all may be made later, unless its file was moved to another.
        && (has_company(repository, path)
            || has_namesake(repository, path)
            || standing::is_missing(repository, asset, reference))
}

fn missing_file(repository: &Repository, asset: &Asset, reference: &Reference) -> bool {
    let path = &*reference.name;
    let beside = joined(&repository.files[asset.file].path, path);
    // A link that leaves the skill leads to what may not be installed with it.
    is_own(path)
        && !path.starts_with("..")
        && beside.is_some_and(|beside| !repository.files.exists(&beside) && !repository.files.exists(path))
        && has_company(repository, &repository.files[asset.file].path)
}

/// Tells whether anything lies beside a file. Where a skill came alone, its parts were left out together.
fn has_company(repository: &Repository, path: &str) -> bool {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let beside =
        |other: &str| other != path && other.starts_with(folder) && other[folder.len()..].starts_with('/');
    repository.files.iter().any(|(_, file)| beside(&file.path)) || repository.files.others().any(beside)
}

/// Tells whether just one other file has the name of one that is not there, in a folder beside its own.
fn has_namesake(repository: &Repository, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let above = path.rsplitn(3, '/').nth(2).unwrap_or_default();
    let all = repository.files.iter().map(|(_, file)| &*file.path).chain(repository.files.others());
    let mut same = all.filter(|other| {
        other.strip_suffix(name).is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
            && (above.is_empty() || other.starts_with(above))
    });
    same.next().is_some() && same.next().is_none()
}

/// Words of a line that says how files get to where they are not kept.
const BRINGS: &[&str] =
    &["cp ", "ln ", "install", "copy", "copies", "rsync", "link", "generate", "download", "curl "];

/// Tells whether just one file anywhere has the name of one that is not there, and no text says that its folder is filled from
/// elsewhere, nor leads a link there.
fn was_moved(repository: &Repository, path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else { return false };
    let all = || repository.files.iter().map(|(_, file)| &*file.path).chain(repository.files.others());
    let linked = all().any(|other| path.strip_prefix(other).is_some_and(|rest| rest.starts_with('/')));
    let filled = repository.files.iter().any(|(_, file)| {
        let mut lines = file.text.lines().filter(|line| line.contains(folder));
        lines.any(|line| BRINGS.iter().any(|word| line.contains(word)))
    });
    let mut same = all().filter(|other| other.rsplit('/').next() == Some(name));
    !linked && !filled && same.next().is_some() && same.next().is_none()
}

/// Says what to do about a hook whose script is not there: one that is called nearly so may be meant.
fn hint_for_hook(repository: &Repository, path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let all = repository.files.iter().map(|(_, file)| &*file.path).chain(repository.files.others());
    let beside = all.filter_map(|other| {
        let own = if folder.is_empty() { other } else { other.strip_prefix(folder)?.strip_prefix('/')? };
        (!own.contains('/')).then_some(own)
    });
    match suggest::nearest(name, beside) {
        Some(near) if folder.is_empty() => format!("run `{near}`, if that is meant"),
        Some(near) => format!("run `{folder}/{near}`, if that is meant"),
        None => format!("add `{path}`, or drop the hook"),
    }
}

/// Files that hooks run: without them a hook fails each time, and what it guards is not guarded.
fn hook_scripts(repository: &Repository, report: &mut Report<'_>) {
    for file in &repository.agents.hooks {
        for hook in &file.hooks.hooks {
            let script = repository.agents.hook_script(&repository.files, file, hook);
            if let Some(script) = repository.agents.script_of_plugin(&repository.files, file, hook) {
                let message = format!(
                    "the hook of `{}` looks for `{}` where the plugin is used, and it lies in the plugin",
                    hook.event.text, script.path
                );
                let hint = format!("run `${{CLAUDE_PLUGIN_ROOT}}/{}`", script.path);
                report.add(file.file, script.span, message).severity(Severity::High).hint(hint).done();
                continue;
            }
            // A folder that is not there at all may lie elsewhere, or be made by a build, unless the file lies near.
            let is_missing = |path: &str| {
                !repository.files.exists(path)
                    && (has_company(repository, path)
                        || has_namesake(repository, path)
                        || file.is_settings && was_moved(repository, path))
            };
            let Some(script) = script.filter(|script| is_missing(&script.path)) else { continue };
            let message =
                format!("the hook of `{}` runs `{}`, and it is not there", hook.event.text, script.path);
            let hint = hint_for_hook(repository, &script.path);
            report.add(file.file, script.span, message).severity(Severity::High).hint(hint).done();
        }
    }
}

/// Scripts that a manifest names, of which no file anywhere has the name.
fn scripts_of_manifest(repository: &Repository, report: &mut Report<'_>, plugin: &PluginFile) {
    const KEY: &str = "\"script\"";
    let text = &repository.files[plugin.file].text;
    let all = || repository.files.iter().map(|(_, file)| &*file.path).chain(repository.files.others());
    for (at, _) in text.match_indices(KEY).take(SCRIPTS_MAX) {
        let rest = &text[at + KEY.len()..];
        let Some(value) = rest.trim_start().strip_prefix(':').map(str::trim_start) else { continue };
        let Some(path) = value.strip_prefix('"').and_then(|value| value.split(['"', '\n']).next()) else {
            continue;
        };
        let name = path.rsplit('/').next().unwrap_or(path);
        if !is_script(path)
            || !is_own(path)
            || path.contains(' ')
            || all().any(|other| other.rsplit('/').next() == Some(name))
        {
            continue;
        }
        let from = line::offset(text, path);
        let message = format!("plugin `{}` names `{path}`, and no file is called so", plugin.name);
        let span = kapell_spec::finding::Span::new(from, from + path.len());
        report.add(plugin.file, span, message).hint("add it, or drop it from the manifest").done();
    }
}

/// As many scripts of a manifest are looked for.
const SCRIPTS_MAX: usize = 50;

/// Agents, commands and skills that a manifest names one by one.
fn manifests(repository: &Repository, report: &mut Report<'_>) {
    for plugin in &repository.agents.plugins {
        if !plugin.listed_only {
            scripts_of_manifest(repository, report, plugin);
        }
        let parts = [&plugin.plugin.commands, &plugin.plugin.agents, &plugin.plugin.skills];
        // Where nothing of the plugin is here, its files lie elsewhere.
        let here =
            repository.agents.iter().any(|(_, asset)| asset.scope == Scope::Plugin(plugin.name.clone()));
        for named in parts.into_iter().flatten().filter(|named| here && is_own(&named.text)) {
            let anchor = if plugin.root.is_empty() { "x".to_owned() } else { format!("{}/x", plugin.root) };
            let Some(path) = joined(&anchor, named.text.trim_end_matches('/')) else { continue };
            if !path.is_empty() && !repository.files.exists(&path) {
                let message = format!("plugin `{}` names `{}`, and it is not there", plugin.name, named.text);
                let hint = format!("add `{path}`, or drop it from the manifest");
                report.add(plugin.file, named.span, message).severity(Severity::High).hint(hint).done();
            }
        }
    }
}
