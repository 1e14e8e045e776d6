//! Prints an access token with Okta's claims, signed by the public sample key, for curl and
//! experiments.
//!
//! ```text
//! cargo run -p okta-authorizer-testkit --bin token -- \
//!     --uid 00u1 --scope api:read --group SUPERUSERS --tenant 0oa1:acme:00g1 [--expired]
//! ```

use std::{
    env,
    process::{self, ExitCode},
};

use okta_authorizer_testkit::{exit_code, gateway::Error, keys, now};
use serde_json::{Map, Value, json};

const USAGE: &str =
    "usage: token [--uid ID] [--sub LOGIN] [--cid CLIENT] [--scope SCOPE]… [--group GROUP]… [--tenant TENANT]…
             [--claim NAME=JSON]… [--issuer URL] [--audience AUDIENCE] [--lifetime SECONDS] [--expired]";

fn main() -> ExitCode {
    let claims = claims(env::args().skip(1), now());
    exit_code(claims.map(|claims| println!("{}", keys::sample().token(&Value::Object(claims)))))
}

fn claims(mut arguments: impl Iterator<Item = String>, now: u64) -> Result<Map<String, Value>, Error> {
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
        if option == "--help" {
            println!("{USAGE}");
            process::exit(0);
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
                let json = serde_json::from_str(json).map_err(|error| {
                    format!("--claim {value}: the value is not JSON ({error}); for example --claim '{name}=\"text\"'")
                })?;
                claims.insert(name.to_owned(), json);
            }
            _ => return Err(USAGE.into()),
        }
    }
    // For a user, Okta puts the login into `sub`. For client credentials, it puts the client id
    // there.
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
