//! What a verified token says.

use std::{borrow::Cow, fmt};

use super::{Refusal, json::Object};

/// The claims of a token whose signature, issuer, audience and times have been verified.
///
/// Only [`verify`](super::verify) makes one: holding it is the proof. Its `Debug` shows nothing of the token.
pub struct Claims {
    subject: String,
    uid: Option<String>,
    client_id: Option<String>,
    token_id: Option<String>,
    payload: Object,
}

/// A claim that is there, and neither a string, an array of strings, a number nor a boolean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims(…)")
    }
}

impl Claims {
    /// Checks the types of the claims that identify somebody. For `verify` alone, once the signature has passed.
    pub(super) fn new(payload: Object) -> Result<Self, Refusal> {
        let owned = |claim| optional(&payload, claim).map(|text| text.map(Cow::into_owned));
        let subject = required(&payload, "sub")?.into_owned();
        if subject.is_empty() {
            return Err(Refusal::WrongClaimType { claim: "sub" });
        }
        let (uid, client_id, token_id) = (owned("uid")?, owned("cid")?, owned("jti")?);
        Ok(Self { subject, uid, client_id, token_id, payload })
    }

    /// Claims that nobody has proven, for the tests of what is done with proven ones.
    #[cfg(test)]
    pub(crate) fn unproven(payload: &str) -> Self {
        Object::parse(payload.as_bytes()).map(Self::new).unwrap().unwrap()
    }

    /// `sub`: the user's login or, for client credentials, the client. Never empty.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Okta's `uid`: the user's id; absent for client credentials.
    #[must_use]
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    /// Okta's `cid`: the client that the token was issued to.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// `jti`: the token's own id.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// Whom the policy speaks of: `uid`, else `sub`.
    #[must_use]
    pub fn principal(&self) -> &str {
        self.uid().filter(|uid| !uid.is_empty()).unwrap_or(&self.subject)
    }

    /// A claim as the rules read it: a string is one value, an array of strings several, numbers and booleans their
    /// JSON text. `None` when it is absent or null.
    ///
    /// `scopes` is `scp` (Okta's array, or a string) or else `scope` (RFC 8693 §4.2: separated by spaces).
    ///
    /// # Errors
    /// [`Unreadable`] when it is anything else, and so has no value.
    pub fn values(&self, claim: &str) -> Result<Option<Vec<String>>, Unreadable> {
        if claim != "scopes" {
            return self.present(claim).map(values).transpose();
        }
        let Some(json) = self.present("scp").or_else(|| self.present("scope")) else { return Ok(None) };
        let scopes = strings(json)?;
        let is_array = json.starts_with('[');
        Ok(Some(if is_array { scopes } else { scopes.iter().flat_map(|text| separated_by_spaces(text)).collect() }))
    }

    /// A claim's JSON text; null is as good as absent.
    fn present(&self, claim: &str) -> Option<&str> {
        self.payload.member(claim).filter(|json| *json != "null")
    }

    /// A claim as text for the response's context: a string as it is, anything else as its JSON text.
    /// `None` when it is absent or null.
    #[must_use]
    pub fn text(&self, claim: &str) -> Option<String> {
        let json = self.present(claim)?;
        Some(serde_json::from_str(json).unwrap_or_else(|_| json.to_owned()))
    }
}

/// A claim that must be a string if it is there.
pub(super) fn optional<'p>(payload: &'p Object, claim: &'static str) -> Result<Option<Cow<'p, str>>, Refusal> {
    payload.string(claim).map_err(|_| Refusal::WrongClaimType { claim })
}

/// A claim that must be there, and a string.
pub(super) fn required<'p>(payload: &'p Object, claim: &'static str) -> Result<Cow<'p, str>, Refusal> {
    optional(payload, claim)?.ok_or(Refusal::MissingClaim { claim })
}

fn values(json: &str) -> Result<Vec<String>, Unreadable> {
    if json.starts_with(['"', '[', '{']) { strings(json) } else { Ok(vec![json.to_owned()]) }
}

/// A space alone separates scopes (RFC 6749 §3.3): a tab or a line break is part of a scope, which no rule names.
fn separated_by_spaces(text: &str) -> impl Iterator<Item = String> {
    text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned)
}

