//! What is probably wrong in rules that have no mistake. Each finding has a token and a request that
//! prove it.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use okta_authorizer_policy::{Effect, Rule, Rules, Verdict};

use crate::{
    meaning::{Part, by_written, parts},
    report::{File, Finding, Level, Place},
    request,
    shape::{STAR, Shape, capture_index},
    witness::{Scene, Search},
};

/// The same route is twice in a rule.
pub const REPEATED_ROUTE: &str = "repeated-route";
/// Another route grants or denies the same and more.
pub const NEEDLESS_ROUTE: &str = "needless-route";
/// Other rules grant or deny the same and more.
pub const NEEDLESS_RULE: &str = "needless-rule";
/// A denial takes away all that a route grants.
pub const OVERRIDDEN_ALLOW: &str = "overridden-allow";
/// A denial of what nobody is allowed.
pub const IDLE_DENY: &str = "idle-deny";
/// Every token may call everything.
pub const EVERYTHING_FOR_EVERYONE: &str = "everything-for-everyone";
/// A denial under an allowed `*`, which another spelling of the path avoids.
pub const DENY_UNDER_WILDCARD: &str = "deny-under-wildcard";
/// A `*` that is not the last segment.
pub const INNER_WILDCARD: &str = "inner-wildcard";
/// A comment that silences nothing.
pub const NEEDLESS_SILENCER: &str = "needless-silencer";

/// All lints that a comment can silence.
pub const LINTS: [&str; 8] = [
    REPEATED_ROUTE,
    NEEDLESS_ROUTE,
    NEEDLESS_RULE,
    OVERRIDDEN_ALLOW,
    IDLE_DENY,
    EVERYTHING_FOR_EVERYONE,
    DENY_UNDER_WILDCARD,
    INNER_WILDCARD,
];

/// All findings that no comment silences, in the order of the file, and the comments that silence
/// nothing.
#[must_use]
pub fn lint(rules: &Rules, file: &Arc<File>) -> Vec<Finding> {
    let linter = Linter { rules, file, search: Search::new(&[(rules, &file.text)]) };
    let (allow, deny) = (parts(rules, Effect::Allow), parts(rules, Effect::Deny));
    let (allow, deny) = (all_written(&allow), all_written(&deny));
    let mut findings = linter.needless(&allow);
    findings.extend(linter.needless(&deny));
    findings.extend(linter.overridden(&allow, &deny));
    findings.extend(linter.idle(&allow, &deny));
    findings.extend(linter.everything(&allow));
    findings.extend(linter.spelt_around(&allow, &deny));
    findings.extend(linter.inner(&allow));
    findings.sort_by_key(|(rule, finding)| (rule.name.line, place(finding)));
    silenced(rules, file, findings)
}

fn place(finding: &Finding) -> usize {
    finding.places.first().map_or(0, |place| place.span.start)
}

/// A string of a rule's `routes`, with its parts.
struct Written<'p, 'r> {
    rule: &'r Rule,
    number: usize,
    parts: Vec<&'p Part<'r>>,
}

impl<'r> Written<'_, 'r> {
    fn span(&self) -> Range<usize> {
        self.rule.route_spans.get(self.number).cloned().unwrap_or_default()
    }

    /// Its place in the file.
    fn order(&self) -> (u32, usize) {
        (self.rule.name.line, self.number)
    }

    /// For each part, the first of the `others` in which it is.
    fn within<'o>(&self, others: &[&'o Written<'o, 'r>]) -> Option<&'o Written<'o, 'r>> {
        self.all_in(others, Part::is_within)
    }

    /// The same, and nothing else changes without this route: a denial is of everything for some
    /// tokens, and a `*` makes the path guard stricter.
    fn needless_with<'o>(&self, others: &[&'o Written<'o, 'r>]) -> Option<&'o Written<'o, 'r>> {
        let is_deny = self.rule.name.effect == Effect::Deny;
        let is_guard_kept =
            |part: &Part<'r>| part.is_guard_kept_by(others.iter().flat_map(|other| &other.parts).copied());
        self.all_in(others, |part, wide| {
            part.is_within(wide)
                && (!is_deny || part.values().is_empty() || part.is_lost_with(wide))
                && is_guard_kept(part)
        })
    }

    fn all_in<'o>(
        &self,
        others: &[&'o Written<'o, 'r>],
        is_in: impl Fn(&Part<'r>, &Part<'r>) -> bool,
    ) -> Option<&'o Written<'o, 'r>> {
        let wide_of =
            |part: &&Part<'r>| others.iter().copied().find(|other| other.parts.iter().any(|wide| is_in(part, wide)));
        let wide: Option<Vec<_>> = self.parts.iter().map(wide_of).collect();
        wide?.first().copied()
    }
}

