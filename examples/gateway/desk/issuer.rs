//! A toy that stands where Okta would: it gives a token to anybody who asks, with whatever claims they ask for.
//! Okta's paths, claims and key set; nothing of Okta's care.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{self, KeyPair as _},
};
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::IntoResponse,
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use tokio::{
    net::TcpListener,
    task::{self, JoinHandle},
};
use url::form_urlencoded;

use super::Error;

/// The authorizer, without a table, asks for a key that it does not know this many seconds after the last answer.
const ASKS_AGAIN_AFTER: u64 = 30;
const LIFETIME: u64 = 3_600;

/// The server. Dropping it closes the port.
pub struct Issuer {
    origin: String,
    server: JoinHandle<()>,
}

struct Toy {
    issuer: String,
    /// The last one signs.
    keys: Mutex<Vec<SigningKey>>,
    fetched: Mutex<Option<Instant>>,
}

struct SigningKey {
    kid: String,
    pair: KeyPair,
}

impl Issuer {
    /// Makes a first key, which takes a second, and answers on `listener`.
    ///
    /// # Errors
    /// Where no key can be made.
    pub async fn start(listener: TcpListener) -> Result<Self, Error> {
        let origin = format!("http://{}", listener.local_addr()?);
        let toy = Toy {
            issuer: format!("{origin}/oauth2/default"),
            keys: Mutex::new(vec![SigningKey::new(1).await?]),
            fetched: Mutex::default(),
        };
        let router = Router::new()
            .route("/oauth2/default/v1/keys", get(keys))
            .route("/oauth2/default/v1/token", post(token))
            .route("/rotate", post(rotate))
            .with_state(Arc::new(toy));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the toy issuer stopped: {error}");
            }
        });
        Ok(Self { origin, server })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// `http://127.0.0.1:PORT/oauth2/default`.
    pub fn issuer(&self) -> String {
        format!("{}/oauth2/default", self.origin)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn keys(State(toy): State<Arc<Toy>>) -> impl IntoResponse {
    *toy.fetched.lock().unwrap() = Some(Instant::now());
    ([("cache-control", "max-age=3600, must-revalidate")], Json(json!({ "keys": toy.published() })))
}

/// The new key signs from now on; the old ones stay in the set, so that their tokens live out their time.
async fn rotate(State(toy): State<Arc<Toy>>) -> Result<Json<Value>, (StatusCode, String)> {
    let number = toy.keys.lock().unwrap().len() + 1;
    let key = SigningKey::new(number).await.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let current = key.kid.clone();
    toy.keys.lock().unwrap().push(key);
    let published: Vec<_> = toy.keys.lock().unwrap().iter().map(|key| key.kid.clone()).collect();
    let age = toy.fetched.lock().unwrap().map(|fetched| fetched.elapsed().as_secs());
    let wait = age.map_or(0, |age| ASKS_AGAIN_AFTER.saturating_sub(age));
    Ok(Json(json!({ "signs": current, "published": published, "authorizer_may_ask_again_in_seconds": wait })))
}

/// RFC 6749, 4.4 and 5, and a grant that is nobody's.
async fn token(State(toy): State<Arc<Toy>>, form: String) -> (StatusCode, Json<Value>) {
    let mut fields: HashMap<String, Vec<String>> = HashMap::new();
    for (name, value) in form_urlencoded::parse(form.as_bytes()).into_owned() {
        fields.entry(name).or_default().push(value);
    }
    let first = |name: &str| fields.get(name).and_then(|values| values.first());
    let all = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let scopes: Vec<_> = all("scope").iter().flat_map(|scope| scope.split(' ')).map(str::to_owned).collect();
    let client = first("client_id").map_or("0oatoyclient", String::as_str);
    let mut claims = Map::new();
    match first("grant_type").map(String::as_str) {
        Some("client_credentials") => drop(claims.insert("sub".to_owned(), json!(client))),
        Some("toy") => {
            let Some(uid) = first("uid") else { return refused("invalid_request", "the toy grant wants a uid") };
            claims.insert("uid".to_owned(), json!(uid));
            claims.insert("sub".to_owned(), json!(format!("{uid}@example.com")));
            for name in ["groups", "tenants"] {
                if fields.contains_key(name) {
                    claims.insert(name.to_owned(), json!(all(name)));
                }
            }
        }
        _ => return refused("unsupported_grant_type", "grant_type is client_credentials or toy"),
    }
    claims.insert("cid".to_owned(), json!(client));
    if !scopes.is_empty() {
        claims.insert("scp".to_owned(), json!(scopes));
    }
    let Some(access_token) = toy.sign(claims) else { return refused("server_error", "no key to sign with") };
    let answer = json!({
        "token_type": "Bearer",
        "expires_in": LIFETIME,
        "access_token": access_token,
        "scope": scopes.join(" "),
    });
    (StatusCode::OK, Json(answer))
}

fn refused(error: &str, description: &str) -> (StatusCode, Json<Value>) {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error, "error_description": description })))
}

impl Toy {
    fn published(&self) -> Vec<Value> {
        self.keys.lock().unwrap().iter().map(SigningKey::jwk).collect()
    }

    fn sign(&self, mut claims: Map<String, Value>) -> Option<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        claims.extend([
            ("ver".to_owned(), json!(1)),
            ("jti".to_owned(), json!(format!("AT.{}", now.as_nanos()))),
            ("iss".to_owned(), json!(self.issuer)),
            ("aud".to_owned(), json!("api://default")),
            ("iat".to_owned(), json!(now.as_secs())),
            ("exp".to_owned(), json!(now.as_secs() + LIFETIME)),
        ]);
        self.keys.lock().unwrap().last()?.sign(&Value::Object(claims))
    }
}

impl SigningKey {
    async fn new(number: usize) -> Result<Self, Error> {
        let pair = task::spawn_blocking(|| KeyPair::generate(KeySize::Rsa2048)).await??;
        Ok(Self { kid: format!("toy-{number}"), pair })
    }

    /// The public key as Okta publishes it.
    fn jwk(&self) -> Value {
        // RSAPublicKey (RFC 8017, A.1.1) of 2048 bits: two headers of four bytes and the sign's zero byte come first.
        let modulus = self.pair.public_key().as_ref().get(9..265).unwrap_or_default();
        json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": encode(modulus), "e": "AQAB" })
    }

    fn sign(&self, claims: &Value) -> Option<String> {
        let header = json!({ "alg": "RS256", "kid": self.kid });
        let input = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let padding = &signature::RSA_PKCS1_SHA256;
        self.pair.sign(padding, &SystemRandom::new(), input.as_bytes(), &mut signature).ok()?;
        Some(format!("{input}.{}", encode(signature)))
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
