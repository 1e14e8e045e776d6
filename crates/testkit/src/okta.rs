//! A loopback Okta that counts its requests and sends the reply that the test chose. It uses plain
//! TCP, because many of these replies are broken in ways that an HTTP server library does not
//! allow.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use url::form_urlencoded;

use crate::{keys, runtime_api::TEST_TIMEOUT};

/// How an endpoint answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// 200 with this body and these additional header lines.
    Body { headers: String, body: String },
    /// This status line, these header lines, and a body.
    Status { head: String, body: String },
    /// The connection is accepted. Nothing is sent.
    Silence,
    /// The head and half of the body are sent. The connection stays open.
    HalfABody(String),
    /// The head and half of the body are sent. Then the connection is closed.
    CutOff(String),
    /// The body is sent at one byte per 100 ms.
    Drip(String),
    /// The connection is closed without an answer.
    HangUp,
    /// The connection is reset without an answer.
    Reset,
    /// These bytes. The connection is closed.
    Raw(String),
    /// 200 with this body. The connection stays open for the next request; after every other reply
    /// it is closed.
    KeptAlive(String),
    /// `first` for the first request on a connection, and `later` for the others.
    ByTurn { first: Box<Self>, later: Box<Self> },
    /// This reply, after a delay.
    After(Duration, Box<Self>),
    /// This reply, as soon as the watched value is `true`.
    WhenOpen(watch::Receiver<bool>, Box<Self>),
}

impl Reply {
    pub fn keys(jwks: &Value) -> Self {
        Self::text(jwks.to_string())
    }

    pub fn text(body: impl Into<String>) -> Self {
        Self::Body { headers: String::new(), body: body.into() }
    }

    /// This body for the first request on a connection, which stays open. `later` for the others.
    pub fn kept_alive(body: &str, later: Self) -> Self {
        Self::ByTurn { first: Box::new(Self::KeptAlive(body.to_owned())), later: Box::new(later) }
    }

    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self::After(delay, Box::new(self))
    }

    #[must_use]
    pub fn when_open(self, gate: &watch::Sender<bool>) -> Self {
        Self::WhenOpen(gate.subscribe(), Box::new(self))
    }

    pub fn status(head: impl Into<String>, body: impl Into<String>) -> Self {
        Self::Status { head: head.into(), body: body.into() }
    }
}

/// A request that an introspection endpoint received.
#[derive(Clone, Debug)]
pub struct IntrospectionRequest {
    /// `POST {path}`.
    pub target: String,
    /// The number of its connection, from 0.
    pub connection: usize,
    head: String,
    body: String,
}

impl IntrospectionRequest {
    /// The values of a header, one for each header line with this name.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// The form's fields, sorted, because their order has no meaning.
    pub fn form(&self) -> Vec<(String, String)> {
        let mut members: Vec<_> = form_urlencoded::parse(self.body.as_bytes()).into_owned().collect();
        members.sort();
        members
    }

    /// The token in the form. Panics if there is none.
    pub fn token(&self) -> String {
        let member = self.form().into_iter().find(|(name, _)| name == "token");
        member.expect("the form has a token").1
    }
}

struct State {
    reply: Mutex<Reply>,
    /// By the path of the endpoint.
    introspections: Mutex<HashMap<String, Reply>>,
    introspection_requests: watch::Sender<Vec<IntrospectionRequest>>,
    key_requests: watch::Sender<usize>,
    unexpected_requests: watch::Sender<usize>,
}

/// A reserved port that refuses connections until [`ReservedPort::open`].
pub struct ReservedPort(TcpSocket);

impl Default for ReservedPort {
    fn default() -> Self {
        Self::new()
    }
}

impl ReservedPort {
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self(socket)
    }

    pub fn issuer(&self) -> String {
        issuer(self.0.local_addr().unwrap())
    }

    /// Starts an Okta on this port.
    pub fn open(self, reply: Reply) -> Okta {
        Okta::on(self.0.listen(1024).unwrap(), reply)
    }
}

/// The running server. Dropping it closes the port.
pub struct Okta {
    pub address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

impl Okta {
    pub async fn start(reply: Reply) -> Self {
        keys::prepare();
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), reply)
    }

    fn on(listener: TcpListener, reply: Reply) -> Self {
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            reply: Mutex::new(reply),
            introspections: Mutex::default(),
            introspection_requests: watch::Sender::default(),
            key_requests: watch::Sender::new(0),
            unexpected_requests: watch::Sender::new(0),
        });
        let server = tokio::spawn(serve(listener, state.clone()));
        Self { address, state, server }
    }

    pub fn issuer(&self) -> String {
        issuer(self.address)
    }

    pub fn keys_endpoint(&self) -> String {
        format!("{}/v1/keys", self.issuer())
    }

    /// Replies to requests for the keys with `reply` from now on.
    pub fn answer(&self, reply: Reply) {
        *self.state.reply.lock().unwrap() = reply;
    }

    /// Replies to introspection requests with `reply` from now on. Without it, such a request is
    /// unexpected.
    pub fn introspects(&self, reply: Reply) {
        self.introspects_at("/oauth2/default/v1/introspect", reply);
    }

    /// The same for another issuer on this host.
    pub fn introspects_at(&self, path: &str, reply: Reply) {
        self.state.introspections.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// All introspection requests so far.
    pub fn introspection_requests(&self) -> Vec<IntrospectionRequest> {
        self.state.introspection_requests.borrow().clone()
    }

    /// Waits for this number of introspection requests.
    pub async fn wait_for_introspections(&self, times: usize) {
        let mut requests = self.state.introspection_requests.subscribe();
        let waited = timeout(TEST_TIMEOUT, requests.wait_for(|requests| requests.len() >= times)).await;
        waited.expect("Okta is not asked").unwrap();
    }

    /// The number of requests for the keys so far.
    pub fn requests(&self) -> usize {
        *self.state.key_requests.borrow()
    }

    /// Waits for this number of requests for the keys.
    pub async fn wait_for_requests(&self, times: usize) {
        let mut requests = self.state.key_requests.subscribe();
        let waited = timeout(TEST_TIMEOUT, requests.wait_for(|requests| *requests >= times)).await;
        waited.expect("Okta is not asked").unwrap();
    }

    /// The number of other requests so far.
    pub fn unexpected_requests(&self) -> usize {
        *self.state.unexpected_requests.borrow()
    }
}

