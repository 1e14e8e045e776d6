//! Lambda on loopback: the Runtime API, and the real binary behind it.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::{
    collections::HashMap,
    path::Path as FilePath,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{AppendHeaders, IntoResponse},
    routing::{get, post},
};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use super::Error;

/// The function's timeout, as the template has it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The running function. Dropping it ends the process.
pub struct Lambda {
    queue: mpsc::UnboundedSender<Invocation>,
    calls: AtomicUsize,
    state: watch::Receiver<Process>,
    tasks: [JoinHandle<()>; 2],
}

/// What the function made of an event.
pub enum Answer {
    Response(Value),
    /// Its `errorMessage`; API Gateway knows one of them.
    Error(String),
    /// It ended or took too long.
    None,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Process {
    Starting,
    Ready,
    Ended,
}

struct Invocation {
    id: String,
    event: String,
    answer: oneshot::Sender<Answer>,
}

struct RuntimeApi {
    queue: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    under_way: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
    state: watch::Sender<Process>,
}

impl Lambda {
    /// Starts the binary with these variables and what Lambda itself sets, and waits until it asks for its first event.
    /// `log` is where it writes to.
    ///
    /// # Errors
    /// Where it ends at init; it has written why.
    pub async fn start(
        binary: &FilePath,
        environment: Vec<(String, String)>,
        log: fn() -> Stdio,
    ) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let child = Command::new(binary)
            .env_clear()
            .env("AWS_LAMBDA_FUNCTION_NAME", "okta-authorizer")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_REGION", "us-east-1")
            .envs(environment)
            .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr()?.to_string())
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .kill_on_drop(true)
            .spawn()?;
        let (queue, events) = mpsc::unbounded_channel();
        let (sender, mut state) = watch::channel(Process::Starting);
        let api = RuntimeApi { queue: events.into(), under_way: Mutex::default(), state: sender.clone() };
        let tasks = [tokio::spawn(attend(child, sender)), tokio::spawn(serve(listener, api))];
        let reached = *state.wait_for(|state| *state != Process::Starting).await?;
        let lambda = Self { queue, calls: AtomicUsize::new(0), state, tasks };
        if reached == Process::Ended { Err("the authorizer does not start".into()) } else { Ok(lambda) }
    }

    /// Hands over one event and waits for what the function makes of it.
    pub async fn invoke(&self, event: &Value) -> Answer {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let (answer, answered) = oneshot::channel();
        let id = format!("00000000-0000-4000-8000-{call:012}");
        if self.queue.send(Invocation { id, event: event.to_string(), answer }).is_err() {
            return Answer::None;
        }
        let mut state = self.state.clone();
        tokio::select! {
            answer = timeout(TIMEOUT, answered) => answer.ok().and_then(Result::ok).unwrap_or(Answer::None),
            _ = state.wait_for(|state| *state == Process::Ended) => Answer::None,
        }
    }

    /// How many events it was handed so far.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn attend(mut child: Child, state: watch::Sender<Process>) {
    if let Err(error) = child.wait().await {
        eprintln!("nobody knows how the authorizer does: {error}");
    }
    state.send_replace(Process::Ended);
}

async fn serve(listener: TcpListener, api: RuntimeApi) {
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(|| async { StatusCode::ACCEPTED }))
        .with_state(Arc::new(api));
    if let Err(error) = axum::serve(listener, router).await {
        eprintln!("the Runtime API stopped: {error}");
    }
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> impl IntoResponse {
    api.state.send_if_modified(|state| {
        let first = *state == Process::Starting;
        if first {
            *state = Process::Ready;
        }
        first
    });
    let Some(Invocation { id, event, answer }) = api.queue.lock().await.recv().await else {
        // Nobody is left who could call; a frozen function waits here too.
        return std::future::pending().await;
    };
    api.under_way.lock().unwrap().insert(id.clone(), answer);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let function = "arn:aws:lambda:us-east-1:123456789012:function:okta-authorizer";
    let headers = AppendHeaders([
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", (now + TIMEOUT).as_millis().to_string()),
        ("lambda-runtime-invoked-function-arn", function.to_owned()),
    ]);
    (headers, event)
}

async fn response(State(api): State<Arc<RuntimeApi>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    complete(&api, &id, serde_json::from_slice(&body).map_or(Answer::None, Answer::Response))
}

async fn error(State(api): State<Arc<RuntimeApi>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let error: Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = error.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
    complete(&api, &id, Answer::Error(message.to_owned()))
}

fn complete(api: &RuntimeApi, id: &str, answer: Answer) -> StatusCode {
    let Some(waiting) = api.under_way.lock().unwrap().remove(id) else { return StatusCode::BAD_REQUEST };
    // Who asked may have given up.
    drop(waiting.send(answer));
    StatusCode::ACCEPTED
}
