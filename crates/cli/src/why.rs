//! Why a rule does not apply to a token or to a request, and why it cannot use a value.

use okta_authorizer_policy::{
    ClaimSet, Condition, Failed, Match, Piece, Route, RoutePiece, Rule, RuleEvaluation, RuleName, Rules, Test,
    UnusableReason, UnusableValue, covers, spellings,
};
use serde_json::Value;

/// The most characters of a claim that are shown.
const MAX_SHOWN: usize = 200;

/// The rule with this name.
pub fn rule<'r>(rules: &'r Rules, name: &RuleName) -> Option<&'r Rule> {
    rules.in_file_order().into_iter().find(|rule| rule.name == *name)
}

/// Why a rule does not apply.
pub fn not_applied(failed: Failed<'_>, rule: Option<&Rule>, claims: &ClaimSet) -> String {
    match failed {
        Failed::OtherStage(stages) => format!("for stage {} only", stages.join(", ")),
        Failed::OtherApi(apis) => format!("for API {} only", apis.join(", ")),
        Failed::NoAgreement => {
            "each claim matches, but not with the same value for a capture of several claims".to_owned()
        }
        Failed::Claim(claim) => match value(claims, claim) {
            None => format!("the claim {claim} is absent"),
            Some(json) => {
                let conditions = rule.iter().flat_map(|rule| &rule.when).filter(|condition| condition.claim == claim);
                let expected: Vec<_> = conditions.map(expectation).collect();
                format!("the claim {claim} does not match: it is {}; expected {}", shown(&json), expected.join(" and "))
            }
        },
    }
}

/// What a condition expects of its claim.
fn expectation(condition: &Condition) -> String {
    let quoted = |pieces: Vec<Piece>| {
        let text = |piece| match piece {
            Piece::Literal(text) => text,
            Piece::Capture(name) => format!("{{{name}}}"),
        };
        format!("\"{}\"", pieces.into_iter().map(text).collect::<String>())
    };
    match &condition.test {
        Test::AnyOf(patterns, _) => {
            patterns.iter().map(|pattern| quoted(pattern.pieces())).collect::<Vec<_>>().join(" or ")
        }
        Test::Present(true) => "any value".to_owned(),
        Test::Present(false) => "none".to_owned(),
    }
}

/// The JSON of a claim that `when` names. `None` if the claim is absent or null.
fn value(claims: &ClaimSet, name: &str) -> Option<String> {
    let non_null = |name: &str| claims.raw(name).filter(|json| *json != "null").map(str::to_owned);
    if name == "scopes" {
        return non_null("scp").or_else(|| non_null("scope"));
    }
    let Some(path) = name.strip_prefix('/') else { return non_null(name) };
    // A JSON Pointer. Its first part names the claim.
    let (first, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    let claim: Value = serde_json::from_str(claims.raw(&first.replace("~1", "/").replace("~0", "~"))?).ok()?;
    claim.pointer(rest).filter(|value| !value.is_null()).map(Value::to_string)
}

/// Why a rule cannot use a value. It names the character that no route may have.
pub fn not_usable(value: &UnusableValue<'_>, rule: Option<&Rule>) -> String {
    let reason = match &value.reason {
        UnusableReason::NotUsable(text) => {
            rule.and_then(|rule| wrong_capture(rule, value.claim, text)).unwrap_or_else(|| value.reason.to_string())
        }
        UnusableReason::UnsupportedType(_) | UnusableReason::Ambiguous(_) => value.reason.to_string(),
    };
    printable(&format!("{}: {reason}", value.claim))
}

/// What is wrong with the first captured part of a claim's value that cannot be written in a route.
fn wrong_capture(rule: &Rule, claim: &str, text: &str) -> Option<String> {
    let patterns =
        rule.when.iter().filter(|condition| condition.claim == claim).flat_map(|condition| match &condition.test {
            Test::AnyOf(patterns, _) => patterns.as_slice(),
            Test::Present(_) => &[],
        });
    let captured = patterns.flat_map(|pattern| match pattern.matches(text) {
        Match::Yes(parts) => pattern.captures().zip(parts).collect(),
        Match::No | Match::Ambiguous => Vec::new(),
    });
    let is_wrong = |(name, part): &(&str, &str)| {
        rule.route_captures.iter().any(|capture| capture == name) && spellings(part).is_empty()
    };
    let (name, part) = captured.into_iter().find(is_wrong)?;
    let odd = part.chars().find(|c| !matches!(c, ' ' | '.') && spellings(c.encode_utf8(&mut [0; 4])).is_empty());
    let problem = match odd {
        Some(odd) if odd.is_ascii_graphic() => {
            format!("has `{odd}` (U+{:04X}), which is not allowed in a route", u32::from(odd))
        }
        Some(odd) => format!("has U+{:04X}, which is not allowed in a route", u32::from(odd)),
        None if part.len() > 128 => format!("has {} characters; at most 128 are allowed in a route", part.len()),
        None if part.contains(' ') => "has a space at its start or its end, or two together".to_owned(),
        None => format!("is `{part}`, which means another folder in a path"),
    };
    Some(format!("{{{name}}} of `{text}` {problem}"))
}

/// The start of a claim's JSON.
fn shown(json: &str) -> String {
    let start: String = json.chars().take(MAX_SHOWN).collect();
    printable(&start) + if start.len() < json.len() { "…" } else { "" }
}

/// Escapes everything except printable ASCII, because a claim's text can have terminal commands.
pub fn printable(text: &str) -> String {
    let escaped = |character: char| match character {
        ' '..='~' => character.to_string(),
        _ => character.escape_unicode().to_string(),
    };
    text.chars().map(escaped).collect()
}

/// Whether a route could cover `METHOD/path` with some values for its captures.
pub fn could_cover(route: &Route, method_and_path: &str) -> bool {
    let piece = |piece: &RoutePiece| match piece {
        RoutePiece::Literal(text) => text.clone(),
        RoutePiece::Capture(_) => "*".to_owned(),
    };
    covers(&route.pieces().iter().map(piece).collect::<String>(), method_and_path)
}

/// The routes of a rule that cover `METHOD/path`, as the claims match.
pub fn covering<'r>(rule: &'r Rule, evaluation: &RuleEvaluation<'_>, method_and_path: &str) -> Vec<&'r Route> {
    let is_covered = |route: &&Route| {
        let mut resources = evaluation.bindings.iter().flat_map(|bindings| evaluation.resources_of(route, bindings));
        could_cover(route, method_and_path) && resources.any(|resource| covers(&resource, method_and_path))
    };
    rule.routes.iter().filter(is_covered).collect()
}
