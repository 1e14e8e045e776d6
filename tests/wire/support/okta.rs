//! An Okta on loopback that counts what it is asked and answers as the test says. Written on bare TCP, because half of what
//! it must do no HTTP server would.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use super::keys;

/// How the keys endpoint answers.
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
    /// The body comes one byte in 100 ms: always alive, never done.
    Drip(String),
    /// The connection is closed without an answer.
    HangUp,
    /// This, but not at once.
    After(Duration, Box<Self>),
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

    pub fn status(head: impl Into<String>, body: impl Into<String>) -> Self {
        Self::Status { head: head.into(), body: body.into() }
    }
}

struct State {
    reply: Mutex<Reply>,
    for_keys: watch::Sender<usize>,
    for_others: watch::Sender<usize>,
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
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state =
            State { reply: Mutex::new(reply), for_keys: watch::Sender::new(0), for_others: watch::Sender::new(0) };
        let state = Arc::new(state);
        let server = tokio::spawn(serve(listener, state.clone()));
        Self { address, state, server }
    }

    pub fn issuer(&self) -> String {
        format!("http://{}/oauth2/default", self.address)
    }

    pub fn keys_endpoint(&self) -> String {
        format!("{}/v1/keys", self.issuer())
    }

    /// Answers like this from now on.
    pub fn answer(&self, reply: Reply) {
        *self.state.reply.lock().unwrap() = reply;
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
        tokio::spawn(answer(stream, state.clone()));
    }
}

async fn answer(mut stream: TcpStream, state: Arc<State>) {
    let request = head(&mut stream).await;
    if request.is_empty() {
        return;
    }
    let reply = if request.starts_with("GET /oauth2/default/v1/keys HTTP/1.1\r\n") {
        state.for_keys.send_modify(|requests| *requests += 1);
        state.reply.lock().unwrap().clone()
    } else {
        state.for_others.send_modify(|requests| *requests += 1);
        Reply::status("404 Not Found\r\n", "")
    };
    // The other end may close first; that is its right.
    let _ = send(&mut stream, reply).await;
}

async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => return String::new(),
        }
    }
    String::from_utf8(bytes).unwrap()
}

async fn send(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    match reply {
        Reply::Body { headers, body } => {
            stream.write_all(ok(&headers, body.len()).as_bytes()).await?;
            stream.write_all(body.as_bytes()).await?;
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
    }
}

fn ok(headers: &str, length: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n"
    )
}