/// A string as one value, an array of strings as several.
pub(super) fn strings(json: &str) -> Result<Vec<String>, Unreadable> {
    let read = if json.starts_with('"') {
        serde_json::from_str(json).map(|one| vec![one])
    } else {
        serde_json::from_str(json)
    };
    read.map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(payload: &str) -> Refusal {
        Claims::new(Object::parse(payload.as_bytes()).unwrap()).unwrap_err()
    }

    fn list(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn debug_shows_nothing_of_the_token() {
        assert_eq!(format!("{:?}", Claims::unproven(r#"{"sub":"secret"}"#)), "Claims(…)");
    }

    #[test]
    fn the_principal_is_uid_or_else_sub() {
        assert_eq!(Claims::unproven(r#"{"sub":"s","uid":"u"}"#).principal(), "u");
        assert_eq!(Claims::unproven(r#"{"sub":"s"}"#).principal(), "s");
        assert_eq!(Claims::unproven(r#"{"sub":"s","uid":""}"#).principal(), "s");
    }

    #[test]
    fn a_claim_of_the_wrong_type_is_a_refusal_not_a_missing_claim() {
        assert_eq!(refusal(r#"{"uid":"u"}"#), Refusal::MissingClaim { claim: "sub" });
        for (claim, values) in [
            ("sub", ["null", "7", "\"\"", "[\"s\"]"].as_slice()),
            ("uid", &["null", "7", "[\"u\"]"]),
            ("cid", &["null", "true", "{}"]),
            ("jti", &["1", "null"]),
        ] {
            for value in values {
                let sub = if claim == "sub" { "" } else { r#""sub":"s","# };
                let payload = format!(r#"{{{sub}"{claim}":{value}}}"#);
                assert_eq!(refusal(&payload), Refusal::WrongClaimType { claim }, "{payload}");
            }
        }
    }

    #[test]
    fn every_claim_reads_as_a_list_of_strings() {
        let claims = Claims::unproven(
            r#"{"sub":"s","one":"a b","many":["a","b"],"none":[],"int":7,"float":1.50,"big":123456789012345678901234567890,
                "yes":true,"null":null,"object":{"a":1},"mixed":["a",1],"deep":[["a"]]}"#,
        );
        assert_eq!(claims.values("one"), Ok(Some(list(&["a b"]))));
        assert_eq!(claims.values("many"), Ok(Some(list(&["a", "b"]))));
        assert_eq!(claims.values("none"), Ok(Some(list(&[]))));
        assert_eq!(claims.values("int"), Ok(Some(list(&["7"]))));
        assert_eq!(claims.values("float"), Ok(Some(list(&["1.50"]))));
        assert_eq!(claims.values("big"), Ok(Some(list(&["123456789012345678901234567890"]))));
        assert_eq!(claims.values("yes"), Ok(Some(list(&["true"]))));
        assert_eq!(claims.values("null"), Ok(None));
        assert_eq!(claims.values("absent"), Ok(None));
        for unreadable in ["object", "mixed", "deep"] {
            assert_eq!(claims.values(unreadable), Err(Unreadable), "{unreadable}");
        }
    }

    #[test]
    fn scopes_are_scp_or_else_scope() {
        for (payload, scopes) in [
            (r#"{"sub":"s","scp":["a","b"],"scope":"c"}"#, Ok(Some(list(&["a", "b"])))),
            (r#"{"sub":"s","scp":"a","scope":"c"}"#, Ok(Some(list(&["a"])))),
            (r#"{"sub":"s","scope":"c d"}"#, Ok(Some(list(&["c", "d"])))),
            (r#"{"sub":"s","scope":"  c  d "}"#, Ok(Some(list(&["c", "d"])))),
            (r#"{"sub":"s","scope":"c\td\ne"}"#, Ok(Some(list(&["c\td\ne"])))),
            (r#"{"sub":"s","scp":null,"scope":"c d"}"#, Ok(Some(list(&["c", "d"])))),
            (r#"{"sub":"s","scopes":["x"]}"#, Ok(None)),
            (r#"{"sub":"s","scp":{"a":1},"scope":"c"}"#, Err(Unreadable)),
            (r#"{"sub":"s","scp":7}"#, Err(Unreadable)),
            (r#"{"sub":"s","scope":{}}"#, Err(Unreadable)),
        ] {
            assert_eq!(Claims::unproven(payload).values("scopes"), scopes, "{payload}");
        }
    }

    #[test]
    fn context_text_is_the_string_itself_or_json() {
        let claims = Claims::unproven(r#"{"sub":"s","a":"x\"y","b":[1],"c":null,"d":false}"#);
        assert_eq!(claims.text("a").as_deref(), Some("x\"y"));
        assert_eq!(claims.text("b").as_deref(), Some("[1]"));
        assert_eq!(claims.text("c"), None);
        assert_eq!(claims.text("d").as_deref(), Some("false"));
        assert_eq!(claims.text("e"), None);
    }
}
