//! Evaluates the rules for one token: for every way the claims match `when`, a rule grants `routes`.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    claims::{ClaimName, ClaimSet, Unread, UnsupportedClaimType},
    method_arn::MethodArn,
    path_guard::PathGuard,
    pattern::{Match, Pattern},
    route::{Route, USABLE, has_one_spelling, is_usable},
    rules::{Condition, Effect, Rule, RuleName, Rules, Test, Use},
    wildcard::Asked,
    work::{MAX_BINDINGS, MAX_ROUTES, Work},
};

/// Routes that rules grant or deny, each with its rule. They are in one text, because a tenant's
/// administrator can have a thousand of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources<'r> {
    text: String,
    list: Vec<Resource<'r>>,
}

/// The place of one route in the text, and its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Resource<'r> {
    start: usize,
    end: usize,
    guard: Option<PathGuard>,
    rule: &'r RuleName,
}

impl<'r> Resources<'r> {
    /// Appends what `write` appends to the text, if `is_wanted` says so of it. Returns whether it
    /// does.
    #[inline]
    pub(super) fn push(
        &mut self,
        rule: &'r RuleName,
        guard: Option<PathGuard>,
        write: impl FnOnce(&mut String),
        is_wanted: impl FnOnce(&str) -> bool,
    ) -> bool {
        let start = self.text.len();
        write(&mut self.text);
        let resource = Resource { start, end: self.text.len(), guard, rule };
        let is_wanted = is_wanted(resource.text(&self.text));
        if is_wanted {
            self.list.push(resource);
        } else {
            self.text.truncate(start);
        }
        is_wanted
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Each route with its rule. A route is `{METHOD}/{path}`, the end of a method ARN. Each `*` in
    /// it is a whole segment. If the path is longer than [`MAX_RESOURCE`](crate::MAX_RESOURCE), it
    /// is only the start.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'r RuleName)> + Clone {
        self.list.iter().map(|resource| (resource.text(&self.text), resource.rule))
    }

    /// The path guard that a policy with all of them needs.
    pub(super) fn guard(&self) -> Option<PathGuard> {
        self.list.iter().filter_map(|resource| resource.guard).max()
    }

    /// The length of each route, and whether it has a `*`.
    pub(super) fn sizes(&self) -> impl Iterator<Item = (usize, bool)> {
        self.list.iter().map(|resource| (resource.end - resource.start, resource.guard.is_some()))
    }

    /// Sorts the routes, and keeps the first rule of each.
    fn sort_and_dedup(&mut self) {
        let Self { text, list } = self;
        // Bytes, because a comparison need not find the borders of characters.
        let bytes = text.as_bytes();
        list.sort_by(|one, other| one.bytes(bytes).cmp(other.bytes(bytes)).then_with(|| one.rule.cmp(other.rule)));
        list.dedup_by(|next, first| next.bytes(bytes) == first.bytes(bytes));
    }
}

impl Resource<'_> {
    fn text<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.start..self.end).unwrap_or_default()
    }

    fn bytes<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        text.get(self.start..self.end).unwrap_or_default()
    }
}

/// What all rules together say about one token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants<'r> {
    /// Routes of `[[allow]]` rules, sorted. A route that is granted twice is listed once, with its
    /// first rule.
    pub allow: Resources<'r>,
    /// Routes of `[[deny]]` rules, likewise.
    pub deny: Resources<'r>,
    /// The first `[[deny]]` rule that denies everything, because it matches the token but one of
    /// its routes cannot be written (see [`RuleEvaluation::denies_all`]).
    pub deny_all: Option<&'r RuleName>,
    /// How many bindings and routes of `[[allow]]` rules were left out because there are too many.
    pub omitted: usize,
    /// How often a rule could not use a claim value (see [`UnusableReason`]).
    pub unusable_values: usize,
}

/// The values of a rule's captures for one way in which the claims match. Only captures that occur
/// in a route are kept, always in the same order.
pub type Bindings<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// One rule evaluated for one token.
#[derive(Debug)]
pub struct RuleEvaluation<'a> {
    rule: &'a Rule,
    /// Why the rule does not apply to the token and the request, if it does not.
    pub failed: Option<Failed<'a>>,
    /// One entry for each distinct way in which the claims match and that can be written.
    pub bindings: Vec<Bindings<'a>>,
    /// Whether a value of the bindings has more than one spelling, or is not written as it is.
    has_spellings: bool,
    /// How many pairs of a route and its bindings there are.
    bound_route_count: usize,
    /// Claim values that the rule cannot use.
    pub unusable: Vec<UnusableValue<'a>>,
    /// How many ways were left out because there are too many. If the values of a claim were not
    /// all compared, that counts as one.
    pub overflow: usize,
}

