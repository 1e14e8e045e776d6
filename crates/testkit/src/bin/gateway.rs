//! Runs a local API Gateway: an API on loopback, with the real authorizer.
//!
//! ```text
//! cargo build && cargo run --bin gateway -- --help
//! ```

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::{self, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};

use okta_authorizer_testkit::{
    env::Env,
    exit_code,
    gateway::{
        Error,
        api_gateway::{Gateway, read_api, stage},
        claims,
        issuer::Issuer,
    },
    runtime_api::{Authorizer, Log, authorizer_binary},
};
use okta_policy::api::{Access, Api};
use tokio::net::TcpListener;

const HELP: &str = "\
Runs a local API Gateway: an API on loopback, with the real authorizer. Each route answers with the
context that the authorizer gives to the backend.

usage: gateway [--okta] [--api FILE] [--rules FILE] [--port PORT] [--ttl SECONDS]

  --okta           runs a toy issuer in Okta's shape on the next port, which gives a token to
                   anybody. Without it, the authorizer has the variables of events/env.json, and
                   the program `token` makes tokens for it
  --api FILE       OpenAPI, SAM or CloudFormation, as `okta-policy cover` reads it (default: the
                   demo API)
  --rules FILE     the authorizer's rules (default: policy.toml in the current folder)
  --port PORT      (default: 3000)
  --ttl SECONDS    how long a policy is cached; 0 is not at all (default: 300, as in the demo API)
  --help

From FILE of --api are the routes, which of them have the authorizer, and the name of the stage of a
template (if it has none: prod). All other settings are those of the demo API: the
ValidationExpression, the bodies of 401, 403, 404 and 500, and the answer to a browser's preflight.
The id of the API is abcdef1234, as in `okta-policy`. The APIs of one template are served as one.

If the variable CONTEXT_CLAIMS is set, the authorizer has it too: the claims, separated by commas,
that are in the context in addition to its own.

The response header x-local-authorizer says who decided, and after a semicolon why:
  asked      the authorizer made a policy for this request, or it failed
  cached     the policy of an earlier request with this token decided
  guarded    the path guard in the policy denied the request
  refused    401: there is no token, or the authorizer refused it
  open       the operation has no authorizer
  not asked  there is no such route, or another kind of authorizer decides (501)

The toy issuer takes POST /oauth2/default/v1/token with a form: grant_type=toy with uid for a user,
or grant_type=client_credentials; client_id; scope. Every other field is a claim of the token.
";

/// The variable of the authorizer that is taken from the environment.
const CONTEXT_CLAIMS: &str = "CONTEXT_CLAIMS";

struct Options {
    okta: bool,
    /// The demo if it is not given.
    api: Option<PathBuf>,
    rules: PathBuf,
    port: u16,
    /// The demo's value if it is not given.
    ttl: Option<Duration>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Options::parse(env::args().skip(1)) {
        Ok(Some(options)) => exit_code(run(options).await),
        Ok(None) => {
            println!("{HELP}{}", claims::HELP);
            ExitCode::SUCCESS
        }
        Err(problem) => exit_code(Err(problem.into())),
    }
}

async fn run(options: Options) -> Result<(), Error> {
    let api = read_api(options.api.as_deref())?;
    let binary = authorizer_binary();
    if !binary.is_file() {
        let profile = if binary.ancestors().any(|folder| folder.ends_with("release")) { " --release" } else { "" };
        return Err(format!("{} does not exist; run `cargo build{profile}` first", binary.display()).into());
    }
    let listener = bind(options.port).await?;
    let url = format!("http://{}/{}", listener.local_addr()?, stage(&api));
    let issuer = if options.okta { Some(start_issuer(options.port).await?) } else { None };
    let authorizer = start_authorizer(issuer.as_ref(), &options.rules).await?;
    let summary = summary(&api);
    let gateway = Gateway::new(api, &options.rules, authorizer, options.ttl, Arc::new(Instant::now))?;

    println!("API={url}");
    match &issuer {
        Some(issuer) => println!("OKTA={}   # a toy issuer: gives a token to anybody", issuer.origin()),
        None => println!("# tokens: cargo run --bin token -- --uid 00u1"),
    }
    println!("{summary}");
    let seconds = gateway.ttl().as_secs();
    println!("# policies are cached for {seconds} s; the authorizer's log follows, one line per invocation");
    Ok(Arc::new(gateway).serve(listener).await??)
}

impl Options {
    /// `None` is `--help`.
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self { okta: false, api: None, rules: PathBuf::from("policy.toml"), port: 3000, ttl: None };
        while let Some(option) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{option} has no value; see --help"));
            let wrong = |value, expected| format!("{option} {value} is wrong; expected {expected}");
            match option.as_str() {
                "--okta" => options.okta = true,
                "--api" => options.api = Some(value()?.into()),
                "--rules" => options.rules = value()?.into(),
                "--port" => {
                    let port = value()?;
                    options.port = port.parse().map_err(|_| wrong(port, "a number from 0 to 65535"))?;
                }
                "--ttl" => {
                    let seconds = value()?;
                    let parsed = seconds.parse().ok().filter(|seconds| *seconds <= 3_600);
                    let parsed =
                        parsed.ok_or_else(|| wrong(seconds, "a number from 0 to 3600, as API Gateway has it"))?;
                    options.ttl = Some(Duration::from_secs(parsed));
                }
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("there is no option {option}; see --help")),
            }
        }
        Ok(Some(options))
    }
}

async fn start_authorizer(issuer: Option<&Issuer>, rules: &Path) -> Result<Authorizer, Error> {
    // Text is easier to read in a terminal than JSON.
    let base = Env::lambda().without("AWS_LAMBDA_LOG_FORMAT").with("POLICY_FILE", rules);
    // As in `sam local`: the sample key is no mistake here.
    let base = base.with("AWS_SAM_LOCAL", "true");
    let base = match env::var_os(CONTEXT_CLAIMS) {
        Some(claims) => base.with(CONTEXT_CLAIMS, claims),
        None => base,
    };
    let env = match issuer {
        Some(issuer) => base.with("OKTA_ISSUER", issuer.issuer()),
        None => sample_variables()?.iter().fold(base, |env, (name, value)| env.with(name, value)),
    };
    match Authorizer::try_start(&env, Log::Inherited).await {
        Ok(authorizer) => Ok(authorizer),
        Err(ended) => match ended.status.code() {
            // It has written why.
            Some(_) => process::exit(1),
            None => Err(format!("the authorizer does not start: {}", ended.status).into()),
        },
    }
}

/// What the file has, and what the reader left out.
fn summary(api: &Api) -> String {
    let count = |of: fn(&Access) -> bool| api.operations.iter().filter(|operation| of(&operation.access)).count();
    let ours = count(|access| *access == Access::Authorizer);
    let open = count(|access| matches!(access, Access::Open(_)));
    let others = match count(|access| matches!(access, Access::Other(_))) {
        0 => String::new(),
        others => format!(", {others} with another kind of authorizer"),
    };
    let mut lines = vec![format!("# operations of {}: {ours} with the authorizer, {open} open{others}", api.file.name)];
    lines.extend(api.notes.iter().map(|note| format!("# {}: {}", note.place, note.message)));
    lines.join("\n")
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
    Issuer::start(bind(port).await?)
}

async fn bind(port: u16) -> Result<TcpListener, Error> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    listener.map_err(|error| format!("port {port}: {error}; choose another one with --port").into())
}
