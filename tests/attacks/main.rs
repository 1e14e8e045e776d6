//! What an adversary would try, and random policies.
//!
//! The tables hold attacks as data: each is an event that must be refused, or answered with a
//! fault, for one reason. Each has its source, and a control that must be allowed. They run twice,
//! from one list: through the library (`cargo test --test attacks in_process::`) and against the
//! real binary (`cargo test --test attacks over_the_wire::`). `policy` checks the policies of
//! random rules, claims and requests.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test panics")]

mod algorithms;
mod claims;
mod encodings;
mod events;
mod headers;
mod in_process;
mod keys;
mod logs;
mod over_the_wire;
mod policy;
mod signatures;
mod table;
