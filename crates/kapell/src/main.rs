//! The `kapell` program: arguments, renderers, wiring, exit codes.
//!
//! **Invariant:** nothing else prints or reads the environment, and nothing is decided here: what a command does to a
//! run, it does through the engine.

#![expect(unreachable_pub, reason = "nothing of a program can be reached from outside")]

mod answers;
mod args;
mod budget;
mod clock;
mod codes;
mod commands;
mod config;
mod containment;
mod exit;
mod fault;
mod forecast;
mod ground;
mod memory;
mod output;
mod registry;
mod reply;
mod reuse;
mod runs;
mod session;
mod site;
mod slash;
mod telling;
mod wiring;
mod workflow;

use std::{
    ffi::{OsStr, OsString},
    io::Write,
    process::ExitCode,
};

use kapell_agents::{
    contain,
    drivers::{self, own, scripted},
    seat_belt,
};

use crate::{
    args::{Cli, Color},
    exit::Exit,
    output::Out,
};

/// A host makes the rows that its writer frees: with the allocator of glibc a step of a run costs half as much again.
/// The bench measures with the same one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Set for a process that goes on in the background: it leaves the terminal's session, so that closing the terminal
/// does not end it.
const IN_BACKGROUND: &str = "KAPELL_IN_BACKGROUND";

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    // Supervisors and scripted agents are this program too; they start before anything is loaded.
    match args.nth(1).as_deref().and_then(OsStr::to_str) {
        Some(kapell_agents::supervise::ARGUMENT) => {
            return kapell_agents::supervise::main(&args.collect::<Vec<OsString>>());
        }
        Some(contain::ARGUMENT) => {
            return contain::main(&args.collect::<Vec<OsString>>()).unwrap_or_else(|why| {
                // The attempt's output: nobody else is there to be told.
                let _ = writeln!(std::io::stderr(), "{why}");
                ExitCode::from(126)
            });
        }
        Some(seat_belt::ARGUMENT) => return commands::trust::seat_belt(),
        Some(scripted::ARGUMENT) => {
            let env = |name: &str| std::env::var_os(name);
            let surroundings = scripted::Surroundings { env: &env, out: &mut std::io::stdout() };
            return scripted::main(&args.collect::<Vec<OsString>>(), surroundings);
        }
        Some(argument) => {
            if let Some(main) = drivers::own_agent(argument) {
                let env = |name: &str| std::env::var_os(name);
                let (input, out) = (Box::new(std::io::stdin()), &mut std::io::stdout());
                let place = std::env::current_dir()
                    .and_then(|dir| Ok(own::Place { dir, program: std::env::current_exe()? }));
                let surroundings = own::Surroundings { env: &env, place, input, out };
                return main(&args.collect::<Vec<OsString>>(), surroundings);
            }
        }
        None => {}
    }
    if std::env::var_os(IN_BACKGROUND).is_some() {
        // It fails only for the leader of a session, which has left already.
        let _ = rustix::process::setsid();
    }
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => return misused(&error).into(),
    };
    match cli.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    let out = Out { quiet: cli.quiet, json: cli.json };
    report_panics(out);
    let done = std::panic::catch_unwind(|| commands::run(&cli, out));
    // The hook has said what is to be said.
    let Ok(done) = done else { return Exit::Bug.into() };
    done.unwrap_or_else(|fault| out.fault(&fault)).into()
}

/// Answers a command line that is none, or that asks for help.
fn misused(error: &clap::Error) -> Exit {
    // Help and version are no errors, but come this way.
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Done;
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return Exit::Usage;
    }
    let is_json = |arg: OsString| arg == "--json";
    let json = std::env::args_os().skip(1).take_while(|arg| arg != "--").any(is_json);
    Out { quiet: true, json }.fault(&misuse(&error.to_string(), args::named_command()))
}

/// Makes an error of ours of what the reader of the command line says: a message, tips, and how it is used. Where it does not say
/// of which command it speaks, that is the one that is `named`.
fn misuse(text: &str, named: Option<String>) -> fault::Fault {
    let mut parts = text.trim_start_matches("error: ").split("\n\n");
    let message: Vec<&str> = parts.next().unwrap_or_default().lines().map(str::trim).collect();
    let mut because = Vec::new();
    let mut command = named.map_or_else(|| "kapell".to_owned(), |named| format!("kapell {named}"));
    for line in parts.flat_map(str::lines).map(str::trim) {
        if let Some(usage) = line.strip_prefix("Usage: ") {
            let words = usage.split(' ').take_while(|word| !word.starts_with(['<', '[', '-']));
            command = words.collect::<Vec<_>>().join(" ");
        } else if let Some(tip) = line.strip_prefix("tip: ")
            && !tip.starts_with("to pass '")
        {
            // Hardly anybody who types an unknown option means a value.
            because.push(tip.to_owned());
        }
    }
    // The order in which they are read is not the one in which they are meant.
    let message = message.join(" ").replace("<RUN> <GATE> [ANSWER]...", "[RUN] <GATE> <ANSWER>");
    let mut fault = fault::Fault::new("K0907", Exit::Usage, message).hint(format!("{command} --help"));
    fault.because = because;
    fault
}

/// A panic is a bug of ours, and is reported as one.
fn report_panics(out: Out) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text =
            text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        let fault =
            fault::Fault::new("K0999", Exit::Bug, "kapell has a bug").at(place).because(text).hint(format!(
                "please report it with the output of `kapell doctor`: {}/issues",
                env!("CARGO_PKG_REPOSITORY")
            ));
        out.fault(&fault);
    }));
}
