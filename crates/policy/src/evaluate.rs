//! Evaluates the rules for one token: each combination of claim values that matches `when` grants
//! `routes`.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    claims::{ClaimSet, UnsupportedClaimType},
    method_arn::MethodArn,
    pattern::{Match, Pattern},
    route::{ROUTE_SAFE, is_route_safe},
    rules::{Condition, Effect, Rule, RuleName, Rules},
    wildcard::covers,
    work::{MAX_BINDINGS, MAX_ROUTES, Work},
};

/// A route that a rule grants or denies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// `{METHOD}/{path}`, the end of a method ARN. If there is a `*`, it is the last character. If
    /// the path is longer than [`MAX_RESOURCE`](crate::MAX_RESOURCE), only its start.
    pub resource: String,
    /// The rule that grants or denies it.
    pub rule: RuleName,
}

/// What all rules together say about one token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Routes of `[[allow]]` rules, sorted. A route that is granted twice is listed once, with its
    /// first rule.
    pub allow: Vec<Grant>,
    /// Routes of `[[deny]]` rules, likewise.
    pub deny: Vec<Grant>,
    /// The first `[[deny]]` rule that denies everything, because it matches the token but one of
    /// its routes cannot be written (see [`RuleEvaluation::denies_all`]).
    pub deny_all: Option<RuleName>,
    /// How many bindings and routes of `[[allow]]` rules were left out because there are too many.
    pub omitted: usize,
    /// How often a rule could not use a claim value (see [`UnusableReason`]).
    pub unusable_values: usize,
}

/// The values of a rule's captures for one combination of claim values. Only captures that occur in
/// a route are kept, in the order of the claims, and by name within one claim.
pub type Bindings<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// One rule evaluated for one token.
#[derive(Debug)]
pub struct RuleEvaluation<'a> {
    rule: &'a Rule,
    /// The first claim of `when`, in alphabetical order, that does not match. The rule does not
    /// apply to the token then.
    pub failed_condition: Option<&'a str>,
    /// One entry for each distinct combination of claim values that matches.
    pub bindings: Vec<Bindings<'a>>,
    /// Claim values that the rule cannot use.
    pub unusable: Vec<UnusableValue<'a>>,
    /// How many bindings were left out because there are too many. If the values of a claim were
    /// not all compared, that counts as one.
    pub overflow: usize,
}

/// A claim value that grants nothing. If the rule is a `[[deny]]`, it denies everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableValue<'a> {
    /// The claim's name in `when`.
    pub claim: &'a str,
    /// What is wrong with the value.
    pub reason: UnusableReason,
}

/// Why a claim value grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableReason {
    /// The claim is not a string, an array of strings, a number or a boolean.
    #[error(transparent)]
    UnsupportedType(#[from] UnsupportedClaimType),
    /// The pattern can split the value in more than one way.
    #[error("`{0}` can be split in more than one way")]
    Ambiguous(String),
    /// A captured part is not allowed in a route.
    #[error("a captured part of `{0}` is not allowed in a route; expected {ROUTE_SAFE}")]
    NotRouteSafe(String),
}

impl Rules {
    /// Evaluates every rule for one token: the `[[deny]]` rules first, because one that there is
    /// not enough work for denies everything.
    #[must_use]
    pub fn evaluate<'a>(&'a self, claims: &'a ClaimSet) -> Vec<RuleEvaluation<'a>> {
        let (mut values, mut work) = (ClaimValues::of(claims), Work::for_one_token());
        self.deny.iter().chain(&self.allow).map(|rule| rule.evaluate(&mut values, &mut work)).collect()
    }

    /// All that a token with these claims may call and may not call, for any request of its stage.
    /// If there are too many routes, one that covers `requested` is kept.
    #[must_use]
    pub fn grants(&self, claims: &ClaimSet, requested: &MethodArn) -> Grants {
        let (mut values, mut work) = (ClaimValues::of(claims), Work::for_one_token());
        let mut grants = Grants::default();
        // The denials first, because one that there is not enough work for denies everything.
        for rules in [&self.deny, &self.allow] {
            let mut evaluations: Vec<_> = rules.iter().map(|rule| rule.evaluate(&mut values, &mut work)).collect();
            // Rules with few routes first, so that a rule with very many leaves something for them.
            evaluations.sort_by_key(RuleEvaluation::route_count);
            for evaluation in evaluations {
                evaluation.collect_into(&mut grants, requested.method_and_path(), &mut work);
            }
        }
        for list in [&mut grants.allow, &mut grants.deny] {
            list.sort();
            list.dedup_by(|next, first| next.resource == first.resource);
        }
        grants
    }
}

