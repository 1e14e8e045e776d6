//! What the rules say about one token: for every way its claims match `when`, `routes`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    pattern::Match,
    route::is_route_safe,
    rules::{Condition, Effect, Rule, Rules},
};
use crate::{
    event::MethodArn,
    token::{Claims, Unreadable},
};

/// The most ways in which one rule is matched for one token, and the most routes that are kept of them besides those
/// that cover the request: both more than a document of the default size holds.
const MAX_MATCHES: usize = 10_000;

/// A route that a rule grants or denies: `{METHOD}/{path}`, a `*` at its end or nowhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The tail of a method ARN.
    pub resource: String,
    /// The line of the rule's `[[allow]]` or `[[deny]]`.
    pub line: usize,
}

impl Grant {
    /// Whether it covers the request with this tail, as IAM matches a resource whose one wildcard is its last character.
    pub(super) fn covers(&self, tail: &str) -> bool {
        match self.resource.strip_suffix('*') {
            Some(start) => tail.starts_with(start),
            None => tail == self.resource,
        }
    }
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

/// A token's values of the claims that the rules speak of, each read once, however many rules speak of it.
pub struct Values<'r>(BTreeMap<&'r str, Result<Option<Vec<String>>, Unreadable>>);

/// What one rule makes of one token.
#[derive(Debug)]
pub struct Applied<'a> {
    rule: &'a Rule,
    /// The first claim of `when` that no value of the token's matches; the rule is not about the token then.
    pub unmatched: Option<&'a str>,
    /// Every way in which the claims match.
    pub ways: Vec<Way<'a>>,
    /// Values that grant nothing, though the rule speaks of them.
    pub unusable: Vec<Unusable<'a>>,
    /// Ways to match beyond all bounds.
    pub beyond: usize,
}

/// A claim value that grants nothing. In a `[[deny]]` it denies all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable<'r> {
    /// The claim's name in `when`.
    pub claim: &'r str,
    /// What is wrong with it.
    pub why: Why,
}

/// Why a claim value grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Neither a string, an array of strings, a number nor a boolean.
    #[error("it is neither text nor a list of texts")]
    Unreadable,
    /// The value can be split in two ways.
    #[error("`{0}` can be split in more than one way")]
    Ambiguous(String),
    /// What is captured of the value cannot be written into a route.
    #[error(
        "`{0}` cannot stand in a route: 1 to 128 characters of A-Z a-z 0-9 - . _ ~ @ + = , : ! can, but for . and .."
    )]
    Unwritable(String),
}

/// The captures of one match that stand in a route, by name.
pub type Way<'a> = Vec<(&'a str, &'a str)>;

impl Rules {
    /// Everything that a token with these claims may call, and may not, whatever it calls now. Of what it may call
    /// beyond all bounds, `requested` is kept.
    #[must_use]
    pub fn grants(&self, claims: &Claims, requested: &MethodArn) -> Grants {
        let mut grants = Grants::default();
        let values = self.values(claims);
        for applied in self.apply(&values) {
            applied.add_to(&mut grants, requested.tail());
        }
        for list in [&mut grants.allow, &mut grants.deny] {
            list.sort();
            list.dedup_by(|next, first| next.resource == first.resource);
        }
        grants
    }

    /// What the rules look at of a token with these claims.
    #[must_use]
    pub fn values(&self, claims: &Claims) -> Values<'_> {
        let mut values = BTreeMap::new();
        for Condition { claim, .. } in self.0.iter().flat_map(|rule| &rule.when) {
            values.entry(claim.as_str()).or_insert_with(|| claims.values(claim));
        }
        Values(values)
    }

    /// What each rule makes of a token with these values, in the file's order but for every `[[allow]]` before the first
    /// `[[deny]]`.
    pub fn apply<'a>(&'a self, values: &'a Values<'_>) -> impl Iterator<Item = Applied<'a>> {
        self.0.iter().map(|rule| rule.apply(values))
    }
}

impl Values<'_> {
    fn of(&self, claim: &str) -> Result<&[String], Unreadable> {
        match self.0.get(claim) {
            Some(Ok(Some(values))) => Ok(values),
            Some(Ok(None)) => Ok(&[]),
            // Never read: these are the values for other rules. A Deny denies all then, an Allow grants nothing.
            Some(Err(Unreadable)) | None => Err(Unreadable),
        }
    }
}

