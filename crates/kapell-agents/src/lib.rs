//! kapell-agents
