//! Lambda's Runtime API: takes events, and sends the answers.
//!
//! `lambda_runtime` is not used, because it ends the process if a header of an event is missing or
//! is not what it expects. Whoever may invoke the function chooses some of these headers, for
//! example the client context. Here, only the request id of an event is needed.
//!
//! Source: Lambda developer guide, "Using the Lambda runtime API for custom runtimes".

use std::{io, time::Duration};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, response::Parts};
use lambda_runtime_api_client::{PooledClient, body::Body, build_request};
use serde::Serialize;
use tokio::{
    net::TcpStream,
    sync::OnceCell,
    time::{sleep, timeout},
};
use tracing::{error, warn};

const NEXT: &str = "/2018-06-01/runtime/invocation/next";
const RESTORE_NEXT: &str = "/2018-06-01/runtime/restore/next";
const REQUEST_ID: HeaderName = HeaderName::from_static("lambda-runtime-aws-request-id");
const TRACE_ID: HeaderName = HeaderName::from_static("lambda-runtime-trace-id");
/// If an event has it, its answer must have it too. Lambda sees by it that an answer is late.
const INVOCATION_ID: HeaderName = HeaderName::from_static("lambda-runtime-invocation-id");
const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");

/// A client of the Runtime API that the environment names.
#[derive(Debug)]
pub struct RuntimeApi {
    /// Usually `host:port`.
    host: String,
    client: PooledClient,
    concurrency: u32,
    is_snapstart: bool,
    /// Set when the process has waited for the Runtime API, which it does once.
    waited: OnceCell<()>,
}

/// An event, as the Runtime API sent it.
#[derive(Debug)]
pub struct Event {
    /// Lambda's id of the call.
    pub request_id: String,
    /// What the function was invoked with.
    pub payload: Bytes,
    trace_header: Option<HeaderValue>,
    invocation_id: Option<HeaderValue>,
}

impl Event {
    /// The value of X-Ray's tracing header, if it is ASCII.
    #[must_use]
    pub fn trace_header(&self) -> Option<&str> {
        self.trace_header.as_ref()?.to_str().ok()
    }
}

impl RuntimeApi {
    /// The Runtime API by the variables that Lambda sets.
    ///
    /// # Errors
    /// The first variable that is missing or malformed.
    pub fn from_env(env_var: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let required =
            |name: &str| env_var(name).ok_or_else(|| anyhow!("{name} is not set; accepted: what Lambda sets"));
        required("AWS_LAMBDA_FUNCTION_NAME")?; // a dimension of every metric
        let malformed = "AWS_LAMBDA_RUNTIME_API is not host:port; accepted: what Lambda sets";
        // Lambda sets `host:port`, and `cargo lambda watch` a URL.
        let endpoint: Uri = required("AWS_LAMBDA_RUNTIME_API")?.parse().context(malformed)?;
        let host = endpoint.authority().context(malformed)?.to_string();
        let concurrency = env_var("AWS_LAMBDA_MAX_CONCURRENCY").and_then(|number| number.parse().ok());
        let concurrency = concurrency.unwrap_or(1_u32).max(1);
        let client = PooledClient::builder().with_endpoint(endpoint).with_pool_size(concurrency as usize).build();
        let is_snapstart = env_var("AWS_LAMBDA_INITIALIZATION_TYPE").is_some_and(|kind| kind == "snap-start");
        Ok(Self { host, client, concurrency, is_snapstart, waited: OnceCell::new() })
    }

    /// How many events Lambda sends to this process at the same time.
    #[must_use]
    pub fn concurrency(&self) -> u32 {
        self.concurrency
    }

