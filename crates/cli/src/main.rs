//! `okta-policy`: what will a rules file do? Explains it for one token, checks it, or tests it.

mod cases;
mod check;
mod claims;
mod explain;
mod request;

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

/// The same variable names the Lambda's rules file.
const POLICY_FILE: &str = "POLICY_FILE";

/// Explains, checks and tests the rules file of okta-authorizer
#[derive(Parser)]
#[command(version, after_help = "Exit codes: 0 success, 1 a mistake in a file or a failed test, 2 wrong arguments.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows which rules match a token, and the policy that it gets
    #[command(after_help = "The policy is rendered with the defaults of PATH_GUARD and POLICY_MAX_BYTES.

Examples:
  okta-policy explain '{\"uid\":\"00u1\"}'
  okta-policy explain claims.json 'GET /users/00u1'
  okta-policy explain - 'GET /users/00u1' < token.txt
  okta-policy explain claims.json --rules my-policy.toml")]
    Explain {
        /// Claims as JSON, a file with them, an access token, or `-` for standard input
        ///
        /// A file can also contain an access token. A token's signature is not checked.
        ///
        /// Standard input keeps a token out of the shell's history.
        #[arg(value_name = "CLAIMS|TOKEN|-")]
        claims: String,
        /// A request such as `GET /apps`, to see whether the token may make it
        #[arg(value_name = "METHOD /path")]
        request: Option<String>,
        #[command(flatten)]
        rules: RulesOption,
    },
    /// Checks a rules file, and points at the first mistake
    #[command(after_help = "Examples:
  okta-policy check
  okta-policy check my-policy.toml")]
    Check {
        /// The rules file
        #[arg(value_name = "FILE", default_value = "policy.toml", env = policy_file_variable())]
        rules: PathBuf,
    },
    /// Runs the test cases of a rules file
    #[command(after_help = "A case:
  [[case]]
  name   = \"a user sees only their own account\"
  claims = { uid = \"00u1\" }
  allow  = [\"GET /users/00u1\"]
  deny   = [\"GET /users/00u2\"]

Examples:
  okta-policy test
  okta-policy test my-policy.tests.toml --rules my-policy.toml")]
    Test {
        /// The file with the test cases
        #[arg(default_value = "policy.tests.toml")]
        tests: PathBuf,
        #[command(flatten)]
        rules: RulesOption,
    },
}

#[derive(Args)]
struct RulesOption {
    /// The rules file
    #[arg(long = "rules", value_name = "FILE", default_value = "policy.toml", env = policy_file_variable())]
    file: PathBuf,
}

/// The variable that clap reads. `None` if it is empty, because the Lambda takes empty as unset.
fn policy_file_variable() -> Option<&'static str> {
    let is_empty = env::var_os(POLICY_FILE).is_some_and(|value| value.is_empty());
    (!is_empty).then_some(POLICY_FILE)
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Explain { claims, request, rules } => explain(&claims, request.as_deref(), &rules.file),
        Command::Check { rules } => check::load(&rules).map(|_| format!("{}: good", rules.display())),
        Command::Test { tests, rules } => test(&tests, &rules.file),
    };
    let result = result.and_then(|text| writeln!(io::stdout(), "{text}").map_err(|error| error.to_string()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn explain(claims: &str, request: Option<&str>, rules_file: &Path) -> Result<String, String> {
    let (rules, toml) = check::load(rules_file)?;
    let text = match claims {
        "-" => io::read_to_string(io::stdin()).map_err(|error| format!("standard input: {error}"))?,
        file if fs::exists(file).unwrap_or(false) => read_file(Path::new(file))?,
        text => text.to_owned(),
    };
    explain::render(&rules, &toml, &claims::read(&text)?, request)
}

fn test(tests_file: &Path, rules_file: &Path) -> Result<String, String> {
    let (rules, _) = check::load(rules_file)?;
    let name = tests_file.display();
    let outcome = cases::run(&rules, &read_file(tests_file)?).map_err(|error| format!("{name}, {error}"))?;
    if outcome.failures.is_empty() {
        return Ok(format!("{name}: {} requests as expected", outcome.tried));
    }
    let failures: Vec<_> = outcome.failures.iter().map(|failure| format!("{name}, {failure}")).collect();
    Err(format!("{}\n{} of {} requests not as expected", failures.join("\n"), outcome.failures.len(), outcome.tried))
}

fn read_file(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// The rules of the unit tests.
#[cfg(test)]
const EXAMPLE_RULES: &str = r#"[[allow]]
when   = { tenants = "{id}:{name}" }
routes = ["GET /t/{name}/*"]

[[allow]]
routes = ["GET /apps"]

[[deny]]
when   = { groups = "{banned}-SUSPENDED" }
routes = ["GET /t/{banned}/*"]
"#;
