//! What an adversary would try, and random policies.
//!
//! The tables hold attacks as data: each is an event that must be refused for one reason, with its
//! source and a control that must be allowed. They run twice, from one list: `in_process` through
//! the library, and `over_the_wire` against the real binary. `policy` checks the policies of random
//! rules, claims and requests.

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
