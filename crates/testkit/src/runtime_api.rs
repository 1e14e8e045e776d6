//! Lambda's Runtime API on loopback, and the authorizer's binary that it serves.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::{
    collections::HashMap,
    env,
    future::{Future, ready},
    io::stderr,
    net::SocketAddr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    routing::{get, post},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    net::{TcpListener, TcpSocket},
    process::{Child, Command},
    runtime::{self, Runtime},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{env::Env, iam::Policy, now};

/// A test that waits this long has failed. The longest wait of the authorizer is 2 s.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_mins(1);

/// The binary under test:
///
/// 1. `BOOTSTRAP`, if it is set. CI uses it to run the tests on the deployed binary.
/// 2. The binary that cargo built for the tests and benches of the root package.
/// 3. The binary in the target folder of the running program, for the local gateway. It may not
///    exist.
pub fn authorizer_binary() -> PathBuf {
    if let Some(binary) = env::var_os("BOOTSTRAP").or_else(|| env::var_os("CARGO_BIN_EXE_okta-authorizer")) {
        return binary.into();
    }
    let program = env::current_exe().unwrap();
    let folder = program.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).unwrap();
    folder.join("okta-authorizer").with_extension(env::consts::EXE_EXTENSION)
}

/// The authorizer's answer to an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Response(Value),
    /// `errorType` and `errorMessage`.
    Error {
        kind: String,
        message: String,
    },
}

impl Answer {
    /// API Gateway answers 401 for this message only.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Error { message, .. } if message == "Unauthorized")
    }

    /// API Gateway answers 500, and the error has a type.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Error { kind, message } if message != "Unauthorized" && !kind.is_empty())
    }

    /// The policy in the response. Panics if it breaks a promise that holds for every policy.
    pub fn policy(&self, method_arn: &str) -> Policy {
        match self {
            Self::Response(response) => Policy::of_response(response, method_arn),
            Self::Error { .. } => panic!("no policy for {method_arn}: {self:?}"),
        }
    }

    /// Whether API Gateway lets the request through.
    pub fn allows(&self, method_arn: &str) -> bool {
        matches!(self, Self::Response(response) if Policy::of_response(response, method_arn).allows(method_arn))
    }

    pub fn response(&self) -> &Value {
        match self {
            Self::Response(response) => response,
            Self::Error { .. } => panic!("no response: {self:?}"),
        }
    }
}

/// The end of a process that did not start.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// The lines that it wrote to stdout and stderr.
    pub lines: Vec<String>,
}

/// What happens to the lines that the binary writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// They are kept for [`Authorizer::stop`].
    Captured,
    /// They go to this program's stderr.
    Inherited,
}

/// How the Runtime API delivers an event.
#[derive(Clone, Debug)]
pub struct Delivery {
    status: StatusCode,
    /// Headers that replace the usual ones. `None` leaves a header out.
    headers: Vec<(HeaderName, Option<HeaderValue>)>,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { status: StatusCode::OK, headers: Vec::new() }
    }
}

impl Delivery {
    /// With this status instead of 200.
    pub fn status(code: u16) -> Self {
        Self { status: StatusCode::from_u16(code).unwrap(), ..Self::default() }
    }

    /// With this header, in addition or instead of the usual one.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        self.headers.push((HeaderName::from_static(name), Some(value)));
        self
    }

    /// Without this header, which an event usually has.
    #[must_use]
    pub fn without(mut self, name: &'static str) -> Self {
        self.headers.push((HeaderName::from_static(name), None));
        self
    }
}

struct Invocation {
    id: String,
    body: String,
    delivery: Delivery,
    answer: oneshot::Sender<Answer>,
}

struct Api {
    queue: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    in_progress: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
    ready: watch::Sender<bool>,
    polls: watch::Sender<Polls>,
    restores: watch::Sender<usize>,
}

/// Requests for an event that wait for one at the same time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Polls {
    pub now: usize,
    /// The maximum so far.
    pub most: usize,
}

/// A request for an event, while it waits.
struct Poll(watch::Sender<Polls>);

impl Poll {
    fn new(polls: &watch::Sender<Polls>) -> Self {
        polls.send_modify(|polls| {
            polls.now += 1;
            polls.most = polls.most.max(polls.now);
        });
        Self(polls.clone())
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.0.send_modify(|polls| polls.now -= 1);
    }
}

type Lines = watch::Sender<Vec<String>>;

