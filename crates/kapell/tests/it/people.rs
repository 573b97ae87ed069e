//! Gates: a run waits for a person, who answers.

use insta::assert_snapshot;

use crate::rig::{Ended, Plan, Rig};

#[test]
fn a_gate_is_answered_and_the_run_goes_on() {
    let rig = Rig::repository();
    Plan::new("Publish")
        .task("build", "echo built > built.txt", &[])
        .gate("release", "Publish it? \u{1b}[31m", &["build"])
        .task("publish", "echo published > published.txt", &["release"])
        .save(&rig, "publish.yaml");
    assert_snapshot!(rig.run(["run", "../publish.yaml"]), @"
    exit 3
    ! [T]  run  created: Publish
    ! [T]  build  attempt 1 started
    ! [T]  build  attempt 1 submitted change [COMMIT]
    ! [T]  build  landed as [COMMIT]
    ! [T]  release  a person must decide, gate 0: Publish it? ␛[31m [yes | no]
    ! next: kapell answer [RUN] 0 yes
    ");
    assert_snapshot!(rig.run(["inbox"]), @"
    exit 0
    [RUN]  Publish
      ? release  Publish it? ␛[31m  [yes | no]
          kapell answer [RUN] 0 yes
    next: kapell answer [RUN] 0 yes
    ");
    assert_snapshot!(rig.run(["answer", "7", "yes"]), @"
    exit 2
    ! error[K0503]: there is no gate number 7
    !   hint: kapell inbox lists what waits for an answer
    ");
    assert_snapshot!(rig.run(["answer", "0", "perhaps"]), @"
    exit 2
    ! error[K0503]: the answer must be one of: yes, no
    !   hint: kapell answer [RUN] 0 yes
    ");
    assert_snapshot!(rig.run(["answer"]), @"
    exit 2
    ! error[K0905]: an answer needs the number of a gate, and what is answered
    !   hint: kapell inbox shows both, for example kapell answer 0 yes
    ");
    assert_snapshot!(rig.run(["answer", "0", "yes"]), @"
    exit 0
    ! answered
    ! next: kapell resume [RUN]
    ");
    assert_snapshot!(rig.run(["answer", "0", "yes"]), @"
    exit 4
    ! error[K0503]: gate 0 is answered already
    !   hint: kapell status says where each run stands, kapell inbox what it asks
    ");
    // Nothing has followed from the answer yet.
    assert_snapshot!(rig.run(["undo"]), @"
    exit 0
    ! the answer to gate 0 of run [RUN] is taken back
    ! next: kapell inbox [RUN]
    ");
    assert!(rig.run(["inbox"]).stdout.contains("? release"));
    assert_snapshot!(rig.run(["undo"]), @"
    exit 4
    ! error[K0512]: nothing of run [RUN] can be taken back
    !   because: it has not been merged, and what agents did outside of their workspaces is not in kapell's hands
    !   hint: kapell cancel [RUN] ends it; nothing of it reaches your branches
    ");
    assert_eq!(rig.run(["answer", "0", "no", "--quiet"]).code, Some(0));
    assert_eq!(rig.run(["undo", "--quiet"]).code, Some(0));
    assert_eq!(rig.run(["answer", "0", "yes", "--quiet"]).code, Some(0));
    assert_snapshot!(rig.run(["resume"]), @"
    exit 0
    ! [T]  run  resumed by another process
    ! [T]  publish  attempt 1 started
    ! [T]  publish  attempt 1 submitted change [COMMIT]
    ! [T]  publish  landed as [COMMIT]
    ! [T]  run  finished: succeeded
    ! next: kapell merge [RUN]
    ");
    assert_snapshot!(rig.run(["resume"]), @"
    exit 2
    ! error[K0507]: no run is unfinished
    !   hint: kapell status
    ");
    assert_snapshot!(rig.run(["undo"]), @"
    exit 4
    ! error[K0512]: nothing of run [RUN] can be taken back
    !   because: it has not been merged, and the answer to gate 0 stays: the run is over
    !   hint: nothing of it is in your branches; kapell fork [RUN] --at SEQ starts again from an earlier decision
    ");
}

#[test]
fn what_was_merged_before_the_last_merge_is_not_said_to_be_in_no_branch() {
    let rig = Rig::repository();
    Plan::new("Publish")
        .task("build", "echo built > built.txt", &[])
        .gate("release", "Publish it?", &["build"])
        .task("publish", "echo published > published.txt", &["release"])
        .save(&rig, "publish.yaml");
    assert_eq!(rig.run(["run", "../publish.yaml", "--quiet"]).code, Some(3));
    assert_snapshot!(rig.run(["merge"]), @"
    exit 0
    ! merged into refs/heads/main: [COMMIT] -> [COMMIT]
    ! the run is not over: 2 of 3 tasks may still bring something
    ");
    assert_eq!(rig.run(["answer", "0", "yes", "--quiet"]).code, Some(0));
    assert_eq!(rig.run(["resume", "--quiet", "--merge"]).code, Some(0));
    assert_eq!(rig.run(["undo", "--quiet"]).code, Some(0));
    assert_snapshot!(rig.run(["undo"]), @"
    exit 4
    ! error[K0512]: nothing more of run [RUN] can be taken back
    !   because: its last merge is taken back; what it merged into refs/heads/main before, up to [COMMIT], stays
    !   hint: git log [COMMIT]..[COMMIT] shows it; git revert takes it back by hand
    ");
    assert_eq!(rig.read("built.txt"), "built\n");
}

/// Runs the program on a terminal, if there is Python to make one: types each text once what it follows is there. Escapes are shown as `^`.
fn on_a_terminal(rig: &Rig, args: &[&str], typed: &[(&str, &str)]) -> Option<String> {
    const SCRIPT: &str = r#"
import os, pty, sys
typed = [tuple(one.split('|||')) for one in sys.argv[1].split('///') if one]
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
seen = b''
since = 0
while True:
    try:
        data = os.read(fd, 4096)
    except OSError:
        break
    if not data:
        break
    seen += data
    if typed and typed[0][0].encode() in seen[since:]:
        since = len(seen)
        os.write(fd, typed.pop(0)[1].encode())
os.waitpid(pid, 0)
sys.stdout.write(seen.decode().replace('\x1b', '^').replace('\r', '@'))
"#;
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        return None;
    }
    let typed: Vec<String> = typed.iter().map(|(after, text)| format!("{after}|||{text}")).collect();
    let kapell = rig.command(args);
    let mut command = rig.command([""; 0]);
    let mut python = std::process::Command::new("python3");
    python.arg("-c").arg(SCRIPT).arg(typed.join("///")).arg(kapell.get_program()).args(kapell.get_args());
    python.env_clear().current_dir(rig.work());
    python.envs(command.env("TERM", "xterm").get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = python.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn an_answer_is_typed_where_the_run_is_shown() {
    let rig = Rig::repository();
    rig.write(
        "ask.yaml",
        "mission: Ask\ntasks:\n  agree: { gate: { question: 'Publish?', choices: [now, never] } }\n  tag:\n    \
         needs: [agree]\n    if: tasks.agree.outputs.answer == 'now'\n    run: echo 1 > tag.txt\n",
    );
    let prompt = "agree [now | never]> ";
    // The first answer is none of the choices, so the gate asks again.
    let typed = [(prompt, "later\n"), (prompt, "never\n")];
    let Some(shown) = on_a_terminal(&rig, &["run", "ask.yaml"], &typed) else {
        println!("did not run: there is no python3");
        return;
    };
    for text in [
        "the answer must be one of: now, never",
        "gate 0 answered by ada: never",
        "skipped: its condition is false",
    ] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    assert_eq!(rig.run(["inbox"]).stdout, "nothing waits for you\n");
}

#[test]
fn the_display_of_a_run_moves_with_the_time_and_leaves_the_terminal_clean() {
    let rig = Rig::repository();
    rig.write("long.yaml", "mission: Wait\ntasks:\n  long: { run: sleep 60 }\n");
    // It is interrupted once a second has gone by, in which nothing was decided.
    let Some(shown) = on_a_terminal(&rig, &["run", "long.yaml"], &[("long\u{1b}[0m\u{1b}[2m  1.", "\u{3}")])
    else {
        println!("did not run: there is no python3");
        return;
    };
    assert!(shown.contains("interrupted: what ran is ended"), "{shown}");
    let erased = shown.match_indices("A^[J").count();
    assert!(erased > 3 && shown.match_indices("@^[").count() >= erased, "{shown}");
    assert_eq!(rig.run(["cancel", "--quiet"]).code, Some(0));
}

#[test]
fn a_run_is_paused_resumed_and_cancelled_though_nobody_executes_it() {
    let rig = Rig::repository();
    Plan::new("Wait").gate("gate", "Go on?", &[]).task("work", "true", &["gate"]).save(&rig, "wait.yaml");
    assert_eq!(rig.run(["run", "../wait.yaml", "--quiet"]).code, Some(3));
    assert_snapshot!(rig.run(["pause"]), @"
    exit 0
    ! run [RUN] starts nothing new
    ");
    assert_snapshot!(rig.run(["pause"]), @"
    exit 4
    ! error[K0503]: the run is paused already
    !   hint: kapell status says where each run stands, kapell inbox what it asks
    ");
    assert_snapshot!(rig.run(["status"]), @"
    exit 0
    run  state  done  cost  age  objective
    [RUN]  1 waiting for you  0/2  $0.00  [TIME]  Wait
    next: kapell inbox [RUN]
    ");
    assert_eq!(rig.run(["resume", "--quiet"]).code, Some(3));
    assert_snapshot!(rig.run(["cancel"]), @"
    exit 0
    ! run [RUN] is being cancelled
    ! next: kapell resume [RUN]
    ");
    // Nothing comes of an answer any more.
    assert_eq!(rig.run(["inbox"]).stdout, "nothing waits for you\n");
    assert_snapshot!(rig.run(["resume"]), @"
    exit 1
    ! [T]  run  resumed by another process
    ! [T]  gate  cancelled
    ! [T]  run  finished: cancelled
    ! next: kapell report [RUN]
    ");
    assert_snapshot!(rig.run(["cancel"]), @"
    exit 2
    ! error[K0503]: run [RUN] is over
    !   hint: kapell status says where each run stands
    ");
}

#[test]
fn a_file_whose_run_was_cancelled_is_run_anew() {
    let rig = Rig::repository();
    Plan::new("Wait").gate("gate", "Go on?", &[]).task("work", "true", &["gate"]).save(&rig, "wait.yaml");
    assert_eq!(rig.run(["run", "../wait.yaml", "--quiet"]).code, Some(3));
    let cancelled = rig.runs().remove(0);
    assert_eq!(rig.run(["cancel"]).code, Some(0));
    assert_snapshot!(rig.run(["run", "../wait.yaml"]), @"
    exit 3
    ! run [RUN] of this file was cancelled: that comes to its end first
    ! [T]  run  resumed by another process
    ! [T]  gate  cancelled
    ! [T]  run  finished: cancelled
    ! [T]  run  created: Wait
    ! [T]  gate  a person must decide, gate 0: Go on? [yes | no]
    ! next: kapell answer [RUN] 0 yes
    ");
    let runs = rig.runs();
    assert!(runs.len() == 2 && runs[0] != cancelled, "{runs:?}");
}

#[test]
fn a_task_speaks_to_kapell() {
    let rig = Rig::repository();
    let program = env!("CARGO_BIN_EXE_kapell");
    let script = format!(
        "{program} task output size=3 && {program} task note \"it is done\" && {program} task progress 0.5 half"
    );
    Plan::new("Speak").task("speaker", &script, &[]).save(&rig, "speak.yaml");
    assert_snapshot!(rig.run(["run", "../speak.yaml"]), @"
    exit 0
    ! [T]  run  created: Speak
    ! [T]  speaker  attempt 1 started
    ! [T]  speaker  notes: it is done
    ! [T]  speaker  done, gave size
    ! [T]  run  finished: succeeded
    ");
    assert_snapshot!(rig.run(["logs", "--task", "speaker"]), @"
    exit 0
    1  [T]  speaker  attempt 1 started
    2  [T]  speaker  notes: it is done
    3  [T]  speaker  done, gave size
    ");
    assert_snapshot!(rig.run(["task", "note", "hello"]), @"
    exit 2
    ! error[K0802]: this is not within a task: KAPELL_SOCKET is not set
    !   hint: call it from a command or agent that kapell runs
    ");
    assert_snapshot!(rig.run(["task", "sing"]), @"
    exit 2
    ! error[K0907]: it is not clear what to say
    !   hint: kapell task output NAME=VALUE | progress FRACTION [TEXT] | note TEXT | ask QUESTION [--choice TEXT]... | brief [NAME | --list] | outputs [TASK] | handoff [--to AGENT] NOTE
    ");
}

#[test]
fn a_session_off_a_terminal_stays_for_the_answer_to_a_question() {
    let rig = Rig::repository();
    let program = env!("CARGO_BIN_EXE_kapell");
    let ask = format!(
        "echo x >> {}/ask.begun; way=$({program} task ask 'Which way?' --choice left --choice right) && echo $way > way.txt",
        rig.dir().display()
    );
    Plan::new("Ask").task("ask", &ask, &[]).save(&rig, "ask.yaml");
    let session = rig.start(["run", "../ask.yaml"]);
    rig.wait_until("it asks", || rig.run(["inbox"]).stdout.contains("Which way?"));
    assert_snapshot!(rig.run(["answer", "0", "left"]), @"
    exit 0
    ! answered
    ");
    let ended = session.end(&rig);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(rig.run(["merge", "--quiet"]).code, Some(0));
    assert_eq!(rig.read("way.txt"), "left\n");
    assert_eq!(rig.begun("ask"), 1, "the attempt that asked went on");
}

#[test]
fn a_question_outlives_its_session_and_says_so() {
    let rig = Rig::repository();
    let program = env!("CARGO_BIN_EXE_kapell");
    let ask = format!("way=$({program} task ask 'Which way?' --choice left) && echo $way > way.txt");
    Plan::new("Ask").task("ask", &ask, &[]).save(&rig, "ask.yaml");
    let session = rig.start(["run", "../ask.yaml"]);
    rig.wait_until("it asks", || rig.run(["inbox"]).stdout.contains("Which way?"));
    session.kill();
    let inbox = rig.run(["inbox"]);
    assert!(inbox.stdout.contains("who asked ended with its session"), "{inbox}");
    assert!(inbox.stdout.contains("next: kapell resume"), "{inbox}");
    let late = rig.run(["answer", "0", "left"]);
    assert_eq!(late.code, Some(4), "{late}");
    assert!(late.stderr.contains("the attempt at ask that asked ended with its session"), "{late}");
    // The next attempt asks again.
    let session = rig.start(["resume"]);
    rig.wait_until("it asks again", || rig.run(["inbox"]).stdout.contains(" 1 left"));
    assert_eq!(rig.run(["answer", "1", "left"]).code, Some(0));
    let ended = session.end(&rig);
    assert_eq!(ended.code, Some(0), "{ended}");
}

/// A workflow whose one task is another one, which asks a person in the middle.
fn nested(rig: &Rig) {
    Plan::new("Inner")
        .gate("ask", "Go on?", &[])
        .task("work", "echo x > x.txt", &["ask"])
        .save(rig, "place/inner.yaml");
    let outer = r#"{"mission": "Outer", "tasks": {"part": {"workflow": "inner.yaml"}}}"#;
    rig.write("outer.yaml", outer);
    rig.commit("a workflow within another");
}

/// Returns what a command says is to be typed next, as its arguments.
fn next(ended: &Ended) -> Vec<String> {
    let said = format!("{}{}", ended.stdout, ended.stderr);
    let line =
        said.lines().find_map(|line| line.strip_prefix("next: kapell ")).unwrap_or_else(|| panic!("{ended}"));
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_gate_in_a_nested_workflow_is_found_by_what_is_to_be_typed_next() {
    let rig = Rig::repository();
    nested(&rig);
    let stopped = rig.run(["run", "outer.yaml"]);
    assert_eq!(stopped.code, Some(3), "{stopped}");
    // It is told as a part of the one that was started.
    assert!(stopped.stderr.contains("part/ask") && !stopped.stderr.contains("created: Inner"), "{stopped}");
    let answer = next(&stopped);
    assert_eq!(answer[0], "answer", "{stopped}");
    let outer = rig.runs();
    assert_eq!(outer.len(), 1, "those of nested workflows are part of it");
    for looks in [vec!["inbox"], vec!["status", &outer[0]]] {
        let ended = rig.run(&looks);
        assert!(ended.stdout.contains("Go on?") && next(&ended) == answer, "{ended}");
    }
    let listed = rig.run(["status"]);
    assert!(listed.stdout.contains("1 waiting for you") && !listed.stdout.contains("Inner"), "{listed}");
    assert!(rig.run(["status", "--all"]).stdout.contains("Inner"));
    // It is the only one with this number.
    let answered = rig.run(["answer", "0", "yes"]);
    assert_eq!(answered.code, Some(0), "{answered}");
    assert!(outer[0].starts_with(&next(&answered)[1]), "{answered}");
    // Whoever names the part means what it belongs to.
    let part = &answer[1];
    let ended = rig.run(["resume", part]);
    assert_eq!(ended.code, Some(0), "{ended}");
    let merged = rig.run(next(&ended));
    assert_eq!(merged.code, Some(0), "{merged}");
    assert_eq!(rig.read("x.txt"), "x\n");
    let over = rig.run(["status"]);
    assert!(!over.stdout.contains("next:"), "{over}");
}

#[test]
fn what_nested_workflows_did_is_told_as_part_of_the_run() {
    let rig = Rig::repository();
    nested(&rig);
    let run = next(&rig.run(["run", "outer.yaml"]));
    assert_eq!(rig.run(["answer", &run[1], "0", "yes"]).code, Some(0));
    assert_eq!(rig.run(["resume", "--quiet"]).code, Some(0));
    // It and its part go on side by side: what both of them do is told in either order.
    let without = |ended: Ended, line: &str| {
        let told = ended.to_string();
        let (lines, others): (Vec<&str>, Vec<&str>) = told.lines().partition(|other| other.ends_with(line));
        assert_eq!(lines.len(), 1, "{told}");
        others.join("\n")
    };
    let watched = without(rig.run(["watch", "--exit-status"]), "run  resumed by another process");
    assert_snapshot!(watched, @"
    exit 0
    [T]  run  created: Outer
    [T]  part  attempt 1 started
    [T]  part/ask  a person must decide, gate 0: Go on? [yes | no]
    [T]  part/ask  gate 0 answered by ada: yes
    [T]  part/ask  done, gave answer
    [T]  part  resumed by another process
    [T]  part/work  attempt 1 started
    [T]  part/work  attempt 1 submitted change [COMMIT]
    [T]  part/work  landed as [COMMIT]
    [T]  part  attempt 1 submitted change [COMMIT], gave ask.answer
    [T]  part  landed as [COMMIT]
    [T]  run  finished: succeeded
    ! next: kapell merge [RUN]
    ");
    let logged = without(rig.run(["logs", "--all", "--task", "part"]), "part  its workflow goes on");
    assert_snapshot!(logged, @"
    exit 0
    1  [T]  part  attempt 1 started
       [T]  part  created: Inner
       [T]  part  plan adopted, revision 1, 2 tasks
       [T]  part/ask  a person must decide, gate 0: Go on? [yes | no]
    2  [T]  part  its workflow waits: its time stands still
       [T]  part/ask  gate 0 answered by ada: yes
       [T]  part/ask  done, gave answer
       [T]  part  resumed by another process
       [T]  part/work  attempt 1 started
       [T]  part/work  attempt 1 submitted change [COMMIT]
       [T]  part/work  verified: it has no checks
       [T]  part  probe 0: 1 change on [COMMIT] tried
       [T]  part  probe 0: green at [COMMIT]
       [T]  part  integration ref moves to [COMMIT]
       [T]  part/work  landed as [COMMIT]
       [T]  part  finished: succeeded
    5  [T]  part  attempt 1 submitted change [COMMIT], gave ask.answer
    5  [T]  part  verified: it has no checks
    7  [T]  part  landed as [COMMIT]
    ");
    let apart = rig.run(["logs"]).stdout;
    assert!(!apart.contains("part/"), "{apart}");
    let runs = |args: &[&str]| {
        let json = rig.run(args).stdout;
        let of = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["run"].to_string();
        json.lines().map(of).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(
        [runs(&["logs", "--json"]), runs(&["logs", "--json", "--all"]), runs(&["watch", "--json"])],
        [1, 2, 2]
    );
}

#[test]
fn a_gate_that_a_person_refused_is_told_without_attempts() {
    let rig = Rig::repository();
    Plan::new("Ask").gate("ask", "Go on?", &[]).task("work", "true", &["ask"]).save(&rig, "ask.yaml");
    assert_eq!(rig.run(["run", "../ask.yaml", "--quiet"]).code, Some(3));
    assert_eq!(rig.run(["answer", "0", "no"]).code, Some(0));
    assert_eq!(rig.run(["resume", "--quiet"]).code, Some(1));
    let status = rig.run(["status", &rig.runs()[0]]);
    assert!(status.stdout.contains("x ask  a person said no, holds up 1 task\n"), "{status}");
    let (logs, report) = (rig.run(["logs"]).stdout, rig.run(["report"]).stdout);
    assert!(logs.contains("ask   given up: a person said no"), "{logs}");
    assert!(report.contains("`ask`: permission, holds up 1 task."), "{report}");
    // Its lines stand below each other.
    assert!(report.contains("  run   created: Ask") && report.contains("  work  skipped"), "{report}");
}

#[test]
fn a_run_that_is_being_cancelled_asks_nothing_through_its_parts() {
    let rig = Rig::repository();
    nested(&rig);
    let stopped = rig.run(["run", "outer.yaml"]);
    assert_eq!(stopped.code, Some(3), "{stopped}");
    let answer = next(&stopped);
    assert_eq!(rig.run(["cancel"]).code, Some(0));
    assert_eq!(rig.run(["inbox"]).stdout, "nothing waits for you\n");
    let outer = &rig.runs()[0];
    let status = rig.run(["status", outer]);
    assert!(!status.stdout.contains("Go on?") && next(&status)[0] == "resume", "{status}");
    let listed = rig.run(["status"]);
    assert!(!listed.stdout.contains("waiting for you"), "{listed}");
    let answered = rig.run(&answer);
    assert!(answered.code == Some(4) && answered.stderr.contains("nothing would come of"), "{answered}");
    let ended = rig.run(["resume"]);
    assert!(ended.code == Some(1) && ended.stderr.contains("finished: cancelled"), "{ended}");
}

#[test]
fn what_is_not_named_is_the_last_run_that_is_not_over() {
    let rig = Rig::repository();
    Plan::new("Wait").gate("gate", "Go on?", &[]).task("work", "true", &["gate"]).save(&rig, "wait.yaml");
    Plan::new("Other").task("work", "true", &[]).save(&rig, "other.yaml");
    assert_eq!(rig.run(["run", "../wait.yaml", "--quiet"]).code, Some(3));
    let over = |rig: &Rig| assert_eq!(rig.run(["run", "../other.yaml", "--quiet", "--new"]).code, Some(0));
    over(&rig);
    assert_eq!(rig.run(["pause"]).code, Some(0));
    assert_eq!(rig.run(["answer", "0", "yes"]).code, Some(0));
    assert_eq!(rig.run(["undo", &rig.runs()[1]]).code, Some(0));
    Plan::new("Wait too").gate("gate", "Go on?", &[]).save(&rig, "too.yaml");
    assert_eq!(rig.run(["run", "../too.yaml", "--quiet"]).code, Some(3));
    let which = rig.run(["answer", "0", "yes"]);
    assert!(which.code == Some(2) && which.stderr.contains("K0506"), "{which}");
    over(&rig);
    let cancelled = rig.run(["cancel"]);
    assert_eq!(cancelled.code, Some(0), "{cancelled}");
}
