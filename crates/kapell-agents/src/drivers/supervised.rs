//! A command under its supervisor, as kapell sees it.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use kapell_core::retry::FailureClass;
use rustix::{io::Errno, net::RecvFlags};

use super::{
    Report,
    client::{self, Heard, Listener, Outgoing, Tell},
    exit::{Ending, Exit},
    job::Job,
};
use crate::{
    protocol::AttemptKey,
    supervise::{
        self, ExitRecord, Spec,
        wire::{self, Frames, Reply, Request},
    },
};

/// A supervisor's process, and the socket to it. When the socket is dropped, the supervisor ends its tree.
pub(super) struct Supervisor {
    child: Child,
    stream: UnixStream,
    /// The attempt before, until it is known that how it ended is durable.
    pub(super) unkept: Option<AttemptKey>,
}

impl Supervisor {
    pub(super) fn start(program: &Path) -> io::Result<Self> {
        let (own, theirs) = UnixStream::pair()?;
        let child = Command::new(program)
            .arg(supervise::ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, stream: own, unkept: None })
    }

    /// Hands it an attempt.
    pub(super) fn run(&self, spec: Spec) -> io::Result<()> {
        let kept = self.unkept.is_none();
        wire::write(&mut &self.stream, &Request::Run { spec: Box::new(spec), kept })
    }

    /// Lets it go: it ends by itself, and is returned to be waited for.
    pub(super) fn dismiss(self) -> Child {
        self.child
    }
}

/// An attempt under a supervisor.
pub(super) struct Supervised {
    pub(super) key: AttemptKey,
    /// Whether its start has been reported.
    pub(super) started: bool,
    dir: PathBuf,
    supervisor: Supervisor,
    frames: Frames,
    /// Who reads along, where a client works.
    pub(super) listener: Option<Listener>,
    /// How its first process ended, if this is the second one.
    pub(super) first: Option<Box<Exit>>,
    /// What the second process is to be made of, if its client is to be asked once more in one.
    pub(super) again: Option<Box<Job>>,
    /// Whether whoever read along panicked: what its client does is not known any more.
    pub(super) unread: bool,
}

/// What is left of an attempt whose process has ended.
pub(super) struct Parts {
    pub(super) supervisor: Supervisor,
    pub(super) listener: Option<Listener>,
    pub(super) first: Option<Box<Exit>>,
    pub(super) again: Option<Box<Job>>,
}

/// What a supervisor says.
pub(super) enum Said {
    Started(u32),
    /// Something was printed.
    Printed,
    Ended(Box<ExitRecord>),
    /// Nothing: it is dead.
    Died,
}

impl Supervised {
    pub(super) fn new(
        key: AttemptKey,
        dir: PathBuf,
        supervisor: Supervisor,
        listener: Option<Listener>,
    ) -> Self {
        let (first, again) = (None, None);
        Self {
            key,
            started: false,
            dir,
            supervisor,
            frames: Frames::default(),
            listener,
            first,
            again,
            unread: false,
        }
    }

    pub(super) fn file(&self) -> &UnixStream {
        &self.supervisor.stream
    }

    /// Asks it to end: SIGTERM after `patience`, SIGKILL after `grace` more.
    pub(super) fn stop(&self, patience: Duration, grace: Duration) {
        let ms = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        self.request(&Request::Stop { patience_ms: ms(patience), grace_ms: ms(grace) });
    }

    /// Asks it to end. One that can be talked to is told so in its own words, and has `patience` to do it by itself.
    pub(super) fn interrupt(&mut self, patience: Duration, grace: Duration) {
        let talked_to = self.listener.as_mut().filter(|listener| listener.is_talked_to());
        let Some(heard) = talked_to.map(|listener| listener.tell(Tell::Interrupt)) else {
            return self.stop(Duration::ZERO, grace);
        };
        // Told first, it could be gone before its supervisor knows why.
        self.stop(patience, grace);
        self.say(heard.outgoing);
    }

