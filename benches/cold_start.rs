//! `cargo bench --bench cold_start [SPAWNS]`: time from process start to the first answer, and time
//! of a warm call, as multiples of the floor, which is an empty handler (`benches/baseline`).
//!
//! The deployed binary and the floor run in turns with the same Runtime API on loopback. CPU time
//! is the kernel's (`/proc/PID/task/*/schedstat`) when the first answer arrives.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench panics")]

use std::{
    env, fs, hint,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{self, Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use okta_authorizer_testkit::{
    env::{Env, PINNED_ISSUER},
    event, keys, now,
    okta::{Okta, Reply},
    table::{Table, item},
    temp_file::TempFile,
    tls::{Authority, Certificate, TlsFront},
};
use serde_json::json;

const WARM_CALLS: usize = 2_000;

/// Lambda's memory sizes, in MB. 1,769 MB have one whole CPU, smaller sizes the same share of it.
///
/// Source: Lambda developer guide, "Configure Lambda function memory".
const MEMORY: [u32; 4] = [128, 256, 512, 1_769];
/// The period of the kernel's quota, in microseconds.
const PERIOD: u32 = 20_000;

/// One run of a process: from spawn to its first answer, then `WARM_CALLS` more calls.
#[derive(Clone, Copy)]
struct Run {
    cpu: Duration,
    wall: Duration,
    /// The wall time minus the CPU time of the servers, which run on the same core.
    wall_without_servers: Duration,
    /// Of the process only, per warm call.
    warm_cpu: Duration,
    warm_wall: Duration,
    resident_kib: u64,
    /// Up to the first answer.
    page_faults: u64,
}

/// A binary, its environment and its event.
struct Case {
    name: &'static str,
    binary: PathBuf,
    env: Env,
    event: String,
    /// Whether it logs a line in every call.
    logs: bool,
}

#[tokio::main]
async fn main() {
    let spawns = env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(40);
    let [floor, static_floor, ours] = build();
    pin();

    let okta = Okta::start(Reply::keys(&keys::jwks(&[keys::main()]))).await;
    let table = Table::start().await;
    let authority = Authority::new();
    let bundle = TempFile::new("ca.pem", &authority.pem);
    let okta_tls = TlsFront::start(&authority, Certificate::Good, okta.address).await;
    let table_tls = TlsFront::start(&authority, Certificate::Good, table.address).await;
    let issuer = format!("{}/oauth2/default", okta_tls.origin());
    table.put(&item(&format!("{issuer}/v1/keys"), &keys::jwks(&[keys::main()]), now(), 10));

    // As deployed: the rules are compiled in.
    let pinned = Env::pinned(&keys::jwks(&[keys::main()])).without("POLICY_FILE");
    let over_tls = Env::lambda().with("OKTA_ISSUER", &issuer).with("SSL_CERT_FILE", bundle.path());
    let over_tls = over_tls.without("POLICY_FILE");
    let shared = over_tls.clone().table(&table_tls.origin());
    let case = |name, binary: &Path, env: &Env, issuer: &str| Case {
        name,
        binary: binary.to_owned(),
        env: env.clone(),
        event: good_event(issuer),
        logs: binary == ours,
    };
    let cases = [
        case("static floor", &static_floor, &pinned, PINNED_ISSUER),
        case("plain floor", &floor, &pinned, PINNED_ISSUER),
        case("pinned keys", &ours, &pinned, PINNED_ISSUER),
        case("keys from Okta over TLS", &ours, &over_tls, &issuer),
        case("keys from the table over TLS", &ours, &shared, &issuer),
    ];
    let bytes = fs::metadata(&ours).unwrap().len();
    tokio::task::spawn_blocking(move || measure(&cases, spawns)).await.unwrap();
    println!("| the bootstrap | {bytes} bytes |");
}

/// Prints three tables. The tool `figures` reads them.
fn measure(cases: &[Case; 5], spawns: usize) {
    let [_, _, with_pinned_keys, _, _] = cases;
    let verification = bare_verification();
    let mut runs: Vec<Vec<Run>> = cases.iter().map(|_| Vec::new()).collect();
    let (mut verifications, mut with_reader) = (Vec::new(), Vec::new());
    for _ in 0..spawns {
        for (case, runs) in cases.iter().zip(&mut runs) {
            runs.push(run_once(case));
        }
        let mut process = Process::start(with_pinned_keys).with_reader();
        process.call(&with_pinned_keys.event);
        with_reader.push(process.warm(&with_pinned_keys.event).0);
        verifications.push(verification());
    }
    let runs: Vec<_> = runs.iter().map(|runs| medians(runs)).collect();
    println!(
        "| medians of {spawns} spawns | CPU to the first answer | wall | without the servers' CPU | CPU of a warm call | wall | RSS | page faults |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for (case, run) in cases.iter().zip(&runs) {
        let cell = |of: fn(&Run) -> Duration| format!("{} ({})", micros(of(run)), ratio(of(run), of(&runs[0])));
        let times: [fn(&Run) -> Duration; 5] =
            [|run| run.cpu, |run| run.wall, |run| run.wall_without_servers, |run| run.warm_cpu, |run| run.warm_wall];
        let times = times.map(cell).join(" | ");
        println!("| {} | {times} | {} KiB | {} |", case.name, run.resident_kib, run.page_faults);
    }

    println!("\n| wall to the first answer | {} |", cases.each_ref().map(|case| case.name).join(" | "));
    println!("|---|{}", "---:|".repeat(cases.len()));
    for memory in MEMORY {
        let Some(quota) = Quota::of(memory) else { continue };
        let walls = cases.each_ref().map(|case| quota.wall(case, spawns.div_ceil(4)));
        let cells = walls.map(|wall| format!("{:.1} ms ({})", wall.as_secs_f64() * 1e3, ratio(wall, walls[0])));
        println!("| {memory} MB | {} |", cells.join(" | "));
    }

    let [early, late] = resident_after_calls(with_pinned_keys);
    println!("\n| | |\n|---|---:|");
    println!("| a bare RSA-2048 verification | {} |", micros(median(verifications)));
    println!("| a page fault for new memory | {} |", micros(page_fault()));
    println!("| CPU of a warm call, while a thread waits for log lines | {} |", micros(median(with_reader)));
    println!("| RSS after 1,000 calls | {early} KiB |");
    println!("| RSS after 100,000 calls | {late} KiB |");
}

fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}

fn ratio(time: Duration, floor: Duration) -> String {
    format!("{:.2} ×", time.as_secs_f64() / floor.as_secs_f64())
}

/// Measures the CPU time of an RSA-2048 verification by the authorizer's library.
fn bare_verification() -> impl Fn() -> Duration {
    let jwk = keys::main().jwk();
    let key = DecodingKey::from_rsa_components(jwk["n"].as_str().unwrap(), jwk["e"].as_str().unwrap()).unwrap();
    let token = keys::main().token(&json!({ "sub": "s" }));
    move || {
        let (message, signature) = token.rsplit_once('.').unwrap();
        let start = Instant::now();
        for _ in 0..WARM_CALLS {
            assert!(crypto::verify(signature, message.as_bytes(), &key, Algorithm::RS256).unwrap());
        }
        start.elapsed() / u32::try_from(WARM_CALLS).unwrap()
    }
}

/// The time until a page of new memory can be used.
fn page_fault() -> Duration {
    const PAGES: u32 = 4_096;
    // The kernel gives the pages when they are written.
    let mut memory = vec![0_u8; PAGES as usize * 4_096];
    let start = Instant::now();
    for page in memory.chunks_mut(4_096) {
        page[0] = 1;
    }
    hint::black_box(&memory);
    start.elapsed() / PAGES
}

/// Resident memory after 1,000 calls and after 100,000, in KiB.
fn resident_after_calls(case: &Case) -> [u64; 2] {
    let mut process = Process::start(case);
    for _ in 0..1_000 {
        process.call(&case.event);
    }
    let early = process.resident_kib();
    for _ in 0..99_000 {
        process.call(&case.event);
    }
    [early, process.resident_kib()]
}

/// Builds the plain floor with cargo, the static floor with cargo-lambda, and the authorizer as
/// `sam build` does. All have the same versions of their dependencies, because the floor
/// is built from a copy with our lock file. The copy is in the target folder, so that this changes
/// no file outside it.
fn build() -> [PathBuf; 3] {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
    let baseline = target.join("baseline");
    fs::create_dir_all(&baseline).unwrap();
    for file in ["benches/baseline/Cargo.toml", "benches/baseline/main.rs", "Cargo.lock"] {
        let from = root.join(file);
        fs::copy(&from, baseline.join(from.file_name().unwrap())).unwrap();
    }
    let static_target = format!("{}-unknown-linux-musl", env::consts::ARCH);
    let mut plain = Command::new(env!("CARGO"));
    plain.current_dir(&baseline).args(["build", "--release", "--quiet"]);
    let mut linked = Command::new(env!("CARGO"));
    linked.current_dir(&baseline).args(["lambda", "build", "--release", "--quiet", "--target", &static_target]);
    let mut ours = Command::new(root.join(".sam/build"));
    ours.current_dir(root).arg(env::consts::ARCH).arg(target.join("figures"));
    for mut build in [plain, linked, ours] {
        build.env("CARGO_TARGET_DIR", &target).stdout(Stdio::null());
        assert!(build.status().unwrap().success(), "{build:?} (cargo-lambda is needed)");
    }
    ["release/baseline", "lambda/baseline/bootstrap", "figures/bootstrap"].map(|built| target.join(built))
}

/// Moves this process, and so all that it starts, to one CPU. With several, the measured time would
/// contain the time that an idle CPU needs to wake up.
fn pin() {
    let last = thread::available_parallelism().unwrap().get() - 1;
    let mut taskset = Command::new("taskset");
    taskset.args(["--all-tasks", "--cpu-list", "--pid", &last.to_string(), &process::id().to_string()]);
    assert!(taskset.stdout(Stdio::null()).status().unwrap().success(), "{taskset:?}");
}

fn good_event(issuer: &str) -> String {
    let now = now();
    let claims = json!({
        "iss": issuer, "aud": "api://default", "sub": "alice@example.com", "uid": "00u1", "cid": "0oa1",
        "scp": ["openid", "api:read"], "iat": now, "exp": now + 3_600,
    });
    event(&format!("Bearer {}", keys::main().token(&claims)))
}

fn run_once(case: &Case) -> Run {
    let servers = cpu("self", &this_thread());
    let start = Instant::now();
    let mut process = Process::start(case);
    process.call(&case.event);
    let wall = start.elapsed();
    let servers = cpu("self", &this_thread()).saturating_sub(servers);
    let cpu = process.cpu();
    let (resident_kib, page_faults) = (process.resident_kib(), process.page_faults());
    let (warm_cpu, warm_wall) = process.warm(&case.event);
    Run {
        cpu,
        wall,
        wall_without_servers: wall.saturating_sub(servers),
        warm_cpu,
        warm_wall,
        resident_kib,
        page_faults,
    }
}

/// CPU time of a process according to the kernel, without the thread `except`.
fn cpu(process: &str, except: &str) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap().map(Result::unwrap);
    let nanoseconds = |task: fs::DirEntry| -> u64 {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    Duration::from_nanos(tasks.filter(|task| task.file_name() != except).map(nanoseconds).sum())
}

/// The kernel's id of this thread.
fn this_thread() -> String {
    let task = fs::read_link("/proc/thread-self").unwrap();
    task.file_name().unwrap().to_str().unwrap().to_owned()
}

/// A running binary that has connected to its Runtime API. Dropping it ends the process.
struct Process {
    child: Child,
    api: RuntimeApi,
    /// A pipe, read between the calls. A thread that waits for lines would wake up during a call
    /// and delay it.
    log: Option<ChildStdout>,
}

impl Process {
    fn start(case: &Case) -> Self {
        Self::start_in(case, || {})
    }

    /// Calls `spawned` as soon as the process exists.
    fn start_in(case: &Case, spawned: impl FnOnce()) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut child = Command::new(&case.binary)
            .env_clear()
            .envs(case.env.iter())
            .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr().unwrap().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        spawned();
        let log = child.stdout.take().filter(|_| case.logs);
        Self { child, api: RuntimeApi::accept(&listener), log }
    }

    fn call(&mut self, event: &str) {
        self.api.call(event);
        if let Some(log) = &mut self.log {
            // The authorizer logs the decision before it sends the answer.
            assert!(log.read(&mut [0; 8_192]).unwrap() > 0, "the call is not logged");
        }
    }

    /// Starts a thread that waits for log lines.
    fn with_reader(mut self) -> Self {
        let mut log = self.log.take().unwrap();
        thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        self
    }

    /// CPU and wall time of a warm call.
    fn warm(&mut self, event: &str) -> (Duration, Duration) {
        let cpu = self.cpu();
        let start = Instant::now();
        for _ in 0..WARM_CALLS {
            self.call(event);
        }
        let calls = u32::try_from(WARM_CALLS).unwrap();
        (self.cpu().checked_sub(cpu).unwrap() / calls, start.elapsed() / calls)
    }

    fn cpu(&self) -> Duration {
        cpu(&self.child.id().to_string(), "")
    }

    fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Without those that needed a disk (`proc_pid_stat(5)`: `minflt`).
    fn page_faults(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, after_name) = stat.rsplit_once(") ").unwrap();
        after_name.split(' ').nth(7).unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A control group (version 1) with a share of one CPU, as in Lambda. `None` if the machine does
/// not allow it.
struct Quota(PathBuf);

impl Quota {
    const ROOT: &str = "/sys/fs/cgroup/cpu";

    fn of(memory: u32) -> Option<Self> {
        let quota = Self(Path::new(Self::ROOT).join(format!("okta-authorizer-bench-{}", process::id())));
        fs::create_dir(&quota.0).ok()?;
        let share = PERIOD * memory.min(1_769) / 1_769;
        fs::write(quota.0.join("cpu.cfs_period_us"), PERIOD.to_string()).ok()?;
        fs::write(quota.0.join("cpu.cfs_quota_us"), share.to_string()).ok()?;
        Some(quota)
    }

    /// The median wall time to the first answer. This thread joins the group, starts the process,
    /// and leaves the group.
    fn wall(&self, case: &Case, spawns: usize) -> Duration {
        let task = this_thread();
        let wall = |_| {
            fs::write(self.0.join("tasks"), &task).unwrap();
            let start = Instant::now();
            let mut process =
                Process::start_in(case, || fs::write(Path::new(Self::ROOT).join("tasks"), &task).unwrap());
            process.call(&case.event);
            start.elapsed()
        };
        median((0..spawns).map(wall).collect())
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).unwrap();
    }
}

/// The Runtime API for one process on one connection. The testkit's server is not used here,
/// because its tasks and its HTTP library would run on the measured core. This one runs in the
/// thread that measures.
struct RuntimeApi {
    stream: BufReader<TcpStream>,
}

impl RuntimeApi {
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Sends `event` to the process and receives the answer.
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

    /// Reads a request and returns its first line.
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
        assert!(!chunked, "the body has a content-length");
        self.stream.read_exact(&mut vec![0; length]).unwrap();
        first
    }

    fn answer(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

fn medians(runs: &[Run]) -> Run {
    fn of<T: Ord + Copy>(runs: &[Run], value: impl Fn(&Run) -> T) -> T {
        median(runs.iter().map(value).collect())
    }
    Run {
        cpu: of(runs, |run| run.cpu),
        wall: of(runs, |run| run.wall),
        wall_without_servers: of(runs, |run| run.wall_without_servers),
        warm_cpu: of(runs, |run| run.warm_cpu),
        warm_wall: of(runs, |run| run.warm_wall),
        resident_kib: of(runs, |run| run.resident_kib),
        page_faults: of(runs, |run| run.page_faults),
    }
}