    /// With `SnapStart`, says that the process may be frozen now, and waits until it is thawed. The
    /// connections of before are dropped, because none of them is open any more.
    ///
    /// # Errors
    /// If Lambda does not confirm it.
    pub async fn wait_for_restore(&self) -> anyhow::Result<()> {
        if self.is_snapstart {
            let (parts, _) = self.call(Method::GET, RESTORE_NEXT, None, Bytes::new()).await?;
            if !parts.status.is_success() {
                bail!("the Runtime API does not restore the process: {}", parts.status);
            }
            self.client.reset_pool();
        }
        Ok(())
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// If the Runtime API cannot be reached, or if its answer is no event. Then no answer is
    /// possible, and asking again would be a loop without a pause.
    pub async fn next(&self) -> anyhow::Result<Event> {
        let (mut parts, payload) = loop {
            let response = self.call(Method::GET, NEXT, None, Bytes::new()).await?;
            if response.0.status != StatusCode::NO_CONTENT {
                break response;
            }
            // An emulator may answer this at once if there is no event, as older versions of
            // `cargo lambda watch` do. Lambda lets the request wait instead.
            sleep(Duration::from_millis(50)).await;
        };
        if !parts.status.is_success() {
            bail!("the Runtime API does not give an event: {}", parts.status);
        }
        let request_id = parts.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let request_id = request_id.filter(|id| !id.is_empty()).map(str::to_owned);
        Ok(Event {
            request_id: request_id.context("the Runtime API gave an event without a readable request id")?,
            payload,
            trace_header: parts.headers.remove(TRACE_ID),
            invocation_id: parts.headers.remove(INVOCATION_ID),
        })
    }

    /// Sends the answer to an event. If Lambda rejects it, for example because the call has timed
    /// out, that is a line at ERROR, and the process goes on.
    ///
    /// # Errors
    /// If the Runtime API cannot be reached.
    pub async fn answer(&self, event: &Event, answer: &Result<impl Serialize, impl Serialize>) -> anyhow::Result<()> {
        let (kind, body) = match answer {
            Ok(response) => ("response", serde_json::to_vec(response)?),
            Err(error) => ("error", serde_json::to_vec(error)?),
        };
        let path = format!("/2018-06-01/runtime/invocation/{}/{kind}", event.request_id);
        let unhandled = answer.is_err().then_some((ERROR_TYPE, HeaderValue::from_static("unhandled")));
        let invocation_id = event.invocation_id.clone().map(|id| (INVOCATION_ID, id));
        let headers = unhandled.into_iter().chain(invocation_id);
        let (parts, _) = self.call(Method::POST, &path, headers, body.into()).await?;
        if !parts.status.is_success() {
            error!(status = parts.status.as_u16(), "the Runtime API rejected the answer");
        }
        Ok(())
    }

    /// Sends a request and reads the whole response. If nothing listens, it waits for it once.
    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)> + Clone,
        body: Bytes,
    ) -> anyhow::Result<(Parts, Bytes)> {
        let send = async || {
            let mut request = build_request().method(method.clone()).uri(path).body(Body::from(body.clone()))?;
            request.headers_mut().extend(headers.clone());
            self.client.call(request).await.map_err(|error| anyhow!(error))
        };
        let mut response = send().await;
        if response.as_ref().is_err_and(is_connection_refused) {
            self.waited.get_or_init(|| self.wait_until_it_listens()).await;
            response = send().await;
        }
        let (parts, body) = response?.into_parts();
        Ok((parts, Body::new(body).collect().await?.to_bytes()))
    }

    /// Waits until something listens, 2 s at most.
    ///
    /// AWS's emulator starts the function and its Runtime API at the same time, so the function can
    /// be first. Source: <https://github.com/localstack/localstack/issues/12680>.
    async fn wait_until_it_listens(&self) {
        warn!(runtime_api = self.host, "the Runtime API refuses connections: waiting for it");
        let listens = async {
            while TcpStream::connect(&self.host).await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        // If nothing listens in time, the next request reports the error.
        let _ = timeout(Duration::from_secs(2), listens).await;
    }
}

fn is_connection_refused(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_env(api: Option<&str>, concurrency: Option<&str>) -> Result<(String, u32), String> {
        let variable = |name: &str| match name {
            "AWS_LAMBDA_FUNCTION_NAME" => Some("f".to_owned()),
            "AWS_LAMBDA_RUNTIME_API" => api.map(str::to_owned),
            "AWS_LAMBDA_MAX_CONCURRENCY" => concurrency.map(str::to_owned),
            _ => None,
        };
        let api = RuntimeApi::from_env(variable).map_err(|error| error.to_string())?;
        Ok((api.host, api.concurrency))
    }

    #[test]
    fn the_address_is_a_host_and_port_or_a_url() {
        let malformed = || Err("AWS_LAMBDA_RUNTIME_API is not host:port; accepted: what Lambda sets".to_owned());
        let not_set = "AWS_LAMBDA_RUNTIME_API is not set; accepted: what Lambda sets".to_owned();
        for (address, expected) in [
            (Some("169.254.100.1:9001"), Ok(("169.254.100.1:9001".to_owned(), 1))),
            (Some("localhost"), Ok(("localhost".to_owned(), 1))),
            (Some("http://[::1]:9000/.rt/f"), Ok(("[::1]:9000".to_owned(), 1))),
            (Some("/f"), malformed()),
            (Some("a b"), malformed()),
            (Some("http://"), malformed()),
            (None, Err(not_set)),
        ] {
            assert_eq!(from_env(address, None), expected, "{address:?}");
        }
    }

    #[test]
    fn the_concurrency_is_at_least_one() {
        for (given, concurrency) in [("64", 64), ("1", 1), ("0", 1), ("-4", 1), ("four", 1), ("", 1)] {
            assert_eq!(from_env(Some("h:1"), Some(given)), Ok(("h:1".to_owned(), concurrency)), "{given}");
        }
    }
}
