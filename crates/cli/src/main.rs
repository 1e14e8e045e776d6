//! The command `okta-policy`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use okta_policy::{cases, check, diff, explain, files::Stop, report::Format};

/// Checks, tests and explains the rules file of okta-authorizer
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 good, 1 findings, 2 wrong arguments or a file that cannot be read.

The rules are in policy.toml, and their tests in policy.tests.toml, if no other file is named."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Arguments),
    Test(cases::Arguments),
    Explain(explain::Arguments),
    Diff(diff::Arguments),
}

impl Command {
    /// How mistakes in a file are printed.
    fn format(&self) -> Format {
        match self {
            Self::Check(arguments) => arguments.format.format,
            Self::Test(arguments) => arguments.format.format,
            Self::Explain(_) => Format::Text,
            Self::Diff(arguments) => arguments.format.format,
        }
    }

    /// What is printed, and whether it is good.
    fn run(&self) -> Result<(String, bool), Stop> {
        match self {
            Self::Check(arguments) => check::run(arguments),
            Self::Test(arguments) => cases::run(arguments),
            Self::Explain(arguments) => explain::run(arguments),
            Self::Diff(arguments) => diff::run(arguments),
        }
    }
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let (text, code) = match command.run() {
        Ok((text, is_good)) => (text, if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Err(Stop::Mistakes(report)) if command.format() == Format::Text => {
            eprintln!("{}", report.print(Format::Text));
            return ExitCode::from(2);
        }
        Err(Stop::Mistakes(report)) => (report.print(command.format()), ExitCode::from(2)),
        Err(Stop::Unreadable(reason)) => {
            eprintln!("{reason}");
            return ExitCode::from(2);
        }
    };
    // The reader of a pipe may have ended.
    writeln!(io::stdout(), "{text}").ok();
    code
}
