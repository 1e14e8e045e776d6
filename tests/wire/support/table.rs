//! The shared table: a real engine in this process, a port where nobody is, and one that takes calls and never answers.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use dynoxide::Database;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::keys;

pub const TABLE: &str = "okta-authorizer-keys";

/// A table in memory behind `DynamoDB`'s own protocol.
pub struct Table {
    pub address: SocketAddr,
    pub endpoint: String,
    database: Database,
    reads: Arc<AtomicUsize>,
    servers: [JoinHandle<()>; 2],
}

impl Table {
    pub async fn start() -> Self {
        keys::prepare();
        let database = Database::memory().unwrap();
        database
            .create_table(request(json!({
                "TableName": TABLE,
                "KeySchema": [{ "AttributeName": "PK", "KeyType": "HASH" }],
                "AttributeDefinitions": [{ "AttributeName": "PK", "AttributeType": "S" }],
                "BillingMode": "PAY_PER_REQUEST",
            })))
            .unwrap();
        let engine = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = engine.local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let reads = Arc::new(AtomicUsize::new(0));
        let servers = [
            tokio::spawn(dynoxide::server::serve_on(engine, database.clone())),
            tokio::spawn(count(listener, behind, reads.clone())),
        ];
        Self { address, endpoint: format!("http://{address}"), database, reads, servers }
    }

    /// How often an item was read over the wire.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    /// Writes an item in the wire's notation: `{"PK": {"S": "…"}, "fetched_at": {"N": "…"}}`.
    pub fn put(&self, item: &Value) {
        self.database.put_item(request(json!({ "TableName": TABLE, "Item": item }))).unwrap();
    }

    /// The keys' item of this endpoint in the wire's notation, if there is one.
    pub fn item(&self, keys_endpoint: &str) -> Option<Value> {
        let key = json!({ "PK": { "S": partition_key(keys_endpoint) } });
        let response = self.database.get_item(request(json!({ "TableName": TABLE, "Key": key }))).unwrap();
        serde_json::to_value(response).unwrap().get("Item").cloned()
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

/// Hands every connection on to the engine, and counts the reads among the requests.
async fn count(listener: TcpListener, behind: SocketAddr, reads: Arc<AtomicUsize>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let engine = TcpStream::connect(behind).await.unwrap();
        let reads = reads.clone();
        tokio::spawn(async move {
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_engine, mut to_engine) = engine.into_split();
            let requests = async {
                let mut bytes = vec![0; 65_536];
                // The head of a request comes in one piece, and a client waits for the answer before its next.
                while let Ok(length @ 1..) = from_client.read(&mut bytes).await {
                    let text = String::from_utf8_lossy(&bytes[..length]);
                    reads.fetch_add(text.matches("DynamoDB_20120810.GetItem").count(), Ordering::SeqCst);
                    if to_engine.write_all(&bytes[..length]).await.is_err() {
                        break;
                    }
                }
            };
            let answers = tokio::io::copy(&mut from_engine, &mut to_client);
            tokio::select! {
                () = requests => {}
                _ = answers => {}
            }
        });
    }
}

pub fn partition_key(keys_endpoint: &str) -> String {
    format!("JWKS#{keys_endpoint}")
}

/// An item as the design describes it, fetched `age` seconds before `now` and good for a day.
pub fn item(keys_endpoint: &str, jwks: &Value, now: u64, age: u64) -> Value {
    let fetched_at = now - age;
    json!({
        "PK": { "S": partition_key(keys_endpoint) },
        "keys": { "S": jwks.to_string() },
        "fetched_at": { "N": fetched_at.to_string() },
        "refresh_at": { "N": (fetched_at + 3600).to_string() },
        "expires_at": { "N": (fetched_at + 86_400).to_string() },
        "lease_until": { "N": (fetched_at + 30).to_string() },
    })
}

fn request<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

/// An endpoint where nobody listens.
pub async fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// An endpoint that takes connections, counts them, and never says anything.
pub struct Hanging {
    pub endpoint: String,
    connections: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Hanging {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let server = tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                held.push(listener.accept().await.unwrap());
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { endpoint, connections, server }
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.server.abort();
    }
}
