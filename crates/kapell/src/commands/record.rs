//! `record` and `replay --agents`: sessions of agents, kept as a cassette and played back at no cost.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use kapell_agents::proxy::{
    Secret, Tape,
    cassette::{Blank, Cassette, Label},
};
use kapell_core::{
    id::{Digest, RunId},
    journal::Version,
    mission::Mission,
    plan::{Plan, Slot},
    run::Phase,
};
use kapell_engine::{
    open::{load, load_at},
    port::journal::Journal,
};
use kapell_store::Store;
use kapell_view::{text::plural, untrusted::visible};

use super::{Context, execute};
use crate::{
    args::{RecordArgs, ReplayArgs},
    containment,
    exit::Exit,
    fault::Fault,
    runs,
    site::Site,
    wiring::{Machine, machine_with},
};

/// Runs a workflow file and keeps what its agents and their models say to each other.
///
/// # Errors
///
/// As `run`, and if nothing of the run could be recorded.
pub fn record(context: &Context, args: &RecordArgs) -> Result<Exit, Fault> {
    if args.run.detach || args.run.plan {
        return Err(Fault::new("K0907", Exit::Usage, "`record` takes neither --detach nor --plan")
            .hint("kapell record FILE"));
    }
    let to = args.to.as_ref().map(|path| context.path(path));
    execute::run_kept(context, &args.run, Some(&Keep { to }))
}

/// Where a recording goes.
pub struct Keep {
    to: Option<PathBuf>,
}

impl Keep {
    /// Returns where the recording of a run goes.
    fn path(&self, site: &Site, run: RunId) -> PathBuf {
        self.to.clone().unwrap_or_else(|| cassette(site, run))
    }

    /// Makes the tape for a run.
    ///
    /// # Errors
    ///
    /// Fails if its file is there already.
    pub fn tape(&self, site: &Site, run: RunId, plan: &Plan) -> Result<Tape, Fault> {
        let path = self.path(site, run);
        if path.exists() {
            let shown = visible(&path.display().to_string());
            return Err(Fault::new("K0916", Exit::Refused, format!("{shown} exists already"))
                .hint("kapell record FILE --to ANOTHER"));
        }
        let label = Label::new(run.to_string(), digest(plan));
        let secrets = site.secrets().into_iter().map(Secret::new).collect();
        Ok(Tape::Record(Blank { path, label, secrets }))
    }

    /// Says which agents will be heard.
    ///
    /// # Errors
    ///
    /// Fails if none will be.
    pub fn announce(&self, context: &Context, machine: &Machine, plan: &Plan) -> Result<(), Fault> {
        let agents = plan.agents().iter().filter(|agent| agent.slot == Slot::Agent);
        let (heard, unheard): (Vec<_>, Vec<_>) =
            agents.partition(|agent| machine.broker.carries(&agent.adapter));
        if heard.is_empty() {
            return Err(Fault::new("K0953", Exit::Refused, "nothing of this run could be recorded")
                .because("none of its agents speaks to its model through the proxy: that needs a key")
                .hint("kapell agents"));
        }
        for agent in unheard {
            let name = visible(&agent.name);
            context.out.note(&format!("agent `{name}` speaks to its provider itself: it is not recorded"));
        }
        Ok(())
    }

    /// Says what was kept.
    pub fn conclude(&self, context: &Context, site: &Site, run: RunId) {
        let path = self.path(site, run);
        let kept = Cassette::read(&path).map_or(0, |cassette| cassette.len() as u64);
        let shown = visible(&path.display().to_string());
        let elsewhere = self.to.as_ref().map(|_| format!(" --cassette {shown}")).unwrap_or_default();
        context.out.note(&format!(
            "{} recorded in {shown}: kapell replay {} --agents{elsewhere} plays them back",
            plural(kept, "exchange"),
            kapell_view::text::short(run)
        ));
    }
}

/// Returns where the recording of a run is kept if nobody says otherwise.
fn cassette(site: &Site, run: RunId) -> PathBuf {
    site.store.join("cassettes").join(format!("{run}.jsonl"))
}

fn digest(plan: &Plan) -> String {
    // What was sealed can be written.
    Digest::of(&serde_json::to_vec(plan).unwrap_or_default()).to_string()
}

