//! `cargo bench --bench cold_start [SPAWNS]`: from spawn to first answer, and a warm call, as a ratio to the floor.
//!
//! The release binary and the floor stand behind the same Runtime API on loopback, in turns. CPU is what the kernel says
//! the process has run (`/proc/PID/task/*/schedstat`) when its first answer arrives.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that cannot go on should say where and stop"
)]

#[path = "../tests/wire/support/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod support;

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use support::{
    env::Env,
    event, keys,
    okta::{Okta, Reply},
    table::{Table, item},
    tls::{Authority, Certificate, TlsFront},
};

const WARM_CALLS: usize = 2_000;

/// One life of a process: from spawn to its first answer, then `WARM_CALLS` more.
#[derive(Clone, Copy)]
struct Life {
    cpu: Duration,
    wall: Duration,
    /// Of the process alone, per warm call.
    warm_cpu: Duration,
    warm_wall: Duration,
    resident_kib: u64,
    resident_after_kib: u64,
}

#[tokio::main]
async fn main() {
    let spawns = env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(40);
    let (floor, ours) = built();

    let okta = Okta::start(Reply::keys(&keys::jwks(&[keys::main()]))).await;
    let table = Table::start().await;
    let authority = Authority::new();
    let bundle = support::file::TempFile::new("ca.pem", &authority.pem);
    let okta_tls = TlsFront::start(&authority, Certificate::Good, okta.address).await;
    let table_tls = TlsFront::start(&authority, Certificate::Good, table.address).await;
    let issuer = format!("{}/oauth2/default", okta_tls.origin());
    table.put(&item(&format!("{issuer}/v1/keys"), &keys::jwks(&[keys::main()]), support::now(), 10));

    let pinned = Env::pinned(&keys::jwks(&[keys::main()]));
    let over_tls = Env::okta(&[]).with("OKTA_ISSUER", issuer.clone()).with("SSL_CERT_FILE", bundle.path());
    let shared = over_tls.clone().table(&table_tls.origin());
    let cases = [
        ("floor", &floor, pinned.clone(), support::env::PINNED_ISSUER.to_owned()),
        ("pinned keys", &ours, pinned, support::env::PINNED_ISSUER.to_owned()),
        ("keys from Okta over TLS", &ours, over_tls, issuer.clone()),
        ("keys from the table over TLS", &ours, shared, issuer),
    ];
    let mut lives: BTreeMap<usize, Vec<Life>> = BTreeMap::new();
    for _ in 0..spawns {
        for (case, (_, binary, env, issuer)) in cases.iter().enumerate() {
            let (binary, env, event) = ((*binary).clone(), env.clone(), good_event(issuer));
            let life = tokio::task::spawn_blocking(move || live(&binary, &env, &event)).await.unwrap();
            lives.entry(case).or_default().push(life);
        }
    }
    println!(
        "| {spawns} spawns each, medians | CPU to first answer | wall | CPU of a warm call | wall | RSS after first call | after {WARM_CALLS} more |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let floor = medians(&lives[&0]);
    for (case, (name, ..)) in cases.iter().enumerate() {
        let life = medians(&lives[&case]);
        let ratio =
            |ours: Duration, floor: Duration| format!("{ours:.2?} ({:.2} ×)", ours.as_secs_f64() / floor.as_secs_f64());
        println!(
            "| {name} | {} | {} | {} | {} | {} KiB | {} KiB |",
            ratio(life.cpu, floor.cpu),
            ratio(life.wall, floor.wall),
            ratio(life.warm_cpu, floor.warm_cpu),
            ratio(life.warm_wall, floor.warm_wall),
            life.resident_kib,
            life.resident_after_kib
        );
    }
    println!("\nbinary: {} bytes", fs::metadata(&ours).unwrap().len());
}

/// Builds the two binaries that are measured, as they are shipped: `cargo bench` builds ours with the tests' features. The
/// floor has our versions of what it needs.
fn built() -> (PathBuf, PathBuf) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let floor = root.join("benches/floor");
    fs::copy(root.join("Cargo.lock"), floor.join("Cargo.lock")).unwrap();
    let target = root.join("target");
    for folder in [root, &floor] {
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(folder).args(["build", "--release", "--quiet", "--bins", "--target-dir"]).arg(&target);
        assert!(build.status().unwrap().success(), "{build:?}");
    }
    (target.join("release/floor"), target.join("release/okta-authorizer"))
}

