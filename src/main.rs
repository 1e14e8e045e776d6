//! Wiring only: logging, configuration, clients, run.
// The types of the runtime's and the SDK's futures nest deeper than the compiler's default of 128.
#![recursion_limit = "256"]

use std::{
    convert::Infallible,
    env, fs, io,
    process::ExitCode,
    sync::Arc,
    time::{Instant, SystemTime},
};

use anyhow::Context;
use aws_config::{BehaviorVersion, Region, environment::EnvironmentVariableCredentialsProvider};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use okta_authorizer::{
    authorizer::Authorizer,
    config::{Config, ConfigError},
    event::Payload,
    https::{HttpsClient, TrustAnchors},
    keys::KeysTable,
    response::Response,
    runtime_api::RuntimeApi,
    telemetry::{self, LogSettings, decision::log_decision},
};
use tokio::task::JoinSet;
use tracing::warn;

fn main() -> ExitCode {
    // One thread is fastest, because a call waits for the network or takes microseconds. This is
    // true even if Lambda sends several calls at a time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // Run as a task: tokio polls a future of `block_on` only after one more epoll_wait if another
    // task has woken it. That would be twice for each call.
    let result = runtime.context("the async runtime cannot start").and_then(|runtime| {
        let run = runtime.spawn(run());
        runtime.block_on(run)?
    });
    match result {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A symbolic link to nothing is a mistake, and not an absent file: without this, such a `policy.toml`
/// in the deployment package would silently give way to the rules that are compiled in.
fn read(path: &str) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if fs::symlink_metadata(path).is_ok() => {
            io::Error::other("it is a symbolic link to a file that does not exist")
        }
        _ => error,
    })
}

async fn run() -> anyhow::Result<Infallible> {
    let config = Config::load(env::vars_os(), read)?;
    telemetry::init(LogSettings {
        format: config.log_format,
        level: config.log_level,
        function_name: env_var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
        clock: SystemTime::now,
    })?;
    let runtime_api = Arc::new(RuntimeApi::from_env(env_var)?);
    let trust_anchors = match &config.ca_bundle {
        None => TrustAnchors::Embedded,
        Some(pem) => TrustAnchors::from_pem(pem).map_err(|problem| ConfigError {
            variable: "SSL_CERT_FILE".into(),
            problem,
            accepted: "the path of a bundle of certificates in PEM".into(),
        })?,
    };
    config.start_line().log();
    if config.trusts_sample_key {
        warn!("OKTA_JWKS has the public sample key of this program's repository: anybody can sign with it");
    }
    let https = HttpsClient::new(trust_anchors);
    let table = match &config.keys_table {
        Some(name) => Some(keys_table(name.clone(), &https).await),
        None => None,
    };
    let authorizer = Arc::new(Authorizer::new(config, table.as_ref(), &https));
    authorizer.load_keys(now()).await;
    let mut workers = JoinSet::new();
    for _ in 0..runtime_api.concurrency() {
        workers.spawn(work(Arc::clone(&runtime_api), Arc::clone(&authorizer)));
    }
    // The process goes on with all workers or not at all, because Lambda starts a new one.
    let ended = workers.join_next().await.context("there is no worker")?;
    Err(ended.unwrap_or_else(anyhow::Error::from).context("the runtime stopped"))
}

/// Answers one event after another. With several workers, as many are answered at the same time.
async fn work(runtime_api: Arc<RuntimeApi>, authorizer: Arc<Authorizer>) -> anyhow::Error {
    let handler = service_fn(|event| {
        runtime_api.event_was_read();
        handle(Arc::clone(&authorizer), event)
    });
    runtime_api.serve(|| Runtime::new(handler).run()).await
}

async fn handle(authorizer: Arc<Authorizer>, event: LambdaEvent<Payload>) -> Result<Response, Diagnostic> {
    let start = Instant::now();
    let decision = authorizer.decide(&event.payload.0, now()).await;
    let invocation = &event.context;
    log_decision(&decision, &invocation.request_id, invocation.xray_trace_id.as_deref(), start.elapsed());
    authorizer.respond(decision)
}

/// Lambda gives region and credentials in the environment. Elsewhere the SDK looks for them in its
/// usual order.
async fn keys_table(name: String, https: &HttpsClient) -> KeysTable {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(https.aws_sdk_client())
        // A retry does not fit into the timeout of a table operation.
        .retry_config(RetryConfig::disabled());
    if let Some(region) = env_var("AWS_REGION") {
        loader = loader.region(Region::new(region));
    }
    if env_var("AWS_ACCESS_KEY_ID").is_some() {
        loader = loader.credentials_provider(EnvironmentVariableCredentialsProvider::new());
    }
    KeysTable::new(aws_sdk_dynamodb::Client::new(&loader.load().await), name)
}

/// An environment variable. An empty one counts as not set.
fn env_var(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Epoch seconds.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since_epoch| since_epoch.as_secs())
}
