//! kapell-store
