//! An Okta on loopback that counts what it is asked and answers as the test says. Written on bare TCP, because half of what
//! it must do no HTTP server would.

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
};
use url::form_urlencoded;

use super::keys;

/// How an endpoint answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// 200 with this body, whatever it is, and further header lines.
    Body { headers: String, body: String },
    /// This status line and header lines, and a body all the same.
    Status { head: String, body: String },
    /// The connection is taken and nothing is ever said.
    Silence,
    /// The head is sent and half of the body, then nothing.
    HalfABody(String),
    /// The head is sent and half of the body, then the connection is closed.
    CutOff(String),
    /// The body comes one byte in 100 ms: always alive, never done.
    Drip(String),
    /// The connection is closed without an answer.
    HangUp,
    /// This, but not at once.
    After(Duration, Box<Self>),
    /// This, once the gate is open.
    Behind(watch::Receiver<bool>, Box<Self>),
}

impl Reply {
    pub fn keys(jwks: &Value) -> Self {
        Self::text(jwks.to_string())
    }

    pub fn text(body: impl Into<String>) -> Self {
        Self::Body { headers: String::new(), body: body.into() }
    }

    pub fn after(self, delay: Duration) -> Self {
        Self::After(delay, Box::new(self))
    }

    pub fn behind(self, gate: &watch::Sender<bool>) -> Self {
        Self::Behind(gate.subscribe(), Box::new(self))
    }

    pub fn status(head: impl Into<String>, body: impl Into<String>) -> Self {
        Self::Status { head: head.into(), body: body.into() }
    }
}

/// A request to an introspection endpoint, as it came.
#[derive(Clone, Debug)]
pub struct Question {
    /// `POST {path}`.
    pub target: String,
    head: String,
    body: String,
}

impl Question {
    /// The values of a header, one for each line that has it.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// The form's members, sorted, for their order says nothing.
    pub fn form(&self) -> Vec<(String, String)> {
        let mut members: Vec<_> = form_urlencoded::parse(self.body.as_bytes()).into_owned().collect();
        members.sort();
        members
    }

    /// The token that was asked about.
    pub fn token(&self) -> String {
        let member = self.form().into_iter().find(|(name, _)| name == "token");
        member.expect("a question names its token").1
    }
}

struct State {
    reply: Mutex<Reply>,
    /// By the path of the endpoint.
    introspections: Mutex<HashMap<String, Reply>>,
    questions: watch::Sender<Vec<Question>>,
    for_keys: watch::Sender<usize>,
    for_others: watch::Sender<usize>,
}

/// A port that is ours and where nobody listens yet.
pub struct Closed(TcpSocket);

impl Closed {
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self(socket)
    }

    pub fn issuer(&self) -> String {
        issuer(self.0.local_addr().unwrap())
    }

    /// Okta comes up there.
    pub fn open(self, reply: Reply) -> Okta {
        Okta::on(self.0.listen(1024).unwrap(), reply)
    }
}

/// The server. Dropping it closes the port.
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
            questions: watch::Sender::default(),
            for_keys: watch::Sender::new(0),
            for_others: watch::Sender::new(0),
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

    /// Answers like this from now on.
    pub fn answer(&self, reply: Reply) {
        *self.state.reply.lock().unwrap() = reply;
    }

    /// Answers like this from now on when the issuer is asked whether a token is active. Without, such a question is a stray.
    pub fn introspects(&self, reply: Reply) {
        self.introspects_at("/oauth2/default/v1/introspect", reply);
    }

    /// The same for another issuer on this host.
    pub fn introspects_at(&self, path: &str, reply: Reply) {
        self.state.introspections.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// Whatever was asked about tokens.
    pub fn questions(&self) -> Vec<Question> {
        self.state.questions.borrow().clone()
    }

    /// Waits until so many questions about tokens were asked.
    pub async fn questioned(&self, times: usize) {
        self.state.questions.subscribe().wait_for(|questions| questions.len() >= times).await.unwrap();
    }

    /// How often the keys were asked for.
    pub fn requests(&self) -> usize {
        *self.state.for_keys.borrow()
    }

    /// Waits until the keys were asked for so often.
    pub async fn asked(&self, times: usize) {
        self.state.for_keys.subscribe().wait_for(|requests| *requests >= times).await.unwrap();
    }

    /// How often anything else was asked for.
    pub fn strays(&self) -> usize {
        *self.state.for_others.borrow()
    }
}

impl Drop for Okta {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(answer(BufReader::new(stream), state.clone()));
    }
}

async fn answer(mut stream: BufReader<TcpStream>, state: Arc<State>) {
    let request = head(&mut stream).await;
    if request.is_empty() {
        return;
    }
    let introspection = introspection(&mut stream, &request, &state).await;
    let reply = if let Some(reply) = introspection {
        reply
    } else if request.starts_with("GET /oauth2/default/v1/keys HTTP/1.1\r\n") {
        state.for_keys.send_modify(|requests| *requests += 1);
        state.reply.lock().unwrap().clone()
    } else {
        state.for_others.send_modify(|requests| *requests += 1);
        Reply::status("404 Not Found\r\n", "")
    };
    // The other end may close first; that is its right.
    let _ = send(&mut stream, reply).await;
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

/// Takes note of a question about a token, and says what to answer. `None` where nobody answers such questions.
async fn introspection(stream: &mut BufReader<TcpStream>, head: &str, state: &State) -> Option<Reply> {
    let (target, _) = head.split_once(" HTTP/1.1\r\n")?;
    let reply = state.introspections.lock().unwrap().get(target.strip_prefix("POST ")?).cloned()?;
    let mut question = Question { target: target.to_owned(), head: head.to_owned(), body: String::new() };
    let [length] = question.headers("content-length")[..] else { panic!("no length: {head}") };
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    question.body = String::from_utf8(body).unwrap();
    state.questions.send_modify(|questions| questions.push(question));
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
        Reply::After(delay, reply) => {
            tokio::time::sleep(delay).await;
            Box::pin(send(stream, *reply)).await
        }
        Reply::Behind(mut gate, reply) => {
            // A gate that is gone is open: the test is over.
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
