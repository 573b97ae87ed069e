//! How much memory agents may take together here, and how that is shown before a run starts.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use kapell_core::{
    budget::Limits,
    plan::{Plan, Slot, Work},
};
use kapell_policy::memory::{Memory, fitting, meminfo};
use kapell_view::untrusted::visible;

use crate::{output::Out, site::Site};

/// Where control groups are.
const GROUPS: &str = "/sys/fs/cgroup";

/// Returns what is known of memory here; nothing where the system does not say.
pub fn read() -> Option<Memory> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let group = own_group().and_then(|dir| tightest(&dir, Path::new(GROUPS)));
    meminfo(&text).map(|memory| Memory { group, ..memory })
}

/// Returns the directory of the control group of version 2 that this process is in.
fn own_group() -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(Path::new(GROUPS).join(path.trim_start_matches('/')))
}

/// Finds the limit with the least left, of a group and those that it is in.
fn tightest(dir: &Path, top: &Path) -> Option<(u64, u64)> {
    let number = |dir: &Path, name: &str| fs::read_to_string(dir.join(name)).ok()?.trim().parse::<u64>().ok();
    let groups = dir.ancestors().take_while(|dir| dir.starts_with(top));
    let limits = groups.filter_map(|dir| Some((number(dir, "memory.max")?, number(dir, "memory.current")?)));
    limits.min_by_key(|(limit, used)| limit.saturating_sub(*used))
}

/// Returns what agents may take together, in MiB: what the settings say, or what is free less a reserve.
pub fn for_agents(site: &Site) -> Option<u32> {
    site.config.memory_mib.or_else(|| read().map(|memory| memory.for_agents()))
}

/// Says before a run how many of its agents fit into memory; nothing if it has none that are driven by a model.
pub fn announce(limits: &Limits, plan: &Plan, out: Out) {
    if let Some(line) = told(limits, plan) {
        out.note(&line);
    }
}

fn told(limits: &Limits, plan: &Plan) -> Option<String> {
    let memory = limits.memory_mib?;
    let mut agents = BTreeSet::new();
    collect(plan, &mut agents);
    let needs: Vec<String> =
        agents.iter().map(|(mib, name)| format!("{} {mib} MiB", visible(name))).collect();
    let (largest, _) = agents.last()?;
    let fit = fitting(memory, *largest);
    let what = match fit < limits.agents {
        true => format!("{fit} of {} agent slots: memory is what limits", limits.agents),
        false => format!("{} agent slots", limits.agents),
    };
    Some(format!("{what} ({memory} MiB for agents; {})", needs.join(", ")))
}

/// Collects what the agents of a plan need that tasks use, at any depth.
fn collect(plan: &Plan, agents: &mut BTreeSet<(u32, String)>) {
    let listed = plan.agents().iter().filter(|agent| agent.slot == Slot::Agent && agent.memory_mib > 0);
    agents.extend(listed.map(|agent| (agent.memory_mib, agent.name.clone())));
    for definition in plan.definitions() {
        if let Work::Workflow(child) = &definition.work {
            collect(&child.plan, agents);
        }
    }
}

#[cfg(test)]
mod tests {
    use kapell_core::plan::{AgentSpec, PlanBuilder, PlanLimits};

    use super::*;

    #[test]
    fn the_tightest_of_nested_groups_counts() {
        let top = tempfile::tempdir().unwrap();
        let group = top.path().join("user/session");
        fs::create_dir_all(&group).unwrap();
        for (dir, limit, used) in [("user", "1000", "900"), ("user/session", "max", "800")] {
            fs::write(top.path().join(dir).join("memory.max"), format!("{limit}\n")).unwrap();
            fs::write(top.path().join(dir).join("memory.current"), format!("{used}\n")).unwrap();
        }
        assert_eq!(tightest(&group, top.path()), Some((1000, 900)));
        fs::write(group.join("memory.max"), "850").unwrap();
        assert_eq!(tightest(&group, top.path()), Some((850, 800)));
        assert_eq!(tightest(Path::new("/elsewhere"), top.path()), None);
    }

    #[test]
    fn the_header_says_what_limits() {
        let mut builder = PlanBuilder::new();
        for (name, memory_mib) in [("small", 100), ("large", 400)] {
            let (name, slot) = (name.to_owned(), Slot::Agent);
            builder.agent(AgentSpec { name, slot, memory_mib, ..AgentSpec::default() });
        }
        let plan = builder.seal(PlanLimits::default()).unwrap();
        let told = |agents, memory_mib| told(&Limits { agents, memory_mib, ..Limits::default() }, &plan);
        assert_eq!(
            told(4, Some(900)).unwrap(),
            "2 of 4 agent slots: memory is what limits (900 MiB for agents; small 100 MiB, large 400 MiB)"
        );
        assert!(told(2, Some(900)).unwrap().starts_with("2 agent slots (900"));
        assert_eq!(told(2, None), None);
    }
}
