//! What an adversary would try, at library level: tokens that must be refused for exactly one reason, each with its source and a
//! good twin; and random claims, rules and paths against an IAM and a reading of the rules that were written here.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test panics")]

mod algorithms;
mod claims;
mod encodings;
mod events;
mod forgeries;
mod headers;
mod keys;
mod logs;
mod policy;
mod table;

use okta_authorizer_testkit::keys as test_keys;
