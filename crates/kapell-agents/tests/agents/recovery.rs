//! What is found after kapell, a supervisor, or both were killed.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use kapell_agents::{
    drivers::Ending,
    protocol::AttemptKey,
    supervise::{Cause, Census, ExitRecord, PID_FILE, Recovered, processes::Process, recover},
};
use kapell_core::retry::FailureClass;
use rustix::process::Signal;

use crate::{
    evil::DEAF,
    rig::{HELPER, Rig, is_alive, key, pids_in, until},
};

/// Another kapell, to be killed.
struct Other {
    process: Child,
    said: BufReader<ChildStdout>,
    key: AttemptKey,
    dir: tempfile::TempDir,
}

impl Other {
    fn start(kind: &str, script: &str) -> Self {
        let key = key(1);
        let dir = tempfile::tempdir().unwrap();
        let mut process = Command::new(HELPER)
            .args(["crew", &key.run.to_string(), dir.path().to_str().unwrap(), kind, script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        Self { process, said, key, dir }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line
    }

    fn pids(&self, count: usize) -> Vec<i32> {
        pids_in(&self.dir.path().join("pids"), count)
    }

    fn supervisor(&self) -> i32 {
        supervisor_of(&self.dir.path().join("attempt"))
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn recover(&self) -> Recovered {
        let census = Census::take().unwrap();
        recover(&self.dir.path().join("attempt"), &self.key.to_string(), &census).unwrap()
    }
}

pub(crate) fn supervisor_of(dir: &Path) -> i32 {
    until(|| {
        let text = fs::read(dir.join(PID_FILE)).ok()?;
        let pids: serde_json::Value = serde_json::from_slice(&text).ok()?;
        i32::try_from(pids["supervisor"][0].as_i64()?).ok()
    })
}

pub(crate) fn kill(pid: i32) {
    assert!(Process::of(pid).unwrap().process.signal(Signal::KILL));
}

#[test]
fn when_kapell_is_killed_the_whole_tree_ends() {
    let mut kapell = Other::start("full", &format!("{DEAF} & (setsid {DEAF} &) & sleep 1000"));
    assert_eq!(kapell.line(), "started\n");
    let pids = kapell.pids(2);
    kapell.kill();
    assert!(matches!(kapell.recover(), Recovered::Ended { .. }));
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    assert!(!is_alive(kapell.supervisor()));
    let record = ExitRecord::read(&kapell.dir.path().join("attempt"), &kapell.key.to_string()).unwrap();
    assert_eq!(record.cause, Cause::OwnerGone);
    // Asked again, after a crash in the middle of recovery, it says the same.
    assert_eq!(kapell.recover(), Recovered::Ended { processes: 0 });
}

#[test]
fn what_ended_before_kapell_was_killed_is_adopted() {
    let mut kapell = Other::start("full", "echo a=1 > $KAPELL_OUTPUT; exit 3");
    // It is not asked whether it has heard of the end.
    let path = kapell.dir.path().join("attempt");
    let record = until(|| ExitRecord::read(&path, &kapell.key.to_string()));
    kapell.kill();
    assert_eq!((record.cause, record.code), (Cause::Itself, Some(3)));
    assert_eq!(kapell.recover(), Recovered::Exited(Box::new(record)));
}

#[test]
fn when_both_are_killed_what_is_left_is_found_and_ended() {
    for kind in ["marked", "own session", "no marker"] {
        let script = match kind {
            "own session" => format!("setsid {DEAF} & sleep 1000"),
            "no marker" => format!("env -i /bin/{DEAF} & sleep 1000"),
            _ => format!("{DEAF} & sleep 1000"),
        };
        let mut kapell = Other::start("full", &script);
        assert_eq!(kapell.line(), "started\n");
        let pids = kapell.pids(1);
        // Stopped first, so that it cannot notice.
        let supervisor = Process::of(kapell.supervisor()).unwrap().process;
        supervisor.signal(Signal::STOP);
        kapell.kill();
        supervisor.signal(Signal::KILL);
        until(|| (!supervisor.is_alive()).then_some(()));
        assert!(is_alive(pids[0]), "{kind}");
        // The shell and the deaf one; the `sleep` of each only if it has got that far.
        assert!(matches!(kapell.recover(), Recovered::Ended { processes: 2.. }), "{kind}");
        assert!(!is_alive(pids[0]), "{kind}");
    }
}

#[test]
fn a_group_that_outlives_kapell_is_found_by_its_mark() {
    let mut kapell = Other::start("group", DEAF);
    assert_eq!(kapell.line(), "started\n");
    let pids = kapell.pids(1);
    kapell.kill();
    assert!(is_alive(pids[0]));
    assert!(matches!(kapell.recover(), Recovered::Ended { processes: 1.. }));
    assert!(!is_alive(pids[0]));
}

#[test]
fn when_a_supervisor_is_killed_kapell_ends_what_it_left() {
    let rig = Rig::new();
    let key = key(1);
    let script = format!("{DEAF} & (setsid {DEAF} &) & env -i /bin/{DEAF} & sleep 1000");
    rig.crew.start(key, rig.job(key, &script)).unwrap();
    let pids = pids_in(&rig.dir.path().join("pids"), 3);
    kill(supervisor_of(&rig.attempt_dir(key)));
    let exit = rig.finished(key);
    assert_eq!(exit.ending, Ending::Failed(FailureClass::Lost), "{}", exit.message);
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    // The next attempt gets another supervisor.
    assert_eq!(rig.run("true").ending, Ending::Succeeded);
}

#[test]
fn an_idle_supervisor_that_was_killed_is_replaced() {
    let rig = Rig::new();
    let supervisor: i32 = rig.run("cut -d' ' -f4 /proc/$$/stat").message.parse().unwrap();
    kill(supervisor);
    until(|| (!is_alive(supervisor)).then_some(()));
    assert_eq!(rig.run("true").ending, Ending::Succeeded);
}

#[test]
fn a_reused_process_id_deceives_nobody() {
    let mut stranger = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    let entry = Process::of(stranger.id().cast_signed()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let (pid, start) = (entry.process.pid, entry.process.start);
    // Nothing that runs now has started so much later, this process included.
    let never = start + 1_000_000;
    for (boot, start) in [(boot.trim(), never), ("another boot", start)] {
        let text = format!(
            r#"{{"boot":"{boot}","supervisor":[{},{start}],"process":[{pid},{start}]}}"#,
            std::process::id()
        );
        fs::write(dir.path().join(PID_FILE), text).unwrap();
        let found = recover(dir.path(), "r-1-1", &Census::take().unwrap()).unwrap();
        assert_eq!(found, Recovered::Ended { processes: 0 });
        assert!(stranger.try_wait().unwrap().is_none());
    }
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn a_reused_session_id_deceives_nobody() {
    // A daemon as they are: its leader has gone, and the session has the id of a supervisor that was before.
    let daemon = Command::new("setsid")
        .args(["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $$ $!"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(daemon.stdout).unwrap();
    let pids: Vec<i32> = said.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    let [leader, daemon] = pids[..] else { panic!("{said}") };
    let entry = Process::of(daemon).unwrap();
    assert_eq!((entry.session, is_alive(leader)), (leader, false));
    let dir = tempfile::tempdir().unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let before = entry.process.start - 1;
    let of_process = |process: Process| {
        let text = format!(
            r#"{{"boot":"{}","supervisor":[{leader},{before}],"process":[{},{}]}}"#,
            boot.trim(),
            process.pid,
            process.start
        );
        fs::write(dir.path().join(PID_FILE), text).unwrap();
        recover(dir.path(), "r-1-1", &Census::take().unwrap()).unwrap()
    };
    let gone = Process { start: before, ..entry.process };
    assert_eq!(of_process(gone), Recovered::Ended { processes: 0 });
    assert!(is_alive(daemon));
    // Where the attempt's own process is in it, the session is the attempt's.
    assert_eq!(of_process(entry.process), Recovered::Ended { processes: 1 });
    assert!(!is_alive(daemon));
}

#[test]
fn without_a_trace_it_never_started_and_a_torn_record_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let census = Census::take().unwrap();
    assert_eq!(recover(dir.path(), "r-1-1", &census).unwrap(), Recovered::NeverStarted);
    assert_eq!(recover(&dir.path().join("none"), "r-1-1", &census).unwrap(), Recovered::NeverStarted);
    fs::write(dir.path().join("exit.json"), b"{\"version\":1,").unwrap();
    assert_eq!(recover(dir.path(), "r-1-1", &census).unwrap(), Recovered::NeverStarted);
}

#[test]
fn closing_a_crew_ends_and_reports_everything() {
    let rig = Rig::new();
    let keys = [key(1), key(2), key(3)];
    for key in keys {
        rig.crew.start(key, rig.job(key, &format!("{DEAF} & setsid {DEAF}"))).unwrap();
    }
    let pids = pids_in(&rig.dir.path().join("pids"), 6);
    rig.crew.close(std::time::Duration::from_millis(10));
    let ends = rig.reports.iter().filter(|(_, report)| {
        matches!(report, kapell_agents::drivers::Report::Finished(exit) if exit.ending == Ending::Stopped)
    });
    assert_eq!(ends.count(), 3);
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
}
