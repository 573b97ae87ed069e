//! Commands that run other commands: shells, containers, environments, `xargs`.

use super::super::script::{Command, commands};

/// How deep commands are looked for in commands.
pub(crate) const DEPTH: usize = 3;

/// Flags of `docker run` and its like that take their value as the next word.
const CONTAINER_VALUES: &[&str] = &[
    "-e",
    "--env",
    "--env-file",
    "-v",
    "--volume",
    "--mount",
    "-w",
    "--workdir",
    "-p",
    "--publish",
    "-u",
    "--user",
    "--name",
    "--network",
    "--net",
    "--platform",
    "-m",
    "--memory",
    "--cpus",
    "--add-host",
    "--label",
    "-l",
    "--hostname",
    "-h",
    "--shm-size",
    "--gpus",
    "--pull",
    "--restart",
    "--ulimit",
    "--security-opt",
    "--device",
    "--ipc",
    "--tmpfs",
    "--cap-add",
    "--volumes-from",
    "--link",
    "--index",
    "--profile",
    "--cidfile",
    "--runtime",
];

/// Programs that set something up for what follows them: the words they begin with, and whether `--` comes before it.
const AROUND: &[(&[&str], bool)] = &[
    (&["op", "run"], true),
    (&["doppler", "run"], true),
    (&["infisical", "run"], true),
    (&["aws-vault", "exec"], true),
    (&["chamber", "exec"], true),
    (&["dotenvx", "run"], true),
    (&["teller", "run"], true),
    (&["vault-env"], false),
    (&["envchain"], true),
    (&["mise", "exec"], true),
    (&["mise", "x"], true),
    (&["opam", "exec"], true),
    (&["stack", "exec"], true),
    (&["devbox", "run"], true),
    (&["nx", "exec"], true),
    (&["lerna", "exec"], true),
    (&["cabal", "exec"], true),
    (&["rbenv", "exec"], false),
    (&["pyenv", "exec"], false),
    (&["direnv", "exec", "."], false),
    (&["dotnet", "tool", "run"], false),
    (&["cross-env"], false),
    (&["cross-env-shell"], false),
    (&["firebase", "emulators:exec"], false),
    (&["percy", "exec"], true),
    (&["start-server-and-test"], false),
];

/// Returns the commands that a command runs: what stands in `bash -c`, behind `docker run IMAGE`, `xargs` or `find -exec`.
#[must_use]
pub(crate) fn nested(command: &Command) -> Vec<Command> {
    let words = command.inner();
    let rest = match command.program() {
        "bash" | "sh" | "zsh" | "dash" | "ash" => return shell(&words[1..]),
        "docker" | "podman" | "nerdctl" | "docker-compose" => return container(words),
        "nix-shell" => return quoted(words, &["--run", "--command"]),
        "nix" => match words.iter().position(|word| matches!(word.as_str(), "-c" | "--command")) {
            Some(at) => &words[at + 1..],
            None => return Vec::new(),
        },
        "xargs" => flags_off(&words[1..], &["-n", "-P", "-I", "-L", "-d", "-s", "-a"]),
        "find" => return executed(words),
        "conda" | "mamba" | "micromamba" if words.get(1).is_some_and(|word| word == "run") => {
            flags_off(&words[2..], &["-n", "--name", "-p", "--prefix", "--cwd"])
        }
        "concurrently" | "wireit" => {
            return words[1..]
                .iter()
                .filter(|word| word.contains(' '))
                .flat_map(|word| commands(word))
                .collect();
        }
        _ => match around(words) {
            Some(rest) => rest,
            None => return Vec::new(),
        },
    };
    one(rest)
}

/// Makes a command of words; a single word with blanks is a script.
fn one(words: &[String]) -> Vec<Command> {
    match words {
        [] => Vec::new(),
        [script] if script.contains(' ') => commands(script),
        _ => {
            let quote =
                |word: &String| match word.contains([' ', ';', '&', '|', '(', ')', '<', '>', '#', '\n']) {
                    true => format!("'{}'", word.replace('\'', "")),
                    false => word.clone(),
                };
            commands(&words.iter().map(quote).collect::<Vec<_>>().join(" "))
        }
    }
}

/// `bash -c TEXT`, with whatever flags.
fn shell(words: &[String]) -> Vec<Command> {
    let takes = |word: &&String| word.starts_with('-') && !word.starts_with("--") && word.ends_with('c');
    let Some(at) = words.iter().position(|word| takes(&word)) else { return Vec::new() };
    words.get(at + 1).map_or_else(Vec::new, |script| commands(script))
}

fn quoted(words: &[String], flags: &[&str]) -> Vec<Command> {
    let at = words.iter().position(|word| flags.contains(&word.as_str()));
    at.and_then(|at| words.get(at + 1)).map_or_else(Vec::new, |script| commands(script))
}

