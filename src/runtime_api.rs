//! Lambda's Runtime API: what the environment says about it, and which failures the process
//! survives.
//!
//! `lambda_runtime` takes the events and sends the answers. Its loop ends if the Runtime API fails,
//! but also if it cannot read a header of an event. Whoever may invoke the function chooses some of
//! these headers, for example the client context. So the loop is started again then.

use std::{
    error::Error,
    future::Future,
    io,
    num::ParseIntError,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, anyhow};
use http::{Uri, header::ToStrError};
use tokio::{
    net::TcpStream,
    sync::OnceCell,
    time::{sleep, timeout},
};
use tracing::warn;

/// So many unreadable events in a row, for each event that Lambda sends at the same time, end the
/// process.
///
/// If Lambda sends one event at a time, it gives the same event again as long as that has no
/// answer, so serving anew would have no end. When the process ends, the call fails at once.
///
/// Source: `RuntimeRunningState` in <https://github.com/aws/aws-lambda-runtime-interface-emulator>.
const MAX_UNREADABLE_IN_A_ROW: u32 = 100;

/// The Runtime API that the environment names.
#[derive(Debug)]
pub struct RuntimeApi {
    /// `host:port`.
    address: String,
    concurrency: u32,
    /// Set when the process has waited for the Runtime API, which it does once.
    waited: OnceCell<()>,
    unreadable_in_a_row: AtomicU32,
}

impl RuntimeApi {
    /// Checks the variables that Lambda sets, because `lambda_runtime` panics if one of them is
    /// missing.
    ///
    /// # Errors
    /// The first variable that is missing or malformed.
    pub fn from_env(env_var: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let required =
            |name: &str| env_var(name).ok_or_else(|| anyhow!("{name} is not set; accepted: what Lambda sets"));
        required("AWS_LAMBDA_FUNCTION_NAME")?;
        required("AWS_LAMBDA_FUNCTION_VERSION")?;
        let memory = required("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")?;
        let _: i32 =
            memory.parse().context("AWS_LAMBDA_FUNCTION_MEMORY_SIZE is not a number; accepted: what Lambda sets")?;
        // Lambda sets `host:port`, and `cargo lambda watch` a URL.
        let uri: Option<Uri> = required("AWS_LAMBDA_RUNTIME_API")?.parse().ok();
        let address = uri.as_ref().and_then(|uri| match (uri.authority()?, uri.scheme_str()) {
            (authority, None) => authority.port().map(|_| authority.to_string()),
            (authority, Some("http")) => Some(format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80))),
            _ => None,
        });
        let address = address.context("AWS_LAMBDA_RUNTIME_API is not host:port; accepted: what Lambda sets")?;
        let concurrency = env_var("AWS_LAMBDA_MAX_CONCURRENCY").and_then(|number| number.parse().ok());
        Ok(Self {
            address,
            concurrency: concurrency.unwrap_or(1).max(1),
            waited: OnceCell::new(),
            unreadable_in_a_row: AtomicU32::new(0),
        })
    }

    /// How many events Lambda sends to this process at the same time.
    #[must_use]
    pub fn concurrency(&self) -> u32 {
        self.concurrency
    }

    /// To be called for each event that `lambda_runtime` could read.
    pub fn event_was_read(&self) {
        self.unreadable_in_a_row.store(0, Ordering::Relaxed);
    }

    /// Runs a loop of `lambda_runtime`, and runs it anew if an event was unreadable. Waits once if
    /// the Runtime API refuses connections. Returns why the process must end.
    pub async fn serve<F: Future<Output = Result<(), lambda_runtime::Error>>>(
        &self,
        run: impl Fn() -> F,
    ) -> anyhow::Error {
        let mut has_waited = false;
        loop {
            let Err(error) = run().await else { return anyhow!("lambda_runtime's loop has ended") };
            if is_unreadable_event(&*error) {
                // The error is not logged, because it quotes the header.
                warn!("an event gets no answer, because one of its headers, such as the client context, is unreadable");
                let in_a_row = self.unreadable_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                if in_a_row >= self.concurrency.saturating_mul(MAX_UNREADABLE_IN_A_ROW) {
                    return anyhow!("{in_a_row} unreadable events in a row");
                }
                continue;
            }
            let error = anyhow!(error);
            if has_waited || !is_connection_refused(&error) {
                return error;
            }
            has_waited = true;
            self.waited.get_or_init(|| self.wait_until_it_listens()).await;
        }
    }

    /// Waits until something listens, 2 s at most.
    ///
    /// AWS's emulator starts the function and its Runtime API at the same time, so the function can
    /// be first. Source: <https://github.com/localstack/localstack/issues/12680>.
    async fn wait_until_it_listens(&self) {
        warn!(runtime_api = self.address, "the Runtime API refuses connections: waiting for it");
        let listens = async {
            while TcpStream::connect(&self.address).await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        // If nothing listens in time, the next request reports the error.
        let _ = timeout(Duration::from_secs(2), listens).await;
    }
}

