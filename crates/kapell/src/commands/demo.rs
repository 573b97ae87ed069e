//! `demo`: everything that kapell promises, on a small repository that it makes itself.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{fs::DirBuilderExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Instant,
};

use kapell_agents::git::UserRepo;
use kapell_core::{event::Event, id::TaskId, task::TaskState};
use kapell_engine::open::load_at;
use kapell_view::text::plural;

use super::Context;
use crate::{
    args::DemoArgs,
    exit::Exit,
    fault::Fault,
    runs,
    site::{self, Site},
    wiring::open_own_repo,
};

/// The files of the demo's repository. Each module has one fault that its test finds; `text.sh` has two.
const FILES: &[(&str, &str)] = &[
    ("lib/sum.sh", include_str!("../../demo/lib/sum.sh")),
    ("lib/max.sh", include_str!("../../demo/lib/max.sh")),
    ("lib/text.sh", include_str!("../../demo/lib/text.sh")),
    ("tests/sum.sh", include_str!("../../demo/tests/sum.sh")),
    ("tests/max.sh", include_str!("../../demo/tests/max.sh")),
    ("tests/upper.sh", include_str!("../../demo/tests/upper.sh")),
    ("tests/trim.sh", include_str!("../../demo/tests/trim.sh")),
    ("tests/run.sh", include_str!("../../demo/tests/run.sh")),
    ("fix.yaml", include_str!("../../demo/fix.yaml")),
];

/// How many tasks have landed when the demo kills itself.
const LANDED_BEFORE_DEATH: u32 = 2;

/// Shows all of it.
///
/// # Errors
///
/// Fails if the directory cannot be made, or anything that is promised does not come true.
pub fn demo(context: &Context, args: &DemoArgs) -> Result<Exit, Fault> {
    let start = Instant::now();
    let (dir, kept) = match &args.dir {
        Some(dir) => (context.path(dir), true),
        None => (scratch()?, false),
    };
    let show = Show { context, dir: &dir, kept };
    show.make_repository()?;
    let failing = show.tests()?;
    show.say(&format!(
        "a small program in {}, with {} of 4 tests failing",
        dir.display(),
        4 - failing.passed
    ));

    show.say("$ kapell run fix.yaml        four scripted agents at a time, no model, no network");
    let die = LANDED_BEFORE_DEATH.to_string();
    let killed = show.kapell(&["run", "fix.yaml", "--jobs", "4", "--die-after", &die])?;
    if killed.signal() != Some(9) {
        return Err(broken(format!("it should have killed itself, and ended with {killed}")));
    }
    show.say("killed itself with SIGKILL in the middle, on purpose");

    show.say("$ kapell resume --merge");
    let resumed = show.kapell(&["resume", "--merge"])?;
    if !resumed.success() {
        return Err(broken(format!("the resumed run ended with {resumed}")));
    }
    let proof = show.proof()?;
    let passing = show.tests()?;
    show.say(&format!(
        "{} of 4 fixes are ancestors of main; {} of 4 tests pass there; {} failed, {} lost, {} done twice; {:.1} s",
        proof.merged,
        passing.passed,
        plural(proof.failed, "attempt"),
        proof.lost,
        proof.repeated,
        start.elapsed().as_secs_f64()
    ));
    if proof.merged != 4 || passing.passed != 4 || proof.repeated != 0 {
        return Err(broken("not everything that was promised came true".to_owned()));
    }
    if kept {
        context.out.next(&format!("kapell -C {} report", dir.display()));
    } else {
        fs::remove_dir_all(&dir).map_err(|error| Fault::io(&dir, &error))?;
        context
            .out
            .next("kapell demo --dir DIR keeps the repository for a look; kapell init starts in yours");
    }
    Ok(Exit::Done)
}

/// Makes a directory that nobody else has, or can look into.
fn scratch() -> Result<PathBuf, Fault> {
    let dir = std::env::temp_dir().join(format!("kapell-demo-{:x}", site::random()));
    let made = fs::DirBuilder::new().mode(0o700).create(&dir);
    made.map(|()| dir.clone()).map_err(|error| Fault::io(&dir, &error))
}

fn broken(message: String) -> Fault {
    Fault::new("K0513", Exit::Bug, "the demo failed").because(message)
}

struct Show<'a> {
    context: &'a Context,
    dir: &'a Path,
    /// Whether the repository outlives the demo.
    kept: bool,
}

struct Tests {
    passed: usize,
}

struct Proof {
    /// Tasks whose commit is an ancestor of the target.
    merged: usize,
    /// Attempts that failed by themselves, and were followed by another.
    failed: u64,
    /// Attempts that ended with the process that was killed.
    lost: u64,
    /// Attempts at tasks that had ended well already.
    repeated: u64,
}

