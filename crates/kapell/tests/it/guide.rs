//! What the guide tells to type and to write, done as it stands there.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use kapell_mock::{Call, Mock, NOBODY, Scenario, Turn};

use crate::rig::{Ended, Rig};

/// Returns the blocks of a page of the guide that are in a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let found = blocks_of(&root().join("docs/guide").join(page), language);
    assert!(!found.is_empty(), "{page} has no {language}");
    found
}

/// Returns the blocks of a file that are in a language.
fn blocks_of(page: &Path, language: &str) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let (begin, mut found) = (format!("```{language}"), Vec::new());
    let mut lines = text.lines();
    while lines.by_ref().any(|line| line == begin) {
        let block = lines.by_ref().take_while(|line| *line != "```");
        found.push(block.map(|line| format!("{line}\n")).collect());
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns all pages that are for users.
fn pages() -> Vec<PathBuf> {
    let directories = ["docs", "docs/guide", "docs/guide/agents"].map(|dir| root().join(dir));
    let files =
        directories.iter().flat_map(|dir| fs::read_dir(dir).unwrap()).map(|entry| entry.unwrap().path());
    let pages = files.filter(|path| path.extension().is_some_and(|end| end == "md"));
    pages.chain([root().join("README.md")]).collect()
}

/// Does what a page's console does: each line that begins with `$ kapell`, until one fails.
fn type_in(rig: &Rig, page: &str, language: &str, mark: &str) -> Vec<Ended> {
    let text = blocks(page, language).concat();
    let typed = text.lines().filter_map(|line| line.strip_prefix(&format!("{mark}kapell ")));
    let words = |line: &str| -> Vec<String> {
        line.split('#').next().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    typed
        .map(|line| {
            let mut command = rig.command(words(line));
            // It is installed, as for whoever reads the guide.
            let kapell = Path::new(env!("CARGO_BIN_EXE_kapell")).parent().unwrap().to_owned();
            let path = std::env::var_os("PATH").unwrap();
            let places = std::iter::once(kapell).chain(std::env::split_paths(&path));
            command.env("PATH", std::env::join_paths(places).unwrap());
            rig.ended(command)
        })
        .collect()
}

/// Writes settings of the user.
fn set(rig: &Rig, settings: &str) {
    let config = rig.dir().join("home/config/kapell");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("kapell.toml"), settings).unwrap();
}

fn write_program(rig: &Rig, path: &str, text: &str) {
    rig.write(path, text);
    fs::set_permissions(rig.work().join(path), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn an_agent_of_ones_own_has_ten_lines_and_works() {
    let page = "writing-an-agent.md";
    let (shell, python) = (blocks(page, "sh").remove(0), blocks(page, "python"));
    assert!(shell.lines().count() <= 10 && python[0].lines().count() <= 10, "it has grown");
    if Command::new("python3").arg("--version").output().is_err() {
        println!("did not run: there is no python3");
        return;
    }
    let by_socket: String = python[0]
        .lines()
        .flat_map(
            |line| if line.starts_with("subprocess") { python[1].lines().collect() } else { vec![line] },
        )
        .map(|line| format!("{line}\n"))
        .collect();
    assert_ne!(by_socket, python[0]);
    for agent in [&python[0], &by_socket] {
        let rig = Rig::repository();
        rig.write("agents.yaml", &blocks(page, "yaml")[0]);
        write_program(&rig, "tools/agent.sh", &shell);
        write_program(&rig, "tools/agent.py", agent);
        rig.commit("two agents");
        let ended = type_in(&rig, page, "console", "$ ");
        assert_eq!(ended.len(), 2);
        assert!(ended.iter().all(|one| one.code == Some(0)), "{}{}", ended[0], ended[1]);
        assert!(blocks(page, "console")[0].ends_with(&ended[1].stdout), "{}", ended[1]);
        let said = rig.run(["logs"]).stdout;
        assert!(said.contains("notes: the first line is there"), "{said}");
    }
}

#[test]
fn a_gate_of_the_guide_does_what_is_answered() {
    for (answer, lands) in [("now", true), ("never", false)] {
        let rig = Rig::repository();
        rig.write("release.yaml", &blocks("gates.md", "yaml")[0]);
        assert_eq!(rig.run(["run", "release.yaml", "--no-input"]).code, Some(3));
        assert_eq!(rig.run(["answer", "0", answer]).code, Some(0));
        let ended = rig.run(["run", "release.yaml"]);
        assert_eq!(
            (ended.code, ended.stderr.contains("tag    skipped: its condition is false")),
            (Some(0), !lands),
            "{ended}"
        );
        assert_eq!(rig.run(["diff", "--stat"]).stdout.contains("VERSION"), lands);
    }
}

#[test]
fn every_file_of_the_documents_has_no_errors() {
    let rig = Rig::repository();
    let (mut files, mut settings) = (0, 0);
    for page in pages() {
        for file in blocks_of(&page, "yaml").iter().filter(|block| block.contains("mission:")) {
            rig.write("file.yaml", file);
            let ended = rig.run(["plan", "file.yaml"]);
            assert!(
                ended.code == Some(0) && !ended.stderr.contains("warning"),
                "{}: {ended}",
                page.display()
            );
            files += 1;
        }
        for block in blocks_of(&page, "toml") {
            set(&rig, &block);
            let ended = rig.run(["agents"]);
            assert_eq!(ended.code, Some(0), "{}: {ended}", page.display());
            settings += 1;
        }
        set(&rig, "");
    }
    assert!(files > 10 && settings > 5, "{files} files and {settings} settings were found");
}

#[test]
fn a_budget_in_which_nothing_fits_is_raised_as_the_guide_says() {
    let rig = Rig::repository();
    let file = &blocks("budgets.md", "yaml")[0];
    rig.write("reserve.yaml", file);
    assert_eq!(rig.run(["run", "reserve.yaml"]).code, Some(0));
    rig.write("reserve.yaml", &file.replace("usd: 0.50", "usd: 0.20"));
    assert!(rig.run(["plan", "reserve.yaml"]).stderr.contains("K0229"));
    let ended = rig.run(["run", "reserve.yaml", "--fresh"]);
    assert!(
        ended.code == Some(4) && ended.stderr.contains("paused: too little money is left in the budget\n"),
        "{ended}"
    );
    let next = rig.run(["status"]).stdout.lines().last().unwrap().to_owned();
    assert!(next.ends_with("--budget LIMIT"), "{next}");
    let id = rig.runs().remove(0);
    let ended = rig.run(["resume", &id, "--budget", "1usd"]);
    assert!(ended.code == Some(0) && ended.stderr.contains("goes on within new limits, by ada"), "{ended}");
}

#[test]
fn a_model_works_is_recorded_and_played_back_as_the_guide_says() {
    let mock = Mock::start().unwrap();
    let content = "echo $(($1 + $2))\n".to_owned();
    mock.play(
        NOBODY,
        Scenario::of([
            Turn::Call(vec![Call::Write { path: "sum.sh".to_owned(), content }]),
            Turn::Call(vec![Call::Shell { command: "sh check.sh".to_owned() }]),
            Turn::Say("I fixed the sign.".to_owned()),
        ]),
    );
    let rig = Rig::repository();
    rig.write("sum.sh", "echo $(($1 - $2))\n");
    rig.write("check.sh", "test \"$(sh sum.sh 2 3)\" = 5\n");
    rig.write("fix.yaml", &blocks("model-apis.md", "yaml")[0]);
    rig.commit("a sum that is none");
    let settings = &blocks("model-apis.md", "toml")[0];
    set(&rig, &settings.replace("http://127.0.0.1:11434", &mock.url()));
    let ended = rig.run(["run", "fix.yaml"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(mock.count(NOBODY).requests, 3);

    let ended = type_in(&rig, "recording.md", "sh", "");
    assert_eq!(ended.len(), 2);
    for one in &ended {
        assert_eq!(one.code, Some(0), "{one}");
    }
    assert_eq!(mock.count(NOBODY).requests, 6, "{}", ended[1]);
    assert_eq!(rig.run(["merge"]).code, Some(0));
    assert_eq!(rig.read("sum.sh"), "echo $(($1 + $2))\n");
}

/// A server with one tool, which says what it was called with.
const TICKETS: &str = r#"#!/usr/bin/env bash
while IFS= read -r line; do
    [[ $line =~ \"id\":([0-9]+|\"[^\"]*\") ]] && id=${BASH_REMATCH[1]} || continue
    case $line in
    *'"initialize"'*) result='{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"tickets","version":"1"}}' ;;
    *'"tools/call"'*) echo "$line" > "$LAST"; result='{"content":[{"type":"text","text":"ticket 7"}]}' ;;
    *) echo '{"jsonrpc":"2.0","id":'"$id"',"error":{"code":-32601,"message":"Method not found"}}'; continue ;;
    esac
    echo '{"jsonrpc":"2.0","id":'"$id"',"result":'"$result"'}'
done
"#;

#[test]
fn a_tool_is_called_as_the_guide_says() {
    let rig = Rig::repository();
    write_program(&rig, "tickets.sh", TICKETS);
    rig.write("note.yaml", &blocks("mcp-tools.md", "yaml")[0]);
    rig.commit("a workflow");
    let (program, last) = (rig.work().join("tickets.sh"), rig.dir().join("last"));
    set(&rig, &format!("[mcp.tickets]\ncommand = {program:?}\nenv = {{ LAST = {last:?} }}\n"));
    let planned = rig.run(["plan", "note.yaml"]);
    assert!(planned.stdout.contains("tickets.create"), "{planned}");
    let ended = rig.run(["run", "note.yaml", "--sandbox", "1"]);
    assert_eq!(ended.code, Some(0), "{ended}\n{}", rig.run(["logs"]));
    let call = fs::read_to_string(last).unwrap();
    assert!(call.contains(r#""title":"Released 1.4.0""#) && call.contains(r#""count":1"#), "{call}");
    assert!(rig.run(["logs", "--json"]).stdout.contains("ticket 7"));
}

#[test]
fn the_past_looks_as_the_guide_shows_it() {
    let page = "resume-and-fork.md";
    let rig = Rig::repository();
    let at_once = blocks(page, "yaml")[0].replace("sleep 1; ", "").replace("sleep 3; ", "");
    rig.write("slow.yaml", &at_once);
    rig.commit("a workflow");
    assert_eq!(rig.run(["run", "slow.yaml", "--quiet"]).code, Some(0));
    let shown = blocks(page, "console").into_iter().find(|block| block.contains("kapell replay")).unwrap();
    let ended = rig.run(["replay", "--at", "4"]);
    let (told, drawn) = (format!("{}{}", ended.stderr, ended.stdout), shown.lines().skip(1));
    // Ids, times and commits are others each time, and nothing was killed here.
    let words = |line: &str| -> Vec<String> {
        let is_word = |word: &&str| !word.chars().any(|one| one.is_ascii_digit());
        line.split_whitespace().filter(is_word).map(str::to_owned).collect()
    };
    let mut expected: Vec<_> = drawn.map(words).collect();
    let mut found: Vec<_> = told.lines().map(words).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "{ended}");
}
