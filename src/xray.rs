//! The key path in X-Ray: what a call waited for at Okta and at the table, as subsegments of Lambda's own segment. They go
//! to the daemon that Lambda runs beside a function with active tracing; nobody else has to run one.
//!
//! Source: X-Ray developer guide, "Segment documents" and "Sending segment documents to the X-Ray daemon".

use std::{
    fmt::Debug,
    hash::{BuildHasher, Hasher, RandomState},
    net::UdpSocket,
    time::SystemTime,
};

use serde_json::json;
use tracing::{
    Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, Filter},
    registry::LookupSpan,
};

/// Sends one datagram for each span of ours that closes within a sampled invocation. What is lost is lost: a trace is no
/// record, and no call waits for it.
#[derive(Debug)]
pub struct Subsegments {
    /// Connected to the daemon, and never blocking.
    pub daemon: UdpSocket,
    /// The time of day.
    pub clock: fn() -> SystemTime,
}

/// Spans of ours: the one around each invocation, which has X-Ray's header, and those of what is waited for in it.
#[derive(Debug)]
pub(crate) struct OfTheKeyPath;

impl<S> Filter<S> for OfTheKeyPath {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        metadata.is_span() && *metadata.level() <= Level::INFO && metadata.target().starts_with("okta_authorizer")
    }
}

/// The field of an invocation's span.
const HEADER: &str = "xray_header";

/// An invocation that X-Ray samples.
struct Sampled {
    trace_id: String,
    parent_id: String,
}

/// What an invocation waits for.
struct Work {
    started: SystemTime,
    failed: bool,
}

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for Subsegments {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if span.metadata().fields().field(HEADER).is_none() {
            span.extensions_mut().insert(Work { started: (self.clock)(), failed: false });
            return;
        }
        let mut header = Header(None);
        attributes.record(&mut header);
        if let Some(sampled) = header.0 {
            span.extensions_mut().insert(sampled);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(work) = span.extensions_mut().get_mut::<Work>() {
            values.record(work);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let extensions = span.extensions();
        let Some(work) = extensions.get::<Work>() else { return };
        for around in span.scope().skip(1) {
            if let Some(sampled) = around.extensions().get::<Sampled>() {
                let document = document(span.name(), work, sampled, (self.clock)());
                let _ = self.daemon.send(document.as_bytes());
            }
        }
    }
}

fn document(name: &str, work: &Work, sampled: &Sampled, now: SystemTime) -> String {
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let random = RandomState::new().build_hasher().finish();
    let segment = json!({
        "name": name,
        "id": format!("{random:016x}"),
        "trace_id": sampled.trace_id,
        "parent_id": sampled.parent_id,
        "type": "subsegment",
        "namespace": "remote",
        "start_time": seconds(work.started),
        "end_time": seconds(now),
        "fault": work.failed,
    });
    format!("{{\"format\":\"json\",\"version\":1}}\n{segment}")
}

/// Reads X-Ray's header off an invocation's span.
struct Header(Option<Sampled>);

impl Visit for Header {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == HEADER {
            self.0 = sampled(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl Visit for Work {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.failed |= value && field.name() == "failed";
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// The trace's own id in X-Ray's header, `Root=1-…;Parent=…;Sampled=1`.
///
/// Source: X-Ray developer guide, "Tracing header".
pub(crate) fn trace_id(header: &str) -> Option<&str> {
    part(header, "Root")
}

/// X-Ray's header, where it says that the invocation is sampled.
fn sampled(header: &str) -> Option<Sampled> {
    let sampled = Sampled { trace_id: trace_id(header)?.to_owned(), parent_id: part(header, "Parent")?.to_owned() };
    (part(header, "Sampled")? == "1").then_some(sampled)
}

fn part<'h>(header: &'h str, name: &str) -> Option<&'h str> {
    header.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_is_the_root_of_x_rays_header() {
        assert_eq!(trace_id("Root=1-a-b;Parent=c;Sampled=1"), Some("1-a-b"));
        assert_eq!(trace_id("Sampled=0;Root=1-a-b"), Some("1-a-b"));
        assert_eq!(trace_id("Parent=c;Sampled=1"), None);
    }

    #[test]
    fn only_a_sampled_invocation_is_traced() {
        let ids = |header: &str| sampled(header).map(|sampled| (sampled.trace_id, sampled.parent_id));
        assert_eq!(ids("Root=1-a-b;Parent=c;Sampled=1"), Some(("1-a-b".to_owned(), "c".to_owned())));
        for header in ["Root=1-a-b;Parent=c;Sampled=0", "Root=1-a-b;Parent=c", "Root=1-a-b;Sampled=1", "", "Rootx=1"] {
            assert_eq!(ids(header), None, "{header}");
        }
    }
}
