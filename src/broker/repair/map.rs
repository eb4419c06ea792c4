//! The maps of the repair, and how they hash.
//!
//! By chance, since clients choose the names of topics; in unit tests always in the same way, so that a simulated
//! run follows from its seed, in whatever order a map is walked.

#[cfg(not(test))]
type Hashing = hashbrown::DefaultHashBuilder;
#[cfg(test)]
type Hashing = foldhash::fast::FixedState;

pub(super) type Map<K, V> = hashbrown::HashMap<K, V, Hashing>;
pub(super) type Set<T> = hashbrown::HashSet<T, Hashing>;