/// Why a rule does not apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed<'a> {
    /// The rule is for other APIs.
    OtherApi(&'a [String]),
    /// The rule is for other stages.
    OtherStage(&'a [String]),
    /// The first condition that does not match is about this claim.
    Claim(&'a str),
    /// Every condition matches, but no values have the same text for a capture of several
    /// conditions.
    NoAgreement,
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
    /// The claim is not a string, a number, a boolean or an array of these.
    #[error(transparent)]
    UnsupportedType(#[from] UnsupportedClaimType),
    /// The value can be read in more than one way.
    #[error("`{0}` can be read in more than one way")]
    Ambiguous(String),
    /// A captured part is not allowed in a route.
    #[error("a captured part of `{0}` is not allowed in a route; expected {USABLE}")]
    NotUsable(String),
}

/// One way in which claim values match.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Way<'a> {
    /// The captures that occur in a route or in several conditions.
    bindings: Bindings<'a>,
    /// Whether each capture that occurs in a route has a value that can be written there.
    is_usable: bool,
}

impl Way<'_> {
    const NOTHING_BOUND: Self = Self { bindings: Vec::new(), is_usable: true };
}

impl Rules {
    /// Evaluates every rule for one token and the API and stage of this request: the `[[deny]]`
    /// rules first, because one that there is not enough work for denies everything.
    #[must_use]
    pub fn evaluate<'a>(&'a self, claims: &'a ClaimSet, requested: &MethodArn) -> Vec<RuleEvaluation<'a>> {
        let (mut values, mut work) = (ClaimValues::of(claims), Work::for_one_token());
        self.deny.iter().chain(&self.allow).map(|rule| rule.evaluate(&mut values, requested, &mut work)).collect()
    }

    /// All that a token with these claims may call and may not call, for any request of its stage.
    /// If there are too many routes, one that covers `requested` is kept.
    #[must_use]
    pub fn grants<'r>(&'r self, claims: &ClaimSet, requested: &MethodArn) -> Grants<'r> {
        let (mut values, mut work) = (ClaimValues::of(claims), Work::for_one_token());
        let mut asked = Asked::new(requested.method_and_path());
        let mut grants = Grants::default();
        // The denials first, because one that there is not enough work for denies everything.
        for rules in [&self.deny, &self.allow] {
            let evaluate = |rule: &'r Rule| (&rule.name, rule.evaluate(&mut values, requested, &mut work));
            let evaluations: Vec<_> = rules.iter().map(evaluate).collect();
            // Rules with few routes first, so that a rule with very many leaves something for them.
            let applies = |(_, evaluation): &&(_, RuleEvaluation<'_>)| evaluation.failed.is_none();
            let mut by_count: Vec<_> = evaluations.iter().filter(applies).collect();
            by_count.sort_by_key(|(_, evaluation)| evaluation.bound_route_count);
            for (name, evaluation) in by_count {
                evaluation.collect_into(&mut grants, name, &mut asked, &mut work);
            }
        }
        grants.allow.sort_and_dedup();
        grants.deny.sort_and_dedup();
        grants
    }
}

/// The values of the claims that the rules name. Each claim is read once, because many rules name
/// the same few.
struct ClaimValues<'a> {
    claims: &'a ClaimSet,
    read: BTreeMap<&'a ClaimName, ReadClaim<'a>>,
}

/// A claim's values, or why there are none. `None` if the claim is absent or null.
type ReadClaim<'a> = Result<Option<Vec<Cow<'a, str>>>, Unread>;

impl<'a> ClaimValues<'a> {
    fn of(claims: &'a ClaimSet) -> Self {
        Self { claims, read: BTreeMap::new() }
    }

    fn get(&mut self, claim: &'a ClaimName, work: &mut Work) -> Result<Option<&[Cow<'a, str>]>, Unread> {
        let claims = self.claims;
        let read = || {
            let json = claims.json(claim, work)?;
            json.map(|json| claim.values(json)).transpose().map_err(|UnsupportedClaimType| Unread::UnsupportedType)
        };
        let read = self.read.entry(claim).or_insert_with(read);
        read.as_ref().map(Option::as_deref).map_err(|unread| *unread)
    }
}

impl Rule {
    fn evaluate<'a>(
        &'a self,
        values: &mut ClaimValues<'a>,
        requested: &MethodArn,
        work: &mut Work,
    ) -> RuleEvaluation<'a> {
        let mut evaluation = RuleEvaluation {
            rule: self,
            failed: None,
            bindings: Vec::new(),
            has_spellings: false,
            bound_route_count: 0,
            unusable: Vec::new(),
            overflow: 0,
        };
        evaluation.failed = evaluation.match_all(values, requested, work);
        evaluation
    }

    fn has_in_route(&self, capture: &str) -> bool {
        self.route_captures.iter().any(|other| other == capture)
    }
}

