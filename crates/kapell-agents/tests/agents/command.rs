//! What a command does, and how its end is told.

use std::{fs, time::Duration};

use kapell_agents::{
    drivers::{Ending, Job, Report, Work},
    protocol::outputs::Outputs,
    supervise::{Cause, ExitRecord, output_path},
};
use kapell_core::retry::FailureClass;

use crate::rig::{Rig, key};

#[test]
fn a_command_succeeds_and_all_of_it_is_known() {
    let rig = Rig::new();
    let key = key(7);
    let script = r#"
        echo "to stdout"; echo "to stderr" >&2
        echo "version=1.4.0" >> "$KAPELL_OUTPUT"
        printf 'notes<<END\none\ntwo\nEND\n' >> "$KAPELL_OUTPUT"
        echo "$KAPELL_TASK $KAPELL_ATTEMPT $KAPELL_WORKSPACE" && pwd
    "#;
    rig.crew.start(key, rig.job(key, script)).unwrap();
    assert!(matches!(rig.next(key), Report::Started { pid } if pid > 1));
    let exit = rig.finished(key);
    assert_eq!(exit.ending, Ending::Succeeded);
    let expected = [("notes", "one\ntwo"), ("version", "1.4.0")];
    assert!(exit.outputs.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected));

    let dir = rig.attempt_dir(key);
    let output = fs::read_to_string(output_path(&dir)).unwrap();
    let here = rig.dir.path().display();
    assert_eq!(output, format!("to stdout\nto stderr\ntest 1 {here}\n{here}\n"));
    let record = ExitRecord::read(&dir, &key.to_string()).unwrap();
    assert_eq!(Some(&record), exit.record.as_deref());
    assert_eq!((record.cause, record.code, record.signal), (Cause::Itself, Some(0), None));
    assert_eq!((record.printed.bytes, record.printed.dropped), (output.len() as u64, 0));
    assert_eq!((record.leftover, record.stubborn), (0, 0));
}

#[test]
fn ends_are_classified_alike_under_a_supervisor_and_as_a_group() {
    let rig = Rig::new();
    use FailureClass as F;
    for (script, expected) in [
        ("exit 0", Ending::Succeeded),
        ("exit 3", Ending::Failed(F::Transient)),
        ("false; exit 0", Ending::Failed(F::Transient)),
        ("exit 75", Ending::Failed(F::Transient)),
        ("exit 77", Ending::Failed(F::Permission)),
        ("no-such-command-anywhere", Ending::Failed(F::Permanent)),
        ("/dev/null", Ending::Failed(F::Permanent)),
        ("kill -SEGV $$", Ending::Failed(F::Transient)),
        ("echo 'not an output' > $KAPELL_OUTPUT", Ending::Failed(F::InvalidOutput)),
        ("ln -s /etc/passwd $KAPELL_OUTPUT", Ending::Failed(F::InvalidOutput)),
        ("rm -f $KAPELL_OUTPUT; mkfifo $KAPELL_OUTPUT", Ending::Failed(F::InvalidOutput)),
        ("cat", Ending::Succeeded),
    ] {
        assert_eq!(rig.run(script).ending, expected, "{script}");
        assert_eq!(rig.run_group(script).ending, expected, "group: {script}");
    }
}

#[test]
fn a_command_that_cannot_start_is_permanent_and_says_why() {
    let rig = Rig::new();
    let exit = rig.run_with("", |job| job.work = Work::Program(vec!["/no/such/program".into()]));
    assert_eq!(exit.ending, Ending::Failed(FailureClass::Permanent));
    assert!(exit.message.starts_with("cannot start /no/such/program: "), "{}", exit.message);
    let exit = rig.run_with("true", |job| job.cwd = "/no/such/directory".into());
    assert_eq!(exit.message, "the directory to start in is not there: /no/such/directory");
}

