//! The public keys of each issuer: in memory, else from the shared table, else from Okta.

mod endpoint;
mod key_set;
pub mod refresh;
mod refresh_policy;
mod store;
mod table;

pub use endpoint::KeysEndpoint;
pub use key_set::{KeySet, KeySetError, VerifyingKey};
pub use refresh_policy::RefreshPolicy;
pub use store::{Clock, KeyError, KeyStore, system_clock};
pub use table::KeysTable;
