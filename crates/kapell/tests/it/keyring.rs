//! A key out of the keyring of a Linux desktop, with a program in the place of libsecret's that says what the real one
//! (0.20.5) says.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use kapell_mock::Mock;

use crate::{
    models::{KEY, fix, place, write_workflow},
    rig::Rig,
};

/// Puts a program called `secret-tool` before those of the system; returns a call of kapell that finds it.
fn with_secret_tool(rig: &Rig, script: &str, args: &[&str]) -> Command {
    let bin = rig.dir().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let tool = bin.join("secret-tool");
    fs::write(&tool, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = rig.command(args);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    command.env("PATH", path);
    command
}

/// Which files below a directory hold a text; those in `but` are not looked at.
fn holding(dir: &Path, text: &str, but: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() && path != but {
            found.extend(holding(&path, text, but));
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap();
            let holds = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            found.extend(holds.then(|| path.display().to_string()));
        }
    }
    found
}

#[test]
fn the_keyring_gives_the_key_to_the_proxy_and_nobody_writes_it_down() {
    let mock = Mock::start().unwrap();
    let rig = place(&mock);
    let asked = rig.dir().join("asked");
    let url = mock.url();
    let text = format!("[clients.anthropic]\nbase_url = \"{url}\"\nkey_keyring = \"my/anthropic\"\n");
    fs::write(rig.dir().join("home/config/kapell/kapell.toml"), text).unwrap();
    // As the real one of libsecret 0.20.5: no line end, and status 1 for whatever is wrong.
    let gives = format!("echo \"$*\" >> {}\nprintf 'ring-{KEY}'", asked.display());
    mock.play("ring", fix());
    mock.look_for(&["ring-sk-canary"]);
    // Who only looks asks for no key.
    let told = rig.ended(with_secret_tool(&rig, &gives, &["doctor"]));
    assert!(told.stdout.contains("key from the keyring"), "{told}");
    assert!(!asked.exists());
    let agent = "{ use: anthropic, model: m }";
    write_workflow(&rig, agent, "ring");
    let ended = rig.ended(with_secret_tool(&rig, &gives, &["run", "../fix.yaml"]));
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(fs::read_to_string(&asked).unwrap(), "lookup service my/anthropic\n");
    assert_eq!(mock.found_in_headers(), ["ring-sk-canary"]);
    assert_eq!(holding(rig.dir(), KEY, &rig.dir().join("bin")), Vec::<String>::new());
}

#[test]
fn a_keyring_that_gives_no_key_is_told_with_what_to_type() {
    let mock = Mock::start().unwrap();
    let rig = place(&mock);
    let text =
        format!("[clients.anthropic]\nbase_url = \"{}\"\nkey_keyring = \"my/anthropic\"\n", mock.url());
    fs::write(rig.dir().join("home/config/kapell/kapell.toml"), text).unwrap();
    write_workflow(&rig, "{ use: anthropic, model: m }", "ring");
    for (script, expected) in [
        (
            "case $1 in lookup) exit 1;; esac",
            "the keyring keeps none for the service `my/anthropic` (store it, you will be asked for it: \
             secret-tool store --label='kapell: my/anthropic' service my/anthropic)",
        ),
        (
            // It says nothing then, and lists what it keeps without the secret.
            "case $1 in lookup) exit 1;; esac
             echo 'secret-tool: Cannot get secret of a locked object' >&2
             printf '[/1]\\nlabel = kapell: my/anthropic\\nschema = org.freedesktop.Secret.Generic\\n'",
            "the keyring is locked (unlock it, as by `secret-tool lookup service my/anthropic`, which prints the key)",
        ),
        (
            "echo 'secret-tool: Cannot autolaunch D-Bus without X11 $DISPLAY' >&2; exit 1",
            "the keyring cannot be asked: Cannot autolaunch D-Bus without X11",
        ),
        ("printf 'no canary'", "no key: it has blanks or other characters that no key has (store the key"),
    ] {
        let ended = rig.ended(with_secret_tool(&rig, script, &["run", "../fix.yaml", "--new"]));
        assert_eq!(ended.code, Some(1), "{ended}");
        let said = rig.run(["logs"]).stdout;
        assert!(said.contains(expected) && !said.contains("canary"), "{said}");
    }
    // The program is not there, and that is told before anything starts.
    let bare = rig.dir().join("bare");
    fs::create_dir_all(&bare).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for name in ["git", "sh"] {
        let of_system = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file());
        std::os::unix::fs::symlink(of_system.unwrap(), bare.join(name)).unwrap();
    }
    let without = |args: &[&str]| {
        let mut command = rig.command(args);
        rig.ended({
            command.env("PATH", &bare);
            command
        })
    };
    let told = without(&["doctor"]);
    assert!(told.stdout.contains("`key_keyring` starts `secret-tool`, which is not there"), "{told}");
    assert!(told.stdout.contains("apt install libsecret-tools"), "{told}");
    let told = without(&["agents", "--json"]);
    assert!(told.stdout.contains("its `key_keyring` starts `secret-tool`, which is not there"), "{told}");
    assert_eq!(mock.count("ring").requests, 0);
}
