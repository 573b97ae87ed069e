//! kapell-spec
