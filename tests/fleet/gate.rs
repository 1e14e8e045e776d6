//! What goes wrong between an instance and a server, request by request: it can begin and end while a client is connected.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

/// What becomes of a request to the table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Fault {
    #[default]
    None,
    /// The connection is closed without an answer.
    HangUp,
    /// Nothing is ever said.
    Silence,
    /// It is handed on, but not at once.
    Slow(Duration),
    /// `DynamoDB`'s own way to say no: the status, and the error's name.
    Error(u16, &'static str),
    /// 200, and this.
    Body(&'static str),
}

/// In front of a table. Dropping it closes the port.
pub struct Gate {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

#[derive(Clone, Copy, Default)]
struct State {
    fault: Fault,
    /// Which requests it befalls; the text is found in every request.
    operation: &'static str,
}

impl Gate {
    pub async fn start(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let server = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(pass(client, behind, shared.clone()));
            }
        });
        Self { endpoint, state, server }
    }

    /// From now on this happens to every request.
    pub fn set(&self, fault: Fault) {
        self.set_for("DynamoDB_20120810.", fault);
    }

    /// From now on this happens to every request of one operation, and nothing to the others.
    pub fn set_for(&self, operation: &'static str, fault: Fault) {
        *self.state.lock().unwrap() = State { fault, operation };
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass(mut client: TcpStream, behind: SocketAddr, state: Arc<Mutex<State>>) {
    let mut engine = TcpStream::connect(behind).await.unwrap();
    let (mut request, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
    // Where a request is more than one piece, the rest goes the way of its head.
    let mut fault = Fault::None;
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let Ok(length @ 1..) = read else { return };
                let text = String::from_utf8_lossy(&request[..length]);
                let is_head = text.starts_with("POST / HTTP/1.1\r\n");
                if is_head {
                    let state = *state.lock().unwrap();
                    fault = if text.contains(state.operation) { state.fault } else { Fault::None };
                }
                let said = match fault {
                    Fault::HangUp => return,
                    Fault::Silence => std::future::pending().await,
                    Fault::None => engine.write_all(&request[..length]).await,
                    Fault::Slow(delay) => {
                        sleep(delay).await;
                        engine.write_all(&request[..length]).await
                    }
                    Fault::Error(status, name) if is_head => {
                        let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{name}","message":"no"}}"#);
                        client.write_all(http(status, &body).as_bytes()).await
                    }
                    Fault::Body(body) if is_head => client.write_all(http(200, body).as_bytes()).await,
                    Fault::Error(..) | Fault::Body(_) => Ok(()),
                };
                if said.is_err() {
                    return;
                }
            }
            read = engine.read(&mut answer) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&answer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn http(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// One port that leads to whichever server is chosen, connection by connection. Dropping it closes the port.
pub struct Switch {
    pub port: u16,
    behind: Arc<Mutex<SocketAddr>>,
    server: JoinHandle<()>,
}

impl Switch {
    pub async fn start(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let behind = Arc::new(Mutex::new(behind));
        let chosen = behind.clone();
        let server = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let behind = *chosen.lock().unwrap();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(behind).await.unwrap();
                    // Either end may close first.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { port, behind, server }
    }

    /// New connections lead here from now on.
    pub fn lead_to(&self, behind: SocketAddr) {
        *self.behind.lock().unwrap() = behind;
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.server.abort();
    }
}
