//! `okta-policy table`: who may call what, as a table in Markdown.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use clap::Args;
use okta_authorizer_policy::{MAX_RESOURCE, PolicyOptions, Rules, Verdict, render};

use crate::{
    api::{self, Access, Api, BasePath, Operation},
    arguments::{DEFAULT_TESTS, RulesOption},
    cases::{self, Case},
    files::{self, Stop},
    report::{Finding, Format, Level, Place, Report},
    shape::{STAR, Shape, common},
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
    /// The file with the cases. Without it, policy.tests.toml in the folder of the rules
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
    let (rules, _) = files::rules(&arguments.rules.file)?;
    let api = api::read(&arguments.api, arguments.base_path)?;
    let beside = || arguments.rules.file.parent().unwrap_or(Path::new("")).join(DEFAULT_TESTS);
    let tests = files::read(&arguments.tests.clone().unwrap_or_else(beside))?;
    let cases = cases::read(&tests).map_err(Stop::Mistakes)?.cases;
    if cases.is_empty() {
        return Err(format!("{}: there is no [[case]], so the table has no columns", tests.name).into());
    }
    let text = table(&rules, &api, &cases);
    let Some(path) = &arguments.check else { return Ok((text.trim_end().to_owned(), true)) };
    let committed = files::read(path)?;
    if committed.text.replace("\r\n", "\n").trim_end() == text.trim_end() {
        return Ok((format!("{}: good", committed.name), true));
    }
    let start = committed.text.split_inclusive('\n').zip(text.split_inclusive('\n')).take_while(|(one, other)| one == other);
    let offset: usize = start.map(|(line, _)| line.len()).sum();
    let end = committed.text.get(offset..).and_then(|rest| rest.find('\n')).map_or(committed.text.len(), |at| offset + at);
    let line = text.lines().nth(committed.text.get(..offset).unwrap_or_default().matches('\n').count());
    let finding = Finding {
        level: Level::Error,
        kind: "stale-table",
        message: "the table is not the one of these rules, API and cases".to_owned(),
        places: vec![Place::new(&committed, offset..end)],
        advice: vec![
            format!("the line must be: {}", line.unwrap_or("(none)")),
            format!("write the table again: okta-policy table --api {} > {}", arguments.api.display(), committed.name),
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
        let cells: Vec<_> = operation.methods.iter().map(|method| (*method, of_method(method))).collect();
        let is_same = cells.windows(2).all(|pair| matches!(pair, [(_, one), (_, other)] if one == other));
        let mut add = |method: &str, cells: &[String]| {
            let mut row = vec![operation.path.clone(), method.to_owned()];
            row.extend_from_slice(cells);
            rows.insert(row);
        };
        match cells.first() {
            Some((_, first)) if is_same => add(&operation.method, first),
            _ => cells.iter().for_each(|(method, cells)| add(method, cells)),
        }
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let names = cases.iter().map(|case| escaped(&case.name));
    let mut text = String::from("<!-- Written by `okta-policy table`. -->\n\n");
    text.push_str(&line(["operation".to_owned()].into_iter().chain(names).collect()));
    text.push_str(&line(vec!["---".to_owned(); cases.len() + 1]));
    for row in rows {
        let (path, method, cells) = match row.split_at_checked(2) {
            Some(([path, method], cells)) => (path, method, cells),
            _ => continue,
        };
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
    let shapes: Vec<_> = Shape::of(operation).into_iter().filter(|shape| shape.0.split('/').next() == Some(method)).collect();
    let Some(shape) = shapes.first() else { return String::new() };
    let leads_here = |path: &str| api.operation_for(method, path).is_some_and(|other| std::ptr::eq(other, operation));
    let verdict = |request: &str| {
        let arn = case.stage.arn(request)?;
        let options = PolicyOptions { max_bytes: 1_048_576, path_guard: true };
        Some(render(&rules.grants(&case.claims, &arn), &arn, options).verdict)
    };
    // A value that no route and no other operation names, so that it is any value.
    let any = shape.request("any-value", |_| String::new());
    let of_any = verdict(&any);
    if matches!(of_any, Some(Verdict::Allowed { .. })) {
        return "allowed".to_owned();
    }
    let Some(arn) = case.stage.arn(&any) else { return "denied".to_owned() };
    let mut paths = BTreeSet::new();
    let grants = rules.grants(&case.claims, &arn);
    for (resource, _) in grants.allow.iter().filter(|(resource, _)| resource.len() < MAX_RESOURCE) {
        let granted = Shape(resource.replace('*', &STAR.to_string()));
        let requests = shapes.iter().filter_map(|shape| common(&[&granted, shape], 'x')).map(|common| common.request);
        for request in requests {
            let request = request.replacen('/', " /", 1);
            let path = request.split_once(' ').map_or("", |(_, path)| path);
            if leads_here(path) && matches!(verdict(&request), Some(Verdict::Allowed { .. })) {
                paths.insert(granted.one_segment().request("*", |_| String::new()).split_once(' ').map_or(String::new(), |(_, path)| path.to_owned()));
                break;
            }
        }
    }
    match (of_any, paths.len()) {
        (Some(Verdict::DeniedByRule { rule }), 0) => format!("denied by {}", escaped(&crate::request::rule_text(&rule))),
        (_, 0) => "denied".to_owned(),
        (_, count) => {
            let shown: Vec<_> = paths.iter().take(MAX_PATHS).map(|path| format!("`{}`", escaped(path))).collect();
            let more = if count > MAX_PATHS { format!(" and {} more", count - MAX_PATHS) } else { String::new() };
            format!("allowed: {}{more}", shown.join(", "))
        }
    }
}