impl<'a> RuleEvaluation<'a> {
    /// Matches all conditions. Returns why the rule does not apply, if it does not.
    fn match_all(
        &mut self,
        values: &mut ClaimValues<'a>,
        requested: &MethodArn,
        work: &mut Work,
    ) -> Option<Failed<'a>> {
        if !self.rule.is_for_api(requested) {
            return Some(Failed::OtherApi(&self.rule.apis));
        }
        if !self.rule.is_for_stage(requested) {
            return Some(Failed::OtherStage(&self.rule.stages));
        }
        let mut joined: Option<Vec<Way<'a>>> = None;
        let mut unwritable = Vec::new();
        for condition in &self.rule.when {
            let lost_before = self.lost();
            let matched = self.ways(condition, values, &mut unwritable, work);
            if matched.is_empty() && self.lost() == lost_before {
                return Some(Failed::Claim(&condition.claim));
            }
            joined = Some(match joined {
                None => matched,
                Some(ways) => self.join(ways, matched, work),
            });
        }
        let mut ways = joined.unwrap_or_else(|| vec![Way::NOTHING_BOUND]);
        if ways.is_empty() && self.lost() == 0 {
            return Some(Failed::NoAgreement);
        }
        if self.rule.has_shared_captures {
            for way in &mut ways {
                way.bindings.retain(|(capture, _)| self.rule.has_in_route(capture));
            }
            ways.sort_unstable();
            ways.dedup();
        }
        if ways.iter().any(|way| !way.is_usable) {
            self.unusable.extend(unwritable);
        }
        self.bindings = ways.into_iter().filter(|way| way.is_usable).map(|way| way.bindings).collect();
        self.has_spellings = self.bindings.iter().flatten().any(|(_, value)| !has_one_spelling(value));
        self.bound_route_count = self.count_bound_routes();
        None
    }

    /// How many pairs of a route and its bindings there are.
    fn count_bound_routes(&self) -> usize {
        let with_captures = self.rule.routes.iter().filter(|route| route.has_capture()).count();
        let without = self.rule.routes.len() - with_captures;
        self.bindings.len() * with_captures + self.bindings.len().min(1) * without
    }

    /// How many values and ways are lost so far.
    fn lost(&self) -> usize {
        self.unusable.len() + self.overflow
    }

    /// The distinct ways in which a condition matches, sorted. Values that cannot be used, and those
    /// that there is no work left for, are noted. `unwritable` takes the values of ways that are
    /// not usable.
    fn ways(
        &mut self,
        condition: &'a Condition,
        values: &mut ClaimValues<'a>,
        unwritable: &mut Vec<UnusableValue<'a>>,
        work: &mut Work,
    ) -> Vec<Way<'a>> {
        let unusable = |reason| UnusableValue { claim: &condition.claim, reason };
        let (patterns, uses, texts) = match (&condition.test, values.get(&condition.claim_name, work)) {
            (_, Err(Unread::NoWork)) => {
                self.overflow += 1;
                return Vec::new();
            }
            (Test::Present(expected), read) => {
                let is_present = !matches!(read, Ok(None));
                return if is_present == *expected { vec![Way::NOTHING_BOUND] } else { Vec::new() };
            }
            (Test::AnyOf(..), Ok(None)) => return Vec::new(),
            (Test::AnyOf(..), Err(Unread::UnsupportedType)) => {
                self.unusable.push(unusable(UnsupportedClaimType.into()));
                return Vec::new();
            }
            (Test::AnyOf(patterns, uses), Ok(Some(texts))) => (patterns, uses, texts),
        };
        let mut ways = Vec::new();
        for text in texts {
            let read = match text {
                Cow::Borrowed(text) => read(patterns, text, work).map(|read| Some(way(&read?, uses, Cow::Borrowed))),
                Cow::Owned(text) => {
                    read(patterns, text, work).map(|read| Some(way(&read?, uses, |part| Cow::Owned(part.to_owned()))))
                }
            };
            match read {
                Ok(None) => {}
                Ok(Some(way)) => {
                    if !way.is_usable {
                        unwritable.push(unusable(UnusableReason::NotUsable(text.clone().into_owned())));
                    }
                    ways.push(way);
                }
                Err(ReadError::Ambiguous) => {
                    self.unusable.push(unusable(UnusableReason::Ambiguous(text.clone().into_owned())));
                }
                Err(ReadError::NoWork) => {
                    self.overflow += 1;
                    break;
                }
            }
        }
        ways.sort_unstable();
        ways.dedup();
        ways
    }

    /// Combines each way with each of `matched` that agrees on the captures of both.
    fn join(&mut self, ways: Vec<Way<'a>>, matched: Vec<Way<'a>>, work: &mut Work) -> Vec<Way<'a>> {
        // With a condition that binds nothing, there is nothing to combine.
        let nothing = [Way::NOTHING_BOUND];
        if ways == nothing {
            return matched;
        }
        if matched == nothing {
            return ways;
        }
        let (Some(first), Some(first_matched)) = (ways.first(), matched.first()) else { return Vec::new() };
        let known: Vec<&str> = first.captures().collect();
        let (shared, new): (Vec<&str>, Vec<&str>) =
            first_matched.captures().partition(|capture| known.contains(capture));
        let to_compare = if shared.is_empty() { 0 } else { ways.len() + matched.len() };
        if work.combine(to_compare, shared.len()) < to_compare {
            self.overflow += ways.len();
            return Vec::new();
        }
        let mut by_shared: BTreeMap<Vec<&str>, Vec<&Way<'a>>> = BTreeMap::new();
        for way in &matched {
            by_shared.entry(way.values(&shared)).or_default().push(way);
        }
        let partners = ways.iter().map(|way| {
            let partners = by_shared.get(&way.values(&shared));
            (way, partners.map(Vec::as_slice).unwrap_or_default())
        });
        let partners: Vec<_> = partners.collect();
        let combinations = partners.iter().map(|(_, partners)| partners.len()).fold(0, usize::saturating_add);
        let kept = work.combine(combinations.min(MAX_BINDINGS), known.len() + new.len());
        self.overflow += combinations - kept;
        let joined = partners.iter().flat_map(|(one, partners)| partners.iter().map(move |other| (one, other)));
        joined.take(kept).map(|(one, other)| one.with(other, &new)).collect()
    }
}

impl<'a> Way<'a> {
    fn captures(&self) -> impl Iterator<Item = &'a str> {
        self.bindings.iter().map(|(capture, _)| *capture)
    }

    /// The values of these captures.
    fn values(&self, captures: &[&str]) -> Vec<&str> {
        let value = |name: &&str| self.bindings.iter().find(|(capture, _)| capture == name);
        captures.iter().filter_map(value).map(|(_, value)| value.as_ref()).collect()
    }

    /// This way, and the captures `new` of the other.
    fn with(&self, other: &Self, new: &[&str]) -> Self {
        let added = other.bindings.iter().filter(|(capture, _)| new.contains(capture));
        Self {
            bindings: self.bindings.iter().chain(added).cloned().collect(),
            is_usable: self.is_usable && other.is_usable,
        }
    }
}

