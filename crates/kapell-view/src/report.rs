//! What happened in a run, told afterwards.