/// The values of the claims that the rules name. Each claim is read once, because many rules name
/// the same few.
struct ClaimValues<'a> {
    claims: &'a ClaimSet,
    read: BTreeMap<&'a str, Result<Vec<Cow<'a, str>>, UnsupportedClaimType>>,
}

impl<'a> ClaimValues<'a> {
    fn of(claims: &'a ClaimSet) -> Self {
        Self { claims, read: BTreeMap::new() }
    }

    /// The values of a claim; none if it is absent.
    fn get(&mut self, claim: &'a str) -> Result<&[Cow<'a, str>], UnsupportedClaimType> {
        let claims = self.claims;
        let read = self.read.entry(claim).or_insert_with(|| Ok(claims.values(claim)?.unwrap_or_default()));
        read.as_deref().map_err(|error| *error)
    }
}

impl Rule {
    fn evaluate<'a>(&'a self, values: &mut ClaimValues<'a>, work: &mut Work) -> RuleEvaluation<'a> {
        let mut evaluation = RuleEvaluation {
            rule: self,
            failed_condition: None,
            bindings: vec![Bindings::new()],
            unusable: Vec::new(),
            overflow: 0,
        };
        for condition in &self.when {
            let lost = |evaluation: &RuleEvaluation<'_>| (evaluation.unusable.len(), evaluation.overflow);
            let lost_before = lost(&evaluation);
            let matched = condition.bindings(values, &self.route_captures, &mut evaluation, work);
            if matched.is_empty() && lost(&evaluation) == lost_before {
                evaluation.failed_condition = Some(&condition.claim);
                evaluation.bindings.clear();
                return evaluation;
            }
            evaluation.join(matched, work);
        }
        evaluation
    }
}

impl<'a> RuleEvaluation<'a> {
    /// Combines each binding with each of `matched`.
    fn join(&mut self, matched: Vec<Bindings<'a>>, work: &mut Work) {
        // With a claim that binds nothing, there is nothing to combine.
        let nothing = [Bindings::new()];
        if self.bindings == nothing {
            self.bindings = matched;
            return;
        }
        if matched == nothing {
            return;
        }
        let captures = |bindings: &[Bindings<'_>]| bindings.first().map_or(0, Vec::len);
        let combinations = self.bindings.len().saturating_mul(matched.len());
        let kept = work.combine(combinations.min(MAX_BINDINGS), captures(&self.bindings) + captures(&matched));
        self.overflow += combinations - kept;
        let joined = self.bindings.iter().flat_map(|one| matched.iter().map(|other| [one.as_slice(), other].concat()));
        self.bindings = joined.take(kept).collect();
    }
}

impl RuleEvaluation<'_> {
    /// The rule's name.
    #[must_use]
    pub fn name(&self) -> RuleName {
        self.rule.name
    }

