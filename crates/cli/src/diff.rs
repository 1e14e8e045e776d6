//! `okta-policy diff`: who gains and who loses what.
//!
//! A route of the new rules is no gain if it is shown, from the text of the rules, that an old rule
//! grants it to the same tokens. For every other route, a token and a request are searched that the
//! old rules refuse and the new ones allow. If none is found, the answer is "cannot tell", which
//! counts as a gain. A loss is a gain of the old rules over the new ones.

use std::{collections::BTreeMap, ops::Range, path::PathBuf, sync::Arc};

use clap::Args;
use okta_authorizer_policy::{Effect, Rules, can_be_guarded};

use crate::{
    api::{self, Api, BasePath},
    arguments::FormatOption,
    claims::can_be_unreadable,
    files::{self, Stop},
    meaning::{NeedTest, Part, parts},
    report::{File, Finding, Level, Place, Report},
    request,
    shape::{FILLERS, STAR, Shape, capture_index, common},
    witness::{Scene, Search},
};

/// Compares two rules files: who gains and who loses access
#[derive(Debug, Args)]
#[command(
    after_help = "Each difference has a token and a request that both files have judged. The size of policies is not
compared: a token with very many values can get less than the rules grant.

Examples:
  okta-policy diff old.toml policy.toml
  git show main:policy.toml > /tmp/main.toml && okta-policy diff /tmp/main.toml policy.toml --no-new-access
  okta-policy diff old.toml policy.toml --api openapi.yaml"
)]
pub struct Arguments {
    /// The rules before
    old: PathBuf,
    /// The rules after
    new: PathBuf,
    /// Only requests that lead to an operation of this API: OpenAPI, SAM or CloudFormation
    #[arg(long, value_name = "FILE")]
    api: Option<PathBuf>,
    /// What an import into API Gateway does with the API's base path
    #[arg(long, value_enum, default_value_t, requires = "api")]
    base_path: BasePath,
    /// The exit code is 1 if anybody can gain anything
    #[arg(long)]
    no_new_access: bool,
    /// How differences are printed
    #[command(flatten)]
    pub format: FormatOption,
}

/// The differences. Not good if somebody gains access and `--no-new-access` is set.
///
/// # Errors
/// If a file cannot be read.
pub fn run(arguments: &Arguments) -> Result<(String, bool), Stop> {
    let (old, old_file) = files::rules(&arguments.old)?;
    let (new, new_file) = files::rules(&arguments.new)?;
    let api = arguments.api.as_deref().map(|api| api::read(api, arguments.base_path)).transpose()?;
    let mut findings = diff((&old, &old_file), (&new, &new_file), api.as_ref());
    if arguments.no_new_access {
        for finding in findings.iter_mut().filter(|finding| [GAIN, CANNOT_TELL].contains(&finding.kind)) {
            finding.level = Level::Error;
        }
    }
    let count = |kind| findings.iter().filter(|finding| finding.kind == kind).count();
    let summary = match (count(GAIN), count(LOSS), count(CANNOT_TELL) + count(CANNOT_TELL_LOSS)) {
        (0, 0, 0) => "no token gains or loses anything".to_owned(),
        (gains, losses, 0) => format!("gains: {gains}, losses: {losses}"),
        (gains, losses, unknown) => format!("gains: {gains}, losses: {losses}, cannot tell: {unknown}"),
    };
    let report = Report { findings, summary };
    Ok((report.print(arguments.format.format), !report.has_errors()))
}

/// Somebody may call something that was refused.
pub const GAIN: &str = "gain";
/// Somebody may no longer call something.
pub const LOSS: &str = "loss";
/// There may be a gain.
pub const CANNOT_TELL: &str = "cannot-tell";
/// There may be a loss.
pub const CANNOT_TELL_LOSS: &str = "cannot-tell-loss";

/// A rules file that is compared.
type Named<'r> = (&'r Rules, &'r Arc<File>);

