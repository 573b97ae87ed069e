//! `hook-fan-out`: every tool call starts something slow.

use kapell_spec::claude::hooks::Hook;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    agents::HookFile,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/hook-fan-out.md`.
pub(super) static RULE: Rule = Rule {
    name: "hook-fan-out",
    summary: "every tool call, or every edit, starts something slow",
    group: Group::AgentFlow,
    anti_pattern: None,
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/hook-fan-out.md"),
    check,
};

/// Programs that take a second or more to start, or to do anything.
const SLOW: &[&str] = &[
    "npx ",
    "npm ",
    "pnpm ",
    "yarn ",
    "bunx ",
    "uvx ",
    "uv run ",
    "pipx ",
    "docker ",
    "cargo ",
    "tsc",
    "pytest",
    "jest",
    "vitest",
    "go test",
    "go build",
    "make ",
    "gradle",
    "mvn ",
    "dotnet ",
    "claude -p",
    "claude ",
    "terraform ",
    "eslint ",
    "bun test",
    "deno test",
    "swift test",
    "swift build",
    "mix test",
    "bundle exec",
    "rspec",
    "phpunit",
    "composer test",
    "tox",
    "nox",
    "just ",
    "turbo ",
    "nx ",
    "bazel ",
    "sbt ",
    "mypy",
    "pyright",
    "golangci-lint",
    "semgrep",
];

/// Whole suites and builds.
pub(super) const SUITES: &[&str] = &[
    "npm test",
    "npm run test",
    "npm run build",
    "npm build",
    "pnpm test",
    "pnpm build",
    "yarn test",
    "yarn build",
    "bun build",
    "pytest",
    "cargo test",
    "cargo nextest run",
    "cargo build",
    "go test ./...",
    "make test",
    "mvn ",
    "mvnw ",
    "gradlew test",
    "gradlew check",
    "gradlew build",
    "dotnet test",
    "bun test",
    "deno test",
    "swift test",
    "mix test",
    "bundle exec rspec",
    "phpunit",
    "composer test",
    "tox",
    "nox",
    "bazel test",
    "sbt test",
    "rspec",
    "rake test",
    "rails test",
    "cargo clippy --workspace",
    "cargo clippy --all",
    "npx jest",
    "npx vitest",
    "npx playwright test",
    "ctest",
    "zig build test",
    "poetry run pytest",
    "uv run pytest",
    "mvnw verify",
    "gradlew assemble",
    "docker compose build",
    "docker compose up --build",
    "docker build ",
    "cargo build --workspace",
    "dotnet build",
    "cmake --build",
    "bundle exec rake",
    "playwright test",
    "cypress run",
];

/// The seconds of a pause from which on it is as slow as a suite.
const PAUSE_SECONDS: f32 = 1.0;

/// Finds the whole suite or build that a command line starts, or the pause of a second or more.
pub(super) fn lasting(command: &str) -> Option<&'static str> {
    let suite = SUITES.iter().copied().find(|suite| starts(command, suite));
    let pauses = || paused(command).is_some_and(|seconds| seconds >= PAUSE_SECONDS);
    suite.or_else(|| pauses().then_some("sleep"))
}

/// Returns the seconds that the first pause of a command line lasts: `sleep 2`, `sleep 0.5s`, `sleep 1m`.
pub(super) fn paused(command: &str) -> Option<f32> {
    let (at, _) =
        command.match_indices("sleep ").find(|(at, _)| starts_plain(&command[..at + 6], "sleep "))?;
    let time = command[at + 6..].split([' ', ';', ')', '&', '|', '"', '\'', '\n']).next()?;
    let (number, unit) = time.split_at(time.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(time.len()));
    let unit = match unit {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    number.parse::<f32>().ok().map(|number| number * unit)
}

/// Says that a whole suite runs before every prompt is answered.
fn before_prompts(hook: &Hook) -> Option<(String, Severity)> {
    let command = hook.text.as_ref().filter(|_| hook.kind == "command" && !hook.is_async)?;
    let suite = lasting(&command.text)?;
    (&*hook.event.text == "UserPromptSubmit")
        .then(|| (format!("`{}` runs before every prompt is read", suite.trim()), Severity::Medium))
}

/// Hooks at one event of every tool call from which on they are many, each a process of its own.
const MANY: usize = 4;

/// Many hooks at every tool call, however small each is: all of them are started and waited for, even for a read.
fn many(repository: &Repository, report: &mut Report<'_>) {
    for file in &repository.agents.hooks {
        for event in ["PreToolUse", "PostToolUse"] {
            let own = file.hooks.hooks.iter().filter(|hook| {
                &*hook.event.text == event
                    && hook.is_for_all_tools()
                    && !hook.is_async
                    && hook.kind == "command"
                    && why(hook).is_none()
            });
            let own: Vec<&Hook> = own.collect();
            let Some((first, rest)) = own.split_first().filter(|_| own.len() >= MANY) else { continue };
            let message = format!("{} commands are started at the {event} of every tool call", own.len());
            let mut draft = report
                .add(file.file, first.span, message)
                .confidence(Confidence::Medium)
                .hint("narrow the matchers to the tools that matter, or do all of it in one command");
            for hook in rest {
                draft = draft.also(file.file, hook.span, "and this one");
            }
            draft.done();
        }
    }
}

fn check(repository: &Repository, report: &mut Report<'_>) {
    many(repository, report);
    for file in &repository.agents.hooks {
        let heavy: Vec<(&Hook, (String, Severity))> = file
            .hooks
            .hooks
            .iter()
            .filter_map(|hook| {
                let session = || asks_a_model(repository, file, hook);
                let whole = || runs_all(repository, file, hook);
                let model = || waits_for_a_model(repository, file, hook);
                let known = why(hook).or_else(|| before_prompts(hook));
                Some((hook, known.or_else(session).or_else(model).or_else(whole)?))
            })
            .collect();
        let Some(((first, (why, severity)), rest)) = heavy.split_first() else { continue };
        // Several suites after each edit are waited for by whoever wants to go on.
        let worst = rest.iter().map(|(_, (_, other))| *other).fold(*severity, Severity::max);
        let waited = heavy.iter().filter(|(_, (why, _))| !why.starts_with("`uv run`")).count();
        let severity = if waited > 1 { worst.max(Severity::Medium) } else { worst };
        let mut draft = report.add(file.file, first.span, why.as_str()).severity(severity);
        draft = draft.hint("narrow the matcher to the tools that matter, or start one process that stays");
        for (hook, (why, _)) in rest {
            draft = draft.also(file.file, hook.span, why.as_str());
        }
        draft.done();
    }
}

/// Says what a hook costs, if that is much.
fn why(hook: &Hook) -> Option<(String, Severity)> {
    let event = &*hook.event.text;
    let matcher = hook.matcher.as_ref().map_or("", |matcher| &*matcher.text);
    let edits = matcher
        .split('|')
        .any(|tool| matches!(tool.trim(), "Write" | "Edit" | "MultiEdit" | "Bash" | "Read"));
    let often = matches!(event, "PreToolUse" | "PostToolUse");
    if hook.is_async || !often {
        return None;
    }
    if matches!(&*hook.kind, "prompt" | "agent") {
        let which = if hook.is_for_all_tools() { "every tool call" } else { matcher };
        let severity = if hook.is_for_all_tools() { Severity::High } else { Severity::Medium };
        return (edits || hook.is_for_all_tools())
            .then(|| (format!("a model is asked at every {event} of {which}"), severity));
    }
    let command = hook.text.as_ref().filter(|_| hook.kind == "command")?;
    let suite = lasting(&command.text);
    let one = ["$file", "${file", "file_path", "$1", "jq ", "--related", "--changed", "--onlychanged", "&\n"];
    let narrow = one.iter().any(|word| command.text.to_ascii_lowercase().contains(word));
    if let Some(suite) = suite.filter(|_| edits && !narrow && !hook.is_for_all_tools()) {
        return Some((format!("`{}` runs at the {event} of every {matcher}", suite.trim()), Severity::Low));
    }
    if let Some(program) = whole_tree(&command.text).filter(|_| edits && !narrow && !hook.is_for_all_tools())
    {
        return Some((
            format!("`{program}` goes over the whole tree at the {event} of every {matcher}"),
            Severity::Low,
        ));
    }
    if !hook.is_for_all_tools() {
        return None;
    }
    let slow = suite.or_else(|| SLOW.iter().copied().find(|program| starts(&command.text, program)))?;
    // An environment that is there already costs a tenth of a second, and no more.
    let severity = if matches!(slow, "uv run ") && suite.is_none() { Severity::Low } else { Severity::High };
    Some((format!("`{}` is started at the {event} of every tool call", slow.trim()), severity))
}

/// Programs that read every file that they are given, and take long for many.
const READERS: &[&str] =
    &["prettier", "eslint", "black", "isort", "pylint", "flake8", "mypy", "rubocop", "stylelint"];

/// Finds a program that a command line starts on all files: `bunx prettier --write .`.
fn whole_tree(command: &str) -> Option<&'static str> {
    command.split(['&', ';', '|', '\n']).find_map(|part| {
        let mut words = part.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
        let program = words
            .by_ref()
            .take(4)
            .find_map(|word| READERS.iter().find(|known| Some(**known) == word.split('@').next()))?;
        let all =
            |word: &str| matches!(word, "." | "./") || word.starts_with("**/") || word.starts_with("./**/");
        words.any(all).then_some(*program)
    })
}

/// Ways in which a script starts a session of its own, which runs the same hooks.
const SESSIONS: &[&str] =
    &["claude -p ", "claude --print ", "claude -p\n", "\"claude\", \"-p\"", "'claude', '-p'"];

/// Says that the script of a hook starts a session of its own for every call or edit.
fn asks_a_model(repository: &Repository, file: &HookFile, hook: &Hook) -> Option<(String, Severity)> {
    if hook.is_async || !matches!(&*hook.event.text, "PreToolUse" | "PostToolUse") {
        return None;
    }
    let script = repository.agents.hook_script(&repository.files, file, hook)?;
    let text = &repository.files[repository.files.find(&script.path)?].text;
    let starts = text.lines().any(|line| {
        let line = line.trim_start();
        !line.starts_with(['#', '/']) && SESSIONS.iter().any(|words| format!("{line}\n").contains(words))
    });
    // One that sees that it runs below itself stops there.
    let guarded = ["CLAUDE_HOOK", "IN_HOOK", "NESTED", "RECURS", "disableAllHooks", "--setting-sources"]
        .iter()
        .any(|word| text.contains(word));
    let which = hook.matcher.as_ref().map_or("tool call", |matcher| match &*matcher.text {
        "" | "*" | ".*" => "tool call",
        tools => tools,
    });
    (starts && !guarded).then(|| {
        let event = &*hook.event.text;
        let message = format!(
            "`{}` starts a session of Claude at the {event} of every {which}, which runs these hooks too",
            script.path
        );
        (message, Severity::High)
    })
}

/// Ways in which a script asks a model, whatever client or service it asks.
pub(super) const MODELS: &[&str] = &[
    "claude -p",
    "claude --print",
    "codex exec",
    "gemini -p",
    "gemini --prompt",
    "opencode run",
    "cursor-agent -p",
    "copilot -p",
    "llm -m",
    "ollama run",
    "api.anthropic.com/",
    "api.openai.com/",
    "generativelanguage.googleapis.com/",
    "messages.create(",
    "chat.completions.create(",
    "responses.create(",
    "/api/generate",
];

/// Words with which a script chooses the calls that it looks at.
const CHOOSES: &[&str] = &[
    "case ",
    "tool_name\" in ",
    "tool_name ==",
    "tool_name\") ==",
    "tool_name\"] ==",
    "tool_name !=",
    "tool_name\") !=",
    "tool_name\"] !=",
    "tool_name not in",
    "tool_name\") not in",
    "tool_name\"] not in",
    "$tool\" ",
    "$tool_name\" ",
    "select(.tool_name",
    "cache",
];

/// Says that the script of a hook asks a model at every tool call, whichever tool it is.
fn waits_for_a_model(repository: &Repository, file: &HookFile, hook: &Hook) -> Option<(String, Severity)> {
    if hook.is_async || !hook.is_for_all_tools() || hook.kind != "command" {
        return None;
    }
    let script = repository.agents.hook_script(&repository.files, file, hook)?;
    let text = repository.files[repository.files.find(&script.path)?].lower();
    let asks = text.lines().map(str::trim_start).any(|line| {
        !line.starts_with(['#', '/'])
            && !line.ends_with('&')
            && MODELS.iter().any(|words| line.contains(words))
    });
    let chooses = || CHOOSES.iter().any(|word| text.contains(word));
    (asks && !chooses()).then(|| {
        let message = format!("`{}` asks a model at the {} of every tool call", script.path, hook.event.text);
        (message, Severity::High)
    })
}

/// Says that the script of a hook runs a whole suite after every edit, whatever was edited, or even after every tool call.
fn runs_all(repository: &Repository, file: &HookFile, hook: &Hook) -> Option<(String, Severity)> {
    let matcher = hook.matcher.as_ref().map_or("", |matcher| &*matcher.text);
    let edits = matcher.split('|').any(|tool| matches!(tool.trim(), "Write" | "Edit" | "MultiEdit"));
    let always = hook.is_for_all_tools() && hook.kind == "command";
    if hook.is_async || &*hook.event.text != "PostToolUse" || !(edits || always) {
        return None;
    }
    let script = repository.agents.hook_script(&repository.files, file, hook)?;
    let text = repository.files[repository.files.find(&script.path)?].lower();
    // Whoever asks which file it was, or whether anything changed, chooses.
    let asks =
        ["tool_input", "stdin", "$(cat", "read ", "git diff", "git status", "changed", "if ", "case ", "&\n"];
    if !script.path.ends_with(".sh") || asks.iter().any(|word| text.contains(word)) {
        return None;
    }
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let suite = lines.find_map(lasting)?;
    let (which, severity) = if always { ("tool call", Severity::High) } else { (matcher, Severity::Low) };
    let message = format!("`{}` runs `{}` at the PostToolUse of every {which}", script.path, suite.trim());
    Some((message, severity))
}

/// What stands before a program that it starts in turn, in an environment or a container.
const WRAPPERS: &[&str] = &[
    "python -m",
    "python3 -m",
    "uv run",
    "poetry run",
    "pipenv run",
    "hatch run",
    "pdm run",
    "npx",
    "pnpm exec",
    "bundle exec",
    "time",
    "nice",
    "env",
];

/// Package managers, and the options and words that stand between them and the script that they run: `pnpm -r run test`.
const MANAGERS: &[&str] = &["npm", "pnpm", "yarn", "bun", "turbo", "nx", "lerna"];

/// Returns a command line as it would be without the options of package managers, and what they say of which packages.
fn without_options(command: &str) -> String {
    let mut plain: Vec<&str> = Vec::new();
    let (mut manager, mut value) = (false, false);
    for word in command.split_whitespace() {
        if MANAGERS.contains(&word) {
            manager = true;
            plain.push(if matches!(word, "turbo" | "nx" | "lerna") { "pnpm" } else { word });
        } else if manager && value {
            value = false;
        } else if manager && word.starts_with('-') {
            value = matches!(
                word,
                "--filter" | "-F" | "--prefix" | "-C" | "--dir" | "--cwd" | "-w" | "--workspace" | "-t"
            );
        } else if manager && matches!(word, "run" | "run-many" | "recursive" | "workspaces" | "foreach") {
        } else {
            manager = false;
            plain.push(word);
        }
    }
    plain.join(" ")
}

/// Tells whether a command line starts a program.
pub(super) fn starts(command: &str, program: &str) -> bool {
    starts_plain(command, program)
        || MANAGERS.iter().any(|manager| command.contains(manager))
            && starts_plain(&without_options(command), program)
}

fn starts_plain(command: &str, program: &str) -> bool {
    command.match_indices(program).any(|(at, _)| {
        // `./gradlew`, `vendor/bin/phpunit` and `"$CLAUDE_PROJECT_DIR"/mvnw` are programs, too.
        let path = command[..at].rfind(char::is_whitespace).map_or(0, |space| space + 1);
        let before = if command[..at].ends_with('/') { &command[..path] } else { &command[..at] };
        let before = before.trim_end();
        let segment = before.rsplit(['&', ';', '|', '(']).next().unwrap_or_default().trim();
        let wrapped = WRAPPERS.contains(&segment)
            || [
                "docker compose run ",
                "docker compose exec ",
                "docker-compose run ",
                "docker run ",
                "docker exec ",
            ]
            .iter()
            .any(|start| segment.starts_with(start));
        at == 0
            || wrapped
            || before.is_empty()
            || before.ends_with([';', '&', '|', '(', '{'])
            || before.ends_with("then")
            || before.ends_with("do")
    })
}
