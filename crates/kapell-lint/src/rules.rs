//! The rules, one file each. A new one needs a file here, a page in `docs/rules`, cases in `tests/rules`, and its
//! line in [`RULES`].

mod agent_not_loaded;
mod agent_overlap;
mod aggregator_always_green;
mod aggregator_incomplete;
mod argument_not_read;
mod artifact_name_clash;
mod artifact_never_consumed;
mod artifact_never_produced;
mod asserted_result;
mod await_in_loop;
mod blocking_call_in_async;
mod broken_frontmatter;
mod cache_after_install;
mod cache_clobbered;
mod cache_key_without_lock;
mod cache_missing;
mod cache_no_restore_keys;
mod call_without_retry;
mod call_without_timeout;
mod cancel_on_mutating;
mod check_fails_open;
mod command_overlap;
mod context_refetched;
mod copies_collide;
mod decided; // what a model's answer decides, which several rules ask
mod delegation_cycle;
mod delegation_depth;
mod deliveries_clash;
mod delivers_from_pull_request;
mod delivery_beside_tests;
mod depends_on_without_healthcheck;
mod deploy_without_environment;
mod deploy_without_rollback;
mod double_trigger;
mod duplicate_step;
mod duplicate_work;
mod env_never_set;
mod env_of_another_job;
mod escaped_fence;
mod event_property_missing;
mod full_clone;
mod gate_gates_nothing;
mod gate_hook_fails_open;
mod hardcoded_agent_selection;
mod hook_fan_out;
mod hook_output_unread;
mod hook_text; // what hooks run, which several rules read
mod hook_timeout_unit;
mod hooks_edit_one_file;
mod ignored_in_plugin;
mod image_not_deployed;
mod input_before_output;
mod input_never_read;
mod interrupt_without_checkpointer;
mod key_never_set;
mod loop_without_end;
mod lost_continuation;
mod lost_result;
mod masked_check;
mod masked_failure;
mod matrix_axis_unread;
mod matrix_extract;
mod matrix_value_never;
mod missing_parallel_directive;
mod missing_reference;
mod missing_target;
mod mutating_no_concurrency;
mod name_mismatch;
mod names; // words of names, which several rules read
mod needs_without_data;
mod no_concurrency;
mod no_plan_list;
mod no_rollback;
mod no_timeout;
mod output_never_set;
mod over_privileged;
mod parallel_needs_output;
mod phase_without_consumer;
mod plan_not_applied;
mod polling_instead_of_needs;
mod port_mismatch;
mod rebuild_instead_of_artifact;
mod repair_gated_on_success;
mod repeat_without_goal;
mod repeated_setup;
mod replica_conflict;
mod restore_keys_unmatched;
mod result_in_template;
mod reusable_extract;
mod secret_given_nowhere;
mod sequential_calls;
mod sequential_independent;
mod sequential_steps;
mod session_end_cut_short;
mod setup_out_of_order;
mod shallow_history;
mod shared_concurrency_group;
mod shared_state_across_tasks;
mod single_value_matrix;
mod skip_propagation;
mod status_unseen;
mod stop_hook_loop;
mod stop_signal_lost;
mod tool_gap;
mod trigger_path_asymmetry;
mod unbounded_fan_out;
mod undefined_agent;
mod undefined_command;
mod unevaluated_expression;
mod unknown_key;
pub(crate) mod unknown_workflow_run;
mod unreachable_agent;
mod unreadable_file;
mod unsatisfiable_if;
mod unused_setup;
mod version_as_number;
mod wasted_trigger;
mod workflow_cycle;
mod workflow_run_unchecked;
mod wrong_commit;

use crate::rule::Rule;

