//! What rules mean, in parts that can be compared: one method, one route, and one value of each
//! list of plain values.
//!
//! A part *implies* another if each token that has a way for the first has a way for the second,
//! with the same values in the second's route. This is a proof from the text of the rules: if it
//! fails, the second can still hold for the same tokens, but that is not shown.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use okta_authorizer_policy::{
    ClaimName, Effect, Match, Pattern, Piece, Route, RoutePiece, Rule, Rules, Test, spellings,
};

use crate::shape::{STAR, Shape, capture};

/// The most parts into which the lists of one rule are split. A longer product stays in lists.
const MAX_SPLIT: usize = 64;

/// The most pairs of needs that a proof tries. Several values that must all match can be paired in
/// very many ways.
const MAX_STEPS: usize = 10_000;

/// The longest list of APIs or stages that is split.
const MAX_NAMES: usize = 8;

/// A part of a rule: one route with one method, one API and stage, and a choice of plain values.
#[derive(Debug, Clone)]
pub struct Part<'r> {
    /// The rule.
    pub rule: &'r Rule,
    /// The APIs. Empty means every one.
    pub apis: &'r [String],
    /// The stages, likewise.
    pub stages: &'r [String],
    /// What the claims must be. All of these must hold.
    pub needs: Vec<Need<'r>>,
    /// The number of the choice of values, API and stage. Each route of the rule has the same ones.
    pub choice: usize,
    /// The route. Its captures are numbered as in the rule's `route_captures`.
    pub shape: Shape,
    /// The same route as the rule has it.
    pub route: &'r Route,
}

/// What one claim must be.
#[derive(Debug, Clone)]
pub struct Need<'r> {
    /// The claim. A JSON Pointer with one part is the name of a claim.
    pub claim: ClaimName,
    /// What its values must be.
    pub test: NeedTest<'r>,
}

/// What the values of a claim must be.
#[derive(Debug, Clone)]
pub enum NeedTest<'r> {
    /// One of them is one of these texts.
    OneOf(Vec<&'r str>),
    /// One of them matches one of these patterns, which have captures.
    Captured(&'r [Pattern]),
    /// The claim is there, or is not there.
    Present(bool),
}

/// What a capture of one rule is in terms of another rule, by its name.
type Terms<'r> = BTreeMap<&'r str, Term<'r>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Term<'r> {
    /// The value of this capture of the other rule.
    Capture(&'r str),
    /// This text.
    Text(&'r str),
}

/// All parts of the rules with this effect, in the order of the file.
#[must_use]
pub fn parts(rules: &Rules, effect: Effect) -> Vec<Part<'_>> {
    rules.in_file_order().into_iter().filter(|rule| rule.name.effect == effect).flat_map(parts_of).collect()
}

/// All parts of a rule.
#[must_use]
pub fn parts_of(rule: &Rule) -> Vec<Part<'_>> {
    let mut choices: Vec<Vec<Need<'_>>> = vec![Vec::new()];
    for condition in &rule.when {
        let claim = plain(&condition.claim_name);
        let tests = match test(&condition.test) {
            NeedTest::OneOf(texts) if choices.len() * texts.len() <= MAX_SPLIT => {
                texts.into_iter().map(|text| NeedTest::OneOf(vec![text])).collect()
            }
            whole => vec![whole],
        };
        let mut longer = Vec::new();
        for needs in &choices {
            for test in &tests {
                let need = Need { claim: claim.clone(), test: test.clone() };
                longer.push(needs.iter().cloned().chain([need]).collect());
            }
        }
        choices = longer;
    }
    let mut parts = Vec::new();
    for route in &rule.routes {
        let shape = shape(route);
        let mut choice = 0;
        for needs in &choices {
            for apis in each(&rule.apis) {
                for stages in each(&rule.stages) {
                    parts.push(Part { rule, apis, stages, needs: needs.clone(), choice, shape: shape.clone(), route });
                    choice += 1;
                }
            }
        }
    }
    parts
}

/// Each name alone. An empty list means every name, and a long one stays a list.
fn each(names: &[String]) -> Vec<&[String]> {
    if names.is_empty() || names.len() > MAX_NAMES { vec![names] } else { names.chunks(1).collect() }
}

fn test(test: &Test) -> NeedTest<'_> {
    match test {
        Test::Present(is_present) => NeedTest::Present(*is_present),
        Test::AnyOf(patterns, _) => match patterns.iter().map(literal).collect() {
            Some(texts) => NeedTest::OneOf(texts),
            None => NeedTest::Captured(patterns),
        },
    }
}

/// The text of a pattern without captures.
fn literal(pattern: &Pattern) -> Option<&str> {
    pattern.captures().next().is_none().then(|| pattern.prefix())
}