fn all_written<'p, 'r>(parts: &'p [Part<'r>]) -> Vec<Written<'p, 'r>> {
    let written = |parts: Vec<&'p Part<'r>>| {
        let first = parts.first()?;
        Some(Written { rule: first.rule, number: first.route.written(), parts })
    };
    by_written(parts).into_iter().filter_map(written).collect()
}

/// A finding and the rule at which it can be silenced.
type Found<'r> = (&'r Rule, Finding);

struct Linter<'r> {
    rules: &'r Rules,
    file: &'r Arc<File>,
    search: Search<'r>,
}

impl<'r> Linter<'r> {
    fn text(&self, written: &Written<'_, 'r>) -> String {
        self.file.string(written.span()).to_owned()
    }

    fn finding(
        &self,
        kind: &'static str,
        written: &Written<'_, 'r>,
        message: String,
        scene: Option<&Scene>,
    ) -> Found<'r> {
        let answer = |scene: &Scene| request::describe(&scene.verdict(self.rules));
        let finding = Finding {
            level: Level::Warning,
            kind,
            message,
            places: vec![Place::new(self.file, written.span())],
            advice: Vec::new(),
            witness: scene.map(|scene| scene.witness(&answer(scene))),
        };
        (written.rule, finding)
    }

    fn other_place(&self, span: Range<usize>, label: &str) -> Place {
        Place { label: Some(label.to_owned()), ..Place::new(self.file, span) }
    }

    /// A token and a request of the route that `accept` takes, or else any.
    fn scene(&self, written: &Written<'_, 'r>, accept: &dyn Fn(&Scene) -> bool) -> Option<Scene> {
        let find =
            |accept: &dyn Fn(&Scene) -> bool| written.parts.iter().find_map(|part| self.search.alone(part, accept));
        find(accept).or_else(|| find(&|_| true))
    }

    /// Routes and rules that others make needless. Of two equal ones, the later one.
    fn needless(&self, all: &[Written<'_, 'r>]) -> Vec<Found<'r>> {
        let mut found: Vec<(&Written<'_, 'r>, &Written<'_, 'r>)> = Vec::new();
        for written in all {
            let is_other = |other: &&Written<'_, 'r>| {
                other.order() != written.order()
                    && (other.order() < written.order() || other.within(&[written]).is_none())
            };
            let others: Vec<_> = all.iter().filter(is_other).collect();
            let Some(wide) = written.needless_with(&others) else { continue };
            let of_rule: Vec<_> = all.iter().filter(|other| other.rule.name == written.rule.name).collect();
            // A rule needs the captures of its routes to be usable, so none may vanish from it.
            let captures = |written: &Written<'_, 'r>| -> BTreeSet<usize> {
                written.parts.iter().flat_map(|part| part.shape.0.chars().filter_map(capture_index)).collect()
            };
            let is_kept = |other: &&&Written<'_, 'r>| {
                other.number != written.number && found.iter().all(|(gone, _)| gone.order() != other.order())
            };
            let kept: BTreeSet<_> = of_rule.iter().filter(is_kept).flat_map(|other| captures(other)).collect();
            let is_rule_needless = || {
                let others: Vec<_> =
                    others.iter().copied().filter(|other| other.rule.name != written.rule.name).collect();
                of_rule.iter().all(|own| own.needless_with(&others).is_some())
            };
            if captures(written).is_subset(&kept) || is_rule_needless() {
                found.push((written, wide));
            }
        }
        let mut findings = Vec::new();
        let mut last_rule = None;
        for (written, wide) in &found {
            let rule = written.rule;
            let of_rule = |list: &mut dyn Iterator<Item = &Written<'_, 'r>>| {
                list.filter(|other| other.rule.name == rule.name).count()
            };
            let are_all = of_rule(&mut found.iter().map(|(written, _)| *written)) == of_rule(&mut all.iter());
            let is_of_other_rules = found
                .iter()
                .filter(|(other, _)| other.rule.name == rule.name)
                .all(|(_, wide)| wide.rule.name != rule.name);
            let verdict = |scene: &Scene| {
                matches!(scene.verdict(self.rules), Verdict::Allowed { .. } | Verdict::DeniedByRule { .. })
            };
            let scene = self.scene(written, &verdict);
            let does = if rule.name.effect == Effect::Allow { "grants" } else { "denies" };
            if are_all && is_of_other_rules {
                if last_rule.replace(rule.name.line) == Some(rule.name.line) {
                    continue;
                }
                let message = format!(
                    "the rule is needless, because other rules {} all that it does",
                    if rule.name.effect == Effect::Allow { "grant" } else { "deny" }
                );
                let (rule, mut finding) = self.finding(NEEDLESS_RULE, written, message, scene.as_ref());
                finding.places = vec![
                    Place::new(self.file, rule.span.clone()),
                    self.other_place(wide.span(), &format!("this route {does} the same or more")),
                ];
                finding.advice = vec!["remove the rule, or narrow the other one".to_owned()];
                findings.push((rule, finding));
                continue;
            }
            let is_same = rule.name == wide.rule.name && self.text(written) == self.text(wide);
            let (kind, message) = if is_same {
                (REPEATED_ROUTE, format!("the route `{}` is twice in this rule", self.text(written)))
            } else {
                (
                    NEEDLESS_ROUTE,
                    format!(
                        "the route `{}` is needless, because `{}` {does} it too",
                        self.text(written),
                        self.text(wide)
                    ),
                )
            };
            let (rule, mut finding) = self.finding(kind, written, message, scene.as_ref());
            finding.places.push(self.other_place(wide.span(), &format!("this route {does} the same or more")));
            finding.advice = vec!["remove the route, or narrow the other one".to_owned()];
            if !is_same && self.text(wide).contains('*') {
                finding.advice.push("a `*` is any characters, slashes included".to_owned());
            }
            findings.push((rule, finding));
        }
        findings
    }

    /// Granted routes that a denial takes away wholly.
    fn overridden(&self, allow: &[Written<'_, 'r>], deny: &[Written<'_, 'r>]) -> Vec<Found<'r>> {
        let denials: Vec<_> = deny.iter().collect();
        let overridden = |written: &Written<'_, 'r>| {
            let denial = written.within(&denials)?;
            let scene = self.scene(written, &|scene| matches!(scene.verdict(self.rules), Verdict::DeniedByRule { .. }));
            let message =
                format!("nobody can call the route `{}`, because a [[deny]] rule denies all of it", self.text(written));
            let (rule, mut finding) = self.finding(OVERRIDDEN_ALLOW, written, message, scene.as_ref());
            finding.places.push(self.other_place(denial.span(), "this denial is for each token that has the route"));
            finding.advice = vec!["remove the route, or narrow the [[deny]] rule".to_owned()];
            Some((rule, finding))
        };
        allow.iter().filter_map(overridden).collect()
    }

    /// Denials of routes that no rule grants.
    fn idle(&self, allow: &[Written<'_, 'r>], deny: &[Written<'_, 'r>]) -> Vec<Found<'r>> {
        let touches = |denial: &Part<'r>| {
            let granted = allow.iter().flat_map(|written| &written.parts);
            granted
                .into_iter()
                .any(|part| are_at_same_place(part.rule, denial.rule) && common(&part.shape, &denial.shape))
        };
        let idle = deny.iter().filter(|written| !written.parts.iter().any(|part| touches(part)));
        let finding = |written| {
            let scene = self.scene(written, &|scene| matches!(scene.verdict(self.rules), Verdict::DeniedByRule { .. }));
            let message =
                format!("the denial of `{}` denies nothing, because no [[allow]] rule grants it", self.text(written));
            let (rule, mut finding) = self.finding(IDLE_DENY, written, message, scene.as_ref());
            finding.advice = vec!["compare the path with those of the [[allow]] rules, or remove the route".to_owned()];
            if written.parts.iter().any(|part| !part.values().is_empty()) {
                let effect = "the rule still denies everything to a token with a value that it cannot use";
                finding.advice.push(effect.to_owned());
            }
            (rule, finding)
        };
        idle.map(finding).collect()
    }

    /// `ANY /*` without `when`.
    fn everything(&self, allow: &[Written<'_, 'r>]) -> Vec<Found<'r>> {
        let is_everything = |written: &&Written<'_, 'r>| written.rule.when.is_empty() && self.text(written) == "ANY /*";
        let finding = |written| {
            let scene = self.scene(written, &|scene| scene.is_allowed(self.rules));
            let message = "every valid token may call everything".to_owned();
            let (rule, mut finding) = self.finding(EVERYTHING_FOR_EVERYONE, written, message, scene.as_ref());
            finding.advice = vec!["add `when`, or write the routes that every token may call".to_owned()];
            (rule, finding)
        };
        allow.iter().filter(is_everything).map(finding).collect()
    }

    /// Denials of a part of what a `*` grants.
    fn spelt_around(&self, allow: &[Written<'_, 'r>], deny: &[Written<'_, 'r>]) -> Vec<Found<'r>> {
        let found = |written: &Written<'_, 'r>| {
            let with_star = allow.iter().filter(|allowed| allowed.parts.iter().any(|part| part.shape.0.contains(STAR)));
            for allowed in with_star {
                for (granted, denied) in
                    allowed.parts.iter().flat_map(|part| written.parts.iter().map(move |denied| (part, denied)))
                {
                    let Some((scene, other)) = self.other_spelling(granted, denied) else { continue };
                    let (text, wide) = (self.text(written), self.text(allowed));
                    let message = format!(
                        "the denial of `{text}` is not safe, because `{wide}` grants other spellings of the same path"
                    );
                    let (rule, mut finding) = self.finding(DENY_UNDER_WILDCARD, written, message, Some(&scene));
                    finding.places.push(self.other_place(allowed.span(), "this `*` grants the other spellings"));
                    finding.advice = vec![
                        format!(
                            "a backend that decodes or normalises the path reads {} as {other}",
                            scene.request_text()
                        ),
                        format!(
                            "write [[allow]] routes for what may be called instead of `{wide}`, or deny all of `{wide}`"
                        ),
                    ];
                    return Some((rule, finding));
                }
            }
            None
        };
        deny.iter().filter_map(found).collect()
    }

    /// A request that is granted, and the denied one that it is another spelling of.
    fn other_spelling(&self, granted: &Part<'r>, denied: &Part<'r>) -> Option<(Scene, String)> {
        if !granted.shape.0.contains(STAR)
            || !granted.shape.starts_like(&denied.shape)
            || denied.shape.covers(&granted.shape)
        {
            return None;
        }
        let plain = self.search.common(&[granted, denied], &[], &|scene| {
            matches!(scene.verdict(self.rules), Verdict::DeniedByRule { .. })
        })?;
        let text = plain.request_text();
        let path_start = text.find('/')?;
        let letters = text.char_indices().skip(path_start).filter(|(_, letter)| letter.is_ascii_alphanumeric());
        let encoded = letters.filter_map(|(at, letter)| {
            let (before, after) = (text.get(..at)?, text.get(at + 1..)?);
            Some(format!("{before}%{:02x}{after}", u32::from(letter)))
        });
        let other =
            encoded.filter_map(|request| plain.with_request(&request)).find(|scene| scene.is_allowed(self.rules));
        Some((other?, text))
    }

    /// Granted routes with a `*` that is not the last segment.
    fn inner(&self, allow: &[Written<'_, 'r>]) -> Vec<Found<'r>> {
        let inner = |written: &Written<'_, 'r>| {
            let part = written.parts.iter().find(|part| part.shape.0.trim_end_matches(STAR).contains(STAR))?;
            let text = self.text(written);
            let crosses = |scene: &Scene| {
                scene.is_allowed(self.rules) && scene.request_text().matches('/').count() > text.matches('/').count()
            };
            let is_allowed = |scene: &Scene| scene.is_allowed(self.rules);
            let scene = self.search.alone(part, &crosses).or_else(|| self.search.alone(part, &is_allowed))?;
            let message = format!("the `*` inside of `{text}` is any characters, slashes included");
            let (rule, mut finding) = self.finding(INNER_WILDCARD, written, message, Some(&scene));
            finding.advice = vec![
                "if the segment is the caller's own, write a capture; IAM cannot limit a `*` to one segment".to_owned(),
                format!("if it is meant, write above the rule: # okta-policy: allow({INNER_WILDCARD}) the reason"),
            ];
            Some((rule, finding))
        };
        allow.iter().filter_map(inner).collect()
    }
}

