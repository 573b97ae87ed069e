use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::args::Scope;

/// Everything below a directory: files with their bytes, directories, links with their targets.
fn tree(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let what = if meta.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            "dir".to_owned()
        } else if meta.is_symlink() {
            format!("link {}", fs::read_link(&path).unwrap().display())
        } else {
            use std::os::unix::fs::PermissionsExt;
            format!("{:o} {:?}", meta.permissions().mode(), fs::read(&path).unwrap())
        };
        all.insert(path.strip_prefix(dir).unwrap().to_owned(), what);
    }
    all
}

const SETTINGS: &str = "settings.json";

fn host(which: HostProgram, dir: &Path) -> Host {
    Host::new(which, Scope::User, dir.to_owned())
}

fn installed_into(host: &Host) -> Vec<String> {
    let work = plan(host, host.manifest().unwrap().as_ref()).unwrap();
    carry_out(host, &work).unwrap();
    work.notes
}

fn uninstalled_from(host: &Host) -> Vec<PathBuf> {
    let manifest = host.manifest().unwrap().unwrap();
    let kept = manifest.take_back(&host.dir, &host.manifest_path()).unwrap();
    kept.into_iter().map(|kept| kept.path).collect()
}

fn installed(dir: &Path) -> Vec<String> {
    installed_into(&host(HostProgram::Claude, dir))
}

fn uninstalled(dir: &Path) -> Vec<PathBuf> {
    uninstalled_from(&host(HostProgram::Claude, dir))
}

/// Settings as people write them.
const SETTINGS_SEEN: [&str; 12] = [
    "{}",
    "{ }\n",
    "{\n}\n",
    "{\"model\":\"opus\"}",
    "{ \"model\": \"opus\" }\n",
    "{\n  \"model\": \"opus\",\n  \"env\": { \"A\": \"}\\\"{\" }\n}\n",
    "{\r\n\t\"model\": \"opus\"\r\n}\r\n",
    "// mine\n{\n    // the model\n    \"model\": \"opus\", /* } */\n    \"hooks\": {\"Stop\": []},\n}\n// end",
    "{ /* a */ \"model\": 1 }",
    "\u{feff}{\n \"model\": null\n}",
    "",
    "\n\n",
];

#[test]
fn what_was_installed_is_taken_back_to_the_byte() {
    for text in SETTINGS_SEEN {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(SETTINGS), text).unwrap();
        fs::create_dir(dir.path().join("commands")).unwrap();
        fs::write(dir.path().join("commands/orchestrate.md"), "mine").unwrap();
        let before = tree(dir.path());
        let notes = installed(dir.path());
        assert_eq!(notes, ["commands/orchestrate.md is yours and stays: use /kapell:orchestrate"], "{text}");
        let after = fs::read_to_string(dir.path().join(SETTINGS)).unwrap();
        assert!(after.contains("statusline"), "{after}");
        // Twice is once.
        let once = tree(dir.path());
        installed(dir.path());
        assert_eq!(tree(dir.path()), once, "{text}");
        assert_eq!(uninstalled(dir.path()), Vec::<PathBuf>::new());
        assert_eq!(tree(dir.path()), before, "{text}");
    }
}

#[test]
fn a_directory_that_was_not_there_is_gone_again() {
    let dir = tempfile::tempdir().unwrap();
    let claude = dir.path().join("home/.claude");
    fs::create_dir(dir.path().join("home")).unwrap();
    let before = tree(dir.path());
    installed(&claude);
    installed(&claude);
    assert_eq!(fs::read_to_string(claude.join(SETTINGS)).unwrap().lines().count(), 3);
    assert_eq!(uninstalled(&claude), Vec::<PathBuf>::new());
    assert_eq!(tree(dir.path()), before);
}

#[test]
fn a_home_without_a_directory_for_settings_gets_one_and_loses_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let before = tree(dir.path());
    let opencode = host(HostProgram::Opencode, &dir.path().join(".config/opencode"));
    installed_into(&opencode);
    assert!(dir.path().join(".config/opencode/opencode.json").is_file());
    assert_eq!(uninstalled_from(&opencode), Vec::<PathBuf>::new());
    assert_eq!(tree(dir.path()), before);
}

#[test]
fn a_link_stays_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let claude = dir.path().join(".claude");
    fs::create_dir(&claude).unwrap();
    fs::write(dir.path().join("dotfile"), "{\"a\": 1}").unwrap();
    std::os::unix::fs::symlink("../dotfile", claude.join(SETTINGS)).unwrap();
    let before = tree(dir.path());
    installed(&claude);
    assert!(fs::read_to_string(dir.path().join("dotfile")).unwrap().contains("statusline"));
    uninstalled(&claude);
    assert_eq!(tree(dir.path()), before);
}

