//! `okta-policy check`: every mistake in a rules file.

use std::path::PathBuf;

use clap::Args;

use crate::{
    arguments::{DEFAULT_RULES, FormatOption, POLICY_FILE, variable},
    files::{self, Stop},
    report::Report,
};

/// Checks a rules file, and points at all mistakes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  okta-policy check
  okta-policy check my-policy.toml --strict")]
pub struct Arguments {
    /// The rules file
    #[arg(value_name = "FILE", default_value = DEFAULT_RULES, env = variable(POLICY_FILE))]
    rules: PathBuf,
    /// How findings are printed
    #[command(flatten)]
    pub format: FormatOption,
}

/// The findings, and whether there is no error.
///
/// # Errors
/// If the file cannot be read.
pub fn run(arguments: &Arguments) -> Result<(String, bool), Stop> {
    let report = match files::rules(&arguments.rules) {
        Ok((_, file)) => Report { findings: Vec::new(), summary: format!("{}: good", file.name) },
        Err(Stop::Mistakes(report)) => report,
        Err(stop) => return Err(stop),
    };
    Ok((report.print(arguments.format.format), !report.has_errors()))
}
