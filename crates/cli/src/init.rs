//! `okta-policy init`: starter rules for an API.

use std::{collections::BTreeSet, fmt::Write, path::PathBuf};

use clap::Args;
use okta_authorizer_policy::Rules;

use crate::{
    api::{self, Access, Api, BasePath, METHODS, Operation, Segment},
    cover::OPEN_OPERATION,
    files::Stop,
    lints::{INNER_WILDCARD, NEEDLESS_ROUTE},
    shape::Shape,
};

/// Writes starter rules for an API to standard output
#[derive(Debug, Args)]
#[command(after_help = "There is one rule for each set of scopes that the API file names: in `security` of an operation, or
in `x-okta-scopes`, because API Gateway refuses scopes on the scheme of a TOKEN authorizer:
  x-okta-scopes: [orders:read]            # this scope
  x-okta-scopes: [[orders:read], [admin]] # either of these

Examples:
  okta-policy init --api openapi.yaml > policy.toml
  okta-policy init --api openapi.yaml --tests > policy.tests.toml")]
pub struct Arguments {
    /// OpenAPI, SAM or CloudFormation
    #[arg(long, value_name = "FILE")]
    api: PathBuf,
    /// What an import into API Gateway does with the API's base path
    #[arg(long, value_enum, default_value_t)]
    base_path: BasePath,
    /// Writes test cases for these rules instead
    #[arg(long)]
    tests: bool,
}

/// The rules, or their tests.
///
/// # Errors
/// If the file cannot be read, or has no operation with the authorizer.
pub fn run(arguments: &Arguments) -> Result<(String, bool), Stop> {
    let api = api::read(&arguments.api, arguments.base_path)?;
    if !api.operations.iter().any(|operation| operation.access == Access::Authorizer) {
        let file = &api.file.name;
        return Err(format!("{file}: no operation has the authorizer, so there is nothing to grant; give an operation `security` with the authorizer's scheme").into());
    }
    let text = if arguments.tests { tests(&api) } else { rules(&api) };
    Ok((text.trim_end().to_owned(), true))
}

/// A rule: the scopes that it needs all of, and the operations that it grants.
struct Grant<'a> {
    scopes: Vec<&'a str>,
    operations: Vec<&'a Operation>,
}

/// One for each distinct set of scopes, in the order of the file.
fn grants(api: &Api) -> Vec<Grant<'_>> {
    let mut grants: Vec<Grant<'_>> = Vec::new();
    for operation in api.operations.iter().filter(|operation| operation.access == Access::Authorizer) {
        let any_token = [Vec::new()];
        let alternatives = if operation.scopes.is_empty() { &any_token[..] } else { &operation.scopes };
        let sets: BTreeSet<BTreeSet<&str>> =
            alternatives.iter().map(|scopes| scopes.iter().map(String::as_str).collect()).collect();
        for set in sets {
            let scopes: Vec<_> = set.into_iter().collect();
            match grants.iter_mut().find(|grant| grant.scopes == scopes) {
                Some(grant) => grant.operations.push(operation),
                None => grants.push(Grant { scopes, operations: vec![operation] }),
            }
        }
    }
    grants
}

/// The text of the rules file.
#[must_use]
pub fn rules(api: &Api) -> String {
    let mut text = format!(
        "# Starter rules for {}, written by `okta-policy init`. Each `*` is a path parameter of the API. If it
# must be the caller's own, capture it: add uid = \"{{uid}}\" to `when`, and write {{uid}} instead of the
# `*`. See docs/rules.md.
",
        api.file.name
    );
    for grant in grants(api) {
        text.push('\n');
        text.push_str(&rule(&grant));
    }
    let unprotected = api.operations.iter().filter_map(|operation| match &operation.access {
        Access::Authorizer => None,
        Access::Open(reason) => Some(format!("#   {}: open, because {reason}\n", operation.name())),
        Access::Other(who) => Some(format!("#   {}: {who}\n", operation.name())),
    });
    let unprotected: String = unprotected.collect();
    if !unprotected.is_empty() {
        write!(text, "\n# Rules have no effect on these operations, because they do not have this authorizer:\n{unprotected}").ok();
    }
    text
}

