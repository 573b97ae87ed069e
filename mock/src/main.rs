//! The mock as a program: `kapell-mock [PORT] [SCENARIOS.json]`.
//!
//! The file holds scenarios by name. It prints its address, and runs until its standard input ends.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to whoever runs it")]

use std::{collections::BTreeMap, io::Read, process::ExitCode};

use kapell_mock::{Mock, Scenario};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kapell-mock: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let port = args.first().map_or(Ok(0), |port| port.parse())?;
    let mock = Mock::start_at(port)?;
    if let Some(path) = args.get(1) {
        let scenarios: BTreeMap<String, Scenario> = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        scenarios.into_iter().for_each(|(name, scenario)| mock.play(&name, scenario));
    }
    println!("{}", mock.url());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("{}", serde_json::to_string_pretty(&mock.counts())?);
    Ok(())
}