fn flags_off<'a>(mut words: &'a [String], valued: &[&str]) -> &'a [String] {
    while let Some(word) = words.first().filter(|word| word.starts_with('-') && word.as_str() != "--") {
        let takes = valued.contains(&word.as_str());
        words = words.get(1 + usize::from(takes)..).unwrap_or_default();
    }
    words.strip_prefix(&["--".to_owned()]).unwrap_or(words)
}

fn around(words: &[String]) -> Option<&[String]> {
    let (start, dashes) = AROUND.iter().find(|(start, _)| {
        words.len() > start.len() && start.iter().zip(words).all(|(known, word)| word == known)
    })?;
    if *dashes {
        let at = words.iter().position(|word| word == "--")?;
        return Some(&words[at + 1..]);
    }
    let rest = flags_off(&words[start.len()..], &["--only", "--project", "-P", "--import"]);
    let assigned =
        rest.iter().take_while(|word| word.split_once('=').is_some_and(|(name, _)| !name.contains(' ')));
    Some(&rest[assigned.count()..])
}

/// What `docker run`, `docker exec` and `docker compose run` run. A service that goes on in the background is none.
fn container(words: &[String]) -> Vec<Command> {
    let compose = words[0].ends_with("-compose") || words.get(1).is_some_and(|word| word == "compose");
    let Some(at) = words.iter().take(8).position(|word| matches!(word.as_str(), "run" | "exec")) else {
        return Vec::new();
    };
    let flags = words[at + 1..].iter().take_while(|word| word.starts_with('-'));
    if flags.clone().any(|word| matches!(word.as_str(), "-d" | "--detach" | "-dit" | "-itd" | "-td" | "-dt"))
    {
        return Vec::new();
    }
    let entrypoint = words.iter().position(|word| word == "--entrypoint").and_then(|at| words.get(at + 1));
    let values: Vec<&str> = CONTAINER_VALUES.iter().copied().chain(["--entrypoint"]).collect();
    let rest = flags_off(&words[at + 1..], &values);
    let Some((image, inner)) = rest.split_first() else { return Vec::new() };
    if words[at] == "exec" || compose {
        return one(inner);
    }
    if let Some(program) = entrypoint {
        let mut whole = vec![program.clone()];
        whole.extend(inner.iter().cloned());
        return one(&whole);
    }
    let found = one(inner);
    let known = found.first().is_some_and(|first| super::command(first).kind != super::Kind::Unknown);
    if known || image.contains('$') {
        return found;
    }
    // Many images are a program: `hadolint/hadolint`, `aquasec/trivy image x`.
    let name = image.rsplit('/').next().unwrap_or(image);
    let name = name.split([':', '@']).next().unwrap_or(name);
    let mut whole = vec![name.to_owned()];
    whole.extend(inner.iter().cloned());
    let by_image = one(&whole);
    let tells = by_image.first().is_some_and(|first| {
        !matches!(
            super::command(first).kind,
            super::Kind::Unknown | super::Kind::Trivial | super::Kind::Setup
        )
    });
    if tells { by_image } else { found }
}

/// What `find -exec` runs.
fn executed(words: &[String]) -> Vec<Command> {
    let flags = ["-exec", "-execdir", "-ok"];
    let Some(at) = words.iter().position(|word| flags.contains(&word.as_str())) else { return Vec::new() };
    let rest = &words[at + 1..];
    let end = rest.iter().position(|word| matches!(word.as_str(), ";" | "+")).unwrap_or(rest.len());
    one(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_within_commands_are_found() {
        let inner = |script: &str| {
            nested(&commands(script)[0]).iter().map(Command::text).collect::<Vec<_>>().join("; ")
        };
        let cases = [
            ("bash -c 'cd x && npm test'", "cd x; npm test"),
            ("sudo bash -lc \"make test\"", "make test"),
            ("docker run --rm -v $PWD:/w -w /w rust:1 cargo test --all", "cargo test --all"),
            ("docker run --rm -i hadolint/hadolint < Dockerfile", "hadolint < Dockerfile"),
            ("docker run -d redis", ""),
            ("docker compose exec -T web bundle exec rspec", "bundle exec rspec"),
            ("docker compose -f ci.yml run --rm app sh -c 'pytest -x'", "sh -c pytest -x"),
            ("docker run --entrypoint pytest img tests", "pytest tests"),
            ("docker build .", ""),
            ("git ls-files | true", ""),
            ("xargs -0 -n 1 shellcheck", "shellcheck"),
            ("find . -name '*.sh' -exec shellcheck {} \\;", "shellcheck {}"),
            ("nix develop -c cargo test", "cargo test"),
            ("nix-shell --run 'make check'", "make check"),
            ("op run --env-file=x -- terraform apply", "terraform apply"),
            ("conda run -n dev pytest", "pytest"),
            ("cross-env A=1 jest --ci", "jest --ci"),
        ];
        for (script, expected) in cases {
            assert_eq!(inner(script), expected, "{script}");
        }
    }
}
