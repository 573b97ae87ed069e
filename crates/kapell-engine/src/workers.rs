//! A few threads for work that blocks: cloning, capturing, checking, merging.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
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

/// Threads that take jobs in order. They are started as they are needed.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    limit: usize,
}

impl Workers {
    /// Makes a pool of at most `limit` threads.
    pub(crate) fn new(limit: usize) -> Self {
        Self { shared: Arc::default(), threads: Vec::new(), limit: limit.max(1) }
    }

    /// Queues a job.
    pub(crate) fn run(&mut self, job: impl FnOnce() + Send + 'static) {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.jobs.push_back(Box::new(job));
        let needed = queue.jobs.len() > queue.idle && self.threads.len() < self.limit;
        drop(queue);
        if needed {
            let shared = self.shared.clone();
            let name = format!("kapell-worker-{}", self.threads.len());
            // Without another thread those that are there do it, only later; without any it is done here.
            match std::thread::Builder::new().name(name).spawn(move || work(&shared)) {
                Ok(thread) => self.threads.push(thread),
                Err(_) if self.threads.is_empty() => self.work_here(),
                Err(_) => {}
            }
        }
        self.shared.wake.notify_one();
    }

    fn work_here(&self) {
        while let Some(job) = {
            let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.jobs.pop_front()
        } {
            job();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // A job that panicked has said so already; the pool is going away.
            let _ = thread.join();
        }
    }
}

fn work(shared: &Shared) {
    loop {
        let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
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
        job();
    }
}