    /// Writes to its client what that is to be told.
    pub(super) fn say(&self, Outgoing { bytes, last }: Outgoing) {
        if !bytes.is_empty() || last {
            self.request(&Request::Say { bytes, last });
        }
    }

    fn request(&self, request: &Request) {
        // If it is dead, its end of file says so.
        let _ = wire::write(&mut &self.supervisor.stream, request);
    }

    /// Takes what the supervisor has said so far.
    pub(super) fn listen(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        let mut chunk = [0; 1 << 14];
        loop {
            match rustix::net::recv(&self.supervisor.stream, &mut chunk, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return self.died(said),
                Ok((len, _)) => self.frames.extend(&chunk[..len]),
                Err(Errno::AGAIN) => return said,
                Err(Errno::INTR) => continue,
                Err(_) => return self.died(said),
            }
            loop {
                match self.frames.take::<Reply>() {
                    Ok(Some(Reply::Started { pid })) => said.push(Said::Started(pid)),
                    Ok(Some(Reply::Printed)) => said.push(Said::Printed),
                    Ok(Some(Reply::Ended(record))) => {
                        said.push(Said::Ended(record));
                        return said;
                    }
                    Ok(None) => break,
                    Err(_) => return self.died(said),
                }
            }
        }
    }

    fn died(&self, mut said: Vec<Said>) -> Vec<Said> {
        said.push(Said::Died);
        said
    }

    /// Gives the supervisor back once it has said that the attempt ended, and whoever read along.
    pub(super) fn into_parts(self) -> Parts {
        let Self { supervisor, listener, first, again, .. } = self;
        Parts { supervisor, listener, first, again }
    }

    /// Tells its client something; returns what that says in turn. `None` if it cannot be talked to.
    pub(super) fn tell(&mut self, what: Tell<'_>) -> Option<Vec<Report>> {
        let listener = self.listener.as_mut().filter(|listener| listener.is_talked_to())?;
        let Heard { reports, outgoing } = listener.tell(what);
        self.say(outgoing);
        Some(reports)
    }

    /// Takes in what share of what it may spend was seen to be spent; returns what comes of that.
    pub(super) fn note_spent(&mut self, percent: u64) -> Vec<Report> {
        let Some(listener) = &mut self.listener else { return Vec::new() };
        let Heard { reports, outgoing } = listener.note_spent(percent);
        self.say(outgoing);
        reports
    }

    pub(super) fn prices(&self) -> client::Prices {
        self.listener.as_ref().map(Listener::prices).unwrap_or_default()
    }

    /// Ends what a dead supervisor left; takes as long as that takes.
    pub(super) fn bury(mut self, prices: &client::Prices) -> Exit {
        let attempt = self.key.to_string();
        // It may not be dead but mad: it has broken the protocol.
        let _ = self.supervisor.child.kill();
        let _ = self.supervisor.child.wait();
        // It may have died between writing the record and saying so.
        let exit = match supervise::recover::end_orphans(&self.dir, &attempt) {
            Err(error) => Exit::without_process(Ending::Failed(FailureClass::Permanent), error.to_string()),
            Ok(ended) => match ExitRecord::read(&self.dir, &attempt) {
                Some(record) => client::read_exit(&self.dir, Exit::from_record(record), prices),
                None => self.lost(ended, prices),
            },
        };
        match &self.first {
            Some(first) => client::second_of(first, exit),
            None => exit,
        }
    }

    /// The end of one of which nobody knows how it ended: what it printed until then says what it has cost.
    fn lost(&self, ended: u32, prices: &client::Prices) -> Exit {
        let message = format!("its supervisor died; {ended} process(es) that it left were ended");
        let past = client::past::read(&self.dir, prices);
        let evidence = past.map(|past| Box::new(past.evidence().clone()));
        Exit { evidence, ..Exit::without_process(Ending::Failed(FailureClass::Lost), message) }
    }
}
