//! kapell-engine
