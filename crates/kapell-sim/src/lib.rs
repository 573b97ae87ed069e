//! kapell-sim
