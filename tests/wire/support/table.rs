//! The shared table: a real engine in this process, or AWS's own at `DYNAMODB_ENDPOINT` (`.ci/dynamodb-local` starts it); a port
//! where nobody is; and one that takes calls and never answers.

use std::{
    env,
    net::SocketAddr,
    process,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::SystemTime,
};

use dynoxide::Database;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::keys;

pub const TABLE: &str = "okta-authorizer-keys";

/// A table in memory behind `DynamoDB`'s own protocol, empty and nobody else's.
pub struct Table {
    pub address: SocketAddr,
    pub endpoint: String,
    engine: Engine,
    reads: Arc<AtomicUsize>,
    servers: Vec<JoinHandle<()>>,
}

impl Table {
    pub async fn start() -> Self {
        keys::prepare();
        let mut servers = Vec::new();
        let (engine, behind) = if let Ok(endpoint) = env::var("DYNAMODB_ENDPOINT") {
            let behind = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
            (Engine::Aws { endpoint, account: new_account() }, behind)
        } else {
            let database = Database::memory().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let behind = listener.local_addr().unwrap().to_string();
            servers.push(tokio::spawn(dynoxide::server::serve_on(listener, database.clone())));
            (Engine::InProcess(database), behind)
        };
        engine.ask(
            "CreateTable",
            json!({
                "TableName": TABLE,
                "KeySchema": [{ "AttributeName": "PK", "KeyType": "HASH" }],
                "AttributeDefinitions": [{ "AttributeName": "PK", "AttributeType": "S" }],
                "BillingMode": "PAY_PER_REQUEST",
            }),
        );
        if matches!(engine, Engine::Aws { .. }) {
            // The first conditional write of a server takes it longer than the program would wait.
            engine.ask(
                "UpdateItem",
                json!({
                    "TableName": TABLE,
                    "Key": { "PK": { "S": "warm" } },
                    "UpdateExpression": "SET lease_until = :until",
                    "ConditionExpression": "attribute_not_exists(lease_until) OR NOT lease_until BETWEEN :until AND :until",
                    "ExpressionAttributeValues": { ":until": { "N": "0" } },
                }),
            );
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let reads = Arc::new(AtomicUsize::new(0));
        servers.push(tokio::spawn(count(listener, behind, engine.account().to_owned(), reads.clone())));
        Self { address, endpoint: format!("http://{address}"), engine, reads, servers }
    }

    /// How often an item was read over the wire.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    /// Writes an item in the wire's notation: `{"PK": {"S": "…"}, "fetched_at": {"N": "…"}}`.
    pub fn put(&self, item: &Value) {
        self.engine.ask("PutItem", json!({ "TableName": TABLE, "Item": item }));
    }

    /// The keys' item of this endpoint in the wire's notation, if there is one.
    pub fn item(&self, keys_endpoint: &str) -> Option<Value> {
        let key = json!({ "PK": { "S": partition_key(keys_endpoint) } });
        self.engine.ask("GetItem", json!({ "TableName": TABLE, "Key": key })).get("Item").cloned()
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

enum Engine {
    InProcess(Database),
    /// `DynamoDB` Local keeps a database for every account: the same table in another account is another table.
    Aws {
        endpoint: String,
        account: String,
    },
}

impl Engine {
    /// Asks it directly, whatever happens to the table's own endpoint.
    fn ask(&self, operation: &str, request: Value) -> Value {
        match (self, operation) {
            (Self::InProcess(database), "CreateTable") => answer(database.create_table(parsed(request)).unwrap()),
            (Self::InProcess(database), "PutItem") => answer(database.put_item(parsed(request)).unwrap()),
            (Self::InProcess(database), "GetItem") => answer(database.get_item(parsed(request)).unwrap()),
            (Self::InProcess(_), _) => panic!("{operation}"),
            // A thread of its own, because that of the test is in a runtime already.
            (Self::Aws { endpoint, account }, _) => {
                thread::scope(|scope| scope.spawn(|| post(endpoint, account, operation, &request)).join().unwrap())
            }
        }
    }

    fn account(&self) -> &str {
        match self {
            Self::InProcess(_) => "any",
            Self::Aws { account, .. } => account,
        }
    }
}

/// An access key id that nobody has used, in this process or another.
fn new_account() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    format!("AKIA{now:X}P{:X}N{:X}", process::id(), COUNT.fetch_add(1, Ordering::SeqCst))
}

#[tokio::main(flavor = "current_thread")]
async fn post(endpoint: &str, account: &str, operation: &str, request: &Value) -> Value {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let request = client
        .post(endpoint)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header("authorization", format!("AWS4-HMAC-SHA256 Credential={account}/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00"))
        .body(request.to_string());
    let response = request.send().await.unwrap();
    let status = response.status();
    let body = response.text().await.unwrap();
    assert!(status.is_success(), "{operation}: {status}, {body}");
    serde_json::from_str(&body).unwrap()
}

/// Hands every connection on to the engine, as one of this account's, and counts the reads among the requests.
async fn count(listener: TcpListener, behind: String, account: String, reads: Arc<AtomicUsize>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let engine = TcpStream::connect(&behind).await.unwrap();
        let (account, reads) = (account.clone(), reads.clone());
        tokio::spawn(async move {
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_engine, mut to_engine) = engine.into_split();
            let requests = async {
                let mut bytes = vec![0; 65_536];
                // The head of a request comes in one piece, and a client waits for the answer before its next.
                while let Ok(length @ 1..) = from_client.read(&mut bytes).await {
                    let text = String::from_utf8_lossy(&bytes[..length]);
                    reads.fetch_add(text.matches("DynamoDB_20120810.GetItem").count(), Ordering::SeqCst);
                    if to_engine.write_all(&of_account(&account, &bytes[..length])).await.is_err() {
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

/// The request under this access key id and in one region. Neither engine checks signatures.
fn of_account(account: &str, request: &[u8]) -> Vec<u8> {
    let position = |from: usize, text: &[u8]| request[from..].windows(text.len()).position(|window| window == text);
    let Some(start) = position(0, b"Credential=") else { return request.to_vec() };
    let start = start + b"Credential=".len();
    let end = start + position(start, b"/aws4_request").unwrap();
    [&request[..start], account.as_bytes(), b"/20260101/us-east-1/dynamodb", &request[end..]].concat()
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

fn parsed<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

fn answer(response: impl Serialize) -> Value {
    serde_json::to_value(response).unwrap()
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
