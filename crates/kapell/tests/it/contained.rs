//! How agents are contained: what is said before a run, what is refused, and that it holds.

use std::{fs, path::PathBuf, process::Command};

use crate::rig::{Ended, Rig};

/// A workflow with an agent that is a command, which tells what it can reach.
fn save(rig: &Rig, settings: &str) {
    fs::create_dir_all(rig.dir().join("home/.ssh")).unwrap();
    fs::write(rig.dir().join("home/.ssh/id"), "canary").unwrap();
    let canary = rig.dir().join("home/.ssh/id");
    let text = format!(
        "mission: Look around\nagents:\n  scout:\n    use: command\n{settings}    run: |\n      \
         echo \"$KAPELL_PROMPT\" > found.txt\n      cat {0} >> found.txt 2>/dev/null || echo nothing >> found.txt\n      \
         (echo x > {0}) 2>/dev/null || true\n\
         tasks:\n  look: {{ agent: scout, prompt: look }}\n",
        canary.display()
    );
    fs::write(rig.dir().join("look.yaml"), text).unwrap();
}

/// A search path with git and a shell's tools, and without bubblewrap.
fn without_bubblewrap(rig: &Rig, command: &mut Command) {
    let bin = rig.dir().join("bin");
    let _ = fs::remove_dir_all(&bin);
    fs::create_dir_all(&bin).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let find =
        |name: &str| std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file());
    for name in ["git", "cat", "sh"] {
        std::os::unix::fs::symlink(find(name).unwrap(), bin.join(name)).unwrap();
    }
    command.env("PATH", &bin);
}

fn run_without_bubblewrap(rig: &Rig, args: &[&str]) -> Ended {
    let mut command = rig.command(args);
    without_bubblewrap(rig, &mut command);
    rig.ended(command)
}

fn found(rig: &Rig) -> (String, String) {
    let canary: PathBuf = rig.dir().join("home/.ssh/id");
    (rig.git(&["show", "main:found.txt"]), fs::read_to_string(canary).unwrap())
}

/// The number of the highest level that works here.
fn highest(rig: &Rig) -> u8 {
    let health: serde_json::Value = serde_json::from_str(&rig.run(["doctor", "--json"]).stdout).unwrap();
    let checks = health["checks"].as_array().unwrap();
    let said = checks.iter().find(|check| check["name"] == "containment").unwrap()["found"].as_str().unwrap();
    said.strip_prefix("level ").unwrap()[..1].parse().unwrap()
}

