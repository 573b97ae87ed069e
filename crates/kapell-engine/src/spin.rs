//! Looking for news for a moment before sleeping.
//!
//! Waking a thread that sleeps takes as long as a fast disk takes to sync, so a chain of threads that hand work to each
//! other goes faster if each looks for it a little longer. That holds while the processors have nothing better to do. A
//! thread that yields on a crowded processor is let in again when the others there are done, though another processor may
//! be idle, while one that sleeps is woken where there is room. So whoever sees that it does not help gives it up for a
//! while.

use std::{
    thread,
    time::{Duration, Instant},
};

/// A look that takes longer had to wait for somebody else who works: longer than it takes to wake a thread that sleeps,
/// and less than the shortest command.
const CROWDED: Duration = Duration::from_micros(100);

/// So many waits go by without a look after one that took long: where it is always so, it costs a hundredth.
const SKIPPED: u32 = 100;

/// Whether it helps to look for news before sleeping, as learnt from the last times.
#[derive(Debug)]
pub struct Spin {
    longest: Duration,
    skip: u32,
}

impl Spin {
    /// Looks for at most `longest`.
    #[must_use]
    pub const fn new(longest: Duration) -> Self {
        Self { longest, skip: 0 }
    }

    /// Calls `look` again and again until it finds something, at most for `wait`. Other threads that can run go first.
    ///
    /// Nothing is found, and most often `look` is not called at all, where others needed the processor lately. A look in
    /// vain is no reason to give up: the news may only have been late, and nobody else wanted the time.
    pub fn find<T>(&mut self, wait: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        let longest = self.longest.min(wait);
        let begin = Instant::now();
        let mut before = Duration::ZERO;
        while before < longest {
            if let Some(found) = look() {
                return Some(found);
            }
            thread::yield_now();
            let now = begin.elapsed();
            if now - before > CROWDED {
                self.skip = SKIPPED;
                return None;
            }
            before = now;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_time_is_found_and_a_look_in_vain_is_followed_by_another() {
        let mut spin = Spin::new(Duration::from_secs(5));
        assert_eq!(spin.find(Duration::from_secs(5), || Some(7)), Some(7));
        let mut looks = 0;
        for _ in 0..3 {
            // On a crowded machine the thread may have been kept waiting, which is another story.
            spin.skip = 0;
            let in_vain = || -> Option<()> {
                looks += 1;
                None
            };
            assert_eq!(spin.find(Duration::from_nanos(1), in_vain), None);
        }
        assert_eq!(looks, 3);
        let mut hurried = Spin::new(Duration::ZERO);
        assert_eq!(hurried.find(Duration::ZERO, || Some(8)), None, "there is no time for a look");
        assert_eq!(hurried.skip, 0, "and it is not held against the next one");
    }

    #[test]
    fn who_had_to_wait_for_others_gives_up() {
        let mut spin = Spin::new(Duration::from_secs(600));
        let crowded = || -> Option<()> {
            let begin = Instant::now();
            while begin.elapsed() <= CROWDED {}
            None
        };
        assert_eq!(spin.find(Duration::from_secs(600), crowded), None);
        let mut waits = 0..;
        let found = waits.find(|_| spin.find(Duration::from_secs(600), || Some(7)).is_some());
        assert_eq!(found, Some(SKIPPED), "so many waits go by without a look");
    }
}
