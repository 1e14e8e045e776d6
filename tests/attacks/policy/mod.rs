//! The policy is safe, whatever the claims, the rules and the paths: properties over random ones, hostile characters favoured.

mod generate;
mod iam;
mod model;
mod oracle;
mod paths;
mod properties;