impl Show<'_> {
    fn say(&self, text: &str) {
        self.context.out.note(&format!("demo  {text}"));
    }

    fn make_repository(&self) -> Result<(), Fault> {
        if fs::read_dir(self.dir).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Fault::new("K0514", Exit::Usage, format!("{} is not empty", self.dir.display()))
                .hint("kapell demo --dir NEW-DIRECTORY"));
        }
        for (name, text) in FILES {
            let path = self.dir.join(name);
            let parent = path.parent().unwrap_or(self.dir);
            fs::create_dir_all(parent).map_err(|error| Fault::io(parent, &error))?;
            fs::write(&path, text).map_err(|error| Fault::io(&path, &error))?;
        }
        for args in [&["init", "-q", "-b", "main"][..], &["add", "."], &["commit", "-q", "-m", "Four faults"]]
        {
            let mut git = Command::new("git");
            git.args(["-c", "user.name=kapell demo", "-c", "user.email=demo@localhost"]).args(args);
            self.run(&mut git)?;
        }
        Ok(())
    }

    fn run(&self, command: &mut Command) -> Result<(), Fault> {
        let output = command.current_dir(self.dir).output().map_err(|error| {
            Fault::new("K0700", Exit::Environment, "git cannot be started").because(error).hint("install git")
        })?;
        if output.status.success() {
            return Ok(());
        }
        Err(broken(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))))
    }

    /// Runs kapell itself, as a person would.
    fn kapell(&self, args: &[&str]) -> Result<ExitStatus, Fault> {
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("kapell"));
        let mut command = Command::new(program);
        command.args(args).args(["--no-input"]).current_dir(self.dir).env_remove("KAPELL_STORE");
        if !self.kept {
            // Workspaces go with the directory.
            command.env("XDG_CACHE_HOME", self.dir.join(".git/cache"));
        }
        if self.context.out.quiet || self.context.out.json {
            command.arg("--quiet");
        }
        command.status().map_err(|error| broken(format!("kapell cannot start itself: {error}")))
    }

    /// Runs the program's own tests in the checkout.
    fn tests(&self) -> Result<Tests, Fault> {
        let output = Command::new("sh").arg("tests/run.sh").current_dir(self.dir).output();
        let output = output.map_err(|error| broken(format!("the tests cannot be run: {error}")))?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(Tests { passed: text.lines().filter(|line| line.starts_with("ok ")).count() })
    }

    /// Looks every fix up: its commit must be an ancestor of the target.
    fn proof(&self) -> Result<Proof, Fault> {
        let mut site = Site::find(self.dir)?;
        site.store = self.dir.join(".git/kapell");
        let store = site.existing_store()?;
        let head = runs::find(&store, None)?;
        let (mut ended, mut repeated) = (BTreeSet::new(), 0);
        let run = load_at(&store, head.run, head.version, |_, events, _| {
            events.iter().for_each(|event| repeated += u64::from(is_repeated(&mut ended, event)));
        })?;
        let repo = open_own_repo(&site)?.ok_or_else(|| broken("the repository is gone".to_owned()))?;
        let user = UserRepo::discover(self.dir)?;
        let main = user.find_ref("refs/heads/main")?.ok_or_else(|| broken("main is gone".to_owned()))?;
        let mut merged = 0;
        for task in run.plan().graph().tasks() {
            if let TaskState::Landed { commit } = run.state(task) {
                merged += usize::from(repo.is_ancestor(**commit, main)?);
            }
        }
        let (mut failed, mut lost) = (0, 0);
        for task in run.plan().graph().tasks().filter_map(|task| run.task(task)) {
            failed += u64::from(task.failures);
            lost += u64::from(task.attempts - 1 - task.failures);
        }
        Ok(Proof { merged, failed, lost, repeated })
    }
}

/// Follows which tasks have ended well; says whether `event` starts one of them once more.
fn is_repeated(ended: &mut BTreeSet<TaskId>, event: &Event) -> bool {
    match event {
        Event::Submitted { task, .. } | Event::Completed { task, .. } | Event::Landed { task, .. } => {
            ended.insert(*task);
        }
        // What does not fit is to be done again.
        Event::SentBack { task, .. } | Event::AttemptFailed { task, .. } => {
            ended.remove(task);
        }
        Event::Started { task, .. } => return ended.contains(task),
        _ => {}
    }
    false
}

#[cfg(test)]
mod tests {
    use kapell_core::id::{AttemptNo, Oid};

    use super::*;

    #[test]
    fn work_that_is_done_again_is_counted() {
        let started = |attempt| Event::Started {
            task: TaskId(0),
            attempt: AttemptNo(attempt),
            agent: None,
            deadline: None,
            reserved: kapell_core::budget::Amount::default(),
            held: kapell_core::budget::Amount::default(),
            grant: None,
        };
        let landed = Event::Landed { task: TaskId(0), commit: "1".repeat(40).parse::<Oid>().unwrap() };
        let mut ended = BTreeSet::new();
        let told = [started(1), started(2), landed, started(3)].map(|event| is_repeated(&mut ended, &event));
        assert_eq!(told, [false, false, false, true]);
    }
}
