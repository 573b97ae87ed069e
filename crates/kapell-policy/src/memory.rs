//! How many agents fit into memory: what each needs against what is free.

/// What an attempt of an adapter needs, in MiB, if nobody says otherwise.
///
/// Twice the peak that was measured of each client at a turn that says only `hi`, for what it runs (compilers, tests)
/// needs memory as well: codex 0.169 146 MB, Claude Code 2.1.329 213 MB, Gemini CLI 0.61 256 MB, opencode 1.18 670 MB.
/// Whoever builds large things sets `memory` of the agent.
#[must_use]
pub fn need_mib(adapter: &str) -> u32 {
    match adapter {
        "codex" => 300,
        "claude-code" => 430,
        "gemini" => 520,
        "opencode" | "opencode-run" | "acp-opencode" => 1340,
        "person" | "noop" => 0,
        // A client that speaks the Agent Client Protocol is one of the above, or like them.
        "acp" => 520,
        _ => 64,
    }
}

/// What is known of memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// What the machine has.
    pub total: u64,
    /// What could be taken without anything being put out to disk (Linux: `MemAvailable`).
    pub available: u64,
    /// The limit of the control group and what is in use of it, if there is a limit. Of nested groups, the one with the
    /// least left.
    pub group: Option<(u64, u64)>,
}

/// What is left to kapell and everything else: a tenth of what is free, and no less than this, in bytes.
const RESERVE_MIN: u64 = 256 << 20;

impl Memory {
    /// Returns what is free, in bytes: what the machine has, or what is left of the control group.
    #[must_use]
    pub fn free(&self) -> u64 {
        let left = self.group.map(|(limit, used)| limit.saturating_sub(used));
        left.map_or(self.available, |left| left.min(self.available))
    }

    /// Returns what attempts of agents may take together, in MiB; at least 1, so that the limit is one.
    #[must_use]
    pub fn for_agents(&self) -> u32 {
        let free = self.free();
        let left = free.saturating_sub((free / 10).max(RESERVE_MIN));
        u32::try_from(left >> 20).unwrap_or(u32::MAX).max(1)
    }
}

/// Reads `/proc/meminfo`.
#[must_use]
pub fn meminfo(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib.saturating_mul(1024))
    };
    Some(Memory { total: field("MemTotal:")?, available: field("MemAvailable:")?, group: None })
}

/// Returns how many attempts of `need_mib` fit; one always may run.
#[must_use]
pub fn fitting(memory_mib: u32, need_mib: u32) -> u32 {
    memory_mib.checked_div(need_mib).map_or(u32::MAX, |count| count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrower_of_machine_and_group_counts() {
        let text = "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:   10485760 kB\n";
        let memory = meminfo(text).unwrap();
        assert_eq!(memory.free(), 10 << 30);
        assert_eq!(memory.for_agents(), 9216);
        let grouped = Memory { group: Some((4 << 30, 3 << 30)), ..memory };
        assert_eq!((grouped.free(), grouped.for_agents()), (1 << 30, 768));
        let full = Memory { group: Some((1 << 30, 2 << 30)), ..memory };
        assert_eq!((full.free(), full.for_agents()), (0, 1));
        assert_eq!(meminfo("MemTotal: x"), None);
    }

    #[test]
    fn one_may_always_run() {
        assert_eq!([fitting(1000, 300), fitting(100, 300), fitting(100, 0)], [3, 1, u32::MAX]);
    }
}