/// All rules, by family.
pub static RULES: &[&Rule] = &[
    &await_in_loop::RULE,
    &sequential_calls::RULE,
    &call_without_retry::RULE,
    &call_without_timeout::RULE,
    &hardcoded_agent_selection::RULE,
    &shared_state_across_tasks::RULE,
    &unbounded_fan_out::RULE,
    &loop_without_end::RULE,
    &lost_result::RULE,
    &key_never_set::RULE,
    &check_fails_open::RULE,
    &interrupt_without_checkpointer::RULE,
    &blocking_call_in_async::RULE,
    &depends_on_without_healthcheck::RULE,
    &port_mismatch::RULE,
    &image_not_deployed::RULE,
    &deploy_without_rollback::RULE,
    &deploy_without_environment::RULE,
    &secret_given_nowhere::RULE,
    &missing_target::RULE,
    &copies_collide::RULE,
    &replica_conflict::RULE,
    &stop_signal_lost::RULE,
    &needs_without_data::RULE,
    &polling_instead_of_needs::RULE,
    &sequential_steps::RULE,
    &skip_propagation::RULE,
    &unsatisfiable_if::RULE,
    &unevaluated_expression::RULE,
    &matrix_value_never::RULE,
    &version_as_number::RULE,
    &wasted_trigger::RULE,
    &unknown_workflow_run::RULE,
    &workflow_cycle::RULE,
    &artifact_never_produced::RULE,
    &artifact_never_consumed::RULE,
    &artifact_name_clash::RULE,
    &rebuild_instead_of_artifact::RULE,
    &output_never_set::RULE,
    &env_of_another_job::RULE,
    &env_never_set::RULE,
    &event_property_missing::RULE,
    &lost_continuation::RULE,
    &shallow_history::RULE,
    &wrong_commit::RULE,
    &input_never_read::RULE,
    &aggregator_always_green::RULE,
    &aggregator_incomplete::RULE,
    &gate_gates_nothing::RULE,
    &workflow_run_unchecked::RULE,
    &plan_not_applied::RULE,
    &delivery_beside_tests::RULE,
    &delivers_from_pull_request::RULE,
    &repair_gated_on_success::RULE,
    &masked_failure::RULE,
    &status_unseen::RULE,
    &asserted_result::RULE,
    &cache_missing::RULE,
    &cache_after_install::RULE,
    &cache_clobbered::RULE,
    &setup_out_of_order::RULE,
    &cache_no_restore_keys::RULE,
    &restore_keys_unmatched::RULE,
    &cache_key_without_lock::RULE,
    &duplicate_work::RULE,
    &double_trigger::RULE,
    &trigger_path_asymmetry::RULE,
    &full_clone::RULE,
    &duplicate_step::RULE,
    &unused_setup::RULE,
    &single_value_matrix::RULE,
    &matrix_axis_unread::RULE,
    &no_timeout::RULE,
    &no_concurrency::RULE,
    &mutating_no_concurrency::RULE,
    &cancel_on_mutating::RULE,
    &shared_concurrency_group::RULE,
    &deliveries_clash::RULE,
    &no_rollback::RULE,
    &reusable_extract::RULE,
    &repeated_setup::RULE,
    &matrix_extract::RULE,
    &agent_not_loaded::RULE,
    &agent_overlap::RULE,
    &argument_not_read::RULE,
    &broken_frontmatter::RULE,
    &command_overlap::RULE,
    &context_refetched::RULE,
    &delegation_cycle::RULE,
    &delegation_depth::RULE,
    &escaped_fence::RULE,
    &gate_hook_fails_open::RULE,
    &hook_fan_out::RULE,
    &hook_timeout_unit::RULE,
    &hook_output_unread::RULE,
    &hooks_edit_one_file::RULE,
    &ignored_in_plugin::RULE,
    &session_end_cut_short::RULE,
    &stop_hook_loop::RULE,
    &masked_check::RULE,
    &repeat_without_goal::RULE,
    &result_in_template::RULE,
    &missing_parallel_directive::RULE,
    &missing_reference::RULE,
    &name_mismatch::RULE,
    &no_plan_list::RULE,
    &over_privileged::RULE,
    &parallel_needs_output::RULE,
    &phase_without_consumer::RULE,
    &input_before_output::RULE,
    &sequential_independent::RULE,
    &tool_gap::RULE,
    &undefined_agent::RULE,
    &undefined_command::RULE,
    &unreachable_agent::RULE,
    &unreadable_file::RULE,
    &unknown_key::RULE,
];

