//! One task of an audit that is a run.

use std::{collections::BTreeMap, env, fs, io::Write, path::Path};

use kapell_core::id::Digest;
use kapell_engine::port::journal::Journal;
use kapell_lint::{
    audit,
    files::Files,
    fix::Patch,
    github::cost::Timings,
    repository::{Models, Repository},
    rule::Group,
    suppress::Baseline,
};
use kapell_store::Store;
use kapell_view::{audit::Finding, text::plural};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Context, as_run, check_rules, deliverables,
    judge::{Mapped, Settled, look},
    kept::{self, Judged},
    read_files,
};
use crate::{args::ImproveArgs, exit::Exit, fault::Fault};

/// The output of every task: the digest of what it came to.
pub(super) const KEPT: &str = "kept";

/// Makes the fault of an audit that cannot go on as a run.
pub(super) fn broken(why: String) -> Fault {
    Fault::new("K0936", Exit::Environment, "the audit cannot go on as a run")
        .because(why)
        .hint("kapell improve --as-run")
}

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Reads the files.
    Read,
    /// Lists what is there.
    Map,
    /// Looks with the rules of a family.
    Rules(Group),
    /// Joins what the families found, and leaves out what people keep quiet.
    Findings,
    /// Tries the safe fixes.
    Fixes,
    /// Puts it all together.
    Report,
    /// Writes the ten deliverables.
    Deliverables,
}

impl Part {
    const RULES: &str = "rules-";

    /// Returns the task's name.
    pub(super) fn name(self) -> String {
        let name = match self {
            Self::Read => "read",
            Self::Map => "map",
            Self::Rules(family) => return format!("{}{}", Self::RULES, family.name()),
            Self::Findings => "findings",
            Self::Fixes => "fixes",
            Self::Report => "report",
            Self::Deliverables => "deliverables",
        };
        name.to_owned()
    }

    fn of(name: &str) -> Option<Self> {
        let single = [Self::Read, Self::Map, Self::Findings, Self::Fixes, Self::Report, Self::Deliverables];
        let families = Group::ALL.into_iter().map(Self::Rules);
        single.into_iter().chain(families).find(|part| part.name() == name)
    }
}

/// What was read, for all other tasks.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    /// The digest of it, of the options and of the program that read it.
    state: String,
    files: Vec<(String, String)>,
    others: Vec<String>,
    timings: Option<Timings>,
    baseline: Option<Baseline>,
}

impl Snapshot {
    fn files(&self) -> Files {
        Files::new(self.files.iter().cloned()).beside(self.others.iter().cloned())
    }

    fn repository(&self, args: &ImproveArgs, models: Models) -> Repository {
        let mut repository = Repository::with_models(self.files(), args.depth.into(), models);
        repository.timings.clone_from(&self.timings);
        repository
    }
}

/// Does what one task of an audit has to do.
///
/// # Errors
///
/// Fails if what it works on is not there, or not what the run was begun for.
pub(super) fn perform(context: &Context, args: &ImproveArgs, root: &Path) -> Result<Exit, Fault> {
    check_rules(args)?;
    let part = args.part.task.as_deref().and_then(Part::of);
    let part = part.ok_or_else(|| broken("there is no such task".to_owned()))?;
    let desk = Desk::open(args)?;
    let (said, kept) = match part {
        Part::Read => desk.keep(&desk.read(args, root)?, |read| plural(read.files.len() as u64, "file")),
        Part::Map => {
            let repository = desk.snapshot()?.repository(args, Models::all());
            desk.keep(&Mapped::of(&repository, args), |mapped| {
                let (assets, edges) = (mapped.inventory.assets.len(), mapped.inventory.edges.len());
                format!("{}, {}", plural(assets as u64, "asset"), plural(edges as u64, "reference"))
            })
        }
        Part::Rules(family) => {
            let repository = desk.snapshot()?.repository(args, family.asks());
            desk.keep(&look(&repository, args, Some(family)), |found| plural(found.len() as u64, "finding"))
        }
        Part::Findings => {
            desk.keep(&desk.settle(args)?, |settled| plural(settled.findings.len() as u64, "finding"))
        }
        Part::Fixes => {
            let repository = desk.snapshot()?.repository(args, Models::all());
            let settled: Settled = desk.take(&Part::Findings.name())?;
            desk.keep(&settled.mend(&repository, args), |patch| {
                let (mended, files) = (patch.mended.len(), patch.changes.len());
                format!("{} mended in {}", plural(mended as u64, "finding"), plural(files as u64, "file"))
            })
        }
        Part::Report => {
            let settled: Settled = desk.take(&Part::Findings.name())?;
            let fixes = desk.take_if_given(&Part::Fixes.name())?;
            let judged = settled.sum_up(desk.take(&Part::Map.name())?, fixes.unwrap_or_else(Patch::default));
            desk.keep(&judged, |judged| {
                let warnings = judged.view.warnings().count() as u64;
                format!(
                    "{} of {}",
                    plural(warnings, "warning"),
                    plural(judged.view.findings.len() as u64, "finding")
                )
            })
        }
        Part::Deliverables => {
            let repository = desk.snapshot()?.repository(args, Models::all());
            let judged: Judged = desk.take(&Part::Report.name())?;
            desk.keep(&deliverables(&repository, &judged.view, &judged.patch), |files| {
                plural(files.len() as u64, "file")
            })
        }
    }?;
    give(&kept)?;
    context.out.data(&said);
    Ok(Exit::Done)
}

