mod jwks;
pub use jwks::{KeySet, KeySetError, VerifyingKey};
