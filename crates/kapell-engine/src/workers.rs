//! A few threads for work that blocks: cloning, capturing, checking, merging.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    idle: usize,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Threads that take jobs in order. They are started as they are needed.
///
/// Dropping it waits for the jobs that are queued.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    limit: usize,
    name: &'static str,
}

impl Workers {
    /// Makes a pool of at most `limit` threads, named `name`.
    pub(crate) fn new(name: &'static str, limit: usize) -> Self {
        Self { shared: Arc::default(), threads: Mutex::default(), limit: limit.max(1), name }
    }

    /// Queues a job. One that panics ends alone.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut queue = self.shared.queue();
        queue.jobs.push_back(Box::new(job));
        let needed = queue.jobs.len() > queue.idle && threads.len() < self.limit;
        drop(queue);
        if needed {
            let shared = self.shared.clone();
            let name = format!("{}-{}", self.name, threads.len());
            // Without another thread those that are there do it, only later; without any it is done here.
            match std::thread::Builder::new().name(name).spawn(move || work(&shared)) {
                Ok(thread) => threads.push(thread),
                Err(_) if threads.is_empty() => self.work_here(),
                Err(_) => {}
            }
        }
        self.shared.wake.notify_one();
    }

    /// Drops the jobs that no thread has taken yet.
    pub(crate) fn discard(&self) {
        let jobs = std::mem::take(&mut self.shared.queue().jobs);
        drop(jobs);
    }

    /// Waits for the jobs that are queued. Nothing may be queued after that.
    pub(crate) fn close(&mut self) {
        self.shared.queue().closed = true;
        self.shared.wake.notify_all();
        for thread in self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
    }

    fn work_here(&self) {
        while let Some(job) = { self.shared.queue().jobs.pop_front() } {
            do_one(job);
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.close();
    }
}

fn work(shared: &Shared) {
    loop {
        let mut queue = shared.queue();
        let job = loop {
            if let Some(job) = queue.jobs.pop_front() {
                break job;
            }
            if queue.closed {
                return;
            }
            queue.idle += 1;
            queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        };
        drop(queue);
        do_one(job);
    }
}

/// A panic has been told by the panic hook; whoever waits for a result has its own answer to none.
fn do_one(job: Job) {
    let _ = catch_unwind(AssertUnwindSafe(job));
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_job_that_panics_costs_no_thread() {
        let workers = Workers::new("test", 1);
        let (sender, receiver) = channel();
        for number in 0..5 {
            let sender = sender.clone();
            workers.run(move || {
                sender.send(number).unwrap();
                assert!(number % 2 == 1, "an even number");
            });
        }
        drop(sender);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(workers.threads.lock().unwrap().len(), 1);
    }

    #[test]
    fn no_more_threads_than_allowed_or_needed() {
        let workers = Workers::new("test", 3);
        let (sender, receiver) = channel();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        for _ in 0..10 {
            let (sender, gate) = (sender.clone(), gate.clone());
            workers.run(move || {
                let mut open = gate.0.lock().unwrap();
                while !*open {
                    open = gate.1.wait(open).unwrap();
                }
                sender.send(()).unwrap();
            });
        }
        assert_eq!(workers.threads.lock().unwrap().len(), 3);
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        drop(sender);
        assert_eq!(receiver.iter().count(), 10);
    }

    #[test]
    fn dropping_does_what_is_queued_and_discarding_does_not() {
        for discards in [false, true] {
            let workers = Workers::new("test", 1);
            let (sender, receiver) = channel();
            let (started, starts) = channel();
            let (go, goes) = channel::<()>();
            workers.run(move || {
                started.send(()).unwrap();
                let _ = goes.recv();
            });
            starts.recv().unwrap();
            workers.run(move || sender.send(()).unwrap());
            if discards {
                workers.discard();
            }
            drop(go);
            drop(workers);
            assert_eq!(receiver.recv().is_err(), discards);
        }
    }
}
