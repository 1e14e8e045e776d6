//! What will this rules file do? Explains it for one token, checks it, or tests it.
//!
//! ```text
//! cargo run --example explain -- CLAIMS|TOKEN|- ['METHOD /path'] [--rules FILE]
//! cargo run --example explain -- --check [FILE]
//! cargo run --example explain -- --test [TESTS] [--rules FILE]
//! ```
//!
//! `CLAIMS` is a JSON object or a file with one, `TOKEN` an access token, whose signature is not checked; `-` reads
//! either from standard input, which keeps a token out of the shell's history. The rules are `policy.toml`, the tests
//! `policy.tests.toml`, unless others are named. `PATH_GUARD` and `POLICY_MAX_BYTES` are at their defaults.

mod cases;
mod check;
mod claims;
mod report;
mod route;

use std::{env, fs, io, process::ExitCode};

use okta_authorizer::policy::Rules;

const USAGE: &str = "usage: explain CLAIMS|TOKEN|- ['METHOD /path'] [--rules FILE]
       explain --check [FILE]
       explain --test [TESTS] [--rules FILE]";

fn main() -> ExitCode {
    match run(env::args().skip(1).collect()) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            eprintln!("{wrong}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: Vec<String>) -> Result<String, String> {
    let rules_file = match arguments.iter().position(|argument| argument == "--rules") {
        Some(at) if at + 1 < arguments.len() => arguments.drain(at..at + 2).nth(1),
        Some(_) => return Err(USAGE.to_owned()),
        None => None,
    };
    let rules_file = rules_file.as_deref().unwrap_or("policy.toml");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--check"] => parse(rules_file).map(|_| format!("{rules_file}: good")),
        ["--check", file] => parse(file).map(|_| format!("{file}: good")),
        ["--test"] => test(rules_file, "policy.tests.toml"),
        ["--test", tests] => test(rules_file, tests),
        [whose] if !whose.starts_with("--") => explain(rules_file, whose, None),
        [whose, route] if !whose.starts_with("--") => explain(rules_file, whose, Some(route)),
        _ => Err(USAGE.to_owned()),
    }
}

fn explain(rules_file: &str, whose: &str, route: Option<&str>) -> Result<String, String> {
    let (rules, toml) = parse(rules_file)?;
    let text = match whose {
        "-" => io::read_to_string(io::stdin()).map_err(|error| error.to_string())?,
        file if fs::exists(file).unwrap_or(false) => read(file)?,
        text => text.to_owned(),
    };
    let claims = claims::proven(claims::read(&text)?)?;
    report::report(&rules, &toml, &claims, route)
}

fn test(rules_file: &str, tests_file: &str) -> Result<String, String> {
    let (rules, _) = parse(rules_file)?;
    let outcome = cases::run(&rules, &read(tests_file)?).map_err(|wrong| format!("{tests_file}, {wrong}"))?;
    if outcome.failures.is_empty() {
        return Ok(format!("{tests_file}: {} requests as expected", outcome.tried));
    }
    let said: Vec<_> = outcome.failures.iter().map(|failure| format!("{tests_file}, {failure}")).collect();
    Err(format!("{}\n{} of {} requests not as expected", said.join("\n"), outcome.failures.len(), outcome.tried))
}

fn parse(file: &str) -> Result<(Rules, String), String> {
    let toml = read(file)?;
    Rules::parse(&toml).map(|rules| (rules, toml.clone())).map_err(|error| check::pointed(file, &toml, &error))
}

fn read(file: &str) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))
}
