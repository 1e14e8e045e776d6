//! What the fuzz targets share: a key to sign with, an IAM of their own, and the rules read a second time.
//!
//! A target panics where a property does not hold; that is how libFuzzer is told.

pub mod iam;
pub mod sample;
pub mod second_reading;