/// All gains, then all losses, each in the order of the file that it is about.
#[must_use]
pub fn diff(old: Named<'_>, new: Named<'_>, api: Option<&Api>) -> Vec<Finding> {
    let search = Search::new(&[(new.0, &new.1.text), (old.0, &old.1.text)]);
    let (old, new) = (Side::new(old), Side::new(new));
    let operations: Option<Vec<Shape>> =
        api.map(|api| api.operations.iter().flat_map(|operation| Shape::of_api(api, operation)).collect());
    let compare = |after: &Side<'_>, before: &Side<'_>, is_gain| {
        let mut comparison = Comparison {
            after,
            before,
            search: &search,
            api,
            operations: operations.as_deref(),
            found: BTreeMap::new(),
        };
        comparison.routes();
        comparison.denials();
        comparison.guard();
        comparison.findings(is_gain)
    };
    let mut findings = compare(&new, &old, true);
    findings.extend(compare(&old, &new, false));
    findings
}

struct Side<'r> {
    rules: &'r Rules,
    file: &'r Arc<File>,
    allow: Vec<Part<'r>>,
    deny: Vec<Part<'r>>,
    /// One of the allowed parts with a `*` for each rule, choice, and strictness of the path guard.
    guards: Vec<Part<'r>>,
}

impl<'r> Side<'r> {
    fn new((rules, file): Named<'r>) -> Self {
        let allow = parts(rules, Effect::Allow);
        let mut guards = BTreeMap::new();
        for part in allow.iter().filter(|part| part.shape.has_star()) {
            guards.entry((part.rule.name.line, part.choice, part.guard_level())).or_insert_with(|| part.clone());
        }
        Self { rules, file, allow, deny: parts(rules, Effect::Deny), guards: guards.into_values().collect() }
    }

    fn route(&self, part: &Part<'_>) -> (Range<usize>, String) {
        (part.span(), self.file.string(part.span()).to_owned())
    }
}

/// Why a token can have more after than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// A rule of `after` grants a route.
    Granted,
    /// A rule of `before` denied it.
    NotDenied,
    /// A rule of `before` denied everything to a token with a claim that it could not read.
    NotDeniedUnreadable,
    /// A `*` that `before` granted gave the policy a stricter path guard.
    LessGuarded,
}

/// A difference: its proof, or `None` if it is not known whether there is one.
type Proof = Option<Scene>;

/// Searches what tokens may call `after` and not `before`.
struct Comparison<'c, 'r> {
    after: &'c Side<'r>,
    before: &'c Side<'r>,
    search: &'c Search<'r>,
    api: Option<&'c Api>,
    operations: Option<&'c [Shape]>,
    /// The first proof of each route and reason.
    found: BTreeMap<(usize, Reason), (&'c Part<'r>, Proof)>,
}

impl<'c, 'r> Comparison<'c, 'r> {
    fn is_gain(&self, scene: &Scene) -> bool {
        self.leads_somewhere(&scene.shape().0)
            && scene.is_allowed(self.after.rules)
            && !scene.is_allowed(self.before.rules)
    }

    /// Notes a difference. A proof is kept instead of "cannot tell".
    fn note(&mut self, part: &'c Part<'r>, reason: Reason, proof: Proof) {
        let entry = self.found.entry((part.span().start, reason)).or_insert((part, None));
        if entry.1.is_none() && proof.is_some() {
            *entry = (part, proof);
        }
    }

