//! kapell-policy