/// Does the work of a recorded run once more, in a run of its own, with the recording in the place of all providers.
///
/// # Errors
///
/// Fails if nothing of the run was recorded, or the recording is none or of another plan.
pub fn replay(context: &Context, args: &ReplayArgs) -> Result<Exit, Fault> {
    let mut site = context.site()?;
    containment::grant(&mut site, &args.contain)?;
    let store = site.existing_store()?;
    let head = runs::find(&store, args.run.as_deref())?;
    let path = args.cassette.as_ref().map_or_else(|| cassette(&site, head.run), |path| context.path(path));
    let recording = Arc::new(read(&path, head.run)?);
    // As it began: what was planned anew on the way is planned anew again.
    let old = load_at(&store as &dyn Journal, head.run, Version(1), |_, _, _| {})?;
    if recording.label().plan != digest(old.plan()) {
        return Err(Fault::new("K0952", Exit::Refused, "the recording is of another plan")
            .because(format!("it is of run {}, and not of {}", visible(&recording.label().run), head.run))
            .hint(format!("kapell replay {} --agents", visible(&recording.label().run))));
    }
    let mut mission = old.mission().clone();
    mission.parent = None;
    mission.forked_from = Some((head.run, Version(1)));
    // Neither `run FILE` nor `resume` is to go on with it: they would ask the providers.
    mission.definition = Some(played_of(head.run));
    let plan = old.plan().clone();
    let id = RunId(*uuid::Uuid::now_v7().as_bytes());
    let jobs = mission.limits.jobs as usize;
    let mut machine = machine_with(&site, store, jobs, Tape::Play(recording.clone()))?;
    machine.expect(&plan);
    containment::announce(&machine.keeper, &machine.broker, &plan, context.out)?;
    context.out.note(&format!(
        "run {id} plays back {} of run {}: no provider is asked",
        plural(recording.len() as u64, "exchange"),
        head.run
    ));
    machine.host.create(id, mission, plan)?;
    let exit = execute::finish(context, &mut machine, id, false)?;
    match recording.left() {
        0 => {}
        left => context.out.note(&format!(
            "{} of the recording {} not asked for: this time it went another way",
            plural(left as u64, "exchange"),
            if left == 1 { "was" } else { "were" }
        )),
    }
    Ok(exit)
}

/// Marks a run in which a recording is played: no file has this digest.
fn played_of(recorded: RunId) -> Digest {
    Digest::of(format!("played back: {recorded}").as_bytes())
}

/// Tells whether a run is one in which a recording was played.
pub fn is_played(mission: &Mission) -> bool {
    mission.forked_from.is_some_and(|(recorded, _)| mission.definition == Some(played_of(recorded)))
}

/// Refuses to go on with a run in which a recording was played: what of it was heard is known to nobody any more, and
/// providers are not to be asked for the rest. Playing it once more costs nothing.
///
/// # Errors
///
/// Fails if it is such a run, unless all that is left of it is to be ended.
pub fn refuse_played(store: &Store, run: RunId, mission: &Mission) -> Result<(), Fault> {
    let recorded = match mission.forked_from {
        Some((recorded, _)) if is_played(mission) => recorded,
        _ => return Ok(()),
    };
    if !matches!(load(store, run)?.phase(), Phase::Active | Phase::Paused(_)) {
        return Ok(());
    }
    Err(Fault::new(
        "K0954",
        Exit::Refused,
        format!("run {} plays a recording: it is not gone on with", kapell_view::text::short(run)),
    )
    .because("its agents would ask their providers")
    .hint(format!("kapell replay {} --agents", kapell_view::text::short(recorded))))
}

fn read(path: &Path, run: RunId) -> Result<Cassette, Fault> {
    let shown = visible(&path.display().to_string());
    if !path.exists() {
        return Err(Fault::new(
            "K0950",
            Exit::Usage,
            format!("nothing of run {} was recorded", kapell_view::text::short(run)),
        )
        .because(format!("{shown} is not there"))
        .hint("kapell record FILE"));
    }
    Cassette::read(path).map_err(|error| {
        Fault::new("K0951", Exit::Usage, error.to_string()).at(shown).hint("kapell explain K0951")
    })
}