    /// Routes that `after` grants.
    fn routes(&mut self) {
        let (after, before) = (self.after, self.before);
        let is_known = |part: &Part<'r>| before.allow.iter().any(|wide| part.is_within(wide));
        let is_dead = |part: &Part<'r>| after.deny.iter().any(|wide| part.is_within(wide));
        for part in after.allow.iter().filter(|part| !is_known(part) && !is_dead(part)) {
            let Some(operations) = self.operations else {
                let proof = self.search.alone(part, &|scene| self.is_gain(scene));
                self.note(part, Reason::Granted, proof);
                continue;
            };
            for operation in operations.iter().filter(|shape| shape.starts_like(&part.shape)) {
                if !self.meet_somewhere(&[&part.shape.any_value(), operation]) {
                    continue;
                }
                let refined = part.shape.refined(operation).map(|shape| Part { shape, ..part.clone() });
                if refined.is_some_and(|part| is_known(&part) || is_dead(&part)) {
                    continue;
                }
                let proof = self.search.common(&[part], &[operation], &|scene| self.is_gain(scene));
                self.note(part, Reason::Granted, proof);
            }
        }
    }

    /// Denials of `before`.
    fn denials(&mut self) {
        let (after, before) = (self.after, self.before);
        let is_kept = |part: &Part<'r>| after.deny.iter().any(|other| part.is_denied_as_much_by(other));
        for part in before.deny.iter().filter(|part| !is_kept(part)) {
            if !after.deny.iter().any(|other| part.is_within(other)) {
                self.no_longer_denied(part);
            }
            if !part.values().is_empty() && !after.deny.iter().any(|other| part.is_lost_with(other)) {
                self.no_longer_unreadable(part);
            }
        }
    }

    /// A denial of a route that nothing of `after` keeps.
    fn no_longer_denied(&mut self, denied: &'c Part<'r>) {
        let after = self.after;
        let touched = after.allow.iter().filter(|granted| granted.can_meet(denied));
        for granted in touched {
            // The denial is of all that is granted, and another one is too.
            let is_without_captures = granted.shape.any_value() == granted.shape;
            if is_without_captures && denied.shape.covers(&granted.shape) {
                let both = Part { shape: granted.shape.clone(), ..denied.clone() };
                if after.deny.iter().any(|other| both.is_within(other)) {
                    continue;
                }
            }
            if after.deny.iter().any(|other| granted.is_within(other)) {
                continue;
            }
            let operations: Vec<Vec<&Shape>> = match self.operations {
                None => vec![Vec::new()],
                Some(operations) => operations.iter().map(|operation| vec![operation]).collect(),
            };
            for others in operations {
                // One capture can have two spellings in one path, so its places are compared alone.
                let any_values = [granted.shape.any_value(), denied.shape.any_value()];
                let shapes: Vec<_> = any_values.iter().chain(others.iter().copied()).collect();
                if !self.meet_somewhere(&shapes) {
                    continue;
                }
                let proof = self.search.common(&[granted, denied], &others, &|scene| self.is_gain(scene));
                self.note(denied, Reason::NotDenied, proof);
            }
        }
    }

