//! `okta-policy init`: starter rules for an API.

use std::{collections::BTreeSet, fmt::Write, path::PathBuf, sync::Arc};

use clap::Args;
use okta_authorizer_policy::Rules;

use crate::{
    api::{self, Access, Api, BasePath, METHODS, Operation, Segment},
    cover::OPEN_OPERATION,
    files::Stop,
    lints::{EVERYTHING_FOR_EVERYONE, INNER_WILDCARD, lint},
    report::{File, Finding},
    shape::{self, Shape},
};

/// Writes starter rules for an API to standard output
#[derive(Debug, Args)]
#[command(
    after_help = "There is one rule for each set of scopes that the API file names: in `security` of an operation, or
in `x-okta-scopes`, because API Gateway refuses scopes on the scheme of a TOKEN authorizer:
  x-okta-scopes: [orders:read]            # this scope
  x-okta-scopes: [[orders:read], [admin]] # either of these

Examples:
  okta-policy init --api openapi.yaml > policy.toml
  okta-policy init --api openapi.yaml --tests > policy.tests.toml"
)]
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
    let rules = rules(&api);
    // A rule without a route is a comment, and a file has bounds.
    if let Err(errors) = Rules::parse(&rules) {
        let reasons: Vec<_> = errors.0.into_iter().map(|error| error.reason).collect();
        return Err(format!("{}: no rules can be written for it: {}", api.file.name, reasons.join("; ")).into());
    }
    let text = if arguments.tests { tests(&api) } else { rules };
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
        let mut sets: BTreeSet<BTreeSet<&str>> =
            operation.scopes.iter().map(|scopes| scopes.iter().map(String::as_str).collect()).collect();
        if sets.is_empty() {
            // Any valid token.
            sets.insert(BTreeSet::new());
        }
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
        "# Starter rules for {}, written by `okta-policy init`.
# Each `*` is a path parameter of the API. A `*` is any characters, slashes included. If a value
# must be the caller's own, capture it: add uid = \"{{uid}}\" to `when`, and write {{uid}} instead of
# the `*`. These rules are for every API and stage of the function. See docs/rules.md.
",
        comment(&api.file.name)
    );
    let rules: Vec<_> = grants(api).iter().map(|grant| rule(api, grant)).collect();
    for (rule, silencers) in rules.iter().zip(silencers(&rules)) {
        text.push('\n');
        text.push_str(&silencers);
        text.push_str(rule);
    }
    let mut unprotected: Vec<(String, Vec<String>)> = Vec::new();
    for operation in &api.operations {
        let why = match &operation.access {
            Access::Authorizer => continue,
            Access::Open(reason) => format!("open, because {reason}"),
            Access::Other(who) => who.clone(),
        };
        match unprotected.iter_mut().find(|(other, _)| *other == why) {
            Some((_, names)) => names.push(comment(&operation.name())),
            None => unprotected.push((why, vec![comment(&operation.name())])),
        }
    }
    if !unprotected.is_empty() {
        text.push_str("\n# Rules have no effect on these operations, because they do not have this authorizer:\n");
    }
    for (why, names) in unprotected {
        write!(text, "#   {}:\n{}", comment(&why), lines("#     ", names, "")).ok();
    }
    text
}

/// For each rule, the comments that silence what `okta-policy check` finds there.
fn silencers(rules: &[String]) -> Vec<String> {
    let file = Arc::new(File { name: String::new(), text: rules.concat() });
    let findings = Rules::parse(&file.text).map(|rules| lint(&rules, &file)).unwrap_or_default();
    let mut start = 0;
    let mut of_rule = |rule: &String| {
        let span = start..start + rule.len();
        start = span.end;
        let is_here = |finding: &&Finding| finding.places.first().is_some_and(|place| span.contains(&place.span.start));
        let kinds: BTreeSet<_> = findings.iter().filter(is_here).map(|finding| finding.kind).collect();
        let line = |kind: &str| {
            let reason = match kind {
                INNER_WILDCARD => "path parameters of the API, to be looked at",
                EVERYTHING_FOR_EVERYONE => "the API file names no scopes",
                _ => "each operation has a route of its own",
            };
            format!("# okta-policy: allow({kind}) {reason}\n")
        };
        kinds.into_iter().map(line).collect()
    };
    rules.iter().map(&mut of_rule).collect()
}

/// A text in a comment, which has to stay in its line.
fn comment(text: &str) -> String {
    let one = |character: char| {
        if character.is_control() { character.escape_default().to_string() } else { character.to_string() }
    };
    text.chars().map(one).collect()
}

/// The most columns of a line, if it can be made of several.
const MAX_COLUMNS: usize = 100;

