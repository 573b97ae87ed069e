//! Taking locks.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock, also one that somebody held who panicked.
///
/// What the locks of this crate guard is whole between any two statements, for each is held for one push, one take or one
/// look: so nobody who comes later sees half a change, and one attempt that panics does not take all others with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