/// The running binary. Dropping it ends the process.
pub struct Authorizer {
    queue: mpsc::UnboundedSender<Invocation>,
    invocations: AtomicUsize,
    ready: watch::Receiver<bool>,
    polls: watch::Receiver<Polls>,
    restores: watch::Receiver<usize>,
    exited: watch::Receiver<Option<ExitStatus>>,
    pid: u32,
    kill: Option<oneshot::Sender<()>>,
    lines: Lines,
    readers: Vec<JoinHandle<()>>,
    /// Of its own, because that also closes the connections when it ends.
    server: Option<Runtime>,
}

impl Authorizer {
    /// Starts the binary and waits for its first request for an event. Init is over then. Panics if
    /// the binary exits.
    pub async fn start(env: &Env) -> Self {
        Self::try_start(env, Log::Captured).await.unwrap_or_else(|ended| panic!("exited at init: {ended:#?}"))
    }

    /// Starts the binary and waits for its first request for an event.
    ///
    /// # Errors
    /// The binary exits before that.
    pub async fn try_start(env: &Env, log: Log) -> Result<Self, Ended> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self::spawn(env, log, address, ready(listener)).wait_for_init().await
    }

    /// Starts the binary while its Runtime API refuses connections. The API opens when the binary
    /// has logged that.
    pub async fn start_before_its_api(env: &Env) -> Self {
        let (address, socket) = refusing();
        let (listen, listener) = oneshot::channel();
        let authorizer = Self::spawn(env, Log::Captured, address, async { listener.await.unwrap() });
        let mut lines = authorizer.lines.subscribe();
        let logged = lines.wait_for(|lines| lines.iter().any(|line| line.contains("refuses connections")));
        if let Err(elapsed) = timeout(TEST_TIMEOUT, logged).await {
            panic!("no line about refused connections, {elapsed}: {:#?}", authorizer.lines());
        }
        listen.send(socket.listen(16).unwrap()).unwrap();
        authorizer.wait_for_init().await.unwrap_or_else(|ended| panic!("exited at init: {ended:#?}"))
    }

    /// Starts the binary with a Runtime API that refuses every connection, and waits until it
    /// exits.
    pub async fn start_without_api(env: &Env) -> Ended {
        let (address, _socket) = refusing();
        let started = Self::spawn(env, Log::Captured, address, std::future::pending()).wait_for_init().await;
        started.err().expect("no request can arrive")
    }

    /// Starts the binary in an environment that it must reject, and waits until it exits.
    ///
    /// # Errors
    /// The lines that it wrote, if it asks for an event instead.
    pub async fn refuse(env: &Env) -> Result<Ended, Vec<String>> {
        match Self::try_start(env, Log::Captured).await {
            Err(ended) => Ok(ended),
            Ok(authorizer) => Err(authorizer.stop().await),
        }
    }

    /// The one line that the binary writes before it exits in an environment that it must reject.
    /// Panics if it starts, exits with success, panics, or writes another number of lines.
    pub async fn rejection(env: &Env) -> String {
        let Ended { status, lines } = Self::refuse(env).await.unwrap_or_else(|lines| panic!("it started: {lines:#?}"));
        let [line] = &lines[..] else { panic!("not one line: {lines:#?}") };
        assert!(!status.success() && !line.contains("panicked"), "{status}: {line}");
        line.clone()
    }

    fn spawn(
        env: &Env,
        log: Log,
        address: SocketAddr,
        listener: impl Future<Output = TcpListener> + Send + 'static,
    ) -> Self {
        let (queue, invocations) = mpsc::unbounded_channel();
        let (ready_sender, ready) = watch::channel(false);
        let (polls_sender, polls) = watch::channel(Polls::default());
        let (restores_sender, restores) = watch::channel(0);
        let api = Api {
            queue: invocations.into(),
            in_progress: Mutex::default(),
            ready: ready_sender,
            polls: polls_sender,
            restores: restores_sender,
        };
        let server = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        server.spawn(async { serve(listener.await, api).await });

        let output = || if log == Log::Captured { Stdio::piped() } else { stderr().into() };
        let binary = authorizer_binary();
        let mut child = Command::new(&binary)
            .env_clear()
            .envs(env.iter())
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .stdin(Stdio::null())
            .stdout(output())
            .stderr(output())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        let lines = Lines::default();
        let readers = [
            child.stdout.take().map(|stream| tokio::spawn(collect(stream, lines.clone()))),
            child.stderr.take().map(|stream| tokio::spawn(collect(stream, lines.clone()))),
        ];
        let pid = child.id().expect("it runs");
        let (exited_sender, exited) = watch::channel(None);
        let (kill, killed) = oneshot::channel();
        tokio::spawn(supervise(child, killed, exited_sender));
        let readers = readers.into_iter().flatten().collect();
        Self {
            queue,
            invocations: AtomicUsize::new(0),
            ready,
            polls,
            restores,
            exited,
            pid,
            kill: Some(kill),
            lines,
            readers,
            server: Some(server),
        }
    }

    /// Waits for the first request for an event, or until the process exits.
    async fn wait_for_init(mut self) -> Result<Self, Ended> {
        let (mut ready, mut exited) = (self.ready.clone(), self.exited.clone());
        let outcome = timeout(TEST_TIMEOUT, async {
            tokio::select! {
                _ = ready.wait_for(|ready| *ready) => None,
                status = exited.wait_for(Option::is_some) => *status.unwrap(),
            }
        });
        match outcome.await {
            Ok(None) => Ok(self),
            Ok(Some(status)) => Err(Ended { status, lines: self.drain().await }),
            Err(elapsed) => panic!("neither ready nor exited, {elapsed}: {:#?}", self.lines()),
        }
    }

    /// Sends one event and waits for the answer. Panics if there is none.
    pub async fn invoke(&self, body: impl Into<String>) -> Answer {
        self.invoke_as(&Delivery::default(), body).await
    }

    /// Sends one event in this way and waits for the answer. Panics if there is none.
    pub async fn invoke_as(&self, delivery: &Delivery, body: impl Into<String>) -> Answer {
        let body = body.into();
        match self.deliver(delivery.clone(), body.clone(), TEST_TIMEOUT).await {
            Some(answer) => answer,
            None => panic!("no answer, exit status {:?}: {body}\n{:#?}", *self.exited.borrow(), self.lines()),
        }
    }

    /// Sends one event and waits for the answer. `None` if the process exits, or if it takes longer
    /// than `limit`.
    pub async fn try_invoke(&self, body: String, limit: Duration) -> Option<Answer> {
        self.deliver(Delivery::default(), body, limit).await
    }

    async fn deliver(&self, delivery: Delivery, body: String, limit: Duration) -> Option<Answer> {
        let answered = self.send(delivery, body);
        let mut exited = self.exited.clone();
        tokio::select! {
            answer = timeout(limit, answered) => answer.ok()?.ok(),
            _ = exited.wait_for(Option::is_some) => None,
        }
    }

    /// Sends one event in this way and does not wait for the answer.
    pub fn send(&self, delivery: Delivery, body: impl Into<String>) -> oneshot::Receiver<Answer> {
        let number = self.invocations.fetch_add(1, Ordering::SeqCst) + 1;
        let id = format!("00000000-0000-4000-8000-{number:012}");
        let (answer, answered) = oneshot::channel();
        // If the Runtime API has ended, the receiver sees that.
        let _ = self.queue.send(Invocation { id, body: body.into(), delivery, answer });
        answered
    }

    /// Freezes the process, as Lambda does between calls.
    pub async fn freeze(&self) {
        self.signal("-STOP").await;
    }

    /// Lets a frozen process go on.
    pub async fn thaw(&self) {
        self.signal("-CONT").await;
    }

    async fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid.to_string()]).status().await.unwrap();
        assert!(status.success(), "kill {signal}");
    }

    /// The number of events so far.
    pub fn invocations(&self) -> usize {
        self.invocations.load(Ordering::SeqCst)
    }

    /// The number of requests for an event that wait now, and the maximum so far.
    pub fn polls(&self) -> Polls {
        *self.polls.borrow()
    }

    /// Waits until this number of requests for an event wait at the same time.
    pub async fn wait_for_polls(&self, times: usize) {
        let mut polls = self.polls.clone();
        let reached = timeout(TEST_TIMEOUT, polls.wait_for(|polls| polls.now == times)).await.is_ok();
        assert!(reached, "{:?} and not {times}: {:#?}", self.polls(), self.lines());
    }

    /// The number of requests to restore the process from a snapshot.
    pub fn restores(&self) -> usize {
        *self.restores.borrow()
    }

    /// Sends an event in a way that ends the process, and waits for that.
    pub async fn end_by(self, delivery: Delivery, body: impl Into<String>) -> Ended {
        let answer = self.deliver(delivery, body.into(), TEST_TIMEOUT).await;
        assert_eq!(answer, None);
        self.ended().await
    }

    /// Ends the Runtime API with all of its connections, and waits until the process has ended.
    pub async fn end_api(mut self) -> Ended {
        self.server.take().unwrap().shutdown_background();
        self.ended().await
    }

    async fn ended(mut self) -> Ended {
        let mut exited = self.exited.clone();
        let status = timeout(TEST_TIMEOUT, exited.wait_for(Option::is_some)).await;
        let status = status.unwrap_or_else(|_| panic!("the process goes on: {:#?}", self.lines())).unwrap().unwrap();
        Ended { status, lines: self.drain().await }
    }

    /// The lines so far.
    fn lines(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    /// Ends the process and returns all lines that it wrote. The authorizer logs an event before it
    /// sends the answer, so the lines of all answered events are included.
    pub async fn stop(mut self) -> Vec<String> {
        self.drain().await
    }

    async fn drain(&mut self) -> Vec<String> {
        // The receiver is gone if the process has already exited.
        let _ = self.kill.take().map(|kill| kill.send(()));
        for reader in self.readers.drain(..) {
            timeout(TEST_TIMEOUT, reader).await.expect("the pipes close").unwrap();
        }
        self.lines()
    }
}