fn good_event(issuer: &str) -> String {
    let now = support::now();
    let claims = json!({
        "iss": issuer, "aud": "api://default", "sub": "alice@example.com", "uid": "00u1", "cid": "0oa1",
        "scp": ["openid", "api:read"], "iat": now, "exp": now + 3_600,
    });
    event(&format!("Bearer {}", keys::main().token(&claims)))
}

fn live(binary: &Path, env: &Env, event: &str) -> Life {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();
    let child = Command::new(binary)
        .env_clear()
        .envs(env.iter())
        .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr().unwrap().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Process(child);
    let mut api = RuntimeApi::accept(&listener);
    api.call(event);
    let wall = start.elapsed();
    let cpu = child.cpu();
    let resident_kib = child.resident_kib();
    let start = Instant::now();
    for _ in 0..WARM_CALLS {
        api.call(event);
    }
    let calls = u32::try_from(WARM_CALLS).unwrap();
    let (warm_wall, warm_cpu) = (start.elapsed() / calls, child.cpu().checked_sub(cpu).unwrap() / calls);
    let resident_after_kib = child.resident_kib();
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    Life { cpu, wall, warm_cpu, warm_wall, resident_kib, resident_after_kib }
}

struct Process(Child);

impl Process {
    fn cpu(&mut self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let nanoseconds = |task: fs::DirEntry| -> u64 {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        Duration::from_nanos(tasks.map(|task| nanoseconds(task.unwrap())).sum())
    }

    fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// The Runtime API for one process on one connection, without a thread of its own to disturb the measurement.
struct RuntimeApi {
    stream: BufReader<TcpStream>,
}

impl RuntimeApi {
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Answers the request for an event with this one, and takes the answer to it.
    fn call(&mut self, event: &str) {
        let line = self.request();
        assert!(line.starts_with("GET /2018-06-01/runtime/invocation/next"), "{line}");
        let headers = "lambda-runtime-aws-request-id: 00000000-0000-4000-8000-000000000001\r\n\
            lambda-runtime-deadline-ms: 4102444800000\r\n\
            lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:123456789012:function:okta-authorizer\r\n";
        self.answer(&format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n{event}", event.len()));
        let line = self.request();
        assert!(line.contains("/response "), "{line}");
        self.answer("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n");
    }

    /// The request line; headers and body are read over.
    fn request(&mut self) -> String {
        let mut first = String::new();
        let (mut length, mut chunked) = (0, false);
        loop {
            let mut line = String::new();
            assert!(self.stream.read_line(&mut line).unwrap() > 0, "the process ended");
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            chunked |= lower.starts_with("transfer-encoding: chunked");
            if first.is_empty() {
                first.clone_from(&line);
            }
            if line == "\r\n" {
                break;
            }
        }
        assert!(!chunked, "the runtime sends whole bodies");
        self.stream.read_exact(&mut vec![0; length]).unwrap();
        first
    }

    fn answer(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }
}

fn medians(lives: &[Life]) -> Life {
    fn median<T: Ord + Copy>(lives: &[Life], of: impl Fn(&Life) -> T) -> T {
        let mut values: Vec<T> = lives.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    }
    Life {
        cpu: median(lives, |life| life.cpu),
        wall: median(lives, |life| life.wall),
        warm_cpu: median(lives, |life| life.warm_cpu),
        warm_wall: median(lives, |life| life.warm_wall),
        resident_kib: median(lives, |life| life.resident_kib),
        resident_after_kib: median(lives, |life| life.resident_after_kib),
    }
}
