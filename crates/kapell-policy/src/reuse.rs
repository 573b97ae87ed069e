//! What a result depends on, as one key; and which results of an earlier run still hold in a new one.
//!
//! A key names content, never a place in a file, a session or an attempt: how the task is defined, who does it and in
//! which version, the inputs that it really names, what it reads of the commit that the run starts from, and the same
//! of everything it needs. What only says when, how often or how long a task is tried is no part of it.

mod key;
mod offer;

pub use key::{Ground, Key, keys, read_sets};
pub use offer::{Fate, Offer, Past, Source, Terms, Wanted, Why, offer, takeable};
