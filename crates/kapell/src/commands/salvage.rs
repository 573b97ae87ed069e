//! What attempts left unfinished: kept, listed by `status`, and shown by `diff --salvaged`.

use kapell_agents::workspace::{Kept, Pool};
use kapell_core::{
    id::{Oid, TaskId},
    run::Run,
    task::TaskState,
};
use kapell_view::{
    status::SalvagedWork,
    text::short,
    untrusted::{Untrusted, visible},
};

use crate::{exit::Exit, fault::Fault, site::Site, wiring::open_own_repo};

/// Lists what is kept of a run, oldest first.
///
/// # Errors
///
/// Fails if it cannot be read.
fn kept(site: &Site, run: &Run) -> Result<Vec<Kept>, Fault> {
    let Some(repo) = open_own_repo(site)? else { return Ok(Vec::new()) };
    let workspaces = site.cache()?.join("workspaces");
    let mut all = match workspaces.is_dir() {
        true => Pool::open(repo.clone(), &workspaces, usize::MAX)?.salvaged(&repo)?,
        false => repo.salvaged()?,
    };
    all.retain(|kept| kept.of.is_some_and(|of| of.run == run.id()));
    Ok(all)
}

/// Tells whether an attempt ended that handed nothing in: only such ones leave something to be kept.
fn may_have_left(run: &Run, task: TaskId) -> bool {
    let attempts = run.task(task).map_or(0, |task| task.attempts);
    let in_hand = match run.state(task) {
        TaskState::Running(_) => 1,
        state => u32::from(matches!(state.name(), "done" | "landed" | "submitted" | "verified")),
    };
    attempts > in_hand
}

/// Lists what is kept of a run, with what shows it.
///
/// # Errors
///
/// Fails if it cannot be read.
pub fn list(site: &Site, run: &Run) -> Result<Vec<SalvagedWork>, Fault> {
    // Git is asked only if there can be something.
    if site.repo.is_none() || !run.plan().graph().tasks().any(|task| may_have_left(run, task)) {
        return Ok(Vec::new());
    }
    let listed = kept(site, run)?.into_iter().filter_map(|kept| {
        let of = kept.of?;
        let name = (of.task.index() < run.len()).then(|| Untrusted::from(run.plan().name(of.task)))?;
        let look = match kept.commit {
            Some(_) => format!("kapell diff {} --task {} --salvaged", short(run.id()), name.shell()),
            None => kept.name,
        };
        Some(SalvagedWork { task: name, attempt: of.attempt.0, bytes: kept.bytes, look })
    });
    Ok(listed.collect())
}

/// Finds what the last attempt at a task that left something had begun at, and what it came to.
///
/// # Errors
///
/// Fails if nothing is kept of the task, or it is kept as plain files.
pub fn of_task(site: &Site, run: &Run, task: TaskId) -> Result<(Oid, Oid), Fault> {
    let name = visible(run.plan().name(task));
    let last = kept(site, run)?.into_iter().rfind(|kept| kept.of.is_some_and(|of| of.task == task));
    match last {
        Some(Kept { commit: Some(commit), base: Some(base), .. }) => Ok((base, commit)),
        Some(kept) => {
            Err(Fault::new("K0709", Exit::Usage, format!("what is kept of `{name}` is in no commit"))
                .hint(format!("its files are in {}", kept.name)))
        }
        None => Err(Fault::new("K0709", Exit::Usage, format!("nothing unfinished is kept of `{name}`"))
            .hint(format!("kapell status {}", short(run.id())))),
    }
}
