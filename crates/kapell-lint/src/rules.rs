//! The rules, one file each. A new one needs a file here, a page in `docs/rules`, cases in `tests/rules`, and its
//! line in [`RULES`].

pub mod await_in_loop;
pub mod call_without_retry;
pub mod call_without_timeout;
pub mod depends_on_without_healthcheck;
pub mod deploy_without_environment;
pub mod deploy_without_rollback;
pub mod hardcoded_agent_selection;
pub mod image_not_deployed;
pub mod port_mismatch;
pub mod secret_given_nowhere;
pub mod shared_state_across_tasks;
pub mod unbounded_fan_out;

use crate::rule::Rule;

/// All rules, by family.
pub static RULES: &[&Rule] = &[
    &await_in_loop::RULE,
    &call_without_retry::RULE,
    &call_without_timeout::RULE,
    &hardcoded_agent_selection::RULE,
    &shared_state_across_tasks::RULE,
    &unbounded_fan_out::RULE,
    &depends_on_without_healthcheck::RULE,
    &port_mismatch::RULE,
    &image_not_deployed::RULE,
    &deploy_without_rollback::RULE,
    &deploy_without_environment::RULE,
    &secret_given_nowhere::RULE,
];

/// Finds a rule by name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.name == name)
}
