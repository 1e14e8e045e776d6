//! The decision line: one for each call.

use std::{borrow::Cow, error::Error, time::Duration};

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

/// How many bytes of JSON a text may take on the line. A longer one is cut, which adds `…`. The sum
/// keeps the line within 2 KiB, whatever a caller sends: see the test
/// `no_line_is_longer_than_2_kib`.
mod max_bytes {
    pub(super) const DETAIL: usize = 200;
    /// `kid`, `uid`, `cid` and `jti`. Okta's longest is the `jti` of a refreshed token: 67 bytes.
    pub(super) const IDENTIFIER: usize = 80;
    pub(super) const METHOD: usize = 16;
    pub(super) const PATH: usize = 256;
    /// The ids of Lambda and X-Ray have 36 and 35 bytes.
    pub(super) const TRACE: usize = 64;
}

/// The decision line. Absent members are left out.
#[derive(Serialize)]
struct DecisionLine<'a> {
    outcome: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a RuleName>,
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
    keys_age_seconds: Option<u64>,
    decisions: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusals: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<u64>,
    microseconds: u64,
    request_id: Cow<'a, str>,
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
        metrics.extend(self.unusable_values.map(|_| Metric::count("unusable_values", BY_FUNCTION)));
        metrics
    }
}

/// The line of a policy in which something that is granted is left out. The cached policy refuses
/// it.
#[derive(Serialize)]
struct PolicyCutLine<'a> {
    policies_cut: u64,
    /// How many granted routes are in the policy.
    routes: usize,
    resources_left_out: usize,
    request_id: Cow<'a, str>,
}

impl MetricLine for PolicyCutLine<'_> {
    fn metrics(&self) -> Vec<Metric> {
        vec![Metric::count("policies_cut", BY_FUNCTION)]
    }
}

/// Writes the decision line: a fault at ERROR, everything else at INFO.
///
/// A second line at WARN says that the policy is cut. `request_id` is Lambda's, `xray_header` the
/// value of X-Ray's tracing header.
pub fn log_decision(decision: &Decision, request_id: &str, xray_header: Option<&str>, elapsed: Duration) {
    let elapsed = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    let detail = detail(&decision.outcome);
    let line = decision_line(decision, detail.as_deref(), request_id, xray_header, elapsed);
    let is_fault = matches!(decision.outcome, Outcome::Fault(_));
    write(if is_fault { Level::ERROR } else { Level::INFO }, "decision", &line);
    if let Outcome::Evaluated(evaluated) = &decision.outcome
        && evaluated.omitted_resources > 0
    {
        let (routes, resources_left_out) = (evaluated.routes, evaluated.omitted_resources);
        let request_id = for_log(request_id, max_bytes::TRACE);
        write(Level::WARN, "policy_cut", &PolicyCutLine { policies_cut: 1, routes, resources_left_out, request_id });
    }
}

/// What was wrong, for a refusal and a fault. The client does not see it.
fn detail(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Evaluated(_) => None,
        Outcome::Refused(refusal) => Some(refusal.to_string()),
        Outcome::Fault(fault) => Some(fault.source().map_or_else(|| fault.to_string(), ToString::to_string)),
    }
}

fn decision_line<'a>(
    decision: &'a Decision,
    detail: Option<&'a str>,
    request_id: &'a str,
    xray_header: Option<&'a str>,
    microseconds: u64,
) -> DecisionLine<'a> {
    let context = &decision.context;
    let (outcome, reason) = match &decision.outcome {
        Outcome::Evaluated(evaluated) if evaluated.is_allowed() => ("allow", evaluated.verdict.name()),
        Outcome::Evaluated(evaluated) => ("deny", evaluated.verdict.name()),
        Outcome::Refused(refusal) => ("refused", refusal.name()),
        Outcome::Fault(fault) => ("fault", fault.name()),
    };
    let identifier = |text: &'a Option<String>| text.as_deref().map(|text| for_log(text, max_bytes::IDENTIFIER));
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
    DecisionLine {
        outcome,
        reason,
        rule,
        detail: detail.map(|text| for_log(text, max_bytes::DETAIL)),
        kid: identifier(&context.kid),
        uid: identifier(&context.uid),
        cid: identifier(&context.cid),
        jti: identifier(&context.jti),
        method: context.method_arn.as_ref().map(|arn| for_log(arn.method(), max_bytes::METHOD)),
        path: context.method_arn.as_ref().map(|arn| for_log(arn.untrusted_path(), max_bytes::PATH)),
        resources_left_out: omitted_resources,
        unusable_values,
        keys_age_seconds: context.keys_age_seconds,
        decisions: 1,
        refusals: count_if(matches!(decision.outcome, Outcome::Refused(_))),
        faults: count_if(matches!(decision.outcome, Outcome::Fault(_))),
        microseconds,
        request_id: for_log(request_id, max_bytes::TRACE),
        xray_trace_id: xray_header.and_then(trace_id).map(|id| for_log(id, max_bytes::TRACE)),
    }
}

/// The trace's id in X-Ray's header: `Root=1-…;Parent=…;Sampled=1`.
///
/// Source: X-Ray developer guide, "Tracing header".
fn trace_id(header: &str) -> Option<&str> {
    header.split(';').find_map(|part| part.trim().strip_prefix("Root="))
}