/// Rules that look at each agent, command and skill by itself, at each workflow with those that it calls or that call it,
/// and at the local actions: what they find in a file stays what it is whatever becomes of the others. Some read scripts that
/// steps run, too, which no fix edits. One that is missing here is only asked more often.
static EACH_ALONE: &[&Rule] = &[
    &needs_without_data::RULE,
    &sequential_steps::RULE,
    &skip_propagation::RULE,
    &unevaluated_expression::RULE,
    &matrix_value_never::RULE,
    &version_as_number::RULE,
    &artifact_name_clash::RULE,
    &rebuild_instead_of_artifact::RULE,
    &output_never_set::RULE,
    &env_of_another_job::RULE,
    &env_never_set::RULE,
    &event_property_missing::RULE,
    &lost_continuation::RULE,
    &input_never_read::RULE,
    &aggregator_always_green::RULE,
    &gate_gates_nothing::RULE,
    &workflow_run_unchecked::RULE,
    &plan_not_applied::RULE,
    &delivers_from_pull_request::RULE,
    &asserted_result::RULE,
    &cache_missing::RULE,
    &cache_after_install::RULE,
    &cache_clobbered::RULE,
    &setup_out_of_order::RULE,
    &cache_key_without_lock::RULE,
    &full_clone::RULE,
    &duplicate_step::RULE,
    &unused_setup::RULE,
    &single_value_matrix::RULE,
    &matrix_axis_unread::RULE,
    &mutating_no_concurrency::RULE,
    &cancel_on_mutating::RULE,
    &matrix_extract::RULE,
    &escaped_fence::RULE,
    &repeat_without_goal::RULE,
    &sequential_independent::RULE,
    &shallow_history::RULE,
    &wrong_commit::RULE,
    &masked_check::RULE,
    &cache_no_restore_keys::RULE,
    &unknown_key::RULE,
];

/// Tells whether a rule looks at each file by itself, and at each workflow with those that it is
/// [joined](crate::github::Github::joined) with by calls: among [such files](crate::repository::Repository::only) it finds
/// what it finds in them among all, unless durations were recorded, which may be those of any workflow.
#[must_use]
pub fn looks_at_each_alone(rule: &Rule) -> bool {
    EACH_ALONE.iter().any(|alone| std::ptr::eq(*alone, rule))
}

/// Rules that judge an agent, a command or a skill by its text and those of the agents that it names.
static WITH_NAMED: &[&Rule] = &[
    &missing_parallel_directive::RULE,
    &parallel_needs_output::RULE,
    &context_refetched::RULE,
    &result_in_template::RULE,
];

/// Tells whether what a rule finds in an agent, a command or a skill hangs on nothing but its text and those of the agents
/// that it names: where it is [asked](crate::repository::Repository::asked) about some only, it finds in them what it
/// finds among all.
#[must_use]
pub fn looks_at_named(rule: &Rule) -> bool {
    WITH_NAMED.iter().any(|named| std::ptr::eq(*named, rule))
}

/// Rules that judge a workflow by itself and by those that it is joined with by calls, and look among all for nothing but
/// what excuses it.
static WITH_CALLED: &[&Rule] = &[
    &masked_failure::RULE,
    &unsatisfiable_if::RULE,
    &repair_gated_on_success::RULE,
    &delivery_beside_tests::RULE,
    &status_unseen::RULE,
    &polling_instead_of_needs::RULE,
    &missing_target::RULE,
    &secret_given_nowhere::RULE,
    &deploy_without_environment::RULE,
    &wasted_trigger::RULE,
];

/// Tells whether what a rule finds in a workflow hangs on nothing that a fix of another changes, unless the two are
/// [joined](crate::github::Github::joined) by calls: where it is [asked](crate::repository::Repository::asked_flows) about some
/// only, it finds in them what it finds among all.
#[must_use]
pub fn looks_at_called(rule: &Rule) -> bool {
    WITH_CALLED.iter().any(|called| std::ptr::eq(*called, rule))
}

/// Rules whose findings are advice: none of them [warns](kapell_view::audit::Finding::warns).
static ADVISING: &[&Rule] = &[
    &full_clone::RULE,
    &single_value_matrix::RULE,
    &matrix_extract::RULE,
    &reusable_extract::RULE,
    &repeated_setup::RULE,
    &no_plan_list::RULE,
    &unknown_key::RULE,
];

/// Tells whether nothing that a rule finds is a warning, so that no fix can bring or leave one of its.
#[must_use]
pub fn only_advises(rule: &Rule) -> bool {
    ADVISING.iter().any(|advising| std::ptr::eq(*advising, rule))
}

/// Finds a rule by name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.name == name)
}
