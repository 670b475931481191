//! Whether the time that a client takes can depend on its secrets.
//!
//! Whole rounds run under valgrind's memcheck with every secret declared undefined, so that each
//! branch and each address that depends on one is reported. A secret becomes public where the
//! protocol publishes it, and nowhere else: when a message goes onto the wire. The crate itself
//! needs no hook for this. Its secrets lie on the heap, so what lies in a client's state itself
//! (its public keys, say) can be declared public with the state.
//!
//! `tests/valgrind.rs` runs the program of this package under valgrind, and shows that leaks put
//! there on purpose are found.

pub mod leak;
pub mod memcheck;
pub mod round;