#[test]
fn an_agent_that_asks_for_it_is_contained_at_the_highest_level() {
    let rig = Rig::repository();
    let highest = highest(&rig);
    save(&rig, "    sandbox: auto\n");
    let ended = rig.run(["run", "../look.yaml", "--merge"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.stderr.contains(&format!("agents run at level {highest} (")), "{ended}");
    match highest {
        2.. => assert_eq!(found(&rig), ("look\nnothing\n".to_owned(), "canary".to_owned())),
        _ => assert_eq!(found(&rig), ("look\ncanary".to_owned(), "x\n".to_owned())),
    }
}

#[test]
fn a_command_that_does_not_ask_is_left_as_it_is() {
    let rig = Rig::repository();
    save(&rig, "");
    let ended = rig.run(["run", "../look.yaml", "--merge"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(!ended.stderr.contains("agents run at level"), "{ended}");
    assert_eq!(found(&rig), ("look\ncanary".to_owned(), "x\n".to_owned()));
}

#[test]
fn what_cannot_be_held_is_refused_before_anything_starts() {
    let rig = Rig::repository();
    for (settings, args, code, exit) in [
        ("    sandbox: required\n", &[][..], "K0810", 6),
        ("    sandbox: auto\n", &["--sandbox", "3"][..], "K0810", 6),
        ("    network: none\n", &[], "K0811", 4),
        ("    network: model-only\n", &[], "K0811", 4),
        ("    network: [example.org, \"*.example.org\"]\n", &[], "K0811", 4),
        ("    network: allow-list\n", &[], "K0814", 2),
        ("    network: [\"https://example.org\"]\n", &[], "K0814", 2),
        ("    sandbox: auto\n", &["--network", "none"], "K0811", 4),
        ("    sandbox: auto\n", &["--sandbox", "0"], "K0812", 4),
        ("    sandbox: 0\n", &["--sandbox", "1"], "K0813", 4),
        ("    sandbox: strong\n", &[], "K0814", 2),
    ] {
        save(&rig, settings);
        let args: Vec<&str> = ["run", "../look.yaml"].into_iter().chain(args.iter().copied()).collect();
        let mut command = rig.command(args);
        without_bubblewrap(&rig, &mut command);
        let ended = rig.ended(command);
        assert_eq!(ended.code, Some(exit), "{settings}: {ended}");
        assert!(ended.stderr.contains(code), "{settings}: {ended}");
        assert!(rig.runs().is_empty(), "{settings}");
    }
}

#[test]
fn a_person_can_lower_the_level_and_is_told_so() {
    let rig = Rig::repository();
    save(&rig, "    sandbox: auto\n");
    let ended = run_without_bubblewrap(&rig, &["run", "../look.yaml", "--sandbox", "1", "--merge"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.stderr.contains("agents run at level 1 ("), "{ended}");
    // A fork says and takes the same.
    let run = rig.runs().remove(0);
    let forked = run_without_bubblewrap(&rig, &["fork", &run, "--sandbox", "1"]);
    assert!(forked.code == Some(0) && forked.stderr.contains("agents run at level 1 ("), "{forked}");
    let refused = rig.run(["fork", &run, "--sandbox", "0"]);
    assert!(refused.code == Some(4) && refused.stderr.contains("K0812"), "{refused}");
    // The HOME is another one, and what is named by its path is reached all the same.
    assert_eq!(found(&rig), ("look\ncanary".to_owned(), "x\n".to_owned()));
}

#[test]
fn a_list_of_hosts_lets_these_through_and_says_what_it_refused() {
    let rig = Rig::repository();
    if highest(&rig) < 3 {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut stream, b"hello\n");
        }
    });
    let ask = "exec 3<>/dev/tcp/127.0.0.1/${HTTPS_PROXY##*:}; printf \"CONNECT $1 HTTP/1.1\\r\\n\\r\\n\" >&3; cat <&3";
    let text = format!(
        "mission: Look around\nagents:\n  scout:\n    use: command\n    network: [example.org, \"127.0.0.1:{port}\"]\n\
         \x20   run: |\n      for at in 127.0.0.1:{port} other.example:443 other.example:443; do\n        \
         bash -c '{ask}' ask $at >> found.txt\n      done\n\
         tasks:\n  look: {{ agent: scout, prompt: look }}\n"
    );
    fs::write(rig.dir().join("list.yaml"), text).unwrap();
    let ended = rig.run(["run", "../list.yaml", "--merge"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.stderr.contains(&format!("network 127.0.0.1:{port},example.org")), "{ended}");
    let found = rig.git(&["show", "main:found.txt"]);
    assert!(found.contains("200 Connection established") && found.contains("hello"), "{found}");
    assert_eq!(found.matches("`other.example:443` is not on the list of hosts").count(), 2, "{found}");
    let said = rig.run(["logs", "--json"]).stdout;
    let refused = "the network was refused: `other.example:443` is not on the list of hosts";
    assert_eq!(said.lines().filter(|line| line.contains(refused)).count(), 1, "{said}");
    // A place can ask for less than was granted, and not for other hosts.
    let ended = rig.run(["run", "../list.yaml", "--network", "example.org"]);
    assert_eq!(ended.code, Some(4), "{ended}");
    assert!(ended.stderr.contains("K0813") && ended.stderr.contains("--network 127.0.0.1:"), "{ended}");
}
