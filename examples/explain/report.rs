//! What every rule makes of a token, as a table for people.

use aws_lambda_events::event::{apigw::ApiGatewayCustomAuthorizerPolicy, iam::IamPolicyEffect};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Row, Table, presets::UTF8_FULL_CONDENSED};
use okta_authorizer::{
    event::MethodArn,
    policy::{Applied, Effect, Grants, MAX_RESOURCE, Policy, Rules, Verdict},
    token::Claims,
};

use crate::route::{BOUNDS, STAGE, answer, requested, told};

/// Wide enough for a route, narrow enough for a terminal.
const WIDTH: u16 = 140;

/// The table, the policy, and what it says about `route`, or, where none is given, about something that is granted.
pub fn report(rules: &Rules, toml: &str, claims: &Claims, route: Option<&str>) -> Result<String, String> {
    let asked = match route {
        Some(route) => requested(route)?,
        None => anything_granted(rules, claims)?,
    };
    let grants = rules.grants(claims, &asked);
    let policy = answer(&grants, &asked);
    let document = policy.document.parsed().map_err(|error| error.to_string())?;
    let pretty = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;

    let table = table(rules, toml, claims, &document);
    let verdict = route.map(|route| format!("\n{route}: {}", verdict(policy.verdict, toml))).unwrap_or_default();
    let size =
        format!("{} of at most {} bytes{}", policy.document.json().len(), BOUNDS.max_bytes, left_out(&grants, &policy));
    Ok(format!("{table}\n\n{pretty}\n\npolicy: {size}{verdict}"))
}

fn table(rules: &Rules, toml: &str, claims: &Claims, document: &ApiGatewayCustomAuthorizerPolicy) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(["line", "rule", "matched", "routes"]);
    let values = rules.values(claims);
    for applied in rules.apply(&values) {
        let mut row = Row::new();
        row.add_cell(Cell::new(applied.line()).set_alignment(CellAlignment::Right));
        row.add_cell(Cell::new(as_written(&applied, toml)));
        row.add_cell(Cell::new(matched(&applied, claims)));
        row.add_cell(Cell::new(routes(&applied, document)));
        table.add_row(row);
    }
    table
}

/// The rule's effect and its `when`, where that is written as lines of its own.
fn as_written(applied: &Applied<'_>, toml: &str) -> String {
    let effect = match applied.effect() {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    };
    if applied.is_for_any_token() {
        return format!("{effect}\nany valid token");
    }
    let body = toml.lines().skip(applied.line()).take_while(|line| !line.trim_start().starts_with("[["));
    let when: Vec<_> = body.map(str::trim).filter(|line| line.starts_with("when")).collect();
    if when.is_empty() { format!("{effect}\nwhen …, see the file") } else { format!("{effect}\n{}", when.join("\n")) }
}

fn matched(applied: &Applied<'_>, claims: &Claims) -> String {
    if let Some(claim) = applied.unmatched {
        return match claims.values(claim) {
            Ok(None) => format!("no: the claim {claim} is absent"),
            _ => format!("no: no value of {claim} matches"),
        };
    }
    let mut said: Vec<String> = applied.ways.iter().map(|way| captures(way)).collect();
    said.extend(applied.unusable.iter().map(|found| printable(&format!("not usable, {}: {}", found.claim, found.why))));
    if applied.beyond > 0 {
        said.push(format!("{} more, beyond all bounds", applied.beyond));
    }
    if applied.denies_all() {
        said.push("what cannot be written denies the whole stage".to_owned());
    }
    said.join("\n")
}

/// A claim's text as a terminal may show it.
fn printable(text: &str) -> String {
    let escaped = |character: char| match character {
        ' '..='~' => character.to_string(),
        _ => character.escape_unicode().to_string(),
    };
    text.chars().map(escaped).collect()
}

fn captures(way: &[(&str, &str)]) -> String {
    let captures: Vec<_> = way.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if captures.is_empty() { "yes".to_owned() } else { captures.join(", ") }
}

/// What the rule grants or denies, and what did not get into the policy of it.
fn routes(applied: &Applied<'_>, document: &ApiGatewayCustomAuthorizerPolicy) -> String {
    let ways = if applied.unmatched.is_some() { &[] } else { applied.ways.as_slice() };
    let allows = document.statement.iter().filter(|statement| statement.effect == IamPolicyEffect::Allow);
    let allowed: Vec<_> = allows.flat_map(|statement| &statement.resource).collect();
    let lines = ways.iter().flat_map(|way| applied.resources(way)).map(|tail| {
        let arn = format!("{STAGE}/{tail}");
        let route = tail.replacen('/', " /", 1);
        match applied.effect() {
            Effect::Deny => route,
            Effect::Allow if allowed.contains(&&arn) => route,
            Effect::Allow if arn.len() > MAX_RESOURCE => format!("{route} (left out: over {MAX_RESOURCE} characters)"),
            Effect::Allow => format!("{route} (left out)"),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn left_out(grants: &Grants, policy: &Policy) -> String {
    match grants.left_out + policy.left_out {
        0 => String::new(),
        count => format!(", {count} routes left out"),
    }
}

/// The verdict, with the rule that decided.
fn verdict(verdict: Verdict, toml: &str) -> String {
    let (Verdict::Allowed { rule } | Verdict::DeniedByRule { rule }) = verdict else { return told(verdict) };
    let written: Vec<_> = toml.lines().skip(rule - 1).take(2).map(str::trim).collect();
    format!("{}: {}", told(verdict), written.join(" "))
}

fn anything_granted(rules: &Rules, claims: &Claims) -> Result<MethodArn, String> {
    let nothing = requested("GET /")?;
    let tail = rules.grants(claims, &nothing).allow.first().map(|grant| grant.resource.replace('*', ""));
    tail.map_or(Ok(nothing), |tail| requested(&tail.replacen('/', " /", 1)))
}