impl Drop for Authorizer {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }
}

/// An address that refuses connections as long as the socket exists and does not listen.
fn refusing() -> (SocketAddr, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    (socket.local_addr().unwrap(), socket)
}

/// Waits until the process exits. Ends it if `killed` resolves or its sender is dropped.
async fn supervise(mut child: Child, killed: oneshot::Receiver<()>, exited: watch::Sender<Option<ExitStatus>>) {
    let status = tokio::select! {
        status = child.wait() => status.unwrap(),
        _ = killed => {
            child.start_kill().unwrap();
            child.wait().await.unwrap()
        }
    };
    // The receiver is gone if the test is over.
    let _ = exited.send(Some(status));
}

async fn collect(stream: impl AsyncRead + Unpin, lines: Lines) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).await.unwrap() > 0 {
        let text = String::from_utf8_lossy(&line);
        lines.send_modify(|lines| lines.push(text.strip_suffix('\n').unwrap_or(&text).to_owned()));
        line.clear();
    }
}

async fn serve(listener: TcpListener, api: Api) {
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/restore/next", get(restore))
        .with_state(Arc::new(api));
    axum::serve(listener, router).await.unwrap();
}

async fn restore(State(api): State<Arc<Api>>) {
    assert!(!*api.ready.borrow(), "a snapshot is made before the first event");
    api.restores.send_modify(|restores| *restores += 1);
}

