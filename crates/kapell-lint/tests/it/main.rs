//! Cases of all rules: texts in, places out.

mod cases;
