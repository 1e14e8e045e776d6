//! Lambda's Runtime API on loopback, and the binary behind it.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::{
    collections::HashMap,
    env,
    future::{Future, ready},
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
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
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{env::Env, iam::Policy, now};

/// A test that waits as long as this has failed. Nothing takes a fraction of it: the longest wait in the design is 2 s.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the binary made of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Response(Value),
    Error { kind: String, message: String },
}

impl Answer {
    /// The gateway makes a 401 of this message and of no other.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Error { message, .. } if message == "Unauthorized")
    }

    /// A 500 that says what kind of fault it was.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Error { kind, message } if message != "Unauthorized" && !kind.is_empty())
    }

    /// The answer's policy, held against everything that is true of every policy for `method_arn`.
    pub fn policy(&self, method_arn: &str) -> Policy {
        match self {
            Self::Response(response) => Policy::of(response, method_arn),
            Self::Error { .. } => panic!("no policy for {method_arn}: {self:?}"),
        }
    }

    /// Whether the gateway would let the request through.
    pub fn allows(&self, method_arn: &str) -> bool {
        matches!(self, Self::Response(response) if Policy::of(response, method_arn).allows(method_arn))
    }

    pub fn response(&self) -> &Value {
        match self {
            Self::Response(response) => response,
            Self::Error { .. } => panic!("no response: {self:?}"),
        }
    }
}

/// How a process that would not start ended.
pub struct Ended {
    pub status: ExitStatus,
    /// What it wrote, line by line, to either stream.
    pub lines: Vec<String>,
}

struct Invocation {
    id: String,
    body: String,
    answer: oneshot::Sender<Answer>,
}

struct Api {
    queue: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    under_way: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
    ready: watch::Sender<bool>,
    polls: watch::Sender<Polls>,
}

/// The requests for an event that wait for one at the same time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Polls {
    pub now: usize,
    /// The most that there ever were.
    pub most: usize,
}

/// A request for an event, for as long as it waits.
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
    ready: watch::Receiver<bool>,
    polls: watch::Receiver<Polls>,
    exited: watch::Receiver<Option<ExitStatus>>,
    kill: Option<oneshot::Sender<()>>,
    lines: Lines,
    readers: Vec<JoinHandle<()>>,
    server: JoinHandle<()>,
}

impl Authorizer {
    /// Starts the binary and waits until it asks for its first event, that is, until its init is over.
    pub async fn start(env: &Env) -> Self {
        Self::spawn(env).await.come_up().await
    }

    /// Starts the binary while its Runtime API refuses connections, and listens once it says that it met that.
    pub async fn start_before_its_api(env: &Env) -> Self {
        let (address, socket) = refusing();
        let (listen, listener) = oneshot::channel();
        let authorizer = Self::spawn_with(env, address, async { listener.await.unwrap() });
        let mut lines = authorizer.lines.subscribe();
        let said = lines.wait_for(|lines| lines.iter().any(|line| line.contains("refuses connections")));
        if let Err(elapsed) = timeout(PATIENCE, said).await {
            panic!("no line that says so, {elapsed}: {:#?}", authorizer.lines());
        }
        listen.send(socket.listen(16).unwrap()).unwrap();
        authorizer.come_up().await
    }

    /// Starts the binary with a Runtime API that refuses every connection, and waits for its end.
    pub async fn start_without_api(env: &Env) -> Ended {
        let (address, _socket) = refusing();
        let mut authorizer = Self::spawn_with(env, address, std::future::pending());
        let status = authorizer.ended_at_init().await.expect("nobody can have asked for an event");
        Ended { status, lines: authorizer.drain().await }
    }

    /// Starts the binary in an environment that it must refuse.
    ///
    /// # Errors
    /// What it had written, if it came up all the same.
    pub async fn refuse(env: &Env) -> Result<Ended, Vec<String>> {
        let mut authorizer = Self::spawn(env).await;
        let status = authorizer.ended_at_init().await;
        let lines = authorizer.drain().await;
        status.map(|status| Ended { status, lines: lines.clone() }).ok_or(lines)
    }

