//! `okta-policy`: what will a rules file do? Explains it for one token, checks it, or tests it.

mod cases;
mod check;
mod claims;
mod explain;
mod request;

use std::{
    env, fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, value_parser};
use okta_authorizer_policy::{PolicyOptions, Rules};

use crate::request::{DEFAULT_API, DEFAULT_STAGE, Stage};

/// The same variables name the Lambda's rules file and the size of its policies.
const POLICY_FILE: &str = "POLICY_FILE";
const POLICY_MAX_BYTES: &str = "POLICY_MAX_BYTES";

/// Explains, checks and tests the rules file of okta-authorizer
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 success, 1 a mistake in a file, a failed test, or a request whose answer depends on the cache, 2 wrong arguments."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows which rules match a token, and the policy that it gets
    #[command(after_help = "The policy has the path guard (PATH_GUARD=on).

Examples:
  okta-policy explain '{\"uid\":\"00u1\"}'
  okta-policy explain claims.json 'GET /users/00u1' 'PUT /users/00u1'
  okta-policy explain - 'GET /users/00u1' < token.txt
  okta-policy explain claims.json --rules my-policy.toml --stage dev")]
    Explain {
        /// Claims as JSON, a file with them, an access token, or `-` for standard input
        ///
        /// A file can also contain an access token. A token's signature is not checked.
        ///
        /// Standard input keeps a token out of the shell's history.
        #[arg(value_name = "CLAIMS|TOKEN|-")]
        claims: String,
        /// Requests such as `GET /apps`, to see whether the token may make them
        ///
        /// API Gateway caches the policy that is made for the first request of a token. So each
        /// request is also judged under the policies that are made for the others, and the exit
        /// code is 1 if one gets another answer there.
        #[arg(value_name = "METHOD /path")]
        requests: Vec<String>,
        /// The stage of the requests, for rules with `stage`
        #[arg(long, value_name = "NAME", default_value = DEFAULT_STAGE)]
        stage: String,
        /// The id of the requests' API, for rules with `api`
        #[arg(long, value_name = "ID", default_value = DEFAULT_API)]
        api: String,
        #[command(flatten)]
        rules: RulesOption,
    },
    /// Checks a rules file, and points at all mistakes
    #[command(after_help = "Examples:
  okta-policy check
  okta-policy check my-policy.toml")]
    Check {
        /// The rules file
        #[arg(value_name = "FILE", default_value = "policy.toml", env = variable(POLICY_FILE))]
        rules: PathBuf,
    },
    /// Runs the test cases of a rules file
    #[command(after_help = "A case:
  [[case]]
  name   = \"a user sees only their own account\"
  claims = { uid = \"00u1\" }
  allow  = [\"GET /users/00u1\"]
  deny   = [\"GET /users/00u2\"]
A case can have `stage` and `api` too, for rules that have them.

Each request is also judged under the policies that are made for the other requests of its case,
because API Gateway caches the policy of the first one.

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
    #[arg(long = "rules", value_name = "FILE", default_value = "policy.toml", env = variable(POLICY_FILE))]
    file: PathBuf,
    /// The most bytes that a policy may have. Other routes are left out
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 32_768,
        value_parser = value_parser!(u32).range(8_192..=1_048_576),
        env = variable(POLICY_MAX_BYTES)
    )]
    max_bytes: u32,
}

impl RulesOption {
    fn policy_options(&self) -> PolicyOptions {
        PolicyOptions { max_bytes: self.max_bytes as usize, path_guard: true }
    }
}

/// The variable that clap reads. `None` if it is empty, because the Lambda takes empty as unset.
fn variable(name: &'static str) -> Option<&'static str> {
    let is_empty = env::var_os(name).is_some_and(|value| value.is_empty());
    (!is_empty).then_some(name)
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Explain { claims, requests, stage, api, rules } => {
            Stage::new(&api, &stage).and_then(|stage| explain(&claims, &stage, &requests, &rules))
        }
        Command::Check { rules } => {
            check::load(&rules).map(|_| (format!("{}: good", rules.display()), ExitCode::SUCCESS))
        }
        Command::Test { tests, rules } => test(&tests, &rules).map(|text| (text, ExitCode::SUCCESS)),
    };
    let printed = result.and_then(|(text, code)| match writeln!(io::stdout(), "{text}") {
        Ok(()) => Ok(code),
        Err(error) => Err(error.to_string()),
    });
    match printed {
        Ok(code) => code,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// The text, and failure if a request gets another answer after another one.
fn explain(
    claims: &str,
    stage: &Stage,
    requests: &[String],
    options: &RulesOption,
) -> Result<(String, ExitCode), String> {
    let (rules, toml) = check::load(&options.file)?;
    let text = match claims {
        "-" => to_text("standard input", read_stdin())?,
        file if fs::exists(file).unwrap_or(false) => read_file(Path::new(file))?,
        text => text.to_owned(),
    };
    explain::render(&rules, &toml, &claims::read(&text)?, options.policy_options(), stage, requests)
}

fn test(tests_file: &Path, options: &RulesOption) -> Result<String, String> {
    let (rules, _) = check::load(&options.file)?;
    let name = tests_file.display();
    let outcome = cases::run(&rules, options.policy_options(), &read_file(tests_file)?)
        .map_err(|error| format!("{name}, {error}"))?;
    if outcome.failures.is_empty() {
        return Ok(format!("{name}: {} requests as expected", outcome.tried));
    }
    let failures: Vec<_> = outcome.failures.iter().map(|failure| format!("{name}, {failure}")).collect();
    Err(format!("{}\n{} of {} requests not as expected", failures.join("\n"), outcome.failures.len(), outcome.tried))
}

fn read_file(file: &Path) -> Result<String, String> {
    to_text(&file.display().to_string(), fs::read(file))
}

fn read_stdin() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of what was read. The error begins with `name`.
fn to_text(name: &str, read: io::Result<Vec<u8>>) -> Result<String, String> {
    let bytes = read.map_err(|error| format!("{name}: {error}"))?;
    Rules::text(bytes).map_err(|errors| {
        let reasons: Vec<_> = errors.0.into_iter().map(|error| error.reason).collect();
        format!("{name}: {}", reasons.join("; "))
    })
}

/// The rules of the unit tests.
#[cfg(test)]
const EXAMPLE_RULES: &str = r#"[[allow]]
name   = "tenant members"
when   = { tenants = "{id}:{name}" }
routes = ["GET /t/{name}/*"]

[[allow]]
routes = ["GET /apps"]

[[deny]]
when   = { groups = "{banned}-SUSPENDED" }
routes = ["GET /t/{banned}/*"]

[[allow]]
api    = "abcdef1234"
stage  = ["dev", "test"]
when   = { uid = { present = true } }
routes = ["GET /orders/*/invoice"]
"#;

/// The options of the unit tests.
#[cfg(test)]
const DEFAULT_OPTIONS: PolicyOptions = PolicyOptions { max_bytes: 32_768, path_guard: true };

/// One route for each tenant.
#[cfg(test)]
const TENANT_RULES: &str = "[[allow]]\nwhen = { tenants = '{id}' }\nroutes = ['GET /{id}/*']\n";

/// The tenants `000`, `001` and so on, as a JSON array and as a TOML array. 500 of them do not fit.
#[cfg(test)]
fn tenants(count: usize) -> String {
    let tenants: Vec<_> = (0..count).map(|number| format!("\"{number:03}\"")).collect();
    format!("[{}]", tenants.join(","))
}
