//! Shows for one token which rules match it, the policy that it gets, and the verdict on a request.

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use okta_authorizer_policy::{
    Bindings, ClaimSet, Effect, Grants, MAX_RESOURCE, MethodArn, Policy, PolicyDocument, RuleEvaluation, Rules, Verdict,
};
use serde::{Deserialize, Serialize};

use crate::request::{self, OPTIONS, STAGE};

/// The width of the table in characters: enough for a route, and not too much for a terminal.
const WIDTH: u16 = 140;

/// The most matches, and the most routes, that are shown of one rule. Combined values can have
/// millions.
const MAX_LINES: usize = 1_000;

/// The policy document with its fields in their order, for people.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    version: String,
    statement: Vec<Statement>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    action: Vec<String>,
    effect: String,
    resource: Vec<String>,
}

impl Document {
    fn parse(document: &PolicyDocument) -> serde_json::Result<Self> {
        serde_json::from_str(document.json())
    }

    fn allows(&self, resource: &str) -> bool {
        let allowed = self.statement.iter().filter(|statement| statement.effect == "Allow");
        allowed.flat_map(|statement| &statement.resource).any(|allowed| allowed == resource)
    }
}

/// The table of rules, the policy, its size, and the verdict on `request` if there is one.
/// Without a request, the policy is the one for the first request that is granted.
pub fn render(rules: &Rules, toml: &str, claims: &ClaimSet, request: Option<&str>) -> Result<String, String> {
    let requested = match request {
        Some(text) => request::parse(text)?,
        None => first_granted(rules, claims)?,
    };
    let grants = rules.grants(claims, &requested);
    let policy = request::policy_for(&grants, &requested);
    let document = Document::parse(&policy.document).map_err(|error| error.to_string())?;
    let pretty = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;

    let table = table(rules, toml, claims, &document);
    let bytes = policy.document.json().len();
    let omitted = omitted(&grants, &policy);
    let verdict = request.map(|text| format!("\n{text}: {}", verdict(policy.verdict, toml))).unwrap_or_default();
    Ok(format!("{table}\n\n{pretty}\n\npolicy: {bytes} of at most {} bytes{omitted}{verdict}", OPTIONS.max_bytes))
}

/// The first request that the rules grant, or else `GET /`.
fn first_granted(rules: &Rules, claims: &ClaimSet) -> Result<MethodArn, String> {
    let root = request::parse("GET /")?;
    match rules.grants(claims, &root).allow.first() {
        Some(grant) => request::parse(&route(&grant.resource.replace('*', ""))),
        None => Ok(root),
    }
}

/// `METHOD /path` of a resource `METHOD/path`.
fn route(resource: &str) -> String {
    resource.replacen('/', " /", 1)
}

fn table(rules: &Rules, toml: &str, claims: &ClaimSet, document: &Document) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(["rule", "matched", "routes"]);
    let mut evaluations = rules.evaluate(claims);
    evaluations.sort_by_key(|evaluation| evaluation.name().line);
    for evaluation in evaluations {
        table.add_row([as_written(&evaluation, toml), matched(&evaluation, claims), routes(&evaluation, document)]);
    }
    table
}

/// The rule's name, and its `when` if that is on lines of its own.
fn as_written(evaluation: &RuleEvaluation<'_>, toml: &str) -> String {
    let name = evaluation.name();
    if evaluation.is_for_any_token() {
        return format!("{name}\nany valid token");
    }
    let body = toml.lines().skip(name.line as usize).take_while(|line| !line.trim_start().starts_with("[["));
    let when: Vec<_> = body.map(str::trim).filter(|line| line.starts_with("when")).collect();
    if when.is_empty() { format!("{name}\nwhen …, see the file") } else { format!("{name}\n{}", when.join("\n")) }
}

fn matched(evaluation: &RuleEvaluation<'_>, claims: &ClaimSet) -> String {
    if let Some(claim) = evaluation.failed_condition {
        return match claims.values(claim) {
            Ok(None) => format!("no: the claim {claim} is absent"),
            _ => format!("no: no value of {claim} matches"),
        };
    }
    let bound = first_lines(evaluation.bindings.iter().map(captures));
    let mut lines: Vec<String> = [bound].into_iter().filter(|bound| !bound.is_empty()).collect();
    let unusable = evaluation.unusable.iter();
    lines.extend(unusable.map(|value| printable(&format!("not usable, {}: {}", value.claim, value.reason))));
    if evaluation.overflow > 0 {
        lines.push(format!("{} more, left out because there are too many", evaluation.overflow));
    }
    if evaluation.denies_all() {
        lines.push("denies the whole stage, because it cannot be written for every value".to_owned());
    }
    lines.join("\n")
}

/// Escapes everything except printable ASCII, because a claim's text can have terminal commands.
fn printable(text: &str) -> String {
    let escaped = |character: char| match character {
        ' '..='~' => character.to_string(),
        _ => character.escape_unicode().to_string(),
    };
    text.chars().map(escaped).collect()
}

fn captures(bindings: &Bindings<'_>) -> String {
    let captures: Vec<_> = bindings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if captures.is_empty() { "yes".to_owned() } else { captures.join(", ") }
}

