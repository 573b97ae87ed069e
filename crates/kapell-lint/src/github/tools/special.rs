//! Programs whose work hangs on more than their first words.

use super::{super::script::Command, Kind, Work, work};

/// Tells what such a command does; nothing where its first words say it.
pub(super) fn special(program: &str, words: &[String], command: &Command) -> Option<Work> {
    match program {
        "git" => git(words, command),
        // What is started on another machine is no help for what follows here.
        "docker"
            if has(command, &["--context", "-H", "--host"])
                && words.windows(2).any(|pair| pair == ["compose", "up"] || pair == ["stack", "deploy"]) =>
        {
            Some(work(Kind::Deploy, 60))
        }
        // "Return the exit code of the selected service container": what is started is there to test.
        //
        // Source: Docker, "docker compose up", `--exit-code-from`.
        "docker" | "docker-compose" | "podman"
            if says(command, "--exit-code-from") && words.iter().any(|word| word == "up") =>
        {
            Some(work(Kind::Test, 180))
        }
        "docker" | "podman" | "nerdctl" | "depot" => image(words, command),
        "buildctl" => says(command, "push=true").then_some(work(Kind::Publish, 200)),
        "gradle" | "gradlew" => gradle(words),
        "mvn" | "mvnw" => maven(words, command),
        "fastlane" => Some(fastlane(words)),
        // `nix run github:serokell/deploy-rs -- .#prod`
        "nix" if ["deploy-rs", "colmena", "nixos-anywhere"].iter().any(|name| says(command, name)) => {
            Some(work(Kind::Deploy, 120))
        }
        "nixos-rebuild" if has(command, &["--target-host"]) => Some(work(Kind::Deploy, 120)),
        "cap" => capistrano(words),
        "curl" => curl(command),
        "aws" | "gcloud" | "az" | "doctl" | "oc" => asks(words),
        "python" | "python3" | "python2" => python(words, command),
        "node" | "ruby" | "perl" | "php" if has(command, &["-e", "-p", "-pe", "-r", "-ne", "--eval"]) => {
            Some(work(Kind::Trivial, 1))
        }
        // A play that only looks changes no machine.
        "ansible-playbook"
            if has(command, &["--syntax-check", "--check", "-C", "--list-tasks", "--list-hosts"]) =>
        {
            Some(work(Kind::Lint, 20))
        }
        "yarn" if words.len() == 1 => Some(work(Kind::Install, 45)),
        // A copy within the machine goes nowhere.
        "rsync" | "scp" if !command.words.iter().skip(1).any(|word| word.contains(':')) => {
            Some(work(Kind::Trivial, 5))
        }
        "vercel" if second(words, &["pull", "env", "link", "inspect", "ls", "whoami", "login"]) => {
            Some(work(Kind::Setup, 5))
        }
        // It writes down what is there, and changes none of it.
        "terraform" | "tofu" | "terragrunt" if has(command, &["-refresh-only", "--refresh-only"]) => {
            Some(work(Kind::Store, 30))
        }
        "goreleaser"
            if has(command, &["check", "build", "--snapshot", "--skip-publish"])
                || says(command, "--skip") && says(command, "publish") =>
        {
            Some(work(Kind::Build, 240))
        }
        _ => None,
    }
}

fn has(command: &Command, any: &[&str]) -> bool {
    command.words.iter().any(|word| any.contains(&word.as_str()))
}

fn says(command: &Command, text: &str) -> bool {
    command.words.iter().any(|word| word.contains(text))
}

fn second(words: &[String], any: &[&str]) -> bool {
    words.get(1).is_some_and(|word| any.contains(&word.as_str()))
}

