//! A TCP proxy whose upstream a test changes while clients are connected.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A port that forwards each new connection to the chosen server. Dropping it closes the port.
pub struct RoutingProxy {
    pub port: u16,
    upstream: Arc<Mutex<SocketAddr>>,
    server: JoinHandle<()>,
}

impl RoutingProxy {
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let upstream = Arc::new(Mutex::new(upstream));
        let chosen = upstream.clone();
        let server = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let upstream = *chosen.lock().unwrap();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(upstream).await.unwrap();
                    // Either side may close the connection first.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { port, upstream, server }
    }

    /// Forwards new connections to `upstream` from now on.
    pub fn route_to(&self, upstream: SocketAddr) {
        *self.upstream.lock().unwrap() = upstream;
    }
}

impl Drop for RoutingProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}
