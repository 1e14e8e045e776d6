//! The events of `tracing`: our own lines without metrics, and the warnings and errors of libraries.

use std::fmt::Debug;

use serde::{Serialize, Serializer};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};

use super::{emf::MetricLine, write};

/// Writes each event as a line. Spans are not written.
pub(super) struct Events {
    /// The least severe level that is written.
    pub(super) level: LevelFilter,
}

impl Subscriber for Events {
    /// Which events are written:
    /// - our own from `level` on;
    /// - others from WARN on, because the runtime and the SDK log events and headers below that
    ///   (which are not even compiled: see the feature of `tracing` in Cargo.toml);
    /// - not the runtime's layer that logs every error answer, because the decision line has it;
    /// - not the runtime's warning that each of its loops takes one event at a time, because there
    ///   are as many loops as Lambda sends events at the same time;
    /// - not the SDK's complaint that a failed connection cannot be closed, because that client is
    ///   ours.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = metadata.level();
        match metadata.target() {
            _ if metadata.is_span() || *level > self.level => false,
            "lambda_runtime::layers::panic" | "aws_smithy_runtime::client::http::connection_poisoning" => false,
            "lambda_runtime::runtime" if *level == Level::WARN => false,
            target => target.starts_with("okta_authorizer") || *level <= Level::WARN,
        }
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = EventLine::default();
        event.record(&mut line);
        write(*event.metadata().level(), &line.message, &line);
    }

    /// Not called, because no span is enabled.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The fields of an event, as text.
#[derive(Default)]
struct EventLine {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for EventLine {
    fn record_str(&mut self, field: &Field, text: &str) {
        match field.name() {
            "message" => text.clone_into(&mut self.message),
            name => self.others.push((name, text.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl Serialize for EventLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.others.iter().map(|(name, text)| (name, text)))
    }
}

impl MetricLine for EventLine {}
