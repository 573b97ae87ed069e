//! Containment: what an attempt can reach of this machine, by level.
//!
//! | level | how | what it can reach |
//! |---|---|---|
//! | 3 | bubblewrap | its workspace and its own HOME, the system read-only, the network that was granted; nothing of it survives its first process |
//! | 2 | Landlock, and a control group where there are any | the same files; other programs' sockets and the whole network stay open |
//! | 1 | a supervisor | everything that the user can; its processes are found and ended |
//! | 0 | a process group | everything, and what leaves the group stays behind |
//!
//! Levels are found by trying to break out of them, not by looking for a program. A level that was asked for and
//! is not there is refused, and so is a network that a level cannot enforce: nothing is approximated, and nothing
//! is lowered without being asked.

mod choose; // what is asked for, what is there, what follows
pub(crate) mod door; // the way out to hosts on a list
#[cfg(target_os = "linux")]
mod files; // Landlock
mod hosts; // lists of hosts
mod level; // levels and networks
mod probe; // trying
mod relay; // the way out to the proxy
mod room; // what an attempt may touch
mod shim; // inside: the last step before the attempt's own program
mod surroundings; // what of the machine every attempt needs
mod wrap; // a command becomes a contained one

pub(crate) use self::surroundings::{root_of_program, tools};
pub use self::{
    choose::{Chosen, Refused, Wish},
    hosts::{Hosts, NoHost},
    level::{Level, Network, UnknownSetting},
    probe::{Containment, NotFound},
    room::{ProxyDoor, Room},
    shim::main,
    wrap::Contained,
};

/// The hidden argument with which kapell re-executes itself inside a level.
pub const ARGUMENT: &str = "__contain";