    /// Whether the rule allows or denies.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.rule.name.effect
    }

    /// Whether the rule has no `when`.
    #[must_use]
    pub fn is_for_any_token(&self) -> bool {
        self.rule.when.is_empty()
    }

    /// Whether this is a `[[deny]]` that matches the token with a value that cannot be written into
    /// a route, or with too many values. It denies everything then, because a Deny must not be
    /// lost.
    #[must_use]
    pub fn denies_all(&self) -> bool {
        self.failed_condition.is_none() && self.effect() == Effect::Deny && self.unusable.len() + self.overflow > 0
    }

    /// The rule's routes with these bindings, each as `{METHOD}/{path}`.
    pub fn resources<'b>(&'b self, bindings: &'b Bindings<'_>) -> impl Iterator<Item = String> {
        self.rule.routes.iter().flat_map(|route| route.resources(|name| value_of(bindings, name)))
    }

    /// How many routes the rule has with all of its bindings.
    fn route_count(&self) -> usize {
        self.bindings.len() * self.rule.resource_count
    }

    fn collect_into(&self, grants: &mut Grants, requested: &str, work: &mut Work) {
        if self.failed_condition.is_some() {
            return;
        }
        let list = match self.effect() {
            Effect::Allow => &mut grants.allow,
            Effect::Deny => &mut grants.deny,
        };
        let left_out = self.route_count() - self.push_routes(list, requested, work);
        grants.unusable_values += self.unusable.len();
        match self.effect() {
            // A lost Allow is safe. A lost Deny is not.
            Effect::Allow => grants.omitted += self.overflow + left_out,
            Effect::Deny if self.denies_all() || left_out > 0 => {
                grants.deny_all = Some(grants.deny_all.map_or(self.name(), |first| first.min(self.name())));
            }
            Effect::Deny => {}
        }
    }

    /// Appends the rule's routes until there is no room or no work left, and returns how many.
    fn push_routes(&self, list: &mut Vec<Grant>, requested: &str, work: &mut Work) -> usize {
        let before = list.len();
        let mut path = String::new();
        // Routes in the outer loop: bindings are sorted, so the list is mostly sorted already.
        'work: for route in &self.rule.routes {
            for bindings in &self.bindings {
                if !work.look_at(route.piece_count(), bindings.len()) {
                    break 'work;
                }
                if !route.write_path(&mut path, |name| value_of(bindings, name)) {
                    continue;
                }
                for method in route.methods() {
                    let is_full = list.len() >= MAX_ROUTES;
                    // Beyond the bound, one route that covers the request is enough.
                    let covers_request = || requested.strip_prefix(method).is_some_and(|asked| covers(&path, asked));
                    if is_full && (list.len() > MAX_ROUTES || !covers_request()) {
                        continue;
                    }
                    if !work.write(&path) {
                        break 'work;
                    }
                    // Not `concat`, which is slower. A tenant admin can have a thousand routes.
                    let mut resource = String::with_capacity(method.len() + path.len());
                    resource.push_str(method);
                    resource.push_str(&path);
                    list.push(Grant { resource, rule: self.name() });
                }
            }
        }
        list.len() - before
    }
}

fn value_of<'b>(bindings: &'b Bindings<'_>, name: &str) -> Option<&'b str> {
    bindings.iter().find(|(capture, _)| *capture == name).map(|(_, value)| value.as_ref())
}

impl Condition {
    /// The distinct bindings of the claim's values, sorted. Unusable values, and those that there
    /// is no work left for, are noted in `evaluation`.
    fn bindings<'a>(
        &'a self,
        values: &mut ClaimValues<'a>,
        route_captures: &BTreeSet<String>,
        evaluation: &mut RuleEvaluation<'a>,
        work: &mut Work,
    ) -> Vec<Bindings<'a>> {
        let mut all = Vec::new();
        let unusable = |reason| UnusableValue { claim: &self.claim, reason };
        let values = match values.get(&self.claim) {
            Ok(values) => values,
            Err(error) => {
                evaluation.unusable.push(unusable(error.into()));
                return all;
            }
        };
        for (value, pattern) in values.iter().flat_map(|value| self.any_of.iter().map(move |pattern| (value, pattern)))
        {
            if !work.compare() {
                evaluation.overflow += 1;
                break;
            }
            let Some(middle) = pattern.middle(value) else { continue };
            if !work.split(middle, pattern.capture_count()) {
                evaluation.overflow += 1;
                break;
            }
            match bind(pattern, value, route_captures) {
                Ok(Some(bindings)) => all.push(bindings),
                Ok(None) => {}
                Err(reason) => evaluation.unusable.push(unusable(reason)),
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The bindings of the captures that occur in a route, or `None` if the value does not match.
fn bind<'a>(
    pattern: &'a Pattern,
    value: &Cow<'a, str>,
    route_captures: &BTreeSet<String>,
) -> Result<Option<Bindings<'a>>, UnusableReason> {
    match value {
        Cow::Borrowed(text) => bind_parts(pattern, text, route_captures, Cow::Borrowed),
        Cow::Owned(text) => bind_parts(pattern, text, route_captures, |part| Cow::Owned(part.to_owned())),
    }
}