    /// A denial that was of everything for a token with a claim that the rule cannot read.
    fn no_longer_unreadable(&mut self, denied: &'c Part<'r>) {
        let start = denied.rule.route_spans.first().map_or(0, |span| span.start);
        if self.found.contains_key(&(start, Reason::NotDeniedUnreadable)) {
            return;
        }
        let claims = denied.values().into_iter().map(|need| need.claim.clone());
        let claims: Vec<_> = claims.filter(can_be_unreadable).collect();
        let is_captured = denied.values().iter().any(|need| matches!(need.test, NeedTest::Captured(_)));
        let mut is_possible = false;
        // A denial without one of the conditions, that is of all that the route grants.
        let is_denied = |granted: &Part<'r>| {
            let wide = self.after.deny.iter().filter(|other| other.shape.any_value() == other.shape);
            wide.into_iter().any(|other| other.shape.covers(&granted.shape) && denied.is_met_or_lost_with(other))
        };
        let others = self.after.allow.iter().filter(|granted| !granted.contradicts(denied));
        for granted in others.filter(|granted| !is_denied(granted) && self.can_lead_somewhere(granted)) {
            let reads_all = claims.iter().all(|claim| granted.values().iter().any(|need| need.claim == *claim));
            is_possible |= is_captured || (!claims.is_empty() && !reads_all);
            let shapes: Vec<Vec<&Shape>> = match self.operations {
                None => vec![Vec::new()],
                Some(operations) => operations
                    .iter()
                    .filter(|shape| shape.starts_like(&granted.shape))
                    .map(|shape| vec![shape])
                    .collect(),
            };
            let is_good = |scene: &Scene| self.is_gain(scene);
            let proof = shapes.iter().find_map(|others| self.search.broken(granted, denied, others, &is_good));
            if proof.is_some() {
                self.note(denied, Reason::NotDeniedUnreadable, proof);
                return;
            }
        }
        if is_possible {
            self.note(denied, Reason::NotDeniedUnreadable, None);
        }
    }

    /// Whether a request to this route can lead to an operation.
    fn can_lead_somewhere(&self, granted: &Part<'r>) -> bool {
        let own = granted.shape.any_value();
        self.operations.is_none_or(|operations| {
            operations.iter().any(|operation| own.starts_like(operation) && self.meet_somewhere(&[&own, operation]))
        })
    }

    /// Whether API Gateway has an operation for `{METHOD}/{path}`.
    fn leads_somewhere(&self, request: &str) -> bool {
        self.api.is_none_or(|api| api.operation_of(request).is_some())
    }

    /// Whether a request that is in all of these shapes leads to an operation.
    fn meet_somewhere(&self, shapes: &[&Shape]) -> bool {
        let mut requests = FILLERS.iter().filter_map(|filler| common(shapes, *filler));
        requests.any(|common| self.leads_somewhere(&common.request))
    }

    /// The path guard of a token's policy is stricter if the token is granted a `*`, or one that is
    /// not the last segment.
    fn guard(&mut self) {
        let (after, before) = (self.after, self.before);
        for lost in before.guards.iter().filter(|part| !part.is_guard_kept_by(&after.guards)) {
            for granted in after.allow.iter().filter(|granted| !granted.contradicts(lost)) {
                let odd = granted.shape.request("", |_| String::new()).replacen(' ', "", 1);
                let is_odd = can_be_guarded(&odd) || granted.shape.can_have_dots();
                let is_loose = lost.guard_level() == 2 && granted.shape.ends_with_star();
                let is_strict = |other: &Part<'r>| other.guard_level() >= lost.guard_level();
                let is_kept_here = || after.guards.iter().any(|other| is_strict(other) && granted.has_way_of(other));
                if (!is_odd && !is_loose) || is_kept_here() || !self.can_lead_somewhere(granted) {
                    continue;
                }
                let is_good = |scene: &Scene| self.is_gain(scene);
                let proof = ["", "%40"]
                    .iter()
                    .find_map(|start| self.search.with(granted, &[lost], &["?%23?", "?", "?/?%23?"], start, &is_good));
                self.note(lost, Reason::LessGuarded, proof);
            }
        }
    }

    fn findings(self, is_gain: bool) -> Vec<Finding> {
        let (after, before) = (self.after, self.before);
        let finding = |((_, reason), (part, proof)): ((usize, Reason), (&Part<'r>, Proof))| {
            let side = if reason == Reason::Granted { after } else { before };
            let (span, route) = side.route(part);
            let rule = request::rule_text(&part.rule.name);
            let message = match (reason, is_gain) {
                (Reason::Granted, true) => format!("{rule} now grants `{route}` to tokens that could not call it"),
                (Reason::Granted, false) => format!("{rule} granted `{route}` to tokens that can no longer call it"),
                (Reason::NotDenied, true) => format!("{rule} denied `{route}` to tokens that can call it now"),
                (Reason::NotDenied, false) => format!("{rule} now denies `{route}` to tokens that could call it"),
                (Reason::NotDeniedUnreadable, true) => {
                    format!(
                        "{rule} denied everything to a token with a claim that it cannot use, and such a token can call something now"
                    )
                }
                (Reason::NotDeniedUnreadable, false) => {
                    format!("{rule} now denies everything to a token with a claim that it cannot use")
                }
                (Reason::LessGuarded, true) => {
                    format!(
                        "{rule} no longer grants `{route}` to some tokens, so the path guard refuses fewer paths of their other routes"
                    )
                }
                (Reason::LessGuarded, false) => {
                    format!(
                        "{rule} now grants `{route}` to some tokens, so the path guard refuses more paths of their other routes"
                    )
                }
            };
            let kind = match (&proof, is_gain) {
                (Some(_), true) => GAIN,
                (Some(_), false) => LOSS,
                (None, true) => CANNOT_TELL,
                (None, false) => CANNOT_TELL_LOSS,
            };
            let message = if proof.is_none() { format!("cannot tell whether {message}") } else { message };
            let advice = proof.is_none().then(|| {
                let counts = if is_gain { "; it counts as a gain" } else { "" };
                format!("no token and request were found that show it, and it is not proven that there is none{counts}")
            });
            let answer = if is_gain { "was 403, is 200" } else { "was 200, is 403" };
            let witness = proof.map(|scene| scene.witness(answer));
            let (advice, places) = (advice.into_iter().collect(), vec![Place::new(side.file, span)]);
            Finding { level: Level::Note, kind, message, places, advice, witness }
        };
        self.found.into_iter().map(finding).collect()
    }
}

