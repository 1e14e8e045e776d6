//! The line of each attempt to get an issuer's keys from the table or from Okta.

use serde::Serialize;
use tracing::Level;

use super::{
    emf::{Dimensions, Metric, MetricLine},
    write,
};

/// One attempt. Absent members are left out.
#[derive(Debug, Serialize)]
pub(crate) struct KeyRefresh<'a> {
    key_refreshes: u64,
    keys_source: &'static str,
    result: &'static str,
    keys_endpoint: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usable_keys: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_in_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl MetricLine for KeyRefresh<'_> {
    fn metrics(&self) -> Vec<Metric> {
        const BY_SOURCE: Dimensions = &[&["function_name"], &["function_name", "keys_source", "result"]];
        vec![Metric::count("key_refreshes", BY_SOURCE)]
    }
}

impl<'a> KeyRefresh<'a> {
    fn new(keys_source: &'static str, result: &'static str, keys_endpoint: &'a str) -> Self {
        Self {
            key_refreshes: 1,
            keys_source,
            result,
            keys_endpoint,
            usable_keys: None,
            refresh_in_seconds: None,
            age_seconds: None,
            error: None,
        }
    }

    /// Okta returned a JWKS.
    pub(crate) fn log_fetched(keys_endpoint: &'a str, usable_keys: usize, refresh_in_seconds: u64) {
        let line = Self::new("okta", "ok", keys_endpoint);
        let line = Self { usable_keys: Some(usable_keys), refresh_in_seconds: Some(refresh_in_seconds), ..line };
        write(Level::INFO, "keys refreshed", &line);
    }

    /// Okta did not return a JWKS.
    pub(crate) fn log_fetch_error(keys_endpoint: &'a str, error: &impl ToString) {
        let line = Self { error: Some(error.to_string()), ..Self::new("okta", "failed", keys_endpoint) };
        write(Level::WARN, "could not refresh the keys", &line);
    }

    /// The table had newer keys.
    pub(crate) fn log_loaded(keys_endpoint: &'a str, usable_keys: usize, age_seconds: u64) {
        let line = Self::new("table", "ok", keys_endpoint);
        let line = Self { usable_keys: Some(usable_keys), age_seconds: Some(age_seconds), ..line };
        write(Level::INFO, "keys loaded", &line);
    }

    /// The table failed, or was too slow.
    pub(crate) fn log_table_error(keys_endpoint: &'a str, error: &impl ToString) {
        let line = Self { error: Some(error.to_string()), ..Self::new("table", "failed", keys_endpoint) };
        write(Level::WARN, "the keys table failed, continuing without it", &line);
    }
}