impl Rule {
    fn apply<'a>(&'a self, values: &'a Values<'_>) -> Applied<'a> {
        let mut applied = Applied { rule: self, unmatched: None, ways: Vec::new(), unusable: Vec::new(), beyond: 0 };
        let mut ways: Vec<Way<'_>> = vec![Vec::new()];
        for condition in &self.when {
            let unusable_before = applied.unusable.len();
            let found = condition.ways(values.of(&condition.claim), &self.used, &mut applied.unusable);
            if found.is_empty() && applied.unusable.len() == unusable_before {
                applied.unmatched = Some(&condition.claim);
                return applied;
            }
            applied.beyond += ways.len().saturating_mul(found.len()).saturating_sub(MAX_MATCHES);
            let joined = ways.iter().flat_map(|known| found.iter().map(|more| [known.as_slice(), more].concat()));
            ways = joined.take(MAX_MATCHES).collect();
        }
        applied.ways = ways;
        applied
    }
}

impl Applied<'_> {
    /// What the rule does where it matches.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.rule.effect
    }

    /// The line of its `[[allow]]` or `[[deny]]`.
    #[must_use]
    pub fn line(&self) -> usize {
        self.rule.line
    }

    /// Whether the rule has no `when`.
    #[must_use]
    pub fn is_for_any_token(&self) -> bool {
        self.rule.when.is_empty()
    }

    /// Whether it is a `[[deny]]` that speaks of the token with something that cannot be written: it denies all then.
    #[must_use]
    pub fn denies_all(&self) -> bool {
        self.unmatched.is_none() && self.effect() == Effect::Deny && self.unusable.len() + self.beyond > 0
    }

    /// The routes of one of the ways, each `{METHOD}/{path}`.
    pub fn resources<'w>(&'w self, way: &'w [(&'w str, &'w str)]) -> impl Iterator<Item = String> {
        self.rule.routes.iter().flat_map(|route| route.resources(value_in(way)))
    }

    /// Adds what the rule says of the token, if it is about it.
    fn add_to(&self, grants: &mut Grants, requested: &str) {
        if self.unmatched.is_some() {
            return;
        }
        let list = match self.effect() {
            Effect::Allow => &mut grants.allow,
            Effect::Deny => &mut grants.deny,
        };
        let mut beyond = 0;
        // Route by route: the ways are sorted, so that much of the list is.
        for (route, way) in self.rule.routes.iter().flat_map(|route| self.ways.iter().map(move |way| (route, way))) {
            for resource in route.resources(value_in(way)) {
                let grant = Grant { resource, line: self.line() };
                if list.len() < MAX_MATCHES || grant.covers(requested) {
                    list.push(grant);
                } else {
                    beyond += 1;
                }
            }
        }
        grants.unusable_values += self.unusable.len();
        match self.effect() {
            // An Allow that is lost is safe. A Deny must not be.
            Effect::Allow => grants.left_out += self.beyond + beyond,
            Effect::Deny if self.denies_all() || beyond > 0 => {
                grants.deny_all = grants.deny_all.or(Some(self.line()));
            }
            Effect::Deny => {}
        }
    }
}

