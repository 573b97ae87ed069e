//! Deployments that a command only starts: the job is green before anybody knows what came of them.

use std::sync::LazyLock;

use kapell_spec::{github::Step, words::Words};
use kapell_view::audit::Severity;

use crate::{
    github::{
        Flow, StepFacts, comments,
        script::{Command, Then},
    },
    rule::Report,
    rules::deploy_without_rollback::looks,
};

/// A command that ends well before what it starts is over, or whatever that comes to.
struct Starts {
    words: &'static [&'static str],
    /// Options with which it waits, or does something else.
    but: &'static [&'static str],
    /// Words of what waits for it, or looks at it, in whichever step.
    waits: &'static [&'static str],
    /// What it does not tell.
    says: &'static str,
    hint: &'static str,
}

const RETURNS: &str = "returns at once";

/// Sources: AWS CLI, the pages of these commands and of `wait`; Microsoft, "Run scripts in your Windows or Linux VM by using action
/// Run Commands": the exit code of the script is not what the command ends with.
const STARTS: &[Starts] = &[
    Starts {
        words: &["aws", "ecs", "update-service"],
        but: &["--desired-count", "--generate-cli-skeleton"],
        waits: &["ecs wait", "describe-services", "services-stable", "describe-tasks", "rolloutState"],
        says: RETURNS,
        hint: "wait for it: `aws ecs wait services-stable`",
    },
    Starts {
        words: &["aws", "ssm", "send-command"],
        but: &["--generate-cli-skeleton"],
        waits: &["command-executed", "get-command-invocation", "list-command-invocations", "list-commands"],
        says: RETURNS,
        hint: "wait for it with `aws ssm wait command-executed`, which fails if the script does",
    },
    Starts {
        words: &["aws", "deploy", "create-deployment"],
        but: &["--generate-cli-skeleton"],
        waits: &["deployment-successful", "get-deployment"],
        says: RETURNS,
        hint: "wait for it: `aws deploy wait deployment-successful`",
    },
    Starts {
        words: &["aws", "cloudformation", "update-stack"],
        but: &["--generate-cli-skeleton"],
        waits: &["cloudformation wait", "describe-stack"],
        says: RETURNS,
        hint: "wait for it: `aws cloudformation wait stack-update-complete`",
    },
    Starts {
        words: &["aws", "autoscaling", "start-instance-refresh"],
        but: &["--generate-cli-skeleton"],
        waits: &["describe-instance-refreshes"],
        says: RETURNS,
        hint: "look at it until it is over: `aws autoscaling describe-instance-refreshes`",
    },
    Starts {
        words: &["az", "vm", "run-command", "invoke"],
        but: &["--help"],
        waits: &["instanceView", "exitCode"],
        says: "ends well whatever its script comes to",
        hint: "take what it prints and look in it for a word that only the end of the script says",
    },
];

/// Tells of such commands, once for each workflow and kind of command.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    // Nothing else can be one of them, and few workflows say these words.
    static NAMED: LazyLock<Words> = LazyLock::new(|| Words::exact(&["aws ", "az vm"]));
    if !NAMED.is_in(&flow.text) {
        return;
    }
    for known in STARTS.iter().filter(|known| !known.waits.iter().any(|word| flow.text.contains(word))) {
        let steps = flow
            .jobs()
            .flat_map(|(at, _)| flow.steps(at).enumerate().map(move |(index, step)| (at, index, step)));
        let mut found = steps.filter_map(|(at, index, (step, facts))| {
            let command = facts.commands.iter().find(|command| is_left(known, command))?;
            (!is_looked_at(flow, at, index)).then(|| (step, flow.script_line(step, command.start, "")))
        });
        let Some((step, first)) = found.next() else { continue };
        let mut draft = report
            .add(
                flow.file,
                first,
                format!(
                    "`{}` {}, and nothing looks at what came of it: the job is green if it fails",
                    known.words.join(" "),
                    known.says
                ),
            )
            .severity(Severity::Medium)
            .hint(known.hint);
        for (_, span) in found {
            draft = draft.also(flow.file, span, "here too");
        }
        match explained(flow, step) {
            Some(comment) => draft.explained(comment).done(),
            None => draft.done(),
        }
    }
}

/// Tells whether a command starts something, and its script neither takes what it prints nor asks for it.
fn is_left(known: &Starts, command: &Command) -> bool {
    let words = command.inner();
    let starts =
        words.len() > known.words.len() && words.iter().zip(known.words).all(|(own, word)| own == word);
    let other = |word: &String| known.but.iter().any(|but| word.starts_with(but));
    // What is kept or piped on is looked at.
    starts && !words.iter().any(other) && matches!(command.then, Then::End | Then::And)
}

/// Tells whether a step behind another one, in its job or in one that waits for it, asks whether all is well.
fn is_looked_at(flow: &Flow, at: usize, index: usize) -> bool {
    let asks = |(step, facts): (&Step, &StepFacts)| {
        let words = ["curl ", "wget ", "health", "smoke", "exitCode"];
        looks(step, facts) || facts.runs_own_script() || words.iter().any(|word| step.script().contains(word))
    };
    let behind = flow.jobs().filter(|(other, _)| flow.closures[*other].contains(&at));
    let own = flow.steps(at).skip(index).any(asks);
    own || behind.into_iter().any(|(other, job)| job.uses.is_some() || flow.steps(other).any(asks))
}

/// Returns the comment that says that nobody is to wait for it.
fn explained(flow: &Flow, step: &Step) -> Option<String> {
    let words = [
        "not wait",
        "n't wait",
        "no wait",
        "without waiting",
        "in the background",
        "asynchron",
        "alarm",
        "circuit breaker",
    ];
    comments::explains(flow, step.span, 12, &words)
}
