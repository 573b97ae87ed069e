//! kapell's own loop of tools, with the mock in the place of each provider.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use kapell_agents::drivers::{
    Job, Report, Work,
    client::{Client, ModelApi, Order, Resume, Settings, Totals},
};
use kapell_mock::{Call, How, Mock, Scenario, Turn, Usage};
use serde_json::json;

use crate::rig::{HELPER, PATIENCE, Rig, class, key, options};

/// Each API, and the option that chooses it.
const APIS: [(ModelApi, &str); 4] = [
    (ModelApi::Anthropic, ""),
    (ModelApi::OpenAi, "responses"),
    (ModelApi::OpenAi, "chat"),
    (ModelApi::Gemini, ""),
];

const COST: Usage = Usage { input: 7, output: 5, cache_read: 3, cache_write: 2 };

/// A job in a workspace of its own, whose check fails until `sum.sh` adds.
fn job(rig: &Rig, number: u32, mock: &Mock, api: (ModelApi, &str), case: &str, more: &[(&str, &str)]) -> Job {
    let url = mock.url();
    let base_url = if api.0 == ModelApi::OpenAi { format!("{url}/v1") } else { url };
    let idle = if ["silent", "stalled"].contains(&case) { 6 } else { 60 };
    let mut pairs = options(&[[("model", "m"), ("max_turns", "9")].as_slice(), more].concat());
    if !api.1.is_empty() {
        pairs.insert("api".to_owned(), api.1.to_owned());
    }
    let prompt = format!("Make check.sh pass. mock:{case}");
    let job = rig.client_job(number, Client::Model(api.0), &prompt, |order| {
        order.settings = Settings {
            base_url: Some(base_url),
            key: Some("sk-test".to_owned()),
            idle: Some(Duration::from_secs(idle)),
            ..Settings::default()
        };
        order.options = pairs;
    });
    fs::write(job.cwd.join("sum.sh"), "echo $(($1 - $2))\n").unwrap();
    fs::write(job.cwd.join("check.sh"), "test \"$(sh sum.sh 2 3)\" = 5\n").unwrap();
    job
}

fn call(call: Call) -> Turn {
    Turn::Call(vec![call])
}

fn shell(command: &str) -> Turn {
    call(Call::Shell { command: command.to_owned() })
}

fn say(text: &str) -> Turn {
    Turn::Say(text.to_owned())
}

/// Looks, changes two things at once, checks, and is done.
fn fix() -> Vec<Turn> {
    let write =
        |path: &str, content: &str| Call::Write { path: path.to_owned(), content: content.to_owned() };
    vec![
        call(Call::Read { path: "sum.sh".to_owned() }),
        Turn::Call(vec![write("sum.sh", "echo $(($1 + $2))\n"), write("notes/why.txt", "a sign\n")]),
        shell("sh check.sh"),
        say("I fixed the sign."),
    ]
}

fn passes(workspace: &Path) -> bool {
    std::process::Command::new("sh").arg("check.sh").current_dir(workspace).status().unwrap().success()
}

#[test]
fn every_api_fixes_a_failing_check_and_its_usage_is_exact() {
    let (rig, mock) = (Rig::new(), Mock::start().unwrap());
    for (number, api) in (0..).zip(APIS) {
        let case = format!("fix-{number}");
        mock.play(&case, Scenario::of(fix()).costing(COST));
        let job = job(&rig, number, &mock, api, &case, &[]);
        let (key, workspace) = (key(number), job.cwd.clone());
        assert!(!passes(&workspace));
        rig.crew.start(key, job).unwrap();
        let mut tools = Vec::new();
        let exit = loop {
            match rig.next(key) {
                Report::ToolUse { tool, about } => tools.push(format!("{tool} {about}")),
                Report::Finished(exit) => break *exit,
                _ => {}
            }
        };
        assert_eq!((class(&exit).as_str(), exit.message.as_str()), ("ok", "I fixed the sign."), "{api:?}");
        assert!(passes(&workspace));
        assert_eq!(tools.len(), 4, "{tools:?}");
        assert!(tools.contains(&"run_shell_command sh check.sh".to_owned()), "{tools:?}");
        let (evidence, count) = (exit.evidence.unwrap(), mock.count(&case));
        assert_eq!((evidence.steps, evidence.tools, count.requests), (4, 4, 4));
        let tokens = evidence.tokens;
        assert_eq!(tokens.total(), 4 * 17, "{api:?}");
        assert_eq!((tokens.output, tokens.cache_read), (count.usage.output, count.usage.cache_read));
        // The two other APIs do not tell apart what they put into a cache.
        if matches!(api, (ModelApi::Anthropic, _) | (_, "responses")) {
            assert_eq!((tokens.input, tokens.cache_write), (count.usage.input, count.usage.cache_write));
        }
        assert_eq!(evidence.model.as_deref(), Some("m"));
    }
}

