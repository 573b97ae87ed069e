//! Markdown documents with numbered phases, planned and run.

use insta::assert_snapshot;

use crate::rig::Rig;

const DOCUMENT: &str = "# Release\n\nTotal time: 30 minutes.\n\n## Phase 1: Collect\n\nTakes 10 minutes. \
    Use the Task tool with subagent_type=\"note-writer\".\n\n## Phase 2: Publish\n\nTakes 15 minutes. Publish \
    $ARGUMENTS, see `${{ secrets.KEY }}`.\n";

fn release() -> Rig {
    let rig = Rig::repository();
    rig.write("release.md", DOCUMENT);
    rig.write(
        ".claude/agents/notes-writer.md",
        "---\nname: notes-writer\ndescription: Writes notes\n---\nWrite.\n",
    );
    rig.commit("a document");
    rig
}

#[test]
fn a_document_is_planned_with_what_it_claims() {
    let rig = release();
    assert_snapshot!(rig.run(["plan", "release.md"]), @"
    exit 0
    plan  Release
    tasks  2 in 2 waves, up to 1 at once; 4 agent slots and 2 job slots
    finish  25m [TIME] to 26m [TIME] (P50 to P90), never below 25m [TIME]
              from 1,000 simulated runs, seed 1
    critical  25m [TIME]: step-1-collect > step-2-publish

    wave  task  kind  P50  P90  slack  needs
       0  step-1-collect  command  10m [TIME]  10m [TIME]  critical
       1  step-2-publish  command  15m [TIME]  15m [TIME]  critical  step-1-collect
    ! document: 2 tasks in 2 stages
    ! agent `note-writer`: not defined here; the nearest name is `notes-writer`
    ! time: the document claims 30 min; the longest way through its phases is 25 min
    ! next: kapell run release.md --agent claude-code
    ");
    let run = rig.run(["run", "--plan", "release.md"]);
    assert_eq!(run.stdout, rig.run(["plan", "release.md"]).stdout);
}

#[test]
fn the_phases_of_a_document_reach_the_agent_in_order() {
    let rig = release();
    assert_snapshot!(rig.run(["run", "release.md"]), @"
    exit 2
    ! error[K0919]: release.md does not say who performs its phases
    !   hint: --agent claude-code, or --agent cmd:'COMMAND'
    ");
    let set = ["--set", "arguments=version 1.2"];
    let ended =
        rig.run(["run", "release.md", "--merge", "--agent", "cmd:cat >> told.txt"].iter().chain(&set));
    assert_eq!(ended.code, Some(0), "{ended}");
    let told = rig.read("told.txt");
    let (_, phases) = DOCUMENT.split_once("30 minutes.\n\n").unwrap();
    let squeeze =
        |text: &str| text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    // Each phase is told what stands before the first.
    let (before, _) = DOCUMENT.split_once("## Phase").unwrap();
    let told: String = told.split(&format!("{before}---\n")).collect();
    assert_eq!(squeeze(&told), squeeze(&phases.replace("$ARGUMENTS", "version 1.2")));
}
