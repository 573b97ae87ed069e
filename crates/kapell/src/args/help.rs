//! The first screen: what the commands are for, in the order in which a newcomer meets them.

use std::fmt::Write as _;

use clap::{Command, builder::StyledStr};

/// The commands, by what they are for.
const GROUPS: [(&str, &[&str]); 7] = [
    ("Begin", &["demo", "init", "doctor", "agents", "trust"]),
    ("Work", &["plan", "run", "record", "fork"]),
    ("Follow and steer", &["status", "watch", "inbox", "answer", "pause", "resume", "cancel"]),
    ("See what was done", &["logs", "diff", "report", "replay", "verify", "import"]),
    ("Take it over, or back", &["merge", "undo", "gc"]),
    ("Judge and repair a repository's agents and workflows", &["improve", "map"]),
    (
        "For programs, and about kapell",
        &["task", "mcp", "install", "uninstall", "slash", "schema", "completions", "sim", "explain", "help"],
    ),
];

/// Of the command that clap itself adds.
const HELP: &str = "Tells more about a command";

/// Room for the names of commands, in columns.
const NAME: usize = 12;

/// Replaces clap's one list of all commands by groups. A command that stands in no group is not shown.
pub(super) fn grouped(command: Command) -> Command {
    let styles = command.get_styles();
    let (header, literal) = (*styles.get_header(), *styles.get_literal());
    let mut text = String::from("{about-with-newline}\n{usage-heading} {usage}\n");
    for (group, names) in GROUPS {
        let _ = writeln!(text, "\n{header}{group}:{header:#}");
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            let about = about.map_or_else(|| HELP.to_owned(), ToString::to_string);
            let _ = writeln!(text, "  {literal}{name:NAME$}{literal:#} {about}");
        }
    }
    let _ = write!(text, "\n{header}Options:{header:#}\n{{options}}");
    command.help_template(StyledStr::from(text))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    fn shown() -> Vec<String> {
        let mut command = Cli::command();
        command.build();
        let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
        visible.map(|command| command.get_name().to_owned()).collect()
    }

    #[test]
    fn every_command_stands_in_one_group() {
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        let mut shown = shown();
        grouped.sort_unstable();
        shown.sort_unstable();
        assert_eq!(grouped, shown);
    }

    #[test]
    fn what_is_said_of_a_command_fits_on_a_line_of_80_columns() {
        let command = Cli::command();
        for name in shown().iter().filter(|name| *name != "help") {
            let about = command.find_subcommand(name).unwrap().get_about().unwrap().to_string();
            assert!(3 + NAME + about.chars().count() <= 80, "{name}: {about}");
        }
    }
}
