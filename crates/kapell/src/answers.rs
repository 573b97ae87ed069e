//! Answers of a person who types them where a run is shown.

use std::{
    io::{self, BufRead, IsTerminal},
    sync::mpsc::{Receiver, channel},
};

use kapell_core::{
    command::Command,
    id::{GateId, RunId},
    journal::Actor,
    run::Run,
};
use kapell_view::{
    text::width,
    untrusted::{Untrusted, visible},
};

use crate::{runs, site, wiring::Machine};

/// So much room is left for the answer.
const ANSWER_COLUMNS: usize = 20;

/// A gate that a person is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    run: RunId,
    gate: GateId,
    choices: Vec<String>,
    /// What stands before the place where the answer is typed.
    pub prompt: String,
}

impl Asked {
    /// Finds the first gate of a run, or else of its parts, that waits for an answer; `None` if nobody can type one here.
    pub fn first(machine: &Machine, run: &Run, columns: usize) -> Option<Self> {
        if !can_type() {
            return None;
        }
        let of = |run: &Run| {
            let (gate, open) = run.open_gates().next()?;
            let choices = open.choices.clone();
            let name = visible(run.plan().name(open.task));
            let shown: Vec<String> = choices.iter().map(|choice| visible(choice)).collect();
            let whole = format!("{name} [{}]> ", shown.join(" | "));
            let fits = width(&whole) + ANSWER_COLUMNS <= columns;
            let prompt = if fits { whole } else { "answer> ".to_owned() };
            Some(Self { run: run.id(), gate, choices, prompt })
        };
        let of_part = || runs::parts(&machine.store, run).ok()?.iter().find_map(|part| of(&part.run));
        of(run).or_else(of_part)
    }

    /// Puts what was typed to the run.
    ///
    /// # Errors
    ///
    /// Says what could be answered, if that cannot.
    pub fn put(&self, machine: &mut Machine, typed: &str) -> Result<(), String> {
        let answer = typed.trim();
        if answer.is_empty() || (!self.choices.is_empty() && !self.choices.iter().any(|it| it == answer)) {
            let choices: Vec<String> =
                self.choices.iter().map(|choice| Untrusted::from(choice).visible()).collect();
            return Err(format!("the answer must be one of: {}", choices.join(", ")));
        }
        let by = site::person();
        let command = Command::Answer { gate: self.gate, answer: answer.to_owned(), by: by.clone() };
        machine.host.put(self.run, Actor::Person(by), command, None);
        Ok(())
    }
}

/// Tells whether what is typed reaches this process: one in the background would be stopped if it read.
fn can_type() -> bool {
    let stdin = io::stdin();
    stdin.is_terminal()
        && rustix::termios::tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// Reads lines from the terminal, once somebody is asked.
#[derive(Debug, Default)]
pub struct Typist {
    lines: Option<Receiver<String>>,
}

impl Typist {
    /// Begins to read. What was typed before anybody was asked answers nothing.
    pub fn listen(&mut self) {
        let lines = self.lines.get_or_insert_with(|| {
            let (sender, receiver) = channel();
            // It ends with the process: nothing can wake who reads from a terminal.
            let read = move || {
                io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
            };
            let _ = std::thread::Builder::new().name("kapell-answers".to_owned()).spawn(read);
            receiver
        });
        while lines.try_recv().is_ok() {}
    }

    /// Returns a line that has been typed.
    pub fn line(&self) -> Option<String> {
        self.lines.as_ref()?.try_recv().ok()
    }
}
