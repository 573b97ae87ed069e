//! The clock port.

use kapell_core::time::{Millis, Wall};

/// Where the engine reads time.
pub trait Clock: Send + Sync {
    /// Returns the time of day.
    fn wall(&self) -> Wall;

    /// Returns the time since some fixed point, which goes on while the machine is suspended and never goes back.
    fn boot(&self) -> Millis;
}
