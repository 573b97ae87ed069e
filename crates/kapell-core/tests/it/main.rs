//! Tests of the core from outside: stories told as given, when, then; tables; and properties.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod check; // what must hold after every decision
mod script; // plans and commands as text
mod show; // events and effects as text
mod story; // given, when, then

mod table; // every transition and every rejection of one
mod wire; // events and commands as text and back

mod answers; // taken back
mod durable; // rows and snapshots
mod flow; // needs, conditions, outputs
mod forecast;
mod landing; // the merge queue
mod limits; // claims, slots, budgets
mod patience; // what is borne for how long, and by whom
mod people; // gates, pause, cancel, sagas, revisions, merges
mod plan; // what a plan may be
mod property; // random plans and commands
mod recover; // failures and what follows
mod route; // agents that are chosen
mod saga; // what is taken back in a repository
mod scale; // large graphs