/// The routes that the rule grants or denies. Marks those that the policy leaves out.
fn routes(evaluation: &RuleEvaluation<'_>, document: &Document) -> String {
    let resources = evaluation.bindings.iter().flat_map(|bindings| evaluation.resources(bindings));
    let lines = resources.map(|resource| {
        let arn = format!("{STAGE}/{resource}");
        let route = route(&resource);
        match evaluation.effect() {
            Effect::Deny => route,
            Effect::Allow if document.allows(&arn) => route,
            Effect::Allow if arn.len() > MAX_RESOURCE => format!("{route} (left out: over {MAX_RESOURCE} characters)"),
            Effect::Allow => format!("{route} (left out)"),
        }
    });
    first_lines(lines)
}

/// The first lines, and whether there are more.
fn first_lines(lines: impl Iterator<Item = String>) -> String {
    let mut shown: Vec<_> = lines.take(MAX_LINES + 1).collect();
    if shown.len() > MAX_LINES {
        shown.truncate(MAX_LINES);
        shown.push("… and more".to_owned());
    }
    shown.join("\n")
}

fn omitted(grants: &Grants, policy: &Policy) -> String {
    match grants.omitted + policy.omitted {
        0 => String::new(),
        count => format!(", {count} routes left out"),
    }
}

/// The verdict, with the first two lines of the rule that decided.
fn verdict(verdict: Verdict, toml: &str) -> String {
    let Some(rule) = verdict.rule() else { return request::describe(verdict) };
    let written: Vec<_> = toml.lines().skip(rule.line as usize - 1).take(2).map(str::trim).collect();
    format!("{}: {}", request::describe(verdict), written.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EXAMPLE_RULES, claims};

    fn explain(rules: &str, claims: &str, request: Option<&str>) -> String {
        render(&Rules::parse(rules).unwrap(), rules, &claims::read(claims).unwrap(), request).unwrap()
    }

    #[test]
    fn shows_what_every_rule_does_for_the_token() {
        let long = "x".repeat(129);
        let claims = format!(r#"{{"tenants":["1:acme","a:b:c","1:*","1:{long}"],"groups":["STAFF"]}}"#);
        let text = explain(EXAMPLE_RULES, &claims, Some("GET /t/acme/x"));
        for part in [
            "name = acme",
            "`a:b:c` can be split in more",
            "a captured part of `1:*` is not allowed in a",
            "GET /t/acme/*",
            "any valid token",
            "when   = { tenants = \"{id}:{name}\" }",
            "when   = { groups = \"{banned}-SUSPENDED\" }",
            "no: no value of groups matches",
            "of at most 32768 bytes",
            "GET /t/acme/x: allowed by the rule allow[1]:1: [[allow]] when   = { tenants = \"{id}:{name}\" }",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn shows_an_absent_claim_and_a_request_that_is_not_granted() {
        let text = explain(EXAMPLE_RULES, "{}", Some("GET /t/acme/x"));
        assert!(text.contains("no: the claim tenants is absent"), "{text}");
        assert!(text.ends_with("GET /t/acme/x: denied: no rule grants it"), "{text}");
    }

    #[test]
    fn shows_a_rule_that_denies_the_whole_stage() {
        let text = explain(EXAMPLE_RULES, r#"{"groups":["a b-SUSPENDED"]}"#, None);
        assert!(text.contains("denies the whole"), "{text}");
    }

    #[test]
    fn escapes_terminal_commands_in_claims() {
        let text = explain(EXAMPLE_RULES, r#"{"tenants":["1:\u001b[31m\u202e"]}"#, None);
        assert!(text.contains("`1:\\u{1b}[31m\\u{202e}`") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn shows_that_a_too_long_resource_is_left_out() {
        let value = "x".repeat(128);
        let rules = "[[allow]]
when = { a = '{a}', b = '{b}', c = '{c}', d = '{d}' }
routes = ['GET /{a}/{b}/{c}/{d}', 'GET /{a}']
";
        let claims = format!(r#"{{"a":"{value}","b":"{value}","c":"{value}","d":"{value}"}}"#);
        let text = explain(rules, &claims, None);
        assert!(text.contains("over 512") && text.contains("1 routes left out"), "{text}");
    }

    #[test]
    fn shows_the_first_thousand_lines_of_a_rule() {
        let rules = |routes: &str| format!("[[allow]]\nwhen = {{ a = '{{a}}', b = '{{b}}' }}\nroutes = [{routes}]\n");
        let values = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        let claims = |count| serde_json::json!({ "a": values(10), "b": values(count) }).to_string();
        let count = |text: &str, part: &str| text.lines().filter(|line| line.contains(part)).count();
        let whole = explain(&rules("'GET /x/{a}/{b}'"), &claims(100), None);
        assert_eq!((count(&whole, "a = "), count(&whole, "GET /x/"), count(&whole, "and more")), (1_000, 1_000, 0));
        let cut = explain(&rules("'GET /x/{a}/{b}'"), &claims(101), None);
        assert_eq!((count(&cut, "a = "), count(&cut, "GET /x/")), (1_000, 1_000));
        assert_eq!(cut.matches("… and more").count(), 2);
    }

    #[test]
    fn prints_the_fields_of_the_policy_in_their_order() {
        let text = explain(EXAMPLE_RULES, "{}", None);
        let policy = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Action": [
        "execute-api:Invoke"
      ],
      "Effect": "Allow",
      "Resource": [
        "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/prod/GET/apps"
      ]
    }
  ]
}"#;
        assert!(text.contains(policy), "{text}");
    }
}
