//! Commands that are put to a run: to the process that executes it, or straight to the journal if nobody does.

use kapell_core::{
    command::{Command, Rejection},
    event::GateKind,
    id::{GateId, RunId},
    journal::Actor,
    run::Run,
};
use kapell_engine::{
    control,
    host::{Rest, Unobserved},
    open::load,
    port::journal::{Journal, Owner},
};
use kapell_store::Store;
use kapell_view::{next, text::short, untrusted::visible};

use super::Context;
use crate::{
    args::{AnswerArgs, UnfinishedRun},
    exit::Exit,
    fault::Fault,
    reply::{Deed, Did},
    runs,
    site::{self, Site},
    wiring::machine,
};

/// Puts a command to a run, and returns once its decision is durable.
///
/// # Errors
///
/// Fails if the run cannot be reached, or refuses.
pub fn put(site: &Site, store: Store, run: RunId, command: Command) -> Result<(), Fault> {
    match store.owner(run)? {
        Some(owner) => put_to(&owner, run, command),
        None => put_here(site, store, run, command),
    }
}

/// Puts a command to a run through the process that executes it, and returns once its decision is durable.
///
/// # Errors
///
/// As [`put`].
pub fn put_to(owner: &Owner, run: RunId, command: Command) -> Result<(), Fault> {
    let no_socket = || {
        Fault::new("K0504", Exit::Environment, format!("process {} takes no commands for the run", owner.pid))
    };
    let socket = owner.socket.as_ref().ok_or_else(no_socket)?;
    control::send(socket.as_ref(), run, &site::person(), command).map_err(Fault::from)
}

/// Nobody executes the run: its next decision is taken here, and nothing is started.
fn put_here(site: &Site, store: Store, run: RunId, command: Command) -> Result<(), Fault> {
    let mut machine = machine(site, store, 1)?;
    machine.host.open_to_ask(run)?;
    let (sender, receiver) = std::sync::mpsc::channel();
    let reply = Box::new(move |result: Result<(), kapell_engine::Refusal>| {
        let _ = sender.send(result.map_err(|refusal| refusal.to_string()));
    });
    machine.host.put(run, Actor::Person(site::person()), command, Some(reply));
    loop {
        machine
            .host
            .step(std::time::Duration::from_millis(20), &mut Unobserved)
            .map_err(|bug| Fault::new("K0599", Exit::Bug, "kapell contradicts itself").because(bug))?;
        match receiver.try_recv() {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => return Err(Fault::refused(why)),
            Err(_) if machine.host.rest(run) == Rest::Over && machine.host.failure(run).is_some() => {
                return Err(machine.host.failure(run).map_or_else(
                    || Fault::new("K0605", Exit::Store, "the journal cannot be used"),
                    Fault::from,
                ));
            }
            Err(_) => {}
        }
    }
}

/// Lets a run start nothing new. What runs goes on to its end, which is when the pause takes effect.
///
/// # Errors
///
/// Fails if the run cannot be reached, or refuses.
pub fn pause(context: &Context, args: &UnfinishedRun) -> Result<Exit, Fault> {
    let site = context.site()?;
    let store = site.existing_store()?;
    let run = runs::find_unfinished(&store, args.run.as_deref())?.run;
    refuse_over(&store, run)?;
    let goes_on = match store.owner(run)? {
        Some(_) => going_on(&store, run)?,
        None => Vec::new(),
    };
    put(&site, store, run, Command::Pause)?;
    context.out.deed(&Deed::of(Did::Paused, run));
    context.out.note(&match goes_on.as_slice() {
        [] => format!("run {} starts nothing new", short(run)),
        tasks => format!(
            "run {} starts nothing new; it rests when what runs has come to its end: {}",
            short(run),
            tasks.join(", ")
        ),
    });
    Ok(Exit::Done)
}

/// Returns the names of the tasks that attempts work at, cut where there are many.
fn going_on(store: &Store, run: RunId) -> Result<Vec<String>, Fault> {
    let state = load(store, run)?;
    let mut names: Vec<String> =
        state.in_flight().take(NAMED_MAX + 1).map(|task| visible(state.plan().name(task))).collect();
    if names.len() > NAMED_MAX {
        names[NAMED_MAX] = "...".to_owned();
    }
    Ok(names)
}

/// So many tasks are named.
const NAMED_MAX: usize = 10;

/// Ends a run.
///
/// # Errors
///
/// Fails if the run cannot be reached, or refuses.
pub fn cancel(context: &Context, args: &UnfinishedRun) -> Result<Exit, Fault> {
    let site = context.site()?;
    let store = site.existing_store()?;
    let run = runs::find_unfinished(&store, args.run.as_deref())?.run;
    refuse_over(&store, run)?;
    let goes_on = store.owner(run)?.is_some();
    put(&site, store, run, Command::Cancel)?;
    context.out.deed(&Deed::of(Did::Cancelled, run));
    context.out.note(&format!("run {} is being cancelled", short(run)));
    if !goes_on {
        // Only who executes the run can end what it began.
        context.out.next(&format!("kapell resume {}", short(run)));
    }
    Ok(Exit::Done)
}

