//! JOSE header members that change what a token means: `crit`, `b64`, `typ`, `cty`, and nesting.

use okta_authorizer_testkit::keys::{self, encode};
use serde_json::json;

use crate::table::{HEADER, Rows, parts, spliced};

pub fn every_critical_extension_is_refused(rows: &mut Rows) {
    for member in [
        [r#""crit":["exp"],"exp":4102444800"#, r#""crit":["b64"],"b64":true"#],
        [r#""crit":["b64"],"b64":false"#, r#""crit":["b64"]"#],
        [r#""crit":["x"],"x":1"#, r#""crit":["typ"],"typ":"JWT""#],
        [r#""crit":["http://example.com/UNDEFINED"],"http://example.com/UNDEFINED":true"#, r#""crit":["alg"]"#],
        [r#""crit":["crit"]"#, r#""crit":["kid","kid"]"#],
        [r#""crit":[]"#, r#""crit":[""]"#],
        [r#""crit":[null]"#, r#""crit":[["b64"]]"#],
        [r#""crit":"b64""#, r#""crit":"exp""#],
        [r#""crit":{}"#, r#""crit":{"b64":true}"#],
        [r#""crit":null"#, r#""crit":false"#],
        [r#""crit":0"#, r#""\u0063rit":["b64"]"#],
    ]
    .concat()
    {
        let control = spliced(r#""b64":true,"x":1"#, HEADER);
        rows.header("RFC 7515 §4.1.11; CVE-2026-32597", spliced(member, HEADER), "critical_header", control);
    }
}

pub fn the_payload_is_always_base64url(rows: &mut Rows) {
    let good = rows.good();
    let [header, _, signature] = parts(&good);
    // RFC 7797 §3: the payload as it is, signed as it is. It has no dot, so it is one part.
    let raw = format!(r#"{}.{{"iss":"x"}}"#, encode(spliced(r#""b64":false"#, HEADER)));
    rows.token("RFC 7797 §3", "a payload as it is", keys::main().seal(&raw), "bad_base64 payload", &good);
    let detached = format!("{header}..{signature}");
    rows.token("RFC 7515 appendix F", "a detached payload", detached, "bad_json payload", good);
}

pub fn a_token_in_a_token_is_refused(rows: &mut Rows) {
    const SOURCE: &str = "RFC 7519 §5.2, §5.3, appendix A.2";
    let (good, claims) = (rows.good(), rows.claims());
    let header = spliced(r#""cty":"JWT""#, HEADER);
    let control = keys::main().sign(&header, claims.to_string());
    let string = json!(good).to_string();
    let replicated = spliced(&format!(r#""iss":{},"sub":"x""#, claims["iss"]), HEADER);
    for (name, key, header, payload, reason) in [
        ("a nested JWT, signed by the issuer", keys::main(), &header, &good, "bad_json payload"),
        ("a nested JWT as a JSON string", keys::main(), &header, &string, "bad_json payload"),
        ("a nested JWT, signed by a stranger", keys::attacker(), &header, &good, "bad_json payload"),
        ("claims in a claim", keys::main(), &header, &json!({ "jwt": claims }).to_string(), "missing_claim iss"),
        ("claims only in the header", keys::main(), &replicated, &"{}".to_owned(), "missing_claim iss"),
    ] {
        rows.token(SOURCE, name, key.sign(header, payload), reason, &control);
    }
}

pub fn typ_is_absent_or_that_of_an_access_token(rows: &mut Rows) {
    let accepted = [
        "JWT",
        "jwt",
        "Jwt",
        "at+jwt",
        "At+JWT",
        "AT+JWT",
        "application/at+jwt",
        "APPLICATION/AT+JWT",
        "Application/At+Jwt",
    ];
    let refused = [
        ("RFC 7515 §4.1.9", &["", "JWS", "JWE", "JOSE", "JOSE+JSON", "at", "text/at+jwt"][..]),
        ("RFC 7515 §4.1.9", &["application/application/at+jwt", "application/dpop+jwt"]),
        ("RFC 8725 §3.11", &["at+jwt ", " JWT", "jwt ", "at+jwt;charset=utf-8", "at+jwt;v=1", "at+jwt\0"]),
        ("RFC 8725 §3.11, §2.8: cross-JWT confusion", &["id+jwt", "client-authentication+jwt"]),
        ("OpenID Connect Back-Channel Logout 1.0 §2.4", &["logout+jwt"]),
        ("RFC 8417 §2.3", &["secevent+jwt"]),
        ("RFC 9449 §4.2", &["dpop+jwt"]),
        ("RFC 9101 §10.8", &["oauth-authz-req+jwt"]),
        ("RFC 9701 §5", &["token-introspection+jwt"]),
        ("RFC 9068 §2.1", &["application/jwt"]),
        ("RFC 7515 §5.3: no normalization", &["ＪＷＴ"]),
    ];
    let refused = refused.iter().flat_map(|(source, types)| types.iter().map(|typ| (*source, json!(typ))));
    let others = [json!(null), json!(5), json!(true), json!(["at+jwt"]), json!(["JWT"]), json!({})];
    let refused = refused.chain(others.map(|typ| ("RFC 7515 §4.1.9", typ)));
    for ((source, attack), control) in refused.zip(accepted.iter().cycle()) {
        let [attack, control] =
            [attack, json!(control)].map(|typ| json!({ "alg": "RS256", "kid": "main", "typ": typ }).to_string());
        rows.header(source, attack, "wrong_type", control);
    }
}
