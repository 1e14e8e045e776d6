//! What the authorizer says: one line per decision, and nothing secret in any. In JSON, the lines are the metrics as well.

use std::{
    borrow::Cow,
    fmt::{self, Debug},
    time::{Duration, SystemTime},
};

use lambda_runtime::Context;
use serde::Serialize;
use tracing::{
    Event, Level, Subscriber, error,
    field::{Field, Visit},
    info,
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer,
    filter::{FilterFn, filter_fn},
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        layer,
        time::{FormatTime, SystemTime as Timestamp},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::{SubscriberInitExt, TryInitError},
};

use crate::{
    authorizer::{Decision, Outcome},
    xray::{OfTheKeyPath, Subsegments, trace_id},
};

/// Sends log lines to standard output: JSON where `format` is `JSON`, else text; from `level` on, INFO by default. `traces`
/// go to X-Ray.
///
/// Source: Lambda developer guide, advanced logging controls, `AWS_LAMBDA_LOG_FORMAT` and `AWS_LAMBDA_LOG_LEVEL`.
///
/// # Errors
/// When logging has been set up before.
pub fn init(
    format: Option<&str>,
    level: Option<&str>,
    lines: JsonLines,
    traces: Option<Subsegments>,
) -> Result<(), TryInitError> {
    let level = match level {
        // Lambda's name for what is worse than ERROR; nothing here is.
        Some(level) if level.eq_ignore_ascii_case("fatal") => LevelFilter::OFF,
        Some(level) => level.parse().unwrap_or(LevelFilter::INFO),
        None => LevelFilter::INFO,
    };
    let lines = match format {
        Some(format) if format.eq_ignore_ascii_case("json") => layer().event_format(lines).boxed(),
        _ => layer().with_ansi(false).with_target(false).boxed(),
    };
    let lines = tracing_subscriber::registry().with(lines.with_filter(ours(level)));
    match traces {
        Some(traces) => lines.with(traces.with_filter(OfTheKeyPath)).try_init(),
        // With a layer that is none, every call would still make its spans.
        None => lines.try_init(),
    }
}

/// One JSON object a line. An event with a field that is named like a metric is its value too, in `CloudWatch`'s embedded
/// metric format: no second line, and nothing to flush.
///
/// Source: `CloudWatch` user guide, "Specification: Embedded metric format".
#[derive(Debug)]
pub struct JsonLines {
    /// Lambda's name of the function: a dimension of every metric.
    pub function_name: String,
    /// The time of day.
    pub clock: fn() -> SystemTime,
}

/// A field whose value is a metric, in the namespace `okta-authorizer`.
struct Metric {
    name: &'static str,
    unit: &'static str,
    /// The fields of the same event that tell its values apart, beside the function's name. Each metric is there by the
    /// function's name alone as well, which says how many there were in all.
    dimensions: &'static [&'static str],
}

const METRICS: [Metric; 7] = [
    Metric { name: "decisions", unit: "Count", dimensions: &["outcome"] },
    Metric { name: "refusals", unit: "Count", dimensions: &["reason"] },
    Metric { name: "faults", unit: "Count", dimensions: &["reason"] },
    Metric { name: "key_refreshes", unit: "Count", dimensions: &["keys_source", "result"] },
    Metric { name: "keys_age_seconds", unit: "Seconds", dimensions: &[] },
    Metric { name: "policies_cut", unit: "Count", dimensions: &[] },
    Metric { name: "unusable_values", unit: "Count", dimensions: &[] },
];

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, r#"{{"timestamp":""#)?;
        Timestamp.format_time(&mut writer)?;
        write!(writer, r#"","level":"{}""#, event.metadata().level())?;
        let mut fields = Fields { json: Vec::with_capacity(512), metrics: Vec::new() };
        event.record(&mut fields);
        writer.write_str(str::from_utf8(&fields.json).map_err(|_| fmt::Error)?)?;
        if !fields.metrics.is_empty() {
            self.write_metrics(&mut writer, &fields.metrics)?;
        }
        writeln!(writer, "}}")
    }
}