async fn next(State(api): State<Arc<Api>>) -> (StatusCode, HeaderMap, String) {
    api.ready.send_replace(true);
    let poll = Poll::new(&api.polls);
    let Some(Invocation { id, body, delivery, answer }) = api.queue.lock().await.recv().await else {
        // The `Authorizer` is dropped, so there will be no more events.
        return std::future::pending().await;
    };
    drop(poll);
    let deadline = (now() + 30) * 1000;
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:okta-authorizer";
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", id.clone()),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-trace-id", trace.to_owned()),
        ("lambda-runtime-invoked-function-arn", arn.to_owned()),
    ];
    let headers = headers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::try_from(value).unwrap()));
    let mut headers = HeaderMap::from_iter(headers);
    for (name, value) in delivery.headers {
        match value {
            Some(value) => drop(headers.insert(name, value)),
            None => drop(headers.remove(name)),
        }
    }
    let chosen = headers.get("lambda-runtime-aws-request-id").and_then(|id| id.to_str().ok());
    let id = chosen.map_or(id, str::to_owned);
    api.in_progress.lock().unwrap().insert(id, answer);
    (delivery.status, headers, body)
}

async fn response(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let answer = Answer::Response(serde_json::from_slice(&body).expect("a response is JSON"));
    complete(&api, &id, answer)
}

async fn error(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let error: Value = serde_json::from_slice(&body).expect("an error is JSON");
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    complete(&api, &id, Answer::Error { kind: text("errorType"), message: text("errorMessage") })
}

fn complete(api: &Api, id: &str, answer: Answer) -> StatusCode {
    let waiting = api.in_progress.lock().unwrap().remove(id).expect("one answer per event");
    // The receiver is gone if the caller has stopped waiting.
    let _ = waiting.send(answer);
    StatusCode::ACCEPTED
}
