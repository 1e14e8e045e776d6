//! `policy.toml` as rules: for every way the claims match `when`, grant `routes`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::{Spanned, Value};

use super::{
    pattern::{Match, Pattern},
    route::{Route, is_route_safe},
    wildcard,
};
use crate::{
    event::MethodArn,
    token::{Claims, Unreadable},
};

/// The most ways in which one rule is matched for one token, and the most routes that are kept of them besides those
/// that cover the request: both more than any policy document holds.
const MAX_MATCHES: usize = 10_000;

/// The rules of one file, checked whole.
#[derive(Debug, Clone)]
pub struct Rules(Vec<Rule>);

/// What is wrong with a rules file, and on which line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct RulesError {
    /// Counted from 1.
    pub line: usize,
    /// What was wrong and what is accepted, on one line.
    pub reason: String,
}

/// A route that a rule grants or denies: `{METHOD}/{path}`, a `*` at its end or nowhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The tail of a method ARN.
    pub resource: String,
    /// The line of the rule's `[[allow]]` or `[[deny]]`.
    pub line: usize,
}

/// What the rules say about one token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Routes that `[[allow]]` rules grant, sorted; a route granted twice stands once, by its first rule.
    pub allow: Vec<Grant>,
    /// Routes that `[[deny]]` rules deny, likewise.
    pub deny: Vec<Grant>,
    /// The first `[[deny]]` rule that speaks of this token with a value which cannot be written into its route, or not
    /// be read: it denies all.
    pub deny_all: Option<usize>,
    /// Routes that `[[allow]]` rules grant beyond all bounds.
    pub left_out: usize,
    /// Claim values that granted nothing because they cannot be read, are ambiguous or cannot be written into a route.
    pub unusable_values: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Clone)]
struct Rule {
    effect: Effect,
    line: usize,
    when: Vec<Condition>,
    routes: Vec<Route>,
    /// The captures that stand in a route; the others only have to match.
    used: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct Condition {
    claim: String,
    any_of: Vec<Pattern>,
}

/// The captures of one match, by name.
type Bindings<'r, 'v> = Vec<(&'r str, &'v str)>;

impl RulesError {
    /// What is quoted of the file may have a line break in it.
    fn new(line: usize, reason: &str) -> Self {
        Self { line, reason: reason.replace(char::is_control, " ") }
    }
}

impl Rules {
    /// Parses and checks a rules file.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn parse(toml: &str) -> Result<Self, RulesError> {
        let file: File = toml::from_str(toml)
            .map_err(|error| RulesError::new(error.span().map_or(1, |span| line(toml, span.start)), error.message()))?;
        if file.allow.is_empty() {
            return Err(RulesError { line: 1, reason: "no [[allow]] rule; nobody could call anything".to_owned() });
        }
        let allow = file.allow.into_iter().map(|rule| (Effect::Allow, rule));
        let deny = file.deny.into_iter().map(|rule| (Effect::Deny, rule));
        allow.chain(deny).map(|(effect, rule)| Rule::check(effect, rule, toml)).collect::<Result<_, _>>().map(Self)
    }

    /// Everything that a token with these claims may call, and may not, whatever it calls now. Of what it may call
    /// beyond all bounds, `requested` is kept.
    #[must_use]
    pub fn grants(&self, claims: &Claims, requested: &MethodArn) -> Grants {
        let mut grants = Grants::default();
        for rule in &self.0 {
            rule.apply(claims, requested.tail(), &mut grants);
        }
        for list in [&mut grants.allow, &mut grants.deny] {
            list.sort_unstable();
            list.dedup_by(|next, first| next.resource == first.resource);
        }
        grants
    }
}