#[test]
fn what_changed_since_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let settings = dir.path().join(SETTINGS);
    fs::write(&settings, "{\n  \"a\": 1\n}\n").unwrap();
    installed(dir.path());
    // The person adds a key at the end, and a word to a command.
    let text = fs::read_to_string(&settings).unwrap().replace("\"a\": 1", "\"a\": 1,\n  \"b\": 2");
    fs::write(&settings, text).unwrap();
    let command = dir.path().join("commands/coordinate.md");
    fs::write(&command, "mine now").unwrap();
    assert_eq!(uninstalled(dir.path()), std::slice::from_ref(&command));
    assert_eq!(fs::read_to_string(&settings).unwrap(), "{\n  \"a\": 1,\n  \"b\": 2\n}\n");
    assert_eq!(fs::read_to_string(&command).unwrap(), "mine now");
    assert!(!dir.path().join("skills").exists());
}

/// Settings of clients that get a server.
const SERVERS_SEEN: [(HostProgram, &str, &[&str]); 3] = [
    (
        HostProgram::Codex,
        "config.toml",
        &[
            "",
            "model = \"gpt\"",
            "# mine\r\nmodel = \"gpt\"\r\n\r\n[mcp_servers.other]\r\ncommand = \"x\"\r\n",
            "mcp_servers.other.command = \"x\"\n[profiles.a]\nmodel = '''y\n'''\n",
        ],
    ),
    (
        HostProgram::Gemini,
        "settings.json",
        &[
            "{}",
            "{\"mcpServers\": {}}",
            "{\n  // mine\n  \"mcpServers\": {\n    \"other\": {\"command\": \"}\"}\n  }\n}\n",
            "{ \"a\": {\"mcpServers\": {\"kapell\": 1}} }",
        ],
    ),
    (
        HostProgram::Opencode,
        "opencode.jsonc",
        &["{}\n", "{\r\n\t\"mcp\": { \"other\": {} }, // mine\r\n\t\"model\": \"x\",\r\n}\r\n"],
    ),
];

/// The entry as the client reads it.
fn entry(which: HostProgram, text: &str) -> serde_json::Value {
    let read: serde_json::Value = match which {
        HostProgram::Codex => serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap(),
        // Comments, and the comma behind the last key, are beyond serde_json.
        _ => serde_json::from_str(&text.replace("// mine", "").replace(",\r\n}", "}")).unwrap(),
    };
    let servers = match which {
        HostProgram::Codex => "mcp_servers",
        HostProgram::Gemini => "mcpServers",
        HostProgram::Opencode => "mcp",
        HostProgram::Claude => unreachable!("it has a plugin"),
    };
    read[servers]["kapell"].clone()
}

#[test]
fn a_server_goes_among_others_and_is_taken_back_to_the_byte() {
    for (which, name, texts) in SERVERS_SEEN {
        for text in texts.iter().copied().map(Some).chain([None]) {
            let dir = tempfile::tempdir().unwrap();
            // Without settings there is not even the directory.
            let place = if text.is_some() { dir.path().to_owned() } else { dir.path().join("new") };
            let host = host(which, &place);
            if let Some(text) = text {
                fs::write(place.join(name), text).unwrap();
            }
            let before = tree(dir.path());
            assert_eq!(installed_into(&host), Vec::<String>::new());
            let after = fs::read_to_string(place.join(host.settings())).unwrap();
            let program = program().unwrap();
            let expected = match which {
                HostProgram::Opencode => serde_json::json!({"type": "local", "command": [program, "mcp"]}),
                _ => serde_json::json!({"command": program, "args": ["mcp"]}),
            };
            assert_eq!(entry(which, &after), expected, "{after}");
            // Twice is once.
            let once = tree(dir.path());
            installed_into(&host);
            assert_eq!(tree(dir.path()), once, "{text:?}");
            assert_eq!(host.manifest().unwrap().unwrap().changed(&place), Vec::<&Path>::new());
            assert_eq!(uninstalled_from(&host), Vec::<PathBuf>::new());
            assert_eq!(tree(dir.path()), before, "{text:?}");
        }
    }
}

#[test]
fn opencode_has_nothing_to_add_to_settings_that_are_new() {
    let dir = tempfile::tempdir().unwrap();
    let host = host(HostProgram::Opencode, dir.path());
    installed_into(&host);
    let text = fs::read_to_string(dir.path().join(host.settings())).unwrap();
    assert!(
        text.starts_with("{\n  \"$schema\": \"https://opencode.ai/config.json\",\n  \"mcp\": {"),
        "{text}"
    );
}

