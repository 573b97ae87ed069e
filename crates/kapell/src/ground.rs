//! What tasks stand on: a clone of what is committed, or the directory itself. Said before anything starts.

use kapell_core::mission::Mission;
use kapell_view::{text::plural, untrusted::visible};

use crate::{exit::Exit, fault::Fault, output::Out, site::Site, wiring::Machine};

/// So many files are named that are not committed.
const NAMED_MAX: usize = 5;

/// Says that there is no repository here, and so no clone, no landing and no way back.
///
/// # Errors
///
/// Fails if the file asks for something that only a repository gives.
pub fn outside(site: &Site, mission: &Mission, out: Out) -> Result<(), Fault> {
    if site.repo.is_some() {
        return Ok(());
    }
    let asked = match (mission.accept.is_empty(), &mission.target) {
        (false, _) => Some("`accept` of the file is for what lands"),
        (true, Some(_)) => Some("`target` is a branch"),
        (true, None) => None,
    };
    if let Some(why) = asked {
        let fault = Fault::new("K0703", Exit::Usage, "there is no git repository here, and nothing can land");
        return Err(fault
            .because(why)
            .hint("git init, and a first commit; or leave that key out of the file"));
    }
    if !out.json {
        out.note(
            "no git repository here: tasks work in this directory itself, and nothing takes back what they change",
        );
    }
    Ok(())
}

/// Names the files that tasks do not see, for they are not committed; the workflow file itself counts for nothing.
pub fn announce(site: &Site, machine: &Machine, mission: &Mission, out: Out) {
    let Some((repo, repository)) = site.repo.as_ref().zip(machine.repository.as_ref()) else { return };
    // A run that starts from another branch has nothing to do with this working tree.
    let Some(base) = mission.base.filter(|base| repo.head_commit().is_ok_and(|head| head == *base)) else {
        return;
    };
    // That git cannot say it in time is no reason not to start.
    let Ok(mut files) = repository.own_repo().uncommitted(repo, base) else { return };
    files.retain(|file| Some(file) != mission.source.as_ref());
    if files.is_empty() || out.json {
        return;
    }
    let names: Vec<String> = files.iter().take(NAMED_MAX).map(|file| visible(file)).collect();
    let more = match files.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let verb = if files.len() == 1 { "is" } else { "are" };
    out.note(&format!(
        "{} here {verb} not committed, so tasks do not see what is new: {}{more}",
        plural(files.len() as u64, "file"),
        names.join(", ")
    ));
}
