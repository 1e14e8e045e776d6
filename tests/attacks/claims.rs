//! Every claim: missing, null, of the wrong type, twice, and at its boundary to the second.

use okta_authorizer::{decision::Outcome, token::Refusal};
use serde_json::{Value, json};

use crate::{
    table::{
        HEADER, ISSUER, NOW, Row, authorizer, authorizer_of, decide, event, good, good_claims, hold, said, spliced,
        with, without,
    },
    test_keys::{self, jwks},
};

fn token(claims: &Value) -> String {
    test_keys::main().token(claims)
}

/// The good claims with one of them set, as JSON text.
fn set(claim: &str, json: &str) -> String {
    let mut others = good_claims();
    others.as_object_mut().unwrap().remove(claim);
    spliced(&format!("\"{claim}\":{json}"), &others.to_string())
}

fn wrong(claim: &'static str) -> Refusal {
    Refusal::WrongClaimType { claim }
}

const TYPES: [&str; 9] = ["null", "true", "false", "5", "[]", "{}", r#"["x"]"#, r#"{"x":1}"#, r#"[["x"]]"#];

#[test]
pub fn a_required_claim_is_there() {
    let sources = [
        ("iss", "RFC 7519 §4.1.1; RFC 9068 §2.2"),
        ("aud", "RFC 7519 §4.1.3; RFC 9068 §2.2; CVE-2020-26160"),
        ("exp", "RFC 7519 §4.1.4; RFC 9068 §2.2"),
        ("iat", "RFC 7519 §4.1.6; RFC 9068 §2.2"),
        ("sub", "RFC 7519 §4.1.2; RFC 9068 §2.2"),
    ];
    let mut rows = Vec::new();
    for (claim, source) in sources {
        let refusal = || Refusal::MissingClaim { claim };
        let lacking = without(&good_claims(), claim);
        rows.push(Row::payload(source, lacking.to_string(), refusal(), good_claims().to_string()));
        let value = &good_claims()[claim];
        for other in [claim.to_uppercase(), format!("{claim} "), format!(" {claim}"), format!("{claim}\0")] {
            let renamed = with(&lacking, &json!({ other: value }));
            rows.push(Row::payload(
                "RFC 7519 §10.1.1: case-sensitive",
                renamed.to_string(),
                refusal(),
                good_claims().to_string(),
            ));
        }
    }
    rows.push(Row::payload("RFC 7519 §7.2", "{}", Refusal::MissingClaim { claim: "iss" }, good_claims().to_string()));
    hold(&authorizer(), rows);
}

#[test]
pub fn a_claim_of_the_wrong_type_is_not_a_missing_claim() {
    let mut rows = Vec::new();
    let mut row = |source, claim, json: &str, twin: &str| {
        rows.push(Row::payload(source, set(claim, json), wrong(claim), set(claim, twin)));
    };
    for json in TYPES {
        row("RFC 7519 §4.1.1", "iss", json, &json!(ISSUER).to_string());
        row("RFC 7519 §4.1.2", "sub", json, r#""ada""#);
        row("Okta: access token payload", "uid", json, r#""00uada""#);
        row("Okta: access token payload", "cid", json, r#""0oaclient""#);
        row("RFC 7519 §4.1.7", "jti", json, r#""AT.1""#);
    }
    row("RFC 7519 §4.1.2", "sub", r#""""#, r#"" ""#);
    row("RFC 7519 §4.1.1", "iss", &format!("[\"{ISSUER}\"]"), &json!(ISSUER).to_string());
    for json in [
        "null",
        "true",
        "5",
        "{}",
        r#"{"api://default":1}"#,
        r#"["api://default",5]"#,
        r#"["api://default",null]"#,
        r#"[["api://default"]]"#,
        r#"["api://default",["x"]]"#,
        r#"[{"aud":"api://default"}]"#,
    ] {
        row("RFC 7519 §4.1.3; CVE-2020-26160", "aud", json, r#"["x","api://default"]"#);
    }
    for (claim, source, good) in [
        ("exp", "RFC 7519 §4.1.4, §2", NOW + 1),
        ("nbf", "RFC 7519 §4.1.5, §2", NOW),
        ("iat", "RFC 7519 §4.1.6, §2", NOW),
    ] {
        let text = json!(good.to_string()).to_string();
        let list = format!("[{good}]");
        let rfc3339 = r#""2027-01-15T08:00:00Z""#;
        for json in ["null", "true", "false", "[]", "{}", r#""""#, &text, &list, rfc3339, r#""NaN""#, r#""Infinity""#] {
            row(source, claim, json, &good.to_string());
        }
    }
    hold(&authorizer(), rows);
}

#[test]
pub fn no_name_stands_twice() {
    let mut rows = Vec::new();
    let twin = good_claims().to_string();
    let mut payload = |member: &str| {
        let bad = spliced(member, &good_claims().to_string());
        rows.push(Row::payload("RFC 7519 §4", bad, Refusal::BadJson { part: "payload" }, &twin));
    };
    for (claim, value) in good_claims().as_object().unwrap() {
        payload(&format!("\"{claim}\":{value}"));
        payload(&format!("\"{claim}\":null"));
    }
    for member in [
        r#""\u0073ub":"eve""#,
        r#""s\u0075b":"eve""#,
        r#""exp":1"#,
        r#""exp":99999999999"#,
        r#""aud":[]"#,
        r#""groups":[],"groups":["SUPERUSERS"]"#,
        r#""x":1,"x":1"#,
        r#""":1,"":1"#,
        r#""x":{"y":1,"y":1}"#,
        r#""x":[[{"y":1,"\u0079":1}]]"#,
    ] {
        payload(member);
    }
    for member in [
        r#""alg":"RS256""#,
        r#""alg":"none""#,
        r#""al\u0067":"none""#,
        r#""kid":"main""#,
        r#""kid":"second""#,
        r#""x":1,"x":2"#,
        r#""jwk":{"n":1,"n":2}"#,
    ] {
        let bad = spliced(member, HEADER);
        rows.push(Row::header("RFC 7515 §4", bad, Refusal::BadJson { part: "header" }, HEADER));
    }
    hold(&authorizer(), rows);
}

#[test]
pub fn the_issuer_and_the_audience_are_compared_byte_for_byte() {
    let mut rows = Vec::new();
    let issuers = [
        String::new(),
        format!("{ISSUER}/"),
        format!("{ISSUER} "),
        format!(" {ISSUER}"),
        format!("{ISSUER}\0"),
        format!("{ISSUER}#"),
        format!("{ISSUER}?"),
        format!("{ISSUER},{ISSUER}"),
        format!("{ISSUER}/../default"),
        ISSUER.to_uppercase(),
        ISSUER.replace("okta", "Okta"),
        ISSUER.replace("https", "http"),
        ISSUER.replace(".com", ".com:443"),
        ISSUER.replace(".com", ".com."),
        ISSUER.replace("example", "ex%61mple"),
        ISSUER.replace("example.okta", "evil.okta"),
        ISSUER.replace("://", "://example.okta.com@"),
        ISSUER.replace("default", "defau1t"),
        ISSUER.replace("/oauth2/default", ""),
        ISSUER.replace('o', "о"), // Cyrillic
    ];
    for issuer in issuers {
        let bad = set("iss", &json!(issuer).to_string());
        rows.push(Row::payload(
            "RFC 7519 §4.1.1; RFC 8725 §3.8",
            bad,
            Refusal::UnknownIssuer,
            good_claims().to_string(),
        ));
    }
    let audiences = [
        r#""""#,
        "[]",
        r#"[""]"#,
        r#""other""#,
        r#"["other","another"]"#,
        r#""API://default""#,
        r#""api://default/""#,
        r#""api://default ""#,
        r#""api://defaul""#,
        r#""api://defaultx""#,
        r#""api://default,other""#,
        r#""api://default other""#,
        r#""[\"api://default\"]""#,
        r#""*""#,
        r#""0oaclient""#,
    ];
    for json in audiences {
        let twin = set("aud", r#"["other","api://default"]"#);
        rows.push(Row::payload("RFC 7519 §4.1.3; RFC 8725 §3.9", set("aud", json), Refusal::WrongAudience, twin));
    }
    hold(&authorizer(), rows);
}

#[test]
pub fn a_token_of_one_issuer_is_not_good_for_another() {
    let other = "https://other.okta.com/oauth2/default";
    let both = format!("{ISSUER},{other}");
    let authorizer = authorizer_of(&jwks(&[test_keys::main()]), &[("OKTA_ISSUER", &both)]);
    let third = set("iss", r#""https://third.okta.com/oauth2/default""#);
    let twin = set("iss", &json!(other).to_string());
    let rows = vec![
        Row::payload("RFC 8725 §3.8", third, Refusal::UnknownIssuer, &twin),
        Row::payload("RFC 8725 §3.8", set("iss", &json!(both).to_string()), Refusal::UnknownIssuer, &twin),
    ];
    hold(&authorizer, rows);
}

/// Each boundary is two instants a second apart: one passes, and is the other's twin.
#[test]
fn times_hold_to_the_second() {
    const T: u64 = NOW;
    let mut wrong = Vec::new();
    for skew in [0, 1, 60, 300] {
        let authorizer = authorizer_of(&jwks(&[test_keys::main()]), &[("CLOCK_SKEW_SECONDS", &skew.to_string())]);
        // RFC 7519 §4.1.4: before `exp`; §4.1.5: `nbf` or after; §4.1.6 and RFC 9068 §4: not from the future. §2: fractions.
        let half = format!("{T}.5");
        for (claim, json, passes_at, refused_at, refusal) in [
            ("exp", T.to_string(), T + skew - 1, T + skew, Refusal::Expired),
            ("exp", half.clone(), T + skew, T + skew + 1, Refusal::Expired),
            ("exp", format!("{T}e0"), T + skew - 1, T + skew, Refusal::Expired),
            ("nbf", T.to_string(), T - skew, T - skew - 1, Refusal::NotYetValid),
            ("nbf", half.clone(), T - skew + 1, T - skew, Refusal::NotYetValid),
            ("iat", T.to_string(), T - skew, T - skew - 1, Refusal::IssuedInTheFuture),
            ("iat", half.clone(), T - skew + 1, T - skew, Refusal::IssuedInTheFuture),
        ] {
            // Good at every one of these instants, but for the claim in question.
            let mut others = with(&good_claims(), &json!({ "exp": T + 100_000, "iat": 1 }));
            others.as_object_mut().unwrap().remove(claim);
            let token = test_keys::main().sign(HEADER, spliced(&format!("\"{claim}\":{json}"), &others.to_string()));
            let at = |now| decide(&authorizer, &event(&token), now).outcome;
            match at(passes_at) {
                Outcome::Evaluated(evaluated) if evaluated.is_allowed() => {}
                other => wrong.push(format!("{claim} {json}, skew {skew}, at {passes_at}: {}", said(&other))),
            }
            match at(refused_at) {
                Outcome::Refused(refused) if refused == refusal => {}
                other => wrong.push(format!("{claim} {json}, skew {skew}, at {refused_at}: {}", said(&other))),
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
pub fn times_beyond_all_clocks_are_refused_or_mean_what_they_say() {
    let mut rows = Vec::new();
    let twin = good_claims().to_string();
    for (json, refusal) in [
        ("0", Refusal::Expired),
        ("-0", Refusal::Expired),
        ("-1", Refusal::Expired),
        ("-9223372036854775808", Refusal::Expired),
        ("-1e300", Refusal::Expired),
        ("1e-300", Refusal::Expired),
        ("1.8e9", Refusal::Expired),
        ("1e400", Refusal::BadJson { part: "payload" }),
        ("-1e400", Refusal::BadJson { part: "payload" }),
        ("NaN", Refusal::BadJson { part: "payload" }),
        ("Infinity", Refusal::BadJson { part: "payload" }),
        ("0x7fffffff", Refusal::BadJson { part: "payload" }),
        ("04102444800", Refusal::BadJson { part: "payload" }),
        ("+4102444800", Refusal::BadJson { part: "payload" }),
        ("4102444800.", Refusal::BadJson { part: "payload" }),
        ("4_102_444_800", Refusal::BadJson { part: "payload" }),
    ] {
        let row = Row::payload("RFC 7519 §2: NumericDate; RFC 8259 §6", set("exp", json), refusal, &twin);
        rows.push(row.at(NOW + 3599));
    }
    // Milliseconds are far in the future.
    let milliseconds = (NOW * 1000).to_string();
    for (claim, refusal) in [("nbf", Refusal::NotYetValid), ("iat", Refusal::IssuedInTheFuture)] {
        for json in [milliseconds.as_str(), "1e300", "18446744073709551615", "18446744073709551616"] {
            rows.push(Row::payload("RFC 7519 §2: seconds", set(claim, json), refusal.clone(), set(claim, "-1e300")));
        }
    }
    for json in ["18446744073709551615", "18446744073709551616", "1e300", "4.1e9", "4102444800.999"] {
        let twin = set("exp", json);
        rows.push(Row::payload("RFC 7519 §2", set("exp", "1"), Refusal::Expired, twin));
    }
    hold(&authorizer(), rows);
}

#[test]
pub fn time_may_stand_at_either_end() {
    let authorizer = authorizer();
    let timeless = json!({ "exp": 1e300, "iat": 0 });
    let twin = token(&with(&good_claims(), &timeless));
    let rows = vec![
        Row::new("RFC 7519 §4.1.4", "the end of time", good(), Refusal::Expired, twin.clone()).at(u64::MAX),
        Row::new("RFC 7519 §4.1.6", "its beginning", good(), Refusal::IssuedInTheFuture, twin).at(0),
    ];
    hold(&authorizer, rows);
}

#[test]
pub fn the_client_is_one_that_was_named() {
    let authorizer = authorizer_of(&jwks(&[test_keys::main()]), &[("OKTA_CLIENT_IDS", "0oaclient,0oaother")]);
    let mut rows = Vec::new();
    let twin = set("cid", r#""0oaother""#);
    for other in ["", "0oaCLIENT", "0oaclien", "0oaclientx", "0oaclient,0oaother", "0oaclient ", "*"] {
        let bad = set("cid", &json!(other).to_string());
        rows.push(Row::payload("RFC 9068 §2.2: client_id", bad, Refusal::WrongClient, &twin));
    }
    for json in TYPES {
        rows.push(Row::payload("RFC 9068 §2.2: client_id", set("cid", json), wrong("cid"), &twin));
    }
    let absent = without(&good_claims(), "cid").to_string();
    rows.push(Row::payload("RFC 9068 §2.2: client_id", absent, Refusal::MissingClaim { claim: "cid" }, &twin));
    hold(&authorizer, rows);
}

#[test]
pub fn a_token_bound_to_a_proof_is_refused_without_it() {
    let rows = [
        (r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#, "RFC 9449 §6.1"),
        (r#"{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}"#, "RFC 8705 §3.1"),
        (r#"{"jwk":{"kty":"RSA"}}"#, "RFC 7800 §3.2"),
        (r#"{"kid":"main"}"#, "RFC 7800 §3.4"),
        ("{}", "RFC 7800 §3.1"),
        ("null", "RFC 7800 §3.1"),
        ("false", "RFC 7800 §3.1"),
        ("[]", "RFC 7800 §3.1"),
        (r#""""#, "RFC 7800 §3.1"),
    ];
    let rows = rows.map(|(json, source)| {
        Row::payload(source, set("cnf", json), Refusal::SenderConstrained, good_claims().to_string())
    });
    hold(&authorizer(), rows.into());
}