/// What goes wrong, and what it is taken for. The number is that of the requests that were made.
fn cases() -> Vec<(&'static str, Scenario, &'static str, u64)> {
    let broken = |from, times, how| Scenario::of(fix()).failing(from, times, how);
    let quota =
        How::Status { code: 429, headers: vec![], message: "You exceeded your current quota".to_owned() };
    vec![
        ("429-once", broken(1, 1, How::busy_for(Duration::from_secs(1))), "ok", 5),
        ("429-forever", broken(1, 99, How::status(429)), "rate limited", 4),
        ("429-for-long", broken(0, 99, How::busy_for(Duration::from_secs(900))), "rate limited", 1),
        ("529", broken(0, 99, How::status(529)), "rate limited", 3),
        ("quota", broken(2, 99, quota), "quota", 3),
        ("500-once", broken(0, 1, How::status(500)), "ok", 5),
        ("500", broken(0, 99, How::status(500)), "transient", 3),
        ("401", broken(0, 99, How::status(401)), "permanent", 1),
        ("400", broken(0, 99, How::status(400)), "permanent", 1),
        ("402", broken(0, 99, How::status(402)), "quota", 1),
        ("cut-once", broken(2, 1, How::Cut), "ok", 5),
        ("cut", broken(0, 99, How::Cut), "transient", 3),
        ("slow", broken(0, 99, How::Slow { pause_ms: 5 }), "ok", 4),
        ("silent", broken(1, 99, How::Silent), "timeout", 3),
        ("stalled", broken(1, 99, How::Stalled), "timeout", 3),
        ("refuses", Scenario::of([Turn::Refuse("I will not".to_owned())]), "permanent", 1),
        ("endless", Scenario::of([Turn::Overrun("and then".to_owned())]), "invalid output", 4),
        ("wordless", Scenario::of([say("")]), "invalid output", 1),
        ("circle", Scenario::of([shell("echo again")]), "timeout", 6),
        ("turns", Scenario::of([shell("date +%N")]), "timeout", 9),
        ("denied", Scenario::of([shell("rm -rf /"), say("It is clean now.")]), "permission", 2),
        ("denied-then-done", Scenario::of([shell("rm -rf /"), shell("true"), say("Done.")]), "ok", 3),
        (
            "unknown-tool",
            Scenario::of([call(Call::Tool { name: "fly".to_owned(), input: json!({}) }), say("Done.")]),
            "ok",
            2,
        ),
        (
            "no-object",
            Scenario::of([call(Call::Tool { name: "search".to_owned(), input: json!([1]) }), say("Done.")]),
            "ok",
            2,
        ),
    ]
}

