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
  coverage [--missed] [--floor PERCENT]
                       counts the lines of the ground floors that their tests reach
  faults [--calls N] [--stride K] [--threads N] [--program PATH]
                       makes the n-th system call of the journal's writer fail, or kills the program there
  e2e-agents [--fix] [--quota] [--hostile] [--dialogue] [--acp] [--trusted] [--tape] [--kill N] [--seed N]
             [--share] [--within SECONDS] [NAME..]
                       installs the real coding agents from npm and puts them through it against the mock
  fixes [DIR] [--debug]
                       applies all safe fixes of the audit to the repositories in DIR, and looks what they break
  fuzz [--minutes N] [TARGET..]
                       feeds the readers with what nobody would write, guided by what that reaches
  kill [--rounds N] [--seed N] [--program PATH]
                       kills the real program at random moments and looks for what is lost or done twice
  mutants [--sample N] [--seed N] [--jobs N]
                       makes a sample of small changes to the core, and counts which of them no test notices
  sim [--runs N]       simulates a million runs (or N) against the decider
  e2e-claude           runs the real Claude Code, from npm, with our plugin against a scripted model server
  mcp-conformance [--verbose]
                       runs the conformance suite of the Model Context Protocol, from npm, against our server
  picture [--program PATH]
                       draws the picture of the README from what the program prints
  tidy                 looks whether the rules of the house hold";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if args.iter().any(|arg| matches!(*arg, "--help" | "-h")) {
        println!("{USAGE}");
        return Ok(());
    }
    // The programs that these two start know their own options.
    if let [chore, rest @ ..] = args.as_slice()
        && !matches!(*chore, "bench" | "sim")
        && let Some(unknown) = unknown_option(chore, rest)
    {
        bail!("{chore} has no option {unknown}\n{USAGE}");
    }
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
        [] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("{USAGE}"),
    }
}

/// Returns the first option among `args` that the usage of `chore` does not name: a regime that is run with a mistyped
/// option would be another one than was meant.
fn unknown_option<'a>(chore: &str, args: &[&'a str]) -> Option<&'a str> {
    let is_of_chore = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let mut lines = USAGE.lines().skip_while(|line| line.split_whitespace().next() != Some(chore));
    let first = lines.next()?;
    let section = std::iter::once(first).chain(lines.take_while(|line| !is_of_chore(line)));
    let known: Vec<&str> = section
        .flat_map(|line| line.split(|each: char| each.is_whitespace() || matches!(each, '[' | ']')))
        .filter(|word| word.starts_with("--"))
        .collect();
    args.iter().copied().find(|arg| arg.starts_with('-') && !known.contains(arg))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_a_chore_does_not_have_are_refused() {
        assert_eq!(unknown_option("kill", &["--rounds", "3", "--program", "p"]), None);
        assert_eq!(unknown_option("kill", &["--round", "3"]), Some("--round"));
        assert_eq!(unknown_option("e2e-agents", &["--fix", "--within", "9", "codex"]), None);
        assert_eq!(unknown_option("e2e-agents", &["--minutes", "9"]), Some("--minutes"));
        assert_eq!(unknown_option("tidy", &["--fix"]), Some("--fix"));
        assert_eq!(unknown_option("picture", &["--program", "p"]), None);
    }
}
