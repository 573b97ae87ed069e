//! Agents that do their worst: contained, classified, and nothing is left of them.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use kapell_agents::{drivers::Ending, supervise::output_path};
use kapell_core::retry::FailureClass;

use crate::rig::{Rig, is_alive, key, pids_in, until};

/// Starts a process that ignores everything but SIGKILL, and writes its id to `pids`.
pub(crate) const DEAF: &str =
    r#"sh -c 'trap "" TERM HUP INT; echo $$ >> pids; exec >/dev/null 2>&1; while :; do sleep 1000; done'"#;

#[test]
fn whatever_leaves_its_parent_is_ended() {
    for (name, script) in [
        ("child", format!("{DEAF} &")),
        ("own session", format!("setsid {DEAF} &")),
        ("double fork", format!("(setsid {DEAF} & ) &")),
        ("no environment", format!("(env -i /usr/bin/setsid {DEAF} & ) &")),
        ("stopped", "(sh -c 'echo $$ >> pids; kill -STOP $$' & ) &".to_owned()),
    ] {
        let rig = Rig::new();
        let script = format!("{script}\nuntil [ -s pids ]; do sleep 0.01; done; exit 0");
        let exit = rig.run(&script);
        assert_eq!(exit.ending, Ending::Succeeded, "{name}");
        let pids = pids_in(&rig.dir.path().join("pids"), 1);
        assert!(!is_alive(pids[0]), "{name}");
        assert!(exit.record.unwrap().leftover >= 1, "{name}");
    }
}

#[test]
fn a_whole_tree_that_ignores_sigterm_is_killed_when_its_grace_is_over() {
    let rig = Rig::new();
    let key = key(1);
    let script = format!("trap '' TERM; {DEAF} & setsid {DEAF} & (setsid {DEAF} &) & {DEAF}");
    rig.crew.start(key, rig.job(key, &script)).unwrap();
    let pids = pids_in(&rig.dir.path().join("pids"), 4);
    rig.crew.stop(key, Duration::from_millis(50));
    let exit = rig.finished(key);
    assert_eq!(exit.ending, Ending::Stopped);
    assert_eq!(exit.record.unwrap().signal, Some(9));
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn a_tree_that_goes_on_forking_is_ended() {
    let rig = Rig::new();
    let key = key(1);
    // Each one starts its successor and ends: at no moment is it where it was.
    let hopping = r#"trap "" TERM; echo $$ >> pids; sleep 0.001; setsid sh "$0" & exit"#;
    fs::write(rig.dir.path().join("hop.sh"), hopping).unwrap();
    let script = "for i in 1 2 3 4 5 6 7 8; do sh hop.sh & done; wait; sleep 1000";
    rig.crew.start(key, rig.job(key, script)).unwrap();
    pids_in(&rig.dir.path().join("pids"), 50);
    rig.crew.stop(key, Duration::ZERO);
    assert_eq!(rig.finished(key).ending, Ending::Stopped);
    let pids = pids_in(&rig.dir.path().join("pids"), 50);
    assert!(!pids.into_iter().any(is_alive));
}

#[test]
fn a_gigabyte_of_output_is_capped_and_does_not_fill_memory() {
    let rig = Rig::new();
    let key = key(1);
    let script = "echo first; head -c 1000000000 /dev/zero; echo; echo last";
    let mut job = rig.job(key, script);
    job.limits.output_bytes = 4 << 20;
    rig.crew.start(key, job).unwrap();
    let exit = rig.finished(key);
    assert_eq!(exit.ending, Ending::Succeeded);
    let record = exit.record.unwrap();
    assert_eq!(record.printed.bytes, 1_000_000_012);
    let kept = fs::read(output_path(&rig.attempt_dir(key))).unwrap();
    assert!(kept.len() < (4 << 20) + 100, "{}", kept.len());
    assert!(kept.starts_with(b"first\n") && kept.ends_with(b"\nlast\n"));
    assert_eq!(record.printed.bytes - record.printed.dropped, 4 << 20);
    // The supervisor waits for its next attempt; what it held at most is to be seen.
    let supervisor = std::process::id();
    let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap();
    for child in children.split_ascii_whitespace() {
        let Ok(status) = fs::read_to_string(format!("/proc/{child}/status")) else { continue };
        let Some(peak) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) else { continue };
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kib < 32 << 10, "{kib} KiB");
    }
}

#[test]
fn what_it_prints_reaches_nobody_raw() {
    let rig = Rig::new();
    for group in [false, true] {
        let script = r"printf '\033]52;c;aGk=\007\302\233red\377\376\000\342\200\256end\n'; exit 1";
        let exit = if group { rig.run_group(script) } else { rig.run(script) };
        assert!(!exit.message.contains(|each: char| each.is_control() && each != '\n'), "{}", exit.message);
        assert!(exit.message.contains(r"\u{1b}]52") && exit.message.contains(r"\u{202e}end"));
    }
}

#[test]
fn without_its_directories_it_only_fails_itself() {
    let rig = Rig::new();
    let key = key(1);
    let work = rig.dir.path().join("work");
    fs::create_dir(&work).unwrap();
    let mut job = rig.job(key, r#"rm -rf "$KAPELL_WORKSPACE"; echo gone; exit 1"#);
    job.cwd.clone_from(&work);
    rig.crew.start(key, job).unwrap();
    let exit = rig.finished(key);
    assert_eq!(exit.ending, Ending::Failed(FailureClass::Transient));
    assert!(!work.exists());

    // Even its own record has nowhere to go; the end is told all the same.
    let exit = rig.run(r#"rm -rf "$(dirname "$KAPELL_OUTPUT")"; exit 0"#);
    assert_eq!(exit.ending, Ending::Succeeded);
    assert!(exit.record.unwrap().notes[0].starts_with("the exit record could not be written"));
}

#[test]
fn closing_its_output_early_ends_nothing() {
    let rig = Rig::new();
    for group in [false, true] {
        let script = "echo before; exec >&- 2>&-; sleep 0.05; echo value=1 >> $KAPELL_OUTPUT";
        let exit = if group { rig.run_group(script) } else { rig.run(script) };
        assert_eq!((exit.ending, exit.message.as_str()), (Ending::Succeeded, "before"));
        assert_eq!(exit.outputs["value"], "1");
    }
}

#[test]
fn a_group_is_ended_too_as_far_as_it_is_one() {
    let rig = Rig::new();
    let exit = rig.run_group(&format!("{DEAF} & until [ -s pids ]; do sleep 0.01; done; exit 0"));
    assert_eq!(exit.ending, Ending::Succeeded);
    let pids = pids_in(&rig.dir.path().join("pids"), 1);
    until(|| (!is_alive(pids[0])).then_some(()));
}

#[test]
fn an_output_that_may_not_be_written_is_dropped() {
    let rig = Rig::new();
    let exit = rig.run_with("echo hello", |job| {
        fs::create_dir_all(job.dir.join("output.log")).unwrap();
        fs::set_permissions(&job.dir, fs::Permissions::from_mode(0o755)).unwrap();
    });
    let record = exit.record.unwrap();
    assert_eq!((exit.ending, record.printed.dropped), (Ending::Succeeded, 6));
    assert!(record.notes[0].starts_with("the output could not be kept"));
}