#[test]
fn every_end_of_every_api_is_taken_for_what_it_is() {
    let (rig, mock) = (Rig::new(), Mock::start().unwrap());
    let cases = cases();
    let mut expected = BTreeMap::new();
    let mut number = 0;
    for (name, scenario, class, requests) in &cases {
        for api in APIS {
            number += 1;
            let marker = format!("{name}_{number}");
            mock.play(&marker, scenario.clone());
            let mut job = job(&rig, number, &mock, api, name, &[]);
            if let Work::Client(order) = &mut job.work {
                order.prompt = format!("mock:{marker}");
            }
            // One of the same number is an attempt of this test alone.
            let key = key(number);
            expected.insert(key, (format!("{name} {api:?}"), (*class).to_owned(), *requests, marker));
            rig.crew.start(key, job).unwrap();
        }
    }
    assert_eq!(expected.len(), cases.len() * APIS.len());
    let mut wrong = String::new();
    while !expected.is_empty() {
        let (of, report) = rig.reports.recv_timeout(PATIENCE).unwrap();
        let Report::Finished(exit) = report else { continue };
        let (case, class_expected, requests, marker) = expected.remove(&of).unwrap();
        let found = (class(&exit), mock.count(&marker).requests);
        if found != (class_expected.clone(), requests) {
            wrong += &format!("{case}: {found:?} and not {class_expected} {requests}: {}\n", exit.message);
        }
        let parks = case.starts_with("429-for-long");
        if parks && exit.until.is_none() {
            wrong += &format!("{case}: nobody knows until when\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn a_result_by_a_schema_becomes_outputs() {
    let (rig, mock) = (Rig::new(), Mock::start().unwrap());
    let schema = json!({
        "type": "object", "required": ["file", "lines"], "additionalProperties": false,
        "properties": { "file": { "type": "string" }, "lines": { "type": "array", "items": { "type": "integer" } } },
    })
    .to_string();
    let with = |result: &str| Scenario::of([shell("true"), say("Found it."), say(result)]);
    mock.play("good", with(r#"{"file":"sum.sh","lines":[1]}"#));
    mock.play("bad", with(r#"{"file":"sum.sh"}"#));
    for (number, api) in (0..).zip(APIS) {
        for (case, at) in [("good", 2 * number), ("bad", 2 * number + 1)] {
            let key = key(at);
            let job = job(&rig, at, &mock, api, case, &[("json_schema", &schema)]);
            rig.crew.start(key, job).unwrap();
            let exit = rig.finished(key);
            if case == "good" {
                assert_eq!((class(&exit).as_str(), exit.message.as_str()), ("ok", "Found it."), "{api:?}");
                assert_eq!(
                    (exit.outputs["file"].as_str(), exit.outputs["lines"].as_str()),
                    ("sum.sh", "[1]")
                );
            } else {
                assert_eq!(class(&exit), "invalid output", "{api:?} {}", exit.message);
                assert!(exit.message.contains("the result has no `lines`"), "{}", exit.message);
            }
        }
    }
    // Asked once more, and no more than that.
    assert_eq!((mock.count("good").requests, mock.count("bad").requests), (4 * 3, 4 * 4));
}

#[test]
fn a_later_attempt_goes_on_in_the_conversation() {
    let (rig, mock) = (Rig::new(), Mock::start().unwrap());
    for (number, api) in (0..).zip(APIS) {
        let case = format!("go-on-{number}");
        // The first attempt calls a tool, and then its provider fails for good.
        let scenario = Scenario::of([shell("echo once >>calls.txt"), say("Done.")]);
        mock.play(&case, scenario.failing(1, 3, How::status(500)));
        let first = key(number);
        rig.crew.start(first, job(&rig, number, &mock, api, &case, &[])).unwrap();
        let exit = rig.finished(first);
        assert_eq!(class(&exit), "transient", "{api:?} {}", exit.message);
        let session = exit.evidence.unwrap().session.unwrap();

        let again = |session: &str, attempt: &str| {
            let mut job = job(&rig, number, &mock, api, &case, &[]);
            job.dir = rig.dir.path().join(format!("{attempt}-{number}"));
            let Work::Client(order) = &mut job.work else { panic!("it is a client") };
            order.prompt = "Go on.".to_owned();
            order.resume = Some(Resume { session: session.to_owned(), totals: Totals::default() });
            let key = key(number);
            rig.crew.start(key, job).unwrap();
            rig.finished(key)
        };
        let exit = again(&session, "second");
        assert_eq!((class(&exit).as_str(), exit.message.as_str()), ("ok", "Done."), "{api:?}");
        let evidence = exit.evidence.unwrap();
        assert_eq!((evidence.session.as_ref(), evidence.tools), (Some(&session), 0), "{api:?}");
        let calls = fs::read_to_string(rig.dir.path().join(format!("ws-{number}/calls.txt"))).unwrap();
        assert_eq!((calls.as_str(), mock.count(&case).requests), ("once\n", 5), "{api:?}");
        let exit = again("another", "third");
        assert_eq!(class(&exit), "lost", "{api:?} {}", exit.message);
        assert_eq!(mock.count(&case).requests, 5);
    }
}

#[test]
fn the_key_is_neither_written_down_nor_given_to_commands() {
    let (rig, mock) = (Rig::new(), Mock::start().unwrap());
    mock.play(
        "look",
        Scenario::of([
            shell("env >env.txt; tr \"\\0\" \"\\n\" </proc/$PPID/cmdline >>env.txt"),
            say("Nothing there."),
        ]),
    );
    for (number, api) in (0..).zip(APIS) {
        let key = key(number);
        rig.crew.start(key, job(&rig, number, &mock, api, "look", &[])).unwrap();
        assert_eq!(class(&rig.finished(key)), "ok");
    }
    let mut open = vec![rig.dir.path().to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => open.push(entry.path()),
                kind if kind.is_file() => {
                    let text = fs::read(entry.path()).unwrap();
                    let found = String::from_utf8_lossy(&text).contains("sk-test");
                    assert!(!found, "{}", entry.path().display());
                }
                _ => {}
            }
        }
    }
}

#[test]
fn what_cannot_work_is_said_before_anything_starts() {
    let order = |api, pairs: &[(&str, &str)], key: Option<&str>| Order {
        kapell: HELPER.into(),
        settings: Settings { key: key.map(str::to_owned), ..Settings::default() },
        options: options(pairs),
        ..Order::new(Client::Model(api), "", "/nowhere")
    };
    for (order, expected) in [
        (order(ModelApi::Anthropic, &[], Some("k")), "needs a model"),
        (order(ModelApi::Gemini, &[("model", "m")], None), "set GEMINI_API_KEY"),
        (
            order(ModelApi::OpenAi, &[("model", "m"), ("api", "soap")], Some("k")),
            "neither `responses` nor `chat`",
        ),
        (order(ModelApi::OpenAi, &[("model", "m"), ("json_schema", "{")], Some("k")), "is no JSON"),
        (order(ModelApi::OpenAi, &[("model", "m"), ("json_schema", "1")], Some("k")), "is no object"),
    ] {
        let why = order.check().unwrap_err();
        assert!(why.contains(expected), "{why}");
    }
}

#[test]
fn a_model_hears_once_that_its_budget_is_nearly_used_up() {
    const TOLD: &str = "The budget of this task is nearly used up.";
    let rig = Rig::new();
    let looks = [shell("date +%N"), shell("echo a"), shell("echo b"), say("This is left.")];
    let scenario = Scenario::of(looks).costing(COST);
    // Seventeen tokens for each reply: with the second one 34 of 40 are used.
    for (number, (api, limit)) in (0..).zip(APIS.into_iter().flat_map(|api| [(api, 40), (api, 400)])) {
        let (case, mock) = (format!("soft-{number}"), Mock::start().unwrap());
        mock.play(&case, scenario.clone());
        mock.look_for(&[TOLD]);
        let mut job = job(&rig, number, &mock, api, &case, &[]);
        if let Work::Client(order) = &mut job.work {
            order.limit.tokens = Some(limit);
        }
        let key = key(number);
        rig.crew.start(key, job).unwrap();
        let mut notes = 0;
        let exit = loop {
            match rig.next(key) {
                Report::Note { text } => notes += u32::from(text.contains("budget is nearly used up")),
                Report::Finished(exit) => break *exit,
                _ => {}
            }
        };
        assert_eq!((class(&exit).as_str(), exit.message.as_str()), ("ok", "This is left."), "{api:?}");
        let expected = u32::from(limit == 40);
        assert_eq!((notes, mock.found().len()), (expected, expected as usize), "{api:?} {limit}");
    }
}