/// What a route's captures stand for in one of the ways.
fn value_in<'w>(way: &'w [(&str, &'w str)]) -> impl Fn(&str) -> Option<&'w str> + Copy {
    move |name| way.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

impl Condition {
    /// The distinct ways in which the values match, sorted. Values that grant nothing are added to `unusable`.
    fn ways<'a>(
        &'a self,
        values: Result<&'a [String], Unreadable>,
        used: &BTreeSet<String>,
        unusable: &mut Vec<Unusable<'a>>,
    ) -> Vec<Way<'a>> {
        let mut found = Vec::new();
        let mut useless = |why| unusable.push(Unusable { claim: &self.claim, why });
        let Ok(values) = values else {
            useless(Why::Unreadable);
            return found;
        };
        for (value, pattern) in values.iter().flat_map(|value| self.any_of.iter().map(move |pattern| (value, pattern)))
        {
            match pattern.matches(value) {
                Match::No => {}
                Match::Ambiguous => useless(Why::Ambiguous(value.clone())),
                Match::Yes(captured) => {
                    let mut way: Way<'_> =
                        pattern.captures().zip(captured).filter(|(name, _)| used.contains(*name)).collect();
                    if way.iter().all(|(_, value)| is_route_safe(value)) {
                        way.sort_unstable();
                        found.push(way);
                    } else {
                        useless(Why::Unwritable(value.clone()));
                    }
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
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
    fn what_a_rule_makes_of_a_token_can_be_told() {
        let toml = rule("groups = 'STAFF', tenants = '{id}:{name}', x = ['{y}', 'z{y}']", "GET /{name}/{y}");
        let rules = Rules::parse(&toml).unwrap();
        let told = |claims: &str| {
            let claims = Claims::unproven(&format!("{{{SUBJECT},{claims}}}"));
            let values = rules.values(&claims);
            let applied = rules.apply(&values).next().unwrap();
            let ways: Vec<_> = applied.ways.iter().flat_map(|way| applied.resources(way)).collect();
            let unusable: Vec<_> =
                applied.unusable.iter().map(|found| format!("{}: {}", found.claim, found.why)).collect();
            (applied.unmatched.map(str::to_owned), ways, unusable)
        };
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            told(r#""groups":["STAFF"],"tenants":["1:a","2:b c","3:d:e","4"],"x":"q""#),
            (
                None,
                list(&["GET/a/q"]),
                list(&[
                    "tenants: `2:b c` cannot stand in a route: 1 to 128 characters of A-Z a-z 0-9 - . _ ~ @ + = , : ! can, but for . and ..",
                    "tenants: `3:d:e` can be split in more than one way"
                ])
            )
        );
        assert_eq!(told(r#""groups":["STAFF"],"tenants":["1:a"],"x":7"#).1, ["GET/a/7"]);
        assert_eq!(told(r#""groups":["STAFF"],"tenants":["1:a"],"x":"zq""#).1, ["GET/a/q", "GET/a/zq"]);
        assert_eq!(told(r#""groups":["X"],"tenants":["1:a"],"x":"q""#), (Some("groups".to_owned()), vec![], vec![]));
        assert_eq!(told(r#""groups":["STAFF"],"x":"q""#).0.as_deref(), Some("tenants"));
        assert_eq!(
            told(r#""groups":["STAFF"],"tenants":{},"x":"q""#),
            (None, vec![], list(&["tenants: it is neither text nor a list of texts"]))
        );
    }

    #[test]
    fn values_that_were_read_for_other_rules_deny_and_grant_nothing() {
        let rules = |toml: &str| Rules::parse(toml).unwrap();
        let own = rules("[[allow]]\nroutes = ['GET /a']\n[[deny]]\nwhen = { banned = 'yes' }\nroutes = ['GET /a']");
        let other = rules("[[allow]]\nroutes = ['GET /a']");
        let claims = Claims::unproven(&format!(r#"{{{SUBJECT},"groups":["STAFF"]}}"#));
        let denies_all = |values: &Values<'_>| own.apply(values).any(|applied| applied.denies_all());
        assert!(!denies_all(&own.values(&claims)));
        assert!(denies_all(&other.values(&claims)));
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
    fn a_deny_beyond_all_bounds_denies_all() {
        let toml =
            "[[allow]]\nroutes = ['GET /a']\n[[deny]]\nwhen = { a = '{x}', b = '{y}' }\nroutes = ['GET /{x}/{y}']";
        let denied = |count: usize| {
            let list = serde_json::to_string(&(0..count).map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
            grants(toml, &format!(r#""a":{list},"b":{list}"#)).deny_all
        };
        assert_eq!((denied(100), denied(101)), (None, Some(3)));

        let routes: Vec<String> = (0..20).map(|n| format!("'ANY /{{x}}/{n}'")).collect();
        let toml = format!(
            "[[allow]]\nroutes = ['GET /a']\n[[deny]]\nwhen = {{ a = '{{x}}' }}\nroutes = [{}]",
            routes.join(",")
        );
        let values =
            |count: usize| serde_json::to_string(&(0..count).map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
        let denied = |count: usize| grants(&toml, &format!(r#""a":{}"#, values(count))).deny_all;
        assert_eq!((denied(71), denied(72)), (None, Some(3)));
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
}