fn rule(grant: &Grant<'_>) -> String {
    let when = when(&grant.scopes);
    let mut lines = Vec::new();
    let mut shapes: Vec<Shape> = Vec::new();
    for operation in &grant.operations {
        for method in methods(operation) {
            let route = format!("{method} {}", path(operation, "*"));
            let comment = question(operation);
            match problem(&when, &route) {
                None => {
                    lines.push(format!("  \"{route}\",{comment}\n"));
                    shapes.extend(route_shape(operation, method));
                }
                Some(problem) => lines.push(format!("  # {route}: {problem}\n")),
            }
        }
    }
    let mut text = String::new();
    if shapes.is_empty() {
        write!(text, "# This rule cannot be written, because it has no route:\n# {when}").ok();
        for line in lines {
            write!(text, "# {line}").ok();
        }
        return text;
    }
    if shapes.iter().any(|shape| shape.has_star() && !shape.ends_with_star()) {
        writeln!(text, "# okta-policy: allow({INNER_WILDCARD}) path parameters of the API, to be looked at").ok();
    }
    let is_needless = |(number, shape): (usize, &Shape)| {
        shapes.iter().enumerate().any(|(other, wide)| other != number && wide.covers(shape))
    };
    if shapes.iter().enumerate().any(is_needless) {
        writeln!(text, "# okta-policy: allow({NEEDLESS_ROUTE}) each operation has a route of its own").ok();
    }
    writeln!(text, "[[allow]]\n{when}routes = [\n{}]", lines.concat()).ok();
    text
}

/// The line `when`. Empty for any valid token.
fn when(scopes: &[&str]) -> String {
    let quoted: Vec<_> = scopes.iter().map(|scope| toml_string(scope)).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [scope] => format!("when = {{ scopes = {scope} }}\n"),
        _ => format!("when = {{ scopes = {{ all = [{}] }} }}\n", quoted.join(", ")),
    }
}

fn toml_string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// `ANY`, or the methods.
fn methods(operation: &Operation) -> Vec<&'static str> {
    if operation.methods.len() == METHODS.len() { vec!["ANY"] } else { operation.methods.clone() }
}

/// The path with `open` in place of each parameter.
fn path(operation: &Operation, open: &str) -> String {
    let segment = |segment: &Segment| match segment {
        Segment::Literal(text) => format!("/{text}"),
        Segment::Parameter(_) | Segment::Proxy(_) => format!("/{open}"),
    };
    let path: String = operation.segments.iter().map(segment).collect();
    if path.is_empty() { "/".to_owned() } else { path }
}

/// A comment that asks about the parameters of the path.
fn question(operation: &Operation) -> String {
    let name = |segment: &Segment| match segment {
        Segment::Literal(_) => None,
        Segment::Parameter(name) => Some(format!("{{{name}}}")),
        Segment::Proxy(name) => Some(format!("{{{name}+}}")),
    };
    let names: Vec<_> = operation.segments.iter().filter_map(name).collect();
    if names.is_empty() { String::new() } else { format!(" # any {}, or the caller's own?", names.join(" and ")) }
}

/// Why a rule with this route is not accepted.
fn problem(when: &str, route: &str) -> Option<String> {
    let rule = format!("[[allow]]\n{when}routes = [{}]\n", toml_string(route));
    let errors = Rules::parse(&rule).err()?;
    errors.0.into_iter().next().map(|error| error.reason)
}

/// The requests that the route of an operation grants.
fn route_shape(operation: &Operation, method: &str) -> Vec<Shape> {
    let path = path(operation, &crate::shape::STAR.to_string());
    let all = METHODS.into_iter().filter(|one| method == "ANY" || method == *one);
    all.map(|method| Shape(format!("{method}{path}"))).collect()
}

/// The text of the tests file.
#[must_use]
pub fn tests(api: &Api) -> String {
    let mut text = format!("# Test cases for {}, written by `okta-policy init --tests`. Run them with `okta-policy test`.\n", api.file.name);
    let grants = grants(api);
    for grant in &grants {
        let when = when(&grant.scopes);
        let is_good = |operation: &&&Operation| {
            methods(operation).first().is_some_and(|method| problem(&when, &format!("{method} {}", path(operation, "*"))).is_none())
        };
        let requests = grant.operations.iter().filter(is_good).flat_map(|operation| {
            let methods = operation.methods.iter().copied();
            methods.map(|method| format!("{method} {}", path(operation, "x1"))).collect::<Vec<_>>()
        });
        let requests: BTreeSet<_> = requests.collect();
        if requests.is_empty() {
            continue;
        }
        let name = if grant.scopes.is_empty() { "any valid token".to_owned() } else { grant.scopes.join(" and ") };
        let scopes: Vec<_> = grant.scopes.iter().map(|scope| toml_string(scope)).collect();
        let claims = if scopes.is_empty() { "{ uid = \"00u1\" }".to_owned() } else { format!("{{ uid = \"00u1\", scp = [{}] }}", scopes.join(", ")) };
        let lines: String = requests.iter().map(|request| format!("  {},\n", toml_string(request))).collect();
        write!(text, "\n[[case]]\nname   = {}\nclaims = {claims}\nallow  = [\n{lines}]\n", toml_string(&name)).ok();
    }
    for operation in &api.operations {
        let is_preflight = operation.methods.iter().all(|method| *method == "OPTIONS");
        if let (Access::Open(_), false) = (&operation.access, is_preflight) {
            write!(text, "\n[[expected]]\nfinding = \"{OPEN_OPERATION}\"\non      = {}\nreason  = \"open in the API file; write here why it may be\"\n", toml_string(&operation.name())).ok();
        }
    }
    text
}
