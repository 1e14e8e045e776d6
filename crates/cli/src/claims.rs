//! Reads claims: a JSON object, or the payload of an access token.
//!
//! Nothing is verified here. But claims that the Lambda refuses in every token are an error,
//! because the rules never see them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use okta_authorizer_policy::{ClaimName, ClaimSet, JsonObject};
use serde::de::{DeserializeOwned, IgnoredAny};

/// The longest token that the Lambda accepts.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The claims of a JSON object or of an access token, with or without `Bearer`.
pub fn read(text: &str) -> Result<ClaimSet, String> {
    // A byte order mark is not a part of the text. PowerShell writes one.
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('{') {
        return from_json(text);
    }
    if text.starts_with(['[', '"']) {
        return Err("the claims are not a JSON object; expected one such as {\"uid\":\"00u1\"}".to_owned());
    }
    from_json(&payload(text).map_err(|problem| format!("not an access token: {problem}"))?)
}

/// The claims of a JSON object. Claims that every token has are added if they are missing, because
/// rules can name them.
pub fn from_json(json: &str) -> Result<ClaimSet, String> {
    let claims = ClaimSet::parse(json.as_bytes()).ok_or_else(|| {
        let problem = match serde_json::from_str::<IgnoredAny>(json) {
            Err(error) => error.to_string(),
            Ok(_) => "a name occurs twice, or a value cannot be read".to_owned(),
        };
        format!("the claims are not a JSON object: {problem}")
    })?;
    check(&claims)?;
    let own = json.trim().strip_prefix('{').and_then(|members| members.strip_suffix('}')).unwrap_or_default();
    let mut members = if own.trim().is_empty() { Vec::new() } else { vec![own.to_owned()] };
    let missing = REQUIRED.iter().filter(|(claim, _)| claims.raw(claim).is_none());
    members.extend(missing.map(|(claim, json)| format!(r#""{claim}":{json}"#)));
    let all = members.join(",");
    ClaimSet::parse(format!("{{{all}}}").as_bytes()).ok_or_else(|| "the claims are not a JSON object".to_owned())
}

/// The claims of every access token, as JSON.
const REQUIRED: [(&str, &str); 5] = [
    ("iss", r#""https://example.okta.com/oauth2/default""#),
    ("aud", r#""api://default""#),
    ("sub", r#""somebody@example.com""#),
    ("iat", "1800000000"),
    ("exp", "4102444800"),
];

fn payload(text: &str) -> Result<String, String> {
    let token = match text.split_once(' ') {
        None if text.eq_ignore_ascii_case("Bearer") => "",
        None => text,
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => token.trim_start_matches(' '),
        Some(_) => return Err("the scheme is not Bearer".to_owned()),
    };
    if token.is_empty() {
        return Err("there is no token".to_owned());
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(format!("the token has {} bytes; at most {MAX_TOKEN_BYTES} are accepted", token.len()));
    }
    let parts: Vec<_> = token.split('.').collect();
    let [header, payload, _signature] = parts.as_slice() else {
        return Err(match parts.len() {
            5 => "the token has five parts, so it is encrypted; the authorizer reads signed tokens only".to_owned(),
            _ => "the token does not have three parts; expected claims such as {\"uid\":\"00u1\"}, a file with \
                  them, an access token, or `-` for standard input"
                .to_owned(),
        });
    };
    let (header, _) = decode(header, "header")?;
    check_header(&header)?;
    Ok(decode(payload, "payload")?.1)
}

/// A part of a token as an object, and as its JSON text.
fn decode(encoded: &str, part: &str) -> Result<(JsonObject, String), String> {
    let json = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| format!("the {part} is not base64url; expected a token as Okta issues it"))?;
    let object = JsonObject::parse(&json).zip(String::from_utf8(json).ok());
    object
        .ok_or_else(|| format!("the {part} is not a JSON object with unique names; expected a token as Okta issues it"))
}

/// Refuses headers that the Lambda refuses. For example, a token of Okta's org authorization server
/// has another `typ`.
fn check_header(header: &JsonObject) -> Result<(), &'static str> {
    if header.string("alg") != Ok(Some("RS256".into())) {
        return Err("alg is not RS256");
    }
    if header.raw("crit").is_some() {
        return Err("crit is not supported");
    }
    let accepted_types = ["JWT", "at+jwt", "application/at+jwt"];
    let is_accepted = |typ: &str| accepted_types.iter().any(|accepted| accepted.eq_ignore_ascii_case(typ));
    if !header.string("typ").is_ok_and(|typ| typ.is_none_or(|typ| is_accepted(&typ))) {
        return Err("typ is not that of an access token");
    }
    if !header.string("kid").is_ok_and(|kid| kid.is_some_and(|kid| !kid.is_empty())) {
        return Err("kid is not a non-empty string");
    }
    Ok(())
}

/// Whether the JSON text of a claim has the type that the Lambda expects.
type HasType = fn(&str) -> bool;

/// The claims that the Lambda checks, in its order. All of them can be absent here.
const CHECKS: [(&str, HasType); 10] = [
    ("iss", is::<String>),
    ("aud", |json| is::<String>(json) || is::<Vec<String>>(json)),
    ("exp", is::<f64>),
    ("iat", is::<f64>),
    ("nbf", is::<f64>),
    ("cid", is::<String>),
    ("cnf", |_| false),
    ("sub", |json| is::<String>(json) && json != "\"\""),
    ("uid", is::<String>),
    ("jti", is::<String>),
];

/// Whether a token that the Lambda accepts can have a type in this claim that rules cannot read.
#[must_use]
pub fn can_be_unreadable(claim: &ClaimName) -> bool {
    !matches!(claim, ClaimName::Member(name) if CHECKS.iter().any(|(checked, _)| checked == name))
}

fn is<T: DeserializeOwned>(json: &str) -> bool {
    serde_json::from_str::<T>(json).is_ok()
}

/// Refuses claims that the Lambda refuses in every token.
fn check(claims: &ClaimSet) -> Result<(), String> {
    let refused = CHECKS.iter().find(|(claim, has_type)| claims.raw(claim).is_some_and(|json| !has_type(json)));
    let problem = match refused {
        None => return Ok(()),
        Some(("cnf", _)) => "the token is sender-constrained".to_owned(),
        Some((claim, _)) => format!("the claim {claim} has the wrong type"),
    };
    Err(format!("a token with these claims is refused: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"{"alg":"RS256","kid":"x"}"#;

    fn token(header: &str, payload: &str) -> String {
        format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn claims_that_every_token_has_are_added_if_they_are_missing() {
        for json in ["{}", " { } ", r#"{"a":{"b":{}}}"#, r#"{"sub":"me"}"#] {
            let claims = from_json(json).unwrap();
            for (claim, _) in REQUIRED {
                assert!(claims.raw(claim).is_some(), "{claim} in {json}");
            }
        }
        assert_eq!(from_json(r#"{"sub":"me"}"#).unwrap().raw("sub"), Some(r#""me""#));
        assert_eq!(from_json(r#"{"a":{"b":{}}}"#).unwrap().raw("a"), Some(r#"{"b":{}}"#));
    }

    #[test]
    fn claims_of_the_wrong_type_are_refused() {
        for (claim, good, bad) in [
            ("iss", r#""https://x""#, ["7", "null"].as_slice()),
            ("aud", r#""a""#, &["7", "null"]),
            ("aud", r#"["a","b"]"#, &[r#"["a",7]"#, r#"{"a":1}"#]),
            ("exp", "2000000000", &[r#""2000000000""#, "null"]),
            ("exp", "1.5e9", &["true", "[1]"]),
            ("iat", "-1", &[r#""1""#, "null"]),
            ("nbf", "0", &[r#""1""#, "null"]),
            ("cid", r#""c""#, &["true", "null"]),
            ("sub", r#""s""#, &["7", "null", r#""""#]),
            ("uid", r#""""#, &[r#"["u"]"#, "null"]),
            ("jti", r#""j""#, &["1", "null"]),
            ("other", "{}", &[]),
        ] {
            assert!(from_json(&format!(r#"{{"{claim}":{good}}}"#)).is_ok(), "{claim}");
            let expected = format!("a token with these claims is refused: the claim {claim} has the wrong type");
            for bad in bad {
                let claims = format!(r#"{{"{claim}":{bad}}}"#);
                assert_eq!(from_json(&claims).unwrap_err(), expected, "{claims}");
                assert_eq!(read(&token(HEADER, &claims)).unwrap_err(), expected, "{claims}");
            }
        }
    }

    #[test]
    fn a_sender_constrained_token_is_refused() {
        for claims in [r#"{"cnf":{"jkt":"x"}}"#, r#"{"cnf":null}"#] {
            let expected = "a token with these claims is refused: the token is sender-constrained";
            assert_eq!(read(claims).unwrap_err(), expected, "{claims}");
        }
    }

    #[test]
    fn claims_must_be_one_json_object_with_unique_names() {
        assert!(read("{}").is_ok() && read(r#" {"a":{"b":1}} "#).is_ok());
        for bad in ["{", "{}{}", "{\"a\":1,}"] {
            assert!(read(bad).unwrap_err().starts_with("the claims are not a JSON object: "), "{bad}");
        }
        for twice in [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"b":2}}"#] {
            let expected = "the claims are not a JSON object: a name occurs twice, or a value cannot be read";
            assert_eq!(read(twice).unwrap_err(), expected, "{twice}");
        }
    }

    #[test]
    fn a_number_is_read_as_it_is_written() {
        let claims = read(r#"{"n":1.50,"big":123456789012345678901234567890}"#).unwrap();
        assert_eq!((claims.raw("n"), claims.raw("big")), (Some("1.50"), Some("123456789012345678901234567890")));
    }

    #[test]
    fn a_token_is_read_with_and_without_bearer() {
        let token = token(HEADER, r#"{"uid":"00u1"}"#);
        for text in [token.clone(), format!("Bearer {token}"), format!("bearer   {token}"), format!(" {token}\n")] {
            assert_eq!(read(&text).unwrap().raw("uid"), Some(r#""00u1""#), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_token_is_named() {
        let good = token(HEADER, "{}");
        assert!(read(&good).is_ok());
        let parts = "the token does not have three parts; expected claims such as {\"uid\":\"00u1\"}, a file with them, \
                     an access token, or `-` for standard input";
        let not_json = "the header is not a JSON object with unique names; expected a token as Okta issues it";
        let payload = "the payload is not a JSON object with unique names; expected a token as Okta issues it";
        for (text, problem) in [
            ("nonsense", parts),
            ("a.b", parts),
            (&format!("{good}.x"), parts),
            ("a.b.c.d.e", "the token has five parts, so it is encrypted; the authorizer reads signed tokens only"),
            ("abc.def.ghi", not_json),
            ("", "there is no token"),
            ("Bearer", "there is no token"),
            (&format!("Basic {good}"), "the scheme is not Bearer"),
            ("é.e30.x", "the header is not base64url; expected a token as Okta issues it"),
            (&token("[]", "{}"), not_json),
            (&good.replace(".e30.", ".e30=."), "the payload is not base64url; expected a token as Okta issues it"),
            (&good.replace(".e30.", ".."), payload),
            (&token(HEADER, r#"{"a":1,"a":1}"#), payload),
            (&"a".repeat(16_385), "the token has 16385 bytes; at most 16384 are accepted"),
            (&"a".repeat(16_384), parts),
        ] {
            assert_eq!(read(text).unwrap_err(), format!("not an access token: {problem}"), "{text}");
        }
        for other in ["[1]", "\"x\""] {
            let expected = "the claims are not a JSON object; expected one such as {\"uid\":\"00u1\"}";
            assert_eq!(read(other).unwrap_err(), expected, "{other}");
        }
    }

    #[test]
    fn a_header_that_the_lambda_refuses_is_named() {
        for header in [HEADER, r#"{"alg":"RS256","kid":"x","typ":"application/AT+jwt"}"#] {
            assert!(read(&token(header, "{}")).is_ok(), "{header}");
        }
        for (header, problem) in [
            (r#"{"alg":"HS256","kid":"x"}"#, "alg is not RS256"),
            (r#"{"kid":"x"}"#, "alg is not RS256"),
            (r#"{"alg":"RS256","kid":"x","crit":[]}"#, "crit is not supported"),
            (
                r#"{"alg":"RS256","kid":"x","typ":"application/okta-internal-at+jwt"}"#,
                "typ is not that of an access token",
            ),
            (r#"{"alg":"RS256","kid":"x","typ":null}"#, "typ is not that of an access token"),
            (r#"{"alg":"RS256"}"#, "kid is not a non-empty string"),
            (r#"{"alg":"RS256","kid":""}"#, "kid is not a non-empty string"),
            (r#"{"alg":"RS256","kid":7}"#, "kid is not a non-empty string"),
        ] {
            assert_eq!(read(&token(header, "{}")).unwrap_err(), format!("not an access token: {problem}"), "{header}");
        }
    }
}
