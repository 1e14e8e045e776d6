//! Mints an access token in Okta's shape, signed by the public sample key, for curl and experiments.
//!
//! ```text
//! cargo run --example token -- --uid 00u1 --scope api:read --group SUPERUSERS --tenant 0oa1:acme:00g1 [--expired]
//! ```

use std::{
    env,
    error::Error,
    time::{SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value, json};

const USAGE: &str =
    "usage: token [--uid ID] [--sub LOGIN] [--cid CLIENT] [--scope SCOPE]… [--group GROUP]… [--tenant TENANT]…
             [--claim NAME=JSON]… [--issuer URL] [--audience AUDIENCE] [--lifetime SECONDS] [--expired]";
const SAMPLE_KEY: &[u8] = include_bytes!("../tests/sample-key.pem");

fn main() -> Result<(), Box<dyn Error>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = claims(env::args().skip(1), now)?;
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some("sample".to_owned());
    println!("{}", encode(&header, &claims, &EncodingKey::from_rsa_pem(SAMPLE_KEY)?)?);
    Ok(())
}

fn claims(mut arguments: impl Iterator<Item = String>, now: u64) -> Result<Map<String, Value>, Box<dyn Error>> {
    let mut claims = Map::new();
    let mut client = "0oasampleclient".to_owned();
    claims.insert("iss".to_owned(), "https://example.okta.com/oauth2/default".into());
    claims.insert("aud".to_owned(), "api://default".into());
    let mut issued = now;
    let mut lifetime = 3_600;
    while let Some(option) = arguments.next() {
        if option == "--expired" {
            issued = now.saturating_sub(7_200);
            continue;
        }
        let value = arguments.next().ok_or(USAGE)?;
        match option.as_str() {
            "--uid" => drop(claims.insert("uid".to_owned(), value.into())),
            "--sub" => drop(claims.insert("sub".to_owned(), value.into())),
            "--cid" => client = value,
            "--scope" => append(&mut claims, "scp", value),
            "--group" => append(&mut claims, "groups", value),
            "--tenant" => append(&mut claims, "tenants", value),
            "--issuer" => drop(claims.insert("iss".to_owned(), value.into())),
            "--audience" => drop(claims.insert("aud".to_owned(), value.into())),
            "--lifetime" => lifetime = value.parse()?,
            "--claim" => {
                let (name, json) = value.split_once('=').ok_or(USAGE)?;
                claims.insert(name.to_owned(), serde_json::from_str(json)?);
            }
            _ => return Err(USAGE.into()),
        }
    }
    // Okta puts the login here for a user, and the client for client credentials.
    let subject = if claims.contains_key("uid") { "somebody@example.com" } else { &client };
    claims.entry("sub").or_insert_with(|| subject.into());
    claims.insert("cid".to_owned(), client.into());
    claims.insert("jti".to_owned(), format!("AT.{issued}").into());
    claims.insert("iat".to_owned(), issued.into());
    claims.insert("exp".to_owned(), (issued + lifetime).into());
    Ok(claims)
}

fn append(claims: &mut Map<String, Value>, name: &str, value: String) {
    match claims.entry(name).or_insert_with(|| json!([])) {
        Value::Array(values) => values.push(value.into()),
        other => *other = json!([value]),
    }
}