impl RuleEvaluation<'_> {
    /// The rule's name.
    #[must_use]
    pub fn name(&self) -> &RuleName {
        &self.rule.name
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
        self.failed.is_none() && self.effect() == Effect::Deny && self.lost() > 0
    }

    /// The rule's routes with these bindings, each as `{METHOD}/{path}`.
    pub fn resources<'b>(&'b self, bindings: &'b Bindings<'_>) -> impl Iterator<Item = String> {
        self.rule.routes.iter().flat_map(|route| self.resources_of(route, bindings))
    }

    /// The same for one of the rule's routes.
    pub fn resources_of<'b>(&'b self, route: &'b Route, bindings: &'b Bindings<'_>) -> impl Iterator<Item = String> {
        let value = |index| value_at(bindings, index);
        (0..route.spelling_count(value)).map(move |number| {
            let mut resource = String::new();
            route.write_spelling(&mut resource, number, value);
            resource
        })
    }

    fn collect_into<'r>(&self, grants: &mut Grants<'r>, name: &'r RuleName, asked: &mut Asked<'_>, work: &mut Work) {
        // Bytes of a usual route.
        const ROUTE: usize = 32;
        let list = match self.effect() {
            Effect::Allow => &mut grants.allow,
            Effect::Deny => &mut grants.deny,
        };
        let expected = self.bound_route_count.min(MAX_ROUTES);
        list.list.reserve(expected);
        list.text.reserve(expected.saturating_mul(ROUTE));
        let left_out = Writer { list, name, asked, work, left_out: 0 }.write_all(self);
        grants.unusable_values += self.unusable.len();
        match self.effect() {
            // A lost Allow is safe. A lost Deny is not.
            Effect::Allow => grants.omitted = grants.omitted.saturating_add(self.overflow).saturating_add(left_out),
            Effect::Deny if self.denies_all() || left_out > 0 => {
                grants.deny_all = Some(grants.deny_all.map_or(name, |first| first.min(name)));
            }
            Effect::Deny => {}
        }
    }
}

/// Writes the routes of one rule.
struct Writer<'w, 'r, 't> {
    list: &'w mut Resources<'r>,
    name: &'r RuleName,
    asked: &'w mut Asked<'t>,
    work: &'w mut Work,
    left_out: usize,
}

impl Writer<'_, '_, '_> {
    /// Appends all routes until there is no room or no work left. Returns how many are left out; of
    /// routes that it does not come to, only one spelling counts.
    ///
    /// The routes are sorted, and so are the bindings. So routes that start alike are written
    /// together for each of the bindings, because the list is mostly sorted then. A route without
    /// captures is the same with all bindings.
    fn write_all(mut self, evaluation: &RuleEvaluation<'_>) -> usize {
        let mut remaining = evaluation.bound_route_count;
        for routes in evaluation.rule.routes.chunk_by(Route::starts_like) {
            let has_capture = routes.first().is_some_and(Route::has_capture);
            for bindings in evaluation.bindings.iter().take(if has_capture { usize::MAX } else { 1 }) {
                for route in routes {
                    let has_work = if evaluation.has_spellings {
                        self.write_spellings(route, bindings)
                    } else {
                        self.push(route, |text| route.write(text, |index| value_at(bindings, index)), |_, _| true)
                    };
                    if !has_work {
                        return self.left_out.saturating_add(remaining);
                    }
                    remaining -= 1;
                }
            }
        }
        self.left_out
    }

    /// Appends all spellings of one route. Returns `false` if there is not enough work.
    fn write_spellings(&mut self, route: &Route, bindings: &Bindings<'_>) -> bool {
        let value = |index| value_at(bindings, index);
        self.work.spell(route.piece_count())
            && (0..route.spelling_count(value))
                .all(|number| self.push(route, |text| route.write_spelling(text, number, value), Work::encode))
    }

    /// Appends what `write` appends to the text, if there is room. Returns `false` if there is not
    /// enough work, for which `pay` pays as well.
    #[inline]
    fn push(
        &mut self,
        route: &Route,
        write: impl FnOnce(&mut String),
        pay: impl FnOnce(&mut Work, &str) -> bool,
    ) -> bool {
        if !self.work.look_at(route.piece_count()) {
            return false;
        }
        // Beyond the bound, one route that covers the request is enough.
        let (count, mut has_work) = (self.list.len(), true);
        let is_kept = self.list.push(self.name, route.guard(), write, |resource| {
            has_work = pay(self.work, resource);
            if !has_work || count > MAX_ROUTES || (count == MAX_ROUTES && !self.asked.is_covered_by(resource)) {
                return false;
            }
            has_work = self.work.write(resource);
            has_work
        });
        self.left_out += usize::from(has_work && !is_kept);
        has_work
    }
}

/// The value of a rule's capture. A route names captures by their place in the bindings.
fn value_at<'b>(bindings: &'b Bindings<'_>, index: usize) -> &'b str {
    bindings.get(index).map_or("", |(_, value)| value.as_ref())
}

/// How a pattern reads a value: the captured parts, in the order of the pattern.
struct Reading<'p, 'v> {
    pattern: &'p Pattern,
    parts: Vec<&'v str>,
}

/// The bindings that are needed. `to_value` makes a captured part the value of a binding.
fn way<'a, 'v>(read: &Reading<'a, 'v>, uses: &[Use], to_value: impl Fn(&'v str) -> Cow<'a, str>) -> Way<'a> {
    let mut way = Way { bindings: Vec::with_capacity(uses.len()), is_usable: true };
    for ((name, part), needed) in read.pattern.named(&read.parts).zip(uses) {
        way.is_usable &= *needed != Use::Route || is_usable(part);
        if *needed != Use::Nothing {
            way.bindings.push((name, to_value(part)));
        }
    }
    way
}

/// Why a value could not be read.
enum ReadError {
    /// There is more than one way to read it.
    Ambiguous,
    NoWork,
}

