//! The environment that the binary is started in.

use std::{collections::BTreeMap, ffi::OsString};

use serde_json::Value;

use super::{okta::Okta, table::TABLE};

/// The issuer of every test that needs no network.
pub const PINNED_ISSUER: &str = "https://pinned.okta.example/oauth2/default";

/// What the dummy AWS secret is, so that the log can be searched for it.
pub const AWS_SECRET: &str = "aws-secret-that-must-not-be-logged";

/// Environment variables, all of them: the binary inherits none of ours.
#[derive(Clone)]
pub struct Env(BTreeMap<String, OsString>);

impl Env {
    /// What Lambda sets for every function.
    fn lambda() -> Self {
        Self(BTreeMap::new())
            .with("AWS_LAMBDA_FUNCTION_NAME", "okta-authorizer")
            .with("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .with("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .with("AWS_LAMBDA_LOG_FORMAT", "JSON")
            .with("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/okta-authorizer")
            .with("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/01/[$LATEST]0123456789abcdef")
            .with("AWS_REGION", "us-east-1")
            .with("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
            .with("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
            .with("AWS_EC2_METADATA_DISABLED", "true")
    }

    /// Keys that are pinned: no network at all.
    pub fn pinned(jwks: &Value) -> Self {
        Self::lambda().with("OKTA_ISSUER", PINNED_ISSUER).with("OKTA_JWKS", jwks.to_string())
    }

    /// Keys from these issuers, remembered in memory only.
    pub fn okta(issuers: &[&Okta]) -> Self {
        let issuers: Vec<_> = issuers.iter().map(|okta| okta.issuer()).collect();
        Self::lambda().with("OKTA_ISSUER", issuers.join(","))
    }

    /// Keys shared through the table that answers at `endpoint`.
    pub fn table(self, endpoint: &str) -> Self {
        self.with("KEYS_TABLE_NAME", TABLE).with("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
    }

    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &OsString)> {
        self.0.iter()
    }
}
