//! Maps and sets of names, of which thousands are looked up: hashed fast, in no order.

use std::collections;

use foldhash::fast::RandomState;

/// A map that is only looked up in.
pub type HashMap<K, V> = collections::HashMap<K, V, RandomState>;

/// A set that is only looked up in.
pub type HashSet<T> = collections::HashSet<T, RandomState>;
