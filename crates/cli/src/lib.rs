//! `okta-policy`: what will a rules file do? Checks it, tests it, explains it for one token, holds
//! it against an API, and compares it with another.

pub mod api;
mod arguments;
pub mod cases;
pub mod check;
mod claims;
pub mod cover;
pub mod diff;
pub mod explain;
pub mod files;
pub mod init;
pub mod lints;
mod meaning;
mod reach;
pub mod report;
mod request;
mod shape;
pub mod table;
mod why;
mod witness;

pub use request::{DEFAULT_API, DEFAULT_STAGE};

/// The rules of the unit tests.
#[cfg(test)]
const EXAMPLE_RULES: &str = r#"[[allow]]
name   = "tenant members"
when   = { tenants = "{id}:{name}" }
routes = ["GET /t/{name}/*"]

[[allow]]
routes = ["GET /apps"]

[[deny]]
when   = { groups = "{banned}-SUSPENDED" }
routes = ["GET /t/{banned}/*"]

[[allow]]
api    = "abcdef1234"
stage  = ["dev", "test"]
when   = { uid = { present = true } }
routes = ["GET /orders/*/invoice"]
"#;

/// The options of the unit tests.
#[cfg(test)]
const DEFAULT_OPTIONS: okta_authorizer_policy::PolicyOptions =
    okta_authorizer_policy::PolicyOptions { max_bytes: 32_768, path_guard: true };

/// One route for each tenant.
#[cfg(test)]
const TENANT_RULES: &str = "[[allow]]\nwhen = { tenants = '{id}' }\nroutes = ['GET /{id}/*']\n";

/// The tenants `000`, `001` and so on, as a JSON array and as a TOML array. 500 of them do not fit.
#[cfg(test)]
fn tenants(count: usize) -> String {
    let tenants: Vec<_> = (0..count).map(|number| format!("\"{number:03}\"")).collect();
    format!("[{}]", tenants.join(","))
}