fn rule(api: &Api, grant: &Grant<'_>) -> String {
    let when = when(&grant.scopes);
    let mut lines = String::new();
    let mut has_route = false;
    for operation in &grant.operations {
        for method in methods(api, operation) {
            let route = format!("{method} {}", path(operation, "*"));
            if let Some(problem) = problem(&when, &route) {
                writeln!(lines, "  # {}", comment(&format!("{route}: {problem}"))).ok();
                continue;
            }
            has_route = true;
            let (route, question) = (format!("  \"{route}\","), question(operation));
            if question.is_empty() || route.chars().count() + 1 + question.chars().count() <= MAX_COLUMNS {
                writeln!(lines, "{}", format!("{route} {question}").trim_end()).ok();
            } else {
                writeln!(lines, "  {question}\n{route}").ok();
            }
            let weaker = weaker(api, grant, operation, method);
            if !weaker.is_empty() {
                lines.push_str(
                    "  # Careful: its `*` also grants these, which need other scopes. Check those in the backend:\n",
                );
                lines.push_str(&self::lines("  #   ", weaker.iter().map(|name| comment(name)), ""));
            }
        }
    }
    if !has_route {
        let all = when.lines().chain(lines.lines()).map(|line| comment(line.trim_start_matches([' ', '#'])));
        let all = self::lines("#   ", all, "");
        return format!("# This rule cannot be written, because none of its operations can be a route:\n{all}");
    }
    let any = if grant.scopes.is_empty() {
        "# The API file names no scopes for these operations, so any valid token may call them.\n"
    } else {
        ""
    };
    format!("{any}[[allow]]\n{when}routes = [\n{lines}]\n")
}

/// The operations that a route grants too, although the scopes of its rule are not enough for them.
fn weaker(api: &Api, grant: &Grant<'_>, operation: &Operation, method: &str) -> Vec<String> {
    let routes = route_shape(operation, method);
    let is_enough = |other: &Operation| {
        let has = |scope: &String| grant.scopes.contains(&scope.as_str());
        other.scopes.is_empty() || other.scopes.iter().any(|scopes| scopes.iter().all(has))
    };
    // A slash at the end leads to an operation too: `/orders/` is in `/orders/*`.
    let name = |other: &Operation| {
        let shapes = Shape::of(other);
        let pairs = routes.iter().flat_map(|route| shapes.iter().map(move |shape| (route, shape)));
        let mut pairs = pairs.filter(|(route, shape)| route.has_star() && route.starts_like(shape));
        let request = pairs.find_map(|(route, shape)| {
            let request = shape::common(&[route, shape], 'x')?.request;
            api.leads_to(&request, other).then_some(request)
        })?;
        let how = if request.ends_with('/') { ", with a slash at the end" } else { "" };
        Some(format!("{}{how}", other.name()))
    };
    let others = api.operations.iter().filter(|other| other.access == Access::Authorizer && !is_enough(other));
    others.filter_map(name).collect()
}

/// The line `when`. Empty for any valid token.
fn when(scopes: &[&str]) -> String {
    match scopes {
        [] => String::new(),
        [scope] => format!("when = {{ scopes = {} }}\n", toml_string(scope)),
        _ => list("when = { scopes = { all = ", scopes, " } }"),
    }
}

/// A list of strings between two texts, in one line if it is short enough.
fn list(before: &str, texts: &[&str], after: &str) -> String {
    let quoted: Vec<_> = texts.iter().map(|text| toml_string(text)).collect();
    let line = format!("{before}[{}]{after}", quoted.join(", "));
    if line.chars().count() <= MAX_COLUMNS {
        return format!("{line}\n");
    }
    format!("{before}[\n{}]{after}\n", lines("  ", quoted, ","))
}

/// Each text in a line.
fn lines(before: &str, texts: impl IntoIterator<Item = String>, after: &str) -> String {
    let mut lines = String::new();
    for text in texts {
        writeln!(lines, "{before}{text}{after}").ok();
    }
    lines
}

/// A string of TOML, which has the escapes of JSON.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `ANY` if the other methods of the path, if there are any, do not have the authorizer, or else the
/// methods.
fn methods(api: &Api, operation: &Operation) -> Vec<&'static str> {
    let is_ours = |other: &&Operation| other.path == operation.path && other.access == Access::Authorizer;
    let is_all = operation.method == "ANY" && api.operations.iter().filter(is_ours).count() == 1;
    if is_all { vec!["ANY"] } else { operation.methods.clone() }
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
    if names.is_empty() {
        String::new()
    } else {
        comment(&format!("# any {}, or the caller's own?", names.join(" and ")))
    }
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
    let mut text = format!(
        "# Test cases for {}, written by `okta-policy init --tests`.
# Run them with `okta-policy test`.\n",
        comment(&api.file.name)
    );
    let grants = grants(api);
    for grant in &grants {
        let when = when(&grant.scopes);
        let is_good = |operation: &&&Operation| {
            methods(api, operation)
                .first()
                .is_some_and(|method| problem(&when, &format!("{method} {}", path(operation, "*"))).is_none())
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
        let claims = if grant.scopes.is_empty() {
            "claims = { uid = \"00u1\" }\n".to_owned()
        } else {
            list("claims = { uid = \"00u1\", scp = ", &grant.scopes, " }")
        };
        let lines = lines("  ", requests.iter().map(|request| toml_string(request)), ",");
        write!(text, "\n[[case]]\nname   = {}\n{claims}allow  = [\n{lines}]\n", toml_string(&name)).ok();
    }
    for operation in &api.operations {
        let is_preflight = operation.methods.iter().all(|method| *method == "OPTIONS");
        if let (Access::Open(_), false) = (&operation.access, is_preflight) {
            write!(text, "\n[[expected]]\nfinding = \"{OPEN_OPERATION}\"\non      = {}\nreason  = \"open in the API file; write here why it may be\"\n", toml_string(&operation.name())).ok();
        }
    }
    text
}
