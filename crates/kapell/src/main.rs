//! The `kapell` program: arguments, renderers, wiring, exit codes. Nothing else prints or reads the environment.

#![expect(unreachable_pub, reason = "nothing of a program can be reached from outside")]

mod args;
mod clock;
mod commands;
mod exit;
mod fault;
mod output;
mod runs;
mod session;
mod site;
mod wiring;
mod workflow;

use std::{ffi::OsString, process::ExitCode};

use clap::Parser;

use crate::{
    args::{Cli, Color},
    exit::Exit,
    output::Out,
};

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    // Supervisors and scripted agents are this program too; they start before anything is loaded.
    if args.nth(1).as_deref() == Some(kapell_agents::supervise::ARGUMENT.as_ref()) {
        return kapell_agents::supervise::main(&args.collect::<Vec<OsString>>());
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors, but come this way.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    match cli.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    let out = Out { quiet: cli.quiet, json: cli.json };
    commands::run(&cli, out).unwrap_or_else(|fault| out.fault(&fault)).into()
}
