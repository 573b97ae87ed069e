//! Landlock: from here on, this process and all below it reach only some files.

use std::{ffi::OsString, io};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    Scope, path_beneath_rules,
};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// Below this version a file that may not be written could still be emptied.
const LEAST: ABI = ABI::V3;
/// What newer kernels hold besides: device commands, signals and abstract sockets of others.
const BEST: ABI = ABI::V6;

/// Restricts this process. Paths that are not there are left out.
pub(super) fn restrict(readable: &[OsString], writable: &[OsString]) -> Result<(), RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LEAST))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(BEST))?
        .scope(Scope::from_all(BEST))?
        .create()?
        .add_rules(path_beneath_rules(readable, AccessFs::from_read(BEST)))?
        .add_rules(path_beneath_rules(writable, AccessFs::from_all(BEST)))?
        .restrict_self()?;
    Ok(())
}

/// Gives up all that root may do besides being the owner of its files, for this thread and all that it starts.
///
/// Since 6.15, Linux shows the memory of every process, its environment with it, to whoever has `CAP_PERFMON`, and does
/// not ask Landlock (`may_access_mm` in `kernel/fork.c`). A process that is restricted cannot get privileges back when it
/// starts another program.
pub(super) fn drop_capabilities() -> io::Result<()> {
    let none = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
}
