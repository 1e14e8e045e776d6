//! Log lines and metrics, on standard output. Nothing secret is in any of them.

pub mod decision;
pub(crate) mod emf;
pub(crate) mod key_refresh;
pub mod start;

use std::{
    fmt,
    io::{self, Write},
    sync::OnceLock,
    time::SystemTime,
};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    filter::{FilterFn, filter_fn},
    fmt::{
        format::Writer,
        layer,
        time::{FormatTime, SystemTime as Timestamp},
    },
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

use emf::{Metadata, MetricLine};

/// The form of a line. Metrics exist in JSON only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `2026-01-01T00:00:00Z  INFO message name=value`
    Text,
    /// One JSON object.
    Json,
}

/// How lines are written. Lambda sets the first three in the environment.
#[derive(Debug)]
pub struct LogSettings {
    /// `AWS_LAMBDA_LOG_FORMAT`.
    pub format: LogFormat,
    /// `AWS_LAMBDA_LOG_LEVEL`: the least severe level that is written.
    pub level: LevelFilter,
    /// `AWS_LAMBDA_FUNCTION_NAME`: a dimension of every metric.
    pub function_name: String,
    /// The time of day.
    pub clock: fn() -> SystemTime,
}

/// Set once by [`init`], like the subscriber of `tracing`. Without it, no decision line and no key
/// line is written.
static LINES: OnceLock<Lines> = OnceLock::new();

/// Writes lines that do not go through `tracing`, because its events cannot have nested members
/// such as `_aws`.
#[derive(Debug)]
struct Lines {
    format: LogFormat,
    level: LevelFilter,
    function_name: String,
    clock: fn() -> SystemTime,
}

/// Starts logging to standard output.
///
/// # Errors
/// If logging was started before.
pub fn init(settings: LogSettings) -> Result<(), TryInitError> {
    let LogSettings { format, level, function_name, clock } = settings;
    let layer = layer().with_target(false);
    let layer = match format {
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Text => layer.with_ansi(false).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(event_filter(level))).try_init()?;
    // The subscriber above was the first one, so nothing is set here yet.
    let _ = LINES.set(Lines { format, level, function_name, clock });
    Ok(())
}

/// Which events of `tracing` are written:
/// - our own from `level` on;
/// - others from WARN on, because the runtime and the SDK log events and headers below that (which
///   are not even compiled: see the feature of `tracing` in Cargo.toml);
/// - not the runtime's layer that logs every error answer, because the decision line has it;
/// - not the runtime's warning that each of its loops takes one event at a time, because there are
///   as many loops as Lambda sends events at the same time;
/// - not the SDK's complaint that a failed connection cannot be closed, because that client is
///   ours;
/// - no spans.
fn event_filter(level: LevelFilter) -> FilterFn<impl Fn(&tracing::Metadata<'_>) -> bool> {
    filter_fn(move |metadata| match metadata.target() {
        _ if metadata.is_span() => false,
        "lambda_runtime::layers::panic" | "aws_smithy_runtime::client::http::connection_poisoning" => false,
        "lambda_runtime::runtime" if *metadata.level() == Level::WARN => false,
        target if target.starts_with("okta_authorizer") => *metadata.level() <= level,
        _ => *metadata.level() <= level && *metadata.level() <= Level::WARN,
    })
}

/// Writes a line with its metrics, if it has any, and if its level is on.
pub(crate) fn write(level: Level, message: &str, line: &impl MetricLine) {
    if let Some(lines) = LINES.get()
        && level <= lines.level
        && let Ok(mut text) = lines.format(level, message, line)
    {
        text.push(b'\n');
        // The process goes on if nobody reads its log.
        let _ = io::stdout().lock().write_all(&text);
    }
}

impl Lines {
    fn format(&self, level: Level, message: &str, line: &impl MetricLine) -> serde_json::Result<Vec<u8>> {
        let mut timestamp = String::with_capacity(32);
        // Writing to a string does not fail.
        let _ = Timestamp.format_time(&mut Writer::new(&mut timestamp));
        let level = level.as_str();
        if self.format == LogFormat::Json {
            let since_epoch = (self.clock)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let milliseconds = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
            let cloud_watch_metrics = line.metrics();
            let metadata =
                (!cloud_watch_metrics.is_empty()).then_some(Metadata { timestamp: milliseconds, cloud_watch_metrics });
            let json = JsonLine { timestamp, level, message, line, function_name: &self.function_name, _aws: metadata };
            // The longest line. A buffer that grows is copied, which costs more than the space.
            let mut text = Vec::with_capacity(2_048);
            serde_json::to_writer(&mut text, &json)?;
            return Ok(text);
        }
        let json = serde_json::to_string(line)?;
        let Members(members) = serde_json::from_str(&json)?;
        let mut text = format!("{timestamp} {level:>5} {message}").into_bytes();
        for (name, value) in members {
            write!(text, " {name}={value}").map_err(serde_json::Error::io)?;
        }
        Ok(text)
    }
}

/// The members of a JSON object in their order, which `serde_json::Map` does not keep.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[derive(Serialize)]
struct JsonLine<'a, L: Serialize> {
    timestamp: String,
    level: &'a str,
    message: &'a str,
    #[serde(flatten)]
    line: &'a L,
    function_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    _aws: Option<Metadata>,
}
