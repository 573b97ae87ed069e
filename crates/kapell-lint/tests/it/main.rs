//! Cases of all rules: texts in, places out; and what is written from them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cases;
mod corpus;
mod deliver;
mod foreign;
mod hostile;
mod inventory;
mod mutated;
mod paths;
mod patterns;
mod seeded;
mod whole;