impl Part<'_> {
    /// Whether one token can have a way for both, and one request can be in both routes.
    fn can_meet(&self, other: &Self) -> bool {
        !self.contradicts(other)
            && self.shape.starts_like(&other.shape)
            && common(&[&self.shape.any_value(), &other.shape.any_value()], 'x').is_some()
    }

    /// Whether no token has a way for both, because one needs a claim that must be absent for the
    /// other, or no request is for both.
    fn contradicts(&self, other: &Self) -> bool {
        let is_absent = |need: &crate::meaning::Need<'_>| matches!(need.test, NeedTest::Present(false));
        let claims = self.needs.iter().any(|need| {
            other.needs.iter().any(|other| need.claim == other.claim && is_absent(need) != is_absent(other))
        });
        let are_apart = |one: &[String], other: &[String]| {
            !one.is_empty() && !other.is_empty() && !one.iter().any(|name| other.contains(name))
        };
        claims || are_apart(self.apis, other.apis) || are_apart(self.stages, other.stages)
    }
}

impl Shape {
    /// Whether a value can make a segment that the path guard refuses: `/.{n}` with `@x` is `/.%40x`.
    fn can_have_dots(&self) -> bool {
        let is_dots_and_capture = |segment: &str| {
            let after = segment.strip_prefix("..").or_else(|| segment.strip_prefix('.'));
            after.is_some_and(|rest| rest.starts_with(|first| capture_index(first).is_some()))
        };
        self.0.split('/').skip(1).any(is_dots_and_capture)
    }

    /// The requests of this shape that lead to an operation, if they are one shape.
    fn refined(&self, operation: &Self) -> Option<Self> {
        if self.covers(operation) {
            return Some(operation.clone());
        }
        let (own, others): (Vec<_>, Vec<_>) = (self.0.split('/').collect(), operation.0.split('/').collect());
        let star = STAR.to_string();
        let segment = |(own, other): (&&str, &&str)| {
            if *own == star || own == other {
                Some((*other).to_owned())
            } else {
                let is_open = other.chars().all(|character| character == crate::shape::SEGMENT);
                (is_open && !own.contains(STAR) && !own.is_empty()).then(|| (*own).to_owned())
            }
        };
        let segments: Option<Vec<_>> = own.iter().zip(&others).map(segment).collect();
        // A `*` in a segment of its own can also be several segments.
        (own.len() == others.len() && self.0.matches(STAR).count() <= 1).then_some(segments?.join("/")).map(Self)
    }
}