/// `to_value` makes a part of `text` the value of a binding.
fn bind_parts<'a, 'v>(
    pattern: &'a Pattern,
    text: &'v str,
    route_captures: &BTreeSet<String>,
    to_value: impl Fn(&'v str) -> Cow<'a, str>,
) -> Result<Option<Bindings<'a>>, UnusableReason> {
    let captured = match pattern.matches(text) {
        Match::Yes(captured) => captured,
        Match::Ambiguous => return Err(UnusableReason::Ambiguous(text.to_owned())),
        Match::No => return Ok(None),
    };
    let in_routes = || pattern.captures().zip(&captured).filter(|(name, _)| route_captures.contains(*name));
    if !in_routes().all(|(_, part)| is_route_safe(part)) {
        return Err(UnusableReason::NotRouteSafe(text.to_owned()));
    }
    let mut bindings: Bindings<'a> = in_routes().map(|(name, part)| (name, to_value(part))).collect();
    bindings.sort_unstable();
    Ok(Some(bindings))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim_set(members: &str) -> ClaimSet {
        ClaimSet::parse(format!("{{{members}}}").as_bytes()).unwrap()
    }

    fn grants(toml: &str, claims: &str) -> Grants {
        let requested = MethodArn::parse("arn:aws:execute-api:eu-west-1:123456789012:a/s/GET/a149/b149").unwrap();
        Rules::parse(toml).unwrap().grants(&claim_set(claims), &requested)
    }

    fn allowed(toml: &str, claims: &str) -> Vec<String> {
        grants(toml, claims).allow.into_iter().map(|grant| grant.resource).collect()
    }

    const FIRST_ALLOW: RuleName = RuleName { effect: Effect::Allow, number: 1, line: 1 };

    fn line_that_denies_all(grants: &Grants) -> Option<u32> {
        grants.deny_all.map(|rule| rule.line)
    }

    fn rule(when: &str, route: &str) -> String {
        format!("[[allow]]\nwhen = {{ {when} }}\nroutes = [\"{route}\"]\n")
    }

    #[test]
    fn a_rule_without_when_is_for_any_token() {
        assert_eq!(allowed("[[allow]]\nroutes = ['GET /a', 'PUT /a']", r#""x":1"#), ["GET/a", "PUT/a"]);
    }

    #[test]
    fn all_claims_must_match_and_any_pattern_of_a_list() {
        let toml = rule("scopes = ['read', 'admin'], uid = '{uid}'", "GET /users/{uid}");
        assert_eq!(allowed(&toml, r#""scp":["admin","read"],"uid":"u""#), ["GET/users/u"]);
        for claims in [
            r#""scp":["read"]"#,
            r#""uid":"u""#,
            r#""scp":["other","rea","readx","READ","read ","*"],"uid":"u""#,
            r#""scp":{"read":true},"uid":"u""#,
            r#""scp":null,"uid":"u""#,
            r#""scp":5,"uid":"u""#,
        ] {
            assert_eq!(allowed(&toml, claims), [""; 0], "{claims}");
        }
    }

    #[test]
    fn every_binding_grants_its_own_routes_once() {
        let toml = [
            rule("a = '{x}', b = '{y}'", "GET /m/{x}/{y}"),
            rule("list = ['A:{n}', 'B:{n}']", "GET /n/{n}"),
            rule("list = ['red', 'green'], uid = '{u}'", "POST /c/{u}/part-{u}.json"),
            rule("pair = '{l}-{r}'", "GET /p/{l}.{r}"),
            rule("level = '5', admin = 'true'", "GET /level"),
            rule("list = '{a}::{b}'", "GET /any/{a}/{b}/*"),
        ]
        .concat();
        for (claims, granted) in [
            (r#""a":["1","2"],"b":["3","4"]"#, ["GET/m/1/3", "GET/m/1/4", "GET/m/2/3", "GET/m/2/4"].as_slice()),
            (r#""a":["1","1"],"b":"3""#, &["GET/m/1/3"]),
            (r#""a":["1","*"],"b":["3","/"]"#, &["GET/m/1/3"]),
            (r#""a":["1"]"#, &[]),
            (r#""a":["1"],"b":[]"#, &[]),
            (r#""a":["1"],"b":[""]"#, &[]),
            (r#""a":1,"b":false"#, &["GET/m/1/false"]),
            (r#""a":{"x":1},"b":"3""#, &[]),
            (r#""list":["A:1","B:2","C:3","A:","xA:4","a:5"]"#, &["GET/n/1", "GET/n/2"]),
            (r#""list":["A:1","B:1"]"#, &["GET/n/1"]),
            (r#""list":"red","uid":"u1""#, &["POST/c/u1/part-u1.json"]),
            (r#""list":["red","green"],"uid":"u1""#, &["POST/c/u1/part-u1.json"]),
            (r#""list":["Red","greenish"," red"],"uid":"u1""#, &[]),
            (r#""list":"red","uid":"*""#, &[]),
            (r#""pair":["a-b","a-b-c"]"#, &["GET/p/a.b"]),
            (r#""pair":["a--b","c-d","-","e-","-f"]"#, &["GET/p/c.d"]),
            (r#""level":5,"admin":true"#, &["GET/level"]),
            (r#""level":"5","admin":"true""#, &["GET/level"]),
            (r#""level":5,"admin":false"#, &[]),
            (r#""level":55,"admin":true"#, &[]),
            (r#""level":[5],"admin":[[true]]"#, &[]),
            (r#""list":"p::q""#, &["GET/any/p/q/*"]),
            (r#""list":["p:::q","p::q::r"]"#, &[]),
            ("", &[]),
        ] {
            assert_eq!(allowed(&toml, claims), granted, "{claims}");
        }
        let toml = rule("a = '{x}', b = '{y}-{z}'", "GET /{x}/{y}/{z}");
        let expected = ["GET/1/p/q", "GET/1/r/s", "GET/2/p/q", "GET/2/r/s"];
        assert_eq!(allowed(&toml, r#""a":["1","2"],"b":["p-q","r-s","bad"]"#), expected);
    }

    #[test]
    fn every_claim_can_be_captured() {
        let claims = |value: &str| {
            let value = serde_json::to_string(value).unwrap();
            let prefixed = |prefix: &str| value.replacen('"', &format!("\"{prefix}"), 1);
            let (cid, group, scope) = (prefixed("c-"), prefixed("team-"), prefixed("read:"));
            format!(r#""sub":{value},"cid":{cid},"groups":[{group}],"scp":[{scope}],"org":{value}"#)
        };
        let toml = [
            rule("sub = '{v}'", "GET /sub/{v}"),
            rule("cid = 'c-{v}'", "GET /cid/{v}"),
            rule("groups = 'team-{v}'", "GET /team/{v}"),
            rule("scopes = 'read:{v}'", "GET /scope/x-{v}"),
            rule("org = '{v}'", "PUT /org/{v}/*"),
        ]
        .concat();
        for value in ["a", "...", "a:b", "ada@example.com", "A-Z.a_z~0+=,!", &"b".repeat(128)] {
            let routes = ["GET/cid/{}", "GET/scope/x-{}", "GET/sub/{}", "GET/team/{}", "PUT/org/{}/*"];
            assert_eq!(allowed(&toml, &claims(value)), routes.map(|route| route.replace("{}", value)));
        }
        for value in ["*", "a?b", "../x", "..", "${aws:username}", "a\nb", "\0", "\"", "\\", "{v}", &"a".repeat(129)] {
            assert_eq!(allowed(&toml, &claims(value)), [""; 0], "{value}");
        }
    }

    #[test]
    fn an_unusable_value_grants_nothing_and_is_counted() {
        let toml = rule("tenants = '{id}:{name}:{group}'", "GET /{name}");
        for bad in ["1:*:g", "1:a/b:g", "1:..:g", "1:${x}:g", "1:a b:g", "1:a:b:g", "1:%2e:g"] {
            let grants = grants(&toml, &format!(r#""tenants":["{bad}","2:good:g"]"#));
            assert_eq!(grants.allow, [Grant { resource: "GET/good".to_owned(), rule: FIRST_ALLOW }], "{bad}");
            assert_eq!((grants.unusable_values, grants.deny_all), (1, None), "{bad}");
        }
        // A capture that is not in a route may have any value.
        assert_eq!(allowed(&toml, r#""tenants":"1:a:*/..""#), ["GET/a"]);
    }

    #[test]
    fn a_deny_that_cannot_be_written_denies_everything() {
        let toml = "[[allow]]\nroutes = ['GET /a']\n[[deny]]\nwhen = { banned = '{x}' }\nroutes = ['GET /{x}']";
        let denied = |claims: &str| {
            let grants = grants(toml, claims);
            (grants.deny.iter().map(|grant| grant.resource.clone()).collect::<Vec<_>>(), line_that_denies_all(&grants))
        };
        assert_eq!(denied(r#""banned":"b""#), (vec!["GET/b".to_owned()], None));
        assert_eq!(denied(r#""banned":["b","*"]"#), (vec!["GET/b".to_owned()], Some(3)));
        assert_eq!(denied(r#""banned":["b",7]"#), (vec![], Some(3)));
        assert_eq!(denied(r#""banned":{"b":1}"#), (vec![], Some(3)));
        assert_eq!(denied(r#""banned":null"#), (vec![], None));
        assert_eq!(denied(r#""other":"b""#), (vec![], None));
    }

    #[test]
    fn a_deny_applies_only_if_all_its_conditions_match() {
        let deny = rule("groups = 'SUSPENDED', tenants = '{id}:{name}'", "GET /{name}").replace("allow", "deny");
        let toml = format!("[[allow]]\nroutes = ['GET /a']\n{deny}");
        let denied = |claims: &str| line_that_denies_all(&grants(&toml, claims));
        assert_eq!(denied(r#""groups":["SUSPENDED"],"tenants":["1:a b"]"#), Some(3));
        assert_eq!(denied(r#""groups":["SUSPENDED",7],"tenants":["1:a"]"#), Some(3));
        for other in
            [r#""groups":["STAFF"],"tenants":["1:a b"]"#, r#""tenants":["1:a b"]"#, r#""groups":["SUSPENDED"]"#]
        {
            assert_eq!(denied(other), None, "{other}");
        }
    }

    #[test]
    fn an_evaluation_says_what_matched_and_what_did_not() {
        let toml = rule("groups = 'STAFF', tenants = '{id}:{name}', x = ['{y}', 'z{y}']", "GET /{name}/{y}");
        let rules = Rules::parse(&toml).unwrap();
        let evaluate = |claims: &str| {
            let claims = claim_set(claims);
            let evaluation = rules.evaluate(&claims).remove(0);
            let resources: Vec<_> =
                evaluation.bindings.iter().flat_map(|bindings| evaluation.resources(bindings)).collect();
            let unusable: Vec<_> =
                evaluation.unusable.iter().map(|value| format!("{}: {}", value.claim, value.reason)).collect();
            (evaluation.failed_condition.map(str::to_owned), resources, unusable)
        };
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            evaluate(r#""groups":["STAFF"],"tenants":["1:a","2:b c","3:d:e","4"],"x":"q""#),
            (
                None,
                list(&["GET/a/q"]),
                list(&[
                    "tenants: a captured part of `2:b c` is not allowed in a route; expected 1 to 128 characters of A-Z a-z 0-9 - . _ ~ @ + = , : ! and neither . nor ..",
                    "tenants: `3:d:e` can be split in more than one way"
                ])
            )
        );
        let any = Rules::parse("[[allow]]\nroutes = ['GET /a']").unwrap();
        let is_for_any_token = |rules: &Rules| rules.evaluate(&claim_set(""))[0].is_for_any_token();
        assert!(is_for_any_token(&any) && !is_for_any_token(&rules));
        assert_eq!(evaluate(r#""groups":["STAFF"],"tenants":["1:a"],"x":7"#).1, ["GET/a/7"]);
        assert_eq!(evaluate(r#""groups":["STAFF"],"tenants":["1:\u0061"],"x":"q""#).1, ["GET/a/q"]);
        assert_eq!(evaluate(r#""groups":["STAFF"],"tenants":["1:a"],"x":"zq""#).1, ["GET/a/q", "GET/a/zq"]);
        assert_eq!(
            evaluate(r#""groups":["X"],"tenants":["1:a"],"x":"q""#),
            (Some("groups".to_owned()), vec![], vec![])
        );
        assert_eq!(evaluate(r#""groups":["STAFF"],"x":"q""#).0.as_deref(), Some("tenants"));
        assert_eq!(
            evaluate(r#""groups":["STAFF"],"tenants":{},"x":"q""#),
            (None, vec![], list(&["tenants: it is an object, or an array with something else than strings"]))
        );
    }

    #[test]
    fn the_bindings_of_a_rule_are_bounded() {
        let toml = rule("a = '{x}', b = '{y}'", "GET /{x}/{y}");
        let list = |prefix: &str| {
            serde_json::to_string(&(0..150).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>()).unwrap()
        };
        let grants = grants(&toml, &format!(r#""a":{},"b":{}"#, list("a"), list("b")));
        assert_eq!((grants.allow.len(), grants.omitted), (MAX_BINDINGS, 150 * 150 - MAX_BINDINGS));
    }

    #[test]
    fn a_deny_with_too_many_routes_denies_everything() {
        let toml =
            "[[allow]]\nroutes = ['GET /a']\n[[deny]]\nwhen = { a = '{x}', b = '{y}' }\nroutes = ['GET /{x}/{y}']";
        let denied = |count: usize| {
            let list = serde_json::to_string(&(0..count).map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
            line_that_denies_all(&grants(toml, &format!(r#""a":{list},"b":{list}"#)))
        };
        assert_eq!((denied(100), denied(101)), (None, Some(3)));

        let routes: Vec<String> = (0..20).map(|n| format!("'ANY /{{x}}/{n}'")).collect();
        let toml = format!(
            "[[allow]]\nroutes = ['GET /a']\n[[deny]]\nwhen = {{ a = '{{x}}' }}\nroutes = [{}]",
            routes.join(",")
        );
        let values =
            |count: usize| serde_json::to_string(&(0..count).map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
        let denied = |count: usize| line_that_denies_all(&grants(&toml, &format!(r#""a":{}"#, values(count))));
        assert_eq!((denied(71), denied(72)), (None, Some(3)));
    }

    #[test]
    fn with_too_many_routes_the_requested_one_is_kept() {
        let routes: Vec<String> = (0..20).map(|n| format!("'ANY /{{x}}/{n}'")).collect();
        let more = "'GET /{x}/*', 'GET /*', 'GET /{x}/b149'";
        let toml = format!("[[allow]]\nwhen = {{ a = '{{x}}' }}\nroutes = [{}, {more}]\n", routes.join(","));
        let values = serde_json::to_string(&(0..150).map(|n| format!("a{n:03}")).collect::<Vec<_>>()).unwrap();
        let grants = grants(&toml, &format!(r#""a":{values}"#));
        // One of them is enough.
        assert_eq!(grants.allow.len(), MAX_ROUTES + 1);
        assert_eq!(grants.omitted, 150 * (20 * 7 + 3) - MAX_ROUTES - 1);
        assert!(grants.allow.iter().any(|grant| grant.resource == "GET/a149/*"));
    }

    /// One rule could take all work: 100 groups and 100 tenants in each of many routes.
    fn greedy_rule(effect: &str, routes: usize) -> String {
        let routes: Vec<_> = (0..routes).map(|n| format!("'ANY /{n}/{{g}}/{{t}}/*'")).collect();
        format!("[[{effect}]]\nwhen = {{ groups = '{{g}}', tenants = '{{t}}' }}\nroutes = [{}]\n", routes.join(","))
    }

    fn hundred(prefix: &str) -> String {
        serde_json::to_string(&(0..100).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>()).unwrap()
    }

    fn groups_and_tenants() -> String {
        format!(r#""groups":{},"tenants":{}"#, hundred("g"), hundred("t"))
    }

    #[test]
    fn a_rule_with_many_routes_leaves_work_for_the_others() {
        let toml = greedy_rule("allow", 13).repeat(3) + "[[allow]]\nroutes = ['GET /small']\n";
        let grants = grants(&toml, &groups_and_tenants());
        assert_eq!(grants.allow.len(), MAX_ROUTES);
        assert!(grants.allow.iter().any(|grant| grant.resource == "GET/small"));
        // There are steps for 10,714 of the 30,000 bindings. A binding that is left out counts as
        // one.
        assert_eq!(grants.omitted, 10_714 * 13 * 7 + (30_000 - 10_714) - (MAX_ROUTES - 1));
    }

    #[test]
    fn rules_that_combine_claims_come_last() {
        let toml = greedy_rule("allow", 13).repeat(60) + &rule("groups = 'g{n}', tenants = 't7'", "GET /one/{n}");
        let grants = grants(&toml, &groups_and_tenants());
        assert_eq!(grants.allow.iter().filter(|grant| grant.resource.starts_with("GET/one/")).count(), 100);
    }

    #[test]
    fn allow_rules_leave_work_for_deny_rules() {
        let toml =
            greedy_rule("allow", 13).repeat(30) + "[[deny]]\nwhen = { groups = 'g{n}' }\nroutes = ['GET /{n}']\n";
        let grants = grants(&toml, &groups_and_tenants());
        assert_eq!((grants.deny.len(), grants.deny_all), (100, None));
    }

    #[test]
    fn a_deny_rule_without_enough_work_denies_everything() {
        let allow = "[[allow]]\nroutes = ['GET /a']\n";
        let denied = |toml: String| line_that_denies_all(&grants(&toml, &groups_and_tenants()));
        assert_eq!(denied(format!("{allow}{}", greedy_rule("deny", 1).replace("ANY", "GET"))), None);
        assert_eq!(denied(format!("{allow}{}", greedy_rule("deny", 1))), Some(3));
        // Not even compared: a pattern takes a step for each of the values.
        let patterns = format!("'x',{}", "'?',".repeat(2_999));
        let long = format!("[[deny]]\nwhen = {{ groups = [{patterns}] }}\nroutes = ['GET /a']\n");
        assert_eq!(denied(format!("{allow}{long}")), None);
        assert_eq!(denied(format!("{allow}{long}{}", long.replace("'x',", "'x','y',"))), Some(6));
    }

    #[test]
    fn a_value_that_there_is_no_work_for_is_left_out() {
        let patterns = "'?',".repeat(5_000);
        let long = format!("[[allow]]\nwhen = {{ groups = [{patterns}] }}\nroutes = ['GET /a']\n");
        let last = "[[allow]]\nwhen = { groups = 'g1' }\nroutes = ['GET /b']\n[[allow]]\nroutes = ['GET /c']\n";
        let grants = grants(&(long + last), &groups_and_tenants());
        let resources: Vec<_> = grants.allow.iter().map(|grant| grant.resource.as_str()).collect();
        assert_eq!((resources, grants.omitted), (vec!["GET/c"], 2));

        // 8,000 values to split, and steps for 5,769 of them.
        let patterns = "'{x}',".repeat(80);
        let split =
            |effect: &str| format!("[[{effect}]]\nwhen = {{ groups = [{patterns}] }}\nroutes = ['GET /{{x}}']\n");
        let allowed = self::grants(&split("allow"), &groups_and_tenants());
        assert_eq!((allowed.allow.len(), allowed.omitted), (73, 1));
        let denied = self::grants(&(split("allow") + &split("deny")), &groups_and_tenants());
        assert_eq!(line_that_denies_all(&denied), Some(4));
    }

    #[test]
    fn a_route_granted_twice_is_listed_once_with_its_first_rule() {
        let toml = "[[allow]]\nroutes = ['GET /a']\n[[allow]]\nroutes = ['ANY /a']";
        let grants = grants(toml, r#""x":1"#);
        assert_eq!(grants.allow.len(), 7);
        assert_eq!(grants.allow[1], Grant { resource: "GET/a".to_owned(), rule: FIRST_ALLOW });
    }
}
