//! A toy issuer with Okta's paths, claims and JWKS. It gives a token with any claims to anybody, so
//! it is for local use only.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::IntoResponse,
    routing::{get, post},
};
use serde_json::{Map, Value, json};
use tokio::{
    net::TcpListener,
    task::{self, JoinHandle},
};
use url::form_urlencoded;

use super::Error;
use crate::{
    keys::{Key, jwks},
    now,
};

/// The lifetime of a token, in seconds.
const LIFETIME: u64 = 3_600;

/// The running server. Dropping it closes the port.
pub struct Issuer {
    origin: String,
    server: JoinHandle<()>,
}

struct Toy {
    issuer: String,
    /// The last key signs new tokens.
    keys: Mutex<Vec<Key>>,
}

impl Issuer {
    /// Generates the first key, which takes a second, and serves on `listener`.
    ///
    /// # Errors
    /// The listener has no address.
    pub async fn start(listener: TcpListener) -> Result<Self, Error> {
        let origin = format!("http://{}", listener.local_addr()?);
        let toy = Toy { issuer: format!("{origin}/oauth2/default"), keys: Mutex::new(vec![generate(1).await?]) };
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

async fn generate(number: usize) -> Result<Key, task::JoinError> {
    task::spawn_blocking(move || Key::generate(format!("toy-{number}"))).await
}

async fn keys(State(toy): State<Arc<Toy>>) -> impl IntoResponse {
    ([("cache-control", "max-age=3600, must-revalidate")], Json(jwks(&toy.keys.lock().unwrap())))
}

/// Adds a key that signs from now on. The old keys stay in the JWKS, so that their tokens stay
/// valid.
async fn rotate(State(toy): State<Arc<Toy>>) -> Result<Json<Value>, (StatusCode, String)> {
    let number = toy.keys.lock().unwrap().len() + 1;
    let key = generate(number).await.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    toy.keys.lock().unwrap().push(key);
    let published: Vec<_> = toy.keys.lock().unwrap().iter().map(|key| key.kid).collect();
    Ok(Json(json!({ "signs": key.kid, "published": published })))
}

/// The token endpoint of RFC 6749: client credentials (4.4), and a grant named `toy` with any
/// claims.
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
            let Some(uid) = first("uid") else { return refused("invalid_request", "the toy grant needs a uid") };
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
    let answer = json!({
        "token_type": "Bearer",
        "expires_in": LIFETIME,
        "access_token": toy.sign(claims),
        "scope": scopes.join(" "),
    });
    (StatusCode::OK, Json(answer))
}

fn refused(error: &str, description: &str) -> (StatusCode, Json<Value>) {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error, "error_description": description })))
}

impl Toy {
    fn sign(&self, mut claims: Map<String, Value>) -> String {
        let now = now();
        claims.extend([
            ("ver".to_owned(), json!(1)),
            ("jti".to_owned(), json!(format!("AT.{}", SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos()))),
            ("iss".to_owned(), json!(self.issuer)),
            ("aud".to_owned(), json!("api://default")),
            ("iat".to_owned(), json!(now)),
            ("exp".to_owned(), json!(now + LIFETIME)),
        ]);
        let key = *self.keys.lock().unwrap().last().expect("there is a first key");
        key.token(&Value::Object(claims))
    }
}