/// Whether `lambda_runtime` could not read a header: its text, its JSON or its number. Every other
/// error means that the Runtime API failed.
fn is_unreadable_event(error: &(dyn Error + 'static)) -> bool {
    error.is::<ToStrError>() || error.is::<serde_json::Error>() || error.is::<ParseIntError>()
}

fn is_connection_refused(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result with these variables instead of good ones.
    fn from_env(changed: &[(&str, &str)]) -> Result<RuntimeApi, String> {
        let good = |name: &str| match name {
            "AWS_LAMBDA_FUNCTION_NAME" => Some("okta-authorizer"),
            "AWS_LAMBDA_FUNCTION_VERSION" => Some("$LATEST"),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" => Some("128"),
            "AWS_LAMBDA_RUNTIME_API" => Some("127.0.0.1:9001"),
            _ => None,
        };
        let value = |name: &str| changed.iter().find(|(changed, _)| *changed == name).map(|(_, value)| *value);
        let env_var = |name: &str| value(name).or_else(|| good(name)).filter(|value| !value.is_empty());
        RuntimeApi::from_env(|name| env_var(name).map(str::to_owned)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_variable_that_lambda_runtime_would_panic_on_is_named() {
        let address = |text: &str| from_env(&[("AWS_LAMBDA_RUNTIME_API", text)]).unwrap().address;
        assert_eq!(address("127.0.0.1:9001"), "127.0.0.1:9001");
        assert_eq!(address("http://[::1]:9000/.rt/f"), "[::1]:9000");
        assert_eq!(address("http://localhost"), "localhost:80");
        for (name, value, problem) in [
            ("AWS_LAMBDA_FUNCTION_NAME", "", "is not set"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "", "is not set"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "", "is not set"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "much", "is not a number"),
            ("AWS_LAMBDA_RUNTIME_API", "", "is not set"),
            ("AWS_LAMBDA_RUNTIME_API", "*", "is not host:port"),
            ("AWS_LAMBDA_RUNTIME_API", "/path", "is not host:port"),
            ("AWS_LAMBDA_RUNTIME_API", "https://127.0.0.1:9001", "is not host:port"),
            ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1", "is not host:port"),
            ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:many", "is not host:port"),
        ] {
            let error = from_env(&[(name, value)]).unwrap_err();
            assert_eq!(error, format!("{name} {problem}; accepted: what Lambda sets"), "{value}");
        }
    }

    #[test]
    fn concurrency_is_read_as_lambda_runtime_reads_it() {
        for (value, concurrency) in [("", 1), ("0", 1), ("1", 1), ("four", 1), ("-1", 1), ("4", 4), ("64", 64)] {
            assert_eq!(from_env(&[("AWS_LAMBDA_MAX_CONCURRENCY", value)]).unwrap().concurrency(), concurrency);
        }
    }
}
