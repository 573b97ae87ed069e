//! A saga that is killed while it works and while it takes everything back.

use std::{fs, path::Path};

use anyhow::{Context, bail, ensure};

use super::{LIFE_MAX, start_and_kill};
use crate::{place::Place, random::Random};

/// Tasks that leave something, each after the one before: every other one outside, the rest in the repository.
const STEPS: usize = 12;

/// What can be taken back: the steps, and after them the run within as a whole.
const PARTS: usize = STEPS + 1;

/// Tasks of the run within.
const WITHIN: usize = 6;

/// What the last task ends with, so that all before it is taken back; kapell says so by 1.
const FAILURES: i32 = 1;

/// What it ends with if a command was cut off by as many kills in a row as it may fail. The answer that kapell proposes is
/// to try it again.
const ASKS: i32 = 3;

/// Kills sagas until there were so many kills.
pub(super) fn run(program: &Path, rounds: usize, random: &mut Random) -> anyhow::Result<()> {
    let (mut kills, mut sagas, mut again) = (0, 0, 0);
    while kills < rounds {
        let place = Place::temporary("saga", program)?;
        place.write("repo/base.txt", "base\n")?;
        place.write("repo/within.yaml", &within())?;
        place.write("repo/saga.yaml", &workflow(&place.path("ledger")))?;
        place.begin()?;
        let kept = || format!("kept for a look: {}", place.path("").display());
        let killed = kill_until_over(&place, random, rounds - kills).with_context(kept)?;
        again += check(&place, killed).with_context(kept)?;
        kills += killed;
        sagas += 1;
        place.remove()?;
    }
    println!(
        "{kills} kills over {sagas} saga(s) of {STEPS} steps and a run within: each part taken back once, the last one first; \
         {again} of their commands cut off and run again"
    );
    Ok(())
}

/// Returns how often it was killed.
fn kill_until_over(place: &Place, random: &mut Random, rounds: usize) -> anyhow::Result<usize> {
    let mut kills = 0;
    loop {
        let life = (kills < rounds).then(|| random.below(LIFE_MAX));
        match start_and_kill(place, &["run", "saga.yaml"], life)? {
            None => {
                kills += 1;
                if place.is_over() {
                    return Ok(kills);
                }
            }
            Some(FAILURES) => return Ok(kills),
            Some(code) => {
                let log = fs::read_to_string(place.path("log")).unwrap_or_default();
                let asked = log.lines().rev().find_map(|line| line.strip_prefix("next: kapell answer "));
                let Some(answer) = asked.filter(|_| code == ASKS) else {
                    bail!("kapell ended with {code}: {log}");
                };
                place.said(&[&["answer"][..], &answer.split(' ').collect::<Vec<_>>()].concat())?;
            }
        }
    }
}

/// Returns how many commands that take back were run more than once.
fn check(place: &Place, kills: usize) -> anyhow::Result<usize> {
    let (sagas, others): (Vec<_>, Vec<_>) =
        place.histories()?.into_iter().partition(|(_, history)| !history.taken_back.is_empty());
    let [(run, history)] = sagas.as_slice() else { bail!("{} runs were taken back", sagas.len()) };
    history.check_ends()?;
    let [(_, within)] = others.as_slice() else { bail!("{} runs within", others.len()) };
    within.check()?;
    ensure!(within.done.len() == WITHIN, "{} of {WITHIN} tasks within were done", within.done.len());
    let parts: Vec<u64> = history.order.iter().copied().filter(|task| *task < PARTS as u64).collect();
    ensure!(parts.len() == PARTS, "{} of {PARTS} parts were done", parts.len());
    let mut backwards = parts;
    backwards.reverse();
    ensure!(history.taken_back == backwards, "taken back in the order {:?}", history.taken_back);
    // A command that was cut off runs again; the world tells how often each ran.
    let ledger = fs::read_to_string(place.path("ledger")).context("nothing was taken back")?;
    let lines: Vec<&str> = ledger.lines().collect();
    let mut again = 0;
    for part in 0..PARTS {
        let count = lines.iter().filter(|line| **line == format!("back-{part}")).count();
        ensure!(count >= 1, "part {part} was never taken back");
        again += count - 1;
    }
    ensure!(again <= kills, "{again} commands ran again in {kills} kills");
    place.said(&["verify", run])?;
    check_ref(place, run)?;
    place.nothing_is_left(run)?;
    Ok(again)
}

/// Looks whether what the steps changed in the repository is out of the run's ref again, each by one commit of its own,
/// and stays out of the target.
fn check_ref(place: &Place, run: &str) -> anyhow::Result<()> {
    let house = place.path("repo/.git/kapell/git").display().to_string();
    let git = |args: &[&str]| place.git(&[&["--git-dir", &house][..], args].concat());
    let head = format!("refs/kapell/{run}/head");
    let main = place.git(&["rev-parse", "main"])?;
    let log = git(&["log", "--format=%s", &head, &format!("^{}", main.trim())])?;
    for step in (1..STEPS).step_by(2) {
        let count = log.lines().filter(|line| *line == format!("Take back step-{step}")).count();
        ensure!(count == 1, "step {step} was taken out of the ref {count} times");
        let name = format!("{head}:step-{step}.txt");
        ensure!(git(&["cat-file", "-e", &name]).is_err(), "step {step} is in the ref still");
    }
    // What takes the run within back changes no file: its change alone is left, and whoever wants it says so.
    place.said(&["merge", run, "--taken-back"])?;
    let files = place.git(&["ls-files"])?;
    ensure!(!files.contains("step-"), "what was taken back is in the target: {files}");
    ensure!(files.contains("inner-0.txt"), "what was left is not in the target: {files}");
    Ok(())
}

fn workflow(ledger: &Path) -> String {
    let ledger = ledger.display();
    let mut text = "mission: Twelve steps, and all of them back\nsaga: true\ntasks:\n".to_owned();
    for step in 0..STEPS {
        let needs = if step == 0 { String::new() } else { format!("    needs: [step-{}]\n", step - 1) };
        let (place, run, undo) = match step % 2 {
            0 => ("    workspace: none\n", String::new(), String::new()),
            _ => ("", format!("; echo {step} > step-{step}.txt"), format!("; rm step-{step}.txt")),
        };
        text.push_str(&format!(
            "  step-{step}:\n{needs}{place}    run: sleep 0.0{step}{run}\n    compensate: sleep 0.03{undo}; \
             echo back-{step} >> '{ledger}'; sleep 0.03\n"
        ));
    }
    let last = STEPS - 1;
    text.push_str(&format!(
        "  within:\n    needs: [step-{last}]\n    workflow: within.yaml\n    \
         compensate: sleep 0.03; echo back-{STEPS} >> '{ledger}'; sleep 0.03\n  \
         fails:\n    needs: [within]\n    workspace: none\n    run: exit 1\n"
    ));
    text
}

fn within() -> String {
    let mut text = "mission: A run within\ntasks:\n".to_owned();
    for task in 0..WITHIN {
        text.push_str(&format!(
            "  inner-{task}: {{ run: sleep 0.0{task}; echo {task} > inner-{task}.txt }}\n"
        ));
    }
    text
}