/// Whether both rules can be for one request.
fn are_at_same_place(one: &Rule, other: &Rule) -> bool {
    let meet = |one: &[String], other: &[String]| {
        one.is_empty() || other.is_empty() || one.iter().any(|name| other.contains(name))
    };
    meet(&one.apis, &other.apis) && meet(&one.stages, &other.stages)
}

fn common(one: &Shape, other: &Shape) -> bool {
    crate::shape::common(&[&one.any_value(), &other.any_value()], 'x').is_some()
}

/// A comment `# okta-policy: allow(LINT) reason`.
struct Silencer<'t> {
    lint: &'t str,
    reason: &'t str,
    span: Range<usize>,
    /// The line of the rule below it.
    rule: Option<u32>,
}

const MARK: &str = "okta-policy:";

fn silencers<'t>(rules: &Rules, text: &'t str) -> Vec<Result<Silencer<'t>, Range<usize>>> {
    let rule_lines: Vec<u32> = rules.in_file_order().iter().map(|rule| rule.name.line).collect();
    let lines: Vec<&str> = text.lines().collect();
    let mut silencers = Vec::new();
    let mut start = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let trimmed = line.trim();
        let span = start + line.len() - line.trim_start().len()..start + line.trim_end().len();
        start += line.len();
        let Some(comment) = trimmed.strip_prefix('#').map(str::trim_start) else { continue };
        let Some(rest) = comment.strip_prefix(MARK) else { continue };
        let parsed = rest.trim().strip_prefix("allow(").and_then(|rest| rest.split_once(')'));
        let below = lines.iter().enumerate().skip(number + 1).find(|(_, line)| !line.trim().starts_with('#'));
        let rule = below.and_then(|(at, _)| u32::try_from(at + 1).ok()).filter(|line| rule_lines.contains(line));
        silencers.push(match parsed {
            Some((lint, reason)) => Ok(Silencer { lint: lint.trim(), reason: reason.trim(), span, rule }),
            None => Err(span),
        });
    }
    silencers
}