    async fn spawn(env: &Env) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::spawn_with(env, listener.local_addr().unwrap(), ready(listener))
    }

    fn spawn_with(
        env: &Env,
        address: SocketAddr,
        listener: impl Future<Output = TcpListener> + Send + 'static,
    ) -> Self {
        let (queue, invocations) = mpsc::unbounded_channel();
        let (ready_sender, ready) = watch::channel(false);
        let (polls_sender, polls) = watch::channel(Polls::default());
        let api =
            Api { queue: invocations.into(), under_way: Mutex::default(), ready: ready_sender, polls: polls_sender };
        let server = tokio::spawn(async { serve(listener.await, api).await });

        // CI runs these tests once more on what is deployed.
        let binary = env::var_os("BOOTSTRAP").unwrap_or_else(|| env!("CARGO_BIN_EXE_okta-authorizer").into());
        let mut child = Command::new(binary)
            .env_clear()
            .envs(env.iter())
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = Lines::default();
        let readers = vec![
            tokio::spawn(collect(child.stdout.take().unwrap(), lines.clone())),
            tokio::spawn(collect(child.stderr.take().unwrap(), lines.clone())),
        ];
        let (exited_sender, exited) = watch::channel(None);
        let (kill, killed) = oneshot::channel();
        tokio::spawn(attend(child, killed, exited_sender));
        Self { queue, ready, polls, exited, kill: Some(kill), lines, readers, server }
    }

    async fn come_up(mut self) -> Self {
        match self.ended_at_init().await {
            None => self,
            Some(status) => panic!("ended at init, {status}: {:#?}", self.drain().await),
        }
    }

    /// Waits for the first request for an event, or for the status that the process ended with before it.
    async fn ended_at_init(&self) -> Option<ExitStatus> {
        let (mut ready, mut exited) = (self.ready.clone(), self.exited.clone());
        let outcome = timeout(PATIENCE, async {
            tokio::select! {
                _ = ready.wait_for(|ready| *ready) => None,
                status = exited.wait_for(Option::is_some) => *status.unwrap(),
            }
        });
        outcome.await.unwrap_or_else(|elapsed| panic!("neither ready nor ended, {elapsed}: {:#?}", self.lines()))
    }

    /// Hands over one event and waits for what the binary makes of it.
    pub async fn invoke(&self, body: impl Into<String>) -> Answer {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let id = format!("00000000-0000-4000-8000-{:012}", COUNT.fetch_add(1, Ordering::Relaxed));
        let body = body.into();
        let (answer, answered) = oneshot::channel();
        self.queue.send(Invocation { id, body: body.clone(), answer }).unwrap_or_else(|_| panic!("the API is gone"));
        let mut exited = self.exited.clone();
        let outcome = timeout(PATIENCE, async {
            tokio::select! {
                answer = answered => Ok(answer.unwrap()),
                status = exited.wait_for(Option::is_some) => Err(status.unwrap().unwrap()),
            }
        });
        match outcome.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(status)) => panic!("ended by an event, {status}: {body}\n{:#?}", self.lines()),
            Err(elapsed) => panic!("no answer, {elapsed}: {body}\n{:#?}", self.lines()),
        }
    }

    /// The requests for an event that wait now, and ever did.
    pub fn polls(&self) -> Polls {
        *self.polls.borrow()
    }

    /// Waits until so many requests for an event wait at the same time.
    pub async fn polled(&self, times: usize) {
        let mut polls = self.polls.clone();
        let reached = timeout(PATIENCE, polls.wait_for(|polls| polls.now == times)).await.is_ok();
        assert!(reached, "{:?} and not {times}: {:#?}", self.polls(), self.lines());
    }

    /// What it has written so far.
    fn lines(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    /// Ends the process and returns all it ever wrote. The log line of an event is written before its answer is sent, so
    /// the lines of all answered events are among them.
    pub async fn stop(mut self) -> Vec<String> {
        self.drain().await
    }

    async fn drain(&mut self) -> Vec<String> {
        // Nobody listens if the process ended by itself.
        let _ = self.kill.take().map(|kill| kill.send(()));
        for reader in self.readers.drain(..) {
            timeout(PATIENCE, reader).await.expect("the pipes close").unwrap();
        }
        self.lines()
    }
}

impl Drop for Authorizer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// An address that refuses connections for as long as its socket is there and does not listen.
fn refusing() -> (SocketAddr, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    (socket.local_addr().unwrap(), socket)
}

/// Waits for the process, or ends it once `killed` resolves or its sender is dropped.
async fn attend(mut child: Child, killed: oneshot::Receiver<()>, exited: watch::Sender<Option<ExitStatus>>) {
    let status = tokio::select! {
        status = child.wait() => status.unwrap(),
        _ = killed => {
            child.start_kill().unwrap();
            child.wait().await.unwrap()
        }
    };
    // Nobody listens any more if the test is over.
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
        .route("/2018-06-01/runtime/init/error", post(|| async { StatusCode::ACCEPTED }))
        .with_state(Arc::new(api));
    axum::serve(listener, router).await.unwrap();
}

async fn next(State(api): State<Arc<Api>>) -> (HeaderMap, String) {
    api.ready.send_replace(true);
    let poll = Poll::new(&api.polls);
    let Some(Invocation { id, body, answer }) = api.queue.lock().await.recv().await else {
        // The test is over; a runtime that is frozen for good waits here too.
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
    api.under_way.lock().unwrap().insert(id, answer);
    (HeaderMap::from_iter(headers), body)
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
    let waiting = api.under_way.lock().unwrap().remove(id).expect("one answer per event");
    // Nobody listens if the test has given up.
    let _ = waiting.send(answer);
    StatusCode::ACCEPTED
}