#[test]
fn nothing_of_the_surroundings_is_inherited() {
    let rig = Rig::new();
    let exit = rig.run("env | cut -d= -f1 | sort | tr '\\n' ' '; cat");
    let expected = "HELPER KAPELL_ATTEMPT KAPELL_ATTEMPT_ID KAPELL_OUTPUT KAPELL_RUN KAPELL_SOCKET \
                    KAPELL_TASK KAPELL_TOKEN KAPELL_WORKSPACE PATH PWD";
    assert_eq!(exit.message, expected);
    // Files that whoever started this process left open for its children are passed on; none of ours is.
    let files = "ls /proc/self/fd | wc -l";
    let plain = std::process::Command::new("/bin/sh").args(["-c", files]).output().unwrap();
    let plain = String::from_utf8(plain.stdout).unwrap();
    assert_eq!(rig.run(files).message, plain.trim());
    assert_eq!(rig.run_group(files).message, plain.trim());
}

#[test]
fn a_program_is_found_in_the_path_of_the_job_and_gets_its_arguments_as_they_are() {
    let rig = Rig::new();
    let exit = rig.run_with("", |job| {
        job.work = Work::Program(["printf", "%s|", "$HOME", "; exit 3", "*"].map(Into::into).into());
    });
    assert_eq!((exit.ending, exit.message.as_str()), (Ending::Succeeded, "$HOME|; exit 3|*|"));
}

#[test]
fn a_stop_gives_grace_and_the_end_is_told_as_a_stop() {
    let rig = Rig::new();
    let key = key(1);
    let script = "trap 'echo cleaned; exit 0' TERM; echo ready > ready; while :; do sleep 1; done";
    rig.crew.start(key, rig.job(key, script)).unwrap();
    crate::rig::until(|| fs::read(rig.dir.path().join("ready")).ok().filter(|text| !text.is_empty()));
    rig.crew.stop(key, Duration::from_secs(30));
    let exit = rig.finished(key);
    assert_eq!(exit.ending, Ending::Stopped);
    assert!(exit.message.contains("cleaned"), "{}", exit.message);
}

#[test]
fn a_timeout_ends_both_kinds() {
    let rig = Rig::new();
    for group in [false, true] {
        let exit = rig.run_with("echo begun; sleep 1000", |job| {
            job.limits.timeout = Some(Duration::from_millis(100));
            if group {
                job.supervision = kapell_agents::drivers::Supervision::Group;
            }
        });
        assert_eq!(exit.ending, Ending::Failed(FailureClass::Timeout));
        assert!(exit.message.contains("begun"));
    }
}

#[test]
fn a_supervisor_takes_the_next_attempt() {
    let rig = Rig::new();
    let parent = |_| rig.run("cut -d' ' -f4 /proc/$$/stat").message;
    let parents: Vec<_> = (0..3).map(parent).collect();
    assert!(parents.iter().all(|pid| *pid == parents[0]), "{parents:?}");
}

#[test]
fn usage_is_measured() {
    let rig = Rig::new();
    let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    let usage = rig.run(script).usage;
    assert!(usage.user_ms + usage.system_ms >= 50, "{usage:?}");
    assert!(usage.wall_ms >= 50, "{usage:?}");
}

#[test]
fn nothing_succeeds_at_once_and_a_person_answers() {
    let rig = Rig::new();
    let nothing = key(1);
    let outputs = Outputs::from([("a".to_owned(), "b".to_owned())]);
    let job = Job::new(Work::Noop(outputs.clone()), "t", "/nowhere", "/nowhere");
    rig.crew.start(nothing, job).unwrap();
    assert_eq!(rig.finished(nothing).outputs, outputs);

    let asked = key(2);
    let work = Work::Person { question: "Ship?".to_owned(), choices: vec!["yes".to_owned()] };
    rig.crew.start(asked, Job::new(work.clone(), "t", "/nowhere", "/nowhere")).unwrap();
    assert!(matches!(rig.next(asked), Report::Question { question: 0, text, .. } if text == "Ship?"));
    rig.crew.answer(asked, 0, "yes".to_owned());
    assert_eq!(rig.finished(asked).outputs["answer"], "yes");

    let stopped = key(3);
    rig.crew.start(stopped, Job::new(work, "t", "/nowhere", "/nowhere")).unwrap();
    rig.crew.stop(stopped, Duration::ZERO);
    assert_eq!(rig.finished(stopped).ending, Ending::Stopped);
}
