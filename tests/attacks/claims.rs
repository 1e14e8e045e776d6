//! Every claim: missing, null, of the wrong type, twice, and at its limit to the second.

use okta_authorizer_testkit::{env::PINNED_ISSUER as ISSUER, keys, with, without};
use serde_json::json;

use crate::table::{HEADER, Rows, spliced};

pub const TWO_ISSUERS: &str = "https://pinned.okta.example/oauth2/default,https://other.okta.com/oauth2/default";
pub const CLIENTS: &str = "0oaclient,0oaother";

const TYPES: [&str; 9] = ["null", "true", "false", "5", "[]", "{}", r#"["x"]"#, r#"{"x":1}"#, r#"[["x"]]"#];

/// A text as a JSON string.
fn quoted(text: impl AsRef<str>) -> String {
    json!(text.as_ref()).to_string()
}

pub fn a_required_claim_is_present(rows: &mut Rows) {
    let good = rows.claims();
    for (claim, source) in [
        ("iss", "RFC 7519 §4.1.1; RFC 9068 §2.2"),
        ("aud", "RFC 7519 §4.1.3; RFC 9068 §2.2; CVE-2020-26160"),
        ("exp", "RFC 7519 §4.1.4; RFC 9068 §2.2"),
        ("iat", "RFC 7519 §4.1.6; RFC 9068 §2.2"),
        ("sub", "RFC 7519 §4.1.2; RFC 9068 §2.2"),
    ] {
        let reason = format!("missing_claim {claim}");
        let lacking = without(&good, claim);
        rows.payload(source, lacking.to_string(), &reason, good.to_string());
        for other in [claim.to_uppercase(), format!("{claim} "), format!(" {claim}"), format!("{claim}\0")] {
            let renamed = with(&lacking, &json!({ other: good[claim] }));
            rows.payload("RFC 7519 §10.1.1: case-sensitive", renamed.to_string(), &reason, good.to_string());
        }
    }
    rows.payload("RFC 7519 §7.2", "{}", "missing_claim iss", good.to_string());
}

pub fn a_claim_of_the_wrong_type_is_not_a_missing_claim(rows: &mut Rows) {
    let now = rows.now;
    let mut row = |source, claim, attack: &str, control: &str| {
        let [attack, control] = [attack, control].map(|json| rows.claims_with(claim, json));
        rows.payload(source, attack, format!("wrong_claim_type {claim}"), control);
    };
    for (claim, source, good) in [
        ("iss", "RFC 7519 §4.1.1", ISSUER),
        ("sub", "RFC 7519 §4.1.2", "0oaclient"),
        ("uid", "Okta: access token payload", "00uada"),
        ("cid", "Okta: access token payload", "0oaclient"),
        ("jti", "RFC 7519 §4.1.7", "AT.1"),
    ] {
        let good = quoted(good);
        for json in TYPES {
            row(source, claim, json, &good);
        }
        row(source, claim, &format!("[{good}]"), &good);
        row(source, claim, &format!("{{\"{claim}\":{good}}}"), &good);
    }
    row("RFC 7519 §4.1.2", "sub", r#""""#, r#"" ""#);
    for json in [
        "null",
        "true",
        "5",
        "{}",
        "[5]",
        r#"{"api://default":1}"#,
        r#"{"api://default":true}"#,
        r#"["api://default",5]"#,
        r#"["api://default",null]"#,
        r#"[null,"api://default"]"#,
        r#"[["api://default"]]"#,
        r#"["api://default",["x"]]"#,
        r#"[{"aud":"api://default"}]"#,
    ] {
        row("RFC 7519 §4.1.3; CVE-2020-26160", "aud", json, r#"["x","api://default"]"#);
    }
    for (claim, source, good) in [
        ("exp", "RFC 7519 §4.1.4, §2", now + 60),
        ("nbf", "RFC 7519 §4.1.5, §2", now),
        ("iat", "RFC 7519 §4.1.6, §2", now),
    ] {
        let good = good.to_string();
        let (text, list) = (quoted(&good), format!("[{good}]"));
        let rfc3339 = r#""2027-01-15T08:00:00Z""#;
        for json in ["null", "true", "false", "[]", "{}", r#""""#, &text, &list, rfc3339, r#""NaN""#, r#""Infinity""#] {
            row(source, claim, json, &good);
        }
    }
}

pub fn no_member_name_occurs_twice(rows: &mut Rows) {
    let good = rows.claims();
    let repeated =
        good.as_object().unwrap().iter().flat_map(|(claim, value)| [(claim, value.clone()), (claim, json!(null))]);
    let repeated = repeated.map(|(claim, value)| format!("\"{claim}\":{value}"));
    let others = [
        [r#""\u0073ub":"eve""#, r#""s\u0075b":"eve""#],
        [r#""\u0073ub":"ada@example.com""#, r#""uid":"00ueve""#],
        [r#""exp":1"#, r#""exp":99999999999"#],
        [r#""aud":[]"#, r#""groups":[],"groups":["SUPERUSERS"]"#],
        [r#""groups":["A"],"groups":["SUPERUSERS"]"#, r#""x":1,"x":1"#],
        [r#""":1,"":1"#, r#""x":{"y":1,"y":1}"#],
        [r#""x":{"y":[{"z":1,"z":2}]}"#, r#""x":[[{"y":1,"\u0079":1}]]"#],
    ]
    .concat();
    let text = good.to_string();
    for member in repeated.chain(others.into_iter().map(str::to_owned)) {
        rows.payload("RFC 7519 §4", spliced(&member, &text), "bad_json payload", &text);
    }
    for member in [
        [r#""alg":"RS256""#, r#""alg":"none""#, r#""al\u0067":"none""#, r#""kid":"main""#, r#""kid":"second""#],
        [r#""\u006bid":"main""#, r#""x":1,"x":2"#, r#""":1,"":2"#, r#""jwk":{"n":1,"n":2}"#, r#""x":[{"y":1,"y":1}]"#],
    ]
    .concat()
    {
        rows.header("RFC 7515 §4", spliced(member, HEADER), "bad_json header", HEADER);
    }
}

pub fn issuer_and_audience_are_compared_byte_for_byte(rows: &mut Rows) {
    let good = rows.claims().to_string();
    for issuer in [
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
        ISSUER.replace(".example", ".example:443"),
        ISSUER.replace(".example", ".example."),
        ISSUER.replace("pinned", "p%69nned"),
        ISSUER.replace("pinned.okta", "evil.okta"),
        ISSUER.replace("://", "://pinned.okta.example@"),
        ISSUER.replace("default", "defau1t"),
        ISSUER.replace("default", ""),
        ISSUER.replace("/oauth2/default", ""),
        ISSUER.replace('o', "о"), // Cyrillic
    ] {
        let attack = rows.claims_with("iss", &quoted(issuer));
        rows.payload("RFC 7519 §4.1.1; RFC 8725 §3.8", attack, "unknown_issuer", &good);
    }
    let accepted = [
        r#""api://default""#,
        r#"["api://default"]"#,
        r#"["other","api://default"]"#,
        r#"["api://default","api://default"]"#,
    ];
    let refused = [
        [r#""""#, "[]", r#"[""]"#, r#""other""#, r#"["other","another"]"#],
        [
            r#""API://default""#,
            r#""api://default/""#,
            r#""api://default ""#,
            r#""api://defaul""#,
            r#""api://defaultx""#,
        ],
        [
            r#""api://default,other""#,
            r#""api://default other""#,
            r#""[\"api://default\"]""#,
            r#""*""#,
            r#""0oaclient""#,
        ],
    ]
    .concat();
    for (attack, control) in refused.into_iter().zip(accepted.into_iter().cycle()) {
        let [attack, control] = [attack, control].map(|json| rows.claims_with("aud", json));
        rows.payload("RFC 7519 §4.1.3; RFC 8725 §3.9", attack, "wrong_audience", control);
    }
}

pub fn only_configured_issuers_are_accepted(rows: &mut Rows) {
    let (first, second) = TWO_ISSUERS.split_once(',').unwrap();
    for (attack, control) in [("https://third.okta.com/oauth2/default", second), (TWO_ISSUERS, first)] {
        let [attack, control] = [attack, control].map(|issuer| rows.claims_with("iss", &quoted(issuer)));
        rows.payload("RFC 8725 §3.8", attack, "unknown_issuer", control);
    }
}

pub fn any_configured_audience_is_accepted(rows: &mut Rows) {
    for (attack, control) in [
        (r#""api://default""#, r#""api://one""#),
        (r#""api://three""#, r#""api://two""#),
        (r#""api://one, api://two""#, r#"["api://two"]"#),
        (r#"["x","y"]"#, r#"["x","api://one"]"#),
        (r#""""#, r#"["api://one","api://two"]"#),
    ] {
        let [attack, control] = [attack, control].map(|json| rows.claims_with("aud", json));
        rows.payload("RFC 7519 §4.1.3", attack, "wrong_audience", control);
    }
}

pub fn the_client_is_one_of_those_configured(rows: &mut Rows) {
    const SOURCE: &str = "RFC 9068 §2.2: client_id";
    let controls = CLIENTS.split(',').map(|client| rows.claims_with("cid", &quoted(client))).collect::<Vec<_>>();
    for client in ["", "0oathird", "0oaCLIENT", "0oaclien", "0oaclientx", CLIENTS, "0oaclient ", "*"] {
        rows.payload(SOURCE, rows.claims_with("cid", &quoted(client)), "wrong_client", &controls[0]);
    }
    for json in TYPES.iter().chain(&[r#"["0oaclient"]"#]) {
        rows.payload(SOURCE, rows.claims_with("cid", json), "wrong_claim_type cid", &controls[1]);
    }
    rows.payload(SOURCE, without(&rows.claims(), "cid").to_string(), "missing_claim cid", &controls[0]);
}

/// The limits with a clock skew of `SKEW` seconds: exactly in process, with a margin for real time
/// over the wire.
pub fn time_limits<const SKEW: u64>(rows: &mut Rows) {
    let now = rows.now;
    // RFC 7519 §4.1.4: before `exp`. §4.1.5: at `nbf` or later. §4.1.6 and RFC 9068 §4: not from
    // the future. §2: fractions.
    let exact = [
        ("exp", (now - SKEW).to_string(), (now - SKEW + 1).to_string()),
        ("exp", format!("{}.5", now - SKEW - 1), format!("{}.5", now - SKEW)),
        ("exp", format!("{}e0", now - SKEW), format!("{}e0", now - SKEW + 1)),
        ("nbf", (now + SKEW + 1).to_string(), (now + SKEW).to_string()),
        ("nbf", format!("{}.5", now + SKEW), format!("{}.5", now + SKEW - 1)),
        ("iat", (now + SKEW + 1).to_string(), (now + SKEW).to_string()),
        ("iat", format!("{}.5", now + SKEW), format!("{}.5", now + SKEW - 1)),
    ];
    let coarse = [
        ("exp", (now - SKEW - 5).to_string(), (now - SKEW + 60).to_string()),
        ("nbf", (now + SKEW + 60).to_string(), (now + SKEW).to_string()),
        ("iat", (now + SKEW + 60).to_string(), (now + SKEW).to_string()),
    ];
    for (clock, limits) in [(Some(now), &exact[..]), (None, &coarse)] {
        for (claim, attack, control) in limits {
            let reason = match *claim {
                "exp" => "expired",
                "nbf" => "not_yet_valid",
                _ => "issued_in_the_future",
            };
            // Only the claim in question is near its limit.
            let mut others = with(&rows.claims(), &json!({ "exp": now + 100_000, "iat": 1 }));
            others.as_object_mut().unwrap().remove(*claim);
            let [attack, control] =
                [attack, control].map(|json| spliced(&format!("\"{claim}\":{json}"), &others.to_string()));
            rows.payload("RFC 7519 §4.1.4 to §4.1.6, §2", attack, reason, control).now = clock;
        }
    }
}

pub fn odd_times_are_refused_or_taken_literally(rows: &mut Rows) {
    let now = rows.now;
    let past = [now - 90, now - 3600, 1].map(|time| time.to_string());
    let (fraction, milliseconds) = (format!("{}.5", now - 90), (now * 1000).to_string());
    let future = [now + 120, now + 3600, 4_102_444_800].map(|time| time.to_string());
    let leeway = [now - 20, now + 20].map(|time| time.to_string());

    let expired = ["0", "-0", "-1", "-4102444800", "-9223372036854775808", "-1e300", "1e-300", "1.7e9", &fraction];
    let literal = ["18446744073709551615", "18446744073709551616", "1e300", "4.1e9", "4102444800.999", &leeway[0]];
    for (attack, control) in past.iter().map(String::as_str).chain(expired).zip(literal.into_iter().cycle()) {
        let [attack, control] = [attack, control].map(|json| rows.claims_with("exp", json));
        rows.payload("RFC 7519 §2: NumericDate", attack, "expired", control);
    }
    for json in [
        ["1e400", "-1e400", "NaN"],
        ["Infinity", "0x7fffffff", "04102444800"],
        ["+4102444800", "4102444800.", "4_102_444_800"],
    ]
    .concat()
    {
        let control = rows.claims().to_string();
        rows.payload("RFC 7519 §2; RFC 8259 §6", rows.claims_with("exp", json), "bad_json payload", control);
    }
    let far = ["1e300", &milliseconds, "18446744073709551615", "18446744073709551616", "4102444800.5"];
    let literal = ["-1e300", "0", "1700000000.25", &past[1], &leeway[1]];
    for (claim, reason) in [("nbf", "not_yet_valid"), ("iat", "issued_in_the_future")] {
        for (attack, control) in
            far.into_iter().chain(future.iter().map(String::as_str)).zip(literal.into_iter().cycle())
        {
            let [attack, control] = [attack, control].map(|json| rows.claims_with(claim, json));
            rows.payload("RFC 7519 §2: seconds", attack, reason, control);
        }
    }
    // The clock itself can be at either end.
    let (good, timeless) = (rows.claims().to_string(), with(&rows.claims(), &json!({ "exp": 1e300, "iat": 0 })));
    rows.payload("RFC 7519 §4.1.4", &good, "expired", timeless.to_string()).now = Some(u64::MAX);
    rows.payload("RFC 7519 §4.1.6", &good, "issued_in_the_future", timeless.to_string()).now = Some(0);
}

pub fn a_sender_constrained_token_is_refused(rows: &mut Rows) {
    let good = rows.claims().to_string();
    for (json, source) in [
        (r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#, "RFC 9449 §6.1"),
        (r#"{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}"#, "RFC 8705 §3.1"),
        (r#"{"jwk":{"kty":"RSA"}}"#, "RFC 7800 §3.2"),
        (r#"{"kid":"main"}"#, "RFC 7800 §3.4"),
    ] {
        rows.payload(source, rows.claims_with("cnf", json), "sender_constrained", &good);
    }
    for json in ["{}", "null", "false", "5", "[]", r#""""#, r#""x""#] {
        rows.payload("RFC 7800 §3.1", rows.claims_with("cnf", json), "sender_constrained", &good);
    }
}

/// These controls are what matters. Each attack is the control under the signature of a stranger.
pub fn optional_and_unknown_members_are_not_required(rows: &mut Rows) {
    let good = rows.claims();
    let no_cid = without(&good, "cid");
    let unknown = with(&good, &json!({ "x": { "y": [1, { "z": null }] }, "": "", "ж": [] }));
    for (name, header, claims) in [
        ("no uid", HEADER, &without(&good, "uid")),
        ("no cid", HEADER, &no_cid),
        ("neither uid nor cid", HEADER, &without(&no_cid, "uid")),
        ("unknown claims", HEADER, &unknown),
        ("white space", " { \"alg\" : \"RS256\" ,\n\t\"kid\" : \"main\" } ", &good),
        ("escapes", r#"{"\u0061lg":"\u0052S256","kid":"m\u0061in"}"#, &good),
        ("unknown header members", r#"{"alg":"RS256","kid":"main","x":[{}],"cty":"x"}"#, &good),
    ] {
        let [attack, control] = [keys::attacker(), keys::main()].map(|key| key.sign(header, claims.to_string()));
        rows.token("RFC 7519 §4; RFC 7515 §4", name, attack, "bad_signature", control);
    }
}
