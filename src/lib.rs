//! x
pub mod event;
pub mod keys;
pub mod policy;
pub mod token;