/// Reads a value by a list of patterns. `None` if it matches none of them.
fn read<'p, 'v>(
    patterns: &'p [Pattern],
    value: &'v str,
    work: &mut Work,
) -> Result<Option<Reading<'p, 'v>>, ReadError> {
    let mut read: Option<Reading<'p, 'v>> = None;
    for pattern in patterns {
        if !work.compare(pattern.capture_count()) {
            return Err(ReadError::NoWork);
        }
        let Some(middle) = pattern.middle(value) else { continue };
        if !work.split(middle, pattern.capture_count()) {
            return Err(ReadError::NoWork);
        }
        let parts = match pattern.matches(value) {
            Match::No => continue,
            Match::Ambiguous => return Err(ReadError::Ambiguous),
            Match::Yes(parts) => parts,
        };
        let is_other = |earlier: &Reading<'p, 'v>| !earlier.pattern.named(&earlier.parts).eq(pattern.named(&parts));
        if read.as_ref().is_some_and(is_other) {
            return Err(ReadError::Ambiguous);
        }
        read = Some(Reading { pattern, parts });
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim_set(members: &str) -> ClaimSet {
        ClaimSet::parse(format!("{{{members}}}").as_bytes()).unwrap()
    }

    fn requested() -> MethodArn {
        MethodArn::parse("arn:aws:execute-api:eu-west-1:123456789012:a/s/GET/a149/b149").unwrap()
    }

    fn grants(toml: &str, claims: &str) -> Grants<'static> {
        // A test's rules live as long as its process.
        let rules: &'static Rules = Box::leak(Box::new(Rules::parse(toml).unwrap()));
        rules.grants(&claim_set(claims), &requested())
    }

    fn texts(resources: &Resources<'_>) -> Vec<String> {
        resources.iter().map(|(resource, _)| resource.to_owned()).collect()
    }

    fn allowed(toml: &str, claims: &str) -> Vec<String> {
        texts(&grants(toml, claims).allow)
    }

    const FIRST_ALLOW: RuleName = RuleName { line: 1, effect: Effect::Allow, name: None };

    fn line_that_denies_all(grants: &Grants<'_>) -> Option<u32> {
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
            r#""scp":["read",5],"uid":"u""#,
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
            (r#""level":[4,5],"admin":[false,true]"#, &["GET/level"]),
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
        let long = "b".repeat(128);
        for (value, spellings) in [
            ("a", ["a"].as_slice()),
            ("...", &["..."]),
            ("A-Z.a_z~0!()'", &["A-Z.a_z~0!()'"]),
            (&long, &[&long]),
            ("a:b", &["a%3Ab", "a:b"]),
            ("ada@example.com", &["ada%40example.com", "ada@example.com"]),
            ("+=,&", &["%2B%3D%2C%26", "+=,&"]),
            ("Smith & Sons (UK)", &["Smith%20%26%20Sons%20(UK)"]),
        ] {
            let routes = ["GET/cid/{}", "GET/scope/x-{}", "GET/sub/{}", "GET/team/{}", "PUT/org/{}/*"];
            let expected = routes.iter().flat_map(|route| spellings.iter().map(|value| route.replace("{}", value)));
            assert_eq!(allowed(&toml, &claims(value)), expected.collect::<Vec<_>>(), "{value}");
        }
        for value in ["*", "a?b", "../x", "..", "${aws:username}", "a\nb", "\0", "\"", "\\", "{v}", &"a".repeat(129)] {
            assert_eq!(allowed(&toml, &claims(value)), [""; 0], "{value}");
        }
    }

    #[test]
    fn an_unusable_value_grants_nothing_and_is_counted() {
        let toml = rule("tenants = '{id}:{name}:{group}'", "GET /{name}");
        for bad in ["1:*:g", "1:a/b:g", "1:..:g", "1:${x}:g", "1:a  b:g", "1: a:g", "1:a:b:g", "1:%2e:g", "1:a;b:g"] {
            let grants = grants(&toml, &format!(r#""tenants":["{bad}","2:good:g"]"#));
            assert_eq!(grants.allow.iter().collect::<Vec<_>>(), [("GET/good", &FIRST_ALLOW)], "{bad}");
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
            (texts(&grants.deny), line_that_denies_all(&grants))
        };
        let list = |resources: &[&str]| resources.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        assert_eq!(denied(r#""banned":"b""#), (list(&["GET/b", "GET/b/"]), None));
        assert_eq!(denied(r#""banned":["b","*"]"#), (list(&["GET/b", "GET/b/"]), Some(3)));
        assert_eq!(denied(r#""banned":["b",7]"#), (list(&["GET/7", "GET/7/", "GET/b", "GET/b/"]), None));
        assert_eq!(denied(r#""banned":["b",null]"#), (vec![], Some(3)));
        assert_eq!(denied(r#""banned":{"b":1}"#), (vec![], Some(3)));
        assert_eq!(denied(r#""banned":null"#), (vec![], None));
        assert_eq!(denied(r#""other":"b""#), (vec![], None));
    }

    #[test]
    fn a_deny_applies_only_if_all_its_conditions_match() {
        let deny = rule("groups = 'SUSPENDED', tenants = '{id}:{name}'", "GET /{name}").replace("allow", "deny");
        let toml = format!("[[allow]]\nroutes = ['GET /a']\n{deny}");
        let denied = |claims: &str| line_that_denies_all(&grants(&toml, claims));
        assert_eq!(denied(r#""groups":["SUSPENDED"],"tenants":["1:a;b"]"#), Some(3));
        assert_eq!(denied(r#""groups":["SUSPENDED",null],"tenants":["1:a"]"#), Some(3));
        for other in
            [r#""groups":["STAFF"],"tenants":["1:a;b"]"#, r#""tenants":["1:a;b"]"#, r#""groups":["SUSPENDED"]"#]
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
            let evaluation = rules.evaluate(&claims, &requested()).remove(0);
            let resources: Vec<_> =
                evaluation.bindings.iter().flat_map(|bindings| evaluation.resources(bindings)).collect();
            let unusable: Vec<_> =
                evaluation.unusable.iter().map(|value| format!("{}: {}", value.claim, value.reason)).collect();
            let failed = match evaluation.failed {
                None => None,
                Some(Failed::Claim(claim)) => Some(claim.to_owned()),
                Some(other) => Some(format!("{other:?}")),
            };
            (failed, resources, unusable)
        };
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            evaluate(r#""groups":["STAFF"],"tenants":["1:a","2:b  c","3:d:e","4"],"x":"q""#),
            (
                None,
                list(&["GET/a/q"]),
                list(&[
                    "tenants: `3:d:e` can be read in more than one way",
                    "tenants: a captured part of `2:b  c` is not allowed in a route; expected 1 to 128 characters of A-Z a-z 0-9 - . _ ~ @ + = , : ! & ' ( ) and single spaces inside, and no . or .. alone or before @ + = , : & and the space",
                ])
            )
        );
        let any = Rules::parse("[[allow]]\nroutes = ['GET /a']").unwrap();
        let is_for_any_token = |rules: &Rules| rules.evaluate(&claim_set(""), &requested())[0].is_for_any_token();
        assert!(is_for_any_token(&any) && !is_for_any_token(&rules));
        assert_eq!(evaluate(r#""groups":["STAFF"],"tenants":["1:a"],"x":7"#).1, ["GET/a/7"]);
        assert_eq!(evaluate(r#""groups":["STAFF"],"tenants":["1:\u0061"],"x":"q""#).1, ["GET/a/q"]);
        assert_eq!(
            evaluate(r#""groups":["STAFF"],"tenants":["1:a"],"x":"zq""#),
            (None, vec![], list(&["x: `zq` can be read in more than one way"]))
        );
        assert_eq!(
            evaluate(r#""groups":["X"],"tenants":["1:a"],"x":"q""#),
            (Some("groups".to_owned()), vec![], vec![])
        );
        assert_eq!(evaluate(r#""groups":["STAFF"],"x":"q""#).0.as_deref(), Some("tenants"));
        assert_eq!(
            evaluate(r#""groups":["STAFF"],"tenants":{},"x":"q""#),
            (
                None,
                vec![],
                list(&["tenants: it is an object, or an array with something else than strings, numbers and booleans"])
            )
        );
    }

    /// Each with claims for which the rule grants exactly these routes.
    #[test]
    fn a_rule_can_say_what_apis_need() {
        let all = "scopes = { all = ['orders:read', 'pii:read'] }";
        let nested = "\"/app/roles\" = 'admin'";
        let agree = "groups = '{t}_admins', tenants = '{id}:{t}:{g}'";
        for (when, route, claims, granted) in [
            (all, "GET /a", r#""scp":["orders:read","pii:read","x"]"#, ["GET/a"].as_slice()),
            (all, "GET /a", r#""scope":"pii:read orders:read""#, &["GET/a"]),
            (all, "GET /a", r#""scp":["orders:read"]"#, &[]),
            (all, "GET /a", r#""scp":["pii:read","pii:read"]"#, &[]),
            ("g = { all = ['{t}_a', '{t}_b'] }", "GET /{t}", r#""g":["x_a","x_b","y_a","z_b"]"#, &["GET/x"]),
            ("g = { all = ['{t}_a', '{u}_b'] }", "GET /{u}/{t}", r#""g":["x_a","y_b","z_b"]"#, &["GET/y/x", "GET/z/x"]),
            ("uid = { present = false }", "GET /m", r#""sub":"x""#, &["GET/m"]),
            ("uid = { present = false }", "GET /m", r#""uid":null"#, &["GET/m"]),
            ("uid = { present = false }", "GET /m", r#""uid":"""#, &[]),
            ("d = { present = true }", "GET /m", r#""d":{"any":[1]}"#, &["GET/m"]),
            ("d = { present = true }", "GET /m", r#""d":[]"#, &["GET/m"]),
            ("d = { present = true }", "GET /m", r#""d":null"#, &[]),
            ("d = { present = true }", "GET /m", r#""e":1"#, &[]),
            ("scopes = { present = false }", "GET /m", r#""scope":"a""#, &[]),
            ("scopes = { present = false }", "GET /m", r#""x":"a""#, &["GET/m"]),
            ("t = '{n}'", "GET /{n}", r#""t":[5,10.50,true,"x"]"#, &["GET/10.50", "GET/5", "GET/true", "GET/x"]),
            (
                agree,
                "GET /{t}/{g}",
                r#""groups":["a_admins","b_admins"],"tenants":["1:a:x","2:c:y","3:b:z"]"#,
                &["GET/a/x", "GET/b/z"],
            ),
            (agree, "GET /{t}", r#""groups":["a_admins"],"tenants":["1:b:x"]"#, &[]),
            (agree, "GET /{g}", r#""groups":["a/b_admins"],"tenants":["1:a/b:x"]"#, &["GET/x"]),
            (nested, "GET /a", r#""app":{"roles":["user","admin"]}"#, &["GET/a"]),
            (nested, "GET /a", r#""app":{"roles":"admin"}"#, &["GET/a"]),
            (nested, "GET /a", r#""app":{"roles":["user"]},"roles":["admin"]"#, &[]),
            (nested, "GET /a", r#""app":["roles","admin"]"#, &[]),
            (nested, "GET /a", r#""app":"admin","/app/roles":"admin""#, &[]),
            ("\"/a~1b/~0/1\" = '{x}'", "GET /{x}", r#""a/b":{"~":["p","q"]}"#, &["GET/q"]),
            ("\"/l/0\" = '{x}', \"/l/01\" = { present = false }", "GET /{x}", r#""l":["p","q"]"#, &["GET/p"]),
            ("\"/n/x\" = { present = true }", "GET /a", r#""n":{"x":null}"#, &[]),
            ("u = '{userId}'", "GET /hello/{userId}/", r#""u":"7""#, &["GET/hello/7/"]),
            ("g = 'STAFF'", "GET /orders/*/invoice", r#""g":"STAFF""#, &["GET/orders/*/invoice"]),
            ("g = '{x}'", "GET /*/{x}/*", r#""g":"a""#, &["GET/*/a/*"]),
            ("p = '{a}', q = '{b}'", "GET /{a}/{b}", r#""p":"1@2","q":"x y""#, &["GET/1%402/x%20y", "GET/1@2/x%20y"]),
            ("p = '{a}'", "GET /{a}/{a}", r#""p":"@""#, &["GET/%40/%40", "GET/%40/@", "GET/@/%40", "GET/@/@"]),
        ] {
            let toml = format!("[[allow]]\nwhen = {{ {when} }}\nroutes = ['{route}']\n");
            assert_eq!(allowed(&toml, claims), granted, "{when} {route} {claims}");
        }
    }

    #[test]
    fn a_value_that_is_read_in_two_ways_is_ambiguous() {
        let when = "when = { t = ['{a}:{b}', '{b}@{a}'] }\nroutes = ['GET /{a}/{b}']\n";
        let (allow, deny) = (format!("[[allow]]\n{when}"), format!("[[allow]]\nroutes = ['GET /x']\n[[deny]]\n{when}"));
        assert_eq!(allowed(&allow, r#""t":["evil:r@umbra","x:y"]"#), ["GET/x/y"]);
        assert_eq!(line_that_denies_all(&grants(&deny, r#""t":["x:y"]"#)), None);
        assert_eq!(line_that_denies_all(&grants(&deny, r#""t":["evil:r@umbra","x:y"]"#)), Some(3));
        // Both patterns read it in the same way.
        let same = "[[allow]]\nwhen = { t = ['{a}-x', '{a}-{b}', 'n'] }\nroutes = ['GET /a']\n";
        assert!(Rules::parse(same).is_err());
        let same = "[[allow]]\nwhen = { t = ['x-{a}', '{a}-x'] }\nroutes = ['GET /{a}']\n";
        assert_eq!(allowed(same, r#""t":["x-x","x-y","z-x","x-y-x"]"#), ["GET/x", "GET/y", "GET/z"]);
    }

    #[test]
    fn a_deny_with_captures_that_do_not_agree_does_not_apply() {
        let deny = rule("groups = '{t}_banned', tenants = '{id}:{t}'", "GET /{t}").replace("allow", "deny");
        let toml = format!("[[allow]]\nroutes = ['GET /a']\n{deny}");
        let denied = |claims: &str| {
            let grants = grants(&toml, claims);
            (texts(&grants.deny).join(" "), line_that_denies_all(&grants), grants.unusable_values)
        };
        assert_eq!(denied(r#""groups":["a_banned"],"tenants":["1:a"]"#), ("GET/a GET/a/".to_owned(), None, 0));
        assert_eq!(denied(r#""groups":["a_banned"],"tenants":["1:b"]"#), (String::new(), None, 0));
        // A value that cannot be written counts if it is in a way that matches.
        assert_eq!(denied(r#""groups":["a;_banned"],"tenants":["1:a;"]"#), (String::new(), Some(3), 2));
        assert_eq!(denied(r#""groups":["a;_banned"],"tenants":["1:b"]"#), (String::new(), None, 0));
        assert_eq!(denied(r#""groups":["a_banned"],"tenants":["1:b:c"]"#), (String::new(), Some(3), 1));
    }

    #[test]
    fn a_rule_is_for_its_stages_and_apis() {
        let toml = "[[allow]]\nroutes = ['GET /all']\n\
                    [[allow]]\nstage = 's'\nroutes = ['GET /stage-s']\n\
                    [[allow]]\nstage = ['t', 's']\napi = ['b', 'a']\nroutes = ['GET /s-and-a']\n\
                    [[allow]]\nstage = ['t']\nroutes = ['GET /stage-t']\n\
                    [[allow]]\nstage = ['s']\napi = 'b'\nroutes = ['GET /b']\n\
                    [[deny]]\napi = 'b'\nroutes = ['ANY /*']\n";
        assert_eq!(allowed(toml, ""), ["GET/all", "GET/s-and-a", "GET/stage-s"]);
        let rules = Rules::parse(toml).unwrap();
        let claims = claim_set("");
        let failed: Vec<_> =
            rules.evaluate(&claims, &requested()).into_iter().map(|evaluation| evaluation.failed).collect();
        let names = |name: &str| vec![name.to_owned()];
        let (b, t) = (names("b"), names("t"));
        let expected =
            [Some(Failed::OtherApi(&b)), None, None, None, Some(Failed::OtherStage(&t)), Some(Failed::OtherApi(&b))];
        assert_eq!(failed, expected);
        let of_api = |arn: &str| rules.grants(&claims, &MethodArn::parse(arn).unwrap()).deny.len();
        assert_eq!(of_api("arn:aws:execute-api:eu-west-1:1:b/s/GET/x"), 7);
        assert_eq!(of_api("arn:aws:execute-api:eu-west-1:1:a/b/GET/x"), 0);
    }

    #[test]
    fn a_pointer_that_there_is_no_work_for_denies_everything() {
        let claims = format!(r#""big":{{"x":"{}"}}"#, "y".repeat(10_000));
        let allow = |n: usize| format!("[[allow]]\nwhen = {{ '/big/{n}' = 'x' }}\nroutes = ['GET /{n}']\n");
        let pointers = (0..100).map(allow).collect::<Vec<_>>().concat();
        assert_eq!(grants(&pointers, &claims).omitted, 100 - 14);
        let deny = |n: usize| format!("[[deny]]\nwhen = {{ '/big/{n}' = 'x' }}\nroutes = ['GET /{n}']\n");
        let denies =
            |count: usize| (0..count).map(deny).collect::<Vec<_>>().concat() + "[[allow]]\nroutes = ['GET /a']\n";
        assert_eq!(line_that_denies_all(&grants(&denies(14), &claims)), None);
        assert!(line_that_denies_all(&grants(&denies(15), &claims)).is_some());
    }

    #[test]
    fn values_that_there_is_no_work_to_compare_are_left_out() {
        let claims = ["a", "b", "c", "d", "e", "f"];
        let when = claims.map(|claim| format!("{claim} = '{{n}}{claim}'")).join(", ");
        let toml = format!("[[allow]]\nwhen = {{ {when} }}\nroutes = ['GET /a']\n");
        let omitted = |count: usize, first_of_f: usize| {
            let values = |claim: &str| {
                let first = if claim == "f" { first_of_f } else { 0 };
                serde_json::to_string(&(first..first + count).map(|n| format!("{n}{claim}")).collect::<Vec<_>>())
            };
            let members = claims.map(|claim| format!("\"{claim}\":{}", values(claim).unwrap())).join(",");
            grants(&toml, &members).omitted
        };
        // Of 150,000 steps, each of the five joins takes 24 for each value to compare, and 12 to combine.
        assert_eq!((omitted(833, 0), omitted(840, 0), omitted(900, 0)), (0, 100, 900));
        // Nothing agrees, but that is not known if the last join cannot be paid.
        assert_eq!((omitted(833, 5_000), omitted(900, 5_000)), (0, 900));
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
        // Each route with and without a slash at its end.
        assert_eq!((denied(70), denied(71)), (None, Some(3)));

        let routes: Vec<String> = (0..20).map(|n| format!("'ANY /{{x}}/{n}'")).collect();
        let toml = format!(
            "[[allow]]\nroutes = ['GET /a']\n[[deny]]\nwhen = {{ a = '{{x}}' }}\nroutes = [{}]",
            routes.join(",")
        );
        let values =
            |count: usize| serde_json::to_string(&(0..count).map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
        let denied = |count: usize| line_that_denies_all(&grants(&toml, &format!(r#""a":{}"#, values(count))));
        assert_eq!((denied(35), denied(36)), (None, Some(3)));
    }

    #[test]
    fn with_too_many_routes_the_requested_one_is_kept() {
        // 6,000 routes for DELETE, and then those for GET. The requested ones are the last of them.
        let routes: Vec<String> = (0..40).map(|n| format!("'ANY /{{x}}/{n}'")).collect();
        let more = "'GET /{x}/*', 'GET /{x}/b149'";
        let toml = format!("[[allow]]\nwhen = {{ a = '{{x}}' }}\nroutes = [{}, {more}]\n", routes.join(","));
        let values = serde_json::to_string(&(0..150).map(|n| format!("a{n:03}")).collect::<Vec<_>>()).unwrap();
        let grants = grants(&toml, &format!(r#""a":{values}"#));
        // One of them is enough.
        assert_eq!(grants.allow.len(), MAX_ROUTES + 1);
        assert_eq!(grants.omitted, 150 * (40 * 7 + 2) - MAX_ROUTES - 1);
        assert!(grants.allow.iter().any(|(resource, _)| resource == "GET/a149/*"));
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
        assert!(grants.allow.iter().any(|(resource, _)| resource == "GET/small"));
        // There are steps for 10,714 of the 30,000 bindings. A binding that is left out counts as
        // one.
        assert_eq!(grants.omitted, 10_714 * 13 * 7 + (30_000 - 10_714) - (MAX_ROUTES - 1));
    }

    #[test]
    fn rules_that_combine_claims_come_last() {
        let toml = greedy_rule("allow", 13).repeat(60) + &rule("groups = 'g{n}', tenants = 't7'", "GET /one/{n}");
        let grants = grants(&toml, &groups_and_tenants());
        assert_eq!(grants.allow.iter().filter(|(resource, _)| resource.starts_with("GET/one/")).count(), 100);
    }

    #[test]
    fn allow_rules_leave_work_for_deny_rules() {
        let toml =
            greedy_rule("allow", 13).repeat(30) + "[[deny]]\nwhen = { groups = 'g{n}' }\nroutes = ['GET /{n}']\n";
        let grants = grants(&toml, &groups_and_tenants());
        assert_eq!((grants.deny.len(), grants.deny_all), (200, None));
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
        let resources: Vec<_> = grants.allow.iter().map(|(resource, _)| resource).collect();
        assert_eq!((resources, grants.omitted), (vec!["GET/c"], 2));

        // 8,000 values to split, and steps for some 5,600 of them.
        let patterns = "'{x}',".repeat(80);
        let split =
            |effect: &str| format!("[[{effect}]]\nwhen = {{ groups = [{patterns}] }}\nroutes = ['GET /{{x}}']\n");
        let allowed = self::grants(&split("allow"), &groups_and_tenants());
        assert_eq!((allowed.allow.len(), allowed.omitted), (70, 1));
        let denied = self::grants(&(split("allow") + &split("deny")), &groups_and_tenants());
        assert_eq!(line_that_denies_all(&denied), Some(4));
    }

    #[test]
    fn a_route_granted_twice_is_listed_once_with_its_first_rule() {
        let toml = "[[allow]]\nroutes = ['GET /a']\n[[allow]]\nroutes = ['ANY /a']";
        let grants = grants(toml, r#""x":1"#);
        assert_eq!((grants.allow.len(), grants.allow.is_empty(), grants.deny.is_empty()), (7, false, true));
        assert_eq!(grants.allow.iter().nth(1), Some(("GET/a", &FIRST_ALLOW)));
    }
}