/// A JSON Pointer with one part is the name of a claim.
fn plain(claim: &ClaimName) -> ClaimName {
    match claim {
        ClaimName::Pointer(path) => match path.as_slice() {
            [name] => ClaimName::Member(name.clone()),
            _ => claim.clone(),
        },
        other => other.clone(),
    }
}

fn shape(route: &Route) -> Shape {
    let mut text = String::new();
    for piece in route.pieces() {
        match piece {
            RoutePiece::Literal(literal) => text.push_str(&literal.replace('*', &STAR.to_string())),
            RoutePiece::Capture(index) => text.push(capture(*index)),
        }
    }
    Shape(text)
}

/// The same parts, those of each string of `routes` together, in the order of the file.
#[must_use]
pub fn by_written<'p, 'r>(parts: &'p [Part<'r>]) -> Vec<Vec<&'p Part<'r>>> {
    let mut written: BTreeMap<(u32, usize), Vec<&Part<'r>>> = BTreeMap::new();
    for part in parts {
        written.entry((part.rule.name.line, part.route.written())).or_default().push(part);
    }
    written.into_values().collect()
}

impl<'r> Part<'r> {
    /// The place of its string in `routes`.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.rule.route_spans.get(self.route.written()).cloned().unwrap_or_default()
    }

    /// The name of a capture of the route.
    #[must_use]
    pub fn capture_name(&self, index: usize) -> &'r str {
        self.rule.route_captures.get(index).map_or("", String::as_str)
    }

    fn capture_index(&self, name: &str) -> Option<usize> {
        self.rule.route_captures.iter().position(|capture| capture == name)
    }

    /// Whether each request that this part grants or denies is also one of `wide`: for the same
    /// token, at the same API and stage.
    #[must_use]
    pub fn is_within(&self, wide: &Self) -> bool {
        self.shape.0.as_bytes().starts_with(wide.shape.literal_start())
            && self.is_at_most_at(wide)
            && self
                .implies(wide, &wide.needs, &Terms::new(), &Cell::new(MAX_STEPS), &|terms| self.is_covered(wide, terms))
    }

    /// Whether each token that has a way for this part has one for `wide`, whatever they grant.
    #[must_use]
    pub fn has_way_of(&self, wide: &Self) -> bool {
        self.is_at_most_at(wide) && self.implies(wide, &wide.needs, &Terms::new(), &Cell::new(MAX_STEPS), &|_| true)
    }

    /// How strict the path guard of a policy with this route is at least: without a `*`, with one at
    /// the end, or with another one.
    #[must_use]
    pub fn guard_level(&self) -> usize {
        match (self.shape.has_star(), self.shape.ends_with_star()) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        }
    }

    /// Whether each token with this route is granted one of the `others` for which its path guard is
    /// as strict. A denial has no path guard.
    #[must_use]
    pub fn is_guard_kept_by<'o>(&self, others: impl IntoIterator<Item = &'o Self>) -> bool
    where
        'r: 'o,
    {
        self.rule.name.effect == Effect::Deny
            || self.guard_level() == 0
            || others.into_iter().any(|other| other.guard_level() >= self.guard_level() && self.has_way_of(other))
    }

    /// Whether `wide` is for each API and stage of this part.
    fn is_at_most_at(&self, wide: &Self) -> bool {
        let is_within = |narrow: &[String], wide: &[String]| {
            wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|name| wide.contains(name)))
        };
        is_within(self.apis, wide.apis) && is_within(self.stages, wide.stages)
    }

    /// Whether these needs of `wide` are met if ours are, so that `accept` takes the terms.
    fn implies(
        &self,
        wide: &Self,
        needs: &[Need<'r>],
        terms: &Terms<'r>,
        steps: &Cell<usize>,
        accept: &dyn Fn(&Terms<'r>) -> bool,
    ) -> bool {
        let Some(left) = steps.get().checked_sub(1) else { return false };
        steps.set(left);
        let Some((need, rest)) = needs.split_first() else { return accept(terms) };
        let of_claim = self.needs.iter().filter(|own| own.claim == need.claim);
        if matches!(need.test, NeedTest::Present(false)) || matches!(need.test, NeedTest::Present(true)) {
            let mut of_claim = of_claim;
            let is_met = of_claim.any(|own| match (&own.test, &need.test) {
                (NeedTest::Present(own), NeedTest::Present(wanted)) => own == wanted,
                (_, NeedTest::Present(wanted)) => *wanted,
                _ => false,
            });
            return is_met && self.implies(wide, rest, terms, steps, accept);
        }
        of_claim.into_iter().any(|own| {
            let more = self.terms(own, wide, need, terms);
            more.is_some_and(|terms| self.implies(wide, rest, &terms, steps, accept))
        })
    }

    /// The terms of the captures that a need of `wide` binds if our need is met. `None` if it does
    /// not follow that it is met, or if a capture has another term already.
    fn terms(&self, own: &Need<'r>, wide: &Self, need: &Need<'r>, terms: &Terms<'r>) -> Option<Terms<'r>> {
        match (&own.test, &need.test) {
            (NeedTest::OneOf(own), NeedTest::OneOf(wide)) => {
                own.iter().all(|text| wide.contains(text)).then(|| terms.clone())
            }
            (NeedTest::OneOf(own), NeedTest::Captured(patterns)) => {
                let [text] = own.as_slice() else { return None };
                let captured = read(text, patterns)?;
                let mut terms = terms.clone();
                for (name, part) in captured {
                    if wide.capture_index(name).is_some() && spellings(part).is_empty() {
                        return None;
                    }
                    bind(&mut terms, name, Term::Text(part))?;
                }
                Some(terms)
            }
            (NeedTest::Captured(own), NeedTest::Captured(wide_patterns)) => {
                let mut terms = terms.clone();
                for pattern in *own {
                    terms = wide_patterns.iter().find_map(|other| self.with_names(pattern, wide, other, &terms))?;
                }
                // Another pattern that can read the same value makes it ambiguous, unless ours has
                // that pattern too, with the same captures at the same places.
                let is_ours =
                    |other: &Pattern| own.iter().any(|pattern| self.with_names(pattern, wide, other, &terms).is_some());
                let is_clear = |other: &Pattern| is_ours(other) || own.iter().all(|own| are_disjoint(own, other));
                wide_patterns.iter().all(is_clear).then_some(terms)
            }
            _ => None,
        }
    }

    /// These terms, and those of the captures of a pattern of `wide` that is the same as ours except
    /// for their names. `None` if it is another pattern, or a capture has another term.
    fn with_names(
        &self,
        pattern: &'r Pattern,
        wide: &Self,
        other: &'r Pattern,
        terms: &Terms<'r>,
    ) -> Option<Terms<'r>> {
        let mut terms = terms.clone();
        for (wide_name, own_name) in renamed(pattern, other)? {
            if wide.capture_index(wide_name).is_some() && self.capture_index(own_name).is_none() {
                return None;
            }
            bind(&mut terms, wide_name, Term::Capture(own_name))?;
        }
        Some(terms)
    }

    /// Whether the route of `wide` with these terms covers ours.
    fn is_covered(&self, wide: &Self, terms: &Terms<'r>) -> bool {
        let mut shapes = vec![String::new()];
        for piece in wide.route.pieces() {
            let texts = match piece {
                RoutePiece::Literal(literal) => vec![literal.replace('*', &STAR.to_string())],
                RoutePiece::Capture(index) => match terms.get(wide.capture_name(*index)) {
                    Some(Term::Text(text)) => spellings(text),
                    Some(Term::Capture(name)) => match self.capture_index(name) {
                        Some(index) => vec![capture(index).to_string()],
                        None => return false,
                    },
                    None => return false,
                },
            };
            shapes = shapes.iter().flat_map(|start| texts.iter().map(move |text| format!("{start}{text}"))).collect();
        }
        shapes.into_iter().any(|shape| Shape(shape).covers(&self.shape))
    }

    /// Whether this denial is also one of `other`: for each token, also for one with a value that
    /// cannot be used, because of which a denial is of everything.
    #[must_use]
    pub fn is_denied_as_much_by(&self, other: &Self) -> bool {
        self.is_lost_with(other) && self.is_within(other)
    }

    /// Whether each token with a value because of which our rule denies everything also has one for
    /// `other`. Both rules compare the same claims with the same values.
    #[must_use]
    pub fn is_lost_with(&self, other: &Self) -> bool {
        let (own, others) = (self.values(), other.values());
        let is_same = |(own, others): (&&Need<'_>, &&Need<'_>)| {
            own.claim == others.claim
                && match (&own.test, &others.test) {
                    (NeedTest::Captured(own), NeedTest::Captured(others)) => self.uses_no_more_than(own, other, others),
                    (NeedTest::OneOf(_), NeedTest::OneOf(_)) => true,
                    _ => false,
                }
        };
        own.len() == others.len() && own.iter().zip(&others).all(is_same) && self.has_way_of(other)
    }

    /// Whether each token that meets our needs, except that some of its values cannot be used, also
    /// meets those of `other`, or has a value that `other` cannot use.
    #[must_use]
    pub fn is_met_or_lost_with(&self, other: &Self) -> bool {
        let mut names = BTreeSet::new();
        let has_shared = other.needs.iter().any(|need| match &need.test {
            NeedTest::Captured(patterns) => {
                patterns.first().is_some_and(|first| first.captures().any(|name| !names.insert(name)))
            }
            _ => false,
        });
        let is_same = |own: &[Pattern], other: &[Pattern]| {
            own.len() == other.len()
                && own.iter().all(|own| other.iter().any(|other| renamed(own, other).is_some()))
                && other.iter().all(|other| own.iter().any(|own| renamed(own, other).is_some()))
        };
        let is_met = |need: &Need<'_>| {
            let of_claim = self.needs.iter().filter(|own| own.claim == need.claim);
            of_claim.into_iter().any(|own| match (&own.test, &need.test) {
                (NeedTest::OneOf(own), NeedTest::OneOf(other)) => own.iter().all(|text| other.contains(text)),
                (NeedTest::Captured(own), NeedTest::Captured(other)) => is_same(own, other),
                (NeedTest::Present(own), NeedTest::Present(other)) => own == other,
                (_, NeedTest::Present(is_present)) => *is_present,
                _ => false,
            })
        };
        !has_shared && self.is_at_most_at(other) && other.needs.iter().all(is_met)
    }

    /// The needs that compare values, in an order that does not depend on the names of captures.
    #[must_use]
    pub fn values(&self) -> Vec<&Need<'r>> {
        let skeleton =
            |pattern: &Pattern| -> Vec<Option<String>> { pattern.pieces().into_iter().map(text_of).collect() };
        let mut values: Vec<_> = self.needs.iter().filter(|need| !matches!(need.test, NeedTest::Present(_))).collect();
        values.sort_by_cached_key(|need| match &need.test {
            NeedTest::OneOf(texts) => {
                (need.claim.clone(), vec![texts.iter().map(|text| Some((*text).to_owned())).collect()])
            }
            NeedTest::Captured(patterns) => (need.claim.clone(), patterns.iter().map(skeleton).collect()),
            NeedTest::Present(_) => (need.claim.clone(), Vec::new()),
        });
        values
    }

    /// Whether each capture that our routes have is in the other rule's routes too, so that a value
    /// that cannot be written here cannot be written there.
    fn uses_no_more_than(&self, own: &[Pattern], other: &Self, others: &[Pattern]) -> bool {
        own.len() == others.len()
            && own.iter().all(|pattern| {
                let names = others.iter().find_map(|other| renamed(pattern, other));
                names.is_some_and(|names| {
                    names.iter().all(|(other_name, name)| {
                        self.capture_index(name).is_none() || other.capture_index(other_name).is_some()
                    })
                })
            })
    }
}

