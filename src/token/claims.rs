//! The claims of a verified token.

use std::{borrow::Cow, fmt};

use super::Refusal;
use crate::policy::ClaimSet;

/// The claims of a token whose signature, issuer, audience and times are verified.
///
/// Only [`verify`](super::verify) makes one, so a value of this type is the proof. Its `Debug`
/// shows nothing of the token.
pub struct Claims {
    subject: String,
    uid: Option<String>,
    client_id: Option<String>,
    token_id: Option<String>,
    all: ClaimSet,
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims(…)")
    }
}

impl Claims {
    /// Checks the types of the claims that identify a user, a client and a token. Only `verify`
    /// calls it, after the signature has been verified; nothing outside `token` can.
    pub(super) fn new(all: ClaimSet) -> Result<Self, Refusal> {
        let owned = |claim| optional(&all, claim).map(|text| text.map(Cow::into_owned));
        let subject = required(&all, "sub")?.into_owned();
        if subject.is_empty() {
            return Err(Refusal::WrongClaimType { claim: "sub" });
        }
        let (uid, client_id, token_id) = (owned("uid")?, owned("cid")?, owned("jti")?);
        Ok(Self { subject, uid, client_id, token_id, all })
    }

    /// `sub`: the user's login or, for client credentials, the client. Never empty.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Okta's `uid`: the user's id. Absent for client credentials.
    #[must_use]
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    /// Okta's `cid`: the client that the token was issued to.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// `jti`: the token's id.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// The principal of the policy: `uid`, or `sub` if `uid` is absent or empty.
    #[must_use]
    pub fn principal(&self) -> &str {
        self.uid().filter(|uid| !uid.is_empty()).unwrap_or(&self.subject)
    }

    /// All claims as data, for the rules.
    #[must_use]
    pub fn all(&self) -> &ClaimSet {
        &self.all
    }
}

/// A claim that must be a string if it is present.
pub(super) fn optional<'p>(payload: &'p ClaimSet, claim: &'static str) -> Result<Option<Cow<'p, str>>, Refusal> {
    payload.string(claim).map_err(|_| Refusal::WrongClaimType { claim })
}

/// A claim that must be present and a string.
pub(super) fn required<'p>(payload: &'p ClaimSet, claim: &'static str) -> Result<Cow<'p, str>, Refusal> {
    optional(payload, claim)?.ok_or(Refusal::MissingClaim { claim })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(payload: &str) -> Result<Claims, Refusal> {
        Claims::new(ClaimSet::parse(payload.as_bytes()).unwrap())
    }

    #[test]
    fn debug_shows_nothing_of_the_token() {
        assert_eq!(format!("{:?}", claims(r#"{"sub":"secret"}"#).unwrap()), "Claims(…)");
    }

    #[test]
    fn the_principal_is_uid_or_else_sub() {
        assert_eq!(claims(r#"{"sub":"s","uid":"u"}"#).unwrap().principal(), "u");
        assert_eq!(claims(r#"{"sub":"s"}"#).unwrap().principal(), "s");
        assert_eq!(claims(r#"{"sub":"s","uid":""}"#).unwrap().principal(), "s");
    }

    #[test]
    fn a_claim_of_the_wrong_type_is_not_a_missing_claim() {
        assert_eq!(claims(r#"{"uid":"u"}"#).unwrap_err(), Refusal::MissingClaim { claim: "sub" });
        for (claim, values) in [
            ("sub", ["null", "7", "\"\"", "[\"s\"]"].as_slice()),
            ("uid", &["null", "7", "[\"u\"]"]),
            ("cid", &["null", "true", "{}"]),
            ("jti", &["1", "null"]),
        ] {
            for value in values {
                let sub = if claim == "sub" { "" } else { r#""sub":"s","# };
                let payload = format!(r#"{{{sub}"{claim}":{value}}}"#);
                assert_eq!(claims(&payload).unwrap_err(), Refusal::WrongClaimType { claim }, "{payload}");
            }
        }
    }
}