#[test]
fn settings_that_cannot_take_a_server_are_not_touched() {
    use HostProgram::{Codex, Gemini, Opencode};
    for (which, name, text, why) in [
        (Codex, "config.toml", "[mcp_servers.kapell]\nurl = \"x\"", "it has a `mcp_servers.kapell` already"),
        (Codex, "config.toml", "mcp_servers = {}", "its `mcp_servers` takes no table at the end of the file"),
        (Codex, "config.toml", "mcp_servers = 1", "its `mcp_servers` is no table"),
        (Codex, "config.toml", "a = ", "it cannot be read as TOML"),
        (
            Gemini,
            "settings.json",
            "{\"mcpServers\": {\"kapell\": {}}}",
            "it has a `mcpServers.kapell` already",
        ),
        (Gemini, "settings.json", "{\"mcpServers\": []}", "its `mcpServers` is no object"),
        (Opencode, "opencode.json", "{\"mcp\": ", "it cannot be read as JSON"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), text).unwrap();
        let fault = plan(&host(which, dir.path()), None).map(|_| ()).unwrap_err();
        assert_eq!((fault.code, fault.because), ("K0925", vec![why.to_owned()]), "{text}");
    }
}

#[test]
fn what_another_program_writes_while_the_question_stands_there_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let host = host(HostProgram::Codex, dir.path());
    let settings = dir.path().join("config.toml");
    fs::write(&settings, "model = \"x\"\n").unwrap();
    for is_there in [false, true] {
        let work = plan(&host, host.manifest().unwrap().as_ref()).unwrap();
        let more = fs::read_to_string(&settings).unwrap() + "[projects.\"/secret\"]\ntrust = 1\n";
        fs::write(&settings, &more).unwrap();
        let before = tree(dir.path());
        assert_eq!(carry_out(&host, &work).unwrap_err().code, "K0925");
        assert_eq!(tree(dir.path()), before);
        if !is_there {
            // Not in the last moment either.
            assert_eq!(write(&host, &work).unwrap_err().code, "K0925");
            assert_eq!(tree(dir.path()), before);
            installed_into(&host);
            assert!(fs::read_to_string(&settings).unwrap().starts_with(&more));
        }
    }
}

#[test]
fn what_is_left_says_the_same_or_stays() {
    use HostProgram::{Codex, Gemini};
    // What was there, what the person makes of it (`@` stands for the entry), and what is left.
    for (which, before, makes, left) in [
        (Gemini, "{}", "{@, \"theme\": \"dark\"}", Some("{ \"theme\": \"dark\"}")),
        (Gemini, "{}", "{\"theme\": \"dark\", @}", Some("{\"theme\": \"dark\"}")),
        (Gemini, "{}", "{\"a\": 1, @,\n\"b\": 2}", Some("{\"a\": 1, \n\"b\": 2}")),
        (Gemini, "{}", "{/* @ */}", None),
        (
            Gemini,
            "{\"mcpServers\": {}}",
            "{\"mcpServers\": {@, \"b\": {}}}",
            Some("{\"mcpServers\": { \"b\": {}}}"),
        ),
        (Gemini, "{\"mcpServers\": {}}", "{\"other\": {\"deep\": {@}}}", None),
        (Codex, "", "@startup_timeout_sec = 20\n", None),
        (Codex, "[projects.\"/a\"]\n", "[projects.\"/a\"]\n@startup_timeout_sec = 20\n", None),
        (
            Codex,
            "a = 1\n",
            "a = 1\n@[mcp_servers.b]\ncommand = \"b\"\n",
            Some("a = 1\n[mcp_servers.b]\ncommand = \"b\"\n"),
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let host = host(which, dir.path());
        let settings = dir.path().join(host.settings());
        fs::write(&settings, before).unwrap();
        let work = plan(&host, None).unwrap();
        carry_out(&host, &work).unwrap();
        let made = makes.replace('@', &work.edit.unwrap().text);
        fs::write(&settings, &made).unwrap();
        let kept = uninstalled_from(&host);
        assert_eq!(kept.is_empty(), left.is_some(), "{makes}");
        assert_eq!(fs::read_to_string(&settings).unwrap(), left.unwrap_or(&made), "{makes}");
    }
}

#[test]
fn a_manifest_tells_what_has_changed() {
    let dir = tempfile::tempdir().unwrap();
    let host = host(HostProgram::Codex, dir.path());
    installed_into(&host);
    fs::write(dir.path().join("config.toml"), "[mcp_servers.kapell]\ncommand = \"other\"\n").unwrap();
    let manifest = host.manifest().unwrap().unwrap();
    assert_eq!(manifest.changed(dir.path()), [Path::new("config.toml")]);
    assert_eq!(manifest.program(), program().unwrap());
    assert_eq!(uninstalled_from(&host), [dir.path().join("config.toml")]);
}

#[test]
fn settings_that_have_a_status_line_or_cannot_be_read_stay() {
    for (text, why) in [
        ("{\"statusLine\": {\"type\": \"command\"}}", "it has a `statusLine` already"),
        ("{\"a\": ", "it cannot be read as JSON"),
        ("[]", "it cannot be read as JSON"),
        ("{} {}", "it cannot be read as JSON"),
        ("{\"a\" 1}", "it cannot be read as JSON"),
        ("{\"a\": \"x", "it cannot be read as JSON"),
        ("/* {", "it cannot be read as JSON"),
    ] {
        assert_eq!(settings::insert(Some(text), None, "statusLine", "1").unwrap_err(), why, "{text}");
    }
    // Only the top counts.
    assert!(settings::insert(Some("{\"a\": {\"statusLine\": 1}}"), None, "statusLine", "1").is_ok());
}

#[test]
fn a_manifest_that_leads_elsewhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("manifest.json");
    for text in [
        r#"{"version":1,"dirs":["../x"],"files":[],"edits":[]}"#,
        r#"{"version":1,"dirs":["/x"],"files":[],"edits":[]}"#,
        r#"{"version":2,"dirs":[],"files":[],"edits":[]}"#,
        "{",
    ] {
        fs::write(&path, text).unwrap();
        assert_eq!(Manifest::read(&path).unwrap_err().code, "K0925", "{text}");
    }
}

