//! What the authorizer says: one line per decision, and nothing secret in any.

use std::time::Duration;

use tracing::{Level, error, info, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    filter::{FilterFn, filter_fn},
    fmt::layer,
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

use crate::authorizer::{Decision, Outcome};

/// Sends log lines to standard output: JSON, or text where `format` is `Text`; from `level` on, INFO by default.
///
/// Source: Lambda developer guide, advanced logging controls, `AWS_LAMBDA_LOG_FORMAT` and `AWS_LAMBDA_LOG_LEVEL`.
///
/// # Errors
/// When logging has been set up before.
pub fn init(format: Option<&str>, level: Option<&str>) -> Result<(), TryInitError> {
    let level = match level {
        // Lambda's name for what is worse than ERROR; nothing here is.
        Some(level) if level.eq_ignore_ascii_case("fatal") => LevelFilter::OFF,
        Some(level) => level.parse().unwrap_or(LevelFilter::INFO),
        None => LevelFilter::INFO,
    };
    let lines = match format {
        Some(format) if format.eq_ignore_ascii_case("text") => layer().with_ansi(false).with_target(false).boxed(),
        _ => {
            layer().json().flatten_event(true).with_current_span(false).with_span_list(false).with_target(false).boxed()
        }
    };
    tracing_subscriber::registry().with(lines.with_filter(ours(level))).try_init()
}

/// Others are heard from WARN on, whatever the level: the runtime logs raw events at TRACE, the SDK headers at DEBUG.
/// The runtime's layer that repeats every error answer at ERROR is not heard at all: the decision line has said it.
fn ours(level: LevelFilter) -> FilterFn<impl Fn(&tracing::Metadata<'_>) -> bool> {
    filter_fn(move |line| match line.target() {
        "lambda_runtime::layers::panic" => false,
        target if target.starts_with("okta_authorizer") => *line.level() <= level,
        _ => *line.level() <= level && *line.level() <= Level::WARN,
    })
}

impl Decision {
    /// Writes the decision line: faults at ERROR, everything else at INFO.
    pub fn log(&self, request_id: &str, took: Duration) {
        let about = &self.about;
        let [kid, uid, cid, jti] =
            [&about.kid, &about.uid, &about.cid, &about.jti].map(|text| text.as_deref().map(printable));
        let method = about.method_arn.as_ref().map(|arn| printable(arn.method()));
        let path = about.method_arn.as_ref().map(|arn| printable(arn.untrusted_path()));
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let (outcome, reason) = match &self.outcome {
            Outcome::Granted(granted) if granted.is_allowed() => ("allow", granted.verdict.name()),
            Outcome::Granted(granted) => ("deny", granted.verdict.name()),
            Outcome::Refused(refusal) => ("refused", refusal.name()),
            Outcome::Fault(fault) => ("fault", fault.name()),
        };
        let (left_out, unusable) = match &self.outcome {
            Outcome::Granted(granted) => (Some(granted.left_out), Some(granted.unusable_values)),
            Outcome::Refused(_) | Outcome::Fault(_) => (None, None),
        };
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    outcome,
                    reason,
                    kid,
                    uid,
                    cid,
                    jti,
                    method,
                    path,
                    resources_left_out = left_out,
                    unusable_values = unusable,
                    microseconds,
                    request_id,
                    "decision"
                )
            };
        }
        if matches!(self.outcome, Outcome::Fault(_)) { line!(error) } else { line!(info) }
    }
}

/// Somebody else's text as a log may show it: bounded, and all but plain ASCII escaped, so that neither line breaks nor
/// the direction of writing can be forged.
fn printable(text: &str) -> String {
    const MAX_CHARACTERS: usize = 256;
    let mut shown = String::new();
    for character in text.chars().take(MAX_CHARACTERS) {
        match character {
            ' '..='~' => shown.push(character),
            _ => shown.extend(character.escape_unicode()),
        }
    }
    if text.chars().nth(MAX_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_elses_text_cannot_forge_a_line() {
        assert_eq!(printable("a \"b\" %0a"), "a \"b\" %0a");
        assert_eq!(printable("a\nb\u{202e}c\u{7f}é"), "a\\u{a}b\\u{202e}c\\u{7f}\\u{e9}");
        assert_eq!(printable(&"x".repeat(256)), "x".repeat(256));
        assert_eq!(printable(&"x".repeat(257)), "x".repeat(256) + "…");
    }
}