impl JsonLines {
    fn write_metrics(&self, writer: &mut Writer<'_>, metrics: &[&Metric]) -> fmt::Result {
        let since = (self.clock)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        write!(
            writer,
            r#","function_name":{},"_aws":{{"Timestamp":{},"CloudWatchMetrics":["#,
            serde_json::to_string(&self.function_name).map_err(|_| fmt::Error)?,
            since.as_millis()
        )?;
        for (index, Metric { name, unit, dimensions }) in metrics.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(writer, r#"{comma}{{"Namespace":"okta-authorizer","Dimensions":[["function_name"]"#)?;
            if !dimensions.is_empty() {
                write!(writer, r#",["function_name""#)?;
                for dimension in *dimensions {
                    write!(writer, r#","{dimension}""#)?;
                }
                write!(writer, "]")?;
            }
            write!(writer, r#"],"Metrics":[{{"Name":"{name}","Unit":"{unit}"}}]}}"#)?;
        }
        write!(writer, "]}}")
    }
}

/// An event's fields as members of a JSON object, and the metrics among them.
struct Fields {
    json: Vec<u8>,
    metrics: Vec<&'static Metric>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl Serialize) {
        for part in [",\"", field.name(), "\":"] {
            self.json.extend_from_slice(part.as_bytes());
        }
        // Memory holds everything, and all values here can be written as JSON: nothing can fail.
        let _ = serde_json::to_writer(&mut self.json, &value);
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.metrics.extend(METRICS.iter().find(|metric| metric.name == field.name()));
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format!("{value:?}"));
    }
}

/// Others are heard from WARN on, whatever the level; below INFO nothing is compiled, the raw events that the runtime
/// would log and the SDK's headers among it. Not heard at all are the runtime's layer that repeats every error answer at
/// ERROR, because the decision line has said it; the SDK's complaint that a connection which failed is not its own to
/// close; and spans, which are for X-Ray.
fn ours(level: LevelFilter) -> FilterFn<impl Fn(&tracing::Metadata<'_>) -> bool> {
    filter_fn(move |line| match line.target() {
        _ if line.is_span() => false,
        "lambda_runtime::layers::panic" | "aws_smithy_runtime::client::http::connection_poisoning" => false,
        target if target.starts_with("okta_authorizer") => *line.level() <= level,
        _ => *line.level() <= level && *line.level() <= Level::WARN,
    })
}

impl Decision {
    /// Writes the decision line: faults at ERROR, everything else at INFO.
    pub fn log(&self, invocation: &Context, took: Duration) {
        let about = &self.about;
        let [kid, uid, cid, jti] =
            [&about.kid, &about.uid, &about.cid, &about.jti].map(|text| text.as_deref().map(printable));
        let method = about.method_arn.as_ref().map(|arn| printable(arn.method()));
        let path = about.method_arn.as_ref().map(|arn| printable(arn.untrusted_path()));
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let xray_trace_id = invocation.xray_trace_id.as_deref().and_then(trace_id).map(printable);
        let (outcome, reason) = match &self.outcome {
            Outcome::Granted(granted) if granted.is_allowed() => ("allow", granted.verdict.name()),
            Outcome::Granted(granted) => ("deny", granted.verdict.name()),
            Outcome::Refused(refusal) => ("refused", refusal.name()),
            Outcome::Fault(fault) => ("fault", fault.name()),
        };
        let one_if = |yes: bool| yes.then_some(1_u64);
        let refusals = one_if(matches!(self.outcome, Outcome::Refused(_)));
        let faults = one_if(matches!(self.outcome, Outcome::Fault(_)));
        let [left_out, unusable_values] = match &self.outcome {
            Outcome::Granted(granted) => [granted.left_out, granted.unusable_values],
            Outcome::Refused(_) | Outcome::Fault(_) => [0, 0],
        }
        .map(|count| u64::try_from(count).ok().filter(|count| *count > 0));
        let policies_cut = one_if(left_out.is_some());
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    outcome,
                    reason,
                    kid = kid.as_deref(),
                    uid = uid.as_deref(),
                    cid = cid.as_deref(),
                    jti = jti.as_deref(),
                    method = method.as_deref(),
                    path = path.as_deref(),
                    resources_left_out = left_out,
                    unusable_values,
                    policies_cut,
                    keys_age_seconds = about.keys_age_seconds,
                    decisions = 1_u64,
                    refusals,
                    faults,
                    microseconds,
                    request_id = invocation.request_id,
                    xray_trace_id = xray_trace_id.as_deref(),
                    "decision"
                )
            };
        }
        if faults.is_some() { line!(error) } else { line!(info) }
    }
}

/// Somebody else's text as a log may show it: bounded, and all but plain ASCII escaped, so that neither line breaks nor
/// the direction of writing can be forged.
fn printable(text: &str) -> Cow<'_, str> {
    const MAX_CHARACTERS: usize = 256;
    if text.len() <= MAX_CHARACTERS && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.into();
    }
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
    shown.into()
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
