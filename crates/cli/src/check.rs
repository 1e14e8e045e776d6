//! `okta-policy check`: every mistake in a rules file, or else what is probably wrong.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::{
    arguments::{FormatOption, POLICY_FILE, rules_file, variable},
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
    /// The rules file. Without it, policy.toml or function/policy.toml
    #[arg(value_name = "FILE", env = variable(POLICY_FILE))]
    rules: Option<PathBuf>,
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
    let path = rules_file(arguments.rules.as_deref(), Path::new(""))?;
    let mut report = match files::rules(&path) {
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
    report.summary = format!("{}: {result}", path.display());
    Ok((report.print(arguments.format.format), !report.has_errors()))
}
