//! What `gateway` and `token` print, and how they end.

use std::process::{Command, Output};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use okta_authorizer_testkit::temp_file::TempFile;
use serde_json::{Value, json};

const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");
const TOKEN: &str = env!("CARGO_BIN_EXE_token");

fn run(program: &str, arguments: &[&str]) -> Output {
    // Neither this program nor an authorizer that ends at once listens for long.
    Command::new(program).args(arguments).env("BOOTSTRAP", "/bin/false").output().unwrap()
}

/// What a program writes that ends with exit code 1. Nothing is on stdout.
#[track_caller]
fn refusal(program: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = run(program, arguments);
    assert_eq!((status.code(), String::from_utf8(stdout).unwrap().as_str()), (Some(1), ""), "{arguments:?}");
    String::from_utf8(stderr).unwrap()
}

fn claims(arguments: &[&str]) -> Value {
    let Output { status, stdout, stderr } = run(TOKEN, arguments);
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let token = String::from_utf8(stdout).unwrap();
    let payload = token.trim_end().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[test]
fn help_is_text_and_no_error() {
    for (program, first, options) in [
        (
            GATEWAY,
            "Runs a local API Gateway: an API on loopback, with the real authorizer. Each route answers with the",
            &["--okta", "--api FILE", "--rules FILE", "--port PORT", "--ttl SECONDS", "NAME:=JSON"][..],
        ),
        (
            TOKEN,
            "Prints an access token, signed by the public sample key that only events/env.json trusts.",
            &["--uid ID", "--claim NAME=TEXT", "--claim NAME:=JSON", "--expired", "groups, scp and tenants"],
        ),
    ] {
        for option in ["--help", "-h"] {
            let Output { status, stdout, stderr } = run(program, &[option]);
            let text = String::from_utf8(stdout).unwrap();
            assert_eq!((status.code(), stderr.len(), text.lines().next()), (Some(0), 0, Some(first)));
            for option in options {
                assert!(text.contains(option), "{option} in {text}");
            }
            assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        }
    }
}

#[test]
fn a_wrong_argument_is_one_line_that_says_what_is_accepted() {
    let rules = TempFile::new("policy.toml", "[[allow]]\nroutes = ['GET /a']\n");
    let rules = rules.path().display().to_string();
    let is_rules = format!(
        "{rules}: this is a rules file, which belongs to --rules; expected an OpenAPI document (2.0, 3.0 or 3.1) or a \
         SAM or CloudFormation template, in JSON or YAML"
    );
    for (program, arguments, line) in [
        (GATEWAY, &["--hlep"][..], "there is no option --hlep; see --help"),
        (GATEWAY, &["--okta", "--api"], "--api has no value; see --help"),
        (GATEWAY, &["--port", "x"], "--port x is wrong; expected a number from 0 to 65535"),
        (GATEWAY, &["--ttl", "3601"], "--ttl 3601 is wrong; expected a number from 0 to 3600, as API Gateway has it"),
        (GATEWAY, &["--api", "/nowhere.yaml"], "/nowhere.yaml: there is no such file"),
        (GATEWAY, &["--api", &rules], &is_rules),
        (TOKEN, &["extra"], "there is no option extra; see --help"),
        (TOKEN, &["--uid"], "--uid has no value; see --help"),
        (TOKEN, &["--lifetime", "long"], "--lifetime long is wrong; expected a number of seconds"),
        (TOKEN, &["--claim", "foo"], "--claim foo has no =; expected NAME=TEXT or NAME:=JSON"),
        (
            TOKEN,
            &["--claim", "foo:=bar"],
            "the value of foo:= is not JSON (expected value at line 1 column 1); for a text write foo=TEXT",
        ),
        (
            TOKEN,
            &["--claim", "exp:=1"],
            "the claim exp cannot be set in this way; write --lifetime SECONDS or --expired",
        ),
        (TOKEN, &["--uid", "a", "--claim", "uid=b"], "uid is there 2 times; expected it once"),
    ] {
        assert_eq!(refusal(program, arguments), format!("{line}\n"));
    }
}

/// Then its own message is enough. `tests/wire/rules.rs` of the root package has it.
#[test]
fn the_gateway_adds_nothing_if_the_authorizer_ends_at_start() {
    assert_eq!(refusal(GATEWAY, &["--port", "0"]), "");
}

#[test]
fn a_token_has_the_claims_that_are_named() {
    let token =
        claims(&["--uid", "00u1", "--group", "A", "--claim", "groups=B", "--claim", "region=eu", "--claim", "n:=3"]);
    for (claim, value) in [
        ("uid", json!("00u1")),
        ("sub", json!("somebody@example.com")),
        ("groups", json!(["A", "B"])),
        ("region", json!("eu")),
        ("n", json!(3)),
        ("iss", json!("https://example.okta.com/oauth2/default")),
        ("aud", json!("api://default")),
        ("cid", json!("0oasampleclient")),
    ] {
        assert_eq!(token[claim], value, "{claim}");
    }
    assert_eq!(token["exp"].as_u64().unwrap() - token["iat"].as_u64().unwrap(), 3_600);
    let client = claims(&["--cid", "0oarobot", "--scope", "a", "--lifetime", "60", "--issuer", "i", "--audience", "b"]);
    for (claim, value) in [
        ("sub", json!("0oarobot")),
        ("scp", json!(["a"])),
        ("iss", json!("i")),
        ("aud", json!("b")),
        ("uid", Value::Null),
    ] {
        assert_eq!(client[claim], value, "{claim}");
    }
    assert_eq!(client["exp"].as_u64().unwrap() - client["iat"].as_u64().unwrap(), 60);
}
