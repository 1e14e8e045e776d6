//! Whose key is it? The keys of each issuer: from memory, the shared table, or Okta.

mod dynamo;
mod freshness;
mod https;
mod jwks;
mod okta;
mod roots;
mod store;

pub use dynamo::KeysTable;
pub use freshness::Freshness;
pub use https::HttpsClient;
pub use jwks::{KeySet, KeySetError, VerifyingKey};
pub use okta::KeysEndpoint;
pub use roots::Roots;
pub use store::{KeyError, KeyStore};
