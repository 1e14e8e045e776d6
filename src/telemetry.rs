//! What the authorizer says: one line per decision, and nothing secret in any.

use std::{fmt, time::Duration};

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
    let level = level.and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
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
            [&about.kid, &about.uid, &about.cid, &about.jti].map(|text| text.as_deref().map(Printable));
        let method = about.method_arn.as_ref().map(|arn| Printable(arn.method()));
        let path = about.method_arn.as_ref().map(|arn| Printable(arn.untrusted_path()));
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
                    kid = kid.as_ref().map(tracing::field::display),
                    uid = uid.as_ref().map(tracing::field::display),
                    cid = cid.as_ref().map(tracing::field::display),
                    jti = jti.as_ref().map(tracing::field::display),
                    method = method.as_ref().map(tracing::field::display),
                    path = path.as_ref().map(tracing::field::display),
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
struct Printable<'a>(&'a str);

impl Printable<'_> {
    const MAX_CHARACTERS: usize = 256;
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars().take(Self::MAX_CHARACTERS) {
            if matches!(character, ' '..='~') {
                write!(f, "{character}")?;
            } else {
                write!(f, "{}", character.escape_unicode())?;
            }
        }
        if self.0.chars().nth(Self::MAX_CHARACTERS).is_some() { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_elses_text_cannot_forge_a_line() {
        assert_eq!(Printable("a \"b\" %0a").to_string(), "a \"b\" %0a");
        assert_eq!(Printable("a\nb\u{202e}c\u{7f}é").to_string(), "a\\u{a}b\\u{202e}c\\u{7f}\\u{e9}");
        assert_eq!(Printable(&"x".repeat(256)).to_string(), "x".repeat(256));
        assert_eq!(Printable(&"x".repeat(257)).to_string(), "x".repeat(256) + "…");
    }
}
