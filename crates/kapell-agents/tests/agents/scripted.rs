//! What a scripted agent does.

use std::{fs, process::Command, time::Duration};

use kapell_agents::{
    drivers::{Ending, Exit, Job, Report, Work, scripted},
    protocol::AttemptKey,
    supervise::output_path,
};
use kapell_core::{id::AttemptNo, retry::FailureClass};

use crate::rig::{HELPER, Rig, key, until};

impl Rig {
    fn play(&self, key: AttemptKey, script: &str) {
        let file = self.dir.path().join(format!("{key}.yaml"));
        fs::write(&file, script).unwrap();
        let work = self.dir.path().join("work");
        fs::create_dir_all(&work).unwrap();
        let argv = vec![HELPER.into(), scripted::ARGUMENT.into(), file.into()];
        let mut job = Job::new(Work::Program(argv), "test", self.attempt_dir(key), work);
        job.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
        self.crew.start(key, job).unwrap();
    }

    fn played(&self, script: &str) -> Exit {
        let key = key(1);
        self.play(key, script);
        self.finished(key)
    }
}

#[test]
fn it_works_says_and_gives() {
    let rig = Rig::new();
    let work = rig.dir.path().join("work");
    fs::create_dir(&work).unwrap();
    assert!(Command::new("git").args(["init", "-q"]).current_dir(&work).status().unwrap().success());
    let key = key(1);
    rig.play(
        key,
        "- print: begun\n- delay: 1ms\n- progress: 0.5\n- note: remember\n\
         - edit: { path: a/b.txt, content: \"one two\" }\n\
         - edit: { path: a/b.txt, replace: two, with: three }\n\
         - edit: { path: a/b.txt, append: \" four\" }\n\
         - commit: a change\n\
         - ask: { question: \"ok?\", choices: [\"yes\"], output: answer }\n\
         - output: { version: 1.4.0 }\n",
    );
    assert!(matches!(rig.next(key), Report::Started { .. }));
    assert!(matches!(rig.next(key), Report::Progress { fraction: 0.5, .. }));
    assert!(matches!(rig.next(key), Report::Note { text } if text == "remember"));
    assert!(matches!(rig.next(key), Report::Question { question: 1, .. }));
    rig.crew.answer(key, 1, "yes".to_owned());
    let exit = rig.finished(key);
    assert_eq!((exit.ending, exit.message.as_str()), (Ending::Succeeded, "begun\nyes"));
    assert_eq!((exit.outputs["answer"].as_str(), exit.outputs["version"].as_str()), ("yes", "1.4.0"));
    assert_eq!(fs::read_to_string(work.join("a/b.txt")).unwrap(), "one three four");
    let log = Command::new("git").args(["log", "--format=%an %s"]).current_dir(&work).output().unwrap();
    assert_eq!(log.stdout, b"scripted a change\n");
}

#[test]
fn it_fails_as_it_is_told() {
    use FailureClass as F;
    let rig = Rig::new();
    for (step, expected) in [
        ("fail: { class: rate_limited }", Ending::Failed(F::RateLimited)),
        ("fail: { class: permanent, message: no }", Ending::Failed(F::Permanent)),
        ("fail: { exit: 3 }", Ending::Failed(F::Transient)),
        ("fail: { signal: 11 }", Ending::Failed(F::Transient)),
        ("fail: { on_attempt: 1 }", Ending::Failed(F::Transient)),
        ("fail: { on_attempt: 2 }", Ending::Succeeded),
        ("edit: { path: missing, replace: a, with: b }", Ending::Failed(F::Transient)),
        ("sing: aloud", Ending::Failed(F::Permanent)),
        ("output: { 1a: b }", Ending::Failed(F::Transient)),
    ] {
        assert_eq!(rig.played(&format!("- {step}")).ending, expected, "{step}");
    }
    let second = AttemptKey { attempt: AttemptNo(2), ..key(1) };
    rig.play(second, "- fail: { on_attempt: 1 }");
    assert_eq!(rig.finished(second).ending, Ending::Succeeded);
}

#[test]
fn it_does_its_worst_and_nothing_is_left() {
    let rig = Rig::new();
    let key = key(1);
    rig.play(
        key,
        "- ignore_term: true\n- fork_daemon: true\n- delete_workspace: true\n- print: deaf\n- hang: true\n",
    );
    let output = output_path(&rig.attempt_dir(key));
    until(|| fs::read_to_string(&output).is_ok_and(|text| text.contains("deaf")).then_some(()));
    assert!(!rig.dir.path().join("work").exists());
    rig.crew.stop(key, Duration::from_millis(50));
    let exit = rig.finished(key);
    let record = exit.record.unwrap();
    assert_eq!((exit.ending, record.signal), (Ending::Stopped, Some(9)));
    assert!(record.leftover >= 1 && record.stubborn == 0, "{record:?}");
}

#[test]
fn its_garbage_is_no_text_and_always_the_same() {
    let rig = Rig::new();
    let garbage = |seed: u32| {
        let key = key(1);
        rig.play(key, &format!("- garbage: {{ bytes: 100000, seed: {seed} }}"));
        assert_eq!(rig.finished(key).ending, Ending::Succeeded);
        fs::read(output_path(&rig.attempt_dir(key))).unwrap()
    };
    let (first, again, other) = (garbage(1), garbage(1), garbage(2));
    assert_eq!(first.len(), 100_000);
    assert!(std::str::from_utf8(&first).is_err());
    assert!(first == again && first != other);
}
