//! Arguments that several commands have.

use std::{
    env,
    path::{Path, PathBuf},
};

use clap::Args;
use okta_authorizer_policy::PolicyOptions;

use crate::{
    files::{self, Stop},
    report::Format,
};

/// The same variables name the Lambda's rules file and the size of its policies.
pub const POLICY_FILE: &str = "POLICY_FILE";
const POLICY_MAX_BYTES: &str = "POLICY_MAX_BYTES";

/// The name of a rules file that nobody names. The bundle of a release has it in its folder `function`.
pub const DEFAULT_RULES: &str = "policy.toml";

/// The name of a tests file that nobody names.
pub const DEFAULT_TESTS: &str = "policy.tests.toml";

/// The most bytes of a policy if nobody says another number.
pub const DEFAULT_MAX_BYTES: usize = 32_768;

/// How policies are made.
#[derive(Debug, Args)]
pub struct PolicySize {
    /// The most bytes that a policy may have. Other routes are left out
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = DEFAULT_MAX_BYTES,
        value_parser = max_bytes,
        env = variable(POLICY_MAX_BYTES)
    )]
    max_bytes: usize,
}

impl PolicySize {
    /// The options of the Lambda's policies. They have the path guard (`PATH_GUARD=on`).
    #[must_use]
    pub fn options(&self) -> PolicyOptions {
        PolicyOptions { max_bytes: self.max_bytes, path_guard: true }
    }
}

/// The same bounds as the Lambda's.
fn max_bytes(text: &str) -> Result<usize, &'static str> {
    let bytes = text.parse().ok().filter(|bytes| (8_192..=1_048_576).contains(bytes));
    bytes.ok_or("expected a number from 8192 to 1048576")
}

/// The rules file as an option.
#[derive(Debug, Args)]
pub struct RulesOption {
    /// The rules file. Without it, policy.toml or function/policy.toml
    #[arg(long = "rules", value_name = "FILE", env = variable(POLICY_FILE))]
    file: Option<PathBuf>,
}

impl RulesOption {
    /// The path of the rules.
    ///
    /// # Errors
    /// If none is named and the folder has two.
    pub fn file(&self) -> Result<PathBuf, Stop> {
        rules_file(self.file.as_deref(), Path::new(""))
    }

    /// The path of the tests that belong to the rules, which need not exist.
    #[must_use]
    pub fn tests(&self) -> PathBuf {
        files::next_to(self.file.as_deref().unwrap_or(Path::new("")), DEFAULT_TESTS)
    }
}

/// The path of the rules that are named, or else of those in a folder.
///
/// # Errors
/// If none is named and the folder has two.
pub fn rules_file(named: Option<&Path>, folder: &Path) -> Result<PathBuf, Stop> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let (own, packaged) = (folder.join(DEFAULT_RULES), folder.join("function").join(DEFAULT_RULES));
    match (own.exists(), packaged.exists()) {
        (true, true) => {
            let both = format!("there are {} and {}", own.display(), packaged.display());
            Err(format!("{both}; name the one that is deployed, or set {POLICY_FILE} to it").into())
        }
        (false, true) => Ok(packaged),
        _ => Ok(own),
    }
}

/// How findings are printed.
#[derive(Debug, Args)]
pub struct FormatOption {
    /// How findings are printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: Format,
}

/// The variable that clap reads. `None` if it is empty, because the Lambda takes empty as unset.
#[must_use]
pub fn variable(name: &'static str) -> Option<&'static str> {
    let is_empty = env::var_os(name).is_some_and(|value| value.is_empty());
    (!is_empty).then_some(name)
}
