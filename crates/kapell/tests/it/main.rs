//! The real program in a scrubbed environment: what it prints, where, and how it ends.

#![expect(unreachable_pub, reason = "nothing of a test can be reached from outside")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod rig; // one repository, one home, and how output is made comparable

mod contained; // how agents are contained
mod documents; // Markdown documents as plans
mod editor; // findings and fixes while somebody types
mod errors; // what is refused, and what the person reads then
mod guide; // what the guide tells to type
mod hosts; // hooks, slash commands and tools for other programs
mod improve; // audits and their repairs
#[cfg(target_os = "linux")]
mod keyring; // a key out of the keyring of the desktop
mod live; // several processes at once, some of them killed
mod models; // models behind their APIs
mod people; // gates and answers
mod programs; // what commands answer to programs, and runs that are carried elsewhere
mod purses; // budgets that attempts share
mod repos; // every kind of repository
mod reuse; // results that are taken over
mod routes; // agents that are chosen, and what they are given
mod saga; // what is taken back, in git too
mod story; // from a plan to a merge and back
mod taped; // agents that are recorded, parked, and many
