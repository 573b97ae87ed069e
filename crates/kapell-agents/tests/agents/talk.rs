//! What agents say over the socket, and what is refused.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::{fs::PermissionsExt, net::UnixStream},
};

use kapell_agents::{
    drivers::{Config, Crew, CrewError, Ending, Report},
    protocol::{AttemptKey, Brief},
};

use crate::rig::{Rig, key, until};

impl Rig {
    /// Starts an attempt that runs until it is answered, and returns what lets it in.
    fn guest(&self) -> (AttemptKey, String) {
        let key = key(1);
        let script = r#"echo "$KAPELL_TOKEN" > token.tmp; mv token.tmp token; "$HELPER" task ask "go on?""#;
        self.crew.start(key, self.job(key, script)).unwrap();
        while !matches!(self.next(key), Report::Question { .. }) {}
        let token = until(|| std::fs::read_to_string(self.dir.path().join("token")).ok());
        (key, token.trim().to_owned())
    }

    /// Sends bytes and returns the reply.
    fn send(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.dir.path().join("s")).unwrap();
        // What is refused before its end is not read to its end.
        let _ = stream.write_all(bytes);
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        String::from_utf8(reply).unwrap()
    }

    fn wish(&self, key: AttemptKey, token: &str, wish: &str) -> String {
        self.send(format!(r#"{{"attempt":"{key}","token":"{token}","wish":{wish}}}{}"#, "\n").as_bytes())
    }
}

#[test]
fn all_that_can_be_said_is_heard_in_order_before_the_end() {
    let rig = Rig::new();
    let key = key(1);
    let script = r#"
        "$HELPER" task progress 0.25 quarter done
        "$HELPER" task note "hello
there"
        "$HELPER" task output a=1
        echo b=2 >> "$KAPELL_OUTPUT"
        "$HELPER" task output a=3
        answer=$("$HELPER" task ask "Which?" --choice left --choice right)
        "$HELPER" task output "answer=$answer"
    "#;
    rig.crew.start(key, rig.job(key, script)).unwrap();
    assert!(matches!(rig.next(key), Report::Started { .. }));
    let text = "quarter done".to_owned();
    assert_eq!(rig.next(key), Report::Progress { fraction: 0.25, text });
    assert_eq!(rig.next(key), Report::Note { text: "hello\nthere".to_owned() });
    let choices = vec!["left".to_owned(), "right".to_owned()];
    assert_eq!(rig.next(key), Report::Question { question: 1, text: "Which?".to_owned(), choices });
    // An answer to another question is not taken for this one's.
    rig.crew.answer(key, 2, "wrong".to_owned());
    rig.crew.answer(key, 1, "left".to_owned());
    let exit = rig.finished(key);
    assert_eq!(exit.ending, Ending::Succeeded, "{}", exit.message);
    let outputs: Vec<_> = exit.outputs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(outputs, ["a=3", "answer=left", "b=2"]);
}

#[test]
fn what_is_refused_is_refused_in_words() {
    let rig = Rig::new();
    let (key, token) = rig.guest();
    let huge = format!("{{\"output\":{{\"name\":\"a\",\"value\":\"{}\"}}}}", "x".repeat(1 << 20));
    let text = format!("{{\"note\":{{\"text\":\"{}\"}}}}", "x".repeat(20_000));
    for (wish, expected) in [
        (r#"{"progress":{"fraction":2}}"#, "progress is a number from 0 to 1"),
        (r#"{"ask":{"question":""}}"#, "the question is empty"),
        (r#"{"dance":{}}"#, "the request is not one"),
        (r#"{"output":{"name":"1a","value":""}}"#, "`1a` is no name of an output"),
        (&huge, "longer than 1048576 bytes in all"),
        (&text, "longer than 16384 bytes"),
    ] {
        let reply = rig.wish(key, &token, wish);
        assert!(reply.starts_with("{\"refused\":") && reply.contains(expected), "{reply}");
    }
    let note = r#"{"note":{"text":"x"}}"#;
    for wrong in ["", "0", &token[1..], &token.replace(|_| true, "0")] {
        assert!(rig.wish(key, wrong, note).contains("the token is not the attempt's"));
    }
    let other = crate::rig::key(1);
    assert!(rig.wish(other, &token, note).contains("the token is not the attempt's"));
    assert!(rig.send(b"{\"attempt\":\"\xff\"}\n").contains("not UTF-8"));
    assert!(rig.send(&vec![b'['; 4 << 20]).contains("longer than 3145728 bytes"));
    assert!(rig.send(&[b"[".repeat(100_000), b"\n".to_vec()].concat()).contains("the request is not one"));
    assert_eq!(rig.wish(key, &token, note), "\"done\"\n");

    rig.crew.answer(key, 1, String::new());
    assert_eq!(rig.finished(key).ending, Ending::Succeeded);
    assert!(rig.wish(key, &token, note).contains("the attempt is over"));
}

#[test]
fn one_that_says_too_much_is_refused_and_the_others_are_heard() {
    let rig = Rig::new();
    let (loud, loud_token) = rig.guest();
    let note = r#"{"note":{"text":"x"}}"#;
    let refused = (0..2000).map(|_| rig.wish(loud, &loud_token, note)).find(|reply| reply != "\"done\"\n");
    assert!(refused.unwrap().contains("at most 1000 things"));
    // Connections that say nothing, and half a request.
    let silent: Vec<_> = (0..100).map(|_| UnixStream::connect(rig.dir.path().join("s")).unwrap()).collect();
    (&silent[0]).write_all(b"{\"attempt\":").unwrap();
    silent[1].shutdown(Shutdown::Both).unwrap();
    let (key, token) = rig.guest();
    assert_eq!(rig.wish(key, &token, note), "\"done\"\n");
    drop(silent);
}

#[test]
fn one_cannot_wait_for_any_number_of_answers_and_its_end_hangs_up() {
    let rig = Rig::new();
    let (key, token) = rig.guest();
    let line = format!(
        "{{\"attempt\":\"{key}\",\"token\":\"{token}\",\"wish\":{{\"ask\":{{\"question\":\"q\"}}}}}}\n"
    );
    let mut waiting = Vec::new();
    for _ in 0..7 {
        let mut stream = UnixStream::connect(rig.dir.path().join("s")).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        while !matches!(rig.next(key), Report::Question { .. }) {}
        waiting.push(stream);
    }
    assert!(rig.send(line.as_bytes()).contains("at most 8 answers at once"));
    rig.crew.stop(key, std::time::Duration::ZERO);
    assert_eq!(rig.finished(key).ending, Ending::Stopped);
    for mut stream in waiting {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn the_socket_is_for_its_owner_and_goes_with_the_crew() {
    let rig = Rig::new();
    let path = rig.dir.path().join("s");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    rig.crew.close(std::time::Duration::ZERO);
    assert!(!path.exists());

    let config = |socket: &str| Config {
        program: crate::rig::HELPER.into(),
        idle_max: 0,
        socket: Some(rig.dir.path().join(socket)),
    };
    let open = |socket: &str| Crew::open(config(socket), std::sync::Arc::new(|_, _| {})).err().unwrap();
    let long = open(&"x".repeat(120));
    assert!(matches!(&long, CrewError::Socket(_)) && long.hint().contains("short path"), "{long}");
    assert!(open("no/directory").to_string().contains("cannot be made"));
}

fn brief() -> Brief {
    let section = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    Brief {
        text: "# Task `test`\n\nDo it.\n".to_owned(),
        sections: vec![section("task", "Do it."), section("outputs:look", "found: 3")],
        list: "task\tTask\t3\n".to_owned(),
        agents: vec!["reviewer".to_owned()],
    }
}

#[test]
fn an_attempt_reads_what_it_was_given_in_every_way() {
    let rig = Rig::new();
    let script = r#"
        cat "$KAPELL_BRIEF"
        "$HELPER" task brief
        "$HELPER" task brief --list
        "$HELPER" task outputs look
        "$HELPER" task brief nothing || echo refused
    "#;
    let exit = rig.run_with(script, |job| job.brief = brief().into());
    assert_eq!(exit.ending, Ending::Succeeded, "{}", exit.message);
    let key_dir = std::fs::read_dir(rig.dir.path()).unwrap().flatten().map(|entry| entry.path());
    let printed: String =
        key_dir.filter_map(|dir| std::fs::read_to_string(dir.join("output.log")).ok()).collect();
    assert_eq!(printed.matches("# Task `test`\n\nDo it.").count(), 2, "{printed}");
    assert!(printed.contains("task\tTask\t3") && printed.contains("found: 3"), "{printed}");
    assert!(printed.contains("there is no such section; there are task, outputs:look"), "{printed}");
    assert!(printed.trim_end().ends_with("refused"), "{printed}");
}

#[test]
fn a_task_is_handed_on_only_to_somebody() {
    let rig = Rig::new();
    let key = key(1);
    let mut job = rig.job(key, r#""$HELPER" task handoff --to reviewer half done"#);
    job.brief = brief().into();
    rig.crew.start(key, job).unwrap();
    while !matches!(rig.next(key), Report::Started { .. }) {}
    let (to, note) = (Some("reviewer".to_owned()), "half done".to_owned());
    assert_eq!(rig.next(key), Report::HandOff { to, note });
    for (wish, expected) in [
        (r#"handoff --to stranger x"#, "there is no agent of that name; there are reviewer"),
        (r#"handoff " ""#, "the note is empty"),
    ] {
        let exit = rig.run_with(&format!("\"$HELPER\" task {wish}"), |job| job.brief = brief().into());
        assert!(exit.message.contains(expected), "{wish}: {}", exit.message);
    }
    let exit = rig.run("\"$HELPER\" task handoff x");
    assert!(exit.message.contains("there is nobody else in this plan"), "{}", exit.message);
}

#[test]
fn a_brief_is_for_its_attempt_alone() {
    let rig = Rig::new();
    let (first, token) = rig.guest();
    let (other, other_token) = rig.guest();
    let wish = r#"{"brief":{}}"#;
    assert!(rig.wish(first, &token, wish).contains("given nothing to read"));
    assert!(rig.wish(first, &other_token, wish).contains("the token is not the attempt's"));
    assert!(rig.wish(other, &token, wish).contains("the token is not the attempt's"));
    rig.crew.answer(first, 1, String::new());
    assert_eq!(rig.finished(first).ending, Ending::Succeeded);
    assert!(rig.wish(first, &token, wish).contains("the attempt is over"));
    for read in [r#""sections""#, r#"{"hand_off":{"note":"x"}}"#] {
        assert!(rig.wish(first, &token, read).contains("the attempt is over"));
    }
}

#[test]
fn what_takes_a_task_back_asks_nobody_and_does_not_wait_for_an_answer() {
    let rig = Rig::new();
    let key = AttemptKey { compensates: true, ..key(1) };
    let script = r#""$HELPER" task ask "go on?" || "$HELPER" task handoff later || "$HELPER" task output asked=nobody"#;
    rig.crew.start(key, rig.job(key, script)).unwrap();
    let exit = rig.finished(key);
    assert_eq!(exit.ending, Ending::Succeeded, "{}", exit.message);
    assert_eq!(exit.outputs["asked"], "nobody");
}
