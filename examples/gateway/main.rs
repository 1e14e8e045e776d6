//! API Gateway on the desk: the demo API of `template.yaml` on loopback, with the real authorizer behind it.
//!
//! ```text
//! cargo build && cargo run --example gateway [-- --okta] [--port PORT] [--ttl SECONDS]
//! ```
//!
//! Without `--okta` the configuration is `events/env.json`, whose tokens `cargo run --example token` signs. With it, a toy
//! issuer in Okta's shape runs on the next port, and gives a token to whoever asks.

#![expect(clippy::unwrap_used, reason = "a lock is poisoned by a panic alone, and a demo does not outlive one")]

#[expect(dead_code, reason = "tests/gateway.rs counts the authorizer's calls")]
mod desk;

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::net::TcpListener;

use desk::{Error, gateway::Gateway, issuer::Issuer, lambda::Lambda, sample_environment, template::Api};

const USAGE: &str = "usage: gateway [--okta] [--port PORT] [--ttl SECONDS]";

struct Options {
    okta: bool,
    port: u16,
    /// The template's own where there is none.
    ttl: Option<Duration>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let options = Options::of(env::args().skip(1))?;
    let api = Api::of(include_str!("../../template.yaml"))?;
    let ttl = options.ttl.unwrap_or(api.reauthorize_every);
    let listener = bind(options.port).await?;
    let url = format!("http://{}/{}", listener.local_addr()?, api.stage);
    let issuer = if options.okta { Some(beside(options.port).await?) } else { None };
    let environment = match &issuer {
        Some(issuer) => vec![("OKTA_ISSUER".to_owned(), issuer.issuer())],
        None => sample_environment()?,
    };
    let lambda = Lambda::start(&authorizer()?, environment, Stdio::inherit).await?;

    println!("API={url}");
    match &issuer {
        Some(issuer) => println!("OKTA={}   # a toy: a token for whoever asks", issuer.origin()),
        None => println!("# tokens: cargo run --example token -- --uid 00u1"),
    }
    println!(
        "# a policy is kept for {} s; the authorizer's log follows, a line for each time that it is asked",
        ttl.as_secs()
    );
    Ok(Arc::new(Gateway::new(api, lambda, ttl, Arc::new(Instant::now))).serve(listener).await??)
}

impl Options {
    fn of(mut arguments: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut options = Self { okta: false, port: 3000, ttl: None };
        while let Some(option) = arguments.next() {
            let mut value = || arguments.next().ok_or(USAGE);
            match option.as_str() {
                "--okta" => options.okta = true,
                "--port" => options.port = value()?.parse()?,
                "--ttl" => options.ttl = Some(Duration::from_secs(value()?.parse()?)),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }
}

/// The issuer on the port after the gateway's, or on any where that has any.
async fn beside(port: u16) -> Result<Issuer, Error> {
    let port = if port == 0 { 0 } else { port.checked_add(1).ok_or("no port after this one")? };
    Issuer::start(bind(port).await?).await
}

async fn bind(port: u16) -> Result<TcpListener, Error> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    listener.map_err(|error| format!("port {port}: {error}; --port takes another").into())
}

/// The binary that cargo put next to the folder of this example.
fn authorizer() -> Result<PathBuf, Error> {
    let example = env::current_exe()?;
    let folder = example.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let binary = folder.join("okta-authorizer").with_extension(env::consts::EXE_EXTENSION);
    if binary.is_file() {
        return Ok(binary);
    }
    let profile = if folder.ends_with("release") { " --release" } else { "" };
    Err(format!("{} is not there; `cargo build{profile}` makes it", binary.display()).into())
}
