//! The authorizer over the wire: the real binary behind a Runtime API, a loopback Okta and a `DynamoDB` in process.
//!
//! Nothing here calls the library. What is asserted is what `DESIGN.md` promises to a client, to the gateway and to whoever
//! reads the log; how the program comes to it is its own affair. Every bad input stands beside a good twin, because a
//! program that refuses everything would pass a list of bad ones.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test panics")]

mod config;
mod events;
mod introspection;
mod keys;
mod logs;
mod metrics;
mod policies;
mod policy_file;
mod tls;
