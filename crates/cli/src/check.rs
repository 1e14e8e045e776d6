//! `okta-policy check`: every mistake in a rules file, or else what is probably wrong.

use std::path::PathBuf;

use clap::Args;

use crate::{
    arguments::{DEFAULT_RULES, FormatOption, POLICY_FILE, variable},
    files::{self, Stop},
    lints,
    report::{Report, count},
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
    /// Makes errors of the warnings
    #[arg(long)]
    strict: bool,
    /// How findings are printed
    #[command(flatten)]
    pub format: FormatOption,
}

/// The findings, and whether there is no error.
///
/// # Errors
/// If the file cannot be read.
pub fn run(arguments: &Arguments) -> Result<(String, bool), Stop> {
    let mut report = match files::rules(&arguments.rules) {
        Ok((rules, file)) => {
            let findings = lints::lint(&rules, &file);
            Report { findings, summary: String::new() }
        }
        Err(Stop::Mistakes(report)) => report,
        Err(stop) => return Err(stop),
    };
    if arguments.strict {
        report.be_strict();
    }
    let result = count(&report.findings).unwrap_or_else(|| "good".to_owned());
    report.summary = format!("{}: {result}", arguments.rules.display());
    Ok((report.print(arguments.format.format), !report.has_errors()))
}
