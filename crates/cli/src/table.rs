//! `okta-policy table`: who may call what, as a table in Markdown.

use std::{collections::BTreeSet, path::PathBuf};

use clap::Args;
use okta_authorizer_policy::{Rules, Verdict};

use crate::{
    api::{self, Access, Api, BasePath, Operation},
    arguments::RulesOption,
    cases::{self, Case},
    files::{self, Stop},
    reach::reach,
    report::{Finding, Format, Level, Place, Report},
    request,
};

/// Writes who may call what as a table in Markdown: operations down, test cases across
#[derive(Debug, Args)]
#[command(after_help = "Commit the table, and see in a review what a change of the rules does.

Examples:
  okta-policy table --api openapi.yaml > access.md
  okta-policy table --api openapi.yaml --check access.md")]
pub struct Arguments {
    /// OpenAPI, SAM or CloudFormation
    #[arg(long, value_name = "FILE")]
    api: PathBuf,
    /// What an import into API Gateway does with the API's base path
    #[arg(long, value_enum, default_value_t)]
    base_path: BasePath,
    #[command(flatten)]
    rules: RulesOption,
    /// The file with the cases. Without it, policy.tests.toml next to the rules that are named
    #[arg(long, value_name = "FILE")]
    tests: Option<PathBuf>,
    /// The exit code is 1 if this file is not the table
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

/// The table, or whether a file is the table.
///
/// # Errors
/// If a file cannot be read.
pub fn run(arguments: &Arguments) -> Result<(String, bool), Stop> {
    let (rules, _) = files::rules(&arguments.rules.file()?)?;
    let api = api::read(&arguments.api, arguments.base_path)?;
    let tests = files::read(&arguments.tests.clone().unwrap_or_else(|| arguments.rules.tests()))?;
    let cases = cases::read(&tests).map_err(Stop::Mistakes)?.cases;
    let text = table(&rules, &api, &cases);
    let Some(path) = &arguments.check else { return Ok((text.trim_end().to_owned(), true)) };
    let committed = files::read(path)?;
    if committed.text.replace("\r\n", "\n").trim_end() == text.trim_end() {
        return Ok((format!("{}: good", committed.name), true));
    }
    let lines = committed.text.split_inclusive('\n').zip(text.lines());
    let alike: Vec<_> = lines.map_while(|(one, other)| (one.trim_end() == other).then_some(one.len())).collect();
    let offset: usize = alike.iter().sum();
    let rest = committed.text.get(offset..).unwrap_or_default();
    let end = offset + rest.lines().next().unwrap_or_default().len();
    let line = text.lines().nth(alike.len());
    let finding = Finding {
        level: Level::Error,
        kind: "stale-table",
        message: "the table is not the one of these rules, API and cases".to_owned(),
        places: vec![Place::new(&committed, offset..end)],
        advice: vec![
            format!("the line must be: {}", line.unwrap_or("(none)")),
            format!("write the table again: the same command without `--check`, and with `> {}`", committed.name),
        ],
        witness: None,
    };
    let report = Report { findings: vec![finding], summary: format!("{}: 1 error", committed.name) };
    Ok((report.print(Format::Text), false))
}

/// The table, sorted by path and method.
#[must_use]
pub fn table(rules: &Rules, api: &Api, cases: &[Case]) -> String {
    let mut rows: BTreeSet<Vec<String>> = BTreeSet::new();
    for operation in &api.operations {
        let of_method = |method: &&'static str| -> Vec<String> {
            cases.iter().map(|case| cell(rules, api, operation, method, case)).collect()
        };
        // Methods of `ANY` with the same answers are one row.
        let mut alike: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
        for method in &operation.methods {
            let cells = of_method(method);
            match alike.iter_mut().find(|(_, other)| *other == cells) {
                Some((methods, _)) => methods.push(method),
                None => alike.push((vec![method], cells)),
            }
        }
        let is_one = alike.len() == 1;
        for (methods, cells) in alike {
            let name = if is_one { operation.method.clone() } else { methods.join(", ") };
            rows.insert([operation.path.clone(), name].into_iter().chain(cells).collect());
        }
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let names = cases.iter().map(|case| escaped(&case.name));
    let mut text = String::from("<!-- Written by `okta-policy table`. -->\n\n");
    text.push_str(&line(["operation".to_owned()].into_iter().chain(names).collect()));
    text.push_str(&line(vec!["---".to_owned(); cases.len() + 1]));
    for row in rows {
        let Some(([path, method], cells)) = row.split_at_checked(2) else { continue };
        let name = format!("`{method} {path}`");
        text.push_str(&line([name].into_iter().chain(cells.iter().cloned()).collect()));
    }
    text
}

/// A text in a cell.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('\n', " ")
}

/// The most paths that a cell names.
const MAX_PATHS: usize = 3;

/// What a token with the case's claims may call of an operation.
fn cell(rules: &Rules, api: &Api, operation: &Operation, method: &'static str, case: &Case) -> String {
    match &operation.access {
        Access::Authorizer => {}
        Access::Open(_) => return "open".to_owned(),
        Access::Other(_) => return "not by this authorizer".to_owned(),
    }
    let Some(reach) = reach(rules, api, operation, method, &case.claims, &case.stage) else { return String::new() };
    let paths = |paths: &mut dyn Iterator<Item = &String>| {
        let paths: BTreeSet<&String> = paths.collect();
        let shown: Vec<_> = paths.iter().take(MAX_PATHS).map(|path| format!("`{}`", escaped(path))).collect();
        let more = paths.len().saturating_sub(MAX_PATHS);
        if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
    };
    match reach.of_any {
        Verdict::Allowed { .. } if reach.denied.is_empty() => "allowed".to_owned(),
        Verdict::Allowed { .. } => format!("allowed, except {}", paths(&mut reach.denied.iter())),
        _ if !reach.allowed.is_empty() => {
            format!("allowed: {}", paths(&mut reach.allowed.iter().map(|(path, _)| path)))
        }
        Verdict::DeniedByRule { rule } => format!("denied by {}", escaped(&request::rule_text(&rule))),
        Verdict::NotGranted | Verdict::PathGuard => "denied".to_owned(),
    }
}