/// Returns the name of the task whose attempt asked the question of `gate` and can no longer be told.
fn asked_by_the_dead(store: &Store, run: RunId, gate: GateId) -> Result<Option<String>, Fault> {
    let state = load(store, run)?;
    let asked = state.open_gates().any(|(id, open)| id == gate && open.kind == GateKind::Question);
    let task = state.asked_by(gate).filter(|_| asked).map(|(task, _)| visible(state.plan().name(task)));
    Ok(task)
}

/// Makes a decision that a run waits for.
///
/// # Errors
///
/// Fails if there is no such gate, or it does not take the answer.
pub fn answer(context: &Context, args: &AnswerArgs) -> Result<Exit, Fault> {
    let site = context.site()?;
    let store = site.existing_store()?;
    let (name, gate, answer) = match args.words.as_slice() {
        [gate, answer] => (None, gate, answer),
        [run, gate, answer] => (Some(run.as_str()), gate, answer),
        _ => {
            return Err(Fault::new(
                "K0905",
                Exit::Usage,
                "an answer needs the number of a gate, and what is answered",
            )
            .hint("kapell inbox shows both, for example kapell answer 0 yes"));
        }
    };
    let number = gate.trim_start_matches(['g', 'q', '#']).parse().map_err(|_| {
        Fault::new("K0905", Exit::Usage, format!("`{gate}` is not the number of a gate")).hint("kapell inbox")
    })?;
    let run = match name {
        Some(_) => runs::find(&store, name)?.run,
        None => asked_by(&store, GateId(number))?,
    };
    refuse_mistyped(&load(&store, run)?, GateId(number), answer)?;
    let command = Command::Answer { gate: GateId(number), answer: answer.clone(), by: site::person() };
    let goes_on = store.owner(run)?.is_some();
    if !goes_on && let Some(task) = asked_by_the_dead(&store, run, GateId(number))? {
        return Err(Fault::refused(format!("the attempt at {task} that asked ended with its session"))
            .because("what it is told now would reach nobody; the next attempt may ask again")
            .hint(format!("kapell resume {}", short(run))));
    }
    if let Some(above) = runs::called_off(&store, &store.runs()?, run)? {
        return Err(Fault::refused(format!(
            "the run {} that it is part of is cancelled or over",
            short(above)
        ))
        .because("nothing would come of an answer"));
    }
    // A part goes on with the run that it belongs to.
    let goes_on_with = (!goes_on).then(|| runs::outermost(&store, run)).transpose()?;
    put(&site, store, run, command)?;
    context.out.deed(&Deed { gate: Some(number), ..Deed::of(Did::Answered, run) });
    context.out.note("answered");
    if let Some(run) = goes_on_with {
        context.out.next(&format!("kapell resume {}", short(run)));
    }
    Ok(Exit::Done)
}

/// Refuses what cannot be an answer to a gate, whatever the run does meanwhile.
fn refuse_mistyped(run: &Run, id: GateId, answer: &str) -> Result<(), Fault> {
    let mistyped = |why: Rejection| Fault::new("K0503", Exit::Usage, why.to_string());
    let Some((_, gate)) = run.gates().find(|(known, _)| *known == id) else {
        return Err(mistyped(Rejection::UnknownGate(id)).hint("kapell inbox lists what waits for an answer"));
    };
    let is_one = gate.choices.is_empty() || gate.choices.iter().any(|choice| choice == answer);
    if is_one || gate.answer.is_some() || run.outcome().is_some() {
        return Ok(());
    }
    let first = gate.choices.first().map(String::as_str);
    Err(mistyped(Rejection::BadAnswer(gate.choices.clone())).hint(next::answer(run.id(), id, first)))
}

/// Refuses to steer a run that is over: who does so means another one.
fn refuse_over(store: &Store, run: RunId) -> Result<(), Fault> {
    match load(store, run)?.outcome() {
        None => Ok(()),
        Some(_) => Err(Fault::new("K0503", Exit::Usage, format!("run {} is over", short(run)))
            .hint("kapell status says where each run stands")),
    }
}

/// Finds the run that waits for an answer to a gate of this number: an unfinished one, or a part of it.
fn asked_by(store: &Store, gate: GateId) -> Result<RunId, Fault> {
    let has_open = |run: &Run| run.open_gates().any(|(id, _)| id == gate);
    let mut asked = Vec::new();
    for head in runs::unfinished(store)? {
        let run = load(store, head.run)?;
        let parts = runs::parts(store, &run)?;
        let all = std::iter::once(&run).chain(parts.iter().map(|part| &part.run));
        asked.extend(all.filter(|run| has_open(run)).map(Run::id));
    }
    match asked.as_slice() {
        [one] => Ok(*one),
        // The last one says why it does not take the answer.
        [] => runs::find_unfinished(store, None).map(|head| head.run),
        several => {
            let ids: Vec<String> = several.iter().map(|run| short(*run)).collect();
            Err(Fault::new("K0506", Exit::Usage, format!("gate {gate} is open in {} runs", several.len()))
                .because(ids.join(", "))
                .hint("kapell inbox"))
        }
    }
}