/// The findings without the silenced ones, and with those about comments.
fn silenced(rules: &Rules, file: &Arc<File>, found: Vec<Found<'_>>) -> Vec<Finding> {
    let silencers = silencers(rules, &file.text);
    let of_comment = |level, kind, span: &Range<usize>, message: String, advice: String| Finding {
        level,
        kind,
        message,
        places: vec![Place::new(file, span.clone())],
        advice: vec![advice],
        witness: None,
    };
    let mut comments = Vec::new();
    let mut good = Vec::new();
    for silencer in silencers {
        let form = format!("write it above a rule: # {MARK} allow(LINT) the reason");
        match silencer {
            Err(span) => comments.push(of_comment(
                Level::Error,
                "mistake",
                &span,
                "this comment silences nothing, because it has another form".to_owned(),
                form,
            )),
            Ok(silencer) if !LINTS.contains(&silencer.lint) => {
                let message = format!("there is no lint `{}`", silencer.lint);
                comments.push(of_comment(
                    Level::Error,
                    "mistake",
                    &silencer.span,
                    message,
                    format!("the lints are {}", LINTS.join(", ")),
                ));
            }
            Ok(silencer) if silencer.reason.is_empty() => {
                comments.push(of_comment(
                    Level::Error,
                    "mistake",
                    &silencer.span,
                    "this comment has no reason".to_owned(),
                    form,
                ));
            }
            Ok(silencer) => good.push(silencer),
        }
    }
    let is_silenced = |silencer: &Silencer<'_>, (rule, finding): &Found<'_>| {
        silencer.lint == finding.kind && silencer.rule == Some(rule.name.line)
    };
    for silencer in &good {
        if !found.iter().any(|found| is_silenced(silencer, found)) {
            let message =
                format!("this comment silences nothing, because the rule below it has no finding `{}`", silencer.lint);
            comments.push(of_comment(
                Level::Warning,
                NEEDLESS_SILENCER,
                &silencer.span,
                message,
                "remove it, or write it directly above the [[allow]] or [[deny]] of the rule".to_owned(),
            ));
        }
    }
    let is_loud = |found: &Found<'_>| !good.iter().any(|silencer| is_silenced(silencer, found));
    let mut findings: Vec<_> = found.into_iter().filter(is_loud).map(|(_, finding)| finding).chain(comments).collect();
    findings.sort_by_key(place);
    findings
}