/// A caller's text for the log. Everything except printable ASCII is escaped, so it can neither
/// forge a line nor change the direction of writing. It is cut where its JSON would have more than
/// `max_bytes`.
fn for_log(text: &str, max_bytes: usize) -> Cow<'_, str> {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !is_escaped_in_json(byte.into());
    if text.len() <= max_bytes && text.bytes().all(is_plain) {
        return text.into();
    }
    let mut escaped = String::new();
    let mut bytes = 0;
    for character in text.chars() {
        let is_printable = matches!(character, ' '..='~');
        // A backslash in front of the text, in JSON.
        let extra = usize::from(!is_printable || is_escaped_in_json(character));
        bytes += extra + if is_printable { 1 } else { character.escape_unicode().len() };
        if bytes > max_bytes {
            escaped.push('…');
            break;
        }
        if is_printable {
            escaped.push(character);
        } else {
            escaped.extend(character.escape_unicode());
        }
    }
    escaped.into()
}

/// Of the printable ASCII characters (RFC 8259 §7).
fn is_escaped_in_json(character: char) -> bool {
    matches!(character, '"' | '\\')
}

#[cfg(test)]
mod tests {
    use std::{sync::LazyLock, time::SystemTime};

    use tracing::level_filters::LevelFilter;

    use super::{
        super::{Lines, LogFormat},
        *,
    };
    use crate::policy::Effect;

    #[test]
    fn a_callers_text_cannot_forge_a_line() {
        assert_eq!(for_log("a \"b\" %0a", 100), "a \"b\" %0a");
        assert_eq!(for_log("a\nb\u{202e}c\u{7f}é", 100), "a\\u{a}b\\u{202e}c\\u{7f}\\u{e9}");
    }

    #[test]
    fn a_text_is_cut_at_its_length_as_json() {
        for (text, max_bytes, logged) in [
            ("", 0, ""),
            ("abc", 3, "abc"),
            ("abcd", 3, "abc…"),
            ("\"\\", 4, "\"\\"),
            ("\"\\", 3, "\"…"),
            ("\n\n", 12, "\\u{a}\\u{a}"),
            ("\n\n", 11, "\\u{a}…"),
            ("\u{1f600}", 9, "…"),
            ("\u{1f600}", 10, "\\u{1f600}"),
        ] {
            assert_eq!(for_log(text, max_bytes), logged, "{text:?}");
            let json = serde_json::to_string(&for_log(text, max_bytes)).unwrap();
            assert!(json.len() - 2 <= max_bytes + '…'.len_utf8(), "{json}");
        }
    }

    static LONGEST_NAME: LazyLock<RuleName> =
        LazyLock::new(|| RuleName { line: u32::MAX, effect: Effect::Allow, name: Some("n".repeat(64)) });

    /// A line whose texts all have their longest form.
    fn longest(is_evaluated: bool) -> DecisionLine<'static> {
        let text = |max_bytes: usize| Some(for_log(Box::leak("\"".repeat(1_000).into_boxed_str()), max_bytes));
        let count = is_evaluated.then_some(usize::MAX);
        DecisionLine {
            outcome: "refused",
            reason: "IntrospectionUnavailable",
            detail: text(max_bytes::DETAIL).filter(|_| !is_evaluated),
            rule: is_evaluated.then(|| &*LONGEST_NAME),
            kid: text(max_bytes::IDENTIFIER),
            uid: text(max_bytes::IDENTIFIER),
            cid: text(max_bytes::IDENTIFIER),
            jti: text(max_bytes::IDENTIFIER),
            method: text(max_bytes::METHOD),
            path: text(max_bytes::PATH),
            resources_left_out: count,
            unusable_values: count,
            keys_age_seconds: Some(u64::MAX),
            decisions: 1,
            refusals: (!is_evaluated).then_some(1),
            faults: None,
            microseconds: u64::MAX,
            request_id: text(max_bytes::TRACE).unwrap(),
            xray_trace_id: text(max_bytes::TRACE),
        }
    }

    #[test]
    fn no_line_is_longer_than_2_kib() {
        for format in [LogFormat::Json, LogFormat::Text] {
            for is_evaluated in [true, false] {
                // A function's name has 64 characters at most.
                let lines = Lines {
                    format,
                    level: LevelFilter::INFO,
                    function_name: "f".repeat(64),
                    clock: || SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000),
                };
                let text = lines.format(Level::ERROR, "decision", &longest(is_evaluated)).unwrap();
                assert!(text.len() <= 2_048, "{} bytes: {}", text.len(), String::from_utf8_lossy(&text));
            }
        }
    }

    #[test]
    fn the_trace_id_is_the_root_of_x_rays_header() {
        assert_eq!(trace_id("Root=1-a-b;Parent=c;Sampled=1"), Some("1-a-b"));
        assert_eq!(trace_id("Sampled=0; Root=1-a-b"), Some("1-a-b"));
        assert_eq!(trace_id("Parent=c;Sampled=1;Rootx=1"), None);
    }
}
