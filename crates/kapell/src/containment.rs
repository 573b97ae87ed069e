//! How agents are contained here: who said what, and how it is shown before a run starts.

use std::sync::Arc;

use kapell_agents::{
    contain::{Chosen, Level, Network, Refused, Wish},
    drivers::client::Client,
    world::{Broker, ContainError, Keeper},
};
use kapell_core::plan::{Plan, Slot};

use crate::{args::ContainArgs, exit::Exit, fault::Fault, output::Out, site, site::Site, wiring};

/// Joins what was typed with the user's own settings: what was typed counts.
///
/// # Errors
///
/// Fails if level 0 is wanted and was not accepted.
pub fn grant(site: &mut Site, args: &ContainArgs) -> Result<(), Fault> {
    let granted = site.config.granted.clone();
    let network = args.network.clone().or(granted.network);
    let granted = Wish { level: args.sandbox.or(granted.level), network };
    if granted.level == Some(Level::Nothing) && !args.i_accept_level_0 {
        return Err(fault(&Refused::LevelZero.into()));
    }
    site.config.granted = granted;
    Ok(())
}

/// Makes the keeper of this place. Nothing is tried before an agent needs it.
///
/// # Errors
///
/// Fails if there is no directory for trials.
pub fn keeper(site: &Site) -> Result<Arc<Keeper>, Fault> {
    let (granted, asked) = (site.config.granted.clone(), site.config.asked.clone());
    let scratch = site.cache()?.join("scratch");
    let keeper = Keeper::new(&wiring::program(), site::search_path(), scratch, granted, asked);
    Ok(Arc::new(keeper.checking(site.config.checks.clone())))
}

/// Says before a run how its agents are contained; nothing if it has none that are.
///
/// # Errors
///
/// Fails if an agent cannot be contained as it should be.
pub fn announce(keeper: &Keeper, broker: &Broker, plan: &Plan, out: Out) -> Result<(), Fault> {
    let mut said: Vec<String> = Vec::new();
    for agent in plan.agents() {
        let is_carried = broker.carries(&agent.adapter);
        let chosen = keeper.choose(agent, is_carried).map_err(|error| {
            let mut fault = fault(&error);
            fault.message = format!("agent `{}`: {}", agent.name, fault.message);
            fault
        })?;
        let Some(chosen) = chosen else { continue };
        if Client::of(&agent.adapter).is_some() && chosen.network == Network::Nothing {
            let message = format!("agent `{}` cannot reach its model with the network `none`", agent.name);
            return Err(Fault::new("K0811", Exit::Refused, message)
                .hint("choose `network: model-only`, which lets nothing through but its model"));
        }
        let line = format!(
            "agents run at level {} ({}), network {}",
            chosen.level,
            chosen.level.about(),
            chosen.network
        );
        let line = match (agent.slot == Slot::Agent, is_carried) {
            (true, true) => format!("{line}; key held by the model proxy, budgets hold"),
            (true, false) => {
                let is_model = matches!(Client::of(&agent.adapter), Some(Client::Model(_)));
                let what = match broker.hands_out_key(&agent.adapter) {
                    true => "it holds your key",
                    false if is_model => "no key",
                    false => "own login",
                };
                format!("{line}; {what}, no proxy: budgets hold but for requests under way")
            }
            (false, _) => line,
        };
        if !said.contains(&line) {
            out.note(&line);
            said.push(line);
        }
    }
    if plan.definitions().iter().any(|task| !task.accept.is_empty() || !task.prepare.is_empty())
        && let Some(Chosen { level, network }) = keeper.choose_check().map_err(|error| fault(&error))?
    {
        out.note(&format!("checks run at level {level} ({}), network {network}", level.about()));
    }
    Ok(())
}

fn fault(error: &ContainError) -> Fault {
    let exit = match error {
        ContainError::Setting(_) => Exit::Usage,
        ContainError::Refused(Refused::LevelNotFound { .. }) => Exit::Environment,
        ContainError::Refused(_) => Exit::Refused,
    };
    Fault::new(error.code(), exit, error.to_string()).hint(error.hint())
}
