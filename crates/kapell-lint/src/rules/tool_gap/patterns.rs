//! Commands that a text orders, against the patterns of its shell: `Bash(git:*)` runs no `npm publish`.

use kapell_spec::{claude::definition::Named, finding::Span};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use super::told;
use crate::{
    agents::{Asset, Home},
    repository::Repository,
    rule::Report,
};

/// The patterns of a list of tools, without what stands around them; `None` if there is none, or any command may be run.
pub(super) fn patterns(tools: &[Named]) -> Option<Vec<&str>> {
    let shells: Vec<&str> =
        tools.iter().map(|tool| &*tool.text).filter(|tool| tool.starts_with("Bash")).collect();
    let inner = shells.iter().filter_map(|tool| tool.strip_prefix("Bash(")?.strip_suffix(')'));
    let found: Vec<&str> = inner.map(str::trim).collect();
    let open = |pattern: &&str| pattern.is_empty() || pattern.starts_with(['*', ':', '$', '~']);
    (!found.is_empty() && found.len() == shells.len() && !found.iter().any(open)).then_some(found)
}

/// Tells whether a pattern is for the program of a command, by its last part: `./gradlew test` is one of `gradlew`.
fn is_for(pattern: &str, command: &str) -> bool {
    let program = |text: &str| {
        // `CI=1 npm test`, and `env` before it.
        let mut words = text.split([' ', ':']).filter(|word| !word.contains('=') && *word != "env");
        let first = words.next().unwrap_or_default();
        first.rsplit('/').next().unwrap_or(first).to_owned()
    };
    let own = program(pattern);
    own.contains('*') || own == program(command)
}

/// Tells whether a pattern reaches a command of its program: `alembic current:*` does not reach `alembic upgrade head`. What
/// `npm run` starts is often written without `run`.
pub(super) fn reaches(pattern: &str, command: &str) -> bool {
    if !is_for(pattern, command) {
        return false;
    }
    let words = |text: &str| -> Vec<String> {
        let words = text.split([' ', ':']).filter(|word| !word.contains('=') && *word != "env");
        words.filter(|word| !word.is_empty()).skip(1).map(str::to_owned).collect()
    };
    let plain =
        |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
    let (own, told) = (words(pattern), words(command));
    // Programs that run scripts have a short form for some of them.
    let short = |words: &[String]| {
        words.first().is_some_and(|word| matches!(&**word, "run" | "exec" | "x" | "test" | "start"))
    };
    let whole = short(&own) && own.get(1).is_none_or(|word| !plain(word));
    if short(&own) != short(&told) || whole {
        return true;
    }
    let mut pairs = own.iter().zip(&told).take_while(|(own, told)| plain(own) && plain(told));
    pairs.all(|(own, told)| own == told)
}

/// An agent whose shell is for some programs, and which is told to run another one.
pub(super) fn of_agent(report: &mut Report<'_>, agent: &Asset, text: &str) {
    let Some(patterns) = patterns(agent.definition.items("tools")) else { return };
    let granted = |command: &str| patterns.iter().any(|pattern| reaches(pattern, command));
    let Some((span, command)) = told::all_to_run(agent, text).find(|(_, command)| !granted(command)) else {
        return;
    };
    let message =
        format!("`{}` has to run `{command}`, which none of its tools `Bash(...)` is for", agent.name);
    // Where nobody is asked, nobody can let it through.
    let unasked = agent.definition.text("permissionMode").is_some_and(|mode| mode.text == "dontAsk")
        || agent.definition.is_on("background") == Some(true);
    let severity = if unasked { Severity::High } else { Severity::Medium };
    let draft = report.add(agent.file, span, message).severity(severity).confidence(Confidence::Medium);
    draft.hint(hint("tools", command)).done();
}

fn hint(key: &str, command: &str) -> String {
    let program = command.split(' ').next().unwrap_or_default();
    format!("add what it runs to its `{key}`, such as `Bash({program}:*)` or narrower")
}

/// Commands after which there is no way back.
const DONE: &[&str] = &[
    "git push",
    "git tag",
    "npm publish",
    "pnpm publish",
    "cargo publish",
    "twine upload",
    "docker push",
    "gh release",
    "gh pr merge",
    "terraform apply",
    "kubectl apply",
    "helm upgrade",
];

/// A command that is granted what cannot be taken back, and behind it is told to run what it is not: there it is asked, and
/// where nobody is, it ends half done.
pub(super) fn of_commands(repository: &Repository, report: &mut Report<'_>) {
    let kinds = [AssetKind::Command, AssetKind::Skill];
    let settings = || repository.agents.hooks.iter().flat_map(|file| &file.hooks.allow);
    let all = repository.agents.iter().map(|(_, asset)| asset);
    for asset in all.filter(|asset| kinds.contains(&asset.kind) && asset.home == Home::Claude) {
        let Some(patterns) = patterns(asset.definition.items("allowed-tools")) else { continue };
        let text = &*repository.files[asset.file].text;
        let by_settings = |command: &str| {
            settings().any(|tool| match tool.text.strip_prefix("Bash(") {
                Some(rest) => is_for(rest.trim_end_matches(')'), command),
                None => tool.text == "Bash",
            })
        };
        let granted = |command: &str| patterns.iter().any(|pattern| is_for(pattern, command));
        let mut orders = told::all_to_run(asset, text);
        let Some((span, command)) = orders.find(|(_, command)| !granted(command) && !by_settings(command))
        else {
            continue;
        };
        let marks = asset.definition.document.marks.iter().filter(|mark| mark.code);
        let before = marks.filter(|mark| mark.span.end <= span.start).map(|mark| mark.span);
        let said = |mark: Span| text[mark.range()].trim_matches('`').trim();
        let mut done = before
            .filter(|&mark| DONE.iter().any(|start| said(mark).starts_with(start)) && granted(said(mark)));
        let Some(first) = done.next() else { continue };
        let message =
            format!("`/{}` has to run `{command}`, which its `allowed-tools` do not grant", asset.name);
        let draft = report.add(asset.file, span, message).severity(Severity::Low);
        let draft = draft.hint(hint("allowed-tools", command));
        draft.also(asset.file, first, "this is done by then").done();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_for_a_program() {
        assert!(is_for("git:*", "git push --tags"));
        assert!(is_for("./gradlew test:*", "gradlew test"));
        assert!(is_for("npm run *", "CI=1 npm test"));
        assert!(is_for("*", "npm publish"));
        assert!(!is_for("git:*", "npm publish"));
        assert!(reaches("git diff:*", "git diff --stat") && reaches("git:*", "git push"));
        assert!(reaches("npm run *", "npm test") && reaches("./gradlew --offline *", "./gradlew test"));
        assert!(!reaches("alembic current:*", "alembic upgrade head"));
        assert!(!reaches("gh pr diff:*", "gh pr comment") && reaches("gh pr diff:*", "gh pr diff 12"));
        assert!(reaches("npm run:*", "npm run lint") && !reaches("npm run lint:*", "npm run build"));
    }
}
