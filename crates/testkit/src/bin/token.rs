//! Prints an access token with Okta's claims, signed by the public sample key, for curl and
//! experiments.
//!
//! ```text
//! cargo run -p okta-authorizer-testkit --bin token -- --help
//! ```

use std::{env, process::ExitCode};

use okta_authorizer_testkit::{
    exit_code,
    gateway::{
        Error,
        claims::{self, claims},
    },
    keys, now,
};
use serde_json::{Map, Value, json};

const HELP: &str = "\
Prints an access token, signed by the public sample key that only events/env.json trusts.

usage: token [OPTION]...

  --uid ID                the user; without it the token is a client's
  --sub LOGIN             the user's login
  --cid CLIENT            the client (default: 0oasampleclient)
  --scope SCOPE           a scope, can be repeated
  --group GROUP           a group, can be repeated
  --tenant TENANT         a tenant, can be repeated
  --claim NAME=TEXT       a claim, can be repeated (see below)
  --claim NAME:=JSON      a claim with any value
  --issuer URL            (default: https://example.okta.com/oauth2/default)
  --audience AUDIENCE     (default: api://default)
  --lifetime SECONDS      (default: 3600)
  --expired               issued two hours ago
  --help

";

/// The claims that `--claim` cannot set, and what to do instead.
const TAKEN: [(&str, &str); 5] = [
    ("cid", "write --cid CLIENT"),
    ("iss", "write --issuer URL"),
    ("aud", "write --audience AUDIENCE"),
    ("iat", "write --expired or leave it out"),
    ("exp", "write --lifetime SECONDS or --expired"),
];

fn main() -> ExitCode {
    let token = token(env::args().skip(1), now());
    exit_code(token.map(|text| println!("{text}")))
}

/// The token, or the help.
fn token(mut arguments: impl Iterator<Item = String>, now: u64) -> Result<String, Error> {
    let mut fields = Vec::new();
    let mut client = "0oasampleclient".to_owned();
    let mut issuer = "https://example.okta.com/oauth2/default".to_owned();
    let mut audience = "api://default".to_owned();
    let mut iat = now;
    let mut lifetime: u64 = 3_600;
    while let Some(option) = arguments.next() {
        match option.as_str() {
            "--expired" => {
                iat = now.saturating_sub(7_200);
                continue;
            }
            "--help" | "-h" => return Ok(format!("{HELP}{}", claims::HELP)),
            _ => {}
        }
        let mut value = || arguments.next().ok_or_else(|| format!("{option} has no value; see --help"));
        match option.as_str() {
            "--uid" | "--sub" => fields.push((option.trim_start_matches('-').to_owned(), value()?)),
            "--scope" => fields.push(("scp".to_owned(), value()?)),
            "--group" => fields.push(("groups".to_owned(), value()?)),
            "--tenant" => fields.push(("tenants".to_owned(), value()?)),
            "--claim" => {
                let claim = value()?;
                let (name, value) = claim
                    .split_once('=')
                    .ok_or_else(|| format!("--claim {claim} has no =; expected NAME=TEXT or NAME:=JSON"))?;
                fields.push((name.to_owned(), value.to_owned()));
            }
            "--cid" => client = value()?,
            "--issuer" => issuer = value()?,
            "--audience" => audience = value()?,
            "--lifetime" => {
                let seconds = value()?;
                lifetime = seconds
                    .parse()
                    .map_err(|_| format!("--lifetime {seconds} is wrong; expected a number of seconds"))?;
            }
            _ => return Err(format!("there is no option {option}; see --help").into()),
        }
    }
    let mut claims = claims(fields, &TAKEN)?;
    // For a user, Okta puts the login into `sub`. For client credentials, it puts the client id
    // there.
    let subject = if claims.contains_key("uid") { "somebody@example.com" } else { &client };
    claims.entry("sub").or_insert_with(|| subject.into());
    claims.entry("jti").or_insert_with(|| format!("AT.{iat}").into());
    claims.extend(Map::from_iter([
        ("iss".to_owned(), json!(issuer)),
        ("aud".to_owned(), json!(audience)),
        ("cid".to_owned(), json!(client)),
        ("iat".to_owned(), json!(iat)),
        ("exp".to_owned(), json!(iat.saturating_add(lifetime))),
    ]));
    Ok(keys::sample().token(&Value::Object(claims)))
}