impl Rule {
    fn check(effect: Effect, raw: Spanned<RawRule>, toml: &str) -> Result<Self, RulesError> {
        let at = raw.span().start;
        let raw = raw.into_inner();
        let error = |at: usize, reason: String| RulesError::new(line(toml, at), &reason);
        let mut when = Vec::new();
        for (claim, values) in raw.when.iter().flat_map(BTreeMap::iter) {
            let condition = Condition::check(claim, values.get_ref());
            when.push(condition.map_err(|reason| error(values.span().start, format!("`when.{claim}` {reason}")))?);
        }
        if raw.when.is_some() && when.is_empty() {
            return Err(error(at, "`when` names no claim; leave it out to mean any valid token".to_owned()));
        }
        let mut known = BTreeSet::new();
        for capture in when.iter().flat_map(Condition::captures) {
            if !known.insert(capture) {
                return Err(error(at, format!("`{{{capture}}}` is captured from two claims; a capture is bound once")));
            }
        }
        if raw.routes.is_empty() {
            return Err(error(at, "`routes` is empty; expected one `METHOD /path` or more".to_owned()));
        }
        let mut routes = Vec::new();
        for text in &raw.routes {
            let wrong = |reason: String| error(text.span().start, format!("the route `{}` {reason}", text.get_ref()));
            let route = Route::parse(text.get_ref()).map_err(|reason| wrong(reason.to_string()))?;
            if let Some(unknown) = route.captures().find(|capture| !known.contains(capture)) {
                return Err(wrong(format!("uses `{{{unknown}}}`, which no pattern in `when` captures")));
            }
            routes.push(route);
        }
        let used = routes.iter().flat_map(Route::captures).map(str::to_owned).collect();
        Ok(Self { effect, line: line(toml, at), when, routes, used })
    }

    fn apply(&self, claims: &Claims, requested: &str, grants: &mut Grants) {
        let values: Vec<_> = self.when.iter().map(|condition| claims.values(&condition.claim)).collect();
        let mut matches: Vec<Bindings<'_, '_>> = vec![Vec::new()];
        let (mut unusable, mut beyond) = (0, 0);
        for (condition, values) in self.when.iter().zip(&values) {
            let mut found = BTreeSet::new();
            let unreadable = match values {
                Ok(values) => condition.bindings(values.as_deref().unwrap_or_default(), &self.used, &mut found),
                Err(Unreadable) => 1,
            };
            if found.is_empty() && unreadable == 0 {
                return; // the rule is not about this token
            }
            unusable += unreadable;
            beyond += matches.len().saturating_mul(found.len()).saturating_sub(MAX_MATCHES);
            let joined = matches.iter().flat_map(|known| found.iter().map(|more| [known.as_slice(), more].concat()));
            matches = joined.take(MAX_MATCHES).collect();
        }
        let list = match self.effect {
            Effect::Allow => &mut grants.allow,
            Effect::Deny => &mut grants.deny,
        };
        for bindings in &matches {
            let value = |name: &str| bindings.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
            for resource in self.routes.iter().filter_map(|route| route.resources(value)).flatten() {
                if list.len() < MAX_MATCHES || wildcard::matches(&resource, requested) {
                    list.push(Grant { resource, line: self.line });
                } else {
                    beyond += 1;
                }
            }
        }
        grants.unusable_values += unusable;
        match self.effect {
            // An Allow that is lost is safe. A Deny must not be.
            Effect::Allow => grants.left_out += beyond,
            Effect::Deny if unusable + beyond > 0 => grants.deny_all = grants.deny_all.or(Some(self.line)),
            Effect::Deny => {}
        }
    }
}