fn git(words: &[String], command: &Command) -> Option<Work> {
    // As a gate: nothing may have changed.
    if second(words, &["diff", "diff-index", "diff-files"]) && has(command, &["--exit-code", "--check"]) {
        return Some(work(Kind::Lint, 1));
    }
    if !second(words, &["push"]) {
        return None;
    }
    let target = |names: &[&str]| {
        names.iter().any(|name| command.words.iter().skip(2).any(|word| word.contains(name)))
    };
    if target(&["heroku", "dokku", "caprover", "gigalixir", "clever-cloud"]) {
        return Some(work(Kind::Deploy, 90));
    }
    // Pages are replaced as a whole.
    if command.words.iter().any(|word| word.ends_with("gh-pages")) {
        return Some(work(Kind::Pages, 4));
    }
    let tags = has(command, &["--tags"]) || has(command, &["--follow-tags"]) && !has(command, &["origin"]);
    let names_tag = command.words.iter().any(|word| {
        word.starts_with("v$") || word.contains("refs/tags/") || word.to_ascii_uppercase().contains("TAG")
    });
    // A branch and, in one go, the version beside it.
    let refs = command.words.iter().skip(2).filter(|word| !word.starts_with('-')).skip(1);
    let with_version = has(command, &["--atomic"]) && refs.clone().count() > 1;
    let version = with_version || refs.clone().any(|word| word.to_ascii_uppercase().contains("VERSION"));
    Some(work(if tags || names_tag || version { Kind::Tag } else { Kind::Push }, 4))
}

/// A build that pushes what it builds.
fn image(words: &[String], command: &Command) -> Option<Work> {
    let builds = words.iter().any(|word| matches!(word.as_str(), "build" | "bake"));
    let pushes = has(command, &["--push"]) || says(command, "push=true") || says(command, "type=registry");
    (builds && pushes).then_some(work(Kind::Publish, 200))
}

/// Tells what Gradle does by the names of its tasks: `:app:lintRelease`, `spotbugsDebug`, `testDebugUnitTest`.
fn gradle(words: &[String]) -> Option<Work> {
    // What `-x` names is left out.
    let left_out = |at: usize| matches!(words[at - 1].as_str(), "-x" | "--exclude-task");
    let tasks: Vec<String> = (1..words.len())
        .filter(|&at| !words[at].starts_with('-') && !left_out(at))
        .map(|at| words[at].to_ascii_lowercase())
        .collect();
    let has = |names: &[&str]| tasks.iter().any(|task| names.iter().any(|name| task.contains(name)));
    let is = |name: &str| tasks.iter().any(|task| task.rsplit(':').next() == Some(name));
    if tasks.is_empty() {
        return None;
    }
    if has(&["publishtomavenlocal"]) {
        return Some(work(Kind::Build, 180));
    }
    if has(&["publish", "upload", "closeandrelease", "bintray", "distribution"]) || is("jib") {
        return Some(work(Kind::Publish, 120));
    }
    if has(&["test"]) {
        return Some(work(Kind::Test, 180));
    }
    let lints =
        ["lint", "spotbugs", "checkstyle", "detekt", "ktlint", "spotless", "pmd", "errorprone", "apicheck"];
    if has(&lints) {
        return Some(work(Kind::Lint, 120));
    }
    has(&["sonar", "dependencycheck"]).then_some(work(Kind::Audit, 120))
}

/// Tells what Maven does by its goals and phases, the furthest of which counts.
fn maven(words: &[String], command: &Command) -> Option<Work> {
    let goals: Vec<&str> =
        words[1..].iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let is = |names: &[&str]| goals.iter().any(|goal| names.contains(goal));
    let of = |plugins: &[&str]| goals.iter().any(|goal| plugins.iter().any(|plugin| goal.contains(plugin)));
    let untested = says(command, "-DskipTests") || says(command, "-Dmaven.test.skip");
    let found = if is(&["deploy"])
        || of(&["release:perform", "jib:build", "nexus-staging:", "central-publishing:"])
    {
        work(Kind::Publish, 180)
    } else if of(&["release:prepare"]) {
        work(Kind::Push, 180)
    } else if of(&["sonar:sonar", "dependency-check"]) {
        work(Kind::Audit, 120)
    } else if of(&[
        "spotless:check",
        "checkstyle:check",
        "pmd:check",
        "spotbugs:check",
        "formatter:validate",
        "apache-rat",
    ]) {
        work(Kind::Lint, 60)
    } else if is(&["test", "verify", "integration-test"]) && !untested {
        work(Kind::Test, 240)
    } else if of(&["dependency:go-offline", "dependency:resolve"]) {
        work(Kind::Install, 90)
    } else if of(&["versions:set", "help:", "wrapper:"]) {
        work(Kind::Trivial, 10)
    } else {
        return None;
    };
    Some(found)
}

