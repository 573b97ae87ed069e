//! The codes of everything that is not about what people write in files, with their explanations.
//!
//! K05xx: runs; K06xx: the journal; K07xx: git; K08xx: agents and processes; K09xx: the command line, files and
//! settings. Those below K0500 are kept by `kapell_spec::codes`.

use kapell_spec::codes::{self, Explanation};

macro_rules! table {
    ($($code:literal, $title:literal, $text:literal;)*) => {
        /// The codes of this crate, in order.
        pub const TABLE: &[Explanation] = &[$(Explanation { code: $code, title: $title, text: $text }),*];
    };
}

table! {
    "K0501", "No such run",
        "No run has this id. An id can be shortened to its beginning or its end, as long as only one run fits. `kapell status` lists all runs of this repository; another repository has runs of its own.";
    "K0502", "Plan that cannot be written",
        "The plan of the run could not be written into the journal. This is a bug of kapell.";
    "K0503", "Refused by the run",
        "The run is in a state in which the command makes no sense, such as pausing what is paused, or answering what is answered. Nothing has changed. `kapell status RUN` says where it stands.";
    "K0504", "Process that executes the run cannot be reached",
        "Another process executes the run, and takes commands for it on a socket; it did not answer there. It may just be ending: try again. If it hangs, end it; `kapell resume` goes on with the run.";
    "K0505", "Nothing has been run here",
        "There is no journal for this directory or repository yet. It is made by the first `kapell run`. If you expected one, look whether `KAPELL_STORE` or `store =` in `kapell.toml` points elsewhere.";
    "K0506", "More than one run fits",
        "The beginning or end of an id that was given fits several runs. Give more of it.";
    "K0507", "No run is unfinished",
        "Every run is over, so there is nothing to go on with. `kapell fork RUN --at SEQ` starts a new run from the middle of one that is over.";
    "K0508", "No such task",
        "The run's plan has no task of this name. Names are compared exactly; the tasks of a matrix are named with their values, as `kapell logs` shows them.";
    "K0509", "Run that has been collected",
        "The refs that held the work of the run were removed by `kapell gc`, so no new run can start from it.";
    "K0510", "No such decision",
        "Decisions of a run are numbered from 1. `kapell logs RUN` shows their numbers in its first column.";
    "K0511", "Unknown input",
        "`--set` names an input that the run did not have. A fork takes over the plan of its run, so it can give other values to inputs, not new inputs.";
    "K0512", "Cannot be taken back",
        "What was asked for cannot be undone; the message says what can be done instead. What can be taken back: the last answer, while nothing has followed from it; the last merge, while the target is still where the merge put it; and the files that `kapell init` wrote, while they are unchanged.";
    "K0513", "Demo that failed",
        "Something that the demo promises did not come true on this machine. With `--dir DIR` its repository is kept for a look; `kapell -C DIR logs` tells what happened.";
    "K0514", "Directory that is not empty",
        "The demo makes a repository of its own and writes over nothing, so it wants a directory that is empty or not there yet.";
    "K0599", "Contradiction within kapell",
        "kapell decided something that its own rules do not allow. Nothing of it was recorded. This is a bug of kapell; the run can be resumed.";
    "K0601", "Journal cannot grow",
        "No space is left on the disk that holds the store, or a quota is used up. Nothing that was recorded is lost. Make room (`kapell gc` shows what can go) and run `kapell resume`.";
    "K0602", "Journal in use",
        "Another process has kept the journal locked for longer than kapell waits. Find out with `kapell status` who executes runs.";
    "K0603", "Journal damaged",
        "Something in the journal is not what was written: bytes were changed, or rows are missing. kapell does not go on from there, since what follows could not be trusted. Restore the store from a backup; other runs in it may be whole, `kapell verify RUN` says so for each.";
    "K0604", "Journal written by a newer kapell",
        "The journal has a format that this version does not know. Update kapell.";
    "K0605", "Journal cannot be used",
        "The file system or the database refused to read or write the journal. What was recorded before is kept. When the cause is gone, `kapell resume` goes on.";
    "K0606", "Run executed by another process",
        "Only one process at a time executes a run. `kapell watch` shows what it does, and `kapell pause`, `cancel` and `answer` reach it.";
    "K0607", "Run cannot be exported",
        "The run's decisions could not be read or written out.";
    "K0608", "File that cannot be imported",
        "The file is not a whole export of `kapell logs RUN --export`: it was cut off or changed, or it holds other decisions of a run that is here already. The message names the line. Nothing of it was taken in.";
    "K0700", "Git refused",
        "An operation on the repository failed; the reasons below the message are git's. Your branches, index and files are as they were, unless the message says otherwise.";
    "K0701", "Repository cannot be used",
        "The base of the run could not be held, or kapell's own repository could not be made.";
    "K0702", "Target does not exist",
        "The workflow's `target:` names a branch that the repository does not have.";
    "K0703", "Not in a repository",
        "Outside a git repository tasks work in the directory itself: there is nothing to land, to merge or to compare, and neither `target` nor `accept` of a file would take effect.";
    "K0704", "Run without a target",
        "The run started from a detached HEAD, so it is not known which branch to move. Name one: `kapell merge --into BRANCH`.";
    "K0705", "Target not moved",
        "The target branch is where it was: somebody moved it between the check and the merge, or a working tree that has it checked out cannot follow. The message says which. Merge again once that is out of the way.";
    "K0706", "Conflict with the target",
        "What landed in the run changes the same lines as what came into the target since. Nothing was changed. Merge into a new branch, and join the two by hand.";
    "K0707", "Checks fail on the merged tree",
        "The target has moved since the run started, and the run's `accept` commands fail on both together. Nothing was changed.";
    "K0708", "Merge refused",
        "The merge could not be done for the reason given. Nothing was changed.";
    "K0709", "Nothing to compare",
        "The task has not submitted a change, or the run has not begun to land anything. What a lost or failed attempt left is shown by `--salvaged`, if anything of it is kept.";
    "K0710", "Files in Git LFS",
        "Git LFS keeps the content of files elsewhere and a program fetches it at checkout. kapell runs no program that a repository names, so in workspaces such files are their pointers. A run that could be misled by that is refused, unless its file says `lfs: pointers`.";
    "K0713", "Taken back, and landed still",
        "Some tasks count as taken back, but what took them back changed no file, or a person left them: their changes are still in what landed. A merge would bring them in, so it is refused. `kapell diff` shows what it would be; `kapell merge --taken-back` does it all the same.";
    "K0714", "Being taken back",
        "The run is taking back what it did, one task after the other. Until it is over nothing of it is merged.";
    "K0715", "Commits are elsewhere",
        "The journal has the run, but its commits are not in this repository: it was taken in by `kapell import`, which brings decisions and no commits. Compare and merge where the run was performed.";
    "K0801", "Attempts cannot be started",
        "The thread or socket through which kapell speaks to the processes that it starts could not be made. `kapell doctor` looks at what they need.";
    "K0802", "Not within a task",
        "`kapell task` speaks for an agent that kapell runs. It needs the variables that kapell gives to it, such as `KAPELL_SOCKET`.";
    "K0803", "Task not understood, or refused",
        "kapell did not take what an agent said by `kapell task`.";
    "K0810", "Containment level that does not work here",
        "A level was asked for that this machine does not have; it was tried, and the message says what came of it. Nothing was started at a lower one. Level 3 needs bubblewrap and user namespaces, level 2 Landlock (Linux 6.2 or newer). `kapell doctor` shows which levels work.";
    "K0811", "Network that cannot be enforced",
        "The containment level cannot hold the network that was asked for whatever an agent does, so it is refused rather than approximated. Only level 3 holds `none`, `model-only` and a list of hosts; `model-only` needs kapell's model proxy.";
    "K0812", "Level 0 that was not accepted",
        "At level 0 an agent runs as you, with your HOME, and what leaves its process group outlives it. That needs a word of yours on the command line, `--i-accept-level-0`, each time.";
    "K0813", "File that asks for less containment",
        "A workflow or a `kapell.toml` found in a repository asks for a lower level or a wider network than holds without it. Such a file can come from anybody, so it can only ask for more. If you want what it asks for, say so on the command line (`--sandbox`, `--network`) or in your own settings.";
    "K0814", "Setting of containment not understood",
        "`sandbox:` of an agent takes `required`, 3, 2 or 1; `network:` takes `none`, `model-only`, `open`, or a list of hosts such as `[example.org, \"*.example.org\"]`.";
    "K0815", "Programs of the repository that a client would execute",
        "The client loads plugins or starts servers that the repository brings along, and has no switch that keeps it from that (opencode with `.opencode/` or `opencode.json`). At containment level 3 these files are not there for it; at a lower level the attempt is refused. Install bubblewrap, remove the files from the repository, or let another client do the task.";
    "K0816", "Settings for agents that cannot be judged",
        "What the repository brings along for agents (`.claude/`, `.mcp.json` and the like) cannot be read, is too much to be settings, or lies behind a link that leads out of it. It is not trusted, and nothing of it is loaded.";
    "K0900", "File or directory cannot be used",
        "The operating system refused access to a file or directory, for the reason given.";
    "K0901", "No home directory",
        "Workspaces are kept in the user's cache directory: `XDG_CACHE_HOME`, or `.cache` in `HOME`. Neither variable is set.";
    "K0902", "Directory that is not private",
        "Sockets lie in a directory that only you can enter; this one can be entered by others, or is not yours.";
    "K0903", "Not NAME=VALUE",
        "`--set` takes the name of an input, an equals sign and its value.";
    "K0904", "Cannot go on in the background",
        "The program could not start itself again, or what it started refused the run, or has not begun with it in a minute; the message \
         says why.";
    "K0905", "Not a gate",
        "`kapell answer` takes the number of a gate, as `kapell inbox` shows it, and the answer.";
    "K0906", "Not the head of a journal",
        "`--against` takes a head as reports print it: the number of a decision, a colon and its hash.";
    "K0907", "Command line not understood",
        "An option or argument is unknown, missing or of the wrong kind. `kapell help COMMAND` says what a command takes.";
    "K0908", "Output cannot be written",
        "Standard output refused what was printed, for instance because the disk is full that it goes to.";
    "K0909", "Environment lacks something",
        "`kapell doctor` found that something kapell needs is not there. Each line says what to do.";
    "K0910", "Settings that are not TOML",
        "`kapell.toml` breaks the rules of TOML at the place shown.";
    "K0911", "Unknown setting",
        "`kapell.toml` has a key that means nothing. Known are `store`, `agents`, `jobs`, `budget` and `clients`.";
    "K0912", "Setting of the wrong kind",
        "A setting has another kind of value than it takes, or one that is out of range.";
    "K0913", "Not a budget",
        "A budget is amounts joined by commas: money (`5usd`, `0.5usd`), tokens (`200k`, `2M`), and time for which the run is executed (`90s`, `30m`, `2h`). Each at most once.";
    "K0914", "Unknown schema",
        "There is no schema of this name; `kapell schema` lists all.";
    "K0915", "Unknown code",
        "There is no error of this code; `kapell explain` lists all.";
    "K0916", "File exists already",
        "`kapell init` never overwrites a file. Move it away, or edit it by hand.";
    "K0917", "Unknown adapter",
        "An agent's `use:` names the adapter through which kapell speaks to it, and this kapell has none of that name. Nothing was started. `kapell agents` lists those that there are and what they need.";
    "K0918", "Document that is no plan",
        "A Markdown document is run phase by phase: by headings such as `## Phase 2: Build` or `### Step 4`, or by the numbered list of a section that speaks of a flow. This one has fewer than two of them.";
    "K0919", "Nobody to perform a document",
        "A Markdown document does not say which program performs its phases; `--agent` does: `--agent claude-code` or another client that `kapell agents` shows, or `--agent cmd:COMMAND` for a shell command that gets the text of each phase at its standard input and as `KAPELL_PROMPT`. A workflow file names its agents itself and takes no `--agent`.";
    "K0920", "Nobody can perform a task",
        "The agent of a task cannot be used here, for its program or the key of its model is not there; or a task names skills (`skills: [rust]`), and no agent that can be used here covers all of them. `kapell agents` lists who there is with what each can do, and why some cannot be used; `[agent.NAME]` in `kapell.toml`, `agents:` in the workflow file or a role of the repository add to them. Nothing was started.";
    "K0921", "Slash command that cannot be understood",
        "A command of another program, such as `/meta-orchestrator` in Claude Code, was given an option that it does not have or a value that the option does not take. Nothing was started. A mission that contains words with two dashes stands in quotes, or behind `--`.";
    "K0922", "Mission that cannot be started",
        "What was asked for is not a workflow file, or comes from within a task. A mission in words needs a plan, and this version makes none by itself: put the steps into a workflow file and name it. A command document with numbered phases is started with `kapell run FILE.md --agent AGENT`. A task that needs a run of its own names it with `workflow:`.";
    "K0923", "Not in this version",
        "The command is known, but this version of kapell was built without it.";
    "K0924", "Server that cannot serve",
        "`kapell mcp` speaks the Model Context Protocol on standard input and output. It is started by a client, such as Claude Code, and means nothing on a terminal.";
    "K0925", "Something in the way of an installation",
        "A file or folder that is not kapell's is where one of its own would go, settings were changed by another program between the question and its answer, or the list of what was installed is damaged. Nothing was changed.";
    "K0926", "Not installed",
        "There is no list of installed files, so nothing can be taken back. With `--scope project` the repository's own settings are meant, else those of the user.";
    "K0927", "Nobody agreed",
        "The command changes files of another program, and asks before it does. Without a terminal, agree with `--yes`.";
    "K0928", "Option of an agent not understood",
        "An agent is given an option that its adapter does not read, or a value that it could not use. It is refused before anything starts: a cap on turns or requests that is misspelt would be none. The hint names the option that is nearest, or what the value may be.";
    "K0930", "Baseline that cannot be read",
        "The file given with `--baseline` is not one that `kapell improve --write-baseline FILE` writes.";
    "K0931", "Unknown rule",
        "`kapell improve` has no rule of this name. `kapell improve --list-rules` lists all.";
    "K0932", "Fix of a file that is not committed",
        "Fixes are written as a commit on a branch, on top of the last commit. A file that differs from it cannot be fixed there without taking your changes along. Commit or undo them, or apply the patch of `--dry-run` yourself.";
    "K0933", "Durations that cannot be read",
        "`--timings` takes what `gh run view RUN --json jobs` prints, or a list of several such objects.";
    "K0934", "Log of another tool that cannot be read",
        "`--import-sarif` takes logs in SARIF 2.1.0, such as `zizmor --format sarif .` and `agnix --format sarif .` write.";
    "K0935", "Editor that cannot be spoken to",
        "`kapell improve --lsp` speaks the Language Server Protocol on standard input and output. It is started by an editor, and means nothing on a terminal.";
    "K0936", "Part of an audit that cannot be done",
        "`kapell improve --as-run` judges as a run: each task is this program once more, and works on what the tasks before it kept. The files have changed since the run began, or it was begun by another version of kapell, or what was kept is gone. `kapell improve --as-run` starts a run of what is there now.";
    "K0940", "Not a table of prices",
        "`prices.json` beside your settings says what models cost, in dollars for a million tokens: `version`, and `models` with `input` and `output` for each, and `cache_read`, `cache_write`, `output_max` where they differ. It could not be read as such.";
    "K0950", "Nothing recorded",
        "`replay --agents` needs a recording of what the agents of the run and their models said to each other. `kapell record FILE` makes one: it runs the file, and keeps every exchange that goes through the model proxy in `cassettes/` of the store, without keys. A recording kept elsewhere is named by `--cassette`.";
    "K0951", "Not a recording",
        "The file does not begin as a recording does, was made by a newer kapell, or a line of it is damaged. It is not played: an answer that is not the recorded one would be worse than none.";
    "K0952", "Recording of another plan",
        "The recording was made of a run with another plan: its answers would be given to other tasks. Name the run that it is of, or record this one.";
    "K0953", "Nothing to record",
        "A recording holds what goes through kapell's model proxy, and none of the agents of this run would speak through it: they work with their own login, or with no model. Give them a key, as `kapell agents` and the page on agents say.";
    "K0954", "A replay is not gone on with",
        "The run played a recording and was interrupted. Going on with it would have its agents ask their real providers, so it is refused. `kapell replay RUN --agents` plays the recording from the beginning, which costs nothing; `kapell cancel` ends the interrupted one.";
    "K0999", "Bug of kapell",
        "kapell did something that it should never do. What was recorded is safe; runs can be resumed. Please report it.";
}

