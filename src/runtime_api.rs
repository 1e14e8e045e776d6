//! Lambda's Runtime API as the environment describes it, and waiting for it if it is not there yet.

use std::{io, time::Duration};

use anyhow::{Context, anyhow};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

/// Checks the variables that Lambda sets, and returns the Runtime API's `host:port`. The runtime
/// would panic if one of them were missing.
///
/// # Errors
/// The first variable that is missing or malformed.
pub fn address(env_var: impl Fn(&str) -> Option<String>) -> anyhow::Result<String> {
    let required = |name: &str| env_var(name).ok_or_else(|| anyhow!("{name} is not set; accepted: what Lambda sets"));
    required("AWS_LAMBDA_FUNCTION_NAME")?;
    required("AWS_LAMBDA_FUNCTION_VERSION")?;
    let memory = required("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")?;
    let _: i32 =
        memory.parse().context("AWS_LAMBDA_FUNCTION_MEMORY_SIZE is not a number; accepted: what Lambda sets")?;
    let address = required("AWS_LAMBDA_RUNTIME_API")?;
    url::Url::parse(&format!("http://{address}"))
        .context("AWS_LAMBDA_RUNTIME_API is not host:port; accepted: what Lambda sets")?;
    Ok(address)
}

/// Whether the Runtime API refused a connection.
#[must_use]
pub fn is_connection_refused(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

/// Waits until something listens at `address`, 2 s at most.
///
/// AWS's emulator starts the function and its Runtime API at the same time, so the function can be
/// first. If nothing listens in time, the runtime reports the error when it connects. (If several
/// calls are taken at a time, the runtime does not end then: it asks again and again.)
///
/// Source: <https://github.com/localstack/localstack/issues/12680>.
pub async fn wait_until_it_listens(address: &str) {
    let listens = async {
        while TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = timeout(Duration::from_secs(2), listens).await;
}