#[test]
fn the_diff_shows_what_is_new() {
    let diff = |text: &str| settings::insert(Some(text), None, "k", "1").unwrap().diff();
    assert_eq!(diff("{\n  \"a\": 1\n}\n"), "+   \"k\": 1,\n");
    assert_eq!(diff("{\"a\": 1}"), "- {\"a\": 1}\n+ {\"k\": 1,\"a\": 1}\n");
    assert_eq!(settings::insert(None, None, "k", "1").unwrap().diff(), "+ {\n+   \"k\": 1\n+ }\n");
}

/// White space and comments as they may stand between any two tokens.
fn gap() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ \t]{0,3}",
        2 => Just("\n  ".to_owned()),
        1 => Just("\r\n\t".to_owned()),
        1 => Just(" // } \" ,\n".to_owned()),
        1 => Just("/* {\"statusLine\": 1} */".to_owned()),
    ]
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("-1.5e3".to_owned()),
        Just("true".to_owned()),
        "[a-z{}\\[\\]:, ü/]{0,6}".prop_map(|text| serde_json::Value::from(text).to_string()),
        Just(r#""\"\\""#.to_owned()),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        let list = (proptest::collection::vec((gap(), inner.clone(), gap()), 0..3)).prop_map(|items| {
            let items: Vec<String> = items.into_iter().map(|(a, item, b)| format!("{a}{item}{b}")).collect();
            format!("[{}]", items.join(","))
        });
        prop_oneof![list, object(inner)]
    })
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let entry = (gap(), "[a-c]{1,2}", gap(), gap(), value, gap());
    (proptest::collection::vec(entry, 0..4), gap()).prop_map(|(entries, end)| {
        // Readers disagree on which of two equal keys counts, so there are none.
        let mut seen = std::collections::BTreeSet::new();
        let entries: Vec<String> = entries
            .into_iter()
            .filter(|(_, key, ..)| seen.insert(key.clone()))
            .map(|(a, key, b, c, value, d)| format!("{a}\"{key}\"{b}:{c}{value}{d}"))
            .collect();
        format!("{{{}{end}}}", entries.join(","))
    })
}

/// A text without its comments.
fn plain(text: &str) -> String {
    text.replace(" // } \" ,\n", "\n").replace("/* {\"statusLine\": 1} */", "")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_key_goes_into_any_object_and_out_again(before in gap(), text in object(json()), after in gap()) {
        let text = format!("{before}{text}{after}");
        let edit = settings::insert(Some(&text), None, "statusLine", "{\"type\":\"command\"}").unwrap();
        let put = edit.after();
        let read: serde_json::Value = serde_json::from_str(&plain(&put)).unwrap();
        prop_assert_eq!(&read["statusLine"]["type"], "command");
        let before: serde_json::Value = serde_json::from_str(&plain(&text)).unwrap();
        for (key, value) in before.as_object().unwrap() {
            prop_assert_eq!(&read[key], value);
        }
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(SETTINGS), &text).unwrap();
        let was = tree(dir.path());
        installed(dir.path());
        prop_assert!(uninstalled(dir.path()).is_empty());
        prop_assert_eq!(tree(dir.path()), was);
    }
}
