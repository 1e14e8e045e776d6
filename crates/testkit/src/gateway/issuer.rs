//! A toy issuer with Okta's paths, claims and JWKS. It gives a token with any claims to anybody, so
//! it is for local use only.

use std::{
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

use super::{Error, claims::claims};
use crate::{
    keys::{self, Key, jwks},
    now,
};

/// The lifetime of a token, in seconds.
const LIFETIME: u64 = 3_600;

/// The fields that are the OAuth request and no claims. A client's secret is not looked at.
const REQUEST: [&str; 4] = ["grant_type", "client_id", "client_secret", "scope"];

/// The claims that no field can set, and what to do instead.
const TAKEN: [(&str, &str); 8] = [
    ("cid", "write client_id=TEXT"),
    ("scp", "write scope=TEXT"),
    ("ver", SET),
    ("jti", SET),
    ("iss", SET),
    ("aud", SET),
    ("iat", SET),
    ("exp", SET),
];

const SET: &str = "leave it out, because the toy issuer sets it itself";

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
    /// Serves on `listener`. The first key is the public sample key, because a new one takes up to a
    /// second, and anybody gets a token here anyway.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn start(listener: TcpListener) -> Result<Self, Error> {
        let origin = format!("http://{}", listener.local_addr()?);
        let first = keys::sample().named("toy-1");
        let toy = Toy { issuer: format!("{origin}/oauth2/default"), keys: Mutex::new(vec![first]) };
        let router = Router::new()
            .route("/oauth2/default/v1/keys", get(published))
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

async fn published(State(toy): State<Arc<Toy>>) -> impl IntoResponse {
    ([("cache-control", "max-age=3600, must-revalidate")], Json(jwks(&toy.keys.lock().unwrap())))
}

/// Adds a key that signs from now on. The old keys stay in the JWKS, so that their tokens stay
/// valid.
async fn rotate(State(toy): State<Arc<Toy>>) -> Result<Json<Value>, (StatusCode, String)> {
    let number = toy.keys.lock().unwrap().len() + 1;
    let generated = task::spawn_blocking(move || Key::generate(format!("toy-{number}"))).await;
    let key = generated.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    toy.keys.lock().unwrap().push(key);
    let published: Vec<_> = toy.keys.lock().unwrap().iter().map(|key| key.kid).collect();
    Ok(Json(json!({ "signs": key.kid, "published": published })))
}

/// The token endpoint of RFC 6749: client credentials (4.4), and a grant named `toy` for a user. All
/// fields that are not the request become claims.
async fn token(State(toy): State<Arc<Toy>>, form: String) -> (StatusCode, Json<Value>) {
    let fields = form_urlencoded::parse(form.as_bytes()).into_owned();
    let (request, fields): (Vec<_>, Vec<_>) = fields.partition(|(name, _)| REQUEST.contains(&name.as_str()));
    let one = |name: &str| {
        let mut values = request.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str());
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => {
                Err(format!("{name} is there more than once; expected it once, and scopes with a space between"))
            }
        }
    };
    let read = || Ok::<_, String>((one("grant_type")?, one("client_id")?, one("scope")?, claims(fields, &TAKEN)?));
    let (grant, client, scope, mut claims) = match read() {
        Ok(read) => read,
        Err(problem) => return refused("invalid_request", problem),
    };
    let client = client.unwrap_or("0oatoyclient");
    match grant {
        Some("client_credentials") => {
            if let Some(name) = ["uid", "sub"].into_iter().find(|name| claims.contains_key(*name)) {
                let problem = format!("a token of client_credentials has no {name} of its own; write grant_type=toy");
                return refused("invalid_request", problem);
            }
            claims.insert("sub".to_owned(), json!(client));
        }
        Some("toy") => {
            let Some(uid) = claims.get("uid").and_then(Value::as_str) else {
                return refused("invalid_request", "the grant toy needs the user's id; write uid=TEXT");
            };
            let login = json!(format!("{uid}@example.com"));
            claims.entry("sub").or_insert(login);
        }
        _ => return refused("unsupported_grant_type", "expected grant_type=toy or grant_type=client_credentials"),
    }
    claims.insert("cid".to_owned(), json!(client));
    let scopes: Vec<_> = scope.into_iter().flat_map(|scope| scope.split_whitespace()).collect();
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

fn refused(error: &str, description: impl Into<String>) -> (StatusCode, Json<Value>) {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error, "error_description": description.into() })))
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
