//! A command under its supervisor, as kapell sees it.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use kapell_core::retry::FailureClass;
use rustix::{io::Errno, net::RecvFlags};

use super::{
    client::{self, Listener},
    exit::{Ending, Exit},
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
        Ok(Self { child, stream: own })
    }

    /// Hands it an attempt.
    pub(super) fn run(&self, spec: Spec) -> io::Result<()> {
        wire::write(&mut &self.stream, &Request::Run(Box::new(spec)))
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
        Self { key, started: false, dir, supervisor, frames: Frames::default(), listener }
    }

    pub(super) fn file(&self) -> &UnixStream {
        &self.supervisor.stream
    }

    pub(super) fn stop(&self, grace_ms: u64) {
        // If it is dead, its end of file says so.
        let _ = wire::write(&mut &self.supervisor.stream, &Request::Stop { grace_ms });
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
    pub(super) fn into_parts(self) -> (Supervisor, Option<Listener>) {
        (self.supervisor, self.listener)
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
        match supervise::recover::end_orphans(&self.dir, &attempt) {
            Err(error) => Exit::without_process(Ending::Failed(FailureClass::Permanent), error.to_string()),
            Ok(ended) => match ExitRecord::read(&self.dir, &attempt) {
                Some(record) => client::read_exit(&self.dir, Exit::from_record(record), prices),
                None => Exit::without_process(
                    Ending::Failed(FailureClass::Lost),
                    format!("its supervisor died; {ended} process(es) that it left were ended"),
                ),
            },
        }
    }
}
