//! The command `okta-policy`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use okta_policy::{cases, check, cover, diff, explain, files::Stop, init, report::Format, table};

/// Checks, tests and explains the rules file of okta-authorizer
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 good, 1 findings, 2 wrong arguments or a file that cannot be read.

If no file is named, the rules are in policy.toml, or in function/policy.toml as in the bundle of a
release, and their tests in policy.tests.toml."
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
    Cover(cover::Arguments),
    Diff(diff::Arguments),
    Init(init::Arguments),
    Table(table::Arguments),
}

impl Command {
    /// How mistakes in a file are printed.
    fn format(&self) -> Format {
        match self {
            Self::Check(arguments) => arguments.format.format,
            Self::Test(arguments) => arguments.format.format,
            Self::Explain(_) | Self::Init(_) | Self::Table(_) => Format::Text,
            Self::Cover(arguments) => arguments.format.format,
            Self::Diff(arguments) => arguments.format.format,
        }
    }

    /// What is printed, and whether it is good.
    fn run(&self) -> Result<(String, bool), Stop> {
        match self {
            Self::Check(arguments) => check::run(arguments),
            Self::Test(arguments) => cases::run(arguments),
            Self::Explain(arguments) => explain::run(arguments),
            Self::Cover(arguments) => cover::run(arguments),
            Self::Diff(arguments) => diff::run(arguments),
            Self::Init(arguments) => init::run(arguments),
            Self::Table(arguments) => table::run(arguments),
        }
    }
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let (text, code) = match command.run() {
        Ok((text, is_good)) => (text, if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Err(Stop::Mistakes(report)) if command.format() == Format::Text => {
            writeln!(io::stderr(), "{}", report.print(Format::Text)).ok();
            return ExitCode::from(2);
        }
        Err(Stop::Mistakes(report)) => (report.print(command.format()), ExitCode::from(2)),
        Err(Stop::Unreadable(reason)) => {
            writeln!(io::stderr(), "{reason}").ok();
            return ExitCode::from(2);
        }
    };
    match writeln!(io::stdout(), "{text}") {
        // The reader of a pipe has enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            writeln!(io::stderr(), "standard output cannot be written: {error}").ok();
            ExitCode::from(2)
        }
        _ => code,
    }
}
