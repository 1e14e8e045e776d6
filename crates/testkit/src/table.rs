//! The shared keys table. Its engine is an emulator in this process, or the server at
//! `DYNAMODB_ENDPOINT` if that is set (`.ci/dynamodb-local` sets it). There are also a port that
//! refuses connections and a server that never answers.

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

use crate::{keys, padded, with, without};

pub const TABLE: &str = "okta-authorizer-keys";

/// A new, empty table that speaks `DynamoDB`'s protocol. No other test shares it.
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
        let (engine, upstream) = if let Ok(endpoint) = env::var("DYNAMODB_ENDPOINT") {
            let upstream = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
            (Engine::Aws { endpoint, account: new_account() }, upstream)
        } else {
            let database = Database::memory().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let upstream = listener.local_addr().unwrap().to_string();
            servers.push(tokio::spawn(dynoxide::server::serve_on(listener, database.clone())));
            (Engine::InProcess(database), upstream)
        };
        engine.run(
            "CreateTable",
            json!({
                "TableName": TABLE,
                "KeySchema": [{ "AttributeName": "PK", "KeyType": "HASH" }],
                "AttributeDefinitions": [{ "AttributeName": "PK", "AttributeType": "S" }],
                "BillingMode": "PAY_PER_REQUEST",
            }),
        );
        if matches!(engine, Engine::Aws { .. }) {
            // The first conditional write of a new server takes longer than the authorizer waits.
            engine.run(
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
        servers.push(tokio::spawn(forward(listener, upstream, engine.account().to_owned(), reads.clone())));
        Self { address, endpoint: format!("http://{address}"), engine, reads, servers }
    }

    /// The number of reads over the network so far.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    /// Writes an item in `DynamoDB`'s JSON: `{"PK": {"S": "…"}, "fetched_at": {"N": "…"}}`.
    pub fn put(&self, item: &Value) {
        self.engine.run("PutItem", json!({ "TableName": TABLE, "Item": item }));
    }

    /// Writes an item under the partition key of this keys endpoint.
    pub fn put_for(&self, keys_endpoint: &str, item: &Value) {
        self.put(&with(item, &json!({ "PK": { "S": partition_key(keys_endpoint) } })));
    }

    /// The item of this keys endpoint in `DynamoDB`'s JSON, if it exists.
    pub fn item(&self, keys_endpoint: &str) -> Option<Value> {
        let key = json!({ "PK": { "S": partition_key(keys_endpoint) } });
        self.engine.run("GetItem", json!({ "TableName": TABLE, "Key": key })).get("Item").cloned()
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

enum Engine {
    InProcess(Database),
    /// `DynamoDB` Local has one database per account. A table in another account is another table.
    Aws {
        endpoint: String,
        account: String,
    },
}

impl Engine {
    /// Runs one operation directly on the engine, not through the table's endpoint.
    fn run(&self, operation: &str, request: Value) -> Value {
        match (self, operation) {
            (Self::InProcess(database), "CreateTable") => answer(database.create_table(parsed(request)).unwrap()),
            (Self::InProcess(database), "PutItem") => answer(database.put_item(parsed(request)).unwrap()),
            (Self::InProcess(database), "GetItem") => answer(database.get_item(parsed(request)).unwrap()),
            (Self::InProcess(_), _) => panic!("{operation}"),
            // `post` starts a runtime, and the test's thread already runs one. So use another
            // thread.
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

/// An access key id that no other table uses, in this process or another.
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

/// Forwards every connection to the engine under this account's access key, and counts the read
/// requests.
async fn forward(listener: TcpListener, upstream: String, account: String, reads: Arc<AtomicUsize>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let engine = TcpStream::connect(&upstream).await.unwrap();
        let (account, reads) = (account.clone(), reads.clone());
        tokio::spawn(async move {
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_engine, mut to_engine) = engine.into_split();
            let requests = async {
                let mut bytes = vec![0; 65_536];
                // The head of a request arrives in one read, because the client sends one request
                // at a time.
                while let Ok(length @ 1..) = from_client.read(&mut bytes).await {
                    let text = String::from_utf8_lossy(&bytes[..length]);
                    reads.fetch_add(text.matches("DynamoDB_20120810.GetItem").count(), Ordering::SeqCst);
                    if to_engine.write_all(&with_account(&account, &bytes[..length])).await.is_err() {
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

/// The request with this access key id and a fixed region. Neither engine checks signatures.
fn with_account(account: &str, request: &[u8]) -> Vec<u8> {
    let position = |from: usize, text: &[u8]| request[from..].windows(text.len()).position(|window| window == text);
    let Some(start) = position(0, b"Credential=") else { return request.to_vec() };
    let start = start + b"Credential=".len();
    let end = start + position(start, b"/aws4_request").unwrap();
    [&request[..start], account.as_bytes(), b"/20260101/us-east-1/dynamodb", &request[end..]].concat()
}

pub fn partition_key(keys_endpoint: &str) -> String {
    format!("JWKS#{keys_endpoint}")
}

/// A valid item, fetched `age` seconds before `now` and valid for a day.
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

/// Items that the authorizer must treat as absent, each with a short description. Their keys are
/// those of an attacker, so that a test notices if one of them is used. `now` is the time at which
/// the authorizer reads them. [`Table::put_for`] sets their partition key.
pub fn unusable_items(now: u64) -> Vec<(&'static str, Value)> {
    let forged = keys::jwks(&[keys::attacker()]);
    let good = without(&item("any", &forged, now, 100), "lease_until");
    let set = |members: Value| with(&good, &members);
    let keys_text = |text: &str| set(json!({ "keys": { "S": text } }));
    let number = |value: i128| json!({ "N": value.to_string() });
    let at = |seconds: i64| number(i128::from(now) + i128::from(seconds));
    let times = |fetched_at: Value, refresh_at: Value, expires_at: Value| {
        set(json!({ "fetched_at": fetched_at, "refresh_at": refresh_at, "expires_at": expires_at }))
    };
    let lease = |lease_until: Value| with(&without(&good, "keys"), &json!({ "lease_until": lease_until }));
    let for_encryption = json!({ "keys": [with(&keys::attacker().jwk(), &json!({ "use": "enc" }))] });
    let elliptic = json!({ "keys": [{ "kty": "EC", "kid": "attacker", "crv": "P-256", "x": "AA", "y": "AA" }] });
    let too_large = padded(&forged.to_string(), 300_000);
    let beyond_64_bits = || number(99_999_999_999_999_999_999_999_999);
    let far_future = || number(99_999_999_999);
    vec![
        ("keys are not JSON", keys_text("nonsense")),
        ("keys are truncated JSON", keys_text(forged.to_string().split_at(99).0)),
        ("keys are a JSON array", keys_text("[]")),
        ("keys are other JSON", keys_text(r#"{"session":{"user":"keys"}}"#)),
        ("empty JWKS", keys_text(r#"{"keys":[]}"#)),
        ("JWKS without a signing key", keys_text(&for_encryption.to_string())),
        ("JWKS without an RSA key", keys_text(&elliptic.to_string())),
        ("JWKS is too large", keys_text(&too_large)),
        ("keys are a number", set(json!({ "keys": { "N": "5" } }))),
        ("keys are a list", set(json!({ "keys": { "L": [] } }))),
        ("keys are a map", set(json!({ "keys": { "M": { "keys": { "L": [] } } } }))),
        ("keys are bytes", set(json!({ "keys": { "B": "e30=" } }))),
        ("keys are a set", set(json!({ "keys": { "SS": ["attacker"] } }))),
        ("keys are null", set(json!({ "keys": { "NULL": true } }))),
        ("no keys", without(&good, "keys")),
        ("no fetched_at", without(&good, "fetched_at")),
        ("no refresh_at", without(&good, "refresh_at")),
        ("no expires_at", without(&good, "expires_at")),
        ("fetched_at is text", set(json!({ "fetched_at": { "S": (now - 100).to_string() } }))),
        ("fetched_at is a list", set(json!({ "fetched_at": { "L": [{ "N": "1" }] } }))),
        ("fetched_at is a set", set(json!({ "fetched_at": { "NS": [(now - 100).to_string()] } }))),
        ("fetched_at is null", set(json!({ "fetched_at": { "NULL": true } }))),
        ("fetched_at is a fraction", set(json!({ "fetched_at": { "N": format!("{}.5", now - 100) } }))),
        ("fetched_at is a tiny fraction", set(json!({ "fetched_at": { "N": "1e-7" } }))),
        ("fetched_at is negative", set(json!({ "fetched_at": number(-5) }))),
        ("expires_at is text", set(json!({ "expires_at": { "S": (now + 1000).to_string() } }))),
        ("fetched in the future", times(at(9_000), at(12_600), at(95_400))),
        ("fetched in the far future", times(far_future(), far_future(), far_future())),
        ("refresh due when it was fetched", times(at(-10), at(-10), at(10))),
        ("expired an hour ago, not yet deleted", times(at(-90_000), at(-86_400), at(-3_600))),
        ("expired a second ago", set(json!({ "expires_at": at(-1) }))),
        ("expires now", times(at(-10), at(10), at(0))),
        ("just older than allowed", times(at(-86_400), at(10), at(10))),
        ("older than allowed, expires late", times(at(-200_000), at(86_400), at(86_400))),
        ("fetched at the epoch", times(number(0), far_future(), far_future())),
        ("numbers beyond 64 bits", set(json!({ "fetched_at": beyond_64_bits(), "expires_at": beyond_64_bits() }))),
        ("only the partition key", json!({ "PK": good["PK"] })),
        ("only an expired lease", json!({ "PK": good["PK"], "lease_until": at(-5) })),
        ("no keys, lease is text", lease(json!({ "S": "forever" }))),
        ("no keys, lease is a map", lease(json!({ "M": {} }))),
        ("no keys, lease is a boolean", lease(json!({ "BOOL": true }))),
        ("no keys, lease is negative", lease(number(-1))),
        ("no keys, lease is too far in the future", lease(json!({ "N": "9".repeat(38) }))),
    ]
}

fn parsed<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

fn answer(response: impl Serialize) -> Value {
    serde_json::to_value(response).unwrap()
}

/// An endpoint that refuses connections.
pub async fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A server that accepts connections, counts them, and never sends anything.
pub struct SilentServer {
    pub endpoint: String,
    connections: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl SilentServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let server = tokio::spawn(async move {
            let mut connections = Vec::new();
            loop {
                connections.push(listener.accept().await.unwrap());
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { endpoint, connections, server }
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for SilentServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}