/// Says what the task came to, to the run that it is a task of.
fn give(kept: &Digest) -> Result<(), Fault> {
    let path = env::var_os(kapell_agents::protocol::OUTPUT)
        .ok_or_else(|| broken("this is not within a task of a run".to_owned()))?;
    let path = Path::new(&path);
    let mut file = fs::OpenOptions::new();
    let written =
        file.append(true).create(true).open(path).and_then(|mut file| writeln!(file, "{KEPT}={kept}"));
    written.map_err(|error| Fault::io(path, &error))
}

/// What lies before a task: what others kept, and where it keeps its own.
struct Desk {
    store: Store,
    state: String,
    given: BTreeMap<String, Digest>,
}

impl Desk {
    fn open(args: &ImproveArgs) -> Result<Self, Fault> {
        let (Some(store), Some(state)) = (&args.part.store, &args.part.state) else {
            return Err(broken("a task needs a store and a state".to_owned()));
        };
        let pair = |text: &String| {
            let (name, digest) = text.split_once('=')?;
            Some((name.to_owned(), digest.parse().ok()?))
        };
        let given: Option<BTreeMap<String, Digest>> = args.part.given.iter().map(pair).collect();
        let given = given.ok_or_else(|| broken("what is given is no artifact".to_owned()))?;
        let (store, _) = Store::open(store)?;
        Ok(Self { store, state: state.clone(), given })
    }

    /// Reads the files, which must be those that the run was begun for.
    fn read(&self, args: &ImproveArgs, root: &Path) -> Result<Snapshot, Fault> {
        let (files, _) = read_files(root, args.depth, args.scope)?;
        let files = as_run::outside(&files, root, self.store.directory());
        let timings = args.timings.as_deref().map(super::timings).transpose()?;
        let baseline = args.baseline.as_deref().map(super::baseline).transpose()?;
        if kept::state(args, &files).as_ref() != Some(&self.state) {
            return Err(broken("the files, or kapell itself, have changed since the run began".to_owned()));
        }
        let texts = files.iter().map(|(_, file)| (file.path.to_string(), file.text.to_string()));
        Ok(Snapshot {
            state: self.state.clone(),
            files: texts.collect(),
            others: files.others().map(str::to_owned).collect(),
            timings,
            baseline,
        })
    }

    /// Returns what was read.
    fn snapshot(&self) -> Result<Snapshot, Fault> {
        let snapshot: Snapshot = self.take(&Part::Read.name())?;
        if snapshot.state != self.state {
            return Err(broken("what was read is of another run".to_owned()));
        }
        Ok(snapshot)
    }

    /// Joins what the families found, in the order of one audit.
    fn settle(&self, args: &ImproveArgs) -> Result<Settled, Fault> {
        let snapshot = self.snapshot()?;
        let mut findings: Vec<Finding> = Vec::new();
        for family in Group::ALL {
            findings
                .extend(self.take_if_given::<Vec<Finding>>(&Part::Rules(family).name())?.unwrap_or_default());
        }
        audit::sort(&mut findings);
        let mut settled = Settled::of(&snapshot.files(), args, findings);
        if let Some(baseline) = &snapshot.baseline {
            settled.leave_out(baseline);
        }
        Ok(settled)
    }

    /// Returns what another task came to.
    fn take<T: DeserializeOwned>(&self, task: &str) -> Result<T, Fault> {
        let missing = || broken(format!("there is nothing of the task `{task}`"));
        self.take_if_given(task)?.ok_or_else(missing)
    }

    /// Returns what another task came to, if it was given.
    fn take_if_given<T: DeserializeOwned>(&self, task: &str) -> Result<Option<T>, Fault> {
        let Some(digest) = self.given.get(task) else { return Ok(None) };
        let missing = || broken(format!("what `{task}` kept is gone"));
        let bytes = self.store.kept(*digest)?.ok_or_else(missing)?;
        let unlike = |error: serde_json::Error| broken(format!("what `{task}` kept cannot be read: {error}"));
        serde_json::from_slice(&bytes).map(Some).map_err(unlike)
    }

    /// Keeps what the task came to, and returns what there is to say of it.
    fn keep<T: Serialize>(&self, value: &T, say: impl Fn(&T) -> String) -> Result<(String, Digest), Fault> {
        let bytes = serde_json::to_vec(value).map_err(|error| broken(error.to_string()))?;
        Ok((say(value), self.store.keep(&bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_found_by_its_name() {
        let single = ["read", "map", "findings", "fixes", "report", "deliverables"].map(str::to_owned);
        for name in single.into_iter().chain(Group::ALL.map(|family| Part::Rules(family).name())) {
            assert_eq!(Part::of(&name).map(Part::name), Some(name));
        }
        assert_eq!(Part::of("rules"), None);
    }
}
