//! Runs a local API Gateway: the demo API of `examples/demo` on loopback, with the real authorizer.
//!
//! ```text
//! cargo build
//! cargo run -p okta-authorizer-testkit --bin gateway -- [--okta] [--port PORT] [--ttl SECONDS]
//! ```
//!
//! Without `--okta` the authorizer has the variables of `events/env.json`, and the `token` binary
//! signs tokens for it. With `--okta` a toy issuer with Okta's endpoints runs on the next port and
//! gives a token to anybody.
//!
//! The rules are those that are compiled in, or the file that `POLICY_FILE` names.

use std::{
    collections::BTreeMap,
    env,
    process::{self, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};

use okta_authorizer_testkit::{
    env::Env,
    exit_code,
    gateway::{Error, api_gateway::Gateway, issuer::Issuer, template::Api},
    runtime_api::{Authorizer, Log, authorizer_binary},
};
use tokio::net::TcpListener;

const USAGE: &str = "usage: gateway [--okta] [--port PORT] [--ttl SECONDS]";

struct Options {
    okta: bool,
    port: u16,
    /// The template's value if it is not given.
    ttl: Option<Duration>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    exit_code(run().await)
}

async fn run() -> Result<(), Error> {
    let options = Options::parse(env::args().skip(1))?;
    let binary = authorizer_binary();
    if !binary.is_file() {
        let profile = if binary.ancestors().any(|folder| folder.ends_with("release")) { " --release" } else { "" };
        return Err(format!("{} does not exist; run `cargo build{profile}` first", binary.display()).into());
    }
    let api = Api::of(include_str!("../../../../examples/demo/template.yaml"))?;
    let ttl = options.ttl.unwrap_or(api.reauthorize_every);
    let listener = bind(options.port).await?;
    let url = format!("http://{}/{}", listener.local_addr()?, api.stage);
    let issuer = if options.okta { Some(start_issuer(options.port).await?) } else { None };
    // Text is easier to read in a terminal than JSON. The tests' rules are not the user's.
    let base = Env::lambda().without("AWS_LAMBDA_LOG_FORMAT").without("POLICY_FILE");
    // As in `sam local`: the sample key is no mistake here.
    let base = base.with("AWS_SAM_LOCAL", "true");
    let mut env = match &issuer {
        Some(issuer) => base.with("OKTA_ISSUER", issuer.issuer()),
        None => sample_variables()?.iter().fold(base, |env, (name, value)| env.with(name, value)),
    };
    if let Some(rules) = env::var_os("POLICY_FILE") {
        env = env.with("POLICY_FILE", rules);
    }
    let authorizer = Authorizer::try_start(&env, Log::Inherited).await;
    let authorizer = authorizer.map_err(|ended| format!("the authorizer does not start: {}", ended.status))?;

    println!("API={url}");
    match &issuer {
        Some(issuer) => println!("OKTA={}   # a toy issuer: gives a token to anybody", issuer.origin()),
        None => println!("# tokens: cargo run -p okta-authorizer-testkit --bin token -- --uid 00u1"),
    }
    println!("# policies are cached for {} s; the authorizer's log follows, one line per invocation", ttl.as_secs());
    Ok(Arc::new(Gateway::new(api, authorizer, ttl, Arc::new(Instant::now))).serve(listener).await??)
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut options = Self { okta: false, port: 3000, ttl: None };
        while let Some(option) = arguments.next() {
            let mut value = || arguments.next().ok_or(USAGE);
            match option.as_str() {
                "--okta" => options.okta = true,
                "--port" => options.port = value()?.parse()?,
                "--ttl" => options.ttl = Some(Duration::from_secs(value()?.parse()?)),
                "--help" => {
                    println!("{USAGE}");
                    process::exit(0);
                }
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }
}

/// The variables of `events/env.json`, which `sam local invoke --env-vars` reads too.
fn sample_variables() -> Result<BTreeMap<String, String>, Error> {
    let mut file: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_str(include_str!("../../../../events/env.json"))?;
    Ok(file.remove("Parameters").ok_or("events/env.json has no \"Parameters\"")?)
}

/// The issuer on the port after the gateway's port. If that is 0, on any free port.
async fn start_issuer(port: u16) -> Result<Issuer, Error> {
    let port = if port == 0 { 0 } else { port.checked_add(1).ok_or("there is no next port for the issuer")? };
    Issuer::start(bind(port).await?).await
}

async fn bind(port: u16) -> Result<TcpListener, Error> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    listener.map_err(|error| format!("port {port}: {error}; choose another one with --port").into())
}
