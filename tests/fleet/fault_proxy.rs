//! A proxy between the instances and the table. A test changes its behaviour while clients are
//! connected.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

/// What happens to a request to the table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum TableFault {
    #[default]
    None,
    /// The connection is closed without a response.
    HangUp,
    /// Nothing is sent.
    Silence,
    /// The request is forwarded after a delay.
    Slow(Duration),
    /// The request is forwarded, and its answer arrives after a delay.
    SlowAnswer(Duration),
    /// `DynamoDB`'s error response with this status and error name.
    Error(u16, &'static str),
    /// 200 with this body.
    Body(&'static str),
}

/// A proxy that makes requests to a table fail. Dropping it closes the port.
pub struct FaultProxy {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

#[derive(Clone, Copy, Default)]
struct State {
    fault: TableFault,
    /// The fault applies to requests that contain this text.
    operation: &'static str,
}

impl FaultProxy {
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let server = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(pass(client, upstream, shared.clone()));
            }
        });
        Self { endpoint, state, server }
    }

    /// Applies `fault` to every request from now on.
    pub fn set(&self, fault: TableFault) {
        self.set_for("DynamoDB_20120810.", fault);
    }

    /// Applies `fault` to every request of one operation from now on. Other requests succeed.
    pub fn set_for(&self, operation: &'static str, fault: TableFault) {
        *self.state.lock().unwrap() = State { fault, operation };
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass(mut client: TcpStream, upstream: SocketAddr, state: Arc<Mutex<State>>) {
    let mut engine = TcpStream::connect(upstream).await.unwrap();
    let (mut request, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
    // The rest of a request that arrives in several reads has the same fault as its head.
    let mut fault = TableFault::None;
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let Ok(length @ 1..) = read else { return };
                let text = String::from_utf8_lossy(&request[..length]);
                let is_head = text.starts_with("POST / HTTP/1.1\r\n");
                if is_head {
                    let state = *state.lock().unwrap();
                    fault = if text.contains(state.operation) { state.fault } else { TableFault::None };
                }
                let sent = match fault {
                    TableFault::HangUp => return,
                    TableFault::Silence => std::future::pending().await,
                    TableFault::None | TableFault::SlowAnswer(_) => engine.write_all(&request[..length]).await,
                    TableFault::Slow(delay) => {
                        sleep(delay).await;
                        engine.write_all(&request[..length]).await
                    }
                    TableFault::Error(status, name) if is_head => {
                        let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{name}","message":"no"}}"#);
                        client.write_all(http(status, &body).as_bytes()).await
                    }
                    TableFault::Body(body) if is_head => client.write_all(http(200, body).as_bytes()).await,
                    TableFault::Error(..) | TableFault::Body(_) => Ok(()),
                };
                if sent.is_err() {
                    return;
                }
            }
            read = engine.read(&mut answer) => {
                let Ok(length @ 1..) = read else { return };
                if let TableFault::SlowAnswer(delay) = fault {
                    sleep(delay).await;
                }
                if client.write_all(&answer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn http(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Any\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
