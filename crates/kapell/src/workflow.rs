//! Reading what to run: a workflow file, compiled to a mission and a plan.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use kapell_core::{budget::Limits, id::Digest, mission::Mission, plan::Plan};

use crate::{args::RunArgs, exit::Exit, fault::Fault, output::Out, site::Site};

/// A mission with the plan for it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is asked.
    pub mission: Mission,
    /// How it is done.
    pub plan: Arc<Plan>,
}

/// What a person sets besides the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// How many agents work at the same time.
    pub agents: Option<u32>,
    /// How many commands run at the same time.
    pub jobs: Option<u32>,
    /// Values for `inputs`.
    pub inputs: BTreeMap<String, String>,
}

impl Overrides {
    /// Takes them from the command line of `run`.
    ///
    /// # Errors
    ///
    /// Fails on a `--set` that is not NAME=VALUE.
    pub fn of(args: &RunArgs) -> Result<Self, Fault> {
        Ok(Self { agents: args.agents, jobs: args.jobs, inputs: inputs(&args.set)? })
    }
}

/// Reads NAME=VALUE pairs.
///
/// # Errors
///
/// Fails on one without `=`.
pub fn inputs(set: &[String]) -> Result<BTreeMap<String, String>, Fault> {
    set.iter()
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                Fault::new("K0903", Exit::Usage, format!("`--set {pair}` is not NAME=VALUE"))
                    .hint("for example: --set version=1.2")
            })?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// Returns how many commands run at the same time if nobody says: one for each core.
pub fn default_jobs() -> u32 {
    std::thread::available_parallelism().map_or(2, |cores| u32::try_from(cores.get()).unwrap_or(2))
}

/// Reads a workflow file. Findings are printed; errors among them end the command.
///
/// # Errors
///
/// Fails if the file cannot be read or is not as it should be.
pub fn load(site: &Site, file: &Path, overrides: &Overrides, out: Out) -> Result<Loaded, Fault> {
    let text = std::fs::read(file).map_err(|error| Fault::io(file, &error))?;
    let _ = (site, out);
    #[derive(serde::Deserialize)]
    struct Compiled {
        objective: String,
        #[serde(default)]
        accept: Vec<String>,
        plan: Plan,
    }
    let compiled: Compiled = serde_json::from_slice(&text)
        .map_err(|error| Fault::new("K0200", Exit::Usage, "the file cannot be read").because(error))?;
    let jobs = overrides.jobs.unwrap_or_else(default_jobs);
    let limits = Limits { agents: overrides.agents.unwrap_or(4), jobs, ..Limits::default() };
    let definition = Digest::of(&text);
    let mission = Mission {
        objective: compiled.objective,
        accept: compiled.accept,
        limits,
        definition: Some(definition),
        source: Some(file.display().to_string()),
        inputs: overrides.inputs.clone(),
        ..Mission::default()
    };
    Ok(Loaded { mission, plan: Arc::new(compiled.plan) })
}
