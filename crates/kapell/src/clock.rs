//! The machine's clocks.

use kapell_core::time::{Millis, Wall};
use kapell_engine::port::clock::Clock;

/// Time of day, and time since boot, which goes on while the machine is suspended.
#[derive(Debug, Clone, Copy)]
pub struct MachineClock;

impl Clock for MachineClock {
    fn wall(&self) -> Wall {
        Wall(jiff::Timestamp::now().as_millisecond())
    }

    fn boot(&self) -> Millis {
        #[cfg(target_os = "linux")]
        let id = rustix::time::ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let id = rustix::time::ClockId::Monotonic;
        let now = rustix::time::clock_gettime(id);
        let whole = u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(1000);
        Millis(whole + u64::try_from(now.tv_nsec / 1_000_000).unwrap_or(0))
    }
}
