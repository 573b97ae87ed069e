//! kapell-view
