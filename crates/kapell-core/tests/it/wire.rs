//! Events and commands as text, and back.
