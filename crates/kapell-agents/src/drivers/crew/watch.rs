//! The thread that watches: it waits for all attempts at once, hears what they say, and does with them as it is told.

use std::{
    collections::HashMap,
    fs,
    io::Read,
    os::{fd::AsFd, unix::net::UnixStream},
    panic::{AssertUnwindSafe, catch_unwind},
    process::Child,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use kapell_core::retry::FailureClass;
use rustix::event::{PollFd, PollFlags, poll};

use super::{ANSWER, Attempt, Order, Shared, lock};
use crate::{
    drivers::{
        Report,
        client::{self, Heard, Listener, Tell},
        exit::{Ending, Exit},
        job::Work,
        supervised::{Parts, Said, Supervised, Supervisor},
    },
    protocol::{
        AttemptKey,
        outputs::Outputs,
        server::{self, Server},
    },
    supervise::{Cause, OUTPUTS_FILE, processes},
};

/// How long a client that is told to stop in its own words has before SIGTERM.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a client that is silent or runs away has between SIGTERM and SIGKILL.
const OUTSIDE_GRACE: Duration = Duration::from_secs(5);

/// What the thread knows.
pub(super) struct Watch {
    shared: Arc<Shared>,
    woken: UnixStream,
    server: Option<Server>,
    attempts: HashMap<AttemptKey, Attempt>,
    /// What was said by attempts whose start is not reported yet: they can be faster than their supervisor.
    early: Vec<(AttemptKey, Report)>,
    dismissed: Vec<Child>,
    /// How long attempts have to end, once all of them shall.
    closing: Option<Duration>,
}

impl Watch {
    pub(super) fn new(shared: Arc<Shared>, woken: UnixStream, server: Option<Server>) -> Self {
        let (attempts, early, dismissed) = (HashMap::new(), Vec::new(), Vec::new());
        Self { shared, woken, server, attempts, early, dismissed, closing: None }
    }

    pub(super) fn run(mut self) {
        loop {
            self.take_orders();
            if self.closing.is_some() && self.is_empty() {
                break;
            }
            self.note_asking();
            let ready = self.wait();
            // First, so that what an attempt said comes before its end.
            self.safely(None, Self::hear_agents);
            self.note_asking();
            for key in ready {
                self.safely(Some(key), |watch| watch.step(key));
            }
            self.dismissed.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        }
        let idle = std::mem::take(&mut *lock(&self.shared.idle));
        self.dismissed.extend(idle.into_iter().map(Supervisor::dismiss));
        for mut child in self.dismissed {
            let _ = child.wait();
        }
    }

    /// Tells whether nothing runs. In this order: what is begun is watched before it counts as begun.
    fn is_empty(&self) -> bool {
        let begins = self.shared.begins.load(Ordering::SeqCst);
        begins == 0 && self.attempts.is_empty() && lock(&self.shared.orders).is_empty()
    }

    /// Does as told.
    fn take_orders(&mut self) {
        let orders = std::mem::take(&mut *lock(&self.shared.orders));
        for order in orders {
            let key = order.key();
            self.safely(key, |watch| watch.obey(order));
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Watch(attempt) => self.watch(attempt),
            Order::Stop { key, grace } => self.stop(key, PATIENCE, grace),
            Order::Answer { key, question, text } => self.answer(key, question, text),
            Order::Spent { key, percent } => self.spent(key, percent),
            Order::Finish { key, exit } => self.finish(key, *exit),
            Order::Close { grace } => {
                self.closing = Some(grace);
                for key in self.attempts.keys().copied().collect::<Vec<_>>() {
                    self.safely(Some(key), |watch| watch.stop(key, Duration::ZERO, grace));
                }
            }
        }
    }

    fn watch(&mut self, attempt: Attempt) {
        let Some(key) = attempt.key() else { return };
        let waits = matches!(attempt, Attempt::Supervised(_));
        self.attempts.insert(key, attempt);
        if !waits {
            self.report_early(key);
        }
        if let Some(grace) = self.closing {
            self.stop(key, Duration::ZERO, grace);
        }
    }

    /// Ends an attempt. One that can be talked to is asked first, and has `patience` to do it by itself.
    fn stop(&mut self, key: AttemptKey, patience: Duration, grace: Duration) {
        match self.attempts.get_mut(&key) {
            Some(Attempt::Supervised(supervised)) => {
                supervised.again = None;
                supervised.interrupt(patience, grace);
            }
            Some(Attempt::Group(group)) => group.end(Cause::Stopped, grace),
            Some(Attempt::Person(_)) => {
                let exit = Exit::without_process(Ending::Stopped, "it was stopped".to_owned());
                self.finish(key, exit);
            }
            // It is ending, or has ended meanwhile.
            Some(Attempt::Orphaned) | None => {}
        }
    }

    /// Takes what agents say.
    fn hear_agents(&mut self) {
        let said = self.server.as_mut().map(Server::step).unwrap_or_default();
        for (key, said) in said {
            let report = match said {
                server::Said::Progress { fraction, text } => Report::Progress { fraction, text },
                server::Said::Note { text } => Report::Note { text },
                server::Said::HandOff { to, note } => Report::HandOff { to, note },
                server::Said::Question { question, text, choices } => {
                    Report::Question { question, text, choices }
                }
            };
            let started = match self.attempts.get(&key) {
                Some(Attempt::Supervised(supervised)) => supervised.started,
                Some(_) => true,
                None => false,
            };
            if started {
                self.shared.report(key, report);
            } else {
                self.early.push((key, report));
            }
        }
    }

    /// Tells those who read along which attempts wait for a person: their silence means nothing.
    fn note_asking(&mut self) {
        let Some(server) = &self.server else { return };
        for (key, attempt) in &mut self.attempts {
            if let Attempt::Supervised(supervised) = attempt
                && let Some(listener) = &mut supervised.listener
            {
                listener.note_asking(server.waits(*key));
            }
        }
    }

    /// Reports what an attempt said before its start was reported.
    fn report_early(&mut self, key: AttemptKey) {
        for (_, report) in self.early.extract_if(.., |(of, _)| *of == key) {
            self.shared.report(key, report);
        }
    }

    fn answer(&mut self, key: AttemptKey, question: u32, text: String) {
        if question >= client::QUESTIONS_FROM {
            return self.tell(key, Tell::Answer { question, text: &text });
        }
        if let Some(server) = &mut self.server {
            server.answer(key, question, &text);
        }
        if let (Some(Attempt::Person(_)), 0) = (self.attempts.get(&key), question) {
            self.finish(key, Exit::success(Outputs::from([(ANSWER.to_owned(), text)])));
        }
    }

    /// Tells a client something, if it is one that can be told.
    fn tell(&mut self, key: AttemptKey, what: Tell<'_>) {
        let Some(Attempt::Supervised(supervised)) = self.attempts.get_mut(&key) else { return };
        let reports = supervised.tell(what).unwrap_or_default();
        self.report_all(key, reports);
    }

    fn spent(&mut self, key: AttemptKey, percent: u64) {
        let Some(Attempt::Supervised(supervised)) = self.attempts.get_mut(&key) else { return };
        let reports = supervised.note_spent(percent);
        self.report_all(key, reports);
    }

    fn report_all(&self, key: AttemptKey, reports: Vec<Report>) {
        reports.into_iter().for_each(|report| self.shared.report(key, report));
    }

    fn finish(&mut self, key: AttemptKey, exit: Exit) {
        self.attempts.remove(&key);
        self.report_early(key);
        if let Some(server) = &mut self.server {
            server.dismiss(key);
        }
        self.shared.report(key, Report::Finished(Box::new(exit)));
    }

    /// Waits until something happens; returns the attempts to look at.
    fn wait(&mut self) -> Vec<AttemptKey> {
        let mut fds = vec![PollFd::new(&self.woken, PollFlags::IN)];
        let mut owners = vec![None];
        let mut due: Option<Instant> = None;
        for (key, attempt) in &self.attempts {
            match attempt {
                Attempt::Supervised(supervised) => {
                    fds.push(PollFd::new(supervised.file(), PollFlags::IN));
                    owners.push(Some(*key));
                    let silent = supervised.listener.as_ref().and_then(Listener::due);
                    due = [due, silent].into_iter().flatten().min();
                }
                Attempt::Group(group) => {
                    let (end, output) = group.files();
                    let files = end.map(AsFd::as_fd).into_iter().chain(output.map(AsFd::as_fd));
                    for file in files {
                        fds.push(PollFd::from_borrowed_fd(file, PollFlags::IN));
                        owners.push(Some(*key));
                    }
                    due = [due, group.due()].into_iter().flatten().min();
                }
                Attempt::Person(_) | Attempt::Orphaned => {}
            }
        }
        if let Some(server) = &self.server {
            let (read, write) = server.files();
            for (files, flags) in [(read, PollFlags::IN), (write, PollFlags::OUT)] {
                owners.extend(files.iter().map(|_| None));
                fds.extend(files.into_iter().map(|file| PollFd::from_borrowed_fd(file, flags)));
            }
            due = [due, server.due()].into_iter().flatten().min();
        }
        let now = Instant::now();
        let patience = due.map(|due| processes::timespec(due.saturating_duration_since(now)));
        let _ = poll(&mut fds, patience.as_ref());
        let mut ready: Vec<_> = fds
            .iter()
            .zip(&owners)
            .filter(|(fd, _)| !fd.revents().is_empty())
            .filter_map(|(_, owner)| *owner)
            .collect();
        if due.is_some_and(|due| due <= Instant::now()) {
            let timed = |attempt: &Attempt| match attempt {
                Attempt::Group(_) => true,
                Attempt::Supervised(supervised) => supervised.listener.is_some(),
                Attempt::Person(_) | Attempt::Orphaned => false,
            };
            ready.extend(self.attempts.iter().filter(|(_, attempt)| timed(attempt)).map(|(key, _)| *key));
        }
        ready.sort_unstable();
        ready.dedup();
        let mut bytes = [0; 64];
        while matches!((&self.woken).read(&mut bytes), Ok(len) if len == bytes.len()) {}
        ready
    }

    /// Does something for an attempt. Readers parse what strangers print: should one panic, only its own attempt fails by
    /// that.
    fn safely(&mut self, key: Option<AttemptKey>, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_ok() {
            return;
        }
        let Some(key) = key else { return };
        match self.attempts.get_mut(&key) {
            Some(Attempt::Supervised(supervised)) => {
                (supervised.listener, supervised.again, supervised.unread) = (None, None, true);
                supervised.stop(Duration::ZERO, OUTSIDE_GRACE);
            }
            Some(Attempt::Group(group)) => group.end(Cause::Stopped, OUTSIDE_GRACE),
            Some(Attempt::Person(_) | Attempt::Orphaned) => {}
            // Its process had ended.
            None => self.finish(key, unread()),
        }
    }

    fn step(&mut self, key: AttemptKey) {
        match self.attempts.get_mut(&key) {
            Some(Attempt::Supervised(supervised)) => {
                // Each by itself: what makes one of them panic must not swallow the end that came along with it.
                for said in supervised.listen() {
                    self.safely(Some(key), |watch| watch.hear(key, said));
                }
                self.end_if_due(key);
            }
            Some(Attempt::Group(group)) => {
                if let Some(exit) = group.step() {
                    self.finish(key, exit);
                }
            }
            Some(Attempt::Person(_) | Attempt::Orphaned) | None => {}
        }
    }

    fn hear(&mut self, key: AttemptKey, said: Said) {
        match said {
            Said::Started(pid) => {
                let is_second =
                    matches!(self.attempts.get(&key), Some(Attempt::Supervised(one)) if one.started);
                if !is_second {
                    self.shared.report(key, Report::Started { pid });
                }
                if let Some(Attempt::Supervised(supervised)) = self.attempts.get_mut(&key) {
                    supervised.started = true;
                }
                self.report_early(key);
            }
            Said::Printed => self.read_along(key),
            Said::Ended(record) => {
                let exit = Exit::from_record(*record);
                match self.attempts.remove(&key) {
                    Some(Attempt::Supervised(supervised)) => self.ended(*supervised, exit),
                    _ => self.finish(key, exit),
                }
            }
            Said::Died => {
                let Some(Attempt::Supervised(orphaned)) = self.attempts.insert(key, Attempt::Orphaned) else {
                    return;
                };
                // Ending what is left can take seconds; the others are not to wait for it.
                let shared = Arc::clone(&self.shared);
                let prices = orphaned.prices();
                std::thread::spawn(move || {
                    // What it printed is read here, too.
                    let buried = catch_unwind(AssertUnwindSafe(move || orphaned.bury(&prices)));
                    let exit = Box::new(buried.unwrap_or_else(|_| unread()));
                    shared.order(Order::Finish { key, exit });
                });
            }
        }
    }

    /// Takes in that the process of an attempt has ended.
    fn ended(&mut self, supervised: Supervised, mut exit: Exit) {
        let (key, is_unread) = (supervised.key, supervised.unread);
        let Parts { supervisor, listener, first, again } = supervised.into_parts();
        self.retire(key, supervisor);
        if is_unread {
            return self.finish(key, unread());
        }
        let mut asks = None;
        if let Some(mut listener) = listener {
            let Heard { reports, .. } = listener.catch_up();
            self.report_all(key, reports);
            (exit, asks) = listener.finish(exit);
        }
        if let (Some(asks), Some(mut job)) = (asks, again) {
            let wanted = exit.clone();
            let first = job.dir.join(OUTPUTS_FILE);
            job.dir = job.dir.join(client::AGAIN_DIR);
            // What it set by itself need not be set again.
            let _ = fs::create_dir_all(&job.dir).and_then(|()| fs::copy(first, job.dir.join(OUTPUTS_FILE)));
            if let Work::Client(order) = &mut job.work {
                **order = order.again(&asks.session, asks.totals, &asks.text);
            }
            // Where it cannot be asked, what it gave first counts.
            if let Ok(mut second) = self.shared.start_supervised(key, *job) {
                (second.first, second.again, second.started) = (Some(Box::new(wanted)), None, true);
                self.attempts.insert(key, Attempt::Supervised(Box::new(second)));
                return;
            }
        }
        if let Some(first) = first {
            exit = client::second_of(&first, exit);
        }
        self.finish(key, exit);
    }

    /// Reads what a client has printed meanwhile.
    fn read_along(&mut self, key: AttemptKey) {
        let Some(Attempt::Supervised(supervised)) = self.attempts.get_mut(&key) else { return };
        let Some(listener) = &mut supervised.listener else { return };
        let Heard { reports, outgoing } = listener.catch_up();
        self.report_all(key, reports);
        // Before it is answered: one that waits for an answer would go on with it.
        self.end_if_due(key);
        if let Some(Attempt::Supervised(supervised)) = self.attempts.get_mut(&key) {
            supervised.say(outgoing);
        }
    }

    /// Ends a client that is silent, or runs away.
    fn end_if_due(&mut self, key: AttemptKey) {
        let Some(Attempt::Supervised(supervised)) = self.attempts.get_mut(&key) else { return };
        let Some(listener) = &mut supervised.listener else { return };
        if listener.must_end(Instant::now()).is_some() {
            let is_all_spent = listener.is_all_spent();
            self.stop(key, PATIENCE, OUTSIDE_GRACE);
            if is_all_spent {
                self.end_sharers(key);
            }
        }
    }

    /// Ends those that shared what an attempt has found spent. One that waited for its next word would ask once more.
    fn end_sharers(&mut self, key: AttemptKey) {
        let others: Vec<AttemptKey> =
            self.attempts.keys().copied().filter(|other| other.run == key.run && *other != key).collect();
        others.into_iter().for_each(|other| self.end_if_due(other));
    }

    /// Keeps a supervisor for the next attempt, or lets it go.
    fn retire(&mut self, key: AttemptKey, mut supervisor: Supervisor) {
        supervisor.unkept = Some(key);
        let mut idle = lock(&self.shared.idle);
        if idle.len() < self.shared.config.idle_max {
            idle.push_back(supervisor);
        } else {
            drop(idle);
            self.dismissed.push(supervisor.dismiss());
        }
    }
}

/// The end of an attempt whose output could not be read along.
fn unread() -> Exit {
    let message = "reading along what it printed failed: a bug in kapell".to_owned();
    Exit::without_process(Ending::Failed(FailureClass::Transient), message)
}
