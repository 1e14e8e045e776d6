//! The environment variables that the binary is started with.

use std::{collections::BTreeMap, ffi::OsString};

use serde_json::Value;

use crate::{RULES_FILE, okta::Okta, table::TABLE};

/// The issuer in tests that need no network.
pub const PINNED_ISSUER: &str = "https://pinned.okta.example/oauth2/default";

/// The value of the dummy AWS secret. Tests search the log for it.
pub const AWS_SECRET: &str = "aws-secret-that-must-not-be-logged";

/// The complete environment of the binary. It inherits nothing from the test process.
#[derive(Clone)]
pub struct Env(BTreeMap<String, OsString>);

impl Env {
    /// The variables that Lambda sets for every function, and the rules of the tests.
    pub fn lambda() -> Self {
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
            .with("LANG", "en_US.UTF-8")
            .with("TZ", ":UTC")
            .with("PATH", "/usr/local/bin:/usr/bin/:/bin:/opt/bin")
            .with("LD_LIBRARY_PATH", "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib")
            .with("POLICY_FILE", RULES_FILE)
    }

    /// Pinned keys: the binary makes no network request.
    pub fn pinned(jwks: &Value) -> Self {
        Self::lambda().with("OKTA_ISSUER", PINNED_ISSUER).with("OKTA_JWKS", jwks.to_string())
    }

    /// Keys from these issuers, cached in memory only.
    pub fn okta(issuers: &[&Okta]) -> Self {
        let issuers: Vec<_> = issuers.iter().map(|okta| okta.issuer()).collect();
        Self::lambda().with("OKTA_ISSUER", issuers.join(","))
    }

    /// Keys shared through the table at `endpoint`.
    #[must_use]
    pub fn table(self, endpoint: &str) -> Self {
        self.with("KEYS_TABLE_NAME", TABLE).with("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &OsString)> {
        self.0.iter()
    }
}