/// Adds a term. `None` if the capture has another one.
fn bind<'r>(terms: &mut Terms<'r>, name: &'r str, term: Term<'r>) -> Option<()> {
    (*terms.entry(name).or_insert(term) == term).then_some(())
}

/// How these patterns read a value: the captures with their texts. `None` if they do not, or in more
/// than one way.
fn read<'v>(value: &'v str, patterns: &'v [Pattern]) -> Option<Vec<(&'v str, &'v str)>> {
    let mut captured: Option<Vec<(&str, &str)>> = None;
    for pattern in patterns {
        let texts = match pattern.matches(value) {
            Match::No => continue,
            Match::Ambiguous => return None,
            Match::Yes(texts) => texts,
        };
        let mut pairs: Vec<_> = pattern.captures().zip(texts).collect();
        pairs.sort_unstable();
        if captured.as_ref().is_some_and(|earlier| *earlier != pairs) {
            return None;
        }
        captured = Some(pairs);
    }
    captured
}

fn text_of(piece: Piece) -> Option<String> {
    match piece {
        Piece::Literal(text) => Some(text),
        Piece::Capture(_) => None,
    }
}

/// If both patterns are the same except for the names of their captures: the names of the second
/// with those of the first.
fn renamed<'r>(first: &'r Pattern, second: &'r Pattern) -> Option<Vec<(&'r str, &'r str)>> {
    let is_same = first.pieces().into_iter().map(text_of).eq(second.pieces().into_iter().map(text_of));
    is_same.then(|| second.captures().zip(first.captures()).collect())
}

/// Whether no value matches both patterns, as their starts or their ends show.
fn are_disjoint(one: &Pattern, other: &Pattern) -> bool {
    let ends = |pattern: &Pattern| {
        let pieces = pattern.pieces();
        let text = |piece: Option<&Piece>| match piece {
            Some(Piece::Literal(text)) => text.clone(),
            _ => String::new(),
        };
        (text(pieces.first()), text(pieces.last()))
    };
    let ((start, end), (other_start, other_end)) = (ends(one), ends(other));
    let starts_differ = !start.starts_with(&other_start) && !other_start.starts_with(&start);
    let ends_differ = !end.ends_with(&other_end) && !other_end.ends_with(&end);
    starts_differ || ends_differ
}
