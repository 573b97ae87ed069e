//! What an attempt may touch.

use std::path::{Path, PathBuf};

/// What an attempt may touch, besides the system and its workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// Its own HOME, which is made if need be. It outlives the attempt, so that a client finds its sessions again.
    pub home: PathBuf,
    /// What it may read besides: tool chains, the objects that its clone borrows. Nothing that an attempt could have written
    /// says what stands here.
    pub readable: Vec<PathBuf>,
    /// The HOME of the user: whatever holds all of it is not let in, though a program lies there.
    pub users: Option<PathBuf>,
    /// What it may write besides: directories that tasks share.
    pub writable: Vec<PathBuf>,
    /// What of its workspace is not there for it. Held by level 3 alone.
    pub hidden: Vec<PathBuf>,
    /// The way to the model proxy, if it has one.
    pub proxy: Option<ProxyDoor>,
    /// The socket of the way to hosts on a list, if the network is one.
    pub hosts: Option<PathBuf>,
}

impl Room {
    /// Tells whether `dir` holds all that the user has.
    pub(super) fn holds_users(&self, dir: &Path) -> bool {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        self.users.as_deref().is_some_and(|users| real(users).starts_with(real(dir)))
    }
}

/// Where the model proxy listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyDoor {
    /// The port on the loopback interface; the relay inside a network of its own takes the same one, so that the
    /// address of the proxy is the same everywhere.
    pub port: u16,
    /// The socket to which the relay forwards.
    pub socket: PathBuf,
}