impl Condition {
    fn check(claim: &str, value: &Value) -> Result<Self, String> {
        let expected = "expected a string or an array of strings";
        let texts = match value {
            Value::String(text) => vec![text.as_str()],
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().ok_or(format!("holds something else; {expected}")))
                .collect::<Result<_, _>>()?,
            other => return Err(format!("is of type {}; {expected}", other.type_str())),
        };
        let any_of: Vec<_> = texts
            .iter()
            .map(|text| Pattern::parse(text).map_err(|error| format!("pattern `{text}` {error}")))
            .collect::<Result<_, _>>()?;
        let Some(first) = any_of.first() else { return Err(format!("is an empty list; {expected}")) };
        let captures: BTreeSet<_> = first.captures().collect();
        if any_of.iter().any(|pattern| pattern.captures().collect::<BTreeSet<_>>() != captures) {
            return Err("lists patterns with different captures; each must bind the same ones".to_owned());
        }
        Ok(Self { claim: claim.to_owned(), any_of })
    }

    /// Every pattern of the list binds the same captures, so the first one's are the condition's.
    fn captures(&self) -> impl Iterator<Item = &str> {
        self.any_of.iter().take(1).flat_map(Pattern::captures)
    }

    /// Adds the distinct ways in which the values match to `found`. Returns how many values were left out: those that
    /// are ambiguous, or cannot be written into a route which uses them.
    fn bindings<'r, 'v>(
        &'r self,
        values: &'v [String],
        used: &BTreeSet<String>,
        found: &mut BTreeSet<Bindings<'r, 'v>>,
    ) -> usize {
        let mut unusable = 0;
        for (value, pattern) in values.iter().flat_map(|value| self.any_of.iter().map(move |pattern| (value, pattern)))
        {
            match pattern.matches(value) {
                Match::No => {}
                Match::Ambiguous => unusable += 1,
                Match::Yes(captured) => {
                    let mut bindings: Bindings<'_, '_> =
                        pattern.captures().zip(captured).filter(|(name, _)| used.contains(*name)).collect();
                    if bindings.iter().all(|(_, value)| is_route_safe(value)) {
                        bindings.sort_unstable();
                        found.insert(bindings);
                    } else {
                        unusable += 1;
                    }
                }
            }
        }
        unusable
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    allow: Vec<Spanned<RawRule>>,
    #[serde(default)]
    deny: Vec<Spanned<RawRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    when: Option<BTreeMap<String, Spanned<Value>>>,
    routes: Vec<Spanned<String>>,
}

fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: &str = r#""sub":"s""#;

    fn grants(toml: &str, claims: &str) -> Grants {
        let requested = MethodArn::parse("arn:aws:execute-api:eu-west-1:123456789012:a/s/GET/a149/b149").unwrap();
        Rules::parse(toml).unwrap().grants(&Claims::unproven(&format!("{{{SUBJECT},{claims}}}")), &requested)
    }

    fn allowed(toml: &str, claims: &str) -> Vec<String> {
        grants(toml, claims).allow.into_iter().map(|grant| grant.resource).collect()
    }

    fn rule(when: &str, route: &str) -> String {
        format!("[[allow]]\nwhen = {{ {when} }}\nroutes = [\"{route}\"]\n")
    }

    #[test]
    fn a_rule_without_when_is_for_any_valid_token() {
        assert_eq!(allowed("[[allow]]\nroutes = ['GET /a', 'PUT /a']", r#""x":1"#), ["GET/a", "PUT/a"]);
    }

    #[test]
    fn all_claims_must_match_and_any_of_a_list() {
        let toml = rule("scopes = ['read', 'admin'], uid = '{uid}'", "GET /users/{uid}");
        assert_eq!(allowed(&toml, r#""scp":["admin","read"],"uid":"u""#), ["GET/users/u"]);
        for claims in [r#""scp":["read"]"#, r#""uid":"u""#, r#""scp":["other"],"uid":"u""#, r#""scp":{},"uid":"u""#] {
            assert_eq!(allowed(&toml, claims), [""; 0], "{claims}");
        }
    }

    #[test]
    fn every_way_to_match_grants_its_own_routes() {
        let toml = rule("a = '{x}', b = '{y}-{z}'", "GET /{x}/{y}/{z}");
        assert_eq!(
            allowed(&toml, r#""a":["1","2"],"b":["p-q","r-s","bad"]"#),
            ["GET/1/p/q", "GET/1/r/s", "GET/2/p/q", "GET/2/r/s"]
        );
    }

    #[test]
    fn a_value_that_is_ambiguous_or_not_plain_text_grants_nothing_and_is_counted() {
        let toml = rule("tenants = '{id}:{name}:{group}'", "GET /{name}");
        for bad in ["1:*:g", "1:a/b:g", "1:..:g", "1:${x}:g", "1:a b:g", "1:a:b:g", "1:%2e:g"] {
            let grants = grants(&toml, &format!(r#""tenants":["{bad}","2:good:g"]"#));
            assert_eq!(grants.allow, [Grant { resource: "GET/good".to_owned(), line: 1 }], "{bad}");
            assert_eq!((grants.unusable_values, grants.deny_all), (1, None), "{bad}");
        }
        // What goes into no route may be anything.
        assert_eq!(allowed(&toml, r#""tenants":"1:a:*/..""#), ["GET/a"]);
    }

    #[test]
    fn a_deny_that_cannot_be_written_denies_all() {
        let toml = "[[allow]]\nroutes = ['GET /a']\n[[deny]]\nwhen = { banned = '{x}' }\nroutes = ['GET /{x}']";
        let denied = |claims: &str| {
            let grants = grants(toml, claims);
            (grants.deny.into_iter().map(|grant| grant.resource).collect::<Vec<_>>(), grants.deny_all)
        };
        assert_eq!(denied(r#""banned":"b""#), (vec!["GET/b".to_owned()], None));
        assert_eq!(denied(r#""banned":["b","*"]"#), (vec!["GET/b".to_owned()], Some(3)));
        assert_eq!(denied(r#""banned":["b",7]"#), (vec![], Some(3)));
        assert_eq!(denied(r#""banned":{"b":1}"#), (vec![], Some(3)));
        assert_eq!(denied(r#""banned":null"#), (vec![], None));
        assert_eq!(denied(r#""other":"b""#), (vec![], None));
    }

    #[test]
    fn a_deny_that_cannot_be_written_is_for_those_alone_whom_it_speaks_of() {
        let deny = rule("groups = 'SUSPENDED', tenants = '{id}:{name}'", "GET /{name}").replace("allow", "deny");
        let toml = format!("[[allow]]\nroutes = ['GET /a']\n{deny}");
        let denied = |claims: &str| grants(&toml, claims).deny_all;
        assert_eq!(denied(r#""groups":["SUSPENDED"],"tenants":["1:a b"]"#), Some(3));
        assert_eq!(denied(r#""groups":["SUSPENDED",7],"tenants":["1:a"]"#), Some(3));
        for other in
            [r#""groups":["STAFF"],"tenants":["1:a b"]"#, r#""tenants":["1:a b"]"#, r#""groups":["SUSPENDED"]"#]
        {
            assert_eq!(denied(other), None, "{other}");
        }
    }

    #[test]
    fn a_rule_is_matched_in_a_bounded_number_of_ways() {
        let toml = rule("a = '{x}', b = '{y}'", "GET /{x}/{y}");
        let list = |prefix: &str| {
            serde_json::to_string(&(0..150).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>()).unwrap()
        };
        let grants = grants(&toml, &format!(r#""a":{},"b":{}"#, list("a"), list("b")));
        assert_eq!((grants.allow.len(), grants.left_out), (MAX_MATCHES, 150 * 150 - MAX_MATCHES));
    }

    #[test]
    fn beyond_all_bounds_the_request_is_kept() {
        let routes: Vec<String> = (0..20).map(|n| format!("'ANY /{{x}}/{n}'")).collect();
        let toml = format!("[[allow]]\nwhen = {{ a = '{{x}}' }}\nroutes = [{}, 'GET /{{x}}/*']", routes.join(","));
        let values = serde_json::to_string(&(0..150).map(|n| format!("a{n:03}")).collect::<Vec<_>>()).unwrap();
        let grants = grants(&toml, &format!(r#""a":{values}"#));
        assert_eq!(grants.allow.len(), MAX_MATCHES + 1);
        assert_eq!(grants.left_out, 150 * (20 * 7 + 1) - MAX_MATCHES - 1);
        assert!(grants.allow.iter().any(|grant| grant.resource == "GET/a149/*"));
    }

    #[test]
    fn a_route_granted_twice_stands_once_by_its_first_rule() {
        let toml = "[[allow]]\nroutes = ['GET /a']\n[[allow]]\nroutes = ['ANY /a']";
        let grants = grants(toml, r#""x":1"#);
        assert_eq!(grants.allow.len(), 7);
        assert_eq!(grants.allow[1], Grant { resource: "GET/a".to_owned(), line: 1 });
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let whole = "[[allow]]\nroutes = ['GET /a']\n";
        for (toml, line, reason) in [
            ("", 1, "no [[allow]] rule; nobody could call anything"),
            ("[[deny]]\nroutes = ['GET /a']", 1, "no [[allow]] rule; nobody could call anything"),
            ("[[allow]]\nroutes = []", 1, "`routes` is empty; expected one `METHOD /path` or more"),
            ("\n[[allow]]\nwhen = { uid = 'x' }", 2, "missing field `routes`"),
            ("[[allow]]\nroute = ['GET /a']", 2, "unknown field `route`, expected `when` or `routes`"),
            ("[[alow]]\nroutes = ['GET /a']", 1, "unknown field `alow`, expected `allow` or `deny`"),
            (
                "[[allow]]\nroutes = [\n  'GET /a',\n  'FETCH /b',\n]",
                4,
                "the route `FETCH /b` has the method `FETCH`; expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, ANY",
            ),
            (
                "[[allow]]\nroutes = ['GET /{x}']",
                2,
                "the route `GET /{x}` uses `{x}`, which no pattern in `when` captures",
            ),
            (
                "[[allow]]\nwhen = {}\nroutes = ['GET /a']",
                1,
                "`when` names no claim; leave it out to mean any valid token",
            ),
            (
                "[[allow]]\nwhen = { uid = 7 }\nroutes = ['GET /a']",
                2,
                "`when.uid` is of type integer; expected a string or an array of strings",
            ),
            (
                "[[allow]]\nwhen = { uid = [] }\nroutes = ['GET /a']",
                2,
                "`when.uid` is an empty list; expected a string or an array of strings",
            ),
            (
                "[[allow]]\nwhen = { uid = ['a', 7] }\nroutes = ['GET /a']",
                2,
                "`when.uid` holds something else; expected a string or an array of strings",
            ),
            (
                "[[allow]]\nwhen = { uid = ['a', '{x}'] }\nroutes = ['GET /a']",
                2,
                "`when.uid` lists patterns with different captures; each must bind the same ones",
            ),
            (
                "[[allow]]\nwhen = { a = '{x}', b = '{x}' }\nroutes = ['GET /{x}']",
                1,
                "`{x}` is captured from two claims; a capture is bound once",
            ),
            (
                "[[allow]]\nwhen = { a = '{x' }\nroutes = ['GET /a']",
                2,
                "`when.a` pattern `{x` has a brace without its partner; expected text and {capture}s",
            ),
        ] {
            let error = Rules::parse(toml).unwrap_err();
            assert_eq!((error.line, error.reason.as_str()), (line, reason), "{toml}");
            assert!(Rules::parse(whole).is_ok());
        }
        for toml in ["[[allow]]\nroutes = ['GET /a'\n", "[[allow]]\nroutes = [\"GET /a\\nb\"]\n"] {
            let error = Rules::parse(toml).unwrap_err();
            assert!(!error.reason.contains('\n'), "{error}");
        }
    }
}