/// Tells what Capistrano does by its task, which follows the stage: `cap production deploy`. Capacitor has the same name.
fn capistrano(words: &[String]) -> Option<Work> {
    let task = words.get(2).filter(|task| task.split(':').next() == Some("deploy"))?;
    Some(if task.ends_with(":check") { work(Kind::Trivial, 5) } else { work(Kind::Deploy, 90) })
}

/// Lanes of fastlane have the names that people give them.
fn fastlane(words: &[String]) -> Work {
    let lanes =
        words.iter().skip(1).filter(|word| !matches!(word.as_str(), "ios" | "android" | "mac" | "run"));
    let name = lanes.take(2).cloned().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&[
        "deploy",
        "beta",
        "release",
        "testflight",
        "pilot",
        "deliver",
        "supply",
        "upload",
        "publish",
        "internal",
        "alpha",
        "distribut",
        "production",
        "prod",
        "appstore",
        "app_store",
        "submit",
        "ship",
        "appcenter",
        "play",
    ]) {
        work(Kind::Publish, 400)
    } else if has(&["test", "scan"]) {
        work(Kind::Test, 300)
    } else if has(&["lint", "check"]) {
        work(Kind::Lint, 60)
    } else if has(&["match", "cert", "sigh", "sync", "keychain", "install"]) {
        work(Kind::Setup, 30)
    } else if has(&["build", "gym", "archive", "assemble"]) {
        work(Kind::Build, 300)
    } else {
        work(Kind::Unknown, 120)
    }
}

/// Tells what a request is for by where it goes and what it carries.
fn curl(command: &Command) -> Option<Work> {
    let text = command.text().to_ascii_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let sends = command.words.iter().any(|word| {
        matches!(
            word.as_str(),
            "-d" | "-X" | "-T" | "-F" | "--request" | "--form" | "--upload-file" | "--json"
        ) || word.starts_with("--data")
            || word.starts_with("-X")
    });
    if any(&[
        "hooks.slack.com",
        "slack_webhook",
        "discord.com/api/webhooks",
        "discord_webhook",
        "api.telegram.org",
        "webhook.office.com",
        "teams_webhook",
        "ntfy.sh",
        "pushover",
    ]) {
        return Some(work(Kind::Report, 2));
    }
    if any(&[
        "api.render.com/deploy",
        "deploy_hook",
        "deploy-hook",
        "deployhook",
        "deploy_webhook",
        "render_hook",
        "/api/v1/deploy",
        "coolify",
        "portainer",
        "vercel.com/v1/integrations/deploy",
        "api.netlify.com/build_hooks",
    ]) {
        return Some(work(Kind::Deploy, 5));
    }
    if sends && any(&["/dispatches"]) {
        return Some(work(Kind::Dispatch, 2));
    }
    if sends
        && any(&[
            "push.fury.io",
            "packagecloud.io",
            "nexus",
            "artifactory",
            "upload.pypi.org",
            "/api/packages/",
            "gemfury",
        ])
    {
        return Some(work(Kind::Publish, 10));
    }
    // What is only fetched is there for what follows.
    let keeps = command.words.iter().any(|word| {
        word == "--output"
            || word == "--remote-name"
            || word.starts_with('>')
            || word.starts_with('-')
                && !word.starts_with("--")
                && (word.ends_with('o') || word.ends_with('O') || word.contains('O'))
    });
    (keeps && !sends).then_some(work(Kind::Setup, 5))
}

/// A question to a cloud changes nothing there.
fn asks(words: &[String]) -> Option<Work> {
    let verb = |word: &String| {
        matches!(word.as_str(), "describe" | "list" | "show" | "get" | "wait" | "help" | "version" | "status")
            || ["describe-", "list-", "get-", "head-", "lookup-", "batch-get-", "print-", "filter-"]
                .iter()
                .any(|start| word.starts_with(start))
    };
    let credentials = words.iter().any(|word| word.contains("credentials") || word.contains("login"));
    let asks = words.iter().skip(2).take(4).any(verb) || words.get(1).is_some_and(verb);
    if asks && credentials {
        return Some(work(Kind::Setup, 3));
    }
    let waits = words.iter().any(|word| word == "wait");
    asks.then(|| work(Kind::Trivial, if waits { 120 } else { 2 }))
}

