//! Chores of the kapell workspace.
//!
//! The everyday ones are part of `.ci/run`; the slow regimes stand beside it.
#![expect(clippy::print_stdout, reason = "it talks to whoever runs it")]

mod claude;
mod cold;
mod conformance;
mod coverage;
mod e2e;
mod faults;
mod fixes;
mod fuzz;
mod history;
mod kill;
mod mutants;
mod npm;
mod picture;
mod place;
mod random;
mod shell;
mod tidy;

use anyhow::bail;

const USAGE: &str = "\
usage: cargo xtask CHORE

  bench [--only CELL.. | --peers]
                       builds and runs the measurements: all, some, or those against peers from a package index
  cold [--seconds N] [--jobs N] [--program PATH]
                       counts how often a workspace is built from nothing while six tasks are verified and land
  coverage [--missed]  counts the lines of the ground floors that their tests reach
  faults [--calls N] [--stride K] [--threads N] [--program PATH]
                       makes the n-th system call of the journal's writer fail, or kills the program there
  e2e-agents [--fix] [--quota] [--hostile] [--dialogue] [--acp] [--trusted] [--tape] [--kill N] [--share]
             [--within SECONDS] [NAME..]
                       installs the real coding agents from npm and puts them through it against the mock
  fixes [DIR] [--debug]
                       applies all safe fixes of the audit to the repositories in DIR, and looks what they break
  fuzz [--minutes N] [TARGET..]
                       feeds the readers with what nobody would write, guided by what that reaches
  kill [--rounds N] [--program PATH]
                       kills the real program at random moments and looks for what is lost or done twice
  mutants [--sample N] [--seed N] [--jobs N]
                       makes a sample of small changes to the core, and counts which of them no test notices
  sim [--runs N]       simulates a million runs (or N) against the decider
  e2e-claude           runs the real Claude Code, from npm, with our plugin against a scripted model server
  mcp-conformance      runs the conformance suite of the Model Context Protocol, from npm, against our server
  picture              draws the picture of the README from what the program prints
  tidy                 looks whether the rules of the house hold";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["cold", rest @ ..] => cold::run(rest),
        ["coverage", rest @ ..] => coverage::run(rest),
        ["faults", rest @ ..] => faults::run(rest),
        ["e2e-agents", rest @ ..] => e2e::run(rest),
        ["fixes", rest @ ..] => fixes::run(rest),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["kill", rest @ ..] => kill::run(rest),
        ["mutants", rest @ ..] => mutants::run(rest),
        ["e2e-claude"] => claude::run(),
        ["mcp-conformance", rest @ ..] => conformance::run(rest),
        ["bench", rest @ ..] => {
            shell::build_kapell()?;
            shell::cargo(&[&["run", "--release", "--quiet", "-p", "kapell-bench", "--"], rest].concat())
        }
        ["sim", rest @ ..] => {
            let program = shell::build_kapell()?;
            let runs: &[&str] = if rest.contains(&"--runs") { &[] } else { &["--runs", "1000000"] };
            let text = shell::capture(std::process::Command::new(program).arg("sim").args(runs).args(rest))?;
            println!("{text}");
            Ok(())
        }
        ["picture", rest @ ..] => picture::run(rest),
        ["tidy"] => tidy::run(),
        [] | ["--help"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("{USAGE}"),
    }
}
