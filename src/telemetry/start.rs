//! The first line of a process: which program runs, and with which settings.

use serde::Serialize;
use tracing::Level;

use super::{emf::MetricLine, write};

/// The commit that this program was built from. The build sets the variable; without it, and if it
/// is empty, the commit is unknown.
const COMMIT: &str = match option_env!("AUTHORIZER_COMMIT") {
    Some(commit) if !commit.is_empty() => commit,
    _ => "unknown",
};

/// What the line says besides version and commit. Absent members are left out.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct StartLine<'a> {
    /// The accepted issuers.
    pub issuers: Vec<&'a str>,
    /// Where keys come from first: `pinned`, `table` or `okta`.
    pub keys_source: &'static str,
    /// The shared table, if it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_table: Option<&'a str>,
    /// The URLs of the issuers' keys. Empty if keys are pinned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys_endpoints: Vec<&'a str>,
    /// The rules file.
    pub policy_file: &'a str,
    /// The SHA-256 of the rules file, in hex.
    pub policy_sha256: &'a str,
}

#[derive(Serialize)]
struct Line<'a> {
    version: &'static str,
    commit: &'static str,
    #[serde(flatten)]
    settings: &'a StartLine<'a>,
}

impl MetricLine for Line<'_> {}

impl StartLine<'_> {
    /// Writes the line at INFO.
    pub fn log(&self) {
        write(Level::INFO, "started", &Line { version: env!("CARGO_PKG_VERSION"), commit: COMMIT, settings: self });
    }
}