/// `setup.py` and `manage.py` do what their first argument says.
fn python(words: &[String], command: &Command) -> Option<Work> {
    if has(command, &["-c"]) {
        return Some(work(Kind::Trivial, 1));
    }
    let file = words.get(1)?.rsplit('/').next()?;
    let argument = words[2..].iter().map(String::as_str).filter(|word| !word.starts_with('-'));
    let arguments: Vec<&str> = argument.collect();
    let is = |names: &[&str]| arguments.iter().any(|word| names.contains(word));
    let found = match file {
        "setup.py" if is(&["upload", "register"]) => work(Kind::Publish, 15),
        "setup.py" if is(&["test", "pytest", "nosetests"]) => work(Kind::Test, 60),
        "setup.py"
            if is(&["sdist", "bdist_wheel", "bdist", "build", "build_ext", "bdist_egg", "build_sphinx"]) =>
        {
            work(Kind::Build, 20)
        }
        "setup.py" if is(&["install", "develop"]) => work(Kind::Install, 30),
        "setup.py" if is(&["check", "flake8"]) => work(Kind::Lint, 5),
        "manage.py" if is(&["test"]) => work(Kind::Test, 120),
        "manage.py" if is(&["check", "makemigrations", "lint"]) => work(Kind::Lint, 10),
        "manage.py" if is(&["migrate", "loaddata", "createsuperuser", "flush"]) => work(Kind::Setup, 15),
        "manage.py" if is(&["collectstatic", "compilemessages", "compress", "spectacular"]) => {
            work(Kind::Build, 10)
        }
        "http.server" => work(Kind::Setup, 1),
        _ => return None,
    };
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, command};
    use crate::github::script::commands;

    #[test]
    fn work_hangs_on_more_than_the_first_words() {
        let cases = [
            ("git diff --exit-code", Kind::Lint),
            ("git push heroku main", Kind::Deploy),
            ("docker buildx bake --push", Kind::Publish),
            ("docker buildx build -o type=registry .", Kind::Publish),
            ("./gradlew publishToMavenLocal", Kind::Build),
            ("./gradlew :app:publishBundle", Kind::Publish),
            ("./gradlew jib", Kind::Publish),
            ("./gradlew jibDockerBuild", Kind::Build),
            ("./gradlew build -x test", Kind::Build),
            ("./gradlew :app:build :lib:build -x test", Kind::Build),
            ("mvn -B clean verify", Kind::Test),
            ("mvn -B package -DskipTests", Kind::Build),
            ("mvn -B clean deploy -DskipTests", Kind::Publish),
            ("bundle exec fastlane ios beta", Kind::Publish),
            ("fastlane test", Kind::Test),
            ("curl -X POST $DEPLOY_HOOK_URL", Kind::Deploy),
            ("curl -fsSL https://example.com/z -o z", Kind::Setup),
            ("curl -X POST -d '{}' $SLACK_WEBHOOK_URL", Kind::Report),
            ("curl https://example.com/health", Kind::Unknown),
            ("aws ecs describe-services --cluster x", Kind::Trivial),
            ("aws ecs update-service --cluster x", Kind::Deploy),
            ("gcloud run services describe x", Kind::Trivial),
            ("az webapp show -n x", Kind::Trivial),
            ("az webapp deploy -n x", Kind::Deploy),
            ("python setup.py sdist bdist_wheel", Kind::Build),
            ("python manage.py test", Kind::Test),
            ("python -c 'import x'", Kind::Trivial),
            ("node -e 'x()'", Kind::Trivial),
            ("terraform apply -refresh-only -auto-approve", Kind::Store),
            ("terraform apply -auto-approve", Kind::Deploy),
            ("./scripts/run_tests.sh", Kind::Test),
            ("bash ci/lint.sh", Kind::Lint),
        ];
        for (script, expected) in cases {
            assert_eq!(command(&commands(script)[0]).kind, expected, "{script}");
        }
    }
}
