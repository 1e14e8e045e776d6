//! Log lines that `CloudWatch` also reads as metrics: its embedded metric format. The line is the
//! metric, so nothing is sent and nothing must be flushed.
//!
//! Source: `CloudWatch` user guide, "Specification: Embedded metric format".

use serde::Serialize;

/// A log line that can have metrics. It serializes as a JSON object that has a member for each
/// metric and for each dimension.
pub(crate) trait MetricLine: Serialize {
    /// The metrics that are present in this line.
    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }
}

/// The sets of dimensions of a metric; each is a list of member names.
pub(crate) type Dimensions = &'static [&'static [&'static str]];

/// Declares one member of a log line as a metric. The format calls it a directive.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Metric {
    namespace: &'static str,
    dimensions: Dimensions,
    metrics: [Definition; 1],
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: &'static str,
    unit: &'static str,
}

impl Metric {
    /// A metric in the unit `Count`.
    pub(crate) const fn count(name: &'static str, dimensions: Dimensions) -> Self {
        Self::new(name, "Count", dimensions)
    }

    /// A metric in the unit `Seconds`.
    pub(crate) const fn seconds(name: &'static str, dimensions: Dimensions) -> Self {
        Self::new(name, "Seconds", dimensions)
    }

    const fn new(name: &'static str, unit: &'static str, dimensions: Dimensions) -> Self {
        Self { namespace: "okta-authorizer", dimensions, metrics: [Definition { name, unit }] }
    }
}

/// The dimensions of a metric that is counted for the whole function only.
pub(crate) const BY_FUNCTION: Dimensions = &[&["function_name"]];

/// The member `_aws`, which makes a log line a metric.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Metadata {
    /// Epoch milliseconds.
    pub(super) timestamp: u64,
    pub(super) cloud_watch_metrics: Vec<Metric>,
}