impl Drop for Okta {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    for connection in 0.. {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve_connection(BufReader::new(stream), state.clone(), connection));
    }
}

async fn serve_connection(mut stream: BufReader<TcpStream>, state: Arc<State>, connection: usize) {
    let mut turn = 0;
    while answer(&mut stream, &state, connection, turn).await {
        turn += 1;
    }
}

/// Answers one request. Returns whether the connection stays open.
async fn answer(stream: &mut BufReader<TcpStream>, state: &State, connection: usize, turn: usize) -> bool {
    let request = head(stream).await;
    if request.is_empty() {
        return false;
    }
    let introspection = introspection(stream, &request, connection, state).await;
    let reply = if let Some(reply) = introspection {
        reply
    } else if request.starts_with("GET /oauth2/default/v1/keys HTTP/1.1\r\n") {
        state.key_requests.send_modify(|requests| *requests += 1);
        state.reply.lock().unwrap().clone()
    } else {
        state.unexpected_requests.send_modify(|requests| *requests += 1);
        Reply::status("404 Not Found\r\n", "")
    };
    let reply = match reply {
        Reply::ByTurn { first, later } => *if turn == 0 { first } else { later },
        other => other,
    };
    let is_kept_alive = matches!(reply, Reply::KeptAlive(_));
    // The client may close the connection first.
    send(stream, reply).await.is_ok() && is_kept_alive
}

async fn head(stream: &mut BufReader<TcpStream>) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => return String::new(),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Records an introspection request and returns the reply. `None` if no reply is set for this path.
async fn introspection(
    stream: &mut BufReader<TcpStream>,
    head: &str,
    connection: usize,
    state: &State,
) -> Option<Reply> {
    let (target, _) = head.split_once(" HTTP/1.1\r\n")?;
    let reply = state.introspections.lock().unwrap().get(target.strip_prefix("POST ")?).cloned()?;
    let mut request =
        IntrospectionRequest { target: target.to_owned(), connection, head: head.to_owned(), body: String::new() };
    let [length] = request.headers("content-length")[..] else { panic!("no content-length: {head}") };
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    request.body = String::from_utf8(body).unwrap();
    state.introspection_requests.send_modify(|requests| requests.push(request));
    Some(reply)
}

async fn send(stream: &mut BufReader<TcpStream>, reply: Reply) -> std::io::Result<()> {
    match reply {
        Reply::Body { headers, body } => {
            stream.write_all((ok(&headers, body.len()) + &body).as_bytes()).await?;
            stream.shutdown().await
        }
        Reply::Status { head, body } => {
            let length = body.len();
            let reply = format!("HTTP/1.1 {head}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
            stream.write_all(reply.as_bytes()).await?;
            stream.shutdown().await
        }
        Reply::Silence => std::future::pending().await,
        Reply::HalfABody(body) => {
            stream.write_all(ok("", body.len()).as_bytes()).await?;
            stream.write_all(&body.as_bytes()[..body.len() / 2]).await?;
            std::future::pending().await
        }
        Reply::CutOff(body) => {
            stream.write_all(ok("", body.len()).as_bytes()).await?;
            stream.write_all(&body.as_bytes()[..body.len() / 2]).await?;
            stream.shutdown().await
        }
        Reply::Drip(body) => {
            stream.write_all(ok("", body.len()).as_bytes()).await?;
            for byte in body.bytes() {
                stream.write_u8(byte).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        }
        Reply::HangUp => Ok(()),
        // Closing the socket sends a reset then.
        Reply::Reset => stream.get_ref().set_zero_linger(),
        Reply::Raw(text) => {
            stream.write_all(text.as_bytes()).await?;
            stream.shutdown().await
        }
        Reply::KeptAlive(body) => {
            let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(reply.as_bytes()).await
        }
        Reply::ByTurn { .. } => panic!("only as the whole reply"),
        Reply::After(delay, reply) => {
            tokio::time::sleep(delay).await;
            Box::pin(send(stream, *reply)).await
        }
        Reply::WhenOpen(mut gate, reply) => {
            // The sender is dropped at the end of a test.
            let _ = gate.wait_for(|open| *open).await;
            Box::pin(send(stream, *reply)).await
        }
    }
}

fn issuer(address: SocketAddr) -> String {
    format!("http://{address}/oauth2/default")
}

fn ok(headers: &str, length: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n"
    )
}
