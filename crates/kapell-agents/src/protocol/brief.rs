//! What an attempt can read: its brief, section by section.

use std::fmt::Write as _;

/// What an attempt is given to read.
pub type Brief = kapell_engine::port::agents::Brief;

/// Returns what an attempt asks for: all that is essential, or one section.
///
/// # Errors
///
/// Fails, in words for the agent, if there is no such section.
pub(super) fn read(brief: &Brief, section: Option<&str>) -> Result<String, String> {
    let Some(name) = section else {
        let nothing = || "This attempt was given nothing to read.".to_owned();
        return Ok(if brief.text.is_empty() { nothing() } else { brief.text.clone() });
    };
    match brief.sections.iter().find(|(known, _)| known == name) {
        Some((_, text)) => Ok(text.clone()),
        None => {
            let mut why = "there is no such section".to_owned();
            let names =
                brief.sections.iter().take(NAMES_MAX).map(|(name, _)| name.escape_debug().to_string());
            let names: Vec<String> = names.collect();
            if !names.is_empty() {
                // A string takes all that is written to it.
                let _ = write!(why, "; there are {}", names.join(", "));
            }
            Err(why)
        }
    }
}

/// How many sections are named.
const NAMES_MAX: usize = 50;

/// Says to whom a task can be handed on, if not to `to`.
///
/// # Errors
///
/// Fails, in words for the agent, if there is nobody of that name.
pub(super) fn may_hand_to(brief: &Brief, to: Option<&str>) -> Result<(), String> {
    let others = || brief.agents.iter().take(NAMES_MAX).map(|name| name.escape_debug().to_string());
    match to {
        _ if brief.agents.is_empty() => Err("there is nobody else in this plan".to_owned()),
        Some(to) if !brief.agents.iter().any(|name| name == to) => Err(format!(
            "there is no agent of that name; there are {}",
            others().collect::<Vec<_>>().join(", ")
        )),
        _ => Ok(()),
    }
}
