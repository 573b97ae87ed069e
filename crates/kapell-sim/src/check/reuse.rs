//! What another run could take over of this one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kapell_core::{
    command::Command, event::PlanRef, id::RunId, journal::Actor, mission::Mission, plan::Work, run::Run,
    task::TaskState, time::Now,
};
use kapell_policy::reuse::{Fate, Ground, Source, Terms, Wanted, keys, offer};

use super::{Checked, Checker, Violation, ensure};

impl Checker {
    /// A run of the same plan takes over what was a success and still stands, each result once, and nothing whose needs it
    /// does not; and it can be made.
    pub(crate) fn offers(&self, run: &Run) -> Checked {
        let (plan, mission) = (run.plan(), run.mission());
        let keys = keys(&Ground { plan, mission, tree: mission.base, reads: &BTreeMap::new() });
        let source = Source { run, past: &self.past, keys: &keys };
        for terms in [Terms::Fork, Terms::Run] {
            let offer = offer(&source, &Wanted { plan, mission, keys: &keys }, terms, &|_, _| true);
            let mut taken = BTreeSet::new();
            for task in plan.graph().tasks() {
                let Some(old) = offer.fates[task.index()].taken() else { continue };
                let (stand, definition) = (self.at(old).stand, plan.definition(old));
                ensure!(taken.insert(old), "the result of {old} is taken over twice");
                ensure!(stand.is_success(), "{old} is taken over, but it is {stand:?}");
                let unasked = terms == Terms::Fork
                    || definition.compensate.is_none() && !matches!(definition.work, Work::Gate(_));
                ensure!(unasked, "{old} is taken over, though nobody named the run");
                let open = plan
                    .graph()
                    .needs(task)
                    .iter()
                    .find(|need| matches!(offer.fates[need.index()], Fate::Runs(..)));
                ensure!(open.is_none(), "{task} is taken over, but {open:?}, which it needs, is not");
            }
            let late = self.landed.iter().skip_while(|task| taken.contains(task));
            let late: Vec<_> = late.filter(|task| taken.contains(task)).collect();
            ensure!(late.is_empty(), "{late:?} landed after what is done again");
            self.made(run, offer.commands(run, run.version()))?;
        }
        Ok(())
    }

    fn made(&self, old: &Run, first: Vec<Command>) -> Checked {
        let mission =
            Box::new(Mission { forked_from: Some((old.id(), old.version())), ..old.mission().clone() });
        let plan = PlanRef::Inline(Arc::clone(old.plan()));
        let taken = first.len();
        let mut run = Run::new(RunId([0xfe; 16]));
        let commands = std::iter::once(Command::Create { mission, plan }).chain(first);
        let batch = run
            .record(commands.map(|command| (Actor::Engine, command)), Now::default())
            .map_err(|error| Violation(format!("a run that takes results over: {error}")))?;
        let refused = batch.replies.iter().find_map(|reply| reply.as_ref().err());
        ensure!(refused.is_none(), "what is taken over is refused: {refused:?}");
        let told: u32 = run.taken_over().map(|(_, results)| results).sum();
        ensure!(told as usize == taken, "{told} results are told, but {taken} were taken over");
        let done = |task| matches!(run.state(task), TaskState::Done | TaskState::Landed { .. });
        let done = run.plan().graph().tasks().filter(|task| done(*task)).count();
        ensure!(done == taken, "{done} tasks are done, but {taken} results were taken over");
        Ok(())
    }
}