/// Lists all codes, in order.
pub fn all() -> impl Iterator<Item = &'static Explanation> {
    codes::TABLE.iter().chain(TABLE)
}

/// Finds a code, however its letter is written and whether or not its zeros are.
pub fn find(code: &str) -> Option<&'static Explanation> {
    let digits = code.trim().trim_start_matches(['K', 'k']);
    let number: u16 = digits.parse().ok()?;
    all().find(|explanation| explanation.code[1..].parse() == Ok(number))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn sources(dir: &Path, texts: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, texts);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("codes.rs") {
                texts.push(fs::read_to_string(&path).unwrap());
            }
        }
    }

    /// Returns every `"K0123"` of the sources of this crate, and of the one that meets the machine; tests of codes
    /// aside.
    fn used() -> BTreeSet<String> {
        let mut texts = Vec::new();
        for dir in ["src", "../kapell-agents/src"] {
            sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), &mut texts);
        }
        let pieces = texts.iter().flat_map(|text| text.split('"'));
        let is_code = |piece: &&str| {
            piece.len() == 5 && piece.starts_with('K') && piece[1..].bytes().all(|byte| byte.is_ascii_digit())
        };
        pieces.filter(is_code).map(str::to_owned).collect()
    }

    #[test]
    fn every_code_that_is_used_is_explained_and_every_explained_one_used() {
        let known: BTreeSet<String> = all().map(|explanation| explanation.code.to_owned()).collect();
        let used = used();
        let unexplained: Vec<_> = used.difference(&known).collect();
        assert!(unexplained.is_empty(), "{unexplained:?}");
        let own: BTreeSet<String> = TABLE.iter().map(|explanation| explanation.code.to_owned()).collect();
        let unused: Vec<_> = own.difference(&used).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    #[test]
    fn codes_are_in_order_and_found_however_they_are_written() {
        assert!(all().zip(all().skip(1)).all(|(one, two)| one.code < two.code));
        for text in ["K0501", "k0501", "501", " 0501 "] {
            assert_eq!(find(text).map(|found| found.code), Some("K0501"), "{text}");
        }
        for text in ["", "K", "K9999", "-1", "x", "99999999"] {
            assert_eq!(find(text), None, "{text}");
        }
        for explanation in TABLE {
            assert!(
                explanation.text.ends_with('.') && !explanation.title.ends_with('.'),
                "{}",
                explanation.code
            );
        }
    }
}
