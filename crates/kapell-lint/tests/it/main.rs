//! Cases of all rules: texts in, places out; and what is written from them.

mod cases;
mod deliver;
mod mutated;
mod paths;
