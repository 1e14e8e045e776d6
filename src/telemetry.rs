//! Log lines and metrics, on standard output. Nothing secret is in any of them.

pub mod decision;
pub(crate) mod emf;
mod events;
pub(crate) mod key_refresh;
pub mod start;

use std::{
    fmt,
    io::{self, Write},
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use aws_smithy_types::date_time::{DateTime, Format};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use tracing::{Level, level_filters::LevelFilter, subscriber::SetGlobalDefaultError};

use emf::{Metadata, MetricLine};
use events::Events;

/// The form of a line. Metrics exist in JSON only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `2026-01-01T00:00:00.000000Z  INFO message name=value`
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

/// Set once by [`init`]. Without it, no line is written.
static LINES: OnceLock<Lines> = OnceLock::new();

/// How all lines are written.
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
pub fn init(settings: LogSettings) -> Result<(), SetGlobalDefaultError> {
    let LogSettings { format, level, function_name, clock } = settings;
    tracing::subscriber::set_global_default(Events { level })?;
    // The subscriber above was the first one, so nothing is set here yet.
    let _ = LINES.set(Lines { format, level, function_name, clock });
    Ok(())
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
        let since_epoch = (self.clock)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let timestamp = rfc_3339(since_epoch);
        let level = level.as_str();
        if self.format == LogFormat::Json {
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
        let members = members.iter().map(|(name, value)| format!(" {name}={value}"));
        let text = format!("{timestamp} {level:>5} {message}") + &members.collect::<String>();
        // The message of a library must not begin another line.
        Ok(text.replace(char::is_control, " ").into_bytes())
    }
}

/// A time in UTC with microseconds (RFC 3339 §5.6). Empty after the year 9999.
fn rfc_3339(since_epoch: Duration) -> String {
    let seconds = DateTime::from_secs(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX));
    let text = seconds.fmt(Format::DateTime).unwrap_or_default();
    text.strip_suffix('Z').map_or_else(String::new, |text| format!("{text}.{:06}Z", since_epoch.subsec_micros()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_timestamp_has_microseconds() {
        for (seconds, micros, text) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (1_795_865_242, 194_845, "2026-11-28T11:27:22.194845Z"),
            (1_709_164_799, 50, "2024-02-28T23:59:59.000050Z"),
            (253_402_300_800, 0, ""),
        ] {
            assert_eq!(rfc_3339(Duration::new(seconds, micros * 1_000)), text);
        }
    }

    #[derive(Serialize)]
    struct Line {
        error: &'static str,
    }

    impl MetricLine for Line {}

    #[test]
    fn a_line_of_text_is_one_line() {
        let clock = || SystemTime::UNIX_EPOCH;
        let lines = Lines { format: LogFormat::Text, level: LevelFilter::WARN, function_name: "f".to_owned(), clock };
        for (message, error, expected) in
            [("a b", "c", "a b error=\"c\""), ("a\r\nb", "c\nd\u{85}e", "a  b error=\"c\\nd e\"")]
        {
            let text = String::from_utf8(lines.format(Level::WARN, message, &Line { error }).unwrap()).unwrap();
            assert_eq!(text, format!("1970-01-01T00:00:00.000000Z  WARN {expected}"));
        }
    }
}
