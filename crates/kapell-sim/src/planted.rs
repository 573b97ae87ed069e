//! Bugs put in on purpose, to test the checkers.
//!
//! Those of the decider stand in `kapell-core`, those of the shell in this crate, each under `cfg(kapell_planted)`,
//! which a release build refuses. Build and run with
//! `RUSTFLAGS="--cfg kapell_planted" cargo test -p kapell-sim --target-dir target/planted`.

/// Tells whether the bug is in. Never, unless built for it.
#[cfg(not(kapell_planted))]
pub(crate) const fn is(_bug: &str) -> bool {
    false
}

#[cfg(kapell_planted)]
pub(crate) use kapell_core::planted::is;

/// Every planted bug: its name, and what it does.
#[cfg(kapell_planted)]
pub const PLANTED: &[(&str, &str)] = &[
    // The shell.
    ("ack_before_sync", "a decision is acknowledged before it is synced"),
    ("goes_on_after_torn_record", "after a half-written record more are written behind it"),
    ("failed_append_ignored", "after a failed append the run goes on as if it were written"),
    ("effect_before_append", "effects leave before the append"),
    ("effect_forgotten_on_open", "what is owed besides attempts is forgotten on open"),
    ("started_again_on_open", "an attempt under way is started again on open"),
    ("snapshot_of_another_fold", "a snapshot that another version of the fold wrote is used"),
    ("timer_lost_on_resume", "timers on the run's own clock are not set again on open"),
    ("compensation_redone_on_open", "a compensation with a record of its end is done again"),
    // The state.
    ("chain_not_linked", "a row does not name the hash of the one before"),
    ("version_skipped", "a row has the number after the next"),
    ("replay_forgets_time", "replay does not move the clocks"),
    ("check_forgotten_on_open", "a check is not among what is outstanding"),
    ("compensation_not_tried_again", "a compensation that failed is decided to be tried again, and is not"),
    ("gate_answered_twice", "a second answer to a gate counts"),
    ("answer_undone_after_use", "an answer is taken back that something was built upon"),
    ("late_result_adopted", "the result of a lost attempt is taken for that of the next"),
    // Tasks.
    ("needs_ignored", "a task waits for one need fewer than it has"),
    ("failure_of_a_need_ignored", "a task starts though what it needs failed"),
    ("condition_ignored", "a task starts whatever its condition says"),
    ("promise_not_kept", "a missing output is not noticed"),
    ("result_not_checked", "a result counts without its checks"),
    ("children_not_held", "a child run goes on while its parent is paused"),
    ("hold_of_paused_child_refused", "a run that a person paused is not held by its parent's pause"),
    ("resumed_while_parent_paused", "a person lets a run go on whose parent is paused"),
    ("park_without_bound", "a wrong clock parks for years"),
    ("setbacks_without_bound", "lost and limited attempts are tried again for ever"),
    ("parked_never_woken", "a parked task stays parked"),
    ("retry_without_backoff", "another attempt follows at once"),
    ("failures_not_counted", "a task is tried for ever"),
    ("substitute_loops", "agents take over from each other for ever"),
    ("handed_on_counts_as_done", "work that is handed on counts as done"),
    ("handed_on_work_forgotten", "what was passed on twice is checked in part"),
    ("superseded_task_goes_on", "a superseded task is tried again"),
    ("lost_never_asked", "work that must not be done twice is, without asking"),
    ("skipped_not_settled", "a skipped task does not count as settled"),
    ("finished_too_early", "a run ends with one task open"),
    ("reused_not_landed", "a result that is taken over with what it landed counts as one without a change"),
    ("reused_change_forgotten", "what a result that is taken over had changed is forgotten"),
    // Limits.
    ("reservation_not_returned", "what was set aside is never given back"),
    ("reservation_returned_twice", "what was set aside is given back twice"),
    ("forecast_not_returned", "what an attempt was expected to cost is held for ever"),
    ("budget_not_asked", "attempts start beyond the budget"),
    ("resume_forgets_limits", "new limits are not put in force"),
    ("wall_budget_counts_waiting", "time of waiting for people counts as work"),
    ("rest_of_child_counts", "time goes by while a child run only waits"),
    ("timeout_counts_rest_of_child", "the time limit of a nested workflow counts the rests of its run"),
    ("deadline_ignored", "the run goes on after its deadline"),
    ("deadline_of_a_task_ignored", "a task waits beyond its deadline"),
    ("wall_budget_ignored", "the run goes on after its time budget"),
    ("slots_not_counted", "attempts start beyond the slots"),
    ("memory_not_counted", "agents start beyond the memory"),
    ("slot_leaked_on_stop", "an attempt that is stopped keeps its slot"),
    ("quota_ignored", "attempts start at a provider without quota"),
    ("rest_of_agent_ignored", "attempts start by an agent that rests"),
    // Claims.
    ("claims_not_exclusive", "two attempts hold one claim"),
    ("claim_kept_after_failure", "a claim is kept during backoff"),
    ("claims_of_child_not_held", "a child run claims what its parent does not hold"),
    ("wait_cycle", "two tasks wait for each other's claims"),
    // Landing.
    ("untested_tree_lands", "half of a red batch lands untested"),
    ("wrong_change_blamed", "the change after the bad one is sent back"),
    ("wrong_partner_named", "a clash is said to be with the first change that landed"),
    ("older_probe_answers", "the answer to an older probe is taken"),
    ("cancelled_task_lands", "a task is cancelled while the ref moves to its change"),
    ("failed_merge_forgets_the_one_before", "a merge that does not happen forgets the one before"),
    // Taking back.
    ("compensation_in_start_order", "what was done first is taken back first"),
    ("compensation_skipped", "nothing is taken back"),
    ("landed_work_not_compensated", "what landed is not taken back"),
    ("compensation_change_dropped", "what a compensation changed does not land"),
    (
        "reversal_forgotten_on_open",
        "the move of the ref that takes a change back is not among what is outstanding",
    ),
];

#[cfg(all(test, kapell_planted))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use kapell_core::planted::plant;

    use super::PLANTED;

    /// Within how many seeds each must be caught.
    const SEEDS: u64 = 10_000;

    fn is_caught(seed: u64) -> Option<String> {
        // A contradiction inside the decider may also show as a panic.
        match catch_unwind(AssertUnwindSafe(|| crate::run(seed))) {
            Ok(report) => report.violation.map(|violation| violation.0),
            Err(_) => Some("panic".to_owned()),
        }
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "the seeds are what one wants to know")]
    fn each_is_caught_and_without_them_the_same_seeds_are_clean() {
        std::panic::set_hook(Box::new(|_| {}));
        let mut missed = Vec::new();
        let mut last = 0;
        for (bug, what) in PLANTED {
            plant(Some(bug));
            let caught = (0..SEEDS).find_map(|seed| Some((seed, is_caught(seed)?)));
            plant(None);
            match caught {
                Some((seed, violation)) => {
                    last = last.max(seed);
                    let short: String = violation.chars().take(90).collect();
                    println!("seed {seed:5}  {bug}: {what} -> {short}");
                }
                None => missed.push(*bug),
            }
        }
        drop(std::panic::take_hook());
        assert!(missed.is_empty(), "not caught within {SEEDS} seeds: {missed:?}");
        assert!(PLANTED.len() >= 30);
        for seed in 0..=last {
            assert_eq!(is_caught(seed), None, "seed {seed}, with no bug planted");
        }
    }
}
