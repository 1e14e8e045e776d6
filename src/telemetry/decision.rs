//! The decision line: one for each call.

use std::{borrow::Cow, time::Duration};

use serde::Serialize;
use tracing::Level;

use super::{
    emf::{BY_FUNCTION, Dimensions, Metric, MetricLine},
    write,
};
use crate::{
    decision::{Decision, Outcome},
    policy::RuleName,
};

/// The decision line. Absent members are left out.
#[derive(Serialize)]
struct DecisionLine<'a> {
    outcome: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<RuleName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cid: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources_left_out: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unusable_values: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policies_cut: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys_age_seconds: Option<u64>,
    decisions: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusals: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<u64>,
    microseconds: u64,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    xray_trace_id: Option<Cow<'a, str>>,
}

impl MetricLine for DecisionLine<'_> {
    fn metrics(&self) -> Vec<Metric> {
        const BY_OUTCOME: Dimensions = &[&["function_name"], &["function_name", "outcome"]];
        const BY_REASON: Dimensions = &[&["function_name"], &["function_name", "reason"]];
        let mut metrics = Vec::with_capacity(4);
        metrics.push(Metric::count("decisions", BY_OUTCOME));
        metrics.extend(self.refusals.map(|_| Metric::count("refusals", BY_REASON)));
        metrics.extend(self.faults.map(|_| Metric::count("faults", BY_REASON)));
        metrics.extend(self.keys_age_seconds.map(|_| Metric::seconds("keys_age_seconds", BY_FUNCTION)));
        metrics.extend(self.policies_cut.map(|_| Metric::count("policies_cut", BY_FUNCTION)));
        metrics.extend(self.unusable_values.map(|_| Metric::count("unusable_values", BY_FUNCTION)));
        metrics
    }
}

/// Writes the decision line: a fault at ERROR, everything else at INFO.
///
/// `request_id` is Lambda's, `xray_header` the value of X-Ray's tracing header.
pub fn log_decision(decision: &Decision, request_id: &str, xray_header: Option<&str>, elapsed: Duration) {
    let context = &decision.context;
    let (outcome, reason) = match &decision.outcome {
        Outcome::Evaluated(evaluated) if evaluated.is_allowed() => ("allow", evaluated.verdict.name()),
        Outcome::Evaluated(evaluated) => ("deny", evaluated.verdict.name()),
        Outcome::Refused(refusal) => ("refused", refusal.name()),
        Outcome::Fault(fault) => ("fault", fault.name()),
    };
    let count_if = |yes: bool| yes.then_some(1);
    let some_if_positive = |count: usize| (count > 0).then_some(count);
    let (omitted_resources, unusable_values) = match &decision.outcome {
        Outcome::Evaluated(evaluated) => {
            (some_if_positive(evaluated.omitted_resources), some_if_positive(evaluated.unusable_values))
        }
        Outcome::Refused(_) | Outcome::Fault(_) => (None, None),
    };
    let rule = match &decision.outcome {
        Outcome::Evaluated(evaluated) => evaluated.verdict.rule(),
        Outcome::Refused(_) | Outcome::Fault(_) => None,
    };
    let is_fault = matches!(decision.outcome, Outcome::Fault(_));
    let line = DecisionLine {
        outcome,
        reason,
        rule,
        kid: context.kid.as_deref().map(escape_for_log),
        uid: context.uid.as_deref().map(escape_for_log),
        cid: context.cid.as_deref().map(escape_for_log),
        jti: context.jti.as_deref().map(escape_for_log),
        method: context.method_arn.as_ref().map(|arn| escape_for_log(arn.method())),
        path: context.method_arn.as_ref().map(|arn| escape_for_log(arn.untrusted_path())),
        resources_left_out: omitted_resources,
        unusable_values,
        policies_cut: count_if(omitted_resources.is_some()),
        keys_age_seconds: context.keys_age_seconds,
        decisions: 1,
        refusals: count_if(matches!(decision.outcome, Outcome::Refused(_))),
        faults: count_if(is_fault),
        microseconds: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        request_id,
        xray_trace_id: xray_header.and_then(trace_id).map(escape_for_log),
    };
    write(if is_fault { Level::ERROR } else { Level::INFO }, "decision", &line);
}

/// The trace's id in X-Ray's header: `Root=1-…;Parent=…;Sampled=1`.
///
/// Source: X-Ray developer guide, "Tracing header".
fn trace_id(header: &str) -> Option<&str> {
    header.split(';').find_map(|part| part.trim().strip_prefix("Root="))
}

/// A caller's text for the log: at most 256 characters, and everything except printable ASCII is
/// escaped. So it can neither forge a line nor change the direction of writing.
fn escape_for_log(text: &str) -> Cow<'_, str> {
    const MAX_CHARACTERS: usize = 256;
    if text.len() <= MAX_CHARACTERS && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.into();
    }
    let mut escaped = String::new();
    for character in text.chars().take(MAX_CHARACTERS) {
        match character {
            ' '..='~' => escaped.push(character),
            _ => escaped.extend(character.escape_unicode()),
        }
    }
    if text.chars().nth(MAX_CHARACTERS).is_some() {
        escaped.push('…');
    }
    escaped.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_text_cannot_forge_a_line() {
        assert_eq!(escape_for_log("a \"b\" %0a"), "a \"b\" %0a");
        assert_eq!(escape_for_log("a\nb\u{202e}c\u{7f}é"), "a\\u{a}b\\u{202e}c\\u{7f}\\u{e9}");
        assert_eq!(escape_for_log(&"x".repeat(256)), "x".repeat(256));
        assert_eq!(escape_for_log(&"x".repeat(257)), "x".repeat(256) + "…");
    }

    #[test]
    fn the_trace_id_is_the_root_of_x_rays_header() {
        assert_eq!(trace_id("Root=1-a-b;Parent=c;Sampled=1"), Some("1-a-b"));
        assert_eq!(trace_id("Sampled=0; Root=1-a-b"), Some("1-a-b"));
        assert_eq!(trace_id("Parent=c;Sampled=1;Rootx=1"), None);
    }
}
