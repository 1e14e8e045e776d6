//! Wiring only: logging, configuration, clients, run.
// The types of the runtime's and the SDK's futures nest deeper than the compiler's default of 128.
#![recursion_limit = "256"]

use std::{
    env, fs, io,
    net::UdpSocket,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, anyhow};
use aws_config::{BehaviorVersion, Region, environment::EnvironmentVariableCredentialsProvider};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use okta_authorizer::{
    authorizer::{Authorizer, Response},
    config::{Config, ConfigError},
    https::{HttpsClient, TrustAnchors},
    keys::KeysTable,
    telemetry::{self, JsonLines},
    xray::Subsegments,
};
use serde_json::value::RawValue;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tracing::{Instrument, info_span, warn};

fn main() -> ExitCode {
    // A call waits for the network or takes microseconds: a second thread would cost more than it does, even where
    // Lambda sends several calls at a time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // As a task: a future in `block_on` that another task has woken is polled only after one more epoll_wait.
    let ended = runtime.context("the async runtime cannot start").and_then(|runtime| {
        let run = runtime.spawn(run());
        runtime.block_on(run)?
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let function_name = variable("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    telemetry::init(
        variable("AWS_LAMBDA_LOG_FORMAT").as_deref(),
        variable("AWS_LAMBDA_LOG_LEVEL").as_deref(),
        JsonLines { function_name, clock: SystemTime::now },
        variable("AWS_XRAY_DAEMON_ADDRESS").and_then(|daemon| subsegments(&daemon)),
    )?;
    let config = Config::load(|name| env::var_os(name), |path| fs::read_to_string(path))?;
    let runtime_api = check_lambda()?;
    let trust_anchors = match &config.ca_bundle {
        None => TrustAnchors::Embedded,
        Some(pem) => TrustAnchors::from_pem(pem).map_err(|problem| ConfigError {
            variable: "SSL_CERT_FILE",
            problem,
            accepted: "the path of a bundle of certificates in PEM",
        })?,
    };
    let https = HttpsClient::new(trust_anchors);
    let table = match &config.keys_table {
        Some(name) if config.pinned_keys.is_none() => Some(keys_table(name.clone(), &https).await),
        _ => None,
    };
    let authorizer = Arc::new(Authorizer::new(config, table.as_ref(), &https));
    authorizer.load_keys(now()).await;
    let handler = service_fn(move |event: LambdaEvent<Box<RawValue>>| handle(Arc::clone(&authorizer), event));
    let serve = async || Box::pin(Runtime::new(handler.clone()).run_concurrent()).await.map_err(|error| anyhow!(error));
    let mut ended = serve().await;
    if let Err(error) = &ended
        && refused(error)
    {
        warn!(runtime_api, "the Runtime API refuses connections: waiting for it");
        wait_for(&runtime_api).await;
        ended = serve().await;
    }
    ended.context("the runtime stopped")
}

fn refused(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

/// AWS's emulator starts the function and its Runtime API at the same time, and the function may be first. (Where several
/// calls are taken at a time, the runtime does not end for that: it asks again and again.)
///
/// Source: <https://github.com/localstack/localstack/issues/12680>.
async fn wait_for(runtime_api: &str) {
    let listens = async {
        while TcpStream::connect(runtime_api).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    // Where it does not, the runtime has the last word.
    let _ = timeout(Duration::from_secs(2), listens).await;
}

/// Where Lambda traces, it says where its daemon is. Tracing is no reason not to start.
fn subsegments(daemon: &str) -> Option<Subsegments> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect(daemon).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(Subsegments { daemon: socket, clock: SystemTime::now })
}

/// Where the Runtime API is. The runtime would panic without what Lambda sets.
fn check_lambda() -> anyhow::Result<String> {
    let given = |name: &str| variable(name).ok_or_else(|| anyhow!("{name} is not set; accepted: what Lambda sets"));
    given("AWS_LAMBDA_FUNCTION_NAME")?;
    given("AWS_LAMBDA_FUNCTION_VERSION")?;
    let memory = given("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")?;
    let _: i32 =
        memory.parse().context("AWS_LAMBDA_FUNCTION_MEMORY_SIZE is not a number; accepted: what Lambda sets")?;
    let api = given("AWS_LAMBDA_RUNTIME_API")?;
    url::Url::parse(&format!("http://{api}"))
        .context("AWS_LAMBDA_RUNTIME_API is not host:port; accepted: what Lambda sets")?;
    Ok(api)
}

async fn handle(authorizer: Arc<Authorizer>, event: LambdaEvent<Box<RawValue>>) -> Result<Response, Diagnostic> {
    let start = Instant::now();
    let span = info_span!("invocation", xray_header = event.context.xray_trace_id);
    let decision = authorizer.decide(&event.payload, now()).instrument(span).await;
    decision.log(&event.context, start.elapsed());
    authorizer.answer(decision)
}

/// Lambda gives region and credentials in the environment; elsewhere the SDK looks for them as it always does.
async fn keys_table(name: String, https: &HttpsClient) -> KeysTable {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(https.aws_sdk_client())
        // A retry would not fit into the time that the table has.
        .retry_config(RetryConfig::disabled());
    if let Some(region) = variable("AWS_REGION") {
        loader = loader.region(Region::new(region));
    }
    if variable("AWS_ACCESS_KEY_ID").is_some() {
        loader = loader.credentials_provider(EnvironmentVariableCredentialsProvider::new());
    }
    KeysTable::new(aws_sdk_dynamodb::Client::new(&loader.load().await), name)
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Epoch seconds.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
