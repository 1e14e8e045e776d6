//! JOSE header members that change what a token means: `crit`, `b64`, `typ`, `cty`, and nesting.

use okta_authorizer::token::Refusal;
use serde_json::json;

use crate::{
    table::{HEADER, Row, authorizer, good, good_claims, hold, spliced},
    test_keys::{self, encode},
};

#[test]
pub fn a_critical_extension_is_refused_whatever_it_says() {
    const SOURCE: &str = "RFC 7515 §4.1.11; CVE-2026-32597";
    let twin = r#"{"alg":"RS256","kid":"main","b64":true,"x":1}"#;
    let rows = [
        r#""crit":["exp"],"exp":4102444800"#,
        r#""crit":["b64"],"b64":true"#,
        r#""crit":["b64"],"b64":false"#,
        r#""crit":["b64"]"#,
        r#""crit":["http://example.com/UNDEFINED"],"http://example.com/UNDEFINED":true"#,
        r#""crit":["alg"]"#,
        r#""crit":["crit"]"#,
        r#""crit":["kid","kid"]"#,
        r#""crit":[]"#,
        r#""crit":[""]"#,
        r#""crit":[null]"#,
        r#""crit":[["b64"]]"#,
        r#""crit":"b64""#,
        r#""crit":{}"#,
        r#""crit":{"b64":true}"#,
        r#""crit":null"#,
        r#""crit":false"#,
        r#""crit":0"#,
        r#""\u0063rit":["b64"]"#,
    ]
    .map(|member| Row::header(SOURCE, spliced(member, HEADER), Refusal::CriticalHeader, twin));
    hold(&authorizer(), rows.into());
}

#[test]
pub fn a_payload_is_base64url_whatever_b64_says() {
    // RFC 7797 §3: the payload as it is, signed as it is.
    let claims = json!({ "iss": "x" }).to_string();
    assert!(!claims.contains('.'), "the payload is to be one part");
    let header = r#"{"alg":"RS256","kid":"main","b64":false}"#;
    let raw = test_keys::main().seal(&format!("{}.{claims}", encode(header)));
    let rows = vec![
        Row::new("RFC 7797 §3", "a payload that is not encoded", raw, Refusal::BadBase64 { part: "payload" }, good()),
        Row::new(
            "RFC 7515 §7.1, appendix F",
            "a detached payload",
            {
                let [header, _, signature]: [String; 3] = parts(&good());
                format!("{header}..{signature}")
            },
            Refusal::BadJson { part: "payload" },
            good(),
        ),
    ];
    hold(&authorizer(), rows);
}

fn parts(token: &str) -> [String; 3] {
    token.split('.').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()
}

#[test]
pub fn a_token_inside_a_token_is_no_token() {
    let inner = good();
    let header = r#"{"alg":"RS256","kid":"main","cty":"JWT"}"#;
    let rows = vec![
        Row::new(
            "RFC 7519 §5.2, appendix A.2",
            "a nested JWT, signed by the issuer",
            test_keys::main().sign(header, &inner),
            Refusal::BadJson { part: "payload" },
            test_keys::main().sign(header, good_claims().to_string()),
        ),
        Row::new(
            "RFC 7519 §5.2",
            "a nested JWT as a JSON string",
            test_keys::main().sign(header, json!(inner).to_string()),
            Refusal::BadJson { part: "payload" },
            good(),
        ),
        Row::new(
            "RFC 7519 §5.2",
            "a nested JWT, wrapped by a stranger",
            test_keys::attacker().named("main").sign(header, &inner),
            Refusal::BadJson { part: "payload" },
            good(),
        ),
        Row::new(
            "RFC 7519 §5.2",
            "claims in a claim",
            test_keys::main().sign(HEADER, json!({ "jwt": good_claims() }).to_string()),
            Refusal::MissingClaim { claim: "iss" },
            good(),
        ),
        Row::new(
            "RFC 7519 §5.3",
            "claims replicated in the header alone",
            test_keys::main()
                .sign(spliced(r#""iss":"https://example.okta.com/oauth2/default","sub":"x""#, HEADER), "{}"),
            Refusal::MissingClaim { claim: "iss" },
            good(),
        ),
    ];
    hold(&authorizer(), rows);
}

#[test]
pub fn the_type_is_absent_or_an_access_tokens() {
    let header = |typ: &str| format!(r#"{{"alg":"RS256","kid":"main","typ":{typ}}}"#);
    let good =
        [r#""JWT""#, r#""jwt""#, r#""at+jwt""#, r#""At+JWT""#, r#""application/at+jwt""#, r#""APPLICATION/AT+JWT""#];
    let bad = [
        ("null", "RFC 7515 §4.1.9"),
        ("5", "RFC 7515 §4.1.9"),
        ("true", "RFC 7515 §4.1.9"),
        (r#"["at+jwt"]"#, "RFC 7515 §4.1.9"),
        ("{}", "RFC 7515 §4.1.9"),
        (r#""""#, "RFC 7515 §4.1.9"),
        (r#""JWS""#, "RFC 7515 §4.1.9"),
        (r#""JOSE""#, "RFC 7515 §4.1.9"),
        (r#""JOSE+JSON""#, "RFC 7515 §4.1.9"),
        (r#""at+jwt ""#, "RFC 8725 §3.11"),
        (r#"" JWT""#, "RFC 8725 §3.11"),
        (r#""at+jwt;charset=utf-8""#, "RFC 8725 §3.11"),
        (r#""id+jwt""#, "RFC 8725 §3.11, §2.8: cross-JWT confusion"),
        (r#""logout+jwt""#, "OpenID Connect Back-Channel Logout 1.0 §2.4"),
        (r#""secevent+jwt""#, "RFC 8417 §2.3"),
        (r#""dpop+jwt""#, "RFC 9449 §4.2"),
        (r#""oauth-authz-req+jwt""#, "RFC 9101 §10.8"),
        (r#""token-introspection+jwt""#, "RFC 9701 §5"),
        (r#""client-authentication+jwt""#, "RFC 8725 §3.11"),
        (r#""application/jwt""#, "RFC 9068 §2.1"),
        (r#""application/application/at+jwt""#, "RFC 7515 §4.1.9"),
        (r#""at+jwt\u0000""#, "RFC 8725 §3.11"),
        (r#""ＪＷＴ""#, "RFC 7515 §5.3: no normalization"),
    ];
    let rows = bad.into_iter().zip(good.iter().cycle());
    let rows = rows.map(|((bad, source), good)| Row::header(source, header(bad), Refusal::WrongType, header(good)));
    hold(&authorizer(), rows.collect());
}
